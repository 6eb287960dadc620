//! What a core counts, for INFO. Summed over the cores.

use engine::keyspace::shard::ShardStats;
use engine::limits::DATABASE_COUNT;

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
}

/// A core's state at one moment, as INFO shows the sum of.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub stats: CoreStats,
    pub shards: ShardStats,
    pub clients: usize,
    pub blocked: usize,
    /// Keys and keys with an expiry, a database each.
    pub databases: [(usize, usize); DATABASE_COUNT],
    pub log_records: u64,
    pub log_durable: u64,
    /// What clients, the log and the tables of each database take.
    pub client_bytes: u64,
    pub log_queued_bytes: u64,
    pub table_bytes: [u64; DATABASE_COUNT],
    pub checkpoints: CheckpointStats,
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
        let (a, b) = (&mut self.shards, &other.shards);
        a.hits += b.hits;
        a.misses += b.misses;
        a.expired += b.expired;
        a.evicted += b.evicted;
        a.changes += b.changes;
        self.clients += other.clients;
        self.checkpoints.add(&other.checkpoints);
        self.blocked += other.blocked;
        self.log_records += other.log_records;
        self.log_durable += other.log_durable;
        self.client_bytes += other.client_bytes;
        self.log_queued_bytes += other.log_queued_bytes;
        for (sum, more) in self.table_bytes.iter_mut().zip(&other.table_bytes) {
            *sum += more;
        }
        for (sum, more) in self.databases.iter_mut().zip(&other.databases) {
            sum.0 += more.0;
            sum.1 += more.1;
        }
    }
}
