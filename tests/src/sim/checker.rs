//! What the clients' histories must obey: no acknowledged write lost, every read as of some moment
//! between its question and its answer, transactions whole.

use std::collections::{BTreeMap, BTreeSet};

use super::accounts::Accounts;
use super::client::{Asked, Reply};
use super::own_keys::OwnKeys;
use super::workload::{COUNTERS, LIFE_MS, Operation, QUEUES};

/// Milliseconds that a clock of whole milliseconds may be off by.
const CLOCK_GRAIN_NS: u64 = 1_000_000;

#[derive(Default)]
struct Counter {
    seen: BTreeSet<i64>,
    /// When increments and reads ended, and the highest value seen until then; both ascend.
    ended: Vec<(u64, i64)>,
    /// When increments were acknowledged, and how many may have been done.
    added_ns: Vec<u64>,
    begun: usize,
}

impl Counter {
    /// The highest value that somebody had seen by then.
    fn known_at(&self, at_ns: u64) -> i64 {
        let before = self.ended.partition_point(|(ended_ns, _)| *ended_ns < at_ns);
        before.checked_sub(1).map_or(0, |place| self.ended[place].1)
    }

    /// It has every increment that was acknowledged by then, and none that nobody asked for.
    fn check_bounds(&self, value: i64, began_ns: u64) -> Result<(), String> {
        let least = self.added_ns.iter().filter(|added_ns| **added_ns < began_ns).count() as i64;
        if value < least || value > self.begun as i64 {
            return Err(format!("{value} of {least} to {} increments", self.begun));
        }
        Ok(())
    }

    fn note(&mut self, ended_ns: u64, value: i64) {
        let highest = self.ended.last().map_or(value, |(_, highest)| value.max(*highest));
        self.ended.push((ended_ns, highest));
    }
}

/// The values that a client's key may have: one, or more after a crash.
type Possible = BTreeSet<Option<u64>>;

/// An expiring key was set between these times.
#[derive(Clone, Copy)]
struct Brief {
    value: u64,
    from_ns: u64,
    to_ns: u64,
    /// A crash took the answer: perhaps it was not.
    unsure: bool,
}

#[derive(Default)]
struct Item {
    pushed: Option<(u64, u64)>,
    popped: Option<(u64, u64)>,
    queue: u64,
}

pub struct Checker {
    counters: Vec<Counter>,
    own: OwnKeys,
    accounts: Accounts,
    left: BTreeMap<usize, Possible>,
    right: BTreeMap<usize, Possible>,
    brief: BTreeMap<usize, Vec<Brief>>,
    items: BTreeMap<u64, Item>,
    /// When tokens were added, and how many may have been.
    tokens_added_ns: Vec<u64>,
    tokens_begun: usize,
    /// The disk was full for a while, or memory: writes may be refused.
    pub may_refuse: bool,
    /// Keys with a time may go before it, but never come back.
    pub may_evict: bool,
    /// Transactions that a watched key let through, and those that it did not.
    pub watched: (usize, usize),
    /// Elements that pops were given.
    pub popped: u64,
    /// Pops whose replies were lost in a crash: so many items may be gone.
    lost_pops: usize,
}

impl Default for Checker {
    fn default() -> Checker {
        Checker {
            counters: (0..COUNTERS).map(|_| Counter::default()).collect(),
            own: OwnKeys::default(),
            accounts: Accounts::default(),
            left: BTreeMap::new(),
            right: BTreeMap::new(),
            brief: BTreeMap::new(),
            items: BTreeMap::new(),
            tokens_added_ns: Vec::new(),
            tokens_begun: 0,
            may_refuse: false,
            may_evict: false,
            watched: (0, 0),
            popped: 0,
            lost_pops: 0,
        }
    }
}

/// What is left in a queue counts as popped then.
const AT_THE_END: (u64, u64) = (u64::MAX, u64::MAX);

impl Checker {
    /// Of a node with so many shards.
    pub fn of_shards(shards: usize) -> Checker {
        Checker { own: OwnKeys::of_shards(shards), ..Checker::default() }
    }

