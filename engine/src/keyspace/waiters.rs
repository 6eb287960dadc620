//! Clients that wait for a key (BLPOP, BZPOPMIN …), first come first served. Lives in a shard.

use std::collections::{HashMap, VecDeque};

use super::entry::ValueRef;
use crate::table::alloc_size;

/// The type of value that serves a waiter: a key that is given another one leaves it waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Awaited {
    List,
    ZSet,
}

impl Awaited {
    /// Who is served by a value.
    pub fn of(value: ValueRef<'_>) -> Option<Awaited> {
        match value {
            ValueRef::List(_) => Some(Awaited::List),
            ValueRef::ZSet(_) => Some(Awaited::ZSet),
            _ => None,
        }
    }
}

/// A blocked client as its own core knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Waiter {
    pub core: u16,
    /// Unique on that core, for all of its life.
    pub ticket: u64,
    pub awaited: Awaited,
}

type DatabaseKey = (u16, Box<[u8]>);

#[derive(Debug, Default)]
pub struct Waiters {
    queues: HashMap<DatabaseKey, VecDeque<Waiter>>,
    /// Keys with waiters that received a value since they were last looked at.
    ready: Vec<DatabaseKey>,
    /// What the keys of the queues take.
    key_bytes: usize,
}

/// A place of a `HashMap` of queues, with its control byte.
const PLACE_BYTES: usize = size_of::<(DatabaseKey, VecDeque<Waiter>)>() + 1;

/// What a queue of few waiters takes: the least that a `VecDeque` allocates.
const QUEUE_BYTES: usize = 4 * size_of::<Waiter>();

impl Waiters {
    /// What they take; queues of many waiters count as small ones.
    pub fn memory_bytes(&self) -> usize {
        self.queues.capacity() * PLACE_BYTES + self.queues.len() * QUEUE_BYTES + self.key_bytes
    }

    /// Puts a waiter at the end of the key's queue, unless it stands there already.
    pub fn register(&mut self, db: u16, key: &[u8], waiter: Waiter) {
        let queue = self.queues.entry((db, key.into())).or_default();
        if queue.is_empty() {
            self.key_bytes += alloc_size(key.len());
        }
        if !queue.contains(&waiter) {
            queue.push_back(waiter);
        }
    }

    pub fn unregister(&mut self, db: u16, key: &[u8], waiter: Waiter) {
        let id = (db, Box::from(key));
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.retain(|w| *w != waiter);
            if queue.is_empty() {
                self.queues.remove(&id);
                self.key_bytes -= alloc_size(key.len());
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Notes that the key may serve its waiters now.
    pub fn signal(&mut self, db: u16, key: &[u8]) {
        if self.queues.is_empty() {
            return;
        }
        let id = (db, Box::from(key));
        if self.queues.contains_key(&id) && !self.ready.contains(&id) {
            self.ready.push(id);
        }
    }

    /// Every key of the database may have changed: SWAPDB.
    pub fn signal_database(&mut self, db: u16) {
        let mut keys: Vec<_> = self.queues.keys().filter(|(d, _)| *d == db).cloned().collect();
        keys.sort_unstable();
        for (db, key) in keys {
            self.signal(db, &key);
        }
    }

    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub fn take_ready(&mut self) -> Vec<(u16, Box<[u8]>)> {
        std::mem::take(&mut self.ready)
    }

    /// Who waits for the key, longest first.
    pub fn queue(&self, db: u16, key: &[u8]) -> impl Iterator<Item = Waiter> + '_ {
        self.queues.get(&(db, Box::from(key))).into_iter().flatten().copied()
    }
}
