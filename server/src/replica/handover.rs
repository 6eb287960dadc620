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
//! The first core decides, the others do as it says ([`Step`]): all groups of the node go to one
//! node, at once, when every core has nothing under way any more. Until then the leases hold, and
//! giving up costs nothing; once the word to stand for election is given there is none in this term
//! (`Group::hand_over`). A core that has said that it is drained begins nothing until the first one
//! lets it.

use std::collections::VecDeque;

use replication::buggify::{Point, is_taken};
use replication::fault::{Fault, is_planted};
use replication::group::{NodeId, Role};
use replication::ids::ShardId;

use super::Replica;
use super::coordinator::COORDINATOR;
use super::period::Word;
use super::stopping::Stopping;
use crate::connection::Waiting;
use crate::core::Core;
use crate::core::io::ConnId;
use crate::core::message::Message;
use crate::limits::{
    HANDOVER_CLOSE_ENTRIES, HANDOVER_DRAIN_NS_MAX, HANDOVER_LINGER_NS_MAX, HANDOVER_QUIET_NS,
    HANDOVER_SYNC_NS_MAX,
};

/// What a client that waits for a key or for nodes is told, as by Redis.
const UNBLOCKED: &str =
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Idle,
    /// Clients are served; a follower is to have nearly everything.
    Approaching { until_ns: u64 },
    /// Clients' commands wait; the first core looks at the time.
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
    /// Counts the times that commands were made to wait.
    hold: u32,
    /// What this core has said of itself in this one.
    said: Option<Vec<NodeId>>,
    /// What the first core has heard of all.
    drained: Vec<Drained>,
    /// How the last one went, and how many went well.
    last: Option<&'static str>,
    pub(crate) done_count: u64,
    /// The first core has nothing to hand over.
    lets_stop: bool,
    /// The stage has changed at the end of a turn: what follows from it wants one.
    pub(crate) wants_turn: bool,
    pub(super) stopping: Stopping,
}

/// What the first core says to the others.
#[derive(Clone, Debug)]
pub enum Step {
    /// Clients' commands wait from now on.
    Hold { hold: u32 },
    /// The lead is this node's still: they go on.
    Resume { why: &'static str },
    /// All cores are drained.
    Transfer { to: NodeId },
    /// There is nothing to hand over: whoever was told to stop does.
    Stop,
}

/// A core has nothing under way that would keep this node from handing over.
#[derive(Clone, Debug)]
pub struct Drained {
    from: u16,
    hold: u32,
    /// Nodes that lack nothing of its shards.
    ready: Vec<NodeId>,
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

    /// Nothing that was executed on this core is in doubt.
    pub fn has_drained(&self) -> bool {
        self.awaits_leader() || self.holds_commands() && self.said.is_some()
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
        self.target = target;
        self.enter(Stage::Approaching { until_ns });
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
        if at_once || again || !self.replicas.is_grouped() {
            self.drain();
        } else if !self.is_coordinator() {
            // The first core was told too, and says what comes of it.
            self.stop_if_let();
        } else if !self.leads_groups() || self.candidates().next().is_none() {
            self.step_all(&Step::Stop);
        } else if self.handover.is_idle() {
            self.handover.begin(None, self.now.mono_ns + HANDOVER_SYNC_NS_MAX);
        }
    }

    /// This node is to lead nothing any more.
    pub(super) fn hand_over_all(&mut self) {
        self.handover.begin(None, self.now.mono_ns + HANDOVER_SYNC_NS_MAX);
    }

    /// What FAILOVER asks for.
    pub fn obey_failover(&mut self, order: FailoverOrder) {
        if !self.is_coordinator() {
            return;
        }
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

    /// What the first core says of a hand-over.
    pub(super) fn on_handover_step(&mut self, step: Step) {
        match step {
            Step::Hold { hold } => {
                self.handover.hold = hold;
                self.handover.said = None;
                self.handover.held_since_ns = self.now.mono_ns;
                let until_ns = self.now.mono_ns + HANDOVER_DRAIN_NS_MAX;
                self.handover.enter(Stage::Draining { until_ns });
            }
            Step::Resume { why } => self.end_handover(why),
            Step::Transfer { to } => self.transfer(to),
            Step::Stop => {
                self.handover.lets_stop = true;
                self.stop_if_let();
            }
        }
    }

    fn stop_if_let(&mut self) {
        let lets = self.handover.lets_stop && self.handover.is_idle();
        if self.handover.stops && lets {
            self.drain();
        }
    }

    fn step_all(&mut self, step: &Step) {
        self.tell_others(&Word::HandOver(step.clone()));
        self.on_handover_step(step.clone());
    }

    /// Whether this node serves clients as leader of all groups.
    fn leads_groups(&self) -> bool {
        self.replicas.is_open
    }

    /// Other nodes that are there and may lead.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = NodeId> {
        let others = self.other_nodes().map(|(node, _)| node);
        others.filter(|node| self.links.is_linked(*node) && self.may_lead(*node))
    }

