//! What an entry remembers of its uses, in 24 bits: under an LFU policy a counter that grows with
//! the logarithm of the uses and decays by the minute, else the second of the last use. Both as in
//! Redis, whose OBJECT FREQ and IDLETIME show them.
//!
//! ```text
//! LRU: seconds:u24        LFU: minutes of the last decay:u16 counter:u8
//! ```
//! After a change between the two kinds of policy a field says little until its key is used.

use crate::rng::Rng;
use crate::settings::Eviction;

const SECONDS_MASK: u32 = 0x00ff_ffff;
const MINUTES_MASK: u32 = 0xffff;

/// What a new key's counter begins with, so that it is not the first to go.
const COUNTER_NEW: u32 = 5;
const COUNTER_MAX: u32 = 255;

/// The moment of a command, in the form that entries keep.
#[derive(Clone, Copy, Debug)]
pub struct AccessClock {
    seconds: u32,
    lfu: Option<Lfu>,
}

#[derive(Clone, Copy, Debug)]
struct Lfu {
    minutes: u32,
    log_factor: u32,
    decay_minutes: u32,
}

impl AccessClock {
    #[inline]
    pub fn new(now_ms: i64, eviction: &Eviction) -> AccessClock {
        let seconds = now_ms / 1000;
        let lfu = if eviction.policy.is_lfu() {
            Some(Lfu {
                minutes: (seconds / 60) as u32 & MINUTES_MASK,
                log_factor: eviction.lfu_log_factor,
                decay_minutes: eviction.lfu_decay_minutes,
            })
        } else {
            None
        };
        AccessClock { seconds: seconds as u32 & SECONDS_MASK, lfu }
    }

    /// Of a key that is made now.
    #[inline]
    pub fn fresh(self) -> u32 {
        match self.lfu {
            None => self.seconds,
            Some(lfu) => lfu.minutes << 8 | COUNTER_NEW,
        }
    }

    /// Of a key that is used now. `dice` is thrown under an LFU policy only.
    #[inline]
    pub fn used(self, access: u32, dice: &mut Rng) -> u32 {
        match self.lfu {
            None => self.seconds,
            Some(lfu) => lfu.used(access, dice),
        }
    }

    /// Seconds since the last use, under a policy that is not LFU.
    pub fn idle_s(self, access: u32) -> u32 {
        self.seconds.wrapping_sub(access) & SECONDS_MASK
    }

    /// The counter as it has decayed by now; `None` under a policy that is not LFU.
    pub fn frequency(self, access: u32) -> Option<u32> {
        self.lfu.map(|lfu| lfu.decayed(access))
    }
}

impl Lfu {
    fn decayed(self, access: u32) -> u32 {
        let counter = access & COUNTER_MAX;
        let elapsed = self.minutes.wrapping_sub(access >> 8) & MINUTES_MASK;
        counter.saturating_sub(elapsed.checked_div(self.decay_minutes).unwrap_or(0))
    }

    fn used(self, access: u32, dice: &mut Rng) -> u32 {
        let counter = self.decayed(access);
        let above_new = u64::from(counter.saturating_sub(COUNTER_NEW));
        // Grows with a chance of one in so many.
        let one_in = above_new * u64::from(self.log_factor) + 1;
        let grows = counter < COUNTER_MAX && (one_in == 1 || dice.below(one_in) == 0);
        self.minutes << 8 | (counter + u32::from(grows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Policy;

    fn lfu_at(minute: i64, log_factor: u32, decay_minutes: u32) -> AccessClock {
        let policy = Policy::AllkeysLfu;
        let eviction = Eviction {
            policy,
            samples: 5,
            lfu_log_factor: log_factor,
            lfu_decay_minutes: decay_minutes,
        };
        AccessClock::new(minute * 60_000, &eviction)
    }

    #[test]
    fn idle_seconds_survive_the_end_of_the_clock() {
        let at = |s: i64| AccessClock::new(s * 1000, &Eviction::default());
        assert_eq!(at(1_700_000_100).idle_s(at(1_700_000_000).fresh()), 100);
        let before_the_end = at((1 << 24) - 3).fresh();
        assert_eq!(at((1 << 24) + 4).idle_s(before_the_end), 7);
        assert_eq!(at(0).frequency(5), None);
    }

    #[test]
    fn counters_start_grow_decay_and_end_as_redis_s() {
        let dice = &mut Rng::new(1);
        // With a factor of 0 every use counts.
        let sure = lfu_at(10, 0, 1);
        let mut access = sure.fresh();
        assert_eq!(sure.frequency(access), Some(5));
        (0..300).for_each(|_| access = sure.used(access, dice));
        assert_eq!(sure.frequency(access), Some(255));
        // One less for each period of the decay; 0 stays 0; none without a decay.
        assert_eq!(lfu_at(13, 0, 1).frequency(access), Some(252));
        assert_eq!(lfu_at(19, 0, 3).frequency(access), Some(252));
        assert_eq!(lfu_at(1000, 0, 1).frequency(access), Some(0));
        assert_eq!(lfu_at(1000, 0, 0).frequency(access), Some(255));
        // The 16 bits of minutes come round.
        let late = lfu_at(65_535, 10, 1).fresh();
        assert_eq!(lfu_at(65_537, 10, 1).frequency(late), Some(3));
    }

    /// The table in Redis's redis.conf: hits needed for a counter, by factor.
    #[test]
    fn counters_grow_as_fast_as_redis_says() {
        for (factor, hits, low, high) in
            [(0, 250, 255, 255), (1, 100_000, 250, 255), (10, 100_000, 132, 152), (10, 100, 8, 12)]
        {
            let clock = lfu_at(10, factor, 1);
            let dice = &mut Rng::new(7);
            let mut sum = 0;
            for _ in 0..20 {
                let mut access = clock.fresh();
                (0..hits).for_each(|_| access = clock.used(access, dice));
                sum += clock.frequency(access).unwrap_or(0);
            }
            assert!((low..=high).contains(&(sum / 20)), "{factor} {hits}: {}", sum / 20);
        }
    }
}
