//! A group's log as the `raft` crate reads it: the entries that are still in memory, and where they
//! begin. What is on disk is the core's log; it has all of them.
//!
//! Invariant: the entries' indexes follow each other, the first being `base.index + 1`.

use std::collections::{BTreeSet, VecDeque};

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use super::NodeId;
use super::entry::Base;

pub(super) struct EntryStore {
    base: Base,
    entries: VecDeque<Entry>,
    /// What they take.
    bytes: usize,
    /// What the crate asks for at the start.
    hard_state: HardState,
    /// A checkpoint that may be sent to who is too far behind.
    offered: Option<Base>,
    /// Nodes that need one. The crate asks through `&self`.
    wanting: std::cell::RefCell<BTreeSet<NodeId>>,
}

impl EntryStore {
    pub(super) fn new(
        base: Base,
        entries: VecDeque<Entry>,
        hard_state: HardState,
        offered: Option<Base>,
    ) -> EntryStore {
        let bytes = entries.iter().map(bytes_of).sum();
        EntryStore { base, entries, bytes, hard_state, offered, wanting: Default::default() }
    }

    /// Adds entries; one whose index is there already replaces it and all behind it.
    pub(super) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        let keep = first.index.saturating_sub(self.base.index + 1);
        assert!(keep <= self.entries.len() as u64, "a gap before entry {}", first.index);
        let replaced = self.entries.drain(keep as usize..);
        self.bytes -= replaced.map(|entry| bytes_of(&entry)).sum::<usize>();
        self.bytes += entries.iter().map(bytes_of).sum::<usize>();
        self.entries.extend(entries.iter().cloned());
    }

    pub(super) fn entries(&self) -> &VecDeque<Entry> {
        &self.entries
    }

    /// Forgets entries up to this one.
    pub(super) fn forget(&mut self, index: u64) {
        while let Some(first) = self.entries.front()
            && first.index <= index
        {
            self.forget_first();
        }
    }

    /// Forgets the oldest, but none behind `index`, until no more than so many bytes are left.
    pub(super) fn forget_beyond(&mut self, bytes_max: usize, index: u64) {
        while self.bytes > bytes_max && self.entries.front().is_some_and(|e| e.index <= index) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some(first) = self.entries.pop_front() {
            (self.base.index, self.base.term) = (first.index, first.term);
            self.bytes -= bytes_of(&first);
        }
    }

    /// Everything up to here came as a checkpoint.
    pub(super) fn reset(&mut self, base: Base) {
        self.offered = Some(base.clone());
        self.base = base;
        self.entries.clear();
        self.bytes = 0;
    }

    pub(super) fn offer(&mut self, checkpoint: Base) {
        self.offered = Some(checkpoint);
    }

    pub(super) fn take_wanting(&mut self) -> BTreeSet<NodeId> {
        std::mem::take(self.wanting.get_mut())
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn last(&self) -> u64 {
        self.base.index + self.entries.len() as u64
    }
}

fn bytes_of(entry: &Entry) -> usize {
    entry.data.len() + size_of::<Entry>()
}

impl Storage for EntryStore {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), ConfState::from(&self.base.members)))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.base.index {
            return Err(StorageError::Compacted.into());
        }
        assert!(high <= self.last() + 1, "entries to {high} of {}", self.last());
        let range = (low - self.base.index - 1) as usize..(high - self.base.index - 1) as usize;
        let most = max_size.into().unwrap_or(u64::MAX);
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let first = bytes == 0;
            bytes += bytes_of(entry) as u64;
            first || bytes <= most
        };
        Ok(self.entries.range(range).take_while(fits).cloned().collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.base.index {
            return Ok(self.base.term);
        }
        let Some(place) = index.checked_sub(self.base.index + 1) else {
            return Err(StorageError::Compacted.into());
        };
        let entry = self.entries.get(place as usize);
        entry.map(|entry| entry.term).ok_or_else(|| StorageError::Unavailable.into())
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    /// The crate wants to bring `to` up to date with a checkpoint: without one that reaches
    /// `request_index`, and knows of it as a member, it asks again later.
    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let offered = self.offered.as_ref().filter(|base| base.index >= request_index);
        let fits =
            |base: &&Base| base.index >= self.base.index && base.members.contains(NodeId(to));
        let Some(base) = offered.filter(fits) else {
            self.wanting.borrow_mut().insert(NodeId(to));
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        };
        Ok(base.to_message())
    }
}
