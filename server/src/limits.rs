//! The server's bounds, each with its reason and what happens at it. Where a client can see one,
//! it is Redis's. Those that a core keeps for itself are filled by `tests/src/sim/bounds.rs` and
//! `log_bounds.rs`, those between nodes by `tests/src/cluster_sim/bounds.rs`.

use engine::settings::EntryLimits;

/// Longest inline command, and longest line that announces a count or a length; a longer one is a
/// protocol error, which closes the connection.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Most words of one command, as in Redis (a signed 32-bit count); more are a protocol error.
pub const WORDS_MAX: i64 = i32::MAX as i64;

/// Words and bytes of a command before the client has authenticated; more are a protocol error.
pub const UNAUTHENTICATED_WORDS_MAX: i64 = 10;
pub const UNAUTHENTICATED_BULK_BYTES_MAX: i64 = 16_384;

/// Default of `client-query-buffer-limit`: a client's bytes not yet run. With more it is closed.
pub const QUERY_BUFFER_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Room for a word that is announced, as a multiple of what has come of it: who announces much and
/// sends little takes little, and of a megabyte a quarter is copied while it grows.
pub const QUERY_GROWTH: usize = 8;

/// Default of `maxclients`, dealt out evenly to the cores; one too many is told so and closed.
pub const CLIENTS_MAX: usize = 10_000;

/// Capacity a connection's buffers keep while idle: a usual pipeline's worth. More is freed.
pub const IDLE_BUFFER_BYTES_MAX: usize = 16 * 1024;

/// Unsent replies at which a client's next commands wait: it must read first. Well above what a
/// socket takes at once, well below what a thousand such clients would cost.
pub const UNSENT_REPLY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Whole commands of a client that wait for their turn: with more of them nothing more is received
/// from it. A turn's worth of one client, and little with ten thousand of them.
pub const WAITING_QUERY_BYTES_MAX: usize = 64 * 1024;

/// Bytes waiting for the log at which clients' next commands wait: some ten full writes.
pub const LOG_QUEUED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Most log writes under way at once that can be asked for: their completions share a queue with
/// those of clients.
pub const LOG_WRITES_IN_FLIGHT_MAX: usize = 16;

/// What a core has under way on files beside those, each one at a time: a segment in preparation,
/// the removal of one, a step of a checkpoint. So the runtime's slots for file operations are never
/// all taken: whoever would take one more waits before, the log's writer in its queue.
pub const OTHER_FILE_OPERATIONS_MAX: usize = 3;
const _: () = assert!(
    LOG_WRITES_IN_FLIGHT_MAX + OTHER_FILE_OPERATIONS_MAX
        <= crate::runtime::limits::FILE_OPERATIONS_MAX
);

/// Default of `checkpoint-log-bytes`: bytes of entries since a shard's last checkpoint at which the
/// next one is due, unless the last
/// one was larger: a start reads so much in a tenth of a second.
pub const CHECKPOINT_LOG_BYTES: u64 = 64 * 1024 * 1024;

/// So many times what brings a checkpoint of each of its shards may a core's log grow on the disk,
/// with all that fills up blocks, until those shards that it keeps for longer have checkpoints too.
/// Well packed it never does: each shard's own entries bring its checkpoint before. Two of a shard
/// are kept, so the log is at most about twice that. And how often that is looked at meanwhile.
pub const LOG_PER_CHECKPOINT: u64 = 2;
pub const LOG_LOOKS: u64 = 8;

/// Bytes of entries since a shard's last checkpoint for which an orderly stop makes one: less is
/// read again faster than it is written.
pub const CHECKPOINT_AT_STOP_BYTES_MIN: u64 = 4 * 1024 * 1024;

/// A checkpoint's work in one turn: some 200 µs.
pub const CHECKPOINT_SLICE_BYTES: usize = 128 * 1024;

/// With a limit of bytes a second, what was not used of it is kept for so short a time.
pub const CHECKPOINT_SLICES_PER_SECOND_MIN: u64 = 20;

