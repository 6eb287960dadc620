//! The bounds of `server/src/limits.rs` that hold between nodes: each is filled, what comes more
//! waits as its comment says, and goes on once there is room. Those of one node are in
//! `sim::bounds`.

use server::limits::{
    APPLIED_BYTES_PER_TURN_MAX, CATCH_UP_LOG_BYTES, CATCH_UP_MEMORY_BYTES, MEMBER_ENTRY,
    TUNNEL_BYTES_MAX, TUNNEL_COMMANDS_MAX, UNCOMMITTED_BYTES_MAX,
};

use super::client::Asked;
use super::machine::Machine;
use super::plan::Plan;
use super::tests::plan;
use super::wires::End;
use super::world::{Event, World};
use crate::harness::client::encode;
use crate::sim::node::Waiting;

pub const MS: u64 = 1_000_000;
const PATIENCE_NS: u64 = 20_000 * MS;

/// Three nodes without troubles and with roomy logs, one of which leads; client 0 is connected to
/// it, or to one that follows, and so is client 1.
fn begin(at_leader: bool) -> World {
    let (nodes, shards, cores, clients) = (3, 1, 1, 2);
    let plan = Plan { nodes, shards, cores, clients, operations: 0, kinds: 0, ..plan(1) };
    let mut world = World::new(plan).expect("nodes start");
    for machine in 0..3 {
        let config = &mut world.machines[machine].config;
        config.log_writes_in_flight = 4;
        config.log_segment_bytes = 8 << 20;
        config.checkpoint_log_bytes = 1 << 40;
        config.entry = MEMBER_ENTRY;
        config.catch_up_memory_bytes = CATCH_UP_MEMORY_BYTES;
        config.catch_up_log_bytes = CATCH_UP_LOG_BYTES;
        world.stop(machine, false, 1);
    }
    world.run_until(PATIENCE_NS, "a leader", |world| !world.leaders.is_empty()).unwrap();
    pass(&mut world, 1_000 * MS);
    let leader = leader(&world);
    let machine = if at_leader { leader } else { others(leader)[0] };
    (0..2).for_each(|client| connect(&mut world, client, machine));
    world
}

pub fn leader(world: &World) -> usize {
    *world.leaders.values().next_back().expect("one leads")
}

pub fn others(machine: usize) -> Vec<usize> {
    (0..3).filter(|other| *other != machine).collect()
}

/// A client that waits for ever.
pub fn connect(world: &mut World, client: usize, machine: usize) {
    let own = &mut world.clients[client];
    (own.machine, own.scripted, own.patient) = (machine, true, true);
    assert!(world.connect_client(client), "the node runs");
}

/// It sends a command so often, which is there at once.
pub fn ask(world: &mut World, client: usize, words: &[&str], times: usize) {
    let own = &mut world.clients[client];
    let wire = own.wire.expect("it is connected");
    own.asked.extend((0..times).map(|_| Asked {
        record: None,
        operation: None,
        replies: Vec::new(),
        second: false,
        since: None,
    }));
    let end = world.wires.get_mut(wire).map(|wire| wire.ends[1]);
    let Some(End::Node { machine, conn, .. }) = end else { panic!("a node is there") };
    world.add_for(machine, conn, Waiting::Received(conn, encode(words).repeat(times)));
}

/// All that it has asked is answered, with no error.
pub fn await_all(world: &mut World, client: usize) {
    let done = |world: &World| world.clients[client].asked.is_empty();
    world.run_until(PATIENCE_NS, "answers", done).unwrap();
}

/// A client of a node asks for this, is answered, and goes on as the others do.
pub fn ask_once(world: &mut World, machine: usize, commands: &[&[&str]]) {
    world.drop_client(0);
    connect(world, 0, machine);
    commands.iter().for_each(|words| ask(world, 0, words, 1));
    await_all(world, 0);
    world.drop_client(0);
    (world.clients[0].scripted, world.clients[0].patient) = (false, false);
}

/// So much time passes, and no more although nothing happens.
fn pass(world: &mut World, ns: u64) {
    world.after(ns, Event::Step { client: 0 });
    world.run_for(ns).unwrap();
}

