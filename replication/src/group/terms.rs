//! The terms of entries that follow each other, as runs: a term holds from one entry on until the
//! next run begins. There are few of them, so those of a log that is not in memory are.

use std::collections::VecDeque;

use crate::fault::{Fault, is_planted};
use crate::ids::{Index, Term};

/// Invariant: the runs' first indexes ascend, neighbours differ in their terms, and `last` is at or
/// behind the last run's first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TermRuns {
    /// The first entry of each run.
    runs: VecDeque<(Index, Term)>,
    /// The last entry of all; of no account without runs.
    last: Index,
}

impl TermRuns {
    /// An entry is there: it replaces one of its index and all behind that. One that does not
    /// follow the last one begins anew.
    pub fn note(&mut self, index: Index, term: Term) {
        let follows = self.first().is_some_and(|first| index > first && index.0 <= self.last.0 + 1);
        if !follows {
            self.runs.clear();
        }
        if !is_planted(Fault::ReplacedTermsKept) {
            self.cut_behind(Index(index.0.saturating_sub(1)));
        }
        if self.runs.back().is_none_or(|(_, last)| *last != term) {
            self.runs.push_back((index, term));
        }
        self.last = self.last.max(index);
        if !is_planted(Fault::ReplacedTermsKept) {
            self.last = index;
        }
    }

    pub fn clear(&mut self) {
        self.runs.clear();
    }

    pub fn first(&self) -> Option<Index> {
        self.runs.front().map(|(first, _)| *first)
    }

    pub fn last(&self) -> Option<Index> {
        self.first().map(|_| self.last)
    }

    pub fn get(&self, index: Index) -> Option<Term> {
        if self.last().is_none_or(|last| index > last) {
            return None;
        }
        let behind = self.runs.partition_point(|(first, _)| *first <= index);
        Some(self.runs[behind.checked_sub(1)?].1)
    }

    /// Forgets the entries before this one.
    pub fn cut_before(&mut self, index: Index) {
        if self.last().is_none_or(|last| index > last) {
            return self.runs.clear();
        }
        while self.runs.get(1).is_some_and(|(next, _)| *next <= index) {
            self.runs.pop_front();
        }
        if let Some((first, _)) = self.runs.front_mut() {
            *first = index.max(*first);
        }
    }

    /// Forgets the entries behind this one.
    pub fn cut_behind(&mut self, index: Index) {
        while self.runs.back().is_some_and(|(first, _)| *first > index) {
            self.runs.pop_back();
        }
        self.last = self.last.min(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(noted: &[(u64, u64)]) -> TermRuns {
        let mut runs = TermRuns::default();
        noted.iter().for_each(|(index, term)| runs.note(Index(*index), Term(*term)));
        runs
    }

    fn all(runs: &TermRuns) -> Vec<(u64, u64)> {
        (0..20).filter_map(|n| Some((n, runs.get(Index(n))?.0))).collect()
    }

    #[test]
    fn an_entry_replaces_what_is_behind_it_and_a_gap_begins_anew() {
        let mut kept = runs(&[(3, 1), (4, 1), (5, 2), (6, 2)]);
        assert_eq!(all(&kept), [(3, 1), (4, 1), (5, 2), (6, 2)]);
        assert_eq!((kept.first(), kept.last()), (Some(Index(3)), Some(Index(6))));
        kept.note(Index(4), Term(3));
        assert_eq!(all(&kept), [(3, 1), (4, 3)]);
        kept.note(Index(5), Term(3));
        assert_eq!(kept.runs.len(), 2);
        kept.note(Index(9), Term(3));
        assert_eq!(all(&kept), [(9, 3)]);
        // All of it is replaced.
        kept.note(Index(8), Term(4));
        assert_eq!(all(&kept), [(8, 4)]);
        assert_eq!(all(&TermRuns::default()), []);
    }

    #[test]
    fn both_ends_are_cut_anywhere() {
        let whole = runs(&[(3, 1), (4, 1), (5, 2), (6, 2), (7, 5)]);
        for from in 0..=9 {
            for through in 2..=9 {
                let mut cut = whole.clone();
                cut.cut_before(Index(from));
                cut.cut_behind(Index(through));
                let within = |(index, _): &(u64, u64)| (from..=through).contains(index);
                let expected: Vec<_> = all(&whole).into_iter().filter(within).collect();
                assert_eq!(all(&cut), expected, "{from} to {through}");
                assert_eq!(cut.first().map(|f| f.0), expected.first().map(|(index, _)| *index));
                assert_eq!(cut.last().map(|l| l.0), expected.last().map(|(index, _)| *index));
            }
        }
    }
}
