//! A core's logic: deterministic, no I/O, clock, thread or chance of its own.
//!
//! # Layout
//! - [`io`]: what goes in and comes out; [`message`]: what cores say to each other;
//!   [`host`]: the few things that cannot wait for the end of the turn; [`account`]: the memory
//!   that is used; [`budget`]: what a turn may do.
//! - [`Core`]: the state, and [`turn`]: its turn, the second thing to read after README.
//! - The rest of a core's work is in `dispatch`, `connection`, `commit` and `admin`.

pub mod account;
pub mod budget;
pub mod host;
pub mod io;
pub mod message;
pub mod storage;
pub mod turn;

use std::collections::{HashMap, VecDeque};

use engine::command::call::Block;
use engine::hash::Hasher64;
use engine::keyspace::eviction::Evictor;
use engine::keyspace::{Shard, Shards};
use engine::rng::Rng;
use engine::settings::Settings;
use replication::group::{GroupStart, NodeId};
use replication::ids::{Incarnation, Index, Lsn, ShardId};
use replication::log::{LogIdentity, LogWriter};
use replication::release::{Release, Report};
use replication::version::Version;

use crate::admin::holders::Holders;
use crate::admin::measure::Measures;
use crate::admin::pause::Pause;
use crate::admin::stats::CoreStats;
use crate::admin::turns::TurnMeter;
use crate::checkpoint::Checkpoints;
use crate::checkpoint::files::Files;
use crate::commit::gate::{Gate, Waiter};
use crate::commit::transaction::Transactions;
use crate::config::Config;
use crate::connection::table::Connections;
use crate::dispatch::eviction::EvictionState;
use crate::dispatch::gathering::Gatherings;
use crate::dispatch::parked::Parked;
use crate::links::batch::Batches;
use crate::links::{Links, Place};
use crate::pubsub::Pubsub;
use crate::replica::Replicas;
use crate::replica::catchup::CatchUp;
use crate::replica::handover::Handover;
use crate::replica::peers::Membership;
use account::Account;
use budget::Budget;
use host::Host;
use io::{ConnId, Now, Output};
use message::Message;
use storage::StorageOperation;

/// One pinned thread's share of the server. Lives on its core from start to end.
pub struct Core {
    pub(crate) id: u16,
    pub(crate) config: Config,
    /// The engine's part of the configuration, in its own form.
    pub(crate) settings: Settings,
    pub(crate) shards: Shards,
    /// The core that owns each shard.
    pub(crate) homes: Vec<u16>,
    /// Highest released index of each own shard. Kept here and not only in the shard, which may be
    /// away with a gathering when its log write ends.
    pub(crate) released: Vec<u64>,
    pub(crate) connections: Connections,
    pub(crate) gate: Gate,
    /// Which open entries are one transaction.
    pub(crate) transactions: Transactions,
    /// Up to where each own shard is decided.
    pub(crate) release: Release,
    /// By core: what it has to hear of committed transactions.
    pub(crate) reports: Vec<Vec<Report>>,
    /// `None` with `--durability none`.
    pub(crate) log: Option<LogWriter>,
    pub(crate) now: Now,
    pub(crate) rng: Rng,
    pub(crate) outputs: Vec<Output<Message, StorageOperation>>,
    /// Connections with something to send, and with commands to run.
    pub(crate) dirty: Vec<ConnId>,
    pub(crate) runnable: VecDeque<ConnId>,
    pub(crate) budget: Budget,
    /// Own shards whose entry has effects, in the order in which they were first touched.
    pub(crate) touched: Vec<u16>,
    pub(crate) gatherings: Gatherings,
    /// Per shard: what waits for it while it is away.
    pub(crate) parked: Vec<VecDeque<Parked>>,
    /// Blocked connections by ticket.
    pub(crate) blocked: HashMap<u64, ConnId>,
    /// Own or gathered shards with keys that waiting clients may be served from.
    pub(crate) to_serve: VecDeque<u16>,
    /// They are being served.
    pub(crate) serving: bool,
    /// Server-wide questions under way.
    pub(crate) asked: crate::admin::everywhere::Asked,
    pub(crate) host: Box<dyn Host>,
    pub(crate) measures: Measures,
    pub(crate) turn_meter: TurnMeter,
    pub(crate) pause: Pause,
    /// Who waits until nodes have what is released here.
    pub(crate) holders: Holders,
    pub(crate) last_ticket: u64,
    pub(crate) last_client: u64,
    pub(crate) stats: CoreStats,
    /// Set by a shutdown: no new commands, stop once everything acknowledged is out.
    pub(crate) draining: bool,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) replicas: Replicas,
    pub(crate) catch_up: CatchUp,
    pub(crate) handover: Handover,
    pub(crate) membership: Membership,
    /// Shards that were thrown away, to be freed in slices.
    pub(crate) graves: Vec<Box<Shard>>,
    /// Whose files these are (its `core` is of no account).
    pub(crate) node: LogIdentity,
    /// The last record of the log that this start had to write before anything else.
    pub(crate) start_lsn: Lsn,
    /// The memory that is used, here and on all cores.
    pub(crate) account: Account,
    pub(crate) evictor: Evictor,
    pub(crate) eviction: EvictionState,
    pub(crate) stopped: bool,
    /// The log has failed: nothing leaves this core any more but this.
    pub(crate) failure: Option<String>,
    pub(crate) next_housekeeping_ns: u64,
    pub(crate) next_segment_retry_ns: u64,
    /// Housekeeping stopped at its bound: it goes on in the next turn.
    pub(crate) more_housekeeping: bool,
    /// Blocked clients with a timeout, soonest first: (monotonic nanoseconds, ticket).
    pub(crate) deadlines: std::collections::BTreeSet<(u64, u64)>,
    /// Another core takes our messages too slowly: clients wait.
    pub(crate) mesh_pressed: bool,
    /// Some client was stopped because too much waits for the log or for another core.
    pub(crate) was_pressed: bool,
    pub(crate) told: Vec<Waiter>,
    /// The commands of the client now served.
    pub(crate) ahead: crate::dispatch::ahead::Ahead,
    /// What is collected for other cores in this turn.
    pub(crate) forwards: crate::dispatch::forward::Forwards,
    /// Links with other nodes, and what they brought for other cores in this turn.
    pub(crate) links: Links,
    pub(crate) batches: Batches,
    pub(crate) tunnels: crate::tunnel::Tunnels,
    pub(crate) pubsub: Pubsub,
    /// A blocking command's wish, passed from the engine to dispatch.
    pub(crate) block: Option<Block>,
}

