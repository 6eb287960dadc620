//! The cluster that a node is part of, as an operator names it: the same on all its nodes but for
//! which of them this is.

use std::net::{SocketAddr, ToSocketAddrs};

use engine::rng::Rng;
use replication::group::roster::{Duty, Known, Roster};
use replication::group::{Members, NodeId};
use replication::link::hello::DirectoryId;
use replication::version::Version;

/// Most nodes of a cluster: a group has one replica on each.
pub const NODES_MAX: usize = 7;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// From the token that its nodes share.
    pub id: u128,
    pub node: NodeId,
    /// All nodes as far as they were known when this was written, with the addresses of their ports
    /// for nodes, ascending by id.
    pub nodes: Vec<(NodeId, SocketAddr)>,
    /// An operator has said so at this start, whatever addresses the nodes know each other by.
    pub told: bool,
    /// Those that the cluster began with: members of every group before its first entry.
    pub founders: Vec<NodeId>,
    /// The version that it began with.
    pub founded: Version,
    /// How often a survivor went on alone without a majority of the others.
    pub epoch: u8,
    /// Those that do not count any more since then.
    pub lost: Vec<NodeId>,
}

impl Cluster {
    /// From `--cluster-token`, `--node` and `--nodes`, which are given together or not at all.
    pub fn parse(
        token: Option<&str>,
        node: Option<u64>,
        nodes: Option<&str>,
    ) -> Result<Option<Cluster>, String> {
        let (token, node, nodes) = match (token, node, nodes) {
            (None, None, None) => return Ok(None),
            (Some(token), Some(node), Some(nodes)) => (token, node, nodes),
            _ => return Err("cluster-token, node and nodes go together: name all three".into()),
        };
        let id = id_of_token(token)?;
        let nodes = parse_nodes(nodes)?;
        let node = NodeId(node);
        if !nodes.iter().any(|(id, _)| *id == node) {
            return Err(format!("node {} is not among nodes", node.0));
        }
        let told = true;
        Ok(Some(Cluster { told, ..Cluster::of(id, node, nodes) }))
    }

    /// A cluster that begins with these nodes, and the newest version.
    pub fn of(id: u128, node: NodeId, nodes: Vec<(NodeId, SocketAddr)>) -> Cluster {
        let founders = nodes.iter().map(|(id, _)| *id).collect();
        let (founded, lost) = (Version::NEWEST, Vec::new());
        Cluster { id, node, nodes, told: false, founders, founded, epoch: 0, lost }
    }

    /// What every group begins with. Directories are not known: nodes meet, and note them.
    pub fn members(&self) -> Members {
        let known = |(node, address): &(NodeId, SocketAddr)| Known {
            node: *node,
            address: *address,
            directory: DirectoryId::default(),
            duty: Duty::Full,
        };
        let nodes: Vec<Known> = self.nodes.iter().map(known).collect();
        if nodes.is_empty() {
            return Members::of_voters(self.founders.iter().copied()).without(&self.lost);
        }
        let all = nodes.iter().map(|known| known.node).chain(self.lost.iter().copied());
        let last_node = all.chain(self.founders.iter().copied()).map(|node| node.0).max();
        let roster = Roster { nodes, last_node: last_node.unwrap_or(0), version: self.founded };
        let voters = self.founders.clone();
        Members { voters, roster, ..Members::default() }.without(&self.lost)
    }

    /// For the hash of keys: a secret of the nodes, as the token is.
    pub fn hash_seeds(&self) -> [u64; 4] {
        let mut rng = Rng::new(self.id as u64 ^ (self.id >> 64) as u64);
        std::array::from_fn(|_| rng.next_u64())
    }

    /// The port for nodes of this one.
    pub fn own_port(&self) -> Option<u16> {
        self.nodes.iter().find(|(id, _)| *id == self.node).map(|(_, address)| address.port())
    }

    /// The nodes as `--nodes` names them.
    pub fn nodes_text(&self) -> String {
        let name = |(node, address): &(NodeId, SocketAddr)| format!("{}={address}", node.0);
        self.nodes.iter().map(name).collect::<Vec<_>>().join(",")
    }

