//! Where a log's entries lie: stretches of it, each with the least index of every shard that has an
//! entry in it. So an entry is found without reading from the beginning, and little is in memory.

use std::collections::VecDeque;

use super::limits::BLOCK_BYTES;
use crate::ids::{Index, Lsn, ShardId};

/// Length of a stretch: what is read in vain, at most, before an entry that is looked for.
pub const STRETCH_BYTES: u64 = 1 << 20;

/// A place at which a record begins, at a block's boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub segment: u64,
    pub offset: u64,
    /// The record's number.
    pub lsn: Lsn,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Stretch {
    place: Place,
    /// In the same segment.
    end: u64,
    /// Bytes of all stretches before it, those that are gone too.
    before_bytes: u64,
    /// Least index of each shard of which an entry begins in it.
    leasts: Vec<(ShardId, Index)>,
}

/// Stretches in the order of the log, without what was let go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    stretches: VecDeque<Stretch>,
    bytes: u64,
}

/// Notes that an entry begins.
pub fn note_least(leasts: &mut Vec<(ShardId, Index)>, shard: ShardId, index: Index) {
    match leasts.iter_mut().find(|(known, _)| *known == shard) {
        Some((_, least)) => *least = index.min(*least),
        None => leasts.push((shard, index)),
    }
}

impl Runs {
    /// The log goes on at `place`, up to `end` in the same segment, with these entries. A stretch
    /// begins at a block's boundary, as a write does.
    pub fn note(&mut self, place: Place, end: u64, leasts: &[(ShardId, Index)]) {
        assert!(end > place.offset, "a write has bytes");
        let fits = |last: &&mut Stretch| {
            let within = !place.offset.is_multiple_of(BLOCK_BYTES as u64);
            let is_short = || end - last.place.offset <= STRETCH_BYTES;
            last.place.segment == place.segment && (within || is_short())
        };
        let added_bytes = match self.stretches.back_mut().filter(fits) {
            Some(last) => {
                let before = std::mem::replace(&mut last.end, end);
                leasts.iter().for_each(|(shard, least)| {
                    note_least(&mut last.leasts, *shard, *least);
                });
                end.saturating_sub(before)
            }
            None => {
                let (before_bytes, leasts) = (self.bytes, leasts.to_vec());
                self.stretches.push_back(Stretch { place, end, before_bytes, leasts });
                end - place.offset
            }
        };
        self.bytes += added_bytes;
    }

    /// Segments before this one are gone.
    pub fn release_before(&mut self, segment: u64) {
        while self.stretches.front().is_some_and(|first| first.place.segment < segment) {
            self.stretches.pop_front();
        }
    }

    /// Where to read from to find an entry, as it is now: if several have its index, the last one
    /// stands behind this place. What replaces an entry stands behind it, so no stretch behind the
    /// last one that has one of this index, or of one before, has anything but later ones.
    pub fn place_of(&self, shard: ShardId, index: Index) -> Option<Place> {
        let reaches = |stretch: &&Stretch| {
            stretch.leasts.iter().any(|(known, least)| *known == shard && *least <= index)
        };
        self.stretches.iter().rev().find(reaches).map(|stretch| stretch.place)
    }

    /// The first entry of a shard from which on all are in the last `bytes_max` bytes.
    pub fn reach(&self, shard: ShardId, bytes_max: u64) -> Option<Index> {
        let last_ones = self.stretches.iter().rev();
        let within = last_ones.take_while(|stretch| self.bytes - stretch.before_bytes <= bytes_max);
        let of_shard = within.flat_map(|stretch| &stretch.leasts);
        of_shard.filter(|(known, _)| *known == shard).map(|(_, least)| *least).min()
    }

    /// The first segment at or behind this one that has records.
    pub fn segment_from(&self, segment: u64) -> Option<u64> {
        let place = self.stretches.partition_point(|stretch| stretch.place.segment < segment);
        self.stretches.get(place).map(|stretch| stretch.place.segment)
    }

    /// Where the records of a segment end.
    pub fn end_of(&self, segment: u64) -> Option<u64> {
        let behind = self.stretches.partition_point(|stretch| stretch.place.segment <= segment);
        let last = self.stretches.get(behind.checked_sub(1)?)?;
        (last.place.segment == segment).then_some(last.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ShardId = ShardId(1);
    const B: ShardId = ShardId(2);

    fn place(segment: u64, offset: u64) -> Place {
        Place { segment, offset, lsn: Lsn(segment * 100 + offset / 4096) }
    }

    /// Each write half a stretch.
    fn runs() -> Runs {
        let (mut runs, half) = (Runs::default(), STRETCH_BYTES / 2);
        runs.note(place(1, 4096), 4096 + half, &[(A, Index(1)), (B, Index(10))]);
        runs.note(place(1, 4096 + half), 4096 + 2 * half, &[(A, Index(4))]);
        runs.note(place(1, 4096 + 2 * half), 4096 + 3 * half, &[(A, Index(7))]);
        // The entries from 5 on are replaced in the next segment.
        runs.note(place(2, 4096), 4096 + half, &[(A, Index(5))]);
        runs
    }

    #[test]
    fn an_entry_is_found_where_it_stands_last() {
        let runs = runs();
        assert_eq!(runs.stretches.len(), 3);
        for (index, at) in [(1, place(1, 4096)), (4, place(1, 4096)), (5, place(2, 4096))] {
            assert_eq!(runs.place_of(A, Index(index)), Some(at), "{index}");
        }
        assert_eq!(runs.place_of(A, Index(8)), Some(place(2, 4096)));
        assert_eq!(runs.place_of(A, Index(0)), None);
        assert_eq!(runs.place_of(B, Index(11)), Some(place(1, 4096)));
        assert_eq!(runs.place_of(ShardId(3), Index(1)), None);
    }

    #[test]
    fn what_was_let_go_or_is_too_far_back_is_not_reached() {
        let (mut runs, half) = (runs(), STRETCH_BYTES / 2);
        assert_eq!(runs.reach(A, 4 * half), Some(Index(1)));
        assert_eq!(runs.reach(A, 4 * half - 1), Some(Index(5)));
        assert_eq!(runs.reach(A, half), Some(Index(5)));
        assert_eq!(runs.reach(A, half - 1), None);
        assert_eq!(runs.reach(B, 2 * half), None);
        assert_eq!((runs.end_of(1), runs.end_of(3)), (Some(4096 + 3 * half), None));
        assert_eq!((runs.segment_from(1), runs.segment_from(2)), (Some(1), Some(2)));
        runs.release_before(2);
        assert_eq!(runs.reach(A, u64::MAX), Some(Index(5)));
        assert_eq!(runs.place_of(A, Index(4)), None);
        assert_eq!((runs.segment_from(1), runs.end_of(1)), (Some(2), None));
        assert_eq!(runs.segment_from(3), None);
    }
}
