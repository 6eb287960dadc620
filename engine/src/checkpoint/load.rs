//! Blocks become a shard. Must never panic, whatever the blocks hold: they come from a disk or
//! from another node.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::effect::decode::{DecodeError, Reader};
use crate::hash::Hasher64;
use crate::image::{self, STRING};
use crate::keyspace::entry::{Entry, Value};
use crate::keyspace::shard::Shard;
use crate::limits::{DATABASE_COUNT, EMBEDDED_STRING_BYTES_MAX, PREFETCHED_KEYS_MAX};
use crate::slot::{shard_of_slot, slot_of};
use crate::table::{Probe, Table};
use crate::value::limits::EncodingLimits;

use super::contents::Contents;
use super::parts::{Parts, PartsError};
use super::record::{self, Head, Record};

/// Why blocks do not make a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// A record cannot be read; the offset is its block's, within all blocks.
    Decode { block_offset: u64, error: DecodeError },
    /// A record does not fit those before it.
    Wrong { offset: u64, what: &'static str },
    /// The blocks ended too early.
    Incomplete { what: &'static str },
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LoadError::Decode { block_offset, error } => {
                write!(f, "in the block at byte {block_offset} of the contents: {error}")
            }
            LoadError::Wrong { offset, what } => {
                write!(f, "at byte {offset} of the contents: {what}")
            }
            LoadError::Incomplete { what } => write!(f, "the contents end too early: {what}"),
        }
    }
}

impl std::error::Error for LoadError {}

/// A large value whose end has not come.
struct Unfinished {
    db: u16,
    key: Box<[u8]>,
    expires_at_ms: Option<i64>,
    parts: Parts,
}

/// A whole value on its way into its table.
struct Arrived<'a> {
    offset: usize,
    hash: u64,
    head: Head<'a>,
    kind: u8,
    content: &'a [u8],
}

/// Makes a shard of blocks, given in order.
pub struct Loader {
    shard: Box<Shard>,
    /// Shards of the node: a key says which one it belongs to.
    shard_count: usize,
    hasher: Hasher64,
    limits: EncodingLimits,
    contents: Contents,
    unfinished: BTreeMap<u64, Unfinished>,
    /// Elements that room may still be made for ahead of time, whatever values claim to hold: all
    /// together have no more than the bytes allow.
    room_left: usize,
    /// Bytes of the blocks before.
    offset: u64,
}

/// A key with an empty value takes four bytes.
const RECORD_BYTES_MIN: u64 = 4;

impl Loader {
    /// A loader of shard `id` of `shard_count`, whose blocks have `bytes` bytes together.
    pub fn new(
        id: u16,
        shard_count: usize,
        hasher: Hasher64,
        limits: EncodingLimits,
        contents: Contents,
        bytes: u64,
    ) -> Loader {
        let room_max = usize::try_from(bytes / RECORD_BYTES_MIN).unwrap_or(usize::MAX);
        let mut shard = Box::new(Shard::new(id, hasher.clone()));
        for (database, keys) in shard.databases.iter_mut().zip(contents.keys) {
            let room = usize::try_from(keys).unwrap_or(usize::MAX).min(room_max);
            database.table = Table::with_room(hasher.clone(), room);
        }
        Loader {
            shard,
            shard_count,
            hasher,
            limits,
            contents,
            unfinished: BTreeMap::new(),
            room_left: room_max,
            offset: 0,
        }
    }