    fn is_wanted(&self, node: NodeId) -> bool {
        self.handover.target.is_none_or(|target| target == node)
    }

    /// How many entries a node lacks of that of this core's groups of which it lacks most.
    fn lag_of(&self, node: NodeId) -> Option<u64> {
        let of_groups = self.replicas.iter().map(|(_, replica)| replica.group.lag_of(node));
        Some(of_groups.collect::<Option<Vec<u64>>>()?.into_iter().max().unwrap_or(0))
    }

    /// How many entries the node lacks that can take over soonest.
    fn closest_follower(&self) -> Option<u64> {
        let wanted = self.candidates().filter(|node| self.is_wanted(*node));
        wanted.filter_map(|node| self.lag_of(node)).min()
    }

    /// Ends the turn of a hand-over, once the turn's replies are out.
    pub(crate) fn drive_handover(&mut self) {
        let now_ns = self.now.mono_ns;
        self.handover.wants_turn = false;
        match self.handover.stage {
            Stage::Idle => {}
            Stage::Approaching { until_ns } => match self.closest_follower() {
                Some(lag) if lag <= HANDOVER_CLOSE_ENTRIES => {
                    self.handover.drained.clear();
                    self.step_all(&Step::Hold { hold: self.handover.hold + 1 });
                }
                _ if now_ns >= until_ns => self.end_handover("no node came close enough in time"),
                _ => {}
            },
            Stage::Draining { until_ns } => {
                self.say_if_drained();
                let until_ns = match is_taken(Point::HandoverGivenUp) {
                    true => now_ns,
                    false => until_ns,
                };
                if self.is_coordinator() && !self.transfer_if_drained() && now_ns >= until_ns {
                    let why = "what was under way did not end in time";
                    self.step_all(&Step::Resume { why });
                }
            }
            Stage::Transferring { to, until_ns } => {
                if self.follows_other() {
                    self.on_handed_over();
                } else if now_ns >= until_ns || is_taken(Point::HandoverTakenBack) {
                    tracing::warn!(core = self.id, node = to.0, "it has not taken the lead");
                    self.take_back();
                }
            }
            Stage::TakingBack { until_ns } => {
                if self.follows_other() {
                    self.on_handed_over();
                } else if self.leads_groups() && self.holds_all_leases() || now_ns >= until_ns {
                    self.end_handover("the other node did not take the lead in time");
                }
            }
            Stage::Lingering { until_ns, quiet_ns, bytes_in } => {
                let said = self.stats.bytes_in;
                if said != bytes_in {
                    let quiet_ns = now_ns + HANDOVER_QUIET_NS;
                    self.handover.stage = Stage::Lingering { until_ns, quiet_ns, bytes_in: said };
                } else if now_ns >= quiet_ns.min(until_ns) {
                    self.handover.stage = Stage::Idle;
                    self.drain();
                }
            }
        }
    }

    /// All that is in the shard's log is committed and decided.
    pub(super) fn is_settled(&self, shard: u16, replica: &Replica) -> bool {
        let last = replica.group.last();
        replica.group.committed() == last && self.release.point(ShardId(shard)) == last
    }

    /// Everything that was executed here is committed, and its replies are out.
    fn is_drained(&self) -> bool {
        // What is with the kernel is out, be it read or not.
        let waits = |replies: &crate::connection::replies::Replies| {
            replies.awaits_answer_soon() || replies.has_ready() && !replies.is_sending()
        };
        self.replicas.iter().all(|(shard, replica)| self.is_settled(shard, replica))
            && self.touched.is_empty()
            && self.gate.is_idle()
            && self.gatherings.is_idle()
            && self.forwards.has_run_all()
            && self.parked.iter().all(VecDeque::is_empty)
            && !self.connections.iter().any(|connection| waits(&connection.replies))
    }

