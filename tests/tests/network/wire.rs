//! A connection of a client, which waits for replies only so long.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tests::cluster_sim::operation::Operation;
use tests::sim::client::{Reply, parse};

/// A connection, with the bytes that have come.
pub struct Wire {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Wire {
    pub fn connect(address: SocketAddr, patience: Duration) -> std::io::Result<Wire> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Wire { stream, received: Vec::new() })
    }

    /// So many replies, or none if they do not come.
    pub fn ask(&mut self, bytes: &[u8], replies: usize) -> Option<Vec<Reply>> {
        self.stream.write_all(bytes).ok()?;
        let mut all = Vec::new();
        while all.len() < replies {
            if let Some((reply, used)) = parse(&self.received).unwrap() {
                self.received.drain(..used);
                all.push(reply);
                continue;
            }
            let mut part = [0; 16 << 10];
            match self.stream.read(&mut part).ok()? {
                0 => return None,
                len => self.received.extend_from_slice(&part[..len]),
            }
        }
        Some(all)
    }

    /// All replies of an operation, which may take two steps.
    pub fn talk(&mut self, operation: Operation, bytes: &[u8]) -> Option<Vec<Reply>> {
        let all = operation.reply_count();
        if !matches!(operation, Operation::WatchIncrement { .. }) {
            return self.ask(bytes, all);
        }
        let mut replies = self.ask(bytes, 2)?;
        if !operation.is_over(&replies) {
            let second = operation.encode_second(&replies)?;
            replies.extend(self.ask(&second, all - 2)?);
        }
        Some(replies)
    }
}
