//! A walk that sees the table as it was when it began, while the table goes on changing: what a
//! change is about to touch is visited first.
//!
//! What has been visited is noted a segment at a time (`walked`) and, before that, a slot at a
//! time (`marks`): so a change forces out the entry that it changes and no other. Only one that
//! makes a segment grow, which moves all of them anyway, forces out the segment. Marks are made
//! for a segment when it is first changed and freed when it is walked: 128 bytes to some 500
//! entries for that time.
//!
//! Invariant: while a segment is not walked its entries stay in their slots. It neither shrinks
//! nor merges, and before it grows or splits it is walked.
//! Invariant: an entry in an unwalked segment is one that the walk has still to visit exactly if
//! its slot is not marked. A slot stays marked whatever leaves it or comes into it.
//! Invariant: only an unwalked segment of a table with a walk under way has marks.

use super::chunk::SLOTS;
use super::prefetch::prefetch_entry_whole;
use super::segment::{Place, SPLIT_CHUNKS, Segment};
use super::{CURSOR_BITS, Entry, Table};

const CURSOR_END: u64 = 1 << CURSOR_BITS;
const CURSOR_SHIFT: u32 = 64 - CURSOR_BITS;

/// A byte a chunk, in it a bit a slot. Chunks `SPLIT_CHUNKS` apart share one: there are such only
/// where hashes do not spread.
pub(super) type Marks = [u8; SPLIT_CHUNKS];

const ALL_SLOTS: u8 = (1 << SLOTS) - 1;

impl<E: Entry> Table<E> {
    /// Begins a walk over what the table holds now. Touches every segment, 48 bytes to some 500
    /// entries.
    pub fn begin_walk(&mut self) {
        for index in 0..self.segments.len() {
            let segment = &mut self.segments[index];
            debug_assert!(segment.marks.is_none());
            segment.walked = false;
        }
        self.walking = true;
    }

    /// Ends a walk, whether it came to the end or not. Touches what its beginning did.
    pub fn end_walk(&mut self) {
        if !std::mem::replace(&mut self.walking, false) {
            return;
        }
        for index in 0..self.segments.len() {
            self.segments[index].marks = None;
        }
    }

    pub fn is_walking(&self) -> bool {
        self.walking
    }

    /// Must be called before a change of this key, its insertion or its removal while a walk is
    /// under way. Visits what the change may touch and the walk has not visited.
    pub fn visit_before(&mut self, hash: u64, key: &[u8], mut visit: impl FnMut(&mut E)) {
        if !self.walking {
            return;
        }
        let segment = self.segment_mut(hash);
        if segment.walked {
            return;
        }
        let place = match segment.find(hash, key) {
            Some(place) => place,
            None if segment.has_room() => segment.vacant_place(hash),
            // It is about to grow.
            None => {
                segment.visit_unmarked(&mut |entry| {
                    visit(entry);
                    true
                });
                return segment.set_walked();
            }
        };
        segment.visit_slot(place, visit);
    }

    /// Visits what is left of the segment where `cursor` falls, a chunk at a time until `visit`
    /// asks to stop. Returns the cursor to go on from, `None` at the end. 0 begins.
    pub fn walk_slice(
        &mut self,
        cursor: u64,
        mut visit: impl FnMut(&mut E) -> bool,
    ) -> Option<u64> {
        debug_assert!(self.walking);
        let hash = cursor << CURSOR_SHIFT;
        let segment = self.segment_mut(hash);
        if !segment.walked {
            if !segment.visit_unmarked(&mut visit) {
                return Some(cursor);
            }
            segment.set_walked();
        }
        let next = segment.cursor_after(usize::MAX - 1);
        if segment.is_sparse() {
            self.shrink(hash);
        }
        (next < CURSOR_END).then_some(next)
    }
}

impl<E: Entry> Segment<E> {
    fn set_walked(&mut self) {
        self.walked = true;
        self.marks = None;
    }

    fn marks_mut(&mut self) -> &mut Marks {
        self.marks.get_or_insert_with(|| Box::new([0; SPLIT_CHUNKS]))
    }

    /// The slots of a chunk that are not marked.
    fn unmarked(&self, chunk: usize) -> impl Iterator<Item = usize> + use<E> {
        let marked = self.marks.as_ref().map_or(0, |marks| marks[chunk]);
        let mut left = ALL_SLOTS & !marked;
        std::iter::from_fn(move || {
            let slot = left.trailing_zeros() as usize;
            left &= left.wrapping_sub(1);
            (slot < SLOTS).then_some(slot)
        })
    }

    /// Visits what is in a slot, and in those that share its mark, and marks it, if that was not
    /// done yet.
    fn visit_slot(&mut self, place: Place, visit: impl FnMut(&mut E)) {
        let (chunk, bit) = (place.chunk % SPLIT_CHUNKS, 1 << place.slot);
        let marks = &mut self.marks_mut()[chunk];
        if *marks & bit != 0 {
            return;
        }
        *marks |= bit;
        let together = self.chunks.iter_mut().skip(chunk).step_by(SPLIT_CHUNKS);
        together.filter_map(|chunk| chunk.get_mut(place.slot)).for_each(visit);
    }

    /// Brings closer what is to be visited in a chunk.
    fn prefetch_unmarked(&self, chunk: usize) {
        if chunk >= SPLIT_CHUNKS {
            return;
        }
        for line in self.chunks.iter().skip(chunk).step_by(SPLIT_CHUNKS) {
            let entries = self.unmarked(chunk).filter_map(|slot| line.get(slot));
            entries.for_each(prefetch_entry_whole);
        }
    }

    /// Visits every slot that is not marked, until `visit` asks to stop; then marks those it has
    /// visited. Returns whether it came to the end.
    fn visit_unmarked(&mut self, visit: &mut impl FnMut(&mut E) -> bool) -> bool {
        self.prefetch_unmarked(0);
        for chunk in 0..self.chunks.len().min(SPLIT_CHUNKS) {
            self.prefetch_unmarked(chunk + 1);
            let mut go_on = true;
            for slot in self.unmarked(chunk) {
                let together = self.chunks.iter_mut().skip(chunk).step_by(SPLIT_CHUNKS);
                for entry in together.filter_map(|line| line.get_mut(slot)) {
                    go_on &= visit(entry);
                }
            }
            if !go_on {
                self.marks_mut()[..=chunk].fill(ALL_SLOTS);
                return false;
            }
        }
        true
    }
}
