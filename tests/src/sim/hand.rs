//! A node turned by hand, whose disk answers when told to: for tests that bring a core to a bound.

use std::collections::BTreeMap;

use engine::rng::Rng;
use engine::slot::{shard_of_slot, slot_of};
use server::config::Config;
use server::core::io::ConnId;

use super::client::{Reply, parse};
use super::disk::Disk;
use super::node::{Effect, Node, Waiting};

/// Turns in which everything that goes on comes to its end.
pub const TURNS_MAX: usize = 20_000;

/// A node turned by hand.
pub struct Hand {
    pub node: Node,
    pub now_ns: u64,
    pub received: BTreeMap<u32, Vec<u8>>,
    /// Operations of the disk that have not ended, while it is held.
    pub disk: Vec<(u16, u64)>,
    /// So many were begun since this was last set.
    pub operations: usize,
    /// Messages to each core since this was last looked at.
    pub messages: BTreeMap<u16, usize>,
    /// Clients read nothing: sends stay under way.
    pub unread: bool,
    pub sending: Vec<(ConnId, Vec<u8>)>,
    pub paused: Vec<u32>,
    pub closed: Vec<u32>,
}

pub fn client(number: u32) -> ConnId {
    ConnId { index: number, generation: 1 }
}

impl Hand {
    /// Clients 0 to `clients` are on core 0.
    pub fn start(config: Config, clients: u32) -> Hand {
        Hand::start_from(config, Disk::default(), clients)
    }

    pub fn start_from(config: Config, disk: Disk, clients: u32) -> Hand {
        let mut hand = Hand::begin(config, disk, clients);
        hand.settle();
        hand
    }

    /// Before its first turn.
    pub fn begin(config: Config, disk: Disk, clients: u32) -> Hand {
        let node = Node::start(&config, disk, &mut Rng::new(5));
        let node = node.map_err(|no| no.message).expect("it starts");
        let (received, messages) = (BTreeMap::new(), BTreeMap::new());
        let (disk, paused, closed) = (Vec::new(), Vec::new(), Vec::new());
        let (now_ns, operations, unread, sending) = (1, 0, false, Vec::new());
        let mut hand = Hand {
            node,
            now_ns,
            received,
            disk,
            operations,
            messages,
            unread,
            sending,
            paused,
            closed,
        };
        (0..clients).for_each(|number| hand.node.add(0, Waiting::Accepted(client(number))));
        hand
    }

    pub fn send(&mut self, number: u32, bytes: Vec<u8>) {
        self.node.add(0, Waiting::Received(client(number), bytes));
    }

    /// One turn; whether anything came of it.
    pub fn turn(&mut self, core: u16) -> bool {
        self.now_ns += 10_000;
        let mut any = false;
        for effect in self.node.turn(core, self.now_ns) {
            any |= !matches!(effect, Effect::Wake(_));
            match effect {
                Effect::Send { conn, bytes } if self.unread => self.sending.push((conn, bytes)),
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
                Effect::Connect { .. } | Effect::HandOver { .. } => {
                    unreachable!("a node without peers connects to none")
                }
                Effect::Fail(message) => panic!("nothing fails here, but {message}"),
                Effect::Wake(at_ns) => any |= at_ns <= self.now_ns,
            }
        }
        any
    }

    /// Until nothing goes on, with a disk that answers at once.
    pub fn settle(&mut self) {
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

    /// A client reads all that was sent to it.
    pub fn read(&mut self, number: u32) {
        let taken = self.sending.extract_if(.., |(conn, _)| conn.index == number);
        for (conn, bytes) in taken.collect::<Vec<_>>() {
            self.received.entry(number).or_default().extend_from_slice(&bytes);
            self.node.add(0, Waiting::Sent(conn, bytes));
        }
    }

    /// What a client has got since this was last asked.
    pub fn text(&mut self, number: u32) -> String {
        String::from_utf8(self.received.remove(&number).unwrap_or_default()).expect("text")
    }

    /// How many replies a client has got since this was last asked; none is an error.
    pub fn replies(&mut self, number: u32) -> usize {
        let bytes = self.received.remove(&number).unwrap_or_default();
        let (mut used, mut count) = (0, 0);
        while let Some((reply, len)) = parse(&bytes[used..]).expect("replies") {
            assert!(!matches!(reply, Reply::Error(_)), "{reply:?}");
            (used, count) = (used + len, count + 1);
        }
        assert_eq!(used, bytes.len(), "whole replies");
        count
    }
}

pub fn config(cores: usize) -> Config {
    Config {
        cores,
        shards: Some(cores),
        log_segment_bytes: 64 << 20,
        checkpoint_log_bytes: 1 << 40,
        ..Config::default()
    }
}

/// A key of a shard, which of two cores is the core's own.
pub fn key(shard: usize, tag: &str) -> String {
    let mut names = (0..).map(|number| format!("{tag}:{number}"));
    let of_shard = |name: &String| shard_of_slot(slot_of(name.as_bytes()), 2) == shard;
    names.find(of_shard).expect("every shard has keys")
}
