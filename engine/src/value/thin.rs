//! Owned pointers of eight bytes: [`ThinBytes`], a growable byte string that keeps its length in
//! its allocation, and [`ThinBox`], a box without the aliasing promises of the standard one.
//!
//! ```text
//! ThinBytes → [u32 length][u32 capacity][bytes ...]
//! ```
//!
//! JUSTIFICATION for `unsafe` here: a `Vec<u8>` is 24 bytes in the slot and hides its block's
//! size; a value, a table slot and a list node of 8 bytes save 16 bytes a key each.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;

use super::alloc_size;

#[repr(C, align(8))]
struct Header {
    len: u32,
    capacity: u32,
}

pub(super) const HEADER_BYTES: usize = size_of::<Header>();

/// What every empty, unallocated `ThinBytes` points to. Never written.
static EMPTY: Header = Header { len: 0, capacity: 0 };

/// Blocks above this grow by a quarter; below it by the allocator's classes, 14 to 25 % apart.
const GROW_BY_CLASS_MAX: usize = 64 * 1024;

/// A growable byte string of at most 4 GiB behind one thin pointer. `Option` of it is as small.
///
/// Invariant: `header` points to a `Header` with `len <= capacity`; the capacity is 0 exactly when
/// it points to `EMPTY`; else to a block of our own of `HEADER_BYTES + capacity` bytes, aligned
/// to 8, whose first `len` bytes after the header are initialised.
pub struct ThinBytes {
    header: NonNull<Header>,
}

// SAFETY: a `ThinBytes` owns its block alone; `EMPTY` is never written.
unsafe impl Send for ThinBytes {}
// SAFETY: a shared `ThinBytes` is only read.
unsafe impl Sync for ThinBytes {}

impl ThinBytes {
    pub fn new() -> Self {
        Self { header: NonNull::from(&EMPTY) }
    }

    /// Room for `capacity` bytes, and what the allocator's block has beyond it.
    pub fn with_capacity(capacity: usize) -> Self {
        let mut bytes = Self::new();
        if capacity != 0 {
            bytes.reallocate(capacity);
        }
        bytes
    }

    /// The parts one after the other, in the smallest block they fit.
    pub fn from_parts(parts: &[&[u8]]) -> Self {
        let mut bytes = Self::with_capacity(parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        bytes
    }

    #[inline]
    pub fn capacity(&self) -> usize {
        // SAFETY: `header` points to a header (invariant).
        unsafe { (*self.header.as_ptr()).capacity as usize }
    }

    /// What the block takes, which is all that the allocator gave; nothing if there is none.
    #[inline]
    pub fn memory_bytes(&self) -> usize {
        match self.capacity() {
            0 => 0,
            capacity => HEADER_BYTES + capacity,
        }
    }

    pub fn push(&mut self, byte: u8) {
        self.extend_from_slice(&[byte]);
    }

    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let len = self.len();
        self.splice(len..len, &[bytes]);
    }

    pub fn insert(&mut self, at: usize, bytes: &[u8]) {
        self.splice(at..at, &[bytes]);
    }

    /// # Panics
    /// When the range is not within the bytes.
    pub fn remove(&mut self, range: Range<usize>) {
        self.splice(range, &[]);
    }

    /// Puts the parts, one after the other, in the place of a range.
    ///
    /// # Panics
    /// When the range is not within the bytes, or the result would pass 4 GiB.
    pub fn splice(&mut self, range: Range<usize>, parts: &[&[u8]]) {
        let len = self.len();
        assert!(range.start <= range.end && range.end <= len, "a range outside the bytes");
        let added: usize = parts.iter().map(|part| part.len()).sum();
        let new_len = len - range.len() + added;
        self.reserve(new_len);
        if new_len == 0 {
            self.set_len(0);
            return;
        }
        let tail = len - range.end;
        // SAFETY: `reserve` made room for `new_len = start + added + tail` bytes, so both the
        // moved tail and the parts lie within the block. The parts are borrowed from elsewhere:
        // `self` is borrowed mutably. After the copies the first `new_len` bytes are initialised.
        unsafe {
            let start = self.data().add(range.start);
            start.add(range.len()).copy_to(start.add(added), tail);
            let mut to = start;
            for part in parts {
                to.copy_from_nonoverlapping(part.as_ptr(), part.len());
                to = to.add(part.len());
            }
        }
        self.set_len(new_len);
    }

    /// Appends zeros up to a length, or cuts to it.
    pub fn resize(&mut self, len: usize) {
        const ZEROS: [u8; 256] = [0; 256];
        self.reserve(len);
        while self.len() < len {
            let missing = len - self.len();
            self.extend_from_slice(&ZEROS[..missing.min(ZEROS.len())]);
        }
        self.truncate(len);
    }

