//! A group's log as the `raft` crate reads it: the entries that are in memory, those that only the
//! core's log on disk has, and where all of them begin.
//!
//! What is on disk is read beside the core: until then the crate hears that it is to come later
//! (`fetch`). Of those entries the terms are in memory.
//!
//! Invariant: the entries' indexes follow each other; `on_disk` has those from `base.index + 1` up
//! to `behind`, `entries` those from `behind + 1` on.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use super::NodeId;
use super::entry::Base;
use super::terms::TermRuns;
use crate::ids::{Index, Term};

pub(super) struct EntryStore {
    base: Base,
    on_disk: TermRuns,
    /// The entry before those in memory.
    behind: u64,
    entries: VecDeque<Entry>,
    /// What they take.
    bytes: usize,
    /// What was read from the disk last for each node, in order and without a gap.
    fetched: BTreeMap<NodeId, Vec<Entry>>,
    /// First indexes of what the crate asked for and only the disk has. It asks through `&self`.
    wanted: RefCell<BTreeSet<u64>>,
    /// What the crate asks for at the start.
    hard_state: HardState,
    /// A checkpoint that may be sent to who is too far behind.
    offered: Option<Base>,
    /// Nodes that need one.
    wanting: RefCell<BTreeSet<NodeId>>,
}

impl EntryStore {
    /// `base`: the entry before those in memory. `on_disk`: the terms of what the log has up to it,
    /// if anything.
    pub(super) fn new(
        mut base: Base,
        mut on_disk: TermRuns,
        entries: VecDeque<Entry>,
        hard_state: HardState,
        offered: Option<Base>,
    ) -> EntryStore {
        let behind = base.index;
        // The first one is what all others follow: its term must be known, and it is not given.
        let usable = on_disk.last() == Some(Index(behind))
            && on_disk.get(Index(behind)) == Some(Term(base.term));
        match on_disk.first().filter(|_| usable) {
            Some(first) => {
                (base.index, base.term) = (first.0, on_disk.get(first).map_or(0, |term| term.0));
                on_disk.cut_before(Index(first.0 + 1));
            }
            None => on_disk.clear(),
        }
        let bytes = entries.iter().map(bytes_of).sum();
        EntryStore {
            base,
            on_disk,
            behind,
            entries,
            bytes,
            fetched: BTreeMap::new(),
            wanted: RefCell::default(),
            hard_state,
            offered,
            wanting: RefCell::default(),
        }
    }

