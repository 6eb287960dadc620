//! Connections come, send bytes, read replies and go.

use std::net::SocketAddr;

use engine::args::Args;
use engine::reply::Reply;
use replication::buggify::{Point, is_taken};
use replication::log::LogWriter;

use super::ahead::{Ahead, Next};
use crate::connection::{Connection, ReplyMode, Waiting};
use crate::core::Core;
use crate::core::io::{ConnId, Output};
use crate::limits::{
    COMMANDS_AHEAD_MAX, COMMANDS_PER_CLIENT_AND_TURN_MAX, EXPECTED_ANSWERS_MAX,
    IDLE_BUFFER_BYTES_MAX, LOG_QUEUED_BYTES_MAX, QUERY_GROWTH, TURN_COMMANDS_NS,
    UNSENT_REPLY_BYTES_MAX, WAITING_QUERY_BYTES_MAX,
};
use crate::resp::parser::{ParseLimits, ProtocolError};
use crate::tunnel::Until;

impl Core {
    pub(crate) fn on_accepted(&mut self, conn: ConnId, peer: SocketAddr, local: SocketAddr) {
        self.stats.connections_received += 1;
        let client_id = self.next_client_id();
        let authenticated = self.config.requirepass.is_none();
        let mut connection = Connection::new(conn, client_id, peer, local, authenticated, self.now);
        let clients_max = self.config.maxclients.div_ceil(self.config.cores);
        let full = self.connections.served() >= clients_max;
        let refused = full || self.draining;
        if refused {
            self.stats.connections_refused += 1;
            connection.closing = true;
        }
        // A server that stops closes without a word, as one that does not listen any more: to say
        // that there are too many clients would send an operator the wrong way.
        if full && !self.draining {
            let (out, _) = connection.replies.begin();
            out.extend_from_slice(b"-ERR max number of clients reached\r\n");
        }
        self.connections.insert(connection);
        if refused {
            self.mark_dirty(conn);
        }
    }

    pub(crate) fn on_received(&mut self, conn: ConnId, bytes: &[u8]) {
        let Some(mut connection) = self.connections.take(conn) else {
            return self.on_upstream_received(conn, bytes);
        };
        self.stats.bytes_in += bytes.len() as u64;
        connection.bytes_in += bytes.len() as u64;
        connection.last_active_ns = self.now.mono_ns;
        connection.needs_bytes = false;
        if connection.closing {
            return self.connections.put_back(connection);
        }
        let first = connection.query.is_empty() && !self.budget.crowded;
        if first && connection.may_run() && !self.is_pressed(&connection) {
            let used = self.run_commands(&mut connection, bytes);
            if used < bytes.len() {
                keep(&mut connection, &bytes[used..]);
            }
        } else {
            keep(&mut connection, bytes);
        }
        if connection.query_bytes() > self.config.query_buffer_bytes_max {
            tracing::warn!(client = %connection.peer, "closed: query buffer limit reached");
            connection.closing = true;
            connection.query = Vec::new();
        }
        self.settle(connection);
    }

    /// Runs what a connection has already sent, as far as it may now.
    pub(crate) fn run_query(&mut self, conn: ConnId) {
        let Some(mut connection) = self.connections.take(conn) else { return };
        connection.runnable = false;
        if connection.may_run() && !self.is_pressed(&connection) {
            let query = std::mem::take(&mut connection.query);
            let used = self.run_commands(&mut connection, &query);
            // What commands of this run left behind comes after the rest of the query.
            debug_assert!(connection.query.is_empty());
            connection.query = query;
            connection.query.drain(..used);
            if connection.query.is_empty() {
                connection.query.shrink_to(IDLE_BUFFER_BYTES_MAX);
            }
        }
        self.settle(connection);
    }

