//! Mutators of keys whatever their value: deletion, expiry, renaming, whole databases.

use crate::effect::{EFFECT_BYTES, Kind};
use crate::error::{CommandError, CommandResult};
use crate::image;
use crate::limits::EMBEDDED_STRING_BYTES_MAX;

use super::access::AccessClock;
use super::entry::{Entry, Value, ValueRef};
use super::shard::Shard;
use super::space::Space;

impl Space<'_> {
    /// Deletes a key. Returns whether it was there.
    pub fn delete(&mut self, key: &[u8]) -> bool {
        let db = self.db();
        let (shard, hash) = self.shard_of(key);
        shard.delete(db, hash, key)
    }

    /// Sets the time of a key that exists. A time that is over deletes it. False if it is absent.
    pub fn expire(&mut self, key: &[u8], at_ms: i64) -> bool {
        let (db, now_ms, clock) = (self.db(), self.now_ms(), self.access_clock());
        let (shard, hash) = self.shard_of(key);
        if at_ms <= now_ms {
            return shard.delete(db, hash, key);
        }
        if !set_expiry(shard, db, hash, key, Some(at_ms), clock) {
            return false;
        }
        if !shard.effects.muted() {
            shard.effects.begin(Kind::Expire, db, key).i64(at_ms);
        }
        shard.key_changed(db, hash, key);
        true
    }

    /// Takes a key's time away. False if it is absent or had none.
    pub fn persist(&mut self, key: &[u8]) -> bool {
        let (db, clock) = (self.db(), self.access_clock());
        let (shard, hash) = self.shard_of(key);
        let volatile = shard.table(db).get(hash, key).and_then(Entry::expires_at_ms).is_some();
        if !volatile {
            return false;
        }
        set_expiry(shard, db, hash, key, None, clock);
        if !shard.effects.muted() {
            shard.effects.begin(Kind::Persist, db, key);
        }
        shard.key_changed(db, hash, key);
        true
    }

    /// Refuses effects on a key that name so many bytes, if no word brought them and the entry of
    /// its shard has no room: asked before anything changes. See `limits.rs`.
    pub fn check_room(&mut self, key: &[u8], bytes: usize) -> CommandResult {
        let entry = self.settings.entry;
        let (shard, _) = self.shards.of_key(key);
        entry.check_copied(shard.effects.len(), key.len() + bytes + 2 * EFFECT_BYTES)
    }

    /// As [`Space::check_room`] for a whole value.
    pub fn check_room_for(&mut self, key: &[u8], value: ValueRef<'_>) -> CommandResult {
        let small_bytes = self.settings.entry.copied_bytes_max / 2;
        self.check_room(key, image::bytes_max(value, small_bytes))
    }

    /// As [`Space::check_room`] for the value of another key, which goes to `key` of a database.
    pub fn check_room_for_that_of(&mut self, from: &[u8], key: &[u8]) -> CommandResult {
        let (db, small_bytes) = (self.db(), self.settings.entry.copied_bytes_max / 2);
        let (shard, hash) = self.shard_of(from);
        let entry = shard.table(db).get(hash, from);
        let bytes = entry.map_or(0, |entry| image::bytes_max(entry.value(), small_bytes));
        self.check_room(key, bytes)
    }

    /// What a command has made of several keys: under a key, or that deleted where it is `None`.
    pub fn store(&mut self, key: &[u8], value: Option<Value>) -> CommandResult {
        match value {
            None => {
                self.delete(key);
            }
            Some(value) => {
                self.check_room_for(key, value.view())?;
                self.put(key, value, None);
            }
        }
        Ok(())
    }

    /// Puts a whole value under a key, whatever was there: RESTORE, the `…STORE` commands, a key
    /// that comes from another shard or database. A time that is over leaves the key absent.
    pub fn put(&mut self, key: &[u8], value: Value, expires_at_ms: Option<i64>) {
        let (db, now_ms, clock) = (self.db(), self.now_ms(), self.access_clock());
        let (shard, hash) = self.shard_of(key);
        if expires_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            shard.delete(db, hash, key);
            return;
        }
        if let Some(old) = shard.remove_entry(db, hash, key) {
            shard.discard_entry(db, old);
        }
        let mut entry = match value {
            Value::Raw(text) if text.len() <= EMBEDDED_STRING_BYTES_MAX => {
                Entry::text(key, &text, expires_at_ms)
            }
            value => Entry::new(key, value, expires_at_ms),
        };
        entry.set_access(clock.fresh());
        if !shard.effects.muted() {
            let mut bytes = Vec::new();
            image::write(entry.value(), &mut bytes);
            let at_ms = expires_at_ms.unwrap_or(-1);
            shard.effects.begin(Kind::Put, db, key).i64(at_ms).bytes(&bytes);
        }
        shard.insert_entry(db, hash, entry);
        shard.key_changed(db, hash, key);
        shard.waiters.signal(db, key);
    }

    /// Moves a key under another name, over what is there. False if the key is absent.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<bool, CommandError> {
        let (db, clock) = (self.db(), self.access_clock());
        if self.shards.shard_of(from) != self.shards.shard_of(to) {
            self.check_room_for_that_of(from, to)?;
            return Ok(self.rename_across_shards(from, to));
        }
        let to_hash = self.shards.hash(to);
        let (shard, hash) = self.shard_of(from);
        let Some(entry) = shard.remove_entry(db, hash, from) else { return Ok(false) };
        if let Some(old) = shard.remove_entry(db, to_hash, to) {
            shard.discard_entry(db, old);
        }
        let (at_ms, access) = (entry.expires_at_ms(), clock.used(entry.access(), &mut shard.dice));
        let mut moved = with_key(entry, to, at_ms);
        moved.set_access(access);
        shard.renamed(db, from, to);
        shard.insert_entry(db, to_hash, moved);
        if !shard.effects.muted() {
            shard.effects.begin(Kind::Rename, db, from).bytes(to);
        }
        shard.key_changed(db, hash, from);
        shard.key_changed(db, to_hash, to);
        shard.waiters.signal(db, to);
        Ok(true)
    }

    fn rename_across_shards(&mut self, from: &[u8], to: &[u8]) -> bool {
        let db = self.db();
        let (shard, hash) = self.shard_of(from);
        let Some(entry) = shard.remove_entry(db, hash, from) else { return false };
        if !shard.effects.muted() {
            shard.effects.begin(Kind::Delete, db, from);
        }
        shard.key_changed(db, hash, from);
        let at_ms = entry.expires_at_ms();
        let value = self.leave(from, entry);
        self.put(to, value, at_ms);
        true
    }

    /// Moves a key that exists into another database, which lacks it, with its expiry.
    pub fn move_to_database(&mut self, key: &[u8], to: u16) {
        let db = self.db();
        let (shard, hash) = self.shard_of(key);
        let Some(entry) = shard.remove_entry(db, hash, key) else { return };
        if !shard.effects.muted() {
            shard.effects.begin(Kind::Delete, db, key);
        }
        shard.key_changed(db, hash, key);
        let at_ms = entry.expires_at_ms();
        let value = self.leave(key, entry);
        self.in_database(to).put(key, value, at_ms);
    }

    /// The value of an entry that goes elsewhere as a whole.
    fn leave(&mut self, key: &[u8], entry: Entry) -> Value {
        let (db, limits) = (self.db(), &self.settings.encoding);
        let mut value = entry.into_value();
        let (shard, _) = self.shards.of_key(key);
        shard.settle(db, key, &mut value, limits);
        value
    }

    /// Empties the database in the shards held here.
    pub fn flush_database(&mut self) {
        let db = self.db();
        for shard in self.shards.held_mut() {
            flush(shard, db);
        }
    }

    /// Exchanges two databases in the shards held here.
    pub fn swap_databases(&mut self, a: u16, b: u16) {
        let now_ms = self.now_ms();
        for shard in self.shards.held_mut() {
            expire_watched(shard, (a, b), now_ms);
            swap(shard, a, b);
        }
    }
}

