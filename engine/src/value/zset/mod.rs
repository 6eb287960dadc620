//! Sorted sets: packed in order while small, then a table of members beside a counted tree.
//!
//! Everything by order goes through ranks: `ranks_by_score` and `ranks_by_lex` turn bounds into a
//! range of ranks (its length is ZCOUNT's answer), `range` walks one both ways, `remove_range`
//! removes one.
//!
//! Invariant: a score is never NaN.
//! Invariant: table and tree hold handles to the same members.
//!
//! # Layout
//! this file: the value and its encodings · `bounds` of ranges · `small` the packed form ·
//! `large` table and tree · `tree` · `member` ·
//! `gathered` made from members in any order

mod bounds;
mod gathered;
mod large;
mod member;
mod small;
#[cfg(test)]
mod tests;
mod tree;

use std::fmt;
use std::ops::{Bound, Range};

pub use bounds::LexBound;
pub use gathered::Gathered;

use super::compact::{Compact, Form, Never};
use super::limits::EncodingLimits;
use super::packed::Packed;
use super::pick;
use super::thin::ThinBox;
use super::walk::Piece;
use crate::hash::Hasher64;
use large::Large;

type Repr = Compact<Packed, ThinBox<Large>, Never>;

/// A sorted set value.
pub struct ZSet {
    repr: Repr,
}

/// An end of the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Min,
    Max,
}

impl ZSet {
    /// An empty sorted set; the keyspace keeps none that stays so.
    pub fn new() -> Self {
        Self { repr: Repr::new(Form::A(Packed::new())) }
    }

    pub fn len(&self) -> usize {
        match self.repr.get() {
            Form::A(packed) => packed.len() / 2,
            Form::B(large) => large.len(),
            Form::C(never) => match never {},
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// OBJECT ENCODING's word.
    pub fn encoding(&self) -> &'static str {
        match self.repr.get() {
            Form::A(_) => "listpack",
            Form::B(_) => "skiplist",
            Form::C(never) => match never {},
        }
    }

    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self.repr.get() {
            Form::A(packed) => small::find(packed, member).map(|(_, score)| score),
            Form::B(large) => large.score(member),
            Form::C(never) => match never {},
        }
    }

    /// Goes over to the large form when so many members, the longest of so many bytes, would pass
    /// the thresholds, as Redis does before it adds those of one command.
    pub fn expect(
        &mut self,
        len: usize,
        member_len_max: usize,
        limits: &EncodingLimits,
        hasher: &Hasher64,
    ) {
        if len > limits.zset_max_listpack_entries || member_len_max > limits.zset_max_listpack_value
        {
            self.convert(hasher);
        }
    }

    /// Adds a member or changes its score; returns the old score. `hasher` is for the table, once
    /// there is one.
    ///
    /// # Panics
    /// When the score is NaN: commands refuse it before.
    pub fn set(
        &mut self,
        member: &[u8],
        score: f64,
        limits: &EncodingLimits,
        hasher: &Hasher64,
    ) -> Option<f64> {
        assert!(!score.is_nan(), "a score is a number");
        if let Form::A(packed) = self.repr.get()
            && small::find(packed, member).is_none()
        {
            self.expect(packed.len() / 2 + 1, member.len(), limits, hasher);
        }
        match self.repr.get_mut() {
            Form::A(mut packed) => small::set(&mut packed, member, score),
            Form::B(mut large) => large.set(member, score),
            Form::C(_) => unreachable!("a sorted set has two forms"),
        }
    }

