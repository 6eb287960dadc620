//! Walking over keys: SCAN, KEYS, RANDOMKEY, and what HSCAN and its kin share.

use crate::args::Args;
use crate::error::{CommandError, CommandResult, INVALID_CURSOR, SYNTAX};
use crate::keyspace::{Entry, Shards, ValueRef};
use crate::number::parse_u64;

use super::call::Call;
use super::glob;
use super::parse::integer;

/// MATCH, COUNT, TYPE, NOVALUES and NOSCORES of a scan.
pub struct ScanOptions<'a> {
    pub pattern: Option<&'a [u8]>,
    pub count: usize,
    pub type_name: Option<&'a [u8]>,
    /// Fields without their values, or members without their scores.
    pub alone: bool,
}

/// What is scanned: it decides which options there are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scanned {
    /// TYPE.
    Keys,
    Set,
    /// NOVALUES, of Redis 7.4.
    Hash,
    /// NOSCORES, of Valkey 8.1.
    ZSet,
}

impl Scanned {
    fn word_alone(self) -> Option<&'static [u8]> {
        match self {
            Scanned::Hash => Some(b"novalues"),
            Scanned::ZSet => Some(b"noscores"),
            Scanned::Keys | Scanned::Set => None,
        }
    }
}

impl ScanOptions<'_> {
    pub fn matches(&self, text: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, text))
    }
}

pub fn parse_cursor(text: &[u8]) -> Result<u64, CommandError> {
    parse_u64(text).ok_or(INVALID_CURSOR)
}

/// Options from argument `from` on.
pub fn parse_options<'a>(
    args: Args<'a>,
    from: usize,
    scanned: Scanned,
) -> Result<ScanOptions<'a>, CommandError> {
    let mut options = ScanOptions { pattern: None, count: 10, type_name: None, alone: false };
    let mut at = from;
    while at < args.len() {
        let value = args.get(at + 1);
        match (value, args.at(at).to_ascii_lowercase().as_slice()) {
            (Some(value), b"count") => {
                let count = integer(value)?;
                if count < 1 {
                    return Err(SYNTAX);
                }
                options.count = count as usize;
            }
            (Some(value), b"match") => options.pattern = (value != b"*").then_some(value),
            (Some(value), b"type") if scanned == Scanned::Keys => options.type_name = Some(value),
            (_, word) if scanned.word_alone() == Some(word) => {
                options.alone = true;
                at += 1;
                continue;
            }
            _ => return Err(SYNTAX),
        }
        at += 2;
    }
    Ok(options)
}

/// The shard that a SCAN with this cursor reads first: the cursor is position × shards + shard.
pub fn shard_of_cursor(cursor: u64, shard_count: usize) -> usize {
    (cursor % shard_count as u64) as usize
}

/// The shards that a SCAN of the first one may go on to: those behind it, as far as they are held.
/// Nothing is known of a first one that is not.
pub fn further_shards(shards: &Shards, first: usize) -> impl Iterator<Item = usize> {
    let behind = first + 1..shards.count();
    behind.take_while(move |shard| shards.holds(first) && shards.holds(*shard))
}

pub fn scan(call: &mut Call<'_, '_>) -> CommandResult {
    let cursor = parse_cursor(call.args.at(1))?;
    let options = parse_options(call.args, 2, Scanned::Keys)?;
    let (db, count) = (call.space.db(), call.space.shards.count() as u64);
    let mut shard = shard_of_cursor(cursor, count as usize);
    let mut position = cursor / count;
    let mut keys: Vec<Box<[u8]>> = Vec::new();
    let mut visited = 0;
    let next = loop {
        let Some(held) = call.space.shards.get_mut(shard) else {
            break position * count + shard as u64;
        };
        held.observe_all();
        let wanted = options.count - visited;
        position = held.table(db).scan(position, wanted, |entry| {
            visited += 1;
            // By type before by time: a key of another type is left to expire.
            let of_type = |name: &[u8]| type_of(Some(entry)).as_bytes().eq_ignore_ascii_case(name);
            if options.matches(entry.key()) && options.type_name.is_none_or(of_type) {
                keys.push(entry.key().into());
            }
        });
        if position == 0 {
            shard += 1;
            if shard as u64 == count {
                break 0;
            }
        }
        if visited >= options.count {
            break position * count + shard as u64;
        }
    };
    keys.retain(|key| call.space.peek(key).is_some());
    write_scan(call, next, keys.iter().map(|key| &**key));
    Ok(())
}

/// The reply of every scan: the next cursor and the elements.
pub fn write_scan<'k>(
    call: &mut Call<'_, '_>,
    next: u64,
    elements: impl ExactSizeIterator<Item = &'k [u8]>,
) {
    call.reply.array(2);
    let cursor = next.to_string();
    call.reply.bulk(cursor.as_bytes());
    call.reply.array(elements.len());
    elements.for_each(|element| call.reply.bulk(element));
}

pub fn keys(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, now_ms) = (call.space.db(), call.space.now_ms());
    let pattern = call.args.at(1);
    let later = call.reply.array_later();
    let mut count = 0;
    for shard in call.space.shards.held_mut() {
        shard.observe_all();
        for entry in shard.table(db).iter() {
            let alive = entry.expires_at_ms().is_none_or(|at_ms| now_ms <= at_ms);
            if alive && glob::matches(pattern, entry.key()) {
                call.reply.bulk(entry.key());
                count += 1;
            }
        }
    }
    call.reply.finish_array(later, count);
    Ok(())
}

/// Tries before a database that seems to hold only expired keys is called empty.
const RANDOM_TRIES_MAX: usize = 100;

pub fn randomkey(call: &mut Call<'_, '_>) -> CommandResult {
    let db = call.space.db();
    for _ in 0..RANDOM_TRIES_MAX {
        let total: usize = call.space.shards.held().map(|s| s.database(db).len()).sum();
        if total == 0 {
            break;
        }
        let mut at = call.rng.below(total as u64) as usize;
        let random = call.rng.next_u64();
        let mut picked = None;
        for shard in call.space.shards.held_mut() {
            let len = shard.database(db).len();
            if at < len {
                picked = shard.table(db).random(random).map(|entry| Box::from(entry.key()));
                break;
            }
            at -= len;
        }
        let picked: Option<Box<[u8]>> = picked;
        if let Some(key) = picked
            && call.space.contains(&key)
        {
            call.reply.bulk(&key);
            return Ok(());
        }
    }
    for shard in call.space.shards.held_mut() {
        shard.observe_all();
    }
    call.reply.null();
    Ok(())
}

/// What TYPE answers.
pub fn type_name(value: ValueRef<'_>) -> &'static str {
    match value {
        ValueRef::Integer(_) | ValueRef::Embedded(_) | ValueRef::Raw(_) => "string",
        ValueRef::List(_) => "list",
        ValueRef::Set(_) => "set",
        ValueRef::Hash(_) => "hash",
        ValueRef::ZSet(_) => "zset",
    }
}

/// What TYPE answers for a key.
pub fn type_of(entry: Option<&Entry>) -> &'static str {
    entry.map_or("none", |entry| type_name(entry.value()))
}
