//! What this node says of itself where a link, or a client's connection, begins.

use replication::group::NodeId;
use replication::link::hello::{FIRST_BYTES, Hello, Purpose};

use super::{Links, Place, peer};

impl Links {
    /// What this core says to a core of another node.
    pub(super) fn hello(&mut self, to: (u64, u16), link: u16) -> Hello {
        self.last_number += 1;
        let Place { cluster, node, core, cores, shard_count, .. } = self.place;
        let Place { epoch, election_timeout_ms, founded, applied, .. } = self.place;
        let directories = (self.acquaintances.own(), self.acquaintances.known(to.0));
        let (from, number, shards) = ((node.0, core, cores), self.last_number, shard_count as u16);
        let own = Hello::new(cluster, from, to, link, number, shards, directories);
        let version = self.required;
        Hello { epoch, election_timeout_ms, founded, applied, version, ..own }
    }

    /// What this node says to another one before it speaks for a client.
    pub fn client_hello(&mut self, node: NodeId) -> Hello {
        let cores = self.peers.get(&node).and_then(|peer| peer.cores);
        Hello { purpose: Purpose::Client, ..self.hello((node.0, peer::core_of(0, cores)), 0) }
    }

    /// What this node says to who has said this.
    pub(super) fn answer_to(&mut self, hello: &[u8; FIRST_BYTES]) -> Option<Hello> {
        let other = Hello::decode_first(hello).ok()?;
        Some(self.hello((other.node, other.core), other.link))
    }
}
