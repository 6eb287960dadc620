//! The recovery of a core's log, on images that a real [`LogWriter`](replication::log::LogWriter)
//! made. After crashes, which tear only what was under way, everything acknowledged is there, and
//! what else is there was written. After damage of any other kind the log is refused, or what it
//! gives is the beginning of what was written: at least all that the last write, if it is whole,
//! knows to be durable. Always: no panic, no more memory and reading than the files explain, and
//! the log can go on.
//!
//! - [`history`]: a log in use, through crashes. [`disk`]: its files. [`damage`]: what befalls
//!   them otherwise.

mod damage;
mod disk;
mod history;

use engine::rng::Rng;

use disk::recover_all;
use history::{Entry, History};

pub fn case(seed: u64) {
    let mut rng = Rng::new(seed);
    let mut history = History::new();
    for _ in 0..1 + rng.below(4) {
        history.run(&mut rng);
        history.end(&mut rng);
        check_after_crash(&history);
    }
    if rng.below(3) > 0 {
        check_after_damage(&mut rng, &history);
    }
}

/// What must be there after whatever a crash leaves.
fn check_after_crash(history: &History) {
    let mut disk = history.disk.clone();
    let found = recover_all(&mut disk);
    disk.check_reads();
    let (entries, _) = found.unwrap_or_else(|error| panic!("a crash looks like damage: {error}"));
    let certain = history.certain();
    assert!(entries.len() >= certain, "of {certain} acknowledged there are {}", entries.len());
    assert!(is_prefix(&entries, history.written()), "something else is there than was written");
}

fn check_after_damage(rng: &mut Rng, history: &History) {
    let mut disk = history.disk.clone();
    let mut spared = true;
    for _ in 0..1 + rng.below(3) {
        spared &= damage::damage(rng, &mut disk, history);
    }
    let found = recover_all(&mut disk);
    disk.check_reads();
    let Ok((entries, tail)) = found else { return };
    let written = history.timelines().any(|timeline| is_prefix(&entries, timeline));
    assert!(written, "what is there was never written like this");
    let witnessed = history.witnessed();
    let there = entries.len();
    if spared {
        assert!(there >= witnessed, "of {witnessed} known to be durable there are {there}");
        let known = &history.written()[..witnessed];
        assert!(is_prefix(known, &entries), "a stale entry is there");
    }
    // Whatever was found, the log can go on behind it.
    let (after, added) = history::go_on(rng, disk, &entries, tail);
    assert_eq!(after, added, "what was written behind it is there");
}

fn is_prefix(entries: &[Entry], of: &[Entry]) -> bool {
    entries.len() <= of.len() && entries.iter().zip(of).all(|(entry, other)| is_same(entry, other))
}

/// Whether two entries are the same as far as the log's checksum can tell. Payloads here are full
/// of forged records, each with its own CRC32C; a block that takes the place of another such block
/// changes the checksum around both by nothing (`FORMAT.md`).
fn is_same(entry: &Entry, other: &Entry) -> bool {
    let head = |e: &Entry| (e.shard, e.index, e.payload.len());
    let crc = |e: &Entry| crc32c::crc32c(&e.payload);
    head(entry) == head(other) && (entry.payload == other.payload || crc(entry) == crc(other))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_few_hundred_cases() {
        (0..300).for_each(super::case);
    }
}
