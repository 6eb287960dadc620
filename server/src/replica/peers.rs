//! Who the nodes of the cluster are, as far as this node knows. Each core tells the first one whom
//! its groups have, and that one tells all: a node has links with another as long as any group of
//! any core has it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use replication::buggify::{Point, is_taken};
use replication::fault::{Fault, is_planted};
use replication::group::NodeId;
use replication::group::roster::{Duty, Known, Roster};
use replication::ids::ShardId;
use replication::link::hello::DirectoryId;

use super::Replica;
use super::coordinator::COORDINATOR;
use super::members::Followed;
use super::members::Plan;
use super::period::Word;
use super::transfer::{REMOVED, ROSTER};
use crate::core::Core;
use crate::core::message::Message;
use crate::limits::{GOSSIP_NS, LEADERLESS_NS_MAX};

/// What a core knows of the nodes of its cluster.
#[derive(Default)]
pub struct Membership {
    /// The first core's word.
    around: Around,
    /// The other cores have heard it since the start: those without a shard know nobody but whom
    /// the operator has named.
    around_told: bool,
    /// All nodes of the groups of each core: on the first core of all, on others their own.
    of_cores: Vec<Option<GroupsHave>>,
    /// The other nodes that any group has.
    peers: BTreeMap<NodeId, SocketAddr>,
    /// Members of a group have changed since that was looked at.
    pub(super) changed: bool,
    /// Links with who has gone are to end, once what was said last is out.
    peers_changed: bool,
    /// This node is none of them any more.
    pub(crate) removed: bool,
    /// What is to become of all groups' members, and how far each core is with it.
    pub(super) plan: Option<Plan>,
    pub(super) followed: Vec<Option<Followed>>,
    pub(super) next_drain_ns: u64,
    /// What others have said: nodes that came while this one was away may lead by now.
    heard: Roster,
    /// When others hear from this node, and when it asks why it hears of no leader.
    next_gossip_ns: u64,
    leaderless_ns: u64,
}

/// The nodes of a core's groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupsHave {
    pub from: u16,
    nodes: Vec<Known>,
    /// None of them has this one any more.
    without_own: bool,
}

/// What the first core knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Around {
    /// As the first group has it, or this start was told.
    roster: Roster,
    /// As another node has said, which knows of more.
    heard: Roster,
    peers: BTreeMap<NodeId, SocketAddr>,
    removed: bool,
}

impl Core {
    /// The other nodes, and where they are.
    pub(crate) fn other_nodes(&self) -> impl Iterator<Item = (NodeId, SocketAddr)> {
        self.membership.peers.iter().map(|(node, address)| (*node, *address))
    }

    pub fn roster(&self) -> &Roster {
        &self.membership.around.roster
    }

    /// Whether a node may lead: it votes, and nobody wants otherwise.
    pub(crate) fn may_lead(&self, node: NodeId) -> bool {
        if node.0 == self.node.node && self.is_out() {
            return false;
        }
        self.roster().get(node).is_none_or(|known| known.duty == Duty::Full)
    }

    /// Others say that this node was removed. What its own groups have comes later, or never.
    pub(super) fn is_out(&self) -> bool {
        self.membership.around.heard.has_removed(NodeId(self.node.node))
    }

    /// A core begins: it knows what its own groups have, and what it was told.
    pub(crate) fn begin_membership(&mut self) {
        let cores = if self.is_coordinator() { self.config.cores } else { 1 };
        self.membership.of_cores = vec![None; cores];
        self.membership.followed = vec![None; self.config.cores];
        let first = self.replicas.iter().next().map(|(_, replica)| self.roster_of(replica));
        if let Some(roster) = first.or_else(|| self.told_roster()) {
            self.membership.around.peers = self.reached(&roster.nodes);
            self.membership.around.roster = roster;
        }
        self.begin_versions();
        self.note_members();
        self.refresh_peers();
        self.use_peers();
    }

    /// Members are other ones than they were, or this core starts.
    fn note_members(&mut self) {
        self.membership.changed = false;
        if !self.replicas.is_grouped() {
            return;
        }
        let own = NodeId(self.node.node);
        let rosters: Vec<Roster> = self.replicas.iter().map(|(_, r)| self.roster_of(r)).collect();
        let nodes: BTreeMap<NodeId, Known> = rosters
            .iter()
            .flat_map(|roster| &roster.nodes)
            .map(|known| (known.node, *known))
            .collect();
        let have = GroupsHave {
            from: self.id,
            nodes: nodes.into_values().collect(),
            without_own: rosters.iter().all(|roster| roster.has_removed(own)),
        };
        for known in have.nodes.iter().filter(|known| known.directory != DirectoryId::default()) {
            if let Err(error) = self.links.note_directory(known.node, known.directory) {
                tracing::error!(core = self.id, node = known.node.0, "node.toml: {error}");
            }
        }
        if self.is_coordinator() {
            return self.on_groups_have(have);
        }
        if self.membership.of_cores[0].as_ref() != Some(&have) {
            self.membership.of_cores[0] = Some(have.clone());
            self.send_message(COORDINATOR, Message::GroupsHave(Box::new(have)));
            self.refresh_peers();
        }
    }

    /// A core's groups have these.
    pub(crate) fn on_groups_have(&mut self, have: GroupsHave) {
        let place = usize::from(have.from);
        self.membership.of_cores[place] = Some(have);
        self.tell_around();
    }

