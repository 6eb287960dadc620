//! The lead of a group goes to another node because its leader wants that, or comes back.
//!
//! The crate's word to stand for election at once makes voters ignore what they have promised the
//! leader of now. From the moment when it may be said there is no lease in this term.

use raft::eraftpb::{Message, MessageType};

use super::{Group, NodeId, Role};
use crate::fault::{Fault, is_planted};

impl Group {
    /// How many entries another voter lacks, by what this leader has heard of it; nothing if it is
    /// no voter, or has not been heard of lately.
    pub fn lag_of(&self, node: NodeId) -> Option<u64> {
        self.members.voters.contains(&node).then(|| self.lag_of_member(node))?
    }

    /// Hands leadership to another voter, which stands for election once it has every entry. Even
    /// if that fails there is no lease until the term ends: the word to stand may arrive any time.
    /// So a leader that nobody has followed within an election timeout takes the lead back.
    pub fn hand_over(&mut self, to: NodeId) {
        if self.role() != Role::Leader || to.0 == self.raft.raft.id {
            return;
        }
        if !is_planted(Fault::LeaseKept) {
            self.lease.give_up();
        }
        self.raft.transfer_leader(to.0);
        self.settle();
    }

    /// A hand-over did not come about, as it seems: this leader stands for election itself,
    /// whatever the others have promised it. In the new term the word that the other one was given
    /// counts no more: whoever follows it gets no majority beside this node's. Not before its own
    /// log is on stable storage, on which the crate insists where the own vote is a majority: a
    /// later tick tries again.
    pub fn take_back(&mut self) {
        let log = &self.raft.raft.raft_log;
        let is_stable = log.persisted == log.last_index();
        if self.role() != Role::Leader || !self.lease.is_given_up() || !is_stable {
            return;
        }
        let (id, term) = (self.raft.raft.id, self.raft.raft.term);
        self.raft.raft.become_follower(term, 0);
        let mut word = Message::default();
        word.set_msg_type(MessageType::MsgTimeoutNow);
        (word.from, word.to, word.term) = (id, id, term);
        // It is refused only while members change; then there is an election in its time.
        let _ = self.raft.raft.step(word);
        self.settle();
    }

    /// Asks for a lease now, not at the next tick. Returns whether that is new.
    pub fn seek_lease(&mut self, now_ns: u64) -> bool {
        let asked = self.renew_lease(now_ns);
        self.settle();
        asked
    }

    /// Whether this node leads and is not handing that over: what it proposes is appended.
    pub fn accepts(&self) -> bool {
        self.role() == Role::Leader && self.raft.raft.lead_transferee.is_none()
    }
}
