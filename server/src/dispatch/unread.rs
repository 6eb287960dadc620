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
    /// Whether somebody has left more unread than he may for long.
    pub(crate) fn watches_unread(&self) -> bool {
        let soft = |class| self.config.output_limits.of(class).soft_bytes > 0;
        soft(ClientClass::Normal) || soft(ClientClass::Pubsub) && self.pubsub.has_subscribers()
    }

    /// Closes a client that leaves too much unread. Returns whether it was closed.
    #[inline]
    pub(crate) fn close_if_unread(&mut self, conn: ConnId) -> bool {
        let Some(connection) = self.connections.get_mut(conn) else { return false };
        let class = match connection.subscriptions {
            None => ClientClass::Normal,
            Some(_) => ClientClass::Pubsub,
        };
        let limit = self.config.output_limits.of(class);
        if !limit.is_set() || !is_over(connection, limit, self.now.mono_ns) {
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
        if !self.watches_unread() {
            return;
        }
        let clients: Vec<ConnId> = self
            .connections
            .iter()
            .filter(|connection| connection.soft_limit_since_ns.is_some())
            .map(|connection| connection.id)
            .collect();
        for conn in clients {
            self.close_if_unread(conn);
        }
    }
}
