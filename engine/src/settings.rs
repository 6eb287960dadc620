//! What an operator can set about the keyspace; each core holds a copy.

use crate::value::limits::EncodingLimits;

#[derive(Clone, Debug)]
pub struct Settings {
    pub encoding: EncodingLimits,
    /// Longest string a command may build (`proto-max-bulk-len`).
    pub string_bytes_max: usize,
    /// DEBUG SET-ACTIVE-EXPIRE.
    pub active_expire: bool,
    pub eviction: Eviction,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            encoding: EncodingLimits::default(),
            string_bytes_max: crate::limits::STRING_BYTES_MAX,
            active_expire: true,
            eviction: Eviction::default(),
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
