//! Commands that wait until everything that their client said before is released, on whichever
//! cores: WAIT and WAITAOF, whose answer is about just that, transactions that have one, and
//! PUBLISH, whose message others may act on.

use engine::args::{Args, OwnedArgs};
use engine::command::call::{Run, ServerCommand};
use engine::command::spec::CommandSpec;

use crate::connection::{Connection, Waiting};
use crate::core::Core;

/// Whether a command asks which nodes have what was written before.
pub fn waits_for_nodes(spec: &CommandSpec) -> bool {
    matches!(spec.run, Run::Server(ServerCommand::Wait | ServerCommand::Waitaof))
}

/// A command without a reply rests on this entry.
pub fn note_unreleased(unreleased: &mut Vec<(u16, u64)>, shard: u16, index: u64) {
    match unreleased.iter_mut().find(|(noted, _)| *noted == shard) {
        Some((_, last)) => *last = index.max(*last),
        None => unreleased.push((shard, index)),
    }
}

impl Core {
    /// Whether something that a client said before is not released.
    pub(crate) fn is_behind(&self, connection: &mut Connection) -> bool {
        let released = |shard: u16| self.released[usize::from(shard)];
        connection.replies.open(released);
        connection.unreleased.retain(|(shard, index)| released(*shard) < *index);
        connection.replies.has_held() || !connection.unreleased.is_empty()
    }

    /// Whether a command is an EXEC that has to wait.
    pub(crate) fn must_exec_behind(&self, connection: &mut Connection, spec: &CommandSpec) -> bool {
        let waits = connection.transaction.as_ref().is_some_and(|transaction| transaction.waits);
        let exec = matches!(spec.run, Run::Server(ServerCommand::Exec));
        waits && exec && self.is_behind(connection)
    }

    pub(crate) fn wait_behind(&mut self, connection: &mut Connection, args: Args<'_>) {
        connection.waiting = Waiting::Release { command: OwnedArgs::copy_of(args) };
        self.holders.behind.push(connection.id);
    }

    /// Runs what has waited, as far as it has not to wait any more.
    pub(crate) fn resume_behind(&mut self) {
        for conn in std::mem::take(&mut self.holders.behind) {
            let Some(mut connection) = self.connections.take(conn) else { continue };
            let behind = self.is_behind(&mut connection);
            let may_run = !self.waits_for_group() && !self.handover.holds_commands();
            match std::mem::take(&mut connection.waiting) {
                Waiting::Release { command } if may_run && !behind => {
                    self.run_words(&mut connection, command.as_args());
                }
                // It was done already.
                Waiting::Publishing(publications) if !behind && !self.pubsub.is_full() => {
                    self.send_publications(publications);
                }
                waiting @ (Waiting::Release { .. } | Waiting::Publishing(_)) => {
                    connection.waiting = waiting;
                    self.holders.behind.push(conn);
                }
                other => connection.waiting = other,
            }
            self.settle(connection);
        }
    }
}
