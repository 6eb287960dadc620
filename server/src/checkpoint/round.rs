//! One checkpoint under way: blocks from the walk of the shard to the writer of its file, no more a
//! turn than a core's other work allows, no more a second than the operator does.

use engine::checkpoint::{Contents, Progress};
use engine::keyspace::Shard;
use engine::value::limits::EncodingLimits;
use replication::checkpoint::{CheckpointIdentity, CheckpointWriter, OfGroup};
use replication::ids::{Index, ShardId, Term};
use replication::log::LogIdentity;

use crate::limits::{CHECKPOINT_SLICE_BYTES, CHECKPOINT_SLICES_PER_SECOND_MIN};

pub struct Round {
    pub writer: CheckpointWriter,
    /// What the file says of the shard's group.
    pub group: Option<OfGroup>,
    walked: bool,
    /// Bytes of work that may be done now, and when that was.
    allowance_bytes: u64,
    /// Work that changes have forced and no allowance was taken for.
    owed_bytes: u64,
    counted_ns: u64,
    /// The walk waits for more allowance until then.
    waits_until_ns: Option<u64>,
}

impl Round {
    pub fn new(
        node: LogIdentity,
        shard: u16,
        (term, index): (Term, Index),
        stamp: u64,
        group: Option<OfGroup>,
        contents: &Contents,
        now_ns: u64,
    ) -> Round {
        let identity = CheckpointIdentity {
            cluster: node.cluster,
            node: node.node,
            shard: ShardId(shard),
            index,
            term,
            stamp,
        };
        Round {
            writer: CheckpointWriter::new(identity, group.as_ref(), &contents.encode()),
            group,
            walked: false,
            allowance_bytes: 0,
            owed_bytes: 0,
            counted_ns: now_ns,
            waits_until_ns: None,
        }
    }

    pub fn shard(&self) -> u16 {
        self.writer.identity().shard.0
    }

    pub fn index(&self) -> Index {
        self.writer.identity().index
    }

    /// A slice of the walk, if the file takes more. `rate` is in bytes a second, 0 for no limit.
    pub fn walk(&mut self, shard: &mut Shard, limits: &EncodingLimits, now_ns: u64, rate: u64) {
        self.take_blocks(shard);
        if self.walked || !self.writer.wants_block() {
            return;
        }
        self.owed_bytes += shard.take_checkpoint_forced_bytes() as u64;
        self.count_allowance(now_ns, rate);
        if self.allowance_bytes < CHECKPOINT_SLICE_BYTES as u64 {
            let lacking = CHECKPOINT_SLICE_BYTES as u64 + self.owed_bytes - self.allowance_bytes;
            let wait_ns = u128::from(lacking) * 1_000_000_000 / u128::from(rate.max(1));
            self.waits_until_ns = Some(now_ns.saturating_add(wait_ns as u64));
            return;
        }
        self.waits_until_ns = None;
        self.allowance_bytes -= CHECKPOINT_SLICE_BYTES as u64;
        let progress = shard.walk_checkpoint(limits, CHECKPOINT_SLICE_BYTES);
        self.take_blocks(shard);
        if progress == Progress::Done && shard.checkpoint_waiting_bytes() == 0 {
            self.end_walk(shard, limits);
        }
    }

    fn end_walk(&mut self, shard: &mut Shard, limits: &EncodingLimits) {
        self.walked = true;
        if shard.finish_checkpoint(limits) {
            self.writer.end_blocks();
        } else {
            self.writer.abandon("the walk of the shard lost a value");
        }
    }

    /// The shard's memory is gone: there is nothing more to walk.
    pub fn lose_shard(&mut self) {
        self.walked = true;
        self.writer.abandon("the node leads no more, and what it had executed is gone");
    }

    /// The file is there or given up. Whether the shard has no part in it any more.
    pub fn end(&mut self, shard: Option<&mut Shard>, limits: &EncodingLimits) -> bool {
        if !self.walked
            && let Some(shard) = shard
        {
            shard.finish_checkpoint(limits);
            self.walked = true;
        }
        self.walked
    }

    fn take_blocks(&mut self, shard: &mut Shard) {
        while !self.walked && self.writer.wants_block() {
            let Some(block) = shard.take_checkpoint_block() else { break };
            self.writer.add_block(&block);
        }
    }

