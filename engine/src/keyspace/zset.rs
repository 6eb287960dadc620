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
}

impl Update<'_, ZSet> {
    /// Takes the form that Redis gives a sorted set to which a command is about to add `count`
    /// members, new or not. It holds what it held: no effect is left.
    pub fn expect(&mut self, count: usize) {
        self.value.expect(count, 0, self.limits, self.hasher);
    }

    /// Gives a member this score, adding it where absent. The score is not NaN.
    pub fn put(&mut self, member: &[u8], score: f64) {
        assert!(!score.is_nan(), "a score is never NaN");
        self.value.set(member, score, self.limits, self.hasher);
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