    /// Where a node is by what an operator has said at this start.
    pub fn told_address(&self, node: NodeId) -> Option<SocketAddr> {
        let told = self.nodes.iter().find(|(id, _)| self.told && *id == node);
        told.map(|(_, address)| *address)
    }
}

/// The number of the cluster whose nodes share this secret.
pub fn id_of_token(token: &str) -> Result<u128, String> {
    match token.len() < 8 {
        true => Err("cluster-token is a secret of the nodes: 8 characters or more".into()),
        false => Ok(fnv1a_128(token.as_bytes())),
    }
}

/// `1=10.0.0.1:16379,2=10.0.0.2:16379,…`
fn parse_nodes(text: &str) -> Result<Vec<(NodeId, SocketAddr)>, String> {
    let mut nodes = Vec::new();
    for part in text.split(',') {
        let wrong = || format!("nodes has '{part}', which is not of the form 1=HOST:PORT");
        let (id, address) = part.trim().split_once('=').ok_or_else(wrong)?;
        let id: u64 = id.parse().ok().filter(|id| *id > 0).ok_or_else(wrong)?;
        let mut found = address
            .to_socket_addrs()
            .map_err(|error| format!("nodes has '{address}', which has no address: {error}"))?;
        let address = found.next().ok_or_else(wrong)?;
        nodes.push((NodeId(id), address));
    }
    nodes.sort_unstable();
    let doubled = |pair: &[(NodeId, SocketAddr)]| pair[0].0 == pair[1].0;
    if nodes.windows(2).any(doubled) {
        return Err("nodes names a node twice".into());
    }
    let mut addresses: Vec<SocketAddr> = nodes.iter().map(|(_, address)| *address).collect();
    addresses.sort_unstable();
    if addresses.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err("nodes gives two nodes the same address".into());
    }
    if !(2..=NODES_MAX).contains(&nodes.len()) {
        return Err(format!("nodes names 2 to {NODES_MAX} nodes, not {}", nodes.len()));
    }
    Ok(nodes)
}

/// Fowler, Noll, Vo.
fn fnv1a_128(bytes: &[u8]) -> u128 {
    let start = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    let prime = 0x0000_0000_0100_0000_0000_0000_0000_013b_u128;
    bytes.iter().fold(start, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(prime))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(node: u64, nodes: &str) -> Result<Cluster, String> {
        Cluster::parse(Some("a secret"), Some(node), Some(nodes)).map(Option::unwrap)
    }

    #[test]
    fn a_cluster_is_named_whole() {
        let cluster = parse(2, "2=127.0.0.1:8, 1=127.0.0.1:7").unwrap();
        assert_eq!(cluster.own_port(), Some(8));
        assert_eq!(cluster.nodes_text(), "1=127.0.0.1:7,2=127.0.0.1:8");
        assert_eq!(cluster.founders, [NodeId(1), NodeId(2)]);
        assert_eq!(cluster.members().roster.last_node, 2);
        assert_eq!(cluster.told_address(NodeId(1)), Some(([127, 0, 0, 1], 7).into()));
        assert_eq!(Cluster::parse(None, None, None), Ok(None));
        for (node, nodes, part) in [
            (3, "1=127.0.0.1:7,2=127.0.0.1:8", "not among"),
            (1, "1=127.0.0.1:7", "2 to 7"),
            (1, "1=127.0.0.1:7,1=127.0.0.1:8", "twice"),
            (1, "1=127.0.0.1:7,2=127.0.0.1:7", "same address"),
            (1, "1=127.0.0.1:7,x", "1=HOST:PORT"),
            (1, "1=127.0.0.1:7,0=127.0.0.1:8", "1=HOST:PORT"),
        ] {
            let error = parse(node, nodes).unwrap_err();
            assert!(error.contains(part), "{nodes}: {error}");
        }
        assert!(Cluster::parse(Some("a secret"), Some(1), None).is_err());
        assert!(Cluster::parse(Some("short"), Some(1), Some("1=127.0.0.1:7")).is_err());
    }

    /// Vector of the FNV reference code: the offset basis, and the hash of "foobar".
    #[test]
    fn the_hash_is_fnv1a() {
        assert_eq!(fnv1a_128(b""), 0x6c62272e07bb014262b821756295c58d);
        assert_eq!(fnv1a_128(b"foobar"), 0x343e1662793c64bf6f0d3597ba446f18);
    }
}
