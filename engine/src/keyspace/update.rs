//! How a collection is changed: looked up once, changed through its mutators, its key deleted when
//! nothing is left in it. The mutators of each type are in the files named after the types.

use crate::effect::log::Arguments;
use crate::effect::{EFFECT_BYTES, EffectLog, Kind};
use crate::error::{CommandError, CommandResult, WRONG_TYPE};
use crate::hash::Hasher64;
use crate::settings::EntryLimits;
use crate::value::limits::EncodingLimits;

use super::entry::{Entry, Value, ValueMut};
use super::shard::Shard;
use super::space::Space;

/// What to do where the key is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    Create,
    Skip,
}

/// A collection type that lives in an entry.
pub trait Collection: Sized {
    fn empty() -> Value;
    fn of(value: ValueMut<'_>) -> Option<&mut Self>;
    fn len(&self) -> usize;
    /// What it takes beside its entry; a few additions.
    fn memory_bytes(&self) -> usize;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A collection being changed. Dereferences to the collection for reading; changes go through the
/// mutators, each of which changes memory and appends the effect.
pub struct Update<'a, V> {
    pub(super) value: &'a mut V,
    pub(super) limits: &'a EncodingLimits,
    pub(super) hasher: &'a Hasher64,
    effects: &'a mut EffectLog,
    entry: EntryLimits,
    db: u16,
    key: &'a [u8],
    changes: u64,
    /// Counts as changed for those who watch the key, whatever was done.
    touched: bool,
}

impl<V> std::ops::Deref for Update<'_, V> {
    type Target = V;

    fn deref(&self) -> &V {
        self.value
    }
}

impl<V> Update<'_, V> {
    /// Fails the transactions that watch the key, even if nothing changes: some commands do.
    pub fn touch(&mut self) {
        self.touched = true;
    }

    /// Refuses effects that name so many bytes, if no word brought them and the entry has no room:
    /// asked before anything changes. See `limits.rs`.
    pub fn check_room(&self, bytes: usize) -> CommandResult {
        self.entry.check_copied(self.effects.len(), self.key.len() + bytes + 2 * EFFECT_BYTES)
    }

    /// Whether one more effect that names so many bytes has room.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.check_room(bytes).is_ok()
    }

    /// Appends an effect on this key; called once for each change made.
    pub(super) fn emit(
        &mut self,
        kind: Kind,
        arguments: impl FnOnce(Arguments<'_>) -> Arguments<'_>,
    ) {
        self.changes += 1;
        if self.effects.muted() {
            return;
        }
        arguments(if self.changes == 1 {
            self.effects.begin(kind, self.db, self.key)
        } else {
            self.effects.begin_same_key(kind)
        });
    }
}

impl Space<'_> {
    /// Changes the collection under a key. `None` where the key is absent and was to be skipped.
    pub fn update<V: Collection, R>(
        &mut self,
        key: &[u8],
        missing: Missing,
        change: impl FnOnce(&mut Update<'_, V>) -> R,
    ) -> Result<Option<R>, CommandError> {
        let (db, clock) = (self.db(), self.access_clock());
        let (limits, entry) = (&self.settings.encoding, self.settings.entry);
        let hasher = self.shards.hasher();
        let (db_index, now_ms) = (usize::from(db), self.now_ms());
        let (shard, hash) = self.shards.of_key(key);
        shard.expire_if_due(db, hash, key, now_ms);
        shard.observe(hash);
        let known = shard.table(db).get(hash, key).is_some();
        if !known {
            match missing {
                Missing::Skip => return Ok(None),
                Missing::Create => {
                    let mut entry = Entry::new(key, V::empty(), None);
                    entry.set_access(clock.fresh());
                    shard.insert_entry(db, hash, entry);
                }
            }
        }
        shard.before_change(db, hash, key);
        let Shard { databases, effects, dice, .. } = shard;
        let Some(found) = databases[db_index].table.get_mut(hash, key) else { return Ok(None) };
        if known {
            found.note_use(clock, dice);
        }
        let value = V::of(found.value_mut()).ok_or(WRONG_TYPE)?;
        let before = value.memory_bytes() as isize;
        let (changes, touched, hasher) = (0, false, &hasher);
        let mut update =
            Update { value, limits, hasher, effects, entry, db, key, changes, touched };
        let result = change(&mut update);
        let Update { changes, touched, .. } = update;
        let (empty, after) = (update.value.is_empty(), update.value.memory_bytes() as isize);
        shard.entry_grew(db, after - before);
        if empty && let Some(entry) = shard.remove_entry(db, hash, key) {
            shard.discard_entry(db, entry);
        }
        if changes == 0 && touched {
            shard.watched.changed(db, key);
        }
        if changes > 0 {
            shard.key_changed(db, hash, key);
            if !empty {
                shard.waiters.signal(db, key);
            }
        }
        Ok(Some(result))
    }
}
