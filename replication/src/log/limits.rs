//! Bounds of the log, with their arithmetic.

/// Unit of writes: what O_DIRECT asks for and what a drive writes whole.
pub const BLOCK_BYTES: usize = 4096;

/// One write buffer: large enough that group commit under load needs one write a turn (50 clients
/// with pipelines of 16 SETs of 64 bytes make some 90 KiB), small enough to be on disk in a
/// fraction of a millisecond.
pub const WRITE_BUFFER_BYTES: usize = 256 * 1024;

/// Longest record. Part of the format: what claims to be longer is none, so a reader never needs
/// more memory than this to judge one, whatever it finds. Room for larger write buffers.
pub const RECORD_BYTES_MAX: usize = 512 * 1024;

const _: () = assert!(WRITE_BUFFER_BYTES <= RECORD_BYTES_MAX);

/// Writes under way at once. What comes in during a write then need not wait for its end. More than
/// two only make smaller groups on a virtio disk whose flush takes 250 µs. A drive with
/// write-through may want more: measure there.
pub const WRITES_IN_FLIGHT_DEFAULT: usize = 2;

/// Beside a write another one begins once it has at least so large a part of that one's bytes. The
/// first to ask after a flush would otherwise be written alone, and the many that follow would wait
/// for two. 50 clients with one SET each (that disk, means of three): 37 k/s with one write at
/// a time, 40 with two at any time, 44 with two of equal size, 48 with a half, for 15, 16, 13 and
/// 13 µs of processor each; Valkey 36.
pub const NEXT_WRITE_PART: usize = 2;

/// Room below which a payload's next fragment begins a new buffer instead.
pub const FRAGMENT_BYTES_MIN: usize = 4096;

/// Smallest segment: a header block and one small write buffer.
pub const SEGMENT_BYTES_MIN: u64 = 64 * 1024;

/// Buffers kept for use again: those in flight, the open one and one to spare. More are freed.
/// Those that wait for a slow disk are bounded by who appends: the server's `LOG_QUEUED_BYTES_MAX`.
pub const SPARE_BUFFERS_MAX: usize = WRITES_IN_FLIGHT_DEFAULT + 2;

/// Names of a transaction's parts in a payload: some ten bytes for each of up to 65,535 shards.
pub const TRANSACTION_BYTES_MAX: usize = 1 << 20;

/// Longest payload that recovery puts together from fragments, and so the longest that may be
/// appended: the engine's two bounds of an entry, 2 GiB each, and the names. Who appends sees to
/// it; a longer one ends the process before it is acknowledged.
pub const PAYLOAD_BYTES_MAX: usize = (4 << 30) + TRANSACTION_BYTES_MAX;

/// Bytes read at once by recovery: two of the longest records, so that looking for one at every
/// block reads no byte more than some two times.
pub const READ_BYTES: usize = 2 * RECORD_BYTES_MAX;
