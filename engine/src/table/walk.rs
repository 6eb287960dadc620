//! A walk that sees the table as it was when it began, while the table goes on changing: what a
//! change is about to touch is visited first.
//!
//! What has been visited is noted a segment at a time (`walked`) and, before that, a chunk at a
//! time (`marks`): so a change forces out the entries of one chunk or two, fourteen at most, and
//! only one that makes a segment grow, which moves all of them anyway, forces out the segment.
//!
//! Invariant: while a segment is not walked its entries stay in their chunks. It neither shrinks
//! nor merges, and before it grows or splits it is walked.
//! Invariant: an entry in an unwalked segment is one of the walk's, unless its chunk is marked.

use super::chunk::Chunk;
use super::prefetch::prefetch_entry_whole;
use super::segment::Segment;
use super::{CURSOR_BITS, Entry, Table};

const CURSOR_END: u64 = 1 << CURSOR_BITS;
const CURSOR_SHIFT: u32 = 64 - CURSOR_BITS;

/// Marks of a segment: chunks that are so many apart share one.
const MARKS: usize = 64;

impl<E: Entry> Table<E> {
    /// Begins a walk over what the table holds now. Touches every segment, 48 bytes to some 500
    /// entries.
    pub fn begin_walk(&mut self) {
        for index in 0..self.segments.len() {
            let segment = &mut self.segments[index];
            segment.walked = false;
            segment.marks = 0;
        }
        self.walking = true;
    }

    /// Ends a walk, whether it came to the end or not.
    pub fn end_walk(&mut self) {
        self.walking = false;
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
        let chunk = match segment.find(hash, key) {
            Some(place) => place.chunk,
            None if segment.has_room() => segment.vacant_chunk(hash),
            // It is about to grow.
            None => {
                segment.visit_unmarked(&mut |entry| {
                    visit(entry);
                    true
                });
                segment.walked = true;
                return;
            }
        };
        // A change comes to entries that nobody has asked memory for yet.
        segment.prefetch_with(chunk);
        segment.visit_chunk(chunk, &mut visit);
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
            segment.walked = true;
        }
        let next = segment.cursor_after(usize::MAX - 1);
        if segment.is_sparse() {
            self.shrink(hash);
        }
        (next < CURSOR_END).then_some(next)
    }
}

impl<E: Entry> Segment<E> {
    fn is_marked(&self, chunk: usize) -> bool {
        self.marks >> (chunk % MARKS) & 1 != 0
    }

    /// Brings closer what [`Segment::visit_chunk`] will visit.
    fn prefetch_with(&self, chunk: usize) {
        if chunk < self.chunks.len() && !self.is_marked(chunk) {
            let together = self.chunks.iter().skip(chunk % MARKS).step_by(MARKS);
            together.flat_map(Chunk::iter).for_each(prefetch_entry_whole);
        }
    }

    /// Visits a chunk, and those that share its mark, if that was not done yet.
    fn visit_chunk(&mut self, chunk: usize, visit: &mut impl FnMut(&mut E)) {
        if self.is_marked(chunk) {
            return;
        }
        let mark = chunk % MARKS;
        self.marks |= 1 << mark;
        for chunk in self.chunks.iter_mut().skip(mark).step_by(MARKS) {
            chunk.iter_mut().for_each(&mut *visit);
        }
    }

    /// Visits every chunk that was not visited, until `visit` asks to stop. Returns whether it
    /// came to the end.
    fn visit_unmarked(&mut self, visit: &mut impl FnMut(&mut E) -> bool) -> bool {
        self.prefetch_with(0);
        for chunk in 0..self.chunks.len() {
            self.prefetch_with(chunk + 1);
            let mut go_on = true;
            self.visit_chunk(chunk, &mut |entry| go_on &= visit(entry));
            if !go_on {
                return false;
            }
        }
        true
    }
}
