//! The engine's bounds, each with its reason.

/// Databases a client can SELECT; Redis's default.
pub const DATABASE_COUNT: usize = 16;

/// Capacity that an effect buffer keeps between entries; more is freed. Above a usual turn's worth
/// (1,000 SETs of 64 bytes are about 100 KiB), below what sixteen shards would notice.
pub const EFFECT_BUFFER_KEPT_BYTES_MAX: usize = 256 * 1024;

/// Longest string that shares one allocation with its key. One allocation fewer for most values;
/// beyond, changing a value in place without moving the key is worth more.
pub const EMBEDDED_STRING_BYTES_MAX: usize = 192;

/// Longest string that OBJECT ENCODING calls `embstr`, as in Redis.
pub const EMBSTR_BYTES_MAX: usize = 44;

/// Redis's default for `proto-max-bulk-len`: the longest string a command may build; one that would
/// build a longer one is refused.
pub const STRING_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Bytes of effects at which a shard's entry ends before its turn does: as much as may wait for the
/// log. The next operation begins another entry, and clients wait for the log.
pub const ENTRY_CLOSED_BYTES: usize = 16 * 1024 * 1024;

/// Effects that the words of one command, or of all in a transaction, may leave at most (each word
/// twice and some bytes): twice the default of `client-query-buffer-limit`. With more it is
/// refused. See the server's `adr/0009`.
pub const ENTRY_WORDS_BYTES_MAX: usize = 2 << 30;

/// Size of an entry up to which effects are appended that no word brings: values copied, moved or
/// stored, members popped. A command that would go beyond is refused and changes nothing. What
/// words leave may come on top, so no entry is longer than this and `ENTRY_WORDS_BYTES_MAX`.
pub const ENTRY_COPIED_BYTES_MAX: usize = 2 << 30;

/// Buckets of the table that remembers, per hash of a key, the last entry that changed it. 1,024
/// of 8 bytes: with 100 keys written but not yet released, a read of another key waits in vain
/// with a chance of one in ten; 8 KiB stay in the first cache.
pub const TOUCHED_BUCKETS: usize = 1024;

/// Elements of a collection freed at once when it is deleted; larger ones are freed in slices.
/// 1,024 small allocations take some 50 µs.
pub const FREED_AT_ONCE_MAX: usize = 1024;

/// The same for a collection in a database that is flushed: up to 800 of them, those of a whole
/// segment of its table, are freed at once.
pub const FREED_WITH_TABLE_MAX: usize = 16;

/// Candidates for eviction that are kept; Redis's number. A better one takes the worst one's place.
pub const EVICTION_POOL_LEN: usize = 16;

/// Databases sampled for one key to evict, before the search is given up for now.
pub const EVICTION_TRIES: usize = 8;

/// Keys looked at in one sample, where only some of them may go: some 10 µs.
pub const SAMPLED_KEYS_MAX: usize = 128;

/// Segments looked at for one in which keys have an expiry: some 10 µs.
pub const SAMPLED_SEGMENTS_MAX: usize = 512;

/// Keys of one command prefetched together: more lines than that at once would push each other out
/// of the first cache before they are used.
pub const PREFETCHED_KEYS_MAX: usize = 32;

/// Sizes of a checkpoint's parts are small in this crate's own tests, so that a few commands meet
/// every boundary.
const fn in_tests_a_64th(bytes: usize) -> usize {
    if cfg!(test) { bytes / 64 } else { bytes }
}

/// A checkpoint's block, before compression: what a device writes in a fraction of a millisecond.
/// One record may make a block longer.
pub const CHECKPOINT_BLOCK_BYTES: usize = in_tests_a_64th(256 * 1024);

/// Blocks of a checkpoint that wait to be written: with more the walk stops. Changes go on and
/// copy out what they are about to touch, a few keys each.
pub const CHECKPOINT_WAITING_BYTES_MAX: usize = 4 * CHECKPOINT_BLOCK_BYTES;

/// A larger value is written in pieces. Up to fourteen values are written at once because a change
/// is about to touch one of them: 448 KiB, some 50 µs.
pub const CHECKPOINT_WHOLE_BYTES_MAX: usize = in_tests_a_64th(32 * 1024);

/// Bytes of a piece, but that an element is never cut: some 10 µs of work.
pub const CHECKPOINT_PIECE_BYTES: usize = in_tests_a_64th(32 * 1024);
