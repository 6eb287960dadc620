//! What a core does between commands, a bounded slice a turn: timeouts, expiry, freeing what was
//! deleted, the end of a drain.

use engine::limits::DATABASE_COUNT;
use replication::buggify::{self, Point};
use replication::fault::{Fault, is_planted};

use super::route::ShardSet;
use crate::connection::Waiting;
use crate::core::Core;
use crate::limits::{
    EXPIRED_PER_TURN_MAX, FREED_PER_TURN_MAX, HOUSEKEEPING_PERIOD_NS, LOG_QUEUED_BYTES_MAX,
    SEGMENT_RETRY_NS,
};

impl Core {
    pub(crate) fn do_housekeeping(&mut self) {
        self.end_pause_if_over();
        self.start_gathering();
        self.end_overdue_waits();
        self.keep_log_short();
        let mut budget = buggify::limit(Point::FreesLittle, FREED_PER_TURN_MAX, 1);
        for shard in self.shards.held_mut().chain(self.graves.iter_mut().map(Box::as_mut)) {
            budget -= shard.free_slice(budget).min(budget);
        }
        self.graves.retain(|shard| shard.unfreed() > 0);
        let mut more = budget == 0;
        let decides = self.decides();
        more |= decides && self.evict_slice();
        let due = self.now.mono_ns >= self.next_housekeeping_ns;
        let expires = decides || is_planted(Fault::FollowerExpires);
        if expires && (due || self.budget.more_expired) {
            self.expire();
            more |= self.budget.more_expired;
        }
        if due {
            self.next_housekeeping_ns = self.now.mono_ns + HOUSEKEEPING_PERIOD_NS;
            self.note_all_memory();
            self.close_idle_clients();
            self.close_unread_clients();
            self.close_unread_at_stop();
            self.retry_segment();
        }
        self.more_housekeeping = more;
    }

    fn end_overdue_waits(&mut self) {
        while let Some(&(deadline_ns, ticket)) = self.deadlines.first() {
            if deadline_ns > self.now.mono_ns {
                break;
            }
            self.deadlines.pop_first();
            let Some(&conn) = self.blocked.get(&ticket) else { continue };
            let retrying = self.connections.get_mut(conn).is_some_and(|connection| {
                matches!(&connection.waiting, Waiting::Key(blocked) if blocked.retrying)
            });
            if retrying {
                // Its command is on the way to the shards; should it find nothing, time is up.
                self.deadlines.insert((self.now.mono_ns + HOUSEKEEPING_PERIOD_NS, ticket));
                break;
            }
            self.end_waiting(conn, None);
        }
    }

    /// A slice of expiry; the next turn goes on if there is more.
    fn expire(&mut self) {
        let began_ns = self.measures.records_events().then(|| self.host.monotonic_ns());
        self.budget.more_expired = self.expire_slice();
        if let Some(began_ns) = began_ns {
            let ns = self.host.monotonic_ns().saturating_sub(began_ns);
            self.measures.note_event("expire-cycle", ns, self.now.unix_us / 1_000_000);
        }
    }

    /// Deletes keys whose time is over, in our shards. Returns whether more are due. While the log
    /// has more to write than it can, it waits with the clients.
    fn expire_slice(&mut self) -> bool {
        let pressed =
            self.log.as_ref().is_some_and(|log| log.queued_bytes() > LOG_QUEUED_BYTES_MAX);
        if !self.settings.active_expire || self.pause.is_on() || pressed {
            return false;
        }
        let mut budget = buggify::limit(Point::ExpiresLittle, EXPIRED_PER_TURN_MAX, 1);
        for shard in 0..self.shards.count() as u16 {
            let Some(held) = self.shards.get_mut(usize::from(shard)) else { continue };
            for db in 0..DATABASE_COUNT as u16 {
                budget -= held.expire_slice(db, self.now.unix_ms, budget).min(budget);
            }
            let changed = !held.effects.is_empty();
            if changed && self.is_home(usize::from(shard)) {
                self.touch(shard);
                self.close_large_entries(&ShardSet::from_slice(&[shard]));
            }
        }
        budget == 0
    }

    /// `timeout`: closes clients that have said nothing for so long.
    fn close_idle_clients(&mut self) {
        if self.config.timeout_s == 0 {
            return;
        }
        let limit_ns = self.config.timeout_s.saturating_mul(1_000_000_000);
        let now_ns = self.now.mono_ns;
        let idle: Vec<_> = self
            .connections
            .iter()
            // Of other nodes' clients that is up to those.
            .filter(|c| {
                let waits = !matches!(c.waiting, Waiting::Nothing) || c.is_subscribed();
                !waits && !c.tunnelled && !c.is_tunnel_busy()
            })
            .filter(|c| now_ns.saturating_sub(c.last_active_ns) > limit_ns)
            .map(|c| c.id)
            .collect();
        for conn in idle {
            self.close_connection(conn);
        }
    }

    /// Asks once a second for the segment that could not be made.
    fn retry_segment(&mut self) {
        let Some(log) = self.log.as_mut().filter(|log| log.lack().is_some()) else { return };
        if self.now.mono_ns >= self.next_segment_retry_ns {
            self.next_segment_retry_ns = self.now.mono_ns + SEGMENT_RETRY_NS;
            log.retry_segment();
            self.release_segments();
        }
    }

    /// When this core wants its next turn although nothing may happen.
    pub(crate) fn next_wake_ns(&self) -> Option<u64> {
        // What came up after its place in this turn: a client that goes at its end lets others on.
        let waits = self.waits_for_group() || self.handover.holds_commands();
        let left = !waits && !self.runnable.is_empty()
            || !self.dirty.is_empty() && !self.withholds_replies()
            || !self.touched.is_empty()
            || !self.forwards.has_run_all()
            || !self.budget.parked_left.is_empty()
            || self.pubsub.has_rest()
            || self.gatherings.can_start(self.now.mono_ns);
        if left || self.more_housekeeping || self.handover.wants_turn {
            return Some(self.now.mono_ns);
        }
        let next_deadline = self.deadlines.first().map(|(at, _)| *at);
        let idle = self.shards.held().all(|shard| !shard.has_volatile())
            && self.config.timeout_s == 0
            && !self.watches_unread()
            && self.log.as_ref().is_none_or(|log| log.lack().is_none())
            && !self.draining;
        let housekeeping = (!idle).then_some(self.next_housekeeping_ns);
        let (pause, checkpoint) = (self.pause.ends_ns(), self.checkpoint_wake_ns());
        let (links, groups) = (self.links.next_wake_ns(), self.replicas.next_wake_ns());
        let (tunnels, catch_up) = (self.tunnels.next_wake_ns(), self.catch_up.next_wake_ns());
        [next_deadline, housekeeping, pause, checkpoint, links, groups, tunnels, catch_up]
            .into_iter()
            .flatten()
            .min()
    }
}