pub fn seen(machine: &Machine) -> server::replica::seen::Seen {
    machine.node().and_then(|node| node.core(0).see_replica(0)).expect("it runs")
}

/// What client 0 of a follower has at the primary at most, commands and bytes, while that does not
/// answer and it asks for more and more.
fn fill_tunnel(value_bytes: usize, commands: usize) -> (usize, usize) {
    let mut world = begin(false);
    let follower = world.clients[0].machine;
    ask(&mut world, 1, &["SET", "key", "1"], 1);
    await_all(&mut world, 1);
    let before = world.wires.ids();
    ask(&mut world, 0, &["SET", "key", "1"], 1);
    await_all(&mut world, 0);
    let mut made = world.wires.ids();
    made.retain(|wire| !before.contains(wire));
    assert_eq!(made.len(), 1, "its way to the primary");
    world.wires.get_mut(made[0]).expect("it is there").stalled = true;
    ask(&mut world, 0, &["SET", "key", &"x".repeat(value_bytes)], commands);
    let (mut most, mut most_bytes) = (0, 0);
    for _ in 0..100 {
        pass(&mut world, MS);
        let core = world.machines[follower].node().expect("it runs").core(0);
        for (count, bytes) in core.see_passed_on() {
            (most, most_bytes) = (most.max(count), most_bytes.max(bytes));
        }
    }
    assert_eq!(world.clients[0].asked.len(), commands, "nothing is answered");
    // The others go on.
    ask(&mut world, 1, &["SET", "key", "2"], 1);
    await_all(&mut world, 1);
    world.unstall(made[0]).unwrap();
    await_all(&mut world, 0);
    (most, most_bytes)
}

#[test]
fn a_client_has_so_many_commands_at_the_primary() {
    let (commands, bytes) = fill_tunnel(1, 2 * TUNNEL_COMMANDS_MAX);
    assert!(bytes < TUNNEL_BYTES_MAX, "{bytes} bytes");
    assert_eq!(commands, TUNNEL_COMMANDS_MAX + 1, "the one too many is the last one");
}

#[test]
fn a_clients_commands_at_the_primary_have_so_many_bytes() {
    const VALUE_BYTES: usize = 100_000;
    let (_, bytes) = fill_tunnel(VALUE_BYTES, 2 * TUNNEL_BYTES_MAX / VALUE_BYTES);
    let most = TUNNEL_BYTES_MAX + VALUE_BYTES + 100;
    assert!((TUNNEL_BYTES_MAX + 1..most).contains(&bytes), "{bytes} bytes");
}

/// Nobody but the leader has anything on its disk: what client 0 writes is not committed. The
/// leader, and what it appended at most.
fn fill_leader(world: &mut World) -> usize {
    const VALUE_BYTES: usize = 1 << 20;
    let leader = leader(world);
    for other in others(leader) {
        world.machines[other].disk_stands_until_ns = world.now_ns + 200 * MS;
    }
    let value = "x".repeat(VALUE_BYTES);
    let mut most = 0;
    let values = UNCOMMITTED_BYTES_MAX * 3 / 2 / VALUE_BYTES;
    // Its own disk has the time to take all that there is.
    for place in 0..values + 70 {
        if place < values {
            ask(world, 0, &["SET", "key", &value], 1);
        }
        pass(world, MS);
        most = most.max(seen(&world.machines[leader]).uncommitted_bytes);
    }
    // What a turn appends comes on top.
    let limit = UNCOMMITTED_BYTES_MAX + MEMBER_ENTRY.closed_bytes + 2 * VALUE_BYTES;
    assert!((UNCOMMITTED_BYTES_MAX..limit).contains(&most), "{most} bytes");
    leader
}

#[test]
fn clients_wait_while_too_much_is_not_committed() {
    let mut world = begin(true);
    fill_leader(&mut world);
    ask(&mut world, 1, &["PING"], 1);
    pass(&mut world, 20 * MS);
    assert_eq!(world.clients[1].asked.len(), 1, "it is not answered");
    (0..2).for_each(|client| await_all(&mut world, client));
}

