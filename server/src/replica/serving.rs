//! What clients may do on this node: everything where it leads and holds the lease, reads of what
//! it has applied where it follows and they have asked for that, nothing for the moment in between.

use engine::command::call::{Run, ServerCommand};
use engine::command::spec::CommandSpec;
use engine::command::spec::flag::{READONLY, WRITE};
use replication::fault::{Fault, is_planted};
use replication::group::{NodeId, Role};

use super::Replica;
use super::standing::Standing;
use crate::connection::Connection;
use crate::core::Core;
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
            let now = self.serving_at(self.now.mono_ns);
            if std::mem::replace(&mut self.replicas.serving, now) != now {
                self.on_serving_changed();
            }
        }
    }

    fn serving_at(&self, now_ns: u64) -> Serving {
        let Some((_, first)) = self.replicas.iter().next() else { return Serving::Everything };
        let leads = |replica: &Replica| {
            replica.executes()
                && replica.group.role() == Role::Leader
                && replica.group.holds_lease(now_ns)
        };
        if self.replicas.iter().all(|(_, replica)| leads(replica)) {
            return Serving::Everything;
        }
        // Whose lead of the first shard is the lead of all, if not now then soon.
        match (first.standing, first.group.role()) {
            (Standing::Serving { .. } | Standing::Elected { .. }, _) | (_, Role::Leader) => {
                Serving::Waits
            }
            _ if first.group.leader().is_none() && self.handover.awaits_leader() => Serving::Waits,
            _ => Serving::AsReplica(first.group.leader()),
        }
    }

    /// Commands wait: whether this node may act as leader is not known now, or too much of what it
    /// has done is not committed.
    pub(crate) fn waits_for_group(&self) -> bool {
        if !self.replicas.is_grouped() {
            return false;
        }
        let behind = |replica: &Replica| replica.group.uncommitted_bytes() > UNCOMMITTED_BYTES_MAX;
        self.replicas.serving == Serving::Waits
            || self.replicas.iter().any(|(_, replica)| behind(replica))
    }

    /// Whether replies must stay: what they tell was true while the lease held, and that is known
    /// only if it still holds now.
    pub(crate) fn withholds_replies(&self) -> bool {
        self.replicas.is_grouped()
            && !is_planted(Fault::RepliesUnleased)
            && matches!(self.replicas.serving, Serving::Everything | Serving::Waits)
            && self.serving_at(self.host.monotonic_ns().max(self.now.mono_ns)) == Serving::Waits
    }

    /// Whether this node decides what expires and what is evicted.
    pub(crate) fn decides(&self) -> bool {
        self.replicas.serving == Serving::Everything && !self.handover.holds_commands()
    }

    /// Why a command cannot run where another node leads and this one stops: its clients have to
    /// go elsewhere.
    pub(crate) fn refuse_as_replica(
        &self,
        connection: &Connection,
        spec: &CommandSpec,
    ) -> Option<String> {
        let Serving::AsReplica(leader) = self.replicas.serving else { return None };
        if spec.has(WRITE) {
            return Some(READ_ONLY.into());
        }
        let reads = match spec.run {
            Run::Engine(_) => spec.has(READONLY),
            Run::Container => false,
            Run::Server(command) => matches!(command, ServerCommand::Exec | ServerCommand::Watch),
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
