//! Clocks, and how long a core may sleep. Any core; must never block.

use rustix::time::{ClockId, clock_gettime};

use crate::core::io::Now;

const NS_PER_S: u64 = 1_000_000_000;

/// Reads both clocks.
pub fn read_clocks() -> Now {
    let wall = clock_gettime(ClockId::Realtime);
    let unix_us = wall.tv_sec * 1_000_000 + wall.tv_nsec / 1_000;
    Now { unix_ms: unix_us / 1_000, unix_us, mono_ns: monotonic_ns() }
}

pub fn monotonic_ns() -> u64 {
    nanoseconds(ClockId::Monotonic)
}

/// The calling thread's CPU time; a system call, unlike the others.
pub fn thread_cpu_ns() -> u64 {
    nanoseconds(ClockId::ThreadCPUTime)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * NS_PER_S + time.tv_nsec as u64
}

/// How a core waits for completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Submit, run what is due, come back.
    No,
    /// Until a completion, or this many nanoseconds.
    For(u64),
    Forever,
}

/// The wait up to the earlier of two deadlines.
pub fn wait_until(now_ns: u64, deadline_ns: Option<u64>, other_ns: Option<u64>) -> Wait {
    let earliest = match (deadline_ns, other_ns) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    match earliest {
        None => Wait::Forever,
        Some(at) if at <= now_ns => Wait::No,
        Some(at) => Wait::For(at - now_ns),
    }
}
