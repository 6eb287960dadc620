//! The bounds of `server/src/limits.rs` that a core keeps for itself: each is filled, what comes
//! more waits or is refused as its comment says, and goes on once there is room.

use std::collections::BTreeMap;

use engine::rng::Rng;
use engine::slot::{shard_of_slot, slot_of};
use server::config::Config;
use server::core::io::ConnId;
use server::limits::{
    COMMANDS_AHEAD_MAX, COMMANDS_PER_CLIENT_AND_TURN_MAX, EXPECTED_ANSWERS_MAX,
    EXPIRED_PER_TURN_MAX, FORWARDED_BYTES_MAX, GATHERED_OPERATIONS_MAX, HOUSEKEEPING_PERIOD_NS,
    LOG_QUEUED_BYTES_MAX, MESH_WAITING_MAX, UNSENT_REPLY_BYTES_MAX, WAITING_QUERY_BYTES_MAX,
};

use super::client::parse;
use super::disk::Disk;
use super::node::{Effect, Node, Waiting};
use crate::harness::client::encode;

/// Turns in which everything that goes on comes to its end.
const TURNS_MAX: usize = 20_000;

/// A node turned by hand.
struct Hand {
    node: Node,
    now_ns: u64,
    received: BTreeMap<u32, Vec<u8>>,
    /// Operations of the disk that have not ended, while it is held.
    disk: Vec<(u16, u64)>,
    /// So many were begun since this was last set.
    operations: usize,
    /// Messages to each core since this was last looked at.
    messages: BTreeMap<u16, usize>,
    paused: Vec<u32>,
    closed: Vec<u32>,
}

fn client(number: u32) -> ConnId {
    ConnId { index: number, generation: 1 }
}

impl Hand {
    /// Clients 0 to `clients` are on core 0.
    fn start(config: Config, clients: u32) -> Hand {
        let node = Node::start(&config, Disk::default(), &mut Rng::new(5));
        let node = node.map_err(|no| no.message).expect("it starts");
        let (received, messages) = (BTreeMap::new(), BTreeMap::new());
        let (disk, paused, closed) = (Vec::new(), Vec::new(), Vec::new());
        let (now_ns, operations) = (1, 0);
        let mut hand = Hand { node, now_ns, received, disk, operations, messages, paused, closed };
        (0..clients).for_each(|number| hand.node.add(0, Waiting::Accepted(client(number))));
        hand.settle();
        hand
    }

    fn send(&mut self, number: u32, bytes: Vec<u8>) {
        self.node.add(0, Waiting::Received(client(number), bytes));
    }

    /// One turn; whether anything came of it.
    fn turn(&mut self, core: u16) -> bool {
        self.now_ns += 10_000;
        let mut any = false;
        for effect in self.node.turn(core, self.now_ns) {
            any |= !matches!(effect, Effect::Wake(_));
            match effect {
                Effect::Send { conn, bytes } => {
                    self.received.entry(conn.index).or_default().extend_from_slice(&bytes);
                    self.node.add(core, Waiting::Sent(conn, bytes));
                }
                Effect::Mesh(to) => *self.messages.entry(to).or_default() += 1,
                Effect::Disk(operation) => {
                    self.operations += 1;
                    self.disk.push((core, operation));
                }
                Effect::Pause(conn) => self.paused.push(conn.index),
                Effect::Resume(conn) => self.paused.retain(|paused| *paused != conn.index),
                Effect::Close(conn) => self.closed.push(conn.index),
                Effect::Connect { .. } => unreachable!("a node without peers connects to none"),
                Effect::Fail(message) => panic!("nothing fails here, but {message}"),
                Effect::Wake(at_ns) => any |= at_ns <= self.now_ns,
            }
        }
        any
    }

    /// Until nothing goes on, with a disk that answers at once.
    fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            let mut any = !self.disk.is_empty();
            for (core, operation) in std::mem::take(&mut self.disk) {
                self.node.finish_disk(core, operation);
            }
            for core in 0..self.node.cores() {
                any |= self.turn(core);
            }
            if !any {
                return;
            }
        }
        panic!("it does not come to an end");
    }

    /// How many replies a client has got since this was last asked; none is an error.
    fn replies(&mut self, number: u32) -> usize {
        let bytes = self.received.remove(&number).unwrap_or_default();
        let (mut used, mut count) = (0, 0);
        while let Some((reply, len)) = parse(&bytes[used..]).expect("replies") {
            assert!(!matches!(reply, super::client::Reply::Error(_)), "{reply:?}");
            (used, count) = (used + len, count + 1);
        }
        assert_eq!(used, bytes.len(), "whole replies");
        count
    }
}

