//! One connection with another node, from its first byte on, and the table of a core's.
//!
//! It begins with a hello each way, the dialler's first. Then it is a link in use, or leaves for
//! another core, or is closed.

use std::net::SocketAddr;

use replication::group::NodeId;
use replication::link::frame::FrameReader;
use replication::link::hello::{Agreed, Hello};
use replication::link::outbox::Outbox;

use crate::core::io::ConnId;

pub struct Connection {
    id: ConnId,
    /// For the log.
    pub address: SocketAddr,
    pub stage: Stage,
    /// What came before the other side was known.
    pub received: Vec<u8>,
    /// It is on the list of those that have something to send.
    pub dirty: bool,
    since_ns: u64,
    to_say: Option<Vec<u8>>,
    sending: Sending,
}

pub enum Stage {
    /// We connected and said this.
    Dialled {
        own: Hello,
    },
    /// It connected here; its hello has not come.
    Accepted,
    /// It is for another core.
    Leaving {
        to: u16,
    },
    /// It gets one answer, and is closed: it has not the directory that it should have, or is no
    /// node yet.
    Refused,
    Standing(Standing),
}

/// A link in use.
pub struct Standing {
    pub node: NodeId,
    pub link: u16,
    /// `None` while what has come is read.
    pub reader: Option<FrameReader>,
    pub outbox: Outbox,
    /// When bytes came last.
    pub heard_ns: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sending {
    Nothing,
    Hello,
    Frames,
}

/// What a connection wants done at the end of a turn.
pub enum Flush {
    Nothing,
    Send { bytes: Vec<u8>, await_sent: bool },
    HandOver { to: u16, bytes: Vec<u8> },
}

impl Connection {
    pub fn dialled(id: ConnId, address: SocketAddr, own: Hello, now_ns: u64) -> Connection {
        let fresh = Connection::accepted(id, address, now_ns);
        Connection { stage: Stage::Dialled { own }, to_say: Some(own.encode().to_vec()), ..fresh }
    }

    pub fn accepted(id: ConnId, address: SocketAddr, now_ns: u64) -> Connection {
        Connection {
            id,
            address,
            stage: Stage::Accepted,
            received: Vec::new(),
            dirty: false,
            since_ns: now_ns,
            to_say: None,
            sending: Sending::Nothing,
        }
    }

    /// Whose link it is, or is to be; not known of one that was accepted and has not said so.
    pub fn link(&self) -> Option<(NodeId, u16)> {
        match &self.stage {
            Stage::Dialled { own } => Some((NodeId(own.to_node), own.link)),
            Stage::Standing(standing) => Some((standing.node, standing.link)),
            Stage::Accepted | Stage::Leaving { .. } | Stage::Refused => None,
        }
    }

    /// All of what was sent is with the kernel. Returns whether there is more.
    pub fn on_sent(&mut self, buffer: Vec<u8>) -> bool {
        let sent = std::mem::replace(&mut self.sending, Sending::Nothing);
        let Stage::Standing(standing) = &mut self.stage else { return self.to_say.is_some() };
        if sent == Sending::Frames {
            standing.outbox.on_sent(buffer);
        }
        self.to_say.is_some() || standing.outbox.bytes() > 0
    }

    /// What is to be done now; one send at a time.
    pub fn flush(&mut self) -> Flush {
        self.dirty = false;
        if let Stage::Leaving { to } = self.stage {
            return Flush::HandOver { to, bytes: std::mem::take(&mut self.received) };
        }
        if self.sending != Sending::Nothing {
            return Flush::Nothing;
        }
        if let Some(bytes) = self.to_say.take() {
            self.sending = Sending::Hello;
            // Frames may wait behind it.
            return Flush::Send { bytes, await_sent: true };
        }
        let Stage::Standing(standing) = &mut self.stage else { return Flush::Nothing };
        let Some(bytes) = standing.outbox.take() else { return Flush::Nothing };
        self.sending = Sending::Frames;
        // What comes next is of a later turn, by which this is known to be out, or will be said.
        Flush::Send { bytes, await_sent: false }
    }