/// What a core starts with, after recovery.
pub struct CoreStart {
    pub id: u16,
    pub config: Config,
    pub shard_count: usize,
    pub shards: Vec<Box<Shard>>,
    pub hasher: Hasher64,
    pub log: Option<LogWriter>,
    /// This node and start, for the names of transactions.
    pub node: LogIdentity,
    pub incarnation: Incarnation,
    /// Checkpoint files by shard.
    pub checkpoints: Vec<Files>,
    /// How the groups of its shards go on; none where the node has no peers.
    pub groups: Vec<(u16, GroupStart)>,
    /// Bytes of each shard's entries behind its last checkpoint; empty for none.
    pub logged_bytes: Vec<u64>,
    pub seed: u64,
    pub host: Box<dyn Host>,
}

impl Core {
    pub fn new(mut start: CoreStart) -> Core {
        let (release, replicas) = (release_points(&start), replicas_of(&mut start));
        let (links, checkpoints) = (links_of(&start), checkpoints_of(&mut start));
        let shards = hold(start.shard_count, start.hasher, start.shards);
        let (cores, count) = (start.config.cores, start.shard_count);
        let core = Core {
            id: start.id,
            settings: start.config.engine_settings(),
            homes: (0..start.shard_count).map(|s| home_of(s, start.shard_count, cores)).collect(),
            measures: Measures::new(&start.config),
            account: Account::new(count, cores, start.config.maxmemory_bytes),
            config: start.config,
            released: released_of(&shards),
            connections: Connections::default(),
            gate: Gate::default(),
            transactions: Transactions::new(start.id, start.node.node, start.incarnation, count),
            release,
            reports: vec![Vec::new(); cores],
            start_lsn: start.log.as_ref().map_or(Lsn(0), LogWriter::appended),
            log: start.log,
            now: Now::default(),
            rng: Rng::new(start.seed),
            outputs: Vec::new(),
            dirty: Vec::new(),
            runnable: VecDeque::new(),
            budget: Budget::default(),
            touched: Vec::new(),
            gatherings: Gatherings::default(),
            parked: (0..start.shard_count).map(|_| VecDeque::new()).collect(),
            blocked: HashMap::new(),
            to_serve: VecDeque::new(),
            serving: false,
            asked: Default::default(),
            host: start.host,
            turn_meter: TurnMeter::default(),
            pause: Pause::default(),
            holders: Holders::default(),
            last_ticket: 0,
            last_client: 0,
            stats: CoreStats::default(),
            draining: false,
            checkpoints,
            replicas,
            catch_up: CatchUp::default(),
            handover: Handover::default(),
            membership: Membership::default(),
            graves: Vec::new(),
            node: start.node,
            evictor: Evictor::default(),
            eviction: EvictionState::default(),
            stopped: false,
            failure: None,
            next_housekeeping_ns: 0,
            next_segment_retry_ns: 0,
            more_housekeeping: false,
            deadlines: std::collections::BTreeSet::new(),
            mesh_pressed: false,
            was_pressed: false,
            told: Vec::new(),
            ahead: Default::default(),
            forwards: crate::dispatch::forward::Forwards::new(cores),
            links,
            batches: Batches::new(cores),
            tunnels: Default::default(),
            pubsub: Pubsub::new(cores),
            block: None,
            shards,
        };
        core.begun()
    }

