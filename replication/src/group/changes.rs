//! Changes of members: how they are proposed, and what comes of them once they are committed. The
//! crate's entry for them has room for bytes of its host: that is the roster, as it is from then
//! on.

use protobuf::Message as _;
use raft::eraftpb::{
    ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, EntryType, Message,
    MessageType,
};

use raft::ProgressState;

use super::roster::Roster;
use super::{Group, Members, NodeId, Refusal, Role};
use crate::ids::Index;

impl Group {
    /// Makes the members these: one step if a single one changes, else over a joint majority.
    pub fn change_members(
        &mut self,
        voters: &[NodeId],
        learners: &[NodeId],
    ) -> Result<Index, Refusal> {
        self.propose_change(changes(&self.members, voters, learners), Vec::new())
    }

    /// Takes one step towards these members: a node more or less, or one that votes from then on.
    /// With the step, or alone if there is none to take, the roster becomes this one. At most one
    /// change is under way at a time ([`Group::can_change`]).
    pub fn step_to(
        &mut self,
        voters: &[NodeId],
        learners: &[NodeId],
        roster: &Roster,
    ) -> Result<Index, Refusal> {
        let mut steps = changes(&self.members, voters, learners);
        // To make a voter of one that is changes nothing, but is a change.
        let own = self.members.voters.first().ok_or(Refusal::Busy)?;
        steps.push(single(ConfChangeType::AddNode, own));
        steps.truncate(1);
        let mut said = Vec::new();
        roster.encode(&mut said);
        self.propose_change(steps, said)
    }

    /// Whether a change would be taken: the crate makes an entry of nothing of one that comes while
    /// another is under way.
    pub fn can_change(&self) -> bool {
        self.accepts()
            && self.raft.raft.commit_to_current_term()
            && !self.raft.raft.has_pending_conf()
            && self.members.voters_outgoing.is_empty()
    }

    fn propose_change(
        &mut self,
        steps: Vec<ConfChangeSingle>,
        said: Vec<u8>,
    ) -> Result<Index, Refusal> {
        let mut change = ConfChangeV2::default();
        change.set_transition(ConfChangeTransition::Auto);
        change.set_changes(steps.into());
        change.context = said.into();
        let mut entry = raft::eraftpb::Entry::default();
        entry.set_entry_type(EntryType::EntryConfChangeV2);
        entry.data = change.write_to_bytes().map_err(|_| Refusal::Busy)?.into();
        self.append(entry)
    }

    /// A change is committed.
    pub(super) fn apply_change(&mut self, mut change: ConfChangeV2) {
        let all = change.changes.len();
        change.mut_changes().retain(|step| !self.lost.contains(&NodeId(step.node_id)));
        // Without any steps it would be the end of a change over a joint majority.
        let any = all == 0 || !change.changes.is_empty();
        // A version is never lowered, whatever was proposed.
        let version = self.version();
        let roster = Roster::decode(&change.context)
            .map(|roster| Roster { version: roster.version.max(version), ..roster });
        if any && let Ok(state) = self.raft.apply_conf_change(&change) {
            let roster = std::mem::take(&mut self.members.roster);
            self.members = Members { roster, ..state.into() };
        }
        if let Some(roster) = roster {
            let members = std::mem::take(&mut self.members);
            self.members = Members { roster, ..members }.without(&self.lost);
        }
        self.step_down_if_removed();
    }

    /// A leader that is no voter any more leads no longer: the crate would go on, and fail.
    fn step_down_if_removed(&mut self) {
        let own = NodeId(self.raft.raft.id);
        let votes =
            self.members.voters.contains(&own) || self.members.voters_outgoing.contains(&own);
        if !votes && self.role() == Role::Leader {
            let term = self.raft.raft.term;
            self.raft.raft.become_follower(term, 0);
        }
    }

    /// Leads no more, and whoever can may be elected; this node too.
    pub fn resign(&mut self) {
        if self.role() == Role::Leader {
            let term = self.raft.raft.term;
            self.raft.raft.become_follower(term, 0);
            self.settle();
        }
    }

