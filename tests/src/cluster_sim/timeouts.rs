//! An operator changes the election timeout: each node is started again with the new one. At once,
//! as is right, or one after the other while the rest goes on, which must cost no more than time.

use engine::rng::Rng;

use super::plan::{Plan, TIMEOUTS_MS};
use super::world::{Event, World};

const PERIOD_NS: u64 = 3_000_000_000;

pub struct Timeouts {
    /// What a start gets.
    pub now_ms: u64,
    /// Of this alone: see [`Plan::timeouts_of`].
    rng: Rng,
}

impl Timeouts {
    pub fn new(plan: &Plan) -> Timeouts {
        Timeouts { now_ms: plan.election_timeout_ms, rng: Rng::new(!plan.seed) }
    }
}

impl World {
    pub fn retime_later(&mut self) {
        let delay_ns = self.timeouts.rng.below(PERIOD_NS);
        self.after(delay_ns, Event::Retime);
    }

    pub fn retime(&mut self) {
        if self.calm {
            return;
        }
        let drawn = self.timeouts.rng.below(TIMEOUTS_MS.len() as u64) as usize;
        self.timeouts.now_ms = TIMEOUTS_MS[drawn];
        let within_ns = [50_000_000, 500_000_000, 5_000_000_000];
        let within_ns = within_ns[self.timeouts.rng.below(3) as usize];
        self.outcome.retimes += 1;
        self.history.note(self.now_ns, || {
            format!("all are to start with an election timeout of {} ms", TIMEOUTS_MS[drawn])
        });
        for machine in 0..self.machines.len() {
            let delay_ns = self.timeouts.rng.below(within_ns);
            self.after(delay_ns, Event::RetimeOne { machine });
        }
        self.retime_later();
    }

    pub fn retime_one(&mut self, machine: usize) {
        if self.machines[machine].config.election_timeout_ms != self.timeouts.now_ms {
            let back_ns = self.timeouts.rng.below(20_000_000);
            self.stop(machine, false, back_ns);
        }
    }

    /// What was begun is brought to its end.
    pub fn retime_the_rest(&mut self) {
        (0..self.machines.len()).for_each(|machine| self.retime_one(machine));
    }
}
