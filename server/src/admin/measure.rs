//! Which commands are timed, and where their times go: SLOWLOG, LATENCY, the histograms. One for
//! each core.
//!
//! A clock reading costs as much as a tenth of a small command. So by default only commands that
//! can take long are timed: with SLOWLOG's usual threshold of 10 ms nothing is missed, as the
//! others take microseconds unless they are large, and large ones are timed too. Every command is
//! timed when the threshold is below a millisecond or `latency-tracking` asks for it.

use engine::args::Args;
use engine::command::spec::CommandSpec;
use engine::command::spec::category::STRING;
use engine::command::spec::flag::{FAST, SKIP_SLOWLOG, WRITE};

use super::calls::Calls;
use super::histogram::Histograms;
use super::latency::Events;
use super::slowlog::{SlowCommand, Slowlog, kept_args};
use crate::config::Config;
use crate::connection::Connection;
use crate::core::Core;
use crate::core::io::ConnId;
use crate::core::message::Message;
use crate::limits::COMMAND_NS;

/// Below this threshold of SLOWLOG every command is timed.
const TIME_ALL_BELOW_US: i64 = 1_000;

/// Words and bytes from which on a command is large: what takes some 20 µs.
const LARGE_WORDS_MIN: usize = 64;
const LARGE_BYTES_MIN: usize = 64 * 1024;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Timed {
    #[default]
    Nothing,
    /// Commands that can take long.
    Heavy,
    Everything,
}

#[derive(Default)]
pub struct Measures {
    timed: Timed,
    /// Negative: nothing is slow.
    slower_than_us: i64,
    /// 0: no event is recorded.
    latency_threshold_ms: u64,
    tracking: bool,
    pub slowlog: Slowlog,
    pub events: Events,
    pub histograms: Histograms,
    pub calls: Calls,
    /// The last reply that tells nothing of the data was an error.
    pub replied_error: bool,
}

impl Measures {
    pub fn new(config: &Config) -> Measures {
        let mut measures = Measures::default();
        measures.configure(config);
        measures
    }

    /// Takes what CONFIG says; called at the start and after every CONFIG SET.
    pub fn configure(&mut self, config: &Config) {
        self.slower_than_us = config.slowlog_slower_than_us;
        self.latency_threshold_ms = config.latency_threshold_ms;
        self.tracking = config.latency_tracking;
        self.slowlog.set_entries_max(config.slowlog_entries_max);
        let slow = self.slower_than_us >= 0 && config.slowlog_entries_max > 0;
        self.timed = if self.tracking || slow && self.slower_than_us < TIME_ALL_BELOW_US {
            Timed::Everything
        } else if slow || self.latency_threshold_ms > 0 {
            Timed::Heavy
        } else {
            Timed::Nothing
        };
    }

    pub fn records_events(&self) -> bool {
        self.latency_threshold_ms > 0
    }

    /// Records an event if it took long enough.
    pub fn note_event(&mut self, name: &'static str, ns: u64, unix_s: i64) {
        let ms = ns / 1_000_000;
        if self.latency_threshold_ms > 0 && ms >= self.latency_threshold_ms {
            self.events.add(name, unix_s, ms);
        }
    }

    #[inline]
    fn times(&self, spec: &CommandSpec, args: Args<'_>) -> bool {
        match self.timed {
            Timed::Nothing => false,
            Timed::Heavy => is_heavy(spec, args),
            Timed::Everything => true,
        }
    }

    fn is_slow(&self, spec: &CommandSpec, ns: u64) -> bool {
        self.slower_than_us >= 0
            && ns / 1_000 >= self.slower_than_us as u64
            && !spec.has(SKIP_SLOWLOG)
    }
}

/// Whether a command can take long: Redis's FAST says that it does not, and writing one string
/// does not either, unless what comes with it is large.
#[inline]
fn is_heavy(spec: &CommandSpec, args: Args<'_>) -> bool {
    let light = spec.has(FAST | SKIP_SLOWLOG) || spec.has(WRITE) && spec.categories & STRING != 0;
    !light || args.len() >= LARGE_WORDS_MIN || args.span_bytes() >= LARGE_BYTES_MIN
}

/// A command that is timed.
#[derive(Clone, Copy)]
pub struct Timing {
    began_ns: u64,
    /// Only as one of many, for INFO commandstats.
    sample: bool,
}

impl Core {
    /// A command begins: counts it, and tells when that was if it is timed.
    #[inline]
    pub(crate) fn start_timing(
        &mut self,
        spec: &'static CommandSpec,
        args: Args<'_>,
    ) -> Option<Timing> {
        let sample = self.measures.calls.begin(spec);
        let times = self.measures.times(spec, args);
        (times || sample).then(|| Timing { began_ns: self.host.monotonic_ns(), sample: !times })
    }

