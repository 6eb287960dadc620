//! Machines join with an empty disk, are taken out without being told to stop, and are drained:
//! what an operator does, through whichever node leads.

use replication::group::roster::Duty;
use replication::group::{NodeId, Role};
use server::config::cluster::NODES_MAX;
use server::replica::members::MembersOrder;

use super::machine::Machine;
use super::world::{Event, World};
use crate::sim::node::Waiting;

/// Machines of a run, those that were taken out included.
const MACHINES_MAX: usize = 12;
const ASK_NS_MAX: u64 = 200_000_000;

impl World {
    /// The machines that are in the cluster, by what the newest leader of the first shard knows.
    pub fn members(&self) -> Vec<usize> {
        let newest = self.newest_leader().and_then(|machine| self.machines[machine].node());
        let Some(node) = newest else { return Vec::new() };
        let nodes = node.core(0).roster().nodes.iter();
        nodes.map(|known| known.node.0 as usize - 1).collect()
    }

    fn newest_leader(&self) -> Option<usize> {
        let term = |machine: &Machine| {
            let seen = machine.node()?.core(0).see_replica(0)?;
            (seen.role == Role::Leader).then_some((seen.term, machine.number))
        };
        self.machines.iter().filter_map(term).max().map(|(_, number)| number)
    }

    /// A new machine asks to join until it has a number.
    pub fn begin_join(&mut self) {
        let crowded = self.members().len() + 1 >= NODES_MAX;
        if self.joining.is_some() || crowded || self.machines.len() >= MACHINES_MAX {
            return;
        }
        let number = self.machines.len();
        self.machines.push(Machine::new(number, &self.plan, self.roomy, &mut self.rng));
        self.joining = Some(number);
        self.upgrade_new(number);
        self.after(1, Event::Admit);
    }

    pub fn on_admit(&mut self) -> Result<(), String> {
        let Some(number) = self.joining else { return Ok(()) };
        let directory = self.machines[number].directory();
        let welcomes = self.machines.iter().filter_map(|machine| machine.node());
        let welcome = welcomes.filter_map(|node| node.core(0).welcome(directory)).next();
        if let Some(cluster) = welcome {
            if cluster.node != NodeId(number as u64 + 1) {
                return Err(format!("machine {number} got the number {:?}", cluster.node));
            }
            self.machines[number].config.cluster = Some(cluster);
            self.joining = None;
            self.outcome.joined += 1;
            return self.boot(number);
        }
        let address = self.machines[number].address();
        self.order(MembersOrder::Add { address, directory });
        let delay_ns = self.rng.below(ASK_NS_MAX);
        self.after(delay_ns, Event::Admit);
        Ok(())
    }

    pub fn remove_member(&mut self, machine: usize) {
        let members = self.members();
        // Else there would be no replicas in the end, or no majority of those that are sound.
        let sound = self.machines.iter().all(|machine| !machine.is_rotten);
        if sound && members.len() > 2 && members.contains(&machine) {
            self.outcome.removed += 1;
            self.order(MembersOrder::Remove(NodeId(machine as u64 + 1)));
        }
    }

    pub fn drain_member(&mut self, machine: usize) {
        self.outcome.drained += 1;
        let node = NodeId(machine as u64 + 1);
        let back = self.rng.below(2) == 0;
        self.order(if back { MembersOrder::Undrain(node) } else { MembersOrder::Drain(node) });
    }

    pub fn order(&mut self, order: MembersOrder) {
        if let Some(leader) = self.newest_leader() {
            self.history.note(self.now_ns, || match order {
                MembersOrder::Add { address, .. } => {
                    format!("node {} is told to add {address}", leader + 1)
                }
                order => format!("node {} is told: {order:?}", leader + 1),
            });
            self.add(leader, 0, Waiting::Members(order));
        }
    }

    /// Nobody is coming or going, and all nodes that are in know the same.
    pub fn are_members_settled(&self) -> bool {
        let members = self.members();
        let Some(first) = members.first().and_then(|machine| self.machines[*machine].node()) else {
            return false;
        };
        let Some(goal) = first.core(0).see_members(0) else { return false };
        let full = members.len() >= NODES_MAX;
        let settled = (self.joining.is_none() || full)
            && goal.learners.is_empty()
            && goal.roster.nodes.iter().all(|known| known.duty != Duty::Leaving);
        settled
            && members.iter().all(|machine| {
                let Some(node) = self.machines[*machine].node() else { return false };
                let home = &self.machines[*machine];
                let of_group = |shard| node.core(home.home_of(shard)).see_members(shard);
                self.shards().all(|shard| of_group(shard).is_some_and(|own| own.is_as(goal)))
            })
    }
}
