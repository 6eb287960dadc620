//! One segment: the entries whose hashes share a prefix, in chunks whose order follows the hash.
//!
//! Home chunk = (the hash after the prefix, as a fraction of one) × chunks. It grows with the
//! hash whatever the number of chunks is: so a segment need not double, and a position in hash
//! order (a cursor) stays meaningful when it is resized, split or merged.
//!
//! Invariant: an entry lies in its home chunk or beyond it (round the end), and every chunk it
//! passed over counts it in its overflow counter.

use super::chunk::{Chunk, SLOTS, tag_of};
use super::prefetch::{prefetch_entry_target, prefetch_entry_whole, prefetch_line};
use super::walk::Marks;
use super::{CURSOR_BITS, Entry, NO_DEADLINE, alloc_size};
use crate::hash::Hasher64;

/// Chunk counts a segment goes through. All are block sizes of the allocator; three to a doubling
/// keep the mean load high (80 %) for some five moved entries an insert.
const SIZES: [usize; 18] = [1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96];

/// A full segment of this many chunks splits into two.
pub(super) const SPLIT_CHUNKS: usize = 128;

/// Buddies with no more entries than this together become one: 70 % of 64 chunks.
const MERGE_LEN_MAX: usize = 320;

/// How far ahead of the work a rebuild asks for entries, in chunks.
const REBUILD_AHEAD: usize = 2;

pub(super) struct Segment<E> {
    pub(super) chunks: Box<[Chunk<E>]>,
    /// The lowest hash that belongs here.
    pub(super) prefix: u64,
    pub(super) deadline_ms: i64,
    /// Slots that the walk under way has done with (`walk.rs`), once there are any.
    pub(super) marks: Option<Box<Marks>>,
    len: u32,
    /// Bits of the prefix.
    pub(super) depth: u8,
    /// The walk under way has visited all of it.
    pub(super) walked: bool,
}

/// Where an entry lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) chunk: usize,
    pub(super) slot: usize,
}

/// Entries that `chunks` chunks may hold: 92 %, but all seven slots of a single one.
fn capacity(chunks: usize) -> usize {
    if chunks == 1 { SLOTS } else { chunks * SLOTS * 92 / 100 }
}

/// The smallest size with room for `len` entries.
fn chunks_for(len: usize) -> usize {
    if len == 0 {
        return 0;
    }
    let regular = SIZES.into_iter().chain([SPLIT_CHUNKS]);
    regular.into_iter().find(|&size| capacity(size) >= len).unwrap_or_else(|| {
        // Only hashes that do not spread come here.
        (len * 5 / 4 / SLOTS + 1).next_multiple_of(SPLIT_CHUNKS)
    })
}

fn new_chunks<E>(count: usize) -> Box<[Chunk<E>]> {
    (0..count).map(|_| Chunk::default()).collect()
}

impl<E: Entry> Segment<E> {
    pub(super) fn new() -> Self {
        Self {
            chunks: Box::default(),
            prefix: 0,
            deadline_ms: NO_DEADLINE,
            marks: None,
            len: 0,
            depth: 0,
            walked: false,
        }
    }

    #[cfg(test)]
    pub(super) fn with_room_for(len: usize) -> Self {
        Self { chunks: new_chunks(chunks_for(len)), ..Self::new() }
    }

    /// The segment of this number among 2^depth, with room for about so many entries.
    pub(super) fn with_room(number: u64, depth: u8, len: usize) -> Self {
        let room = len + 2 * len.isqrt();
        let prefix = if depth == 0 { 0 } else { number << (64 - u32::from(depth)) };
        let chunks = new_chunks(chunks_for(room).min(SPLIT_CHUNKS));
        Self { chunks, prefix, depth, ..Self::new() }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    pub(super) fn chunk_count(&self) -> usize {
        self.chunks.len()
    }

    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.len() < capacity(self.chunks.len())
    }

    pub(super) fn memory_bytes(&self) -> usize {
        alloc_size(size_of_val(&*self.chunks))
    }

    /// The chunk where a hash belongs. Hashes alike in the bits of a cursor share it.
    #[inline]
    pub(super) fn home(&self, hash: u64) -> usize {
        let seen = hash & (u64::MAX << (64 - CURSOR_BITS));
        let fraction = (seen << self.depth) >> 32;
        ((fraction * self.chunks.len() as u64) >> 32) as usize
    }

