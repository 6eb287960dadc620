//! What virtual clients do: operations whose outcomes can be checked, over shards of every core.

use engine::rng::Rng;

pub const COUNTERS: u64 = 3;
pub const OWN_KEYS: u64 = 3;
pub const ACCOUNTS: u64 = 5;
pub const QUEUES: u64 = 3;
pub const RINGS: u64 = 3;

/// How long an expiring key lives.
pub const LIFE_MS: u64 = 20;

/// One operation of one client. Values are never used twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    Increment {
        counter: u64,
    },
    ReadCounter {
        counter: u64,
    },
    /// Keys that no other client writes.
    SetOwn {
        key: u64,
        value: u64,
    },
    GetOwn {
        key: u64,
    },
    /// Two keys of the client at once, mostly on different shards.
    SetPair {
        value: u64,
    },
    GetPair,
    /// MULTI: from one account to another; the sum over all stays 0.
    Transfer {
        from: u64,
        to: u64,
        amount: u64,
    },
    Audit,
    /// MULTI around a read: nothing of it waits for the log.
    ReadOnly {
        key: u64,
    },
    /// COPY of a counter, which may not be released yet, to a key of the client.
    Snapshot {
        counter: u64,
    },
    /// A counter beside the client's copy of it.
    Compare {
        counter: u64,
    },
    /// A token is put into a ring.
    AddToken {
        token: u64,
    },
    /// LMOVE of a token from one ring to another.
    MoveToken {
        from: u64,
        to: u64,
    },
    /// MULTI: how many tokens each ring has.
    CountTokens,
    Push {
        queue: u64,
        item: u64,
    },
    /// BLPOP from one or two queues.
    Pop {
        queues: Vec<u64>,
        timeout_ms: u64,
    },
    SetExpiring {
        value: u64,
    },
    GetExpiring,
    /// WATCH and UNWATCH of a key that may have expired: who looks at it deletes it.
    Watch,
    /// WATCH, GET, MULTI, INCR, EXEC in one go: aborted, or one more than what was read.
    WatchedIncrement {
        counter: u64,
    },
    /// `maxmemory` so low that all that may go is evicted and what needs memory refused, or none.
    Limit {
        bytes: u64,
    },
    /// Commands that ask every shard or scan, or have others wait; they only have to be answered.
    Noise(&'static str),
    /// What is left in a queue at the end.
    Rest {
        queue: u64,
    },
}

const NOISE: [&str; 9] = [
    "DBSIZE",
    "KEYS *",
    "SCAN 0 COUNT 3",
    "RANDOMKEY",
    "CLIENT LIST",
    "EXISTS a b c d",
    "CLIENT PAUSE 3 WRITE",
    "CLIENT PAUSE 2 ALL",
    "CLIENT UNPAUSE",
];

impl Operation {
    /// A random one; `value` is new. `limits`: among those that change `maxmemory`.
    pub fn random(rng: &mut Rng, value: u64, limits: bool) -> Operation {
        if limits && rng.below(12) == 0 {
            return Operation::Limit { bytes: u64::from(rng.below(3) == 0) };
        }
        match rng.below(39) {
            0..=3 => Operation::Increment { counter: rng.below(COUNTERS) },
            4..=6 => Operation::SetOwn { key: rng.below(OWN_KEYS), value },
            7..=8 => Operation::GetOwn { key: rng.below(OWN_KEYS) },
            9..=10 => Operation::SetPair { value },
            11 => Operation::GetPair,
            12..=14 => {
                let from = rng.below(ACCOUNTS);
                let to = (from + 1 + rng.below(ACCOUNTS - 1)) % ACCOUNTS;
                Operation::Transfer { from, to, amount: 1 + rng.below(9) }
            }
            15..=16 => Operation::Audit,
            17..=18 => Operation::Push { queue: rng.below(QUEUES), item: value },
            19..=20 => {
                let first = rng.below(QUEUES);
                let mut queues = vec![first];
                if rng.below(2) == 0 {
                    queues.push((first + 1) % QUEUES);
                }
                Operation::Pop { queues, timeout_ms: 1 + rng.below(30) }
            }
            21 => Operation::SetExpiring { value },
            22 => Operation::GetExpiring,
            23..=24 => Operation::ReadOnly { key: rng.below(OWN_KEYS) },
            25..=26 => Operation::Snapshot { counter: rng.below(COUNTERS) },
            27 => Operation::Compare { counter: rng.below(COUNTERS) },
            28 => Operation::AddToken { token: value },
            29..=30 => {
                let from = rng.below(RINGS);
                let to = (from + 1 + rng.below(RINGS - 1)) % RINGS;
                Operation::MoveToken { from, to }
            }
            31 => Operation::CountTokens,
            34 => Operation::Watch,
            36..=38 => Operation::WatchedIncrement { counter: rng.below(COUNTERS) },
            32..=33 => Operation::ReadCounter { counter: rng.below(COUNTERS) },
            _ => Operation::Noise(NOISE[rng.below(NOISE.len() as u64) as usize]),
        }
    }

