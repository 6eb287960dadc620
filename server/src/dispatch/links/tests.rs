//! Two nodes of real cores, driven by the runtime over sockets: messages for groups reach the core
//! that is their shard's home, again after the other node was away.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::hash::Hasher64;
use replication::group::NodeId;
use replication::ids::ShardId;
use replication::link::hello::DirectoryId;
use replication::log::{BlockBuffer, LogIdentity};

use crate::checkpoint::files::Files;
use crate::config::cluster::Cluster;
use crate::config::{Config, Durability};
use crate::core::Core;
use crate::core::io::{Input, Machine, Now, Output};
use crate::core::message::Message;
use crate::core::storage::StorageOperation;
use crate::dispatch::log_done::LogDone;
use crate::limits::FORWARDED_BYTES_MAX;
use crate::replica::transfer::OF_GROUP;
use crate::runtime::file::{Done, Operation};
use crate::runtime::{self, Drives, Running};
use crate::startup::recovery::Recovered;
use crate::startup::replay::{Replayed, empty_shards};
use crate::startup::starts::deal_out;

const CORES: usize = 2;
/// Messages sent to each shard of node 2 whenever there is a link with it, and one large one.
const MESSAGES: u64 = 200;
const PATIENCE: Duration = Duration::from_secs(20);

/// A core that talks as a group would, and tells how many messages it was given.
struct Talker {
    core: Core,
    links_before: u64,
    told: u64,
    counts: Sender<(u16, u64)>,
}

impl Talker {
    /// The messages of one core go by its own link, which ends at the same core over there.
    fn talk(&mut self) {
        let made = self.core.links.stats.made;
        let due = made > self.links_before && self.core.links.is_linked(NodeId(2));
        if self.core.id > 0 || !due {
            return;
        }
        self.links_before = made;
        for number in 0..MESSAGES {
            let shard = ShardId((number % CORES as u64) as u16);
            let len = if number < CORES as u64 { 2 * FORWARDED_BYTES_MAX } else { 100 };
            let mut message = vec![number as u8; len];
            message.push(OF_GROUP);
            assert!(self.core.links.send(NodeId(2), shard, &message));
        }
    }
}

impl Machine for Talker {
    type Message = Message;
    type LogDone = LogDone;
    type LogOperation = StorageOperation;

    fn begin_turn(&mut self, now: Now, mesh_waiting: &[u32]) {
        self.core.begin_turn(now, mesh_waiting);
    }

    fn on_input(&mut self, input: Input<'_, Message, LogDone>) {
        self.core.on_input(input);
    }

    fn end_turn(&mut self, outputs: &mut Vec<Output<Message, StorageOperation>>) -> Option<u64> {
        self.talk();
        let count = self.core.stats.group_messages_unknown;
        if count > self.told {
            self.told = count;
            // A test that has seen enough no longer listens.
            let _ = self.counts.send((self.core.id, count));
        }
        self.core.end_turn(outputs)
    }
}

impl Drives for Talker {
    type Buffer = BlockBuffer;

    fn into_operation(operation: StorageOperation) -> Operation<BlockBuffer> {
        Core::into_operation(operation)
    }

    fn from_done(done: Done<BlockBuffer>) -> LogDone {
        Core::from_done(done)
    }
}

/// A node that listens to others at `listen` and knows one, which is at `peer`.
fn start(
    node: u64,
    listen: SocketAddr,
    peer: (u64, SocketAddr),
) -> (Running, Receiver<(u16, u64)>) {
    let config = Config {
        cores: CORES,
        durability: Durability::None,
        cluster: Some(Cluster::of(
            7,
            NodeId(node),
            vec![(NodeId(node), listen), (NodeId(peer.0), peer.1)],
        )),
        ..Config::default()
    };
    let shards = empty_shards(CORES, Hasher64::new([1, 2, 3, 4]));
    let replayed = Replayed::default();
    let files = vec![Files::default(); CORES];
    let recovered = Recovered { shards, tails: Vec::new(), replayed, files };
    let directory = DirectoryId([node as u8; 16]);
    let known = Arc::new(crate::links::identity::Remembered::new(directory));
    let host = || -> Box<dyn crate::core::host::Host> {
        Box::new(runtime::host::Machine::new(known.clone()))
    };
    let starts = deal_out(&config, recovered, None, node, host);
    let starts = Mutex::new(starts.into_iter().map(Some).collect::<Vec<_>>());
    let (counts, heard) = channel();
    let runtime_config = runtime::Config {
        cores: Some(CORES),
        peer_listen: vec![listen],
        ..runtime::Config::default()
    };
    let running = runtime::start(runtime_config, move |core| {
        let mut start = starts.lock().unwrap()[usize::from(core.0)].take().unwrap();
        start.node = LogIdentity { cluster: 7, node, core: 0 };
        let core = Core::new(start);
        Ok(Talker { core, links_before: 0, told: 0, counts: counts.clone() })
    });
    (running.unwrap(), heard)
}

fn await_messages(heard: &Receiver<(u16, u64)>) {
    let mut counts = [0; CORES];
    while counts != [MESSAGES / CORES as u64; CORES] {
        let (core, count) = heard.recv_timeout(PATIENCE).expect("messages in time");
        counts[usize::from(core)] = count;
    }
}

fn stop(running: Running) {
    running.shutdown();
    running.wait().unwrap();
}

#[test]
fn messages_reach_the_core_of_their_shard_again_and_again() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    // The node with the lower id connects: the other need not know where it is.
    let (two, heard) = start(2, any, (1, any));
    let address = two.peer_addresses()[0];
    let (one, _heard_by_one) = start(1, any, (2, address));
    await_messages(&heard);
    stop(two);
    let (two, heard) = start(2, address, (1, any));
    await_messages(&heard);
    stop(one);
    stop(two);
}
