//! What of a log that is being written may be read: that which is on stable storage, of segments
//! that are not let go.

use super::LogWriter;
use crate::fault::{Fault, is_planted};
use crate::ids::{Index, ShardId};
use crate::log::runs::Place;

/// What is at a place of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readable {
    /// Records, or parts of some, up to this offset of the segment at least.
    Until(u64),
    /// The log goes on at the beginning of this segment.
    In(u64),
    /// Nothing more is on stable storage yet.
    End,
    /// The segment was let go.
    Gone,
}

/// What the log keeps beside what a start needs, for replicas on other nodes.
pub struct KeptFor<'k> {
    /// Up to where every replica of a shard that the log may still bring up to date has it.
    pub needed_behind: &'k dyn Fn(ShardId) -> Index,
    /// Bytes of segments, at most.
    pub bytes_max: u64,
}

impl KeptFor<'_> {
    /// Nothing is kept but what a start needs.
    pub const NOBODY: KeptFor<'static> =
        KeptFor { needed_behind: &|_| Index(u64::MAX), bytes_max: 0 };
}

impl LogWriter {
    /// Where to read from to find an entry of a shard.
    pub fn place_of(&self, shard: ShardId, index: Index) -> Option<Place> {
        self.runs.place_of(shard, index)
    }

    /// The first entry of a shard from which on all are in the last `bytes_max` bytes of the log.
    pub fn reach(&self, shard: ShardId, bytes_max: u64) -> Option<Index> {
        self.runs.reach(shard, bytes_max)
    }

    pub fn readable(&self, segment: u64, offset: u64) -> Readable {
        // What is under way stands behind what is there.
        let under_way = self.in_flight.front().map(|first| (first.segment, first.offset));
        let durable = under_way.unwrap_or((self.segment, self.offset));
        if self.runs.segment_from(segment) != Some(segment) && segment < durable.0 {
            return Readable::Gone;
        }
        let end = self.runs.end_of(segment).unwrap_or(0);
        let end = if segment == durable.0 { end.min(durable.1) } else { end };
        if segment > durable.0 {
            Readable::End
        } else if offset < end {
            Readable::Until(end)
        } else if segment == durable.0 {
            Readable::End
        } else {
            let next = self.runs.segment_from(segment + 1);
            next.filter(|next| *next <= durable.0).map_or(Readable::End, Readable::In)
        }
    }

    /// A segment is being read, or none any more: neither it nor those behind it become others.
    pub fn hold(&mut self, segment: Option<u64>) {
        self.held = segment;
    }

    /// Whether the oldest segment, which checkpoints make up for, stays for a while.
    pub(super) fn keeps_oldest(&self, covered_bytes: u64, kept: &KeptFor<'_>) -> bool {
        let Some(oldest) = self.uses.front() else { return false };
        if self.held.is_some_and(|held| oldest.number >= held)
            && !is_planted(Fault::ReadSegmentsReleased)
        {
            return true;
        }
        let needed = oldest.lasts.iter().any(|(shard, last)| (kept.needed_behind)(*shard) < *last);
        needed && covered_bytes <= kept.bytes_max
    }

    /// Bytes of the oldest segments, as far as checkpoints make up for them.
    pub(super) fn covered_bytes(&self, covered: &dyn Fn(ShardId) -> Index) -> u64 {
        let old = self.uses.iter().take(self.uses.len().saturating_sub(2));
        old.take_while(|one| one.is_covered(covered)).map(|one| one.size_bytes).sum()
    }
}
