//! What happens at the machines: turns, disk operations, starts and ends; and what must hold of
//! the replicas after each turn.

use engine::rng::Rng;
use replication::group::Role;
use server::core::io::ConnId;
use server::replica::seen::Seen;
use server::replica::standing::Standing;

use super::machine::{Machine, State};
use super::wires::Parcel;
use super::world::{Event, World};
use crate::sim::node::{Effect, Node, Waiting};

pub const EIO: i32 = 5;
pub const ENOSPC: i32 = 28;
const LOOK_AGAIN_NS: u64 = 1_000_000;

impl World {
    pub fn boot(&mut self, machine: usize) -> Result<(), String> {
        if self.machines[machine].is_lost {
            return Ok(());
        }
        let waits_ns = self.machines[machine].waits_ns(self.timeouts.now_ms);
        if waits_ns > 0 {
            self.outcome.waits += 1;
            let start = self.machines[machine].start;
            self.after(waits_ns, Event::Boot { machine, start });
            return Ok(());
        }
        match self.machines[machine].boot(self.plan.cores, &mut self.rng) {
            Ok(damaged) => self.outcome.fallbacks += usize::from(!damaged.is_empty()),
            Err(why) => return self.start_refused(machine, why),
        }
        self.history.note(self.now_ns, || format!("node {} starts", machine + 1));
        for core in 0..self.machines[machine].cores() {
            self.schedule_turn(machine, core, self.now_ns);
        }
        Ok(())
    }

    /// The process ends; what others hear of that, and when, depends. It comes back after a while.
    pub fn stop(&mut self, machine: usize, silent: bool, back_after_ns: u64) {
        if !self.machines[machine].is_up() {
            return;
        }
        for wire in self.wires.of_machine(machine) {
            let Some(own) = self.wires.get_mut(wire) else { continue };
            let end = usize::from(own.machine(1) == Some(machine));
            self.wires.leave(wire, end);
            if silent {
                let delay_ns = self.rng.below(4_000_000_000);
                self.after(delay_ns, Event::Broken { wire, end: 1 - end });
            } else {
                self.send_parcel(wire, 1 - end, Parcel::Gone);
            }
        }
        self.machines[machine].stop(&mut self.rng);
        let start = self.machines[machine].start;
        self.after(back_after_ns, Event::Boot { machine, start });
    }

    pub fn schedule_turn(&mut self, machine: usize, core: u16, at_ns: u64) {
        let at_ns = at_ns.max(self.now_ns);
        let own = &self.machines[machine];
        if own.turns[usize::from(core)].is_some_and(|(other_ns, _)| other_ns <= at_ns) {
            return;
        }
        let start = own.start;
        let place = self.at(at_ns, Event::Turn { machine, core, start });
        self.machines[machine].turns[usize::from(core)] = Some(place);
    }

    /// A core has something to do and gets to it soon.
    pub fn schedule_soon(&mut self, machine: usize, core: u16) {
        let delay_ns = self.rng.below(20_000);
        self.schedule_turn(machine, core, self.now_ns + delay_ns);
    }

    pub fn add(&mut self, machine: usize, core: u16, input: Waiting) {
        if let Some(node) = self.machines[machine].node_mut() {
            node.add(core, input);
            self.schedule_soon(machine, core);
        }
    }

    /// To the core whose connection it is.
    pub fn add_for(&mut self, machine: usize, conn: ConnId, input: Waiting) {
        let core = self.machines[machine].core_of(conn);
        self.add(machine, core, input);
    }

    /// To all cores.
    pub fn add_to_all(&mut self, machine: usize, input: impl Fn() -> Waiting) {
        if self.machines[machine].is_up() {
            (0..self.machines[machine].cores()).for_each(|core| self.add(machine, core, input()));
        }
    }

