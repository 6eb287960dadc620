//! Runs a fuzzer: `fuzz resp --seconds 600`. Without a seed it takes a new one and says which.

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use tests::fuzz::{Amount, FUZZERS, run};

/// Looks for inputs that break what must always hold
#[derive(Parser)]
#[command(name = "fuzz")]
struct Flags {
    /// resp: what clients send; recovery: logs after crashes and damage
    fuzzer: String,
    /// How long to go on
    #[arg(long, default_value_t = 60, conflicts_with = "cases")]
    seconds: u64,
    /// How many cases to run instead
    #[arg(long)]
    cases: Option<u64>,
    /// Seed of the first case; the next ones have the numbers behind it [default: the clock]
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let Some(fuzzer) = FUZZERS.iter().find(|fuzzer| fuzzer.name == flags.fuzzer) else {
        let names: Vec<&str> = FUZZERS.iter().map(|fuzzer| fuzzer.name).collect();
        eprintln!("fuzz: there is no fuzzer {}; there are: {}", flags.fuzzer, names.join(", "));
        return ExitCode::from(2);
    };
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = flags.seed.unwrap_or(clock.as_nanos() as u64 >> 10);
    let amount = match flags.cases {
        Some(cases) => Amount::Cases(cases),
        None => Amount::Time(Duration::from_secs(flags.seconds)),
    };
    println!("fuzz {}: from seed {seed}", fuzzer.name);
    println!("fuzz {}: {} cases, nothing found", fuzzer.name, run(*fuzzer, seed, amount));
    ExitCode::SUCCESS
}
