//! What a client listens to. Ordered, so that a simulation does the same each time.

use std::collections::BTreeSet;

use engine::table::alloc_size;

use super::{Kind, Name};

/// What a name takes in a node of a set, beside its bytes: nodes are from half to wholly full. Its
/// core's directory has the name too, with this client.
const ENTRY_BYTES: usize = size_of::<Name>() * 2 + 64;

#[derive(Debug, Default)]
pub struct Subscriptions {
    names: [BTreeSet<Name>; 3],
    bytes: usize,
}

impl Subscriptions {
    /// False if it was there.
    pub fn add(&mut self, kind: Kind, name: &Name) -> bool {
        let added = self.names[kind as usize].insert(Name::clone(name));
        self.bytes += if added { bytes_of(name) } else { 0 };
        added
    }

    /// The name, if it was there.
    pub fn remove(&mut self, kind: Kind, name: &[u8]) -> Option<Name> {
        let name = self.names[kind as usize].take(name)?;
        self.bytes -= bytes_of(&name);
        Some(name)
    }

    /// Any of a kind.
    pub fn pop(&mut self, kind: Kind) -> Option<Name> {
        let name = self.names[kind as usize].pop_first()?;
        self.bytes -= bytes_of(&name);
        Some(name)
    }

    /// All of a kind; none is left.
    pub fn take(&mut self, kind: Kind) -> Vec<Name> {
        let names = std::mem::take(&mut self.names[kind as usize]);
        self.bytes -= names.iter().map(bytes_of).sum::<usize>();
        names.into_iter().collect()
    }

    pub fn count(&self, kind: Kind) -> usize {
        self.names[kind as usize].len()
    }

    /// As confirmations count: channels and patterns together, shard channels by themselves.
    pub fn shown_count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Shard => self.count(Kind::Shard),
            Kind::Channel | Kind::Pattern => self.count(Kind::Channel) + self.count(Kind::Pattern),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.names.iter().all(BTreeSet::is_empty)
    }

    pub fn memory_bytes(&self) -> usize {
        alloc_size(size_of::<Subscriptions>()) + self.bytes
    }
}

fn bytes_of(name: &Name) -> usize {
    alloc_size(name.len() + 2 * size_of::<usize>()) + ENTRY_BYTES
}
