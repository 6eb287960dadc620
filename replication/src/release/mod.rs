//! Up to where the replies of each shard may leave: what is committed, and past no transaction over
//! several shards whose fate is open (design §9). Pure; one on each core, for the shards it owns.
//!
//! - [`transaction`]: what the entries of one transaction say.
//! - [`resolve`]: the same question after a crash, with all logs at hand.
//! - [`takeover`]: the same for a node that leads from now on, with all its shards at hand.
//!
//! An owner reports to the other participants' owners that its part is committed. A transaction is
//! decided once every part is reported and everything undecided before it in this shard's log is.
//! Without the second condition an earlier transaction that fails could void what was released
//! elsewhere; hence also when a report is sent: while something undecided stands before the
//! transaction in the sender's log, only to those who have that in their own log too, and so wait
//! for it themselves.
//!
//! Where other nodes have the shards too, each of them decides like that by what it has of all
//! shards. A node that has a part but does not see the others' (a checkpoint has them) waits until
//! the leader's entries say that it is decided.

pub mod resolve;
pub mod takeover;
#[cfg(test)]
mod tests;
pub mod transaction;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::fault::{Fault, is_planted};
use crate::ids::{Index, ShardId, TransactionId};
pub use transaction::{Participant, Transaction};

/// "My part of this transaction is committed, and so is what it rests on", one shard to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Report {
    pub transaction: TransactionId,
    pub from: ShardId,
    /// The receiver and its entry.
    pub to: ShardId,
    pub to_index: Index,
}

/// A transaction in a shard's log whose fate is open.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Undecided {
    index: Index,
    transaction: Arc<Transaction>,
    /// Participants that have not reported.
    missing: Vec<ShardId>,
    /// Participants that are not told of this part yet.
    untold: Vec<ShardId>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Shard {
    committed: Index,
    /// Everything up to here is committed and decided.
    point: Index,
    undecided: VecDeque<Undecided>,
    advanced: bool,
    /// The last entry that was part of a transaction.
    last_part: Index,
    /// Up to here its log says what is decided.
    marked: Index,
    /// From here on nothing is part of a transaction: a leader that has yet to serve began there,
    /// or entries from there on are voided. Other shards may not have heard of it.
    ended: Option<Index>,
}

/// The release points of a core's shards. A model of a cluster explores its states
/// (`tests/tests/model_takeover`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Release {
    shards: Vec<Shard>,
    /// Reports that came before the entry they are for, by receiver.
    early: BTreeMap<(ShardId, Index), Vec<Report>>,
    early_count: usize,
    /// More of them are not kept: of a shard that lags behind the others' the leader's word comes.
    early_max: usize,
    /// To be sent.
    reports: VecDeque<Report>,
    /// Shards whose point moved since they were last asked for.
    advanced: Vec<ShardId>,
}

impl Release {
    /// Of a node with so many shards, whatever their owners.
    pub fn new(shards: usize) -> Release {
        Release {
            shards: (0..shards).map(|_| Shard::default()).collect(),
            early: BTreeMap::new(),
            early_count: 0,
            early_max: usize::MAX,
            reports: VecDeque::new(),
            advanced: Vec::new(),
        }
    }

    /// Keeps no more than so many reports for entries that have not come. Only where somebody else
    /// says in the end what is decided.
    pub fn limit_early(&mut self, count_max: usize) {
        self.early_max = count_max;
    }

    /// All that was reported so far is of transactions that are decided; from now on nothing of
    /// what comes may be lost.
    pub fn begin_deciding(&mut self) {
        self.early.clear();
        (self.early_count, self.early_max) = (0, usize::MAX);
    }

    /// Drops what is kept for entries of a shard that this holds for.
    fn drop_early(&mut self, shard: ShardId, holds: impl Fn(Index) -> bool) {
        self.early.retain(|(of, index), _| *of != shard || !holds(*index));
        self.early_count = self.early.values().map(Vec::len).sum();
    }

