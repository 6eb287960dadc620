//! What a core counts, for INFO. Summed over the cores.

use std::collections::BTreeMap;

use engine::keyspace::shard::ShardStats;
use engine::limits::DATABASE_COUNT;

use super::calls::CallCounts;
use super::replication::GroupsSeen;
use super::turns::TurnTimes;
use crate::checkpoint::CheckpointStats;

#[derive(Clone, Debug, Default)]
pub struct CoreStats {
    pub turns: u64,
    pub commands: u64,
    pub errors: u64,
    pub connections_received: u64,
    pub connections_refused: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Commands run on another core's shard, and operations over shards of several cores.
    pub forwarded: u64,
    pub gathered: u64,
    /// Messages of other nodes for shards that have no group here.
    pub group_messages_unknown: u64,
    /// Clients' commands that were passed on to the primary.
    pub tunnelled_commands: u64,
}

/// A core's state at one moment, as INFO shows the sum of.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub stats: CoreStats,
    pub shards: ShardStats,
    pub clients: usize,
    pub blocked: usize,
    pub pubsub_clients: usize,
    /// Keys and keys with an expiry, a database each.
    pub databases: [(usize, usize); DATABASE_COUNT],
    pub log_records: u64,
    pub log_durable: u64,
    /// Bytes of log writes begun, and of the effects in them.
    pub log_written_bytes: u64,
    pub log_payload_bytes: u64,
    /// What data and clients take now, and the most that they ever took.
    pub used_bytes: u64,
    pub used_peak_bytes: u64,
    /// What shards without a key take.
    pub empty_bytes: u64,
    /// What clients, the log with the effects on their way to it, and the tables of each database
    /// take.
    pub client_bytes: u64,
    pub log_bytes: u64,
    pub table_bytes: [u64; DATABASE_COUNT],
    pub checkpoints: CheckpointStats,
    pub turns: TurnTimes,
    pub calls: BTreeMap<String, CallCounts>,
    /// Values and databases deleted and not yet freed.
    pub unfreed: usize,
    pub groups: GroupsSeen,
}

impl Snapshot {
    pub fn add(&mut self, other: &Snapshot) {
        let (a, b) = (&mut self.stats, &other.stats);
        a.turns += b.turns;
        a.commands += b.commands;
        a.errors += b.errors;
        a.connections_received += b.connections_received;
        a.connections_refused += b.connections_refused;
        a.bytes_in += b.bytes_in;
        a.bytes_out += b.bytes_out;
        a.forwarded += b.forwarded;
        a.gathered += b.gathered;
        a.group_messages_unknown += b.group_messages_unknown;
        a.tunnelled_commands += b.tunnelled_commands;
        let (a, b) = (&mut self.shards, &other.shards);
        a.hits += b.hits;
        a.misses += b.misses;
        a.expired += b.expired;
        a.evicted += b.evicted;
        a.changes += b.changes;
        a.changes_saved += b.changes_saved;
        self.clients += other.clients;
        self.checkpoints.add(&other.checkpoints);
        self.turns.merge(&other.turns);
        for (name, counts) in &other.calls {
            self.calls.entry(name.clone()).or_default().add(counts);
        }
        self.blocked += other.blocked;
        self.pubsub_clients += other.pubsub_clients;
        self.log_records += other.log_records;
        self.log_durable += other.log_durable;
        self.log_written_bytes += other.log_written_bytes;
        self.log_payload_bytes += other.log_payload_bytes;
        self.client_bytes += other.client_bytes;
        self.used_bytes += other.used_bytes;
        self.used_peak_bytes += other.used_peak_bytes;
        self.empty_bytes += other.empty_bytes;
        self.log_bytes += other.log_bytes;
        self.unfreed += other.unfreed;
        self.groups.add(&other.groups);
        for (sum, more) in self.table_bytes.iter_mut().zip(&other.table_bytes) {
            *sum += more;
        }
        for (sum, more) in self.databases.iter_mut().zip(&other.databases) {
            sum.0 += more.0;
            sum.1 += more.1;
        }
    }
}
