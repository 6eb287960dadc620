//! Commands on a node that follows: here, at the primary, or both; and their replies in one order.
//!
//! Invariant: while commands of a client are with the primary (its queue is not empty), none of its
//! replies is held here: what this node answers at once gets its place in the queue, what takes
//! longer waits until the queue is empty.

use engine::args::{Args, OwnedArgs};
use engine::command::call::{Run, ServerCommand};
use engine::command::spec::CommandSpec;
use engine::command::spec::flag::{BLOCKING, READONLY, WRITE};
use replication::buggify::{Point, is_taken};
use replication::fault::{Fault, is_planted};

use super::queue::{Kind, Passed, write_transaction};
use super::words::{session_of, write_command};
use super::{Tunnel, Until};
use crate::connection::{Connection, Waiting};
use crate::core::Core;
use crate::dispatch::behind::waits_for_nodes;
use crate::dispatch::local::{find_command, runs_inside_multi};
use crate::limits::{TUNNEL_BYTES_MAX, TUNNEL_COMMANDS_MAX};
use crate::pubsub::subscribe::is_subscribe;

/// Where a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Primary,
    /// On this node, which answers at once: it is about the connection.
    Session,
    /// On this node.
    Node,
}

impl Core {
    /// Runs a command where another node leads.
    #[cold]
    pub(crate) fn run_as_replica(
        &mut self,
        connection: &mut Connection,
        spec: &'static CommandSpec,
        args: Args<'_>,
    ) {
        if connection.tunnelled {
            // It is told so once it is looked at; nobody passes on what was passed on.
            return connection.closing = true;
        }
        if self.handover.stops()
            && let Some(text) = self.refuse_as_replica(connection, spec)
        {
            self.measures.calls.reject(spec);
            return self.refuse(connection, args, text.into_bytes().into());
        }
        if connection.transaction.is_some() && !runs_inside_multi(spec) {
            return self.behind(connection, |core, connection| match is_client_reply(spec) {
                true => core.refuse_in_transaction(connection),
                false => core.queue_command(connection, spec, args),
            });
        }
        match place_of(connection, spec) {
            Place::Session if connection.subscribed_upstream => {
                self.change_in_step(connection, spec, args);
            }
            Place::Session => {
                self.behind(connection, |core, connection| core.admit(connection, spec, args));
            }
            Place::Node => self.run_on_node(connection, spec, args),
            Place::Primary => match spec.run {
                Run::Server(ServerCommand::Exec) => self.exec_as_replica(connection, spec, args),
                _ => self.pass_on(connection, spec, args),
            },
        }
    }

    /// Does what is answered at once, behind what is with the primary.
    pub(crate) fn behind(
        &mut self,
        connection: &mut Connection,
        act: impl FnOnce(&mut Core, &mut Connection),
    ) {
        let busy = connection.tunnel.as_mut().is_some_and(|tunnel| {
            tunnel.session_stale = true;
            !tunnel.queue.is_empty()
        });
        if !busy {
            return act(self, connection);
        }
        let (_, start) = connection.replies.begin();
        act(self, connection);
        let said = connection.replies.take_from(start);
        if let Some(tunnel) = &mut connection.tunnel {
            tunnel.queue.push_said(said);
        }
    }

    /// CLIENT REPLY is up to this node, and what is queued runs at the primary.
    fn refuse_in_transaction(&mut self, connection: &mut Connection) {
        if let Some(transaction) = &mut connection.transaction {
            transaction.failed = true;
        }
        self.stats.errors += 1;
        self.reply_with(connection, |reply| {
            reply.error("ERR Command not allowed inside a transaction");
        });
    }

    fn run_on_node(
        &mut self,
        connection: &mut Connection,
        spec: &'static CommandSpec,
        args: Args<'_>,
    ) {
        if connection.is_tunnel_busy() {
            return self.wait_beside_tunnel(
                connection,
                Some(OwnedArgs::copy_of(args)),
                Until::Empty,
            );
        }
        if let Some(tunnel) = &mut connection.tunnel {
            tunnel.session_stale = true;
        }
        self.admit(connection, spec, args);
    }

