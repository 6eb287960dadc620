//! The nodes of the cluster come and go (`server/adr/0014`). The members of the first shard's group
//! are the plan; the primary changes them by one node at a time, and brings the other groups after
//! it. Nothing else is kept: what is left to do is seen from what the groups' members are.
//!
//! ```text
//! added: learner of the first group → of all → close in all → votes in all others → in the first
//! to go: marked → leads nothing → out of the first group → out of all
//! ```
//!
//! Invariant: who votes in the first group votes in all. Its leader must be able to lead all.

use std::net::SocketAddr;

use replication::fault::{Fault, is_planted};
use replication::group::roster::{Duty, Known, Roster, decode_address, encode_address, take};
use replication::group::{Members, NodeId};
use replication::ids::ShardId;
use replication::link::hello::DirectoryId;
use replication::version::Version;

use super::Replica;
use super::coordinator::COORDINATOR;
use super::period::{Period, Word};
use super::serving::Serving;
use super::transfer::JOIN;
use crate::config::cluster::{Cluster, NODES_MAX};
use crate::core::Core;
use crate::core::message::Message;
use crate::limits::{DRAIN_RETRY_NS, HANDOVER_CLOSE_ENTRIES};

/// What an operator, or a node that joins, asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembersOrder {
    Add {
        address: SocketAddr,
        directory: DirectoryId,
    },
    Remove(NodeId),
    Drain(NodeId),
    Undrain(NodeId),
    /// To this version of the cluster; to the newest that the primary's program applies if none is
    /// named.
    Raise(Option<Version>),
}

/// What is to become of the members of all groups but the first, whose these are already. It holds
/// in one period of the primary only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    period: Period,
    number: u64,
    members: Members,
    /// A learner of the first group that is to vote in all others before it does there.
    voting: Option<NodeId>,
}

/// How far a core is with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    pub from: u16,
    period: Period,
    /// Of the last plan that all its groups are like.
    number: u64,
    /// Nodes that lack little of any of its groups.
    near: Vec<NodeId>,
}

impl Core {
    /// With each tick that has a turn, on every core: as long as this node is the primary, its
    /// groups' members become what they are to be.
    pub(super) fn drive_members(&mut self, looks: bool) {
        self.drive_peers();
        let acts = self.replicas.serving == Serving::Everything && !self.is_group_silent();
        if !acts || !self.handover.is_idle() {
            return;
        }
        if self.is_as_planned() && !looks {
            return;
        }
        if self.is_coordinator() {
            self.make_plan(None);
        }
        self.follow_plan();
        if self.is_coordinator() && self.is_followed() {
            self.take_next_step();
        }
    }

    /// The first core's word on what is to be, if it is another than before.
    fn make_plan(&mut self, voting: Option<NodeId>) {
        let Some(members) = self.first_members().cloned() else { return };
        let (period, before) = (self.replicas.period, self.membership.plan.as_ref());
        let of_period = before.filter(|plan| plan.period == period);
        let voting = voting.or(of_period.and_then(|plan| plan.voting));
        let voting = voting.filter(|node| members.learners.contains(node));
        if of_period.is_some_and(|plan| plan.members == members && plan.voting == voting) {
            return;
        }
        let number = before.map_or(0, |plan| plan.number) + 1;
        let plan = Plan { period, number, members, voting };
        self.tell_others(&Word::Plan(Box::new(plan.clone())));
        self.membership.plan = Some(plan);
    }

    pub(super) fn on_plan(&mut self, plan: Plan) {
        self.membership.plan = Some(plan);
    }

    /// Brings this core's groups a step nearer to what is planned, and tells how far they are.
    fn follow_plan(&mut self) {
        let Some(plan) = self.membership.plan.take() else { return };
        if plan.period == self.replicas.period {
            let mut along = true;
            for shard in (0..self.shards.count() as u16).filter(|shard| *shard != FIRST.0) {
                let Some(replica) = self.replicas.get(shard) else { continue };
                let members = replica.group.members();
                let goal = plan.goal_of_other(members);
                if !members.is_as(&goal) {
                    along = false;
                    self.with_replica(shard, |core, replica| {
                        core.change_members(ShardId(shard), replica, &goal);
                    });
                }
            }
            let nodes = plan.members.voters.iter().chain(&plan.members.learners);
            let near = nodes.copied().filter(|node| self.is_near_here(*node)).collect();
            let place = usize::from(self.id);
            let before = self.membership.followed[place].as_ref().map_or(0, |own| own.number);
            let number = if along { plan.number } else { before };
            let followed = Followed { from: self.id, period: plan.period, number, near };
            if self.membership.followed[place].as_ref() != Some(&followed) {
                if !self.is_coordinator() {
                    let message = Message::Followed(Box::new(followed.clone()));
                    self.send_message(COORDINATOR, message);
                }
                self.membership.followed[place] = Some(followed);
            }
        }
        self.membership.plan = Some(plan);
    }

