//! A replica follows, is elected, serves, loses its term.
//!
//! ```text
//! Following ─ elected → Elected ─ all shards are, and everything is applied → Serving
//! Elected   ─ term lost → Following
//! Serving   ─ a term lost, all committed → Following
//!           ├ otherwise → Rebuilding ─ memory read again → Following
//!           └ another core has the shard in hand → Away ─ it is back → one of these
//! ```
//!
//! [`super::primary`] has the steps that all shards take together.

use engine::keyspace::Shard;
use replication::fault::{Fault, is_planted};
use replication::group::{Base, Role};
use replication::ids::{Index, Lsn, ShardId, Term};

use super::Replica;
use super::rebuild::Rebuilt;
use super::work::note_end;
use crate::core::Core;
use crate::core::io::Output;
use crate::core::storage::StorageOperation;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Memory is as of what was applied.
    Following,
    /// It leads, and has yet to commit an entry of its term and to apply all before it, or the
    /// other shards have.
    Elected { term: Term },
    /// It leads and executes: memory is ahead of what is committed.
    Serving { term: Term },
    /// It serves no more. Memory is with an operation of another core.
    Away,
    /// Memory was thrown away. Once the log is durable up to `after` it is read again.
    Rebuilding { after: Lsn, ordered: bool },
}

impl Core {
    /// Takes the next step that is due. Returns whether there was one.
    pub(super) fn change_standing(&mut self, shard: ShardId, replica: &mut Replica) -> bool {
        let (role, term) = (replica.group.role(), replica.group.term());
        let leads = role == Role::Leader;
        match replica.standing {
            Standing::Following if leads => {
                replica.standing = Standing::Elected { term };
                true
            }
            Standing::Elected { term: elected } if !leads || term != elected => {
                replica.standing = Standing::Following;
                true
            }
            // What another leader has appended is not what was executed here.
            Standing::Serving { term: served } if leads && term == served => {
                self.follow_index(shard, replica);
                false
            }
            Standing::Rebuilding { after, ordered: false }
                if (!replica.is_out || is_planted(Fault::OutIgnored)) && self.is_durable(after) =>
            {
                replica.standing = Standing::Rebuilding { after, ordered: true };
                let through = replica.applied;
                let order = Box::new(self.rebuild_order(shard, through));
                self.outputs.push(Output::Log(StorageOperation::Rebuild(order)));
                false
            }
            Standing::Following
            | Standing::Elected { .. }
            | Standing::Serving { .. }
            | Standing::Away
            | Standing::Rebuilding { .. } => false,
        }
    }

    fn is_durable(&self, lsn: Lsn) -> bool {
        self.log.as_ref().is_some_and(|log| log.durable() >= lsn)
    }

    pub(super) fn begin_serving(&mut self, shard: ShardId, replica: &mut Replica) {
        let term = replica.group.term();
        replica.standing = Standing::Serving { term };
        self.replicas.set_executing(shard.0, true);
        replica.refused = false;
        self.follow_index(shard, replica);
        let (core, shard, node) = (self.id, shard.0, self.node.node);
        tracing::info!(core, shard, node, term = term.0, "this node leads");
    }

    /// The next entry comes behind those that the group itself has appended.
    pub(super) fn follow_index(&mut self, shard: ShardId, replica: &Replica) {
        if let Some(held) = self.shards.get_mut(usize::from(shard.0))
            && held.effects.is_empty()
            && !is_planted(Fault::OwnEntryUncounted)
        {
            held.continue_at(replica.group.last().0 + 1);
        }
    }

    /// Whether memory has what is not decided.
    pub(super) fn is_ahead(&self, shard: ShardId) -> bool {
        let ahead = |held: &Shard| {
            held.open_index() > self.release.point(shard).0 + 1 || !held.effects.is_empty()
        };
        self.shards.get(usize::from(shard.0)).is_none_or(ahead)
    }

    /// What was executed and may never be committed goes. What was committed and is not decided is
    /// taken as by a follower, once all shards have come to this.
    pub(super) fn stop_serving(&mut self, shard: ShardId, replica: &mut Replica) {
        let point = self.release.point(shard);
        replica.applied = point;
        replica.refused = false;
        self.replicas.set_executing(shard.0, false);
        self.touched.retain(|touched| *touched != shard.0);
        self.release.reset(shard, point);
        match self.shards.holds(usize::from(shard.0)) {
            true => self.check_memory(shard, replica),
            false => replica.standing = Standing::Away,
        }
    }

