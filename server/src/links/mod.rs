//! The links of one core with cores of other nodes: who connects, who is let in, what is sent and
//! what has come. Lives on its core; deterministic, no I/O of its own.
//!
//! Between two nodes with `a` and `b` cores there are max(a, b) links; link `k` joins core `k % a`
//! of the one with core `k % b` of the other, so that every core has at least one with every node.
//! The node with the lower id connects: each core its link of the same number first, the others
//! once the answer says how many cores there are. A core that accepts a connection meant for
//! another one of its node hands it over.
//!
//! Invariant: a link in use is known by its node and number, and there is one of each: a newer
//! connection takes the place of the one before, which is closed.
//!
//! - `connection`: one connection, from its first byte. `peer`: another node and our links with it.
//! - `place`: where links begin. `hellos`: what is said of it. [`versions`]: who applies what.
//! - [`identity`]: whom this node knows by which data directory.
//! - [`batch`]: messages for groups of other cores of this node.
//! - [`stats`]: what is counted, and what is said in the log.

pub mod batch;
mod connection;
mod hellos;
pub mod identity;
mod peer;
mod place;
pub mod stats;
#[cfg(test)]
mod tests;
pub mod versions;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use engine::rng::Rng;
use replication::group::NodeId;
use replication::ids::{Incarnation, ShardId};
use replication::link::LinkError;
use replication::link::frame::{Frame, FrameReader};
use replication::link::hello::{DirectoryId, FIRST_BYTES, HELLO_BYTES, Hello, Purpose};
use replication::link::meeting::Question;
use replication::version::Version;

use crate::core::io::{ConnId, OsError, Output};
use crate::limits::{LINK_HELLO_NS_MAX, LINK_HELLOS_MAX};
use connection::{Connection, Flush, Stage, Table};
use identity::Acquaintances;
use peer::{Peer, Route};
pub use place::Place;
use replication::buggify::{Point, is_taken};
use replication::fault::{Fault, is_planted};
use stats::LinkStats;

pub struct Links {
    place: Place,
    acquaintances: Arc<dyn Acquaintances>,
    /// The version of the cluster that the other side of a link must apply.
    required: Version,
    peers: BTreeMap<NodeId, Peer>,
    /// The highest number that any node has had: at or below it, whoever is no peer was removed.
    last_node: u64,
    /// Another node has said that this one was removed.
    pub told_removed: bool,
    meeting: Option<(ConnId, Question)>,
    table: Table,
    /// Connects under way: whom they are for, and which link.
    attempts: BTreeMap<u64, (NodeId, u16)>,
    last_attempt: u64,
    /// Of connections: the start in the upper half, so that none of before has the same.
    last_number: u64,
    rng: Rng,
    now_ns: u64,
    /// When something is due although nothing happens. Found anew once `changed`.
    wake_ns: Option<u64>,
    changed: bool,
    /// Connections with something to send, or to hand over; and those given up in this turn.
    dirty: Vec<ConnId>,
    closes: Vec<ConnId>,
    /// A node speaks for a client of its own.
    arrival: Option<Arrival>,
    pub stats: LinkStats,
}

/// What came by one link, to be read frame by frame and then given back with [`Links::on_read`].
pub struct Incoming {
    conn: ConnId,
    from: NodeId,
    reader: FrameReader,
    frames: u64,
}

/// A connection that came by the peers' port and is a client's of the node that speaks.
pub struct Arrival {
    pub conn: ConnId,
    pub address: SocketAddr,
    /// What it is to be told first.
    pub answer: [u8; HELLO_BYTES],
    /// What has come behind its hello.
    pub rest: Vec<u8>,
}

impl Incoming {
    /// The next message: of which node, for which shard's group.
    pub fn next_frame(&mut self) -> Option<(NodeId, ShardId, &[u8])> {
        let Frame { shard, payload } = self.reader.read().ok().flatten()?;
        self.frames += 1;
        Some((self.from, shard, payload))
    }
}

