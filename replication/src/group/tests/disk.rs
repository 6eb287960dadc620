//! The disk of a node of [`super::world`].

use std::collections::VecDeque;

use super::super::terms::TermRuns;
use super::super::*;

/// Entries that are read from a disk at once.
const READ_ENTRIES: usize = 7;

/// What a node has on stable storage, and what is on its way there.
#[derive(Clone, Default)]
pub struct Disk {
    pub base: Base,
    pub vote: Vote,
    pub entries: VecDeque<Entry>,
    /// Up to the base, those that the log still has.
    pub old: VecDeque<Entry>,
    pub under_way: VecDeque<Write>,
}

#[derive(Clone)]
pub struct Write {
    pub number: u64,
    pub vote: Option<Vote>,
    pub install: Option<Base>,
    pub entries: Vec<Entry>,
}

impl Disk {
    /// The oldest write is there; returns its number.
    pub fn finish(&mut self) -> Option<u64> {
        let Write { number, vote, install, entries } = self.under_way.pop_front()?;
        self.vote = vote.unwrap_or(self.vote);
        if let Some(base) = install {
            self.entries.clear();
            self.old.clear();
            self.base = base;
        }
        for entry in entries {
            while self.entries.back().is_some_and(|last| last.index >= entry.index) {
                self.entries.pop_back();
            }
            self.entries.push_back(entry);
        }
        Some(number)
    }

    /// Some entries from one on, or none if they are gone.
    pub fn read(&self, from: Index) -> Vec<Entry> {
        let there = self.old.iter().chain(&self.entries).skip_while(|entry| entry.index < from);
        let read: Vec<Entry> = there.take(READ_ENTRIES).cloned().collect();
        if read.first().is_some_and(|first| first.index == from) { read } else { Vec::new() }
    }

    pub fn start(&self) -> GroupStart {
        let mut terms = TermRuns::default();
        self.old.iter().for_each(|entry| terms.note(entry.index, entry.term));
        GroupStart {
            terms,
            lost: Vec::new(),
            base: self.base.clone(),
            applied: Index(self.base.index),
            checkpoint: (self.base.index > 0).then(|| self.base.clone()),
            vote: self.vote,
            committed: Index(0),
            entries: self.entries.iter().cloned().collect(),
        }
    }
}
