//! Checkpoints are on their way to a node that was away for longer than the others remember, and
//! just then something happens to it, or to who sends them. Seeds seldom meet these moments.
//!
//! What a transfer leaves behind is given up after twenty seconds whatever happens: so who has to
//! be waited for is to be there in less.

use std::panic::{AssertUnwindSafe, catch_unwind};

use replication::checkpoint::catalogue::{is_temporary, parse_name};
use replication::fault::{Fault, plant};

use super::bounds::{MS, ask_once, leader, others, seen};
use super::plan::Plan;
use super::tests::plan;
use super::world::World;
use crate::sim::node::Waiting;

const SEEDS: u64 = 6;
/// Where once is seldom enough.
const ROUNDS: usize = 8;
/// Bytes of values, so that a checkpoint goes in several pieces.
const VALUE_BYTES: usize = 20_000;
/// In this time more is written than is remembered.
const AWAY_NS: u64 = 1_500 * MS;
/// Until a checkpoint begins to come.
const BEGIN_NS_MAX: u64 = 8_000 * MS;
/// Until a node has what the others have.
const CAUGHT_UP_NS_MAX: u64 = 10_000 * MS;
/// Kept in memory of a node that is to remember everything.
const ALL_BYTES: usize = 1 << 26;

/// What happens; nothing if what it is about did not come to be with this seed. An error says what
/// was not as it should be.
type Scenario = fn(&mut World) -> Result<bool, String>;

/// Three nodes that remember little, one shard, and clients that write all the time.
fn begin(seed: u64) -> Result<World, String> {
    let (nodes, shards, cores, operations) = (3, 1, 1, usize::MAX / 2);
    let kinds = 0;
    let plan = Plan { nodes, shards, cores, operations, kinds, forgetful: true, ..plan(seed) };
    let mut world = World::new(plan)?;
    world.run_until(BEGIN_NS_MAX, "a leader", |world| !world.leaders.is_empty())?;
    world.run_for(AWAY_NS)?;
    let machine = leader(&world);
    for key in ["first", "second", "third"] {
        ask_once(&mut world, machine, &[&["SET", key, &"x".repeat(VALUE_BYTES)]]);
    }
    Ok(world)
}

/// A follower that was away, and is sent a checkpoint of which it has a part.
fn send_part(world: &mut World) -> Result<usize, String> {
    let follower = others(leader(world))[0];
    world.stop(follower, false, AWAY_NS);
    world.run_until(BEGIN_NS_MAX, "a part of a checkpoint", |world| {
        world.machines[follower].node().is_some_and(|node| {
            let files = node.disk.files.list();
            files.iter().any(|(name, bytes)| is_temporary(name) && *bytes > 0)
        })
    })?;
    Ok(follower)
}

/// It has what who leads has now, soon.
fn await_caught_up(world: &mut World, machine: usize) -> Result<(), String> {
    let last = seen(&world.machines[leader(world)]).last;
    world.run_until(CAUGHT_UP_NS_MAX, "what the others have", |world| {
        let own = &world.machines[machine];
        own.is_up() && seen(own).applied >= last
    })
}

fn the_receiver_starts_again(world: &mut World) -> Result<bool, String> {
    let follower = send_part(world)?;
    world.stop(follower, true, MS);
    world.run_for(2 * MS)?;
    await_caught_up(world, follower).map(|()| true)
}

/// It leads again and sends another one: nobody else can, as the third node stands still.
fn the_sender_starts_again(world: &mut World) -> Result<bool, String> {
    let follower = send_part(world)?;
    let sender = leader(world);
    let third = others(sender).into_iter().find(|other| *other != follower).expect("of three");
    world.machines[third].paused_until_ns = world.now_ns + 2_000 * MS;
    world.stop(sender, false, MS);
    world.run_for(2_000 * MS)?;
    if leader(world) != sender {
        return Ok(false);
    }
    await_caught_up(world, follower).map(|()| true)
}

/// The sender goes away. The third node brings the receiver up to date from its memory, and hands
/// over to it; then the one that has sent lacks what only a checkpoint of the receiver has.
fn the_receiver_leads(world: &mut World) -> Result<bool, String> {
    let sender = leader(world);
    for machine in others(sender) {
        world.machines[machine].config.catch_up_memory_bytes =
            if machine == others(sender)[1] { ALL_BYTES } else { 0 };
    }
    world.stop(others(sender)[1], false, MS);
    world.run_for(1_000 * MS)?;
    if leader(world) != sender {
        return Ok(false);
    }
    let follower = send_part(world)?;
    world.stop(sender, false, 4_000 * MS);
    world.run_for(1_500 * MS)?;
    let third = leader(world);
    if third == sender || third == follower {
        return Ok(false);
    }
    await_caught_up(world, follower)?;
    world.add_to_all(third, || Waiting::Failover);
    world.run_for(2_000 * MS)?;
    if leader(world) != follower {
        return Ok(false);
    }
    let is_back = |world: &World| world.machines[sender].is_up();
    world.run_until(5_000 * MS, "who was away", is_back)?;
    await_caught_up(world, sender).map(|()| true)
}