    /// Removes a member; returns its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match self.repr.get_mut() {
            Form::A(mut packed) => {
                let (position, score) = small::find(packed.view(), member)?;
                packed.delete_at(position, 2);
                Some(score)
            }
            Form::B(mut large) => large.remove(member),
            Form::C(_) => unreachable!("a sorted set has two forms"),
        }
    }

    /// The place in ascending order, from 0. Descending it is `len - 1 - rank`.
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        match self.repr.get() {
            Form::A(packed) => packed.pairs().position(|(other, _)| other == member),
            Form::B(large) => large.rank(member),
            Form::C(never) => match never {},
        }
    }

    /// The ranks of the members whose scores lie between two bounds.
    pub fn ranks_by_score(&self, min: Bound<f64>, max: Bound<f64>) -> Range<usize> {
        let start = self.count_while(|score| bounds::is_below(score, min));
        let end = self.count_while(|score| !bounds::is_above(score, max));
        start..end.max(start)
    }

    /// The ranks of the members that lie between two bounds, where all have the same score. Where
    /// they have not, the range is some range, as in Redis.
    pub fn ranks_by_lex(&self, min: LexBound<'_>, max: LexBound<'_>) -> Range<usize> {
        let (start, end) = match self.repr.get() {
            Form::A(packed) => {
                let members = packed.pairs().map(|(member, _)| member);
                let start = members.clone().take_while(|&member| min.is_above(member)).count();
                (start, members.take_while(|&member| !max.is_below(member)).count())
            }
            Form::B(large) => {
                let start = large.tree().partition(|item| min.is_above(item.bytes()));
                (start, large.tree().partition(|item| !max.is_below(item.bytes())))
            }
            Form::C(never) => match never {},
        };
        start..end.max(start)
    }

    /// Members and scores of a range of ranks, ascending; `rev` for the other way.
    pub fn range(&self, ranks: Range<usize>) -> impl DoubleEndedIterator<Item = (&[u8], f64)> {
        let (packed, tree) = match self.repr.get() {
            Form::A(packed) => (Some(small::range(packed, ranks)), None),
            Form::B(large) => (None, Some(large.tree().range(ranks))),
            Form::C(never) => match never {},
        };
        let tree = tree.into_iter().flatten().map(|item| (item.bytes(), item.score()));
        packed.into_iter().flatten().chain(tree)
    }

    /// All, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], f64)> {
        self.range(0..usize::MAX)
    }

    /// Removes the members of a range of ranks (cut to those there are) and calls `removed` with
    /// each; says how many there were.
    pub fn remove_range(
        &mut self,
        ranks: Range<usize>,
        mut removed: impl FnMut(&[u8], f64),
    ) -> usize {
        let ranks = ranks.start..ranks.end.min(self.len());
        if ranks.is_empty() {
            return 0;
        }
        match self.repr.get_mut() {
            Form::A(mut packed) => {
                small::range(packed.view(), ranks.clone()).for_each(|(m, score)| removed(m, score));
                packed.delete(2 * ranks.start, 2 * ranks.len());
            }
            Form::B(mut large) => {
                for _ in ranks.clone() {
                    large.remove_at(ranks.start, &mut removed);
                }
            }
            Form::C(_) => unreachable!("a sorted set has two forms"),
        }
        ranks.len()
    }

    /// Removes and returns the member at an end.
    pub fn pop(&mut self, side: Side) -> Option<(Vec<u8>, f64)> {
        let last = self.len().checked_sub(1)?;
        let rank = if side == Side::Min { 0 } else { last };
        let mut popped = None;
        self.remove_range(rank..rank + 1, |member, score| popped = Some((member.to_vec(), score)));
        popped
    }

    /// A member and its score, chosen by random bits.
    pub fn random(&self, random: u64) -> Option<(&[u8], f64)> {
        let rank = pick(random, self.len());
        self.range(rank..rank + 1).next()
    }

    /// ZSCAN: visits some members from a cursor on and returns the next, 0 at the end. The packed
    /// form is visited whole.
    pub fn scan(&self, cursor: u64, at_least: usize, mut visit: impl FnMut(&[u8], f64)) -> u64 {
        match self.repr.get() {
            Form::A(_) => {
                self.iter().for_each(|(member, score)| visit(member, score));
                0
            }
            Form::B(large) => large.scan(cursor, at_least, visit),
            Form::C(never) => match never {},
        }
    }

    /// What the sorted set's allocations take.
    pub fn memory_bytes(&self) -> usize {
        let inner = match self.repr.get() {
            Form::A(_) => 0,
            Form::B(large) => large.memory_bytes(),
            Form::C(never) => match never {},
        };
        self.repr.block_bytes() + inner
    }

    /// Frees some `max` members of a large set that nobody will use again; true when none is left.
    pub fn drain_slice(&mut self, max: usize) -> bool {
        if let Form::B(mut large) = self.repr.get_mut() {
            return large.drain_slice(max);
        }
        *self = Self::new();
        true
    }

    /// What [`ZSet::drain_slice`] has yet to free.
    pub fn undrained(&self) -> usize {
        match self.repr.get() {
            Form::B(large) => large.undrained(),
            Form::A(_) | Form::C(_) => self.len(),
        }
    }

    /// Begins a walk over the members as they are now; false, without one, in the packed form.
    pub fn begin_walk(&mut self) -> bool {
        if let Form::B(mut large) = self.repr.get_mut() {
            large.begin_walk();
            return true;
        }
        false
    }

    /// The next piece of the walk under way, in no order; `None` when all were given.
    pub fn next_piece(&mut self) -> Option<Piece> {
        match self.repr.get_mut() {
            Form::B(mut large) => large.next_piece(),
            _ => None,
        }
    }

    pub fn end_walk(&mut self) {
        if let Form::B(mut large) = self.repr.get_mut() {
            large.end_walk();
        }
    }

    /// The number of members from the first on whose scores satisfy a condition.
    fn count_while(&self, mut condition: impl FnMut(f64) -> bool) -> usize {
        match self.repr.get() {
            Form::A(_) => self.iter().take_while(|&(_, score)| condition(score)).count(),
            Form::B(large) => large.tree().partition(|item| condition(item.score())),
            Form::C(never) => match never {},
        }
    }

    fn convert(&mut self, hasher: &Hasher64) {
        let Form::A(packed) = self.repr.get() else { return };
        let mut large = Large::new(hasher);
        for (member, score) in small::range(packed, 0..usize::MAX) {
            large.set(member, score);
        }
        self.repr.replace(Form::B(ThinBox::new(large)));
    }
}

impl Default for ZSet {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for ZSet {
    fn clone(&self) -> Self {
        let form = match self.repr.get() {
            Form::A(packed) => Form::A(packed.to_packed()),
            Form::B(large) => Form::B(ThinBox::new(large.copy())),
            Form::C(never) => match never {},
        };
        Self { repr: Repr::new(form) }
    }
}

/// Equal members and scores, whatever the encodings.
impl PartialEq for ZSet {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl fmt::Debug for ZSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
