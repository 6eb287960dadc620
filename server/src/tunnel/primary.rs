//! Clients of other nodes, as the primary has them: connections that came by the port for nodes.

use crate::connection::{Connection, Waiting};
use crate::core::Core;
use crate::core::io::{ConnId, Output};
use crate::replica::serving::Serving;
use crate::tunnel::Until;
use crate::tunnel::words::{CLOSE, GO_ON};

impl Core {
    /// Somebody who came by the port for nodes speaks for a client, if so.
    pub(crate) fn admit_tunnelled(&mut self) {
        let Some(arrival) = self.links.take_arrival() else { return };
        let conn = arrival.conn;
        let follows = matches!(self.replicas.serving, Serving::AsReplica(_));
        if follows || self.draining || !self.replicas.is_grouped() {
            return self.outputs.push(Output::Close { conn });
        }
        self.stats.connections_received += 1;
        let (id, address) = (self.next_client_id(), arrival.address);
        let mut connection = Connection::new(conn, id, address, address, true, self.now);
        connection.tunnelled = true;
        connection.farewell = Some(CLOSE);
        let (out, _) = connection.replies.begin();
        out.extend_from_slice(&arrival.answer);
        if self.connections.len() >= self.config.maxclients.div_ceil(self.config.cores) {
            self.stats.connections_refused += 1;
            out.extend_from_slice(b"-ERR max number of clients reached\r\n");
            connection.closing = true;
        }
        self.connections.insert(connection);
        self.mark_dirty(conn);
        if !arrival.rest.is_empty() {
            self.on_received(conn, &arrival.rest);
        }
    }

    /// CLIENT KILL. Another node hears that it is the client that is to go, unless something is on
    /// its way to it: then its connection ends in the middle of that, and so does the client.
    pub(crate) fn kill_connection(&mut self, conn: ConnId) {
        let told = |c: &Connection| c.tunnelled && c.replies.is_empty();
        match self.connections.take(conn) {
            Some(mut connection) if told(&connection) => {
                self.stop_waiting(&mut connection);
                connection.waiting = Waiting::Nothing;
                connection.closing = true;
                self.settle(connection);
            }
            Some(connection) => {
                self.connections.put_back(connection);
                self.close_connection(conn);
            }
            None => {}
        }
    }

    /// What clients may do here has changed.
    pub(crate) fn on_serving_changed(&mut self) {
        if matches!(self.replicas.serving, Serving::AsReplica(_)) {
            self.dismiss_tunnelled();
        }
        if !self.tunnels.is_empty() {
            self.tend_all_tunnels();
        }
    }

    /// This node is not the primary, and what it has not answered it has not run: other nodes'
    /// clients are to ask the one that is.
    fn dismiss_tunnelled(&mut self) {
        let theirs = self.connections.iter().filter(|c| c.tunnelled && !c.closing);
        for conn in theirs.map(|connection| connection.id).collect::<Vec<_>>() {
            let Some(mut connection) = self.connections.take(conn) else { continue };
            if connection.replies.has_held() {
                // A question to all cores, of which the answer is on its way.
                self.connections.put_back(connection);
                self.close_connection(conn);
                continue;
            }
            self.stop_waiting(&mut connection);
            self.unwatch_all(&mut connection);
            connection.waiting = Waiting::Nothing;
            connection.query = Vec::new();
            connection.farewell = Some(GO_ON);
            connection.closing = true;
            self.settle(connection);
        }
    }

    /// This node follows since it has handed over: what is published from now on is not heard here.
    /// Who listened comes back, and knows that he may have missed something.
    pub(crate) fn dismiss_subscribers(&mut self) {
        let own = self.connections.iter().filter(|c| c.subscriptions.is_some() && !c.tunnelled);
        for conn in own.map(|connection| connection.id).collect::<Vec<ConnId>>() {
            let Some(mut connection) = self.connections.take(conn) else { continue };
            connection.closing = true;
            self.settle(connection);
        }
    }

    /// This node follows since it has handed over: nothing is in doubt. Its own clients stay: what
    /// they wait for, they wait for at the new primary from now on; what they watch counts as
    /// changed.
    pub(crate) fn move_waits_of_leader(&mut self) {
        let own = self.connections.iter().filter(|connection| !connection.tunnelled);
        let blocked = |c: &Connection| matches!(c.waiting, Waiting::Key(_) | Waiting::Nodes(_));
        let waits = own.filter(|c| blocked(c) || !c.watched.is_empty());
        for conn in waits.map(|connection| connection.id).collect::<Vec<ConnId>>() {
            let Some(mut connection) = self.connections.take(conn) else { continue };
            if let Some(command) = self.take_waiting(&mut connection) {
                self.wait_beside_tunnel(&mut connection, Some(command), Until::Local);
            }
            if !connection.watched.is_empty() {
                self.unwatch_all(&mut connection);
                connection.watch_lost = true;
            }
            self.settle(connection);
        }
    }
}