    pub(crate) fn on_followed(&mut self, followed: Followed) {
        let place = usize::from(followed.from);
        self.membership.followed[place] = Some(followed);
    }

    /// Whether this core has nothing to do until a plan changes, as far as it knows: it looks only
    /// now and then.
    fn is_as_planned(&self) -> bool {
        let own = self.membership.followed[usize::from(self.id)].as_ref();
        let plan = self.membership.plan.as_ref().filter(|plan| plan.voting.is_none());
        plan.is_some_and(|plan| {
            plan.period == self.replicas.period
                && own.is_some_and(|own| (own.period, own.number) == (plan.period, plan.number))
        })
    }

    /// Whether all groups of all cores are as the first one, and as it is now.
    fn is_followed(&self) -> bool {
        let Some(plan) = &self.membership.plan else { return false };
        let follows =
            |own: &Followed| own.period == self.replicas.period && own.number == plan.number;
        let all = self.membership.followed.iter();
        plan.period == self.replicas.period
            && self.first_members() == Some(&plan.members)
            && all.into_iter().all(|own| own.as_ref().is_some_and(follows))
    }

    /// Whether a node lacks little of any group.
    fn is_near(&self, node: NodeId) -> bool {
        let near = |own: &Followed| own.period == self.replicas.period && own.near.contains(&node);
        self.membership.followed.iter().all(|own| own.as_ref().is_some_and(near))
    }

    fn is_near_here(&self, node: NodeId) -> bool {
        let mut groups = self.replicas.iter().map(|(_, replica)| &replica.group);
        node.0 == self.node.node
            || self.links.is_linked(node)
                && groups.all(|group| group.is_close(node, HANDOVER_CLOSE_ENTRIES))
    }

    /// Proposes the next step towards these members, if it would be taken now. Returns whether it
    /// was.
    fn change_members(&mut self, shard: ShardId, replica: &mut Replica, goal: &Members) -> bool {
        // It takes the next index: nothing may be collected for that, here or elsewhere.
        let held = self.shards.get(usize::from(shard.0));
        let quiet = held.is_some_and(|held| held.effects.is_empty());
        let goes_on = replica.group.would_commit(&goal.voters) || is_planted(Fault::RemovesAnyway);
        if !quiet
            || !goes_on
            || !replica.group.can_change()
            || !replica.executes()
            || replica.refused
        {
            return false;
        }
        let proposed = replica.group.step_to(&goal.voters, &goal.learners, &goal.roster).is_ok();
        self.follow_index(shard, replica);
        proposed
    }

    /// The first group's members change by what is due, if anything is.
    fn take_next_step(&mut self) {
        let Some(members) = self.members_of_first() else { return };
        let own = NodeId(self.node.node);
        let leaving = members.roster.nodes.iter().find(|known| known.duty == Duty::Leaving);
        if let Some(known) = leaving.filter(|known| known.node != own) {
            let without = without(&members, known.node);
            if self.has_majority(&without) {
                self.change_first(&without);
            }
            return;
        }
        if !self.may_lead(own) && self.now.mono_ns >= self.membership.next_drain_ns {
            self.membership.next_drain_ns = self.now.mono_ns + DRAIN_RETRY_NS;
            if self.candidates().next().is_some() {
                self.hand_over_all();
            }
            return;
        }
        match self.membership.plan.as_ref().and_then(|plan| plan.voting) {
            Some(node) if self.is_near(node) => {
                self.change_first(&with_voter(&members, node));
            }
            Some(_) => {}
            None => {
                let ready = members.learners.iter().copied().find(|node| self.is_near(*node));
                if ready.is_some() {
                    self.make_plan(ready);
                }
            }
        }
    }