    fn begun(mut self) -> Core {
        self.begin_membership();
        self.refresh_serving();
        self.note_logged_before();
        self
    }

    pub(crate) fn next_ticket(&mut self) -> u64 {
        self.last_ticket += 1;
        self.last_ticket
    }

    /// CLIENT ID: unique over all cores, as each counts on its own residue, and over all nodes,
    /// which begin a million million apart: a client keeps it wherever its commands run.
    pub(crate) fn next_client_id(&mut self) -> u64 {
        self.last_client += 1;
        let node = if self.replicas.is_grouped() { self.node.node & NODES_MASK } else { 0 };
        (node << NODE_SHIFT)
            + (self.last_client - 1) * self.config.cores as u64
            + u64::from(self.id)
            + 1
    }

    pub(crate) fn is_home(&self, shard: usize) -> bool {
        self.homes[shard] == self.id
    }

    pub(crate) fn mark_dirty(&mut self, id: ConnId) {
        if let Some(connection) = self.connections.get_mut(id)
            && !connection.dirty
        {
            connection.dirty = true;
            self.dirty.push(id);
        }
    }

    pub(crate) fn mark_runnable(&mut self, id: ConnId) {
        if let Some(connection) = self.connections.get_mut(id)
            && !connection.runnable
        {
            connection.runnable = true;
            self.runnable.push_back(id);
        }
    }

    pub(crate) fn send_message(&mut self, to: u16, message: Message) {
        debug_assert_ne!(to, self.id);
        self.flush_mesh();
        self.outputs.push(Output::Mesh { to, message });
    }
}

/// 2^53 is the first whole number that a double cannot tell from the next.
const NODE_SHIFT: u32 = 40;
const NODES_MASK: u64 = (1 << 13) - 1;

fn hold(shard_count: usize, hasher: Hasher64, own: Vec<Box<Shard>>) -> Shards {
    let mut shards = Shards::new(shard_count, hasher);
    own.into_iter().for_each(|shard| shards.put(shard));
    shards
}

/// The links of a core with the other nodes that it starts knowing of.
fn links_of(start: &CoreStart) -> Links {
    let place = Place {
        cluster: start.node.cluster.to_le_bytes(),
        node: NodeId(start.node.node),
        core: start.id,
        cores: start.config.cores as u16,
        shard_count: start.shard_count,
        epoch: start.config.cluster.as_ref().map_or(0, |cluster| cluster.epoch),
        election_timeout_ms: start.config.election_timeout_ms as u16,
        founded: start.config.cluster.as_ref().map_or(Version(1), |cluster| cluster.founded),
        applied: start.config.applied,
    };
    // Not the numbers that commands get.
    let known = start.host.acquaintances();
    Links::new(place, known, start.incarnation, !start.seed)
}

/// The checkpoints of a core, with what its log has for the next ones.
fn checkpoints_of(start: &mut CoreStart) -> Checkpoints {
    let (files, logged) =
        (std::mem::take(&mut start.checkpoints), std::mem::take(&mut start.logged_bytes));
    let found_bytes = start.log.as_ref().map_or(0, LogWriter::segments_bytes);
    Checkpoints::new(start.config.cores, start.incarnation, files, logged, found_bytes)
}

fn released_of(shards: &Shards) -> Vec<u64> {
    let released = |shard| shards.get(shard).map_or(0, Shard::released);
    (0..shards.count()).map(released).collect()
}

fn replicas_of(start: &mut CoreStart) -> Replicas {
    if start.config.cluster.is_none() {
        return Replicas::default();
    }
    let (node, groups) = (NodeId(start.node.node), std::mem::take(&mut start.groups));
    let counts = (start.shard_count, start.config.cores);
    // The parts of a start were checked by recovery.
    Replicas::new(node, counts, groups, start.config.group_tick_ns(), start.seed)
        .expect("a group starts from what recovery made of the logs")
}

/// Everything that the shards begin with is decided.
fn release_points(start: &CoreStart) -> Release {
    let mut release = Release::new(start.shard_count);
    for shard in &start.shards {
        release.resume(ShardId(shard.id()), Index(shard.released()));
    }
    if !start.groups.is_empty() {
        release.limit_early(crate::limits::GROUP_EARLY_REPORTS_MAX);
    }
    for (shard, group) in &start.groups {
        release.resume_ended(ShardId(*shard), group.base.ended);
    }
    release
}

/// Shards are dealt out in contiguous runs, so that ascending shards lie on ascending cores: the
/// order in which gatherings travel.
pub fn home_of(shard: usize, shard_count: usize, cores: usize) -> u16 {
    (shard * cores / shard_count.max(cores).max(1)).min(cores - 1) as u16
}
