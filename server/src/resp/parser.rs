//! Splits a client's bytes into commands. Resumable: a command may arrive a byte at a time, and no
//! byte is looked at twice except the current line's.

use engine::args::ArgRange;
use memchr::memchr;

use super::inline;
use crate::limits::{
    IDLE_BUFFER_BYTES_MAX, IDLE_RANGES_MAX, INLINE_BYTES_MAX, UNAUTHENTICATED_BULK_BYTES_MAX,
    UNAUTHENTICATED_WORDS_MAX, WORDS_MAX,
};

/// What a client did wrong; it is told so and then disconnected. The text follows
/// `ERR Protocol error: `.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtocolError(pub String);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A whole command: its words are in `Parser::ranges`, relative to the buffer given, or for an
    /// inline one to `Parser::inline_words`.
    Command { consumed: usize, inline: bool },
    /// An empty line or array: nothing to run.
    Empty { consumed: usize },
    /// More bytes are needed.
    Incomplete,
}

/// The bounds that depend on the client and on settings.
#[derive(Clone, Copy, Debug)]
pub struct ParseLimits {
    pub authenticated: bool,
    pub bulk_bytes_max: i64,
}

/// Progress within the current command. Give it the same bytes again, grown, after `Incomplete`.
#[derive(Debug, Default)]
pub struct Parser {
    pub ranges: Vec<ArgRange>,
    pub inline_words: Vec<u8>,
    /// Words still to come; `None` before the head was read.
    words_left: Option<i64>,
    /// Length of the word being read, once its head was read.
    bulk_len: Option<usize>,
    position: usize,
}

impl Parser {
    /// Bytes that the current command needs at least, counted from its start; for reservations.
    pub fn bytes_wanted(&self) -> usize {
        self.position + self.bulk_len.map_or(0, |len| len + 2)
    }

    /// Forgets the command that was returned, so that the next can be read. What a large one took
    /// is given back: a client that is idle again holds little.
    pub fn reset(&mut self) {
        self.ranges.clear();
        if self.ranges.capacity() > IDLE_RANGES_MAX {
            self.ranges = Vec::new();
        }
        if self.inline_words.capacity() > IDLE_BUFFER_BYTES_MAX {
            self.inline_words = Vec::new();
        }
        self.words_left = None;
        self.bulk_len = None;
        self.position = 0;
    }

    /// Reads the command at the start of `buffer`.
    pub fn parse(&mut self, buffer: &[u8], limits: ParseLimits) -> Result<Parsed, ProtocolError> {
        if self.words_left.is_none() {
            match buffer.first() {
                None => return Ok(Parsed::Incomplete),
                Some(b'*') => {}
                Some(_) => return self.parse_inline(buffer),
            }
            let Some(line) = self.line(buffer, "too big mbulk count string")? else {
                return Ok(Parsed::Incomplete);
            };
            let count = engine::number::parse_i64(&buffer[1..line])
                .filter(|count| *count <= WORDS_MAX)
                .ok_or_else(|| error("invalid multibulk length"))?;
            if count > UNAUTHENTICATED_WORDS_MAX && !limits.authenticated {
                return Err(error("unauthenticated multibulk length"));
            }
            self.position = line + 2;
            if count <= 0 {
                let consumed = self.position;
                self.reset();
                return Ok(Parsed::Empty { consumed });
            }
            self.words_left = Some(count);
        }
        while let Some(left) = self.words_left.filter(|left| *left > 0) {
            if !self.parse_word(buffer, limits)? {
                return Ok(Parsed::Incomplete);
            }
            self.words_left = Some(left - 1);
        }
        Ok(Parsed::Command { consumed: self.position, inline: false })
    }

    /// Reads one word; false if it has not fully arrived.
    fn parse_word(&mut self, buffer: &[u8], limits: ParseLimits) -> Result<bool, ProtocolError> {
        let len = match self.bulk_len {
            Some(len) => len,
            None => {
                let head = self.position;
                let Some(line) = self.line(buffer, "too big bulk count string")? else {
                    return Ok(false);
                };
                if buffer[head] != b'$' {
                    let got = buffer[head] as char;
                    return Err(ProtocolError(format!("expected '$', got '{got}'")));
                }
                let len = engine::number::parse_i64(&buffer[head + 1..line])
                    .filter(|len| (0..=limits.bulk_bytes_max).contains(len))
                    .ok_or_else(|| error("invalid bulk length"))?;
                if len > UNAUTHENTICATED_BULK_BYTES_MAX && !limits.authenticated {
                    return Err(error("unauthenticated bulk length"));
                }
                self.position = line + 2;
                self.bulk_len = Some(len as usize);
                len as usize
            }
        };
        let end = self.position + len;
        if buffer.len() < end + 2 {
            return Ok(false);
        }
        self.ranges.push(ArgRange { start: self.position as u32, len: len as u32 });
        self.position = end + 2;
        self.bulk_len = None;
        Ok(true)
    }

    /// End of the line at the current position, without its CR LF.
    fn line(&self, buffer: &[u8], too_big: &str) -> Result<Option<usize>, ProtocolError> {
        let rest = &buffer[self.position.min(buffer.len())..];
        // However the bytes came in: what is too long in one piece is too long in several.
        match memchr(b'\r', rest) {
            Some(at) if at > INLINE_BYTES_MAX => Err(error(too_big)),
            Some(at) if at + 1 < rest.len() => Ok(Some(self.position + at)),
            Some(_) => Ok(None),
            None if rest.len() > INLINE_BYTES_MAX => Err(error(too_big)),
            None => Ok(None),
        }
    }

    fn parse_inline(&mut self, buffer: &[u8]) -> Result<Parsed, ProtocolError> {
        let Some(newline) = memchr(b'\n', buffer) else {
            if buffer.len() > INLINE_BYTES_MAX {
                return Err(error("too big inline request"));
            }
            return Ok(Parsed::Incomplete);
        };
        if newline > INLINE_BYTES_MAX {
            return Err(error("too big inline request"));
        }
        let line = &buffer[..newline];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let consumed = newline + 1;
        self.inline_words.clear();
        if !inline::split_words(line, &mut self.inline_words, &mut self.ranges) {
            return Err(error("unbalanced quotes in request"));
        }
        if self.ranges.is_empty() {
            return Ok(Parsed::Empty { consumed });
        }
        Ok(Parsed::Command { consumed, inline: true })
    }
}

fn error(text: &str) -> ProtocolError {
    ProtocolError(text.to_owned())
}

#[cfg(test)]
mod tests;
