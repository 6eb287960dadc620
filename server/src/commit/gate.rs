//! The commit gate of a core: which entries a log write carries, and who waits for them.

use std::collections::VecDeque;

use replication::ids::Lsn;

use crate::core::io::ConnId;
use crate::core::message::Answers;

/// Who is told when entries are released.
#[derive(Debug, PartialEq, Eq)]
pub enum Waiter {
    /// A connection of this core with held replies.
    Connection(ConnId),
    /// Answers for connections of another core.
    Answers { core: u16, answers: Box<Answers> },
    /// A gathering, of this core or another, that touched a shard of this core.
    Gathering { core: u16, id: u64 },
}

/// The entries closed in one turn, and who waits for them.
#[derive(Debug, Default)]
struct Batch {
    lsn: Lsn,
    entries: Vec<(u16, u64)>,
    waiters: Vec<Waiter>,
    /// What other cores' connections are told, one batch a core.
    answers: Vec<(u16, Box<Answers>)>,
}

#[derive(Debug, Default)]
pub struct Gate {
    /// Closed batches, oldest first.
    closed: VecDeque<Batch>,
    open: Batch,
    spare: Vec<Batch>,
}

impl Gate {
    /// Waits for what is being collected now or, where nothing is, for the last write under way.
    /// False if nothing is: then there is nothing to wait for.
    pub fn wait(&mut self, waiter: Waiter, open_has_effects: bool) -> Result<(), Waiter> {
        let Some(batch) = self.last_batch(open_has_effects) else { return Err(waiter) };
        if batch.waiters.last() != Some(&waiter) {
            batch.waiters.push(waiter);
        }
        Ok(())
    }

    /// As [`Gate::wait`] for the answer to a command of another core's connection. False if
    /// nothing is under way: then it may leave at once.
    pub fn wait_with_answer(
        &mut self,
        core: u16,
        (conn, ticket): (ConnId, u64),
        answer: &[u8],
        open_has_effects: bool,
    ) -> bool {
        let Some(batch) = self.last_batch(open_has_effects) else { return false };
        let place = match batch.answers.iter().position(|(to, _)| *to == core) {
            Some(place) => place,
            None => {
                batch.answers.push((core, Box::default()));
                batch.answers.len() - 1
            }
        };
        batch.answers[place].1.push(conn, ticket, answer);
        true
    }

    /// What is being collected or, where nothing is, what the last write under way carries.
    fn last_batch(&mut self, open_has_effects: bool) -> Option<&mut Batch> {
        if open_has_effects || !self.open.entries.is_empty() {
            Some(&mut self.open)
        } else {
            self.closed.back_mut()
        }
    }

    /// Notes an entry that was appended to the log under this number.
    pub fn add_entry(&mut self, shard: u16, index: u64, lsn: Lsn) {
        self.open.entries.push((shard, index));
        self.open.lsn = lsn;
    }

    /// Ends the turn's batch.
    pub fn close(&mut self) {
        if self.open.entries.is_empty() {
            debug_assert!(self.open.waiters.is_empty() && self.open.answers.is_empty());
            return;
        }
        let fresh = self.spare.pop().unwrap_or_default();
        self.closed.push_back(std::mem::replace(&mut self.open, fresh));
    }

    /// Opens every batch that is durable: first each entry is released, then each waiter is told.
    pub fn on_durable(
        &mut self,
        durable: Lsn,
        mut release: impl FnMut(u16, u64),
        tell: &mut Vec<Waiter>,
    ) {
        while self.closed.front().is_some_and(|batch| batch.lsn <= durable) {
            let Some(mut batch) = self.closed.pop_front() else { break };
            for (shard, index) in batch.entries.drain(..) {
                release(shard, index);
            }
            tell.append(&mut batch.waiters);
            let answers = batch.answers.drain(..);
            tell.extend(answers.map(|(core, answers)| Waiter::Answers { core, answers }));
            if self.spare.len() < SPARE_BATCHES_MAX {
                self.spare.push(batch);
            }
        }
    }

    pub fn is_idle(&self) -> bool {
        self.closed.is_empty() && self.open.entries.is_empty()
    }
}

/// Batches kept for use again: a few more than writes in flight.
const SPARE_BATCHES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(index: u32) -> Waiter {
        Waiter::Connection(ConnId { index, generation: 0 })
    }

    #[test]
    fn waiters_are_told_after_their_entries_are_released_and_in_order() {
        let mut gate = Gate::default();
        assert_eq!(gate.wait(conn(0), false), Err(conn(0)));
        gate.wait(conn(1), true).unwrap();
        gate.wait(conn(1), true).unwrap();
        gate.add_entry(0, 1, Lsn(1));
        gate.close();
        gate.wait(conn(2), false).unwrap();
        gate.wait(conn(3), true).unwrap();
        gate.add_entry(0, 2, Lsn(2));
        gate.close();
        let (mut released, mut told) = (Vec::new(), Vec::new());
        gate.on_durable(Lsn(0), |s, i| released.push((s, i)), &mut told);
        assert!(released.is_empty() && told.is_empty());
        gate.on_durable(Lsn(1), |s, i| released.push((s, i)), &mut told);
        assert_eq!(
            (released.as_slice(), told.as_slice()),
            (&[(0, 1)][..], &[conn(1), conn(2)][..])
        );
        told.clear();
        gate.on_durable(Lsn(5), |s, i| released.push((s, i)), &mut told);
        assert_eq!(told, [conn(3)]);
        assert!(gate.is_idle());
    }
}
