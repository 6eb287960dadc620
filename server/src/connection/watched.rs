//! The keys that a client watches. Ordered, so that a simulation does the same each time.

use std::collections::BTreeMap;

use engine::table::alloc_size;

/// A key watched by WATCH, and the version it had.
#[derive(Clone, Debug)]
pub struct WatchedKey {
    pub db: u16,
    pub key: Box<[u8]>,
    pub version: u64,
}

/// What an entry takes in a node of the map, beside the key: nodes are from half to wholly full.
const ENTRY_BYTES: usize = (size_of::<Box<[u8]>>() + size_of::<u64>()) * 2;

#[derive(Debug, Default)]
pub struct Watched {
    by_db: BTreeMap<u16, BTreeMap<Box<[u8]>, u64>>,
    count: usize,
    bytes: usize,
}

impl Watched {
    pub fn has(&self, db: u16, key: &[u8]) -> bool {
        self.by_db.get(&db).is_some_and(|keys| keys.contains_key(key))
    }

    /// Adds a key that is not there yet.
    pub fn add(&mut self, WatchedKey { db, key, version }: WatchedKey) {
        self.bytes += alloc_size(key.len()) + ENTRY_BYTES;
        self.count += 1;
        self.by_db.entry(db).or_default().insert(key, version);
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn memory_bytes(&self) -> usize {
        self.bytes
    }

    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.by_db.values().flat_map(BTreeMap::keys).map(|key| &**key)
    }

    /// All of them; none is left.
    pub fn take(&mut self) -> impl Iterator<Item = WatchedKey> + use<> {
        let all = std::mem::take(self).by_db.into_iter();
        all.flat_map(|(db, keys)| {
            keys.into_iter().map(move |(key, version)| WatchedKey { db, key, version })
        })
    }
}
