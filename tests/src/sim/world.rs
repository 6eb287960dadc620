//! One seed: a node, its clients, time, and the power cuts between.

use std::collections::BTreeMap;

use engine::rng::Rng;
use replication::log::limits::SEGMENT_BYTES_MIN;
use server::config::Config;
use server::core::io::ConnId;

use super::checker::Checker;
use super::client::{Asked, Client};
use super::disk::Disk;
use super::node::{Effect, Node, Waiting};
use super::workload::{Operation, QUEUES};

/// What a seed is run with; everything else comes from the seed.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub clients: usize,
    pub operations: usize,
    pub crashes: usize,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub operations: usize,
    pub crashes: usize,
    pub virtual_ns: u64,
    /// Of everything that the clients heard, and when: the same for the same seed.
    pub digest: u64,
}

/// Virtual time without an answer after which the node counts as stuck.
const STUCK_NS: u64 = 60_000_000_000;
/// Pipelines are no longer than this.
const PIPELINE_MAX: u64 = 6;

enum Event {
    Turn(u16),
    Input(u16, Waiting),
    Disk(u16, u64),
    ToClient {
        client: usize,
        conn: ConnId,
        bytes: Vec<u8>,
    },
    Dropped {
        client: usize,
        conn: ConnId,
    },
    /// A client says something.
    Step(usize),
}

struct World {
    rng: Rng,
    config: Config,
    node: Node,
    clients: Vec<Client>,
    checker: Checker,
    events: BTreeMap<(u64, u64), Event>,
    last_event: u64,
    now_ns: u64,
    /// When each core's next turn is, if it has one.
    turns: Vec<Option<(u64, u64)>>,
    last_value: u64,
    outcome: Outcome,
    left: usize,
}

/// Runs one seed. An error says what was violated.
pub fn run(plan: Plan) -> Result<Outcome, String> {
    let mut rng = Rng::new(plan.seed);
    let shards = 1 + rng.below(5) as usize;
    let config = Config {
        cores: 1 + rng.below(4) as usize,
        shards: Some(shards),
        log_segment_bytes: SEGMENT_BYTES_MIN * (1 + rng.below(3)),
        ..Config::default()
    };
    let node = Node::start(&config, Disk::default(), &mut rng)?;
    let mut world = World {
        turns: vec![None; config.cores],
        checker: Checker::default(),
        clients: (0..plan.clients).map(|_| Client::default()).collect(),
        events: BTreeMap::new(),
        last_event: 0,
        now_ns: 1,
        last_value: 0,
        outcome: Outcome { operations: 0, crashes: 0, virtual_ns: 0, digest: 0 },
        left: plan.operations,
        rng,
        config,
        node,
    };
    world.begin();
    let part = plan.operations / (plan.crashes + 1);
    for crash in 0..plan.crashes {
        let until = plan.operations.saturating_sub((crash + 1) * part);
        world.run_until(|world| world.left <= until)?;
        // Somewhere in what comes next.
        for _ in 0..world.rng.below(40) {
            world.step()?;
        }
        world.crash()?;
    }
    world.run_until(|world| world.left == 0 && world.is_quiet())?;
    world.finish()?;
    world.outcome.virtual_ns = world.now_ns;
    Ok(world.outcome)
}

impl World {
    fn begin(&mut self) {
        for core in 0..self.node.cores() {
            self.schedule_turn(core, self.now_ns);
        }
        for client in 0..self.clients.len() {
            let delay_ns = self.rng.below(1_000_000);
            self.schedule(self.now_ns + delay_ns, Event::Step(client));
        }
    }

    fn waiting(&self) -> String {
        let clients = self.clients.iter().enumerate();
        let waiting: Vec<_> = clients
            .filter_map(|(number, client)| Some((number, client.connected, client.asked.front()?)))
            .map(|(number, at, asked)| {
                let Asked { operation, started_ns, replies } = asked;
                format!("client {number} at {at:?}: {operation:?} since {started_ns}, {replies:?}")
            })
            .collect();
        format!("left {}, waiting for answers: {waiting:#?}", self.left)
    }