/// How long after a failed checkpoint the next one is tried.
pub const CHECKPOINT_RETRY_NS: u64 = 10_000_000_000;

/// Default of `checkpoint-bytes-per-second`, for each core. Well below what an NVMe drive takes
/// beside the log, and little beside other work (`benches/peers/saving.py`). What clients' changes
/// force out counts: it may be more for a time, and the walk does so much less.
pub const CHECKPOINT_BYTES_PER_SECOND: u64 = 64 * 1024 * 1024;

/// So many times faster goes a checkpoint during which the next one has become due.
pub const CHECKPOINT_HURRY: u64 = 4;

/// Messages of publishers under way to this core's subscribers and to other cores, at which further
/// publishers of this core wait: some thousand small ones, or four large ones.
pub const PUBLISHED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Subscribers of one core that are given something in a turn: each is a send of some 2 µs. What
/// they are given together, and the least that each message counts for: sixteen to each of them.
pub const DELIVERED_CLIENTS_PER_TURN_MAX: usize = 1024;
pub const DELIVERED_BYTES_PER_TURN_MAX: usize = 4 * 1024 * 1024;
pub const DELIVERY_BYTES_MIN: usize = 256;

/// The promise: no turn is longer.
pub const TURN_LONG_NS: u64 = 5_000_000;

/// How exactly a long turn's share of the processor is known: a reading of the thread's CPU time
/// takes 0.3 µs, 0.03 % of this.
pub const TURN_CPU_PERIOD_NS: u64 = 1_000_000;

/// A turn that is worth a line in the log, and how far such lines are apart.
pub const TURN_WARNED_NS: u64 = 50_000_000;
pub const TURN_WARNING_PERIOD_NS: u64 = 10_000_000_000;

/// Entries of SLOWLOG (`slowlog-max-len`); a new one takes the place of the oldest.
pub const SLOWLOG_ENTRIES_MAX: usize = 128;

/// Longest DEBUG SLEEP; a longer one is refused. Tests sleep for seconds; a core that does nothing
/// for longer looks dead to whoever watches it.
pub const DEBUG_SLEEP_NS_MAX: u64 = 60_000_000_000;

/// Commands of one client run before the others get their turn; the rest of its pipeline goes on
/// behind them. At 0.5 µs each about half a millisecond, within the promise that no turn lasts
/// 5 ms.
pub const COMMANDS_PER_CLIENT_AND_TURN_MAX: usize = 1024;

/// Commands of all clients together run in one turn: some 2 ms. The clients that this leaves out
/// come first in the next turn. With pipelines of 16 it is no bound to 250 clients.
pub const COMMANDS_PER_TURN_MAX: usize = 4096;

/// The same in time, for commands that evict, make a table grow, or write neighbours of their key
/// for a checkpoint: half of the promise. What ends a turn has the other half.
pub const TURN_COMMANDS_NS: u64 = 2_500_000;

/// The clock is read after so many commands: 1 ns each.
pub const COMMANDS_PER_CLOCK_READING: usize = 32;

/// A usual command. One that takes longer, and is timed for that (`admin::measure`), counts as so
/// many of them.
pub const COMMAND_NS: u64 = 500;

/// Commands of a pipeline read before the first of them runs: as many keys as the processor keeps
/// cache misses in flight for, some two times over.
pub const COMMANDS_AHEAD_MAX: usize = 32;

/// Elements of discarded collections freed a turn, and the rest of a table's segment: some 200 µs.
/// What is left is for the next turns.
pub const FREED_PER_TURN_MAX: usize = 4096;

/// Keys whose time is over deleted a turn: some 300 µs. The rest is for the next turns; whoever
/// reads one of them finds nothing.
pub const EXPIRED_PER_TURN_MAX: usize = 1024;

/// Keys evicted between two turns: some 1 ms. The rest is for the next turns, and from
/// `EVICTION_DEBT_BYTES_MIN` on clients wait for them.
pub const EVICTED_PER_TURN_MAX: usize = 512;

/// Keys that each command which may need memory lets go in its turn beside those: more than it
/// can bring in, so that what is over becomes less.
pub const EVICTED_PER_COMMAND: usize = 2;

