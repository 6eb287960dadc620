//! One node leads all shards and serves all clients: the primary, which is who leads the first
//! shard (design §11). Any replica may come to lead any group; the leads are brought together, and
//! nothing is served until one node has them all and has settled what the one before left open of
//! transactions over several shards. It ends for all shards at once too: who has lost one cannot
//! carry out what needs several.

use replication::fault::{Fault, is_planted};
use replication::group::payload::{encode_marker, encode_void};
use replication::group::{NodeId, Role};
use replication::ids::{Index, ShardId};
use replication::release::takeover::find_cuts;

use super::Replica;
use super::standing::Standing;
use crate::core::Core;
use crate::limits::GROUP_HEARTBEAT_TICKS;

impl Core {
    /// Takes the next step that all shards take together. Returns whether there was one, after
    /// which their groups have to be driven again.
    pub(super) fn change_primary(&mut self) -> bool {
        let serves = self.replicas.iter().any(|(_, replica)| replica.executes());
        if serves {
            let lost = self.replicas.iter().any(|(_, replica)| replica.has_lost());
            if lost {
                self.stop_being_primary();
            }
            return lost;
        }
        if !self.leads_all() {
            return false;
        }
        if is_planted(Fault::ServesAtOnce) {
            self.begin_being_primary();
            return true;
        }
        if !self.holds_all_leases() {
            return self.seek_leases();
        }
        if self.settle_open() {
            return true;
        }
        let caught_up = self.replicas.iter().all(|(_, replica)| {
            replica.pending.is_empty() && replica.applied == replica.group.last()
        });
        if caught_up {
            self.begin_being_primary();
        }
        caught_up
    }

    /// Whether this node leads every group, and everything in their logs is committed, the first
    /// entries of its own terms included.
    fn leads_all(&self) -> bool {
        self.replicas.iter().all(|(shard, replica)| {
            let all = replica.group.handed_out() == replica.group.last();
            matches!(replica.standing, Standing::Elected { .. })
                && (all || is_planted(Fault::ServesAtOnce))
                && replica.group.accepts()
                && self.shards.holds(usize::from(shard))
        })
    }

    /// Whether this node is known to lead every group still: one that has been replaced there and
    /// has not heard of it may lack parts of transactions, and must not void the others.
    fn holds_all_leases(&self) -> bool {
        let now_ns = self.now.mono_ns;
        self.replicas.iter().all(|(_, replica)| replica.group.holds_lease(now_ns))
    }

    /// Whether that was not asked yet.
    fn seek_leases(&mut self) -> bool {
        let mut asked = false;
        self.for_each_replica(|core, _, replica| {
            let held = replica.group.holds_lease(core.now.mono_ns);
            asked |= !held && replica.group.seek_lease(core.now.mono_ns);
        });
        asked
    }

    /// Decides the transactions that stand open: whole ones take effect, and the logs are voided
    /// from the first on that is not. Returns whether anything came of that.
    fn settle_open(&mut self) -> bool {
        let replicas = self.replicas.iter();
        let logs: Vec<_> = replicas
            .map(|(shard, replica)| self.release.log(ShardId(shard), replica.group.last()))
            .collect();
        if logs.iter().all(|log| log.open.is_empty()) {
            return false;
        }
        let cuts = find_cuts(&logs);
        let mut settled = false;
        self.for_each_replica(|core, shard, replica| {
            let place = usize::from(shard.0);
            let before = cuts[place].map(|cut| cut.0 - 1);
            core.release.decide_through(shard, Index(before.unwrap_or(u64::MAX)));
            settled |= core.release.point(shard) > logs[place].point;
            let Some(cut) = cuts[place] else { return };
            tracing::warn!(
                core = core.id,
                shard = shard.0,
                from = cut.0,
                through = replica.group.last().0,
                "entries that were never acknowledged are voided: other parts of their \
                 transactions are missing"
            );
            settled |= replica.group.propose(encode_void(cut)).is_ok();
        });
        self.release_decided();
        settled
    }

    /// Each shard begins with a marker: entries behind it are looked for by later takeovers, others
    /// are not. So nothing is executed where it cannot be appended.
    fn begin_being_primary(&mut self) {
        self.for_each_replica(|core, shard, replica| {
            core.begin_serving(shard, replica);
            if core.replicas.by_shard.len() > 1 {
                replica.refused = !core.propose_marker(shard, replica);
            }
            core.release.note_served(shard);
        });
    }

    /// Clients do not know what became of their writes, and what they would read may never have
    /// been: all go. They come back to who leads now. After a hand-over neither is so.
    fn stop_being_primary(&mut self) {
        let ahead = self.replicas.iter().any(|(shard, _)| self.is_ahead(ShardId(shard)));
        if self.handover.awaits_leader() && !ahead {
            match self.handover.stops() {
                true => self.end_waits_of_leader(),
                false => self.move_waits_of_leader(),
            }
        } else {
            let all: Vec<_> = self.connections.iter().map(|connection| connection.id).collect();
            let clients = all.len();
            all.into_iter().for_each(|conn| self.close_connection(conn));
            tracing::warn!(
                core = self.id,
                clients,
                "not the primary any more; its clients are closed"
            );
        }
        self.gate.forget_all();
        self.transactions.forget_open();
        self.for_each_replica(Core::stop_serving);
        self.for_each_replica(|core, shard, replica| {
            let undecided = replica.group.committed_behind(replica.applied);
            core.take_committed(shard, replica, undecided);
        });
    }

    /// Whether it was appended.
    fn propose_marker(&mut self, shard: ShardId, replica: &mut Replica) -> bool {
        let decided = self.release.point(shard);
        let appended = replica.group.propose(encode_marker(decided)).is_ok();
        if appended {
            self.release.note_marked(shard, decided);
        }
        self.follow_index(shard, replica);
        appended
    }

    /// Once a tick: followers of a shard that is quiet hear that its last transaction is decided.
    pub(super) fn mark_decided(&mut self) {
        self.for_each_replica(|core, shard, replica| {
            let held = core.shards.get(usize::from(shard.0));
            let quiet = held.is_some_and(|held| held.effects.is_empty());
            if replica.executes() && quiet && core.release.lacks_marker(shard) {
                core.propose_marker(shard, replica);
            }
        });
    }

    /// Once a tick: who leads a group hands it to who leads the first one, and who leads that
    /// stands for election where nobody leads.
    pub(super) fn gather_leads(&mut self) {
        let first = self.replicas.iter().next().map(|(_, replica)| &replica.group);
        let Some(primary) = first.and_then(|group| group.leader()) else { return };
        self.replicas.ticks_apart += 1;
        if self.replicas.ticks_apart < GROUP_HEARTBEAT_TICKS {
            return;
        }
        self.replicas.ticks_apart = 0;
        let own = NodeId(self.node.node);
        self.for_each_replica(|core, shard, replica| {
            let group = &mut replica.group;
            if primary != own && group.role() == Role::Leader {
                // Not before it has everything: meanwhile nothing new comes.
                let mut progress = group.progress();
                let has = |(node, matched)| node == primary && matched == group.last();
                if progress.any(has) {
                    drop(progress);
                    group.hand_over(primary);
                }
            } else if primary == own
                && group.lacks_leader()
                && let Err(error) = group.campaign()
            {
                tracing::warn!(core = core.id, shard = shard.0, "standing for election: {error}");
            }
        });
    }
}

impl Replica {
    /// It serves, and has lost what it needs for that.
    fn has_lost(&self) -> bool {
        let Standing::Serving { term } = self.standing else { return true };
        self.group.role() != Role::Leader || self.group.term() != term || self.refused
    }
}
