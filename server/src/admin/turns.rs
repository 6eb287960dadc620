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

/// Turns by the power of two of microseconds that each is shorter than.
type Powers = [u64; POWERS];

#[derive(Clone, Debug)]
pub struct TurnTimes {
    buckets: [u64; POWERS * PARTS],
    /// For who reads them: by the clock, and by the thread's CPU time. What a turn of up to a
    /// millisecond used is not asked: it counts as its whole time.
    powers: Powers,
    powers_cpu: Powers,
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
        let (powers, powers_cpu) = ([0; POWERS], [0; POWERS]);
        let (longest_ns, long, longest_cpu_ns, long_cpu) = (0, 0, 0, 0);
        TurnTimes { buckets, powers, powers_cpu, longest_ns, long, longest_cpu_ns, long_cpu }
    }
}

impl TurnTimes {
    #[inline]
    fn add(&mut self, ns: u64) {
        self.buckets[bucket_of(ns)] += 1;
        self.powers[power_of(ns)] += 1;
        self.powers_cpu[power_of(ns)] += 1;
        self.longest_ns = self.longest_ns.max(ns);
    }

    /// What a turn of `ns`, counted already, used of the processor.
    fn add_cpu(&mut self, ns: u64, cpu_ns: u64) {
        self.powers_cpu[power_of(ns)] -= 1;
        self.powers_cpu[power_of(cpu_ns)] += 1;
        self.long += u64::from(ns > TURN_LONG_NS);
        self.long_cpu += u64::from(cpu_ns > TURN_LONG_NS);
        self.longest_cpu_ns = self.longest_cpu_ns.max(cpu_ns);
    }

    pub fn merge(&mut self, other: &TurnTimes) {
        let add = |(sum, more): (&mut u64, &u64)| *sum += more;
        self.buckets.iter_mut().zip(&other.buckets).for_each(add);
        self.powers.iter_mut().zip(&other.powers).for_each(add);
        self.powers_cpu.iter_mut().zip(&other.powers_cpu).for_each(add);
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
             turns_over_5ms_cpu:{}\r\nturn_usec_histogram:{}\r\nturn_usec_histogram_cpu:{}\r\n",
            self.longest_ns / 1_000,
            self.longest_cpu_ns / 1_000,
            self.long,
            self.long_cpu,
            histogram(&self.powers),
            histogram(&self.powers_cpu)
        )
    }
}

/// `2=7,4=1`: seven turns took one microsecond, one took two or three. From the shortest turn to
/// the longest.
fn histogram(powers: &Powers) -> String {
    let first = powers.iter().position(|turns| *turns > 0).unwrap_or(POWERS);
    let end = powers.iter().rposition(|turns| *turns > 0).map_or(first, |last| last + 1);
    let part = |power: usize| format!("{}={}", 1_u64 << power, powers[power]);
    (first..end).map(part).collect::<Vec<_>>().join(",")
}

/// The power of two of microseconds that a time is shorter than; the last one knows no end.
#[inline]
fn power_of(ns: u64) -> usize {
    let us = ns / 1_000;
    ((u64::BITS - us.leading_zeros()) as usize).min(POWERS - 1)
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
            "turn_usec_histogram:16=990,32=0,64=0,128=0,256=0,512=0,1024=9,2048=0,4096=0,8192=1",
            "turn_usec_histogram_cpu:16=990,32=0,64=0,128=0,256=0,512=0,1024=9,2048=1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in {text}");
        }
    }

    #[test]
    fn powers_are_of_whole_microseconds() {
        for (ns, below) in [(0, 1), (999, 1), (1_000, 2), (1_999, 2), (2_000, 4), (1_024_000, 2048)]
        {
            assert_eq!(1 << power_of(ns), below, "{ns}");
        }
        assert_eq!(power_of(u64::MAX), POWERS - 1);
        assert_eq!(histogram(&[0; POWERS]), "");
    }
}