    pub fn on_turn(
        &mut self,
        (machine, core): (usize, u16),
        start: u32,
        place: (u64, u64),
    ) -> Result<(), String> {
        let own = &mut self.machines[machine];
        let seat = usize::from(core);
        if own.start != start || own.turns.get(seat) != Some(&Some(place)) {
            return Ok(());
        }
        own.turns[seat] = None;
        if !own.is_up() || own.in_turn[seat] {
            return Ok(());
        }
        if own.paused_until_ns > self.now_ns {
            let until_ns = own.paused_until_ns;
            self.schedule_turn(machine, core, until_ns);
            return Ok(());
        }
        let began_ns = own.local_ns(self.now_ns);
        let stop_ns = std::mem::take(&mut own.stops_in_turn_ns);
        if stop_ns > 0 {
            own.in_turn[seat] = true;
            self.after(stop_ns, Event::Rest { machine, core, start, began_ns });
            return Ok(());
        }
        self.turn((machine, core), began_ns)
    }

    pub fn on_rest(
        &mut self,
        (machine, core): (usize, u16),
        start: u32,
        began_ns: u64,
    ) -> Result<(), String> {
        let own = &mut self.machines[machine];
        if own.start != start || !own.is_up() {
            return Ok(());
        }
        own.in_turn[usize::from(core)] = false;
        self.turn((machine, core), began_ns)?;
        self.schedule_soon(machine, core);
        Ok(())
    }

    fn turn(&mut self, (machine, core): (usize, u16), began_ns: u64) -> Result<(), String> {
        let own = &mut self.machines[machine];
        own.set_clock(self.now_ns);
        let shards = self.plan.shards;
        let Some(node) = own.node_mut() else { return Ok(()) };
        let rebuilding = |node: &Node| {
            (0..shards).filter(|shard| is_rebuilding(node.core(core).see_replica(*shard))).count()
        };
        let rebuilding_before = rebuilding(node);
        let before = node.core(core).see_handover();
        let effects = node.turn(core, began_ns);
        let after = node.core(core).see_handover();
        self.outcome.rebuilds += rebuilding(node).saturating_sub(rebuilding_before);
        if core == 0 {
            self.outcome.hand_overs += after.done - before.done;
        }
        let stopped = node.has_stopped();
        let took_ns = 1_000 + self.rng.below(10_000);
        for effect in effects {
            self.carry_out((machine, core), effect, took_ns);
        }
        if after.is_under_way && std::mem::take(&mut self.machines[machine].deaf_when_handing_over)
        {
            self.deafen(machine);
        }
        self.look_at(machine)?;
        if stopped {
            self.history.note(self.now_ns, || format!("node {} has stopped", machine + 1));
            self.outcome.stops += 1;
            let back_ns = self.back_ns();
            self.stop(machine, false, back_ns);
        }
        Ok(())
    }

    fn carry_out(&mut self, (machine, core): (usize, u16), effect: Effect, took_ns: u64) {
        let start = self.machines[machine].start;
        match effect {
            Effect::Send { conn, bytes } => {
                if let Some((wire, end)) = self.find_wire(machine, conn) {
                    self.send_bytes(wire, end, bytes, took_ns);
                }
            }
            Effect::Close(conn) => {
                if let Some((wire, end)) = self.find_wire(machine, conn) {
                    self.close_end(wire, end);
                }
                self.machines[machine].free_slot(conn);
            }
            Effect::Connect { attempt, address } => {
                let delay_ns = took_ns + self.delay_ns();
                let to = Machine::at(address);
                self.after(delay_ns, Event::Dial { machine, core, start, attempt, to });
            }
            Effect::Pause(_) | Effect::Resume(_) => {}
            Effect::HandOver { conn, to, bytes } => self.hand_on(machine, conn, to, bytes),
            Effect::Mesh(to) => self.schedule_soon(machine, to),
            Effect::Disk(operation) => {
                let slow = self.machines[machine].disk_slow_until_ns > self.now_ns;
                let most_ns = match (slow, self.rng.below(20)) {
                    (true, _) => 150_000_000,
                    (false, 0) => 20_000_000,
                    _ => 300_000,
                };
                let delay_ns = took_ns + 20_000 + self.rng.below(most_ns);
                self.after(delay_ns, Event::Disk { machine, core, start, operation });
            }
            Effect::Wake(local_ns) => {
                let at_ns = self.machines[machine].true_ns(local_ns);
                self.schedule_turn(machine, core, at_ns.max(self.now_ns + took_ns));
            }
            Effect::Fail(message) => {
                self.history.note(self.now_ns, || format!("node {}: {message}", machine + 1));
                self.outcome.disk_failures += 1;
                if !message.contains("log of core") && !self.machines[machine].is_rotten {
                    self.unexplained.get_or_insert(message);
                }
                let back_ns = self.rng.below(1_000_000_000);
                self.stop(machine, false, back_ns);
            }
        }
    }

