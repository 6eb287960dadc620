//! Clocks leap. The wall clock as far as it likes: times at which keys end rest on it, and nothing
//! else. The monotonic clock further than the lease allows for: then a lease may outlive what it
//! rests on, and reads may be of before, until it is over. Nothing else may come of it.

use super::world::World;

/// The wall clock leaps by less than 2 to the power of so many milliseconds: 35 years.
const WALL_MS_BITS: u64 = 40;
/// Forward by less than 2 to the power of so many nanoseconds: an hour. All timers are due then.
const AHEAD_NS_BITS: u64 = 42;
/// Backward: all timers stand still for so long.
const BACK_NS_MAX: u64 = 3_000_000_000;
/// A leader's lease, and a turn that stopped with what it had read of the clock, are over by then.
const LEASES_OVER_NS: u64 = 5_000_000_000;

impl World {
    pub fn leap_wall_clock(&mut self, machine: usize) {
        let bits = self.rng.below(WALL_MS_BITS);
        let far_ms = self.rng.below(1 << bits) as i64;
        let ahead_ms = if self.rng.below(2) == 0 { far_ms } else { -far_ms };
        self.outcome.wall_leaps += 1;
        self.history.note(self.now_ns, || {
            format!("the wall clock of node {} is {ahead_ms} ms ahead", machine + 1)
        });
        self.machines[machine].set_wall_clock(ahead_ms);
    }

    pub fn leap_clock(&mut self, machine: usize) {
        let back = self.rng.below(2) == 0;
        let by_ns = match back {
            true => -(self.rng.below(BACK_NS_MAX) as i64),
            false => {
                let bits = self.rng.below(AHEAD_NS_BITS);
                self.rng.below(1 << bits) as i64
            }
        };
        self.outcome.leaps += 1;
        self.history.note(self.now_ns, || {
            format!("the monotonic clock of node {} leaps by {by_ns} ns", machine + 1)
        });
        let leapt_ns = self.machines[machine].leap_clock(by_ns);
        // A clock that is slow takes longer to come to where it was.
        let until_ns = self.now_ns + leapt_ns.min(0).unsigned_abs() * 2 + LEASES_OVER_NS;
        self.history.distrust_leases(self.now_ns, until_ns);
        for core in 0..self.machines[machine].running_cores() {
            self.schedule_turn(machine, core, self.now_ns);
        }
    }
}
