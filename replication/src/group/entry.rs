//! What a group keeps: entries, votes, members.

use bytes::Bytes;
use raft::eraftpb::{self, ConfState, EntryType, SnapshotMetadata};

use super::NodeId;
use crate::ids::{Index, Term};

/// One entry of a group's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub index: Index,
    pub term: Term,
    pub kind: EntryKind,
    /// Empty in the first entry of a leader's term.
    pub payload: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// The host's bytes.
    Data,
    /// A change of the members.
    Members,
}

/// What a node has promised: it votes once a term. Must be on stable storage before any message
/// that rests on it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    pub term: Term,
    pub voted_for: Option<NodeId>,
}

impl Default for Vote {
    fn default() -> Vote {
        Vote { term: Term(0), voted_for: None }
    }
}

/// Who votes and who only follows. During a change of voters the majority of both sets decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    pub voters: Vec<NodeId>,
    pub learners: Vec<NodeId>,
    /// The voters before the change under way; empty if there is none.
    pub voters_outgoing: Vec<NodeId>,
    /// Outgoing voters that will be learners.
    pub learners_next: Vec<NodeId>,
    pub auto_leave: bool,
}

impl Members {
    pub fn of_voters(voters: impl IntoIterator<Item = NodeId>) -> Members {
        Members { voters: voters.into_iter().collect(), ..Members::default() }
    }

    pub fn contains(&self, node: NodeId) -> bool {
        [&self.voters, &self.learners, &self.voters_outgoing].iter().any(|set| set.contains(&node))
    }
}

/// What a state is as of one entry: the entry, its term, and the members then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base {
    pub index: u64,
    pub term: u64,
    pub members: Members,
}

fn ids(nodes: &[NodeId]) -> Vec<u64> {
    nodes.iter().map(|node| node.0).collect()
}

fn nodes(ids: &[u64]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

impl From<&Members> for ConfState {
    fn from(members: &Members) -> ConfState {
        let mut state = ConfState::default();
        state.set_voters(ids(&members.voters));
        state.set_learners(ids(&members.learners));
        state.set_voters_outgoing(ids(&members.voters_outgoing));
        state.set_learners_next(ids(&members.learners_next));
        state.set_auto_leave(members.auto_leave);
        state
    }
}

impl From<ConfState> for Members {
    fn from(state: ConfState) -> Members {
        Members {
            voters: nodes(state.get_voters()),
            learners: nodes(state.get_learners()),
            voters_outgoing: nodes(state.get_voters_outgoing()),
            learners_next: nodes(state.get_learners_next()),
            auto_leave: state.get_auto_leave(),
        }
    }
}

impl From<&SnapshotMetadata> for Base {
    fn from(metadata: &SnapshotMetadata) -> Base {
        Base {
            index: metadata.index,
            term: metadata.term,
            members: metadata.get_conf_state().clone().into(),
        }
    }
}

impl From<&eraftpb::Entry> for Entry {
    fn from(entry: &eraftpb::Entry) -> Entry {
        let kind = match entry.get_entry_type() {
            EntryType::EntryNormal => EntryKind::Data,
            EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => EntryKind::Members,
        };
        let (index, term) = (Index(entry.index), Term(entry.term));
        Entry { index, term, kind, payload: entry.data.clone() }
    }
}

impl From<&Entry> for eraftpb::Entry {
    fn from(entry: &Entry) -> eraftpb::Entry {
        let mut raw = eraftpb::Entry::default();
        raw.set_entry_type(match entry.kind {
            EntryKind::Data => EntryType::EntryNormal,
            // The only form that a group proposes.
            EntryKind::Members => EntryType::EntryConfChangeV2,
        });
        raw.index = entry.index.0;
        raw.term = entry.term.0;
        raw.data = entry.payload.clone();
        raw
    }
}
