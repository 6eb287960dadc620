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
    /// Of those, the ones that are not counted on.
    distrusted: Vec<Index>,
}

impl Files {
    /// What a start found, in any order.
    pub fn found(mut there: Vec<(Index, u64)>) -> Files {
        there.sort_unstable();
        Files { there, distrusted: Vec::new() }
    }

    /// A checkpoint is there.
    pub fn add(&mut self, index: Index, bytes: u64) {
        self.there.retain(|(known, _)| *known != index);
        self.distrusted.retain(|known| *known != index);
        self.there.push((index, bytes));
        self.there.sort_unstable();
    }

    /// A checkpoint may be damaged: it stays until there are enough others.
    pub fn distrust(&mut self, index: Index) {
        if self.has(index) && !self.distrusted.contains(&index) {
            self.distrusted.push(index);
        }
    }

    pub fn has(&self, index: Index) -> bool {
        self.there.iter().any(|(known, _)| *known == index)
    }

    /// Up to here the log is not needed.
    pub fn covered(&self) -> Index {
        let trusted = self.there.iter().rev().filter(|(index, _)| self.is_trusted(*index));
        trusted.map(|(index, _)| *index).nth(KEPT - 1).unwrap_or(Index(0))
    }

    fn is_trusted(&self, index: Index) -> bool {
        !self.distrusted.contains(&index)
    }

    pub fn newest_bytes(&self) -> u64 {
        self.there.last().map_or(0, |(_, bytes)| *bytes)
    }

    /// A file that is not needed any more; it is not named again.
    pub fn take_outdated(&mut self, shard: ShardId) -> Option<String> {
        let (first, newer) = self.there.split_first()?;
        if newer.iter().filter(|(index, _)| self.is_trusted(*index)).count() < KEPT {
            return None;
        }
        let index = first.0;
        self.there.remove(0);
        self.distrusted.retain(|known| *known != index);
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

    #[test]
    fn one_that_is_not_trusted_stays_until_two_others_are_there() {
        let mut files = Files::found(vec![(Index(3), 30), (Index(7), 70)]);
        files.distrust(Index(7));
        assert_eq!(files.covered(), Index(0));
        files.add(Index(9), 90);
        assert_eq!((files.covered(), files.take_outdated(ShardId(0))), (Index(3), None));
        files.add(Index(11), 110);
        assert_eq!(files.covered(), Index(9));
        assert_eq!(files.take_outdated(ShardId(0)), Some(file_name(ShardId(0), Index(3))));
        assert_eq!(files.take_outdated(ShardId(0)), Some(file_name(ShardId(0), Index(7))));
        assert_eq!(files.take_outdated(ShardId(0)), None);
    }

    #[test]
    fn one_that_is_written_again_is_trusted() {
        let mut files = Files::found(vec![(Index(3), 30), (Index(7), 70)]);
        files.distrust(Index(7));
        files.add(Index(7), 71);
        assert_eq!(files.covered(), Index(3));
    }
}
