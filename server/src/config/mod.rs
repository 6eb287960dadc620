//! What an operator sets: by flag, in the file, or while the server runs with CONFIG, under the
//! same names.
//!
//! - [`flags`]: the command line and the file.
//! - [`cluster`]: the nodes that this one is one of.
//! - [`join`]: whom it asks that has no cluster yet.
//! - [`names`]: settings that CONFIG reads and changes, with Redis's names where Redis has one.
//! - [`log_filter`]: what is logged, which only the environment says.
//! - [`rewrite`]: the file with the values that hold now. [`nearest`]: what a wrong name may mean.
//! - [`memory_text`], [`output_limits`]: values that have a form of their own.

pub mod cluster;
pub mod flags;
pub mod join;
pub mod log_filter;
pub mod memory_text;
pub mod names;
pub mod nearest;
pub mod output_limits;
pub mod rewrite;

use std::net::IpAddr;
use std::path::PathBuf;

use engine::settings::{EntryLimits, Eviction, Settings};
use engine::value::limits::EncodingLimits;
use replication::version::Versions;

use crate::limits::{
    CLIENTS_MAX, GROUP_ELECTION_TICKS, QUERY_BUFFER_BYTES_MAX, SLOWLOG_ENTRIES_MAX,
};
use cluster::Cluster;
use join::Join;
use output_limits::OutputLimits;

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Once it is on stable storage.
    Sync,
    /// From memory; it reaches stable storage within a second.
    Interval,
    /// There is no log: a cache.
    None,
}

impl Durability {
    pub fn name(self) -> &'static str {
        match self {
            Durability::Sync => "sync",
            Durability::Interval => "interval",
            Durability::None => "none",
        }
    }
}

/// Who may use DEBUG, as in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DebugAccess {
    No,
    Yes,
    /// Connections from this machine.
    Local,
}

impl DebugAccess {
    pub fn name(self) -> &'static str {
        match self {
            DebugAccess::No => "no",
            DebugAccess::Yes => "yes",
            DebugAccess::Local => "local",
        }
    }
}