    /// A command of one of our clients has ended.
    #[inline]
    pub(crate) fn stop_timing(
        &mut self,
        timing: Option<Timing>,
        connection: &Connection,
        spec: &'static CommandSpec,
        args: Args<'_>,
    ) {
        if let Some(timing) = timing
            && let Some(slow) = self.note_command(timing, spec, args)
        {
            self.measures.slowlog.push(slow, connection, self.id, self.config.cores);
        }
    }

    /// As [`Core::stop_timing`] for a command of another core's client: that core knows the client.
    #[inline]
    pub(crate) fn stop_timing_for(
        &mut self,
        timing: Option<Timing>,
        (core, conn): (u16, ConnId),
        spec: &'static CommandSpec,
        args: Args<'_>,
    ) {
        if let Some(timing) = timing
            && let Some(slow) = self.note_command(timing, spec, args)
        {
            self.send_message(core, Message::Slow { conn, slow: Box::new(slow) });
        }
    }

    /// Puts a command's time where it belongs; gives it back if it was slow.
    #[cold]
    fn note_command(
        &mut self,
        timing: Timing,
        spec: &'static CommandSpec,
        args: Args<'_>,
    ) -> Option<SlowCommand> {
        let ns = self.host.monotonic_ns().saturating_sub(timing.began_ns);
        self.measures.calls.add_time(spec, timing.sample, ns);
        // One that takes long counts for those that would have run meanwhile.
        let meanwhile = (ns / COMMAND_NS) as usize;
        self.budget.spend(meanwhile);
        self.forwards.spend(meanwhile);
        let unix_s = self.now.unix_us / 1_000_000;
        if self.measures.tracking {
            self.measures.histograms.add(spec, args, ns);
        }
        let event = if spec.has(FAST) { "fast-command" } else { "command" };
        self.measures.note_event(event, ns, unix_s);
        self.measures.is_slow(spec, ns).then(|| SlowCommand {
            unix_s,
            duration_us: ns / 1_000,
            command: kept_args(spec, args),
        })
    }

    /// Another core ran a command of our client, and it was slow.
    pub(crate) fn on_slow(&mut self, conn: ConnId, slow: SlowCommand) {
        let (id, cores) = (self.id, self.config.cores);
        if let Some(connection) = self.connections.get_mut(conn) {
            self.measures.slowlog.push(slow, connection, id, cores);
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::args::OwnedArgs;
    use engine::command::table;

    use super::*;

    fn times(config: &Config, words: &[&[u8]]) -> bool {
        let mut measures = Measures::default();
        measures.configure(config);
        let args = OwnedArgs::from_words(words.iter().copied());
        let spec = table::find(words[0]).unwrap();
        measures.times(spec, args.as_args())
    }

    #[test]
    fn small_commands_are_not_timed_by_default() {
        let default = Config::default();
        for light in ["get k", "set k v", "incr k", "lpush k v", "zadd k 1 v", "hset k f v", "ping"]
        {
            let words: Vec<&[u8]> = light.split(' ').map(str::as_bytes).collect();
            assert!(!times(&default, &words), "{light}");
        }
        for heavy in ["keys *", "lrange k 0 -1", "smembers k", "debug sleep 1"] {
            let words: Vec<&[u8]> = heavy.split(' ').map(str::as_bytes).collect();
            assert!(times(&default, &words), "{heavy}");
        }
        assert!(times(&default, &[b"set", b"k", &[b'x'; 100_000]]));
        assert!(times(&default, &vec![&b"mset"[..]; 201]));
    }

    #[test]
    fn settings_decide_what_is_timed() {
        let with = |name: &str, value: &str| {
            let mut config = Config::default();
            config.set(name, value).unwrap();
            config
        };
        assert!(times(&with("slowlog-log-slower-than", "0"), &[b"get", b"k"]));
        assert!(times(&with("latency-tracking", "yes"), &[b"get", b"k"]));
        assert!(!times(&with("slowlog-log-slower-than", "-1"), &[b"keys", b"*"]));
        assert!(!times(&with("slowlog-max-len", "0"), &[b"keys", b"*"]));
        let mut config = with("slowlog-log-slower-than", "-1");
        config.set("latency-monitor-threshold", "10").unwrap();
        assert!(times(&config, &[b"keys", b"*"]));
        assert!(!times(&config, &[b"get", b"k"]));
    }
}
