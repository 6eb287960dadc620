//! A machine: its disk, its clock, and the node that runs on it when it is up.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use engine::hash::Hasher64;
use engine::rng::Rng;
use replication::group::{GroupStart, NodeId};
use replication::link::hello::DirectoryId;
use replication::log::limits::SEGMENT_BYTES_MIN;
use replication::version::Version;
use server::config::Config;
use server::config::cluster::Cluster;
use server::core::home_of;
use server::core::io::ConnId;
use server::links::identity::{Acquaintances, Remembered};
use server::startup::identity::owed_ms;

use super::plan::Plan;
use super::spoiling::Spoiling;
use crate::sim::disk::Disk;
use crate::sim::node::{Known, Node, TurnClock, recover_disk};

/// Machine `n` has node `n + 1`, and listens to others at this port plus `n`.
const PEER_PORT: u16 = 20_000;
/// Clocks differ in speed by 48 thousandths at most: the lease allows for 50.
const SLOWEST_PER_MILLE: u64 = 976;
const SPREAD_PER_MILLE: u64 = 48;

/// What is kept of logs for others: nothing, little, and all.
const CATCH_UP_LOG_BYTES: [u64; 4] = [0, 2 * SEGMENT_BYTES_MIN, 1 << 30, 1 << 30];

/// A run writes less.
const ROOMY_SEGMENT_BYTES: u64 = 8 << 20;

pub enum State {
    Up(Box<Node>),
    Down(Box<Disk>),
}

/// A place for a connection of a node.
#[derive(Default)]
struct Slot {
    generation: u32,
    wire: Option<u64>,
    core: u16,
}

pub struct Machine {
    pub number: usize,
    pub config: Config,
    pub state: State,
    /// Starts so far: what was meant for one before is not for this one.
    pub start: u32,
    /// By core: when its next turn is.
    pub turns: Vec<Option<(u64, u64)>>,
    /// The process stands still.
    pub paused_until_ns: u64,
    /// The next turn, of whichever core, stops for so long, after it has read the clock.
    pub stops_in_turn_ns: u64,
    /// By core.
    pub in_turn: Vec<bool>,
    /// By shard: memory as of this entry, in this start, was compared with the others'.
    pub compared: Vec<(u32, u64)>,
    /// By shard: how often entries of it were voided.
    pub voids: Vec<u64>,
    /// By shard: the version that its group had last, and in which start.
    pub versions: Vec<(u32, Version)>,
    /// It is to be cut off from what others say once it hands over.
    pub deaf_when_handing_over: bool,
    /// It was told to stop, and has not begun anew since.
    pub told_to_stop: bool,
    known: Known,
    /// Its directory, while it runs with an empty one.
    set_aside: Option<(Box<Disk>, Known, u64)>,
    /// With which election timeout it took part last, as its directory says; and whether this start
    /// has waited for that.
    took_part_with_ms: u64,
    has_waited: bool,
    pub disk_slow_until_ns: u64,
    pub disk_full_until_ns: u64,
    /// No operation ends before.
    pub disk_stands_until_ns: u64,
    /// No shard's memory is read again before.
    pub memory_stands_until_ns: u64,
    /// The next disk operation to end fails.
    pub disk_fails: bool,
    /// What goes wrong with checkpoints' files.
    pub spoiling: Option<Spoiling>,
    /// By core and file: when an operation failed last, in this start.
    pub spoilt: BTreeMap<(u16, String), u64>,
    /// Bits of its disk have flipped; and its start was refused for that.
    pub is_rotten: bool,
    pub is_lost: bool,
    clock: TurnClock,
    rate_per_mille: u64,
    offset_ns: u64,
    /// How far its wall clock is ahead of its monotonic one.
    wall_ahead_ms: i64,
    /// Its monotonic clock has leapt: what it measures by that may be any time.
    pub has_leapt: bool,
    slots: Vec<Slot>,
}

