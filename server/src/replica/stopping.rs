//! The end of a node that stops. No core does before all have answered their clients, as an answer
//! of one core may come from another. Until then the groups are heard too: replies rest on the
//! leases of all. Later they are not, or a leader's writes would never let the log come to its end.

use replication::fault::{Fault, is_planted};

use super::Replica;
use super::coordinator::COORDINATOR;
use super::period::Word;
use crate::connection::Connection;
use crate::core::Core;
use crate::core::io::Output;
use crate::core::message::Message;
use crate::limits::UNREAD_DRAIN_NS_MAX;

/// How far the cores of a node that stops are.
#[derive(Default)]
pub struct Stopping {
    /// The cores that have nothing to answer, as the first one has heard.
    quiet: Vec<u16>,
    /// What this core has said.
    said: bool,
    /// No core has.
    all_quiet: bool,
    /// Since when this core answers what it has and takes no more.
    since_ns: u64,
}

impl Core {
    /// What is under way ends, and nothing begins.
    pub(super) fn drain(&mut self) {
        if !std::mem::replace(&mut self.draining, true) {
            self.handover.stopping.since_ns = self.now.mono_ns;
        }
        self.handover.wants_turn = true;
    }

    /// Whoever leaves its replies unread does not keep the server from stopping. Looked at a few
    /// times a second.
    pub(crate) fn close_unread_at_stop(&mut self) {
        if !self.draining {
            return;
        }
        let (now_ns, since_ns) = (self.now.mono_ns, self.handover.stopping.since_ns);
        let is_stuck = |connection: &&Connection| {
            let taken_ns = connection.taken_ns.max(since_ns);
            connection.replies.is_sending() && now_ns >= taken_ns + UNREAD_DRAIN_NS_MAX
        };
        let stuck: Vec<_> = self.connections.iter().filter(is_stuck).map(|c| c.id).collect();
        for conn in stuck {
            let Some(connection) = self.connections.get_mut(conn) else { continue };
            tracing::warn!(
                client = %connection.peer,
                unread_bytes = connection.replies.unsent_bytes(),
                "closed: the server stops, and the client has read nothing for {} s",
                UNREAD_DRAIN_NS_MAX / 1_000_000_000
            );
            self.close_connection(conn);
        }
    }

    /// Before the turn's messages leave: the first core hears whether this one has answered all.
    pub(crate) fn say_if_quiet(&mut self) {
        if !self.draining || self.handover.stopping.all_quiet {
            return;
        }
        // What a checkpoint would wait for is committed too: later nothing would be.
        let settled = |(shard, replica): (u16, &Replica)| {
            !replica.executes() || self.is_settled(shard, replica)
        };
        let quiet =
            !self.has_answers() && self.dirty.is_empty() && self.replicas.iter().all(settled);
        if quiet && is_planted(Fault::LeavesAlone) {
            self.on_all_quiet();
        }
        if std::mem::replace(&mut self.handover.stopping.said, quiet) == quiet {
            return;
        }
        match self.is_coordinator() {
            true => self.on_quiet(self.id, quiet),
            false => self.send_message(COORDINATOR, Message::Quiet { from: self.id, quiet }),
        }
    }

    pub(crate) fn on_quiet(&mut self, from: u16, quiet: bool) {
        self.handover.stopping.quiet.retain(|core| *core != from);
        if quiet {
            self.handover.stopping.quiet.push(from);
        }
        if self.handover.stopping.quiet.len() == self.config.cores {
            self.tell_others(&Word::AllQuiet);
            self.on_all_quiet();
        }
    }

    pub(super) fn on_all_quiet(&mut self) {
        self.handover.stopping.all_quiet = true;
    }

    /// Every client has been answered: groups are not heard any more.
    pub(super) fn is_all_quiet(&self) -> bool {
        self.draining && self.handover.stopping.all_quiet
    }

    /// What a core proposed while the last ones said that they had answered stays as it is.
    pub(crate) fn commits_no_more(&self) -> bool {
        let writes = self.log.as_ref().is_some_and(|log| log.durable() < log.appended());
        let awaits = is_planted(Fault::ExpiresStopping);
        self.replicas.is_grouped() && self.is_all_quiet() && !writes && !awaits
    }

    /// Something is under way that clients are to hear of.
    fn has_answers(&self) -> bool {
        !self.gate.is_idle()
            || !self.gatherings.is_idle()
            || !self.forwards.has_run_all()
            || !self.budget.parked_left.is_empty()
            || self.connections.iter().any(|connection| {
                let replies = &connection.replies;
                replies.has_ready() || replies.is_sending() || replies.awaits_answer_soon()
            })
    }

    /// After SIGTERM: once every acknowledged write is durable and every reply out, the core stops.
    pub(crate) fn stop_if_drained(&mut self) {
        if !self.draining || self.stopped {
            return;
        }
        if self.handover.stopping.all_quiet && self.withholds_replies() {
            // They came in between, and no lease will be had any more: nobody knows what is true.
            for conn in std::mem::take(&mut self.dirty) {
                self.close_connection(conn);
            }
        }
        if !self.handover.stopping.all_quiet
            || self.has_answers()
            || self.awaits_upstream()
            || !self.finish_checkpoints()
        {
            return;
        }
        if let Some(log) = &mut self.log
            && !log.seal()
        {
            // The last record says that everything before it is durable; wait for it too.
            return self.push_log_operations();
        }
        self.stopped = true;
        self.outputs.push(Output::Stop);
    }
}