    fn first_members(&self) -> Option<&Members> {
        self.replicas.get(FIRST.0).map(|first| first.group.members())
    }

    /// The members of the first group, with the roster that holds and all that is known of it: what
    /// a change begins with.
    fn members_of_first(&self) -> Option<Members> {
        let first = self.replicas.get(FIRST.0)?;
        let mut members = first.group.members().clone();
        members.roster = self.roster_of(first);
        for known in &mut members.roster.nodes {
            if known.directory == DirectoryId::default() {
                known.directory = self.links.directory_of(known.node).unwrap_or_default();
            }
        }
        Some(members)
    }

    fn change_first(&mut self, goal: &Members) -> bool {
        let Some(mut replica) = self.replicas.take(FIRST.0) else { return false };
        let changed = self.change_members(FIRST, &mut replica, goal);
        self.replicas.put(FIRST.0, replica);
        changed
    }

    /// Whether those of these voters that lack little are a majority of them. One that would have
    /// to get a checkpoint first does not count: there may be none without it to commit what that
    /// has.
    fn has_majority(&self, members: &Members) -> bool {
        let near = members.voters.iter().filter(|node| self.is_near(**node)).count();
        near * 2 > members.voters.len() || is_planted(Fault::RemovesAnyway)
    }

    /// Begins what was asked for; the rest follows by itself. Returns the node that it is about.
    pub fn obey_members(&mut self, order: MembersOrder) -> Result<NodeId, String> {
        self.check_primary()?;
        let members = self.members_of_first().ok_or("this node has no cluster")?;
        let mut goal = members.clone();
        let node = match order {
            MembersOrder::Add { address, directory } => {
                let known = members.roster.nodes.iter();
                if let Some(known) = known.clone().find(|known| known.directory == directory) {
                    return Ok(known.node);
                }
                if let Some(known) = known.clone().find(|known| known.address == address) {
                    let node = known.node.0;
                    return Err(format!(
                        "node {node} is at {address}, with another data directory. If that is \
                         lost, take the node out first: remove-node {node}"
                    ));
                }
                if members.roster.nodes.len() >= NODES_MAX {
                    return Err(format!("a cluster has {NODES_MAX} nodes at most"));
                }
                if let Some(node) = members.learners.first() {
                    return Err(format!("node {} is joining; one at a time", node.0));
                }
                let node = goal.roster.add(address, directory);
                goal.learners.push(node);
                node
            }
            MembersOrder::Remove(node) => {
                self.check_removal(&members, node)?;
                known_of(&mut goal.roster, node)?.duty = Duty::Leaving;
                node
            }
            MembersOrder::Drain(node) => {
                self.check_others_lead(&members, node)?;
                known_of(&mut goal.roster, node)?.duty = Duty::Drained;
                node
            }
            MembersOrder::Undrain(node) => {
                known_of(&mut goal.roster, node)?.duty = Duty::Full;
                node
            }
            MembersOrder::Raise(asked) => {
                goal.roster.version = self.check_raise(&members.roster, asked)?;
                NodeId(self.node.node)
            }
        };
        if goal == members {
            return Ok(node);
        }
        if let Some(known) = members.roster.nodes.iter().find(|of| of.duty == Duty::Leaving)
            && order != MembersOrder::Undrain(known.node)
        {
            return Err(format!("node {} is being removed; one at a time", known.node.0));
        }
        if !self.is_followed() || !self.change_first(&goal) {
            return Err("another change is under way; ask again in a moment".into());
        }
        tracing::info!(core = self.id, ?order, node = node.0, "the members change");
        Ok(node)
    }

    /// A node that wants to join has asked here, and another one leads: that one hears of it.
    pub(crate) fn pass_on_join(&mut self, address: SocketAddr, directory: DirectoryId) {
        if let Serving::AsReplica(Some(leader)) = self.replicas.serving {
            let mut message = directory.0.to_vec();
            encode_address(&address, &mut message);
            message.push(JOIN);
            self.links.send(leader, FIRST, &message);
        }
    }

