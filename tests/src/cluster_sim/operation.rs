//! What clients ask: every value once, few keys.

use engine::rng::Rng;

use super::history::Seen;
use super::transaction::Transaction;
use crate::harness::client::encode;
use crate::sim::client::Reply;

pub const REGISTERS: u64 = 3;
pub const COUNTERS: u64 = 2;
pub const LISTS: u64 = 2;
pub const PAIRS: u64 = 2;

/// Most filler behind a value: the log is to grow.
const FILLER_BYTES_MAX: u64 = 600;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Set {
        key: u64,
        value: u64,
    },
    Get {
        key: u64,
    },
    Increment {
        key: u64,
    },
    /// WATCH and GET, then SET within MULTI of what follows, which is what was read if nobody else
    /// came between.
    WatchIncrement {
        key: u64,
    },
    Count {
        key: u64,
    },
    Push {
        key: u64,
        value: u64,
    },
    /// The same, and those who listen hear of it; within a transaction, or behind it.
    Tell {
        key: u64,
        value: u64,
        transaction: bool,
    },
    Range {
        key: u64,
    },
    /// Both halves of a pair get the value, in one command or a transaction.
    SetPair {
        key: u64,
        value: u64,
        transaction: bool,
    },
    GetPair {
        key: u64,
        transaction: bool,
    },
    /// Until so many nodes have what was written before.
    Wait {
        nodes: u64,
        timeout_ms: u64,
    },
    /// A register that ends after a while, by the wall clock of whoever leads.
    SetFor {
        key: u64,
        value: u64,
        ms: u64,
    },
    GetWhile {
        key: u64,
    },
    /// Several keys at once.
    Transaction(Transaction),
}

impl Operation {
    pub fn random(rng: &mut Rng, value: u64, writes_percent: u64) -> Operation {
        let transaction = rng.below(2) == 0;
        let write = rng.below(100) < writes_percent;
        match (rng.below(8), write) {
            (0..=2, true) => Operation::Set { key: rng.below(REGISTERS), value },
            (0..=2, false) => Operation::Get { key: rng.below(REGISTERS) },
            (3, true) if transaction => Operation::WatchIncrement { key: rng.below(COUNTERS) },
            (3, true) => Operation::Increment { key: rng.below(COUNTERS) },
            (3, false) => Operation::Count { key: rng.below(COUNTERS) },
            (4 | 5, true) => Operation::Push { key: rng.below(LISTS), value },
            (4 | 5, false) => Operation::Range { key: rng.below(LISTS) },
            (_, true) => Operation::SetPair { key: rng.below(PAIRS), value, transaction },
            (_, false) => Operation::GetPair { key: rng.below(PAIRS), transaction },
        }
    }

    /// Reads of everything but what [`Transaction`]s change.
    pub fn audit() -> Vec<Operation> {
        let gets = (0..REGISTERS).map(|key| Operation::Get { key });
        let counts = (0..COUNTERS).map(|key| Operation::Count { key });
        let ranges = (0..LISTS).map(|key| Operation::Range { key });
        let pairs = (0..PAIRS).map(|key| Operation::GetPair { key, transaction: false });
        gets.chain(counts).chain(ranges).chain(pairs).collect()
    }

    pub fn writes(&self) -> bool {
        match self {
            Operation::Set { .. }
            | Operation::Increment { .. }
            | Operation::WatchIncrement { .. }
            | Operation::Push { .. }
            | Operation::Tell { .. }
            | Operation::SetFor { .. }
            | Operation::SetPair { .. } => true,
            Operation::Transaction(transaction) => transaction.writes(),
            _ => false,
        }
    }

    pub fn encode(&self, rng: &mut Rng) -> Vec<u8> {
        let filler = "x".repeat(rng.below(FILLER_BYTES_MAX) as usize);
        let words = match *self {
            Operation::Set { key, value } => format!("SET r{key} {value}:{filler}"),
            Operation::Get { key } => format!("GET r{key}"),
            Operation::Increment { key } => format!("INCR c{key}"),
            Operation::WatchIncrement { key } => format!("WATCH c{key};GET c{key}"),
            Operation::Count { key } => format!("GET c{key}"),
            Operation::Push { key, value } => format!("RPUSH l{key} {value}"),
            Operation::Tell { key, value, transaction: false } => {
                format!("RPUSH l{key} {value};PUBLISH l{key} {value}")
            }
            Operation::Tell { key, value, transaction: true } => {
                format!("MULTI;RPUSH l{key} {value};PUBLISH l{key} {value};EXEC")
            }
            Operation::Range { key } => format!("LRANGE l{key} 0 -1"),
            Operation::SetPair { key, value, transaction: false } => {
                format!("MSET a{key} {value} b{key} {value}")
            }
            Operation::GetPair { key, transaction: false } => format!("MGET a{key} b{key}"),
            Operation::SetPair { key, value, transaction: true } => {
                format!("MULTI;SET a{key} {value};SET b{key} {value};EXEC")
            }
            Operation::GetPair { key, transaction: true } => {
                format!("MULTI;GET a{key};GET b{key};EXEC")
            }
            Operation::Wait { nodes, timeout_ms } => format!("WAIT {nodes} {timeout_ms}"),
            Operation::SetFor { key, value, ms } => format!("SET ending{key} {value} PX {ms}"),
            Operation::GetWhile { key } => format!("GET ending{key}"),
            Operation::Transaction(transaction) => transaction.words(),
        };
        let command = |words: &str| encode(&words.split(' ').collect::<Vec<_>>());
        words.split(';').flat_map(command).collect()
    }

