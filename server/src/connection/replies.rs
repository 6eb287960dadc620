//! A connection's replies, in the order of its commands, each held until it may leave.

use std::collections::VecDeque;

/// Why replies do not leave yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Until this entry of this shard is released.
    Release { shard: u16, index: u64 },
    /// Until another core, a gathering or a blocked command answers under this ticket.
    Answer { ticket: u64 },
    /// Behind what stands before it, no longer held by itself.
    Open,
}

#[derive(Debug)]
struct Held {
    hold: Hold,
    bytes: Vec<u8>,
}

/// What is to be sent, what is held, what is on its way.
#[derive(Debug, Default)]
pub struct Replies {
    ready: Vec<u8>,
    held: VecDeque<Held>,
    /// Held places without their answer.
    expected: usize,
    /// Size of the buffer now being sent; 0 when none is.
    sending_bytes: usize,
    /// A sent buffer, kept for the next replies.
    spare: Vec<u8>,
}

impl Replies {
    /// Where the next reply is written: behind everything before it. Returns where it begins.
    pub fn begin(&mut self) -> (&mut Vec<u8>, usize) {
        if self.held.back().is_some_and(|held| matches!(held.hold, Hold::Answer { .. })) {
            self.held.push_back(Held { hold: Hold::Open, bytes: Vec::new() });
        }
        let buffer = match self.held.back_mut() {
            Some(held) => &mut held.bytes,
            None => &mut self.ready,
        };
        let start = buffer.len();
        (buffer, start)
    }

    /// Ends the reply that `begin` started at `start`: it waits for this entry.
    pub fn hold_from(&mut self, start: usize, hold: Hold) {
        if self.held.back().is_some_and(|held| held.hold == hold) {
            return;
        }
        let buffer = match self.held.back_mut() {
            Some(held) => &mut held.bytes,
            None => &mut self.ready,
        };
        let bytes = buffer.split_off(start);
        self.held.push_back(Held { hold, bytes });
    }

    /// Keeps a place for the answer that comes under this ticket.
    pub fn expect_answer(&mut self, ticket: u64) {
        self.expected += 1;
        self.held.push_back(Held { hold: Hold::Answer { ticket }, bytes: Vec::new() });
    }

    /// Puts an answer into its place; it may leave once what stands before it has left, and once
    /// `hold` allows. False if nobody waits under this ticket.
    pub fn answer(&mut self, ticket: u64, hold: Hold, bytes: &[u8]) -> bool {
        let place = self
            .held
            .iter_mut()
            .find(|held| matches!(held.hold, Hold::Answer { ticket: t } if t == ticket));
        let Some(held) = place else { return false };
        held.bytes.extend_from_slice(bytes);
        held.hold = hold;
        self.expected -= 1;
        true
    }

    /// What the place of this ticket held back may leave.
    pub fn open_answer(&mut self, ticket: u64) {
        self.answer(ticket, Hold::Open, b"");
    }

    /// Moves replies that nothing holds any more to what is sent next.
    pub fn open(&mut self, released: impl Fn(u16) -> u64) {
        while let Some(front) = self.held.front_mut() {
            match front.hold {
                Hold::Release { shard, index } if released(shard) < index => break,
                Hold::Answer { .. } => break,
                _ => {}
            }
            if self.ready.is_empty() {
                std::mem::swap(&mut self.ready, &mut front.bytes);
            } else {
                self.ready.extend_from_slice(&front.bytes);
            }
            self.held.pop_front();
        }
    }

    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Places that wait for an answer.
    pub fn expected_answers(&self) -> usize {
        self.expected
    }

    pub fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    pub fn is_sending(&self) -> bool {
        self.sending_bytes > 0
    }

    /// Takes what can be sent now, if nothing is being sent.
    pub fn take_ready(&mut self) -> Option<Vec<u8>> {
        if self.ready.is_empty() || self.sending_bytes > 0 {
            return None;
        }
        let buffer = std::mem::replace(&mut self.ready, std::mem::take(&mut self.spare));
        self.sending_bytes = buffer.len();
        Some(buffer)
    }

    pub fn on_sent(&mut self, mut buffer: Vec<u8>) {
        self.sending_bytes = 0;
        if buffer.capacity() <= crate::limits::IDLE_BUFFER_BYTES_MAX {
            buffer.clear();
            self.spare = buffer;
        }
    }

    /// Bytes that the client has not been sent: for the output buffer limits.
    pub fn unsent_bytes(&self) -> usize {
        let held: usize = self.held.iter().map(|held| held.bytes.len()).sum();
        self.ready.len() + held + self.sending_bytes
    }

    pub fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.held.is_empty() && self.sending_bytes == 0
    }

    /// Takes back the reply that `begin` started: CLIENT REPLY OFF and SKIP.
    pub fn discard_from(&mut self, start: usize) {
        match self.held.back_mut() {
            Some(held) => held.bytes.truncate(start),
            None => self.ready.truncate(start),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(replies: &mut Replies, bytes: &[u8], hold: Option<Hold>) {
        let (buffer, start) = replies.begin();
        buffer.extend_from_slice(bytes);
        if let Some(hold) = hold {
            replies.hold_from(start, hold);
        }
    }

    fn release(index: u64) -> Option<Hold> {
        Some(Hold::Release { shard: 0, index })
    }

    #[test]
    fn replies_leave_in_order_up_to_the_first_hold() {
        let mut replies = Replies::default();
        write(&mut replies, b"a", None);
        write(&mut replies, b"b", release(1));
        write(&mut replies, b"c", None);
        replies.expect_answer(7);
        write(&mut replies, b"d", release(2));
        replies.open(|_| 0);
        assert_eq!(replies.take_ready().as_deref(), Some(&b"a"[..]));
        assert_eq!(replies.take_ready(), None);
        replies.on_sent(Vec::new());
        replies.open(|_| 1);
        assert_eq!(replies.take_ready().as_deref(), Some(&b"bc"[..]));
        replies.on_sent(Vec::new());
        replies.open(|_| 2);
        assert!(!replies.has_ready());
        assert!(replies.answer(7, Hold::Open, b"x"));
        assert!(!replies.answer(7, Hold::Open, b"x"));
        replies.open(|_| 2);
        assert_eq!(replies.take_ready().as_deref(), Some(&b"xd"[..]));
        replies.on_sent(Vec::new());
        assert!(replies.is_empty());
    }

    #[test]
    fn one_segment_serves_all_writes_of_a_turn() {
        let mut replies = Replies::default();
        for _ in 0..16 {
            write(&mut replies, b"+OK\r\n", release(9));
        }
        assert_eq!(replies.held.len(), 1);
        assert_eq!(replies.unsent_bytes(), 80);
    }
}
