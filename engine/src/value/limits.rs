//! The sizes up to which a collection keeps its packed form, with Redis's names and defaults.

/// Redis 7.2's settings `hash-max-listpack-entries` and their like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodingLimits {
    pub hash_max_listpack_entries: usize,
    /// Longest field or value, in bytes.
    pub hash_max_listpack_value: usize,
    pub set_max_intset_entries: usize,
    pub set_max_listpack_entries: usize,
    pub set_max_listpack_value: usize,
    pub zset_max_listpack_entries: usize,
    pub zset_max_listpack_value: usize,
    /// Above 0: items a node. -1 to -5: 4, 8, 16, 32 or 64 KiB a node.
    pub list_max_listpack_size: i64,
    /// A list's item of so many bytes has a node of its own (DEBUG QUICKLIST-PACKED-THRESHOLD).
    pub list_packed_threshold_bytes: usize,
}

impl Default for EncodingLimits {
    fn default() -> Self {
        Self {
            hash_max_listpack_entries: 512,
            hash_max_listpack_value: 64,
            set_max_intset_entries: 512,
            set_max_listpack_entries: 128,
            set_max_listpack_value: 64,
            zset_max_listpack_entries: 128,
            zset_max_listpack_value: 64,
            list_max_listpack_size: -2,
            list_packed_threshold_bytes: LIST_PACKED_THRESHOLD_BYTES,
        }
    }
}

/// Redis's default: larger than any item can be by default.
pub const LIST_PACKED_THRESHOLD_BYTES: usize = 1 << 30;

/// A node limited by the number of its items holds no more bytes than this, as in Redis.
const NODE_BYTES_SAFETY_MAX: usize = 8192;

/// What a node of a list may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeLimit {
    pub(super) bytes_max: usize,
    pub(super) len_max: usize,
}

impl EncodingLimits {
    /// What a node may hold.
    pub(super) fn list_node(&self) -> NodeLimit {
        let limit = self.list_listpack();
        NodeLimit { bytes_max: limit.bytes_max.min(self.list_packed_threshold_bytes), ..limit }
    }

    /// What a list without nodes may hold.
    pub(super) fn list_listpack(&self) -> NodeLimit {
        match self.list_max_listpack_size {
            size @ 0.. => NodeLimit {
                bytes_max: NODE_BYTES_SAFETY_MAX,
                len_max: usize::try_from(size).unwrap_or(usize::MAX).max(1),
            },
            size => {
                let level = size.unsigned_abs().min(5);
                NodeLimit { bytes_max: 2048 << level, len_max: usize::MAX }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_sizes_are_redis_s() {
        let node = |size| {
            EncodingLimits { list_max_listpack_size: size, ..Default::default() }.list_node()
        };
        assert_eq!(node(-1).bytes_max, 4096);
        assert_eq!(node(-2).bytes_max, 8192);
        assert_eq!(node(-5).bytes_max, 65_536);
        assert_eq!(node(-9), node(-5));
        assert_eq!(node(0).len_max, 1);
        assert_eq!(node(7), NodeLimit { bytes_max: 8192, len_max: 7 });
    }
}
