//! LATENCY: what took at least `latency-monitor-threshold` milliseconds, by kind of event. Each
//! core records its own; a reply is put together from all.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;

use engine::args::Args;
use engine::reply::Reply;

use super::everywhere::{Answer, Purpose, Question};
use super::graph::draw;
use crate::connection::Connection;
use crate::core::Core;

/// Moments kept of each event, as in Redis.
const SAMPLES_MAX: usize = 160;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sample {
    pub unix_s: i64,
    pub ms: u64,
}

/// What is known of one kind of event, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Event {
    pub samples: VecDeque<Sample>,
    /// Longest since the last reset.
    pub ms_max: u64,
}

impl Event {
    /// Within a second only the longest counts.
    fn add(&mut self, sample: Sample) {
        self.ms_max = self.ms_max.max(sample.ms);
        match self.samples.back_mut() {
            Some(last) if last.unix_s == sample.unix_s => last.ms = last.ms.max(sample.ms),
            _ => self.samples.push_back(sample),
        }
        if self.samples.len() > SAMPLES_MAX {
            self.samples.pop_front();
        }
    }
}

#[derive(Default)]
pub struct Events(BTreeMap<&'static str, Event>);

impl Events {
    pub fn add(&mut self, name: &'static str, unix_s: i64, ms: u64) {
        self.0.entry(name).or_default().add(Sample { unix_s, ms });
    }

    pub fn all(&self) -> Vec<(&'static str, Event)> {
        self.0.iter().map(|(name, event)| (*name, event.clone())).collect()
    }

    /// Forgets these events, all where none is named; returns what was forgotten.
    pub fn reset(&mut self, names: &[String]) -> Vec<(&'static str, Event)> {
        let gone = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
        let forgotten = self.0.iter().filter(|(name, _)| gone(name));
        let forgotten = forgotten.map(|(name, event)| (*name, event.clone())).collect();
        self.0.retain(|name, _| !gone(name));
        forgotten
    }
}

/// What of the events a client wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    Latest,
    History(String),
    Graph(String),
    Doctor,
    /// How many kinds of event were forgotten.
    ResetCount,
}

impl Core {
    pub(crate) fn latency_command(
        &mut self,
        connection: &mut Connection,
        sub: &str,
        args: Args<'_>,
    ) {
        let names = || -> Vec<String> {
            args.iter_from(2).map(|name| String::from_utf8_lossy(name).to_lowercase()).collect()
        };
        let name = || names().into_iter().next().unwrap_or_default();
        let view = match sub {
            "histogram" => {
                let purpose = Purpose::Histograms { names: names() };
                return self.ask_everywhere(connection, Question::Histograms, purpose);
            }
            "reset" => {
                let question = Question::ResetEvents(names());
                return self.ask_everywhere(
                    connection,
                    question,
                    Purpose::Latency(View::ResetCount),
                );
            }
            "latest" => View::Latest,
            "history" => View::History(name()),
            "graph" => View::Graph(name()),
            _ => View::Doctor,
        };
        self.ask_everywhere(connection, Question::Events, Purpose::Latency(view));
    }

    pub(crate) fn write_events(&self, reply: &mut Reply<'_>, answers: &[Answer], view: &View) {
        let events = merged(answers);
        match view {
            View::ResetCount => reply.count(events.len()),
            View::Latest => {
                reply.array(events.len());
                for (name, event) in &events {
                    let last = event.samples.back();
                    reply.array(4);
                    reply.bulk(name.as_bytes());
                    reply.integer(last.map_or(0, |sample| sample.unix_s));
                    reply.integer(last.map_or(0, |sample| sample.ms as i64));
                    reply.integer(event.ms_max as i64);
                }
            }
            View::History(name) => {
                let samples = events.get(name.as_str()).map(|event| &event.samples);
                reply.array(samples.map_or(0, VecDeque::len));
                for sample in samples.into_iter().flatten() {
                    reply.array(2);
                    reply.integer(sample.unix_s);
                    reply.integer(sample.ms as i64);
                }
            }
            View::Graph(name) => match events.get(name.as_str()) {
                Some(event) => reply.verbatim(&draw(name, event, self.now.unix_us / 1_000_000)),
                None => {
                    reply.error(format!("ERR No samples available for event '{name}'"));
                }
            },
            View::Doctor => reply.verbatim(&self.latency_report(&events)),
        }
    }

