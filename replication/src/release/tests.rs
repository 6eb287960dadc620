//! Random histories of a node with several logs: transactions, durability, reports in any order,
//! crashes that keep any part of what was not durable, and other owners after each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::resolve::{Content, Contradiction, Ending, Placed, Resolver};
use super::*;
use crate::ids::{CoreId, Incarnation, Term};

const SHARDS: u16 = 5;
const CORES: u16 = 3;

#[derive(Clone)]
enum What {
    Entry { transaction: Option<Transaction>, value: u64 },
    Void { from: Index },
}

#[derive(Clone)]
struct Record {
    shard: ShardId,
    index: Index,
    decided: Index,
    what: What,
}

#[derive(Default)]
struct Log {
    records: Vec<Record>,
    durable: usize,
}

/// A tape of choices.
struct Choices<'a>(std::slice::Iter<'a, u16>);

impl Choices<'_> {
    fn below(&mut self, end: usize) -> usize {
        self.0.next().map_or(0, |choice| usize::from(*choice) % end)
    }
}

struct Node {
    logs: Vec<Log>,
    releases: Vec<Release>,
    /// Entries that their shard's owner has not appended yet: the shard is on its way home.
    going_home: Vec<Record>,
    wire: Vec<Report>,
    next_index: Vec<u64>,
    /// Moves the shards to other owners after each start.
    start: u16,
    values: u64,
    transactions: u64,
    acknowledged: BTreeSet<u64>,
    /// The values of each transaction.
    parts: BTreeMap<TransactionId, Vec<u64>>,
    /// Values by shard and index, of this start.
    placed: BTreeMap<(u16, u64), u64>,
}

impl Node {
    fn new() -> Node {
        Node {
            logs: (0..CORES).map(|_| Log::default()).collect(),
            releases: (0..CORES).map(|_| Release::new(usize::from(SHARDS))).collect(),
            going_home: Vec::new(),
            wire: Vec::new(),
            next_index: vec![1; usize::from(SHARDS)],
            start: 0,
            values: 0,
            transactions: 0,
            acknowledged: BTreeSet::new(),
            parts: BTreeMap::new(),
            placed: BTreeMap::new(),
        }
    }

    fn owner(&self, shard: ShardId) -> usize {
        usize::from((shard.0 + self.start) % CORES)
    }

    fn is_away(&self, shard: u16) -> bool {
        self.going_home.iter().any(|record| record.shard.0 == shard)
    }

    fn new_value(&mut self, shard: ShardId) -> (Index, u64) {
        let next = &mut self.next_index[usize::from(shard.0)];
        let index = Index(*next);
        *next += 1;
        self.values += 1;
        self.placed.insert((shard.0, index.0), self.values);
        (index, self.values)
    }

    fn write(&mut self, choices: &mut Choices<'_>) {
        let shard = ShardId(choices.below(usize::from(SHARDS)) as u16);
        if self.is_away(shard.0) {
            return;
        }
        let (index, value) = self.new_value(shard);
        let what = What::Entry { transaction: None, value };
        self.append(Record { shard, index, decided: Index(0), what });
    }

    fn transact(&mut self, choices: &mut Choices<'_>) {
        let mut shards = BTreeSet::new();
        for _ in 0..2 + choices.below(3) {
            shards.insert(choices.below(usize::from(SHARDS)) as u16);
        }
        if shards.len() < 2 || shards.iter().any(|shard| self.is_away(*shard)) {
            return;
        }
        self.transactions += 1;
        let id = TransactionId {
            node: 1,
            incarnation: Incarnation(u64::from(self.start)),
            core: CoreId(0),
            counter: self.transactions,
        };
        let placed: Vec<_> = shards
            .into_iter()
            .map(|shard| (ShardId(shard), self.new_value(ShardId(shard))))
            .collect();
        let part = |&(shard, (index, _)): &(ShardId, (Index, u64))| Participant { shard, index };
        let participants: Box<[Participant]> = placed.iter().map(part).collect();
        self.parts.insert(id, placed.iter().map(|(_, (_, value))| *value).collect());
        for (shard, (index, value)) in placed {
            let transaction = Transaction { id, participants: participants.clone() };
            let what = What::Entry { transaction: Some(transaction), value };
            self.going_home.push(Record { shard, index, decided: Index(0), what });
        }
    }

