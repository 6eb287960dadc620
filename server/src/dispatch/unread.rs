//! `client-output-buffer-limit`: a client that leaves too much unread is closed. Checked where its
//! replies leave, and for the limit over time a few times a second.

use crate::config::output_limits::{ClientClass, OutputLimit};
use crate::connection::Connection;
use crate::core::Core;
use crate::core::io::ConnId;

/// Whether a client has passed its limit; notes since when it is over the soft one.
fn is_over(connection: &mut Connection, limit: OutputLimit, now_ns: u64) -> bool {
    let unread = connection.replies.unsent_bytes() as u64;
    if limit.hard_bytes > 0 && unread > limit.hard_bytes {
        return true;
    }
    if limit.soft_bytes == 0 || unread <= limit.soft_bytes {
        connection.soft_limit_since_ns = None;
        return false;
    }
    let since_ns = *connection.soft_limit_since_ns.get_or_insert(now_ns);
    now_ns.saturating_sub(since_ns) > limit.soft_s.saturating_mul(1_000_000_000)
}

impl Core {
    pub(crate) fn output_limit(&self) -> OutputLimit {
        self.config.output_limits.of(ClientClass::Normal)
    }

    /// Closes a client that leaves too much unread. Returns whether it was closed.
    pub(crate) fn close_if_unread(&mut self, conn: ConnId, limit: OutputLimit) -> bool {
        let now_ns = self.now.mono_ns;
        let Some(connection) = self.connections.get_mut(conn) else { return false };
        if !is_over(connection, limit, now_ns) {
            return false;
        }
        tracing::warn!(
            client = %connection.peer,
            unread_bytes = connection.replies.unsent_bytes(),
            "closed: client-output-buffer-limit reached"
        );
        self.close_connection(conn);
        true
    }

    /// Looks for clients that have been over the soft limit for too long.
    pub(crate) fn close_unread_clients(&mut self) {
        let limit = self.output_limit();
        if limit.soft_bytes == 0 {
            return;
        }
        let clients: Vec<ConnId> = self
            .connections
            .iter()
            .filter(|connection| connection.soft_limit_since_ns.is_some())
            .map(|connection| connection.id)
            .collect();
        for conn in clients {
            self.close_if_unread(conn, limit);
        }
    }
}
