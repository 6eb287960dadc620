//! How often each command was called, refused and failed, and what time that took: INFO
//! commandstats. One for each core; counting a call is a look into a table that is a few lines of
//! the cache long.
//!
//! Small commands are not timed (`measure`), so one of [`SAMPLED_EVERY`] is, for what is shown here
//! alone: the time of those that were not timed is taken to be the samples' mean.

use std::collections::BTreeMap;

use engine::command::spec::CommandSpec;
use engine::command::table;

/// Calls of a command of which one is timed. Reading the clock twice costs about a tenth of a small
/// command, so this is a five-hundredth of its time.
const SAMPLED_EVERY: u64 = 64;

/// Places of the table: a power of two, at least twice the number of commands and subcommands.
const PLACES: usize = 512;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCounts {
    pub calls: u64,
    /// Not run: wrong words, no memory, a transaction that takes none.
    pub rejected: u64,
    pub failed: u64,
    /// Timed because they may take long, and their time.
    heavy: u64,
    heavy_ns: u64,
    sampled: u64,
    sampled_ns: u64,
}

impl CallCounts {
    /// Microseconds of all calls.
    pub fn usec(&self) -> u64 {
        let light = u128::from(self.calls.saturating_sub(self.heavy));
        let light_ns = match self.sampled {
            0 => 0,
            sampled => u128::from(self.sampled_ns) * light / u128::from(sampled),
        };
        ((u128::from(self.heavy_ns) + light_ns) / 1_000) as u64
    }

    pub fn add(&mut self, other: &CallCounts) {
        self.calls += other.calls;
        self.rejected += other.rejected;
        self.failed += other.failed;
        self.heavy += other.heavy;
        self.heavy_ns += other.heavy_ns;
        self.sampled += other.sampled;
        self.sampled_ns += other.sampled_ns;
    }
}

/// By the place of the command's row, so that counting a call needs no name.
pub struct Calls(Box<[(Option<&'static CommandSpec>, CallCounts)]>);

impl Default for Calls {
    fn default() -> Calls {
        Calls(vec![(None, CallCounts::default()); PLACES].into())
    }
}

impl Calls {
    #[inline]
    fn of(&mut self, spec: &'static CommandSpec) -> &mut CallCounts {
        let address = std::ptr::from_ref(spec) as usize;
        let mut at = (address >> 3).wrapping_mul(0x9E37_79B9) >> 16;
        loop {
            at %= PLACES;
            let known = self.0[at].0;
            if known.is_none_or(|known| std::ptr::eq(known, spec)) {
                let place = &mut self.0[at];
                place.0 = Some(spec);
                return &mut place.1;
            }
            at += 1;
        }
    }

    /// A call begins. Returns whether it is to be timed as a sample.
    #[inline]
    pub fn begin(&mut self, spec: &'static CommandSpec) -> bool {
        let counts = self.of(spec);
        counts.calls += 1;
        counts.calls % SAMPLED_EVERY == 1
    }

    /// A call that began waits, and is one once it runs.
    pub fn take_back(&mut self, spec: &'static CommandSpec) {
        let counts = self.of(spec);
        counts.calls = counts.calls.saturating_sub(1);
    }

    /// A call that began was refused after all.
    pub fn refuse(&mut self, spec: &'static CommandSpec) {
        self.take_back(spec);
        self.reject(spec);
    }

    /// A command was refused before it began.
    pub fn reject(&mut self, spec: &'static CommandSpec) {
        self.of(spec).rejected += 1;
    }

    pub fn fail(&mut self, spec: &'static CommandSpec) {
        self.of(spec).failed += 1;
    }

    pub fn add_time(&mut self, spec: &'static CommandSpec, sample: bool, ns: u64) {
        let counts = self.of(spec);
        let (number, sum_ns) = match sample {
            true => (&mut counts.sampled, &mut counts.sampled_ns),
            false => (&mut counts.heavy, &mut counts.heavy_ns),
        };
        *number += 1;
        *sum_ns += ns;
    }

    /// By full name.
    pub fn all(&self) -> BTreeMap<String, CallCounts> {
        let known = self.0.iter().filter(|(_, c)| c.calls + c.rejected + c.failed > 0);
        known.filter_map(|(spec, counts)| Some((table::full_name((*spec)?), *counts))).collect()
    }
}

/// The section of INFO.
pub fn info_commandstats(calls: &BTreeMap<String, CallCounts>) -> String {
    let mut text = String::from("# Commandstats\r\n");
    for (name, counts) in calls {
        let &CallCounts { calls, rejected, failed, .. } = counts;
        let usec = counts.usec();
        text += &format!(
            "cmdstat_{name}:calls={calls},usec={usec},usec_per_call={:.2},\
             rejected_calls={rejected},failed_calls={failed}\r\n",
            usec as f64 / calls.max(1) as f64,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str) -> &'static CommandSpec {
        table::find(name.as_bytes()).unwrap()
    }

    #[test]
    fn every_command_has_a_place_of_its_own() {
        let mut calls = Calls::default();
        let mut count = 0;
        for spec in table::all().flat_map(|spec| spec.subcommands.iter().chain([spec])) {
            calls.begin(spec);
            count += 1;
        }
        assert!(count * 2 <= PLACES, "{count}");
        let all = calls.all();
        assert_eq!(all.len(), count);
        assert!(all.values().all(|counts| counts.calls == 1));
        assert!(all.contains_key("config|get") && all.contains_key("get"));
    }

    #[test]
    fn time_is_that_of_what_was_timed_and_the_mean_of_samples() {
        let (mut calls, get) = (Calls::default(), spec("get"));
        let mut sampled = 0;
        for _ in 0..640 {
            if calls.begin(get) {
                sampled += 1;
                calls.add_time(get, true, 2_000);
            }
        }
        assert_eq!(sampled, 10);
        // Two of them were large and timed for that.
        calls.add_time(get, false, 50_000);
        calls.add_time(get, false, 70_000);
        calls.fail(get);
        calls.reject(get);
        let counts = calls.all()["get"];
        assert_eq!((counts.calls, counts.rejected, counts.failed), (640, 1, 1));
        assert_eq!(counts.usec(), 638 * 2 + 120);
        let text = info_commandstats(&calls.all());
        let line =
            "cmdstat_get:calls=640,usec=1396,usec_per_call=2.18,rejected_calls=1,failed_calls=1";
        assert_eq!(text, format!("# Commandstats\r\n{line}\r\n"));
        assert_eq!(CallCounts::default().usec(), 0);
    }

    #[test]
    fn what_waits_or_is_refused_is_no_call() {
        let (mut calls, blpop) = (Calls::default(), spec("blpop"));
        calls.begin(blpop);
        calls.take_back(blpop);
        assert!(calls.all().is_empty());
        calls.begin(blpop);
        calls.refuse(blpop);
        let counts = calls.all()["blpop"];
        assert_eq!((counts.calls, counts.rejected, counts.failed), (0, 1, 0));
    }
}
