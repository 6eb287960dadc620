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

use std::collections::BTreeMap;
use std::net::SocketAddr;

use replication::fault::{Fault, is_planted};
use replication::group::roster::{Duty, Known, Roster};
use replication::group::{Members, NodeId};
use replication::ids::ShardId;
use replication::link::hello::DirectoryId;

use super::Replica;
use super::serving::Serving;
use super::transfer::{REMOVED, ROSTER};
use crate::config::cluster::{Cluster, NODES_MAX};
use crate::core::Core;
use crate::limits::{DRAIN_RETRY_NS, GOSSIP_NS, HANDOVER_CLOSE_ENTRIES, LEADERLESS_NS_MAX};

/// What an operator, or a node that joins, asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembersOrder {
    Add { address: SocketAddr, directory: DirectoryId },
    Remove(NodeId),
    Drain(NodeId),
    Undrain(NodeId),
}

/// What this core knows of the nodes of its cluster.
#[derive(Default)]
pub struct Membership {
    /// As the first group has it, or this start was told.
    pub(crate) roster: Roster,
    /// The other nodes that any group has.
    peers: BTreeMap<NodeId, SocketAddr>,
    /// Members have changed since that was looked at.
    pub(super) changed: bool,
    /// Links with who has gone are to end, once what was said last is out.
    peers_changed: bool,
    /// This node is none of them any more.
    pub(crate) removed: bool,
    next_drain_ns: u64,
    /// What others have said: nodes that came while this one was away may lead by now.
    pub(super) hearsay: Roster,
    /// When others hear from this node, and when it asks why it hears of no leader.
    next_gossip_ns: u64,
    leaderless_ns: u64,
}

impl Core {
    /// The other nodes, and where they are.
    pub(crate) fn other_nodes(&self) -> impl Iterator<Item = (NodeId, SocketAddr)> {
        self.membership.peers.iter().map(|(node, address)| (*node, *address))
    }

    /// Whether a node may lead: it votes, and nobody wants otherwise.
    pub(crate) fn may_lead(&self, node: NodeId) -> bool {
        if node.0 == self.node.node && self.membership.hearsay.has_removed(node) {
            return false;
        }
        self.membership.roster.get(node).is_none_or(|known| known.duty == Duty::Full)
    }

    /// Members are other ones than they were, or this core starts.
    pub(crate) fn note_members(&mut self) {
        self.membership.changed = false;
        let own = NodeId(self.node.node);
        let rosters: Vec<Roster> = self.replicas.iter().map(|(_, r)| self.roster_of(r)).collect();
        // A node without replicas has nodes to talk to all the same: in tests.
        let told = || self.config.cluster.as_ref().map(|cluster| cluster.members().roster);
        let Some(first) = rosters.first().cloned().or_else(told) else { return };
        self.membership.roster = first.clone();
        let mut peers = BTreeMap::new();
        let told_nodes = told().unwrap_or_default().nodes;
        let later = told_nodes.iter().chain(&self.membership.hearsay.nodes);
        let later = later.filter(|known| known.node.0 > first.last_node);
        let known = rosters.iter().chain([&first]).flat_map(|roster| &roster.nodes);
        for known in known.chain(later) {
            let told = self.config.cluster.as_ref().and_then(|of| of.told_address(known.node));
            peers.insert(known.node, told.unwrap_or(known.address));
            if known.directory != DirectoryId::default()
                && let Err(error) = self.links.note_directory(known.node, known.directory)
            {
                tracing::error!(core = self.id, node = known.node.0, "node.toml: {error}");
            }
        }
        peers.remove(&own);
        let before = std::mem::replace(&mut self.membership.peers, peers);
        self.membership.peers_changed = true;
        let gone = before.keys().filter(|node| !self.membership.peers.contains_key(node));
        let gone = gone.filter(|node| first.has_removed(**node));
        for node in gone.copied().collect::<Vec<_>>() {
            tracing::info!(core = self.id, node = node.0, "the node is removed");
            self.links.send(node, ShardId(0), &[REMOVED]);
        }
        let reluctant = !self.may_lead(own);
        self.for_each_replica(|_, _, replica| replica.group.set_reluctant(reluctant));
        if rosters.iter().all(|roster| roster.has_removed(own)) && !rosters.is_empty() {
            self.on_removed();
        }
    }

    /// Also where a cluster that older programs began has none yet.
    fn roster_of(&self, replica: &Replica) -> Roster {
        let roster = &replica.group.members().roster;
        match (&self.config.cluster, roster.nodes.is_empty()) {
            (Some(cluster), true) => cluster.members().roster,
            _ => roster.clone(),
        }
    }

