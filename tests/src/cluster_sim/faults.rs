//! What goes wrong, and when.

use engine::rng::Rng;
use replication::buggify;

use super::machine::Machine;
use super::plan::{Plan, Trouble};
use super::world::{Event, World};
use crate::sim::node::Waiting;

/// How bad a run is.
pub struct Mood {
    /// Most time between troubles.
    period_ns: u64,
    /// Kinds, each as often as it is to come.
    pub kinds: Vec<Trouble>,
}

impl Mood {
    /// Some kinds do not come in some runs: what they hide may show.
    pub fn random(kinds: &[Trouble], plan: &Plan, rng: &mut Rng) -> Mood {
        let period_ns = [300_000_000, 1_000_000_000, 3_000_000_000][rng.below(3) as usize];
        let mut weighed = Vec::new();
        for (place, kind) in kinds.iter().enumerate() {
            let mut own = Rng::new(plan.seed ^ 0x7209_B1E5 ^ (place as u64) << 32);
            let rng = if place < Trouble::IN_ONE_ROW { &mut *rng } else { &mut own };
            let weight = rng.below(3).pow(2) as usize;
            weighed.extend(std::iter::repeat_n(*kind, weight));
        }
        match plan.only {
            Some(only) => Mood { period_ns: 1_500_000_000, kinds: vec![only] },
            None => Mood { period_ns, kinds: weighed },
        }
    }
}

impl World {
    pub fn trouble(&mut self) -> Result<(), String> {
        if self.calm {
            return Ok(());
        }
        let delay_ns = self.rng.below(self.mood.period_ns);
        self.after(delay_ns, Event::Trouble);
        let any = self.rng.below(self.machines.len() as u64) as usize;
        let leader = self.leaders.values().next_back().copied().unwrap_or(any);
        let machine = if self.rng.below(2) == 0 { leader } else { any };
        let kinds = &self.mood.kinds;
        let drawn = self.rng.below(kinds.len().max(1) as u64) as usize;
        let Some(kind) = kinds.get(drawn).copied() else { return Ok(()) };
        self.history.note(self.now_ns, || format!("trouble at node {}: {kind:?}", machine + 1));
        let place = Trouble::ALL.iter().position(|known| *known == kind);
        place.into_iter().for_each(|place| self.outcome.troubles[place] += 1);
        match kind {
            Trouble::Kill => self.kill(machine),
            Trouble::PowerCut => self.cut_power(machine),
            Trouble::PowerCutOfAll => self.cut_all_power(),
            Trouble::Pause => self.pause(machine, false),
            Trouble::PauseInTurn => self.pause(machine, true),
            Trouble::Partition => self.part(),
            Trouble::PartitionsEnd => self.mend()?,
            Trouble::Disk => self.hurt_disk(machine),
            Trouble::Connections => self.hurt_wires(),
            Trouble::Isolation => self.isolate(machine),
            Trouble::Stop => self.stop_in_order(machine),
            Trouble::Failover => self.add_to_all(machine, || Waiting::Failover),
            Trouble::Wipe => self.wipe(machine),
            Trouble::Join => self.begin_join(),
            Trouble::Remove => self.remove_member(machine),
            Trouble::Drain => self.drain_member(machine),
            Trouble::Rot => self.rot(machine),
            Trouble::WallClock => self.leap_wall_clock(machine),
            Trouble::Clock => self.leap_clock(machine),
            Trouble::CheckpointDisk => self.spoil_checkpoints(machine),
            Trouble::FailoverDeaf => {
                self.machines[machine].deaf_when_handing_over = true;
                self.add_to_all(machine, || Waiting::Failover);
            }
        }
        Ok(())
    }

    pub fn back_ns(&mut self) -> u64 {
        // Soon enough for a lease to hold that it has helped to.
        let most_ns = if self.rng.below(2) == 0 { 10_000_000 } else { 2_000_000_000 };
        self.rng.below(most_ns)
    }

    /// Where nothing else goes wrong a majority stays: without one, writes may be in doubt.
    fn stop_in_order(&mut self, machine: usize) {
        let stays = |machine: &Machine| machine.is_up() && !machine.told_to_stop;
        if self.plan.only.is_none() || self.machines.iter().all(stays) {
            self.machines[machine].told_to_stop = true;
            self.add_to_all(machine, || Waiting::Shutdown);
        }
    }

    fn kill(&mut self, machine: usize) {
        self.outcome.kills += usize::from(self.machines[machine].is_up());
        let back_ns = self.back_ns();
        self.stop(machine, false, back_ns);
    }

    fn cut_power(&mut self, machine: usize) {
        self.outcome.power_cuts += usize::from(self.machines[machine].is_up());
        let back_ns = self.back_ns();
        self.stop(machine, true, back_ns);
    }

    /// One at a time: a majority without its directories has lost what there was. None that has not
    /// met the others yet: it has promised them nothing.
    fn wipe(&mut self, machine: usize) {
        let members = self.members();
        let others = members.iter().filter(|other| **other != machine);
        let met = members.contains(&machine)
            && others.into_iter().all(|other| self.machines[*other].has_met(machine));
        if !self.machines[machine].is_up() || self.machines.iter().any(Machine::is_wiped) || !met {
            return;
        }
        self.outcome.wipes += 1;
        let back_ns = self.back_ns();
        self.stop(machine, true, back_ns);
        self.machines[machine].wipe(&mut self.rng);
        let delay_ns = back_ns + self.rng.below(3_000_000_000);
        self.after(delay_ns, Event::Restore { machine });
    }

