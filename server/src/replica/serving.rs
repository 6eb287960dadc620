//! What clients may do on this node: everything where it leads and holds the lease, reads of what
//! it has applied where it follows and they have asked for that, nothing for the moment in between.

use engine::command::call::{Run, ServerCommand};
use engine::command::spec::CommandSpec;
use engine::command::spec::flag::{READONLY, WRITE};
use replication::buggify::{Point, is_taken};
use replication::fault::{Fault, is_planted};
use replication::group::{NodeId, Role};

use super::period::Lead;
use super::standing::Standing;
use crate::connection::Connection;
use crate::core::Core;
use crate::core::message::ForwardedHead;
use crate::limits::UNCOMMITTED_BYTES_MAX;

/// Why a write is refused where another node leads.
pub const READ_ONLY: &str = "READONLY You can't write against a read only replica.";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Serving {
    /// There are no other nodes, or this one leads and its lease holds.
    #[default]
    Everything,
    /// It leads but must not act on that yet, or not now: commands and replies wait.
    Waits,
    /// Another node leads, if it is known which.
    AsReplica(Option<NodeId>),
}

impl Core {
    /// What holds at the time that this turn began at.
    pub(crate) fn refresh_serving(&mut self) {
        if self.replicas.is_grouped() {
            let now = self.serving_at(self.lease_now_ns());
            if std::mem::replace(&mut self.replicas.serving, now) != now {
                self.on_serving_changed();
            }
        }
    }

    fn serving_at(&self, now_ns: u64) -> Serving {
        if self.replicas.period.is_primary() {
            let overall = self.replicas.overall();
            let holds = self.replicas.is_open
                && !self.replicas.handed_over
                && now_ns < self.others_leased_until_ns()
                && now_ns < overall.leased_until_ns
                && overall.serves;
            return if holds { Serving::Everything } else { Serving::Waits };
        }
        let lead = match self.is_coordinator() {
            true => self.first_lead(),
            false => self.replicas.lead,
        };
        match lead.leader {
            _ if lead.is_own => Serving::Waits,
            None if self.handover.awaits_leader() => Serving::Waits,
            leader => Serving::AsReplica(leader),
        }
    }

    /// Until when the other cores hold their leases.
    fn others_leased_until_ns(&self) -> u64 {
        match self.is_coordinator() {
            true => self.replicas.coordinator.others_leased_until_ns(self.replicas.period),
            false => self.replicas.others_leased_until_ns,
        }
    }

    /// Of the first shard, whose core this is: whose lead of it is the lead of all, if not now then
    /// soon.
    pub(super) fn first_lead(&self) -> Lead {
        let Some((_, first)) = self.replicas.iter().next() else { return Lead::default() };
        let elected = matches!(first.standing, Standing::Elected { .. });
        Lead {
            leader: first.group.leader(),
            is_own: elected || first.group.role() == Role::Leader,
            ..Lead::default()
        }
    }

    /// Commands wait: whether this node may act as leader is not known now, or too much of what it
    /// has done is not committed.
    pub(crate) fn waits_for_group(&self) -> bool {
        if !self.replicas.is_grouped() {
            return false;
        }
        self.replicas.serving == Serving::Waits
            || is_taken(Point::UncommittedFull)
            || self.replicas.overall().uncommitted_bytes > UNCOMMITTED_BYTES_MAX
    }

    /// Whether replies must stay: what they tell was true while the lease held, and that is known
    /// only if it still holds now.
    pub(crate) fn withholds_replies(&self) -> bool {
        self.replicas.is_grouped()
            && !is_planted(Fault::RepliesUnleased)
            && matches!(self.replicas.serving, Serving::Everything | Serving::Waits)
            && {
                let passed_ns = self.host.monotonic_ns().saturating_sub(self.now.mono_ns);
                self.serving_at(self.lease_now_ns() + passed_ns) == Serving::Waits
            }
    }

    /// The time of this turn, by the clock that leases are measured by.
    pub(super) fn lease_now_ns(&self) -> u64 {
        match is_planted(Fault::LeaseByWallClock) {
            true => self.now.unix_us as u64 * 1000,
            false => self.now.mono_ns,
        }
    }

    /// Whether this node decides what expires and what is evicted.
    pub(crate) fn decides(&self) -> bool {
        let serves = self.replicas.serving == Serving::Everything;
        // Of a core that stops, what it began now might never be committed.
        let stops = self.draining && !is_planted(Fault::ExpiresStopping);
        serves && !self.handover.holds_commands() && !stops
    }

    /// Whether a command that another core has sent must not run here: this core's shards are not
    /// the primary's, or not in the period in which it was sent.
    #[inline]
    pub(crate) fn must_refuse(&self, head: &ForwardedHead) -> bool {
        self.replicas.is_grouped() && {
            let same = head.period == self.replicas.period && self.replicas.period.is_primary();
            let reads = head.reads_replica && head.spec.has(READONLY) && !head.spec.has(WRITE);
            !same && !reads && !is_planted(Fault::FollowerAnswers)
        }
    }

    /// Why a command cannot run where another node leads and this one stops: its clients have to
    /// go elsewhere.
    pub(crate) fn refuse_as_replica(
        &self,
        connection: &Connection,
        spec: &CommandSpec,
    ) -> Option<String> {
        let Serving::AsReplica(leader) = self.replicas.serving else { return None };
        let acts = match spec.run {
            Run::Engine(_) => true,
            Run::Container => false,
            Run::Server(command) => needs_primary(command),
        };
        if self.membership.removed && acts {
            return Some("READONLY This node was removed from the cluster".into());
        }
        if spec.has(WRITE) {
            return Some(READ_ONLY.into());
        }
        let reads = match spec.run {
            Run::Engine(_) => spec.has(READONLY),
            Run::Container => false,
            Run::Server(command) => needs_primary(command),
        };
        if !reads || connection.reads_replica || is_planted(Fault::FollowerAnswers) {
            return None;
        }
        Some(match leader {
            Some(NodeId(node)) => format!(
                "READONLY This node follows node {node}. Ask that one, or send READONLY first to \
                 read what this one has"
            ),
            None => "READONLY This node knows of no leader. Send READONLY first to read what it \
                     has"
            .into(),
        })
    }
}

/// Of the server's own commands those that are about the primary's data or clients.
fn needs_primary(command: ServerCommand) -> bool {
    matches!(
        command,
        ServerCommand::Exec
            | ServerCommand::Watch
            | ServerCommand::Publish
            | ServerCommand::Pubsub
            | ServerCommand::Subscribe
    )
}
