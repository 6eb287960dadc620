//! The packed form: member, score, member, score ... in order; a score is eight bytes, little
//! endian.

use std::ops::Range;

use super::super::packed::{Packed, PackedRef};

/// The position and score of a member.
pub(super) fn find(packed: PackedRef<'_>, member: &[u8]) -> Option<(usize, f64)> {
    let position = packed.find(member, 2)?;
    Some((position, score_at(packed, packed.next(position)?)))
}

/// Adds a member or moves it to its new place; returns the old score.
pub(super) fn set(packed: &mut Packed, member: &[u8], score: f64) -> Option<f64> {
    // Redis packs -0 as the integer 0.
    let score = if score == 0.0 { 0.0 } else { score };
    let old = find(packed.view(), member);
    if let Some((position, old)) = old {
        if old == score {
            return Some(old);
        }
        packed.delete_at(position, 2);
    }
    let place = place_for(packed.view(), member, score);
    packed.insert_at(place, &score.to_le_bytes());
    // Before the score that was just put there, or the last entry, if it went to the end.
    let place = if place == usize::MAX { packed.view().last() } else { Some(place) };
    packed.insert_at(place.unwrap_or(usize::MAX), member);
    old.map(|(_, old)| old)
}

/// Members and scores of a range of ranks.
pub(super) fn range(
    packed: PackedRef<'_>,
    ranks: Range<usize>,
) -> impl DoubleEndedIterator<Item = (&[u8], f64)> {
    let entries = ranks.start.saturating_mul(2)..ranks.end.saturating_mul(2);
    packed.pairs_range(entries).map(|(member, score)| (member, decode(score)))
}

/// The position of the first pair that comes after.
fn place_for(packed: PackedRef<'_>, member: &[u8], score: f64) -> usize {
    let mut position = packed.first();
    while let Some(at) = position {
        let Some(score_position) = packed.next(at) else { break };
        let other = score_at(packed, score_position);
        if other > score || (other == score && packed.at(at) > member) {
            return at;
        }
        position = packed.next(score_position);
    }
    usize::MAX
}

fn score_at(packed: PackedRef<'_>, position: usize) -> f64 {
    decode(packed.at(position))
}

fn decode(bytes: &[u8]) -> f64 {
    f64::from_le_bytes(bytes.try_into().expect("a score has eight bytes"))
}
