//! The values of keys: byte strings, hashes, sets, lists and sorted sets, each in eight bytes.
//!
//! They live on the core that owns the shard. No I/O, no clock, no randomness of their own: what
//! is random takes its bits as an argument. Encodings follow Redis 7.2 by name and threshold.
//!
//! # Layout
//! `limits` thresholds · `thin` owned pointers · `compact` one of three in a pointer ·
//! `packed` small arrays of byte strings · `intset` sorted integers · `hash` · `set` · `list` ·
//! `zset` sorted sets · `walk` of one as it was

pub mod compact;
pub mod hash;
pub mod intset;
pub mod limits;
pub mod list;
pub mod packed;
pub mod set;
pub mod thin;
pub mod walk;
pub mod zset;

pub use crate::table::alloc_size;
pub use hash::Hash;
pub use list::List;
pub use set::Set;
pub use zset::ZSet;

/// A number below `below` from random bits, as even as 64 bits allow.
pub(crate) fn pick(random: u64, below: usize) -> usize {
    ((u128::from(random) * below as u128) >> 64) as usize
}