/// Who led with too much that was not committed, and leads no more, waits for nothing.
#[test]
fn a_leader_that_is_replaced_with_too_much_uncommitted_serves_as_a_follower() {
    let mut world = begin(true);
    let before = fill_leader(&mut world);
    let cut = others(before).into_iter().flat_map(|other| [(before, other), (other, before)]);
    world.wires.cut = cut.collect();
    let replaced = |world: &World| leader(world) != before;
    world.run_until(PATIENCE_NS, "another leader", replaced).unwrap();
    world.mend().unwrap();
    pass(&mut world, 5_000 * MS);
    assert!(replaced(&world));
    assert_eq!(seen(&world.machines[before]).uncommitted_bytes, 0);
    (0..2).for_each(|client| world.drop_client(client));
    connect(&mut world, 0, before);
    ask(&mut world, 0, &["SET", "key", "1"], 1);
    await_all(&mut world, 0);
}

/// A follower is away while more is written than is kept in memory for it: the rest comes from the
/// log, and nobody waits.
#[test]
fn a_leader_keeps_so_many_bytes_in_memory_for_who_is_away() {
    const VALUE_BYTES: usize = 1 << 20;
    const VALUES: usize = CATCH_UP_MEMORY_BYTES * 3 / 2 / VALUE_BYTES;
    let mut world = begin(true);
    let leader = leader(&world);
    let away = others(leader)[0];
    world.stop(away, false, 3_000 * MS);
    let value = "x".repeat(VALUE_BYTES);
    let mut most = 0;
    for _ in 0..VALUES {
        ask(&mut world, 0, &["SET", "key", &value], 1);
        await_all(&mut world, 0);
        most = most.max(seen(&world.machines[leader]).kept_bytes);
    }
    // As a turn leaves it.
    let bound = CATCH_UP_MEMORY_BYTES;
    assert!(most <= bound && most + 2 * VALUE_BYTES > bound, "{most} bytes");
    assert!(world.machines[away].node().is_none(), "it is away");
    let last = seen(&world.machines[leader]).last;
    let has_all = |world: &World| {
        let away = &world.machines[away];
        away.node().is_some() && seen(away).applied >= last
    };
    world.run_until(PATIENCE_NS, "all that it lacked", has_all).unwrap();
    let core = world.machines[leader].node().expect("it runs").core(0);
    let from_log = core.see_bytes_from_log() as usize;
    assert!(from_log > VALUES * VALUE_BYTES / 4, "{from_log} bytes");
    assert_eq!(core.see_checkpoints_received(), 0);
}

/// The leader hears late, and all at once, that much is on the others' disks.
#[test]
fn a_follower_applies_so_much_a_turn() {
    const VALUE_BYTES: usize = 100_000;
    const ENTRIES: u64 = 60;
    let mut world = begin(true);
    let leader = leader(&world);
    let followers = others(leader);
    let at = |world: &World| seen(&world.machines[followers[0]]);
    let before = at(&world).applied;
    world.wires.cut = followers.iter().map(|follower| (*follower, leader)).collect();
    for _ in 0..ENTRIES {
        ask(&mut world, 0, &["SET", "key", &"x".repeat(VALUE_BYTES)], 1);
        pass(&mut world, MS);
    }
    pass(&mut world, 50 * MS);
    assert_eq!((at(&world).last.0, at(&world).applied), (before.0 + ENTRIES, before));
    world.mend().unwrap();
    let (mut applied, mut most) = (before.0, 0);
    let until_ns = world.now_ns + PATIENCE_NS;
    while applied < before.0 + ENTRIES && world.now_ns < until_ns {
        world.step().unwrap();
        let now = at(&world).applied.0;
        most = most.max(now - applied);
        applied = now;
    }
    assert_eq!(applied, before.0 + ENTRIES);
    assert_eq!(most, APPLIED_BYTES_PER_TURN_MAX.div_ceil(VALUE_BYTES) as u64, "entries in a turn");
    await_all(&mut world, 0);
}