    fn tell_around(&mut self) {
        let Some((_, replica)) = self.replicas.iter().next() else { return };
        let first = self.roster_of(replica);
        let of_cores = &self.membership.of_cores;
        let removed = of_cores.iter().all(|have| have.as_ref().is_some_and(|h| h.without_own));
        let known = of_cores.iter().flatten().flat_map(|have| &have.nodes);
        let told = self.told_roster().unwrap_or_default().nodes;
        let later = told.iter().chain(&self.membership.heard.nodes);
        let later = later.filter(|known| known.node.0 > first.last_node);
        let nodes: Vec<Known> = known.chain(&first.nodes).chain(later).copied().collect();
        let (peers, heard) = (self.reached(&nodes), self.membership.heard.clone());
        let around = Around { roster: first, heard, peers, removed };
        let told = self.membership.around_told || is_planted(Fault::AroundUntold);
        if around != self.membership.around || !told {
            self.membership.around_told = true;
            self.tell_others(&Word::Around(Box::new(around.clone())));
            self.on_around(around);
        }
    }

    /// The first core's word.
    pub(super) fn on_around(&mut self, around: Around) {
        self.links.require(around.roster.version);
        self.membership.around = around;
        self.refresh_peers();
        let reluctant = !self.may_lead(NodeId(self.node.node));
        self.for_each_replica(|_, _, replica| replica.group.set_reluctant(reluctant));
        if self.membership.around.removed {
            self.on_removed();
        }
    }

    /// Also whom a group here has and the first core has not heard of, or not yet.
    fn refresh_peers(&mut self) {
        let own = NodeId(self.node.node);
        let have = self.membership.of_cores.iter().flatten().flat_map(|have| &have.nodes);
        let mut peers = self.reached(have);
        peers.extend(self.membership.around.peers.iter().map(|(node, at)| (*node, *at)));
        peers.remove(&own);
        if peers == self.membership.peers {
            return;
        }
        let before = std::mem::replace(&mut self.membership.peers, peers);
        self.membership.peers_changed = true;
        if !self.is_coordinator() {
            return;
        }
        for node in before.into_keys() {
            if !self.membership.peers.contains_key(&node) && self.roster().has_removed(node) {
                tracing::info!(core = self.id, node = node.0, "the node is removed");
                self.links.send(node, ShardId(0), &[REMOVED]);
            }
        }
    }

    /// Where nodes are: what an operator has said at this start counts before what is known.
    fn reached<'a>(
        &self,
        nodes: impl IntoIterator<Item = &'a Known>,
    ) -> BTreeMap<NodeId, SocketAddr> {
        let told = |node| self.config.cluster.as_ref().and_then(|of| of.told_address(node));
        let reached = |known: &Known| (known.node, told(known.node).unwrap_or(known.address));
        nodes.into_iter().map(reached).collect()
    }

    /// A node without replicas has nodes to talk to all the same: in tests.
    fn told_roster(&self) -> Option<Roster> {
        self.config.cluster.as_ref().map(|cluster| cluster.members().roster)
    }

    /// Also where a cluster that older programs began has none yet.
    pub(super) fn roster_of(&self, replica: &Replica) -> Roster {
        let roster = &replica.group.members().roster;
        match roster.nodes.is_empty() {
            true => self.told_roster().unwrap_or_default(),
            false => roster.clone(),
        }
    }

    /// This node takes no part any more.
    pub(super) fn on_removed(&mut self) {
        if !std::mem::replace(&mut self.membership.removed, true) {
            self.tell_others(&Word::Removed);
            tracing::error!(
                core = self.id,
                node = self.node.node,
                "this node was removed from the cluster: it takes no part and answers nobody. \
                 Stop it. To use the machine again, start it with an empty directory and --join"
            );
        }
    }

    /// Once a tick.
    pub(super) fn drive_peers(&mut self) {
        if self.membership.changed {
            self.note_members();
        } else if std::mem::take(&mut self.membership.peers_changed) {
            self.use_peers();
        }
        if self.links.told_removed {
            self.on_removed();
        }
        if self.is_coordinator() {
            self.gossip();
        }
    }

    fn use_peers(&mut self) {
        let peers: Vec<_> = self.other_nodes().collect();
        self.links.set_peers(&peers);
        self.links.set_last_node(self.roster().last_node);
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
        let early = now_ns < self.membership.next_gossip_ns && !is_taken(Point::GossipSoon);
        if early || self.membership.removed {
            return;
        }
        self.membership.next_gossip_ns = now_ns + GOSSIP_NS;
        let mut message = Vec::new();
        self.roster().encode(&mut message);
        message.push(ROSTER);
        for (node, _) in self.other_nodes().collect::<Vec<_>>() {
            if self.links.is_linked(node) {
                self.links.send(node, ShardId(first), &message);
            }
        }
    }

    /// Another node says who is in the cluster.
    pub(super) fn on_hearsay(&mut self, message: &[u8]) {
        let Some(heard) = Roster::decode(message) else { return };
        let known = self.roster().last_node.max(self.membership.heard.last_node);
        let own = NodeId(self.node.node);
        let news = heard.last_node > known || heard.has_removed(own);
        if news && self.is_coordinator() && heard != self.membership.heard {
            self.membership.heard = heard;
            self.tell_around();
        }
    }
}