    fn awaits_hello(&self) -> bool {
        !matches!(self.stage, Stage::Standing(_))
    }
}

/// The connections of one core with other nodes, found by index and generation.
#[derive(Default)]
pub struct Table {
    places: Vec<Option<Box<Connection>>>,
    hellos_awaited: usize,
}

impl Table {
    #[inline]
    pub fn has(&self, conn: ConnId) -> bool {
        let place = self.places.get(conn.index as usize);
        place.and_then(Option::as_ref).is_some_and(|connection| connection.id == conn)
    }

    pub fn get_mut(&mut self, conn: ConnId) -> Option<&mut Connection> {
        let connection = self.places.get_mut(conn.index as usize)?.as_deref_mut()?;
        (connection.id == conn).then_some(connection)
    }

    /// When bytes came last by a link.
    pub fn heard_ns(&self, conn: ConnId) -> Option<u64> {
        let connection = self.places.get(conn.index as usize)?.as_deref()?;
        match &connection.stage {
            Stage::Standing(standing) if connection.id == conn => Some(standing.heard_ns),
            _ => None,
        }
    }

    pub fn insert(&mut self, connection: Connection) {
        let index = connection.id.index as usize;
        if self.places.len() <= index {
            self.places.resize_with(index + 1, || None);
        }
        assert!(self.places[index].is_none(), "a connection's index is free when it is given");
        self.hellos_awaited += 1;
        self.places[index] = Some(Box::new(connection));
    }

    pub fn remove(&mut self, conn: ConnId) -> Option<Box<Connection>> {
        if !self.has(conn) {
            return None;
        }
        let connection = self.places[conn.index as usize].take()?;
        self.hellos_awaited -= usize::from(connection.awaits_hello());
        Some(connection)
    }

    /// Whether it connected here, and has only said who it is.
    pub fn is_accepted(&mut self, conn: ConnId) -> bool {
        self.get_mut(conn).is_some_and(|c| matches!(c.stage, Stage::Accepted))
    }

    /// The other side gets no more than this answer.
    pub fn refuse(&mut self, conn: ConnId, answer: Vec<u8>) {
        if let Some(connection) = self.get_mut(conn) {
            connection.stage = Stage::Refused;
            connection.to_say = Some(answer);
        }
    }

    /// A connection is for another core of this node.
    pub fn leave(&mut self, conn: ConnId, to: u16) {
        if let Some(connection) = self.get_mut(conn) {
            connection.stage = Stage::Leaving { to };
        }
    }

    /// A connection is a link from now on. `answer`: it has not heard yet who we are.
    pub fn stand(&mut self, conn: ConnId, node: NodeId, own: &Hello, agreed: Agreed, answer: bool) {
        let Some(connection) = self.get_mut(conn) else { return };
        assert!(connection.awaits_hello(), "a link begins once");
        let reader = Some(FrameReader::new(agreed.receive_seed));
        let outbox = Outbox::new(agreed.send_seed);
        let (link, heard_ns) = (own.link, connection.since_ns);
        connection.stage = Stage::Standing(Standing { node, link, reader, outbox, heard_ns });
        if answer {
            connection.to_say = Some(own.encode().to_vec());
        }
        self.hellos_awaited -= 1;
    }

    /// Connections whose other side has not said yet who it is.
    pub fn hellos_awaited(&self) -> usize {
        self.hellos_awaited
    }

    /// Since when the one has been awaited that is awaited longest.
    pub fn hello_since_ns(&self) -> Option<u64> {
        self.awaited().map(|connection| connection.since_ns).min()
    }

    /// Those that are awaited since then or longer.
    pub fn silent_since(&self, since_ns: u64) -> Vec<ConnId> {
        let silent = self.awaited().filter(|connection| connection.since_ns <= since_ns);
        silent.map(|connection| connection.id).collect()
    }

    fn awaited(&self) -> impl Iterator<Item = &Connection> {
        let all = self.places.iter().flatten().map(|connection| &**connection);
        all.filter(|connection| connection.awaits_hello())
    }
}
