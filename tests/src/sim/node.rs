//! A node: its cores, the mesh between them, its disk. Time and order of events come from the
//! world.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::hash::Hasher64;
use engine::keyspace::{Shard, Shards};
use engine::rng::Rng;
use replication::ids::{Incarnation, ShardId};
use replication::link::hello::DirectoryId;
use replication::log::recovery::read_chain;
use replication::log::{LogIdentity, Tail, recover};
use replication::release::resolve::Placed;
use server::checkpoint::files::Files;
use server::config::Config;
use server::config::cluster::Cluster;
use server::core::Core;
use server::core::host::Host;
use server::core::io::{ConnId, Input, Machine, Now, OsError, Output, Port};
use server::core::message::Message;
use server::core::storage::StorageOperation;
use server::dispatch::log_done::LogDone;
use server::links::identity::{Acquaintances, Remembered};
use server::replica::handover::FailoverOrder;
use server::replica::members::MembersOrder;
use server::replica::rebuild::{RebuildOrder, Rebuilt};
use server::startup::checkpoints::{CheckpointDirectory, LoadPlan};
use server::startup::identity::Identity;
use server::startup::rebuild::{apply_logs, load_checkpoint};
use server::startup::recovery::{Recovered, check_released};
use server::startup::replay::{Bases, EntryStream, apply_in_order, place};
use server::startup::starts::deal_out;

use super::disk::{Disk, LogSource, UnderWay};

pub const IDENTITY: LogIdentity = LogIdentity { cluster: 0x51, node: 1, core: 0 };

/// The monotonic clock as a core sees it in the middle of a turn, set by the world: zero where no
/// time passes within a turn.
pub type TurnClock = Arc<AtomicU64>;

/// Whom a node's directory knows.
pub type Known = Arc<Remembered>;

/// There are no files but the logs.
struct Still(TurnClock, Known);

