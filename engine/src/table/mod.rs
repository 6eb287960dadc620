//! The hash table of keyspaces and of large collections: extendible hashing over bounded segments.
//!
//! Lives on the core that owns the shard. No I/O, no clock, no randomness of its own.
//!
//! ```text
//! hash   [ directory index | 32-bit fraction: home chunk ...   | tag ]
//!           top bits         the bits after the prefix           low 8 bits
//! directory: 2^depth indices → segments → chunks of 64 bytes {7 tags, overflow | 7 entries}
//! ```
//!
//! - Entries are thin owned pointers. The table keeps 9 to 13 bytes an entry, about 11 on average.
//! - Order follows the hash everywhere, so a SCAN cursor is a lower bound of the hash: growth,
//!   splits and merges between two calls neither lose nor repeat an entry that stayed.
//! - An insert moves at most one segment's entries (at most 824, some 15 µs). Every doubling of
//!   the directory also copies it: 4 bytes to some 500 entries, so 1 MiB at 100 M entries.
//!   Only hashes that collide on purpose, which the keyed hash prevents, make a segment larger.
//!
//! # Layout
//! `chunk` one cache line · `segment` chunks of one prefix · `slab` where segments are kept ·
//! `entry` find-or-vacant · `scan` cursors, views, random choice · `walk` of the table as it was ·
//! `prefetch` · `memory`

mod chunk;
mod entry;
mod memory;
mod prefetch;
mod scan;
mod segment;
mod slab;
#[cfg(test)]
mod tests;
mod walk;

pub use entry::{Occupied, Probe, Vacant};
pub use memory::alloc_size;
pub use scan::SegmentView;

use crate::hash::Hasher64;
use segment::{SPLIT_CHUNKS, Segment};
use slab::Slab;

/// What a table holds: an owned pointer of eight bytes, `Option` of it also eight, to something
/// that knows its key. The key must not change while the entry is in a table.
pub trait Entry {
    fn key(&self) -> &[u8];
}

/// Bits of a scan cursor: Redis clients and the cluster's cursors leave the top 16 free.
pub const CURSOR_BITS: u32 = 48;

/// The deadline of a segment without any.
pub const NO_DEADLINE: i64 = i64::MAX;

/// No prefix grows beyond this; it is far more than memory holds.
const DEPTH_MAX: u8 = 28;

/// The directory doubles only while it has at most one index to so many entries, so that hashes
/// that do not spread cannot blow it up.
const ENTRIES_PER_INDEX_MIN: usize = 64;

/// Most entries a segment is made for ahead of time. The entries of random hashes stray from it
/// by some 26: nearly all segments hold theirs without a split.
const SEGMENT_LEN_WANTED: usize = 700;

/// An extendible hash table of owned thin pointers. See the module's text.
pub struct Table<E> {
    /// Indexed by the top `depth` bits of a hash.
    directory: Vec<u32>,
    segments: Slab<Segment<E>>,
    hasher: Hasher64,
    len: usize,
    /// What the segments' chunks take.
    chunk_bytes: usize,
    /// What the table itself takes, kept up to date by all that changes its form.
    memory_bytes: usize,
    /// Segments whose own depth is `depth`.
    deepest: usize,
    depth: u8,
    /// A walk is under way (`walk.rs`).
    walking: bool,
}

impl<E: Entry> Table<E> {
    pub fn new(hasher: Hasher64) -> Self {
        const { assert!(size_of::<Option<E>>() == 8, "an entry is a thin pointer with a niche") };
        let mut table = Self {
            directory: vec![0],
            segments: Slab::with_one(Segment::new()),
            hasher,
            len: 0,
            chunk_bytes: 0,
            memory_bytes: 0,
            deepest: 1,
            depth: 0,
            walking: false,
        };
        table.count_memory();
        table
    }

    /// An empty table with room for so many entries: filling it moves hardly any.
    pub fn with_room(hasher: Hasher64, len: usize) -> Self {
        let mut table = Self::new(hasher);
        let mut depth = 0;
        while len >> depth > SEGMENT_LEN_WANTED && depth < DEPTH_MAX {
            depth += 1;
        }
        if len >> depth == 0 {
            return table;
        }
        table.directory = (0..1 << depth).collect();
        table.segments.pop();
        for index in 0..1_u64 << depth {
            let segment = Segment::with_room(index, depth, len >> depth);
            table.chunk_bytes += segment.memory_bytes();
            table.segments.push(segment);
        }
        table.depth = depth;
        table.deepest = 1 << depth;
        table.count_memory();
        table
    }

