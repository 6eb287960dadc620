//! Walks in hash order: SCAN's cursor, views of one segment, deadlines, random choice.
//!
//! A cursor is the top 48 bits of a hash: everything below it has been visited. 0 begins and ends.

use super::segment::Segment;
use super::{CURSOR_BITS, Entry, Table};

const CURSOR_END: u64 = 1 << CURSOR_BITS;
const CURSOR_SHIFT: u32 = 64 - CURSOR_BITS;

/// A scan looks at no more than so many home chunks for each entry it was asked for, plus as many
/// once, so that a table that has become sparse does not stall it. Redis has the same bound.
const CHUNKS_PER_WANTED: usize = 10;

/// How often a random choice tries again where it met an empty slot or segment.
const RANDOM_TRIES: usize = 128;

/// One segment: its state and its entries. Expiry goes from one to the next.
pub struct SegmentView<'a, E> {
    segment: &'a Segment<E>,
}

impl<'a, E: Entry> SegmentView<'a, E> {
    /// A hash that belongs to this segment: the name by which to change its deadline.
    pub fn hash(&self) -> u64 {
        self.segment.prefix
    }

    /// The cursor of the segment after this one; 0 after the last.
    pub fn next_cursor(&self) -> u64 {
        self.segment.cursor_after(usize::MAX - 1) % CURSOR_END
    }

    pub fn deadline_ms(&self) -> i64 {
        self.segment.deadline_ms
    }

    pub fn len(&self) -> usize {
        self.segment.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = &'a E> + use<'a, E> {
        self.segment.iter()
    }
}

impl<E: Entry> Table<E> {
    /// Visits entries in hash order from `cursor` on: all of as many home chunks as it takes to
    /// visit `at_least` (fewer in a sparse table). Returns the next cursor, 0 when done.
    ///
    /// An entry that is in the table from the call with cursor 0 to the one that returns 0 is
    /// visited exactly once, whatever else comes and goes between the calls.
    pub fn scan(&self, cursor: u64, at_least: usize, mut visit: impl FnMut(&E)) -> u64 {
        let mut from = cursor % CURSOR_END;
        let mut visited = 0;
        for _ in 0..at_least.saturating_add(1).saturating_mul(CHUNKS_PER_WANTED) {
            let segment = self.segment(from << CURSOR_SHIFT);
            let home = segment.home(from << CURSOR_SHIFT);
            segment.visit_home(home, &self.hasher, |hash, entry| {
                if hash >> CURSOR_SHIFT >= from {
                    visited += 1;
                    visit(entry);
                }
            });
            from = segment.cursor_after(home);
            if from == CURSOR_END {
                return 0;
            }
            if visited >= at_least {
                break;
            }
        }
        from
    }

    /// The segment where a cursor falls.
    pub fn segment_at(&self, cursor: u64) -> SegmentView<'_, E> {
        SegmentView { segment: self.segment((cursor % CURSOR_END) << CURSOR_SHIFT) }
    }

    /// Looks for a segment whose deadline is at or before `now_ms`, from `cursor` on through at
    /// most `segments_max` segments. Returns it, and the cursor to go on from (0: at the end).
    ///
    /// The caller removes what has expired in it and then sets its deadline anew.
    pub fn find_due(
        &self,
        now_ms: i64,
        cursor: u64,
        segments_max: usize,
    ) -> (Option<SegmentView<'_, E>>, u64) {
        let mut cursor = cursor;
        for _ in 0..segments_max {
            let view = self.segment_at(cursor);
            cursor = view.next_cursor();
            if view.deadline_ms() <= now_ms {
                return (Some(view), cursor);
            }
            if cursor == 0 {
                break;
            }
        }
        (None, cursor)
    }

    /// Visits entries that lie side by side, from a random place on within one segment, until
    /// `visit` says enough or `max` were visited. Neighbours in the table are strangers: their
    /// order is that of their hashes.
    pub fn sample(&self, random: u64, max: usize, mut visit: impl FnMut(&E) -> bool) {
        let mut state = random;
        for _ in 0..RANDOM_TRIES {
            let segment = self.segment(next_random(&mut state));
            if segment.len() == 0 {
                continue;
            }
            let start = scale(next_random(&mut state), segment.chunk_count());
            let mut left = max;
            segment.visit_from(start, |entry| {
                left = left.saturating_sub(1);
                visit(entry) || left == 0
            });
            return;
        }
    }

    /// As [`Table::sample`] in the segment of a hash, at most all of it.
    pub fn sample_segment(&self, hash: u64, random: u64, visit: impl FnMut(&E) -> bool) {
        let segment = self.segment(hash);
        let mut state = random;
        segment.visit_from(scale(next_random(&mut state), segment.chunk_count()), visit);
    }

    /// A random entry, chosen by the bits of `random`: first a segment by its share of the hashes,
    /// then evenly within it. With a random argument no entry is more likely than another by more
    /// than segments differ in density (a few per cent; Redis's buckets differ by far more).
    pub fn random(&self, random: u64) -> Option<&E> {
        if self.is_empty() {
            return None;
        }
        let mut state = random;
        for _ in 0..RANDOM_TRIES {
            let segment = self.segment(next_random(&mut state));
            if segment.len() == 0 {
                continue;
            }
            let position = scale(next_random(&mut state), segment.slot_count());
            // Stay in a segment until a slot is hit: to leave it would prefer the fuller ones.
            let mut found = segment.at_position(position);
            for _ in 0..RANDOM_TRIES {
                if found.is_some() {
                    return found;
                }
                found = segment.at_position(scale(next_random(&mut state), segment.slot_count()));
            }
        }
        let count = self.segments.len();
        let start = scale(next_random(&mut state), count);
        let segments = (0..count).map(|step| &self.segments[(start + step) % count]);
        segments.filter(|segment| segment.len() != 0).find_map(|segment| {
            let skip = scale(next_random(&mut state), segment.len());
            segment.iter().nth(skip)
        })
    }
}

/// The generator of splitmix64 (Steele, Lea, Flood 2014).
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn scale(random: u64, below: usize) -> usize {
    ((u128::from(random) * below as u128) >> 64) as usize
}
