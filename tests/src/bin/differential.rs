//! Random commands to a real Redis and to Quoring; ends with 1 where they differ.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;
use tests::differential::generate::{families, seed_steps};
use tests::differential::known::KNOWN;
use tests::differential::run::{Counts, Difference, run_and_shrink};
use tests::differential::servers::Servers;
use tests::differential::step::{Kind, Step, show};

/// Compares Quoring with a real Redis: the same random commands, the same replies
#[derive(Parser)]
struct Flags {
    /// The first seed; the next seeds are the numbers behind it [default: a fresh one]
    #[arg(long)]
    seed: Option<u64>,
    /// Commands in all
    #[arg(long, default_value_t = 100_000)]
    commands: usize,
    /// Goes on with further seeds until so many seconds have passed, whatever --commands says
    #[arg(long)]
    seconds: Option<u64>,
    /// Quoring's cores
    #[arg(long, default_value_t = 2)]
    cores: usize,
    /// Quoring keeps its log; after each seed it is killed, started with another number of cores,
    /// and compared again
    #[arg(long)]
    restart: bool,
    /// The server to compare with: a Redis of 7.0 or newer
    #[arg(long, default_value = "redis-server")]
    redis: String,
    /// Only these families of commands; may be given again
    #[arg(long)]
    family: Vec<String>,
    /// Prints every command of the seed before it is run
    #[arg(long)]
    print: bool,
}

/// Commands of one seed.
const SEED_COMMANDS: usize = 2000;
/// Steps that are printed where they could not be cut down.
const STEPS_SHOWN_MAX: usize = 100;

fn main() -> Result<ExitCode> {
    let flags = Flags::parse();
    if let Some(odd) = flags.family.iter().find(|name| !families().contains(&name.as_str())) {
        anyhow::bail!("no family is named {odd}; there are {}", families().join(", "));
    }
    let first = flags.seed.unwrap_or_else(|| RandomState::new().hash_one(0) >> 24);
    let mut servers = Servers::start(&flags.redis, flags.cores, flags.restart)?;
    let since = Instant::now();
    let mut counts = Counts::default();
    let mut seed = first;
    loop {
        let goes_on = match flags.seconds {
            Some(seconds) => since.elapsed() < Duration::from_secs(seconds),
            None => counts.commands < flags.commands,
        };
        if !goes_on {
            break;
        }
        let steps = seed_steps(seed, SEED_COMMANDS, &flags.family);
        if flags.print {
            steps.iter().flat_map(|step| &step.commands).for_each(|c| println!("{}", show(c)));
        }
        // Odd seeds speak RESP3.
        let resp3 = seed % 2 == 1;
        if let Some((steps, difference)) = run_and_shrink(&mut servers, &steps, resp3, &mut counts)?
        {
            print_difference(&steps, &difference, seed, resp3, &flags);
            return Ok(ExitCode::FAILURE);
        }
        seed += 1;
    }
    println!(
        "no difference: {} seeds from {first}, {} commands ({} of them answered by errors), {:.0} s",
        seed - first,
        counts.commands,
        counts.errors,
        since.elapsed().as_secs_f64()
    );
    for (known, count) in KNOWN.iter().zip(&counts.known).filter(|(_, count)| **count > 0) {
        println!("  meant, {count} times: {}", known.why);
    }
    Ok(ExitCode::SUCCESS)
}

fn print_difference(
    steps: &[Step],
    difference: &Difference,
    seed: u64,
    resp3: bool,
    flags: &Flags,
) {
    println!("DIFFERENCE in RESP{} at: {}", if resp3 { 3 } else { 2 }, show(&difference.command));
    println!("  redis:   {}", difference.redis);
    println!("  quoring: {}", difference.quoring);
    let mut shown = steps;
    if difference.happens_again {
        println!("after FLUSHALL and:");
    } else {
        shown = &steps[steps.len().saturating_sub(STEPS_SHOWN_MAX)..];
        println!("it did not happen again: it depends on timing. The last {}:", shown.len());
    }
    for step in shown {
        for (at, words) in step.commands.iter().enumerate() {
            let waits = step.kind == Kind::Wait && at + 1 == step.commands.len();
            println!("  {}{}", if waits { "(a few ms later) " } else { "" }, show(words));
        }
    }
    let families: String = flags.family.iter().map(|name| format!(" --family {name}")).collect();
    println!(
        "repeat: cargo run --release -p tests --bin differential -- --seed {seed} --commands 1 \
         --cores {} --redis {}{}{families}",
        flags.cores,
        flags.redis,
        if flags.restart { " --restart" } else { "" }
    );
}