    pub fn hasher(&self) -> &Hasher64 {
        &self.hasher
    }

    /// The hash that the other methods want with a key.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash(key)
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    pub fn get(&self, hash: u64, key: &[u8]) -> Option<&E> {
        let segment = self.segment(hash);
        segment.find(hash, key).map(|place| segment.at(place))
    }

    /// The entry to change, all but its key.
    #[inline]
    pub fn get_mut(&mut self, hash: u64, key: &[u8]) -> Option<&mut E> {
        let segment = self.segment_mut(hash);
        let place = segment.find(hash, key)?;
        Some(segment.at_mut(place))
    }

    /// Adds an entry whose key the caller knows to be absent.
    pub fn insert(&mut self, hash: u64, entry: E) {
        debug_assert_eq!(hash, self.hash(entry.key()));
        debug_assert!(self.get(hash, entry.key()).is_none());
        self.make_room(hash);
        self.segment_mut(hash).place(hash, entry);
        self.len += 1;
    }

    /// Puts an entry in the place of the one with the same key, which it returns. Where there is
    /// none it is inserted.
    pub fn replace(&mut self, hash: u64, entry: E) -> Option<E> {
        match self.get_mut(hash, entry.key()) {
            Some(old) => Some(std::mem::replace(old, entry)),
            None => {
                self.insert(hash, entry);
                None
            }
        }
    }

    pub fn remove(&mut self, hash: u64, key: &[u8]) -> Option<E> {
        let segment = self.segment_mut(hash);
        let place = segment.find(hash, key)?;
        let entry = segment.take(hash, place);
        self.on_taken(hash);
        Some(entry)
    }

    pub fn iter(&self) -> impl Iterator<Item = &E> {
        self.segments.iter().flat_map(Segment::iter)
    }

    /// Frees everything at once; `drain_slice` does it in parts.
    pub fn clear(&mut self) {
        *self = Self::new(self.hasher.clone());
    }

    /// Takes out some `max` entries, beyond that at most the rest of one segment, and gives each
    /// to `free`; true when nothing is left. From the first call until then the table is fit for
    /// nothing else.
    pub fn drain_slice(&mut self, max: usize, mut free: impl FnMut(E)) -> bool {
        self.directory = vec![0];
        self.depth = 0;
        let mut work = 0;
        while work < max.max(1) {
            let Some(mut segment) = self.segments.pop() else { break };
            work += segment.len() + 1;
            self.len -= segment.len();
            self.chunk_bytes -= segment.memory_bytes();
            segment.drain().for_each(&mut free);
        }
        self.count_memory();
        let done = self.segments.len() == 0;
        if done {
            self.clear();
        }
        done
    }

    /// What the table itself takes, without what its entries point to.
    #[inline]
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    fn count_memory(&mut self) {
        let directory = alloc_size(self.directory.capacity() * size_of::<u32>());
        self.memory_bytes = self.chunk_bytes + self.segments.memory_bytes() + directory;
    }

    /// Asks for the segment where a lookup of this hash begins. A batch of lookups asks for all
    /// its segments, then for all its chunks, then for all its entries.
    #[inline]
    pub fn prefetch_segment(&self, hash: u64) {
        self.segments.prefetch(self.index(hash));
    }

    /// Asks for the home chunk, once `prefetch_segment` has had time to bring its segment.
    #[inline]
    pub fn prefetch_chunk(&self, hash: u64) {
        self.segment(hash).prefetch_chunk(hash);
    }

    /// Asks for the entry, once `prefetch_chunk` has had time to bring its chunk.
    #[inline]
    pub fn prefetch_entry(&self, hash: u64) {
        self.segment(hash).prefetch_entry(hash);
    }

    /// Notes that an entry of this hash expires at `at_ms`: the segment's deadline is never later
    /// than its earliest expiry (and may be earlier than it, when that entry has gone).
    #[inline]
    pub fn lower_deadline(&mut self, hash: u64, at_ms: i64) {
        let segment = self.segment_mut(hash);
        segment.deadline_ms = segment.deadline_ms.min(at_ms);
    }

    /// Sets the deadline of a segment whose entries the caller has just looked through.
    pub fn set_deadline(&mut self, hash: u64, at_ms: i64) {
        self.segment_mut(hash).deadline_ms = at_ms;
    }