    /// A shard goes on behind a log in which everything up to this entry is decided.
    pub fn resume(&mut self, shard: ShardId, index: Index) {
        let state = &mut self.shards[usize::from(shard.0)];
        assert!(state.undecided.is_empty(), "a shard resumes before it has entries");
        (state.committed, state.point) = (index, index);
    }

    /// What a shard's checkpoint and log say of [`Release::note_ended`].
    pub fn resume_ended(&mut self, shard: ShardId, ended: Option<Index>) {
        if self.shards.len() > 1 {
            self.shards[usize::from(shard.0)].ended = ended;
        }
    }

    /// What is behind this entry was never released and is forgotten; the shard goes on from here
    /// with entries of another leader.
    pub fn reset(&mut self, shard: ShardId, index: Index) {
        self.drop_early(shard, |_| true);
        let state = &mut self.shards[usize::from(shard.0)];
        assert!(index >= state.point, "what is released stays");
        state.undecided.clear();
        (state.committed, state.point) = (index, index);
    }

    /// Everything of the shard up to here is committed and decided.
    pub fn point(&self, shard: ShardId) -> Index {
        self.shards[usize::from(shard.0)].point
    }

    /// Whether a shard has entries that are committed but undecided, or undecided ones at all.
    pub fn is_idle(&self) -> bool {
        self.shards.iter().all(|shard| shard.undecided.is_empty())
    }

    /// An entry that belongs to a transaction was appended to its shard's log. Entries that belong
    /// to none need not be told of.
    pub fn begin(&mut self, shard: ShardId, index: Index, transaction: Arc<Transaction>) {
        assert_eq!(transaction.index_in(shard), Some(index), "an entry names itself");
        let others = || transaction.participants.iter().map(|part| part.shard);
        let mut missing: Vec<ShardId> = others().filter(|other| *other != shard).collect();
        let untold = missing.clone();
        let early = self.early.remove(&(shard, index)).unwrap_or_default();
        self.early_count -= early.len();
        for report in early {
            if report.transaction == transaction.id {
                missing.retain(|other| *other != report.from);
            }
        }
        let state = &mut self.shards[usize::from(shard.0)];
        state.last_part = index;
        assert!(index > state.committed, "begun before it is committed");
        state.undecided.push_back(Undecided { index, transaction, missing, untold });
    }

    /// Everything of the shard up to this entry is committed.
    pub fn commit(&mut self, shard: ShardId, index: Index) {
        let state = &mut self.shards[usize::from(shard.0)];
        state.committed = state.committed.max(index);
        if !state.undecided.is_empty() {
            self.report_committed(shard);
        }
        self.decide(shard);
    }

    /// What is committed of a shard is decided up to here, as its leader says or has found.
    pub fn decide_through(&mut self, shard: ShardId, index: Index) {
        let state = &mut self.shards[usize::from(shard.0)];
        let through = index.min(state.committed);
        while let Some(open) = state.undecided.front_mut()
            && open.index <= through
        {
            open.tell(shard, None, &mut self.reports);
            state.undecided.pop_front();
        }
        if !state.undecided.is_empty() {
            self.report_committed(shard);
        }
        self.decide(shard);
    }

    /// Entries of a shard are voided from `from` on, by its entry `at`.
    pub fn void(&mut self, shard: ShardId, from: Index, at: Index) {
        self.drop_early(shard, |index| index <= at);
        let state = &mut self.shards[usize::from(shard.0)];
        assert!(from > state.point, "what is released stays");
        while state.undecided.back().is_some_and(|open| open.index >= from) {
            state.undecided.pop_back();
        }
    }

    /// The shard's entries from here on are no parts of transactions until a leader serves: they
    /// are those of leaders that do not yet, or voided.
    pub fn note_ended(&mut self, shard: ShardId, index: Index) {
        if self.shards.len() > 1 {
            let ended = &mut self.shards[usize::from(shard.0)].ended;
            *ended = Some(ended.map_or(index, |ended| ended.min(index)));
        }
    }

    /// A leader serves: whatever it found open is settled in all shards.
    pub fn note_served(&mut self, shard: ShardId) {
        self.shards[usize::from(shard.0)].ended = None;
    }

