//! SLOWLOG: the last commands that took long, with Redis's shape of entries and its rules for long
//! ones. Each core keeps those of its own clients; a reply is put together from all.

use std::collections::VecDeque;

use engine::args::{Args, OwnedArgs};
use engine::command::spec::CommandSpec;
use engine::number::parse_i64;
use engine::reply::Reply;

use super::everywhere::{Answer, Purpose, Question};
use super::redact::is_secret;
use crate::connection::Connection;
use crate::core::Core;
use crate::dispatch::local::unknown_or_arity;

/// Words of a command that are kept, and bytes of each: Redis's.
const WORDS_MAX: usize = 32;
const WORD_BYTES_MAX: usize = 128;

/// Entries that SLOWLOG GET shows by itself.
const SHOWN_BY_DEFAULT: usize = 10;

/// A slow command, before it is known whose it was.
pub struct SlowCommand {
    pub unix_s: i64,
    pub duration_us: u64,
    /// Cut to what is kept.
    pub command: OwnedArgs,
}

#[derive(Clone, Debug)]
pub struct SlowEntry {
    id: u64,
    unix_s: i64,
    duration_us: u64,
    command: OwnedArgs,
    address: String,
    name: Vec<u8>,
}

/// Newest first.
#[derive(Default)]
pub struct Slowlog {
    entries: VecDeque<SlowEntry>,
    entries_max: usize,
    pushed: u64,
}

impl Slowlog {
    pub fn set_entries_max(&mut self, entries_max: usize) {
        self.entries_max = entries_max;
    }

    /// Ids rise on every core and are unique over all, as each counts on its own residue.
    pub fn push(&mut self, slow: SlowCommand, client: &Connection, core: u16, cores: usize) {
        let SlowCommand { unix_s, duration_us, command } = slow;
        self.entries.push_front(SlowEntry {
            id: self.pushed * cores as u64 + u64::from(core),
            unix_s,
            duration_us,
            command,
            address: client.peer.to_string(),
            name: client.name.clone(),
        });
        self.pushed += 1;
        self.entries.truncate(self.entries_max);
    }

    pub fn newest(&self, count: usize) -> Vec<SlowEntry> {
        self.entries.iter().take(count).cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn reset(&mut self) {
        self.entries.clear();
    }
}

/// What is kept of a command: the first words, the beginning of each, and no secrets.
pub fn kept_args(spec: &CommandSpec, args: Args<'_>) -> OwnedArgs {
    let shown = if args.len() > WORDS_MAX { WORDS_MAX - 1 } else { args.len() };
    let mut kept = OwnedArgs::default();
    for at in 0..shown {
        let word = args.at(at);
        if is_secret(spec, args, at) {
            kept.push(b"(redacted)");
        } else if word.len() > WORD_BYTES_MAX {
            let more = word.len() - WORD_BYTES_MAX;
            let mut cut = word[..WORD_BYTES_MAX].to_vec();
            cut.extend_from_slice(format!("... ({more} more bytes)").as_bytes());
            kept.push(&cut);
        } else {
            kept.push(word);
        }
    }
    if shown < args.len() {
        kept.push(format!("... ({} more arguments)", args.len() - shown).as_bytes());
    }
    kept
}

impl Core {
    pub(crate) fn slowlog_command(
        &mut self,
        connection: &mut Connection,
        sub: &str,
        args: Args<'_>,
    ) {
        match sub {
            "get" => {
                let count = match args.len() {
                    2 => Some(SHOWN_BY_DEFAULT as i64),
                    3 => parse_i64(args.at(2)).filter(|count| *count >= -1),
                    _ => {
                        let error = unknown_or_arity(args);
                        return self.reply_with(connection, |reply| reply.error(&error.0));
                    }
                };
                let Some(count) = count else {
                    return self.reply_with(connection, |reply| {
                        reply.error("ERR count should be greater than or equal to -1");
                    });
                };
                let most = self.config.slowlog_entries_max;
                let count = usize::try_from(count).map_or(most, |count| count.min(most));
                let purpose = Purpose::Slowlog { count };
                self.ask_everywhere(connection, Question::Slowlog { count }, purpose);
            }
            "len" => {
                let purpose = Purpose::CountUpTo(self.config.slowlog_entries_max as u64);
                self.ask_everywhere(connection, Question::SlowlogLen, purpose);
            }
            _ => self.ask_everywhere(connection, Question::ResetSlowlog, Purpose::Ok),
        }
    }
}

/// The newest entries of all cores.
pub fn write_entries(reply: &mut Reply<'_>, answers: &[Answer], count: usize) {
    let mut entries: Vec<&SlowEntry> = answers
        .iter()
        .flat_map(|answer| if let Answer::Slowlog(entries) = answer { &entries[..] } else { &[] })
        .collect();
    entries.sort_by_key(|entry| std::cmp::Reverse((entry.unix_s, entry.id)));
    entries.truncate(count);
    reply.array(entries.len());
    for entry in entries {
        reply.array(6);
        reply.integer(entry.id as i64);
        reply.integer(entry.unix_s);
        reply.integer(entry.duration_us as i64);
        let command = entry.command.as_args();
        reply.array(command.len());
        command.iter_from(0).for_each(|word| reply.bulk(word));
        reply.bulk(entry.address.as_bytes());
        reply.bulk(&entry.name);
    }
}

#[cfg(test)]
mod tests {
    use engine::command::table;

    use super::*;

    fn kept(words: &[&[u8]]) -> Vec<String> {
        let args = OwnedArgs::from_words(words.iter().copied());
        let parent = table::find(words[0]).unwrap();
        let spec = table::find_subcommand(parent, words[1]).unwrap_or(parent);
        let kept = kept_args(spec, args.as_args());
        kept.as_args().iter_from(0).map(|w| String::from_utf8_lossy(w).into_owned()).collect()
    }

    #[test]
    fn long_commands_are_cut_as_redis_cuts_them() {
        let member = [b'x'; 129];
        assert_eq!(kept(&[b"SET", b"k", &member])[2], "x".repeat(128) + "... (1 more bytes)");
        let words = |n: usize| {
            let mut words: Vec<&[u8]> = vec![b"SADD", b"k"];
            words.resize(n, b"m");
            kept(&words)
        };
        assert_eq!(words(32)[31], "m");
        assert_eq!((words(33).len(), words(33)[31].as_str()), (32, "... (2 more arguments)"));
        assert_eq!(words(100)[31], "... (69 more arguments)");
    }

    #[test]
    fn secrets_are_not_kept() {
        let words: [&[u8]; 6] = [b"CONFIG", b"SET", b"timeout", b"5", b"RequirePass", b"x"];
        let expected = ["CONFIG", "SET", "timeout", "5", "RequirePass", "(redacted)"];
        assert_eq!(kept(&words), expected);
        assert_eq!(kept(&[b"AUTH", b"me", b"x"]), ["AUTH", "(redacted)", "(redacted)"]);
        let words: [&[u8]; 7] = [b"HELLO", b"3", b"AUTH", b"me", b"x", b"SETNAME", b"n"];
        let expected = ["HELLO", "3", "AUTH", "(redacted)", "(redacted)", "SETNAME", "n"];
        assert_eq!(kept(&words), expected);
    }
}