fn config(cores: usize) -> Config {
    Config {
        cores,
        shards: Some(cores),
        log_segment_bytes: 64 << 20,
        checkpoint_log_bytes: 1 << 40,
        ..Config::default()
    }
}

/// A key of a shard, which of two cores is the core's own.
fn key(shard: usize, tag: &str) -> String {
    let mut names = (0..).map(|number| format!("{tag}:{number}"));
    let of_shard = |name: &String| shard_of_slot(slot_of(name.as_bytes()), 2) == shard;
    names.find(of_shard).expect("every shard has keys")
}

#[test]
fn a_slow_log_holds_clients_back_and_lets_them_go_on() {
    const VALUE_BYTES: usize = 512 * 1024;
    let mut hand = Hand::start(config(1), 2);
    let value = "x".repeat(VALUE_BYTES);
    let mut sent = 0;
    // The disk does not answer: what is appended waits, then what is received.
    while hand.paused.is_empty() {
        hand.send(0, encode(&["SET", "key", &value]));
        hand.turn(0);
        sent += 1;
        let taken = sent * VALUE_BYTES;
        // Two values of slack: a command is not cut, and one write is under way.
        let most = LOG_QUEUED_BYTES_MAX + UNSENT_REPLY_BYTES_MAX + 3 * VALUE_BYTES;
        assert!(taken < most, "{taken} bytes were taken");
    }
    assert!(sent * VALUE_BYTES > LOG_QUEUED_BYTES_MAX, "{sent} values are few");
    hand.send(1, encode(&["PING"]));
    (0..10).for_each(|_| {
        hand.turn(0);
    });
    assert_eq!(hand.replies(1), 0, "all clients of the core wait");
    hand.settle();
    assert_eq!((hand.replies(0), hand.replies(1)), (sent, 1));
    assert!(hand.paused.is_empty());
}

#[test]
fn a_core_that_takes_its_messages_too_slowly_holds_the_others_clients_back() {
    let mut hand = Hand::start(config(2), 1);
    for (waiting, answers) in [(MESH_WAITING_MAX, 1), (MESH_WAITING_MAX + 1, 0), (0, 2)] {
        hand.node.mesh_waiting = waiting;
        hand.send(0, encode(&["PING"]));
        (0..4).for_each(|_| {
            hand.turn(0);
        });
        assert_eq!(hand.replies(0), answers, "{waiting} messages wait");
    }
}

#[test]
fn a_long_pipeline_gives_way_to_other_clients() {
    let mut hand = Hand::start(config(1), 2);
    hand.send(0, encode(&["GET", "key"]).repeat(5_000));
    hand.send(1, encode(&["PING"]));
    hand.turn(0);
    let first = hand.replies(0);
    // Once as they come, and once more when all clients have had their turn.
    let most = 2 * (COMMANDS_PER_CLIENT_AND_TURN_MAX + COMMANDS_AHEAD_MAX);
    assert!(first > 0 && first <= most, "{first} commands of one client in a turn");
    assert_eq!(hand.replies(1), 1, "the other one is served in the same turn");
    hand.settle();
    assert_eq!(hand.replies(0), 5_000 - first);
}

#[test]
fn a_client_with_much_to_run_is_not_received_from() {
    let mut hand = Hand::start(config(1), 1);
    let commands = encode(&["GET", "key"]).repeat(10_000);
    let len = commands.len();
    hand.send(0, commands);
    hand.turn(0);
    let first = hand.replies(0);
    assert!(len - first * len / 10_000 > WAITING_QUERY_BYTES_MAX, "{first} were run");
    assert_eq!(hand.paused, [0]);
    hand.settle();
    assert_eq!(hand.replies(0), 10_000 - first);
    assert!(hand.paused.is_empty());
}

