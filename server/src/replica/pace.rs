//! How fast other nodes are brought up to date: bytes a second, evenly. Pure.

/// What was not used of the rate is kept for so short a time.
const KEPT_NS: u64 = 50_000_000;

/// When the next bytes may be read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    free_ns: u64,
}

impl Pace {
    pub fn free_ns(&self) -> u64 {
        self.free_ns
    }

    /// So many bytes are read now; `rate` a second, 0 for no limit.
    pub fn spend(&mut self, now_ns: u64, rate: u64, bytes: u64) {
        if rate > 0 {
            let took_ns = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
            let from_ns = self.free_ns.max(now_ns.saturating_sub(KEPT_NS));
            self.free_ns = from_ns.saturating_add(took_ns as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that are read until a time by who asks every millisecond.
    fn read(pace: &mut Pace, from_ms: u64, until_ms: u64, rate: u64) -> u64 {
        let mut bytes = 0;
        for ms in from_ms..until_ms {
            while pace.free_ns() <= ms * 1_000_000 && bytes < 10 * rate {
                pace.spend(ms * 1_000_000, rate, 1000);
                bytes += 1000;
            }
        }
        bytes
    }

    #[test]
    fn no_more_a_second_than_the_rate_and_little_at_once() {
        let mut pace = Pace::default();
        let first = read(&mut pace, 1_000, 2_000, 1_000_000);
        assert!((1_000_000..=1_052_000).contains(&first), "{first}");
        let second = read(&mut pace, 2_000, 3_000, 1_000_000);
        assert!((999_000..=1_001_000).contains(&second), "{second}");
        // A long rest gives no more than a short one.
        let rested = read(&mut pace, 100_000, 100_001, 1_000_000);
        assert!((50_000..=52_000).contains(&rested), "{rested}");
        // One piece that is more than a second's worth.
        pace.spend(200_000_000_000, 1_000, 2_000);
        assert_eq!(pace.free_ns(), 200_000_000_000 - KEPT_NS + 2_000_000_000);
    }

    #[test]
    fn without_a_rate_there_is_no_limit() {
        let mut pace = Pace::default();
        pace.spend(5, 0, u64::MAX);
        assert_eq!(pace.free_ns(), 0);
    }
}
