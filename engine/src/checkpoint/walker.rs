//! The walk over one shard as it was at one index, while the shard goes on changing. Lives in the
//! shard, so on its core; it never holds up a turn for more than a slice.
//!
//! Every key is taken once: when the walk comes to it, or before the first change of it or of the
//! layout of its segment (`table/walk.rs`). A small value is written whole when it is taken. A
//! large one is only announced; from then on it keeps for itself what changes take away
//! (`value/walk.rs`, `text.rs`) and is written in pieces.
//!
//! Invariant: a key is in `walks` exactly while its large value is announced, not yet written, and
//! lies in the database of that origin under that key.

use std::collections::BTreeMap;

use crate::image;
use crate::keyspace::entry::{Entry, Value, ValueMut, ValueRef};
use crate::keyspace::shard::Database;
use crate::limits::{CHECKPOINT_WHOLE_BYTES_MAX, DATABASE_COUNT};
use crate::value::limits::EncodingLimits;
use crate::value::walk::Piece;

use super::contents::Contents;
use super::output::Output;
use super::record::{self, Head};
use super::text::TextWalk;

/// What a key, and what a segment of the table, counts in a slice's budget of bytes: walking
/// small keys costs as much as their lookups.
const KEY_WORK_BYTES: usize = 64;
const SEGMENT_WORK_BYTES: usize = 64;

/// How a slice ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Its budget is used up.
    More,
    /// Too many blocks wait: take them first.
    Full,
    /// Everything is written; only blocks to take are left.
    Done,
}

/// A large value that is being written.
#[derive(Debug)]
struct ValueWalk {
    id: u64,
    /// Elements not yet given.
    left: u64,
    /// Of a string.
    text: Option<TextWalk>,
}

pub struct Walker {
    index: u64,
    contents: Contents,
    /// Keys taken so far, by database.
    taken: [u64; DATABASE_COUNT],
    output: Output,
    /// The database that the walk has come to, and where in it.
    database: u16,
    cursor: u64,
    /// Large values where they were at the beginning, by database and present name.
    walks: Vec<BTreeMap<Box<[u8]>, ValueWalk>>,
    /// Large values that were deleted or replaced meanwhile.
    orphans: Vec<(ValueWalk, Value)>,
    /// What those take.
    orphan_bytes: usize,
    /// Databases that were flushed meanwhile.
    flushed: Vec<Database>,
    last_id: u64,
    /// In a slice: of it. Between two: what changes have forced out since the last.
    work: usize,
    scratch: Vec<u8>,
    /// A value gave other than it promised: what was written is of no use.
    broken: bool,
}

/// What a walk leaves to be freed in slices.
pub enum Left {
    Value(Value),
    Database(Database),
}

impl Walker {
    /// Begins a walk over databases as they are after this index.
    pub fn begin(index: u64, databases: &mut [Database]) -> Walker {
        let mut contents = Contents::default();
        for (db, database) in databases.iter_mut().enumerate() {
            contents.keys[db] = database.len() as u64;
            database.origin = Some(db as u16);
            database.table.begin_walk();
        }
        Walker {
            index,
            contents,
            taken: [0; DATABASE_COUNT],
            output: Output::default(),
            database: 0,
            cursor: 0,
            walks: (0..DATABASE_COUNT).map(|_| BTreeMap::new()).collect(),
            orphans: Vec::new(),
            orphan_bytes: 0,
            flushed: Vec::new(),
            last_id: 0,
            work: 0,
            scratch: Vec::new(),
            broken: false,
        }
    }

    pub fn index(&self) -> u64 {
        self.index
    }

    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    pub fn keys_taken(&self) -> u64 {
        self.taken.iter().sum()
    }

    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// What it keeps of what was deleted.
    pub fn kept_bytes(&self) -> usize {
        self.orphan_bytes + self.flushed.iter().map(Database::memory_bytes).sum::<usize>()
    }

    /// Whether everything that was there at the beginning was written.
    pub fn is_sound(&self) -> bool {
        !self.broken
            && self.taken == self.contents.keys
            && usize::from(self.database) == DATABASE_COUNT
            && self.orphans.is_empty()
            && self.walks.iter().all(BTreeMap::is_empty)
    }

    /// Bytes of work that changes have forced since the last slice, or since this was last asked.
    pub fn take_forced_bytes(&mut self) -> usize {
        std::mem::take(&mut self.work)
    }

    /// Walks for about so many bytes. What it is done with goes to `left`.
    pub fn slice(
        &mut self,
        databases: &mut [Database],
        limits: &EncodingLimits,
        budget_bytes: usize,
        left: &mut Vec<Left>,
    ) -> Progress {
        let forced = std::mem::take(&mut self.work);
        let progress = loop {
            if self.work >= budget_bytes {
                break Progress::More;
            }
            if self.output.is_full() {
                break Progress::Full;
            }
            let stepped = self.step_orphan(limits, left)
                || self.step_value(databases, limits)
                || self.step_table(databases, budget_bytes, left);
            if !stepped {
                self.output.seal();
                break Progress::Done;
            }
        };
        self.work = forced;
        progress
    }

