//! What a node's logs have of its groups, with those of all cores at hand: what is decided takes
//! effect, what is not is the group's to settle with its other replicas.
//!
//! Entries are handed in as they are read, in the order in which they were written, and handed out
//! as soon as their fate is known, so that little of a log is in memory at a time. An entry whose
//! index is there already replaces it and all behind it: it is of a later leader.

use std::collections::VecDeque;
use std::ops::Deref;

use super::payload::{from_record, version_of_change};
use super::{Base, Entry, GroupStart, Members};
use crate::fault::{Fault, is_planted};
use crate::ids::{Index, ShardId, Term};
use crate::release::resolve::{Content, Placed};
use crate::version::{NotApplied, Version, Versions};

/// Bytes of decided entries with which a group starts, so that what a replica lacks that was away
/// while this node was, or before, need not be read: as many as a leader keeps while it runs.
pub const KEPT_BYTES: usize = 64 << 20;

/// Why the logs cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contradiction {
    /// An entry is missing.
    Gap { shard: ShardId, expected: Index, found: Index },
    /// A record would replace an entry that was decided, or follows one of a later term.
    Replaces { shard: ShardId, index: Index, term: Term },
    /// The state is that of a checkpoint that another node sent, which is not here.
    LacksBase { shard: ShardId, index: Index },
    /// The cluster has a version that this program does not apply.
    Version { shard: ShardId, index: Index, error: NotApplied },
}

impl std::fmt::Display for Contradiction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Contradiction::Gap { shard, expected, found } => write!(
                f,
                "entry {} of shard {} is in a log, but entry {} is in none and in no sound \
                 checkpoint; a file is missing, damaged or from another time. Nothing was changed",
                found.0, shard.0, expected.0
            ),
            Contradiction::Replaces { shard, index, term } => write!(
                f,
                "a record of term {} would replace entry {} of shard {}, which had been decided, \
                 or follow one of a later term; the logs are not of one directory. Nothing was \
                 changed",
                term.0, index.0, shard.0
            ),
            Contradiction::LacksBase { shard, index } => write!(
                f,
                "shard {} goes on behind a checkpoint at entry {} that came from another node, and \
                 no sound checkpoint reaches it. Nothing was changed",
                shard.0, index.0
            ),
            Contradiction::Version { shard, index, error } => write!(
                f,
                "entry {} of shard {} is of {error}. Nothing was changed",
                index.0, shard.0
            ),
        }
    }
}

impl std::error::Error for Contradiction {}

struct Replica<P> {
    /// A checkpoint's.
    base: Base,
    /// Everything up to here took effect, or was voided.
    settled: (Index, Term),
    decided: Index,
    /// Entries behind it.
    held: VecDeque<Placed<P>>,
    /// The last ones up to it, for replicas that lack them; the entry before those; their bytes.
    kept: VecDeque<Entry>,
    kept_behind: (Index, Term),
    kept_bytes: usize,
    /// Members as of indexes at or behind the base, ascending.
    members: Vec<(Index, Members)>,
    /// See [`crate::release::Release::note_ended`].
    ended: Option<Index>,
    /// Members are of no account.
    for_memory: bool,
}

/// Takes the records of all groups of a node, each group's in the order in which they were written.
pub struct Restart<P> {
    replicas: Vec<Replica<P>>,
    applied: Versions,
}

impl<P: Deref<Target = [u8]>> Restart<P> {
    /// `bases`: what each shard's checkpoint is as of. `applied`: what this program can take.
    pub fn new(bases: Vec<Base>, applied: Versions) -> Restart<P> {
        let replica = |base: Base| {
            let (settled, ended) = ((Index(base.index), Term(base.term)), base.ended);
            Replica {
                base,
                settled,
                decided: settled.0,
                held: VecDeque::new(),
                kept: VecDeque::new(),
                kept_behind: settled,
                kept_bytes: 0,
                members: Vec::new(),
                ended,
                for_memory: false,
            }
        };
        Restart { replicas: bases.into_iter().map(replica).collect(), applied }
    }

