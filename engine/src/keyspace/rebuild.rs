//! A database of a shard made anew from the images of its values: what DEBUG RELOAD does.

use crate::effect::decode::DecodeError;
use crate::image;
use crate::value::limits::EncodingLimits;

use super::entry::{Entry, Value};
use super::shard::Shard;

impl Shard {
    /// Deletes every key of a database whose time is over.
    pub(crate) fn delete_due(&mut self, db: u16, now_ms: i64) {
        let due: Vec<Box<[u8]>> = self
            .table(db)
            .iter()
            .filter(|entry| entry.expires_at_ms().is_some_and(|at_ms| now_ms > at_ms))
            .map(|entry| entry.key().into())
            .collect();
        for key in due {
            let hash = self.table(db).hash(&key);
            self.expire_if_due(db, hash, &key, now_ms);
        }
    }

    /// Replaces every value by what its image says. Keys, times and accesses stay; no effect, as
    /// nothing changes.
    pub(crate) fn rebuild(&mut self, db: u16, limits: &EncodingLimits) -> Result<(), DecodeError> {
        if self.database(db).is_empty() {
            return Ok(());
        }
        let old = self.take_database(db);
        let hasher = old.table.hasher().clone();
        let mut bytes = Vec::new();
        for entry in old.table.iter() {
            bytes.clear();
            image::write(entry.value(), &mut bytes);
            let (key, at_ms) = (entry.key(), entry.expires_at_ms());
            let mut fresh = match image::read(&bytes, limits, &hasher)? {
                Value::Raw(text) => Entry::text(key, &text, at_ms),
                value => Entry::new(key, value, at_ms),
            };
            fresh.set_access(entry.access());
            self.insert_entry(db, hasher.hash(key), fresh);
        }
        self.discard_database(old);
        Ok(())
    }
}