    /// The first cursor past those at home in `chunk`; at most 2^48.
    pub(super) fn cursor_after(&self, chunk: usize) -> u64 {
        let start = self.prefix >> (64 - CURSOR_BITS);
        let width_bits = CURSOR_BITS - u32::from(self.depth);
        if chunk + 1 >= self.chunks.len() {
            return start + (1 << width_bits);
        }
        let fraction = ((chunk as u64 + 1) << 32).div_ceil(self.chunks.len() as u64);
        let offset = match width_bits.checked_sub(32) {
            Some(left) => fraction << left,
            None => fraction.div_ceil(1 << (32 - width_bits)),
        };
        start + offset
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<Place> {
        let tag = tag_of(hash);
        let mut chunk = self.home(hash);
        for _ in 0..self.chunks.len() {
            let line = &self.chunks[chunk];
            for slot in line.matches(tag) {
                if line.get(slot).is_some_and(|entry| entry.key() == key) {
                    return Some(Place { chunk, slot });
                }
            }
            if !line.overflowed() {
                return None;
            }
            chunk = self.after(chunk);
        }
        None
    }

    #[inline]
    pub(super) fn at(&self, place: Place) -> &E {
        self.chunks[place.chunk].get(place.slot).expect("a place is of a full slot")
    }

    #[inline]
    pub(super) fn at_mut(&mut self, place: Place) -> &mut E {
        self.chunks[place.chunk].get_mut(place.slot).expect("a place is of a full slot")
    }

    /// Adds an entry; the caller has seen to the room.
    #[inline]
    pub(super) fn place(&mut self, hash: u64, entry: E) -> Place {
        let mut chunk = self.home(hash);
        loop {
            if let Some(slot) = self.chunks[chunk].empty_slot() {
                self.chunks[chunk].put(slot, tag_of(hash), entry);
                self.len += 1;
                return Place { chunk, slot };
            }
            self.chunks[chunk].overflow_up();
            chunk = self.after(chunk);
        }
    }

    /// Where `place` would put an entry of this hash; there is room.
    pub(super) fn vacant_place(&self, hash: u64) -> Place {
        let mut chunk = self.home(hash);
        loop {
            if let Some(slot) = self.chunks[chunk].empty_slot() {
                return Place { chunk, slot };
            }
            chunk = self.after(chunk);
        }
    }

    pub(super) fn take(&mut self, hash: u64, place: Place) -> E {
        let mut passed = self.home(hash);
        while passed != place.chunk {
            self.chunks[passed].overflow_down();
            passed = self.after(passed);
        }
        self.len -= 1;
        self.chunks[place.chunk].take(place.slot).expect("a place is of a full slot")
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &E> {
        self.chunks.iter().flat_map(Chunk::iter)
    }

    /// Takes every entry out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = E> {
        self.len = 0;
        self.chunks.iter_mut().flat_map(Chunk::drain)
    }

    /// Visits the entries from a chunk on, round the end, until `visit` says enough.
    pub(super) fn visit_from(&self, start: usize, mut visit: impl FnMut(&E) -> bool) {
        let (before, after) = self.chunks.split_at(start);
        for chunk in after.iter().chain(before) {
            chunk.iter().for_each(prefetch_entry_target);
            if chunk.iter().any(&mut visit) {
                return;
            }
        }
    }

    /// The entry in slot `position` of all, if there is one.
    pub(super) fn at_position(&self, position: usize) -> Option<&E> {
        self.chunks[position / SLOTS].get(position % SLOTS)
    }

    pub(super) fn slot_count(&self) -> usize {
        self.chunks.len() * SLOTS
    }

    /// Calls `visit` with each entry at home in `chunk`, and its hash.
    pub(super) fn visit_home<'a>(
        &'a self,
        home: usize,
        hasher: &Hasher64,
        mut visit: impl FnMut(u64, &'a E),
    ) {
        let mut chunk = home;
        for _ in 0..self.chunks.len() {
            for entry in self.chunks[chunk].iter() {
                let hash = hasher.hash(entry.key());
                if self.home(hash) == home {
                    visit(hash, entry);
                }
            }
            if !self.chunks[chunk].overflowed() {
                return;
            }
            chunk = self.after(chunk);
        }
    }

    #[inline]
    pub(super) fn prefetch_chunk(&self, hash: u64) {
        let home = self.home(hash);
        if let Some(chunk) = self.chunks.get(home) {
            prefetch_line(chunk);
        }
        if let Some(marks) = &self.marks {
            prefetch_line(&marks[home % SPLIT_CHUNKS]);
        }
    }

    #[inline]
    pub(super) fn prefetch_entry(&self, hash: u64) {
        let Some(chunk) = self.chunks.get(self.home(hash)) else { return };
        for slot in chunk.matches(tag_of(hash)) {
            match chunk.get(slot) {
                // A walk may be about to read it.
                Some(entry) if self.marks.is_some() => prefetch_entry_whole(entry),
                Some(entry) => prefetch_entry_target(entry),
                None => {}
            }
        }
    }

    pub(super) fn grow(&mut self, hasher: &Hasher64) {
        self.rebuild(chunks_for(capacity(self.chunks.len()).max(self.len()) + 1), hasher);
    }

    /// Whether a resize would give back more than half. An empty one counts: it may merge.
    #[inline]
    pub(super) fn is_sparse(&self) -> bool {
        self.len() * 20 <= self.slot_count() * 7
    }

    pub(super) fn shrink(&mut self, hasher: &Hasher64) {
        let wanted = chunks_for(self.len() * 9 / 8);
        if wanted < self.chunks.len() {
            self.rebuild(wanted, hasher);
        }
    }

    /// Whether two halves of one prefix may become one. A walk keeps what it has visited apart
    /// from what it has not.
    pub(super) fn may_merge(&self, buddy: &Self, walking: bool) -> bool {
        self.depth == buddy.depth
            && self.len() + buddy.len() <= MERGE_LEN_MAX
            && (!walking || self.walked && buddy.walked)
    }

    /// Takes in the other half; afterwards the prefix is one bit shorter.
    pub(super) fn merge(&mut self, buddy: Self, hasher: &Hasher64) {
        assert_eq!(self.depth, buddy.depth);
        let len = self.len() + buddy.len();
        self.deadline_ms = self.deadline_ms.min(buddy.deadline_ms);
        self.prefix = self.prefix.min(buddy.prefix);
        self.depth -= 1;
        let mut old = std::mem::replace(&mut self.chunks, new_chunks(chunks_for(len * 9 / 8)));
        let mut other = buddy.chunks;
        self.len = 0;
        for (hash, entry) in hashed(&mut old, hasher).into_iter().chain(hashed(&mut other, hasher))
        {
            self.place(hash, entry);
        }
    }

    /// Keeps the lower half and returns the upper. Both have room for one more.
    pub(super) fn split(&mut self, hasher: &Hasher64) -> Self {
        self.depth += 1;
        let bit = 1_u64 << (64 - u32::from(self.depth));
        let entries = hashed(&mut self.chunks, hasher);
        let upper_len = entries.iter().filter(|(hash, _)| hash & bit != 0).count();
        let lower_len = entries.len() - upper_len;
        let mut upper = Self {
            chunks: new_chunks(chunks_for(upper_len + 1)),
            prefix: self.prefix | bit,
            deadline_ms: self.deadline_ms,
            marks: None,
            len: 0,
            depth: self.depth,
            walked: self.walked,
        };
        self.chunks = new_chunks(chunks_for(lower_len + 1));
        self.len = 0;
        for (hash, entry) in entries {
            let half = if hash & bit != 0 { &mut upper } else { &mut *self };
            half.place(hash, entry);
        }
        upper
    }

    fn rebuild(&mut self, chunks: usize, hasher: &Hasher64) {
        let mut old = std::mem::replace(&mut self.chunks, new_chunks(chunks));
        self.len = 0;
        for (hash, entry) in hashed(&mut old, hasher) {
            self.place(hash, entry);
        }
    }

    #[inline]
    fn after(&self, chunk: usize) -> usize {
        if chunk + 1 == self.chunks.len() { 0 } else { chunk + 1 }
    }
}

/// Takes the entries out, each with its hash. The entries lie anywhere in memory, so they are
/// asked for ahead of their turn.
fn hashed<E: Entry>(chunks: &mut [Chunk<E>], hasher: &Hasher64) -> Vec<(u64, E)> {
    let mut entries = Vec::with_capacity(chunks.len() * SLOTS);
    for chunk in chunks.iter().take(REBUILD_AHEAD) {
        chunk.iter().for_each(prefetch_entry_target);
    }
    for index in 0..chunks.len() {
        if let Some(chunk) = chunks.get(index + REBUILD_AHEAD) {
            chunk.iter().for_each(prefetch_entry_target);
        }
        entries.extend(chunks[index].drain().map(|entry| (hasher.hash(entry.key()), entry)));
    }
    entries
}
