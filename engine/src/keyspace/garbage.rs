//! What was taken out of a shard's tables and is too large to be freed at once: large values and
//! whole databases, freed in slices between turns. Lives in the shard. Its bytes count as used
//! until they are freed.

use crate::limits::{FREED_AT_ONCE_MAX, FREED_WITH_TABLE_MAX};
use crate::table::alloc_size;

use super::entry::{Entry, Value, ValueRef};
use super::shard::Database;

#[derive(Default)]
pub struct Garbage {
    waiting: Vec<Discarded>,
    bytes: usize,
}

enum Discarded {
    Value(Value),
    Database(Box<Database>),
}

impl Garbage {
    /// What waits to be freed takes, with the list of it.
    pub fn bytes(&self) -> usize {
        self.bytes + alloc_size(self.waiting.capacity() * size_of::<Discarded>())
    }

    /// Values and databases that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Frees an entry now if that is quick, else its value in slices later.
    pub(super) fn add_entry(&mut self, entry: Entry) {
        if elements(entry.value()) > FREED_AT_ONCE_MAX {
            self.keep(entry.into_value());
        }
    }

    /// As [`Garbage::add_entry`] for a value without a key.
    pub(super) fn add_value(&mut self, value: Value) {
        if elements(value.view()) > FREED_AT_ONCE_MAX {
            self.keep(value);
        }
    }

    pub(super) fn add_database(&mut self, database: Database) {
        self.bytes += database.memory_bytes();
        self.waiting.push(Discarded::Database(Box::new(database)));
    }

    fn keep(&mut self, value: Value) {
        self.bytes += value.memory_bytes();
        self.waiting.push(Discarded::Value(value));
    }

    /// Frees up to about `max` elements. Returns how many were freed or looked at: less than
    /// `max` once nothing is left.
    pub(super) fn free_slice(&mut self, max: usize) -> usize {
        let mut work = 0;
        while work < max {
            let Some(mut last) = self.waiting.pop() else { break };
            let room = max - work;
            let done = match &mut last {
                Discarded::Value(value) => {
                    let (bytes, before) = (value.memory_bytes(), undrained(value));
                    let done = drain(value, room);
                    work += before.saturating_sub(undrained(value)) + 1;
                    self.bytes -= bytes - if done { 0 } else { value.memory_bytes() };
                    done
                }
                Discarded::Database(database) => {
                    let (bytes, len) = (database.memory_bytes(), database.len());
                    let mut large = Vec::new();
                    let done = database.drain_slice(room, |entry| {
                        if elements(entry.value()) > FREED_WITH_TABLE_MAX {
                            large.push(entry.into_value());
                        }
                    });
                    work += len - database.len() + 1;
                    self.bytes -= bytes - if done { 0 } else { database.memory_bytes() };
                    large.into_iter().for_each(|value| self.keep(value));
                    done
                }
            };
            if !done {
                self.waiting.push(last);
            }
        }
        if self.waiting.is_empty() {
            self.waiting = Vec::new();
        }
        work
    }
}

/// Allocations that freeing a value takes, about.
fn elements(value: ValueRef<'_>) -> usize {
    match value {
        ValueRef::Integer(_) | ValueRef::Embedded(_) | ValueRef::Raw(_) => 0,
        ValueRef::List(list) => list.len() / 64,
        ValueRef::Set(set) => set.len(),
        ValueRef::Hash(hash) => hash.len(),
        ValueRef::ZSet(zset) => zset.len(),
    }
}

/// What is left of a value that is being drained.
fn undrained(value: &Value) -> usize {
    match value {
        Value::ZSet(zset) => zset.undrained(),
        _ => elements(value.view()),
    }
}

fn drain(value: &mut Value, max: usize) -> bool {
    match value {
        Value::Set(set) => set.drain_slice(max),
        Value::Hash(hash) => hash.drain_slice(max),
        Value::ZSet(zset) => zset.drain_slice(max),
        // A list's elements share blocks.
        Value::List(list) => list.drain_slice(max.saturating_mul(64)),
        Value::Integer(_) | Value::Raw(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::super::shard::Shard;
    use super::*;
    use crate::hash::Hasher64;
    use crate::value::limits::EncodingLimits;
    use crate::value::list::End;
    use crate::value::{Hash, List, Set, ZSet};

    fn set(len: usize) -> Value {
        let (limits, hasher) = (EncodingLimits::default(), Hasher64::new([1, 2, 3, 4]));
        let mut set = Set::new();
        (0..len).for_each(|n| {
            set.add(format!("member:{n}").as_bytes(), &limits, &hasher);
        });
        Value::Set(set)
    }

    #[test]
    fn what_is_small_goes_at_once_and_the_rest_in_slices() {
        let mut garbage = Garbage::default();
        garbage.add_value(set(FREED_AT_ONCE_MAX));
        garbage.add_entry(Entry::new(b"key", set(FREED_AT_ONCE_MAX), None));
        assert!(garbage.is_empty(), "these are gone");
        garbage.add_value(set(FREED_AT_ONCE_MAX + 1));
        garbage.add_entry(Entry::new(b"key", set(5 * FREED_AT_ONCE_MAX), None));
        assert_eq!(garbage.len(), 2);
        let mut slices = 0;
        while !garbage.is_empty() {
            let done = garbage.free_slice(FREED_AT_ONCE_MAX);
            assert!(done <= FREED_AT_ONCE_MAX * 3 / 2, "{done} elements in a slice");
            slices += 1;
        }
        assert!((4..9).contains(&slices), "six times as much in {slices} slices");
        assert_eq!(garbage.bytes(), 0);
    }

    #[test]
    fn a_slice_of_any_type_is_a_slice() {
        let (limits, hasher) = (EncodingLimits::default(), Hasher64::new([1, 2, 3, 4]));
        let (mut hash, mut list, mut zset) = (Hash::new(), List::new(), ZSet::new());
        let (slice, slices_least) = (FREED_AT_ONCE_MAX, 20);
        let count = slice * slices_least;
        for n in 0..count {
            let member = format!("member:{n}");
            hash.set(member.as_bytes(), b"value", &limits, &hasher);
            zset.set(member.as_bytes(), n as f64, &limits, &hasher);
        }
        (0..count * 64).for_each(|_| list.push(End::Tail, b"element", &limits));
        for value in [set(count), Value::Hash(hash), Value::List(list), Value::ZSet(zset)] {
            let mut garbage = Garbage::default();
            garbage.add_value(value);
            let mut slices = 0;
            while !garbage.is_empty() {
                let done = garbage.free_slice(slice);
                assert!(done <= slice * 3 / 2, "{done} elements in a slice");
                slices += 1;
            }
            assert!(slices >= slices_least * 2 / 3, "{slices} slices");
        }
    }

    #[test]
    fn of_a_flushed_database_only_small_collections_go_with_the_table() {
        for (len, waiting) in [(FREED_WITH_TABLE_MAX, 0), (FREED_WITH_TABLE_MAX + 1, 1)] {
            let mut shard = Shard::new(0, Hasher64::new([1, 2, 3, 4]));
            let hash = shard.table(0).hash(b"key");
            shard.insert_entry(0, hash, Entry::new(b"key", set(len), None));
            let mut garbage = Garbage::default();
            garbage.add_database(shard.take_database(0));
            // One step drains the table, which has one key.
            garbage.free_slice(1);
            let values = garbage.waiting.iter().filter(|w| matches!(w, Discarded::Value(_)));
            assert_eq!(values.count(), waiting, "a set of {len}");
        }
    }
}
