//! The checkpoint files of one shard: the two newest are kept, so that the log together with the
//! older one still has everything if the newer one is damaged.

use replication::checkpoint::catalogue::file_name;
use replication::ids::{Index, ShardId};

/// Checkpoints of a shard that are kept.
const KEPT: usize = 2;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Index and size of each, ascending.
    there: Vec<(Index, u64)>,
}

impl Files {
    /// What a start found, in any order.
    pub fn found(mut there: Vec<(Index, u64)>) -> Files {
        there.sort_unstable();
        Files { there }
    }

    /// A checkpoint is there.
    pub fn add(&mut self, index: Index, bytes: u64) {
        self.there.retain(|(known, _)| *known != index);
        self.there.push((index, bytes));
        self.there.sort_unstable();
    }

    pub fn has(&self, index: Index) -> bool {
        self.there.iter().any(|(known, _)| *known == index)
    }

    /// Up to here the log is not needed.
    pub fn covered(&self) -> Index {
        let older = self.there.len().checked_sub(KEPT);
        older.map_or(Index(0), |place| self.there[place].0)
    }

    pub fn newest_bytes(&self) -> u64 {
        self.there.last().map_or(0, |(_, bytes)| *bytes)
    }

    /// A file that is not needed any more; it is not named again.
    pub fn take_outdated(&mut self, shard: ShardId) -> Option<String> {
        if self.there.len() <= KEPT {
            return None;
        }
        let (index, _) = self.there.remove(0);
        Some(file_name(shard, index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_are_kept_and_the_older_one_covers() {
        let mut files = Files::found(vec![(Index(7), 70), (Index(3), 30)]);
        assert_eq!((files.covered(), files.newest_bytes()), (Index(3), 70));
        assert_eq!(files.take_outdated(ShardId(1)), None);
        files.add(Index(9), 90);
        assert_eq!((files.covered(), files.newest_bytes()), (Index(7), 90));
        assert_eq!(files.take_outdated(ShardId(1)), Some(file_name(ShardId(1), Index(3))));
        assert_eq!(files.take_outdated(ShardId(1)), None);
        assert_eq!(Files::found(vec![(Index(5), 1)]).covered(), Index(0));
    }
}
