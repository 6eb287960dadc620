//! What INFO and ROLE say of replication: which node leads, and how far the others are.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use engine::reply::Reply;
use replication::group::NodeId;
use replication::group::fetch::CatchUpWay;
use replication::version::{Version, Versions};

use super::stats::Snapshot;
use crate::core::Core;
use crate::replica::Replica;
use crate::replica::catchup::Caught;
use crate::replica::serving::Serving;
use crate::replica::standing::Standing;

/// Another node, as this one sees it.
struct Other {
    node: NodeId,
    address: SocketAddr,
    linked: bool,
    /// Seconds since anything came from it, if a link stands.
    silent_s: Option<u64>,
    /// A checkpoint goes to it.
    gets_checkpoint: bool,
    /// How many entries it is known to have, of all shards; only a leader knows.
    matched: u64,
}

/// The groups of a core, or of all.
#[derive(Clone, Debug, Default)]
pub struct GroupsSeen {
    /// How far they are together, in entries.
    last: u64,
    committed: u64,
    applied: u64,
    /// By node: how many entries it is known to have.
    matched: BTreeMap<u64, u64>,
    /// By node: in how many it votes.
    votes: BTreeMap<u64, usize>,
    /// By node: how it gets what it lacks, and what it got so, as this node leads.
    ways: BTreeMap<u64, CatchUpWay>,
    caught: BTreeMap<u64, Caught>,
    /// A line each.
    shards: BTreeMap<u16, String>,
    /// How far a planned hand-over is, and how the last one went, as the first core sees it.
    failover: Option<(&'static str, &'static str)>,
    /// The version of the cluster that all of them have.
    version: Option<Version>,
}

impl GroupsSeen {
    pub fn add(&mut self, other: &GroupsSeen) {
        self.last += other.last;
        self.committed += other.committed;
        self.applied += other.applied;
        for (node, matched) in &other.matched {
            *self.matched.entry(*node).or_default() += matched;
        }
        for (node, votes) in &other.votes {
            *self.votes.entry(*node).or_default() += votes;
        }
        for (node, way) in &other.ways {
            let known = self.ways.entry(*node).or_default();
            *known = (*known).max(*way);
        }
        for (node, caught) in &other.caught {
            self.caught.entry(*node).or_default().add(caught);
        }
        self.shards.extend(other.shards.iter().map(|(shard, line)| (*shard, line.clone())));
        self.failover = self.failover.or(other.failover);
        self.version = self.version.into_iter().chain(other.version).min();
    }

    pub(super) fn version(&self) -> Version {
        self.version.unwrap_or_default()
    }

    pub(super) fn votes_in_all(&self, node: NodeId) -> bool {
        self.votes.get(&node.0) == Some(&self.shards.len())
    }

    /// How many entries a node lacks, by what the leader of all knows.
    pub(super) fn lag_of(&self, node: NodeId) -> Option<u64> {
        let matched = self.matched.get(&node.0)?;
        Some(self.last.saturating_sub(*matched))
    }
}

impl Core {
    pub(super) fn see_groups(&self) -> GroupsSeen {
        let mut seen = GroupsSeen::default();
        if !self.replicas.is_grouped() {
            return seen;
        }
        for (shard, replica) in self.replicas.iter() {
            seen.last += replica.group.last().0;
            seen.committed += replica.group.committed().0;
            seen.applied += replica.applied.0;
            for (node, matched) in replica.group.progress() {
                *seen.matched.entry(node.0).or_default() += matched.0;
                let way = seen.ways.entry(node.0).or_default();
                *way = replica.group.catch_up_way(node).max(*way);
            }
            for node in &replica.group.members().voters {
                *seen.votes.entry(node.0).or_default() += 1;
            }
            seen.shards.insert(shard, info_shard(shard, replica));
        }
        seen.caught = self.catch_up.caught().map(|(node, caught)| (node.0, caught)).collect();
        seen.version = self.replicas.iter().map(|(_, replica)| replica.group.version()).min();
        if self.is_coordinator() {
            seen.failover = Some((self.handover.state(), self.handover.last()));
        }
        seen
    }

    fn others(&self, groups: &GroupsSeen) -> Vec<Other> {
        let matched = |node: NodeId| groups.matched.get(&node.0).copied().unwrap_or_default();
        let other = |(node, address)| {
            let linked = self.links.is_linked(node);
            let silent_ns = self.links.heard_ns(node).map(|at| self.now.mono_ns.saturating_sub(at));
            let way = groups.ways.get(&node.0).copied().unwrap_or_default();
            Other {
                node,
                address,
                linked,
                silent_s: silent_ns.map(|ns| ns / 1_000_000_000),
                gets_checkpoint: way == CatchUpWay::Checkpoint,
                matched: matched(node),
            }
        };
        self.other_nodes().map(other).collect()
    }

    fn leads(&self) -> bool {
        !matches!(self.replicas.serving, Serving::AsReplica(_))
    }

    /// Who leads, if that is known.
    pub(super) fn leader(&self) -> Option<NodeId> {
        match self.replicas.serving {
            Serving::AsReplica(leader) => leader,
            Serving::Everything => Some(NodeId(self.node.node)),
            Serving::Waits => self.replicas.lead.leader,
        }
    }