    fn step_orphan(&mut self, limits: &EncodingLimits, left: &mut Vec<Left>) -> bool {
        let Some((mut walk, mut value)) = self.orphans.pop() else { return false };
        self.orphan_bytes -= value.memory_bytes();
        if self.write_piece(&mut walk, value.as_mut(), limits) {
            self.orphan_bytes += value.memory_bytes();
            self.orphans.push((walk, value));
        } else {
            left.push(Left::Value(value));
        }
        true
    }

    fn step_value(&mut self, databases: &mut [Database], limits: &EncodingLimits) -> bool {
        let Some(origin) = self.walks.iter().position(|walks| !walks.is_empty()) else {
            return false;
        };
        let Some((key, mut walk)) = self.walks[origin].pop_first() else { return false };
        // Out of its place while it is written from.
        let mut flushed = std::mem::take(&mut self.flushed);
        let database = find(origin as u16, databases, &mut flushed);
        let entry = database.and_then(|database| {
            let Database { table, entry_bytes, .. } = database;
            table.get_mut(table.hash(&key), &key).map(|entry| (entry, entry_bytes))
        });
        match entry {
            Some((entry, entry_bytes)) => {
                *entry_bytes -= entry.memory_bytes();
                if self.write_piece(&mut walk, entry.value_mut(), limits) {
                    self.walks[origin].insert(key, walk);
                }
                *entry_bytes += entry.memory_bytes();
            }
            None => self.broken = true,
        }
        self.flushed = flushed;
        true
    }

    fn step_table(
        &mut self,
        databases: &mut [Database],
        budget_bytes: usize,
        left: &mut Vec<Left>,
    ) -> bool {
        let origin = self.database;
        if usize::from(origin) >= DATABASE_COUNT {
            return false;
        }
        let mut flushed = std::mem::take(&mut self.flushed);
        let next = match find(origin, databases, &mut flushed) {
            Some(database) => {
                self.work += SEGMENT_WORK_BYTES;
                database.table.walk_slice(self.cursor, |entry| {
                    self.take(origin, entry);
                    self.work < budget_bytes && !self.output.is_full()
                })
            }
            None => {
                self.broken = true;
                None
            }
        };
        self.flushed = flushed;
        match next {
            Some(cursor) => self.cursor = cursor,
            // The values it announced come first.
            None if !self.walks[usize::from(origin)].is_empty() => {}
            None => {
                (self.database, self.cursor) = (origin + 1, 0);
                if let Some(database) = find(origin, databases, &mut []) {
                    database.table.end_walk();
                }
                let done = self.flushed.iter().position(|d| d.origin == Some(origin));
                left.extend(done.map(|at| Left::Database(self.flushed.swap_remove(at))));
            }
        }
        true
    }

    /// Before a change of this key in this database.
    #[cold]
    pub fn before_change(&mut self, database: &mut Database, hash: u64, key: &[u8]) {
        let Some(origin) = database.origin else { return };
        database.table.visit_before(hash, key, |entry| self.take(origin, entry));
    }

    /// Writes a key as it is now, or announces it if it is large.
    fn take(&mut self, origin: u16, entry: &mut Entry) {
        let expires_at_ms = entry.expires_at_ms();
        self.taken[usize::from(origin)] += 1;
        self.work += KEY_WORK_BYTES;
        if let Some((walk, total)) = self.announce(entry) {
            let head = Head { db: origin, expires_at_ms, key: entry.key() };
            let kind = image::kind_of(entry.value());
            self.work += self.output.put(|out| record::put_begin(out, head, walk.id, kind, total));
            self.walks[usize::from(origin)].insert(entry.key().into(), walk);
            return;
        }
        let head = Head { db: origin, expires_at_ms, key: entry.key() };
        let kind = image::kind_of(entry.value());
        let mut scratch = std::mem::take(&mut self.scratch);
        let content = match entry.value() {
            ValueRef::Embedded(text) => text,
            ValueRef::Raw(text) => text,
            value => {
                scratch.clear();
                image::write_content(value, &mut scratch);
                &scratch
            }
        };
        self.work += self.output.put(|out| record::put_whole(out, kind, head, content));
        self.scratch = scratch;
    }

    /// Begins the walk of a value if it is a large one.
    fn announce(&mut self, entry: &mut Entry) -> Option<(ValueWalk, u64)> {
        let max = CHECKPOINT_WHOLE_BYTES_MAX;
        let mut text = None;
        let (begun, total) = match entry.value_mut() {
            ValueMut::Integer(_) | ValueMut::Embedded(_) => (false, 0),
            ValueMut::Raw(bytes) => {
                text = (bytes.len() > max).then(|| TextWalk::new(bytes.len()));
                (text.is_some(), bytes.len())
            }
            ValueMut::List(list) => (list.memory_bytes() > max && list.begin_walk(), list.len()),
            ValueMut::Set(set) => (set.memory_bytes() > max && set.begin_walk(), set.len()),
            ValueMut::Hash(hash) => (hash.memory_bytes() > max && hash.begin_walk(), hash.len()),
            ValueMut::ZSet(zset) => (zset.memory_bytes() > max && zset.begin_walk(), zset.len()),
        };
        if !begun {
            return None;
        }
        self.last_id += 1;
        let walk = ValueWalk { id: self.last_id, left: total as u64, text };
        Some((walk, total as u64))
    }

