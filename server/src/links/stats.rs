//! What a core counts of its links, and the lines that it writes to the log about them: few, and
//! none over and over.

use std::net::{IpAddr, SocketAddr};

use replication::group::NodeId;
use replication::link::LinkError;

use super::peer::Route;
use crate::core::io::OsError;
use crate::limits::LINK_REFUSAL_PERIOD_NS;

#[derive(Clone, Debug, Default)]
pub struct LinkStats {
    /// Links in use now.
    pub standing: usize,
    /// Ever made, broken, and replaced by a newer connection of the same link.
    pub made: u64,
    pub broken: u64,
    pub replaced: u64,
    /// Connects that failed.
    pub unreachable: u64,
    /// Connections closed for what they said, or for being too many; and for saying nothing.
    pub refused: u64,
    pub silent: u64,
    /// Connections given to the core that they were for.
    pub handed_over: u64,
    pub frames_sent: u64,
    pub frames_received: u64,
    /// Messages that found no link, a full one, or a core of this node that takes no more.
    pub dropped_unlinked: u64,
    pub dropped_full: u64,
    pub dropped_pressed: u64,
    /// Whom was last refused, why and when.
    last_refusal: Option<(IpAddr, LinkError, u64)>,
}

impl LinkStats {
    pub fn add(&mut self, other: &LinkStats) {
        self.standing += other.standing;
        self.made += other.made;
        self.broken += other.broken;
        self.replaced += other.replaced;
        self.unreachable += other.unreachable;
        self.refused += other.refused;
        self.silent += other.silent;
        self.handed_over += other.handed_over;
        self.frames_sent += other.frames_sent;
        self.frames_received += other.frames_received;
        self.dropped_unlinked += other.dropped_unlinked;
        self.dropped_full += other.dropped_full;
        self.dropped_pressed += other.dropped_pressed;
    }

    /// The last refusal.
    pub fn last_error(&self) -> Option<&LinkError> {
        self.last_refusal.as_ref().map(|(_, error, _)| error)
    }

    /// A link stands. One line a node is enough: that of its first link.
    pub fn on_linked(&mut self, node: NodeId, address: SocketAddr, link: u16) {
        self.standing += 1;
        self.made += 1;
        if link == 0 {
            tracing::info!(node = node.0, %address, "linked");
        }
    }

    pub fn on_broken(&mut self, node: NodeId, address: SocketAddr, link: u16) {
        self.standing -= 1;
        self.broken += 1;
        if link == 0 {
            tracing::warn!(node = node.0, %address, "the link broke");
        }
    }

    pub fn on_unreachable(
        &mut self,
        node: NodeId,
        address: SocketAddr,
        route: &mut Route,
        error: OsError,
    ) {
        self.unreachable += 1;
        if route.link == 0 && !std::mem::replace(&mut route.told, true) {
            let error = std::io::Error::from_raw_os_error(error.0);
            tracing::warn!(node = node.0, %address, %error, "cannot be reached; trying again");
        }
    }

    /// One line a stranger, not one each time that it comes back.
    pub fn on_refused(&mut self, address: SocketAddr, error: LinkError, now_ns: u64) {
        self.refused += 1;
        let said = self.last_refusal.as_ref().is_some_and(|(ip, last, at_ns)| {
            *ip == address.ip() && *last == error && now_ns < at_ns + LINK_REFUSAL_PERIOD_NS
        });
        if !said {
            if error.needs_operator() {
                tracing::error!(%address, "a link was refused: {error}");
            } else {
                tracing::warn!(%address, %error, "a link was refused");
            }
            self.last_refusal = Some((address.ip(), error, now_ns));
        }
    }
}
