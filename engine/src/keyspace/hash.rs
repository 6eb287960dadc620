//! Mutators of hashes.

use crate::effect::Kind;
use crate::value::Hash;

use super::entry::{Value, ValueMut};
use super::update::{Collection, Update};

impl Collection for Hash {
    fn empty() -> Value {
        Value::Hash(Hash::new())
    }

    fn of(value: ValueMut<'_>) -> Option<&mut Hash> {
        match value {
            ValueMut::Hash(hash) => Some(hash),
            _ => None,
        }
    }

    fn len(&self) -> usize {
        Hash::len(self)
    }

    fn memory_bytes(&self) -> usize {
        Hash::memory_bytes(self)
    }
}

impl Update<'_, Hash> {
    /// Takes the form that Redis gives a hash of which a command is about to set `count` fields,
    /// new or not. It holds what it held: no effect is left.
    pub fn expect(&mut self, count: usize) {
        self.value.expect(count, self.limits, self.hasher);
    }

    /// Sets a field. Returns whether it is new.
    pub fn set(&mut self, field: &[u8], value: &[u8]) -> bool {
        let created = self.value.set(field, value, self.limits, self.hasher);
        self.emit(Kind::HashSet, |a| a.bytes(field).bytes(value));
        created
    }

    /// Deletes a field. Returns whether it was there.
    pub fn delete(&mut self, field: &[u8]) -> bool {
        let deleted = self.value.delete(field);
        if deleted {
            self.emit(Kind::HashDelete, |a| a.bytes(field));
        }
        deleted
    }
}
