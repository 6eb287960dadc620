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
    /// Up to which entry it is known to have everything; only a leader knows.
    matched: u64,
}

impl Core {
    /// The first group of this core: a node of a cluster has one core and one shard.
    fn first_replica(&self) -> Option<&Replica> {
        self.replicas.iter().next().map(|(_, replica)| replica)
    }

    fn others(&self, replica: &Replica) -> Vec<Other> {
        let nodes = self.config.cluster.as_ref().map(|cluster| cluster.others());
        let matched = |node| {
            let mut progress = replica.group.progress();
            progress.find(|(id, _)| *id == node).map_or(0, |(_, index)| index.0)
        };
        let other = |(node, address)| {
            let linked = self.links.is_linked(node);
            Other { node, address, linked, matched: matched(node) }
        };
        nodes.unwrap_or_default().into_iter().map(other).collect()
    }

    fn leads(&self) -> bool {
        !matches!(self.replicas.serving, Serving::AsReplica(_))
    }

    pub(super) fn info_replication(&self) -> String {
        let Some(replica) = self.first_replica() else {
            // No stream of changes goes to anybody, so nothing is at any offset of it.
            let text =
                "# Replication\r\nrole:master\r\nconnected_slaves:0\r\nmaster_repl_offset:0\r\n";
            return text.into();
        };
        let others = self.others(replica);
        let mut text = match self.leads() {
            true => info_leader(&others),
            false => info_follower(&others, replica.group.leader(), replica.applied.0),
        };
        let group = &replica.group;
        let standing = match replica.standing {
            Standing::Following => "following",
            Standing::Elected { .. } => "elected",
            Standing::Serving { .. } => "serving",
            Standing::Rebuilding { .. } => "rebuilding",
        };
        text += &format!(
            "master_repl_offset:{}\r\nquoring_node:{}\r\nquoring_leader:{}\r\nquoring_standing:\
             {standing}\r\nquoring_term:{}\r\nquoring_last_entry:{}\r\nquoring_committed:{}\r\n\
             quoring_applied:{}\r\n",
            group.committed().0,
            self.node.node,
            group.leader().map_or(0, |node| node.0),
            group.term().0,
            group.last().0,
            group.committed().0,
            replica.applied.0,
        );
        for (place, other) in others.iter().enumerate() {
            let link = if other.linked { "up" } else { "down" };
            text += &format!("quoring_peer{place}:node={},link={link}", other.node.0);
            if self.leads() {
                let behind = group.last().0.saturating_sub(other.matched);
                text += &format!(",matched={},behind={behind}", other.matched);
            }
            text += "\r\n";
        }
        text
    }

    /// ROLE.
    pub(super) fn role(&self, reply: &mut Reply<'_>, sum: &Snapshot) {
        let Some(replica) = self.first_replica() else {
            reply.array(3);
            reply.bulk(b"master");
            reply.integer(sum.log_records as i64);
            return reply.array(0);
        };
        let others = self.others(replica);
        if self.leads() {
            reply.array(3);
            reply.bulk(b"master");
            reply.integer(replica.group.committed().0 as i64);
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
        let leader = others.iter().find(|other| Some(other.node) == replica.group.leader());
        reply.array(5);
        reply.bulk(b"slave");
        reply.bulk(leader.map_or(String::new(), |o| o.address.ip().to_string()).as_bytes());
        reply.integer(leader.map_or(0, |other| i64::from(other.address.port())));
        let state = if leader.is_some() { "connected" } else { "connect" };
        reply.bulk(state.as_bytes());
        reply.integer(replica.applied.0 as i64);
    }
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
