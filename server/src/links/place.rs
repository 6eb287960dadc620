//! Where links begin: what every hello of a core says of it.

use replication::group::NodeId;
use replication::version::{Version, Versions};

/// Which core of which node of which cluster this is, and of how many.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub cluster: [u8; 16],
    pub node: NodeId,
    pub core: u16,
    pub cores: u16,
    /// Shards of the cluster: a message goes by the link that ends where its shard is at home.
    pub shard_count: usize,
    /// How often a survivor of the cluster has gone on alone.
    pub epoch: u8,
    /// The same on all nodes.
    pub election_timeout_ms: u16,
    /// What the cluster began with, and what this node's program applies.
    pub founded: Version,
    pub applied: Versions,
}