    /// See [`Release::note_ended`]. A checkpoint must say it.
    pub fn ended(&self, shard: ShardId) -> Option<Index> {
        self.shards[usize::from(shard.0)].ended
    }

    /// An entry that says what is decided was appended.
    pub fn note_marked(&mut self, shard: ShardId, decided: Index) {
        let state = &mut self.shards[usize::from(shard.0)];
        state.marked = state.marked.max(decided);
    }

    /// Whether a transaction of the shard is decided and its log does not say so.
    pub fn lacks_marker(&self, shard: ShardId) -> bool {
        let state = &self.shards[usize::from(shard.0)];
        state.marked < state.last_part && state.last_part <= state.point
    }

    /// Whether [`Release::lacks_marker`] is so of a shard, or may be once more is decided.
    pub fn may_lack_markers(&self) -> bool {
        self.shards.iter().any(|state| state.marked < state.last_part)
    }

    /// Another participant has committed its part.
    pub fn on_report(&mut self, report: Report) {
        let state = &mut self.shards[usize::from(report.to.0)];
        let place = state.undecided.binary_search_by_key(&report.to_index, |open| open.index);
        match place {
            Ok(place) => {
                let open = &mut state.undecided[place];
                if open.transaction.id == report.transaction {
                    open.missing.retain(|shard| *shard != report.from);
                }
            }
            // Decided already: a report that came twice.
            Err(_) if report.to_index <= state.point => return,
            Err(_) if self.early_count >= self.early_max => return,
            Err(_) => {
                self.early_count += 1;
                let early = self.early.entry((report.to, report.to_index)).or_default();
                return early.push(report);
            }
        }
        self.decide(report.to);
    }

    /// The next report to be sent to its receiver's owner.
    pub fn poll_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    /// A shard whose point moved; each once.
    pub fn poll_advanced(&mut self) -> Option<(ShardId, Index)> {
        let shard = self.advanced.pop()?;
        let state = &mut self.shards[usize::from(shard.0)];
        state.advanced = false;
        Some((shard, state.point))
    }

    /// Tells of committed parts whom it can tell now.
    fn report_committed(&mut self, shard: ShardId) {
        let state = &mut self.shards[usize::from(shard.0)];
        let mut before: Option<&Transaction> = None;
        for open in &mut state.undecided {
            if open.index > state.committed {
                break;
            }
            open.tell(shard, before, &mut self.reports);
            before = Some(&open.transaction);
        }
    }

    /// Decides what can be, in the log's order.
    fn decide(&mut self, shard: ShardId) {
        let state = &mut self.shards[usize::from(shard.0)];
        let mut decided = false;
        while let Some(open) = state.undecided.front_mut() {
            if open.index > state.committed {
                break;
            }
            if decided {
                // What stood before it is decided now: nobody has to wait for its report.
                open.tell(shard, None, &mut self.reports);
            }
            if !open.missing.is_empty() && !is_planted(Fault::DecidedEarly) {
                break;
            }
            state.undecided.pop_front();
            decided = true;
        }
        let point = match state.undecided.front() {
            Some(open) => Index(state.committed.0.min(open.index.0 - 1)),
            None => state.committed,
        };
        if point > state.point {
            state.point = point;
            if !std::mem::replace(&mut state.advanced, true) {
                self.advanced.push(shard);
            }
        }
    }
}

impl Undecided {
    /// Reports that this part, of `shard`, is committed to all that may hear it while `before`
    /// stands undecided before it.
    fn tell(
        &mut self,
        shard: ShardId,
        before: Option<&Transaction>,
        reports: &mut VecDeque<Report>,
    ) {
        let Undecided { transaction, untold, .. } = self;
        untold.retain(|to| {
            let waits = before.is_some_and(|before| before.index_in(*to).is_none())
                && !is_planted(Fault::PredecessorIgnored);
            if !waits && let Some(to_index) = transaction.index_in(*to) {
                let transaction = transaction.id;
                reports.push_back(Report { transaction, from: shard, to: *to, to_index });
            }
            waits
        });
    }
}
