//! How the others hear what is committed: with the next entries that go to them, or with the next
//! heartbeat. Where none come soon the host has it told by messages of its own.
//!
//! The crate would send such messages with each commit (`skip_bcast_commit`). Under writes the next
//! entries are a moment away, and each message costs both sides a turn, and an answer two.

use super::{Group, Role};

impl Group {
    /// Whether others have not been told all that is committed.
    pub fn has_untold(&self) -> bool {
        self.role() == Role::Leader
            && self.told < self.committed().0
            && self.raft.raft.prs().iter().len() > 1
    }

    /// Tells them now.
    pub fn tell_committed(&mut self) {
        if self.has_untold() {
            self.raft.raft.bcast_append();
            self.note_told();
            self.settle();
        }
    }

    /// What goes to all says what is committed. Who is not sent it, because it has not answered or
    /// has much to take, hears it with what it is sent then.
    pub(super) fn note_told(&mut self) {
        self.told = self.committed().0;
    }
}