    pub fn on_disk(
        &mut self,
        (machine, core): (usize, u16),
        start: u32,
        operation: u64,
    ) -> Result<(), String> {
        let full = self.machines[machine].disk_full_until_ns > self.now_ns;
        let own = &mut self.machines[machine];
        if own.start != start {
            return Ok(());
        }
        let reads = own.node().is_some_and(|node| node.disk.reads_memory(core, operation));
        let memory_ns = if reads { own.memory_stands_until_ns } else { 0 };
        let until_ns = own.disk_stands_until_ns.max(memory_ns);
        if until_ns > self.now_ns {
            // It may be let go before.
            let until_ns = until_ns.min(self.now_ns + LOOK_AGAIN_NS);
            self.at(until_ns, Event::Disk { machine, core, start, operation });
            return Ok(());
        }
        let fails = own.disk_fails;
        let State::Up(node) = &mut own.state else { return Ok(()) };
        let rng: &mut Rng = &mut self.rng;
        if fails && node.disk.is_log_write(core, operation) {
            own.disk_fails = false;
            node.fail_disk(core, operation, EIO, rng);
        } else if full && node.disk.is_preparation(core, operation) {
            node.fail_disk(core, operation, ENOSPC, rng);
        } else if let Some(errno) = self.spoils(machine, core, operation)? {
            let State::Up(node) = &mut self.machines[machine].state else { return Ok(()) };
            node.fail_disk(core, operation, errno, &mut self.rng);
        } else if let State::Up(node) = &mut self.machines[machine].state {
            node.finish_disk(core, operation);
        }
        self.schedule_soon(machine, core);
        Ok(())
    }

    /// What must hold of a replica and the others' at any time.
    fn look_at(&mut self, machine: usize) -> Result<(), String> {
        if let Some(message) = self.unexplained.take() {
            return Err(format!("node {} stopped: {message}", machine + 1));
        }
        for shard in self.shards() {
            self.look_at_replica(machine, shard)?;
            self.look_at_version(machine, shard)?;
        }
        Ok(())
    }

    fn look_at_replica(&mut self, machine: usize, shard: u16) -> Result<(), String> {
        let own = &mut self.machines[machine];
        let State::Up(node) = &own.state else { return Ok(()) };
        let core = node.core(own.home_of(shard));
        let Some(seen) = core.see_replica(shard) else {
            return Err("a node of a cluster without a replica".into());
        };
        self.outcome.terms = self.outcome.terms.max(seen.term.0);
        let place = usize::from(shard);
        self.outcome.voids += u64::from(seen.voids > 0 && own.voids[place] != seen.voids);
        own.voids[place] = seen.voids;
        if seen.role == Role::Leader {
            let leader = *self.leaders.entry((shard, seen.term.0)).or_insert(machine);
            if leader != machine {
                return Err(format!("nodes {} and {} lead: {seen:?}", leader + 1, machine + 1));
            }
        }
        let now_at = (own.start, seen.applied.0);
        if own.compared[place] != now_at
            && let Some((index, digest)) = core.see_memory(shard)
        {
            own.compared[place] = now_at;
            let known = *self.digests.entry((shard, index.0)).or_insert(digest);
            if known != digest {
                return Err(format!(
                    "node {} has {digest} of shard {shard} as of entry {}, another had {known}: \
                     {seen:?}",
                    machine + 1,
                    index.0
                ));
            }
        }
        Ok(())
    }
}

fn is_rebuilding(seen: Option<Seen>) -> bool {
    seen.is_some_and(|seen| matches!(seen.standing, Standing::Rebuilding { .. }))
}
