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

#[cfg(test)]
mod tests {
    use replication::fault::{Fault, plant};

    use super::super::plan::Plan;
    use super::super::tests::plan;
    use super::*;

    /// An hour: no lease lasts so long.
    const BACK_MS: i64 = -3_600_000;
    const PAUSE_NS: u64 = 3_000_000_000;
    const BEGIN_NS_MAX: u64 = 5_000_000_000;
    const CUT_OFF_NS: u64 = 1_000_000_000;
    /// Clients that are at the leader when it goes on.
    const READERS: usize = 3;
    const SEEDS: u64 = 12;

    /// A leader stands still, cut off from the others, while its wall clock leaps back: it reads
    /// as if it had been confirmed a moment ago. Its ticks do not tell it yet that it was not.
    fn leap_back(seed: u64) -> Result<(), String> {
        let mut world = World::new(Plan { nodes: 3, operations: 1_000, ..plan(seed) })?;
        world.mood.kinds.clear();
        world.run_until(BEGIN_NS_MAX, "operations", |world| world.outcome.done > 100)?;
        let leader = *world.leaders.values().next_back().ok_or("nobody leads")?;
        world.machines[leader].set_wall_clock(BACK_MS);
        world.machines[leader].paused_until_ns = world.now_ns + PAUSE_NS;
        let others = (0..world.machines.len()).filter(|other| *other != leader);
        world.wires.cut = others.flat_map(|other| [(leader, other), (other, leader)]).collect();
        write_on(&mut world, PAUSE_NS)?;
        for client in 0..READERS {
            world.drop_client(client);
            world.clients[client].machine = leader;
        }
        write_on(&mut world, CUT_OFF_NS)?;
        let next = *world.leaders.values().next_back().ok_or("nobody leads")?;
        assert_ne!(next, leader, "nobody else leads");
        world.live()
    }

    fn write_on(world: &mut World, for_ns: u64) -> Result<(), String> {
        let until_ns = world.now_ns + for_ns;
        while world.now_ns < until_ns {
            world.left = world.left.max(100);
            world.step()?;
        }
        Ok(())
    }

    #[test]
    fn a_lease_does_not_rest_on_the_wall_clock() {
        (0..SEEDS).for_each(|seed| leap_back(seed).unwrap());
        plant(Some(Fault::LeaseByWallClock));
        let found: Vec<_> = (0..SEEDS).filter_map(|seed| leap_back(seed).err()).collect();
        plant(None);
        println!("found by {}: {found:?}", found.len());
        assert!(!found.is_empty());
    }
}
