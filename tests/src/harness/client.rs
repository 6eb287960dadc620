//! A small client: sends commands, reads replies as values.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// No reply takes so long unless something hangs.
const REPLY_MAX: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Null,
    Array(Vec<Value>),
}

impl Value {
    pub fn bulk(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    pub fn ok() -> Value {
        Value::Simple("OK".into())
    }
}

pub struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(REPLY_MAX))?;
        stream.set_nodelay(true)?;
        Ok(Client { reader: BufReader::new(stream) })
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.reader.get_mut().write_all(bytes)?)
    }

    pub fn send(&mut self, words: &[&str]) -> Result<()> {
        self.send_raw(&encode(words))
    }

    /// One command, its words separated by spaces, and its reply.
    pub fn run(&mut self, command: &str) -> Result<Value> {
        self.send(&command.split(' ').collect::<Vec<_>>())?;
        self.read()
    }

    /// The next reply; an error if the server closed the connection.
    pub fn read(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            bail!("the connection was closed");
        }
        let line = line.trim_end();
        let (kind, rest) = line.split_at_checked(1).context("an empty line")?;
        Ok(match kind {
            "+" => Value::Simple(rest.into()),
            "-" => Value::Error(rest.into()),
            ":" => Value::Integer(rest.parse()?),
            "_" => Value::Null,
            "$" | "=" => match usize::try_from(rest.parse::<i64>()?) {
                Err(_) => Value::Null,
                Ok(len) => {
                    let mut bytes = vec![0; len + 2];
                    self.reader.read_exact(&mut bytes)?;
                    bytes.truncate(len);
                    Value::Bulk(bytes)
                }
            },
            "*" | "~" | ">" | "%" => match usize::try_from(rest.parse::<i64>()?) {
                Err(_) => Value::Null,
                Ok(len) => {
                    let len = if kind == "%" { len * 2 } else { len };
                    Value::Array((0..len).map(|_| self.read()).collect::<Result<_>>()?)
                }
            },
            _ => bail!("no reply begins like this: {line}"),
        })
    }
}

/// A command as clients send it.
pub fn encode(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}
