//! What a start finds of each shard's entries in one core's log: their terms, as far back as the
//! log has all of them.
//!
//! A shard may have been at home on another core meanwhile, whose log then has what replaced some
//! of these. Every start says a shard's vote again in the log of the core that is its home, no
//! other core's log has any record of it, and every start has a number of its own: where the
//! numbers of a shard's records have a gap, nothing before counts.

use std::collections::BTreeMap;

use super::record::{RecordHeader, RecordKind};
use crate::group::terms::TermRuns;
use crate::ids::{Incarnation, Index, ShardId, Term};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct OfShard {
    terms: TermRuns,
    /// Of the last record.
    incarnation: Incarnation,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    by_shard: BTreeMap<ShardId, OfShard>,
}

impl Kept {
    /// The next record of the log.
    pub fn note(&mut self, header: &RecordHeader) {
        let RecordHeader { kind, shard, index, term, incarnation, fragment, .. } = *header;
        if !kind.has_index() && kind != RecordKind::Vote {
            return;
        }
        let of_shard = self.by_shard.entry(shard).or_default();
        if incarnation.0 > of_shard.incarnation.0 + 1 {
            of_shard.terms.clear();
        }
        of_shard.incarnation = incarnation;
        if kind == RecordKind::Base {
            of_shard.terms.clear();
        } else if kind.is_entry() && fragment.last {
            of_shard.terms.note(index, term);
        }
    }

    /// The terms of a shard's entries up to one that is decided, for the start that follows: empty
    /// if the log has not all of them, or none.
    pub fn terms_until(
        &self,
        shard: ShardId,
        (index, term): (Index, Term),
        start: Incarnation,
    ) -> TermRuns {
        let Some(of_shard) = self.by_shard.get(&shard) else { return TermRuns::default() };
        let mut terms = of_shard.terms.clone();
        terms.cut_behind(index);
        let whole = of_shard.incarnation.0 + 1 == start.0
            && terms.last() == Some(index)
            && terms.get(index) == Some(term);
        if whole { terms } else { TermRuns::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Fragment;
    use super::*;
    use crate::ids::Lsn;

    const SHARD: ShardId = ShardId(3);

    fn note(kept: &mut Kept, kind: RecordKind, incarnation: u64, (index, term): (u64, u64)) {
        kept.note(&RecordHeader {
            kind,
            fragment: Fragment::WHOLE,
            lsn: Lsn(0),
            incarnation: Incarnation(incarnation),
            durable: Lsn(0),
            term: Term(term),
            index: Index(index),
            shard: SHARD,
            participants: 0,
            decided: Index(0),
            payload_len: 0,
            previous_crc: 0,
        });
    }

    fn entries(incarnation: u64, entries: &[(u64, u64)]) -> Kept {
        let mut kept = Kept::default();
        entries.iter().for_each(|entry| note(&mut kept, RecordKind::Entry, incarnation, *entry));
        kept
    }

    fn known(kept: &Kept, last: (u64, u64), start: u64) -> Vec<(u64, u64)> {
        let terms = kept.terms_until(SHARD, (Index(last.0), Term(last.1)), Incarnation(start));
        (0..20).filter_map(|n| Some((n, terms.get(Index(n))?.0))).collect()
    }

    #[test]
    fn terms_are_known_up_to_what_is_decided() {
        let kept = entries(1, &[(4, 1), (5, 1), (6, 1), (5, 2), (6, 3)]);
        assert_eq!(known(&kept, (5, 2), 2), [(4, 1), (5, 2)]);
        assert_eq!(known(&kept, (6, 3), 2), [(4, 1), (5, 2), (6, 3)]);
        // Another log has had that one.
        assert_eq!(known(&kept, (5, 3), 2), []);
        assert_eq!(known(&kept, (7, 3), 2), []);
        assert_eq!(known(&Kept::default(), (5, 2), 2), []);
    }

    #[test]
    fn what_is_before_a_start_elsewhere_does_not_count() {
        let mut kept = entries(1, &[(4, 1), (5, 1)]);
        // The shard stays: its vote is said again.
        note(&mut kept, RecordKind::Vote, 2, (0, 1));
        assert_eq!(known(&kept, (5, 1), 3), [(4, 1), (5, 1)]);
        // It was elsewhere in the start after that, or will have been.
        assert_eq!(known(&kept, (5, 1), 4), []);
        note(&mut kept, RecordKind::Vote, 4, (0, 1));
        note(&mut kept, RecordKind::Entry, 4, (6, 2));
        assert_eq!(known(&kept, (6, 2), 5), [(6, 2)]);
    }

    #[test]
    fn what_is_before_a_checkpoint_of_another_node_does_not_count() {
        let mut kept = entries(1, &[(4, 1), (5, 1)]);
        note(&mut kept, RecordKind::Base, 1, (9, 2));
        note(&mut kept, RecordKind::Entry, 1, (10, 2));
        assert_eq!(known(&kept, (10, 2), 2), [(10, 2)]);
    }
}
