//! One turn of a core: inputs are run as they come, then the turn is closed: one entry for each
//! touched shard, one log write for all, then what is released is sent.

use replication::buggify::{self, Point, is_taken};

use super::Core;
use super::io::{ConnId, Input, Machine, Now, Output, Port};
use super::message::Message;
use super::storage::StorageOperation;
use crate::dispatch::log_done::LogDone;
use crate::limits::{COMMANDS_PER_TURN_MAX, MESH_WAITING_MAX};

impl Machine for Core {
    type Message = Message;
    type LogDone = LogDone;
    type LogOperation = StorageOperation;

    fn begin_turn(&mut self, now: Now, mesh_waiting: &[u32]) {
        self.now = now;
        if self.config.started_ns == 0 {
            self.config.started_ns = now.mono_ns;
            self.config.started_unix_s = now.unix_us / 1_000_000;
        }
        let is_full = mesh_waiting.iter().any(|waiting| *waiting > MESH_WAITING_MAX);
        // With groups there is always a next turn.
        let rarely = self.replicas.is_grouped() && is_taken(Point::MeshFull);
        self.mesh_pressed = is_full || rarely;
        self.replicas.count_ticks(now.mono_ns);
        self.links.begin_turn(now.mono_ns);
        self.stats.turns += 1;
        self.begin_turn_meter();
        self.refresh_serving();
        self.budget.commands_left = buggify::limit(Point::TurnShort, COMMANDS_PER_TURN_MAX, 1);
        self.run_rest();
    }

    fn on_input(&mut self, input: Input<'_, Message, LogDone>) {
        match input {
            Input::Accepted { conn, port: Port::Client, peer, local } => {
                self.on_accepted(conn, peer, local);
            }
            Input::Accepted { conn, port: Port::Peer, peer, .. } => {
                self.links.on_accepted(conn, peer);
            }
            Input::Connected { attempt, result } if attempt >= crate::tunnel::ATTEMPTS_FROM => {
                self.on_tunnel_connected(attempt, result);
            }
            Input::Connected { attempt, result } => self.links.on_connected(attempt, result),
            Input::Received { conn, bytes } if self.links.has(conn) => {
                self.on_link_received(conn, bytes);
            }
            Input::Sent { conn, buffer } if self.links.has(conn) => {
                self.links.on_sent(conn, buffer);
            }
            Input::ReceiveEnded { conn, .. } | Input::SendFailed { conn, .. }
                if self.links.has(conn) =>
            {
                self.links.on_ended(conn);
            }
            Input::Received { conn, bytes } => self.on_received(conn, bytes),
            Input::ReceiveEnded { conn, .. } => self.on_receive_ended(conn),
            Input::Sent { conn, buffer } => self.on_sent(conn, buffer),
            Input::SentPart { conn } => self.on_sent_part(conn),
            Input::SendFailed { conn, .. } => self.close_connection(conn),
            Input::Mesh { message, .. } => self.on_message(message),
            Input::Log(done) => self.on_log_done(done),
            Input::Shutdown => self.begin_stop(false),
        }
    }

    fn end_turn(&mut self, outputs: &mut Vec<Output<Message, StorageOperation>>) -> Option<u64> {
        if let Some(message) = &self.failure {
            outputs.push(Output::Fail(message.clone()));
            return None;
        }
        self.resume_pressed();
        self.run_runnable();
        self.do_housekeeping();
        self.close_entries();
        self.drive_groups();
        self.resume_behind();
        self.deliver_publications();
        self.flush_publications();
        self.tell_holders();
        self.do_checkpoints();
        self.push_log_operations();
        self.flush_reports();
        self.report_memory();
        self.flush_links();
        self.drive_tunnels();
        self.say_if_quiet();
        // Before any reply: whoever reads one may act on it anywhere.
        self.flush_mesh();
        self.send_replies();
        self.drive_handover();
        self.stop_if_drained();
        outputs.append(&mut self.outputs);
        self.end_turn_meter();
        self.plan_tick();
        self.next_wake_ns()
    }
}

impl Core {
    pub(crate) fn push_log_operations(&mut self) {
        let Some(log) = &mut self.log else { return };
        while let Some(operation) = log.poll_operation() {
            self.outputs.push(Output::Log(StorageOperation::Log(operation)));
        }
    }

    fn send_replies(&mut self) {
        if self.withholds_replies() {
            return;
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        for conn in dirty.drain(..) {
            self.send_reply(conn);
        }
        // A connection that was closed may have let others go on: they send in the next turn.
        dirty.append(&mut self.dirty);
        self.dirty = dirty;
    }

    fn send_reply(&mut self, conn: ConnId) {
        if self.close_if_unread(conn) {
            return;
        }
        let released = &self.released;
        let Some(connection) = self.connections.get_mut(conn) else { return };
        connection.dirty = false;
        connection.replies.open(|shard| released[usize::from(shard)]);
        if connection.awaits_shards() && !connection.replies.is_ready_plenty() {
            // More comes in a moment: one send for all.
            return;
        }
        if let Some(bytes) = connection.replies.take_ready() {
            // Whoever has more to say or to run must hear when this is out.
            let await_sent = connection.closing
                || connection.ended
                || self.draining
                || connection.replies.has_held()
                || !connection.query.is_empty();
            connection.bytes_out += bytes.len() as u64;
            connection.taken_ns = self.now.mono_ns;
            self.stats.bytes_out += bytes.len() as u64;
            self.connections.note(conn);
            self.outputs.push(Output::Send { conn, bytes, await_sent });
        } else if connection.closing && connection.replies.is_empty() {
            match connection.farewell.take() {
                Some(text) => {
                    connection.replies.begin().0.extend_from_slice(text);
                    self.send_reply(conn);
                }
                None => self.close_connection(conn),
            }
        }
    }
}
