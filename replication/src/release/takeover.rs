//! What becomes of the transactions that the leaders of before left open, once one node leads all
//! shards: each of its groups has committed an entry of the node's own term, and none has another
//! leader by now, so that what is not in its logs will never be. Pure.
//!
//! A transaction of which every part is there takes effect; each shard's log is voided from the
//! first on of which some part is missing, or is voided (design §9). Nobody can have released any
//! of that: who decides needs to see all parts, and everything undecided before them.
//!
//! Of what lies at or before a shard's release point nothing is known but that it is decided. Parts
//! of open transactions that lie there took effect, unless they were voided or never were there:
//! the entry of that index is of a leader after the one that made the transaction, and none of
//! those has served, or it would have settled it. So where the first such leader began, or voided,
//! is remembered until one serves, which it does only once what it voids is committed in every
//! shard, and checkpoints say it too.

use std::sync::Arc;

use crate::fault::{Fault, is_planted};
use crate::ids::{Index, ShardId, TransactionId};

use super::{Participant, Release, Transaction};

/// A shard's log as its new leader has it, all of it committed.
#[derive(Clone, Debug, Default)]
pub struct Log {
    pub last: Index,
    /// Everything up to here is decided.
    pub point: Index,
    /// See [`Release::note_ended`].
    pub ended: Option<Index>,
    /// Behind the point, ascending.
    pub open: Vec<(Index, Arc<Transaction>)>,
}

impl Release {
    /// A shard's log, which ends with this entry.
    pub fn log(&self, shard: ShardId, last: Index) -> Log {
        let state = &self.shards[usize::from(shard.0)];
        let open = state.undecided.iter();
        let open = open.map(|open| (open.index, Arc::clone(&open.transaction))).collect();
        Log { last, point: state.point, ended: state.ended, open }
    }
}

/// From which entry on each shard's log is to be voided; what stands open before that takes effect.
/// `logs` are those of all shards.
pub fn find_cuts(logs: &[Log]) -> Vec<Option<Index>> {
    let mut cuts: Vec<Option<Index>> = vec![None; logs.len()];
    while !is_planted(Fault::OpenTaken) {
        let mut changed = false;
        for place in 0..logs.len() {
            let cut = first_cut(logs, place, &cuts);
            changed |= cut != cuts[place];
            cuts[place] = cut;
        }
        if !changed {
            break;
        }
    }
    cuts
}

fn first_cut(logs: &[Log], place: usize, cuts: &[Option<Index>]) -> Option<Index> {
    let own = ShardId(place as u16);
    let mut open = logs[place].open.iter();
    let lacking = open.find(|(_, transaction)| {
        let mut others = transaction.participants.iter().filter(|part| part.shard != own);
        !others.all(|part| has(logs, part, transaction.id, cuts))
    });
    match (lacking.map(|(index, _)| *index), cuts[place]) {
        (Some(index), Some(cut)) => Some(index.min(cut)),
        (index, cut) => index.or(cut),
    }
}

/// Whether a part of a transaction is there, and has or will have effect.
fn has(logs: &[Log], part: &Participant, id: TransactionId, cuts: &[Option<Index>]) -> bool {
    let place = usize::from(part.shard.0);
    let Some(log) = logs.get(place) else { return false };
    if is_planted(Fault::PartAssumed) {
        return part.index <= log.last;
    }
    if part.index <= log.point {
        let ended = log.ended.filter(|_| !is_planted(Fault::EndForgotten));
        return ended.is_none_or(|ended| part.index < ended);
    }
    let Ok(found) = log.open.binary_search_by_key(&part.index, |(index, _)| *index) else {
        return false;
    };
    log.open[found].1.id == id && cuts[place].is_none_or(|cut| part.index < cut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{CoreId, Incarnation};

    fn transaction(counter: u64, parts: &[(u16, u64)]) -> Arc<Transaction> {
        let part = |(shard, index): &(u16, u64)| Participant {
            shard: ShardId(*shard),
            index: Index(*index),
        };
        let participants = parts.iter().map(part).collect();
        let id = TransactionId { node: 1, incarnation: Incarnation(1), core: CoreId(0), counter };
        Arc::new(Transaction { id, participants })
    }

    fn log(last: u64, point: u64, shard: u16, open: &[&Arc<Transaction>]) -> Log {
        let part = |tx: &&Arc<Transaction>| (tx.index_in(ShardId(shard)).unwrap(), Arc::clone(tx));
        let open = open.iter().map(part).collect();
        Log { last: Index(last), point: Index(point), ended: None, open }
    }

    #[test]
    fn what_is_whole_takes_effect() {
        let (a, b) = (transaction(1, &[(0, 5), (1, 7)]), transaction(2, &[(1, 9), (2, 3)]));
        let logs = [log(6, 4, 0, &[&a]), log(10, 6, 1, &[&a, &b]), log(4, 2, 2, &[&b])];
        assert_eq!(find_cuts(&logs), [None, None, None]);
        // Shard 0 has decided it, and no more is known.
        let logs = [log(6, 6, 0, &[]), log(10, 6, 1, &[&a, &b]), log(4, 2, 2, &[&b])];
        assert_eq!(find_cuts(&logs), [None, None, None]);
    }

    #[test]
    fn what_rests_on_a_missing_part_goes_with_it() {
        let (a, b) = (transaction(1, &[(0, 5), (1, 7)]), transaction(2, &[(1, 9), (2, 3)]));
        let c = transaction(3, &[(2, 4), (3, 1)]);
        let logs = [
            log(4, 4, 0, &[]),
            log(10, 6, 1, &[&a, &b]),
            log(4, 2, 2, &[&b, &c]),
            log(1, 0, 3, &[&c]),
        ];
        assert_eq!(find_cuts(&logs), [None, Some(Index(7)), Some(Index(3)), Some(Index(1))]);
    }

    #[test]
    fn another_entry_in_its_place_is_not_it() {
        let (a, other) = (transaction(1, &[(0, 5), (1, 7)]), transaction(2, &[(0, 5), (2, 2)]));
        let logs = [log(9, 4, 0, &[&other]), log(8, 6, 1, &[&a]), log(2, 1, 2, &[&other])];
        assert_eq!(find_cuts(&logs), [None, Some(Index(7)), None]);
        // An entry of the new leader, say.
        let logs = [log(9, 4, 0, &[]), log(8, 6, 1, &[&a]), log(2, 1, 2, &[])];
        assert_eq!(find_cuts(&logs), [None, Some(Index(7)), None]);
    }

    /// It was voided, or a leader began there that did not serve.
    #[test]
    fn a_part_that_is_decided_was_there_only_if_the_shard_had_not_ended() {
        let a = transaction(1, &[(0, 5), (1, 7)]);
        for (ended, cut) in [(5, Some(Index(7))), (6, None)] {
            let mut decided = log(9, 9, 0, &[]);
            decided.ended = Some(Index(ended));
            let logs = [decided, log(8, 6, 1, &[&a])];
            assert_eq!(find_cuts(&logs), [None, cut]);
        }
    }
}
