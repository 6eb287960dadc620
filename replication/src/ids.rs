//! The ids and positions of the log, each its own type so that none is taken for another.

/// A contiguous range of slots: the unit of ownership and replication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// A pinned thread of this node, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoreId(pub u16);

/// Raft term of a shard's entry. A node without peers stays in term 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

/// Raft index of a shard's entry; the first entry has index 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(pub u64);

/// Sequence number of a record within one core's log; the first record has 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

/// Number of a node's start; no two starts on one data directory share one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// Names a transaction over several shards; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId {
    /// Node, start of it and core that ran the transaction.
    pub node: u64,
    pub incarnation: Incarnation,
    pub core: CoreId,
    /// Counts from 1 within that start of that core.
    pub counter: u64,
}
