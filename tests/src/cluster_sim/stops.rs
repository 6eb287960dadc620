//! A primary stops that nobody can take over from: what it began now would never be committed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use replication::fault::{Fault, plant};

use super::bounds::{MS, ask_once, leader, others};
use super::plan::Plan;
use super::tests::plan;
use super::world::World;
use crate::sim::node::Waiting;

const SEEDS: u64 = 4;
/// Several in each shard.
const KEYS: usize = 30;
/// The node holds its lease for longer, and its checkpoints are not there by then.
const KEY_MS: &str = "100";
const STOP_NS_MAX: u64 = 8_000 * MS;

/// Keys end while it stops and has yet to make checkpoints of some shards.
fn stop_alone(seed: u64) -> Result<(), String> {
    let (nodes, shards, cores, kinds) = (3, 3, 1, 0);
    let mut world = World::new(Plan { nodes, shards, cores, kinds, ..plan(seed) })?;
    world.run_for(1_500 * MS)?;
    world.left = 0;
    world.run_for(500 * MS)?;
    let primary = leader(&world);
    let keys: Vec<String> = (0..KEYS).map(|key| format!("key{key}")).collect();
    let sets = keys.iter().map(|key| ["SET", key, "value", "PX", KEY_MS]);
    let sets: Vec<_> = sets.collect();
    let mut commands: Vec<&[&str]> = sets.iter().map(|set| &set[..]).collect();
    commands.push(&["BGSAVE"]);
    ask_once(&mut world, primary, &commands);
    world.machines[primary].disk_slow_until_ns = world.now_ns + STOP_NS_MAX;
    for other in others(primary) {
        world.stop(other, false, STOP_NS_MAX);
    }
    // Until the node has heard of that.
    world.run_for(10 * MS)?;
    let stops = world.outcome.stops;
    world.add_to_all(primary, || Waiting::Shutdown);
    world.run_until(STOP_NS_MAX, "its end", |world| world.outcome.stops > stops)?;
    world.live()
}

fn stop_all() -> Result<(), String> {
    (0..SEEDS).try_for_each(|seed| stop_alone(seed).map_err(|what| format!("seed {seed}: {what}")))
}

#[test]
fn a_primary_that_stops_lets_no_key_end() {
    stop_all().unwrap();
    plant(Some(Fault::ExpiresStopping));
    let verdict = catch_unwind(AssertUnwindSafe(stop_all));
    plant(None);
    println!("{:?}", verdict.as_ref().ok());
    assert!(!matches!(verdict, Ok(Ok(()))), "it is not found");
}