    fn append(&mut self, mut record: Record) {
        let owner = self.owner(record.shard);
        record.decided = self.releases[owner].point(record.shard);
        if let What::Entry { transaction: Some(transaction), .. } = &record.what {
            let shared = Arc::new(transaction.clone());
            self.releases[owner].begin(record.shard, record.index, shared);
        }
        self.logs[owner].records.push(record);
    }

    fn bring_home(&mut self, choices: &mut Choices<'_>) {
        if !self.going_home.is_empty() {
            let place = choices.below(self.going_home.len());
            let record = self.going_home.remove(place);
            self.append(record);
        }
    }

    fn sync(&mut self, core: usize, count: usize) {
        let log = &mut self.logs[core];
        for record in log.records.iter().skip(log.durable).take(count) {
            self.releases[core].commit(record.shard, record.index);
        }
        log.durable = (log.durable + count).min(log.records.len());
        self.collect();
    }

    fn deliver(&mut self, choices: &mut Choices<'_>) {
        if self.wire.is_empty() {
            return;
        }
        let place = choices.below(self.wire.len());
        let again = choices.below(8) == 7;
        let report = if again { self.wire[place] } else { self.wire.swap_remove(place) };
        let owner = self.owner(report.to);
        self.releases[owner].on_report(report);
        self.collect();
    }

    /// What the owners say: reports, and what may be acknowledged.
    fn collect(&mut self) {
        for core in 0..usize::from(CORES) {
            self.wire.extend(std::iter::from_fn(|| self.releases[core].poll_report()));
            while let Some((shard, point)) = self.releases[core].poll_advanced() {
                let range = (shard.0, 0)..=(shard.0, point.0);
                self.acknowledged.extend(self.placed.range(range).map(|(_, value)| *value));
            }
        }
    }

    /// A crash that keeps of each log what is durable and perhaps some more, and another start.
    fn crash(&mut self, choices: &mut Choices<'_>) -> Result<(), TestCaseError> {
        for log in &mut self.logs {
            let kept = log.durable + choices.below(log.records.len() - log.durable + 1);
            log.records.truncate(kept);
            log.durable = kept;
        }
        self.start += 1;
        self.wire.clear();
        self.going_home.clear();
        self.releases = (0..CORES).map(|_| Release::new(usize::from(SHARDS))).collect();
        let mut found = BTreeMap::new();
        let endings =
            recover(&self.logs, &mut found).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let values: BTreeSet<u64> = found.values().copied().collect();
        for value in &self.acknowledged {
            prop_assert!(values.contains(value), "{value} was acknowledged and is lost");
        }
        for (id, parts) in &self.parts {
            let there = parts.iter().filter(|value| values.contains(value)).count();
            prop_assert!(there == 0 || there == parts.len(), "half of {id:?}");
        }
        self.placed = found;
        for (place, ending) in endings.into_iter().enumerate() {
            let shard = ShardId(place as u16);
            let owner = self.owner(shard);
            let mut used = ending.used;
            if let Some(from) = ending.void_from {
                used.0 += 1;
                let what = What::Void { from };
                let decided = Index(from.0 - 1);
                self.logs[owner].records.push(Record { shard, index: used, decided, what });
            }
            self.releases[owner].resume(shard, used);
            self.next_index[place] = used.0 + 1;
        }
        Ok(())
    }

    /// Everything lands and is told: nothing stays undecided.
    fn settle(&mut self, choices: &mut Choices<'_>) -> Result<(), TestCaseError> {
        while !self.going_home.is_empty() {
            self.bring_home(choices);
        }
        for core in 0..usize::from(CORES) {
            self.sync(core, usize::MAX >> 1);
        }
        let mut rounds = 0;
        while !self.wire.is_empty() {
            self.deliver(choices);
            rounds += 1;
            prop_assert!(rounds < 100_000, "reports without end");
        }
        for shard in (0..SHARDS).map(ShardId) {
            let last = Index(self.next_index[usize::from(shard.0)] - 1);
            prop_assert_eq!(self.releases[self.owner(shard)].point(shard), last);
        }
        prop_assert!(self.releases.iter().all(Release::is_idle));
        prop_assert!(self.releases.iter().all(|release| release.early.is_empty()));
        Ok(())
    }
}

