//! Nodes' links joined by pipes in memory. A connection delivers what was sent in order, in any
//! pieces and at any time, until it is cut; then the rest is lost. All from one seed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use engine::rng::Rng;
use replication::group::NodeId;
use replication::ids::{Incarnation, ShardId};
use replication::version::{Version, Versions};

use super::super::connection::Stage;
use super::super::identity::Remembered;
use super::super::stats::LinkStats;
use super::super::{Links, Place};
use super::{CLUSTER, Out, directory_of};
use crate::core::home_of;
use crate::core::io::{ConnId, OsError, Output};

const SHARDS: usize = 7;

/// A node is known by its port.
pub fn address_of(node: u64) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 10_000 + node as u16))
}

pub struct Net {
    rng: Rng,
    now_ns: u64,
    nodes: Vec<Node>,
    pipes: Vec<Pipe>,
    /// Connects under way: node and core, attempt, the node wanted.
    connects: Vec<(usize, usize, u64, usize)>,
    /// Sends whose core has not heard that they are out: node, core, connection, buffer.
    sends: Vec<(usize, usize, ConnId, Vec<u8>)>,
    next_index: u32,
    /// Messages sent so far; each carries its number.
    sent: u64,
    seen: BTreeSet<u64>,
    /// By connection: the core that sends on it, and the number of its last message.
    last_by: BTreeMap<ConnId, (u64, u64)>,
    /// Where each message was received.
    received_at: BTreeMap<u64, usize>,
    /// By node: they outlive its starts.
    acquaintances: Vec<Arc<Remembered>>,
}

struct Node {
    starts: u64,
    cores: Vec<Seat>,
}

struct Seat {
    links: Links,
    inputs: VecDeque<Input>,
    /// Connections that this core has not closed.
    open: BTreeSet<ConnId>,
}

enum Input {
    Accepted(ConnId),
    Connected(u64, Result<ConnId, OsError>),
    Received(ConnId, Vec<u8>),
    Sent(ConnId, Vec<u8>),
    Ended(ConnId),
}

/// A connection: its ends, and what is on the way to each.
struct Pipe {
    ends: [End; 2],
    /// Somebody has closed it: no more goes in.
    closed: bool,
}

struct End {
    at: (usize, usize, ConnId),
    arriving: VecDeque<u8>,
    told: bool,
}

impl Net {
    /// Two or three nodes with one to five cores.
    pub fn new(seed: u64) -> Net {
        let mut net = Net {
            rng: Rng::new(seed),
            now_ns: 1,
            nodes: Vec::new(),
            pipes: Vec::new(),
            connects: Vec::new(),
            sends: Vec::new(),
            next_index: 0,
            sent: 0,
            seen: BTreeSet::new(),
            last_by: BTreeMap::new(),
            received_at: BTreeMap::new(),
            acquaintances: (1..=3).map(|id| Arc::new(Remembered::new(directory_of(id)))).collect(),
        };
        for _ in 0..2 + net.rng.below(2) {
            net.nodes.push(Node { starts: 0, cores: Vec::new() });
        }
        (0..net.nodes.len()).for_each(|node| net.start(node));
        net
    }

    /// A node starts, perhaps with another number of cores; what was of it is gone.
    fn start(&mut self, node: usize) {
        let of_node = |pipe: &Pipe| pipe.ends.iter().any(|end| end.at.0 == node);
        for pipe in self.pipes.iter_mut().filter(|pipe| of_node(pipe)) {
            pipe.cut();
        }
        self.connects.retain(|connect| connect.0 != node);
        self.sends.retain(|send| send.0 != node);
        let peers: Vec<_> = (1..=self.nodes.len() as u64).collect();
        let cores = 1 + self.rng.below(5) as u16;
        self.nodes[node].starts += 1;
        let starts = self.nodes[node].starts;
        self.nodes[node].cores = (0..cores)
            .map(|core| {
                let id = NodeId(node as u64 + 1);
                let place = Place {
                    cluster: CLUSTER,
                    node: id,
                    core,
                    cores,
                    shard_count: SHARDS,
                    epoch: 0,
                    election_timeout_ms: 300,
                    founded: Version(1),
                    applied: Versions::OWN,
                };
                let known = self.acquaintances[node].clone();
                let mut links = Links::new(place, known, Incarnation(starts), self.rng.next_u64());
                let peers: Vec<_> = peers.iter().map(|id| (NodeId(*id), address_of(*id))).collect();
                links.set_peers(&peers);
                Seat { links, inputs: VecDeque::new(), open: BTreeSet::new() }
            })
            .collect();
    }

