//! Events in the order of their times, and what a world consists of.

use std::collections::BTreeMap;

use engine::keyspace::digest::Digest;
use engine::rng::Rng;
use replication::buggify::{self, Point};

use super::client::Client;
use super::faults::Mood;
use super::history::History;
use super::machine::Machine;
use super::outcome::Outcome;
use super::plan::{Plan, Trouble};
use super::timeouts::Timeouts;
use super::transaction::Transactions;
use super::upgrades::Upgrades;
use super::wires::{Parcel, Wires};

pub enum Event {
    Turn {
        machine: usize,
        core: u16,
        start: u32,
    },
    /// The rest of a turn that stopped after it had read the clock.
    Rest {
        machine: usize,
        core: u16,
        start: u32,
        began_ns: u64,
    },
    Disk {
        machine: usize,
        core: u16,
        start: u32,
        operation: u64,
    },
    Boot {
        machine: usize,
        start: u32,
    },
    /// A connect arrives where it goes to.
    Dial {
        machine: usize,
        core: u16,
        start: u32,
        attempt: u64,
        to: usize,
    },
    DialFailed {
        machine: usize,
        core: u16,
        start: u32,
        attempt: u64,
    },
    Arrive {
        wire: u64,
        to: usize,
        parcel: Parcel,
    },
    /// The network has taken all of a send.
    Taken {
        wire: u64,
        end: usize,
        bytes: Vec<u8>,
    },
    /// An end hears that the wire is broken.
    Broken {
        wire: u64,
        end: usize,
    },
    /// A wire gives up if it is cut still.
    TimeOut {
        wire: u64,
    },
    Mend,
    Unstall {
        wire: u64,
    },
    Step {
        client: usize,
    },
    /// A client has waited since it had so many answers.
    Patience {
        client: usize,
        connection: u64,
        answers: u64,
    },
    Restore {
        machine: usize,
    },
    /// The machine that joins asks again.
    Admit,
    /// A machine whose disk is damaged is to be taken out.
    Replace {
        machine: usize,
    },
    Trouble,
    /// All nodes are to have another election timeout.
    Retime,
    /// A node is started again to get it.
    RetimeOne {
        machine: usize,
    },
    /// Some node is to have another program, or the version is to be raised.
    Upgrade,
    /// A node is started again with a program that applies versions up to this.
    UpgradeOne {
        machine: usize,
        most: u16,
    },
}

pub struct World {
    pub plan: Plan,
    pub rng: Rng,
    pub now_ns: u64,
    events: BTreeMap<(u64, u64), Event>,
    last_event: u64,
    pub machines: Vec<Machine>,
    pub wires: Wires,
    pub clients: Vec<Client>,
    pub history: History,
    pub mood: Mood,
    pub timeouts: Timeouts,
    pub upgrades: Upgrades,
    pub transactions: Transactions,
    /// A machine that has no number yet.
    pub joining: Option<usize>,
    /// Logs keep everything.
    pub roomy: bool,
    /// Nothing goes wrong any more.
    pub calm: bool,
    /// Clients wait for answers as long as it takes.
    pub patient: bool,
    /// Operations that clients may still begin.
    pub left: usize,
    pub last_value: u64,
    pub last_connection: u64,
    /// When a write that had been asked for since the faults ceased was answered.
    pub written_ns: Option<u64>,
    pub calm_since_ns: u64,
    /// Memory as of each entry of each shard, wherever it was seen first.
    pub digests: BTreeMap<(u16, u64), Digest>,
    /// Who led each shard in each term.
    pub leaders: BTreeMap<(u16, u64), usize>,
    /// A node has stopped, and not because of its disk.
    pub unexplained: Option<String>,
    pub outcome: Outcome,
    /// How often each rare way was taken.
    pub rare_ways: Vec<(Point, u64)>,
}

/// Clients that listen, where any do.
const LISTENERS: usize = 2;

/// Runs one seed. An error says what was violated.
pub fn run(plan: Plan) -> Result<Outcome, String> {
    buggify::end();
    if plan.buggify {
        buggify::begin(plan.seed);
    }
    let mut world = World::new(plan)?;
    world.live().map(|()| world.outcome)
}

impl World {
    pub fn new(plan: Plan) -> Result<World, String> {
        let mut rng = Rng::new(plan.seed);
        let count = plan.nodes as usize;
        // In the others a node that was away may need what the logs have no more.
        let roomy = rng.below(3) > 0;
        let machines = (0..count).map(|number| Machine::new(number, &plan, roomy, &mut rng));
        let machines = machines.collect();
        let listeners = if plan.tells { LISTENERS } else { 0 };
        let clients = (0..plan.clients).map(|_| Client::default());
        let clients = clients.chain((0..listeners).map(|_| Client::listener())).collect();
        let mood = Mood::random(&Trouble::ALL[..plan.kinds], &plan, &mut rng);
        let mut world = World {
            plan,
            rng,
            now_ns: 1_000_000,
            events: BTreeMap::new(),
            last_event: 0,
            machines,
            wires: Wires::default(),
            clients,
            history: History::begin(),
            mood,
            timeouts: Timeouts::new(&plan),
            upgrades: Upgrades::new(&plan),
            transactions: Transactions::new(plan.seed, plan.transactions_percent),
            joining: None,
            roomy,
            calm: false,
            patient: false,
            left: plan.operations,
            last_value: 0,
            last_connection: 0,
            written_ns: None,
            calm_since_ns: 0,
            digests: BTreeMap::new(),
            leaders: BTreeMap::new(),
            unexplained: None,
            outcome: Outcome::default(),
            rare_ways: Vec::new(),
        };
        if plan.upgrades {
            world.begin_upgrades();
        }
        for machine in 0..count {
            world.boot(machine)?;
        }
        for client in 0..world.clients.len() {
            world.clients[client].machine = client % count;
            world.after(1_000_000, Event::Step { client });
        }
        let delay_ns = world.rng.below(1_000_000_000);
        world.after(delay_ns, Event::Trouble);
        if plan.retimed {
            world.retime_later();
        }
        Ok(world)
    }