    fn pass_on(&mut self, connection: &mut Connection, spec: &CommandSpec, args: Args<'_>) {
        if connection.replies.has_held() {
            return self.wait_beside_tunnel(
                connection,
                Some(OwnedArgs::copy_of(args)),
                Until::Local,
            );
        }
        let kind = match spec.run {
            Run::Server(ServerCommand::Watch) => Kind::Watch,
            Run::Server(ServerCommand::Unwatch) => Kind::Unwatch,
            _ => Kind::Plain,
        };
        let passed = Passed {
            kind,
            silent: connection.is_silent(),
            harmless: is_read(spec) || waits_for_nodes(spec) || is_subscribe(spec),
            blocking: spec.has(BLOCKING),
            protocol: connection.protocol,
            ..Passed::default()
        };
        self.pass(connection, passed, |text| write_command(text, args.iter_from(0)));
        if is_subscribe(spec) && !connection.closing {
            // What is answered here depends on what it listens to.
            self.wait_beside_tunnel(connection, None, Until::Empty);
        }
    }

    /// Who listens at the primary sets something here: messages before the reply have the form of
    /// before, and those behind it the new one. So the reply comes once the primary knows.
    fn change_in_step(
        &mut self,
        connection: &mut Connection,
        spec: &'static CommandSpec,
        args: Args<'_>,
    ) {
        if connection.replies.has_held() {
            let command = Some(OwnedArgs::copy_of(args));
            return self.wait_beside_tunnel(connection, command, Until::Local);
        }
        let (_, start) = connection.replies.begin();
        self.admit(connection, spec, args);
        let said = connection.replies.take_from(start);
        let told = session_of(connection);
        if connection.tunnel.as_ref().is_none_or(|tunnel| tunnel.session == told) {
            return self.behind(connection, |_, connection| {
                connection.replies.begin().0.extend_from_slice(&said);
            });
        }
        let (harmless, protocol, instead) = (true, connection.protocol, Some(said.into()));
        let passed = Passed { harmless, protocol, instead, ..Passed::default() };
        if let Some(tunnel) = &mut connection.tunnel {
            tunnel.session_stale = true;
        }
        self.pass(connection, passed, |text| write_command(text, [&b"PING"[..]].into_iter()));
    }

    /// EXEC on a node that follows: what was queued goes to the primary with it.
    fn exec_as_replica(
        &mut self,
        connection: &mut Connection,
        spec: &'static CommandSpec,
        args: Args<'_>,
    ) {
        let Some(transaction) = &connection.transaction else {
            return self.behind(connection, |core, c| core.exec(c, spec, args));
        };
        if transaction.failed {
            return self.behind(connection, |core, c| core.exec(c, spec, args));
        }
        if connection.watch_lost {
            return self.behind(connection, |core, connection| {
                connection.transaction = None;
                core.unwatch_all(connection);
                core.reply_with(connection, |reply| reply.null_array());
            });
        }
        let specs = |command: &OwnedArgs| find_command(command.as_args()).ok();
        let queued = || transaction.commands().iter().filter_map(specs);
        let watches = connection.tunnel.as_ref().is_some_and(|tunnel| tunnel.queue.watches());
        let needs_primary = |spec: &CommandSpec| {
            // Who listens there is told in step with his messages.
            place_of(connection, spec) == Place::Primary
                || connection.subscribed_upstream && changes_session(spec)
        };
        if !watches && !queued().any(needs_primary) {
            return self.run_on_node(connection, spec, args);
        }
        if connection.replies.has_held() {
            return self.wait_beside_tunnel(
                connection,
                Some(OwnedArgs::copy_of(args)),
                Until::Local,
            );
        }
        let session = |command: &&OwnedArgs| specs(command).is_some_and(changes_session);
        let after: Vec<OwnedArgs> =
            transaction.commands().iter().filter(session).cloned().collect();
        let passed = Passed {
            kind: Kind::Exec,
            silent: connection.is_silent(),
            harmless: queued().all(is_read),
            hidden: 1 + transaction.commands().len(),
            protocol: connection.protocol,
            after,
            ..Passed::default()
        };
        let changes = !passed.after.is_empty();
        let Some(transaction) = connection.transaction.take() else { return };
        self.pass(connection, passed, |text| write_transaction(text, transaction.commands()));
        if changes {
            self.wait_beside_tunnel(connection, None, Until::Empty);
        }
    }

