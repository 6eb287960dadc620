//! The effects of a turn become one entry a shard, and all entries of a turn one log write.

use std::sync::Arc;

use replication::fault::{Fault, is_planted};
use replication::group::payload::encode_entry;
use replication::ids::{Index, Lsn, ShardId, Term};
use replication::log::EntryRef;
use replication::release::Transaction;

use crate::core::Core;
use crate::dispatch::route::ShardSet;

impl Core {
    /// Notes that a shard of this core has something for its entry.
    pub(crate) fn touch(&mut self, shard: u16) {
        if !self.touched.contains(&shard) {
            self.touched.push(shard);
        }
    }

    /// Hands the effects of every touched shard to the log, one entry each.
    pub(crate) fn close_entries(&mut self) {
        self.seal_linked();
        let mut touched = std::mem::take(&mut self.touched);
        for shard in touched.drain(..) {
            self.close_one_entry(shard);
        }
        self.touched = touched;
        self.gate.close();
        self.note_closed();
    }

    /// Ends the entry of one shard before the end of the turn, because the shard leaves this core
    /// or its entry can take no more. Those it is linked with end with it.
    pub(crate) fn close_entry(&mut self, shard: u16) {
        if !self.transactions.is_linked(shard) {
            return self.close_one_entry(shard);
        }
        if let Some(transaction) = self.seal_linked() {
            for part in &transaction.participants {
                self.close_one_entry(part.shard.0);
            }
        }
    }

    /// Ends the entries of these shards that have grown large: an operation is over. What is linked
    /// to a foreign shard goes on to its trip's end, which comes soon
    /// ([`Core::holds_large_entry`]).
    #[inline]
    pub(crate) fn close_large_entries(&mut self, shards: &ShardSet) {
        for &shard in shards {
            if self.is_large_entry(shard) && self.is_home(shard.into()) && !self.links_foreign() {
                self.close_entry(shard);
            }
        }
    }

    #[inline]
    pub(crate) fn is_large_entry(&self, shard: u16) -> bool {
        let held = self.shards.get(usize::from(shard));
        held.is_some_and(|held| held.effects.len() > self.config.entry.closed_bytes)
    }

    /// Whether an operation that needs one of these shards should find new entries.
    pub(crate) fn holds_large_entry(&self, shards: &ShardSet) -> bool {
        shards.iter().any(|shard| self.is_large_entry(*shard))
    }

    fn close_one_entry(&mut self, shard: u16) {
        let Some(held) = self.shards.get_mut(usize::from(shard)) else { return };
        let transaction = self.transactions.take(shard);
        let advances = self.checkpoints.takes_advance(shard);
        if held.effects.is_empty() && transaction.is_none() && !advances {
            return;
        }
        let (id, index) = (ShardId(shard), Index(held.open_index()));
        if self.replicas.is_grouped() {
            return self.propose_entry(id, index, transaction);
        }
        let lsn = match &mut self.log {
            Some(log) => log.append(EntryRef {
                shard: id,
                term: Term(1),
                index,
                decided: match self.release.point(id) {
                    _ if is_planted(Fault::MarkedEarly) => Index(index.0 - 1),
                    _ if is_planted(Fault::MarkerForgotten) => Index(0),
                    point => point,
                },
                transaction: transaction.as_deref(),
                payload: held.effects.payload(),
            }),
            None => Lsn(0),
        };
        let least_bytes = self.config.checkpoint_log_bytes;
        self.checkpoints.note_logged(shard, held.effects.len(), least_bytes);
        held.close_entry();
        if let Some(transaction) = transaction {
            self.release.begin(id, index, transaction);
        }
        self.gate.add_entry(shard, index.0, lsn);
    }

    /// Appends the entry of one shard to its group's log; what the core's log has to hold of it,
    /// and when it is committed, the group says.
    fn propose_entry(
        &mut self,
        shard: ShardId,
        index: Index,
        transaction: Option<Arc<Transaction>>,
    ) {
        let Some(replica) = self.replicas.get(shard.0) else { return };
        let (version, decided) = (self.emitted_version(replica), self.release.point(shard));
        let Some(held) = self.shards.get_mut(usize::from(shard.0)) else { return };
        let effects = held.effects.payload();
        let payload = encode_entry(transaction.as_deref(), (index, decided), effects, version);
        let Some(replica) = self.replicas.get_mut(shard.0) else { return };
        if replica.propose(index, payload) {
            held.close_entry();
            if let Some(transaction) = transaction {
                self.release.begin(shard, index, transaction);
            }
            self.release.note_marked(shard, decided);
        }
        // Whether it could be appended or not: who waits for it is told or closed.
        self.gate.add_entry(shard.0, index.0, Lsn(0));
    }
}