    pub fn after(&mut self, delay_ns: u64, event: Event) {
        self.at(self.now_ns + delay_ns, event);
    }

    /// Returns the event's place.
    pub fn at(&mut self, at_ns: u64, event: Event) -> (u64, u64) {
        self.last_event += 1;
        let place = (at_ns.max(self.now_ns), self.last_event);
        self.events.insert(place, event);
        place
    }

    /// The next event.
    pub fn step(&mut self) -> Result<(), String> {
        let Some((place, event)) = self.events.pop_first() else {
            return Err("nothing happens any more".into());
        };
        self.now_ns = place.0;
        match event {
            Event::Turn { machine, core, start } => self.on_turn((machine, core), start, place)?,
            Event::Rest { machine, core, start, began_ns } => {
                self.on_rest((machine, core), start, began_ns)?;
            }
            Event::Disk { machine, core, start, operation } => {
                self.on_disk((machine, core), start, operation)?;
            }
            Event::Boot { machine, start } => {
                if self.machines[machine].start == start {
                    self.boot(machine)?;
                }
            }
            Event::Dial { machine, core, start, attempt, to } => {
                self.on_dial((machine, core), start, attempt, to);
            }
            Event::DialFailed { machine, core, start, attempt } => {
                self.on_dial_failed((machine, core), start, attempt);
            }
            Event::Arrive { wire, to, parcel } => self.on_arrive(wire, to, parcel)?,
            Event::Taken { wire, end, bytes } => self.on_taken(wire, end, bytes),
            Event::Broken { wire, end } => self.on_broken(wire, end),
            Event::TimeOut { wire } => self.on_time_out(wire),
            Event::Mend => self.mend()?,
            Event::Unstall { wire } => self.unstall(wire)?,
            Event::Step { client } => self.client_step(client),
            Event::Patience { client, connection, answers } => {
                self.on_patience(client, connection, answers);
            }
            Event::Restore { machine } => self.restore(machine),
            Event::Admit => self.on_admit()?,
            Event::Replace { machine } => self.replace(machine),
            Event::Trouble => self.trouble()?,
            Event::Retime => self.retime(),
            Event::RetimeOne { machine } => self.retime_one(machine),
            Event::Upgrade => self.upgrade(),
            // What was not begun in time is not.
            Event::UpgradeOne { .. } if self.calm => {}
            Event::UpgradeOne { machine, most } => self.upgrade_one(machine, most),
        }
        Ok(())
    }

    /// Until this is so, or an error that says it never was.
    pub fn run_until(
        &mut self,
        within_ns: u64,
        what: &str,
        done: impl Fn(&World) -> bool,
    ) -> Result<(), String> {
        let until_ns = self.now_ns + within_ns;
        while !done(self) {
            if self.now_ns > until_ns {
                return Err(format!(
                    "{what}: not within {} ms{}",
                    within_ns / 1_000_000,
                    self.sight()
                ));
            }
            self.step()?;
        }
        Ok(())
    }

    pub fn run_for(&mut self, ns: u64) -> Result<(), String> {
        let until_ns = self.now_ns + ns;
        while self.now_ns < until_ns {
            self.step()?;
        }
        Ok(())
    }

    pub fn shards(&self) -> std::ops::Range<u16> {
        0..self.plan.shards
    }

    /// How the nodes stand.
    pub fn sight(&self) -> String {
        let nodes = self.machines.iter().map(|machine| match machine.node() {
            Some(node) => {
                let home = |shard| node.core(machine.home_of(shard));
                let seen = self.shards().filter_map(|shard| {
                    let members = home(shard).see_members(shard)?;
                    let (voters, learners) = (&members.voters, &members.learners);
                    let seen = home(shard).see_replica(shard)?;
                    let duties =
                        members.roster.nodes.iter().map(|known| (known.node.0, known.duty));
                    let duties: Vec<_> = duties.collect();
                    Some(format!("\n  {seen:?} {voters:?} {learners:?} {duties:?}"))
                });
                let seen: String = seen.collect();
                format!("\nnode {}:{seen}", machine.number + 1)
            }
            None => format!("\nnode {}: down", machine.number + 1),
        });
        nodes.collect()
    }
}
