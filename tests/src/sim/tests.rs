use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use replication::fault::{Fault, plant};

use super::disk::Damage;
use super::outcome::Outcome;
use super::world::{Plan, run};

fn plan(seed: u64, crashes: usize) -> Plan {
    Plan { seed, clients: 6, operations: 300, crashes, ..Plan::default() }
}

#[test]
fn histories_are_right_without_and_with_power_cuts() {
    for seed in 0..120 {
        let plan = Plan { buggify: seed % 2 == 1, ..plan(seed / 2, (seed / 2 % 4) as usize) };
        if let Err(violation) = run(plan) {
            panic!("{plan:?}: {violation}");
        }
    }
}

#[test]
fn a_seed_gives_the_same_run_again() {
    for seed in [3, 4] {
        let first = run(plan(seed, 2)).unwrap();
        assert_eq!(run(plan(seed, 2)).unwrap(), first);
        assert_ne!(run(plan(seed + 100, 2)).unwrap().digest, first.digest);
    }
}

/// Seeds that found something once.
#[test]
fn seeds_that_failed_before() {
    let plans = [
        // A pop served within another client's gathering was never answered.
        Plan { seed: 168, clients: 6, operations: 400, crashes: 0, ..Plan::default() },
        // A transaction whose reply waits for several shards was held at the wrong place.
        Plan { seed: 7, clients: 6, operations: 400, crashes: 3, ..Plan::default() },
        // A transaction joined a trip that had set out before its client's last command did.
        Plan {
            seed: 1_795_600_985_820_613_631,
            clients: 6,
            operations: 400,
            crashes: 3,
            ..Plan::default()
        },
        // A SCAN found a key over in a shard that it was not known to go on to.
        Plan {
            seed: 1_795_861_462_745_896_473,
            clients: 6,
            operations: 400,
            crashes: 1,
            buggify: true,
            ..Plan::default()
        },
        // A bit of the log flipped before any later record said that it was durable.
        Plan {
            seed: 1_795_862_878_092_634_375,
            clients: 6,
            operations: 400,
            crashes: 3,
            buggify: true,
            ..Plan::default()
        },
    ];
    for plan in plans {
        run(plan).unwrap();
    }
}

/// The power goes at the first, second, third … operation of the disks, whatever becomes of what
/// is under way, and once more soon after the start: in runs with checkpoints, with evictions, with
/// keys that expire, with blocking pops.
#[test]
fn a_power_cut_at_every_disk_operation_is_harmless() {
    let whole = |seed| Plan { seed, clients: 4, operations: 120, crashes: 0, ..Plan::default() };
    let takes_place: [fn(&Outcome) -> u64; 4] =
        [|o| o.checkpoints as u64, |o| o.evicted, |o| o.expired, |o| o.popped];
    let seeds: BTreeSet<u64> = takes_place
        .map(|count| (11..1_000).find(|seed| count(&run(whole(*seed)).unwrap()) > 0).unwrap())
        .into();
    for seed in seeds {
        let operations = run(whole(seed)).unwrap().disk_operations;
        assert!(operations > 20, "{operations}");
        for operation in 1..=operations {
            for damage in Damage::ALL {
                let plan = Plan { cut: Some((operation, damage)), ..whole(seed) };
                if let Err(violation) = run(plan) {
                    panic!("{plan:?}: {violation}");
                }
            }
        }
    }
}

/// What the seeds of the tests meet: troubles that never come would prove nothing.
#[test]
fn troubles_come() {
    let mut sum = Outcome::default();
    (0..40).for_each(|seed| sum.add(&run(plan(seed, 2)).unwrap()));
    assert!(
        sum.stops > 0 && sum.disk_failures > 0 && sum.rot_refused > 0 && sum.refusals > 0,
        "{sum}"
    );
    assert!(sum.checkpoints > 0 && sum.checkpoints_rotten > 0, "{sum}");
    assert!(sum.checkpoints_failed > 0, "{sum}");
    assert!(sum.watches_kept > 0 && sum.watches_broken > 0, "{sum}");
}

/// The first seed of `seeds` that finds something wrong while this rule is switched off.
fn found(fault: Option<Fault>, seeds: std::ops::Range<u64>) -> Option<u64> {
    plant(fault);
    let mut seeds = seeds;
    let found = seeds.find(|seed| {
        // Some breakages need several crashes, some a log that grows long before one.
        let long = Plan { operations: 1_500, ..plan(*seed, 1) };
        let plan = if seed % 4 == 0 { long } else { plan(*seed, 3) };
        !matches!(catch_unwind(AssertUnwindSafe(|| run(plan))), Ok(Ok(_)))
    });
    plant(None);
    found
}

/// The seeds in which faults are looked for find nothing where there is none.
#[test]
fn without_a_fault_nothing_is_found() {
    assert_eq!(found(None, 0..150), None);
}

#[test]
fn planted_faults_are_found() {
    let missed: Vec<Fault> =
        Fault::ALL.into_iter().filter(|fault| found(Some(*fault), 0..10_000).is_none()).collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