    /// An operation was answered.
    pub fn on_done(&mut self, client: usize, asked: &Asked, now_ns: u64) -> Result<(), String> {
        if self.may_refuse && is_refused(&asked.replies) {
            return Ok(());
        }
        let span = (asked.started_ns, now_ns);
        let reply = &asked.replies[asked.replies.len() - 1];
        let verdict = match &asked.operation {
            Operation::Increment { counter } => self.on_increment(*counter, reply, span),
            Operation::ReadCounter { counter } => self.on_read_counter(*counter, reply, span),
            Operation::SetOwn { key, value } => {
                self.own.set(client, *key, *value);
                expect_ok(reply)
            }
            Operation::GetOwn { key } => self.on_read_own(client, *key, reply),
            Operation::SetPair { value } => {
                self.left.insert(client, [Some(*value)].into());
                self.right.insert(client, [Some(*value)].into());
                expect_ok(reply)
            }
            Operation::GetPair => self.on_pair(client, reply),
            Operation::Transfer { from, to, amount } => {
                self.accounts.transfer(*from, *to, *amount);
                expect_transfer(&asked.replies)
            }
            Operation::Audit => self.on_audit(reply),
            Operation::ReadOnly { key } => match reply {
                Reply::Many(values) if values.len() == 1 => {
                    self.on_read_own(client, *key, &values[0])
                }
                _ => Err("not one value".into()),
            },
            Operation::Snapshot { .. } => match reply {
                Reply::Integer(0..=1) => Ok(()),
                _ => Err("neither copied nor not".into()),
            },
            Operation::Compare { .. } => compare(reply),
            Operation::AddToken { .. } => {
                self.tokens_added_ns.push(now_ns);
                if matches!(reply, Reply::Integer(1..)) { Ok(()) } else { Err("a length".into()) }
            }
            Operation::MoveToken { .. } => number(reply).map(drop),
            Operation::CountTokens => self.on_tokens(reply, span),
            Operation::Push { queue, item } => {
                let entry = self.items.entry(*item).or_default();
                (entry.queue, entry.pushed) = (*queue, Some(span));
                if matches!(reply, Reply::Integer(1..)) { Ok(()) } else { Err("a length".into()) }
            }
            Operation::Pop { .. } => self.on_pop(reply, span),
            Operation::SetExpiring { value } => {
                let (from_ns, to_ns) = span;
                self.brief
                    .insert(client, vec![Brief { value: *value, from_ns, to_ns, unsure: false }]);
                expect_ok(reply)
            }
            Operation::GetExpiring => self.on_brief(client, reply, span),
            Operation::Watch => asked.replies.iter().try_for_each(expect_ok),
            Operation::WatchedIncrement { counter } => {
                self.on_watched_increment(*counter, &asked.replies, span)
            }
            Operation::Limit { .. } => expect_ok(reply),
            Operation::Noise(_) => match reply {
                Reply::Error(text) => Err(text.clone()),
                _ => Ok(()),
            },
            Operation::Rest { queue } => self.on_rest(*queue, reply),
        };
        verdict.map_err(|why| {
            let Asked { operation, replies, .. } = asked;
            format!("client {client}, {operation:?}, {span:?}: {replies:?}: {why}")
        })
    }

    /// An operation is sent.
    pub fn on_asked(&mut self, operation: &Operation) {
        self.tokens_begun += usize::from(matches!(operation, Operation::AddToken { .. }));
        if let Operation::Increment { counter } | Operation::WatchedIncrement { counter } =
            operation
        {
            self.counters[*counter as usize].begun += 1;
        }
    }

    /// A crash took the answers of what a client had asked, in this order: each was done or not,
    /// but of its writes to one shard only the first ones may have been.
    pub fn on_lost(&mut self, client: usize, asked: &[Asked], now_ns: u64) {
        let set = asked.iter().filter_map(|asked| match asked.operation {
            Operation::SetOwn { key, value } => Some((key, value)),
            _ => None,
        });
        self.own.lose(client, &set.collect::<Vec<_>>(), self.may_refuse);
        asked.iter().for_each(|asked| self.on_one_lost(client, asked, now_ns));
    }

    fn on_one_lost(&mut self, client: usize, asked: &Asked, now_ns: u64) {
        match &asked.operation {
            Operation::Transfer { from, to, amount } => self.accounts.lose(*from, *to, *amount),
            Operation::SetPair { value } => {
                for side in [&mut self.left, &mut self.right] {
                    side.entry(client).or_insert_with(unset).insert(Some(*value));
                }
            }
            Operation::SetExpiring { value } => {
                let (value, from_ns) = (*value, asked.started_ns);
                let brief = Brief { value, from_ns, to_ns: now_ns, unsure: true };
                self.brief.entry(client).or_default().push(brief);
            }
            Operation::Pop { .. } => self.lost_pops += 1,
            Operation::Push { queue, item } => {
                self.items.entry(*item).or_default().queue = *queue;
            }
            _ => {}
        }
    }

    fn on_read_own(&mut self, client: usize, key: u64, reply: &Reply) -> Result<(), String> {
        self.own.read(client, key, number(reply)?)
    }