impl Machine {
    /// `roomy`: its log keeps everything, however many checkpoints there are.
    pub fn new(number: usize, plan: &Plan, roomy: bool, rng: &mut Rng) -> Machine {
        let (count, shards) = (plan.nodes, usize::from(plan.shards));
        let nodes = (1..=count).map(|n| (NodeId(n), address_of(n))).collect();
        let node = NodeId(number as u64 + 1);
        // Not from what decides the rest.
        let mut catch_up = Rng::new(plan.seed ^ (number as u64) << 32 ^ 0xca7c_00b5);
        let any = |rng: &mut Rng, values: [u64; 4]| values[rng.below(4) as usize];
        let config = Config {
            catch_up_log_bytes: any(&mut catch_up, CATCH_UP_LOG_BYTES),
            catch_up_bytes_per_second: any(&mut catch_up, [0, 1 << 20, 4 << 20, 64 << 20]),
            cores: 1,
            shards: Some(shards),
            log_segment_bytes: match roomy {
                true => ROOMY_SEGMENT_BYTES,
                false => SEGMENT_BYTES_MIN * (1 + rng.below(3)),
            },
            log_writes_in_flight: 1 + rng.below(3) as usize,
            checkpoint_log_bytes: 500 + rng.below(20_000),
            checkpoint_bytes_per_second: rng.below(2) * 100_000_000,
            catch_up_memory_bytes: 1_000 << rng.below(10),
            cluster: Some(Cluster::of(0x51, node, nodes)),
            ..Config::default()
        };
        let config = if plan.forgetful { forgetful(config, &mut catch_up) } else { config };
        Machine {
            number,
            config,
            state: State::Down(Box::default()),
            start: 0,
            turns: Vec::new(),
            paused_until_ns: 0,
            stops_in_turn_ns: 0,
            in_turn: Vec::new(),
            compared: vec![(0, 0); shards],
            voids: vec![0; shards],
            versions: vec![(0, Version(1)); shards],
            deaf_when_handing_over: false,
            told_to_stop: false,
            known: new_directory(rng),
            set_aside: None,
            took_part_with_ms: plan.election_timeout_ms,
            has_waited: false,
            disk_slow_until_ns: 0,
            disk_full_until_ns: 0,
            disk_stands_until_ns: 0,
            memory_stands_until_ns: 0,
            disk_fails: false,
            spoiling: None,
            spoilt: BTreeMap::new(),
            is_rotten: false,
            is_lost: false,
            clock: TurnClock::default(),
            rate_per_mille: SLOWEST_PER_MILLE + rng.below(SPREAD_PER_MILLE),
            offset_ns: 1 + rng.below(1 << 40),
            wall_ahead_ms: 0,
            has_leapt: false,
            slots: Vec::new(),
        }
    }

    /// Which machine listens at an address.
    pub fn at(address: SocketAddr) -> usize {
        usize::from(address.port() - PEER_PORT)
    }

    pub fn node(&self) -> Option<&Node> {
        match &self.state {
            State::Up(node) => Some(node),
            State::Down(_) => None,
        }
    }

    pub fn node_mut(&mut self) -> Option<&mut Node> {
        match &mut self.state {
            State::Up(node) => Some(node),
            State::Down(_) => None,
        }
    }

    pub fn is_up(&self) -> bool {
        self.node().is_some()
    }

    pub fn local_ns(&self, true_ns: u64) -> u64 {
        true_ns * self.rate_per_mille / 1000 + self.offset_ns
    }

    pub fn set_wall_clock(&mut self, ahead_ms: i64) {
        self.wall_ahead_ms = ahead_ms;
        if let Some(node) = self.node_mut() {
            node.wall_ahead_ms = ahead_ms;
        }
    }

    /// Returns by how much: no clock is ever before its beginning.
    pub fn leap_clock(&mut self, by_ns: i64) -> i64 {
        let before_ns = self.offset_ns;
        self.has_leapt = true;
        self.offset_ns = before_ns.saturating_add_signed(by_ns).max(1);
        self.offset_ns as i64 - before_ns as i64
    }

    /// When its clock will have come to this.
    pub fn true_ns(&self, local_ns: u64) -> u64 {
        local_ns.saturating_sub(self.offset_ns) * 1000 / self.rate_per_mille + 1
    }

    /// What its node reads as the time in the middle of a turn.
    pub fn set_clock(&self, true_ns: u64) {
        self.clock.store(self.local_ns(true_ns), Ordering::Relaxed);
    }

    /// How long it waits, from now on, before it starts with this election timeout: once.
    pub fn waits_ns(&mut self, election_timeout_ms: u64) -> u64 {
        self.config.election_timeout_ms = election_timeout_ms;
        let owed_ms = owed_ms(self.took_part_with_ms, election_timeout_ms);
        if self.is_up() || owed_ms == 0 || std::mem::replace(&mut self.has_waited, true) {
            return 0;
        }
        owed_ms * 1_000_000 * 1000 / self.rate_per_mille + 1
    }

    /// Starts the node from what is on the disk, with some number of cores.
    /// Returns checkpoints that were found damaged.
    pub fn boot(&mut self, cores_max: u16, rng: &mut Rng) -> Result<Vec<String>, String> {
        let State::Down(disk) = &mut self.state else { return Ok(Vec::new()) };
        if cores_max > 1 {
            self.config.cores = 1 + rng.below(u64::from(cores_max)) as usize;
        }
        let disk = std::mem::take(&mut **disk);
        let started = Node::start_among_peers(
            &self.config,
            disk,
            rng,
            self.clock.clone(),
            self.known.clone(),
        );
        let mut node = match started {
            Ok(node) => node,
            Err(refused) => {
                self.state = State::Down(Box::new(refused.disk));
                return Err(format!("node {}: {}", self.number + 1, refused.message));
            }
        };
        node.wall_ahead_ms = self.wall_ahead_ms;
        let damaged = std::mem::take(&mut node.disk.damaged);
        if !damaged.is_empty() && !self.is_rotten {
            return Err(format!("node {}: damaged: {damaged:?}", self.number + 1));
        }
        self.state = State::Up(Box::new(node));
        self.start += 1;
        self.took_part_with_ms = self.config.election_timeout_ms;
        self.has_waited = false;
        self.slots.clear();
        self.turns = vec![None; self.config.cores];
        self.in_turn = vec![false; self.config.cores];
        Ok(damaged)
    }