    #[inline]
    fn index(&self, hash: u64) -> usize {
        self.directory[((hash >> 1) >> (63 - u32::from(self.depth))) as usize] as usize
    }

    #[inline]
    fn segment(&self, hash: u64) -> &Segment<E> {
        &self.segments[self.index(hash)]
    }

    #[inline]
    fn segment_mut(&mut self, hash: u64) -> &mut Segment<E> {
        let index = self.index(hash);
        &mut self.segments[index]
    }

    #[inline]
    fn make_room(&mut self, hash: u64) {
        if !self.segment(hash).has_room() {
            self.grow(hash);
        }
    }

    /// Gives the segment of `hash` room for one more entry.
    #[cold]
    fn grow(&mut self, hash: u64) {
        let index = self.index(hash);
        let segment = &self.segments[index];
        assert!(!self.walking || segment.walked, "what a walk has not visited is not moved");
        let deepens = segment.depth == self.depth;
        let spreads = (ENTRIES_PER_INDEX_MIN << (self.depth + 1)) <= self.len;
        let may_split = segment.depth < DEPTH_MAX && (!deepens || spreads);
        self.chunk_bytes -= segment.memory_bytes();
        if segment.chunk_count() < SPLIT_CHUNKS || !may_split {
            self.segments[index].grow(&self.hasher);
            self.chunk_bytes += self.segments[index].memory_bytes();
            return self.count_memory();
        }
        if deepens {
            self.double_directory();
        }
        let upper = self.segments[index].split(&self.hasher);
        self.chunk_bytes += self.segments[index].memory_bytes() + upper.memory_bytes();
        if upper.depth == self.depth {
            self.deepest += 2;
        }
        self.segments.push(upper);
        self.point_to(self.segments.len() - 1);
        self.count_memory();
        assert!(self.segment(hash).has_room());
    }

    fn double_directory(&mut self) {
        self.directory = self.directory.iter().flat_map(|&index| [index, index]).collect();
        self.depth += 1;
        self.deepest = 0;
    }

    /// Makes the directory point to a segment wherever its prefix says so.
    fn point_to(&mut self, index: usize) {
        let segment = &self.segments[index];
        let start = ((segment.prefix >> 1) >> (63 - u32::from(self.depth))) as usize;
        let count = 1 << (self.depth - segment.depth);
        self.directory[start..start + count].fill(index as u32);
    }

    /// After an entry has been taken out: gives memory back where a segment has become sparse.
    #[inline]
    fn on_taken(&mut self, hash: u64) {
        self.len -= 1;
        if self.segment(hash).is_sparse() {
            self.shrink(hash);
        }
    }

    #[cold]
    fn shrink(&mut self, hash: u64) {
        while self.segment(hash).is_sparse() {
            let index = self.index(hash);
            let segment = &self.segments[index];
            if self.walking && !segment.walked {
                // The walk shrinks it when it comes past.
                return;
            }
            let buddy_bit = match segment.depth {
                0 => 0,
                depth => 1 << (64 - u32::from(depth)),
            };
            let buddy = self.index(segment.prefix ^ buddy_bit);
            let merges = buddy != index && segment.may_merge(&self.segments[buddy], self.walking);
            if !merges {
                self.chunk_bytes -= self.segments[index].memory_bytes();
                self.segments[index].shrink(&self.hasher);
                self.chunk_bytes += self.segments[index].memory_bytes();
                break;
            }
            self.merge(index, buddy);
        }
        self.count_memory();
    }

    fn merge(&mut self, index: usize, buddy: usize) {
        if self.segments[index].depth == self.depth {
            self.deepest -= 2;
        }
        let taken = self.segments.swap_remove(buddy);
        // The last segment may have moved to the buddy's place, and may be this very one.
        let index = if index == self.segments.len() { buddy } else { index };
        self.chunk_bytes -= self.segments[index].memory_bytes() + taken.memory_bytes();
        self.segments[index].merge(taken, &self.hasher);
        self.chunk_bytes += self.segments[index].memory_bytes();
        if self.segments[index].depth == self.depth {
            self.deepest += 1;
        }
        self.point_to(index);
        if buddy < self.segments.len() {
            self.point_to(buddy);
        }
        while self.deepest == 0 && self.depth > 0 {
            self.halve_directory();
        }
    }

    fn halve_directory(&mut self) {
        self.directory = self.directory.iter().copied().step_by(2).collect();
        self.depth -= 1;
        self.deepest = self.segments.iter().filter(|segment| segment.depth == self.depth).count();
    }
}