impl Links {
    pub fn new(
        place: Place,
        acquaintances: Arc<dyn Acquaintances>,
        incarnation: Incarnation,
        seed: u64,
    ) -> Links {
        assert!(place.core < place.cores, "core {} of {}", place.core, place.cores);
        Links {
            place,
            acquaintances,
            required: Version(1),
            peers: BTreeMap::new(),
            last_node: 0,
            told_removed: false,
            meeting: None,
            table: Table::default(),
            attempts: BTreeMap::new(),
            last_attempt: 0,
            last_number: incarnation.0 << 32,
            rng: Rng::new(seed),
            now_ns: 0,
            wake_ns: None,
            changed: false,
            dirty: Vec::new(),
            closes: Vec::new(),
            arrival: None,
            stats: LinkStats::default(),
        }
    }

    /// The other nodes, all of them; links with those that are no more among them end. A link that
    /// stands does not end because its node's address has changed.
    pub fn set_peers(&mut self, peers: &[(NodeId, SocketAddr)]) {
        self.changed = true;
        let gone: Vec<NodeId> = self
            .peers
            .keys()
            .filter(|id| !peers.iter().any(|(at, _)| at == *id))
            .copied()
            .collect();
        for node in gone {
            let Some(peer) = self.peers.remove(&node) else { continue };
            peer.routes.iter().for_each(|route| self.drop_route(route));
        }
        for (node, address) in peers.iter().filter(|(node, _)| *node != self.place.node) {
            let now_ns = self.now_ns;
            match self.peers.get_mut(node) {
                Some(peer) if peer.address == *address => {}
                Some(peer) => peer.move_to(*address, now_ns),
                None => {
                    let mut peer = Peer::new(*address);
                    if self.place.node < *node {
                        peer.dial(self.place.core, now_ns);
                    }
                    self.peers.insert(*node, peer);
                }
            }
        }
    }

    /// Who is no peer and has a number up to this is no more.
    pub fn set_last_node(&mut self, last_node: u64) {
        self.last_node = last_node;
    }

    /// Nobody is heard of: the others are asked why, also those that should connect here. They may
    /// have no reason to.
    pub fn ask_around(&mut self) {
        self.changed = true;
        let (link, now_ns) = (self.place.core, self.now_ns);
        let unheard = self.peers.values_mut().filter(|peer| !peer.is_linked());
        unheard.for_each(|peer| peer.ask(link, now_ns));
    }

    /// A node has this directory, by what the cluster says of it: it is known by no other.
    pub fn note_directory(&self, node: NodeId, directory: DirectoryId) -> std::io::Result<()> {
        let own = node == self.place.node;
        if own { Ok(()) } else { self.acquaintances.meet(node.0, directory).map(drop) }
    }

    /// The directory of a node, if it is known.
    pub fn directory_of(&self, node: NodeId) -> Option<DirectoryId> {
        let own = node == self.place.node;
        if own { Some(self.acquaintances.own()) } else { self.acquaintances.known(node.0) }
    }

    pub fn begin_turn(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
    }

    /// Whether a connection is one of these.
    #[inline]
    pub fn has(&self, conn: ConnId) -> bool {
        self.table.has(conn)
    }

    /// Somebody came by the peers' port, or a core of this node handed it over.
    pub fn on_accepted(&mut self, conn: ConnId, address: SocketAddr) {
        self.changed = true;
        if self.table.hellos_awaited() >= LINK_HELLOS_MAX {
            self.stats.refused += 1;
            self.closes.push(conn);
            return;
        }
        self.table.insert(Connection::accepted(conn, address, self.now_ns));
    }

    /// What became of an [`Output::Connect`] of ours.
    pub fn on_connected(&mut self, attempt: u64, result: Result<ConnId, OsError>) {
        self.changed = true;
        let wanted = self.attempts.remove(&attempt).and_then(|(node, link)| {
            let peer = self.peers.get_mut(&node)?;
            let (address, cores) = (peer.address, peer.cores);
            let route = peer.route_mut(link).filter(|route| route.is_connecting(attempt))?;
            Some((node, address, cores, route))
        });
        let Some((node, address, cores, route)) = wanted else {
            self.closes.extend(result.ok());
            return;
        };
        match result {
            Ok(conn) => {
                let link = route.link;
                route.on_connected(conn);
                let to_core = peer::core_of(link, cores);
                let own = self.hello((node.0, to_core), link);
                self.table.insert(Connection::dialled(conn, address, own, self.now_ns));
                self.mark_dirty(conn);
            }
            Err(error) => {
                let link = route.link;
                self.stats.on_unreachable(node, address, route, error);
                let chance = self.rng.next_u64();
                if let Some(peer) = self.peers.get_mut(&node) {
                    peer.on_unreached(link, self.now_ns, chance);
                }
            }
        }
    }