    pub fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            match self.rng.below(100) {
                0 => self.cut_one(),
                1 if self.rng.below(8) == 0 => {
                    let node = self.rng.below(self.nodes.len() as u64) as usize;
                    self.start(node);
                }
                2..15 => self.send_one(),
                _ => self.step(),
            }
        }
    }

    /// Until every link stands and nothing is on the way.
    pub fn settle(&mut self) {
        for _ in 0..400 {
            // The longest back-off is a second and a half.
            self.now_ns += 50_000_000;
            self.drain();
        }
    }

    fn drain(&mut self) {
        self.turn_all();
        for _ in 0..10_000 {
            let waits = |seat: &Seat| !seat.inputs.is_empty();
            let busy = self.nodes.iter().any(|node| node.cores.iter().any(waits));
            let on_way = |pipe: &Pipe| pipe.ends.iter().any(|end| end.is_due(pipe.closed));
            let under_way = !self.connects.is_empty() || !self.sends.is_empty();
            if !busy && !under_way && !self.pipes.iter().any(on_way) {
                break;
            }
            for pipe in 0..self.pipes.len() {
                (0..2).for_each(|end| self.deliver(pipe, end, usize::MAX));
            }
            while !self.connects.is_empty() {
                self.connect(0);
            }
            while !self.sends.is_empty() {
                self.end_send(0);
            }
            self.turn_all();
        }
        self.pipes.retain(|pipe| !pipe.ends.iter().all(|end| end.told));
    }

    fn turn_all(&mut self) {
        for node in 0..self.nodes.len() {
            (0..self.nodes[node].cores.len()).for_each(|core| self.turn(node, core));
        }
    }

    fn step(&mut self) {
        match self.rng.below(5) {
            0 if !self.pipes.is_empty() => {
                let pipe = self.rng.below(self.pipes.len() as u64) as usize;
                let end = self.rng.below(2) as usize;
                let len = 1 + self.rng.below(200) as usize;
                self.deliver(pipe, end, len);
            }
            1 if !self.connects.is_empty() => {
                let place = self.rng.below(self.connects.len() as u64) as usize;
                self.connect(place);
            }
            2 if !self.sends.is_empty() => {
                let place = self.rng.below(self.sends.len() as u64) as usize;
                self.end_send(place);
            }
            3 => self.now_ns += self.rng.below(30_000_000),
            _ => {
                let (node, core) = self.random_core();
                self.turn(node, core);
            }
        }
    }

    fn random_core(&mut self) -> (usize, usize) {
        let node = self.rng.below(self.nodes.len() as u64) as usize;
        let cores = self.nodes[node].cores.len() as u64;
        (node, self.rng.below(cores) as usize)
    }

    fn new_conn(&mut self) -> ConnId {
        self.next_index += 1;
        ConnId { index: self.next_index, generation: 0 }
    }

    /// A connect ends: mostly well.
    fn connect(&mut self, place: usize) {
        let (node, core, attempt, wanted) = self.connects.swap_remove(place);
        if self.rng.below(6) == 0 {
            let refused = Input::Connected(attempt, Err(OsError(libc::ECONNREFUSED)));
            return self.nodes[node].cores[core].inputs.push_back(refused);
        }
        let at_core = self.rng.below(self.nodes[wanted].cores.len() as u64) as usize;
        let (near, far) = (self.new_conn(), self.new_conn());
        let seat = &mut self.nodes[node].cores[core];
        seat.open.insert(near);
        seat.inputs.push_back(Input::Connected(attempt, Ok(near)));
        let seat = &mut self.nodes[wanted].cores[at_core];
        seat.open.insert(far);
        seat.inputs.push_back(Input::Accepted(far));
        let ends = [(node, core, near), (wanted, at_core, far)];
        let ends = ends.map(|at| End { at, arriving: VecDeque::new(), told: false });
        self.pipes.push(Pipe { ends, closed: false });
    }

    fn end_send(&mut self, place: usize) {
        let (node, core, conn, buffer) = self.sends.swap_remove(place);
        self.nodes[node].cores[core].inputs.push_back(Input::Sent(conn, buffer));
    }

    fn deliver(&mut self, pipe: usize, end: usize, len: usize) {
        let closed = self.pipes[pipe].closed;
        let end = &mut self.pipes[pipe].ends[end];
        if !end.is_due(closed) {
            return;
        }
        let (node, core, conn) = end.at;
        let input = if end.arriving.is_empty() {
            end.told = true;
            Input::Ended(conn)
        } else {
            let len = len.min(end.arriving.len());
            Input::Received(conn, end.arriving.drain(..len).collect())
        };
        // A node that was started again has no such connection.
        if let Some(seat) = self.nodes[node].cores.get_mut(core) {
            seat.inputs.push_back(input);
        }
    }

    fn cut_one(&mut self) {
        if !self.pipes.is_empty() {
            let pipe = self.rng.below(self.pipes.len() as u64) as usize;
            self.pipes[pipe].cut();
        }
    }

    fn turn(&mut self, node: usize, core: usize) {
        let now_ns = self.now_ns;
        let seat = &mut self.nodes[node].cores[core];
        seat.links.begin_turn(now_ns);
        for input in std::mem::take(&mut seat.inputs) {
            self.give(node, core, input);
        }
        let mut outputs = Vec::<Out>::new();
        self.nodes[node].cores[core].links.end_turn(&mut outputs);
        for output in outputs {
            self.carry_out(node, core, output);
        }
    }

    fn give(&mut self, node: usize, core: usize, input: Input) {
        let seat = &mut self.nodes[node].cores[core];
        match input {
            Input::Accepted(conn) => seat.links.on_accepted(conn, address_of(99)),
            Input::Connected(attempt, result) => seat.links.on_connected(attempt, result),
            Input::Received(conn, _) | Input::Sent(conn, _) | Input::Ended(conn)
                if !seat.open.contains(&conn) => {}
            Input::Sent(conn, buffer) => seat.links.on_sent(conn, buffer),
            Input::Ended(conn) => seat.links.on_ended(conn),
            Input::Received(conn, bytes) => {
                let Some(mut incoming) = seat.links.on_received(conn, &bytes) else { return };
                let mut frames = Vec::new();
                while let Some((from, shard, payload)) = incoming.next_frame() {
                    frames.push((from, shard, payload.to_vec()));
                }
                seat.links.on_read(incoming);
                for (from, shard, payload) in frames {
                    self.on_frame(core, conn, from, shard, &payload);
                }
            }
        }
    }

    fn on_frame(&mut self, at: usize, conn: ConnId, from: NodeId, shard: ShardId, payload: &[u8]) {
        let word = |at: usize| u64::from_le_bytes(payload[8 * at..8 * at + 8].try_into().unwrap());
        let (number, node, core) = (word(0), word(1), word(2));
        assert_eq!(NodeId(node), from);
        assert_eq!(u64::from(shard.0), number % SHARDS as u64);
        assert!(payload[24..].iter().all(|byte| *byte == number as u8), "it was changed");
        assert!(number <= self.sent && self.seen.insert(number), "message {number} came twice");
        let (sender, last) = self.last_by.insert(conn, (core, number)).unwrap_or((core, 0));
        assert_eq!(sender, core, "a link joins two cores");
        assert!(last < number, "out of order");
        self.received_at.insert(number, at);
    }

    fn carry_out(&mut self, node: usize, core: usize, output: Out) {
        match output {
            Output::Connect { attempt, address } => {
                let wanted = usize::from(address.port() - 10_001);
                self.connects.push((node, core, attempt, wanted));
            }
            Output::Send { conn, bytes, await_sent: _ } => {
                let (pipe, end) = self.find(node, core, conn).expect("sent on what is open");
                if !pipe.closed {
                    pipe.ends[1 - end].arriving.extend(&bytes);
                }
                self.sends.push((node, core, conn, bytes));
            }
            Output::Close { conn } => {
                assert!(self.nodes[node].cores[core].open.remove(&conn), "closed twice");
                if let Some((pipe, end)) = self.find(node, core, conn) {
                    pipe.closed = true;
                    pipe.ends[end].arriving.clear();
                    pipe.ends[end].told = true;
                }
            }
            Output::HandOver { conn, to, bytes } => {
                self.hand_over(node, core, conn, usize::from(to), bytes);
            }
            _ => panic!("links want nothing else"),
        }
    }

    /// What has reached the old core and was not given to it goes along.
    fn hand_over(&mut self, node: usize, core: usize, conn: ConnId, to: usize, bytes: Vec<u8>) {
        let new = self.new_conn();
        let seat = &mut self.nodes[node].cores[core];
        assert!(seat.open.remove(&conn) && to != core);
        let inputs = std::mem::take(&mut seat.inputs);
        let mut moved = vec![Input::Accepted(new), Input::Received(new, bytes)];
        for input in inputs {
            match input {
                Input::Received(id, bytes) if id == conn => moved.push(Input::Received(new, bytes)),
                Input::Ended(id) if id == conn => moved.push(Input::Ended(new)),
                other => seat.inputs.push_back(other),
            }
        }
        if let Some((pipe, end)) = self.find(node, core, conn) {
            pipe.ends[end].at = (node, to, new);
        }
        let seat = &mut self.nodes[node].cores[to];
        seat.open.insert(new);
        seat.inputs.extend(moved);
    }

    fn find(&mut self, node: usize, core: usize, conn: ConnId) -> Option<(&mut Pipe, usize)> {
        self.pipes.iter_mut().find_map(|pipe| {
            let end = pipe.ends.iter().position(|end| end.at == (node, core, conn))?;
            Some((pipe, end))
        })
    }

    fn send_one(&mut self) {
        let (node, core) = self.random_core();
        let to = self.rng.below(self.nodes.len() as u64) as usize;
        if to != node {
            self.send(node, core, to);
        }
    }

    /// Returns the message's number, if it goes out.
    fn send(&mut self, node: usize, core: usize, to: usize) -> Option<u64> {
        self.sent += 1;
        let number = self.sent;
        let words = [number, node as u64 + 1, core as u64];
        let mut payload: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let filler = self.rng.below(300) as usize;
        payload.extend(std::iter::repeat_n(number as u8, filler));
        let shard = ShardId((number % SHARDS as u64) as u16);
        let seat = &mut self.nodes[node].cores[core];
        seat.links.send(NodeId(to as u64 + 1), shard, &payload).then_some(number)
    }

    /// Between any two nodes all links stand, each at the two cores that it is for, and no more are
    /// tried; nothing waits to be sent.
    pub fn check_links(&mut self) {
        for (one, two) in self.pairs() {
            let (a, b) = (self.nodes[one].cores.len(), self.nodes[two].cores.len());
            for (core, seat) in self.nodes[one].cores.iter_mut().enumerate() {
                let Links { peers, table, .. } = &mut seat.links;
                let routes = &peers[&NodeId(two as u64 + 1)].routes;
                let links: Vec<_> = routes.iter().map(|route| usize::from(route.link)).collect();
                let wanted: Vec<_> = (0..a.max(b)).filter(|link| link % a == core).collect();
                assert_eq!(links, wanted, "core {core} of {a}, with a node of {b}");
                for route in routes {
                    assert!(route.stands(), "link {}", route.link);
                    let connection = route.conn().and_then(|conn| table.get_mut(conn));
                    let Some(Stage::Standing(standing)) = connection.map(|c| &c.stage) else {
                        panic!("a link in use has its connection");
                    };
                    assert_eq!(standing.outbox.bytes(), 0, "it waits");
                }
            }
        }
        let all = self.nodes.iter().flat_map(|node| &node.cores);
        let standing: usize = all.map(|seat| seat.links.stats.standing).sum();
        let largest = |(one, two): (usize, usize)| {
            self.nodes[one].cores.len().max(self.nodes[two].cores.len())
        };
        assert_eq!(standing, self.pairs().map(largest).sum::<usize>());
        assert_eq!(self.pipes.len() * 2, standing, "no connection is left over");
    }

    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let count = self.nodes.len();
        let all = (0..count).flat_map(move |one| (0..count).map(move |two| (one, two)));
        all.filter(|(one, two)| one != two)
    }

    /// Every core reaches every node, and by the link that ends at the shard's home if it has it.
    pub fn check_each_message_arrives(&mut self) {
        for (one, two) in self.pairs().collect::<Vec<_>>() {
            let (a, b) = (self.nodes[one].cores.len(), self.nodes[two].cores.len());
            for core in 0..a {
                for _ in 0..SHARDS {
                    let number = self.send(one, core, two).expect("a link stands");
                    self.drain();
                    let home = home_of((number % SHARDS as u64) as usize, SHARDS, b);
                    let direct =
                        (0..a.max(b)).any(|link| link % a == core && link % b == usize::from(home));
                    let at = self.received_at.get(&number).expect("it arrives");
                    assert!(!direct || *at == usize::from(home), "it took a way round");
                }
            }
        }
    }

    pub fn add_stats(&self, sum: &mut LinkStats) {
        let all = self.nodes.iter().flat_map(|node| &node.cores);
        all.for_each(|seat| sum.add(&seat.links.stats));
    }
}

impl Pipe {
    fn cut(&mut self) {
        self.closed = true;
        self.ends.iter_mut().for_each(|end| end.arriving.clear());
    }
}

impl End {
    /// Something is to be told here.
    fn is_due(&self, closed: bool) -> bool {
        !self.told && (closed || !self.arriving.is_empty())
    }
}