    /// Writes the next piece of a value; false once there was none and the value is done.
    fn write_piece(
        &mut self,
        walk: &mut ValueWalk,
        mut value: ValueMut<'_>,
        limits: &EncodingLimits,
    ) -> bool {
        match next_piece(walk, &mut value) {
            Some(piece) => {
                walk.left = walk.left.wrapping_sub(piece.elements);
                self.work += self.output.put(|out| record::put_piece(out, walk.id, &piece));
                true
            }
            None => {
                self.broken |= walk.left != 0;
                end_walk(value, limits);
                self.work += self.output.put(|out| record::put_end(out, walk.id));
                false
            }
        }
    }

    /// Part of a string is about to be overwritten.
    pub fn before_patch(
        &mut self,
        database: &Database,
        key: &[u8],
        text: &[u8],
        range: std::ops::Range<usize>,
    ) {
        let Some(origin) = database.origin else { return };
        if let Some(walk) = self.walks[usize::from(origin)].get_mut(key)
            && let Some(walk) = &mut walk.text
        {
            walk.copy_before(text, range.start, range.end);
        }
    }

    /// A value was taken out of the keyspace for good. Keeps it if it is not written yet.
    pub fn keep(&mut self, database: &Database, key: &[u8], value: Value) -> Option<Value> {
        let origin = database.origin?;
        match self.walks[usize::from(origin)].remove(key) {
            Some(walk) => {
                self.orphan_bytes += value.memory_bytes();
                self.orphans.push((walk, value));
                None
            }
            None => Some(value),
        }
    }

    /// A key of this database has another name now.
    pub fn rename(&mut self, database: &Database, from: &[u8], to: &[u8]) {
        let Some(origin) = database.origin else { return };
        let walks = &mut self.walks[usize::from(origin)];
        if let Some(walk) = walks.remove(from) {
            walks.insert(to.into(), walk);
        }
    }

    /// A value is about to leave its database or the shard: all of it is written now, as the
    /// effect of that move has all of it too.
    pub fn settle(
        &mut self,
        database: &Database,
        key: &[u8],
        value: &mut Value,
        limits: &EncodingLimits,
    ) {
        let Some(origin) = database.origin else { return };
        if let Some(mut walk) = self.walks[usize::from(origin)].remove(key) {
            while self.write_piece(&mut walk, value.as_mut(), limits) {}
        }
    }

    /// A database was taken out of the keyspace for good. Keeps it if it is not written yet.
    pub fn keep_database(&mut self, database: Database) -> Option<Database> {
        if database.origin.is_some_and(|origin| origin >= self.database) {
            self.flushed.push(database);
            return None;
        }
        Some(database)
    }

    /// Ends the walk wherever it is.
    pub fn end(self, databases: &mut [Database], limits: &EncodingLimits) -> Vec<Left> {
        let mut flushed = self.flushed;
        for (origin, walks) in self.walks.into_iter().enumerate() {
            for (key, _) in walks {
                let Some(database) = find(origin as u16, databases, &mut flushed) else { continue };
                let Database { table, entry_bytes, .. } = database;
                if let Some(entry) = table.get_mut(table.hash(&key), &key) {
                    *entry_bytes -= entry.memory_bytes();
                    end_walk(entry.value_mut(), limits);
                    *entry_bytes += entry.memory_bytes();
                }
            }
        }
        for database in databases {
            database.origin = None;
            database.table.end_walk();
        }
        let values = self.orphans.into_iter().map(|(_, value)| Left::Value(value));
        values.chain(flushed.into_iter().map(Left::Database)).collect()
    }
}

/// Where the database of an origin is now.
fn find<'a>(
    origin: u16,
    databases: &'a mut [Database],
    flushed: &'a mut [Database],
) -> Option<&'a mut Database> {
    databases.iter_mut().chain(flushed).find(|database| database.origin == Some(origin))
}

fn next_piece(walk: &mut ValueWalk, value: &mut ValueMut<'_>) -> Option<Piece> {
    match value {
        ValueMut::Integer(_) | ValueMut::Embedded(_) => None,
        ValueMut::Raw(text) => walk.text.as_mut()?.next_piece(text),
        ValueMut::List(list) => list.next_piece(),
        ValueMut::Set(set) => set.next_piece(),
        ValueMut::Hash(hash) => hash.next_piece(),
        ValueMut::ZSet(zset) => zset.next_piece(),
    }
}

fn end_walk(value: ValueMut<'_>, limits: &EncodingLimits) {
    match value {
        ValueMut::Integer(_) | ValueMut::Embedded(_) | ValueMut::Raw(_) => {}
        ValueMut::List(list) => list.end_walk(limits),
        ValueMut::Set(set) => set.end_walk(),
        ValueMut::Hash(hash) => hash.end_walk(),
        ValueMut::ZSet(zset) => zset.end_walk(),
    }
}