    fn on_increment(
        &mut self,
        counter: u64,
        reply: &Reply,
        span: (u64, u64),
    ) -> Result<(), String> {
        let Reply::Integer(value) = *reply else { return Err("not a number".into()) };
        let counter = &mut self.counters[counter as usize];
        if !counter.seen.insert(value) {
            return Err("two increments gave the same value".into());
        }
        let highest = counter.known_at(span.0);
        counter.note(span.1, value);
        counter.check_bounds(value, span.0)?;
        counter.added_ns.push(span.1);
        if highest >= value {
            return Err(format!("{highest} had been seen before this began"));
        }
        Ok(())
    }

    /// What anyone has seen of a counter is never taken back.
    fn on_read_counter(
        &mut self,
        counter: u64,
        reply: &Reply,
        span: (u64, u64),
    ) -> Result<(), String> {
        let value = number(reply)?.unwrap_or(0) as i64;
        let counter = &mut self.counters[counter as usize];
        let highest = counter.known_at(span.0);
        counter.note(span.1, value);
        counter.check_bounds(value, span.0)?;
        if highest > value {
            return Err(format!("{highest} had been seen before this began"));
        }
        Ok(())
    }

    /// Between what was read and the transaction nobody else may have changed the counter.
    fn on_watched_increment(
        &mut self,
        counter: u64,
        replies: &[Reply],
        span: (u64, u64),
    ) -> Result<(), String> {
        let [_, read, _, _, executed] = replies else { return Err("five replies".into()) };
        let before = number(read)?.unwrap_or(0) as i64;
        match executed {
            Reply::Null => {
                self.watched.1 += 1;
                self.counters[counter as usize].begun -= 1;
                self.on_read_counter(counter, read, span)
            }
            Reply::Many(results) if results[..] == [Reply::Integer(before + 1)] => {
                self.watched.0 += 1;
                self.on_increment(counter, &results[0], span)
            }
            _ => Err("a transaction that a changed key should have stopped".into()),
        }
    }

    fn on_pair(&mut self, client: usize, reply: &Reply) -> Result<(), String> {
        let Reply::Many(sides) = reply else { return Err("not two values".into()) };
        let [left, right] = sides.as_slice() else { return Err("not two values".into()) };
        read(self.left.entry(client).or_insert_with(unset), left)?;
        read(self.right.entry(client).or_insert_with(unset), right)?;
        if left != right {
            return Err("half of an MSET".into());
        }
        Ok(())
    }

    /// Tokens move, but none comes or goes.
    fn on_tokens(&self, reply: &Reply, span: (u64, u64)) -> Result<(), String> {
        let Reply::Many(lengths) = reply else { return Err("no lengths".into()) };
        let mut sum = 0;
        for length in lengths {
            let Reply::Integer(length) = length else { return Err("no length".into()) };
            sum += *length as usize;
        }
        let least = self.tokens_added_ns.iter().filter(|added_ns| **added_ns < span.0).count();
        if sum < least || sum > self.tokens_begun {
            return Err(format!("{sum} tokens of {least} to {}", self.tokens_begun));
        }
        Ok(())
    }

    fn on_audit(&mut self, reply: &Reply) -> Result<(), String> {
        let Reply::Many(accounts) = reply else { return Err("no accounts".into()) };
        let balance = |account: &Reply| match account {
            Reply::Null => Ok(0),
            Reply::Bulk(text) => {
                String::from_utf8_lossy(text).parse::<i64>().map_err(|e| e.to_string())
            }
            other => Err(format!("no balance: {other:?}")),
        };
        self.accounts.audit(accounts.iter().map(balance).collect::<Result<_, String>>()?)
    }

    fn on_pop(&mut self, reply: &Reply, span: (u64, u64)) -> Result<(), String> {
        let Reply::Many(pair) = reply else {
            return if *reply == Reply::Null { Ok(()) } else { Err("no item".into()) };
        };
        let item = number(pair.get(1).unwrap_or(&Reply::Null))?.ok_or("no item")?;
        let entry = self.items.entry(item).or_default();
        if entry.popped.replace(span).is_some() {
            return Err("popped twice".into());
        }
        self.popped += 1;
        Ok(())
    }

