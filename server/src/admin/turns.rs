//! How long this core's turns take, for INFO: a histogram of fixed size, filled once a turn with
//! one clock reading. Lives on its core; never allocates.
//!
//! A turn can take long because the core did much, or because the machine ran something else
//! meanwhile. The thread's CPU time tells the two apart, but reading it is a system call. So it is
//! read at the begin of a turn only if the last reading is a millisecond old, and at the end only
//! of a turn that was long. What a long turn used of the processor is then known to within that
//! millisecond, and never told too low.

use crate::core::Core;
use crate::limits::{TURN_CPU_PERIOD_NS, TURN_LONG_NS, TURN_WARNED_NS, TURN_WARNING_PERIOD_NS};

/// Buckets to a power of two: a bucket's end is at most a quarter beyond what it counts.
const PARTS_BITS: u32 = 2;
const PARTS: usize = 1 << PARTS_BITS;

/// The first power of two, 1,024 ns: what is shorter counts as that.
const FIRST_BITS: u32 = 10;

/// Powers of two: the last bucket begins at two minutes.
const POWERS: usize = 28;

#[derive(Clone, Debug)]
pub struct TurnTimes {
    buckets: [u64; POWERS * PARTS],
    pub longest_ns: u64,
    /// Turns longer than the promise that none is.
    pub long: u64,
    /// The same by the thread's CPU time.
    pub longest_cpu_ns: u64,
    pub long_cpu: u64,
}

impl Default for TurnTimes {
    fn default() -> Self {
        let buckets = [0; POWERS * PARTS];
        TurnTimes { buckets, longest_ns: 0, long: 0, longest_cpu_ns: 0, long_cpu: 0 }
    }
}

impl TurnTimes {
    #[inline]
    fn add(&mut self, ns: u64) {
        self.buckets[bucket_of(ns)] += 1;
        self.longest_ns = self.longest_ns.max(ns);
    }

    /// What a turn of `ns`, counted already, used of the processor.
    fn add_cpu(&mut self, ns: u64, cpu_ns: u64) {
        self.long += u64::from(ns > TURN_LONG_NS);
        self.long_cpu += u64::from(cpu_ns > TURN_LONG_NS);
        self.longest_cpu_ns = self.longest_cpu_ns.max(cpu_ns);
    }

    pub fn merge(&mut self, other: &TurnTimes) {
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(sum, more)| *sum += more);
        self.longest_ns = self.longest_ns.max(other.longest_ns);
        self.long += other.long;
        self.longest_cpu_ns = self.longest_cpu_ns.max(other.longest_cpu_ns);
        self.long_cpu += other.long_cpu;
    }

    fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The time that so many of a million turns do not exceed: the end of a bucket, at most the
    /// longest.
    fn percentile_ns(&self, per_million: u64) -> u64 {
        let wanted = (u128::from(self.count()) * u128::from(per_million)).div_ceil(1_000_000);
        let mut seen = 0;
        for (bucket, turns) in self.buckets.iter().enumerate() {
            seen += u128::from(*turns);
            if seen >= wanted {
                return end_of_ns(bucket).min(self.longest_ns);
            }
        }
        self.longest_ns
    }

    /// INFO's section.
    pub fn info(&self) -> String {
        let mut text = format!("# Turns\r\nturn_count:{}\r\n", self.count());
        for (name, per_million) in
            [("p50", 500_000), ("p99", 990_000), ("p99.9", 999_000), ("p99.99", 999_900)]
        {
            text += &format!("turn_usec_{name}:{}\r\n", self.percentile_ns(per_million) / 1_000);
        }
        text + &format!(
            "turn_usec_longest:{}\r\nturn_usec_longest_cpu:{}\r\nturns_over_5ms:{}\r\n\
             turns_over_5ms_cpu:{}\r\n",
            self.longest_ns / 1_000,
            self.longest_cpu_ns / 1_000,
            self.long,
            self.long_cpu
        )
    }
}