    /// The directory of a node that was wiped is there again.
    pub fn restore(&mut self, machine: usize) {
        let back_ns = self.back_ns();
        // It may be about to start, with which directory ever is there then.
        self.stop(machine, false, back_ns);
        self.machines[machine].restore();
        self.history.note(self.now_ns, || format!("node {} has its directory again", machine + 1));
    }

    fn cut_all_power(&mut self) {
        (0..self.machines.len()).for_each(|machine| self.cut_power(machine));
    }

    /// The process stands still, between turns or in one.
    fn pause(&mut self, machine: usize, in_turn: bool) {
        self.outcome.pauses += 1;
        let for_ns = self.rng.below(2_500_000_000);
        let own = &mut self.machines[machine];
        if in_turn {
            own.stops_in_turn_ns = for_ns;
            // What others have to say would be read in the same turn.
            if self.rng.below(2) == 0 {
                self.isolate(machine);
            }
        } else {
            own.paused_until_ns = self.now_ns + for_ns;
        }
    }

    /// Some cannot talk to the others, or here and there one does not hear another.
    fn part(&mut self) {
        let count = self.machines.len();
        let apart: Vec<bool> = (0..count).map(|_| self.rng.below(3) == 0).collect();
        let whole = self.rng.below(3) > 0;
        let pairs = (0..count).flat_map(|from| (0..count).map(move |to| (from, to)));
        let cut: Vec<_> = pairs
            .filter(|(from, to)| match whole {
                true => apart[*from] != apart[*to],
                false => from != to && self.rng.below(4) == 0,
            })
            .collect();
        self.cut(cut);
    }

    /// It does not hear the others, nor they it; or it is not heard only.
    fn isolate(&mut self, machine: usize) {
        let others = (0..self.machines.len()).filter(|other| *other != machine);
        let deaf = self.rng.below(3);
        let cut = others.flat_map(|other| {
            let (to, from) = ((machine, other), (other, machine));
            [to, from].into_iter().take(if deaf == 0 { 1 } else { 2 })
        });
        self.cut(cut.collect());
    }

    /// It hears the others no more.
    pub fn deafen(&mut self, machine: usize) {
        let others = (0..self.machines.len()).filter(|other| *other != machine);
        self.cut(others.map(|other| (other, machine)).collect());
    }

    fn cut(&mut self, pairs: Vec<(usize, usize)>) {
        self.outcome.partitions += 1;
        let shown: Vec<_> = pairs.iter().map(|(from, to)| (from + 1, to + 1)).collect();
        self.history.note(self.now_ns, || format!("cut: {shown:?}"));
        self.wires.cut = pairs.into_iter().collect();
        for wire in self.wires.cut_ones() {
            let delay_ns = 500_000_000 + self.rng.below(4_000_000_000);
            self.after(delay_ns, Event::TimeOut { wire });
        }
        let delay_ns = self.rng.below(4_000_000_000);
        self.after(delay_ns, Event::Mend);
    }

    pub fn mend(&mut self) -> Result<(), String> {
        self.wires.cut.clear();
        self.let_go()
    }

    fn hurt_disk(&mut self, machine: usize) {
        let until_ns = self.now_ns + self.rng.below(2_000_000_000);
        let kind = self.rng.below(4);
        let own = &mut self.machines[machine];
        match kind {
            0 => own.disk_fails = own.is_up(),
            1 => {
                own.disk_full_until_ns = until_ns;
                self.outcome.disks_full += 1;
            }
            _ => own.disk_slow_until_ns = until_ns,
        }
    }

    fn hurt_wires(&mut self) {
        let breaks = self.rng.below(2) == 0;
        for wire in self.wires.ids() {
            if self.rng.below(3) > 0 {
                continue;
            }
            if breaks {
                self.break_wire(wire);
            } else if let Some(own) = self.wires.get_mut(wire) {
                own.stalled = true;
                let delay_ns = self.rng.below(1_000_000_000);
                self.after(delay_ns, Event::Unstall { wire });
            }
        }
    }

    /// From now on nothing goes wrong; what was wrong is put right.
    pub fn calm_down(&mut self) -> Result<(), String> {
        self.calm = true;
        self.rare_ways = buggify::end();
        self.outcome.rare_ways = self.rare_ways.iter().map(|(_, times)| times).sum();
        self.calm_since_ns = self.now_ns;
        self.history.note(self.now_ns, || "the faults cease".into());
        for machine in &mut self.machines {
            machine.disk_fails = false;
            machine.disk_full_until_ns = 0;
            machine.disk_slow_until_ns = 0;
            machine.spoiling = None;
            machine.stops_in_turn_ns = 0;
            machine.deaf_when_handing_over = false;
        }
        for wire in self.wires.ids() {
            self.unstall(wire)?;
        }
        self.retime_the_rest();
        self.upgrade_the_rest();
        self.mend()
    }
}
