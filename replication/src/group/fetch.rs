//! Entries that a member lacks and that are not in memory any more: the host reads them from the
//! core's log, some at a time, and the group sends them. Where the log has no place for them
//! any more, the member gets a checkpoint.

use raft::ProgressState;
use raft::eraftpb;

use super::{Entry, Group, NodeId, Role};
use crate::ids::Index;

/// Messages that one reading may become: a piece of the log is not much longer than a message.
const MESSAGES_PER_READ_MAX: usize = 8;

/// How a member gets what it lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum CatchUpWay {
    /// It lacks nothing that is committed, or what it lacks is under way.
    #[default]
    None,
    Memory,
    Log,
    Checkpoint,
}

impl Group {
    /// Members whose next entries are to be read from the log, since this was asked last; each with
    /// the first of them.
    pub fn wanting_entries(&mut self) -> Vec<(NodeId, Index)> {
        let wanted = self.raft.mut_store().take_wanted();
        if self.role() != Role::Leader {
            self.raft.mut_store().keep_fetched(|_| false);
            return Vec::new();
        }
        let behind = self.raft.store().behind();
        let progress: Vec<(NodeId, u64)> = self
            .raft
            .raft
            .prs()
            .iter()
            .filter(|(_, one)| one.state != ProgressState::Snapshot)
            .map(|(node, one)| (NodeId(*node), one.next_idx))
            .collect();
        let needs =
            |node: NodeId| progress.iter().any(|(one, next)| *one == node && *next <= behind);
        self.raft.mut_store().keep_fetched(needs);
        let wanting = progress.into_iter().filter(|(_, next)| wanted.contains(next));
        wanting.map(|(node, next)| (node, Index(next))).collect()
    }

    /// Entries for a member were read from the log, in order and without a gap; each is the one of
    /// its index, by [`Group::term_of`]. They go out as far as the member may have more.
    pub fn on_entries_read(&mut self, to: NodeId, entries: &[Entry]) {
        let last = entries.last().map_or(0, |entry| entry.index.0);
        if self.role() != Role::Leader || self.raft.raft.prs().get(to.0).is_none() {
            return;
        }
        let raw: Vec<eraftpb::Entry> = entries.iter().map(Into::into).collect();
        self.raft.mut_store().give(to, raw);
        for _ in 0..MESSAGES_PER_READ_MAX {
            let next = self.next_of(to);
            if next > last {
                break;
            }
            self.raft.raft.send_append(to.0);
            if self.next_of(to) == next {
                break;
            }
        }
        // What follows is asked for now, while this is on its way.
        if self.next_of(to) > last {
            self.raft.raft.send_append(to.0);
        }
        self.settle();
    }

    /// The log on disk does not have entries up to this one any more, or they cannot be read: who
    /// lacks them gets a checkpoint.
    pub fn lose(&mut self, through: Index) {
        self.raft.mut_store().lose(through.0);
    }

    /// A member is to be given what it lacks in another way than was tried.
    pub fn try_again(&mut self, to: NodeId) {
        if self.role() == Role::Leader && self.raft.raft.prs().get(to.0).is_some() {
            self.raft.raft.send_append(to.0);
            self.settle();
        }
    }

    /// The entry before those in memory.
    pub fn memory_behind(&self) -> Index {
        Index(self.raft.store().behind())
    }

    /// Whether what a member lacks next is on disk only.
    pub fn reads_for(&self, member: NodeId) -> bool {
        self.role() == Role::Leader && self.catch_up_way(member) == CatchUpWay::Log
    }

    /// The least index that a member has, or will have by the checkpoint on its way to it, of those
    /// that the log can bring up to date: it must go on behind it.
    pub fn needed_by_members(&self) -> Index {
        if self.role() != Role::Leader {
            return Index(u64::MAX);
        }
        let progress = self.raft.raft.prs().iter();
        let has = progress.map(|(_, one)| one.matched.max(one.pending_snapshot));
        let first = self.first().0;
        Index(has.filter(|has| has + 1 >= first).min().unwrap_or(u64::MAX))
    }

    pub fn catch_up_way(&self, member: NodeId) -> CatchUpWay {
        let Some(progress) = self.raft.raft.prs().get(member.0) else { return CatchUpWay::None };
        if progress.state == ProgressState::Snapshot {
            CatchUpWay::Checkpoint
        } else if progress.next_idx <= self.raft.store().behind() {
            CatchUpWay::Log
        } else if progress.matched < self.committed().0 {
            CatchUpWay::Memory
        } else {
            CatchUpWay::None
        }
    }

    fn next_of(&self, member: NodeId) -> u64 {
        self.raft.raft.prs().get(member.0).map_or(u64::MAX, |progress| progress.next_idx)
    }
}
