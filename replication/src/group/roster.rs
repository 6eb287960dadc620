//! Who the nodes of a cluster are: their addresses and data directories, and what each is to do.
//! Goes with the members of every group, in the entries that change them and in what is kept of
//! them, so that whoever has the members knows where they are (`server/adr/0014`). The cluster's
//! version is among it (`server/adr/0018`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::NodeId;
use crate::link::hello::DirectoryId;
use crate::version::Version;

/// What a node does beside having replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Duty {
    /// It may lead.
    #[default]
    Full,
    /// It hands over what it leads, and stands for election only where no other does.
    Drained,
    /// The same, and it is to be removed.
    Leaving,
}

/// A node as the others know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    pub node: NodeId,
    /// Of its port for other nodes.
    pub address: SocketAddr,
    /// Zeros where it is not known.
    pub directory: DirectoryId,
    pub duty: Duty,
}

/// All nodes, ascending by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    pub nodes: Vec<Known>,
    /// The highest number that any node has had: none is given twice.
    pub last_node: u64,
    /// What may be emitted where this roster holds.
    pub version: Version,
}

impl Roster {
    pub fn get(&self, node: NodeId) -> Option<&Known> {
        self.nodes.iter().find(|known| known.node == node)
    }

    pub fn get_mut(&mut self, node: NodeId) -> Option<&mut Known> {
        self.nodes.iter_mut().find(|known| known.node == node)
    }

    /// Whether the node had been one of these, and is no more.
    pub fn has_removed(&self, node: NodeId) -> bool {
        !self.nodes.is_empty() && node.0 <= self.last_node && self.get(node).is_none()
    }

    /// Gives a node the next number.
    pub fn add(&mut self, address: SocketAddr, directory: DirectoryId) -> NodeId {
        self.last_node += 1;
        let node = NodeId(self.last_node);
        self.nodes.push(Known { node, address, directory, duty: Duty::Full });
        node
    }

    pub fn remove(&mut self, node: NodeId) {
        self.nodes.retain(|known| known.node != node);
    }

    /// `last-node:u64 count:u8`, then of each node `number:u64 directory:16 duty:u8 address`, where
    /// `address` is `4 or 6:u8`, the bytes of the IP address, `port:u16`; then `version:u16`, which
    /// is left out where it is 1. Little-endian but for the IP address.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.last_node.to_le_bytes());
        out.push(u8::try_from(self.nodes.len()).expect("a cluster has few nodes"));
        for Known { node, address, directory, duty } in &self.nodes {
            out.extend_from_slice(&node.0.to_le_bytes());
            out.extend_from_slice(&directory.0);
            out.push(match duty {
                Duty::Full => 0,
                Duty::Drained => 1,
                Duty::Leaving => 2,
            });
            encode_address(address, out);
        }
        if self.version > Version(1) {
            out.extend_from_slice(&self.version.0.to_le_bytes());
        }
    }

    /// Reads what [`Roster::encode`] wrote, all of it.
    pub fn decode(mut bytes: &[u8]) -> Option<Roster> {
        let rest = &mut bytes;
        let last_node = u64::from_le_bytes(take(rest)?);
        let [count] = take(rest)?;
        let mut nodes = Vec::new();
        for _ in 0..count {
            let node = NodeId(u64::from_le_bytes(take(rest)?));
            let directory = DirectoryId(take(rest)?);
            let duty = match take(rest)? {
                [0] => Duty::Full,
                [1] => Duty::Drained,
                [2] => Duty::Leaving,
                [_] => return None,
            };
            nodes.push(Known { node, address: decode_address(rest)?, directory, duty });
        }
        let bytes_left = rest.len();
        let version = match bytes_left {
            0 => Version(1),
            _ => Version(u16::from_le_bytes(take(rest)?)),
        };
        let ascending = nodes.is_sorted_by(|a, b| a.node < b.node);
        let said = bytes_left == 0 || version > Version(1);
        (ascending && said && rest.is_empty()).then_some(Roster { nodes, last_node, version })
    }
}

pub fn encode_address(address: &SocketAddr, out: &mut Vec<u8>) {
    match address.ip() {
        IpAddr::V4(ip) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(6);
            out.extend_from_slice(&ip.octets());
        }
    }
    out.extend_from_slice(&address.port().to_le_bytes());
}

pub fn decode_address(rest: &mut &[u8]) -> Option<SocketAddr> {
    let ip = match take(rest)? {
        [4] => IpAddr::V4(Ipv4Addr::from(take::<4>(rest)?)),
        [6] => IpAddr::V6(Ipv6Addr::from(take::<16>(rest)?)),
        [_] => return None,
    };
    Some(SocketAddr::new(ip, u16::from_le_bytes(take(rest)?)))
}

/// The next bytes of what is left.
pub fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_roster_is_read_back_whole_or_not_at_all() {
        let mut roster = Roster::default();
        let first = roster.add(SocketAddr::from(([10, 0, 0, 1], 0x0203)), DirectoryId([7; 16]));
        let second = roster.add(SocketAddr::from(([1; 8], 9)), DirectoryId::default());
        roster.get_mut(second).unwrap().duty = Duty::Leaving;
        let mut bytes = Vec::new();
        roster.encode(&mut bytes);
        let mut expected = b"\x02\0\0\0\0\0\0\0\x02\x01\0\0\0\0\0\0\0".to_vec();
        expected.extend_from_slice(&[7; 16]);
        expected.extend_from_slice(b"\0\x04\x0a\0\0\x01\x03\x02\x02\0\0\0\0\0\0\0");
        expected.extend_from_slice(&[0; 16]);
        expected
            .extend_from_slice(b"\x02\x06\0\x01\0\x01\0\x01\0\x01\0\x01\0\x01\0\x01\0\x01\x09\0");
        assert_eq!(bytes, expected);
        assert_eq!(Roster::decode(&bytes), Some(roster.clone()));
        assert_eq!(Roster::decode(&bytes[..bytes.len() - 1]), None);
        assert_eq!(Roster::decode(&[&bytes[..], &[0]].concat()), None);
        roster.version = Version(0x0203);
        let mut longer = Vec::new();
        roster.encode(&mut longer);
        assert_eq!(longer, [&bytes[..], b"\x03\x02"].concat());
        assert_eq!(Roster::decode(&longer), Some(roster.clone()));
        assert_eq!(Roster::decode(&[&longer[..], &[0]].concat()), None);
        assert_eq!(Roster::decode(&[&bytes[..], &[1, 0]].concat()), None);
        // A number is not given again.
        roster.remove(second);
        assert!(roster.has_removed(second) && !roster.has_removed(first));
        assert_eq!(roster.add(SocketAddr::from(([1; 8], 9)), DirectoryId([1; 16])), NodeId(3));
        assert!(!roster.has_removed(NodeId(4)));
    }
}