    /// A command is for the primary.
    fn pass(
        &mut self,
        connection: &mut Connection,
        passed: Passed,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let id = connection.id;
        let mut tunnel = connection.tunnel.take().unwrap_or_else(|| {
            self.tunnels.clients.insert(id);
            Box::new(Tunnel { session_stale: true, ..Tunnel::default() })
        });
        let mut session = None;
        if std::mem::take(&mut tunnel.session_stale) {
            let now = session_of(connection);
            if now != tunnel.session {
                tunnel.session.clone_from(&now);
                session = Some(now);
            }
        }
        let blocking = passed.blocking;
        tunnel.queue.push(passed, session.as_deref(), write);
        self.stats.tunnelled_commands += 1;
        if !std::mem::replace(&mut tunnel.marked, true) {
            self.tunnels.dirty.push(id);
        }
        let full = tunnel.queue.bytes() > TUNNEL_BYTES_MAX
            || tunnel.queue.len() > TUNNEL_COMMANDS_MAX
            || is_taken(Point::TunnelFull);
        connection.tunnel = Some(tunnel);
        if connection.ended && blocking {
            // It goes away: it waits for nothing.
            connection.closing = true;
        } else if connection.ended {
            self.wait_beside_tunnel(connection, None, Until::Empty);
        } else if full {
            self.wait_beside_tunnel(connection, None, Until::Room);
        }
    }

    /// Watches at the primary end, without a word to the client.
    pub(crate) fn unwatch_upstream(&mut self, connection: &mut Connection) {
        connection.watch_lost = false;
        if connection.tunnel.as_ref().is_some_and(|tunnel| tunnel.queue.watches()) {
            let passed = Passed {
                kind: Kind::Unwatch,
                silent: true,
                harmless: true,
                protocol: connection.protocol,
                ..Passed::default()
            };
            self.pass(connection, passed, |text| {
                write_command(text, [&b"UNWATCH"[..]].into_iter());
            });
        }
    }

    /// The client's next command does not run yet.
    pub(crate) fn wait_beside_tunnel(
        &mut self,
        connection: &mut Connection,
        command: Option<OwnedArgs>,
        until: Until,
    ) {
        connection.waiting = Waiting::Tunnel { command, until };
        if until == Until::Local {
            self.tunnels.held.insert(connection.id);
        }
    }

    /// Goes on with a client whose next command has waited, if it may run now.
    pub(crate) fn resume_beside_tunnel(&mut self, connection: &mut Connection) {
        let Waiting::Tunnel { until, .. } = connection.waiting else { return };
        let ready = match (until, &connection.tunnel) {
            (Until::Local, _) => !connection.replies.has_held(),
            (_, None) => true,
            (Until::Empty, Some(tunnel)) => tunnel.queue.is_empty(),
            (Until::Room, Some(tunnel)) => {
                tunnel.queue.bytes() <= TUNNEL_BYTES_MAX / 2
                    && tunnel.queue.len() <= TUNNEL_COMMANDS_MAX / 2
            }
        };
        if !ready || self.is_core_pressed() {
            if ready || until == Until::Local {
                self.tunnels.held.insert(connection.id);
            }
            return;
        }
        if let Waiting::Tunnel { command: Some(command), .. } =
            std::mem::take(&mut connection.waiting)
        {
            self.run_words(connection, command.as_args());
        }
    }