    /// This node takes no part any more.
    pub(crate) fn on_removed(&mut self) {
        if !std::mem::replace(&mut self.membership.removed, true) {
            tracing::error!(
                core = self.id,
                node = self.node.node,
                "this node was removed from the cluster: it takes no part and answers nobody. \
                 Stop it. To use the machine again, start it with an empty directory and --join"
            );
        }
    }

    /// Once a tick.
    pub(super) fn drive_members(&mut self) {
        if self.membership.changed {
            self.note_members();
        } else if std::mem::take(&mut self.membership.peers_changed) {
            self.use_peers();
        }
        self.gossip();
        if self.links.is_told_removed() {
            self.on_removed();
        }
        if self.replicas.serving == Serving::Everything
            && self.handover.is_idle()
            && self.bring_groups_along()
        {
            self.take_next_step();
        }
    }

    pub(crate) fn use_peers(&mut self) {
        let peers: Vec<_> = self.other_nodes().collect();
        self.links.set_peers(&peers);
        self.links.set_last_node(self.membership.roster.last_node);
    }

    /// Now and then the others hear who is in the cluster; and who hears of no leader asks.
    fn gossip(&mut self) {
        let now_ns = self.now.mono_ns;
        let Some((first, replica)) = self.replicas.iter().next() else { return };
        if replica.group.leader().is_some() || self.membership.leaderless_ns == 0 {
            self.membership.leaderless_ns = now_ns;
        } else if now_ns > self.membership.leaderless_ns + LEADERLESS_NS_MAX {
            self.membership.leaderless_ns = now_ns;
            self.links.ask_around();
        }
        if now_ns < self.membership.next_gossip_ns || self.membership.removed {
            return;
        }
        self.membership.next_gossip_ns = now_ns + GOSSIP_NS;
        let mut message = Vec::new();
        self.membership.roster.encode(&mut message);
        message.push(ROSTER);
        for (node, _) in self.other_nodes().collect::<Vec<_>>() {
            if self.links.is_linked(node) {
                self.links.send(node, ShardId(first), &message);
            }
        }
    }

    pub(super) fn on_hearsay(&mut self, message: &[u8]) {
        let Some(roster) = Roster::decode(message) else { return };
        let known = self.membership.roster.last_node.max(self.membership.hearsay.last_node);
        let own = NodeId(self.node.node);
        if roster.last_node > known || roster.has_removed(own) {
            self.membership.hearsay = roster;
            self.membership.changed = true;
        }
    }

    /// The members of all groups become those of the first. Returns whether they are.
    fn bring_groups_along(&mut self) -> bool {
        let Some((first, replica)) = self.replicas.iter().next() else { return false };
        let goal = replica.group.members().clone();
        let mut along = true;
        self.for_each_replica(|core, shard, replica| {
            let goal = goal_of_other(replica.group.members(), &goal);
            if shard.0 != first && !replica.group.members().is_as(&goal) {
                along = false;
                core.change_members(shard, replica, &goal);
            }
        });
        along
    }

    /// A learner becomes a voter of all groups but the first. Returns whether it is one.
    fn let_vote(&mut self, node: NodeId) -> bool {
        let Some((first, _)) = self.replicas.iter().next() else { return false };
        let mut votes = true;
        self.for_each_replica(|core, shard, replica| {
            let members = replica.group.members();
            if shard.0 != first && !members.voters.contains(&node) {
                votes = false;
                let goal = with_voter(members, node);
                core.change_members(shard, replica, &goal);
            }
        });
        votes
    }

    /// Proposes the next step towards these members, if it would be taken now. Returns whether it
    /// was.
    fn change_members(&mut self, shard: ShardId, replica: &mut Replica, goal: &Members) -> bool {
        // It takes the next index: nothing may be collected for that, here or elsewhere.
        let held = self.shards.get(usize::from(shard.0));
        let quiet = held.is_some_and(|held| held.effects.is_empty());
        let fits = replica.group.can_change() || is_planted(Fault::ChangesUnlimited);
        if !quiet || !fits || !replica.executes() || replica.refused {
            return false;
        }
        let proposed = replica.group.step_to(&goal.voters, &goal.learners, &goal.roster).is_ok();
        self.follow_index(shard, replica);
        proposed
    }

