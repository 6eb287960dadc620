//! CLIENT PAUSE: for a while the commands of all clients wait, or those that write. While it lasts,
//! this core's keys whose time is over are hidden and stay: nothing is written.

use engine::args::{Args, OwnedArgs};
use engine::command::call::{Run, ServerCommand};
use engine::command::spec::CommandSpec;
use engine::command::spec::flag::{MAY_REPLICATE, WRITE};
use engine::number::parse_i64;

use super::everywhere::{Purpose, Question};
use crate::connection::{Connection, Waiting};
use crate::core::Core;
use crate::core::io::ConnId;
use crate::dispatch::local::{find_command, unknown_or_arity};
use crate::replica::serving::Serving;

#[derive(Default)]
pub struct Pause {
    /// Monotonic nanoseconds; 0 while there is no pause.
    until_ns: u64,
    /// Everything waits, not only what writes.
    all: bool,
    /// Clients with a command that waits.
    waiting: Vec<ConnId>,
}

impl Pause {
    #[inline]
    pub fn is_on(&self) -> bool {
        self.until_ns > 0
    }

    pub fn ends_ns(&self) -> Option<u64> {
        self.is_on().then_some(self.until_ns)
    }

    pub fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// A pause during another: the later end and the stricter kind hold, as in Redis.
    fn extend(&mut self, until_ns: u64, all: bool) {
        self.until_ns = self.until_ns.max(until_ns);
        self.all |= all;
    }
}

impl Core {
    pub(crate) fn client_pause(&mut self, connection: &mut Connection, args: Args<'_>) {
        let all = match args.len() {
            3 => true,
            4 if args.is(3, "all") => true,
            4 if args.is(3, "write") => false,
            4 => {
                return self.reply_with(connection, |reply| {
                    reply.error("ERR CLIENT PAUSE mode must be WRITE or ALL");
                });
            }
            _ => {
                let error = unknown_or_arity(args);
                return self.reply_with(connection, |reply| reply.error(&error.0));
            }
        };
        let error = match parse_i64(args.at(2)) {
            None => "ERR timeout is not an integer or out of range",
            Some(..0) => "ERR timeout is negative",
            Some(ms @ 0..) => {
                let until_ns = (ms as u64).checked_mul(1_000_000);
                match until_ns.and_then(|ns| self.now.mono_ns.checked_add(ns)) {
                    None => "ERR timeout is out of range",
                    Some(until_ns) => {
                        let question = Question::Pause { until_ns, all };
                        return self.ask_everywhere(connection, question, Purpose::Ok);
                    }
                }
            }
        };
        self.reply_with(connection, |reply| reply.error(error));
    }

    pub(crate) fn begin_pause(&mut self, until_ns: u64, all: bool) {
        self.pause.extend(until_ns, all);
    }

    /// Whether a command has to wait until the pause is over.
    #[cold]
    pub(crate) fn is_paused(&self, connection: &Connection, spec: &CommandSpec) -> bool {
        if self.pause.all {
            return true;
        }
        let writes = |spec: &CommandSpec| spec.has(WRITE | MAY_REPLICATE);
        let queued = connection.transaction.iter().flat_map(|t| t.commands());
        writes(spec)
            || matches!(spec.run, Run::Server(ServerCommand::Exec))
                && queued.into_iter().any(|c| find_command(c.as_args()).is_ok_and(writes))
    }

    #[cold]
    pub(crate) fn postpone(&mut self, connection: &mut Connection, args: Args<'_>) {
        connection.waiting = Waiting::Pause { command: OwnedArgs::copy_of(args) };
        self.pause.waiting.push(connection.id);
    }

    /// A command that had to wait runs, or goes to the node that has come to lead meanwhile.
    fn admit_late(
        &mut self,
        connection: &mut Connection,
        spec: &'static CommandSpec,
        args: Args<'_>,
    ) {
        match self.replicas.serving {
            Serving::AsReplica(_) => self.run_as_replica(connection, spec, args),
            _ => self.admit(connection, spec, args),
        }
    }

    pub(crate) fn end_pause_if_over(&mut self) {
        if self.pause.is_on() && self.now.mono_ns >= self.pause.until_ns {
            self.end_pause();
        }
    }

    /// The pause is over: what waited runs, in the order in which it came.
    pub(crate) fn end_pause(&mut self) {
        let ended = std::mem::take(&mut self.pause);
        for conn in ended.waiting {
            let Some(mut connection) = self.connections.take(conn) else { continue };
            match std::mem::take(&mut connection.waiting) {
                Waiting::Pause { command } => {
                    let args = command.as_args();
                    if let Ok(spec) = find_command(args) {
                        self.admit_late(&mut connection, spec, args);
                    }
                }
                other => connection.waiting = other,
            }
            self.settle(connection);
        }
    }
}
