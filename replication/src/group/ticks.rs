//! What a group does as time passes: elections, heartbeats, and the renewal of a lease, which is
//! asked for by messages that are heartbeats too.
//!
//! Most ticks only count. With many groups it costs more to look at each than all else that they
//! do, so a host may keep count of such ticks itself ([`Group::counting_ticks`]) and say later, but
//! before anything else happens to the group, how many there were ([`Group::pass`]).

use super::{Group, LEASE_ROUND, Role, context};
use crate::buggify::{Point, is_taken};

/// Ticks that an answer to a question for a lease is awaited before it is asked again.
const LEASE_RETRY_TICKS: u64 = 2;

impl Group {
    /// A tick of the host's clock has passed. Time in which the host did not run is none: ticks
    /// that it missed are not made up for, or a message would count as older than it is.
    pub fn tick(&mut self, now_ns: u64) {
        if self.installing.is_some() {
            return;
        }
        self.promise.tick();
        let checks = self.raft.raft.election_elapsed + 1 >= self.config.election_ticks;
        match self.role() == Role::Leader && !checks {
            // The crate would send heartbeats of its own.
            true => self.raft.raft.election_elapsed += 1,
            false => _ = self.raft.tick(),
        }
        if self.raft.raft.election_elapsed == 0 {
            self.draw_election_timeout();
        }
        let promised = self.promise.holds();
        if !promised && self.role() == Role::Follower && is_taken(Point::StandsUncalled) {
            let _ = self.campaign();
        }
        let handed_over = self.raft.raft.lead_transferee.is_some();
        if self.role() == Role::Leader && self.lease.is_given_up() && !handed_over {
            // Nobody took the lead, and without a lease it is of no use.
            self.take_back();
        }
        self.round_ticks += 1;
        let is_due = self.round_ticks >= self.config.heartbeat_ticks;
        let is_fresh = self.lease.is_fresh(now_ns, self.lease_timeout_ns());
        let asked = (is_due || !is_fresh) && self.renew_lease(now_ns);
        if is_due && !asked {
            self.round_ticks = 0;
            self.raft.ping();
        }
        self.settle();
    }

    /// Whether nobody leads, or nothing was heard of who does for so long that others would vote
    /// for this node, and it may for itself.
    pub fn lacks_leader(&self) -> bool {
        self.role() == Role::Follower
            && !self.promise.holds()
            && (self.leader().is_none()
                || self.raft.raft.election_elapsed >= self.config.election_ticks)
    }

    /// How many ticks from now on do nothing but count.
    pub fn counting_ticks(&self, now_ns: u64) -> usize {
        let (config, raft) = (&self.config, &self.raft.raft);
        if self.installing.is_some() {
            return 0;
        }
        match self.role() {
            Role::Candidate => 0,
            Role::Follower if raft.leader_id == 0 => 0,
            // Before it ends nobody stands for election.
            Role::Follower => {
                let until_election = before(config.election_ticks, raft.election_elapsed);
                self.promise.counting_ticks().min(until_election)
            }
            Role::Leader if self.lease.is_given_up() || raft.lead_transferee.is_some() => 0,
            Role::Leader if self.lease.is_asking() => 0,
            Role::Leader => {
                let fresh_ns = self.lease.fresh_ns(now_ns, self.lease_timeout_ns());
                let until_round = before(config.heartbeat_ticks, self.round_ticks);
                let until_check = before(config.election_ticks, raft.election_elapsed);
                until_round.min(until_check).min((fresh_ns / config.tick_ns) as usize)
            }
        }
    }

    /// So many ticks have passed that did nothing but count.
    pub fn pass(&mut self, ticks: usize) {
        self.promise.pass(ticks);
        self.raft.raft.election_elapsed += ticks;
        self.round_ticks += ticks;
    }

    /// Nobody votes within so long: a tick that was under way counts as none.
    pub(super) fn lease_timeout_ns(&self) -> u64 {
        (self.config.election_ticks as u64 - 1) * self.config.tick_ns
    }

    /// Whether a round of asking for it has begun.
    pub(super) fn renew_lease(&mut self, now_ns: u64) -> bool {
        // Before an entry of its own term is committed a leader does not know what is.
        if self.role() != Role::Leader
            || !self.raft.raft.commit_to_current_term()
            || is_taken(Point::LeaseAskedLate)
        {
            return false;
        }
        let retry_ns = self.config.tick_ns * LEASE_RETRY_TICKS;
        let Some(round) = self.lease.begin_round(now_ns, retry_ns) else { return false };
        self.round_ticks = 0;
        self.raft.read_index(context(LEASE_ROUND, round));
        true
    }
}

/// Ticks before the one with which a count comes to `end`.
fn before(end: usize, count: usize) -> usize {
    end.saturating_sub(count + 1)
}