    /// The next record of its shard. What takes effect now is given to `apply`.
    pub fn take<E: From<Contradiction>>(
        &mut self,
        placed: Placed<P>,
        apply: &mut impl FnMut(ShardId, Index, P) -> Result<(), E>,
    ) -> Result<(), E> {
        let (shard, index) = (placed.shard, placed.index);
        NotApplied::check(self.applied, said_version(&placed.content))
            .map_err(|error| Contradiction::Version { shard, index, error })?;
        let replica = &mut self.replicas[usize::from(shard.0)];
        replica.decided = replica.decided.max(placed.decided);
        match placed.content {
            Content::Members { installed: true, .. } if index.0 > replica.base.index => {
                return Err(Contradiction::LacksBase { shard, index }.into());
            }
            Content::Members { installed: true, .. } => {
                replica.held.clear();
                replica.kept.clear();
                (replica.kept_behind, replica.kept_bytes) = (replica.settled, 0);
            }
            Content::Members { members, .. } => replica.note_members(index, members),
            // A checkpoint has it. What stood behind it until then was replaced with it.
            _ if index.0 <= replica.base.index => replica.held.clear(),
            // Terms never fall along a log: it was replaced before the checkpoint's last entry
            // came.
            _ if placed.term.0 < replica.base.term => {}
            _ => replica.hold(placed)?,
        }
        replica.settle(shard, apply)
    }

    /// Everything of a shard up to here is decided, whatever the log says. Returns up to where it
    /// has taken effect then.
    pub fn decide<E: From<Contradiction>>(
        &mut self,
        shard: ShardId,
        through: Index,
        apply: &mut impl FnMut(ShardId, Index, P) -> Result<(), E>,
    ) -> Result<Index, E> {
        let replica = &mut self.replicas[usize::from(shard.0)];
        replica.decided = replica.decided.max(through);
        replica.for_memory = true;
        replica.settle(shard, apply)?;
        Ok(replica.settled.0)
    }

    /// See [`crate::release::Release::note_ended`]: as of what has taken effect.
    pub fn ended(&self, shard: ShardId) -> Option<Index> {
        self.replicas[usize::from(shard.0)].ended
    }

    /// Every log is read to its end: how each group goes on. Its vote is not among this.
    pub fn finish(self) -> Vec<GroupStart> {
        self.replicas.into_iter().map(Replica::finish).collect()
    }
}

/// The version that a record says is that of the cluster from then on, committed or not.
fn said_version<P: Deref<Target = [u8]>>(content: &Content<P>) -> Version {
    match content {
        Content::Members { members, .. } => members.roster.version,
        Content::Change { payload } => version_of_change(payload),
        _ => Version(1),
    }
}

impl<P: Deref<Target = [u8]>> Replica<P> {
    fn hold(&mut self, placed: Placed<P>) -> Result<(), Contradiction> {
        let (shard, index, term) = (placed.shard, placed.index, placed.term);
        // Of whatever term: a leader may bring entries of an older term than those that one in
        // between had left here.
        while self.held.back().is_some_and(|last| last.index >= index) {
            self.held.pop_back();
        }
        let (last, last_term) =
            self.held.back().map_or(self.settled, |last| (last.index, last.term));
        if index.0 > last.0 + 1 {
            let expected = Index(last.0 + 1);
            return Err(Contradiction::Gap { shard, expected, found: index });
        }
        if index <= last || term < last_term {
            return Err(Contradiction::Replaces { shard, index, term });
        }
        self.held.push_back(placed);
        Ok(())
    }