    /// Whether this node leaves it to the others to stand for election, if any of them does. It
    /// votes in any case, and does stand when a leader tells it to.
    pub fn set_reluctant(&mut self, reluctant: bool) {
        if std::mem::replace(&mut self.reluctant, reluctant) != reluctant {
            self.draw_election_timeout();
            self.settle();
        }
    }

    /// How many entries a member lacks, by what this leader has heard of it lately.
    pub fn lag_of_member(&self, node: NodeId) -> Option<u64> {
        if self.role() != Role::Leader {
            return None;
        }
        let last = self.raft.raft.raft_log.last_index();
        if node.0 == self.raft.raft.id {
            return Some(0);
        }
        let progress = self.raft.raft.prs().get(node.0)?;
        progress.recent_active.then(|| last.saturating_sub(progress.matched))
    }

    /// The last entry that a majority has for certain, by what this leader has heard. After a
    /// change it may be another majority than the one that has committed everything so far: what
    /// that one lacks cannot come in a checkpoint, which has to be committed itself. While a change
    /// is under way all may be needed who can be given what they lack, whether they are heard at
    /// the moment or not, and those of whom this leader has not heard yet what they have.
    pub(super) fn needed_by_majority(&self) -> u64 {
        if self.role() != Role::Leader {
            return u64::MAX;
        }
        let progress = self.raft.raft.prs();
        let has = |node: &NodeId| progress.get(node.0).map_or(0, |of_node| of_node.matched);
        let mut voters: Vec<u64> = self.members.voters.iter().map(has).collect();
        voters.sort_unstable_by(|a, b| b.cmp(a));
        let majority = voters.get(voters.len() / 2).copied().unwrap_or(u64::MAX);
        if !self.raft.raft.has_pending_conf() {
            return majority;
        }
        let behind = self.memory_behind().0;
        let matched = progress.iter().map(|(_, one)| one.matched);
        matched.filter(|matched| *matched == 0 || *matched >= behind).fold(majority, u64::min)
    }

    /// Whether a member gets entries as they come, and lacks few.
    pub fn is_close(&self, node: NodeId, entries_max: u64) -> bool {
        self.has_what_lacks(node) && self.lag_of_member(node).is_some_and(|lag| lag <= entries_max)
    }

    /// Whether a member gets entries as they come, and this leader has all that it lacks in memory:
    /// what the log has may go. One that lacks nothing is not sent anything, and so does not show
    /// that it would take it: it has to be heard.
    fn has_what_lacks(&self, node: NodeId) -> bool {
        let (behind, last) = (self.memory_behind().0, self.last().0);
        let progress = self.raft.raft.prs().get(node.0);
        progress.is_some_and(|progress| {
            let follows = progress.state == ProgressState::Replicate
                || progress.recent_active && progress.matched == last;
            follows && progress.matched >= behind
        })
    }

    /// What a learner confirms is another voter's word too: a planted fault.
    pub(super) fn count_for_voter(&mut self, message: &Message) {
        let confirms = matches!(
            message.get_msg_type(),
            MessageType::MsgAppendResponse | MessageType::MsgHeartbeatResponse
        );
        let own = self.raft.raft.id;
        let other = self.members.voters.iter().find(|voter| voter.0 != own);
        if confirms && self.members.learners.contains(&NodeId(message.from)) {
            let from = other.map_or(message.from, |voter| voter.0);
            // What comes of it is seen by those who look for it.
            let _ = self.raft.step(Message { from, ..message.clone() });
        }
    }

    /// Whether a majority of these would commit what comes without a checkpoint.
    pub fn would_commit(&self, voters: &[NodeId]) -> bool {
        let ready = |node: &&NodeId| node.0 == self.raft.raft.id || self.has_what_lacks(**node);
        voters.iter().filter(ready).count() * 2 > voters.len()
    }
}

fn single(kind: ConfChangeType, node: &NodeId) -> ConfChangeSingle {
    let mut change = ConfChangeSingle::default();
    change.set_change_type(kind);
    change.node_id = node.0;
    change
}

/// What turns one set of members into another.
pub(super) fn changes(
    now: &Members,
    voters: &[NodeId],
    learners: &[NodeId],
) -> Vec<ConfChangeSingle> {
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