    /// The process is no more, with what the disk has not yet.
    pub fn stop(&mut self, rng: &mut Rng) {
        let State::Up(node) = &mut self.state else { return };
        let mut disk = std::mem::take(&mut node.disk);
        disk.cut_power(rng, None);
        self.state = State::Down(Box::new(disk));
        self.paused_until_ns = 0;
        self.stops_in_turn_ns = 0;
        self.deaf_when_handing_over = false;
        self.told_to_stop = false;
        self.disk_fails = false;
        self.spoilt.clear();
    }

    /// The last entry of each shard that a start after a power cut would find, now, in the
    /// directory that it had before it was wiped if it was; nothing if it would not start.
    pub fn durable_entries(&self) -> Option<Vec<u64>> {
        let disk = match (&self.set_aside, &self.state) {
            (Some((disk, ..)), _) | (None, State::Down(disk)) => disk,
            (None, State::Up(node)) => &node.disk,
        };
        let hasher = Hasher64::new([1; 4]);
        let recovered = recover_disk(&self.config, &mut disk.durable(), hasher).ok()?;
        let last = |group: &GroupStart| {
            group.entries.last().map_or(group.base.index, |entry| entry.index.0)
        };
        Some(recovered.replayed.groups.iter().map(last).collect())
    }

    /// The directory of a node that is down is lost: it will start with an empty one.
    pub fn wipe(&mut self, rng: &mut Rng) {
        if let State::Down(disk) = &mut self.state {
            let known = std::mem::replace(&mut self.known, new_directory(rng));
            self.set_aside = Some((std::mem::take(disk), known, self.took_part_with_ms));
        }
    }

    pub fn directory(&self) -> DirectoryId {
        self.known.own()
    }

    /// Where it listens to other nodes.
    pub fn address(&self) -> SocketAddr {
        address_of(self.number as u64 + 1)
    }

    pub fn has_met(&self, machine: usize) -> bool {
        self.known.known(machine as u64 + 1).is_some()
    }

    pub fn is_wiped(&self) -> bool {
        self.set_aside.is_some()
    }

    /// It was found again, for a node that is down.
    pub fn restore(&mut self) {
        if let Some((disk, known, took_part_with_ms)) = self.set_aside.take() {
            (self.state, self.known) = (State::Down(disk), known);
            (self.took_part_with_ms, self.has_waited) = (took_part_with_ms, false);
        }
    }

    pub fn cores(&self) -> u16 {
        self.config.cores as u16
    }

    /// None while it is down.
    pub fn running_cores(&self) -> u16 {
        self.node().map_or(0, Node::cores)
    }

    /// The core that a shard is at home on.
    pub fn home_of(&self, shard: u16) -> u16 {
        home_of(usize::from(shard), self.config.shards.unwrap_or(1), self.config.cores)
    }

    /// A name for a connection of a core, the lowest place that is free.
    pub fn take_slot(&mut self, core: u16) -> ConnId {
        let free = self.slots.iter().position(|slot| slot.wire.is_none());
        let place = free.unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        let slot = &mut self.slots[place];
        slot.generation += 1;
        slot.wire = Some(0);
        slot.core = core;
        ConnId { index: place as u32, generation: slot.generation }
    }

    pub fn core_of(&self, conn: ConnId) -> u16 {
        self.slots.get(conn.index as usize).map_or(0, |slot| slot.core)
    }

    pub fn set_wire(&mut self, conn: ConnId, wire: u64) {
        self.slots[conn.index as usize].wire = Some(wire);
    }

    pub fn wire_of(&self, conn: ConnId) -> Option<u64> {
        let slot = self.slots.get(conn.index as usize)?;
        slot.wire.filter(|_| slot.generation == conn.generation)
    }

    pub fn free_slot(&mut self, conn: ConnId) {
        self.slots[conn.index as usize].wire = None;
    }
}

fn address_of(node: u64) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, node as u8], PEER_PORT + node as u16 - 1))
}

/// Of a node that keeps little for others and makes checkpoints often.
fn forgetful(config: Config, rng: &mut Rng) -> Config {
    Config {
        catch_up_log_bytes: 0,
        catch_up_bytes_per_second: 4 << 20,
        catch_up_memory_bytes: 100 << rng.below(4),
        log_segment_bytes: SEGMENT_BYTES_MIN,
        // The same of all nodes: their checkpoints are often as of the same entries.
        checkpoint_log_bytes: 1_000,
        ..config
    }
}

fn new_directory(rng: &mut Rng) -> Known {
    let half = [rng.next_u64().to_le_bytes(), rng.next_u64().to_le_bytes()];
    Arc::new(Remembered::new(DirectoryId(std::array::from_fn(|at| half[at / 8][at % 8]))))
}