    /// Gives out what is decided.
    fn settle<E>(
        &mut self,
        shard: ShardId,
        apply: &mut impl FnMut(ShardId, Index, P) -> Result<(), E>,
    ) -> Result<(), E> {
        let decided = self.decided;
        let voids: Vec<(Index, Index)> = self
            .held
            .iter()
            .take_while(|held| held.index <= decided)
            .filter_map(|held| match held.content {
                Content::Void { from } => Some((from, held.index)),
                _ => None,
            })
            .collect();
        while let Some(front) = self.held.front().filter(|front| front.index <= decided) {
            // A leader may have called it decided before this node had heard that it is, and what
            // the members are since then: it is the group's to take again.
            let is_change = matches!(front.content, Content::Change { .. });
            let noted = self.members.iter().any(|(as_of, _)| *as_of >= front.index);
            if is_change && !noted && !self.for_memory {
                break;
            }
            let Some(front) = self.held.pop_front() else { break };
            self.settled = (front.index, front.term);
            self.keep(&front);
            let voided = voids.iter().any(|(from, to)| (*from..*to).contains(&front.index));
            match front.content {
                Content::Void { from } => self.note_ended(from),
                Content::Marker => self.ended = None,
                _ if front.content.begins_term() && !is_planted(Fault::FirstEntryIgnored) => {
                    self.note_ended(front.index);
                }
                _ => {}
            }
            if let Content::Entry { payload, .. } = front.content
                && !voided
            {
                apply(shard, front.index, payload)?;
            }
        }
        Ok(())
    }

    fn note_ended(&mut self, index: Index) {
        self.ended = Some(self.ended.map_or(index, |ended| ended.min(index)));
    }

    /// Keeps a settled entry, and no more of them than [`KEPT_BYTES`].
    fn keep(&mut self, settled: &Placed<P>) {
        let Some(entry) = from_record(settled) else { return };
        self.kept_bytes += entry.payload.len() + size_of::<Entry>();
        self.kept.push_back(entry);
        while self.kept_bytes > KEPT_BYTES
            && let Some(first) = self.kept.pop_front()
        {
            self.kept_bytes -= first.payload.len() + size_of::<Entry>();
            self.kept_behind = (first.index, first.term);
        }
    }

    fn note_members(&mut self, index: Index, members: Members) {
        if index.0 >= self.base.index {
            self.members.retain(|(known, _)| *known < index);
            self.members.push((index, members));
        }
    }

