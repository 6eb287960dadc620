//! A client's connection with the primary: made when it is needed, used, lost, made anew elsewhere.
//!
//! Commands are sent once the primary has said its hello. If it is lost from then on without a word
//! they may have run or not: the client is closed, unless all that was under way only reads. A
//! primary that hands over says that the rest was not run; the next one gets it.

use replication::buggify::{self, Point};
use replication::fault::{Fault, is_planted};
use replication::group::NodeId;
use replication::link::hello::{HELLO_BYTES, Hello};

use super::scanner::What;
use super::words::{
    CLOSE_LETTER, GO_ON_LETTER, PUSH_LETTER, SUBSCRIBED_LETTER, UNSUBSCRIBED_LETTER, session_of,
    write_client, write_command, write_end, write_mode,
};
use super::{ATTEMPTS_FROM, Tunnel, Tunnels, Until, Upstream};
use crate::connection::{Connection, ReplyMode, Waiting};
use crate::core::Core;
use crate::core::io::{ConnId, OsError, Output};
use crate::limits::{
    TUNNEL_DRAIN_NS_MAX, TUNNEL_FAREWELL_NS_MAX, TUNNEL_PRIMARY_NS_MAX, TUNNEL_RETRIES_DOUBLED_MAX,
    TUNNEL_RETRY_NS_MIN, TUNNEL_SEND_BYTES_MAX, UNSENT_REPLY_BYTES_MAX,
};
use crate::replica::serving::Serving;

const NO_PRIMARY: &str = "CLUSTERDOWN No primary was found in time. Nothing was done; READONLY \
                          first reads what this node has";

impl Core {
    /// Ends the turn of the tunnels, which is over at once where there are none.
    pub(crate) fn drive_tunnels(&mut self) {
        if self.tunnels.is_empty() && self.tunnels.held.is_empty() {
            return;
        }
        if self.tunnels.wake_ns.is_some_and(|at_ns| at_ns <= self.now.mono_ns) {
            self.tend_all_tunnels();
        }
        for conn in std::mem::take(&mut self.tunnels.dirty) {
            self.tend_tunnel(conn);
        }
        for conn in std::mem::take(&mut self.tunnels.held) {
            self.tend_tunnel(conn);
        }
        let mut paused = std::mem::take(&mut self.tunnels.paused);
        paused.retain(|conn| !self.resume_upstream(*conn));
        self.tunnels.paused.append(&mut paused);
    }

    pub(crate) fn tend_all_tunnels(&mut self) {
        self.tunnels.wake_ns = None;
        for conn in self.tunnels.clients.iter().copied().collect::<Vec<_>>() {
            self.tend_tunnel(conn);
        }
    }

    fn tend_tunnel(&mut self, conn: ConnId) {
        let Some(mut connection) = self.connections.take(conn) else { return };
        if connection.tunnel.is_some() {
            self.tend(&mut connection);
        }
        self.resume_beside_tunnel(&mut connection);
        self.settle(connection);
    }

    /// Does what a tunnel needs now.
    fn tend(&mut self, connection: &mut Connection) {
        let leader = match self.replicas.serving {
            Serving::AsReplica(leader) => leader,
            Serving::Waits => None,
            Serving::Everything => return self.retire_tunnel(connection),
        };
        let Some(tunnel) = &mut connection.tunnel else { return };
        tunnel.marked = false;
        if let Upstream::Open { node, .. } | Upstream::Greeting { node, .. } = tunnel.upstream {
            let strays = leader.is_some_and(|leader| leader != node);
            if !strays {
                tunnel.strays_since_ns = None;
            } else if !self.await_farewell(connection) {
                return;
            }
        }
        self.await_primary(connection);
        let Some(tunnel) = &mut connection.tunnel else { return };
        let now_ns = self.now.mono_ns;
        match tunnel.upstream {
            // What was not begun when this node is to stop is not begun.
            Upstream::None if !tunnel.queue.is_empty() && !self.draining => {
                let Some((leader, address)) =
                    leader.and_then(|node| Some((node, self.links.address_of(node)?)))
                else {
                    return;
                };
                if now_ns < tunnel.retry_ns {
                    return self.tunnels.note_wake(tunnel.retry_ns);
                }
                self.tunnels.last_attempt += 1;
                let attempt = ATTEMPTS_FROM + self.tunnels.last_attempt;
                tunnel.upstream = Upstream::Connecting { attempt };
                self.tunnels.attempts.insert(attempt, (connection.id, leader));
                self.outputs.push(Output::Connect { attempt, address });
            }
            Upstream::Greeting { conn, .. } => self.send_upstream(tunnel, conn, false),
            Upstream::Open { conn, .. } if !self.draining || tunnel.queue.is_under_way() => {
                self.send_upstream(tunnel, conn, true);
            }
            Upstream::None | Upstream::Connecting { .. } | Upstream::Open { .. } => {}
        }
    }

