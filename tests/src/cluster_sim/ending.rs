//! A run from start to verdict.

use super::operation::Operation;
use super::plan::Trouble;
use super::world::{Event, World};
use crate::sim::node::Node;

/// Virtual time that clients have under faults.
const FAULTS_NS_MAX: u64 = 40_000_000_000;
/// Within this a write must be answered once the faults have ceased: nodes that are down come back
/// within two seconds, connections are given up within five, then there is an election.
const PROGRESS_NS_MAX: u64 = 15_000_000_000;
const SETTLE_NS_MAX: u64 = 15_000_000_000;
/// Nodes come one after the other, and each may have to wait until a checkpoint that broke off is
/// given up, for each of its cores' shards.
const MEMBERS_NS_MAX: u64 = 60_000_000_000;
/// A checkpoint that failed is tried again within ten seconds, one shard's after the other's.
const CHECKPOINTS_NS_MAX: u64 = 60_000_000_000;
/// Operations after the faults.
const OPERATIONS_AFTER: usize = 30;
/// All of them may be asked of a node that was taken out while it was away: it looks for a leader
/// for three seconds each time.
const ANSWERS_NS_MAX: u64 = OPERATIONS_AFTER as u64 * 4_000_000_000;
/// Once all is as it should be each is answered within so long: less than an election takes.
const ANSWER_NS_MAX: u64 = 300_000_000;

impl World {
    pub fn live(&mut self) -> Result<(), String> {
        while self.left > 0 && self.now_ns < FAULTS_NS_MAX {
            self.step()?;
        }
        self.left = 0;
        self.calm_down()?;
        self.outcome.virtual_ns = self.now_ns;
        self.go_on_in_peace()?;
        for machine in &self.machines {
            let node = machine.node();
            self.outcome.checkpoints += node.map_or(0, |node| node.disk.files.named());
        }
        // On rare ways a hand-over may fail, and who led closes its clients.
        let only_planned = matches!(self.plan.only, Some(Trouble::Stop | Trouble::Failover));
        if only_planned && !self.plan.buggify {
            self.history.check_cut_off()?;
        }
        self.outcome.doubtful_reads = self.history.doubt_reads();
        self.history.disks_were_full = self.outcome.disks_full > 0;
        self.history.check()
    }

    fn go_on_in_peace(&mut self) -> Result<(), String> {
        self.left = OPERATIONS_AFTER;
        self.wake_clients();
        self.run_until(PROGRESS_NS_MAX, "a write", |world| world.written_ns.is_some())?;
        self.run_until(SETTLE_NS_MAX, "the last operations", World::is_quiet)?;
        self.run_until(MEMBERS_NS_MAX, "members", World::are_members_settled)?;
        self.run_until(SETTLE_NS_MAX, "equal replicas", World::are_equal)?;
        self.run_until(CHECKPOINTS_NS_MAX, "checkpoints again", World::are_checkpoints_well)?;
        // That may take seconds, in which one that was told to join has begun to.
        self.run_until(MEMBERS_NS_MAX, "members that came last", World::are_members_settled)?;
        self.run_until(SETTLE_NS_MAX, "their replicas", World::are_equal)?;
        self.check_versions()?;
        let hold_ns = self.history.leases_hold_ns();
        self.run_until(SETTLE_NS_MAX, "leases", |world| world.now_ns >= hold_ns)?;
        self.audit()?;
        for machine in &self.machines {
            let Some(node) = machine.node() else { continue };
            let seen = (0..node.cores()).map(|core| node.core(core).see_checkpoints_received());
            self.outcome.received += seen.sum::<u64>();
            let read = (0..node.cores()).map(|core| node.core(core).see_bytes_from_log());
            self.outcome.log_bytes += read.sum::<u64>();
            let gone = (0..node.cores()).map(|core| node.core(core).see_keys_gone().0);
            self.outcome.expired += gone.sum::<u64>();
        }
        self.history.note(self.now_ns, || "all start again".into());
        for machine in 0..self.machines.len() {
            let back_ns = self.rng.below(1_000_000);
            self.stop(machine, machine % 2 == 0, back_ns);
        }
        self.run_for(2_000_000)?;
        // One may be refused only now.
        self.run_until(MEMBERS_NS_MAX, "members after a start", World::are_members_settled)?;
        self.run_until(SETTLE_NS_MAX, "equal replicas after a start", World::are_equal)?;
        self.check_versions()?;
        self.audit()?;
        self.answer_all()
    }

    /// Clients of all nodes ask, and wait for what they are told.
    fn answer_all(&mut self) -> Result<(), String> {
        self.history.note(self.now_ns, || "all is to be answered".into());
        let since_ns = self.now_ns + 1;
        self.patient = true;
        self.clients[0].scripted = false;
        self.left = OPERATIONS_AFTER;
        // Some have connections to a node that was, and have not heard of its end.
        (0..self.clients.len()).for_each(|client| self.drop_client(client));
        self.run_until(ANSWERS_NS_MAX, "answers to all", World::is_quiet)?;
        // One that was taken out while it was away does not know that, and looks for a leader.
        self.history.check_answers(&self.members(), since_ns, ANSWER_NS_MAX)?;
        self.run_until(SETTLE_NS_MAX, "equal replicas in the end", World::are_equal)
    }

    fn wake_clients(&mut self) {
        for client in 0..self.clients.len() {
            self.after(1, Event::Step { client });
        }
    }

    fn is_quiet(&self) -> bool {
        self.left == 0 && self.clients.iter().all(|client| client.asked.is_empty())
    }

    /// All members run, have applied everything there is, and have the same. Memory is looked at
    /// only once their logs are: it takes long.
    fn are_equal(&self) -> bool {
        self.is_same_of_all(|node, core, shard| {
            let seen = node.core(core).see_replica(shard)?;
            let settled = seen.applied == seen.last && seen.committed == seen.last;
            settled.then_some((seen.term, seen.last))
        }) && self.is_same_of_all(|node, core, shard| node.core(core).see_memory(shard))
    }

    /// Whether there is such a thing of each shard, and all members' are the same.
    fn is_same_of_all<T: PartialEq>(&self, of: impl Fn(&Node, u16, u16) -> Option<T>) -> bool {
        let members = self.members();
        let mut seen = members.iter().map(|machine| &self.machines[*machine]).map(|machine| {
            let node = machine.node()?;
            let shards = self.shards().map(|shard| of(node, machine.home_of(shard), shard));
            shards.collect::<Option<Vec<_>>>()
        });
        let first = seen.next().flatten();
        first.is_some() && seen.all(|other| other == first)
    }

    /// Reads of everything from who leads.
    fn audit(&mut self) -> Result<(), String> {
        self.left = 0;
        let several = self.transactions.audit().into_iter().map(Operation::Transaction);
        let script: Vec<Operation> = Operation::audit().into_iter().chain(several).collect();
        let client = &mut self.clients[0];
        client.scripted = true;
        client.script = script.into();
        let done = self.outcome.done + client.script.len();
        self.drop_client(0);
        self.run_until(SETTLE_NS_MAX, "reads of everything", |world| world.outcome.done >= done)
    }
}
