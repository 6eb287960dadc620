//! What a simulation may see of a replica, to compare it with the others. Nothing else reads it.

use engine::keyspace::digest::{Digest, digest_of_database};
use replication::group::{Members, Role};
use replication::ids::{Index, Term};
use replication::version::Version;

use super::standing::Standing;
use crate::core::Core;

/// A replica between two turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub role: Role,
    pub term: Term,
    pub committed: Index,
    pub last: Index,
    /// The first entry that is still there for others.
    pub first: Index,
    pub applied: Index,
    pub standing: Standing,
    /// Its leaders have voided entries so far, as this node has heard.
    pub voids: u64,
    /// Of entries that its leader has appended.
    pub uncommitted_bytes: usize,
    /// Of entries in memory.
    pub kept_bytes: usize,
}

/// Planned hand-overs of a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandoverSeen {
    /// That went well since the start.
    pub done: u64,
    /// One is under way that has ended the lease.
    pub is_under_way: bool,
}

impl Core {
    pub fn see_replica(&self, shard: u16) -> Option<Seen> {
        let replica = self.replicas.get(shard)?;
        let group = &replica.group;
        Some(Seen {
            role: group.role(),
            term: group.term(),
            committed: group.committed(),
            last: group.last(),
            first: group.first(),
            applied: replica.applied,
            standing: replica.standing,
            voids: replica.voids,
            uncommitted_bytes: group.uncommitted_bytes(),
            kept_bytes: group.kept_bytes(),
        })
    }

    /// Members of a shard's group, as far as this node has heard.
    pub fn see_members(&self, shard: u16) -> Option<&Members> {
        self.replicas.get(shard).map(|replica| replica.group.members())
    }

    /// A shard at home with changes that no entry will have: there is none after a turn.
    pub fn see_forgotten_changes(&self) -> Option<u16> {
        (0..self.shards.count() as u16).find(|shard| {
            let held = self.shards.get(usize::from(*shard));
            let changed = held.is_some_and(|held| !held.effects.is_empty());
            let replica = self.replicas.get(*shard);
            let appends = replica.is_none_or(|replica| replica.executes() && !replica.refused);
            changed && appends && self.is_home((*shard).into()) && !self.touched.contains(shard)
        })
    }

    /// The version of the cluster that a shard's group has.
    pub fn see_version(&self, shard: u16) -> Option<Version> {
        self.replicas.get(shard).map(|replica| replica.group.version())
    }

    /// Keys of this core's shards that have expired, and that were evicted, since the start.
    pub fn see_keys_gone(&self) -> (u64, u64) {
        let stats = self.shards.held().map(|shard| shard.stats);
        stats.fold((0, 0), |(expired, evicted), stats| {
            (expired + stats.expired, evicted + stats.evicted)
        })
    }

    pub fn see_handover(&self) -> HandoverSeen {
        let is_under_way = self.handover.awaits_leader();
        HandoverSeen { done: self.handover.done_count, is_under_way }
    }

    /// Checkpoints that came from other nodes since the start.
    pub fn see_checkpoints_received(&self) -> u64 {
        self.checkpoints.stats.received
    }

    /// Whether this core's last checkpoint failed.
    pub fn see_checkpoint_failed(&self) -> bool {
        self.checkpoints.stats.last_failed
    }

    /// Bytes of entries that were read from the log for other nodes since the start.
    pub fn see_bytes_from_log(&self) -> u64 {
        self.catch_up.caught().map(|(_, caught)| caught.log_bytes).sum()
    }

    /// The digest of a shard's first database, and the entry that it is as of; nothing while memory
    /// is ahead of what is committed, or away.
    pub fn see_memory(&self, shard: u16) -> Option<(Index, Digest)> {
        let replica = self.replicas.get(shard)?;
        let held = self.shards.get(usize::from(shard))?;
        let behind = held.open_index() != replica.applied.0 + 1;
        if replica.executes() && (behind || !held.effects.is_empty()) {
            return None;
        }
        Some((replica.applied, digest_of_database(held, 0)))
    }
}