    pub fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.set_len(len);
        }
    }

    /// Makes room for `capacity` bytes in all, and for amortised growth.
    #[inline]
    pub fn reserve(&mut self, capacity: usize) {
        if capacity > self.capacity() {
            let slack = if capacity > GROW_BY_CLASS_MAX { capacity / 4 } else { 0 };
            self.reallocate(capacity + slack);
        }
    }

    /// Gives back what the bytes do not need.
    pub fn shrink_to_fit(&mut self) {
        let len = self.len();
        if len == 0 {
            *self = Self::new();
        } else if alloc_size(HEADER_BYTES + len) < HEADER_BYTES + self.capacity() {
            self.reallocate(len);
        }
    }

    /// Gives memory back when less than half the block is in use.
    pub fn shrink_if_sparse(&mut self) {
        if self.capacity() > 32 && self.len() < self.capacity() / 2 {
            self.shrink_to_fit();
        }
    }

    /// The pointer, for a tagged slot. Its low three bits are zero.
    pub(super) fn into_raw(self) -> NonNull<u8> {
        let header = self.header;
        std::mem::forget(self);
        header.cast()
    }

    /// # Safety
    /// `raw` came from `into_raw` and is used as an owner once.
    pub(super) unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        Self { header: raw.cast() }
    }

    /// # Safety
    /// `raw` came from `into_raw`, and nothing changes or frees it during `'a`.
    pub(super) unsafe fn slice_from_raw<'a>(raw: NonNull<u8>) -> &'a [u8] {
        let header = raw.cast::<Header>();
        // SAFETY: the caller vouches for the pointer and its lifetime; the length says how many
        // bytes after the header are initialised (invariant).
        unsafe {
            let len = (*header.as_ptr()).len as usize;
            std::slice::from_raw_parts(header.as_ptr().add(1).cast(), len)
        }
    }

    #[inline]
    fn data(&self) -> *mut u8 {
        // SAFETY: the header is followed by the bytes, or is `EMPTY` and the result its end.
        unsafe { self.header.as_ptr().add(1).cast() }
    }

    #[inline]
    fn set_len(&mut self, len: usize) {
        assert!(len <= self.capacity());
        if self.capacity() != 0 {
            // SAFETY: the header is ours to write, since the capacity is not 0 (invariant).
            unsafe { (*self.header.as_ptr()).len = len as u32 };
        }
    }

    fn layout(capacity: usize) -> Layout {
        Layout::from_size_align(HEADER_BYTES + capacity, align_of::<Header>())
            .expect("a capacity of 32 bits makes a valid layout")
    }

    /// Moves to a block of at least `capacity` bytes, not 0 and not below the length.
    #[cold]
    fn reallocate(&mut self, capacity: usize) {
        let capacity = alloc_size(HEADER_BYTES + capacity) - HEADER_BYTES;
        let stored = u32::try_from(capacity).expect("a byte string stays below 4 GiB");
        assert!(capacity >= self.len().max(1));
        let layout = Self::layout(capacity);
        let old = self.capacity();
        // SAFETY: the layouts are not empty; the old block is ours and was made with the layout
        // of its capacity. A new block gets its whole header; a moved one keeps its length and
        // its bytes, since `capacity` is no less than the length.
        unsafe {
            let block = match old {
                0 => alloc(layout),
                _ => realloc(self.header.as_ptr().cast(), Self::layout(old), layout.size()),
            };
            let Some(header) = NonNull::new(block.cast::<Header>()) else {
                handle_alloc_error(layout)
            };
            if old == 0 {
                header.write(Header { len: 0, capacity: stored });
            } else {
                (*header.as_ptr()).capacity = stored;
            }
            self.header = header;
        }
    }
}

impl Deref for ThinBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the pointer is this value's own, borrowed for as long as the result lives.
        unsafe { Self::slice_from_raw(self.header.cast()) }
    }
}

impl DerefMut for ThinBytes {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let len = self.len();
        // SAFETY: `len` bytes are initialised and ours alone; of `EMPTY` it is the empty slice.
        unsafe { std::slice::from_raw_parts_mut(self.data(), len) }
    }
}

impl Drop for ThinBytes {
    fn drop(&mut self) {
        let capacity = self.capacity();
        if capacity != 0 {
            // SAFETY: the block is ours and was made with the layout of its capacity.
            unsafe { dealloc(self.header.as_ptr().cast(), Self::layout(capacity)) };
        }
    }
}

impl Default for ThinBytes {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for ThinBytes {
    fn clone(&self) -> Self {
        Self::from(&**self)
    }
}

impl From<&[u8]> for ThinBytes {
    fn from(bytes: &[u8]) -> Self {
        Self::from_parts(&[bytes])
    }
}

impl PartialEq for ThinBytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for ThinBytes {}

impl fmt::Debug for ThinBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ThinBytes({:?})", String::from_utf8_lossy(self))
    }
}

/// An owned `T` behind a raw pointer. Unlike `Box` it makes no claim to be the only pointer while
/// it is moved, so a tagged slot may hand out views of it.
pub struct ThinBox<T> {
    target: NonNull<T>,
    owns: PhantomData<T>,
}

