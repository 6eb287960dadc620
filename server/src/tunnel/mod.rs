//! Any node takes any client: what needs the primary is passed on to it (`server/adr/0015`).
//!
//! A client of a node that follows has, once it needs it, a connection of its own from its core to
//! the primary's port for nodes, which begins with hellos as links do and is an ordinary client's
//! connection there from then on. What a client sets (HELLO, SELECT, MULTI) is kept here and told
//! to the primary with the next command; its commands are kept until they are answered.
//!
//! - [`words`]: what the nodes say to each other among commands and replies.
//! - [`queue`]: what a client has said and the primary has not answered.
//! - [`scanner`]: where a primary's replies end.
//! - [`follower`]: which commands are passed on, and in which order all are answered.
//! - [`upstream`]: the connection with the primary: made, used, lost.
//! - [`primary`]: clients of other nodes, as the primary has them.

pub mod follower;
pub mod primary;
pub mod queue;
pub mod scanner;
pub mod upstream;
pub mod words;

use std::collections::{BTreeSet, HashMap};

use replication::group::NodeId;
use replication::link::hello::Hello;

use crate::core::Core;
use crate::core::io::ConnId;
use queue::Queue;
use scanner::Scanner;

/// A client's way to the primary.
#[derive(Debug, Default)]
pub struct Tunnel {
    pub queue: Queue,
    upstream: Upstream,
    scanner: Scanner,
    /// A message of which the rest is still to come: the client gets it whole, or what this node
    /// says itself could stand in its middle.
    message: Vec<u8>,
    /// What the primary knows, or will, that the client has set; it may have changed since.
    session: Vec<u8>,
    session_stale: bool,
    /// To be sent before commands.
    preface: Vec<u8>,
    /// The primary's hello, as far as it has come.
    welcome: Vec<u8>,
    sending: bool,
    /// Nothing is received: the client has to read first.
    paused: bool,
    failures: u32,
    retry_ns: u64,
    /// Since when commands wait for a primary.
    waits_since_ns: Option<u64>,
    /// Since when another node leads than the one that has commands.
    strays_since_ns: Option<u64>,
    /// What was under way was sent again, and nothing was answered since.
    repeated: bool,
    marked: bool,
}

#[derive(Debug, Default)]
enum Upstream {
    #[default]
    None,
    Connecting {
        attempt: u64,
    },
    /// Who is there has not said so.
    Greeting {
        conn: ConnId,
        node: NodeId,
        own: Box<Hello>,
    },
    Open {
        conn: ConnId,
        node: NodeId,
    },
}

impl Tunnel {
    /// What it holds in memory.
    pub fn memory_bytes(&self) -> usize {
        self.queue.memory_bytes() + self.message.capacity()
    }
}

impl Upstream {
    fn is_connecting(&self, attempt: u64) -> bool {
        matches!(self, Upstream::Connecting { attempt: own } if *own == attempt)
    }

    fn conn(&self) -> Option<ConnId> {
        match self {
            Upstream::Greeting { conn, .. } | Upstream::Open { conn, .. } => Some(*conn),
            Upstream::None | Upstream::Connecting { .. } => None,
        }
    }
}

/// What a client's next command waits for, beside a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Everything that was passed on is answered.
    Empty,
    /// Less is under way.
    Room,
    /// Replies of this node have left.
    Local,
}

/// The tunnels of a core.
#[derive(Default)]
pub struct Tunnels {
    /// Clients that have one.
    clients: BTreeSet<ConnId>,
    /// By the connection with the primary: whose it is.
    by_upstream: HashMap<ConnId, ConnId>,
    attempts: HashMap<u64, (ConnId, NodeId)>,
    last_attempt: u64,
    /// Clients whose tunnels have something to do; and those whose next command is to be tried in
    /// each turn, and those that have much to read.
    dirty: Vec<ConnId>,
    held: BTreeSet<ConnId>,
    paused: Vec<ConnId>,
    /// When something is due although nothing happens.
    wake_ns: Option<u64>,
    /// A node that stops waits so long for what is under way.
    drained_by_ns: Option<u64>,
}

impl Core {
    /// How many commands each client has at the primary, and bytes of them: a simulation looks.
    pub fn see_passed_on(&self) -> impl Iterator<Item = (usize, usize)> {
        let tunnels = self.connections.iter().filter_map(|connection| connection.tunnel.as_ref());
        tunnels.map(|tunnel| (tunnel.queue.len(), tunnel.queue.bytes()))
    }
}

/// Attempts to connect are numbered from here on, apart from those of links.
pub const ATTEMPTS_FROM: u64 = 1 << 63;

impl Tunnels {
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    fn note_wake(&mut self, at_ns: u64) {
        self.wake_ns = Some(self.wake_ns.map_or(at_ns, |wake_ns| wake_ns.min(at_ns)));
    }

    pub fn next_wake_ns(&self) -> Option<u64> {
        self.wake_ns
    }
}
