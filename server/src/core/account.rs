//! What this core uses of the memory that all cores share (`maxmemory`), and what it knows of the
//! others. Plain numbers; lives on its core. See `adr/0007`.

use crate::limits::{MEMORY_STEP_BYTES_MIN, MEMORY_STEPS};

/// What one core tells the others of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryReport {
    /// What its shards and clients take, garbage included.
    pub bytes: u64,
    /// What is deleted and not yet freed.
    pub garbage_bytes: u64,
    /// It has keys that the policy may take.
    pub can_evict: bool,
}

#[derive(Debug, Default)]
pub struct Account {
    /// `maxmemory`; 0 for none. While there is none, nothing is noted and nobody is told.
    limit_bytes: u64,
    /// Of each own shard, as last noted: what it takes, and what of that is garbage.
    shards: Vec<(u64, u64)>,
    shards_sum: (u64, u64),
    client_bytes: u64,
    can_evict: bool,
    /// What the others know; `None` until they have been told once.
    told: Option<MemoryReport>,
    others: Vec<MemoryReport>,
    others_bytes: u64,
    others_garbage_bytes: u64,
    peak_bytes: u64,
}

impl Account {
    pub fn new(shard_count: usize, cores: usize, limit_bytes: u64) -> Account {
        Account {
            limit_bytes,
            shards: vec![(0, 0); shard_count],
            others: vec![MemoryReport::default(); cores],
            ..Account::default()
        }
    }

    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    pub fn set_limit(&mut self, limit_bytes: u64) {
        if self.limit_bytes != limit_bytes {
            self.limit_bytes = limit_bytes;
            self.told = None;
        }
    }

    /// Notes what one of our shards takes now.
    #[inline]
    pub fn note_shard(&mut self, shard: usize, bytes: usize, garbage_bytes: usize) {
        let now = (bytes as u64, garbage_bytes as u64);
        let before = std::mem::replace(&mut self.shards[shard], now);
        self.shards_sum.0 = self.shards_sum.0 + now.0 - before.0;
        self.shards_sum.1 = self.shards_sum.1 + now.1 - before.1;
    }

    pub fn note_clients(&mut self, bytes: usize) {
        self.client_bytes = bytes as u64;
        self.peak_bytes = self.peak_bytes.max(self.own_bytes());
    }

    pub fn note_can_evict(&mut self, can_evict: bool) {
        self.can_evict = can_evict;
    }

    pub fn note_other(&mut self, core: u16, report: MemoryReport) {
        let before = std::mem::replace(&mut self.others[usize::from(core)], report);
        self.others_bytes = self.others_bytes + report.bytes - before.bytes;
        self.others_garbage_bytes =
            self.others_garbage_bytes + report.garbage_bytes - before.garbage_bytes;
    }

    /// What this core's shards and clients take.
    pub fn own_bytes(&self) -> u64 {
        self.shards_sum.0 + self.client_bytes
    }

    /// The most that it ever was, as seen at the ends of turns.
    pub fn peak_bytes(&self) -> u64 {
        self.peak_bytes
    }

    pub fn own_garbage_bytes(&self) -> u64 {
        self.shards_sum.1
    }

    /// By how much all cores together are over the limit, without what is about to be freed.
    #[inline]
    pub fn excess_bytes(&self) -> u64 {
        let used = self.own_bytes() + self.others_bytes;
        let garbage = self.shards_sum.1 + self.others_garbage_bytes;
        if self.limit_bytes == 0 { 0 } else { (used - garbage).saturating_sub(self.limit_bytes) }
    }

    /// The part of the excess that falls to this core: all of it if no other can evict, else by
    /// its share of what is used.
    pub fn own_excess_bytes(&self) -> u64 {
        let excess = self.excess_bytes();
        if !self.others_can_evict() {
            return excess;
        }
        let used = (self.own_bytes() + self.others_bytes).max(1);
        (u128::from(excess) * u128::from(self.own_bytes())).div_ceil(u128::from(used)) as u64
    }

    pub fn others_can_evict(&self) -> bool {
        self.others.iter().any(|other| other.can_evict)
    }

    /// What the others have to be told now, if anything: the first time, when it has changed by a
    /// step, and when there begins or ceases to be something to evict.
    pub fn next_report(&mut self) -> Option<MemoryReport> {
        if self.limit_bytes == 0 {
            return None;
        }
        let report = MemoryReport {
            bytes: self.own_bytes(),
            garbage_bytes: self.shards_sum.1,
            can_evict: self.can_evict,
        };
        let step = self.step_bytes();
        let same = self.told.is_some_and(|told| {
            told.can_evict == report.can_evict
                && told.bytes.abs_diff(report.bytes) < step
                && told.garbage_bytes.abs_diff(report.garbage_bytes) < step
        });
        if same {
            return None;
        }
        self.told = Some(report);
        Some(report)
    }

    /// So little is not worth a message: all cores' steps together are a thousandth of the limit.
    fn step_bytes(&self) -> u64 {
        let cores = self.others.len().max(1) as u64;
        (self.limit_bytes / MEMORY_STEPS / cores).max(MEMORY_STEP_BYTES_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_others_hear_of_steps_and_no_more() {
        let mut account = Account::new(2, 4, 0);
        account.note_shard(0, 10 << 20, 0);
        assert_eq!(account.next_report(), None, "without a limit nobody is told");
        account.set_limit(64 << 20);
        let first = account.next_report().unwrap();
        assert_eq!((first.bytes, first.can_evict), (10 << 20, false));
        // A step is a thousandth of the limit over four cores: 16 KiB.
        account.note_shard(1, 16_000, 0);
        assert_eq!(account.next_report(), None);
        account.note_shard(1, 17_000, 0);
        assert_eq!(account.next_report().unwrap().bytes, (10 << 20) + 17_000);
        account.note_can_evict(true);
        assert!(account.next_report().unwrap().can_evict);
        account.set_limit(0);
        account.set_limit(64 << 20);
        assert!(account.next_report().is_some(), "a new limit is told anew");
        // A thousandth of a small limit would be less than a command.
        account.set_limit(1 << 20);
        account.next_report().unwrap();
        account.note_shard(0, (10 << 20) + MEMORY_STEP_BYTES_MIN as usize - 1, 0);
        assert_eq!(account.next_report(), None);
        account.note_shard(0, (10 << 20) + MEMORY_STEP_BYTES_MIN as usize, 0);
        assert!(account.next_report().is_some());
    }

    #[test]
    fn the_excess_is_shared_by_those_who_can_evict() {
        let mut account = Account::new(1, 2, 1000);
        account.note_shard(0, 900, 0);
        assert_eq!(account.excess_bytes(), 0);
        let other = MemoryReport { bytes: 300, garbage_bytes: 0, can_evict: false };
        account.note_other(1, other);
        assert_eq!((account.excess_bytes(), account.own_excess_bytes()), (200, 200));
        account.note_other(1, MemoryReport { can_evict: true, ..other });
        assert_eq!(account.own_excess_bytes(), 150);
        // What is about to be freed is no reason to evict more.
        account.note_shard(0, 900, 150);
        account.note_other(1, MemoryReport { garbage_bytes: 50, ..other });
        assert_eq!(account.excess_bytes(), 0);
        account.note_clients(70);
        assert_eq!((account.excess_bytes(), account.own_bytes()), (70, 970));
        assert_eq!(account.peak_bytes(), 970);
    }
}
