//! A virtual client: one connection at a time, what it has asked, and the replies as they arrive.

use std::collections::VecDeque;

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
    received: Vec<u8>,
    /// Answers so far: silence is when there is none more.
    pub answers: u64,
}

impl Client {
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
