//! A planned hand-over of the lead, for FAILOVER and for the stop of a node that leads: clients'
//! commands wait, what was executed is committed and its replies leave, another node is told to
//! stand for election, and clients hear from then on that this node follows. No write is lost, and
//! of none that was executed the client does not know.
//!
//! ```text
//! Approaching ─ a follower lacks little → Draining ─ all is out, it lacks nothing → Transferring
//! Transferring ─ another node leads → done; for a stop: Lingering → the node stops
//!              └ not in time → TakingBack: this node gets itself elected, and goes on
//! ```
//!
//! All groups of the node go to one node, at once: a core hands over its own when every core that
//! has groups has nothing under way any more. Until the word to stand for election is given the
//! lease holds, and giving up costs nothing; from then on there is none in this term
//! (`Group::hand_over`).

use replication::group::{NodeId, Role};

use super::standing::Standing;
use crate::core::Core;
use crate::core::io::ConnId;
use crate::core::message::Message;
use crate::limits::{
    HANDOVER_CLOSE_ENTRIES, HANDOVER_DRAIN_NS_MAX, HANDOVER_LINGER_NS_MAX, HANDOVER_QUIET_NS,
    HANDOVER_SYNC_NS_MAX, HANDOVER_TRANSFER_NS_MAX,
};

/// What a client that waits for a key is told, as by Redis.
const UNBLOCKED: &str =
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Idle,
    /// Clients are served; a follower is to have nearly everything.
    Approaching { until_ns: u64 },
    /// Clients' commands wait.
    Draining { until_ns: u64 },
    /// A node was told to stand for election.
    Transferring { to: NodeId, until_ns: u64 },
    /// It did not come about: this node stands for election.
    TakingBack { until_ns: u64 },
    /// Another node leads; clients that ask here once more are told so before the node stops.
    Lingering { until_ns: u64, quiet_ns: u64, bytes_in: u64 },
}

/// A hand-over on one core.
#[derive(Default)]
pub struct Handover {
    stage: Stage,
    /// The node that is to lead; any that is close if it is left open.
    target: Option<NodeId>,
    /// The node stops once it is over, however it went.
    stops: bool,
    /// Since when clients wait.
    held_since_ns: u64,
    /// Cores that have said that they have nothing under way, this one included.
    drained: Vec<u16>,
    /// How the last one went, and how many went well.
    last: Option<&'static str>,
    pub(crate) done_count: u64,
    /// The stage has changed at the end of a turn: what follows from it wants one.
    pub(crate) wants_turn: bool,
}

/// What FAILOVER asks of every core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailoverOrder {
    /// To this node, or any; how long it may take to get what it lacks.
    Begin {
        to: Option<NodeId>,
        sync_ns_max: Option<u64>,
    },
    Abort,
}

impl Handover {
    /// Commands wait: not for want of a lease, but so that nothing new is under way.
    #[inline]
    pub fn holds_commands(&self) -> bool {
        matches!(self.stage, Stage::Draining { .. })
    }

    /// Who leads is being settled: not to know it is no reason to refuse a client.
    pub fn awaits_leader(&self) -> bool {
        matches!(self.stage, Stage::Transferring { .. } | Stage::TakingBack { .. })
    }

    /// `master_failover_state` of INFO.
    pub fn state(&self) -> &'static str {
        match self.stage {
            Stage::Idle | Stage::Lingering { .. } => "no-failover",
            Stage::Approaching { .. } | Stage::Draining { .. } => "waiting-for-sync",
            Stage::Transferring { .. } | Stage::TakingBack { .. } => "failover-in-progress",
        }
    }

    pub fn last(&self) -> &'static str {
        self.last.unwrap_or("none")
    }

    /// The node stops once it is over.
    pub fn stops(&self) -> bool {
        self.stops
    }

    pub fn is_idle(&self) -> bool {
        self.stage == Stage::Idle
    }

    /// FAILOVER ABORT can still put an end to it.
    pub fn is_under_way(&self) -> bool {
        self.state() != "no-failover"
    }

    fn begin(&mut self, target: Option<NodeId>, until_ns: u64) {
        self.stage = Stage::Approaching { until_ns };
        self.target = target;
        self.drained.clear();
        self.wants_turn = true;
    }

    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.wants_turn = true;
    }
}

impl Core {
    /// SIGTERM or SHUTDOWN: a node that leads hands over first, if another one is there, unless it
    /// must stop at once or was told so before.
    pub(crate) fn begin_stop(&mut self, at_once: bool) {
        let again = std::mem::replace(&mut self.handover.stops, true);
        if at_once || again || !self.leads_groups() || self.candidates().next().is_none() {
            self.draining = true;
        } else if self.handover.is_idle() {
            self.handover.begin(None, self.now.mono_ns + HANDOVER_SYNC_NS_MAX);
        }
    }

