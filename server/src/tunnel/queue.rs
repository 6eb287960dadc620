//! What a client of this node has said and the primary has not answered, in order. It is kept until
//! it is answered: a primary that hands over says that the rest was not run, and the next one gets
//! it.
//!
//! Invariant: what stands first is not answered here alone (`instead` without a text); that is
//! said at once.

use std::collections::VecDeque;

use engine::args::OwnedArgs;
use engine::reply::{Protocol, Reply};
use replication::fault::{Fault, is_planted};

use super::words::{write_command, write_mode, write_say};

/// What a command means for keys that are watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Plain,
    Watch,
    Unwatch,
    /// MULTI, what was queued, and EXEC: replies to all but the last are not the client's.
    Exec,
}

/// One command, or a reply that was made here and has its place in line.
#[derive(Debug, Default)]
pub struct Passed {
    pub kind: Kind,
    /// CLIENT REPLY OFF or SKIP.
    pub silent: bool,
    /// It changes nothing: may be run twice.
    pub harmless: bool,
    pub blocking: bool,
    /// Replies before the one that is the client's.
    pub hidden: usize,
    /// For what is made here of its connection.
    pub protocol: Protocol,
    /// What a transaction changes of the session, once it has run.
    pub after: Vec<OwnedArgs>,
    /// What is said in place of its reply.
    pub(super) instead: Option<Box<[u8]>>,
    pub(super) bytes: usize,
    pub(super) session_bytes: usize,
    pub(super) hidden_left: usize,
}

#[derive(Debug, Default)]
pub struct Queue {
    /// The commands' text; before `used` it is answered, before `sent` it is sent.
    text: Vec<u8>,
    used: usize,
    sent: usize,
    passed: VecDeque<Passed>,
    /// What the client had set at the first of them.
    session: Vec<u8>,
    /// Keys are watched at the primary: at the first of them, and behind the last.
    watching: bool,
    watches: bool,
    /// The client has a part of the first one's reply.
    begun: bool,
}

/// Used bytes in front are given up from here on.
const USED_BYTES_MAX: usize = 64 * 1024;

impl Queue {
    pub fn is_empty(&self) -> bool {
        self.passed.is_empty()
    }

    pub fn len(&self) -> usize {
        self.passed.len()
    }

    /// Text that is kept.
    pub fn bytes(&self) -> usize {
        self.text.len() - self.used
    }

    pub fn memory_bytes(&self) -> usize {
        self.text.capacity() + self.passed.capacity() * size_of::<Passed>()
    }

    /// Whether keys are watched as far as the client knows.
    pub fn watches(&self) -> bool {
        self.watches
    }

    pub fn has_blocking(&self) -> bool {
        self.passed.iter().any(|passed| passed.blocking)
    }

    /// Something of what is here was sent to the primary.
    pub fn is_under_way(&self) -> bool {
        self.sent > self.used
    }

    pub fn is_sent(&self) -> bool {
        self.sent == self.text.len()
    }

    /// Whether all that was sent may be run again, or may not have been.
    pub fn may_repeat(&self) -> bool {
        let mut end = self.used;
        let sent = self.passed.iter().take_while(|passed| {
            let begins = end < self.sent;
            end += passed.bytes;
            begins
        });
        !self.begun && sent.into_iter().all(|passed| passed.harmless)
    }

    /// A command comes last. `session`: what the client has set, if that has changed.
    pub fn push(
        &mut self,
        mut passed: Passed,
        session: Option<&[u8]>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let start = self.text.len();
        self.text.extend_from_slice(session.unwrap_or_default());
        passed.session_bytes = self.text.len() - start;
        write(&mut self.text);
        passed.bytes = self.text.len() - start;
        passed.hidden_left = passed.hidden;
        match passed.kind {
            Kind::Plain => {}
            Kind::Watch => self.watches = true,
            Kind::Unwatch | Kind::Exec => self.watches = false,
        }
        self.passed.push_back(passed);
    }

    /// What was answered here has its place behind what is under way.
    pub fn push_said(&mut self, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        assert!(!self.is_empty(), "otherwise it is said at once");
        self.passed.push_back(Passed { instead: Some(bytes.into()), ..Passed::default() });
    }

    /// The next bytes for the primary, not more than so many.
    pub fn take_unsent(&mut self, bytes_max: usize) -> Vec<u8> {
        let end = self.text.len().min(self.sent.saturating_add(bytes_max));
        let bytes = self.text[self.sent..end].to_vec();
        self.sent = end;
        bytes
    }

    /// A piece of the first one's reply. False if there is none that it can be of: what a
    /// transaction queues is answered while the rest of it is still to be sent.
    pub fn on_piece(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        if !self.is_asked() {
            return false;
        }
        let Some(first) = self.passed.front() else { return false };
        if first.hidden_left == 0 && !first.silent && first.instead.is_none() {
            self.begun = true;
            out.extend_from_slice(bytes);
        }
        true
    }

    /// Whether the first one can be answered: all of it is sent, or a part of a transaction.
    pub fn is_asked(&self) -> bool {
        self.passed.front().is_some_and(|first| match first.hidden_left {
            0 => first.bytes > 0 && self.used + first.bytes <= self.sent,
            _ => self.is_under_way(),
        })
    }

    /// The client was told something of what the first one does.
    pub fn note_begun(&mut self) {
        self.begun = true;
    }

