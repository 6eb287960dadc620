//! A member and its score in one block, with as many handles as the table and the tree need.
//!
//! ```text
//! [f64 score][u32: handles in the top 2 bits, length in the others][bytes ...]
//! ```
//!
//! The count makes every handle safe to use whatever the table and the tree do. A member has at
//! most three: the table's, a leaf's, and one as a separator of the tree.
//!
//! JUSTIFICATION for `unsafe` here: `Rc` would add 16 bytes of counts and a second word for the
//! length to every member.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use super::super::alloc_size;
use crate::table::Entry;

const WORD_AT: usize = size_of::<f64>();
const BYTES_AT: usize = WORD_AT + size_of::<u32>();
const LEN_BITS: u32 = 30;
const LEN_MASK: u32 = (1 << LEN_BITS) - 1;
const HANDLES_MAX: u32 = u32::MAX >> LEN_BITS;

/// A handle to a member.
///
/// Invariant: `block` was allocated with `layout(len)`, is initialised whole, and lives while its
/// count, which is the number of handles, is not 0.
pub(super) struct Member {
    block: NonNull<u8>,
}

// SAFETY: all handles to a block are in one sorted set, which moves between threads as a whole;
// nothing gives one out. There is no `Sync`: to clone a handle writes.
unsafe impl Send for Member {}

impl Member {
    /// # Panics
    /// When the bytes are 1 GiB or more.
    pub(super) fn new(score: f64, bytes: &[u8]) -> Self {
        assert!(bytes.len() <= LEN_MASK as usize, "a member stays below 1 GiB");
        let layout = Self::layout(bytes.len());
        // SAFETY: the layout is not empty, and the three writes lie within it: the score at 0,
        // the word behind it, both aligned, and the bytes to the end.
        unsafe {
            let Some(block) = NonNull::new(alloc(layout)) else { handle_alloc_error(layout) };
            block.cast::<f64>().write(score);
            block.add(WORD_AT).cast::<u32>().write(bytes.len() as u32);
            block.add(BYTES_AT).copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len());
            let member = Self { block };
            member.set_handles(1);
            member
        }
    }

    #[inline]
    pub(super) fn score(&self) -> f64 {
        // SAFETY: the block begins with the score (invariant).
        unsafe { self.block.cast::<f64>().read() }
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: so many bytes are there (invariant), and they are never written again.
        unsafe { std::slice::from_raw_parts(self.block.add(BYTES_AT).as_ptr(), self.len()) }
    }

    /// Changes the score of this handle's member. Other handles, if there are any, keep the old
    /// member: this one then gets a block of its own.
    pub(super) fn set_score(&mut self, score: f64) {
        if self.handles() == 1 {
            // SAFETY: the block begins with the score, and no one else has a handle.
            unsafe { self.block.cast::<f64>().write(score) };
        } else {
            *self = Self::new(score, self.bytes());
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        alloc_size(BYTES_AT + self.len())
    }

    fn len(&self) -> usize {
        (self.word() & LEN_MASK) as usize
    }

    fn handles(&self) -> u32 {
        self.word() >> LEN_BITS
    }

    #[inline]
    fn word(&self) -> u32 {
        // SAFETY: the word lies behind the score (invariant), aligned to 4.
        unsafe { self.block.add(WORD_AT).cast::<u32>().read() }
    }

    fn set_handles(&self, handles: u32) {
        let word = handles << LEN_BITS | self.word() & LEN_MASK;
        // SAFETY: the word lies behind the score, aligned to 4; no reference to it is ever made,
        // and all handles are on one thread.
        unsafe { self.block.add(WORD_AT).cast::<u32>().write(word) };
    }

    fn layout(len: usize) -> Layout {
        Layout::from_size_align(BYTES_AT + len, align_of::<f64>())
            .expect("a length of 30 bits makes a valid layout")
    }
}

impl Clone for Member {
    fn clone(&self) -> Self {
        let handles = self.handles();
        assert!(handles < HANDLES_MAX, "table, leaf and one separator hold a member");
        self.set_handles(handles + 1);
        Self { block: self.block }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let handles = self.handles();
        if handles > 1 {
            self.set_handles(handles - 1);
        } else {
            // SAFETY: the last handle; the block was allocated with this layout (invariant).
            unsafe { dealloc(self.block.as_ptr(), Self::layout(self.len())) };
        }
    }
}

impl Entry for Member {
    #[inline]
    fn key(&self) -> &[u8] {
        self.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_share_until_the_score_changes() {
        assert_eq!(size_of::<Option<Member>>(), 8);
        let mut one = Member::new(1.5, b"member");
        one.set_score(2.5);
        let two = one.clone();
        assert_eq!((two.score(), two.bytes()), (2.5, &b"member"[..]));
        one.set_score(3.5);
        assert_eq!((one.score(), two.score()), (3.5, 2.5));
        drop(one);
        assert_eq!(two.bytes(), b"member");
        assert_eq!(Member::new(0.0, b"").bytes(), b"");
        assert_eq!(Member::new(0.0, &[0; 17]).memory_bytes(), 32);
    }
}
