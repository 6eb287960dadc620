//! A connection's replies, in the order of its commands, each held until it may leave.

use std::collections::VecDeque;

use engine::table::alloc_size;

use crate::limits::{FIRST_ANSWER_BYTES, IDLE_BUFFER_BYTES_MAX, UNSENT_REPLY_BYTES_MAX};

/// Why replies do not leave yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Until this entry of this shard is released.
    Release { shard: u16, index: u64 },
    /// Until another core, a gathering or a blocked command answers under this ticket. `soon`:
    /// nothing but work of our own stands between.
    Answer { ticket: u64, soon: bool },
    /// Behind what stands before it, no longer held by itself.
    Open,
}

/// Replies are sent by themselves from here on, though more is about to come.
const WORTH_A_SEND_BYTES: usize = 16 * 1024;

/// Used bytes in front of `later` are given up from here on, though more is held behind them.
const LATER_USED_BYTES_MAX: usize = 64 * 1024;

/// One stretch of replies. Its bytes are `later` up to `end` from where the one before it ends,
/// followed by `answer`.
#[derive(Debug)]
struct Held {
    hold: Hold,
    /// A position, counted since the connection began. Not yet known of the last one, which goes
    /// on to the end of `later`.
    end: u64,
    /// An answer that came before what stands in front of it may leave.
    answer: Vec<u8>,
    /// The answer that comes is not wanted.
    silent: bool,
    /// Another core's answer, whose size nobody knows yet, is to come.
    forwarded: bool,
}

impl Held {
    fn new(hold: Hold, end: u64) -> Held {
        Held { hold, end, answer: Vec::new(), silent: false, forwarded: false }
    }

    /// Nothing but an answer may stand here.
    fn is_for_an_answer(&self) -> bool {
        matches!(self.hold, Hold::Answer { .. }) || !self.answer.is_empty()
    }
}

/// Where a part of several replies begins; see [`Replies::begin_part`].
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Part(u64);

/// What is to be sent, what is held, what is on its way.
///
/// Invariant: `later` is empty while nothing is held.
#[derive(Debug, Default)]
pub struct Replies {
    ready: Vec<u8>,
    held: VecDeque<Held>,
    /// The bytes of what is held, but for early answers, in one buffer.
    later: Vec<u8>,
    /// How much of `later` has become ready.
    later_used: usize,
    /// The position of the first byte of `later`.
    later_base: u64,
    /// Bytes of answers that came early.
    early_bytes: usize,
    /// Held stretches that have left.
    popped: u64,
    /// Held places without their answer.
    expected: usize,
    /// Those of them that are for other cores' answers, and bytes of the commands that went there
    /// since there last was none.
    forwarded: usize,
    forwarded_bytes: usize,
    /// How large such an answer may be, as far as those that came tell.
    answer_bytes: Option<usize>,
    /// Size of the buffer now being sent; 0 when none is.
    sending_bytes: usize,
    /// A sent buffer, kept for the next replies.
    spare: Vec<u8>,
}

impl Replies {
    /// Where the next reply is written: behind everything before it. Returns where it begins.
    pub fn begin(&mut self) -> (&mut Vec<u8>, usize) {
        if self.held.back().is_some_and(Held::is_for_an_answer) {
            self.push_held(Hold::Open, self.later.len());
        }
        let buffer = self.last_buffer();
        let start = buffer.len();
        (buffer, start)
    }

    /// Ends the reply that `begin` started at `start`: it waits for this entry too. Returns where
    /// it begins now, for the next thing that it waits for.
    #[must_use]
    pub fn hold_from(&mut self, start: usize, hold: Hold) -> usize {
        if self.held.back().is_some_and(|held| held.hold == hold) {
            return start;
        }
        if self.held.is_empty() {
            self.later.extend_from_slice(&self.ready[start..]);
            self.ready.truncate(start);
            self.push_held(hold, 0);
            return 0;
        }
        self.push_held(hold, start);
        start
    }