// SAFETY: it owns its target alone, as `Box` does.
unsafe impl<T: Send> Send for ThinBox<T> {}
// SAFETY: a shared one gives out shared references only.
unsafe impl<T: Sync> Sync for ThinBox<T> {}

impl<T> ThinBox<T> {
    pub fn new(target: T) -> Self {
        const { assert!(align_of::<T>() >= 8, "the low three bits of the pointer hold a tag") };
        let target = NonNull::from(Box::leak(Box::new(target)));
        Self { target, owns: PhantomData }
    }

    pub fn into_inner(self) -> T {
        let raw = self.into_raw().cast();
        // SAFETY: the pointer came from a box and is given back to one, once.
        *unsafe { Box::from_raw(raw.as_ptr()) }
    }

    pub(super) fn into_raw(self) -> NonNull<u8> {
        let target = self.target;
        std::mem::forget(self);
        target.cast()
    }

    /// # Safety
    /// `raw` came from `into_raw` of the same type and is used as an owner once.
    pub(super) unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        Self { target: raw.cast(), owns: PhantomData }
    }
}

impl<T> Deref for ThinBox<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: it owns a valid target, borrowed as long as `self` is.
        unsafe { self.target.as_ref() }
    }
}

impl<T> DerefMut for ThinBox<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: it owns a valid target, borrowed alone as long as `self` is.
        unsafe { self.target.as_mut() }
    }
}

impl<T> Drop for ThinBox<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from a box and is given back once.
        drop(unsafe { Box::from_raw(self.target.as_ptr()) });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size_of::<Option<ThinBytes>>(), 8);
        assert_eq!(size_of::<Option<ThinBox<u64>>>(), 8);
        assert_eq!(ThinBytes::new().memory_bytes(), 0);
        assert_eq!(ThinBytes::from(&[0; 16][..]).memory_bytes(), 24);
        assert_eq!(ThinBytes::from(&[0; 24][..]).memory_bytes(), 32);
        assert_eq!(ThinBytes::from(&[0; 25][..]).memory_bytes(), 40);
    }

    #[test]
    fn a_block_takes_all_that_was_given() {
        let mut bytes = ThinBytes::new();
        for len in 1..5000 {
            bytes.resize(len);
            let exact = ThinBytes::from(&bytes[..]);
            for bytes in [&bytes, &exact] {
                assert_eq!(bytes.memory_bytes(), alloc_size(HEADER_BYTES + bytes.capacity()));
            }
            assert_eq!(exact.memory_bytes(), alloc_size(HEADER_BYTES + len));
        }
    }

    #[test]
    fn an_empty_one_needs_no_block() {
        let mut bytes = ThinBytes::new();
        bytes.extend_from_slice(b"");
        bytes.truncate(0);
        bytes.remove(0..0);
        bytes.shrink_to_fit();
        assert_eq!(bytes.capacity(), 0);
        assert_eq!(&mut *bytes, b"");
        assert_eq!(bytes.clone(), bytes);
    }

    #[test]
    fn a_box_gives_back_what_it_took() {
        let mut boxed = ThinBox::new(vec![1_u64, 2]);
        boxed.push(3);
        assert_eq!(boxed.len(), 3);
        assert_eq!(boxed.into_inner(), [1, 2, 3]);
        drop(ThinBox::new(String::from("dropped")));
    }

    proptest! {
        #[test]
        fn agrees_with_a_vector(
            edits in prop::collection::vec((any::<u16>(), any::<u16>(), 0..90_usize, 0..6), 0..60)
        ) {
            let mut bytes = ThinBytes::new();
            let mut model: Vec<u8> = Vec::new();
            for (a, b, len, kind) in edits {
                let (a, b) = (a as usize % (model.len() + 1), b as usize % (model.len() + 1));
                let range = a.min(b)..a.max(b);
                let new: Vec<u8> = (0..len).map(|n| (n + a) as u8).collect();
                match kind {
                    0 => {
                        bytes.extend_from_slice(&new);
                        model.extend_from_slice(&new);
                    }
                    1 => {
                        bytes.splice(range.clone(), &[&new[..len / 2], &new[len / 2..]]);
                        model.splice(range, new);
                    }
                    2 => {
                        bytes.remove(range.clone());
                        model.drain(range);
                        bytes.shrink_if_sparse();
                    }
                    3 => {
                        bytes.resize(len * 7);
                        model.resize(len * 7, 0);
                    }
                    4 => {
                        bytes.truncate(a);
                        model.truncate(a);
                        bytes.shrink_to_fit();
                    }
                    _ => {
                        bytes.insert(a, &new);
                        model.splice(a..a, new);
                        bytes.push(7);
                        model.push(7);
                    }
                }
                prop_assert_eq!(&bytes[..], &model[..]);
                prop_assert!(bytes.capacity() >= bytes.len());
            }
            prop_assert_eq!(&bytes.clone()[..], &model[..]);
        }
    }
}