    /// That reply has ended. Returns what a transaction has changed of the session.
    pub fn on_reply_end(&mut self, array: bool, out: &mut Vec<u8>) -> Vec<OwnedArgs> {
        let Some(first) = self.passed.front_mut() else { return Vec::new() };
        if first.hidden_left > 0 {
            first.hidden_left -= 1;
            return Vec::new();
        }
        let after = if array { std::mem::take(&mut first.after) } else { Vec::new() };
        self.pop(out);
        while self.passed.front().is_some_and(|passed| passed.bytes == 0) {
            self.pop(out);
        }
        after
    }

    fn pop(&mut self, out: &mut Vec<u8>) {
        let Some(first) = self.passed.pop_front() else { return };
        self.begun = false;
        out.extend_from_slice(first.instead.as_deref().unwrap_or_default());
        match first.kind {
            Kind::Plain => {}
            Kind::Watch => self.watching = true,
            Kind::Unwatch | Kind::Exec => self.watching = false,
        }
        if first.session_bytes > 0 {
            let end = self.used + first.session_bytes;
            self.session.clear();
            self.session.extend_from_slice(&self.text[self.used..end]);
        }
        self.used += first.bytes;
        if self.used == self.text.len() || self.used > USED_BYTES_MAX {
            self.text.drain(..self.used);
            self.sent -= self.used;
            self.used = 0;
            if self.text.is_empty() {
                self.text.shrink_to(USED_BYTES_MAX);
            }
        }
    }

    /// The primary that had some of it is one no more, and has not run what is not answered, or it
    /// may be run again: all of it is for the next. Returns whether keys were watched there that
    /// an EXEC still to come rests on; one that is here already answers as if they had changed.
    pub fn rewind(&mut self) -> bool {
        self.sent = self.used;
        self.passed.iter_mut().for_each(|passed| passed.hidden_left = passed.hidden);
        if !std::mem::take(&mut self.watching) || is_planted(Fault::WatchForgotten) {
            return false;
        }
        let ends = |passed: &Passed| matches!(passed.kind, Kind::Exec | Kind::Unwatch);
        match self.passed.iter().position(ends) {
            Some(place) if self.passed[place].kind == Kind::Exec => {
                self.give_up_exec(place);
                false
            }
            Some(_) => false,
            None => {
                self.watches = false;
                true
            }
        }
    }

    /// Instead of a transaction the primary gets UNWATCH, and the client a null.
    fn give_up_exec(&mut self, place: usize) {
        let before: usize = self.passed.iter().take(place).map(|passed| passed.bytes).sum();
        let passed = &mut self.passed[place];
        let start = self.used + before + passed.session_bytes;
        let end = self.used + before + passed.bytes;
        let (mut unwatch, mut null) = (Vec::new(), Vec::new());
        write_command(&mut unwatch, [&b"UNWATCH"[..]].into_iter());
        passed.bytes = passed.session_bytes + unwatch.len();
        self.text.splice(start..end, unwatch);
        if !passed.silent {
            Reply::new(&mut null, passed.protocol).null_array();
        }
        passed.instead = Some(null.into());
        passed.kind = Kind::Unwatch;
        passed.harmless = true;
        passed.after = Vec::new();
        (passed.hidden, passed.hidden_left) = (0, 0);
    }

    /// What a new primary has to be told before anything else.
    pub fn session(&self) -> &[u8] {
        &self.session
    }

    /// Nobody is there to do any of it: an error for each.
    pub fn refuse_all(&mut self, error: &str, out: &mut Vec<u8>) {
        for passed in &self.passed {
            match &passed.instead {
                Some(said) => out.extend_from_slice(said),
                None if passed.silent => {}
                None => Reply::new(out, passed.protocol).error(error),
            }
        }
        *self = Queue::default();
    }

    /// As this node's own input, for when it is the primary.
    pub fn unroll(&self) -> Vec<u8> {
        let mut out = self.session.clone();
        let mut start = self.used;
        for passed in &self.passed {
            let text = &self.text[start..start + passed.bytes];
            start += passed.bytes;
            if passed.bytes > 0 {
                let (session, command) = text.split_at(passed.session_bytes);
                let quiet = passed.silent || passed.instead.is_some();
                let shown = if quiet { 0 } else { last_bytes(passed) };
                let (hidden, shown) = command.split_at(command.len() - shown.min(command.len()));
                out.extend_from_slice(session);
                write_mode(&mut out, false);
                out.extend_from_slice(hidden);
                write_mode(&mut out, true);
                out.extend_from_slice(shown);
            }
            if let Some(said) = &passed.instead {
                write_say(&mut out, said);
            }
        }
        out
    }
}

const EXEC: &[u8] = b"EXEC";

/// MULTI, commands, EXEC.
pub fn write_transaction(out: &mut Vec<u8>, commands: &[OwnedArgs]) {
    write_command(out, [&b"MULTI"[..]].into_iter());
    for command in commands {
        write_command(out, command.as_args().iter_from(0));
    }
    write_command(out, [EXEC].into_iter());
}

/// The command whose reply is the client's, at the end of a text.
fn last_bytes(passed: &Passed) -> usize {
    if passed.kind != Kind::Exec {
        return usize::MAX;
    }
    let mut exec = Vec::new();
    write_command(&mut exec, [EXEC].into_iter());
    exec.len()
}

#[cfg(test)]
mod tests;