impl Host for Still {
    fn monotonic_ns(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn thread_cpu_ns(&self) -> u64 {
        0
    }

    fn sleep_ns(&self, _ns: u64) {}

    fn acquaintances(&self) -> Arc<dyn Acquaintances> {
        self.1.clone()
    }

    fn read_text(&self, _path: &Path) -> io::Result<String> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn replace_text(&self, _path: &Path, _text: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

pub const ECONNREFUSED: i32 = 111;
const EPIPE: i32 = 32;

/// The wall clock at the start of time.
const EPOCH_MS: i64 = 1_700_000_000_000;

/// What waits for a core's next turn.
pub enum Waiting {
    Accepted(ConnId),
    /// By the port of other nodes.
    AcceptedPeer(ConnId),
    Received(ConnId, Vec<u8>),
    Ended(ConnId),
    Sent(ConnId, Vec<u8>),
    SentPart(ConnId),
    SendFailed(ConnId),
    /// What became of a connect to another node.
    Connected(u64, Result<ConnId, OsError>),
    Log(LogDone),
    Shutdown,
    Failover,
    /// What an operator asks the primary for.
    Members(MembersOrder),
}

/// What a turn asks of the world.
pub enum Effect {
    /// Bytes for a client, and whether the core waits to hear that they are out.
    Send {
        conn: ConnId,
        bytes: Vec<u8>,
    },
    Close(ConnId),
    /// Connect to another node; only of a node with peers.
    Connect {
        attempt: u64,
        address: SocketAddr,
    },
    /// A connection is for another core, with what was read of it.
    HandOver {
        conn: ConnId,
        to: u16,
        bytes: Vec<u8>,
    },
    /// Nothing more is to be read of it, or again.
    Pause(ConnId),
    Resume(ConnId),
    /// A core has a message, or an answer of the network.
    Mesh(u16),
    /// A disk operation has begun.
    Disk(u64),
    /// The core wants a turn at this time.
    Wake(u64),
    /// The process ends.
    Fail(String),
}

struct Seat {
    core: Core,
    mesh: VecDeque<(u16, Message)>,
    waiting: VecDeque<Waiting>,
    stopped: bool,
}

/// A start was refused; the disk is as it was.
pub struct NoStart {
    pub disk: Disk,
    pub message: String,
}

pub struct Node {
    seats: Vec<Seat>,
    pub disk: Disk,
    /// Messages that each core is told to wait for each other because its ring is full.
    pub mesh_waiting: u32,
    /// How far the wall clock is ahead of the monotonic one.
    pub wall_ahead_ms: i64,
    /// There is a network with other nodes: the world connects.
    has_peers: bool,
}

struct Entries(std::iter::Peekable<std::vec::IntoIter<Placed<Vec<u8>>>>);

impl EntryStream for Entries {
    type Payload = Vec<u8>;

    fn peek(&mut self) -> Option<Incarnation> {
        self.0.peek().map(|entry| entry.incarnation)
    }

    fn next(&mut self) -> Option<Placed<Vec<u8>>> {
        self.0.next()
    }
}

impl Node {
    /// Starts from what is on the disk, as the server does.
    pub fn start(config: &Config, disk: Disk, rng: &mut Rng) -> Result<Node, Box<NoStart>> {
        let known = Arc::new(Remembered::new(DirectoryId([1; 16])));
        Node::start_with(config, disk, rng, (TurnClock::default(), known), false)
    }

    /// As one of several, with a clock that goes on within a turn.
    pub fn start_among_peers(
        config: &Config,
        disk: Disk,
        rng: &mut Rng,
        clock: TurnClock,
        known: Known,
    ) -> Result<Node, Box<NoStart>> {
        Node::start_with(config, disk, rng, (clock, known), true)
    }

    fn start_with(
        config: &Config,
        mut disk: Disk,
        rng: &mut Rng,
        world: (TurnClock, Known),
        has_peers: bool,
    ) -> Result<Node, Box<NoStart>> {
        match Node::recover(config, &mut disk, rng, world) {
            Ok(seats) => Ok(Node { seats, disk, mesh_waiting: 0, wall_ahead_ms: 0, has_peers }),
            Err(message) => Err(Box::new(NoStart { disk, message })),
        }
    }

    fn recover(
        config: &Config,
        disk: &mut Disk,
        rng: &mut Rng,
        (clock, known): (TurnClock, Known),
    ) -> Result<Vec<Seat>, String> {
        let hasher = Hasher64::new(std::array::from_fn(|_| rng.next_u64()));
        let recovered = recover_disk(config, disk, hasher)?;
        let identity = log_identity(&identity_of(config), 0);
        let host = || -> Box<dyn Host> { Box::new(Still(clock.clone(), known.clone())) };
        let starts = deal_out(config, recovered, Some(identity), rng.next_u64(), host);
        let seat =
            |core| Seat { core, mesh: VecDeque::new(), waiting: VecDeque::new(), stopped: false };
        Ok(starts.into_iter().map(|start| seat(Core::new(start))).collect())
    }

    /// A core's logic, to look at.
    pub fn core(&self, core: u16) -> &Core {
        &self.seats[usize::from(core)].core
    }

    pub fn cores(&self) -> u16 {
        self.seats.len() as u16
    }

    /// Every core has stopped in good order.
    pub fn has_stopped(&self) -> bool {
        self.seats.iter().all(|seat| seat.stopped)
    }

    pub fn add(&mut self, core: u16, input: Waiting) {
        self.seats[usize::from(core)].waiting.push_back(input);
    }

    /// Ends a disk operation of a core well.
    pub fn finish_disk(&mut self, core: u16, operation: u64) {
        let ended = self.disk.finish(core, operation);
        let done = log_done(&mut self.disk, ended, Ok(()));
        self.add(core, Waiting::Log(done));
    }

    /// Ends a disk operation of a core with an error.
    pub fn fail_disk(&mut self, core: u16, operation: u64, errno: i32, rng: &mut Rng) {
        let ended = self.disk.fail(core, operation, rng);
        let done = log_done(&mut self.disk, ended, Err(OsError(errno)));
        self.add(core, Waiting::Log(done));
    }

    /// One turn of a core with everything that waits for it, as the runtime gives it: other cores'
    /// messages first. One that has stopped goes on for those that have not.
    pub fn turn(&mut self, core: u16, now_ns: u64) -> Vec<Effect> {
        let cores = self.seats.len();
        let seat = &mut self.seats[usize::from(core)];
        let since_ms = (now_ns / 1_000_000) as i64 + self.wall_ahead_ms;
        let unix_us = (EPOCH_MS + self.wall_ahead_ms) * 1000 + (now_ns / 1000) as i64;
        let now = Now { unix_ms: EPOCH_MS + since_ms, unix_us, mono_ns: now_ns };
        seat.core.begin_turn(now, &vec![self.mesh_waiting; cores]);
        for (from, message) in seat.mesh.drain(..) {
            seat.core.on_input(Input::Mesh { from, message });
        }
        let own = |input: &Waiting| matches!(input, Waiting::Log(_) | Waiting::Sent(..));
        let (own, clients): (Vec<_>, Vec<_>) = seat.waiting.drain(..).partition(own);
        for input in own.into_iter().chain(clients) {
            deliver(&mut seat.core, input);
        }
        let mut outputs = Vec::new();
        let wake = seat.core.end_turn(&mut outputs);
        let goes_on = !outputs.iter().any(|output| matches!(output, Output::Fail(_)));
        let forgotten = seat.core.see_forgotten_changes().filter(|_| goes_on);
        assert!(forgotten.is_none(), "what changed in shard {forgotten:?} is in no entry");
        let mut effects: Vec<Effect> =
            outputs.into_iter().filter_map(|output| self.carry_out(core, output)).collect();
        effects.extend(wake.map(Effect::Wake));
        effects
    }

    fn carry_out(
        &mut self,
        core: u16,
        output: Output<Message, StorageOperation>,
    ) -> Option<Effect> {
        match output {
            Output::Send { conn, bytes, await_sent: _ } => Some(Effect::Send { conn, bytes }),
            Output::Close { conn } => Some(Effect::Close(conn)),
            Output::PauseReceive { conn } => Some(Effect::Pause(conn)),
            Output::ResumeReceive { conn } => Some(Effect::Resume(conn)),
            Output::Connect { attempt, address } if self.has_peers => {
                Some(Effect::Connect { attempt, address })
            }
            // There is no other node: nobody listens, and nobody came by the port of peers.
            Output::Connect { attempt, .. } => {
                self.add(core, Waiting::Connected(attempt, Err(OsError(ECONNREFUSED))));
                Some(Effect::Mesh(core))
            }
            Output::HandOver { conn, to, bytes } => Some(Effect::HandOver { conn, to, bytes }),
            Output::Mesh { to, message } => {
                self.seats[usize::from(to)].mesh.push_back((core, message));
                Some(Effect::Mesh(to))
            }
            Output::Log(operation) => Some(Effect::Disk(self.disk.start(core, operation))),
            // Its clients are never silent for so long.
            Output::Keepalive { .. } => None,
            Output::Fail(message) => Some(Effect::Fail(message)),
            Output::Stop => {
                self.seats[usize::from(core)].stopped = true;
                None
            }
        }
    }
}

/// Whose disk a node of this configuration has.
pub fn identity_of(config: &Config) -> Identity {
    let shards = config.shards.unwrap_or(config.cores);
    match &config.cluster {
        None => {
            let LogIdentity { cluster, node, .. } = IDENTITY;
            Identity { cluster, node, shards, ..Identity::default() }
        }
        Some(Cluster { id, node, nodes, founders, founded, epoch, lost, .. }) => Identity {
            cluster: *id,
            node: node.0,
            shards,
            founded: *founded,
            voters: founders.iter().map(|node| node.0).collect(),
            addresses: nodes.iter().map(|(node, address)| (node.0, *address)).collect(),
            epoch: *epoch,
            lost: lost.iter().map(|node| node.0).collect(),
            ..Identity::default()
        },
    }
}

fn log_identity(identity: &Identity, core: u16) -> LogIdentity {
    LogIdentity { cluster: identity.cluster, node: identity.node, core }
}

/// What a start finds on the disk, which is cleaned up by it as the server's directory is.
pub fn recover_disk(
    config: &Config,
    disk: &mut Disk,
    hasher: Hasher64,
) -> Result<Recovered, String> {
    let identity = identity_of(config);
    let (shards, files, bases) = load_checkpoints(config, &identity, disk, hasher)?;
    let (mut logs, mut tails) = (Vec::new(), Vec::<Tail>::new());
    for core in 0..disk.log_count() {
        let (entries, tail) = read_log(disk, log_identity(&identity, core), false)?;
        for number in &tail.leftovers {
            disk.log(core).remove(number);
        }
        tails.push(tail);
        logs.push(entries);
    }
    check_released(&tails, &bases).map_err(|error| error.to_string())?;
    let (shards, replayed) = apply_in_order(&mut logs, &bases, shards, &config.engine_settings())
        .map_err(|error| error.to_string())?;
    Ok(Recovered { shards, tails, replayed, files })
}

/// `live`: it is being written.
fn read_log(disk: &mut Disk, identity: LogIdentity, live: bool) -> Result<(Entries, Tail), String> {
    let mut entries = Vec::new();
    let read = if live { read_chain } else { recover };
    let tail = read(&mut LogSource(disk.log(identity.core)), identity, &mut |entry| {
        entries.push(place(entry, <[u8]>::to_vec));
        Ok(())
    });
    let tail = tail.map_err(|error| format!("log of core {}: {error}", identity.core))?;
    Ok((Entries(entries.into_iter().peekable()), tail))
}

fn load_checkpoints(
    config: &Config,
    identity: &Identity,
    disk: &mut Disk,
    hasher: Hasher64,
) -> Result<(Shards, Vec<Files>, Bases), String> {
    let (settings, names) = (config.engine_settings(), disk.files.list());
    let applied = config.applied;
    let plan = LoadPlan { identity, settings: &settings, hasher: &hasher, names: &names, applied };
    let mut shards = Shards::new(identity.shards, hasher.clone());
    let (mut files, mut bases) = (Vec::new(), Vec::new());
    for id in 0..identity.shards as u16 {
        let loaded = plan.load(&disk.files, ShardId(id)).map_err(|error| error.to_string())?;
        let empty = || Box::new(Shard::new(id, hasher.clone()));
        shards.put(loaded.shard.unwrap_or_else(empty));
        files.push(loaded.files);
        bases.push(loaded.base);
        disk.damaged.extend(loaded.decision.damaged.into_iter().map(|(name, _)| name));
        loaded.decision.remove.iter().for_each(|name| disk.files.remove(name));
    }
    Ok((shards, files, Bases::new(identity, applied, bases.into_iter())))
}

/// A shard again from what is on the disk of a node that runs, as the server's job does it.
fn rebuild(disk: &mut Disk, order: &RebuildOrder) -> Result<Rebuilt, String> {
    let names = disk.files.list();
    let loaded = load_checkpoint(order, &disk.files, &names).map_err(|error| error.to_string())?;
    let mut logs = Vec::new();
    for core in 0..disk.log_count() {
        logs.push(read_log(disk, log_identity(&order.identity, core), true)?.0);
    }
    let rebuilt = apply_logs(order, loaded, &mut logs).map_err(|error| error.to_string())?;
    Ok(rebuilt.0)
}

fn log_done(disk: &mut Disk, ended: UnderWay, result: Result<(), OsError>) -> LogDone {
    match ended {
        UnderWay::Write { id, buffer, .. } => LogDone::Written { id, buffer, result },
        UnderWay::Prepare { number, .. } => LogDone::SegmentReady { number, result },
        UnderWay::Remove { number } => LogDone::SegmentRemoved { number, result },
        UnderWay::Checkpoint(_) => LogDone::Checkpoint { result },
        UnderWay::ReadPiece(order) => {
            let piece = result.map_err(|error| format!("{error:?}"));
            let piece = piece.and_then(|()| disk.files.piece(&order.name, order.offset));
            LogDone::Piece { order, piece }
        }
        UnderWay::Verify(order) => {
            let result = result.map_err(|error| format!("{error:?}"));
            let file = result.and_then(|()| disk.files.open(&order.file_name()));
            let result = file.and_then(|file| order.verify(file).map_err(|e| e.to_string()));
            LogDone::Verified { order, result }
        }
        UnderWay::ReadLog(order) => {
            let bytes = result.map_err(|error| format!("{error:?}"));
            let bytes = bytes.and_then(|()| disk.log_piece(&order));
            LogDone::LogPiece { order, bytes }
        }
        UnderWay::Rebuild(order) => {
            let result = result.map_err(|error| format!("{error:?}"));
            let result = result.and_then(|()| rebuild(disk, &order));
            let through = order.through;
            LogDone::Rebuilt { shard: order.shard.0, through, result }
        }
    }
}

fn deliver(core: &mut Core, input: Waiting) {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    if let Waiting::Failover = input {
        return core.obey_failover(FailoverOrder::Begin { to: None, sync_ns_max: None });
    }
    if let Waiting::Members(order) = input {
        // It may be refused: the world looks at what comes of it.
        let _ = core.obey_members(order);
        return;
    }
    core.on_input(match &input {
        Waiting::Accepted(conn) => {
            Input::Accepted { conn: *conn, port: Port::Client, peer: address, local: address }
        }
        Waiting::Received(conn, bytes) => Input::Received { conn: *conn, bytes },
        Waiting::Ended(conn) => Input::ReceiveEnded { conn: *conn, error: None },
        Waiting::AcceptedPeer(conn) => {
            Input::Accepted { conn: *conn, port: Port::Peer, peer: address, local: address }
        }
        Waiting::Connected(attempt, result) => {
            Input::Connected { attempt: *attempt, result: *result }
        }
        Waiting::SentPart(conn) => Input::SentPart { conn: *conn },
        Waiting::SendFailed(conn) => Input::SendFailed { conn: *conn, error: OsError(EPIPE) },
        Waiting::Shutdown => Input::Shutdown,
        Waiting::Sent(..) | Waiting::Log(_) | Waiting::Failover | Waiting::Members(_) => {
            return core.on_input(match input {
                Waiting::Sent(conn, buffer) => Input::Sent { conn, buffer },
                Waiting::Log(done) => Input::Log(done),
                _ => unreachable!("matched above"),
            });
        }
    });
}
