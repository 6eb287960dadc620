//! One seed: a node, its clients, time, and the power cuts between.

use std::collections::BTreeMap;

use engine::rng::Rng;
use engine::settings::Policy;
use replication::buggify;
use replication::log::limits::SEGMENT_BYTES_MIN;
use server::config::Config;
use server::core::io::ConnId;

use super::checker::{Checker, is_refused};
use super::client::{Asked, Client};
use super::disk::{Damage, Disk};
use super::node::{Effect, Node, Waiting};
use super::outcome::Outcome;
use super::workload::{COUNTERS, Operation, QUEUES};

/// What a seed is run with; everything else comes from the seed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    pub seed: u64,
    pub clients: usize,
    pub operations: usize,
    pub crashes: usize,
    /// The power goes when the disk gets this operation, and again soon after the next start.
    pub cut: Option<(u64, Damage)>,
    /// Rare ways in production code are taken often.
    pub buggify: bool,
}

/// Virtual time without an answer after which the node counts as stuck.
const STUCK_NS: u64 = 60_000_000_000;
const EIO: i32 = 5;
const ENOSPC: i32 = 28;
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
    trouble: Trouble,
    /// The process has ended because of its disk.
    failed: bool,
    /// SIGTERM was sent: the server may close connections.
    stopping: bool,
}

/// Runs one seed. An error says what was violated.
pub fn run(plan: Plan) -> Result<Outcome, String> {
    buggify::end();
    if plan.buggify {
        buggify::begin(plan.seed);
    }
    let outcome = live(plan);
    buggify::end();
    outcome
}

fn live(plan: Plan) -> Result<Outcome, String> {
    let mut world = World::new(plan)?;
    if let Some((operation, damage)) = plan.cut {
        world.run_until(|world| world.node.disk.operations() >= operation || world.is_over())?;
        world.crash(Some(damage))?;
        world.go_on_for(60)?;
        world.crash(Some(damage))?;
    }
    let part = plan.operations / (plan.crashes + 1);
    for crash in 0..plan.crashes {
        let until = plan.operations.saturating_sub((crash + 1) * part);
        world.run_until(|world| world.left <= until)?;
        // Somewhere in what comes next.
        world.go_on_for(40)?;
        if world.rng.below(4) == 0 {
            world.stop()?;
        }
        world.crash(None)?;
    }
    world.run_until(World::is_over)?;
    world.finish()?;
    world.outcome.virtual_ns = world.now_ns;
    (world.outcome.watches_kept, world.outcome.watches_broken) = world.checker.watched;
    world.outcome.disk_operations = world.node.disk.operations();
    world.outcome.checkpoints = world.node.disk.files.named();
    world.outcome.popped = world.checker.popped;
    for core in 0..world.node.cores() {
        let (expired, evicted) = world.node.core(core).see_keys_gone();
        world.outcome.expired += expired;
        world.outcome.evicted += evicted;
    }
    Ok(world.outcome)
}

/// What goes wrong with the disk, but for power cuts.
struct Trouble {
    /// The operation that fails.
    failing: Option<u64>,
    /// There is no space for segments and checkpoints in this time.
    full_ns: std::ops::Range<u64>,
}

impl Trouble {
    fn random(rng: &mut Rng) -> Trouble {
        let failing = (rng.below(4) == 0).then(|| 1 + rng.below(200));
        let full_ns = if rng.below(6) == 0 {
            let from = rng.below(20_000_000);
            from..from + rng.below(3_000_000_000)
        } else {
            0..0
        };
        Trouble { failing, full_ns }
    }
}