#[test]
fn so_many_commands_of_a_client_are_under_way_on_other_cores() {
    let mut hand = Hand::start(config(2), 1);
    let other = key(1, "key");
    hand.send(0, encode(&["GET", &other]).repeat(1_000));
    let (mut answered, mut trips) = (0, 0);
    while answered < 1_000 && trips < TURNS_MAX {
        hand.turn(0);
        // Replies of several trips may leave together.
        answered += hand.replies(0);
        hand.turn(1);
        trips += 1;
    }
    assert_eq!(answered, 1_000);
    // What is read ahead is looked at as a whole.
    let least = 1_000 / (EXPECTED_ANSWERS_MAX + COMMANDS_AHEAD_MAX);
    assert!(trips > least, "a thousand commands went in {trips} trips");
}

#[test]
fn what_is_collected_for_another_core_goes_on_when_it_is_much() {
    let mut hand = Hand::start(config(2), 1);
    hand.messages.clear();
    let value = "x".repeat(FORWARDED_BYTES_MAX * 2 / 3);
    let set = encode(&["SET", &key(1, "key"), &value]);
    hand.send(0, set.repeat(6));
    hand.turn(0);
    assert!(hand.messages[&1] >= 2, "{:?} messages with 4 MiB", hand.messages);
    hand.settle();
    assert_eq!(hand.replies(0), 6);
}

#[test]
fn more_transactions_than_one_trip_takes_are_all_answered() {
    let clients = 3 * GATHERED_OPERATIONS_MAX as u32;
    let mut hand = Hand::start(config(2), clients);
    for number in 0..clients {
        let (here, there) = (key(0, &number.to_string()), key(1, &number.to_string()));
        hand.send(number, encode(&["MSET", &here, "1", &there, "1"]).repeat(2));
    }
    hand.settle();
    (0..clients).for_each(|number| assert_eq!(hand.replies(number), 2, "client {number}"));
}

#[test]
fn keys_expire_some_a_turn() {
    let mut hand = Hand::start(config(1), 1);
    let keys = 3 * EXPIRED_PER_TURN_MAX;
    let set = |n: usize| encode(&["SET", &format!("key:{n}"), "x", "PX", "1000"]);
    hand.send(0, (0..keys).flat_map(set).collect());
    hand.settle();
    assert_eq!(hand.replies(0), keys);
    hand.now_ns += 2_000_000_000;
    hand.operations = 0;
    for _ in 0..10 {
        hand.now_ns += HOUSEKEEPING_PERIOD_NS;
        hand.settle();
    }
    // Each turn that deletes some writes its own entry.
    assert!(hand.operations >= 3, "{keys} keys went in {} turns", hand.operations);
    hand.send(0, encode(&["DBSIZE"]));
    hand.settle();
    assert_eq!(hand.received.remove(&0).as_deref(), Some(&b":0\r\n"[..]));
}

#[test]
fn a_query_that_grows_beyond_its_limit_and_one_client_too_many_are_closed() {
    let limit = 1 << 20;
    let config = Config { query_buffer_bytes_max: limit, maxclients: 2, ..config(1) };
    let mut hand = Hand::start(config, 2);
    hand.send(0, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4000000\r\n".to_vec());
    let mut sent = 0;
    while hand.closed.is_empty() {
        hand.send(0, vec![b'x'; 16 * 1024]);
        hand.turn(0);
        sent += 16 * 1024;
        assert!(sent <= limit + 16 * 1024, "{sent} bytes were kept");
    }
    assert!(sent > limit - 16 * 1024, "{sent} bytes are few");
    hand.node.add(0, Waiting::Accepted(client(2)));
    hand.node.add(0, Waiting::Accepted(client(3)));
    hand.settle();
    let said = hand.received.remove(&3).expect("a reply");
    assert_eq!(said, b"-ERR max number of clients reached\r\n");
    assert_eq!(hand.closed, [0, 3]);
}

#[test]
fn a_server_that_stops_closes_new_clients_without_a_word() {
    let mut hand = Hand::start(config(1), 1);
    hand.node.add(0, Waiting::Shutdown);
    hand.node.add(0, Waiting::Accepted(client(1)));
    hand.settle();
    assert_eq!((hand.received.get(&1), &hand.closed[..]), (None, &[1][..]));
}