    fn latency_report(&self, events: &BTreeMap<&str, Event>) -> String {
        if !self.measures.records_events() {
            return "Nothing is recorded: latency-monitor-threshold is 0. To record whatever takes \
                    10 ms or longer, say: CONFIG SET latency-monitor-threshold 10\n"
                .into();
        }
        if events.is_empty() {
            let threshold = self.config.latency_threshold_ms;
            return format!("Nothing took {threshold} ms or longer since recording began.\n");
        }
        let mut text = String::from("What took long:\n");
        for (name, event) in events {
            let (count, sum) =
                event.samples.iter().fold((0, 0), |(n, sum), sample| (n + 1, sum + sample.ms));
            let line = format!(
                "- {name}: {count} seconds with one, {} ms on average, {} ms at most: {}\n",
                sum / count.max(1),
                event.ms_max,
                advice(name)
            );
            text += &line;
        }
        text
    }
}

fn advice(name: &str) -> &'static str {
    match name {
        "command" | "fast-command" => {
            "SLOWLOG GET shows which commands; large values and whole-keyspace commands are usual"
        }
        "expire-cycle" => "many keys expire at the same moment; spread their times",
        _ => "see the server's log",
    }
}

/// The events of all cores as if one had seen them.
fn merged(answers: &[Answer]) -> BTreeMap<&'static str, Event> {
    let mut all: BTreeMap<&'static str, (Vec<Sample>, u64)> = BTreeMap::new();
    for answer in answers {
        let Answer::Events(events) = answer else { continue };
        for (name, event) in events {
            let (samples, ms_max) = all.entry(name).or_default();
            samples.extend(&event.samples);
            *ms_max = (*ms_max).max(event.ms_max);
        }
    }
    let join = |(name, (mut samples, ms_max)): (&'static str, (Vec<Sample>, u64))| {
        samples.sort();
        let mut event = Event::default();
        samples.into_iter().for_each(|sample| event.add(sample));
        event.ms_max = ms_max;
        (name, event)
    };
    all.into_iter().map(join).collect()
}

/// Seconds as people say them: `7s`, `12m`, `3h`, `2d`.
pub fn short_time(seconds: i64) -> String {
    let mut text = String::new();
    let (value, unit) = match seconds {
        ..60 => (seconds, 's'),
        60..3_600 => (seconds / 60, 'm'),
        3_600..86_400 => (seconds / 3_600, 'h'),
        _ => (seconds / 86_400, 'd'),
    };
    // A String takes whatever is written to it.
    let _ = write!(text, "{value}{unit}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_one_sample_and_cores_are_merged() {
        let (mut one, mut other) = (Events::default(), Events::default());
        one.add("command", 10, 5);
        one.add("command", 10, 7);
        one.add("command", 10, 6);
        one.add("command", 12, 3);
        other.add("command", 10, 9);
        other.add("command", 11, 1);
        other.add("expire-cycle", 11, 1);
        let answers = [Answer::Events(one.all()), Answer::Events(other.all())];
        let events = merged(&answers);
        let command: Vec<_> = events["command"].samples.iter().map(|s| (s.unix_s, s.ms)).collect();
        assert_eq!(command, [(10, 9), (11, 1), (12, 3)]);
        assert_eq!((events["command"].ms_max, events.len()), (9, 2));
        assert_eq!(other.reset(&["command".into(), "none".into()]).len(), 1);
        assert_eq!(other.reset(&[]).len(), 1);
        assert!(other.all().is_empty());
        (0..500).for_each(|s| one.add("command", s, 1));
        assert_eq!(one.all()[0].1.samples.len(), SAMPLES_MAX);
    }
}
