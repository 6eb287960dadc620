//! A virtual client: what it has asked, and the replies as they arrive in pieces.

use std::collections::VecDeque;

use server::core::io::ConnId;

use super::workload::Operation;

/// A reply in the second version of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Null,
    Many(Vec<Reply>),
}

/// An operation under way.
pub struct Asked {
    pub operation: Operation,
    pub started_ns: u64,
    /// Replies that have come, of those it takes.
    pub replies: Vec<Reply>,
}

#[derive(Default)]
pub struct Client {
    /// Its core and connection.
    pub connected: Option<(u16, ConnId)>,
    pub asked: VecDeque<Asked>,
    received: Vec<u8>,
    /// When the last bytes that it sent arrive: the network keeps their order.
    pub sent_until_ns: u64,
    /// When the last bytes sent to it arrive.
    pub answered_until_ns: u64,
    /// Connections it has had.
    pub generation: u32,
}

impl Client {
    /// Takes bytes of the server; returns the operations that they complete.
    pub fn on_bytes(&mut self, bytes: &[u8]) -> Result<Vec<Asked>, String> {
        self.received.extend_from_slice(bytes);
        let (mut used, mut done) = (0, Vec::new());
        while let Some((reply, len)) = parse(&self.received[used..])? {
            used += len;
            let asked = self.asked.front_mut().ok_or_else(|| format!("unasked: {reply:?}"))?;
            asked.replies.push(reply);
            if asked.replies.len() == asked.operation.reply_count() {
                done.extend(self.asked.pop_front());
            }
        }
        self.received.drain(..used);
        Ok(done)
    }

    /// The connection is gone: what was asked may or may not have been done.
    pub fn disconnect(&mut self) -> Vec<Asked> {
        self.connected = None;
        self.received.clear();
        self.asked.drain(..).collect()
    }
}

/// The reply at the start of `bytes` and its length, if it is there whole.
pub fn parse(bytes: &[u8]) -> Result<Option<(Reply, usize)>, String> {
    let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
    let line = String::from_utf8_lossy(&bytes[1..end]).into_owned();
    let mut used = end + 2;
    let number = || line.parse::<i64>().map_err(|_| format!("not a number: {line}"));
    let reply = match bytes[0] {
        b'+' => Reply::Simple(line),
        b'-' => Reply::Error(line),
        b':' => Reply::Integer(number()?),
        b'$' | b'*' if number()? < 0 => Reply::Null,
        b'$' => {
            let len = number()? as usize;
            let Some(text) = bytes.get(used..used + len) else { return Ok(None) };
            if bytes.len() < used + len + 2 {
                return Ok(None);
            }
            used += len + 2;
            Reply::Bulk(text.to_vec())
        }
        b'*' => {
            let mut items = Vec::new();
            for _ in 0..number()? {
                let Some((item, len)) = parse(&bytes[used..])? else { return Ok(None) };
                used += len;
                items.push(item);
            }
            Reply::Many(items)
        }
        other => return Err(format!("no reply begins with {other}: {line}")),
    };
    Ok(Some((reply, used)))
}