    /// A transaction has run at the primary: what it changed of the session holds here too.
    pub(crate) fn note_session(&mut self, connection: &mut Connection, commands: &[OwnedArgs]) {
        for command in commands {
            let args = command.as_args();
            let Ok(spec) = find_command(args) else { continue };
            let Run::Server(server) = spec.run else { continue };
            let (_, start) = connection.replies.begin();
            self.run_server_command(connection, server, spec, args);
            connection.replies.discard_from(start);
        }
        if let Some(tunnel) = &mut connection.tunnel {
            tunnel.session_stale = true;
        }
    }

    /// Errors for all that a client waits for: no node leads.
    pub(crate) fn refuse_passed(&mut self, connection: &mut Connection, text: &str) {
        let Some(tunnel) = &mut connection.tunnel else { return };
        let (out, _) = connection.replies.begin();
        tunnel.queue.refuse_all(text, out);
        tunnel.session.clear();
        tunnel.session_stale = true;
        self.stats.errors += 1;
    }
}

fn is_client_reply(spec: &CommandSpec) -> bool {
    matches!(spec.run, Run::Server(ServerCommand::ClientCommand)) && spec.name == "reply"
}

fn is_read(spec: &CommandSpec) -> bool {
    matches!(spec.run, Run::Engine(_)) && spec.has(READONLY) && !spec.has(WRITE)
}

/// Which node a client's command is for, where another one leads than the one it is connected to.
fn place_of(connection: &Connection, spec: &CommandSpec) -> Place {
    // Between WATCH and EXEC what is read must be as new as what is watched.
    let watches = connection.tunnel.as_ref().is_some_and(|tunnel| tunnel.queue.watches());
    let reads_here = connection.reads_replica && !watches || is_planted(Fault::FollowerAnswers);
    match spec.run {
        Run::Engine(_) if is_read(spec) && reads_here => Place::Node,
        Run::Engine(_) if spec.has(WRITE | READONLY) => Place::Primary,
        Run::Engine(_) | Run::Container => Place::Node,
        Run::Server(command) => match command {
            ServerCommand::Watch if connection.transaction.is_some() => Place::Session,
            ServerCommand::Watch | ServerCommand::Exec => Place::Primary,
            ServerCommand::Unwatch if watches => Place::Primary,
            ServerCommand::Wait | ServerCommand::Waitaof => Place::Primary,
            ServerCommand::Publish | ServerCommand::Pubsub | ServerCommand::Subscribe => {
                Place::Primary
            }
            ServerCommand::Reset if connection.subscribed_upstream => Place::Node,
            // With READONLY, as this node sees them.
            ServerCommand::Nodes if !reads_here => Place::Primary,
            ServerCommand::ClientCommand => match spec.name {
                "list" | "kill" | "unblock" | "pause" | "unpause" => match reads_here {
                    true => Place::Node,
                    false => Place::Primary,
                },
                "info" if connection.subscribed_upstream => Place::Primary,
                _ => Place::Session,
            },
            ServerCommand::Asking
            | ServerCommand::Auth
            | ServerCommand::Command
            | ServerCommand::Discard
            | ServerCommand::Echo
            | ServerCommand::Hello
            | ServerCommand::Help
            | ServerCommand::Multi
            | ServerCommand::Ping
            | ServerCommand::Reset
            | ServerCommand::Select
            | ServerCommand::Time
            | ServerCommand::Unwatch => Place::Session,
            _ => Place::Node,
        },
    }
}

/// Whether a command of a transaction leaves something that holds for the commands behind it.
fn changes_session(spec: &CommandSpec) -> bool {
    match spec.run {
        Run::Server(ServerCommand::ClientCommand) => {
            matches!(spec.name, "setname" | "setinfo" | "no-evict" | "no-touch")
        }
        Run::Server(command) => matches!(
            command,
            ServerCommand::Asking
                | ServerCommand::Auth
                | ServerCommand::Hello
                | ServerCommand::Select
        ),
        _ => false,
    }
}
