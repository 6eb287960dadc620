//! What the one command table says of a command.

use super::call::Run;

/// Flags, as COMMAND INFO names them.
pub mod flag {
    pub const WRITE: u32 = 1 << 0;
    pub const READONLY: u32 = 1 << 1;
    pub const DENYOOM: u32 = 1 << 2;
    pub const ADMIN: u32 = 1 << 3;
    pub const PUBSUB: u32 = 1 << 4;
    pub const NOSCRIPT: u32 = 1 << 5;
    pub const BLOCKING: u32 = 1 << 6;
    pub const LOADING: u32 = 1 << 7;
    pub const STALE: u32 = 1 << 8;
    pub const SKIP_MONITOR: u32 = 1 << 9;
    pub const SKIP_SLOWLOG: u32 = 1 << 10;
    pub const ASKING: u32 = 1 << 11;
    pub const FAST: u32 = 1 << 12;
    pub const NO_AUTH: u32 = 1 << 13;
    pub const MAY_REPLICATE: u32 = 1 << 14;
    pub const NO_MANDATORY_KEYS: u32 = 1 << 15;
    pub const PROTECTED: u32 = 1 << 16;
    pub const NO_ASYNC_LOADING: u32 = 1 << 17;
    pub const NO_MULTI: u32 = 1 << 18;
    pub const ALLOW_BUSY: u32 = 1 << 19;
    /// Not one of Redis's: touches every shard, whatever its arguments (FLUSHALL, KEYS, DBSIZE).
    pub const ALL_SHARDS: u32 = 1 << 30;
    /// Not one of Redis's: patterns among the arguments may name any key (SORT).
    pub const PATTERN_KEYS: u32 = 1 << 31;

    /// In the order in which Redis lists them.
    pub const NAMES: &[(u32, &str)] = &[
        (WRITE, "write"),
        (READONLY, "readonly"),
        (DENYOOM, "denyoom"),
        (ADMIN, "admin"),
        (PUBSUB, "pubsub"),
        (NOSCRIPT, "noscript"),
        (BLOCKING, "blocking"),
        (LOADING, "loading"),
        (STALE, "stale"),
        (SKIP_MONITOR, "skip_monitor"),
        (SKIP_SLOWLOG, "skip_slowlog"),
        (ASKING, "asking"),
        (FAST, "fast"),
        (NO_AUTH, "no_auth"),
        (MAY_REPLICATE, "may_replicate"),
        (NO_MANDATORY_KEYS, "no_mandatory_keys"),
        (PROTECTED, "protected"),
        (NO_ASYNC_LOADING, "no_async_loading"),
        (NO_MULTI, "no_multi"),
        (ALLOW_BUSY, "allow_busy"),
    ];
}

/// ACL categories, as ACL CAT names them, beyond those that follow from the flags.
pub mod category {
    pub const KEYSPACE: u32 = 1 << 0;
    pub const STRING: u32 = 1 << 1;
    pub const LIST: u32 = 1 << 2;
    pub const SET: u32 = 1 << 3;
    pub const SORTEDSET: u32 = 1 << 4;
    pub const HASH: u32 = 1 << 5;
    pub const BITMAP: u32 = 1 << 6;
    pub const HYPERLOGLOG: u32 = 1 << 7;
    pub const GEO: u32 = 1 << 8;
    pub const STREAM: u32 = 1 << 9;
    pub const CONNECTION: u32 = 1 << 10;
    pub const TRANSACTION: u32 = 1 << 11;
    pub const SCRIPTING: u32 = 1 << 12;
    pub const DANGEROUS: u32 = 1 << 13;
    pub const ADMIN: u32 = 1 << 14;

    pub const NAMES: &[(u32, &str)] = &[
        (KEYSPACE, "keyspace"),
        (STRING, "string"),
        (LIST, "list"),
        (SET, "set"),
        (SORTEDSET, "sortedset"),
        (HASH, "hash"),
        (BITMAP, "bitmap"),
        (HYPERLOGLOG, "hyperloglog"),
        (GEO, "geo"),
        (STREAM, "stream"),
        (CONNECTION, "connection"),
        (TRANSACTION, "transaction"),
        (SCRIPTING, "scripting"),
        (DANGEROUS, "dangerous"),
        (ADMIN, "admin"),
    ];
}

/// Where a group of keys begins among the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    Index(usize),
    /// Behind this word, searched from this argument on (negative: from the end, backwards).
    Keyword(&'static str, i32),
    Unknown,
}

/// Which of the arguments from there on are keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// Up to `last` behind the first (negative: counted from the end, -1 the last), each `step`;
    /// `limit` > 1: only the first 1/limit of the rest.
    Range {
        last: i32,
        step: usize,
        limit: usize,
    },
    /// A count of keys stands at `count_index`, the first key at `first`, both behind the begin.
    KeyCount {
        count_index: usize,
        first: usize,
        step: usize,
    },
    /// The target behind SORT's STORE; clients are told that it is unknown, as Redis tells them.
    SortTarget,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// As COMMAND INFO prints them: `RO`, `ACCESS` …
    pub flags: &'static [&'static str],
    pub begin: Begin,
    pub find: Find,
}

/// One command or subcommand.
pub struct CommandSpec {
    /// Lower case; a subcommand's own word without its parent's.
    pub name: &'static str,
    /// Words, the name included; negative: at least so many.
    pub arity: i32,
    pub flags: u32,
    pub categories: u32,
    pub keys: &'static [KeySpec],
    pub tips: &'static [&'static str],
    pub since: &'static str,
    pub group: &'static str,
    pub summary: &'static str,
    pub run: Run,
    pub subcommands: &'static [CommandSpec],
}

impl std::fmt::Debug for CommandSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl CommandSpec {
    pub fn has(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }

    pub fn arity_fits(&self, words: usize) -> bool {
        let arity = self.arity.unsigned_abs() as usize;
        if self.arity >= 0 { words == arity } else { words >= arity }
    }
}