    /// Begins a part that may have several replies and places for answers, as a transaction has.
    pub fn begin_part(&mut self) -> Part {
        self.push_held(Hold::Open, self.later.len());
        Part(self.popped + self.held.len() as u64 - 1)
    }

    /// Everything of a part that began in this turn waits for these entries.
    pub fn hold_part(&mut self, part: Part, holds: &[Hold]) {
        let at = (part.0 - self.popped) as usize;
        let alone = at + 1 == self.held.len() && !self.held[at].is_for_an_answer();
        if at > 0 && alone && holds == std::slice::from_ref(&self.held[at - 1].hold) {
            // It stands behind what waits for the same: no need for a stretch of its own.
            self.held.pop_back();
            return;
        }
        for hold in holds {
            if self.held[at].hold == Hold::Open {
                self.held[at].hold = hold.clone();
                continue;
            }
            let end = self.start_of(at);
            self.held.insert(at, Held::new(hold.clone(), end));
        }
    }

    /// Takes back what was written of a part: CLIENT REPLY OFF and SKIP.
    pub fn discard_part(&mut self, part: Part) {
        let at = (part.0 - self.popped) as usize;
        let start = self.start_of(at);
        self.held.iter_mut().skip(at).for_each(|held| held.end = start);
        self.later.truncate((start - self.later_base) as usize);
    }

    /// The position at which a stretch begins.
    fn start_of(&self, at: usize) -> u64 {
        match at.checked_sub(1) {
            Some(before) => self.held[before].end,
            None => self.later_base + self.later_used as u64,
        }
    }

    /// Keeps a place for the answer that comes under this ticket; `soon`, see [`Hold::Answer`].
    /// Where the answer is not wanted, the place keeps the order and stays empty.
    pub fn expect_answer(&mut self, ticket: u64, soon: bool, silent: bool) {
        self.expected += 1;
        self.push_held(Hold::Answer { ticket, soon }, self.later.len());
        if let Some(place) = self.held.back_mut() {
            place.silent = silent;
        }
    }

    /// The same for a command of so many bytes that goes to another core.
    pub fn expect_forwarded(&mut self, ticket: u64, silent: bool, bytes: usize) {
        self.expect_answer(ticket, true, silent);
        if let Some(place) = self.held.back_mut() {
            place.forwarded = true;
        }
        self.forwarded += 1;
        self.forwarded_bytes += bytes;
    }

    /// How many answers of other cores to forwarded commands are still to come.
    pub fn awaited_of_cores(&self) -> usize {
        self.forwarded
    }

    /// Another core has answered.
    fn note_answer(&mut self, bytes: usize) {
        self.forwarded -= 1;
        if self.forwarded == 0 {
            self.forwarded_bytes = 0;
        }
        let before = self.answer_bytes.unwrap_or(FIRST_ANSWER_BYTES);
        self.answer_bytes = Some(bytes.max(before - before.saturating_sub(bytes) / 4));
    }

    /// Whether what other cores were asked may be answered with as much as a client may leave
    /// unread, or the commands themselves are as much.
    pub fn is_owed_plenty(&self) -> bool {
        let answer_bytes = self.answer_bytes.unwrap_or(FIRST_ANSWER_BYTES);
        let owed = self.unsent_bytes() + self.forwarded * answer_bytes;
        let plenty =
            owed >= UNSENT_REPLY_BYTES_MAX || self.forwarded_bytes > UNSENT_REPLY_BYTES_MAX;
        self.forwarded > 0 && plenty
    }

