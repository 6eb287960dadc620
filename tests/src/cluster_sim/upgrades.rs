//! An operator gives the nodes newer programs, and older ones again, and raises the cluster's
//! version now and then, as is right or not. Programs are all the same but for the versions that
//! they apply; those of the future have more than this one, and emit nothing new in them.

use engine::rng::Rng;
use replication::group::NodeId;
use replication::version::{Version, Versions};
use server::replica::members::MembersOrder;

use super::plan::Plan;
use super::world::{Event, World};

/// The newest program applies so many.
const MOST: u16 = Version::NEWEST.0 + 1;
const PERIOD_NS: u64 = 600_000_000;
const BACK_NS_MAX: u64 = 20_000_000;

pub struct Upgrades {
    /// Of this alone: see [`Plan::upgrades_of`].
    rng: Rng,
    /// The highest version that was ever asked for, and that any group has had.
    ordered: Version,
    raised: Version,
}

impl Upgrades {
    pub fn new(plan: &Plan) -> Upgrades {
        let rng = Rng::new(plan.seed ^ 0x0009_7ade);
        Upgrades { rng, ordered: Version(1), raised: Version(1) }
    }
}

fn program(most: u16) -> Versions {
    Versions { least: Version(1), most: Version(most) }
}

impl World {
    /// A cluster of the oldest version, on programs of any.
    pub fn begin_upgrades(&mut self) {
        for machine in &mut self.machines {
            let [one, other] = [0; 2].map(|_| 1 + self.upgrades.rng.below(MOST.into()) as u16);
            machine.config.applied = program(one.max(other));
            if let Some(cluster) = &mut machine.config.cluster {
                cluster.founded = Version(1);
            }
        }
        self.upgrade_later();
    }

    /// A machine that is to join runs the newest program.
    pub fn upgrade_new(&mut self, machine: usize) {
        if self.plan.upgrades {
            self.machines[machine].config.applied = program(MOST);
        }
    }

    fn upgrade_later(&mut self) {
        let delay_ns = self.upgrades.rng.below(PERIOD_NS);
        self.after(delay_ns, Event::Upgrade);
    }

    pub fn upgrade(&mut self) {
        if self.calm {
            return;
        }
        let machine = self.upgrades.rng.below(self.machines.len() as u64) as usize;
        let any = 1 + self.upgrades.rng.below(MOST.into()) as u16;
        let raised = self.upgrades.raised.0;
        let next = MOST.min(raised + 1);
        match self.upgrades.rng.below(8) {
            0 => self.raise(any),
            1..4 => self.raise(next),
            4 => {
                // A node gets the program of before at the same time: it does not know better.
                self.raise(next);
                self.upgrade_soon(machine, raised);
            }
            5 => self.upgrade_soon(machine, MOST),
            6 => (0..self.machines.len()).for_each(|machine| self.upgrade_soon(machine, next)),
            // It may be too old, by mistake.
            _ => {
                let mistaken = self.upgrades.rng.below(4) == 0;
                self.upgrade_soon(machine, if mistaken { any } else { any.max(raised) });
            }
        }
        self.upgrade_later();
    }

    fn raise(&mut self, version: u16) {
        self.upgrades.ordered = self.upgrades.ordered.max(Version(version));
        self.order(MembersOrder::Raise(Some(Version(version))));
    }

    fn upgrade_soon(&mut self, machine: usize, most: u16) {
        let delay_ns = self.upgrades.rng.below(2 * BACK_NS_MAX);
        self.after(delay_ns, Event::UpgradeOne { machine, most });
    }

    /// The node is started again with a program that applies so many versions.
    pub fn upgrade_one(&mut self, machine: usize, most: u16) {
        if self.machines[machine].config.applied == program(most) {
            return;
        }
        let back_ns = self.upgrades.rng.below(BACK_NS_MAX);
        // One that is down comes back when it would have come anyhow.
        self.stop(machine, false, back_ns);
        self.machines[machine].config.applied = program(most);
        self.outcome.upgrades += 1;
        self.history.note(self.now_ns, || {
            format!("node {} is to run a program that applies 1 to {most}", machine + 1)
        });
    }

    /// A start was refused. That is right where its log has a version that its program lacks, then
    /// it gets the newest one; or where bits of its disk have flipped.
    pub fn start_refused(&mut self, machine: usize, why: String) -> Result<(), String> {
        let applied = self.machines[machine].config.applied;
        let lacks = why.contains("and this program applies");
        if !lacks || applied.contains(self.upgrades.ordered) {
            return match self.machines[machine].is_rotten {
                true => self.lose_rotten(machine, &why),
                false => Err(why),
            };
        }
        self.outcome.version_refusals += 1;
        self.history.note(self.now_ns, || format!("{why}: it gets the newest program"));
        self.machines[machine].config.applied = program(MOST);
        let back_ns = self.upgrades.rng.below(2 * PERIOD_NS);
        let start = self.machines[machine].start;
        self.after(back_ns, Event::Boot { machine, start });
        Ok(())
    }

    /// What was begun is brought to its end.
    pub fn upgrade_the_rest(&mut self) {
        if self.plan.upgrades {
            (0..self.machines.len()).for_each(|machine| self.upgrade_one(machine, MOST));
        }
    }

    /// A group has a version here: its program must apply it, and no group of this start may have
    /// had a higher one.
    pub fn look_at_version(&mut self, machine: usize, shard: u16) -> Result<(), String> {
        let own = &mut self.machines[machine];
        let core = own.home_of(shard);
        let seen = own.node().and_then(|node| node.core(core).see_version(shard));
        let Some(version) = seen else { return Ok(()) };
        let applied = own.config.applied;
        if !applied.contains(version) {
            return Err(format!(
                "node {} applies {applied}, and shard {shard} has version {version}",
                machine + 1
            ));
        }
        let start = own.start;
        let before = std::mem::replace(&mut own.versions[usize::from(shard)], (start, version));
        if before.0 == start && before.1 > version {
            let (node, was) = (machine + 1, before.1);
            return Err(format!("shard {shard} of node {node} went from {was} to {version}"));
        }
        self.outcome.raises += usize::from(version > self.upgrades.raised);
        self.upgrades.raised = self.upgrades.raised.max(version);
        Ok(())
    }

    /// A version that any group has ever had is that of all members' groups.
    pub fn check_versions(&self) -> Result<(), String> {
        for machine in self.members() {
            let Some(node) = self.machines[machine].node() else { continue };
            for shard in self.shards() {
                let core = node.core(self.machines[machine].home_of(shard));
                let version = core.see_version(shard);
                let raised = self.upgrades.raised;
                if self.plan.upgrades && version != Some(raised) {
                    let node = NodeId(machine as u64 + 1);
                    return Err(format!(
                        "shard {shard} of {node:?} has version {version:?}, not {raised}"
                    ));
                }
            }
        }
        Ok(())
    }
}