/// What it confirms does not arrive, and then some entries do not arrive either: it is taken to
/// lack all that it has not confirmed.
fn the_receiver_has_come_further(world: &mut World) -> Result<bool, String> {
    for machine in 0..3 {
        world.machines[machine].config.catch_up_memory_bytes = 1_500;
        world.stop(machine, false, MS);
    }
    world.run_for(AWAY_NS)?;
    let sender = leader(world);
    for _ in 0..ROUNDS {
        let follower = others(sender)[world.rng.below(2) as usize];
        world.wires.cut = [(follower, sender)].into();
        world.run_for(150 * MS)?;
        ask_once(world, sender, &[&["BGSAVE"]]);
        world.run_for(20 * MS)?;
        let own = world.wires.of_machine(follower);
        for wire in world.wires.of_machine(sender) {
            if own.contains(&wire) {
                world.break_wire(wire);
            }
        }
        world.run_for(10 * MS)?;
        world.mend()?;
        if leader(world) != sender {
            return Ok(false);
        }
        await_caught_up(world, follower)?;
    }
    Ok(true)
}

/// Another checkpoint is there before the group has heard of it.
fn memory_is_read_beside(world: &mut World) -> Result<bool, String> {
    let follower = send_part(world)?;
    let sender = leader(world);
    world.machines[follower].memory_stands_until_ns = u64::MAX;
    let installs = |world: &World| {
        let own = &world.machines[follower];
        own.node().is_some_and(|node| node.disk.is_reading_memory())
    };
    world.run_until(CAUGHT_UP_NS_MAX, "memory to be read", installs)?;
    let index = seen(&world.machines[follower]).applied;
    let pairs = [(follower, sender), (sender, follower)];
    world.wires.cut = pairs.into();
    world.run_for(1_000 * MS)?;
    world.mend()?;
    let has_another = |world: &World| {
        world.machines[follower].node().is_some_and(|node| {
            let names = node.disk.files.list();
            names.iter().any(|(name, _)| parse_name(name).is_some_and(|(_, at)| at > index))
        })
    };
    if world.run_until(BEGIN_NS_MAX, "another", has_another).is_err() {
        return Ok(false);
    }
    world.wires.cut = pairs.into();
    world.machines[follower].memory_stands_until_ns = 0;
    world.run_for(500 * MS)?;
    world.mend()?;
    await_caught_up(world, follower).map(|()| true)
}

/// How often it came to be, or what was wrong.
fn try_all(scenario: Scenario) -> Result<usize, String> {
    let mut times = 0;
    for seed in 0..SEEDS {
        let mut world = begin(seed)?;
        let done = scenario(&mut world).and_then(|came| {
            world.left = 0;
            world.live().map(|()| came)
        });
        times += usize::from(done.map_err(|what| format!("seed {seed}: {what}"))?);
    }
    Ok(times)
}

/// All is right, and is not with the fault.
fn check(scenario: Scenario, fault: Fault) {
    let times = try_all(scenario).unwrap();
    assert!(times > 0, "it never came to be");
    plant(Some(fault));
    let verdict = catch_unwind(AssertUnwindSafe(|| try_all(scenario)));
    plant(None);
    println!("{fault:?}: {times} of {SEEDS}: {:?}", verdict.as_ref().ok());
    assert!(!matches!(verdict, Ok(Ok(_))), "{fault:?} is not found");
}

#[test]
fn a_receiver_that_starts_again_is_sent_the_beginning() {
    check(the_receiver_starts_again, Fault::RestartUnsaid);
}

#[test]
fn a_sender_that_starts_again_sends_another_one() {
    check(the_sender_starts_again, Fault::FirstReceivedKept);
}

#[test]
fn a_receiver_that_leads_waits_for_no_checkpoint() {
    check(the_receiver_leads, Fault::AbandonedAwaited);
}

#[test]
fn a_receiver_that_has_come_further_says_so() {
    check(the_receiver_has_come_further, Fault::FurtherUnsaid);
}

#[test]
fn memory_is_read_from_what_the_group_has_heard_of() {
    check(memory_is_read_beside, Fault::UnheardRead);
}
