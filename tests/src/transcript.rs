//! Transcripts: commands and the replies that a real server gave, as text files.
//!
//! ```text
//! # a comment
//! > ZADD z 1 a          a command, words as at redis-cli's prompt
//! :1                    its reply, on one line as `Node::show` writes it
//! ~ HELLO 3             a command whose reply is not compared
//! ```
//! Each file begins with an empty server. `record` runs the commands of a file on a server and
//! writes its replies into the file.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};

use crate::differential::resp::Connection;
use crate::differential::step::Words;

/// One line of a transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    Comment(String),
    Compared { command: String, reply: String },
    NotCompared(String),
}

/// Reads a transcript; a command without a reply gets an empty one.
pub fn parse(text: &str) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(command) = line.strip_prefix("> ") {
            lines.push(Line::Compared { command: command.to_owned(), reply: String::new() });
        } else if let Some(command) = line.strip_prefix("~ ") {
            lines.push(Line::NotCompared(command.to_owned()));
        } else if line.is_empty() || line.starts_with("# ") {
            lines.push(Line::Comment(line.to_owned()));
        } else {
            match lines.last_mut() {
                Some(Line::Compared { reply, .. }) if reply.is_empty() => *reply = line.to_owned(),
                _ => bail!("line {}: neither command, reply nor comment: {line}", number + 1),
            }
        }
    }
    Ok(lines)
}

/// The text that [`parse`] reads.
pub fn print(lines: &[Line]) -> String {
    let texts = lines.iter().map(|line| match line {
        Line::Comment(text) => format!("{text}\n"),
        Line::NotCompared(command) => format!("~ {command}\n"),
        Line::Compared { command, reply } => format!("> {command}\n{reply}\n"),
    });
    texts.collect()
}

/// Runs the commands on a server that is first emptied: the transcript with its replies.
pub fn replay(lines: &[Line], address: SocketAddr) -> Result<Vec<Line>> {
    let mut connection = Connection::open(address)?;
    connection.call(&words("FLUSHALL")?)?;
    let mut run =
        |command: &str| connection.call(&words(command)?).with_context(|| command.to_owned());
    lines
        .iter()
        .map(|line| {
            Ok(match line {
                Line::Comment(_) => line.clone(),
                Line::NotCompared(command) => {
                    run(command)?;
                    line.clone()
                }
                Line::Compared { command, .. } => {
                    let reply = run(command)?.show();
                    Line::Compared { command: command.clone(), reply }
                }
            })
        })
        .collect()
}

/// A command's words: separated by spaces, `"…"` where a word has some, with `\xNN` and the like.
fn words(command: &str) -> Result<Words> {
    let (mut bytes, mut ranges) = (Vec::new(), Vec::new());
    if !server::resp::inline::split_words(command.as_bytes(), &mut bytes, &mut ranges) {
        bail!("unbalanced quotes: {command}");
    }
    let word = |range: &engine::args::ArgRange| {
        bytes[range.start as usize..(range.start + range.len) as usize].to_vec()
    };
    Ok(ranges.iter().map(word).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_back() {
        let text = "# from somewhere\n\n~ HELLO 3\n> GET \"a b\"\n$-1\n";
        let lines = parse(text).unwrap();
        assert_eq!(lines.len(), 4);
        assert_eq!(print(&lines), text);
        assert!(parse(":1\n").is_err());
        assert_eq!(words("GET \"a b\\x00\"").unwrap(), [b"GET".to_vec(), b"a b\0".to_vec()]);
    }
}