    fn on_brief(&mut self, client: usize, reply: &Reply, span: (u64, u64)) -> Result<(), String> {
        let life_ns = LIFE_MS * 1_000_000;
        let known = self.brief.get(&client).map_or(&[][..], Vec::as_slice);
        match number(reply)? {
            Some(value) => {
                let brief = known.iter().find(|brief| brief.value == value);
                let brief = brief.ok_or("a value that was not set, or overwritten")?;
                if span.0 > brief.to_ns + life_ns + CLOCK_GRAIN_NS {
                    return Err("it should have expired".into());
                }
            }
            None => {
                let sure = known.len() == 1 && !known[0].unsure;
                if sure && !self.may_evict && span.1 + CLOCK_GRAIN_NS < known[0].from_ns + life_ns {
                    return Err("it expired too early".into());
                }
            }
        }
        Ok(())
    }

    /// The end: what is left in a queue, and what came out of it before.
    fn on_rest(&mut self, queue: u64, reply: &Reply) -> Result<(), String> {
        let Reply::Many(rest) = reply else { return Err("not a list".into()) };
        for item in rest {
            let item = number(item)?.ok_or("no item")?;
            let entry = self.items.get_mut(&item).ok_or("an item that nobody pushed")?;
            if entry.queue != queue || entry.popped.is_some() {
                return Err(format!("{item} was popped, or pushed elsewhere"));
            }
            entry.popped = Some(AT_THE_END);
        }
        Ok(())
    }

    /// A crash took part of the answers: the rest is asked for again.
    pub fn forget_rest(&mut self) {
        for item in self.items.values_mut().filter(|item| item.popped == Some(AT_THE_END)) {
            item.popped = None;
        }
    }

    /// Once everything is answered, every queue's rest and at last all balances.
    pub fn check_end(&self) -> Result<(), String> {
        self.accounts.check()?;
        self.check_queues()
    }

    /// Once every queue's rest is known: nothing is lost, and each queue gave first what it got
    /// first.
    fn check_queues(&self) -> Result<(), String> {
        let lost: Vec<_> = self
            .items
            .iter()
            .filter(|(_, item)| item.pushed.is_some() && item.popped.is_none())
            .map(|(number, _)| number)
            .collect();
        if lost.len() > self.lost_pops {
            return Err(format!("items lost: {lost:?}; answers lost: {}", self.lost_pops));
        }
        for queue in 0..QUEUES {
            let items = self.items.iter().filter(|(_, item)| item.queue == queue);
            let items: Vec<_> = items.collect();
            for (first, a) in &items {
                for (second, b) in &items {
                    let (Some(pushed_a), Some(pushed_b)) = (a.pushed, b.pushed) else { continue };
                    let (Some(popped_a), Some(popped_b)) = (a.popped, b.popped) else { continue };
                    if pushed_a.1 < pushed_b.0 && popped_b.1 < popped_a.0 {
                        return Err(format!("queue {queue}: {second} came out before {first}"));
                    }
                }
            }
        }
        Ok(())
    }
}

fn unset() -> Possible {
    [None].into()
}

fn expect_ok(reply: &Reply) -> Result<(), String> {
    if *reply == Reply::Simple("OK".into()) { Ok(()) } else { Err("not OK".into()) }
}

/// The disk is full, or memory: nothing was done.
pub fn is_refused(replies: &[Reply]) -> bool {
    replies.iter().any(|reply| match reply {
        Reply::Error(text) => text.contains("MISCONF ") || text.contains("OOM "),
        Reply::Many(parts) => is_refused(parts),
        _ => false,
    })
}

/// A copy is never newer than what it was taken of, which only grows.
fn compare(reply: &Reply) -> Result<(), String> {
    let Reply::Many(pair) = reply else { return Err("not two values".into()) };
    let [counter, copy] = pair.as_slice() else { return Err("not two values".into()) };
    if number(copy)? > number(counter)? {
        return Err("a copy of a value that is no more".into());
    }
    Ok(())
}

fn expect_transfer(replies: &[Reply]) -> Result<(), String> {
    match replies {
        [_, _, _, Reply::Many(balances)]
            if matches!(balances[..], [Reply::Integer(_), Reply::Integer(_)]) =>
        {
            Ok(())
        }
        _ => Err("a transaction that did not run".into()),
    }
}

fn number(reply: &Reply) -> Result<Option<u64>, String> {
    match reply {
        Reply::Null => Ok(None),
        Reply::Bulk(text) => {
            String::from_utf8_lossy(text).parse().map(Some).map_err(|_| "not a number".into())
        }
        _ => Err("not a value".into()),
    }
}

/// A value was read: it must be a possible one, and is then the only one.
fn read(possible: &mut Possible, reply: &Reply) -> Result<(), String> {
    let value = number(reply)?;
    if !possible.contains(&value) {
        return Err(format!("possible were {possible:?}"));
    }
    *possible = [value].into();
    Ok(())
}