#[inline]
fn bucket_of(ns: u64) -> usize {
    let ns = ns.max(1 << FIRST_BITS);
    let power = ns.ilog2();
    let part = (ns >> (power - PARTS_BITS)) as usize % PARTS;
    ((power - FIRST_BITS) as usize * PARTS + part).min(POWERS * PARTS - 1)
}

/// The longest time that a bucket counts; the last one knows no end.
fn end_of_ns(bucket: usize) -> u64 {
    if bucket + 1 == POWERS * PARTS {
        return u64::MAX;
    }
    let (power, part) = ((bucket / PARTS) as u32 + FIRST_BITS, (bucket % PARTS) as u64);
    ((PARTS as u64 + part + 1) << (power - PARTS_BITS)) - 1
}

/// This core's measuring.
#[derive(Default)]
pub struct TurnMeter {
    pub times: TurnTimes,
    /// The thread's CPU time as last read, and when that was (monotonic).
    cpu_ns: u64,
    cpu_read_ns: u64,
    /// A warning waits until then.
    no_warning_before_ns: u64,
}

impl Core {
    #[inline]
    pub(crate) fn begin_turn_meter(&mut self) {
        let meter = &mut self.turn_meter;
        if self.now.mono_ns >= meter.cpu_read_ns + TURN_CPU_PERIOD_NS {
            meter.cpu_ns = self.host.thread_cpu_ns();
            meter.cpu_read_ns = self.now.mono_ns;
        }
    }

    #[inline]
    pub(crate) fn end_turn_meter(&mut self) {
        let ended_ns = self.host.monotonic_ns();
        let ns = ended_ns.saturating_sub(self.now.mono_ns);
        self.turn_meter.times.add(ns);
        if ns > TURN_CPU_PERIOD_NS {
            self.note_long_turn(ns, ended_ns);
        }
    }

    #[cold]
    fn note_long_turn(&mut self, ns: u64, ended_ns: u64) {
        let meter = &mut self.turn_meter;
        let cpu_ns = self.host.thread_cpu_ns();
        let used_ns = cpu_ns.saturating_sub(meter.cpu_ns).min(ns);
        (meter.cpu_ns, meter.cpu_read_ns) = (cpu_ns, ended_ns);
        meter.times.add_cpu(ns, used_ns);
        if ns > TURN_WARNED_NS && ended_ns >= meter.no_warning_before_ns {
            meter.no_warning_before_ns = ended_ns + TURN_WARNING_PERIOD_NS;
            tracing::warn!(
                core = self.id,
                "a turn took {} ms, {} ms of them on the processor; this core's clients waited",
                ns / 1_000_000,
                used_ns / 1_000_000
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        for bucket in 0..POWERS * PARTS - 1 {
            let end = end_of_ns(bucket);
            assert_eq!((bucket_of(end), bucket_of(end + 1)), (bucket, bucket + 1));
            let begin = if bucket == 0 { 1_024 } else { end_of_ns(bucket - 1) + 1 };
            assert!(end - begin < begin / 4, "{begin} to {end}");
        }
        assert_eq!((bucket_of(0), bucket_of(u64::MAX)), (0, POWERS * PARTS - 1));
    }

    #[test]
    fn percentiles_are_of_all_turns_of_all_cores() {
        let mut one = TurnTimes::default();
        (0..990).for_each(|_| one.add(10_000));
        let mut other = TurnTimes::default();
        (0..9).for_each(|_| other.add(1_000_000));
        other.add(7_000_000);
        other.add_cpu(7_000_000, 2_000_000);
        one.merge(&other);
        // 10 us lies between 8,192 + 2,048 and 8,192 ns; 1 ms below 2^20 ns.
        assert_eq!(one.percentile_ns(500_000), 10_239);
        assert_eq!(one.percentile_ns(990_000), 10_239);
        assert_eq!(one.percentile_ns(999_000), (1 << 20) - 1);
        assert_eq!(one.percentile_ns(999_900), 7_000_000);
        let text = one.info();
        for line in [
            "turn_count:1000",
            "turn_usec_p99.9:1048",
            "turn_usec_longest:7000",
            "turn_usec_longest_cpu:2000",
            "turns_over_5ms:1",
            "turns_over_5ms_cpu:0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in {text}");
        }
    }
}