/// All settings; each core holds a copy.
#[derive(Clone, Debug)]
pub struct Config {
    /// The configuration file, if there is one.
    pub file: Option<PathBuf>,
    pub port: u16,
    /// Port of other nodes, on the same addresses as that of clients.
    pub peer_port: u16,
    /// The cluster that the node is part of.
    pub cluster: Option<Cluster>,
    /// Whom to ask while the data directory is empty.
    pub join: Option<Join>,
    /// The same on all nodes of a cluster: their leases rest on it.
    pub election_timeout_ms: u64,
    /// Bytes of a group's entries kept in memory for replicas that lack them; a follower that has
    /// more to apply keeps its leader waiting.
    pub catch_up_memory_bytes: usize,
    /// Bytes of each core's log kept for such replicas; 0: they get checkpoints.
    pub catch_up_log_bytes: u64,
    /// What each core reads of log and checkpoints for them; 0: no limit.
    pub catch_up_bytes_per_second: u64,
    pub bind: Vec<IpAddr>,
    pub dir: PathBuf,
    pub cores: usize,
    /// Shards of a new data directory; an existing one keeps its own.
    pub shards: Option<usize>,
    pub durability: Durability,
    pub log_segment_bytes: u64,
    pub log_writes_in_flight: usize,
    /// Work on checkpoints by each core; 0: no limit.
    pub checkpoint_bytes_per_second: u64,
    /// Bytes of entries since its last checkpoint at which a shard's next one is due.
    pub checkpoint_log_bytes: u64,
    pub requirepass: Option<String>,
    pub protected_mode: bool,
    /// No transparent huge pages for this process: a fault then never waits for 2 MB.
    pub disable_thp: bool,
    pub maxclients: usize,
    /// Clients that there are descriptors for. No setting.
    pub clients_possible: usize,
    /// Seconds after which an idle client is closed; 0 never.
    pub timeout_s: u64,
    pub tcp_keepalive_s: u32,
    pub poll_us: u32,
    pub proto_max_bulk_len: usize,
    pub encoding: EncodingLimits,
    pub query_buffer_bytes_max: usize,
    pub output_limits: OutputLimits,
    /// Memory that data and clients may take on all cores together; 0 any amount.
    pub maxmemory_bytes: u64,
    pub eviction: Eviction,
    /// No setting of an operator's.
    pub entry: EntryLimits,
    /// Nor this: versions of the cluster that this program applies.
    pub applied: Versions,
    /// Microseconds from which on a command is in SLOWLOG; 0 every command, negative none.
    pub slowlog_slower_than_us: i64,
    pub slowlog_entries_max: usize,
    /// Milliseconds from which on LATENCY records an event; 0 none.
    pub latency_threshold_ms: u64,
    /// Whether every command's time is counted for LATENCY HISTOGRAM.
    pub latency_tracking: bool,
    pub enable_debug: DebugAccess,
    /// DEBUG SET-ACTIVE-EXPIRE.
    pub active_expire: bool,
    /// Wall clock at the start, seconds since 1970.
    pub started_unix_s: i64,
    /// Monotonic time of the start, for the uptime.
    pub started_ns: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            file: None,
            port: 6379,
            peer_port: 16379,
            cluster: None,
            join: None,
            election_timeout_ms: crate::limits::ELECTION_TIMEOUT_MS,
            catch_up_memory_bytes: crate::limits::CATCH_UP_MEMORY_BYTES,
            catch_up_log_bytes: crate::limits::CATCH_UP_LOG_BYTES,
            catch_up_bytes_per_second: crate::limits::CATCH_UP_BYTES_PER_SECOND,
            bind: vec![IpAddr::from([127, 0, 0, 1])],
            dir: PathBuf::from("quoring-data"),
            cores: 1,
            shards: None,
            durability: Durability::Sync,
            log_segment_bytes: 128 << 20,
            log_writes_in_flight: replication::log::limits::WRITES_IN_FLIGHT_DEFAULT,
            checkpoint_bytes_per_second: crate::limits::CHECKPOINT_BYTES_PER_SECOND,
            checkpoint_log_bytes: crate::limits::CHECKPOINT_LOG_BYTES,
            requirepass: None,
            protected_mode: true,
            disable_thp: true,
            maxclients: CLIENTS_MAX,
            clients_possible: usize::MAX,
            timeout_s: 0,
            tcp_keepalive_s: 300,
            poll_us: 0,
            proto_max_bulk_len: engine::limits::STRING_BYTES_MAX,
            encoding: EncodingLimits::default(),
            query_buffer_bytes_max: QUERY_BUFFER_BYTES_MAX,
            output_limits: OutputLimits::default(),
            maxmemory_bytes: 0,
            eviction: Eviction::default(),
            entry: EntryLimits::default(),
            applied: Versions::OWN,
            slowlog_slower_than_us: 10_000,
            slowlog_entries_max: SLOWLOG_ENTRIES_MAX,
            latency_threshold_ms: 0,
            latency_tracking: false,
            enable_debug: DebugAccess::No,
            active_expire: true,
            started_unix_s: 0,
            started_ns: 0,
        }
    }
}

impl Config {
    /// Whether the node is part of a cluster, so that it listens to others.
    pub fn is_member(&self) -> bool {
        self.cluster.is_some()
    }

    /// There are descriptors for so many clients: as Redis, fewer clients rather than no start.
    pub fn limit_clients(&mut self, possible: usize) {
        self.clients_possible = possible;
        if possible < self.maxclients {
            let asked = std::mem::replace(&mut self.maxclients, possible);
            tracing::warn!(
                asked,
                maxclients = possible,
                "the limit of open files allows fewer clients; raise it (ulimit -n) for more"
            );
        }
    }

    /// The time between two ticks of a group.
    pub fn group_tick_ns(&self) -> u64 {
        self.election_timeout_ms * 1_000_000 / GROUP_ELECTION_TICKS as u64
    }

    /// The election timeout, in whole ticks.
    pub fn election_timeout_ns(&self) -> u64 {
        self.group_tick_ns() * GROUP_ELECTION_TICKS as u64
    }

    pub fn engine_settings(&self) -> Settings {
        Settings {
            encoding: self.encoding,
            string_bytes_max: self.proto_max_bulk_len,
            active_expire: self.active_expire,
            eviction: self.eviction,
            entry: self.entry,
        }
    }
}
