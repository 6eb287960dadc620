//! Which entries a segment holds, to know when it is needed no more: once a checkpoint of every
//! shard with entries in it has them.

use crate::ids::{Index, ShardId};

/// A segment and the last index of each shard in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentUse {
    pub number: u64,
    pub size_bytes: u64,
    pub lasts: Vec<(ShardId, Index)>,
}

impl SegmentUse {
    pub fn new(number: u64, size_bytes: u64) -> SegmentUse {
        SegmentUse { number, size_bytes, lasts: Vec::new() }
    }

    /// Whether `covered` gives, for every shard in it, an index at or past its last.
    pub fn is_covered(&self, covered: &dyn Fn(ShardId) -> Index) -> bool {
        self.lasts.iter().all(|(shard, last)| covered(*shard) >= *last)
    }
}

/// Notes an entry, or a part of one.
pub fn note(lasts: &mut Vec<(ShardId, Index)>, shard: ShardId, index: Index) {
    match lasts.iter_mut().find(|(known, _)| *known == shard) {
        Some((_, last)) => *last = index.max(*last),
        None => lasts.push((shard, index)),
    }
}
