//! Replies as trees that lose nothing but the digits of lengths, and a connection that pipelines.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::step::{Words, encode};

/// No reply takes so long unless something hangs.
const REPLY_MAX: Duration = Duration::from_secs(10);

/// A reply. The byte is the type's mark in the protocol.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// `+ - : , # (` and what follows on the line; `_`, `$-1` and `*-1` whole.
    Line(Vec<u8>),
    /// `$` or `=`.
    Blob(u8, Vec<u8>),
    /// `* ~ > %`; a map's keys and values one after the other.
    Many(u8, Vec<Node>),
}

impl Node {
    pub fn is_error(&self) -> bool {
        matches!(self, Node::Line(line) if line.first() == Some(&b'-'))
    }

    /// The text of a single value.
    pub fn text(&self) -> Option<&[u8]> {
        match self {
            Node::Line(line) if matches!(line.first(), Some(b'+' | b':' | b',')) => line.get(1..),
            Node::Blob(_, bytes) => Some(bytes),
            _ => None,
        }
    }

    pub fn items(&self) -> &[Node] {
        match self {
            Node::Many(_, items) => items,
            _ => &[],
        }
    }

    /// Every single value's text, from left to right.
    pub fn leaves(&self) -> Vec<Vec<u8>> {
        match self {
            Node::Many(_, items) => items.iter().flat_map(Node::leaves).collect(),
            other => other.text().map(<[u8]>::to_vec).into_iter().collect(),
        }
    }

    /// The reply on one line, escaped.
    pub fn show(&self) -> String {
        match self {
            Node::Line(line) => line.escape_ascii().to_string(),
            Node::Blob(mark, bytes) => {
                format!("{}{}:\"{}\"", *mark as char, bytes.len(), bytes.escape_ascii())
            }
            Node::Many(mark, items) => {
                let items: Vec<_> = items.iter().map(Node::show).collect();
                format!("{}{}[{}]", *mark as char, items.len(), items.join(" "))
            }
        }
    }
}

pub struct Connection {
    reader: BufReader<TcpStream>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Result<Connection> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(REPLY_MAX))?;
        stream.set_write_timeout(Some(REPLY_MAX))?;
        stream.set_nodelay(true)?;
        Ok(Connection { reader: BufReader::with_capacity(1 << 16, stream) })
    }

    pub fn send(&mut self, commands: &[Words]) -> Result<()> {
        let mut bytes = Vec::new();
        commands.iter().for_each(|words| encode(words, &mut bytes));
        Ok(self.reader.get_mut().write_all(&bytes)?)
    }

    pub fn call(&mut self, words: &Words) -> Result<Node> {
        self.send(std::slice::from_ref(words))?;
        self.read()
    }

    pub fn read(&mut self) -> Result<Node> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line)?;
        if line.len() < 3 || !line.ends_with(b"\r\n") {
            bail!("the connection was closed");
        }
        line.truncate(line.len() - 2);
        let mark = line[0];
        if matches!(mark, b'+' | b'-' | b':' | b',' | b'#' | b'(' | b'_') {
            return Ok(Node::Line(line));
        }
        let text = std::str::from_utf8(&line[1..]).context("a length")?;
        let len: i64 = text.parse().with_context(|| line.escape_ascii().to_string())?;
        let Ok(len) = usize::try_from(len) else {
            return Ok(Node::Line(line));
        };
        match mark {
            b'$' | b'=' => {
                let mut bytes = vec![0; len + 2];
                self.reader.read_exact(&mut bytes)?;
                bytes.truncate(len);
                Ok(Node::Blob(mark, bytes))
            }
            b'*' | b'~' | b'>' | b'%' => {
                let len = if mark == b'%' { len * 2 } else { len };
                Ok(Node::Many(mark, (0..len).map(|_| self.read()).collect::<Result<_>>()?))
            }
            _ => bail!("no reply begins like this: {}", line.escape_ascii()),
        }
    }
}
