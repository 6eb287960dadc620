//! Mutators of lists. Positions count from the front, from 0.

use crate::effect::Kind;
use crate::value::List;
use crate::value::list::End;

use super::entry::{Value, ValueMut};
use super::update::{Collection, Update};

impl Collection for List {
    fn empty() -> Value {
        Value::List(List::new())
    }

    fn of(value: ValueMut<'_>) -> Option<&mut List> {
        match value {
            ValueMut::List(list) => Some(list),
            _ => None,
        }
    }

    fn len(&self) -> usize {
        List::len(self)
    }

    fn memory_bytes(&self) -> usize {
        List::memory_bytes(self)
    }
}

impl Update<'_, List> {
    pub fn push_front(&mut self, element: &[u8]) {
        self.value.push(End::Head, element, self.limits);
        self.emit(Kind::ListPushFront, |a| a.bytes(element));
    }

    pub fn push_back(&mut self, element: &[u8]) {
        self.value.push(End::Tail, element, self.limits);
        self.emit(Kind::ListPushBack, |a| a.bytes(element));
    }

    /// Takes `count` elements off the front. Returns whether there were as many.
    pub fn drop_front(&mut self, count: usize) -> bool {
        if count == 0 || count > self.value.len() {
            return false;
        }
        self.value.delete(0..count, self.limits);
        self.emit(Kind::ListPopFront, |a| a.varint(count as u64));
        true
    }

    /// Takes `count` elements off the back. Returns whether there were as many.
    pub fn drop_back(&mut self, count: usize) -> bool {
        let len = self.value.len();
        if count == 0 || count > len {
            return false;
        }
        self.value.delete(len - count..len, self.limits);
        self.emit(Kind::ListPopBack, |a| a.varint(count as u64));
        true
    }

    /// Replaces an element. Returns whether there is one at `index`.
    pub fn set(&mut self, index: usize, element: &[u8]) -> bool {
        let there = index < self.value.len();
        if there {
            self.value.set(index as i64, element, self.limits);
            self.emit(Kind::ListSet, |a| a.varint(index as u64).bytes(element));
        }
        there
    }

    /// Puts an element in, so that it stands at `index`, at most the list's length.
    pub fn insert(&mut self, index: usize, element: &[u8]) -> bool {
        let fits = index <= self.value.len();
        if fits {
            self.value.insert(index, element, self.limits);
            self.emit(Kind::ListInsert, |a| a.varint(index as u64).bytes(element));
        }
        fits
    }

    /// Removes `count` elements from `index` on. Returns whether all of them were there.
    pub fn remove_range(&mut self, index: usize, count: usize) -> bool {
        let fits = index.checked_add(count).is_some_and(|end| end <= self.value.len());
        if fits && count > 0 {
            self.value.delete(index..index + count, self.limits);
            self.emit(Kind::ListRemove, |a| a.varint(index as u64).varint(count as u64));
        }
        fits
    }
}
