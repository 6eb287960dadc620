//! When a leader tells the others by messages of their own what is committed: if for so long no
//! entries have gone to them that would have said it ([`Group::has_untold`]).

use std::collections::VecDeque;

use replication::buggify::{Point, is_taken};
#[cfg(doc)]
use replication::group::Group;

use crate::core::Core;
use crate::limits::COMMITTED_UNTOLD_NS_MAX;

#[derive(Debug, Default)]
pub struct Telling {
    /// By shard: since when something is untold.
    since_ns: Vec<Option<u64>>,
    /// Shards with the time since when, the earliest in front; told of meanwhile if the time is not
    /// the shard's any more.
    waiting: VecDeque<(u64, u16)>,
}

impl Telling {
    pub fn new(shard_count: usize) -> Telling {
        Telling { since_ns: vec![None; shard_count], waiting: VecDeque::new() }
    }

    /// Whether a shard's group has something untold.
    fn note(&mut self, shard: u16, is_untold: bool, now_ns: u64) {
        let since_ns = &mut self.since_ns[usize::from(shard)];
        match is_untold && !is_taken(Point::CommittedToldLate) {
            false => *since_ns = None,
            true if since_ns.is_some() => {}
            true => {
                *since_ns = Some(now_ns);
                self.waiting.push_back((now_ns, shard));
            }
        }
        self.drop_told();
    }

    /// Leaves out what was told meanwhile, so that nobody wakes for it.
    fn drop_told(&mut self) {
        while let Some((since_ns, shard)) = self.waiting.front()
            && self.since_ns[usize::from(*shard)] != Some(*since_ns)
        {
            self.waiting.pop_front();
        }
    }

    /// A shard whose others wait for too long.
    fn take_due(&mut self, now_ns: u64) -> Option<u16> {
        self.wake_ns().filter(|wake_ns| now_ns >= *wake_ns)?;
        let (_, shard) = self.waiting.pop_front()?;
        self.since_ns[usize::from(shard)] = None;
        self.drop_told();
        Some(shard)
    }

    pub fn wake_ns(&self) -> Option<u64> {
        self.waiting.front().map(|(since_ns, _)| since_ns + COMMITTED_UNTOLD_NS_MAX)
    }
}

impl Core {
    pub(super) fn note_untold(&mut self, shard: u16, is_untold: bool) {
        self.replicas.telling.note(shard, is_untold, self.now.mono_ns);
    }

    pub(super) fn tell_committed(&mut self) {
        while let Some(shard) = self.replicas.telling.take_due(self.now.mono_ns) {
            self.with_replica(shard, |_, replica| replica.group.tell_committed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stays_untold_is_due() {
        const LATER: u64 = COMMITTED_UNTOLD_NS_MAX;
        let mut telling = Telling::new(3);
        telling.note(0, true, 10);
        telling.note(1, true, 20);
        telling.note(0, true, 25);
        assert_eq!(telling.wake_ns(), Some(10 + LATER), "the first one counts");
        telling.note(0, false, 30);
        assert_eq!(telling.wake_ns(), Some(20 + LATER));
        telling.note(0, true, 40);
        assert_eq!(telling.take_due(19 + LATER), None);
        assert_eq!(telling.take_due(40 + LATER), Some(1));
        assert_eq!(telling.take_due(40 + LATER), Some(0));
        assert_eq!((telling.take_due(u64::MAX), telling.wake_ns()), (None, None));
        telling.note(1, true, 50);
        assert_eq!(telling.take_due(50 + LATER), Some(1), "and again");
        telling.note(0, true, 60);
        telling.note(1, true, 70);
        telling.note(1, false, 80);
        telling.note(1, true, 90);
        assert_eq!(telling.take_due(80 + LATER), Some(0));
        assert_eq!(telling.take_due(80 + LATER), None, "it was told at 80");
        assert_eq!(telling.wake_ns(), Some(90 + LATER));
    }
}
