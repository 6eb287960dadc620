//! Bounds of ranges by score and by member.

use std::ops::Bound;

/// A bound of ZRANGEBYLEX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LexBound<'a> {
    /// `-`: before every member.
    Min,
    /// `+`: after every member.
    Max,
    /// `[member`.
    Included(&'a [u8]),
    /// `(member`.
    Excluded(&'a [u8]),
}

impl LexBound<'_> {
    /// As a lower bound: whether a member is too small.
    pub(super) fn is_above(self, member: &[u8]) -> bool {
        match self {
            LexBound::Min => false,
            LexBound::Max => true,
            LexBound::Included(bound) => member < bound,
            LexBound::Excluded(bound) => member <= bound,
        }
    }

    /// As an upper bound: whether a member is too great.
    pub(super) fn is_below(self, member: &[u8]) -> bool {
        match self {
            LexBound::Min => true,
            LexBound::Max => false,
            LexBound::Included(bound) => member > bound,
            LexBound::Excluded(bound) => member >= bound,
        }
    }
}

/// Whether a score is too small for a lower bound.
pub(super) fn is_below(score: f64, min: Bound<f64>) -> bool {
    match min {
        Bound::Included(min) => score < min,
        Bound::Excluded(min) => score <= min,
        Bound::Unbounded => false,
    }
}

/// Whether a score is too great for an upper bound.
pub(super) fn is_above(score: f64, max: Bound<f64>) -> bool {
    match max {
        Bound::Included(max) => score > max,
        Bound::Excluded(max) => score >= max,
        Bound::Unbounded => false,
    }
}
