//! Runs seeds of the simulator until the time is over; a violation prints the command that repeats
//! it.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;
use tests::sim::world::{Outcome, Plan, run};

/// Runs the real cores on a virtual disk, network and clock, with power cuts.
#[derive(Parser)]
struct Options {
    /// The first seed; the next ones are the numbers behind it. Fresh ones if left out.
    #[arg(long)]
    seed: Option<u64>,
    /// How many seeds, unless --seconds says how long.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Goes on with further seeds for so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
    #[arg(long, default_value_t = 6)]
    clients: usize,
    #[arg(long, default_value_t = 400)]
    operations: usize,
    /// Power cuts of each run; the seed decides, up to 3, if left out.
    #[arg(long)]
    crashes: Option<usize>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let first = match options.seed {
        Some(seed) => seed,
        None => std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_nanos() as u64,
    };
    let (clients, operations) = (options.clients, options.operations);
    let start = Instant::now();
    let (mut seeds, mut sum) = (0, Outcome::default());
    let go_on = |seeds| match options.seconds {
        Some(seconds) => start.elapsed() < Duration::from_secs(seconds),
        None => seeds < options.seeds,
    };
    while go_on(seeds) {
        let seed = first.wrapping_add(seeds);
        let crashes_planned = options.crashes.unwrap_or((seed % 4) as usize);
        let plan = Plan { seed, clients, operations, crashes: crashes_planned, cut: None };
        // In a release build a panic ends the process; the command must be there before.
        std::panic::set_hook(Box::new(move |panic| report(plan, &panic.to_string())));
        let outcome = match run(plan) {
            Ok(outcome) => outcome,
            Err(violation) => {
                report(plan, &violation);
                return Ok(ExitCode::FAILURE);
            }
        };
        seeds += 1;
        sum.add(&outcome);
    }
    println!("{seeds} seeds from {first}: {sum}; nothing violated");
    Ok(ExitCode::SUCCESS)
}

fn report(plan: Plan, violation: &str) {
    let Plan { seed, clients, operations, crashes, cut: _ } = plan;
    println!("VIOLATION with {plan:?}: {violation}");
    println!(
        "repeat: cargo run --release -p tests --bin simulate -- --seed {seed} --clients {clients} \
         --operations {operations} --crashes {crashes}"
    );
}