    /// One send at a time.
    fn send_upstream(&mut self, tunnel: &mut Tunnel, conn: ConnId, commands: bool) {
        if tunnel.sending {
            return;
        }
        let mut bytes = std::mem::take(&mut tunnel.preface);
        if commands {
            let most = buggify::limit(Point::TunnelSendsLittle, TUNNEL_SEND_BYTES_MAX, 1);
            let more = tunnel.queue.take_unsent(most);
            if bytes.is_empty() { bytes = more } else { bytes.extend_from_slice(&more) }
        }
        if !bytes.is_empty() {
            tunnel.sending = true;
            let await_sent = commands && !tunnel.queue.is_sent();
            self.outputs.push(Output::Send { conn, bytes, await_sent });
        }
    }

    /// Commands wait for a primary, but not for ever.
    fn await_primary(&mut self, connection: &mut Connection) {
        let now_ns = self.now.mono_ns;
        let Some(tunnel) = &mut connection.tunnel else { return };
        if tunnel.queue.is_empty() || matches!(tunnel.upstream, Upstream::Open { .. }) {
            tunnel.waits_since_ns = None;
            return;
        }
        let until_ns = *tunnel.waits_since_ns.get_or_insert(now_ns) + TUNNEL_PRIMARY_NS_MAX;
        if now_ns < until_ns {
            return self.tunnels.note_wake(until_ns);
        }
        tunnel.waits_since_ns = None;
        self.refuse_passed(connection, NO_PRIMARY);
        // Whoever has not said its hello by now is tried again.
        self.leave_upstream(connection, true);
    }

    /// Another node leads than the one that this client talks to. False once its commands are given
    /// up, and perhaps the client.
    fn await_farewell(&mut self, connection: &mut Connection) -> bool {
        let now_ns = self.now.mono_ns;
        let Some(tunnel) = &mut connection.tunnel else { return false };
        if !tunnel.queue.is_under_way() {
            self.leave_upstream(connection, true);
            return true;
        }
        let until_ns = *tunnel.strays_since_ns.get_or_insert(now_ns) + TUNNEL_FAREWELL_NS_MAX;
        if now_ns < until_ns {
            self.tunnels.note_wake(until_ns);
            return true;
        }
        self.leave_upstream(connection, false);
        connection.tunnel.is_some()
    }

    /// This node leads: what the client has to say it says here, once the one before has answered.
    fn retire_tunnel(&mut self, connection: &mut Connection) {
        let Some(tunnel) = &connection.tunnel else { return };
        if tunnel.queue.is_under_way() {
            if matches!(connection.waiting, Waiting::Nothing) {
                self.wait_beside_tunnel(connection, None, Until::Empty);
            }
            self.await_farewell(connection);
            if connection.tunnel.as_ref().is_none_or(|tunnel| tunnel.queue.is_under_way()) {
                return;
            }
        } else {
            self.leave_upstream(connection, true);
        }
        let Some(tunnel) = &connection.tunnel else { return };
        let mut text = tunnel.queue.unroll();
        let waiting = match std::mem::take(&mut connection.waiting) {
            Waiting::Tunnel { command, .. } => command,
            other => {
                connection.waiting = other;
                None
            }
        };
        if !tunnel.queue.is_empty() || waiting.is_some() {
            connection.replays.push(match is_planted(Fault::WaitingQueued) {
                true => None,
                false => connection.transaction.take(),
            });
            text.extend_from_slice(&session_of(connection));
            let skips = connection.reply_mode == ReplyMode::Skipping;
            if skips {
                write_mode(&mut text, false);
            } else {
                write_end(&mut text, connection.reply_mode);
            }
            if let Some(command) = waiting {
                write_command(&mut text, command.as_args().iter_from(0));
            }
            if skips {
                write_end(&mut text, ReplyMode::On);
            }
            connection.reply_mode = ReplyMode::On;
            text.extend_from_slice(&connection.query);
            connection.query = text;
            connection.parser.reset();
            connection.needs_bytes = false;
        }
        self.end_tunnel(connection);
    }