/// Elements of garbage freed before such a command while memory is short, some 3 µs, or what a
/// table's segment holds.
pub const FREED_PER_COMMAND_MAX: usize = 64;

/// Bytes over `maxmemory` that eviction has yet to free, at which clients' commands wait: large
/// enough for a turn's commands, and a 64th of the limit if that is more.
pub const EVICTION_DEBT_BYTES_MIN: u64 = 1 << 20;

/// A core tells the others what it uses when that has changed by a thousandth of `maxmemory` over
/// the number of cores, so that the sum that each knows is right to within a thousandth; and by
/// no less than a few commands' worth.
pub const MEMORY_STEPS: u64 = 1024;
pub const MEMORY_STEP_BYTES_MIN: u64 = 1024;

/// Operations that one gathering's trip serves before the shards go home: at some 5 µs each under
/// a millisecond. More wait for the next trip.
pub const GATHERED_OPERATIONS_MAX: usize = 128;

/// How often clients' idle times and expiries are looked at: ten times a second, as Redis does.
pub const HOUSEKEEPING_PERIOD_NS: u64 = 100_000_000;

/// How often a segment is asked for again for which there was no space, or no descriptor.
pub const SEGMENT_RETRY_NS: u64 = 1_000_000_000;

/// Messages to one core that wait because its ring is full, at which clients wait too.
pub const MESH_WAITING_MAX: u32 = 1024;

/// Commands of one client under way on other cores, whose replies' sizes are not known yet: with
/// more, a client that reads nothing could make the others collect much for it. Its next commands
/// wait for the answers.
pub const EXPECTED_ANSWERS_MAX: usize = 64;

/// What the answer to a forwarded command is taken for until a client has got one: together with
/// what is unread, answers that are on their way must not be more than `UNSENT_REPLY_BYTES_MAX`.
/// Four such commands go at once, and after some ten short answers `EXPECTED_ANSWERS_MAX`.
pub const FIRST_ANSWER_BYTES: usize = UNSENT_REPLY_BYTES_MAX / 4;

/// Bytes of answers that a core makes for others in one turn: some 2 ms. The commands that this
/// leaves out come first in the next turn.
pub const ANSWERED_BYTES_PER_TURN_MAX: usize = 4 * 1024 * 1024;

/// Bytes of commands, or of answers, collected for another core in a turn that are sent on at once.
pub const FORWARDED_BYTES_MAX: usize = 1024 * 1024;

/// Connections on the peers' port whose other side has not said yet who it is, on each core; one
/// more is closed. Nodes say so at once: some hundred cores of them may come at the same time.
pub const LINK_HELLOS_MAX: usize = 256;

/// How long the other side may take to say who it is: as a connect, and some long turns.
pub const LINK_HELLO_NS_MAX: u64 = 3_000_000_000;

/// How far apart lines in the log are about the same stranger.
pub const LINK_REFUSAL_PERIOD_NS: u64 = 60_000_000_000;

/// Places of words that are kept between commands.
pub const IDLE_RANGES_MAX: usize = IDLE_BUFFER_BYTES_MAX / size_of::<engine::args::ArgRange>();

/// A longer word is not hashed before its command runs: it need not be a key (ECHO).
pub const HASHED_AHEAD_BYTES_MAX: usize = 4096;

/// `election-timeout-ms`: without a leader for so long to twice as long a node stands for election;
/// one that is gone is replaced within 0.3 to 0.7 s. At the least a tick is 4 ms: a turn
/// may take 5, and a heartbeat and a write to a disk must fit into some of them. With more than the
/// most a cluster that has lost its leader would stand still for half a minute.
pub const ELECTION_TIMEOUT_MS: u64 = 300;
pub const ELECTION_TIMEOUT_MS_MIN: u64 = 60;
pub const ELECTION_TIMEOUT_MS_MAX: u64 = 10_000;

