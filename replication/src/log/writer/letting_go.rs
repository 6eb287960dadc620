//! Segments that are not needed any more: which those are, and what becomes of them.

use super::{KeptFor, LogOperation, LogWriter, NextSegment};
use crate::ids::{Index, ShardId};
use crate::log::entries::Subject;
use crate::log::record::RecordKind;
use crate::log::uses;

impl LogWriter {
    /// All unneeded segments but one, which waits to be recycled, are removed, one after the other.
    pub(super) fn poll_removal(&mut self) -> Option<LogOperation> {
        let recyclable = self.unneeded.front().is_some_and(|(_, size)| *size == self.segment_bytes);
        let spare = usize::from(recyclable);
        // A segment that is being recycled is older than these: it must be gone before them.
        let recycling = self.next_segment == NextSegment::Asked;
        let told = self.durable >= self.unneeded_since;
        if self.removing || recycling || !told || self.unneeded.len() <= spare {
            return None;
        }
        let (number, _) = self.unneeded.pop_front()?;
        self.removing = true;
        Some(LogOperation::RemoveSegment { number })
    }

    /// A segment was removed, or could not be: then the next start removes it.
    pub fn on_segment_removed(&mut self) {
        self.removing = false;
    }

    /// Lets go of the oldest segments whose entries are all at or below what `covered` gives for
    /// their shards, and that no replica elsewhere is to have, as far as they are `kept` for those.
    /// The one being written and the one before it stay, so that a start finds where the chain of
    /// records goes on. Returns whether any went.
    pub fn release_segments(
        &mut self,
        covered: &dyn Fn(ShardId) -> Index,
        kept: &KeptFor<'_>,
    ) -> bool {
        let before = self.unneeded.len();
        let mut covered_bytes = self.covered_bytes(covered);
        while self.uses.len() > 2
            && self.uses[0].is_covered(covered)
            && !self.keeps_oldest(covered_bytes, kept)
        {
            if let Some(unneeded) = self.uses.pop_front() {
                covered_bytes -= unneeded.size_bytes;
                self.unneeded.push_back((unneeded.number, unneeded.size_bytes));
                for (shard, last) in unneeded.lasts {
                    uses::note(&mut self.released, shard, last);
                }
            }
        }
        let any = self.unneeded.len() > before;
        if any {
            let first = self.uses[0].number;
            self.runs.release_before(first);
            let votes: Vec<_> = self.votes.iter().map(|(shard, vote)| (*shard, *vote)).collect();
            for (shard, vote) in votes {
                self.append_vote(shard, vote);
            }
            // A start must be able to tell them from segments that were lost.
            let subject = Subject::of_log(RecordKind::Release);
            let payload = uses::encode_release(first, &self.released);
            self.unneeded_since = self.append_record(subject, [&[], &payload]);
        }
        any
    }

    /// Bytes of the segments that there are.
    pub fn segments_bytes(&self) -> u64 {
        let needed = self.uses.iter().map(|segment| segment.size_bytes);
        needed.chain(self.unneeded.iter().map(|(_, size)| *size)).sum()
    }
}