    fn is_quiet(&self) -> bool {
        self.clients.iter().all(|client| client.asked.is_empty())
    }

    fn run_until(&mut self, done: impl Fn(&World) -> bool) -> Result<(), String> {
        let (mut answered, mut since_ns) = (self.outcome.operations, self.now_ns);
        while !done(self) {
            self.step()?;
            if self.outcome.operations > answered {
                (answered, since_ns) = (self.outcome.operations, self.now_ns);
            } else if self.now_ns > since_ns + STUCK_NS {
                return Err(format!("stuck; {}", self.waiting()));
            }
        }
        Ok(())
    }

    /// The next event.
    fn step(&mut self) -> Result<(), String> {
        let Some(((at_ns, number), event)) = self.events.pop_first() else {
            return Err(format!("nothing happens any more; {}", self.waiting()));
        };
        self.now_ns = at_ns.max(self.now_ns);
        match event {
            Event::Turn(core) => {
                if self.turns[usize::from(core)] == Some((at_ns, number)) {
                    self.turns[usize::from(core)] = None;
                }
                self.turn(core);
            }
            Event::Input(core, input) => {
                self.node.add(core, input);
                self.schedule_soon(core);
            }
            Event::Disk(core, operation) => {
                self.node.finish_disk(core, operation);
                self.schedule_soon(core);
            }
            Event::ToClient { client, conn, bytes } => self.on_answer(client, conn, &bytes)?,
            Event::Dropped { client, conn } => {
                if self.clients[client].connected.is_some_and(|(_, own)| own == conn) {
                    return Err(format!("the server closed the connection of client {client}"));
                }
            }
            Event::Step(client) => self.client_step(client),
        }
        Ok(())
    }

    fn turn(&mut self, core: u16) {
        let effects = self.node.turn(core, self.now_ns);
        // A turn takes some time.
        let after_ns = self.now_ns + 1_000 + self.rng.below(20_000);
        for effect in effects {
            match effect {
                Effect::Send { conn, bytes } => {
                    let client = conn.index as usize;
                    let delay_ns = 1_000 + self.rng.below(100_000);
                    let state = &mut self.clients[client];
                    let at_ns = state.answered_until_ns.max(after_ns + delay_ns) + 1;
                    state.answered_until_ns = at_ns;
                    let event = Event::ToClient { client, conn, bytes: bytes.clone() };
                    self.schedule(at_ns, event);
                    let sent_ns = after_ns + self.rng.below(5_000);
                    self.schedule(sent_ns, Event::Input(core, Waiting::Sent(conn, bytes)));
                }
                Effect::Close(conn) => {
                    let client = conn.index as usize;
                    let at_ns = self.clients[client].answered_until_ns.max(after_ns) + 1;
                    self.schedule(at_ns, Event::Dropped { client, conn });
                }
                Effect::Mesh(to) => self.schedule_soon(to),
                Effect::Disk(operation) => {
                    // Mostly fast, now and then slow.
                    let most_ns = if self.rng.below(20) == 0 { 20_000_000 } else { 300_000 };
                    let at_ns = after_ns + 20_000 + self.rng.below(most_ns);
                    self.schedule(at_ns, Event::Disk(core, operation));
                }
                Effect::Wake(at_ns) => self.schedule_turn(core, at_ns.max(after_ns)),
            }
        }
    }

    fn client_step(&mut self, client: usize) {
        if self.left == 0 || !self.clients[client].asked.is_empty() {
            return;
        }
        let count = (1 + self.rng.below(PIPELINE_MAX) as usize).min(self.left);
        self.left -= count;
        let mut operations = Vec::new();
        for _ in 0..count {
            self.last_value += 1;
            operations.push(Operation::random(&mut self.rng, self.last_value));
        }
        self.ask(client, operations);
    }

