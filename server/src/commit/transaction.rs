//! Which open entries belong together: what an operation wrote in one shard may rest on what it
//! wrote or read in another, and after a crash both are there or neither is.
//!
//! Operations of one turn, or of one gathering's trip, that share no shard still become one
//! transaction: they are in the same writes anyway, and it costs one entry a shard instead of one
//! for each operation. An entry belongs to one transaction at most.

use std::sync::Arc;

use replication::fault::{Fault, is_planted};
use replication::ids::{CoreId, Incarnation, Index, ShardId, TransactionId};
use replication::release::{Participant, Transaction};

use crate::core::Core;
use crate::dispatch::route::{ShardSet, add_shard};

/// The transactions of a core's open entries.
pub struct Transactions {
    /// By shard of this core: the transaction of a gathering that its open entry is a part of.
    open: Vec<Option<Arc<Transaction>>>,
    /// Shards in hand whose open entries will be one transaction.
    linked: ShardSet,
    node: u64,
    incarnation: Incarnation,
    core: CoreId,
    last: u64,
}

impl Transactions {
    /// Names are unique by the start's `incarnation`.
    pub fn new(core: u16, node: u64, incarnation: Incarnation, shards: usize) -> Transactions {
        Transactions {
            open: vec![None; shards],
            linked: ShardSet::new(),
            node,
            incarnation,
            core: CoreId(core),
            last: 0,
        }
    }

    pub fn is_open(&self, shard: u16) -> bool {
        self.open[usize::from(shard)].is_some()
    }

    pub fn is_linked(&self, shard: u16) -> bool {
        self.linked.contains(&shard)
    }

    pub fn take(&mut self, shard: u16) -> Option<Arc<Transaction>> {
        self.open[usize::from(shard)].take()
    }

    /// What is being collected is collected for nothing.
    pub fn forget_open(&mut self) {
        self.open.fill(None);
        self.linked.clear();
    }

    /// A shard came home with an open entry that is part of this.
    pub fn put(&mut self, shard: u16, transaction: Arc<Transaction>) {
        let before = self.open[usize::from(shard)].replace(transaction);
        assert!(before.is_none(), "an entry belongs to one transaction");
    }

    fn next_id(&mut self) -> TransactionId {
        self.last += 1;
        let Transactions { node, incarnation, core, last, .. } = *self;
        TransactionId { node, incarnation, core, counter: last }
    }
}

impl Core {
    /// An operation over several shards begins: none of them may have an open entry that is part
    /// of another transaction.
    pub(crate) fn separate(&mut self, needed: &ShardSet) {
        for &shard in needed {
            if self.transactions.is_open(shard) {
                self.close_entry(shard);
            }
        }
    }

    /// An operation over several shards has run: what it wrote stands or falls with what it wrote
    /// elsewhere, and with what is not released yet that it read.
    pub(crate) fn link(&mut self, needed: &ShardSet) {
        if self.log.is_none() || is_planted(Fault::LinkForgotten) {
            return;
        }
        let mut wrote = false;
        let mut concerned = ShardSet::new();
        for &shard in needed {
            let Some(held) = self.shards.get(usize::from(shard)) else { continue };
            wrote |= held.wrote();
            if held.wrote() || held.observed() > 0 && !is_planted(Fault::WitnessForgotten) {
                concerned.push(shard);
            }
        }
        if wrote && concerned.len() > 1 {
            concerned.iter().for_each(|shard| add_shard(&mut self.transactions.linked, *shard));
        }
    }

    /// The linked open entries become a transaction: its list is final.
    pub(crate) fn seal_linked(&mut self) -> Option<Arc<Transaction>> {
        if self.transactions.linked.is_empty() {
            return None;
        }
        let linked = std::mem::take(&mut self.transactions.linked);
        let part = |shard: &u16| {
            let held = self.shards.get(usize::from(*shard)).expect("linked shards are in hand");
            Participant { shard: ShardId(*shard), index: Index(held.open_index()) }
        };
        let participants: Box<[Participant]> = linked.iter().map(part).collect();
        let id = self.transactions.next_id();
        let transaction = Arc::new(Transaction { id, participants });
        for shard in linked {
            if self.is_home(usize::from(shard)) {
                self.transactions.put(shard, Arc::clone(&transaction));
                self.touch(shard);
            }
        }
        Some(transaction)
    }

    /// Whether a shard that is not this core's is linked: the entries have to be sealed before it
    /// goes home.
    pub(crate) fn links_foreign(&self) -> bool {
        self.transactions.linked.iter().any(|shard| !self.is_home(usize::from(*shard)))
    }
}
