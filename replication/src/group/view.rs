//! How a group stands.

use raft::StateRole;

use super::{Entry, Group, Members, NodeId, Role};
use crate::ids::{Index, Term};
use crate::version::Version;

impl Group {
    pub fn role(&self) -> Role {
        match self.raft.raft.state {
            StateRole::Leader => Role::Leader,
            StateRole::Follower => Role::Follower,
            StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
        }
    }

    pub fn leader(&self) -> Option<NodeId> {
        let id = self.raft.raft.leader_id;
        (id != 0).then_some(NodeId(id))
    }

    pub fn term(&self) -> Term {
        Term(self.raft.raft.term)
    }

    /// A majority has everything up to here.
    pub fn committed(&self) -> Index {
        Index(self.raft.raft.raft_log.committed)
    }

    /// Everything up to here was handed out as committed.
    pub fn handed_out(&self) -> Index {
        Index(self.raft.raft.raft_log.applied)
    }

    pub fn last(&self) -> Index {
        Index(self.raft.raft.raft_log.last_index())
    }

    /// The first entry in memory or on disk: who lacks one before needs a checkpoint.
    pub fn first(&self) -> Index {
        Index(self.raft.raft.raft_log.first_index())
    }

    /// The term of an entry, if it is in memory or on disk, or the last one that is neither.
    pub fn term_of(&self, index: Index) -> Option<Term> {
        self.raft.raft.raft_log.term(index.0).ok().map(Term)
    }

    /// Bytes appended that are not committed, as far as this leader's own proposals go. Of one that
    /// leads no more, none: the crate goes on showing what it had.
    pub fn uncommitted_bytes(&self) -> usize {
        match self.role() {
            Role::Leader => self.raft.raft.uncommitted_size(),
            _ => 0,
        }
    }

    /// What the entries in memory take, whether others may yet lack them or not.
    pub fn kept_bytes(&self) -> usize {
        self.raft.store().bytes()
    }

    /// What may be emitted in the next entry.
    pub fn version(&self) -> Version {
        self.members.roster.version
    }

    /// The highest version that anything here says, committed or not: who does not apply it must
    /// not be sent any of it.
    pub fn said_version(&self) -> Version {
        self.said_version
    }

    pub fn members(&self) -> &Members {
        &self.members
    }

    /// What the entries in memory take.
    pub fn bytes(&self) -> usize {
        self.raft.store().bytes()
    }

    /// What was handed out as committed behind this entry, again.
    pub fn committed_behind(&self, index: Index) -> Vec<Entry> {
        let handed_out = self.raft.raft.raft_log.applied;
        let entries = self.raft.store().entries().iter();
        let wanted = entries.filter(|entry| entry.index > index.0 && entry.index <= handed_out);
        wanted.map(Into::into).collect()
    }

    /// How far each member has come by what this leader has heard.
    pub fn progress(&self) -> impl Iterator<Item = (NodeId, Index)> {
        self.raft.raft.prs().iter().map(|(id, progress)| (NodeId(*id), Index(progress.matched)))
    }
}