    pub fn reply_count(&self) -> usize {
        match self {
            Operation::Transfer { .. } => 4,
            Operation::ReadOnly { .. } => 3,
            Operation::Watch => 2,
            Operation::WatchedIncrement { .. } => 5,
            Operation::CountTokens => RINGS as usize + 2,
            _ => 1,
        }
    }

    /// The commands, as the client sends them.
    pub fn encode(&self, client: usize, out: &mut Vec<u8>) {
        let accounts = || (0..ACCOUNTS).map(|n| format!(" account:{n}")).collect::<String>();
        let commands = match self {
            Operation::Increment { counter } => format!("INCR counter:{counter}"),
            Operation::ReadCounter { counter } => format!("GET counter:{counter}"),
            Operation::SetOwn { key, value } => format!("SET own:{client}:{key} {value}"),
            Operation::GetOwn { key } => format!("GET own:{client}:{key}"),
            Operation::SetPair { value } => {
                format!("MSET left:{client} {value} right:{client} {value}")
            }
            Operation::GetPair => format!("MGET left:{client} right:{client}"),
            Operation::Transfer { from, to, amount } => {
                format!("MULTI\nDECRBY account:{from} {amount}\nINCRBY account:{to} {amount}\nEXEC")
            }
            Operation::Audit => format!("MGET{}", accounts()),
            Operation::ReadOnly { key } => format!("MULTI\nGET own:{client}:{key}\nEXEC"),
            Operation::Snapshot { counter } => {
                format!("COPY counter:{counter} copy:{client}:{counter} REPLACE")
            }
            Operation::Compare { counter } => {
                format!("MGET counter:{counter} copy:{client}:{counter}")
            }
            Operation::AddToken { token } => format!("RPUSH ring:0 {token}"),
            Operation::MoveToken { from, to } => format!("LMOVE ring:{from} ring:{to} LEFT RIGHT"),
            Operation::CountTokens => {
                let counts: String = (0..RINGS).map(|n| format!("LLEN ring:{n}\n")).collect();
                format!("MULTI\n{counts}EXEC")
            }
            Operation::Push { queue, item } => format!("RPUSH queue:{queue} {item}"),
            Operation::Pop { queues, timeout_ms } => {
                let names: String = queues.iter().map(|n| format!(" queue:{n}")).collect();
                format!("BLPOP{names} {}", *timeout_ms as f64 / 1000.0)
            }
            Operation::SetExpiring { value } => format!("SET brief:{client} {value} PX {LIFE_MS}"),
            Operation::GetExpiring => format!("GET brief:{client}"),
            Operation::Watch => format!("WATCH brief:{client}\nUNWATCH"),
            Operation::WatchedIncrement { counter: n } => {
                format!("WATCH counter:{n}\nGET counter:{n}\nMULTI\nINCR counter:{n}\nEXEC")
            }
            Operation::Limit { bytes } => format!("CONFIG SET maxmemory {bytes}"),
            Operation::Noise(command) => (*command).to_owned(),
            Operation::Rest { queue } => format!("LRANGE queue:{queue} 0 -1"),
        };
        for command in commands.lines() {
            let words: Vec<_> = command.split(' ').collect();
            out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
            for word in words {
                out.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
            }
        }
    }
}