    fn count_allowance(&mut self, now_ns: u64, rate: u64) {
        let slice = CHECKPOINT_SLICE_BYTES as u64;
        let passed_ns = now_ns.saturating_sub(self.counted_ns);
        self.counted_ns = now_ns;
        if rate == 0 {
            (self.allowance_bytes, self.owed_bytes) = (slice, 0);
            return;
        }
        // No more at once than a few slices, however long nothing was done.
        let most = (rate / CHECKPOINT_SLICES_PER_SECOND_MIN).max(slice);
        let more = u128::from(rate) * u128::from(passed_ns) / 1_000_000_000;
        let sum = u128::from(self.allowance_bytes) + more;
        // What clients' changes do of the work is work all the same: the walk does the rest.
        let paid = sum.min(u128::from(self.owed_bytes));
        self.owed_bytes -= paid as u64;
        self.allowance_bytes = (sum - paid).min(u128::from(most)) as u64;
    }

    /// When the walk can go on; `None` while it waits for the file, or is over.
    pub fn wake_ns(&self, now_ns: u64) -> Option<u64> {
        if self.walked || !self.writer.wants_block() {
            return None;
        }
        Some(self.waits_until_ns.unwrap_or(now_ns))
    }
}

#[cfg(test)]
mod tests {
    use engine::hash::Hasher64;
    use engine::keyspace::{Expiry, Shards, Space};
    use engine::settings::Settings;

    use super::*;

    const RATE: u64 = 64 << 20;
    const SLICE: u64 = CHECKPOINT_SLICE_BYTES as u64;

    fn round(contents: &Contents, now_ns: u64) -> Round {
        let node = LogIdentity { cluster: 1, node: 1, core: 0 };
        Round::new(node, 0, (Term(1), Index(1)), 1, None, contents, now_ns)
    }

    /// A shard with 2 MB of keys, and its checkpoint begun.
    fn begun() -> (Box<Shard>, Contents) {
        let mut shards = Shards::new(1, Hasher64::new([1, 2, 3, 4]));
        shards.put(Box::new(Shard::new(0, shards.hasher())));
        let settings = Settings::default();
        let mut space = Space::new(&mut shards, &settings, 0, 1);
        for n in 0..10_000 {
            space.set_string(format!("key:{n}").as_bytes(), &[b'x'; 200], Expiry::Clear);
        }
        let mut shard = shards.take(0).expect("it is there");
        shard.close_entry();
        let (_, contents) = shard.begin_checkpoint();
        (shard, contents)
    }

    #[test]
    fn a_turn_does_one_slice_and_the_rate_says_when_the_next() {
        let (mut shard, contents) = begun();
        let mut round = round(&contents, 0);
        let limits = EncodingLimits::default();
        round.walk(&mut shard, &limits, 0, RATE);
        assert_eq!(shard.checkpoint_waiting_bytes(), 0, "nothing is allowed yet");
        let next_ns = SLICE * 1_000_000_000 / RATE;
        assert_eq!(round.wake_ns(0), Some(next_ns));
        // 2 ms later: a slice, and no second one in the same moment.
        for (now_ns, bytes) in [(next_ns + 1, SLICE), (next_ns + 2, SLICE)] {
            round.walk(&mut shard, &limits, now_ns, RATE);
            let waiting = shard.checkpoint_waiting_bytes() as u64;
            assert!((bytes / 2..bytes * 3 / 2).contains(&waiting), "{waiting} bytes");
        }
    }

    #[test]
    fn what_was_not_used_of_the_rate_is_kept_for_a_short_time() {
        let (_, contents) = begun();
        let mut round = round(&contents, 0);
        // Over a second of turns no more than the rate.
        let mut used = 0;
        for ms in 1..=1_000 {
            round.count_allowance(ms * 1_000_000, RATE);
            while round.allowance_bytes >= SLICE {
                round.allowance_bytes -= SLICE;
                used += SLICE;
            }
        }
        assert!(used <= RATE && used > RATE - 2 * SLICE, "{used} bytes in a second");
        round.count_allowance(60_000_000_000, RATE);
        assert_eq!(round.allowance_bytes, RATE / CHECKPOINT_SLICES_PER_SECOND_MIN);
        // A rate so low that this is less than a slice lets one through.
        round.count_allowance(200_000_000_000, SLICE);
        assert_eq!(round.allowance_bytes, SLICE);
    }

    #[test]
    fn what_changes_forced_is_paid_for_before_the_walk_goes_on() {
        let slice = SLICE;
        let rate = 100 * slice;
        let ns_of = |slices: u64| slices * 10_000_000;
        let mut round = round(&Contents::default(), 0);
        round.owed_bytes = 3 * slice;
        round.count_allowance(ns_of(2), rate);
        assert_eq!((round.allowance_bytes, round.owed_bytes), (0, slice));
        round.count_allowance(ns_of(4), rate);
        assert_eq!((round.allowance_bytes, round.owed_bytes), (slice, 0));
        round.owed_bytes = 3 * slice;
        round.count_allowance(ns_of(4), 0);
        assert_eq!((round.allowance_bytes, round.owed_bytes), (slice, 0), "there is no limit");
    }
}
