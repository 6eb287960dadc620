//! Checkpoints' files cannot be made, written, synced, renamed or read, of a disk that fails or is
//! full: the node goes on from its log, and tries again, not at once, until it succeeds.

use super::machine::Machine;
use super::nodes::{EIO, ENOSPC};
use super::world::World;

const SPOILS_NS_MAX: u64 = 20_000_000_000;
/// What failed is not begun again before: a second, less what a clock is fast.
const RETRY_NS_MIN: u64 = 950_000_000;

/// Of operations on checkpoints' files.
#[derive(Clone, Copy, Debug)]
pub struct Spoiling {
    until_ns: u64,
    errno: i32,
    /// Of a hundred, so many fail.
    percent: u64,
}

impl World {
    pub fn spoil_checkpoints(&mut self, machine: usize) {
        let until_ns = self.now_ns + self.rng.below(SPOILS_NS_MAX);
        let errno = if self.rng.below(2) == 0 { EIO } else { ENOSPC };
        let percent = [20, 60, 100][self.rng.below(3) as usize];
        self.machines[machine].spoiling = Some(Spoiling { until_ns, errno, percent });
    }

    /// The error that an operation ends with, if it is one on a checkpoint and fails.
    pub fn spoils(
        &mut self,
        machine: usize,
        core: u16,
        operation: u64,
    ) -> Result<Option<i32>, String> {
        self.look_at_retry(machine, core, operation)?;
        let own = &mut self.machines[machine];
        let Some(spoiling) = own.spoiling.filter(|spoiling| spoiling.until_ns > self.now_ns) else {
            return Ok(None);
        };
        let Some(node) = own.node() else { return Ok(None) };
        if !node.disk.is_about_checkpoint(core, operation)
            || self.rng.below(100) >= spoiling.percent
        {
            return Ok(None);
        }
        self.outcome.spoilt += 1;
        if let Some((name, _)) = node.disk.checkpoint_made(core, operation) {
            own.spoilt.insert((core, name), self.now_ns);
        }
        Ok(Some(spoiling.errno))
    }

    /// A file that could not be made is not made again at once.
    fn look_at_retry(&self, machine: usize, core: u16, operation: u64) -> Result<(), String> {
        let own = &self.machines[machine];
        let Some(node) = own.node() else { return Ok(()) };
        let Some((name, true)) = node.disk.checkpoint_made(core, operation) else { return Ok(()) };
        let failed = own.spoilt.get(&(core, name.clone()));
        match failed.map(|failed_ns| self.now_ns - failed_ns) {
            Some(passed_ns) if passed_ns < RETRY_NS_MIN && !own.has_leapt => Err(format!(
                "core {core} of node {} makes {name} again {} ms after it failed",
                machine + 1,
                passed_ns / 1_000_000
            )),
            _ => Ok(()),
        }
    }

    /// No member's last checkpoint has failed, where that went wrong on purpose.
    pub fn are_checkpoints_well(&self) -> bool {
        let failed = |machine: &Machine| {
            let node = machine.node();
            node.is_some_and(|node| {
                (0..node.cores()).any(|core| node.core(core).see_checkpoint_failed())
            })
        };
        let members = self.members();
        self.outcome.spoilt == 0 || !members.iter().any(|number| failed(&self.machines[*number]))
    }
}

#[cfg(test)]
mod tests {
    use replication::fault::{Fault, plant};

    use super::super::plan::{Plan, Trouble};
    use super::super::tests::plan;
    use super::*;
    use crate::sim::node::Node;

    const SPOILT_NS: u64 = 12_000_000_000;
    /// Of one core: after one second, two, four; and the first one.
    const FAILURES_MAX: usize = 4;

    /// A follower was away for longer than the others remember, and cannot write what it is sent.
    /// Returns how many operations failed.
    fn spoil_follower(seed: u64) -> Result<usize, String> {
        let only = Some(Trouble::PartitionsEnd);
        let plan = Plan { nodes: 3, shards: 1, cores: 1, operations: 1_000, only, ..plan(seed) };
        let mut world = World::new(plan)?;
        for machine in &mut world.machines {
            (machine.config.catch_up_log_bytes, machine.config.catch_up_memory_bytes) = (0, 1);
            machine.config.checkpoint_log_bytes = 2_000;
        }
        (0..3).for_each(|machine| world.stop(machine, false, 1));
        world.run_for(1_000_000_000)?;
        world.stop(2, false, 2_000_000_000);
        let until_ns = world.now_ns + SPOILT_NS;
        let spoiling = Spoiling { until_ns, errno: ENOSPC, percent: 100 };
        world.machines[2].spoiling = Some(spoiling);
        while world.now_ns < until_ns {
            world.left = world.left.max(100);
            world.step()?;
        }
        let failures = world.outcome.spoilt;
        let received = |world: &World| world.machines[2].node().map(received_by);
        assert_eq!(received(&world), Some(0));
        world.run_until(20_000_000_000, "a checkpoint", |world| received(world) > Some(0))?;
        world.live()?;
        Ok(failures)
    }

    fn failures() -> Vec<usize> {
        (0..6).map(|seed| spoil_follower(seed).unwrap()).collect()
    }

    /// And one that takes them again at once, or rather as soon as its leader sends them again,
    /// fails more often than that.
    #[test]
    fn a_follower_that_cannot_write_checkpoints_is_sent_them_more_and_more_rarely() {
        let patient = failures();
        // Each fails, and its removal too; those of its own follow each other after ten seconds.
        assert!(patient.iter().all(|count| *count <= 2 * FAILURES_MAX + 4), "{patient:?}");
        assert!(patient.iter().sum::<usize>() >= 12, "{patient:?}");
        plant(Some(Fault::SpoiltAtOnce));
        let hasty = failures();
        plant(None);
        assert!(hasty.iter().all(|count| *count > 2 * FAILURES_MAX + 4), "{hasty:?}");
    }

    fn received_by(node: &Node) -> u64 {
        (0..node.cores()).map(|core| node.core(core).see_checkpoints_received()).sum()
    }
}
