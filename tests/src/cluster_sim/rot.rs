//! Bits of disks flip, of nodes that run or are down. A node then repairs itself, from the
//! checkpoint before and its log or from the other nodes, or it is refused where the damage is: an
//! operator takes it out, and another machine joins. It never has what the others have not.

use replication::group::NodeId;
use server::replica::members::MembersOrder;

use super::machine::State;
use super::world::{Event, World};

/// Machines that are refused are noticed by then.
const NOTICED_NS_MAX: u64 = 1_000_000_000;
const ASK_NS_MAX: u64 = 200_000_000;

impl World {
    /// A bit of the log that later records call durable, or of a checkpoint. Those whose disks stay
    /// as they are must be a majority, whatever becomes of the others.
    pub fn rot(&mut self, machine: usize) {
        let rotten = self.machines.iter().filter(|machine| machine.is_rotten).count();
        let most = (self.plan.nodes as usize - 1) / 2;
        let own = &mut self.machines[machine];
        let may = own.is_rotten || rotten < most && self.outcome.removed == 0;
        if !may || own.is_wiped() || own.is_lost {
            return;
        }
        let of_log = self.rng.below(2) == 0;
        let disk = match &mut own.state {
            State::Up(node) => &mut node.disk,
            State::Down(disk) => disk,
        };
        let what = match of_log {
            true => disk.acknowledged_bit(&mut self.rng).map(|bit| {
                disk.flip(bit);
                format!("{bit:?}")
            }),
            false => disk.files.rot(&mut self.rng),
        };
        let Some(what) = what else { return };
        own.is_rotten = true;
        self.outcome.rotten_logs += usize::from(of_log);
        self.outcome.rotten_checkpoints += usize::from(!of_log);
        self.history.note(self.now_ns, || format!("a bit of node {} flips: {what}", machine + 1));
    }

    /// A start of a node with flipped bits was refused: it says where.
    pub fn lose_rotten(&mut self, machine: usize, why: &str) -> Result<(), String> {
        let in_file = why.contains(" at offset ") && why.contains(".log");
        // Of the checkpoints themselves a start tells before it looks into the logs.
        let in_checkpoint = why.contains("no sound checkpoint") || why.contains(".ckpt");
        if !in_file && !in_checkpoint {
            return Err(format!("a start is refused, and does not say where: {why}"));
        }
        self.history.note(self.now_ns, || why.to_owned());
        self.outcome.rot_refused += 1;
        self.machines[machine].is_lost = true;
        let delay_ns = self.rng.below(NOTICED_NS_MAX);
        self.after(delay_ns, Event::Replace { machine });
        Ok(())
    }

    /// The operator takes it out, and then has another machine join.
    pub fn replace(&mut self, machine: usize) {
        let members = self.members();
        if !members.is_empty() && !members.contains(&machine) {
            self.outcome.replaced += 1;
            return self.begin_join();
        }
        self.order(MembersOrder::Remove(NodeId(machine as u64 + 1)));
        let delay_ns = self.rng.below(ASK_NS_MAX);
        self.after(delay_ns, Event::Replace { machine });
    }
}

#[cfg(test)]
mod tests;