    /// Bytes came by one of these connections. What is in them is to be read at once.
    pub fn on_received(&mut self, conn: ConnId, bytes: &[u8]) -> Option<Incoming> {
        let connection = self.table.get_mut(conn)?;
        if let Stage::Standing(standing) = &mut connection.stage {
            let mut reader = standing.reader.take()?;
            standing.heard_ns = self.now_ns;
            reader.receive(bytes);
            return Some(Incoming { conn, from: standing.node, reader, frames: 0 });
        }
        connection.received.extend_from_slice(bytes);
        if matches!(connection.stage, Stage::Leaving { .. } | Stage::Refused) {
            return None;
        }
        let first = *connection.received.first_chunk::<FIRST_BYTES>()?;
        if let Some(question) = Question::decode(&first) {
            self.on_question(conn, question);
            return None;
        }
        let read = Hello::read(&connection.received).transpose()?;
        if let Err(error) = read.and_then(|other| self.on_hello(conn, other)) {
            let address = self.table.get_mut(conn)?.address;
            let own = error.needs_operator().then(|| self.answer_to(&first)).flatten();
            let removed = matches!(error, LinkError::RemovedNode { .. });
            let own = own.map(|own| match error {
                LinkError::OtherCluster { .. } => own.to_stranger(),
                _ => Hello { says_removed: removed, ..own },
            });
            self.told_removed |= matches!(error, LinkError::Removed { .. });
            self.stats.on_refused(address, error, self.now_ns);
            // A node that must not take part hears why, for its operator to read.
            match own.filter(|_| self.table.is_accepted(conn)) {
                Some(own) => {
                    self.table.refuse(conn, own.encode().to_vec());
                    self.mark_dirty(conn);
                }
                None => self.give_up(conn),
            }
            return None;
        }
        let connection = self.table.get_mut(conn)?;
        if !matches!(connection.stage, Stage::Standing(_)) {
            return None;
        }
        let received = std::mem::take(&mut connection.received);
        self.on_received(conn, &received[HELLO_BYTES..])
    }

    /// Somebody who is no node yet has just asked something.
    pub fn take_question(&mut self) -> Option<(ConnId, Question)> {
        self.meeting.take()
    }

    pub fn answer(&mut self, conn: ConnId, answer: Vec<u8>) {
        self.table.refuse(conn, answer);
        self.mark_dirty(conn);
    }

    /// Everything that had come is read.
    pub fn on_read(&mut self, mut incoming: Incoming) {
        self.stats.frames_received += incoming.frames;
        let Some(connection) = self.table.get_mut(incoming.conn) else { return };
        let address = connection.address;
        let Stage::Standing(standing) = &mut connection.stage else { return };
        match incoming.reader.read() {
            Ok(_) => standing.reader = Some(incoming.reader),
            Err(error) => {
                self.stats.on_refused(address, error, self.now_ns);
                self.give_up(incoming.conn);
            }
        }
    }

    pub fn on_sent(&mut self, conn: ConnId, buffer: Vec<u8>) {
        let Some(connection) = self.table.get_mut(conn) else { return };
        let more = connection.on_sent(buffer);
        if matches!(connection.stage, Stage::Refused) && !more {
            self.give_up(conn);
        } else if more {
            self.mark_dirty(conn);
        }
    }

    /// The other side closed, or a socket failed.
    pub fn on_ended(&mut self, conn: ConnId) {
        self.give_up(conn);
    }

    /// Sends a message to a node's replica of a shard, on a link that this core has with it: always
    /// the same one while the same links stand. Returns whether it goes out: it is dropped if none
    /// stands, or too much waits already.
    pub fn send(&mut self, to: NodeId, shard: ShardId, payload: &[u8]) -> bool {
        let Some(conn) = self.peers.get(&to).and_then(|peer| peer.choose(shard, &self.place))
        else {
            self.stats.dropped_unlinked += 1;
            return false;
        };
        let Some(Stage::Standing(standing)) = self.table.get_mut(conn).map(|c| &mut c.stage) else {
            unreachable!("a route in use has its connection");
        };
        if !standing.outbox.push(Frame { shard, payload }) {
            self.stats.dropped_full += 1;
            return false;
        }
        self.stats.frames_sent += 1;
        self.mark_dirty(conn);
        true
    }

