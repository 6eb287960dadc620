//! Mutators of strings.

use crate::effect::Kind;
use crate::error::{CommandError, STRING_TOO_LONG, WRONG_TYPE};

use super::entry::{Entry, Replaced, ValueRef};
use super::shard::Shard;
use super::space::Space;

/// What becomes of a key's expiry when its value is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    Clear,
    Keep,
    At(i64),
}

impl Space<'_> {
    /// Makes the key this string, whatever it was. A time that is over deletes it at once.
    pub fn set_string(&mut self, key: &[u8], value: &[u8], expiry: Expiry) {
        self.replace_string(key, value, expiry, Entry::set_string, Entry::string);
    }

    /// As [`Space::set_string`], but digits stay text: INCRBYFLOAT's result is no integer.
    pub fn set_text(&mut self, key: &[u8], value: &[u8], expiry: Expiry) {
        self.replace_string(key, value, expiry, Entry::set_text, Entry::text);
    }

    fn replace_string(
        &mut self,
        key: &[u8],
        value: &[u8],
        expiry: Expiry,
        replace: impl FnOnce(&mut Entry, &[u8]) -> Replaced,
        create: impl FnOnce(&[u8], &[u8], Option<i64>) -> Entry,
    ) {
        let (db, now_ms, clock) = (self.db(), self.now_ms(), self.access_clock());
        let (shard, hash) = self.shard_of(key);
        if let Expiry::At(at_ms) = expiry
            && at_ms <= now_ms
        {
            shard.delete(db, hash, key);
            return;
        }
        let at_ms = match expiry {
            Expiry::At(at_ms) => Some(at_ms),
            Expiry::Clear | Expiry::Keep => None,
        };
        shard.before_change(db, hash, key);
        let Shard { databases, dice, .. } = shard;
        let database = &mut databases[usize::from(db)];
        match database.table.get_mut(hash, key) {
            Some(entry) => {
                let was_volatile = entry.expires_at_ms().is_some();
                let mut grown = 0;
                if expiry != Expiry::Keep {
                    grown = entry.set_expires_at_ms(at_ms);
                    database.volatile += usize::from(at_ms.is_some());
                    database.volatile -= usize::from(was_volatile);
                }
                entry.note_use(clock, dice);
                let Replaced { old, grown: more } = replace(entry, value);
                shard.entry_grew(db, grown + more);
                if let Some(at_ms) = at_ms {
                    shard.note_deadline(db, hash, at_ms);
                }
                if let Some(old) = old {
                    shard.discard(db, key, old);
                }
            }
            None => {
                let mut entry = create(key, value, at_ms);
                entry.set_access(clock.fresh());
                shard.insert_entry(db, hash, entry);
            }
        }
        if !shard.effects.muted() {
            match expiry {
                Expiry::Clear => shard.effects.begin(Kind::SetString, db, key).bytes(value),
                Expiry::Keep => shard.effects.begin(Kind::SetStringKeep, db, key).bytes(value),
                Expiry::At(at_ms) => {
                    shard.effects.begin(Kind::SetStringExpiring, db, key).i64(at_ms).bytes(value)
                }
            };
        }
        shard.key_changed(db, hash, key);
    }

    /// Appends to the string, creating it where absent. Returns its new length.
    pub fn append_string(&mut self, key: &[u8], tail: &[u8]) -> Result<usize, CommandError> {
        let (db, max) = (self.db(), self.settings.string_bytes_max);
        let clock = self.access_clock();
        let (shard, hash) = self.shard_of(key);
        shard.before_change(db, hash, key);
        let Shard { databases, dice, .. } = &mut *shard;
        let Some(entry) = databases[usize::from(db)].table.get_mut(hash, key) else {
            self.set_string(key, tail, Expiry::Clear);
            return Ok(tail.len());
        };
        entry.note_use(clock, dice);
        let old_len = super::space::string_of(entry.value())?.bytes().len();
        check_length(old_len, tail.len(), max)?;
        let before = entry.memory_bytes() as isize;
        let string = entry.raw_string_mut().ok_or(WRONG_TYPE)?;
        string.extend_from_slice(tail);
        let (len, after) = (string.len(), entry.memory_bytes() as isize);
        shard.entry_grew(db, after - before);
        if !shard.effects.muted() {
            shard.effects.begin(Kind::Append, db, key).bytes(tail);
        }
        shard.key_changed(db, hash, key);
        Ok(len)
    }

    /// Overwrites part of the string, padding it with zeros up to `offset`. `bytes` is not empty.
    /// Returns the string's new length.
    pub fn patch_string(
        &mut self,
        key: &[u8],
        offset: usize,
        bytes: &[u8],
    ) -> Result<usize, CommandError> {
        let (db, max) = (self.db(), self.settings.string_bytes_max);
        let clock = self.access_clock();
        check_length(offset, bytes.len(), max)?;
        let (shard, hash) = self.shard_of(key);
        let known = shard.table(db).get(hash, key).is_some();
        if !known {
            let mut entry = Entry::text(key, b"", None);
            entry.set_access(clock.fresh());
            shard.insert_entry(db, hash, entry);
        }
        shard.before_patch(db, hash, key, offset..offset + bytes.len());
        let Shard { databases, dice, .. } = &mut *shard;
        let Some(entry) = databases[usize::from(db)].table.get_mut(hash, key) else {
            return Ok(0);
        };
        if known {
            entry.note_use(clock, dice);
        }
        let before = entry.memory_bytes() as isize;
        let string = entry.raw_string_mut().ok_or(WRONG_TYPE)?;
        let end = offset + bytes.len();
        if string.len() < end {
            string.resize(end);
        }
        string[offset..end].copy_from_slice(bytes);
        let (len, after) = (string.len(), entry.memory_bytes() as isize);
        shard.entry_grew(db, after - before);
        if !shard.effects.muted() {
            shard.effects.begin(Kind::Patch, db, key).varint(offset as u64).bytes(bytes);
        }
        shard.key_changed(db, hash, key);
        Ok(len)
    }
}

fn check_length(start: usize, more: usize, max: usize) -> Result<(), CommandError> {
    match start.checked_add(more) {
        Some(len) if len <= max => Ok(()),
        _ => Err(STRING_TOO_LONG),
    }
}

/// What OBJECT ENCODING calls a string kept like this.
pub fn string_encoding(value: ValueRef<'_>) -> Option<&'static str> {
    match value {
        ValueRef::Integer(_) => Some("int"),
        ValueRef::Embedded(text) if text.len() <= crate::limits::EMBSTR_BYTES_MAX => Some("embstr"),
        ValueRef::Embedded(_) | ValueRef::Raw(_) => Some("raw"),
        _ => None,
    }
}
