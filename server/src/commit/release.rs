//! A write of this core's log is durable, or another core reports: what that decides is released,
//! and who waited for it is told.

use replication::fault::{Fault, is_planted};
use replication::ids::{Index, Lsn, ShardId};
use replication::release::Report;

use super::gate::Waiter;
use crate::config::Durability;
use crate::core::Core;
use crate::core::message::Message;

impl Core {
    /// Whether replies wait until the log has what they tell.
    fn waits_for_log(&self) -> bool {
        self.log.is_some()
            && self.config.durability == Durability::Sync
            && !is_planted(Fault::ReplyBeforeSync)
    }

    /// Entries were closed. Replies do not wait for them with `--durability interval` and `none`.
    pub(crate) fn note_closed(&mut self) {
        if self.replicas.is_grouped() {
            // Their groups say what is committed.
            let release = &mut self.release;
            self.gate.on_durable(Lsn(0), |shard, index| {
                if is_planted(Fault::AnswersUncommitted) {
                    release.commit(ShardId(shard), Index(index));
                }
            });
            if is_planted(Fault::AnswersUncommitted) {
                self.release_decided();
            }
            return;
        }
        if self.waits_for_log() {
            return;
        }
        if self.log.is_none() {
            return self.release_durable(Lsn(u64::MAX));
        }
        let (shards, released) = (&mut self.shards, &mut self.released);
        self.gate.tell_all(&mut self.told, |shard, index| {
            let last = &mut released[usize::from(shard)];
            *last = index.max(*last);
            if let Some(held) = shards.get_mut(usize::from(shard)) {
                held.release_up_to(index);
            }
        });
        self.tell_told();
    }

    /// The log is durable up to here.
    pub(crate) fn release_durable(&mut self, durable: Lsn) {
        self.commit_durable(durable);
        self.release_decided();
    }

    fn commit_durable(&mut self, durable: Lsn) {
        let release = &mut self.release;
        self.gate.on_durable(durable, |shard, index| {
            release.commit(ShardId(shard), Index(index));
        });
    }

    /// Other cores have committed their parts of transactions.
    pub(crate) fn on_reports(&mut self, reports: &[Report]) {
        for report in reports {
            self.release.on_report(*report);
        }
        self.release_decided();
    }

    /// Releases what is decided now, and tells the other participants' owners what is committed.
    pub(crate) fn release_decided(&mut self) {
        while let Some(report) = self.release.poll_report() {
            let home = self.homes[usize::from(report.to.0)];
            if home == self.id {
                self.release.on_report(report);
            } else {
                self.reports[usize::from(home)].push(report);
            }
        }
        while let Some((shard, Index(index))) = self.release.poll_advanced() {
            let place = usize::from(shard.0);
            if !self.replicas.executes(shard.0) {
                // Memory follows as it is applied.
                continue;
            }
            self.released[place] = self.released[place].max(index);
            // Unless it is that one whose entries are being taken, which sees to it itself.
            if let Some(replica) = self.replicas.get_mut(shard.0) {
                replica.applied = Index(index);
            }
            // An entry that was released before it was durable has others behind it by now.
            if let Some(held) = self.shards.get_mut(place) {
                held.release_up_to(index);
            }
        }
        let released = &self.released;
        self.gate.tell_released(&mut self.told, |shard| released[usize::from(shard)]);
        self.tell_told();
    }

    /// Sends the reports of this turn, one message a core.
    pub(crate) fn flush_reports(&mut self) {
        for to in 0..self.reports.len() {
            if !self.reports[to].is_empty() {
                let reports = std::mem::take(&mut self.reports[to]);
                self.send_message(to as u16, Message::Reports(reports));
            }
        }
    }

    fn tell_told(&mut self) {
        let mut told = std::mem::take(&mut self.told);
        for waiter in told.drain(..) {
            self.tell(waiter);
        }
        self.told = told;
    }

    fn tell(&mut self, waiter: Waiter) {
        match waiter {
            Waiter::Connection(conn) => self.mark_dirty(conn),
            Waiter::Answers { core, answers } => {
                self.send_message(core, Message::Answers(answers));
            }
            Waiter::Gathering { core, id } if core == self.id => self.on_gathering_released(id),
            Waiter::Gathering { core, id } => {
                self.send_message(core, Message::Released { gathering: id });
            }
        }
    }
}
