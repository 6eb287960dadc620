//! LATENCY HISTOGRAM: how often each command took how long, since the start or CONFIG RESETSTAT.
//! Filled only with `latency-tracking yes`.

use std::collections::{BTreeMap, HashMap};

use engine::args::Args;
use engine::command::spec::CommandSpec;
use engine::reply::Reply;

use super::everywhere::Answer;
use crate::dispatch::local::full_name;

/// The first bucket ends at 1 µs, each further one at twice the one before; the last holds what is
/// beyond.
const BUCKETS: usize = 32;

#[derive(Clone, Debug, Default)]
pub struct Histogram {
    calls: u64,
    buckets: [u64; BUCKETS],
}

impl Histogram {
    fn add(&mut self, ns: u64) {
        let bucket = (0..BUCKETS - 1).find(|bucket| ns <= bucket_end_ns(*bucket));
        self.buckets[bucket.unwrap_or(BUCKETS - 1)] += 1;
        self.calls += 1;
    }

    fn merge(&mut self, other: &Histogram) {
        self.calls += other.calls;
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(sum, more)| *sum += more);
    }
}

/// Where Redis's histogram, which rounds to two digits, has its buckets' ends: 1,031 ns, 2,063 ns …
fn bucket_end_ns(bucket: usize) -> u64 {
    let power = 1024 << bucket;
    power + (power >> 7) - 1
}

/// By the place of the command's row, so that counting a call needs no name.
#[derive(Default)]
pub struct Histograms(HashMap<usize, (String, Histogram)>);

impl Histograms {
    pub fn add(&mut self, spec: &'static CommandSpec, args: Args<'_>, ns: u64) {
        let key = std::ptr::from_ref(spec) as usize;
        let place =
            self.0.entry(key).or_insert_with(|| (full_name(spec, args), Default::default()));
        place.1.add(ns);
    }

    pub fn all(&self) -> Vec<(String, Histogram)> {
        self.0.values().cloned().collect()
    }

    pub fn reset(&mut self) {
        self.0.clear();
    }
}

/// The histograms of these commands over all cores; of all commands where none is named.
pub fn write_histograms(reply: &mut Reply<'_>, answers: &[Answer], names: &[String]) {
    let mut sums: BTreeMap<&str, Histogram> = BTreeMap::new();
    for answer in answers {
        let Answer::Histograms(histograms) = answer else { continue };
        for (name, histogram) in histograms {
            // A container's name stands for all of its subcommands.
            let parent = name.split('|').next().unwrap_or(name);
            if names.is_empty() || names.iter().any(|wanted| wanted == name || wanted == parent) {
                sums.entry(name).or_default().merge(histogram);
            }
        }
    }
    reply.map(sums.len());
    for (name, histogram) in &sums {
        reply.bulk(name.as_bytes());
        reply.map(2);
        reply.bulk(b"calls");
        reply.integer(histogram.calls as i64);
        reply.bulk(b"histogram_usec");
        let filled: Vec<usize> = (0..BUCKETS).filter(|b| histogram.buckets[*b] > 0).collect();
        reply.map(filled.len());
        let mut sum = 0;
        for bucket in filled {
            sum += histogram.buckets[bucket];
            reply.integer((bucket_end_ns(bucket) / 1_000) as i64);
            reply.integer(sum as i64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_end_where_redis_s_do() {
        // From a reply of Redis 7.0.15, and from the page of LATENCY HISTOGRAM.
        let ends: Vec<u64> = (0..17).map(|bucket| bucket_end_ns(bucket) / 1_000).collect();
        assert_eq!(ends[..8], [1, 2, 4, 8, 16, 33, 66, 132]);
        assert_eq!(ends[16], 67_633);
        let mut histogram = Histogram::default();
        [900, 1_031, 1_032, 50_000_000].into_iter().for_each(|ns| histogram.add(ns));
        assert_eq!((histogram.buckets[0], histogram.buckets[1], histogram.calls), (2, 1, 4));
        assert_eq!(histogram.buckets[16], 1);
    }
}
