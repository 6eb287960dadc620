//! Mutators of sorted sets.

use crate::effect::Kind;
use crate::value::ZSet;

use super::entry::{Value, ValueMut};
use super::update::{Collection, Update};

impl Collection for ZSet {
    fn empty() -> Value {
        Value::ZSet(ZSet::new())
    }

    fn of(value: ValueMut<'_>) -> Option<&mut ZSet> {
        match value {
            ValueMut::ZSet(zset) => Some(zset),
            _ => None,
        }
    }

    fn len(&self) -> usize {
        ZSet::len(self)
    }

    fn memory_bytes(&self) -> usize {
        ZSet::memory_bytes(self)
    }
}

impl Update<'_, ZSet> {
    /// Takes the form that Redis gives a sorted set to which one command adds so many members;
    /// `first` counts where it is new.
    pub fn expect(&mut self, first: &[u8], len: usize) {
        let member_len = if self.value.is_empty() { first.len() } else { 0 };
        self.value.expect(len, member_len, self.limits, self.hasher);
    }

    /// Gives a member this score, adding it where absent. The score is not NaN.
    pub fn put(&mut self, member: &[u8], score: f64) {
        assert!(!score.is_nan(), "a score is never NaN");
        self.value.set(member, score, self.limits, self.hasher);
        // The packed form keeps no -0.
        let score = if score == 0.0 { self.value.score(member).unwrap_or(0.0) } else { score };
        self.emit(Kind::SortedSetAdd, |a| a.f64(score).bytes(member));
    }

    /// Removes a member. Returns whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        let removed = self.value.remove(member).is_some();
        if removed {
            self.emit(Kind::SortedSetRemove, |a| a.bytes(member));
        }
        removed
    }
}
