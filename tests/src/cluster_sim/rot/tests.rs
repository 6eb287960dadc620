//! Checkpoints of a node are damaged on purpose, and then it starts.

use std::panic::{AssertUnwindSafe, catch_unwind};

use engine::rng::Rng;
use replication::checkpoint::catalogue::parse_name;
use replication::fault::{Fault, plant};
use replication::ids::{Index, ShardId};
use replication::log::limits::SEGMENT_BYTES_MIN;

use super::super::outcome::Outcome;
use super::super::plan::{Plan, Trouble};
use super::super::tests::plan;
use super::*;
use crate::sim::disk::Disk;

/// Which of a shard's two checkpoints.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Damaged {
    Newest,
    Both,
}

const CHECKPOINTS_NS_MAX: u64 = 60_000_000_000;
/// Clients write for so long.
const LOG_NS: u64 = 2_000_000_000;
const SEEDS_MAX: u64 = 40;
const START_NS_MAX: u64 = 10_000_000_000;

/// Three nodes that checkpoint often, and keep of their logs all or nothing that two checkpoints
/// make up for.
fn cluster(seed: u64, keeps_logs: bool) -> Result<World, String> {
    let only = Some(Trouble::PartitionsEnd);
    let plan = Plan { nodes: 3, shards: 1, cores: 1, operations: 1_000, only, ..plan(seed) };
    let mut world = World::new(plan)?;
    for machine in 0..3 {
        let config = &mut world.machines[machine].config;
        config.catch_up_log_bytes = if keeps_logs { 1 << 30 } else { 0 };
        config.log_segment_bytes = SEGMENT_BYTES_MIN;
        config.checkpoint_log_bytes = 2_000;
        world.stop(machine, true, 1);
    }
    Ok(world)
}

/// The disk of a node that is down.
fn disk(world: &mut World, machine: usize) -> &mut Disk {
    match &mut world.machines[machine].state {
        State::Down(disk) => disk,
        State::Up(_) => panic!("node {} is up", machine + 1),
    }
}

/// Clients write until the node has two checkpoints, and its log lacks what they have if it is to.
fn run_until_checkpoints(
    world: &mut World,
    machine: usize,
    keeps_logs: bool,
) -> Result<(), String> {
    let until_ns = world.now_ns + CHECKPOINTS_NS_MAX;
    let ready = |world: &World| {
        let Some(node) = world.machines[machine].node() else { return false };
        let first = node.disk.first_segment(0);
        node.disk.files.list().len() == 2 && (keeps_logs || first.is_some_and(|first| first > 2))
    };
    while !ready(world) {
        if world.now_ns > until_ns {
            return Err(format!("no checkpoints{}", world.sight()));
        }
        world.left = world.left.max(100);
        world.step()?;
    }
    Ok(())
}

/// Damages a node's checkpoints and starts it. Returns what came of it, when all nodes were equal
/// and all histories right.
fn damage(seed: u64, damaged: Damaged, keeps_logs: bool) -> Result<Outcome, String> {
    let mut world = cluster(seed, keeps_logs)?;
    let machine = (seed % 3) as usize;
    run_until_checkpoints(&mut world, machine, keeps_logs)?;
    world.stop(machine, true, 1_000_000);
    let disk = disk(&mut world, machine);
    let mut names: Vec<(ShardId, Index, String)> = disk
        .files
        .list()
        .into_iter()
        .filter_map(|(name, _)| parse_name(&name).map(|(shard, index)| (shard, index, name)))
        .collect();
    names.sort();
    let count = if damaged == Damaged::Both { names.len() } else { 1 };
    let mut rng = Rng::new(seed);
    for (.., name) in names.iter().rev().take(count) {
        disk.files.rot_blocks(name, &mut rng);
    }
    start_damaged(world, machine)
}

/// Starts it while clients go on, and goes on to the verdict.
fn start_damaged(mut world: World, machine: usize) -> Result<Outcome, String> {
    world.machines[machine].is_rotten = true;
    world.left = 200;
    let started = |world: &World| {
        let machine = &world.machines[machine];
        machine.is_up() || machine.is_lost
    };
    world.run_until(START_NS_MAX, "a start", started)?;
    world.live()?;
    Ok(world.outcome)
}

#[test]
fn a_damaged_checkpoint_of_a_node_costs_nothing() {
    for keeps_logs in [true, false] {
        for seed in 0..12 {
            let outcome = damage(seed, Damaged::Newest, keeps_logs);
            let outcome = outcome.unwrap_or_else(|what| panic!("seed {seed}: {what}"));
            assert_eq!((outcome.fallbacks, outcome.rot_refused), (1, 0), "seed {seed}");
        }
    }
}

/// Everything is in its log still.
#[test]
fn a_node_without_a_sound_checkpoint_starts_from_its_log() {
    for seed in 0..12 {
        let outcome = damage(seed, Damaged::Both, true);
        let outcome = outcome.unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        assert_eq!((outcome.fallbacks, outcome.rot_refused), (1, 0), "seed {seed}");
    }
}

/// What its checkpoints had is nowhere else on its disk: it does not start, and another takes its
/// place.
#[test]
fn a_node_that_has_lost_entries_does_not_start() {
    for seed in 0..12 {
        let outcome = damage(seed, Damaged::Both, false);
        let outcome = outcome.unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        assert_eq!((outcome.rot_refused, outcome.replaced), (1, 1), "seed {seed}");
    }
}

/// Damages the log of a node that has no checkpoint and starts it, as above.
fn damage_log(seed: u64) -> Result<Outcome, String> {
    let mut world = cluster(seed, true)?;
    let machine = (seed % 3) as usize;
    world.machines[machine].config.checkpoint_log_bytes = 1 << 30;
    let until_ns = world.now_ns + LOG_NS;
    while world.now_ns < until_ns {
        world.left = world.left.max(100);
        world.step()?;
    }
    world.stop(machine, true, 1_000_000);
    let mut rng = Rng::new(seed);
    let disk = disk(&mut world, machine);
    let bit = disk.acknowledged_bit(&mut rng).ok_or("there is no log")?;
    disk.flip(bit);
    start_damaged(world, machine)
}

/// It is refused, as what was acknowledged is damaged, and another takes its place.
#[test]
fn a_node_with_a_damaged_log_does_not_start() {
    for seed in 0..12 {
        let outcome = damage_log(seed).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        assert_eq!((outcome.rot_refused, outcome.replaced), (1, 1), "seed {seed}");
    }
}

/// The first seed that ends with a node that has what the others have not, while a rule is switched
/// off, and does not otherwise.
fn differs(fault: Fault, run: impl Fn(u64) -> Result<Outcome, String>) -> Option<u64> {
    let differs = |seed: &u64| {
        plant(Some(fault));
        let verdict = catch_unwind(AssertUnwindSafe(|| run(*seed)));
        plant(None);
        matches!(verdict, Ok(Err(what)) if what.contains("another had"))
    };
    let seed = (0..SEEDS_MAX).find(differs)?;
    println!("{fault:?}: seed {seed}");
    run(seed).unwrap_or_else(|what| panic!("seed {seed} is not right without it either: {what}"));
    Some(seed)
}

#[test]
fn blocks_that_are_not_checked_are_found() {
    let run = |seed| damage(seed, Damaged::Newest, false);
    assert!(differs(Fault::BlocksUnchecked, run).is_some());
}

#[test]
fn records_that_are_not_checked_are_found() {
    assert!(differs(Fault::RecordsUnchecked, damage_log).is_some());
}
