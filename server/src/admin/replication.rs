//! What INFO and ROLE say of replication: which node leads, and how far the others are.

use std::net::SocketAddr;

use engine::reply::Reply;
use replication::group::NodeId;

use super::stats::Snapshot;
use crate::core::Core;
use crate::replica::Replica;
use crate::replica::serving::Serving;
use crate::replica::standing::Standing;

/// Another node, as this one sees it.
struct Other {
    node: NodeId,
    address: SocketAddr,
    linked: bool,
    /// How many entries it is known to have, of all shards; only a leader knows.
    matched: u64,
}

/// How far all shards are together, in entries.
#[derive(Clone, Copy, Default)]
struct Progress {
    last: u64,
    committed: u64,
    applied: u64,
}

impl Core {
    /// Of the first shard: who leads it leads all, or will soon.
    fn first_replica(&self) -> Option<&Replica> {
        self.replicas.iter().next().map(|(_, replica)| replica)
    }

    fn progress(&self) -> Progress {
        self.replicas.iter().fold(Progress::default(), |sum, (_, replica)| Progress {
            last: sum.last + replica.group.last().0,
            committed: sum.committed + replica.group.committed().0,
            applied: sum.applied + replica.applied.0,
        })
    }

    fn others(&self) -> Vec<Other> {
        let matched = |node| {
            let progress = self.replicas.iter().flat_map(|(_, replica)| replica.group.progress());
            progress.filter(|(id, _)| *id == node).map(|(_, index)| index.0).sum()
        };
        let other = |(node, address)| {
            let linked = self.links.is_linked(node);
            Other { node, address, linked, matched: matched(node) }
        };
        self.other_nodes().map(other).collect()
    }

    fn leads(&self) -> bool {
        !matches!(self.replicas.serving, Serving::AsReplica(_))
    }

    pub(super) fn info_replication(&self) -> String {
        let Some(first) = self.first_replica() else {
            // No stream of changes goes to anybody, so nothing is at any offset of it.
            return "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n\
                    master_failover_state:no-failover\r\nmaster_repl_offset:0\r\n"
                .into();
        };
        let (others, progress) = (self.others(), self.progress());
        let mut text = match self.leads() {
            true => info_leader(&others),
            false => info_follower(&others, first.group.leader(), progress.applied),
        };
        text += &format!(
            "master_failover_state:{}\r\nquoring_last_failover:{}\r\nmaster_repl_offset:{}\r\n\
             quoring_node:{}\r\nquoring_leader:{}\r\nquoring_last_entry:{}\r\n\
             quoring_committed:{}\r\nquoring_applied:{}\r\n",
            self.handover.state(),
            self.handover.last(),
            progress.committed,
            self.node.node,
            first.group.leader().map_or(0, |node| node.0),
            progress.last,
            progress.committed,
            progress.applied,
        );
        for (shard, replica) in self.replicas.iter() {
            text += &info_shard(shard, replica);
        }
        for (place, other) in others.iter().enumerate() {
            let link = if other.linked { "up" } else { "down" };
            text += &format!("quoring_peer{place}:node={},link={link}", other.node.0);
            if self.leads() {
                let behind = progress.last.saturating_sub(other.matched);
                text += &format!(",matched={},behind={behind}", other.matched);
            }
            text += "\r\n";
        }
        text
    }

    /// ROLE.
    pub(super) fn role(&self, reply: &mut Reply<'_>, sum: &Snapshot) {
        let Some(first) = self.first_replica() else {
            reply.array(3);
            reply.bulk(b"master");
            reply.integer(sum.log_records as i64);
            return reply.array(0);
        };
        let (others, progress) = (self.others(), self.progress());
        if self.leads() {
            reply.array(3);
            reply.bulk(b"master");
            reply.integer(progress.committed as i64);
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
        let leader = others.iter().find(|other| Some(other.node) == first.group.leader());
        reply.array(5);
        reply.bulk(b"slave");
        reply.bulk(leader.map_or(String::new(), |o| o.address.ip().to_string()).as_bytes());
        reply.integer(leader.map_or(0, |other| i64::from(other.address.port())));
        let state = if leader.is_some() { "connected" } else { "connect" };
        reply.bulk(state.as_bytes());
        reply.integer(progress.applied as i64);
    }
}

fn info_shard(shard: u16, replica: &Replica) -> String {
    let group = &replica.group;
    let standing = match replica.standing {
        Standing::Following => "following",
        Standing::Elected { .. } => "elected",
        Standing::Serving { .. } => "serving",
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

fn info_leader(others: &[Other]) -> String {
    let linked: Vec<&Other> = others.iter().filter(|other| other.linked).collect();
    let mut text = format!("# Replication\r\nrole:master\r\nconnected_slaves:{}\r\n", linked.len());
    for (place, other) in linked.iter().enumerate() {
        let Other { address, matched, .. } = other;
        let (ip, port) = (address.ip(), address.port());
        text +=
            &format!("slave{place}:ip={ip},port={port},state=online,offset={matched},lag=0\r\n");
    }
    text
}

fn info_follower(others: &[Other], leader: Option<NodeId>, applied: u64) -> String {
    let leader = others.iter().find(|other| Some(other.node) == leader);
    let host = leader.map_or(String::new(), |other| other.address.ip().to_string());
    let port = leader.map_or(0, |other| other.address.port());
    let status = if leader.is_some() { "up" } else { "down" };
    format!(
        "# Replication\r\nrole:slave\r\nmaster_host:{host}\r\nmaster_port:{port}\r\n\
         master_link_status:{status}\r\nslave_repl_offset:{applied}\r\nslave_read_only:1\r\n\
         connected_slaves:0\r\n"
    )
}
