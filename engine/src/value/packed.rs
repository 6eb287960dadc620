//! A packed array of byte strings in one allocation, like Redis's listpack: small collections and
//! the nodes of lists.
//!
//! ```text
//! [u32 count] entry ...
//! entry = length (1 byte, or 254 and 4 bytes) · data · back-length (1 byte, or 4 bytes and 254)
//! ```
//! The back-length is the size of length and data, so that the array is walked both ways. An
//! empty array has no bytes at all.
//!
//! A *position* is the offset of an entry. Every read is checked against the bytes: damage ends
//! in a panic, never in a read beyond them.

use super::thin::{HEADER_BYTES, ThinBytes};

const COUNT_BYTES: usize = 4;
/// Lengths from here on take five bytes; the mark itself.
const LONG: u8 = 254;

/// An owned packed array.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    bytes: ThinBytes,
}

/// A packed array as read.
#[derive(Clone, Copy, Debug)]
pub struct PackedRef<'a> {
    bytes: &'a [u8],
}

/// Entries of a packed array, from both ends.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    array: PackedRef<'a>,
    front: usize,
    /// The end of the last entry not yet given out.
    back: usize,
    left: usize,
}

impl<'a> PackedRef<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub fn len(self) -> usize {
        if self.bytes.is_empty() { 0 } else { read_u32(self.bytes, 0) }
    }

    pub fn is_empty(self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes of the entries, without the count.
    pub fn entry_bytes(self) -> usize {
        self.bytes.len().saturating_sub(COUNT_BYTES)
    }

    pub fn first(self) -> Option<usize> {
        (!self.is_empty()).then_some(COUNT_BYTES)
    }

    pub fn last(self) -> Option<usize> {
        self.prev(self.bytes.len())
    }

    /// The data of the entry at a position.
    #[inline]
    pub fn at(self, position: usize) -> &'a [u8] {
        let (start, len) = self.data(position);
        &self.bytes[start..start + len]
    }

    /// The position after an entry's; none at the end.
    #[inline]
    pub fn next(self, position: usize) -> Option<usize> {
        let next = self.end(position);
        (next < self.bytes.len()).then_some(next)
    }

    /// The position before another (or before the end).
    pub fn prev(self, position: usize) -> Option<usize> {
        if position <= COUNT_BYTES {
            return None;
        }
        let (size, end) = match self.bytes[position - 1] {
            LONG => (read_u32(self.bytes, position - 5), position - 5),
            size => (usize::from(size), position - 1),
        };
        assert!(size >= 1 && size + COUNT_BYTES <= end, "a damaged packed array");
        Some(end - size)
    }

    /// The position of an index, found from the nearer end.
    pub fn seek(self, index: usize) -> Option<usize> {
        let len = self.len();
        if index >= len {
            return None;
        }
        if index < len / 2 {
            (0..index).try_fold(COUNT_BYTES, |position, _| self.next(position))
        } else {
            (index..len).try_fold(self.bytes.len(), |position, _| self.prev(position))
        }
    }

    pub fn get(self, index: usize) -> Option<&'a [u8]> {
        self.seek(index).map(|position| self.at(position))
    }

    /// The position of the first entry equal to `wanted` among every `stride`-th from the first
    /// on: 1 for lists and sets, 2 for the fields of hashes.
    pub fn find(self, wanted: &[u8], stride: usize) -> Option<usize> {
        let mut position = COUNT_BYTES;
        while position < self.bytes.len() {
            let (start, len) = self.data(position);
            if len == wanted.len() && &self.bytes[start..start + len] == wanted {
                return Some(position);
            }
            position = start + len + back_bytes(start + len - position);
            for _ in 1..stride {
                position = self.end(position);
            }
        }
        None
    }

    pub fn iter(self) -> Iter<'a> {
        let end = self.bytes.len();
        Iter { array: self, front: COUNT_BYTES.min(end), back: end, left: self.len() }
    }

    /// Entries of a range of indices.
    pub fn iter_range(self, range: std::ops::Range<usize>) -> Iter<'a> {
        let len = self.len();
        let end = range.end.min(len);
        let Some(front) = self.seek(range.start).filter(|_| range.start < end) else {
            return Iter { array: self, front: 0, back: 0, left: 0 };
        };
        let back = self.seek(end).unwrap_or(self.bytes.len());
        Iter { array: self, front, back, left: end - range.start }
    }

    pub fn to_packed(self) -> Packed {
        Packed { bytes: ThinBytes::from(self.bytes) }
    }

    /// Entries in pairs: fields and values, members and scores.
    pub fn pairs(self) -> impl DoubleEndedIterator<Item = (&'a [u8], &'a [u8])> + Clone {
        Pairs { items: self.iter() }
    }

    /// Pairs of a range of indices of entries, both even.
    pub fn pairs_range(
        self,
        range: std::ops::Range<usize>,
    ) -> impl DoubleEndedIterator<Item = (&'a [u8], &'a [u8])> + Clone {
        Pairs { items: self.iter_range(range) }
    }

    /// Where the data begins, and how long it is.
    #[inline]
    fn data(self, position: usize) -> (usize, usize) {
        match self.bytes[position] {
            LONG => (position + 5, read_u32(self.bytes, position + 1)),
            len => (position + 1, usize::from(len)),
        }
    }

    #[inline]
    fn end(self, position: usize) -> usize {
        let (start, len) = self.data(position);
        start + len + back_bytes(start + len - position)
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let item = self.array.at(self.front);
        self.front = self.array.end(self.front);
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        self.back = self.array.prev(self.back)?;
        Some(self.array.at(self.back))
    }
}

