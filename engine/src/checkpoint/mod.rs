//! Checkpoints: a shard as it was after one index, written in slices while the shard goes on
//! changing, and a shard made of what was written. `FORMAT.md` has the bytes.
//!
//! Call order: [`Shard::begin_checkpoint`] between two entries; [`Shard::walk_checkpoint`] and
//! [`Shard::take_checkpoint_block`] until done and empty; [`Shard::finish_checkpoint`]. The
//! shard's box may move to other cores meanwhile and takes the walk along.
//!
//! - [`walker`]: the walk; [`text`]: long strings in it; [`output`]: records become blocks.
//! - [`record`], [`contents`]: the format. [`load`], [`parts`]: reading it back.

pub mod contents;
pub mod load;
pub mod output;
pub mod parts;
pub mod record;
#[cfg(test)]
mod tests;
pub mod text;
pub mod walker;

use std::ops::Range;

use crate::keyspace::Shard;
use crate::keyspace::entry::{Value, ValueRef};
use crate::value::limits::EncodingLimits;

pub use contents::Contents;
pub use load::{LoadError, Loader};
pub use walker::Progress;

use walker::Walker;

impl Shard {
    /// Begins a checkpoint of the shard as it is after its last closed entry, whose index it
    /// returns, with what the checkpoint will hold. One is under way at a time.
    ///
    /// What the walk writes may only be used once that index is released: until then the entry,
    /// or one before it, may still be voided.
    ///
    /// # Panics
    /// When one is under way, or the shard was changed since its last entry was closed.
    pub fn begin_checkpoint(&mut self) -> (u64, Contents) {
        assert!(self.walker.is_none(), "one checkpoint of a shard is under way at a time");
        assert!(self.effects.is_empty(), "a checkpoint begins between two entries");
        let walker = Walker::begin(self.open_index() - 1, &mut self.databases);
        let begun = (walker.index(), walker.contents().clone());
        self.walker = Some(Box::new(walker));
        begun
    }

    /// Index of the checkpoint under way.
    pub fn checkpoint_under_way(&self) -> Option<u64> {
        self.walker.as_ref().map(|walker| walker.index())
    }

    /// Keys that the checkpoint under way has taken so far.
    pub fn checkpoint_keys_taken(&self) -> Option<u64> {
        self.walker.as_ref().map(|walker| walker.keys_taken())
    }

    /// Goes on with the checkpoint under way, for about so many bytes of work.
    pub fn walk_checkpoint(&mut self, limits: &EncodingLimits, budget_bytes: usize) -> Progress {
        let Some(mut walker) = self.walker.take() else { return Progress::Done };
        let mut left = Vec::new();
        let progress = walker.slice(&mut self.databases, limits, budget_bytes, &mut left);
        self.walker = Some(walker);
        self.discard_left(left);
        progress
    }

    /// Bytes of work that changes have done for the checkpoint under way, outside its slices, since
    /// this was last asked.
    pub fn take_checkpoint_forced_bytes(&mut self) -> usize {
        self.walker.as_mut().map_or(0, |walker| walker.take_forced_bytes())
    }

    /// The next block of the checkpoint under way, if one is whole.
    pub fn take_checkpoint_block(&mut self) -> Option<Vec<u8>> {
        self.walker.as_mut()?.output().take()
    }

    /// Bytes of the checkpoint under way that wait to be taken.
    pub fn checkpoint_waiting_bytes(&mut self) -> usize {
        self.walker.as_mut().map_or(0, |walker| walker.output().waiting_bytes())
    }

    /// Ends the checkpoint under way, done or not. Returns whether it was: every key that it was
    /// to hold was written and every block taken.
    pub fn finish_checkpoint(&mut self, limits: &EncodingLimits) -> bool {
        let Some(mut walker) = self.walker.take() else { return false };
        let whole = walker.is_sound() && walker.output().waiting_bytes() == 0;
        let left = walker.end(&mut self.databases, limits);
        self.discard_left(left);
        whole
    }

    // The mutators' side.

    /// Before part of a string is overwritten in place.
    pub(crate) fn before_patch(&mut self, db: u16, hash: u64, key: &[u8], range: Range<usize>) {
        self.before_change(db, hash, key);
        let Some(walker) = &mut self.walker else { return };
        let database = &self.databases[usize::from(db)];
        if let Some(ValueRef::Raw(text)) = database.table.get(hash, key).map(|e| e.value()) {
            walker.before_patch(database, key, text, range);
        }
    }

    /// A key that was taken out is about to be put in under another name.
    pub(crate) fn renamed(&mut self, db: u16, from: &[u8], to: &[u8]) {
        if let Some(walker) = &mut self.walker {
            walker.rename(&self.databases[usize::from(db)], from, to);
        }
    }

    /// A value that was taken out goes to another database or shard.
    pub(crate) fn settle(
        &mut self,
        db: u16,
        key: &[u8],
        value: &mut Value,
        limits: &EncodingLimits,
    ) {
        if let Some(walker) = &mut self.walker {
            walker.settle(&self.databases[usize::from(db)], key, value, limits);
        }
    }
}