    fn finish(self) -> GroupStart {
        let (index, _) = self.settled;
        let known = self.members.into_iter().rev().find(|(as_of, _)| *as_of <= index);
        let members = known.map_or(self.base.members, |(_, members)| members);
        let held = self.held.iter().filter_map(from_record);
        let entries: Vec<Entry> = self.kept.into_iter().chain(held).collect();
        let (behind, term) = self.kept_behind;
        let base = Base { index: behind.0, term: term.0, members, ended: self.ended };
        let (vote, checkpoint) = (Default::default(), None);
        let (committed, applied) = (index, index);
        GroupStart { base, applied, checkpoint, vote, committed, entries, ..GroupStart::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::NodeId;
    use crate::ids::Incarnation;

    const SHARD: ShardId = ShardId(0);

    fn record(index: u64, term: u64, decided: u64, content: Content<Vec<u8>>) -> Placed<Vec<u8>> {
        let (index, decided, term) = (Index(index), Index(decided), Term(term));
        Placed { incarnation: Incarnation(1), shard: SHARD, index, term, decided, content }
    }

    fn entry(index: u64, term: u64, decided: u64) -> Placed<Vec<u8>> {
        let payload = vec![index as u8, term as u8];
        record(index, term, decided, Content::Entry { transaction: None, payload })
    }

    fn members(index: u64, node: u64, installed: bool) -> Placed<Vec<u8>> {
        let members = Members::of_voters([NodeId(node)]);
        record(index, 1, 0, Content::Members { members, installed })
    }

    /// What took effect, by index and term, and how the group goes on.
    type Ended = (Vec<(u64, u64)>, GroupStart);

    fn restart(base: u64, records: Vec<Placed<Vec<u8>>>) -> Result<Ended, Contradiction> {
        restart_behind((base, u64::from(base > 0)), records)
    }

    fn restart_behind(
        (index, term): (u64, u64),
        records: Vec<Placed<Vec<u8>>>,
    ) -> Result<Ended, Contradiction> {
        let base = Base { index, term, members: Members::of_voters([NodeId(9)]), ended: None };
        let mut restart = Restart::new(vec![base], Versions::OWN);
        let mut applied = Vec::new();
        for placed in records {
            restart.take(placed, &mut |_, index, payload: Vec<u8>| {
                applied.push((index.0, payload.get(1).map_or(0, |term| u64::from(*term))));
                Ok::<(), Contradiction>(())
            })?;
        }
        Ok((applied, restart.finish().remove(0)))
    }

    #[test]
    fn only_what_is_decided_takes_effect() {
        let (applied, start) =
            restart(0, vec![entry(1, 1, 0), entry(2, 1, 0), entry(3, 2, 2)]).unwrap();
        assert_eq!(applied, [(1, 1), (2, 1)]);
        assert_eq!((start.base.index, start.base.term, start.committed), (0, 0, Index(2)));
        assert_eq!(start.applied, Index(2));
        let entries: Vec<_> = start.entries.iter().map(|e| (e.index.0, e.term.0)).collect();
        assert_eq!(entries, [(1, 1), (2, 1), (3, 2)]);
    }

    #[test]
    fn a_later_leader_replaces_what_was_not_decided() {
        let records =
            vec![entry(1, 1, 0), entry(2, 1, 1), entry(3, 1, 1), entry(2, 2, 1), entry(3, 2, 2)];
        let (applied, start) = restart(0, records).unwrap();
        assert_eq!(applied, [(1, 1), (2, 2)]);
        assert_eq!(start.entries.len(), 3);
        // The third leader had not heard of the second one's.
        let older = vec![entry(1, 1, 0), entry(2, 2, 0), entry(2, 1, 0), entry(3, 3, 0)];
        let (_, start) = restart(0, older).unwrap();
        let terms: Vec<_> = start.entries.iter().map(|entry| entry.term.0).collect();
        assert_eq!(terms, [1, 1, 3]);
        let decided = restart(0, vec![entry(1, 1, 0), entry(2, 1, 1), entry(1, 2, 1)]);
        assert!(matches!(decided, Err(Contradiction::Replaces { .. })));
        let backwards = restart(0, vec![entry(1, 2, 0), entry(2, 1, 0)]);
        assert!(matches!(backwards, Err(Contradiction::Replaces { .. })));
        // The file that had it may be a checkpoint: that its log is whole does not help then.
        let gap = restart(0, vec![entry(2, 1, 0)]).err().unwrap();
        assert!(matches!(gap, Contradiction::Gap { .. }), "{gap}");
        assert!(gap.to_string().contains("entry 1 is in none and in no sound checkpoint"), "{gap}");
    }

    /// Entries 3 and 4 of the first leader were replaced; the checkpoint is as of the second one's.
    #[test]
    fn what_was_replaced_before_the_checkpoint_is_not_looked_at() {
        let records = vec![
            entry(1, 1, 0),
            entry(2, 1, 1),
            entry(3, 1, 1),
            entry(4, 1, 1),
            entry(2, 2, 1),
            entry(3, 2, 2),
            entry(4, 2, 3),
        ];
        let (applied, start) = restart_behind((2, 2), records).unwrap();
        assert_eq!(applied, [(3, 2)]);
        assert_eq!((start.applied, start.entries.len()), (Index(3), 2));
    }

    /// What the second leader had left at 2 and 3 went when the third one brought the first
    /// one's 2, as of which the checkpoint is.
    #[test]
    fn what_stood_behind_an_entry_of_the_checkpoint_went_with_what_it_replaced() {
        let records = vec![entry(1, 1, 0), entry(2, 2, 1), entry(3, 2, 1), entry(2, 1, 1)];
        let (_, start) = restart_behind((2, 1), records).unwrap();
        assert_eq!((start.applied, start.entries.len()), (Index(2), 0));
    }

    #[test]
    fn a_decided_void_cuts_and_an_open_one_does_not() {
        let void = |decided| record(4, 2, decided, Content::Void { from: Index(2) });
        let front = || vec![entry(1, 1, 0), entry(2, 1, 1), entry(3, 1, 1)];
        let mut records = front();
        records.extend([void(1), entry(5, 2, 4)]);
        let (applied, start) = restart(0, records).unwrap();
        assert_eq!(applied, [(1, 1)]);
        assert_eq!((start.applied.0, start.entries.len()), (4, 5));
        let mut records = front();
        records.push(void(1));
        let (applied, start) = restart(0, records).unwrap();
        assert_eq!((applied.as_slice(), start.entries.len()), (&[(1, 1)][..], 4));
    }

    /// The first entry of a term that has not served, or what is voided; a marker ends that.
    #[test]
    fn a_start_knows_where_a_shard_has_ended() {
        let none = || Content::Entry { transaction: None, payload: Vec::new() };
        let first = |index, term| record(index, term, index - 1, none());
        let ended = |records| restart(0, records).unwrap().1.base.ended;
        let served = || vec![first(1, 1), record(2, 1, 1, Content::Marker), entry(3, 1, 2)];
        assert_eq!(ended(served()), None);
        let mut records = served();
        records.extend([first(4, 2), first(5, 3), entry(6, 3, 5)]);
        assert_eq!(ended(records), Some(Index(4)));
        let mut records = served();
        let void = record(5, 2, 2, Content::Void { from: Index(3) });
        records.extend([record(4, 2, 2, none()), void, entry(6, 2, 5)]);
        assert_eq!(ended(records), Some(Index(3)));
    }

    #[test]
    fn members_are_those_of_the_last_decided_entry() {
        let voters = |start: &GroupStart| start.base.members.voters.clone();
        let (_, start) = restart(1, vec![members(2, 7, false)]).unwrap();
        assert_eq!(voters(&start), [NodeId(9)], "entry 2 is not known to be decided");
        let front = || vec![entry(2, 1, 0), members(2, 7, false)];
        let mut records = front();
        records.extend([entry(3, 1, 2), members(3, 8, false)]);
        let (_, start) = restart(1, records).unwrap();
        assert_eq!(voters(&start), [NodeId(7)]);
        // One that was replaced had never taken effect, but its successor has.
        let mut records = front();
        records.extend([members(2, 6, false), entry(3, 1, 2)]);
        assert_eq!(voters(&restart(1, records).unwrap().1), [NodeId(6)]);
    }

    #[test]
    fn a_checkpoint_that_came_drops_what_was_before() {
        let records = || vec![entry(1, 1, 0), entry(2, 1, 0), entry(9, 1, 0), members(5, 3, true)];
        assert!(matches!(restart(0, records()), Err(Contradiction::Gap { .. })));
        let lacking = vec![entry(1, 1, 0), members(5, 3, true)];
        assert!(matches!(restart(0, lacking), Err(Contradiction::LacksBase { .. })));
        let (applied, start) = restart(5, vec![entry(6, 1, 0), members(5, 3, true)]).unwrap();
        assert!(applied.is_empty() && start.entries.is_empty());
        let records = vec![entry(6, 1, 0), members(5, 3, true), entry(6, 1, 0), entry(7, 2, 6)];
        let (applied, start) = restart(5, records).unwrap();
        assert_eq!((applied.as_slice(), start.entries.len()), (&[(6, 1)][..], 2));
        assert_eq!((start.base.index, start.applied.0), (5, 6));
    }

    #[test]
    fn the_last_decided_entries_are_kept_within_a_bound() {
        let large = |index: u64| {
            let payload = vec![1; KEPT_BYTES / 4];
            record(index, 1, index - 1, Content::Entry { transaction: None, payload })
        };
        let (_, start) = restart(0, (1..=9).map(large).collect()).unwrap();
        assert_eq!((start.base.index, start.base.term, start.applied.0), (5, 1, 8));
        assert_eq!(start.entries.len(), 4);
    }
}