impl World {
    fn new(plan: Plan) -> Result<World, String> {
        let mut rng = Rng::new(plan.seed);
        let shards = 1 + rng.below(5) as usize;
        let mut config = Config {
            cores: 1 + rng.below(4) as usize,
            shards: Some(shards),
            log_segment_bytes: SEGMENT_BYTES_MIN * (1 + rng.below(3)),
            log_writes_in_flight: 1 + rng.below(3) as usize,
            checkpoint_log_bytes: 50 + rng.below(1_500),
            checkpoint_bytes_per_second: rng.below(2) * 100_000_000,
            ..Config::default()
        };
        if plan.seed % 5 == 4 {
            // Nearly every operation ends its entries: as with large values, before its turn does.
            config.entry.closed_bytes = 60;
        }
        let trouble = Trouble::random(&mut rng);
        let node = Node::start(&config, Disk::default(), &mut rng).map_err(|no| no.message)?;
        let mut checker = Checker::of_shards(shards);
        checker.may_evict = rng.below(5) == 0;
        checker.may_refuse = checker.may_evict || !trouble.full_ns.is_empty();
        if checker.may_evict {
            // Only what has a time may go: the accounts must stay.
            config.eviction.policy =
                [Policy::VolatileLru, Policy::VolatileTtl, Policy::VolatileRandom]
                    [rng.below(3) as usize];
        }
        let mut world = World {
            turns: vec![None; config.cores],
            checker,
            clients: (0..plan.clients).map(|_| Client::default()).collect(),
            events: BTreeMap::new(),
            last_event: 0,
            now_ns: 1,
            last_value: 0,
            outcome: Outcome::default(),
            left: plan.operations,
            failed: false,
            stopping: false,
            trouble,
            rng,
            config,
            node,
        };
        world.begin();
        Ok(world)
    }

    fn is_over(&self) -> bool {
        self.left == 0 && self.is_quiet()
    }

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

    /// So many events at most, if there are as many.
    fn go_on_for(&mut self, events_max: u64) -> Result<(), String> {
        for _ in 0..self.rng.below(events_max) {
            if self.events.is_empty() {
                break;
            }
            self.step()?;
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
            Event::Disk(core, operation) => self.end_disk_operation(core, operation),
            Event::ToClient { client, conn, bytes } => self.on_answer(client, conn, &bytes)?,
            Event::Dropped { client, conn } => {
                if self.clients[client].connected.is_some_and(|(_, own)| own == conn) {
                    self.on_dropped(client)?;
                }
            }
            Event::Step(client) => self.client_step(client),
        }
        if std::mem::take(&mut self.failed) {
            self.outcome.disk_failures += 1;
            self.crash(None)?;
        }
        Ok(())
    }

    fn on_dropped(&mut self, client: usize) -> Result<(), String> {
        if !self.stopping {
            return Err(format!("the server closed the connection of client {client}"));
        }
        let lost = self.clients[client].disconnect();
        self.checker.on_lost(client, &lost, self.now_ns);
        Ok(())
    }

    fn end_disk_operation(&mut self, core: u16, operation: u64) {
        let full = self.trouble.full_ns.contains(&self.now_ns);
        if self.trouble.failing == Some(operation) {
            self.node.fail_disk(core, operation, EIO, &mut self.rng);
        } else if full && self.node.disk.takes_space(core, operation) {
            self.outcome.checkpoints_failed +=
                usize::from(self.node.disk.is_checkpoint(core, operation));
            self.node.fail_disk(core, operation, ENOSPC, &mut self.rng);
        } else {
            self.node.finish_disk(core, operation);
        }
        self.schedule_soon(core);
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
                // What was received already may still arrive, so nothing is held up here.
                Effect::Pause(_) | Effect::Resume(_) => {}
                Effect::Mesh(to) => self.schedule_soon(to),
                Effect::Disk(operation) => {
                    // Mostly fast, now and then slow.
                    let most_ns = if self.rng.below(20) == 0 { 20_000_000 } else { 300_000 };
                    let at_ns = after_ns + 20_000 + self.rng.below(most_ns);
                    self.schedule(at_ns, Event::Disk(core, operation));
                }
                Effect::Wake(at_ns) => self.schedule_turn(core, at_ns.max(after_ns)),
                Effect::Connect { .. } | Effect::HandOver { .. } => {
                    unreachable!("a node without peers connects to none")
                }
                Effect::Fail(_) => self.failed = true,
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
        // Who comes back after a crash looks at once whether its copy has outlived the source.
        let state = &self.clients[client];
        let back = state.connected.is_none() && state.generation > 0;
        if back && self.rng.below(2) == 0 {
            operations.push(Operation::Compare { counter: self.rng.below(COUNTERS) });
        }
        for _ in operations.len()..count {
            self.last_value += 1;
            operations.push(Operation::random(
                &mut self.rng,
                self.last_value,
                self.checker.may_evict,
            ));
        }
        self.ask(client, operations);
    }

