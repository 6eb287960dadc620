//! Random choices among a collection's elements, as HRANDFIELD, SRANDMEMBER and ZRANDMEMBER take
//! a count: distinct elements for a positive one, repeated ones for a negative one.

use std::collections::HashSet;
use std::hash::Hash;

use crate::error::CommandError;
use crate::rng::Rng;

use super::parse::integer;

/// Most elements of one reply with repetitions; their bytes stay in memory until they are sent.
const REPEATED_MAX: u64 = 1 << 24;

/// A count that has an opposite.
pub fn parse_count(text: &[u8]) -> Result<i64, CommandError> {
    match integer(text)? {
        i64::MIN => Err(CommandError::new(
            "ERR value is out of range, value must between -9223372036854775807 and \
             9223372036854775807",
        )),
        count => Ok(count),
    }
}

/// As many elements as the negative `count` says, each chosen among all.
pub fn repeated<T>(
    count: i64,
    rng: &mut Rng,
    choose: impl Fn(u64) -> Option<T>,
) -> Result<Vec<T>, CommandError> {
    let count = count.unsigned_abs();
    if count > REPEATED_MAX {
        return Err(CommandError::from_text(format!(
            "ERR value is out of range, at most {REPEATED_MAX} repeated elements, not {count}"
        )));
    }
    Ok((0..count).map_while(|_| choose(rng.next_u64())).collect())
}

/// `count` different elements of `len`, or all if there are not so many.
pub fn distinct<T: Clone + Eq + Hash>(
    count: i64,
    len: usize,
    rng: &mut Rng,
    all: impl Iterator<Item = T>,
    choose: impl Fn(u64) -> Option<T>,
) -> Vec<T> {
    let count = usize::try_from(count).unwrap_or(0).min(len);
    // Where few are left out, choosing again until one is new would take long.
    if count > len / 3 {
        let mut all: Vec<T> = all.collect();
        if count < all.len() {
            for at in 0..count {
                let other = at + rng.below((all.len() - at) as u64) as usize;
                all.swap(at, other);
            }
        }
        all.truncate(count);
        return all;
    }
    let (mut seen, mut chosen) = (HashSet::with_capacity(count), Vec::with_capacity(count));
    while chosen.len() < count {
        let Some(element) = choose(rng.next_u64()) else { break };
        if seen.insert(element.clone()) {
            chosen.push(element);
        }
    }
    chosen
}