    pub fn reply_count(&self) -> usize {
        match self {
            Operation::Tell { transaction: false, .. } => 2,
            Operation::SetPair { transaction: true, .. }
            | Operation::Tell { transaction: true, .. }
            | Operation::GetPair { transaction: true, .. } => 4,
            Operation::WatchIncrement { .. } => 5,
            Operation::Transaction(transaction) => transaction.reply_count(),
            _ => 1,
        }
    }

    /// What is asked once so much is answered, of one that takes two steps.
    pub fn encode_second(&self, replies: &[Reply]) -> Option<Vec<u8>> {
        let (Operation::WatchIncrement { key }, [Reply::Simple(_), read]) = (self, replies) else {
            return None;
        };
        let next = value(read).ok()?.unwrap_or(0) + 1;
        let (key, next) = (format!("c{key}"), next.to_string());
        let words: [&[&str]; 3] = [&["MULTI"], &["SET", &key, &next], &["EXEC"]];
        Some(words.into_iter().flat_map(encode).collect())
    }

    /// Whether that is all, as what it began with was refused.
    pub fn is_over(&self, replies: &[Reply]) -> bool {
        let refused = |reply: &Reply| matches!(reply, Reply::Error(_));
        matches!(self, Operation::WatchIncrement { .. })
            && replies.len() == 2
            && replies.iter().any(refused)
    }

    /// What its last reply says; no reply is an error here.
    pub fn read(&self, replies: &[Reply]) -> Result<Seen, String> {
        let reply = replies.last().ok_or("no reply")?;
        let before = replies.get(1).unwrap_or(reply);
        let wrong = || Err(format!("{self:?} was answered {reply:?}"));
        match (self, reply) {
            (Operation::Set { .. } | Operation::SetFor { .. }, Reply::Simple(_)) => {
                Ok(Seen::Written)
            }
            (Operation::SetPair { transaction: false, .. }, Reply::Simple(_)) => Ok(Seen::Written),
            (Operation::SetPair { transaction: true, .. }, Reply::Many(parts)) => {
                let all = parts.iter().all(|part| matches!(part, Reply::Simple(_)));
                if all && parts.len() == 2 { Ok(Seen::Written) } else { wrong() }
            }
            (Operation::Get { .. } | Operation::GetWhile { .. }, _) => {
                Ok(Seen::Value(value(reply)?))
            }
            (
                Operation::Increment { .. } | Operation::Push { .. } | Operation::Wait { .. },
                Reply::Integer(length),
            ) => Ok(Seen::Length(*length as u64)),
            (Operation::Tell { transaction: true, .. }, Reply::Many(parts)) => match parts[..] {
                [Reply::Integer(length), Reply::Integer(_)] => Ok(Seen::Length(length as u64)),
                _ => wrong(),
            },
            (Operation::Tell { .. }, _) => match replies {
                [Reply::Integer(length), _] => Ok(Seen::Length(*length as u64)),
                _ => wrong(),
            },
            (Operation::WatchIncrement { .. }, Reply::Many(parts)) if parts.len() == 1 => {
                Ok(Seen::Length(value(before)?.unwrap_or(0) + 1))
            }
            (Operation::Count { .. }, _) => Ok(Seen::Length(value(reply)?.unwrap_or(0))),
            (Operation::Range { .. }, Reply::Many(items)) => {
                let elements = items.iter().map(|item| value(item)?.ok_or("no element".into()));
                Ok(Seen::Elements(elements.collect::<Result<_, String>>()?))
            }
            (Operation::GetPair { .. }, Reply::Many(halves)) => match &halves[..] {
                [left, right] if value(left)? == value(right)? => Ok(Seen::Value(value(left)?)),
                _ => Err(format!("half a pair: {reply:?}")),
            },
            (Operation::Transaction(transaction), _) => Ok(Seen::Sights(transaction.read(reply)?)),
            _ => wrong(),
        }
    }
}

fn value(reply: &Reply) -> Result<Option<u64>, String> {
    match reply {
        Reply::Null => Ok(None),
        Reply::Bulk(bytes) => {
            let text = String::from_utf8_lossy(bytes);
            let number = text.split(':').next().and_then(|number| number.parse().ok());
            number.map(Some).ok_or_else(|| format!("not a value: {text}"))
        }
        other => Err(format!("not a value: {other:?}")),
    }
}

/// Why a transaction was not done.
pub const WATCHED: &str = "a watched key has changed";

/// Why an operation was surely not done, if its replies say so. A message may have gone out all the
/// same, behind a write that was refused.
pub fn refusal(replies: &[Reply]) -> Result<Option<&str>, String> {
    if let [Reply::Integer(_), Reply::Error(_)] = replies {
        // Only that others hear of it was: the primary was one no more.
        return Ok(None);
    }
    let refused = |reply: &Reply| matches!(reply, Reply::Error(_));
    let refused_and_told = |parts: &[Reply]| matches!(parts, [Reply::Error(_), Reply::Integer(_)]);
    let within = replies.iter().find_map(|reply| match reply {
        Reply::Error(text) => Some(text.as_str()),
        Reply::Many(parts)
            if !parts.is_empty() && parts.iter().all(refused) || refused_and_told(parts) =>
        {
            match &parts[0] {
                Reply::Error(text) => Some(text.as_str()),
                _ => None,
            }
        }
        _ => None,
    });
    // What was watched has changed, or the node where it was leads no more.
    if let [.., _, Reply::Null] = replies
        && replies.len() == 5
    {
        return Ok(Some(WATCHED));
    }
    let Some(first) = within else { return Ok(None) };
    let known = ["READONLY ", "MISCONF ", "EXECABORT ", "CLUSTERDOWN ", "UNBLOCKED "]
        .iter()
        .any(|word| first.starts_with(word));
    if known { Ok(Some(first)) } else { Err(format!("an error nobody expects: {first}")) }
}