    /// Whether a message to that node would find a link.
    pub fn is_linked(&self, node: NodeId) -> bool {
        self.peers.get(&node).is_some_and(Peer::is_linked)
    }

    /// When anything came from a node last, by the links that stand.
    pub fn heard_ns(&self, node: NodeId) -> Option<u64> {
        let routes = self.peers.get(&node)?.routes.iter().filter(|route| route.stands());
        routes.filter_map(|route| self.table.heard_ns(route.conn()?)).max()
    }

    /// Ends the turn: what is due is begun, and each link's messages go out as one send.
    pub fn end_turn<M, L>(&mut self, outputs: &mut Vec<Output<M, L>>) {
        if self.wake_ns.is_some_and(|at| at <= self.now_ns) || self.changed {
            self.do_what_is_due(outputs);
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        for conn in dirty.drain(..) {
            if is_taken(Point::LinkBreaks) {
                self.give_up(conn);
            }
            let Some(connection) = self.table.get_mut(conn) else { continue };
            match connection.flush() {
                Flush::Nothing => {}
                Flush::Send { bytes, await_sent } => {
                    outputs.push(Output::Send { conn, bytes, await_sent });
                }
                Flush::HandOver { to, bytes } => {
                    self.table.remove(conn);
                    self.stats.handed_over += 1;
                    outputs.push(Output::HandOver { conn, to, bytes });
                }
            }
        }
        self.dirty = dirty;
        outputs.extend(self.closes.drain(..).map(|conn| Output::Close { conn }));
    }

    /// When a turn is wanted although nothing happens.
    pub fn next_wake_ns(&self) -> Option<u64> {
        self.wake_ns
    }

    /// Those who have said nothing for too long are given up, and those connected to whose time it
    /// is.
    fn do_what_is_due<M, L>(&mut self, outputs: &mut Vec<Output<M, L>>) {
        let since_ns = self.now_ns.saturating_sub(LINK_HELLO_NS_MAX);
        for conn in self.table.silent_since(since_ns) {
            self.stats.silent += 1;
            self.give_up(conn);
        }
        for (node, peer) in &mut self.peers {
            for route in &mut peer.routes {
                if !route.is_due(self.now_ns) {
                    continue;
                }
                self.last_attempt += 1;
                route.on_dialled(self.last_attempt);
                self.attempts.insert(self.last_attempt, (*node, route.link));
                outputs.push(Output::Connect { attempt: self.last_attempt, address: peer.address });
            }
        }
        let dials = self.peers.values().flat_map(|peer| &peer.routes).filter_map(Route::due_ns);
        let silences = self.table.hello_since_ns().map(|at| at + LINK_HELLO_NS_MAX);
        self.wake_ns = dials.chain(silences).min();
        self.changed = false;
    }

    /// A connection is another core's.
    fn leave(&mut self, conn: ConnId, to: u16) {
        self.table.leave(conn, to);
        self.mark_dirty(conn);
    }

    /// The other side has said who it is: the connection is a link from now on, or leaves for the
    /// core that it is for.
    fn on_hello(&mut self, conn: ConnId, other: Hello) -> Result<(), LinkError> {
        let Some(connection) = self.table.get_mut(conn) else { return Ok(()) };
        let dialled = match &connection.stage {
            Stage::Dialled { own } => Some(*own),
            _ => None,
        };
        let own = match dialled {
            Some(own) => own,
            None => {
                let own = self.hello((other.node, other.core), other.link);
                Hello { purpose: other.purpose, ..own }
            }
        };
        let agreed = own.agree(&other)?;
        // What there is to apply may be more than when this side spoke.
        Hello { version: self.required, ..own }.check_versions(&other)?;
        let node = NodeId(other.node);
        if own.purpose == Purpose::Client {
            return self.on_client_hello(conn, own, &other);
        }
        if dialled.is_none() {
            let to = peer::core_of(other.link, Some(self.place.cores));
            if to != self.place.core {
                self.leave(conn, to);
                return Ok(());
            }
            match (self.peers.contains_key(&node), (1..=self.last_node).contains(&node.0)) {
                (true, _) => {}
                (false, true) => return Err(LinkError::RemovedNode { node: other.node }),
                (false, false) => return Err(LinkError::UnknownNode { node: other.node }),
            }
            if node > self.place.node {
                return Err(LinkError::WrongWay { node: other.node });
            }
        }
        // It was only asked what it has to say of this node.
        if dialled.is_some() && node < self.place.node {
            return Err(LinkError::WrongWay { node: self.place.node.0 });
        }
        self.check_directory(&other)?;
        self.changed = true;
        self.table.stand(conn, node, &own, agreed, dialled.is_none());
        self.mark_dirty(conn);
        self.learn_cores(node, other.cores);
        let Some(peer) = self.peers.get_mut(&node) else { return Ok(()) };
        peer.applied = other.applied;
        let before = peer.on_linked(other.link, conn, self.now_ns);
        self.stats.on_linked(node, peer.address, other.link);
        if let Some(before) = before {
            self.stats.standing -= 1;
            self.stats.replaced += 1;
            self.table.remove(before);
            self.closes.push(before);
        }
        Ok(())
    }

    /// A node that is known speaks for one of its clients: the connection is no link.
    fn on_client_hello(
        &mut self,
        conn: ConnId,
        own: Hello,
        other: &Hello,
    ) -> Result<(), LinkError> {
        let node = other.node;
        if !self.peers.contains_key(&NodeId(node)) {
            return Err(LinkError::UnknownNode { node });
        }
        let unknown = self.acquaintances.known(node) != Some(other.directory);
        if unknown && !is_planted(Fault::DirectoriesUnchecked) {
            return Err(LinkError::OtherDirectory { node });
        }
        self.changed = true;
        if let Some(connection) = self.table.remove(conn) {
            let rest = connection.received[HELLO_BYTES..].to_vec();
            let (address, answer) = (connection.address, own.encode());
            self.arrival = Some(Arrival { conn, address, answer, rest });
        }
        Ok(())
    }

    pub fn take_arrival(&mut self) -> Option<Arrival> {
        self.arrival.take()
    }

    /// Where a node listens to others.
    pub fn address_of(&self, node: NodeId) -> Option<SocketAddr> {
        self.peers.get(&node).map(|peer| peer.address)
    }

    /// Whether a node comes with the directory that it had when it was first met. If that is now,
    /// it is written down before anything that the node says counts.
    fn check_directory(&self, other: &Hello) -> Result<(), LinkError> {
        let Hello { node, directory, .. } = *other;
        match self.acquaintances.meet(node, directory) {
            Ok(known) if known == directory || is_planted(Fault::DirectoriesUnchecked) => Ok(()),
            Ok(_) => Err(LinkError::OtherDirectory { node }),
            Err(error) => {
                tracing::error!("node.toml: {error}");
                Err(LinkError::NotNoted { node })
            }
        }
    }

    /// A node has so many cores: links that only more would have end, others are begun.
    fn learn_cores(&mut self, node: NodeId, cores: u16) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if peer.cores == Some(cores) {
            return;
        }
        peer.cores = Some(cores);
        let links = cores.max(self.place.cores);
        for route in peer.cut_routes(links) {
            self.drop_route(&route);
        }
        if self.place.node < node
            && let Some(peer) = self.peers.get_mut(&node)
        {
            let own = (self.place.core..links).step_by(usize::from(self.place.cores));
            own.for_each(|link| peer.dial(link, self.now_ns));
        }
    }

    /// Closes a connection; the link that it was is tried again if that is up to this side.
    fn give_up(&mut self, conn: ConnId) {
        self.changed = true;
        let Some(connection) = self.table.remove(conn) else { return };
        self.closes.push(conn);
        let Some((node, link)) = connection.link() else { return };
        let Some(peer) = self.peers.get_mut(&node) else { return };
        let Some(stood) = peer.on_broken(link, conn, self.now_ns, self.rng.next_u64()) else {
            return;
        };
        if stood {
            self.stats.on_broken(node, connection.address, link);
        }
    }

    /// A route is no more: neither is its connection.
    fn drop_route(&mut self, route: &Route) {
        let Some(conn) = route.conn() else { return };
        self.table.remove(conn);
        self.closes.push(conn);
        self.stats.standing -= usize::from(route.stands());
    }

    fn mark_dirty(&mut self, conn: ConnId) {
        if self.table.get_mut(conn).is_some_and(|c| !std::mem::replace(&mut c.dirty, true)) {
            self.dirty.push(conn);
        }
    }
}