    /// Memory that has served is here: as of what is applied, or it goes.
    fn check_memory(&mut self, shard: ShardId, replica: &mut Replica) {
        let point = replica.applied;
        let held = self.shards.get(usize::from(shard.0));
        let dirty =
            held.is_none_or(|held| held.open_index() > point.0 + 1 || !held.effects.is_empty());
        let (core, term) = (self.id, replica.group.term().0);
        tracing::info!(core, shard = shard.0, term, dirty, "this node leads no more");
        if !dirty || is_planted(Fault::EffectsKept) {
            replica.standing = Standing::Following;
            return;
        }
        self.throw_away(shard, point);
        let after = self.log.as_ref().map_or(Lsn(0), |log| log.appended());
        replica.standing = Standing::Rebuilding { after, ordered: false };
    }

    /// Whether what an operation of another core did with a shard that it had in hand counts.
    pub(crate) fn is_of_this_period(&self, shard: &Shard) -> bool {
        let standing = self.replicas.get(shard.id()).map(|replica| replica.standing);
        !matches!(standing, Some(Standing::Away | Standing::Rebuilding { .. }))
    }

    /// A shard is back for which that is not so.
    pub(crate) fn receive_shard(&mut self, shard: Box<Shard>) {
        let id = shard.id();
        if self.replicas.lacks_memory(id) {
            // Another node's checkpoint has come for it.
            return self.bury(shard);
        }
        self.shards.put(shard);
        self.with_replica(id, |core, replica| core.check_memory(ShardId(id), replica));
        self.run_parked(id);
    }

    /// The shard's state becomes that of a checkpoint that another node has sent: memory is read
    /// from it, once the log says so.
    pub(super) fn install(&mut self, shard: ShardId, replica: &mut Replica, base: &Base) {
        let (index, term) = (Index(base.index), Term(base.term));
        let Some(log) = &mut self.log else { return };
        log.append_members(shard, (term, index), &base.members, true);
        let after = log.appended();
        replica.pending.clear();
        replica.pending_bytes = 0;
        replica.applied = index;
        self.release.reset(shard, index);
        self.throw_away(shard, index);
        replica.standing = Standing::Rebuilding { after, ordered: false };
        tracing::info!(core = self.id, shard = shard.0, index = base.index, "a checkpoint came");
    }

    /// A shard's memory goes, in slices; what rests on it ends.
    fn throw_away(&mut self, shard: ShardId, point: Index) {
        if let Some(round) = &mut self.checkpoints.round
            && round.shard() == shard.0
        {
            round.lose_shard();
        }
        let place = usize::from(shard.0);
        self.released[place] = point.0;
        self.replicas.thrown_away.push(shard.0);
        if let Some(held) = self.shards.take(place) {
            self.bury(held);
        }
    }

    fn bury(&mut self, mut shard: Box<Shard>) {
        shard.bury(&self.settings.encoding);
        self.graves.push(shard);
    }

    /// The memory of a shard has been read again, as of this entry.
    pub(crate) fn on_rebuilt(
        &mut self,
        shard: u16,
        through: Index,
        result: Result<Rebuilt, String>,
    ) {
        let Some(replica) = self.replicas.get_mut(shard) else { return };
        let awaited = matches!(replica.standing, Standing::Rebuilding { ordered: true, .. });
        if !awaited || replica.applied != through {
            // A checkpoint came meanwhile, and what is in it is being read.
            return;
        }
        let Rebuilt { shard: held, ended } = match result {
            Ok(rebuilt) => rebuilt,
            Err(message) => return self.fail_replica(ShardId(shard), &message),
        };
        replica.standing = Standing::Following;
        // What came since was noted beside what was not known then.
        self.release.resume_ended(ShardId(shard), ended);
        for entry in &replica.pending {
            note_end(&mut self.release, ShardId(shard), entry);
        }
        self.shards.put(held);
        tracing::info!(core = self.id, shard, "the shard's memory is read again");
        // Clients that sent READONLY have waited for it.
        self.run_parked(shard);
    }
}