    /// Puts a connection back and does what its state asks for.
    pub(crate) fn settle(&mut self, mut connection: Box<Connection>) {
        let conn = connection.id;
        let has_rest = !connection.query.is_empty() && !connection.closing;
        let more = has_rest && connection.may_run() && !connection.needs_bytes;
        let pressed = self.is_pressed(&connection) || !connection.may_run();
        // Whole commands wait for a turn with room: more of them would only take memory.
        let behind = more && connection.query.len() > WAITING_QUERY_BYTES_MAX;
        if behind || pressed && connection.query.len() > UNSENT_REPLY_BYTES_MAX {
            if !connection.receive_paused {
                connection.receive_paused = true;
                self.outputs.push(Output::PauseReceive { conn });
            }
        } else if connection.receive_paused && (!pressed || connection.query.is_empty()) {
            // Whoever has nothing left to run is not among those that are resumed later.
            connection.receive_paused = false;
            self.outputs.push(Output::ResumeReceive { conn });
        }
        if connection.ended && !more && connection.may_run() {
            connection.closing = true;
        }
        let send = !connection.dirty && (connection.replies.has_ready() || connection.closing);
        if send {
            connection.dirty = true;
        }
        let run = more && !connection.runnable && !self.is_pressed(&connection);
        if run {
            connection.runnable = true;
        }
        self.connections.put_back(connection);
        if send {
            self.dirty.push(conn);
        }
        if run {
            self.runnable.push_back(conn);
        }
    }

    pub(crate) fn run_runnable(&mut self) {
        for _ in 0..self.runnable.len() {
            if self.budget.is_spent() {
                break;
            }
            let Some(conn) = self.runnable.pop_front() else { break };
            self.run_query(conn);
        }
        self.budget.crowded = self.budget.is_spent() && !self.runnable.is_empty();
    }

    /// Back-pressure: this client must read first, or the log must catch up.
    fn is_pressed(&mut self, connection: &Connection) -> bool {
        let core = self.is_core_pressed();
        self.was_pressed |= core;
        core || self.draining
            || connection.replies.expected_answers() >= EXPECTED_ANSWERS_MAX
            || connection.replies.is_owed_plenty()
            || connection.replies.unsent_bytes() > UNSENT_REPLY_BYTES_MAX
            || connection.replies.expected_answers() > 0 && is_taken(Point::ClientSlow)
    }

    pub(crate) fn is_core_pressed(&self) -> bool {
        let queued_bytes = self.log.as_ref().map_or(0, LogWriter::queued_bytes);
        self.mesh_pressed
            || self.eviction.pressed
            || queued_bytes > LOG_QUEUED_BYTES_MAX
            || self.waits_for_group()
            || self.handover.holds_commands()
    }

    /// Runs the whole commands at the start of `bytes`; returns the bytes used.
    fn run_commands(&mut self, connection: &mut Connection, bytes: &[u8]) -> usize {
        let mut ahead = std::mem::take(&mut self.ahead);
        let mut used = 0;
        let mut commands = 0;
        while used < bytes.len() && connection.may_run() {
            let enough = commands >= COMMANDS_PER_CLIENT_AND_TURN_MAX || self.budget.is_spent();
            if enough || self.is_pressed(connection) {
                break;
            }
            let rest = &bytes[used..];
            let (read, next) = self.read_ahead(connection, &mut ahead, rest);
            let run = self.run_ahead(connection, &ahead, rest);
            commands += run + 1;
            self.spend_commands(run + 1);
            if run < ahead.count() {
                used += ahead.start_of(run);
                connection.parser.reset();
                break;
            }
            used += read;
            match next {
                Next::More => {}
                // What was read of it is known to the parser; may it run later or not.
                Next::Incomplete => {
                    connection.needs_bytes = true;
                    break;
                }
                _ if !self.may_go_on(connection) => connection.parser.reset(),
                Next::Broken(_) if connection.is_tunnel_busy() => {
                    connection.parser.reset();
                    self.wait_beside_tunnel(connection, None, Until::Empty);
                }
                Next::Inline { consumed } => {
                    self.run_inline(connection);
                    used += consumed;
                }
                Next::Broken(ProtocolError(text)) => {
                    let (out, _) = connection.replies.begin();
                    let text = format!("ERR Protocol error: {text}");
                    Reply::new(out, connection.protocol).error(&text);
                    connection.closing = true;
                    used = bytes.len();
                }
            }
        }
        self.ahead = ahead;
        // A command that still waits has yet to be silent.
        if connection.reply_mode == ReplyMode::Skipping && connection.may_run() {
            connection.reply_mode = ReplyMode::On;
        }
        used
    }

    fn read_ahead(
        &mut self,
        connection: &mut Connection,
        ahead: &mut Ahead,
        bytes: &[u8],
    ) -> (usize, Next) {
        let limits = ParseLimits {
            authenticated: connection.authenticated,
            bulk_bytes_max: self.settings.string_bytes_max as i64,
        };
        // AUTH changes how what follows it may look.
        let commands_max = if connection.authenticated { COMMANDS_AHEAD_MAX } else { 1 };
        let read = ahead.read(&mut connection.parser, bytes, limits, commands_max);
        self.prefetch_ahead(ahead, bytes, connection.db);
        read
    }