    /// Sends a pipeline, in pieces that may break anywhere.
    fn ask(&mut self, client: usize, operations: Vec<Operation>) {
        let (core, conn) = self.connect(client);
        let mut bytes = Vec::new();
        for operation in operations {
            operation.encode(client, &mut bytes);
            let asked = Asked { operation, started_ns: self.now_ns, replies: Vec::new() };
            self.clients[client].asked.push_back(asked);
        }
        while !bytes.is_empty() {
            let len = match self.rng.below(3) {
                0 => 1 + self.rng.below(bytes.len() as u64) as usize,
                _ => bytes.len(),
            };
            let piece: Vec<u8> = bytes.drain(..len).collect();
            let delay_ns = 1_000 + self.rng.below(100_000);
            self.send(client, core, delay_ns, Waiting::Received(conn, piece));
        }
    }

    fn connect(&mut self, client: usize) -> (u16, ConnId) {
        if let Some(connected) = self.clients[client].connected {
            return connected;
        }
        let core = self.rng.below(u64::from(self.node.cores())) as u16;
        let state = &mut self.clients[client];
        state.generation += 1;
        let conn = ConnId { index: client as u32, generation: state.generation };
        state.connected = Some((core, conn));
        self.send(client, core, 1_000, Waiting::Accepted(conn));
        (core, conn)
    }

    /// Something of a client reaches its core, after what it sent before.
    fn send(&mut self, client: usize, core: u16, delay_ns: u64, input: Waiting) {
        let state = &mut self.clients[client];
        let at_ns = (self.now_ns + delay_ns).max(state.sent_until_ns + 1);
        state.sent_until_ns = at_ns;
        self.schedule(at_ns, Event::Input(core, input));
    }

    fn on_answer(&mut self, client: usize, conn: ConnId, bytes: &[u8]) -> Result<(), String> {
        let state = &mut self.clients[client];
        if state.connected.is_none_or(|(_, own)| own != conn) {
            return Ok(());
        }
        for byte in bytes.iter().chain(&self.now_ns.to_le_bytes()) {
            self.outcome.digest =
                (self.outcome.digest ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
        for asked in state.on_bytes(bytes)? {
            self.outcome.operations += 1;
            self.checker.on_done(client, &asked, self.now_ns)?;
        }
        if self.clients[client].asked.is_empty() {
            let think_ns = self.rng.below(400_000);
            self.schedule(self.now_ns + think_ns, Event::Step(client));
        }
        Ok(())
    }

    /// The power goes, and comes back to a node with perhaps another number of cores.
    fn crash(&mut self) -> Result<(), String> {
        self.outcome.crashes += 1;
        self.events.clear();
        for (number, client) in self.clients.iter_mut().enumerate() {
            for asked in client.disconnect() {
                self.checker.on_lost(number, &asked, self.now_ns);
            }
        }
        let mut disk = std::mem::take(&mut self.node.disk);
        disk.cut_power(&mut self.rng);
        self.config.cores = 1 + self.rng.below(4) as usize;
        self.turns = vec![None; self.config.cores];
        self.node = Node::start(&self.config, disk, &mut self.rng)?;
        self.now_ns += 1_000_000;
        self.begin();
        Ok(())
    }

    /// Everything is answered: what is left must be what the answers say.
    fn finish(&mut self) -> Result<(), String> {
        let rest = (0..QUEUES).map(|queue| Operation::Rest { queue });
        self.ask(0, rest.chain([Operation::Audit]).collect());
        self.run_until(World::is_quiet)?;
        self.checker.check_queues()
    }

    fn schedule(&mut self, at_ns: u64, event: Event) {
        self.last_event += 1;
        self.events.insert((at_ns, self.last_event), event);
    }

    /// A core has something to do: it gets to it soon, or after the machine had it wait.
    fn schedule_soon(&mut self, core: u16) {
        let pause_ns = if self.rng.below(200) == 0 { 5_000_000 } else { 5_000 };
        let delay_ns = self.rng.below(pause_ns);
        self.schedule_turn(core, self.now_ns + delay_ns);
    }

    fn schedule_turn(&mut self, core: u16, at_ns: u64) {
        let place = usize::from(core);
        if self.turns[place].is_some_and(|(other_ns, _)| other_ns <= at_ns) {
            return;
        }
        self.schedule(at_ns, Event::Turn(core));
        self.turns[place] = Some((at_ns, self.last_event));
    }
}