impl ExactSizeIterator for Iter<'_> {}

#[derive(Clone)]
struct Pairs<'a> {
    items: Iter<'a>,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.items.next()?, self.items.next()?))
    }
}

impl DoubleEndedIterator for Pairs<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let second = self.items.next_back()?;
        Some((self.items.next_back()?, second))
    }
}

impl Packed {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn view(&self) -> PackedRef<'_> {
        PackedRef::new(&self.bytes)
    }

    pub fn len(&self) -> usize {
        self.view().len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn memory_bytes(&self) -> usize {
        self.bytes.memory_bytes()
    }

    pub fn push_back(&mut self, data: &[u8]) {
        self.insert_at(usize::MAX, data);
    }

    /// Makes room for one more entry by doubling the block, up to `block_bytes_max`: for an array
    /// that is likely to go on growing until then. Each size that a growing array passes through
    /// costs a copy, and the allocator a page of blocks of that size.
    pub fn make_room(&mut self, item_len: usize, block_bytes_max: usize) {
        let needed = self.bytes.len() + packed_bytes(item_len);
        let capacity = self.bytes.capacity();
        if needed > capacity {
            let doubled = (2 * capacity).min(block_bytes_max.saturating_sub(HEADER_BYTES));
            self.bytes.reserve(needed.max(doubled));
        }
    }

    pub fn push_front(&mut self, data: &[u8]) {
        self.insert_at(COUNT_BYTES, data);
    }

    /// Puts an entry before the one at `position`, which may be the end (`usize::MAX`).
    pub fn insert_at(&mut self, position: usize, data: &[u8]) {
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(&[0; COUNT_BYTES]);
        }
        let position = position.min(self.bytes.len());
        self.splice(position, position, Some(data));
        self.set_len(self.len() + 1);
    }

    /// Puts an entry before the one of an index, or at the end.
    pub fn insert(&mut self, index: usize, data: &[u8]) {
        let position = self.view().seek(index).unwrap_or(usize::MAX);
        self.insert_at(position, data);
    }

    /// Changes the data of the entry at a position.
    pub fn replace_at(&mut self, position: usize, data: &[u8]) {
        let (start, len) = self.view().data(position);
        if len == data.len() {
            self.bytes[start..start + len].copy_from_slice(data);
        } else {
            let end = self.view().end(position);
            self.splice(position, end, Some(data));
            self.bytes.shrink_if_sparse();
        }
    }

    /// Deletes up to `count` entries from a position on; says how many there were.
    pub fn delete_at(&mut self, position: usize, count: usize) -> usize {
        let mut end = position;
        let mut deleted = 0;
        while deleted < count && end < self.bytes.len() {
            end = self.view().end(end);
            deleted += 1;
        }
        let left = self.len() - deleted;
        if left == 0 {
            *self = Self::new();
            return deleted;
        }
        self.splice(position, end, None);
        self.set_len(left);
        self.bytes.shrink_if_sparse();
        deleted
    }

    /// Deletes up to `count` entries from an index on; says how many there were.
    pub fn delete(&mut self, index: usize, count: usize) -> usize {
        match self.view().seek(index) {
            Some(position) if count > 0 => self.delete_at(position, count),
            _ => 0,
        }
    }

    /// Takes the entries from an index on into another array.
    pub fn split_off(&mut self, index: usize) -> Self {
        let Some(position) = self.view().seek(index) else { return Self::new() };
        let moved = self.len() - index;
        let mut other = Self { bytes: ThinBytes::from_parts(&[&[0; COUNT_BYTES]]) };
        other.bytes.extend_from_slice(&self.bytes[position..]);
        other.set_len(moved);
        self.delete_at(position, moved);
        other
    }

    /// Adds the entries of another array at the end.
    pub fn append(&mut self, other: &Self) {
        if self.is_empty() {
            *self = other.clone();
        } else if !other.is_empty() {
            let len = self.len() + other.len();
            self.bytes.extend_from_slice(&other.bytes[COUNT_BYTES..]);
            self.set_len(len);
        }
    }

    pub fn shrink_to_fit(&mut self) {
        self.bytes.shrink_to_fit();
    }

    pub(super) fn into_thin(self) -> ThinBytes {
        self.bytes
    }

    pub(super) fn from_thin(bytes: ThinBytes) -> Self {
        Self { bytes }
    }

    fn set_len(&mut self, len: usize) {
        let len = u32::try_from(len).expect("4 GiB hold fewer entries than 32 bits count");
        self.bytes[..COUNT_BYTES].copy_from_slice(&len.to_le_bytes());
    }

    fn splice(&mut self, start: usize, end: usize, data: Option<&[u8]>) {
        let Some(data) = data else { return self.bytes.remove(start..end) };
        let mut length = [LONG; 5];
        length[1..].copy_from_slice(&u32_bytes(data.len()));
        let length_bytes = if data.len() < usize::from(LONG) {
            length[0] = data.len() as u8;
            1
        } else {
            5
        };
        let size = length_bytes + data.len();
        let mut back = [LONG; 5];
        back[..4].copy_from_slice(&u32_bytes(size));
        let back_bytes = back_bytes(size);
        self.bytes.splice(start..end, &[&length[..length_bytes], data, &back[..back_bytes]]);
    }
}

impl<'a> FromIterator<&'a [u8]> for Packed {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(items: I) -> Self {
        let mut packed = Self::new();
        items.into_iter().for_each(|item| packed.push_back(item));
        packed
    }
}

/// Bytes that an entry of so much data takes.
pub fn packed_bytes(data_len: usize) -> usize {
    let size = data_len + if data_len < usize::from(LONG) { 1 } else { 5 };
    size + back_bytes(size)
}

#[inline]
fn back_bytes(size: usize) -> usize {
    if size < usize::from(LONG) { 1 } else { 5 }
}

fn u32_bytes(number: usize) -> [u8; 4] {
    u32::try_from(number).expect("an entry stays below 4 GiB").to_le_bytes()
}

#[inline]
fn read_u32(bytes: &[u8], at: usize) -> usize {
    let word: [u8; 4] = bytes[at..at + 4].try_into().expect("the slice has four bytes");
    u32::from_le_bytes(word) as usize
}

#[cfg(test)]
mod tests;
