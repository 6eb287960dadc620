//! What an operator can set about the keyspace; each core holds a copy.

use crate::error::{CommandError, CommandResult};
use crate::limits::{ENTRY_CLOSED_BYTES, ENTRY_COPIED_BYTES_MAX, ENTRY_WORDS_BYTES_MAX};
use crate::value::limits::EncodingLimits;

#[derive(Clone, Debug)]
pub struct Settings {
    pub encoding: EncodingLimits,
    /// Longest string a command may build (`proto-max-bulk-len`).
    pub string_bytes_max: usize,
    /// DEBUG SET-ACTIVE-EXPIRE.
    pub active_expire: bool,
    pub eviction: Eviction,
    pub entry: EntryLimits,
}

/// How large a shard's entry in the log may become; see `limits.rs`. Tests lower it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryLimits {
    pub closed_bytes: usize,
    pub words_bytes_max: usize,
    pub copied_bytes_max: usize,
}

impl Default for EntryLimits {
    fn default() -> EntryLimits {
        EntryLimits {
            closed_bytes: ENTRY_CLOSED_BYTES,
            words_bytes_max: ENTRY_WORDS_BYTES_MAX,
            copied_bytes_max: ENTRY_COPIED_BYTES_MAX,
        }
    }
}

impl EntryLimits {
    /// No entry is longer.
    pub fn bytes_max(&self) -> usize {
        self.copied_bytes_max.max(self.closed_bytes) + self.words_bytes_max
    }

    /// Refuses words that may leave too much.
    pub fn check_words(&self, effect_bytes: usize) -> CommandResult {
        if effect_bytes <= self.words_bytes_max {
            return Ok(());
        }
        let most = self.words_bytes_max;
        Err(CommandError::from_text(format!(
            "ERR too much to change at once: {effect_bytes} bytes of the log, which takes {most}"
        )))
    }

    /// Refuses more effects than an entry of `len` bytes takes.
    pub fn check_copied(&self, len: usize, effect_bytes: usize) -> CommandResult {
        let (wanted, most) = (len.saturating_add(effect_bytes), self.copied_bytes_max);
        if wanted <= most {
            return Ok(());
        }
        Err(CommandError::from_text(format!(
            "ERR too much to change at once: {wanted} bytes of the log, which takes {most}"
        )))
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            encoding: EncodingLimits::default(),
            string_bytes_max: crate::limits::STRING_BYTES_MAX,
            active_expire: true,
            eviction: Eviction::default(),
            entry: EntryLimits::default(),
        }
    }
}

/// How keys are chosen that go when memory runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eviction {
    pub policy: Policy,
    /// Keys looked at for each that goes (`maxmemory-samples`).
    pub samples: usize,
    pub lfu_log_factor: u32,
    pub lfu_decay_minutes: u32,
}

impl Default for Eviction {
    fn default() -> Eviction {
        Eviction {
            policy: Policy::Noeviction,
            samples: 5,
            lfu_log_factor: 10,
            lfu_decay_minutes: 1,
        }
    }
}

/// `maxmemory-policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Noeviction,
    AllkeysLru,
    AllkeysLfu,
    AllkeysRandom,
    VolatileLru,
    VolatileLfu,
    VolatileRandom,
    VolatileTtl,
}

impl Policy {
    /// In the order in which Redis's errors name them.
    pub const ALL: [(&str, Policy); 8] = [
        ("volatile-lru", Policy::VolatileLru),
        ("volatile-lfu", Policy::VolatileLfu),
        ("volatile-random", Policy::VolatileRandom),
        ("volatile-ttl", Policy::VolatileTtl),
        ("allkeys-lru", Policy::AllkeysLru),
        ("allkeys-lfu", Policy::AllkeysLfu),
        ("allkeys-random", Policy::AllkeysRandom),
        ("noeviction", Policy::Noeviction),
    ];

    pub fn name(self) -> &'static str {
        Policy::ALL.iter().find(|(_, policy)| *policy == self).map_or("", |(name, _)| name)
    }

    pub fn parse(name: &str) -> Option<Policy> {
        let known = |(known, _): &&(&str, Policy)| known.eq_ignore_ascii_case(name);
        Policy::ALL.iter().find(known).map(|(_, policy)| *policy)
    }

    pub fn is_lfu(self) -> bool {
        matches!(self, Policy::AllkeysLfu | Policy::VolatileLfu)
    }

    pub fn is_random(self) -> bool {
        matches!(self, Policy::AllkeysRandom | Policy::VolatileRandom)
    }

    /// Whether only keys with an expiry may go.
    pub fn is_volatile(self) -> bool {
        matches!(
            self,
            Policy::VolatileLru
                | Policy::VolatileLfu
                | Policy::VolatileRandom
                | Policy::VolatileTtl
        )
    }

    pub fn evicts(self) -> bool {
        self != Policy::Noeviction
    }
}
