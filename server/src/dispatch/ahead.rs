//! Reads a client's pipeline some commands ahead, so that the keys' cache misses overlap: looking a
//! key up in a large table is mostly waiting for memory.

use engine::args::{ArgRange, Args};
use engine::keyspace::KeyPlace;
use smallvec::SmallVec;

use crate::core::Core;
use crate::limits::{COMMANDS_AHEAD_MAX, HASHED_AHEAD_BYTES_MAX, IDLE_RANGES_MAX};
use crate::resp::parser::{ParseLimits, Parsed, Parser, ProtocolError};

/// Whole commands at the start of a client's bytes, parsed but not run.
#[derive(Default)]
pub struct Ahead {
    ranges: Vec<ArgRange>,
    commands: SmallVec<[Parsing; COMMANDS_AHEAD_MAX]>,
}

/// Where a command stands in the bytes, and its words in `ranges`.
#[derive(Clone, Copy)]
struct Parsing {
    start: usize,
    end: usize,
    first_range: usize,
    /// Of the second word, which is the key in nearly all commands.
    place: Option<KeyPlace>,
}

/// What stands behind the commands read ahead.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Perhaps more commands, or nothing.
    More,
    /// A command that has not arrived whole; the parser knows how far it has come.
    Incomplete,
    /// A command in the inline form: its words lie in the parser.
    Inline {
        consumed: usize,
    },
    Broken(ProtocolError),
}

impl Ahead {
    /// Reads from `bytes`, at the start of a command, up to `commands_max` commands. Returns where
    /// the commands end and what follows.
    pub fn read(
        &mut self,
        parser: &mut Parser,
        bytes: &[u8],
        limits: ParseLimits,
        commands_max: usize,
    ) -> (usize, Next) {
        self.ranges.clear();
        self.ranges.shrink_to(IDLE_RANGES_MAX);
        self.commands.clear();
        let mut start = 0;
        while start < bytes.len() && self.commands.len() < commands_max {
            match parser.parse(&bytes[start..], limits) {
                Ok(Parsed::Command { consumed, inline: false }) => {
                    let first_range = self.ranges.len();
                    self.ranges.append(&mut parser.ranges);
                    parser.reset();
                    let end = start + consumed;
                    self.commands.push(Parsing { start, end, first_range, place: None });
                    start += consumed;
                }
                Ok(Parsed::Command { consumed, inline: true }) => {
                    return (start, Next::Inline { consumed });
                }
                Ok(Parsed::Empty { consumed }) => {
                    parser.reset();
                    start += consumed;
                }
                Ok(Parsed::Incomplete) => return (start, Next::Incomplete),
                Err(error) => return (start, Next::Broken(error)),
            }
        }
        (start, Next::More)
    }

    pub fn count(&self) -> usize {
        self.commands.len()
    }

    /// The command at `place` and where it ends.
    pub fn get<'a>(&'a self, place: usize, bytes: &'a [u8]) -> (Args<'a>, usize) {
        let Parsing { start, end, first_range, .. } = self.commands[place];
        let ranges_end = match self.commands.get(place + 1) {
            Some(next) => next.first_range,
            None => self.ranges.len(),
        };
        (Args::new(&bytes[start..end], &self.ranges[first_range..ranges_end]), end)
    }

    pub fn key_place(&self, place: usize) -> Option<KeyPlace> {
        self.commands[place].place
    }

    /// Where the command at `place` begins: what is not run from there on is read again.
    pub fn start_of(&self, place: usize) -> usize {
        self.commands[place].start
    }
}

impl Core {
    /// Asks for the memory that the commands read ahead will look at. Where the second word is not
    /// a key, nothing but a hint is wrong.
    pub(crate) fn prefetch_ahead(&self, ahead: &mut Ahead, bytes: &[u8], db: u16) {
        for at in 0..ahead.count() {
            let word = ahead.get(at, bytes).0.get(1);
            let key = word.filter(|word| word.len() <= HASHED_AHEAD_BYTES_MAX);
            ahead.commands[at].place = key.map(|key| self.shards.locate(key));
        }
        if ahead.count() > 1 {
            self.shards.prefetch(db, ahead.commands.iter().filter_map(|command| command.place));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ParseLimits = ParseLimits { authenticated: true, bulk_bytes_max: 100 };

    fn read(bytes: &[u8], max: usize) -> (Vec<Vec<Vec<u8>>>, usize, Next) {
        let (mut ahead, mut parser) = (Ahead::default(), Parser::default());
        let (end, next) = ahead.read(&mut parser, bytes, LIMITS, max);
        let commands = (0..ahead.count())
            .map(|place| ahead.get(place, bytes).0.iter_from(0).map(<[u8]>::to_vec).collect())
            .collect();
        (commands, end, next)
    }

    #[test]
    fn reads_whole_commands_and_says_what_follows() {
        let get = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
        let ping = b"*1\r\n$4\r\nPING\r\n";
        let both = [&get[..], b"\r\n", ping].concat();
        let words = vec![vec![b"GET".to_vec(), b"k".to_vec()], vec![b"PING".to_vec()]];
        assert_eq!(read(&both, 9), (words.clone(), both.len(), Next::More));
        assert_eq!(read(&both, 1), (words[..1].to_vec(), get.len(), Next::More));
        let cut = &both[..both.len() - 1];
        assert_eq!(read(cut, 9), (words[..1].to_vec(), get.len() + 2, Next::Incomplete));
        let inline = [&get[..], b"PING\r\n"].concat();
        let next = Next::Inline { consumed: 6 };
        assert_eq!(read(&inline, 9), (words[..1].to_vec(), get.len(), next));
        let broken = [&get[..], b"*x\r\n"].concat();
        let (commands, end, next) = read(&broken, 9);
        assert_eq!((commands, end), (words[..1].to_vec(), get.len()));
        assert!(matches!(next, Next::Broken(_)));
    }
}