    pub(super) fn info_replication(&self, groups: &GroupsSeen) -> String {
        if !self.replicas.is_grouped() {
            // No stream of changes goes to anybody, so nothing is at any offset of it.
            return "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n\
                    master_failover_state:no-failover\r\nmaster_repl_offset:0\r\n"
                .into();
        }
        let (others, leader) = (self.others(groups), self.leader());
        let mut text = match self.leads() {
            true => info_leader(&others),
            false => info_follower(&others, leader, groups.applied),
        };
        let (state, last) = groups.failover.unwrap_or_default();
        text += &format!(
            "master_failover_state:{state}\r\nquoring_last_failover:{last}\r\n\
             master_repl_offset:{}\r\nquoring_node:{}\r\nquoring_leader:{}\r\n\
             quoring_last_entry:{}\r\nquoring_committed:{}\r\nquoring_applied:{}\r\n\
             quoring_cluster_version:{}\r\nquoring_applied_versions:{}\r\n",
            groups.committed,
            self.node.node,
            leader.map_or(0, |node| node.0),
            groups.last,
            groups.committed,
            groups.applied,
            groups.version(),
            text_of_range(Some(self.config.applied)),
        );
        text.extend(groups.shards.values().map(String::as_str));
        for (place, other) in others.iter().enumerate() {
            let link = if other.linked { "up" } else { "down" };
            let applies = text_of_range(self.links.applied_by(other.node));
            text +=
                &format!("quoring_peer{place}:node={},link={link},applies={applies}", other.node.0);
            if self.leads() {
                let behind = groups.last.saturating_sub(other.matched);
                text += &format!(",matched={},behind={behind}", other.matched);
                text += &info_catch_up(groups, other.node);
            }
            text += "\r\n";
        }
        text
    }

    /// ROLE.
    pub(super) fn role(&self, reply: &mut Reply<'_>, sum: &Snapshot) {
        if !self.replicas.is_grouped() {
            reply.array(3);
            reply.bulk(b"master");
            reply.integer(sum.log_records as i64);
            return reply.array(0);
        }
        let others = self.others(&sum.groups);
        if self.leads() {
            reply.array(3);
            reply.bulk(b"master");
            reply.integer(sum.groups.committed as i64);
            let linked: Vec<&Other> = others.iter().filter(|other| other.linked).collect();
            reply.array(linked.len());
            for other in linked {
                reply.array(3);
                reply.bulk(other.address.ip().to_string().as_bytes());
                reply.bulk(other.address.port().to_string().as_bytes());
                reply.bulk(other.matched.to_string().as_bytes());
            }
            return;
        }
        let leader = others.iter().find(|other| Some(other.node) == self.leader());
        reply.array(5);
        reply.bulk(b"slave");
        reply.bulk(leader.map_or(String::new(), |o| o.address.ip().to_string()).as_bytes());
        reply.integer(leader.map_or(0, |other| i64::from(other.address.port())));
        let state = if leader.is_some() { "connected" } else { "connect" };
        reply.bulk(state.as_bytes());
        reply.integer(sum.groups.applied as i64);
    }
}

/// Versions that a program applies, as INFO and NODES have them.
pub(super) fn text_of_range(range: Option<Versions>) -> String {
    range.map_or("unknown".into(), |Versions { least, most }| format!("{least}-{most}"))
}

fn info_shard(shard: u16, replica: &Replica) -> String {
    let group = &replica.group;
    let standing = match replica.standing {
        Standing::Following => "following",
        Standing::Elected { .. } => "elected",
        Standing::Serving { .. } => "serving",
        Standing::Away => "away",
        Standing::Rebuilding { .. } => "rebuilding",
    };
    format!(
        "quoring_shard{shard}:leader={},term={},standing={standing},last={},committed={},applied={}\
         \r\n",
        group.leader().map_or(0, |node| node.0),
        group.term().0,
        group.last().0,
        group.committed().0,
        replica.applied.0,
    )
}

/// How a node gets what it lacks, and what it got so since this one started.
fn info_catch_up(groups: &GroupsSeen, node: NodeId) -> String {
    let way = match groups.ways.get(&node.0).copied().unwrap_or_default() {
        CatchUpWay::None => "none",
        CatchUpWay::Memory => "memory",
        CatchUpWay::Log => "log",
        CatchUpWay::Checkpoint => "checkpoint",
    };
    let Caught { log_bytes, checkpoint_bytes, checkpoints } =
        groups.caught.get(&node.0).copied().unwrap_or_default();
    format!(
        ",catch_up={way},log_bytes={log_bytes},checkpoints={checkpoints},\
         checkpoint_bytes={checkpoint_bytes}"
    )
}

fn info_leader(others: &[Other]) -> String {
    let linked: Vec<&Other> = others.iter().filter(|other| other.linked).collect();
    let mut text = format!("# Replication\r\nrole:master\r\nconnected_slaves:{}\r\n", linked.len());
    for (place, other) in linked.iter().enumerate() {
        let Other { address, matched, .. } = other;
        let (ip, port) = (address.ip(), address.port());
        let state = if other.gets_checkpoint { "send_bulk" } else { "online" };
        let lag = other.silent_s.unwrap_or_default();
        text += &format!(
            "slave{place}:ip={ip},port={port},state={state},offset={matched},lag={lag}\r\n"
        );
    }
    text
}

fn info_follower(others: &[Other], leader: Option<NodeId>, applied: u64) -> String {
    let leader = others.iter().find(|other| Some(other.node) == leader);
    let host = leader.map_or(String::new(), |other| other.address.ip().to_string());
    let port = leader.map_or(0, |other| other.address.port());
    let status = if leader.is_some_and(|other| other.linked) { "up" } else { "down" };
    let silent = leader.and_then(|other| other.silent_s).map_or(-1, |seconds| seconds as i64);
    format!(
        "# Replication\r\nrole:slave\r\nmaster_host:{host}\r\nmaster_port:{port}\r\n\
         master_link_status:{status}\r\nmaster_last_io_seconds_ago:{silent}\r\n\
         slave_repl_offset:{applied}\r\nslave_read_only:1\r\n\
         connected_slaves:0\r\n"
    )
}