    /// What FAILOVER asks for.
    pub fn obey_failover(&mut self, order: FailoverOrder) {
        match order {
            FailoverOrder::Begin { to, sync_ns_max } if self.handover.is_idle() => {
                let most_ns = sync_ns_max.unwrap_or(HANDOVER_SYNC_NS_MAX);
                self.handover.begin(to, self.now.mono_ns.saturating_add(most_ns));
            }
            FailoverOrder::Begin { .. } => {}
            FailoverOrder::Abort if matches!(self.handover.stage, Stage::Approaching { .. }) => {
                self.end_handover("aborted");
            }
            FailoverOrder::Abort => {}
        }
    }

    /// Whether this core serves clients as leader of its groups.
    fn leads_groups(&self) -> bool {
        let serves = |standing| matches!(standing, Standing::Serving { .. });
        let mut groups = self.replicas.iter().map(|(_, replica)| replica).peekable();
        groups.peek().is_some()
            && groups.all(|r| serves(r.standing) && r.group.role() == Role::Leader)
    }

    /// Other nodes that are there.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = NodeId> {
        let others = self.config.cluster.iter().flat_map(|cluster| cluster.others());
        others.map(|(node, _)| node).filter(|node| self.links.is_linked(*node))
    }

    /// Which node can take over soonest, and how many entries it lacks of the group of which it
    /// lacks most.
    fn closest_follower(&self) -> Option<(u64, NodeId)> {
        let lag = |node: NodeId| {
            let of_groups = self.replicas.iter().map(|(_, replica)| replica.group.lag_of(node));
            let most = of_groups.collect::<Option<Vec<u64>>>()?.into_iter().max();
            Some((most.unwrap_or(0), node))
        };
        let target = self.handover.target;
        let wanted = self.candidates().filter(|node| target.is_none_or(|target| target == *node));
        wanted.filter_map(lag).min()
    }

    /// Ends the turn of a hand-over, once the turn's replies are out.
    pub(crate) fn drive_handover(&mut self) {
        let now_ns = self.now.mono_ns;
        self.handover.wants_turn = false;
        match self.handover.stage {
            Stage::Idle => {}
            Stage::Approaching { .. } | Stage::Draining { .. } if !self.leads_groups() => {
                self.end_handover("the lead was lost before");
            }
            Stage::Approaching { until_ns } => match self.closest_follower() {
                Some((lag, _)) if lag <= HANDOVER_CLOSE_ENTRIES => {
                    let until_ns = now_ns + HANDOVER_DRAIN_NS_MAX;
                    self.handover.held_since_ns = now_ns;
                    self.handover.enter(Stage::Draining { until_ns });
                }
                _ if now_ns >= until_ns => self.end_handover("no node came close enough in time"),
                _ => {}
            },
            Stage::Draining { until_ns } => {
                if !self.transfer_if_drained() && now_ns >= until_ns {
                    self.end_handover("what was under way did not end in time");
                }
            }
            Stage::Transferring { to, until_ns } => {
                if self.follows_other() {
                    self.on_handed_over();
                } else if now_ns >= until_ns {
                    tracing::warn!(core = self.id, node = to.0, "it has not taken the lead");
                    self.take_back();
                }
            }
            Stage::TakingBack { until_ns } => {
                if self.follows_other() {
                    self.on_handed_over();
                } else if self.holds_leases() || now_ns >= until_ns {
                    self.end_handover("the other node did not take the lead in time");
                }
            }
            Stage::Lingering { until_ns, quiet_ns, bytes_in } => {
                let said = self.stats.bytes_in;
                if said != bytes_in {
                    let quiet_ns = now_ns + HANDOVER_QUIET_NS;
                    self.handover.stage = Stage::Lingering { until_ns, quiet_ns, bytes_in: said };
                } else if now_ns >= quiet_ns.min(until_ns) {
                    self.draining = true;
                    self.handover.stage = Stage::Idle;
                }
            }
        }
    }

    /// Everything that was executed here is committed, and its replies are out.
    fn is_drained(&self) -> bool {
        let settled = self.replicas.iter().all(|(shard, replica)| {
            let last = replica.group.last();
            replica.group.committed() == last
                && self.release.point(replication::ids::ShardId(shard)) == last
        });
        // What is with the kernel is out, be it read or not.
        let waits = |replies: &crate::connection::replies::Replies| {
            replies.awaits_answer_soon() || replies.has_ready() && !replies.is_sending()
        };
        settled
            && self.touched.is_empty()
            && self.gate.is_idle()
            && self.gatherings.is_idle()
            && !self.connections.iter().any(|connection| waits(&connection.replies))
    }

    /// Gives the word to the node that is to lead, if it lacks nothing and nothing is under way on
    /// any core.
    fn transfer_if_drained(&mut self) -> bool {
        // Replies of this turn may rest on a lease that is over.
        if !self.dirty.is_empty() || !self.is_drained() {
            return false;
        }
        if !self.handover.drained.contains(&self.id) {
            self.note_drained(self.id);
            for core in self.cores_with_groups().filter(|core| *core != self.id).collect::<Vec<_>>()
            {
                self.send_message(core, Message::Drained { from: self.id });
            }
        }
        let all = self.cores_with_groups().all(|core| self.handover.drained.contains(&core));
        let Some((0, to)) = self.closest_follower().filter(|_| all) else { return false };
        let shards: Vec<u16> = self.replicas.iter().map(|(shard, _)| shard).collect();
        for shard in shards {
            if let Some(replica) = self.replicas.get_mut(shard) {
                replica.group.hand_over(to);
            }
        }
        let until_ns = self.now.mono_ns + HANDOVER_TRANSFER_NS_MAX;
        self.handover.enter(Stage::Transferring { to, until_ns });
        let waited_us = (self.now.mono_ns - self.handover.held_since_ns) / 1000;
        tracing::info!(core = self.id, node = to.0, waited_us, "the lead is handed over");
        true
    }

    /// A core has nothing under way, and begins nothing.
    pub(crate) fn note_drained(&mut self, core: u16) {
        if !self.handover.drained.contains(&core) {
            self.handover.drained.push(core);
        }
    }

    fn cores_with_groups(&self) -> impl Iterator<Item = u16> {
        (0..self.config.cores as u16).filter(|core| self.homes.contains(core))
    }

    /// Whether another node is known to lead each group.
    fn follows_other(&self) -> bool {
        self.replicas.iter().all(|(_, replica)| {
            replica.group.role() == Role::Follower && replica.group.leader().is_some()
        })
    }

    fn holds_leases(&self) -> bool {
        let now_ns = self.now.mono_ns;
        self.leads_groups() && self.replicas.iter().all(|(_, r)| r.group.holds_lease(now_ns))
    }

    fn take_back(&mut self) {
        if self.handover.stops {
            return self.end_handover("the other node did not take the lead in time");
        }
        let until_ns = self.now.mono_ns + HANDOVER_TRANSFER_NS_MAX;
        let shards: Vec<u16> = self.replicas.iter().map(|(shard, _)| shard).collect();
        for shard in shards {
            if let Some(replica) = self.replicas.get_mut(shard) {
                replica.group.take_back();
            }
        }
        self.handover.enter(Stage::TakingBack { until_ns });
    }

    fn on_handed_over(&mut self) {
        let waited_us = (self.now.mono_ns - self.handover.held_since_ns) / 1000;
        tracing::info!(core = self.id, waited_us, "another node leads");
        self.handover.last = Some("done");
        self.handover.done_count += 1;
        self.handover.target = None;
        let now_ns = self.now.mono_ns;
        let lingering = Stage::Lingering {
            until_ns: now_ns + HANDOVER_LINGER_NS_MAX,
            quiet_ns: now_ns + HANDOVER_QUIET_NS,
            bytes_in: self.stats.bytes_in,
        };
        self.handover.enter(if self.handover.stops { lingering } else { Stage::Idle });
        // Those whose commands have waited.
        self.was_pressed = true;
    }

    /// It has failed, or was called off.
    fn end_handover(&mut self, why: &'static str) {
        tracing::warn!(
            core = self.id,
            stops = self.handover.stops,
            why,
            "the lead is not handed over"
        );
        self.handover.last = Some(why);
        self.handover.target = None;
        self.handover.enter(Stage::Idle);
        self.draining |= self.handover.stops;
        self.was_pressed = true;
    }

    /// This node follows since it has handed over, and stops: nothing is in doubt. Clients stay for
    /// the moment, but those that wait for a key, who must go where it is written, and those that watch keys.
    pub(super) fn end_waits_of_leader(&mut self) {
        let (mut blocked, mut watching): (Vec<ConnId>, Vec<ConnId>) = Default::default();
        for connection in self.connections.iter().filter(|connection| !connection.tunnelled) {
            match &connection.waiting {
                crate::connection::Waiting::Key(_) => blocked.push(connection.id),
                _ if !connection.watched.is_empty() => watching.push(connection.id),
                _ => {}
            }
        }
        for conn in blocked {
            self.end_waiting(conn, Some(UNBLOCKED));
            if let Some(connection) = self.connections.get_mut(conn) {
                connection.closing = true;
            }
            self.mark_dirty(conn);
        }
        watching.into_iter().for_each(|conn| self.close_connection(conn));
    }
}
