//! One cache line of the table: seven slots, a tag byte for each, and an overflow counter.
//!
//! Invariant: a slot is full exactly when its tag is not zero.
//! Invariant: the overflow counter is the number of entries that wanted this chunk or passed over
//! it because it was full. At 255 it sticks: from then on it only says "at least one".

/// Slots of a chunk.
pub(super) const SLOTS: usize = 7;

const LOW_BITS: u64 = 0x0001_0101_0101_0101;
const HIGH_BITS: u64 = LOW_BITS << 7;
const SEVEN_BITS: u64 = LOW_BITS * 0x7f;
const OVERFLOW_SHIFT: u32 = 56;
const OVERFLOW_ONE: u64 = 1 << OVERFLOW_SHIFT;
const OVERFLOW_STUCK: u64 = 255;

#[repr(C, align(64))]
pub(super) struct Chunk<E> {
    /// Bytes 0 to 6: tags. Byte 7: the overflow counter.
    ctrl: u64,
    slots: [Option<E>; SLOTS],
}

impl<E> Default for Chunk<E> {
    fn default() -> Self {
        Self { ctrl: 0, slots: [const { None }; SLOTS] }
    }
}

/// The tag of a hash: its low byte, with 0 (an empty slot) turned into 1.
#[inline]
pub(super) fn tag_of(hash: u64) -> u8 {
    (hash as u8).max(1)
}

impl<E> Chunk<E> {
    /// The slots with this tag.
    #[inline]
    pub(super) fn matches(&self, tag: u8) -> Matches {
        zero_bytes(self.ctrl ^ (u64::from(tag) * LOW_BITS))
    }

    /// The lowest empty slot.
    #[inline]
    pub(super) fn empty_slot(&self) -> Option<usize> {
        zero_bytes(self.ctrl).next()
    }

    #[inline]
    pub(super) fn overflowed(&self) -> bool {
        self.ctrl >> OVERFLOW_SHIFT != 0
    }

    #[inline]
    pub(super) fn overflow_up(&mut self) {
        if self.ctrl >> OVERFLOW_SHIFT != OVERFLOW_STUCK {
            self.ctrl += OVERFLOW_ONE;
        }
    }

    #[inline]
    pub(super) fn overflow_down(&mut self) {
        let counter = self.ctrl >> OVERFLOW_SHIFT;
        assert!(counter != 0, "an entry beyond a chunk is counted in it");
        if counter != OVERFLOW_STUCK {
            self.ctrl -= OVERFLOW_ONE;
        }
    }

    #[inline]
    pub(super) fn get(&self, slot: usize) -> Option<&E> {
        self.slots[slot].as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut E> {
        self.slots[slot].as_mut()
    }

    #[inline]
    pub(super) fn put(&mut self, slot: usize, tag: u8, entry: E) {
        debug_assert!(self.slots[slot].is_none() && tag != 0);
        self.ctrl |= u64::from(tag) << (8 * slot);
        self.slots[slot] = Some(entry);
    }

    #[inline]
    pub(super) fn take(&mut self, slot: usize) -> Option<E> {
        self.ctrl &= !(0xff << (8 * slot));
        self.slots[slot].take()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &E> {
        self.slots.iter().flatten()
    }

    /// Empties the chunk.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = E> {
        self.ctrl = 0;
        self.slots.iter_mut().filter_map(Option::take)
    }
}

/// The slots a match found, lowest first.
#[derive(Clone, Copy)]
pub(super) struct Matches(u64);

impl Iterator for Matches {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let slot = self.0.trailing_zeros() / 8;
        self.0 &= self.0 - 1;
        Some(slot as usize)
    }
}

/// The high bit of each of the low seven bytes that is zero. Exact: no carry crosses a byte.
#[inline]
fn zero_bytes(word: u64) -> Matches {
    Matches(!(((word & SEVEN_BITS) + SEVEN_BITS) | word) & HIGH_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_a_cache_line() {
        assert_eq!(size_of::<Chunk<Box<u8>>>(), 64);
        assert_eq!(align_of::<Chunk<Box<u8>>>(), 64);
    }

    #[test]
    fn tags_match_exactly() {
        let mut chunk = Chunk::default();
        for (slot, tag) in [1_u8, 0x80, 0xff, 1, 0x7f, 0x81, 2].into_iter().enumerate() {
            assert_eq!(chunk.empty_slot(), Some(slot));
            chunk.put(slot, tag, Box::new(tag));
        }
        assert_eq!(chunk.empty_slot(), None);
        assert_eq!(chunk.matches(1).collect::<Vec<_>>(), [0, 3]);
        assert_eq!(chunk.matches(0x80).collect::<Vec<_>>(), [1]);
        assert_eq!(chunk.matches(3).count(), 0);
        assert_eq!(chunk.take(3), Some(Box::new(1)));
        assert_eq!(chunk.empty_slot(), Some(3));
        assert_eq!(chunk.matches(1).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn the_overflow_counter_sticks_at_255() {
        let mut chunk = Chunk::<Box<u8>>::default();
        chunk.overflow_up();
        chunk.overflow_down();
        assert!(!chunk.overflowed());
        (0..300).for_each(|_| chunk.overflow_up());
        (0..300).for_each(|_| chunk.overflow_down());
        assert!(chunk.overflowed());
        assert_eq!(chunk.empty_slot(), Some(0));
    }
}