    /// Sends a pipeline, in pieces that may break anywhere.
    fn ask(&mut self, client: usize, operations: Vec<Operation>) {
        let (core, conn) = self.connect(client);
        let mut bytes = Vec::new();
        for operation in operations {
            operation.encode(client, &mut bytes);
            self.checker.on_asked(&operation);
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
        let mut refused = false;
        for asked in state.on_bytes(bytes)? {
            self.outcome.operations += 1;
            if is_refused(&asked.replies) {
                self.outcome.refusals += 1;
                refused = true;
            }
            self.checker.on_done(client, &asked, self.now_ns)?;
        }
        if self.clients[client].asked.is_empty() {
            // The disk may have space again later.
            let think_ns = self.rng.below(if refused { 400_000_000 } else { 400_000 });
            self.schedule(self.now_ns + think_ns, Event::Step(client));
        }
        Ok(())
    }

    /// SIGTERM: whatever is under way comes to an end by itself.
    fn stop(&mut self) -> Result<(), String> {
        let (crashes, began_ns) = (self.outcome.crashes, self.now_ns);
        self.stopping = true;
        for core in 0..self.node.cores() {
            self.schedule(self.now_ns + 1, Event::Input(core, Waiting::Shutdown));
        }
        while !self.node.has_stopped() && self.outcome.crashes == crashes {
            self.step()?;
            if self.now_ns > began_ns + STUCK_NS {
                return Err("an orderly stop does not end".into());
            }
        }
        self.outcome.stops += usize::from(self.outcome.crashes == crashes);
        Ok(())
    }

    /// The power goes, and comes back to a node with perhaps another number of cores.
    fn crash(&mut self, damage: Option<Damage>) -> Result<(), String> {
        self.outcome.crashes += 1;
        self.stopping = false;
        self.events.clear();
        for (number, client) in self.clients.iter_mut().enumerate() {
            self.checker.on_lost(number, &client.disconnect(), self.now_ns);
        }
        let mut disk = std::mem::take(&mut self.node.disk);
        disk.cut_power(&mut self.rng, damage);
        self.config.cores = 1 + self.rng.below(4) as usize;
        self.turns = vec![None; self.config.cores];
        self.node = self.start(disk)?;
        self.now_ns += 1_000_000;
        self.begin();
        Ok(())
    }

    /// Starts, now and then with a bit of the logs flipped: then the start is refused and the bit
    /// mended, or nothing is wrong.
    fn start(&mut self, mut disk: Disk) -> Result<Node, String> {
        let rot = self.rng.below(3) == 0;
        let flipped = if rot { disk.acknowledged_bit(&mut self.rng) } else { None };
        flipped.into_iter().for_each(|bit| disk.flip(bit));
        if flipped.is_none()
            && self.outcome.checkpoints_rotten == 0
            && self.rng.below(3) == 0
            && disk.files.rot(&mut self.rng).is_some()
        {
            // The one before and the log have everything.
            self.outcome.checkpoints_rotten += 1;
        }
        match (Node::start(&self.config, disk, &mut self.rng), flipped) {
            (Ok(node), _) if self.outcome.checkpoints_rotten == 0 => match node.disk.damaged[..] {
                [] => Ok(node),
                ref damaged => Err(format!("checkpoints damaged by a power cut: {damaged:?}")),
            },
            (Ok(node), _) => Ok(node),
            (Err(refused), None) => Err(refused.message),
            (Err(refused), Some(bit)) => {
                let mut disk = refused.disk;
                self.outcome.rot_refused += 1;
                disk.flip(bit);
                Node::start(&self.config, disk, &mut self.rng).map_err(|no| no.message)
            }
        }
    }

    /// Everything is answered: what is left must be what the answers say.
    fn finish(&mut self) -> Result<(), String> {
        loop {
            let crashes = self.outcome.crashes;
            let rest = (0..QUEUES).map(|queue| Operation::Rest { queue });
            let counters = (0..COUNTERS).map(|counter| Operation::ReadCounter { counter });
            self.ask(0, rest.chain(counters).chain([Operation::Audit]).collect());
            self.run_until(World::is_quiet)?;
            // The disk may fail even now.
            if self.outcome.crashes == crashes {
                return self.checker.check_end();
            }
            self.checker.forget_rest();
        }
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
