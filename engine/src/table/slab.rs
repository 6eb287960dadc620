//! A vector in pages: it grows without ever copying what it holds.

use std::ops::{Index, IndexMut};

use super::alloc_size;
use super::prefetch::prefetch_line;

const PAGE_BITS: usize = 8;
const PAGE_LEN: usize = 1 << PAGE_BITS;

pub(super) struct Slab<T> {
    pages: Vec<Vec<T>>,
}

impl<T> Slab<T> {
    pub(super) fn with_one(first: T) -> Self {
        Self { pages: vec![vec![first]] }
    }

    pub(super) fn len(&self) -> usize {
        self.pages.last().map_or(0, |last| (self.pages.len() - 1) * PAGE_LEN + last.len())
    }

    /// Brings the lines of an item into the nearest cache.
    #[inline]
    pub(super) fn prefetch(&self, index: usize) {
        let page = &self.pages[index >> PAGE_BITS];
        let item = page.as_ptr().wrapping_add(index % PAGE_LEN);
        prefetch_line(item);
        prefetch_line(item.cast::<u8>().wrapping_add(size_of::<T>() - 1));
    }

    pub(super) fn push(&mut self, item: T) {
        match self.pages.last_mut() {
            Some(last) if last.len() < PAGE_LEN => last.push(item),
            _ => {
                let mut page = Vec::with_capacity(PAGE_LEN);
                page.push(item);
                self.pages.push(page);
            }
        }
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let last = self.pages.last_mut()?;
        let item = last.pop();
        if last.is_empty() {
            self.pages.pop();
        }
        item
    }

    /// Removes an item and puts the last one in its place.
    pub(super) fn swap_remove(&mut self, index: usize) -> T {
        let last = self.pop().expect("the caller's index is of an item");
        if index == self.len() { last } else { std::mem::replace(&mut self[index], last) }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flatten()
    }

    /// What the pages take. Every page has room for `PAGE_LEN` but the first, which grows to it.
    pub(super) fn memory_bytes(&self) -> usize {
        let first = self.pages.first().map_or(0, Vec::capacity) * size_of::<T>();
        let others = self.pages.len().saturating_sub(1) * alloc_size(PAGE_LEN * size_of::<T>());
        let list = self.pages.capacity() * size_of::<Vec<T>>();
        alloc_size(first) + others + alloc_size(list)
    }
}

impl<T> Index<usize> for Slab<T> {
    type Output = T;

    #[inline]
    fn index(&self, index: usize) -> &T {
        &self.pages[index >> PAGE_BITS][index % PAGE_LEN]
    }
}

impl<T> IndexMut<usize> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, index: usize) -> &mut T {
        &mut self.pages[index >> PAGE_BITS][index % PAGE_LEN]
    }
}