    /// What became of a connect of ours.
    pub(crate) fn on_tunnel_connected(&mut self, attempt: u64, result: Result<ConnId, OsError>) {
        let wanted = self.tunnels.attempts.remove(&attempt);
        let connection = wanted.and_then(|(conn, _)| self.connections.take(conn));
        let (Some((_, node)), Some(mut connection)) = (wanted, connection) else {
            if let Ok(conn) = result {
                self.outputs.push(Output::Close { conn });
            }
            return;
        };
        match (&mut connection.tunnel, result) {
            (Some(tunnel), Ok(conn)) if tunnel.upstream.is_connecting(attempt) => {
                let own = self.links.client_hello(node);
                tunnel.preface = own.encode().to_vec();
                tunnel.welcome.clear();
                tunnel.upstream = Upstream::Greeting { conn, node, own: Box::new(own) };
                self.tunnels.by_upstream.insert(conn, connection.id);
            }
            (Some(tunnel), Err(_)) => {
                tunnel.upstream = Upstream::None;
                tunnel.put_off(self.now.mono_ns);
            }
            (_, Ok(conn)) => self.outputs.push(Output::Close { conn }),
            (None, Err(_)) => {}
        }
        self.tend(&mut connection);
        self.settle(connection);
    }

    /// Bytes of a primary, if they are.
    pub(crate) fn on_upstream_received(&mut self, conn: ConnId, bytes: &[u8]) {
        let Some(client) = self.tunnels.by_upstream.get(&conn).copied() else { return };
        let Some(mut connection) = self.connections.take(client) else { return };
        self.read_upstream(&mut connection, bytes);
        self.tend(&mut connection);
        self.resume_beside_tunnel(&mut connection);
        self.pause_upstream(&mut connection);
        self.settle(connection);
    }

    fn read_upstream(&mut self, connection: &mut Connection, bytes: &[u8]) {
        let mut bytes = bytes;
        if let Some(tunnel) = &mut connection.tunnel
            && let Upstream::Greeting { conn, node, own } = &tunnel.upstream
        {
            let wanted = HELLO_BYTES - tunnel.welcome.len();
            let (head, rest) = bytes.split_at(wanted.min(bytes.len()));
            tunnel.welcome.extend_from_slice(head);
            bytes = rest;
            let Some(hello) = tunnel.welcome.first_chunk::<HELLO_BYTES>() else { return };
            if let Err(error) = Hello::decode(hello).and_then(|other| own.agree(&other)) {
                tracing::warn!(node = node.0, "the primary refuses a client: {error}");
                return self.leave_upstream(connection, true);
            }
            tunnel.upstream = Upstream::Open { conn: *conn, node: *node };
            let mut preface = std::mem::take(&mut tunnel.preface);
            write_client(&mut preface, connection, self.now);
            let Some(tunnel) = &mut connection.tunnel else { return };
            preface.extend_from_slice(tunnel.queue.session());
            tunnel.preface = preface;
        }
        while !bytes.is_empty() && self.read_one(connection, &mut bytes) {}
    }