pub(crate) fn flush(shard: &mut Shard, db: u16) {
    if shard.database(db).is_empty() {
        return;
    }
    let old = shard.take_database(db);
    let hasher = old.table.hasher();
    shard.watched.changed_where(db, |key| old.table.get(hasher.hash(key), key).is_some());
    shard.discard_database(old);
    if !shard.effects.muted() {
        shard.effects.begin(Kind::FlushDatabase, db, b"");
    }
    shard.everything_changed();
}

/// Removes the keys whose time is over of those that a swap puts under watched names: for their
/// watchers no key comes.
fn expire_watched(shard: &mut Shard, (a, b): (u16, u16), now_ms: i64) {
    if shard.watched.is_empty() || a == b {
        return;
    }
    let hasher = shard.database(a).table.hasher().clone();
    for (watched, coming) in [(a, b), (b, a)] {
        let keys: Vec<Box<[u8]>> = shard.watched.keys_of(watched).map(Box::from).collect();
        for key in keys {
            shard.expire_if_due(coming, hasher.hash(&key), &key, now_ms);
        }
    }
}

pub(crate) fn swap(shard: &mut Shard, a: u16, b: u16) {
    if a == b {
        return;
    }
    shard.swap_databases(a, b);
    for db in [a, b] {
        let (one, other) = (shard.database(a), shard.database(b));
        let hasher = one.table.hasher();
        let touched: Vec<Box<[u8]>> = shard
            .watched
            .keys_of(db)
            .filter(|key| {
                let hash = hasher.hash(key);
                one.table.get(hash, key).is_some() || other.table.get(hash, key).is_some()
            })
            .map(Box::from)
            .collect();
        shard.watched.changed_where(db, |key| touched.iter().any(|t| **t == *key));
        shard.waiters.signal_database(db);
    }
    if !shard.effects.muted() {
        shard.effects.begin(Kind::SwapDatabases, a, b"").varint(u64::from(b));
    }
    shard.everything_changed();
}

fn set_expiry(
    shard: &mut Shard,
    db: u16,
    hash: u64,
    key: &[u8],
    at_ms: Option<i64>,
    clock: AccessClock,
) -> bool {
    shard.before_change(db, hash, key);
    let Shard { databases, dice, .. } = &mut *shard;
    let database = &mut databases[usize::from(db)];
    let Some(entry) = database.table.get_mut(hash, key) else { return false };
    entry.note_use(clock, dice);
    let was_volatile = entry.expires_at_ms().is_some();
    let grown = entry.set_expires_at_ms(at_ms);
    database.volatile += usize::from(at_ms.is_some());
    database.volatile -= usize::from(was_volatile);
    if let Some(at_ms) = at_ms {
        shard.note_deadline(db, hash, at_ms);
    }
    shard.entry_grew(db, grown);
    true
}

fn with_key(entry: Entry, key: &[u8], at_ms: Option<i64>) -> Entry {
    match entry.value() {
        super::entry::ValueRef::Embedded(text) => Entry::text(key, text, at_ms),
        _ => Entry::new(key, entry.into_value(), at_ms),
    }
}