    /// Puts an answer into its place; it may leave once what stands before it has left, and once
    /// `hold` allows. False if nobody waits under this ticket.
    pub fn answer(&mut self, ticket: u64, hold: Hold, bytes: &[u8]) -> bool {
        let place = self
            .held
            .iter()
            .position(|held| matches!(held.hold, Hold::Answer { ticket: t, .. } if t == ticket));
        let Some(place) = place else { return false };
        self.expected -= 1;
        if std::mem::take(&mut self.held[place].forwarded) {
            self.note_answer(bytes.len());
        }
        let bytes = if self.held[place].silent { b"" } else { bytes };
        if place == 0 && hold == Hold::Open {
            self.pop_held();
            self.ready.extend_from_slice(bytes);
            self.open(|_| 0);
            return true;
        }
        self.early_bytes += bytes.len();
        let held = &mut self.held[place];
        held.answer.extend_from_slice(bytes);
        held.hold = hold;
        true
    }

    /// What the place of this ticket held back may leave.
    pub fn open_answer(&mut self, ticket: u64) {
        self.answer(ticket, Hold::Open, b"");
    }

    /// Moves replies that nothing holds any more to what is sent next.
    pub fn open(&mut self, released: impl Fn(u16) -> u64) {
        while let Some(front) = self.held.front() {
            match front.hold {
                Hold::Release { shard, index } if released(shard) < index => break,
                Hold::Answer { .. } => break,
                _ => self.pop_held(),
            }
        }
    }

    /// A new last stretch, which begins at `start` of `later`.
    fn push_held(&mut self, hold: Hold, start: usize) {
        let position = self.later_base + start as u64;
        if let Some(last) = self.held.back_mut() {
            last.end = position;
        }
        self.held.push_back(Held::new(hold, position));
    }

    /// The first stretch may leave.
    fn pop_held(&mut self) {
        let Some(front) = self.held.pop_front() else { return };
        self.popped += 1;
        let end = match self.held.is_empty() {
            true => self.later.len(),
            false => (front.end - self.later_base) as usize,
        };
        if self.ready.is_empty() && self.later_used == 0 && end == self.later.len() {
            std::mem::swap(&mut self.ready, &mut self.later);
            self.later_base += end as u64;
        } else {
            self.ready.extend_from_slice(&self.later[self.later_used..end]);
            self.later_used = end;
        }
        self.early_bytes -= front.answer.len();
        self.ready.extend_from_slice(&front.answer);
        if self.later_used == self.later.len() || self.later_used > LATER_USED_BYTES_MAX {
            self.later.drain(..self.later_used);
            self.later_base += self.later_used as u64;
            self.later_used = 0;
            if self.later.is_empty() {
                self.later.shrink_to(IDLE_BUFFER_BYTES_MAX);
            }
        }
    }

    fn last_buffer(&mut self) -> &mut Vec<u8> {
        if self.held.is_empty() { &mut self.ready } else { &mut self.later }
    }

    /// Whether the next reply in line comes from our own work elsewhere, without a client's doing.
    pub fn awaits_answer_soon(&self) -> bool {
        self.held.front().is_some_and(|held| matches!(held.hold, Hold::Answer { soon: true, .. }))
    }

    /// Whether there is enough to be worth a send of its own.
    pub fn is_ready_plenty(&self) -> bool {
        self.ready.len() >= WORTH_A_SEND_BYTES
    }

    /// Whether something may leave now, but for entries whose release was not looked at yet.
    pub fn has_ready(&self) -> bool {
        let opens = self.held.front().is_some_and(|held| held.hold == Hold::Open);
        !self.ready.is_empty() || opens
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
        if buffer.capacity() <= IDLE_BUFFER_BYTES_MAX {
            buffer.clear();
            self.spare = buffer;
        }
    }

    /// Bytes that the client has not been sent: for the output buffer limits.
    pub fn unsent_bytes(&self) -> usize {
        let held = self.later.len() - self.later_used + self.early_bytes;
        self.ready.len() + held + self.sending_bytes
    }