    /// Takes in the next block.
    pub fn load(&mut self, block: &[u8]) -> Result<(), LoadError> {
        let mut reader = Reader::new(block);
        let mut arrived: SmallVec<[Arrived<'_>; PREFETCHED_KEYS_MAX]> = SmallVec::new();
        while !reader.is_empty() {
            let offset = reader.offset();
            let record = record::read(&mut reader)
                .map_err(|error| LoadError::Decode { block_offset: self.offset, error })?;
            match record {
                Record::Whole { head, kind, content } => {
                    self.check(&head, offset)?;
                    let hash = self.hasher.hash(head.key);
                    self.shard.databases[usize::from(head.db)].table.prefetch_segment(hash);
                    arrived.push(Arrived { offset, hash, head, kind, content });
                    if arrived.len() == PREFETCHED_KEYS_MAX {
                        self.put_arrived(&mut arrived)?;
                    }
                }
                Record::Begin { head, id, kind, total } => {
                    self.check(&head, offset)?;
                    self.begin(head, id, kind, total, offset)?;
                }
                Record::Piece { id, ordinal, elements, content } => {
                    let (limits, hasher) = (&self.limits, &self.hasher);
                    let added = match self.unfinished.get_mut(&id) {
                        Some(value) => value.parts.add(ordinal, elements, content, limits, hasher),
                        None => Err(PartsError::Wrong(NO_BEGIN)),
                    };
                    added.map_err(|error| self.wrong_parts(offset, error))?;
                }
                Record::End { id } => self.end(id, offset)?,
            }
        }
        self.put_arrived(&mut arrived)?;
        self.offset += block.len() as u64;
        Ok(())
    }

    /// The shard, once all blocks were taken in: as it was after `index`.
    pub fn finish(mut self, index: u64) -> Result<Box<Shard>, LoadError> {
        if !self.unfinished.is_empty() {
            return Err(LoadError::Incomplete { what: "a value is not whole" });
        }
        for (database, keys) in self.shard.databases.iter().zip(self.contents.keys) {
            if database.len() as u64 != keys {
                return Err(LoadError::Incomplete { what: "keys are missing, or there are more" });
            }
        }
        self.shard.count_data();
        self.shard.resume_after(index);
        Ok(self.shard)
    }

    fn wrong(&self, offset: usize, what: &'static str) -> LoadError {
        LoadError::Wrong { offset: self.offset + offset as u64, what }
    }

    fn wrong_parts(&self, offset: usize, error: PartsError) -> LoadError {
        match error {
            PartsError::Wrong(what) => self.wrong(offset, what),
            PartsError::Malformed(_) => self.wrong(offset, "the elements cannot be read"),
        }
    }

    fn check(&self, head: &Head<'_>, offset: usize) -> Result<(), LoadError> {
        if usize::from(head.db) >= DATABASE_COUNT {
            return Err(self.wrong(offset, "there is no such database"));
        }
        let count = self.shard_count;
        if count > 1 && shard_of_slot(slot_of(head.key), count) != usize::from(self.shard.id()) {
            return Err(self.wrong(offset, "the key belongs to another shard"));
        }
        Ok(())
    }

    /// Puts in what has arrived, together, so that the waits for memory overlap.
    fn put_arrived(
        &mut self,
        arrived: &mut SmallVec<[Arrived<'_>; PREFETCHED_KEYS_MAX]>,
    ) -> Result<(), LoadError> {
        for Arrived { hash, head, .. } in arrived.iter() {
            self.shard.databases[usize::from(head.db)].table.prefetch_chunk(*hash);
        }
        for Arrived { offset, hash, head, kind, content } in arrived.drain(..) {
            let Head { key, expires_at_ms, .. } = head;
            let entry = if kind == STRING {
                Entry::string(key, content, expires_at_ms)
            } else {
                let reader = Reader::new(content);
                let value = image::read_content(kind, reader, &self.limits, &self.hasher);
                let value = value.map_err(|_| self.wrong(offset, "the value cannot be read"))?;
                Entry::new(key, value, expires_at_ms)
            };
            self.put(head.db, hash, entry, offset)?;
        }
        Ok(())
    }

    fn put(&mut self, db: u16, hash: u64, entry: Entry, offset: usize) -> Result<(), LoadError> {
        let database = &mut self.shard.databases[usize::from(db)];
        let (bytes, expires_at_ms) = (entry.memory_bytes(), entry.expires_at_ms());
        match database.table.probe(hash, entry.key()) {
            Probe::Vacant(vacant) => vacant.insert(entry),
            Probe::Occupied(_) => return Err(self.wrong(offset, "a key stands twice")),
        };
        database.entry_bytes += bytes;
        if let Some(at_ms) = expires_at_ms {
            database.volatile += 1;
            database.table.lower_deadline(hash, at_ms);
        }
        Ok(())
    }

    fn begin(
        &mut self,
        head: Head<'_>,
        id: u64,
        kind: u8,
        total: u64,
        offset: usize,
    ) -> Result<(), LoadError> {
        let room = usize::try_from(total).unwrap_or(usize::MAX).min(self.room_left);
        self.room_left -= room;
        let parts = Parts::begin(kind, total, room, &self.limits, &self.hasher);
        let parts = parts.map_err(|error| self.wrong_parts(offset, error))?;
        let Head { db, key, expires_at_ms } = head;
        let value = Unfinished { db, key: key.into(), expires_at_ms, parts };
        match self.unfinished.insert(id, value) {
            None => Ok(()),
            Some(_) => Err(self.wrong(offset, "an id is used twice")),
        }
    }

    fn end(&mut self, id: u64, offset: usize) -> Result<(), LoadError> {
        let value = self.unfinished.remove(&id).ok_or(self.wrong(offset, NO_BEGIN))?;
        let Unfinished { db, key, expires_at_ms, parts } = value;
        let value = parts.finish(&self.limits, &self.hasher);
        let entry = match value.map_err(|error| self.wrong_parts(offset, error))? {
            Value::Raw(text) if text.len() <= EMBEDDED_STRING_BYTES_MAX => {
                Entry::string(&key, &text, expires_at_ms)
            }
            value => Entry::new(&key, value, expires_at_ms),
        };
        self.put(db, self.hasher.hash(&key), entry, offset)
    }
}

const NO_BEGIN: &str = "a piece of a value that did not begin";
