//! Keys that transactions WATCH: a version each, bumped by every change. Lives in a shard.

use std::collections::HashMap;

use crate::table::alloc_size;

#[derive(Debug)]
struct WatchedKey {
    version: u64,
    watchers: u32,
}

#[derive(Debug, Default)]
pub struct Watched {
    keys: HashMap<(u16, Box<[u8]>), WatchedKey>,
    /// Versions come from one counter, so that none is ever given twice.
    last_version: u64,
    /// What the keys take.
    key_bytes: usize,
}

/// A place of the `HashMap`, with its control byte.
const PLACE_BYTES: usize = size_of::<((u16, Box<[u8]>), WatchedKey)>() + 1;

impl Watched {
    pub fn memory_bytes(&self) -> usize {
        self.keys.capacity() * PLACE_BYTES + self.key_bytes
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Begins to watch; the version is to be compared at EXEC.
    pub fn watch(&mut self, db: u16, key: &[u8]) -> u64 {
        self.last_version += 1;
        let fresh = WatchedKey { version: self.last_version, watchers: 0 };
        let watched = self.keys.entry((db, key.into())).or_insert(fresh);
        watched.watchers += 1;
        if watched.watchers == 1 {
            self.key_bytes += alloc_size(key.len());
        }
        watched.version
    }

    /// Ends one watch. Returns whether the key is as it was when `version` was given.
    pub fn unwatch(&mut self, db: u16, key: &[u8], version: u64) -> bool {
        let id = (db, Box::from(key));
        let Some(watched) = self.keys.get_mut(&id) else { return false };
        let same = watched.version == version;
        watched.watchers -= 1;
        if watched.watchers == 0 {
            self.keys.remove(&id);
            self.key_bytes -= alloc_size(key.len());
        }
        same
    }

    pub fn changed(&mut self, db: u16, key: &[u8]) {
        if self.keys.is_empty() {
            return;
        }
        if let Some(watched) = self.keys.get_mut(&(db, Box::from(key))) {
            self.last_version += 1;
            watched.version = self.last_version;
        }
    }

    /// The watched keys of a database.
    pub fn keys_of(&self, db: u16) -> impl Iterator<Item = &[u8]> {
        self.keys.keys().filter(move |(d, _)| *d == db).map(|(_, key)| &**key)
    }

    /// The keys of a database for which `touches` holds have changed: FLUSHDB, SWAPDB.
    pub fn changed_where(&mut self, db: u16, touches: impl Fn(&[u8]) -> bool) {
        for ((d, key), watched) in &mut self.keys {
            if *d == db && touches(key) {
                self.last_version += 1;
                watched.version = self.last_version;
            }
        }
    }
}