/// Ticks of a group in an election timeout, and between heartbeats: by default a tick is 20 ms.
/// A lease lasts 14 ticks less a tenth; every heartbeat asks for it, and once more after two ticks
/// if no majority has answered. Heartbeats that ask for nothing are for leaders that cannot have a
/// lease yet.
pub const GROUP_ELECTION_TICKS: usize = 15;
pub const GROUP_HEARTBEAT_TICKS: usize = 4;

/// How long a leader leaves it to its next entries to tell the others what is committed; then it
/// sends that alone. A client that writes again does so sooner; who reads at a node that follows is
/// behind by so much more.
pub const COMMITTED_UNTOLD_NS_MAX: u64 = 1_000_000;

/// Reports of other shards' parts that a core keeps for entries that have not come. More are
/// dropped: a shard that lags so far behind the others hears from its leader's entries what is
/// decided.
pub const GROUP_EARLY_REPORTS_MAX: usize = 100_000;

/// Entries that a follower may lack when its leader begins to hand over: it gets them within
/// milliseconds, in which clients wait.
pub const HANDOVER_CLOSE_ENTRIES: u64 = 1000;

/// How long a leader that is to hand over waits for a follower to come so close, unless FAILOVER
/// says otherwise. It serves its clients meanwhile.
pub const HANDOVER_SYNC_NS_MAX: u64 = 5_000_000_000;

/// How long clients wait until what was executed is committed and its replies are out. Then they
/// wait until another node leads, or this one again: some round trips and writes to disks, at most
/// an election timeout.
pub const HANDOVER_DRAIN_NS_MAX: u64 = 1_000_000_000;

/// A node that has handed over in order to stop goes on telling clients that it follows until none
/// has asked anything for the one time, or for the other at most.
pub const HANDOVER_QUIET_NS: u64 = 20_000_000;
pub const HANDOVER_LINGER_NS_MAX: u64 = 500_000_000;

/// How often a node tells the others who is in the cluster, and for how long it hears of no leader
/// until it asks those that should connect to it whether it was removed.
pub const GOSSIP_NS: u64 = 1_000_000_000;
pub const LEADERLESS_NS_MAX: u64 = 3_000_000_000;

/// How often a node that is to lead nothing tries to hand over.
pub const DRAIN_RETRY_NS: u64 = 2_000_000_000;

/// A client's commands on their way to the primary, which are kept until they are answered: beyond
/// so many bytes, or commands, its next ones wait until half of that is answered.
pub const TUNNEL_BYTES_MAX: usize = 4 << 20;
pub const TUNNEL_COMMANDS_MAX: usize = 8192;

/// Bytes of commands that go to the primary in one send; the next ones go once it is out.
pub const TUNNEL_SEND_BYTES_MAX: usize = 1 << 20;

/// How long a client's commands wait for a primary before each gets an error: an election takes by
/// default 0.7 s at most, and a second one may be needed.
pub const TUNNEL_PRIMARY_NS_MAX: u64 = 3_000_000_000;

/// How long commands that one node has wait for its answers once another one is known to lead.
pub const TUNNEL_FAREWELL_NS_MAX: u64 = 1_000_000_000;

/// Between tries to reach the primary: at once, then this, doubled so often at most.
pub const TUNNEL_RETRY_NS_MIN: u64 = 10_000_000;
pub const TUNNEL_RETRIES_DOUBLED_MAX: u32 = 5;

/// A node that stops waits so long for the primary's answers to its clients: they come in a moment,
/// or once a majority is there again.
pub const TUNNEL_DRAIN_NS_MAX: u64 = 5_000_000_000;

/// How long a client of a server that stops may read nothing while there are replies for it: then
/// it is closed. As long as the server waits for a disk or for the primary.
pub const UNREAD_DRAIN_NS_MAX: u64 = 5_000_000_000;

