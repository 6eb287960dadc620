//! The log lets go of a segment once two checkpoints of every shard with entries in it have these.
//! A shard that is hardly written to would keep all that comes behind its last entry, and where
//! few entries share a write, the log takes many times what they hold. So a checkpoint is due too
//! once much was written to the log since the one before, to whichever shards.
//!
//! A shard's older checkpoint never has its last entry: one that nobody writes to gets an entry
//! that changes nothing, so that a second checkpoint can stand behind its last change.

use super::Checkpoints;
use crate::core::Core;
use crate::limits::{LOG_LOOKS, LOG_PER_CHECKPOINT};

/// What a core's log has grown by, a shard each, in bytes as they stand on the disk.
#[derive(Default)]
pub struct Growth {
    /// The segments that the start had found.
    found_bytes: u64,
    /// By shard: how long the log was when its last checkpoint began.
    begun_at_bytes: Vec<u64>,
    /// It is looked at again once the log is so long.
    look_at_bytes: u64,
    /// Shards that get an entry in this turn although nothing has changed.
    advancing: Vec<u16>,
}

impl Growth {
    pub fn new(shards: usize, found_bytes: u64) -> Growth {
        Growth { found_bytes, begun_at_bytes: vec![0; shards], ..Growth::default() }
    }

    pub fn note_begun(&mut self, shard: u16, written_bytes: u64) {
        self.begun_at_bytes[usize::from(shard)] = self.found_bytes + written_bytes;
    }
}

impl Checkpoints {
    /// How much of a shard's entries brings the next checkpoint.
    pub(super) fn wanted_bytes(&self, shard: u16, least_bytes: u64) -> u64 {
        least_bytes.max(self.files[usize::from(shard)].newest_bytes())
    }

    /// Whether this shard is to have an entry without effects: it is asked for once.
    pub(crate) fn takes_advance(&mut self, shard: u16) -> bool {
        let place = self.growth.advancing.iter().position(|advancing| *advancing == shard);
        place.map(|place| self.growth.advancing.swap_remove(place)).is_some()
    }
}

impl Core {
    /// Sees to it that no shard keeps much more of the log than checkpoints make up for. Before the
    /// turn's entries are closed.
    pub(crate) fn keep_log_short(&mut self) {
        // What the last turn had no place for, as the lead was lost, is not this one's to do.
        self.checkpoints.growth.advancing.clear();
        let Some(log) = &self.log else { return };
        let written_bytes = log.written_bytes();
        let long_bytes = self.checkpoints.growth.found_bytes + written_bytes;
        if long_bytes < self.checkpoints.growth.look_at_bytes {
            return;
        }
        let least_bytes = self.config.checkpoint_log_bytes;
        let own: Vec<u16> = (0..self.shards.count() as u16)
            .filter(|shard| self.is_home(usize::from(*shard)))
            .collect();
        let wanted = own.iter().map(|shard| self.checkpoints.wanted_bytes(*shard, least_bytes));
        // Less than a segment can not be let go.
        let whole_bytes = wanted.sum::<u64>().max(self.config.log_segment_bytes);
        for shard in own {
            let begun_at = self.checkpoints.growth.begun_at_bytes[usize::from(shard)];
            if long_bytes.saturating_sub(begun_at) <= LOG_PER_CHECKPOINT * whole_bytes {
                continue;
            }
            if self.checkpoints.logged_bytes[usize::from(shard)] > 0 {
                self.checkpoints.make_due(shard);
            } else {
                self.advance(shard);
            }
        }
        // Who gets an entry has a checkpoint due the next time.
        if self.checkpoints.growth.advancing.is_empty() {
            self.checkpoints.growth.look_at_bytes = long_bytes + whole_bytes / LOG_LOOKS;
        }
    }

    /// A shard that rests gets an entry, where this node decides about such things. If something
    /// changes in this turn, it has one anyway.
    fn advance(&mut self, shard: u16) {
        let rests = self.shards.get(usize::from(shard)).is_some_and(|held| held.open_index() > 1);
        let may = self.decides()
            && self.replicas.get(shard).is_none_or(|replica| replica.executes())
            && self.refuse_logging().is_none();
        if rests && may {
            self.checkpoints.growth.advancing.push(shard);
            self.touch(shard);
        }
    }
}

#[cfg(test)]
mod tests {
    use replication::ids::{Incarnation, Index};

    use super::*;
    use crate::checkpoint::files::Files;

    #[test]
    fn a_checkpoint_is_worth_its_size_or_what_the_setting_says() {
        let files = vec![Files::found(vec![(Index(1), 5_000)]), Files::default()];
        let checkpoints = Checkpoints::new(1, Incarnation(1), files, Vec::new(), 0);
        assert_eq!(checkpoints.wanted_bytes(0, 1_000), 5_000);
        assert_eq!(checkpoints.wanted_bytes(1, 1_000), 1_000);
    }
}