    /// Runs the commands read ahead, as long as the client's next may run; returns how many.
    fn run_ahead(&mut self, connection: &mut Connection, ahead: &Ahead, bytes: &[u8]) -> usize {
        for place in 0..ahead.count() {
            if self.budget.is_spent() || !self.may_go_on(connection) {
                return place;
            }
            let (args, _) = ahead.get(place, bytes);
            if let (Some(key), Some(place)) = (args.get(1), ahead.key_place(place)) {
                self.shards.know(key, place);
            }
            self.run_command(connection, args);
            self.shards.forget_known();
        }
        ahead.count()
    }

    fn run_inline(&mut self, connection: &mut Connection) {
        let ranges = std::mem::take(&mut connection.parser.ranges);
        let words = std::mem::take(&mut connection.parser.inline_words);
        self.run_command(connection, Args::new(&words, &ranges));
        connection.parser.inline_words = words;
        connection.parser.ranges = ranges;
        connection.parser.reset();
    }

    pub(crate) fn spend_commands(&mut self, commands: usize) {
        self.budget.spend(commands);
        if self.budget.wants_clock(commands) {
            let turn_ns = self.host.monotonic_ns().saturating_sub(self.now.mono_ns);
            if turn_ns > TURN_COMMANDS_NS {
                self.budget.commands_left = 0;
            }
        }
    }

    fn may_go_on(&mut self, connection: &Connection) -> bool {
        connection.may_run() && !self.is_pressed(connection)
    }

    pub(crate) fn on_receive_ended(&mut self, conn: ConnId) {
        let Some(mut connection) = self.connections.take(conn) else {
            return self.on_upstream_ended(conn);
        };
        connection.ended = true;
        if connection.is_tunnel_busy() && matches!(connection.waiting, Waiting::Nothing) {
            self.wait_beside_tunnel(&mut connection, None, Until::Empty);
        }
        match connection.waiting {
            // As in Redis, a client that goes away stops waiting; what runs is run to its end.
            Waiting::Key(_) | Waiting::Nodes(_) => {
                self.stop_waiting(&mut connection);
                connection.closing = true;
            }
            Waiting::Pause { .. } => {
                connection.waiting = Waiting::Nothing;
                connection.closing = true;
            }
            // It waits for a key at the primary, which hears of it so.
            Waiting::Tunnel { .. } if connection.blocks_upstream() => connection.closing = true,
            Waiting::Nothing if !connection.runnable => connection.closing = true,
            _ => {}
        }
        self.settle(connection);
    }

    pub(crate) fn on_sent(&mut self, conn: ConnId, buffer: Vec<u8>) {
        let Some(connection) = self.connections.get_mut(conn) else {
            return self.on_upstream_sent(conn);
        };
        connection.replies.on_sent(buffer);
        let waits = !connection.query.is_empty();
        self.connections.note(conn);
        self.mark_dirty(conn);
        if waits {
            self.mark_runnable(conn);
        }
    }

    /// The client reads. Links and connections to the primary are not looked at for that.
    pub(crate) fn on_sent_part(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.taken_ns = self.now.mono_ns;
        }
    }

    pub(crate) fn close_connection(&mut self, conn: ConnId) {
        let Some(mut connection) = self.connections.take(conn) else {
            return self.on_upstream_ended(conn);
        };
        self.end_tunnel(&mut connection);
        self.stop_waiting(&mut connection);
        self.unwatch_all(&mut connection);
        self.unsubscribe_all(&mut connection);
        self.connections.on_closed(&connection);
        self.outputs.push(Output::Close { conn });
    }
}

/// Keeps bytes for later, making room for the whole of a long word as it arrives.
fn keep(connection: &mut Connection, bytes: &[u8]) {
    let wanted = connection.parser.bytes_wanted();
    let query = &mut connection.query;
    if query.capacity() < query.len() + bytes.len() {
        let needed = query.len() + bytes.len();
        let target = wanted.clamp(needed, QUERY_GROWTH * needed);
        query.reserve_exact(target - query.len());
    }
    query.extend_from_slice(bytes);
}
