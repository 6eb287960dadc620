//! What a command sees of the data: one database over the shards held here, at one moment.
//! Reads are here; everything that changes data is in the mutators beside this file.

use std::ops::Deref;

use crate::error::{CommandError, WRONG_TYPE};
use crate::settings::Settings;
use crate::value::{Hash, List, Set, ZSet};

use super::access::AccessClock;
use super::entry::{Entry, ValueRef};
use super::shard::Shard;
use super::shards::Shards;

/// A view of the keyspace for the length of one command.
pub struct Space<'a> {
    pub(crate) shards: &'a mut Shards,
    pub settings: &'a Settings,
    db: u16,
    now_ms: i64,
    access_clock: AccessClock,
    /// CLIENT NO-TOUCH turns it off: reads leave no trace of when they were.
    pub notes_access: bool,
    /// While writes are paused: a key whose time is over is hidden and stays.
    pub keeps_expired: bool,
}

/// A string value; integers are kept as such and printed on demand.
#[derive(Clone, Copy)]
pub enum StringRef<'a> {
    Integer(i64),
    Bytes(&'a [u8]),
}

/// A string's bytes, those of an integer in a buffer of their own.
pub enum StringBytes<'a> {
    Digits { text: [u8; 20], len: u8 },
    Bytes(&'a [u8]),
}

impl<'a> StringRef<'a> {
    pub fn bytes(self) -> StringBytes<'a> {
        match self {
            StringRef::Bytes(bytes) => StringBytes::Bytes(bytes),
            StringRef::Integer(integer) => {
                let mut buffer = itoa::Buffer::new();
                let digits = buffer.format(integer).as_bytes();
                let mut text = [0; 20];
                text[..digits.len()].copy_from_slice(digits);
                StringBytes::Digits { text, len: digits.len() as u8 }
            }
        }
    }
}

impl Deref for StringBytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            StringBytes::Bytes(bytes) => bytes,
            StringBytes::Digits { text, len } => &text[..usize::from(*len)],
        }
    }
}

impl<'a> Space<'a> {
    pub fn new(shards: &'a mut Shards, settings: &'a Settings, db: u16, now_ms: i64) -> Space<'a> {
        let access_clock = AccessClock::new(now_ms, &settings.eviction);
        Space {
            shards,
            settings,
            db,
            now_ms,
            access_clock,
            notes_access: true,
            keeps_expired: false,
        }
    }

    pub fn db(&self) -> u16 {
        self.db
    }

    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// The moment in the form in which entries note when they are used.
    pub fn access_clock(&self) -> AccessClock {
        self.access_clock
    }

    /// The same shards at the same moment, another database.
    pub fn in_database(&mut self, db: u16) -> Space<'_> {
        Space {
            shards: self.shards,
            settings: self.settings,
            db,
            now_ms: self.now_ms,
            access_clock: self.access_clock,
            notes_access: self.notes_access,
            keeps_expired: self.keeps_expired,
        }
    }

    /// The shard of a key with the key's time checked: what is found there is alive.
    pub(crate) fn shard_of(&mut self, key: &[u8]) -> (&mut Shard, u64) {
        let (db, now_ms, keeps_expired) = (self.db, self.now_ms, self.keeps_expired);
        let (shard, hash) = self.shards.of_key(key);
        if !keeps_expired {
            shard.expire_if_due(db, hash, key, now_ms);
        }
        (shard, hash)
    }

    /// Entries whose time is before this are there, but not for this command.
    fn hidden_ms(&self) -> Option<i64> {
        self.keeps_expired.then_some(self.now_ms)
    }

    /// The entry of a key, as commands that only inspect it see it (OBJECT, TTL, TYPE): no access
    /// is noted, hits and misses are not counted.
    pub fn peek(&mut self, key: &[u8]) -> Option<&Entry> {
        let (db, hidden_ms) = (self.db, self.hidden_ms());
        let (shard, hash) = self.shard_of(key);
        shard.observe(hash);
        shard.table(db).get(hash, key).filter(|entry| !is_hidden(entry, hidden_ms))
    }

    /// Asks the processor for what looking these keys up will touch, so that their cache misses
    /// overlap instead of following each other.
    pub fn prefetch<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) {
        self.shards.prefetch(self.db, keys.map(|key| self.shards.locate(key)));
    }

    pub fn contains(&mut self, key: &[u8]) -> bool {
        self.peek(key).is_some()
    }

    /// The entry of a key for a command that reads its value.
    pub fn read(&mut self, key: &[u8]) -> Option<&Entry> {
        let (db, clock, notes_access) = (self.db, self.access_clock, self.notes_access);
        let hidden_ms = self.hidden_ms();
        let (shard, hash) = self.shard_of(key);
        shard.observe(hash);
        let Shard { databases, stats, dice, .. } = shard;
        let entry = databases[usize::from(db)].table.get_mut(hash, key);
        match entry.filter(|entry| !is_hidden(entry, hidden_ms)) {
            Some(entry) => {
                stats.hits += 1;
                if notes_access {
                    entry.note_use(clock, dice);
                }
                Some(entry)
            }
            None => {
                stats.misses += 1;
                None
            }
        }
    }

    pub fn string(&mut self, key: &[u8]) -> Result<Option<StringRef<'_>>, CommandError> {
        self.read(key).map(|entry| string_of(entry.value())).transpose()
    }

    pub fn list(&mut self, key: &[u8]) -> Result<Option<&List>, CommandError> {
        match self.read(key).map(Entry::value) {
            None => Ok(None),
            Some(ValueRef::List(list)) => Ok(Some(list)),
            Some(_) => Err(WRONG_TYPE),
        }
    }

    pub fn set(&mut self, key: &[u8]) -> Result<Option<&Set>, CommandError> {
        match self.read(key).map(Entry::value) {
            None => Ok(None),
            Some(ValueRef::Set(set)) => Ok(Some(set)),
            Some(_) => Err(WRONG_TYPE),
        }
    }

    pub fn hash(&mut self, key: &[u8]) -> Result<Option<&Hash>, CommandError> {
        match self.read(key).map(Entry::value) {
            None => Ok(None),
            Some(ValueRef::Hash(hash)) => Ok(Some(hash)),
            Some(_) => Err(WRONG_TYPE),
        }
    }

    pub fn zset(&mut self, key: &[u8]) -> Result<Option<&ZSet>, CommandError> {
        match self.read(key).map(Entry::value) {
            None => Ok(None),
            Some(ValueRef::ZSet(zset)) => Ok(Some(zset)),
            Some(_) => Err(WRONG_TYPE),
        }
    }
}

fn is_hidden(entry: &Entry, hidden_ms: Option<i64>) -> bool {
    hidden_ms.is_some_and(|now_ms| entry.expires_at_ms().is_some_and(|at_ms| now_ms > at_ms))
}

/// The value as a string, or the error that every string command gives.
pub(crate) fn string_of(value: ValueRef<'_>) -> Result<StringRef<'_>, CommandError> {
    match value {
        ValueRef::Integer(integer) => Ok(StringRef::Integer(integer)),
        ValueRef::Embedded(bytes) => Ok(StringRef::Bytes(bytes)),
        ValueRef::Raw(bytes) => Ok(StringRef::Bytes(bytes)),
        _ => Err(WRONG_TYPE),
    }
}