    /// Reads what belongs together. False if nothing more is to be read.
    fn read_one(&mut self, connection: &mut Connection, bytes: &mut &[u8]) -> bool {
        let Some(tunnel) = &mut connection.tunnel else { return false };
        let (used, what) = tunnel.scanner.scan(bytes);
        let (piece, rest) = bytes.split_at(used);
        *bytes = rest;
        let (out, _) = connection.replies.begin();
        match what {
            What::Part | What::Reply { .. } if !tunnel.queue.on_piece(piece, out) => {
                // Nothing was asked: it says why it takes nobody.
                out.extend_from_slice(piece);
                self.close_behind(connection);
                return false;
            }
            What::Part => {}
            What::Reply { array } => {
                tunnel.note_answered();
                let after = tunnel.queue.on_reply_end(array, out);
                if !after.is_empty() {
                    self.note_session(connection, &after);
                }
            }
            What::Push if !tunnel.scanner.is_between() => tunnel.message.extend_from_slice(piece),
            What::Push => {
                out.append(&mut std::mem::take(&mut tunnel.message));
                out.extend_from_slice(piece);
                if !connection.subscribed_upstream {
                    // One of several confirmations, perhaps: they are not given twice.
                    tunnel.queue.note_begun();
                }
            }
            What::Inner(None | Some(PUSH_LETTER)) => {}
            What::Inner(Some(letter @ (SUBSCRIBED_LETTER | UNSUBSCRIBED_LETTER)))
                if tunnel.queue.is_asked() =>
            {
                tunnel.note_answered();
                tunnel.queue.on_reply_end(false, out);
                connection.subscribed_upstream = letter == SUBSCRIBED_LETTER;
            }
            What::Inner(Some(GO_ON_LETTER)) => {
                self.leave_upstream(connection, true);
                return false;
            }
            What::Inner(Some(CLOSE_LETTER)) => {
                self.close_behind(connection);
                return false;
            }
            What::Inner(Some(_)) | What::Broken => {
                tracing::error!("a primary's replies cannot be read");
                self.leave_upstream(connection, false);
                return false;
            }
        }
        true
    }

    /// The client gets what is there, and is closed.
    fn close_behind(&mut self, connection: &mut Connection) {
        self.end_tunnel(connection);
        connection.waiting = Waiting::Nothing;
        connection.closing = true;
    }

    /// A client that does not read is not read for.
    fn pause_upstream(&mut self, connection: &mut Connection) {
        if connection.replies.unsent_bytes() <= UNSENT_REPLY_BYTES_MAX {
            return;
        }
        let Some(tunnel) = &mut connection.tunnel else { return };
        if let Some(conn) = tunnel.upstream.conn()
            && !std::mem::replace(&mut tunnel.paused, true)
        {
            self.outputs.push(Output::PauseReceive { conn });
            self.tunnels.paused.push(connection.id);
        }
    }

    /// Whether the client has not to be looked at for this any more.
    fn resume_upstream(&mut self, client: ConnId) -> bool {
        let Some(connection) = self.connections.get_mut(client) else { return true };
        let unsent_bytes = connection.replies.unsent_bytes();
        let Some(tunnel) = &mut connection.tunnel else { return true };
        if !tunnel.paused {
            return true;
        }
        if unsent_bytes > UNSENT_REPLY_BYTES_MAX {
            return false;
        }
        tunnel.paused = false;
        if let Some(conn) = tunnel.upstream.conn() {
            self.outputs.push(Output::ResumeReceive { conn });
        }
        true
    }

    pub(crate) fn on_upstream_sent(&mut self, conn: ConnId) {
        let Some(client) = self.tunnels.by_upstream.get(&conn).copied() else { return };
        if let Some(connection) = self.connections.get_mut(client)
            && let Some(tunnel) = &mut connection.tunnel
        {
            tunnel.sending = false;
            if !std::mem::replace(&mut tunnel.marked, true) {
                self.tunnels.dirty.push(client);
            }
        }
    }