    /// Adds entries; one whose index is there already replaces it and all behind it.
    pub(super) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(first.index > self.behind, "entry {} is on disk, and decided", first.index);
        let keep = first.index - (self.behind + 1);
        assert!(keep <= self.entries.len() as u64, "a gap before entry {}", first.index);
        let replaced = self.entries.drain(keep as usize..);
        self.bytes -= replaced.map(|entry| bytes_of(&entry)).sum::<usize>();
        self.bytes += entries.iter().map(bytes_of).sum::<usize>();
        self.entries.extend(entries.iter().cloned());
    }

    pub(super) fn entries(&self) -> &VecDeque<Entry> {
        &self.entries
    }

    /// The entry before those in memory.
    pub(super) fn behind(&self) -> u64 {
        self.behind
    }

    /// Forgets entries up to this one: they are nowhere any more.
    pub(super) fn forget(&mut self, index: u64) {
        self.forget_beyond(0, index);
        self.lose(index);
    }

    /// Leaves the oldest to the disk, but none behind `index`, until no more than so many bytes are
    /// left.
    pub(super) fn forget_beyond(&mut self, bytes_max: usize, index: u64) {
        while self.bytes > bytes_max
            && let Some(first) = self.entries.front().filter(|first| first.index <= index)
        {
            self.behind = first.index;
            self.on_disk.note(Index(first.index), Term(first.term));
            self.bytes -= bytes_of(first);
            self.entries.pop_front();
        }
    }

    /// The disk does not have entries up to this one either.
    pub(super) fn lose(&mut self, index: u64) {
        let index = index.min(self.behind);
        if index > self.base.index {
            let term = self.on_disk.get(Index(index));
            self.base.term = term.expect("all entries behind the base have a term").0;
            self.base.index = index;
            self.on_disk.cut_before(Index(index + 1));
        }
    }

    /// Everything up to here came as a checkpoint.
    pub(super) fn reset(&mut self, base: Base) {
        self.offered = Some(base.clone());
        self.behind = base.index;
        self.base = base;
        self.on_disk.clear();
        self.entries.clear();
        self.fetched.clear();
        self.bytes = 0;
    }

    /// What the crate asked for of the disk, since this was asked last: first indexes.
    pub(super) fn take_wanted(&mut self) -> BTreeSet<u64> {
        std::mem::take(self.wanted.get_mut())
    }

    /// Entries for a node were read; they take the place of those before.
    pub(super) fn give(&mut self, to: NodeId, entries: Vec<Entry>) {
        assert!(
            entries.windows(2).all(|pair| pair[0].index + 1 == pair[1].index),
            "entries from the disk follow each other"
        );
        self.fetched.insert(to, entries);
    }

    /// Lets go of what was read for nodes that do not need it any more.
    pub(super) fn keep_fetched(&mut self, needs: impl Fn(NodeId) -> bool) {
        self.fetched.retain(|node, _| needs(*node));
    }

    pub(super) fn offer(&mut self, checkpoint: Base) {
        self.offered = Some(checkpoint);
    }

    pub(super) fn withdraw(&mut self, index: Index) {
        self.offered.take_if(|base| base.index == index.0);
    }

    pub(super) fn take_wanting(&mut self) -> BTreeSet<NodeId> {
        std::mem::take(self.wanting.get_mut())
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn last(&self) -> u64 {
        self.behind + self.entries.len() as u64
    }

    /// Entries from the disk, if they are here by now.
    fn fetched(&self, low: u64, high: u64, bytes_max: u64) -> Option<Vec<Entry>> {
        let pieces = self.fetched.values();
        let mut found = pieces.filter_map(|piece| {
            let from = low.checked_sub(piece.first()?.index)? as usize;
            piece.get(from..).filter(|rest| !rest.is_empty())
        });
        // What is in memory too may be replaced yet.
        let until = high.min(self.behind + 1);
        let rest = found.next()?.iter().take_while(|entry| entry.index < until);
        Some(limited(rest, bytes_max))
    }
}

fn bytes_of(entry: &Entry) -> usize {
    entry.data.len() + size_of::<Entry>()
}

/// The first of these entries, and as many more as fit.
fn limited<'e>(entries: impl Iterator<Item = &'e Entry>, bytes_max: u64) -> Vec<Entry> {
    let mut bytes = 0;
    let fits = |entry: &&Entry| {
        let first = bytes == 0;
        bytes += bytes_of(entry) as u64;
        first || bytes <= bytes_max
    };
    entries.take_while(fits).cloned().collect()
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
        context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.base.index {
            return Err(StorageError::Compacted.into());
        }
        assert!(high <= self.last() + 1, "entries to {high} of {}", self.last());
        let bytes_max = max_size.into().unwrap_or(u64::MAX);
        if low > self.behind {
            let range = (low - self.behind - 1) as usize..(high - self.behind - 1) as usize;
            return Ok(limited(self.entries.range(range), bytes_max));
        }
        // All that the crate has to have at once is what was not handed out yet, which is here.
        assert!(context.can_async(), "entry {low} is wanted at once, and is on disk only");
        self.fetched(low, high, bytes_max).ok_or_else(|| {
            self.wanted.borrow_mut().insert(low);
            StorageError::LogTemporarilyUnavailable.into()
        })
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.base.index {
            return Ok(self.base.term);
        }
        if index < self.base.index {
            return Err(StorageError::Compacted.into());
        }
        let term = match index.checked_sub(self.behind + 1) {
            Some(place) => self.entries.get(place as usize).map(|entry| entry.term),
            None => self.on_disk.get(Index(index)).map(|term| term.0),
        };
        term.ok_or_else(|| StorageError::Unavailable.into())
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
