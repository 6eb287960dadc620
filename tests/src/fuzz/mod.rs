//! Fuzzers: cases made from a seed, each checked against what must always hold. No case depends
//! on the one before, so a case's seed is all that is needed to repeat it.
//!
//! - [`resp`]: the parser of what clients send. [`recovery`]: the recovery of a core's log.

pub mod recovery;
pub mod resp;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// No case takes so long, in a debug build on a loaded machine, unless it hangs.
const CASE_MAX: Duration = Duration::from_secs(60);

/// One fuzzer: its name on the command line, and a case, which panics if something is wrong.
#[derive(Clone, Copy)]
pub struct Fuzzer {
    pub name: &'static str,
    pub case: fn(seed: u64),
}

pub const FUZZERS: &[Fuzzer] =
    &[Fuzzer { name: "resp", case: resp::case }, Fuzzer { name: "recovery", case: recovery::case }];

/// How much to run.
#[derive(Clone, Copy, Debug)]
pub enum Amount {
    Time(Duration),
    Cases(u64),
}

/// Runs cases from a first seed on and returns how many. A failure, or a case that does not end,
/// prints the command that repeats it and ends the process.
pub fn run(fuzzer: Fuzzer, first_seed: u64, amount: Amount) -> u64 {
    static SEED: AtomicU64 = AtomicU64::new(0);
    let tell = move |what: &str| {
        let seed = SEED.load(Ordering::SeqCst);
        eprintln!(
            "{what}; repeat with: cargo run --release -p tests --bin fuzz -- {} --seed {seed} \
             --cases 1",
            fuzzer.name
        );
    };
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        hook(info);
        tell("the case failed");
    }));
    let began = Instant::now();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut seed, mut since) = (first_seed, Instant::now());
            while !done.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(20));
                let now = SEED.load(Ordering::SeqCst);
                if now != seed {
                    (seed, since) = (now, Instant::now());
                } else if since.elapsed() > CASE_MAX {
                    tell("the case does not end");
                    std::process::exit(1);
                }
            }
        });
        let mut cases = 0;
        loop {
            match amount {
                Amount::Time(time) if began.elapsed() >= time => break,
                Amount::Cases(count) if cases >= count => break,
                _ => {}
            }
            let seed = first_seed.wrapping_add(cases);
            SEED.store(seed, Ordering::SeqCst);
            if std::panic::catch_unwind(|| (fuzzer.case)(seed)).is_err() {
                std::process::exit(1);
            }
            cases += 1;
        }
        done.store(true, Ordering::SeqCst);
        cases
    })
}
