//! Every constant of the runtime, each with its arithmetic. No core; plain numbers. Queues and
//! pools that the kernel or other cores fill are made small and filled by `runtime/tests`.

/// Submission queue entries a core. A turn of `TURN_COMPLETIONS_MAX` receives leaves at most as
/// many
/// sends, log writes and wakes; what does not fit is submitted early, never lost.
pub const SUBMISSION_ENTRIES: u32 = 1024;

/// Completion queue entries a core: eight times the submissions, because a multishot operation
/// yields many completions for one submission. Where it is full the kernel keeps the rest.
/// 8192 × 16 bytes = 128 KiB.
pub const COMPLETION_ENTRIES: u32 = 8 * SUBMISSION_ENTRIES;

/// Completions taken into one turn; the rest is for the next. A turn's delay to the last of them is
/// this times about 1 µs a small command: some 2 ms at the very worst.
pub const TURN_COMPLETIONS_MAX: usize = 2048;

/// Receive buffers a core. They are given back within the turn that reads them, so the pool has to
/// cover one turn: the kernel hands out at most some 40 receives an `enter` (twice its
/// `IO_LOCAL_TW_DEFAULT_MAX` of 20), plus those of multishots re-armed in it. 512 leaves room for
/// large values that need many buffers each; running dry costs one more submission a connection.
/// 512 × 16 KiB = 8 MiB a core, of which only touched pages are resident.
pub const RECEIVE_BUFFERS: u16 = 512;

/// Bytes of one receive buffer: Redis's own read size (`PROTO_IOBUF_LEN`).
pub const RECEIVE_BUFFER_BYTES: usize = 16 * 1024;

/// Distance kept between receive buffers so that their first cache lines do not all fall into one
/// set of L1 and L2: one cache line.
pub const RECEIVE_BUFFER_STAGGER_BYTES: usize = 64;

/// Bytes of a send that the kernel is given at once: after each the machine hears that the other
/// side reads. Copying them takes some 30 µs, the completion one.
pub const SEND_PART_BYTES: usize = 256 * 1024;

/// Backlog of a listener: Redis's `tcp-backlog`. Beyond it the kernel lets connects wait.
pub const LISTEN_BACKLOG: i32 = 511;

/// How long a connect to another node may take. Within a data centre it takes under a millisecond;
/// one lost SYN is sent again after 1 s, the next after 3 s.
pub const CONNECT_NS_MAX: u64 = 2_500_000_000;

/// A link to another node is broken off when what was sent is not acknowledged, or when the other
/// side reads nothing, for so long (`TCP_USER_TIMEOUT`): several election timeouts, so that a group
/// has long ceased to count on that node, and short enough to be free of a machine that is gone.
pub const PEER_SILENCE_MS_MAX: u32 = 5_000;

/// Silence on a link after which TCP asks whether the other machine is there, and how often from
/// then on: three questions fit into `PEER_SILENCE_MS_MAX`.
pub const PEER_KEEPALIVE_S: u32 = 2;
pub const PEER_KEEPALIVE_INTERVAL_S: u32 = 1;

/// Longest silence after which TCP may be told to probe: Linux's `MAX_TCP_KEEPIDLE`.
pub const KEEPALIVE_S_MAX: u32 = 32_767;

/// Tries to bind a port that is in use, and the pause between two: a killed process's ring, which
/// holds its listener, is torn down after the process is gone. 10 × 20 ms, then it is refused.
pub const BIND_TRIES: u32 = 10;
pub const BIND_PAUSE_MS: u64 = 20;

/// Wait after `accept` ran out of descriptors or memory: long enough not to spin, short enough that
/// a client's connect, which the kernel has completed already, does not time out.
pub const ACCEPT_BACKOFF_NS: u64 = 100_000_000;

/// Messages a ring between two cores holds. One turn forwards at most the commands of one turn's
/// receives; a burst beyond that waits in the sender's outbox. 1024 messages of some 128 bytes are
/// 128 KiB a pair: 16 cores have 240 pairs, 30 MiB.
pub const MESH_RING_MESSAGES: usize = 1024;

/// How often the mesh rings are read again to find them unchanged before the turn looks at its
/// completions once more. A pass over 15 rings takes about 1 µs when they are being written.
pub const MESH_SNAPSHOT_TRIES: usize = 64;

/// Block of a log: what O_DIRECT writes are aligned to, in memory and in the file.
pub const BLOCK_BYTES: usize = 4096;

/// One zero-filling write while a segment is prepared: what a log write may have to wait for. A
/// cloud disk of 400 MB/s takes 0.6 ms for 256 KiB, an NVMe drive a fifth of that.
pub const ZERO_SLICE_BYTES: usize = 256 << 10;

/// File operations under way a core (writes, syncs, segments in preparation, one removal, one side
/// operation). The log keeps two to four writes in flight, 16 at most: `crate::limits` shows that
/// there are always free slots, and `tests/src/sim/log_bounds.rs` that no more are asked for. So a
/// lack of them is a leak, and ends the process.
pub const FILE_OPERATIONS_MAX: usize = 64;

/// Open segments a core: the one written, the next one, and a few that recovery touches. For one
/// more the longest open one that nothing uses is closed; it is opened again when it is needed.
pub const OPEN_SEGMENTS_MAX: usize = 8;

/// Descriptors beside the clients': each core has a ring, an eventfd, a listener, two directories,
/// a segment in preparation, a side file (7) and open segments, the process some 32 (as Redis
/// reserves).
pub const DESCRIPTORS_PROCESS: u64 = 32;
pub const DESCRIPTORS_CORE: u64 = 7 + OPEN_SEGMENTS_MAX as u64;

/// Descriptors for links and connects a core, where there is a port for other nodes: links to some
/// eight nodes with eight times as many cores, or more nodes of the same size.
pub const DESCRIPTORS_LINKS_CORE: u64 = 64;

/// How long the end of a core waits for operations under way. A disk that does not answer for this
/// long will not; buffers are then leaked, never freed under the kernel.
pub const DRAIN_NS_MAX: u64 = 5_000_000_000;

/// Cores of one process: a mesh message names its sender in 16 bits, and rings grow with the
/// square.
pub const CORES_MAX: usize = 256;

/// How soon a core whose message found a full ring tries again if nothing else happens: a core
/// empties its ring each turn, and a turn takes 10-200 µs.
pub const OUTBOX_RETRY_NS: u64 = 50_000;

/// Stack of a core's thread: what a main thread gets (`ulimit -s`); only touched pages count.
pub const CORE_STACK_BYTES: usize = 8 << 20;
