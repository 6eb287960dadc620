//! Mutators of sets.

use crate::effect::Kind;
use crate::value::Set;

use super::entry::{Value, ValueMut};
use super::update::{Collection, Update};

impl Collection for Set {
    fn empty() -> Value {
        Value::Set(Set::new())
    }

    fn of(value: ValueMut<'_>) -> Option<&mut Set> {
        match value {
            ValueMut::Set(set) => Some(set),
            _ => None,
        }
    }

    fn len(&self) -> usize {
        Set::len(self)
    }

    fn memory_bytes(&self) -> usize {
        Set::memory_bytes(self)
    }
}

impl Update<'_, Set> {
    /// Takes the form that Redis gives a set to which a command is about to add `count` members,
    /// `first` among them, new or not. It holds what it held: no effect is left.
    pub fn expect(&mut self, first: &[u8], count: usize) {
        if self.value.is_empty() {
            *self.value = Set::for_len(first, count, self.limits, self.hasher);
        } else {
            self.value.expect_len(count, self.limits, self.hasher);
        }
    }

    /// Takes the smallest form that does for the members, if it is a large one now.
    pub fn repack(&mut self) {
        self.value.repack(self.limits, self.hasher);
    }

    /// Adds a member. Returns whether it is new.
    pub fn add(&mut self, member: &[u8]) -> bool {
        let added = self.value.add(member, self.limits, self.hasher);
        if added {
            self.emit(Kind::SetAdd, |a| a.bytes(member));
        }
        added
    }

    /// Removes a member. Returns whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        let removed = self.value.remove(member);
        if removed {
            self.emit(Kind::SetRemove, |a| a.bytes(member));
        }
        removed
    }
}