    /// Tells the first core once this one has nothing under way, and which nodes lack nothing.
    fn say_if_drained(&mut self) {
        // Replies of this turn may rest on a lease that is over.
        let drained = self.dirty.is_empty() && self.is_drained();
        if !drained && !is_planted(Fault::HandoverUndrained) {
            return;
        }
        let ready: Vec<NodeId> =
            self.candidates().filter(|node| self.lag_of(*node) == Some(0)).collect();
        if self.handover.said.as_ref() == Some(&ready) {
            return;
        }
        self.handover.said = Some(ready.clone());
        let drained = Drained { from: self.id, hold: self.handover.hold, ready };
        match self.is_coordinator() {
            true => self.note_drained(drained),
            false => self.send_message(COORDINATOR, Message::Drained(Box::new(drained))),
        }
    }

    /// A core has nothing under way, and begins nothing.
    pub(crate) fn note_drained(&mut self, drained: Drained) {
        if drained.hold == self.handover.hold {
            self.handover.drained.retain(|other| other.from != drained.from);
            self.handover.drained.push(drained);
        }
    }

    /// Gives the word to the node that is to lead, if it lacks nothing and nothing is under way on
    /// any core.
    fn transfer_if_drained(&mut self) -> bool {
        let drained = &self.handover.drained;
        let is_ready = |node: &NodeId| drained.iter().all(|core| core.ready.contains(node));
        let to = match drained.len() == self.config.cores {
            true => drained[0].ready.iter().find(|node| self.is_wanted(**node) && is_ready(node)),
            false => None,
        };
        let Some(&to) = to else { return false };
        self.step_all(&Step::Transfer { to });
        true
    }

    fn transfer(&mut self, to: NodeId) {
        self.replicas.handed_over = !is_planted(Fault::LeasesToldKept);
        let shards: Vec<u16> = self.replicas.iter().map(|(shard, _)| shard).collect();
        for shard in shards {
            if let Some(replica) = self.replicas.get_mut(shard)
                && replica.group.role() == Role::Leader
            {
                replica.group.hand_over(to);
            }
        }
        let until_ns = self.now.mono_ns + self.config.election_timeout_ns();
        self.handover.enter(Stage::Transferring { to, until_ns });
        // The turn may go on with what clients want.
        self.refresh_serving();
        let waited_us = (self.now.mono_ns - self.handover.held_since_ns) / 1000;
        tracing::info!(core = self.id, node = to.0, waited_us, "the lead is handed over");
    }

    /// This node is not the primary any more, in the middle of it.
    pub(super) fn leave_handover(&mut self) {
        match self.handover.stage {
            // What the first core says of those that were drained comes yet.
            Stage::Draining { .. } if self.handover.said.is_some() && !self.is_coordinator() => {}
            Stage::Approaching { .. } | Stage::Draining { .. } => {
                let why = "the lead was lost before";
                match self.is_coordinator() {
                    true => self.step_all(&Step::Resume { why }),
                    false => self.end_handover(why),
                }
            }
            _ => {}
        }
    }

    /// Whether another node is known to lead each group.
    fn follows_other(&self) -> bool {
        let lead = match self.is_coordinator() {
            true => self.first_lead(),
            false => self.replicas.lead,
        };
        lead.leader.is_some_and(|leader| leader.0 != self.node.node)
            && self.replicas.iter().all(|(_, replica)| {
                replica.group.role() == Role::Follower && replica.group.leader().is_some()
            })
    }

    fn take_back(&mut self) {
        if self.handover.stops {
            return self.end_handover("the other node did not take the lead in time");
        }
        let until_ns = self.now.mono_ns + self.config.election_timeout_ns();
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
        if self.handover.stops && self.is_coordinator() {
            self.tell_others(&Word::HandOver(Step::Stop));
        }
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
        self.was_pressed = true;
        match self.handover.stops && self.is_coordinator() {
            true => self.step_all(&Step::Stop),
            false => self.stop_if_let(),
        }
    }

    /// This node follows since it has handed over, and stops: nothing is in doubt. Clients stay for
    /// the moment, but those that wait for a key, who must go where it is written, or for nodes,
    /// and those that watch keys.
    pub(super) fn end_waits_of_leader(&mut self) {
        let (mut blocked, mut watching): (Vec<ConnId>, Vec<ConnId>) = Default::default();
        for connection in self.connections.iter().filter(|connection| !connection.tunnelled) {
            match &connection.waiting {
                Waiting::Key(_) | Waiting::Nodes(_) => blocked.push(connection.id),
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
