//! The boundary between a core's logic and the world: what goes in, what comes out.
//!
//! Everything above this file is deterministic. `runtime` feeds [`Input`]s from io_uring and
//! carries
//! [`Output`]s out; the simulator does the same with a virtual disk, network and clock.

use std::net::SocketAddr;

/// A connection of one core, with a client or another node. An index is used again only with
/// another generation, so that a late completion or a late reply is never taken for a newer
/// connection's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    pub index: u32,
    pub generation: u32,
}

/// The clocks, read once a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Wall clock, milliseconds since 1970: expiry times.
    pub unix_ms: i64,
    /// Wall clock, microseconds since 1970: TIME, SLOWLOG.
    pub unix_us: i64,
    /// Monotonic, nanoseconds: timeouts and deadlines.
    pub mono_ns: u64,
}

/// Which of the node's ports a connection came by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Port {
    #[default]
    Client,
    /// That of other nodes.
    Peer,
}

/// A failure of the operating system: the raw `errno`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OsError(pub i32);

/// What can happen to a core. `M` is the mesh's message type, `W` a log write that comes back.
pub enum Input<'a, M, W> {
    /// Somebody connected and belongs to this core from now on; or another core handed a connection
    /// over ([`Output::HandOver`]), then what that core gave along follows as `Received`.
    Accepted { conn: ConnId, port: Port, peer: SocketAddr, local: SocketAddr },
    /// What became of an [`Output::Connect`]: one for each.
    Connected { attempt: u64, result: Result<ConnId, OsError> },
    /// Bytes of the other side, valid during the call only.
    Received { conn: ConnId, bytes: &'a [u8] },
    /// The other side closed (`None`) or the socket failed. No more `Received` follows.
    ReceiveEnded { conn: ConnId, error: Option<OsError> },
    /// All bytes of an [`Output::Send`] were taken by the socket; the buffer comes back for use
    /// again.
    Sent { conn: ConnId, buffer: Vec<u8> },
    /// The socket has taken a part of an [`Output::Send`]; more of it is under way.
    SentPart { conn: ConnId },
    /// The socket takes no more bytes; the unsent ones are lost. The core still has to close it.
    SendFailed { conn: ConnId, error: OsError },
    /// A message of another core.
    Mesh { from: u16, message: M },
    /// A log operation ended.
    Log(W),
    /// SIGTERM or SIGINT: drain and stop.
    Shutdown,
}

/// What a core wants done. `M` and `L` are the mesh's message and the log's operation.
pub enum Output<M, L> {
    /// Send all of `bytes`, which are not empty; at most one send a connection is under way at a
    /// time (the core sees to it). `await_sent`: the core waits for [`Input::Sent`] to go on, with
    /// more bytes or by closing. Otherwise `Sent` comes with whatever turn is next, which spares a
    /// completion and a turn for each reply. So decide in `end_turn`, when the whole turn is known.
    Send {
        conn: ConnId,
        bytes: Vec<u8>,
        await_sent: bool,
    },
    /// Close now: receives and sends under way are cancelled, nothing more is reported for it.
    Close {
        conn: ConnId,
    },
    /// Back-pressure: stop receiving (bytes already received may still arrive).
    PauseReceive {
        conn: ConnId,
    },
    ResumeReceive {
        conn: ConnId,
    },
    /// Clients accepted by this core from now on are probed after so many seconds of silence, never
    /// if it is 0.
    Keepalive {
        seconds: u32,
    },
    /// Connect to another node; [`Input::Connected`] names the attempt.
    Connect {
        attempt: u64,
        address: SocketAddr,
    },
    /// Give a connection to another core, with bytes of it that came already. This core hears no
    /// more of it. Nothing may be under way on it but a receive: what that still brings goes along.
    HandOver {
        conn: ConnId,
        to: u16,
        bytes: Vec<u8>,
    },
    /// Put a message into the ring to another core; order is kept per pair of cores.
    Mesh {
        to: u16,
        message: M,
    },
    Log(L),
    /// This core has drained; its thread ends once every core has said so.
    Stop,
    /// Nothing may be done any more, by any core: the process ends with this message.
    Fail(String),
}

/// A core's logic, driven by a runtime. One turn: `begin_turn`, any number of `on_input`,
/// `end_turn`.
pub trait Machine {
    type Message: Send + 'static;
    type LogDone;
    type LogOperation;

    /// `mesh_waiting` has, for each core, how many messages to it found its ring full and wait on
    /// this side: back-pressure is the machine's to apply.
    fn begin_turn(&mut self, now: Now, mesh_waiting: &[u32]);

    /// The runtime delivers mesh messages before anything a client sent, so that a command never
    /// overtakes one that was forwarded before its cause was answered.
    fn on_input(&mut self, input: Input<'_, Self::Message, Self::LogDone>);

    /// Closes the turn and appends what is to be done to `outputs`. Returns when the machine wants
    /// its next turn even if nothing happens (monotonic nanoseconds), `None` for never.
    fn end_turn(
        &mut self,
        outputs: &mut Vec<Output<Self::Message, Self::LogOperation>>,
    ) -> Option<u64>;
}