    /// The first group's members change by what is due, if anything is.
    fn take_next_step(&mut self) {
        let Some(members) = self.plan() else { return };
        let own = NodeId(self.node.node);
        let leaving = members.roster.nodes.iter().find(|known| known.duty == Duty::Leaving);
        if let Some(known) = leaving.filter(|known| known.node != own) {
            let without = without(&members, known.node);
            if self.has_majority(&without) {
                self.change_plan(&without);
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
        let ready = members.learners.iter().find(|node| self.is_near(**node));
        if let Some(node) = ready.copied()
            && self.let_vote(node)
        {
            self.change_plan(&with_voter(&members, node));
        }
    }

    /// The members of the first group, with the roster that holds.
    fn plan(&self) -> Option<Members> {
        let (_, first) = self.replicas.iter().next()?;
        let mut members = first.group.members().clone();
        members.roster = self.roster_of(first);
        for known in &mut members.roster.nodes {
            if known.directory == DirectoryId::default() {
                known.directory = self.links.directory_of(known.node).unwrap_or_default();
            }
        }
        Some(members)
    }

    fn change_plan(&mut self, goal: &Members) -> bool {
        let Some((shard, _)) = self.replicas.iter().next() else { return false };
        let Some(mut replica) = self.replicas.take(shard) else { return false };
        let changed = self.change_members(ShardId(shard), &mut replica, goal);
        self.replicas.put(shard, replica);
        changed
    }

    /// Whether a node is there and lacks little of any group.
    fn is_near(&self, node: NodeId) -> bool {
        let mut groups = self.replicas.iter().map(|(_, replica)| &replica.group);
        node.0 == self.node.node
            || self.links.is_linked(node)
                && groups.all(|group| group.is_close(node, HANDOVER_CLOSE_ENTRIES))
    }

    /// Whether those of these voters that lack little are a majority of them. One that would have
    /// to get a checkpoint first does not count: there may be none without it to commit what that
    /// has.
    fn has_majority(&self, members: &Members) -> bool {
        let near = members.voters.iter().filter(|node| self.is_near(**node)).count();
        near * 2 > members.voters.len()
    }

    /// Begins what was asked for; the rest follows by itself. Returns the node that it is about.
    pub fn obey_members(&mut self, order: MembersOrder) -> Result<NodeId, String> {
        self.check_primary()?;
        let members = self.plan().ok_or("this node has no cluster")?;
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
        };
        if goal == members {
            return Ok(node);
        }
        if let Some(known) = members.roster.nodes.iter().find(|of| of.duty == Duty::Leaving)
            && order != MembersOrder::Undrain(known.node)
        {
            return Err(format!("node {} is being removed; one at a time", known.node.0));
        }
        let first = self.replicas.iter().next().map(|(_, replica)| replica.group.members());
        let along = |goal: &Members| {
            let mut groups = self.replicas.iter().map(|(_, replica)| replica.group.members());
            groups.all(|own| own.is_as(goal) || own.is_as(&goal_of_other(own, goal)))
        };
        if !first.is_some_and(along) || !self.change_plan(&goal) {
            return Err("another change is under way; ask again in a moment".into());
        }
        tracing::info!(core = self.id, ?order, node = node.0, "the members change");
        Ok(node)
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
            return Err(format!(
                "without node {} only {} of {} nodes would be there, which is no majority: \
                 nothing could be acknowledged. Start the others first",
                node.0,
                rest.voters.iter().filter(there).count(),
                rest.voters.len()
            ));
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
        let nodes = &self.membership.roster.nodes;
        let known = nodes.iter().find(|known| match known.directory == DirectoryId::default() {
            true => self.links.directory_of(known.node) == Some(directory),
            false => known.directory == directory,
        });
        known.map(|known| known.node)
    }

    /// What a node with this directory starts with, if it has a number in this cluster.
    pub fn welcome(&self, directory: DirectoryId) -> Option<Cluster> {
        let (node, of) = (self.number_of(directory)?, self.config.cluster.as_ref()?);
        let nodes = self.membership.roster.nodes.iter();
        let nodes = nodes.map(|known| (known.node, known.address)).collect();
        let (founders, lost) = (of.founders.clone(), of.lost.clone());
        Some(Cluster { founders, epoch: of.epoch, lost, ..Cluster::of(of.id, node, nodes) })
    }

    pub fn roster(&self) -> &Roster {
        &self.membership.roster
    }
}

/// What the members of another group than the first are to be: a learner may vote there already.
fn goal_of_other(own: &Members, first: &Members) -> Members {
    let ahead = first.learners.iter().filter(|node| own.voters.contains(node));
    ahead.fold(first.clone(), |goal, node| with_voter(&goal, *node))
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