    /// Another node was asked.
    pub(super) fn on_join_passed_on(&mut self, message: &[u8]) {
        let mut rest = message;
        let directory = take(&mut rest).map(DirectoryId);
        if let (Some(directory), Some(address)) = (directory, decode_address(&mut rest)) {
            // It asks again until it is in, and hears why not from whom it asks.
            let _ = self.obey_members(MembersOrder::Add { address, directory });
        }
    }

    fn check_primary(&self) -> Result<(), String> {
        match self.replicas.serving {
            _ if !self.replicas.is_grouped() => Err("this node is not part of a cluster".into()),
            Serving::Everything if self.handover.is_idle() => Ok(()),
            Serving::AsReplica(Some(NodeId(node))) => {
                Err(format!("this node follows node {node}; ask that one"))
            }
            _ => Err("no node leads at the moment; ask again in a moment".into()),
        }
    }

    fn check_removal(&self, members: &Members, node: NodeId) -> Result<(), String> {
        let rest = without(members, node);
        if rest.voters.is_empty() {
            return Err(format!("node {} is the last one", node.0));
        }
        if !self.has_majority(&rest) {
            let own = NodeId(self.node.node);
            let there = |voter: &&NodeId| **voter == own || self.links.is_linked(**voter);
            let (count, all) = (rest.voters.iter().filter(there).count(), rest.voters.len());
            return Err(match count * 2 > all {
                true => "the other nodes lack too much for that now; ask again in a moment".into(),
                false => format!(
                    "without node {} only {count} of {all} nodes would be there, which is no \
                     majority: nothing could be acknowledged. Start the others first",
                    node.0
                ),
            });
        }
        if members.voters.contains(&node) { self.check_others_lead(members, node) } else { Ok(()) }
    }

    /// Whether somebody may lead and is there, if not this node.
    fn check_others_lead(&self, members: &Members, node: NodeId) -> Result<(), String> {
        let own = NodeId(self.node.node);
        let can = |voter: &NodeId| {
            *voter != node
                && (*voter == own || self.links.is_linked(*voter))
                && self.may_lead(*voter)
        };
        match members.voters.iter().any(can) {
            true => Ok(()),
            false => Err(format!("no other node than {} may lead and is there", node.0)),
        }
    }

    /// The number that a directory has in this cluster.
    pub fn number_of(&self, directory: DirectoryId) -> Option<NodeId> {
        let nodes = &self.roster().nodes;
        let known = nodes.iter().find(|known| match known.directory == DirectoryId::default() {
            true => self.links.directory_of(known.node) == Some(directory),
            false => known.directory == directory,
        });
        known.map(|known| known.node)
    }

    /// What a node with this directory starts with, if it has a number in this cluster.
    pub fn welcome(&self, directory: DirectoryId) -> Option<Cluster> {
        let (node, of) = (self.number_of(directory)?, self.config.cluster.as_ref()?);
        let nodes = self.roster().nodes.iter();
        let nodes = nodes.map(|known| (known.node, known.address)).collect();
        let (founders, lost) = (of.founders.clone(), of.lost.clone());
        let (founded, epoch) = (of.founded, of.epoch);
        Some(Cluster { founders, founded, epoch, lost, ..Cluster::of(of.id, node, nodes) })
    }
}

/// The plan is what its members are.
const FIRST: ShardId = ShardId(0);

impl Plan {
    /// What the members of another group than the first are to be: a learner may vote there.
    fn goal_of_other(&self, own: &Members) -> Members {
        let voting = |node: &&NodeId| own.voters.contains(node) || self.voting == Some(**node);
        let ahead = self.members.learners.iter().filter(voting);
        ahead.fold(self.members.clone(), |goal, node| with_voter(&goal, *node))
    }
}

fn with_voter(members: &Members, node: NodeId) -> Members {
    let mut with = members.clone();
    with.learners.retain(|learner| *learner != node);
    with.voters.push(node);
    with
}

fn without(members: &Members, node: NodeId) -> Members {
    let mut rest = members.clone();
    rest.voters.retain(|voter| *voter != node);
    rest.learners.retain(|learner| *learner != node);
    rest.roster.remove(node);
    rest
}

fn known_of(roster: &mut Roster, node: NodeId) -> Result<&mut Known, String> {
    let last = roster.last_node;
    roster.get_mut(node).ok_or_else(|| match node.0 <= last {
        true => format!("node {} was removed", node.0),
        false => format!("there is no node {}", node.0),
    })
}