/// Entries in one message of a group, and such messages under way to one node: together what a
/// follower may be behind before its leader waits for it. The rest is sent as that one confirms
/// some; the others, and clients, do not wait. Filled in `replication/src/group/tests.rs`. All of
/// it may go out in one turn, when one that was away confirms much at once: with messages of 1 MiB
/// such turns took up to 0.39 s, and a lead was lost (`benches/peers/catchup.py`). A longer entry
/// has a message of its own, and of those a link takes what [`replication::link::LINK_BYTES_MAX`]
/// lets it.
pub const GROUP_MESSAGE_BYTES_MAX: u64 = 64 << 10;
pub const GROUP_MESSAGES_IN_FLIGHT_MAX: usize = 64;

/// Bytes of entries that a leader has appended and its group has not committed. With more its
/// clients' commands wait; what is appended in the turn that finds that comes on top.
pub const UNCOMMITTED_BYTES_MAX: usize = 64 << 20;

/// Bytes of entries that a core applies in one turn, of all shards that it follows; the rest waits
/// for the next. Each of them gets on by an entry.
pub const APPLIED_BYTES_PER_TURN_MAX: usize = 1 << 20;

/// Default of `catch-up-memory-bytes`: bytes of a group's entries that are kept in memory for
/// replicas that lack them: some seconds of writes. Older ones are read from the log. As many more
/// may be committed and not yet applied by a follower, which otherwise keeps its leader waiting. At
/// the least a message's worth. Filled in `tests/src/cluster_sim/bounds.rs`; other simulations of a
/// cluster run with far less.
pub const CATCH_UP_MEMORY_BYTES: usize = replication::group::restart::KEPT_BYTES;
pub const CATCH_UP_MEMORY_BYTES_MIN: u64 = 1 << 20;

/// Default of `catch-up-log-bytes`: of the log of each core that stays on disk for replicas that
/// were away, beside what a start needs. Who was away for longer gets a checkpoint. At 10 MB/s a
/// minute and a half of writes; a start reads it too.
pub const CATCH_UP_LOG_BYTES: u64 = 1 << 30;

/// Default of `catch-up-bytes-per-second`: what a core reads of logs and checkpoints for other
/// nodes. Half of a 1 Gbit/s network; what a core's clients notice of it is not measured yet
/// (`benches/peers/catchup.py` does that). At the least, so that a piece of a checkpoint does not
/// wait for longer than until it is asked for again.
pub const CATCH_UP_BYTES_PER_SECOND: u64 = 64 << 20;
pub const CATCH_UP_BYTES_PER_SECOND_MIN: u64 = 1 << 20;

/// Bytes of a log that are read at once for other nodes: as many as of a checkpoint, so that a turn
/// that makes entries of them is short.
pub const CATCH_UP_PIECE_BYTES: usize = 256 << 10;

/// What a command may leave in the log of a node of a cluster: while an entry goes to the others,
/// no heartbeat does, and 64 MB (a value of 32) take a tenth of a second at 10 Gbit/s.
pub const MEMBER_ENTRY: EntryLimits =
    EntryLimits { closed_bytes: 4 << 20, words_bytes_max: 64 << 20, copied_bytes_max: 64 << 20 };

/// Bytes of a checkpoint that go to another node at once: the next ones once these are
/// written there.
pub const TRANSFER_PIECE_BYTES: usize = 256 << 10;

/// Election timeouts that a leader bears to have nothing committed for lack of a checkpoint that
/// cannot be made.
pub const RESIGN_AFTER_TIMEOUTS: u64 = 2;

/// When a piece of which nothing is heard is sent again, and when the whole is given up.
pub const TRANSFER_RETRY_NS: u64 = 1_000_000_000;
pub const TRANSFER_SILENCE_NS: u64 = 20_000_000_000;

/// After a checkpoint of another node could not be written here, or came damaged, so long passes
/// until one is taken again, twice as long each time it fails, and this at most: less than after
/// what its sender gives it up.
pub const RECEIVE_RETRY_NS: u64 = 1_000_000_000;
pub const RECEIVE_RETRY_NS_MAX: u64 = 8_000_000_000;

/// How long nothing has to come of a checkpoint until another shard's may take its place: some
/// times as long as it takes until a piece is sent again.
pub const TRANSFER_YIELD_NS: u64 = 3 * TRANSFER_RETRY_NS;