/// Reads the logs as a start does, each shard's entries in order, from whichever log has the next.
fn recover(
    logs: &[Log],
    found: &mut BTreeMap<(u16, u64), u64>,
) -> Result<Vec<Ending>, Contradiction> {
    let mut resolver = Resolver::new(&[Index(0); SHARDS as usize]);
    let mut heads: Vec<VecDeque<Record>> =
        logs.iter().map(|log| log.records.clone().into()).collect();
    let mut apply = |shard: ShardId, index: Index, value: u64| {
        found.insert((shard.0, index.0), value);
        Ok(())
    };
    loop {
        let next = heads.iter_mut().find(|head| {
            head.front().is_some_and(|r| resolver.next_index(r.shard) == Some(r.index))
        });
        let Some(record) = next.and_then(VecDeque::pop_front) else { break };
        let content = match record.what {
            What::Entry { transaction, value } => Content::Entry { transaction, payload: value },
            What::Void { from } => Content::Void { from },
        };
        let Record { shard, index, decided, .. } = record;
        resolver.take(
            Placed { incarnation: Incarnation(1), shard, index, term: Term(1), decided, content },
            &mut apply,
        )?;
    }
    assert!(heads.iter().all(VecDeque::is_empty), "no log has a gap");
    resolver.finish(&mut apply)
}

