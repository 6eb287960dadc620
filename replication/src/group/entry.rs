//! What a group keeps: entries, votes, members.

use bytes::Bytes;
use raft::eraftpb::{self, ConfState, EntryType, Snapshot};

use super::NodeId;
use super::roster::Roster;
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

impl Vote {
    /// Whether it may stand where `other` does: it promises all that the other does.
    pub fn covers(&self, other: &Vote) -> bool {
        self.term > other.term || self.term == other.term && self.voted_for >= other.voted_for
    }
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
    /// Where they are. Without nodes where the cluster has never been told, as those that older
    /// programs made.
    pub roster: Roster,
}

impl Members {
    pub fn of_voters(voters: impl IntoIterator<Item = NodeId>) -> Members {
        Members { voters: voters.into_iter().collect(), ..Members::default() }
    }

    /// Each list with the number of its nodes (u8) before it, whether the change ends by itself
    /// (u8), and the roster if it has nodes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for list in [&self.voters, &self.learners, &self.voters_outgoing, &self.learners_next] {
            out.push(u8::try_from(list.len()).expect("a group has few members"));
            list.iter().for_each(|node| out.extend_from_slice(&node.0.to_le_bytes()));
        }
        out.push(u8::from(self.auto_leave));
        if self.roster != Roster::default() {
            self.roster.encode(out);
        }
    }

    /// Reads what [`Members::encode`] wrote, all of it.
    pub fn decode(bytes: &[u8]) -> Option<Members> {
        let mut rest = bytes;
        let mut list = || {
            let (count, behind) = rest.split_first()?;
            let (list, behind) = behind.split_at_checked(usize::from(*count) * 8)?;
            rest = behind;
            let (ids, _) = list.as_chunks::<8>();
            Some(ids.iter().map(|id| NodeId(u64::from_le_bytes(*id))).collect())
        };
        let (voters, learners) = (list()?, list()?);
        let (voters_outgoing, learners_next) = (list()?, list()?);
        let (&auto_leave @ (0 | 1), rest) = rest.split_first()? else { return None };
        let auto_leave = auto_leave == 1;
        let roster = match rest {
            [] => Roster::default(),
            rest => Roster::decode(rest)?,
        };
        Some(Members { voters, learners, voters_outgoing, learners_next, auto_leave, roster })
    }

    /// Without nodes that do not count any more.
    pub fn without(mut self, lost: &[NodeId]) -> Members {
        let sets = [&mut self.voters, &mut self.learners, &mut self.voters_outgoing];
        for set in sets.into_iter().chain([&mut self.learners_next]) {
            set.retain(|node| !lost.contains(node));
        }
        self.roster.nodes.retain(|known| !lost.contains(&known.node));
        self
    }

    /// Whether the same nodes vote and learn, and no change is under way.
    pub fn is_as(&self, goal: &Members) -> bool {
        let same = |some: &[NodeId], others: &[NodeId]| {
            some.len() == others.len() && some.iter().all(|node| others.contains(node))
        };
        self.voters_outgoing.is_empty()
            && same(&self.voters, &goal.voters)
            && same(&self.learners, &goal.learners)
            && self.roster == goal.roster
    }

    pub fn contains(&self, node: NodeId) -> bool {
        [&self.voters, &self.learners, &self.voters_outgoing].iter().any(|set| set.contains(&node))
    }
}

/// What a state is as of one entry: the entry, its term, and the group then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base {
    pub index: u64,
    pub term: u64,
    pub members: Members,
    /// See [`crate::release::Release::note_ended`]. Nodes do not tell each other: the state does.
    pub ended: Option<Index>,
}

fn ids(nodes: &[NodeId]) -> Vec<u64> {
    nodes.iter().map(|node| node.0).collect()
}

fn nodes(ids: &[u64]) -> Vec<NodeId> {
    let mut nodes: Vec<NodeId> = ids.iter().copied().map(NodeId).collect();
    nodes.sort_unstable();
    nodes
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
            roster: Roster::default(),
        }
    }
}

impl Base {
    pub(super) fn without(self, lost: &[NodeId]) -> Base {
        Base { members: self.members.without(lost), ..self }
    }

    /// What a leader says of a checkpoint: the roster is beside what the crate knows of.
    pub(super) fn of_message(snapshot: &Snapshot) -> Base {
        let metadata = snapshot.get_metadata();
        let mut members = Members::from(metadata.get_conf_state().clone());
        members.roster = Roster::decode(&snapshot.data).unwrap_or_default();
        Base { index: metadata.index, term: metadata.term, members, ended: None }
    }

    pub(super) fn to_message(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        metadata.set_conf_state(ConfState::from(&self.members));
        (metadata.index, metadata.term) = (self.index, self.term);
        let mut roster = Vec::new();
        self.members.roster.encode(&mut roster);
        snapshot.data = roster.into();
        snapshot
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_back_whole_or_not_at_all() {
        let members = Members {
            voters: vec![NodeId(1), NodeId(0x0203)],
            learners: vec![],
            voters_outgoing: vec![NodeId(4)],
            learners_next: vec![NodeId(5)],
            auto_leave: true,
            roster: Roster::default(),
        };
        let mut bytes = Vec::new();
        members.encode(&mut bytes);
        let expected = b"\x02\x01\0\0\0\0\0\0\0\x03\x02\0\0\0\0\0\0\x00\
            \x01\x04\0\0\0\0\0\0\0\x01\x05\0\0\0\0\0\0\0\x01";
        assert_eq!(bytes, expected);
        assert_eq!(Members::decode(&bytes), Some(members.clone()));
        assert_eq!(Members::decode(&bytes[..bytes.len() - 1]), None);
        assert_eq!(Members::decode(&[&bytes[..], &[0]].concat()), None);
        assert_eq!(Members::decode(&[]), None);
        let mut known = members;
        known.roster.add(([127, 0, 0, 1], 7).into(), Default::default());
        let mut longer = Vec::new();
        known.encode(&mut longer);
        assert_eq!(longer[..bytes.len()], bytes);
        assert_eq!(Members::decode(&longer), Some(known));
    }
}
