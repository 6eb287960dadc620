//! A virtual client: one connection at a time, what it has asked, and the replies as they arrive.

use std::collections::{BTreeSet, VecDeque};

use super::holders::Since;
use super::operation::Operation;
use crate::sim::client::{Reply, parse};

/// An operation under way.
pub struct Asked {
    /// None for READONLY, which a reader says first.
    pub record: Option<usize>,
    pub operation: Option<Operation>,
    pub replies: Vec<Reply>,
    /// The second of two steps was taken.
    pub second: bool,
    /// Of one that asks for nodes: how things stood then.
    pub since: Option<Since>,
}

impl Asked {
    fn is_over(&self) -> bool {
        let count = self.operation.map_or(1, |operation| operation.reply_count());
        let refused = self.operation.is_some_and(|operation| operation.is_over(&self.replies));
        self.replies.len() == count || refused
    }
}

#[derive(Default)]
pub struct Client {
    pub wire: Option<u64>,
    /// The machine that it talks to, or will.
    pub machine: usize,
    /// It asks READONLY and only reads, on this connection.
    pub reader: bool,
    pub reads_left: u64,
    /// Of a hundred operations. One that hardly writes is not held up where nothing commits.
    pub writes_percent: u64,
    /// Its connections so far have numbers up to this, among all of all clients.
    pub connection: u64,
    pub asked: VecDeque<Asked>,
    /// What it is to ask next, until it is answered, if that is given.
    pub script: VecDeque<Operation>,
    pub scripted: bool,
    /// It waits for answers however long they take.
    pub patient: bool,
    /// It listens to what others publish, and does nothing else; what it has heard so far.
    pub listens: bool,
    heard: BTreeSet<u64>,
    received: Vec<u8>,
    /// Answers so far: silence is when there is none more.
    pub answers: u64,
}

impl Client {
    /// Its connections are not given up while all seems well.
    pub fn listener() -> Client {
        Client { listens: true, scripted: true, patient: true, ..Client::default() }
    }

    /// Takes bytes of a node that a listener is connected to: lists and values that it is told of.
    /// An error of the node's is none of ours: nothing is heard there.
    pub fn on_bytes_heard(&mut self, bytes: &[u8]) -> Result<Option<Vec<(u64, u64)>>, String> {
        self.received.extend_from_slice(bytes);
        let (mut used, mut told) = (0, Vec::new());
        while let Some((reply, len)) = parse(&self.received[used..])? {
            used += len;
            match message_of(&reply) {
                Some((list, value)) if self.heard.insert(value) => told.push((list, value)),
                Some((list, value)) => return Err(format!("heard twice: {value} of list {list}")),
                None if matches!(reply, Reply::Error(_)) => return Ok(None),
                None if is_confirmation(&reply) => {}
                None => return Err(format!("no message: {reply:?}")),
            }
        }
        self.received.drain(..used);
        Ok(Some(told))
    }

    /// Takes bytes of a node; returns the operations that they complete.
    pub fn on_bytes(&mut self, bytes: &[u8]) -> Result<Vec<Asked>, String> {
        self.received.extend_from_slice(bytes);
        let (mut used, mut done) = (0, Vec::new());
        while let Some((reply, len)) = parse(&self.received[used..])? {
            used += len;
            let asked = self.asked.front_mut().ok_or_else(|| format!("unasked: {reply:?}"))?;
            asked.replies.push(reply);
            if asked.is_over() {
                done.extend(self.asked.pop_front());
            }
        }
        self.received.drain(..used);
        self.answers += done.len() as u64;
        Ok(done)
    }

    /// The next step of what takes two, once.
    pub fn second_step(&mut self) -> Option<Vec<u8>> {
        let asked = self.asked.front_mut().filter(|asked| !asked.second)?;
        let bytes = asked.operation?.encode_second(&asked.replies)?;
        asked.second = true;
        Some(bytes)
    }

    /// The connection is no more: what was asked may or may not have been done.
    pub fn forget(&mut self) -> VecDeque<Asked> {
        self.wire = None;
        self.received.clear();
        std::mem::take(&mut self.asked)
    }
}

/// `message l<list> <value>`.
fn message_of(reply: &Reply) -> Option<(u64, u64)> {
    let Reply::Many(parts) = reply else { return None };
    let [Reply::Bulk(kind), Reply::Bulk(channel), Reply::Bulk(payload)] = &parts[..] else {
        return None;
    };
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse().ok();
    let list = channel.strip_prefix(b"l").and_then(number)?;
    (kind == b"message").then_some((list, number(payload)?))
}

fn is_confirmation(reply: &Reply) -> bool {
    let Reply::Many(parts) = reply else { return false };
    matches!(&parts[..], [Reply::Bulk(kind), _, Reply::Integer(_)] if kind == b"subscribe")
}
