//! A shard's memory from its checkpoint and the logs, while the server runs: asked for by a core,
//! done beside it.

use std::path::PathBuf;

use engine::hash::Hasher64;
use engine::keyspace::Shard;
use engine::settings::Settings;
use replication::ids::{Index, ShardId};
use replication::version::Versions;

use crate::core::Core;
use crate::startup::identity::Identity;

/// Which shard, and up to where. All of that is on stable storage and decided; what is in the logs
/// behind it does not count.
#[derive(Clone)]
pub struct RebuildOrder {
    pub shard: ShardId,
    pub through: Index,
    /// The node's data directory.
    pub directory: PathBuf,
    pub identity: Identity,
    pub settings: Settings,
    pub hasher: Hasher64,
    /// What this program can take.
    pub applied: Versions,
}

/// A shard as of [`RebuildOrder::through`].
pub struct Rebuilt {
    pub shard: Box<Shard>,
    /// See [`replication::release::Release::note_ended`].
    pub ended: Option<Index>,
}

impl std::fmt::Debug for RebuildOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "shard {} through entry {}", self.shard.0, self.through.0)
    }
}

impl Core {
    pub(super) fn rebuild_order(&self, shard: ShardId, through: Index) -> RebuildOrder {
        let identity = Identity {
            cluster: self.node.cluster,
            node: self.node.node,
            shards: self.shards.count(),
            voters: vec![self.node.node],
            ..Identity::default()
        };
        let (settings, hasher) = (self.settings.clone(), self.shards.hasher());
        let directory = self.config.dir.clone();
        let applied = self.config.applied;
        RebuildOrder { shard, through, directory, identity, settings, hasher, applied }
    }
}
