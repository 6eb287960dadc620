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
    /// Shard and index of each.
    entries: Vec<(u16, u64)>,
    /// Entries of earlier batches that its waiters wait for too.
    fences: Vec<(u16, u64)>,
    waiters: Vec<Waiter>,
    /// What other cores' connections are told, one batch a core.
    answers: Vec<(u16, Box<Answers>)>,
    /// Its waiters were told before it was durable.
    told: bool,
}

#[derive(Debug, Default)]
pub struct Gate {
    /// Closed batches whose write is under way, oldest first.
    closed: VecDeque<Batch>,
    /// Durable ones, of which something waits for a transaction's other parts.
    durable: VecDeque<Batch>,
    open: Batch,
    spare: Vec<Batch>,
}

impl Gate {
    /// Waits until these entries are released: for what is being collected now or, where nothing
    /// is, with the last write under way. An error if nothing is: then there is nothing to wait
    /// for.
    pub fn wait(
        &mut self,
        waiter: Waiter,
        fences: &[(u16, u64)],
        open_has_effects: bool,
    ) -> Result<(), Waiter> {
        let Some(batch) = self.last_batch(open_has_effects) else { return Err(waiter) };
        fences.iter().for_each(|fence| batch.add_fence(*fence));
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
        fences: &[(u16, u64)],
        open_has_effects: bool,
    ) -> bool {
        let Some(batch) = self.last_batch(open_has_effects) else { return false };
        fences.iter().for_each(|fence| batch.add_fence(*fence));
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

    /// What is being collected or, where nothing is, what the last write under way carries, or
    /// what was written last.
    fn last_batch(&mut self, open_has_effects: bool) -> Option<&mut Batch> {
        if open_has_effects || !self.open.entries.is_empty() {
            Some(&mut self.open)
        } else {
            self.closed.back_mut().or(self.durable.back_mut())
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

    /// Takes every batch that is durable: `commit` is told of each entry.
    pub fn on_durable(&mut self, durable: Lsn, mut commit: impl FnMut(u16, u64)) {
        while self.closed.front().is_some_and(|batch| batch.lsn <= durable) {
            let Some(batch) = self.closed.pop_front() else { break };
            batch.entries.iter().for_each(|(shard, index)| commit(*shard, *index));
            self.durable.push_back(batch);
        }
    }

    /// Opens every durable batch of which nothing is unreleased any more. `released` gives a
    /// shard's highest released index.
    pub fn tell_released(&mut self, tell: &mut Vec<Waiter>, released: impl Fn(u16) -> u64) {
        let mut at = 0;
        while let Some(batch) = self.durable.get(at) {
            let mut needs = batch.entries.iter().chain(&batch.fences);
            if needs.any(|(shard, index)| released(*shard) < *index) {
                at += 1;
                continue;
            }
            let Some(mut batch) = self.durable.remove(at) else { break };
            batch.tell(tell);
            batch.clear();
            if self.spare.len() < SPARE_BATCHES_MAX {
                self.spare.push(batch);
            }
        }
    }

    /// Tells everyone who waits for what is closed, durable or not: `release` is told of each
    /// entry first.
    pub fn tell_all(&mut self, tell: &mut Vec<Waiter>, mut release: impl FnMut(u16, u64)) {
        for batch in self.durable.iter_mut().chain(&mut self.closed) {
            if std::mem::replace(&mut batch.told, true) {
                continue;
            }
            batch.entries.iter().for_each(|(shard, index)| release(*shard, *index));
            batch.tell(tell);
        }
    }

    /// Drops everything: nobody who waits is there any more.
    pub fn forget_all(&mut self) {
        *self = Gate::default();
    }

    pub fn is_idle(&self) -> bool {
        self.closed.is_empty() && self.durable.is_empty() && self.open.entries.is_empty()
    }
}

impl Batch {
    fn add_fence(&mut self, (shard, index): (u16, u64)) {
        let covers = |entry: &(u16, u64)| entry.0 == shard && entry.1 >= index;
        if !self.entries.iter().chain(&self.fences).any(covers) {
            self.fences.push((shard, index));
        }
    }

    fn tell(&mut self, tell: &mut Vec<Waiter>) {
        tell.append(&mut self.waiters);
        let answers = self.answers.drain(..);
        tell.extend(answers.map(|(core, answers)| Waiter::Answers { core, answers }));
    }

    fn clear(&mut self) {
        debug_assert!(self.waiters.is_empty() && self.answers.is_empty());
        self.entries.clear();
        self.fences.clear();
        self.told = false;
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
        assert_eq!(gate.wait(conn(0), &[(0, 1)], false), Err(conn(0)));
        gate.wait(conn(1), &[], true).unwrap();
        gate.wait(conn(1), &[], true).unwrap();
        gate.add_entry(0, 1, Lsn(1));
        gate.close();
        gate.wait(conn(2), &[(0, 1)], false).unwrap();
        gate.wait(conn(3), &[], true).unwrap();
        gate.add_entry(0, 2, Lsn(2));
        gate.close();
        let (mut committed, mut told) = (Vec::new(), Vec::new());
        gate.on_durable(Lsn(0), |s, i| committed.push((s, i)));
        gate.tell_released(&mut told, |_| 0);
        assert!(committed.is_empty() && told.is_empty());
        gate.on_durable(Lsn(1), |s, i| committed.push((s, i)));
        gate.tell_released(&mut told, |_| 1);
        assert_eq!(committed, [(0, 1)]);
        assert_eq!(told, [conn(1), conn(2)]);
        told.clear();
        gate.on_durable(Lsn(5), |s, i| committed.push((s, i)));
        gate.tell_released(&mut told, |_| 2);
        assert_eq!(told, [conn(3)]);
        assert!(gate.is_idle());
    }

    /// Shard 0's entry is part of a transaction whose other part is not committed; shard 1 has
    /// nothing to do with it.
    #[test]
    fn a_durable_batch_waits_for_its_transaction_and_holds_up_no_other() {
        let mut gate = Gate::default();
        for (lsn, shard) in [(1, 0), (2, 1), (3, 1)] {
            gate.wait(conn(lsn), &[], true).unwrap();
            gate.add_entry(shard, u64::from(lsn), Lsn(u64::from(lsn)));
            gate.close();
        }
        // It has seen shard 0's entry, and waits with the last batch.
        gate.wait(conn(4), &[(0, 1)], false).unwrap();
        let mut told = Vec::new();
        gate.on_durable(Lsn(3), |_, _| {});
        gate.tell_released(&mut told, |shard| if shard == 0 { 0 } else { 3 });
        assert_eq!(told, [conn(2)]);
        // Everything is durable, but what was seen is not released.
        gate.wait(conn(5), &[(0, 1)], false).unwrap();
        gate.tell_released(&mut told, |_| 3);
        assert_eq!(told, [conn(2), conn(1), conn(3), conn(4), conn(5)]);
        assert!(gate.is_idle());
    }

    #[test]
    fn who_does_not_wait_for_the_log_is_told_once() {
        let mut gate = Gate::default();
        gate.wait(conn(1), &[], true).unwrap();
        gate.add_entry(0, 1, Lsn(1));
        gate.close();
        let (mut told, mut released) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            gate.tell_all(&mut told, |s, i| released.push((s, i)));
        }
        assert_eq!((told.as_slice(), released.as_slice()), (&[conn(1)][..], &[(0, 1)][..]));
        assert!(!gate.is_idle(), "its write is under way");
        gate.on_durable(Lsn(1), |_, _| {});
        gate.tell_released(&mut told, |_| 1);
        assert!(told.len() == 1 && gate.is_idle());
    }
}
