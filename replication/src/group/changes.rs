//! Changes of members, as the crate names them.

use raft::eraftpb::{ConfChangeSingle, ConfChangeType};

use super::{Members, NodeId};

/// What turns one set of members into another.
pub(super) fn changes(
    now: &Members,
    voters: &[NodeId],
    learners: &[NodeId],
) -> Vec<ConfChangeSingle> {
    let single = |kind, node: &NodeId| {
        let mut change = ConfChangeSingle::default();
        change.set_change_type(kind);
        change.node_id = node.0;
        change
    };
    let added = |new: &[NodeId], old: &[NodeId], kind| -> Vec<_> {
        new.iter().filter(|node| !old.contains(node)).map(|node| single(kind, node)).collect()
    };
    let gone = now.voters.iter().chain(&now.learners);
    let gone = gone.filter(|node| !voters.contains(node) && !learners.contains(node));
    let mut changes = added(voters, &now.voters, ConfChangeType::AddNode);
    changes.extend(added(learners, &now.learners, ConfChangeType::AddLearnerNode));
    changes.extend(gone.map(|node| single(ConfChangeType::RemoveNode, node)));
    changes
}