    /// The primary closed, or the way to it broke.
    pub(crate) fn on_upstream_ended(&mut self, conn: ConnId) {
        let Some(client) = self.tunnels.by_upstream.get(&conn).copied() else { return };
        let Some(mut connection) = self.connections.take(client) else { return };
        self.leave_upstream(&mut connection, false);
        self.tend(&mut connection);
        self.resume_beside_tunnel(&mut connection);
        self.settle(connection);
    }

    /// The connection with a primary ends. `told`: what is not answered was not run there.
    fn leave_upstream(&mut self, connection: &mut Connection, told: bool) {
        let Some(tunnel) = &mut connection.tunnel else { return };
        self.tunnels.close(&tunnel.upstream, &mut self.outputs);
        let under_way = tunnel.queue.is_under_way();
        let sure = told || !under_way || is_planted(Fault::TunnelRepeats);
        tunnel.forget_upstream();
        if connection.subscribed_upstream {
            tracing::info!(
                client = %connection.peer,
                "closed: what is published at another primary it would not hear"
            );
            return self.close_behind(connection);
        }
        let Some(tunnel) = &mut connection.tunnel else { return };
        if !sure && (tunnel.repeated || !tunnel.queue.may_repeat()) {
            tracing::warn!(
                client = %connection.peer,
                "closed: the primary is lost, and it is not known what became of its commands"
            );
            return self.close_behind(connection);
        }
        tunnel.repeated |= !sure;
        connection.watch_lost |= tunnel.queue.rewind();
        tunnel.put_off(self.now.mono_ns);
    }

    /// RESET: what a client listens to at the primary ends, and nothing of it is under way there.
    pub(crate) fn unsubscribe_upstream(&mut self, connection: &mut Connection) {
        if std::mem::take(&mut connection.subscribed_upstream) {
            self.end_tunnel(connection);
        }
    }

    /// A client needs the primary no more.
    pub(crate) fn end_tunnel(&mut self, connection: &mut Connection) {
        let Some(tunnel) = connection.tunnel.take() else { return };
        self.tunnels.clients.remove(&connection.id);
        self.tunnels.close(&tunnel.upstream, &mut self.outputs);
    }

    /// A node that stops waits a little for what the primary has to answer to its clients.
    pub(crate) fn awaits_upstream(&mut self) -> bool {
        let now_ns = self.now.mono_ns;
        let until_ns = *self.tunnels.drained_by_ns.get_or_insert(now_ns + TUNNEL_DRAIN_NS_MAX);
        let awaits = now_ns < until_ns
            && self.connections.iter().any(|connection| {
                let queue = connection.tunnel.as_ref().map(|tunnel| &tunnel.queue);
                queue.is_some_and(|queue| queue.is_under_way() && !queue.has_blocking())
            });
        if awaits {
            self.tunnels.note_wake(until_ns);
        }
        awaits
    }
}

impl Tunnels {
    fn close<M, L>(&mut self, upstream: &Upstream, outputs: &mut Vec<Output<M, L>>) {
        if let Upstream::Connecting { attempt } = upstream {
            self.attempts.remove(attempt);
        }
        if let Some(conn) = upstream.conn() {
            self.by_upstream.remove(&conn);
            outputs.push(Output::Close { conn });
        }
    }
}

impl Tunnel {
    fn forget_upstream(&mut self) {
        self.upstream = Upstream::None;
        self.scanner = Default::default();
        self.message = Vec::new();
        self.preface = Vec::new();
        self.welcome = Vec::new();
        self.sending = false;
        self.paused = false;
        self.strays_since_ns = None;
    }

    fn note_answered(&mut self) {
        self.failures = 0;
        self.repeated = false;
    }

    /// The next try comes later, each time longer.
    fn put_off(&mut self, now_ns: u64) {
        self.retry_ns = match self.failures {
            0 => now_ns,
            failures => {
                now_ns + (TUNNEL_RETRY_NS_MIN << (failures - 1).min(TUNNEL_RETRIES_DOUBLED_MAX))
            }
        };
        self.failures += 1;
    }

    /// Whom this client talks to.
    pub fn node(&self) -> Option<NodeId> {
        match self.upstream {
            Upstream::Open { node, .. } => Some(node),
            _ => None,
        }
    }
}
