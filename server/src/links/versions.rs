//! Which versions of the cluster the other nodes' programs apply, and that nobody gets what its own
//! does not (`server/adr/0018`). What a core's groups have said is what its links require: before a
//! message leaves that may bring a version to a node, no link stands with one that lacks it.

use replication::fault::{Fault, is_planted};
use replication::group::NodeId;
use replication::link::LinkError;
use replication::version::{NotApplied, Version, Versions};

use super::Links;

impl Links {
    /// From now on the other side of each link must apply this version. Links with those that do
    /// not end; hellos say why they do not come back.
    pub fn require(&mut self, version: Version) {
        if version <= self.required {
            return;
        }
        self.required = version;
        if is_planted(Fault::VersionsUnchecked) {
            return;
        }
        let lacking = self.peers.iter().filter(|(_, peer)| !peer.applied.contains(version));
        let lacking: Vec<(NodeId, Versions)> =
            lacking.map(|(node, peer)| (*node, peer.applied)).collect();
        for (node, applied) in lacking {
            let Some(peer) = self.peers.get(&node) else { continue };
            let standing = peer.routes.iter().filter(|route| route.stands());
            let conns: Vec<_> = standing.filter_map(|route| route.conn()).collect();
            let (node, address) = (node.0, peer.address);
            for conn in conns {
                let error = NotApplied { version, applied };
                let error = LinkError::CannotApply { node, error };
                self.stats.on_refused(address, error, self.now_ns);
                self.give_up(conn);
            }
        }
    }

    /// What a node's program applies; not known of one that is not linked.
    pub fn applied_by(&self, node: NodeId) -> Option<Versions> {
        if node == self.place.node {
            return Some(self.place.applied);
        }
        self.peers.get(&node).filter(|peer| peer.is_linked()).map(|peer| peer.applied)
    }
}
