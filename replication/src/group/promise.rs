//! A follower's side of the lease: whoever has followed a leader gives its vote to nobody until an
//! election timeout has passed since it heard of that leader last.
//!
//! The crate has such a rule too, but forgets it with the next term it hears of, and a term may
//! come without an election: in a candidate's answer to a question of before. The leader that was
//! confirmed meanwhile does not hear of that and holds its lease. So the promise is kept here,
//! whatever comes. A node that starts does not remember what it has promised, and so has promised
//! everything a moment ago.

use raft::eraftpb::{Message, MessageType};

use crate::fault::{Fault, is_planted};

#[derive(Clone, Copy, Debug)]
pub struct Promise {
    /// Ticks in which nobody gets this node's vote, its own included.
    ticks_left: usize,
    election_ticks: usize,
}

impl Promise {
    /// Of a node that has just started. `alone`: there is nobody whom it may have promised
    /// anything.
    pub fn unknown(election_ticks: usize, alone: bool) -> Promise {
        let forgets = alone || is_planted(Fault::VoteAtOnce);
        Promise { ticks_left: if forgets { 0 } else { election_ticks }, election_ticks }
    }

    /// A tick has passed: the first one may have been under way when the promise was made, for
    /// which a lease is a tick shorter.
    pub fn tick(&mut self) {
        self.ticks_left = self.ticks_left.saturating_sub(1);
    }

    /// As many times [`Promise::tick`].
    pub fn pass(&mut self, ticks: usize) {
        self.ticks_left = self.ticks_left.saturating_sub(ticks);
    }

    /// Ticks before the one that ends it.
    pub fn counting_ticks(self) -> usize {
        self.ticks_left.saturating_sub(1)
    }

    /// A leader was followed.
    pub fn renew(&mut self) {
        if !is_planted(Fault::PromiseForgotten) {
            self.ticks_left = self.election_ticks;
        }
    }

    pub fn holds(self) -> bool {
        self.ticks_left > 0
    }

    /// Whether it forbids an answer to this. It does not at the word of a leader that hands over:
    /// that one has given its lease up before, for the whole of its term, and an older one had
    /// ended when it was elected.
    pub fn forbids(self, message: &Message) -> bool {
        let kind = message.get_msg_type();
        self.holds()
            && matches!(kind, MessageType::MsgRequestVote | MessageType::MsgRequestPreVote)
            && message.context != raft::CAMPAIGN_TRANSFER
    }
}

/// Whether who takes this message follows its sender.
pub fn is_of_leader(message: &Message) -> bool {
    matches!(
        message.get_msg_type(),
        MessageType::MsgHeartbeat | MessageType::MsgAppend | MessageType::MsgSnapshot
    )
}