fn run(tape: &[u16]) -> Result<(), TestCaseError> {
    let mut choices = Choices(tape.iter());
    let mut node = Node::new();
    while choices.0.len() > 0 {
        match choices.below(20) {
            0..=3 => node.write(&mut choices),
            4..=7 => node.transact(&mut choices),
            8..=11 => node.bring_home(&mut choices),
            12..=14 => {
                let core = choices.below(usize::from(CORES));
                node.sync(core, 1 + choices.below(4));
            }
            15..=18 => node.deliver(&mut choices),
            _ => node.crash(&mut choices)?,
        }
    }
    node.settle(&mut choices)?;
    node.crash(&mut Choices([].iter()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn transactions_are_whole_and_nothing_acknowledged_is_lost(
        tape in proptest::collection::vec(any::<u16>(), 0..600)
    ) {
        run(&tape)?;
    }
}

fn transaction(counter: u64, parts: &[(u16, u64)]) -> Arc<Transaction> {
    let part =
        |&(shard, index): &(u16, u64)| Participant { shard: ShardId(shard), index: Index(index) };
    let incarnation = Incarnation(1);
    let id = TransactionId { node: 1, incarnation, core: CoreId(0), counter };
    Arc::new(Transaction { id, participants: parts.iter().map(part).collect() })
}

fn report(transaction: &Transaction, from: u16, to: u16) -> Report {
    let to = ShardId(to);
    let to_index = transaction.index_in(to).unwrap();
    Report { transaction: transaction.id, from: ShardId(from), to, to_index }
}

/// A shard's release point stands before an undecided transaction, whatever is durable behind it,
/// and an independent one in another shard is not held up.
#[test]
fn a_release_point_passes_no_undecided_transaction() {
    let mut release = Release::new(4);
    let (first, second) = (transaction(1, &[(0, 2), (3, 1)]), transaction(2, &[(1, 1), (2, 1)]));
    release.begin(ShardId(0), Index(2), Arc::clone(&first));
    release.begin(ShardId(1), Index(1), Arc::clone(&second));
    release.begin(ShardId(2), Index(1), Arc::clone(&second));
    release.commit(ShardId(0), Index(5));
    assert_eq!(release.point(ShardId(0)), Index(1));
    release.commit(ShardId(1), Index(1));
    release.commit(ShardId(2), Index(1));
    let mut sent = Vec::new();
    while let Some(report) = release.poll_report() {
        sent.push(report);
        if report.to.0 != 3 {
            release.on_report(report);
        }
    }
    assert_eq!(sent, [report(&first, 0, 3), report(&second, 1, 2), report(&second, 2, 1)]);
    assert_eq!((release.point(ShardId(1)), release.point(ShardId(2))), (Index(1), Index(1)));
    release.on_report(report(&first, 3, 0));
    assert_eq!(release.point(ShardId(0)), Index(5));
}

/// Who is no part of what stands undecided before a transaction hears of it only afterwards.
#[test]
fn a_report_waits_for_what_stands_before_it() {
    let mut release = Release::new(3);
    let (before, after) = (transaction(1, &[(0, 1), (1, 1)]), transaction(2, &[(0, 2), (2, 1)]));
    release.begin(ShardId(0), Index(1), Arc::clone(&before));
    release.begin(ShardId(0), Index(2), Arc::clone(&after));
    release.commit(ShardId(0), Index(2));
    assert_eq!(release.poll_report(), Some(report(&before, 0, 1)));
    assert_eq!(release.poll_report(), None);
    release.on_report(report(&before, 1, 0));
    assert_eq!(release.poll_report(), Some(report(&after, 0, 2)));
    assert_eq!(release.point(ShardId(0)), Index(1));
}

/// A node that has one part of a transaction sees the other only in a checkpoint.
#[test]
fn what_a_leader_calls_decided_is_released_and_reported() {
    let (a, b) = (transaction(1, &[(0, 5), (1, 3)]), transaction(2, &[(1, 5), (2, 2)]));
    let mut release = Release::new(3);
    release.resume(ShardId(0), Index(6));
    release.begin(ShardId(1), Index(3), Arc::clone(&a));
    release.begin(ShardId(1), Index(5), Arc::clone(&b));
    release.commit(ShardId(1), Index(6));
    assert_eq!(release.point(ShardId(1)), Index(2));
    assert!(!release.lacks_marker(ShardId(1)), "it is not decided");
    let reports =
        |release: &mut Release| std::iter::from_fn(|| release.poll_report()).collect::<Vec<_>>();
    assert_eq!(reports(&mut release), [report(&a, 1, 0)]);
    release.decide_through(ShardId(1), Index(4));
    assert_eq!(release.point(ShardId(1)), Index(4));
    assert_eq!(reports(&mut release), [report(&b, 1, 2)]);
    // What is not committed is not decided by anybody's word.
    release.decide_through(ShardId(1), Index(100));
    assert_eq!(release.point(ShardId(1)), Index(6));
    assert!(release.lacks_marker(ShardId(1)));
    release.note_marked(ShardId(1), Index(6));
    assert!(!release.lacks_marker(ShardId(1)));
}

/// A shard that lags behind the others': reports for it are kept up to a bound.
#[test]
fn reports_that_come_early_are_bounded() {
    let transactions: Vec<_> = (0..5).map(|n| transaction(n, &[(0, 5 + n), (1, 5 + n)])).collect();
    let mut release = Release::new(2);
    (0..2).for_each(|shard| release.resume(ShardId(shard), Index(4)));
    release.limit_early(3);
    transactions.iter().for_each(|tx| release.on_report(report(tx, 1, 0)));
    assert_eq!(release.early_count, 3);
    for tx in &transactions {
        release.begin(ShardId(0), tx.index_in(ShardId(0)).unwrap(), Arc::clone(tx));
    }
    assert_eq!(release.early_count, 0);
    release.commit(ShardId(0), Index(9));
    assert_eq!(release.point(ShardId(0)), Index(7), "of the others nothing is known");
    release.decide_through(ShardId(0), Index(9));
    assert_eq!(release.point(ShardId(0)), Index(9));
    // What was kept for entries that will never come is not counted for ever.
    let late = transaction(9, &[(0, 12), (1, 12)]);
    release.on_report(report(&late, 1, 0));
    release.reset(ShardId(0), Index(20));
    assert_eq!(release.early_count, 0);
}

#[test]
fn what_is_voided_is_decided_and_ends_the_shard() {
    let a = transaction(1, &[(0, 5), (1, 3)]);
    let mut release = Release::new(2);
    release.resume(ShardId(1), Index(2));
    release.begin(ShardId(1), Index(3), Arc::clone(&a));
    release.commit(ShardId(1), Index(4));
    release.note_ended(ShardId(1), Index(4));
    let log = release.log(ShardId(1), Index(4));
    assert_eq!((log.point, log.ended, log.open.len()), (Index(2), Some(Index(4)), 1));
    assert_eq!(
        takeover::find_cuts(&[release.log(ShardId(0), Index(4)), log]),
        [None, Some(Index(3))]
    );
    release.void(ShardId(1), Index(3), Index(5));
    release.note_ended(ShardId(1), Index(3));
    release.commit(ShardId(1), Index(5));
    assert_eq!(release.point(ShardId(1)), Index(5));
    assert_eq!(release.ended(ShardId(1)), Some(Index(3)));
    release.note_served(ShardId(1));
    assert_eq!(release.ended(ShardId(1)), None);
    // A shard alone is part of no transaction.
    let mut alone = Release::new(1);
    alone.note_ended(ShardId(0), Index(1));
    assert_eq!(alone.ended(ShardId(0)), None);
}

fn entry(shard: u16, index: u64, decided: u64, tx: Option<&Transaction>) -> Placed<u64> {
    let content = Content::Entry { transaction: tx.cloned(), payload: index };
    let (shard, index) = (ShardId(shard), Index(index));
    Placed {
        incarnation: Incarnation(1),
        shard,
        index,
        term: Term(1),
        decided: Index(decided),
        content,
    }
}

/// How the shards end, and what took effect: shard and index.
type Finished = (Vec<Ending>, Vec<(u16, u64)>);

fn finish(entries: Vec<Placed<u64>>) -> Result<Finished, Contradiction> {
    let mut resolver = Resolver::new(&[Index(0); 3]);
    let mut applied = Vec::new();
    let mut apply = |shard: ShardId, index: Index, _| {
        applied.push((shard.0, index.0));
        Ok(())
    };
    for placed in entries {
        resolver.take(placed, &mut apply)?;
    }
    let endings = resolver.finish(&mut apply)?;
    Ok((endings, applied))
}

/// One lacking part cuts its shard's later transactions, and those theirs.
#[test]
fn cuts_spread_until_nothing_is_half() {
    let first = transaction(1, &[(0, 1), (1, 1)]);
    let second = transaction(2, &[(1, 2), (2, 2)]);
    let entries = vec![
        entry(0, 1, 0, None),
        entry(1, 1, 0, Some(&first)),
        entry(1, 2, 0, Some(&second)),
        entry(2, 1, 0, None),
        entry(2, 2, 0, Some(&second)),
        entry(2, 3, 0, None),
    ];
    let (endings, applied) = finish(entries).unwrap();
    assert_eq!(applied, [(0, 1), (2, 1)]);
    let cut = |last, used, from| Ending {
        last: Index(last),
        used: Index(used),
        void_from: Some(Index(from)),
    };
    let whole = Ending { last: Index(1), used: Index(1), void_from: None };
    assert_eq!(endings, [whole, cut(0, 2, 1), cut(1, 3, 2)]);
}

/// A log that was exchanged for an older one is noticed where a later record knows better.
#[test]
fn what_was_decided_is_never_cut_in_silence() {
    let first = transaction(1, &[(0, 1), (1, 1)]);
    let entries = vec![entry(0, 1, 0, Some(&first)), entry(0, 2, 1, None)];
    let half = Contradiction::Half {
        shard: ShardId(0),
        index: Index(1),
        missing: ShardId(1),
        missing_index: Index(1),
    };
    assert_eq!(finish(entries), Err(half));
    let void = Placed {
        incarnation: Incarnation(1),
        shard: ShardId(0),
        index: Index(3),
        term: Term(1),
        decided: Index(0),
        content: Content::Void { from: Index(1) },
    };
    let both = vec![
        entry(0, 1, 0, Some(&first)),
        entry(1, 1, 0, Some(&first)),
        entry(0, 2, 1, None),
        void,
    ];
    assert!(matches!(finish(both), Err(Contradiction::VoidsDecided { .. })));
}
