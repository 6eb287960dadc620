//! Find-or-vacant: one probe that ends in the entry or in leave to insert it.

use super::segment::Place;
use super::{Entry, Table};

/// What a probe found.
pub enum Probe<'a, E> {
    Occupied(Occupied<'a, E>),
    Vacant(Vacant<'a, E>),
}

/// An entry that is there.
pub struct Occupied<'a, E> {
    table: &'a mut Table<E>,
    hash: u64,
    index: usize,
    place: Place,
}

/// A key that is not there.
pub struct Vacant<'a, E> {
    table: &'a mut Table<E>,
    hash: u64,
}

impl<E: Entry> Table<E> {
    #[inline]
    pub fn probe(&mut self, hash: u64, key: &[u8]) -> Probe<'_, E> {
        let index = self.index(hash);
        match self.segments[index].find(hash, key) {
            Some(place) => Probe::Occupied(Occupied { table: self, hash, index, place }),
            None => Probe::Vacant(Vacant { table: self, hash }),
        }
    }
}

impl<'a, E: Entry> Occupied<'a, E> {
    pub fn get(&self) -> &E {
        self.table.segments[self.index].at(self.place)
    }

    pub fn get_mut(&mut self) -> &mut E {
        self.table.segments[self.index].at_mut(self.place)
    }

    pub fn into_mut(self) -> &'a mut E {
        self.table.segments[self.index].at_mut(self.place)
    }

    /// Puts in an entry of the same key and returns the old one.
    pub fn replace(&mut self, entry: E) -> E {
        debug_assert!(entry.key() == self.get().key());
        std::mem::replace(self.get_mut(), entry)
    }

    pub fn remove(self) -> E {
        let entry = self.table.segments[self.index].take(self.hash, self.place);
        self.table.on_taken(self.hash);
        entry
    }
}

impl<'a, E: Entry> Vacant<'a, E> {
    /// Adds the entry of the key that was looked for.
    pub fn insert(self, entry: E) -> &'a mut E {
        debug_assert_eq!(self.hash, self.table.hash(entry.key()));
        self.table.make_room(self.hash);
        self.table.len += 1;
        let segment = self.table.segment_mut(self.hash);
        let place = segment.place(self.hash, entry);
        segment.at_mut(place)
    }
}
