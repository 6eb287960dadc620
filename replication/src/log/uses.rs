//! Which entries a segment holds, to know when it is needed no more: once a checkpoint of every
//! shard with entries in it has them.

use crate::ids::{Index, ShardId};

use super::segment::field;

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

/// The payload of a release: the first segment that is still needed, and the last index of each
/// shard that was in one before.
pub fn encode_release(first: u64, released: &[(ShardId, Index)]) -> Vec<u8> {
    let mut payload = first.to_le_bytes().to_vec();
    for (shard, last) in released {
        payload.extend_from_slice(&shard.0.to_le_bytes());
        payload.extend_from_slice(&last.0.to_le_bytes());
    }
    payload
}

/// Reads what [`encode_release`] wrote.
pub fn decode_release(payload: &[u8]) -> Option<(u64, Vec<(ShardId, Index)>)> {
    let (first, released) = payload.split_at_checked(8)?;
    let one = |bytes: &[u8]| {
        let shard = ShardId(u16::from_le_bytes(field(bytes, 0)));
        (shard, Index(u64::from_le_bytes(field(bytes, 2))))
    };
    let whole = released.len().is_multiple_of(10);
    whole.then(|| {
        (u64::from_le_bytes(field(first, 0)), released.chunks_exact(10).map(one).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The layout of `FORMAT.md`, byte by byte.
    #[test]
    fn releases_are_read_back() {
        let released = vec![(ShardId(1), Index(0x0203)), (ShardId(4), Index(5))];
        let payload = encode_release(7, &released);
        let expected = b"\x07\0\0\0\0\0\0\0\x01\0\x03\x02\0\0\0\0\0\0\x04\0\x05\0\0\0\0\0\0\0";
        assert_eq!(payload, expected);
        assert_eq!(decode_release(&payload), Some((7, released)));
        assert_eq!(decode_release(&payload[..20]), None);
        assert_eq!(decode_release(&payload[..8]), Some((7, Vec::new())));
    }
}
