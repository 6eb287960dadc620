//! Runs seeds of a simulator until the time is over; a violation prints the command that repeats
//! it. With --nodes it is that of a cluster, otherwise that of one node. `QUORING_LOG=debug` shows
//! what the nodes log.

use std::fmt::{Debug, Display};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;
use tests::cluster_sim::plan::{Plan, Trouble};
use tests::{cluster_sim, sim};

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
    /// Nodes of a cluster that is cut apart, paused and killed; one node alone if left out.
    #[arg(long)]
    nodes: Option<u64>,
    /// Shards of a cluster; the seed decides, up to 5, if left out.
    #[arg(long)]
    shards: Option<u16>,
    /// Cores of a node of a cluster, at most; the seed decides, up to 3, if left out.
    #[arg(long)]
    cores: Option<u16>,
    /// Election timeout of a cluster; the seed decides, and whether it changes, if left out.
    #[arg(long)]
    election_timeout_ms: Option<u64>,
    /// Programs of a cluster's nodes change, and its version; the seed decides if left out.
    #[arg(long)]
    upgrades: bool,
    /// The one kind of troubles of a cluster, by its name in the code; all kinds if left out.
    #[arg(long, value_parser = trouble_named)]
    only: Option<Trouble>,
    /// Whether rare ways in production code are taken often; the seed decides if left out.
    #[arg(long)]
    buggify: Option<bool>,
    /// Nodes of a cluster keep little for others, and make checkpoints often.
    #[arg(long)]
    forgetful: bool,
    #[arg(long, default_value_t = 6)]
    clients: usize,
    #[arg(long, default_value_t = 400)]
    operations: usize,
    /// Power cuts of each run of one node; the seed decides, up to 3, if left out.
    #[arg(long)]
    crashes: Option<usize>,
}

fn trouble_named(name: &str) -> Result<Trouble, String> {
    let fits = |trouble: &Trouble| format!("{trouble:?}").eq_ignore_ascii_case(name);
    let all = || format!("one of {:?}", Trouble::ALL);
    Trouble::ALL.into_iter().find(fits).ok_or_else(all)
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("QUORING_LOG") {
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
    let (clients, operations) = (options.clients, options.operations);
    Ok(match options.nodes {
        Some(nodes) => go(
            &options,
            |seed| {
                let shards = options.shards.unwrap_or(1 + (seed % 3) as u16 * 2);
                let cores = options.cores.unwrap_or(1 + (seed / 3 % 3) as u16);
                let (drawn_ms, retimed) = Plan::timeouts_of(seed);
                Plan {
                    seed,
                    nodes,
                    shards,
                    cores,
                    clients,
                    operations,
                    kinds: Trouble::ALL.len(),
                    only: options.only,
                    election_timeout_ms: options.election_timeout_ms.unwrap_or(drawn_ms),
                    retimed: retimed && options.election_timeout_ms.is_none(),
                    buggify: options.buggify.unwrap_or_else(|| Plan::buggifies(seed)),
                    upgrades: options.upgrades || Plan::upgrades_of(seed),
                    waits: Plan::waits_of(seed),
                    ending_keys: Plan::ending_keys_of(seed),
                    tells: Plan::tells_of(seed),
                    transactions_percent: Plan::transactions_of(seed),
                    forgetful: options.forgetful,
                }
            },
            cluster_sim::world::run,
            cluster_sim::outcome::Outcome::add,
            |plan| {
                let only = plan.only.map(|only| format!(" --only {only:?}")).unwrap_or_default();
                let (nodes, shards, cores) = (plan.nodes, plan.shards, plan.cores);
                let own = (plan.election_timeout_ms, plan.retimed);
                let timeout = match own == Plan::timeouts_of(plan.seed) {
                    true => String::new(),
                    false => format!(" --election-timeout-ms {}", plan.election_timeout_ms),
                };
                let rare = plan.buggify;
                let upgrades = if plan.upgrades { " --upgrades" } else { "" };
                let forgetful = if plan.forgetful { " --forgetful" } else { "" };
                format!(
                    "--nodes {nodes} --shards {shards} --cores {cores} --buggify \
                     {rare}{only}{timeout}{upgrades}{forgetful}"
                )
            },
        )?,
        None => go(
            &options,
            |seed| {
                let crashes = options.crashes.unwrap_or((seed % 4) as usize);
                let buggify = options.buggify.unwrap_or_else(|| Plan::buggifies(seed));
                sim::world::Plan { seed, clients, operations, crashes, cut: None, buggify }
            },
            sim::world::run,
            sim::outcome::Outcome::add,
            |plan| format!("--crashes {} --buggify {}", plan.crashes, plan.buggify),
        )?,
    })
}

/// One simulator's seeds. `flags` says what a plan has beyond what all have.
fn go<P, O>(
    options: &Options,
    plan_of: impl Fn(u64) -> P,
    run: impl Fn(P) -> Result<O, String>,
    add: impl Fn(&mut O, &O),
    flags: impl Fn(&P) -> String + Copy + Send + Sync + 'static,
) -> Result<ExitCode>
where
    P: Copy + Debug + Send + Sync + 'static,
    O: Default + Display,
{
    let first = match options.seed {
        Some(seed) => seed,
        None => std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_nanos() as u64,
    };
    let start = Instant::now();
    let (mut seeds, mut sum) = (0, O::default());
    let go_on = |seeds| match options.seconds {
        Some(seconds) => start.elapsed() < Duration::from_secs(seconds),
        None => seeds < options.seeds,
    };
    while go_on(seeds) {
        let seed = first.wrapping_add(seeds);
        let plan = plan_of(seed);
        let command = format!(
            "--seed {seed} --clients {} --operations {} {}",
            options.clients,
            options.operations,
            flags(&plan)
        );
        let report = move |violation: &str| {
            println!("{}", cluster_sim::history::last_lines());
            println!("VIOLATION with {plan:?}: {violation}");
            println!("repeat: cargo run --release -p tests --bin simulate -- {command}");
        };
        // In a release build a panic ends the process; the command must be there before.
        let report_panic = report.clone();
        std::panic::set_hook(Box::new(move |panic| {
            eprintln!("{}", std::backtrace::Backtrace::capture());
            report_panic(&panic.to_string());
        }));
        match run(plan) {
            Ok(outcome) => add(&mut sum, &outcome),
            Err(violation) => {
                report(&violation);
                return Ok(ExitCode::FAILURE);
            }
        }
        seeds += 1;
    }
    println!("{seeds} seeds from {first}: {sum}\nnothing violated");
    Ok(ExitCode::SUCCESS)
}