    /// What it takes: of buffers all that they have room for.
    pub fn memory_bytes(&self) -> usize {
        let buffers = [&self.ready, &self.later, &self.spare];
        let buffers: usize = buffers.iter().map(|buffer| alloc_size(buffer.capacity())).sum();
        let places = alloc_size(self.held.capacity() * size_of::<Held>());
        buffers + places + self.early_bytes + alloc_size(self.sending_bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.held.is_empty() && self.sending_bytes == 0
    }

    /// Takes the reply that `begin` started, which nothing holds.
    pub fn take_from(&mut self, start: usize) -> Vec<u8> {
        self.last_buffer().split_off(start)
    }

    /// Takes back the reply that `begin` started: CLIENT REPLY OFF and SKIP.
    pub fn discard_from(&mut self, start: usize) {
        self.last_buffer().truncate(start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(replies: &mut Replies, bytes: &[u8], hold: Option<Hold>) {
        let (buffer, start) = replies.begin();
        buffer.extend_from_slice(bytes);
        hold.map(|hold| replies.hold_from(start, hold));
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
        replies.expect_answer(7, true, false);
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

    /// Random use against a plain list of replies, each with what it waits for.
    #[test]
    fn a_part_with_answers_is_held_as_one() {
        let mut replies = Replies::default();
        write(&mut replies, b"before", None);
        let part = replies.begin_part();
        write(&mut replies, b"[", None);
        replies.expect_answer(1, false, false);
        write(&mut replies, b"]", None);
        replies.expect_answer(2, false, true);
        let entries = [(0, 3), (1, 4)].map(|(shard, index)| Hold::Release { shard, index });
        replies.hold_part(part, &entries);
        write(&mut replies, b"after", None);
        assert!(replies.answer(1, Hold::Open, b"x"));
        assert!(replies.answer(2, Hold::Open, b"unwanted"));
        replies.open(|_| 2);
        assert_eq!(replies.take_ready().as_deref(), Some(&b"before"[..]));
        replies.on_sent(Vec::new());
        replies.open(|_| 3);
        assert!(!replies.has_ready());
        replies.open(|_| 4);
        assert_eq!(replies.take_ready().as_deref(), Some(&b"[x]after"[..]));
        replies.on_sent(Vec::new());
        let part = replies.begin_part();
        write(&mut replies, b"unwanted", None);
        replies.expect_answer(3, false, true);
        write(&mut replies, b"unwanted", None);
        replies.discard_part(part);
        write(&mut replies, b"wanted", None);
        assert!(replies.answer(3, Hold::Open, b"unwanted"));
        replies.open(|_| 4);
        assert_eq!(replies.take_ready().as_deref(), Some(&b"wanted"[..]));
        replies.on_sent(Vec::new());
        assert!(replies.is_empty());
    }

    #[test]
    fn so_much_is_asked_of_other_cores_as_their_answers_let_expect() {
        let mut replies = Replies::default();
        let mut ticket = 0;
        // As many as may be under way; each is answered with so many bytes.
        let mut round = |replies: &mut Replies, answer_bytes: usize| {
            let first = ticket + 1;
            while !replies.is_owed_plenty() && ticket + 1 - first < 100 {
                ticket += 1;
                replies.expect_forwarded(ticket, true, 100);
            }
            for ticket in first..=ticket {
                assert!(replies.answer(ticket, Hold::Open, &vec![b'x'; answer_bytes]));
            }
            ticket + 1 - first
        };
        assert_eq!(round(&mut replies, 10), 4);
        assert!((8..64).contains(&round(&mut replies, 10)));
        assert!(round(&mut replies, 10) > 64);
        assert!(round(&mut replies, 1 << 20) > 64);
        assert_eq!(round(&mut replies, 1 << 20), 4);
        assert_eq!(round(&mut replies, 20 << 20), 4);
        assert_eq!(round(&mut replies, 20 << 20), 1);
        // Commands count too, until all are answered.
        let mut replies = Replies::default();
        replies.expect_forwarded(1, true, UNSENT_REPLY_BYTES_MAX);
        assert!(!replies.is_owed_plenty());
        replies.expect_forwarded(2, true, 1);
        assert!(replies.is_owed_plenty());
        (1..=2).for_each(|ticket| assert!(replies.answer(ticket, Hold::Open, b"")));
        replies.expect_forwarded(3, true, 1);
        assert!(!replies.is_owed_plenty());
    }

    #[test]
    fn parts_that_wait_for_the_same_share_a_stretch() {
        let mut replies = Replies::default();
        for _ in 0..4 {
            let part = replies.begin_part();
            write(&mut replies, b"+OK\r\n", None);
            replies.hold_part(part, &[Hold::Release { shard: 0, index: 9 }]);
        }
        write(&mut replies, b"+OK\r\n", release(9));
        assert_eq!(replies.held.len(), 1);
        replies.open(|_| 9);
        assert_eq!(replies.take_ready().map(|bytes| bytes.len()), Some(25));
    }

    #[test]
    fn any_order_of_events_gives_the_replies_in_order() {
        let mut rng = engine::rng::Rng::new(7);
        for _ in 0..300 {
            let mut replies = Replies::default();
            let (mut said, mut sent) = (Vec::new(), Vec::new());
            let (mut tickets, mut released, mut ticket) = (Vec::new(), 0, 0);
            for step in 0..200u64 {
                let text = format!("{step};").repeat(rng.below(4) as usize + 1).into_bytes();
                match rng.below(6) {
                    0 => write(&mut replies, &text, None),
                    1 | 2 => write(&mut replies, &text, release(step / 8)),
                    3 => {
                        ticket += 1;
                        replies.expect_answer(ticket, true, false);
                        tickets.push((ticket, text.clone()));
                    }
                    4 if !tickets.is_empty() => {
                        let place = rng.below(tickets.len() as u64) as usize;
                        let (ticket, text) = tickets.remove(place);
                        assert!(replies.answer(ticket, Hold::Open, &text));
                        continue;
                    }
                    _ => {
                        released = step / 8;
                        replies.open(|_| released);
                        if let Some(bytes) = replies.take_ready() {
                            sent.extend_from_slice(&bytes);
                            replies.on_sent(bytes);
                        }
                        continue;
                    }
                }
                said.extend_from_slice(&text);
            }
            assert!(said.starts_with(&sent));
            let waiting: usize = tickets.iter().map(|(_, text)| text.len()).sum();
            assert_eq!(replies.unsent_bytes(), said.len() - sent.len() - waiting);
            for (ticket, text) in tickets {
                assert!(replies.answer(ticket, Hold::Open, &text));
            }
            replies.open(|_| u64::MAX);
            sent.extend(replies.take_ready().unwrap_or_default());
            replies.on_sent(Vec::new());
            assert!(sent == said);
            assert!(replies.is_empty() && replies.unsent_bytes() == 0 && released < 200);
        }
    }

    #[test]
    fn a_part_that_waits_for_nothing_is_ready() {
        let mut replies = Replies::default();
        let part = replies.begin_part();
        write(&mut replies, b"*0\r\n", None);
        replies.hold_part(part, &[]);
        assert!(replies.has_ready());
        replies.open(|_| 0);
        assert_eq!(replies.take_ready().as_deref(), Some(&b"*0\r\n"[..]));
        assert!(!replies.has_ready());
    }

    #[test]
    fn a_reply_may_wait_for_several_entries() {
        let mut replies = Replies::default();
        write(&mut replies, b"before", None);
        let (buffer, start) = replies.begin();
        buffer.extend_from_slice(b"reply");
        let start = replies.hold_from(start, Hold::Release { shard: 0, index: 1 });
        let start = replies.hold_from(start, Hold::Release { shard: 1, index: 1 });
        replies.discard_from(start + 4);
        replies.open(|_| 0);
        assert_eq!(replies.take_ready().as_deref(), Some(&b"before"[..]));
        replies.on_sent(Vec::new());
        replies.open(|shard| u64::from(shard == 0));
        assert!(!replies.has_ready());
        replies.open(|_| 1);
        assert_eq!(replies.take_ready().as_deref(), Some(&b"repl"[..]));
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
