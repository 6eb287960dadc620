//! Durability: log records and segments, recovery rules, Raft groups.
//! Knows nothing of Redis (payloads are bytes) and does no I/O of its own.
//!
//! # Layout
//! - [`fault`]: deliberate breakages for tests. [`buggify`]: rare ways that the simulator takes.
//! - [`ids`]: the ids and positions used throughout.
//! - [`version`]: what the nodes of a cluster may say to each other, and which programs apply it.
//! - [`link`]: the messages of groups between the cores of two nodes.
//! - [`log`]: the log of a core: what to write, what is durable, what is there after a start.
//! - [`checkpoint`]: files of a shard's state: how they lie, how they are written, which to use.
//! - [`group`]: the replicas of a shard: what is committed, who leads.
//! - [`release`]: which entries are released: transactions over several shards, and what a crash
//!   leaves of them.

pub mod buggify;
pub mod checkpoint;
pub mod fault;
pub mod group;
pub mod ids;
pub mod link;
pub mod log;
pub mod release;
pub mod version;
