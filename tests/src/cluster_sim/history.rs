//! What clients asked and what they were told, and whether that can be.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::graph::{self, Deed, Fate, Object, Sight};
use super::growth::{self, Step};
use super::operation::Operation;
use super::register::{self, Access};

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Written,
    Value(Option<u64>),
    Length(u64),
    Elements(Vec<u64>),
    /// Of several keys.
    Sights(Vec<(Object, Sight)>),
}

#[derive(Clone, Debug)]
pub enum Ending {
    /// Not yet, or never: a write may be done any time later, once or never.
    Unknown,
    /// It was not done.
    Refused,
    Done {
        at_ns: u64,
        seen: Seen,
    },
}

#[derive(Clone, Debug)]
pub struct Record {
    pub operation: Operation,
    pub asked_ns: u64,
    /// Where a report is to tell that.
    pub node: Option<usize>,
    /// Among all connections of all clients.
    pub connection: u64,
    /// The connection takes what a follower has.
    pub stale: bool,
    /// The node has closed the connection without an answer.
    pub cut: bool,
    pub ending: Ending,
}

/// Lines that are kept for a report.
const LINES_MAX: usize = 120;

thread_local! {
    /// Of this thread's last history: a panic reports them too.
    static LINES: RefCell<VecDeque<String>> = const { RefCell::new(VecDeque::new()) };
}

/// What happened last in this thread's history.
pub fn last_lines() -> String {
    LINES.with_borrow(|lines| lines.iter().map(|line| format!("\n{line}")).collect())
}

pub struct History {
    records: Vec<Record>,
    /// From when to when leases may outlive what they rest on, as a clock has leapt.
    leaseless: Vec<(u64, u64)>,
    /// What listeners have heard: the list, the value, and when.
    heard: Vec<(u64, u64, u64)>,
    /// A write may have been refused although all that was asked with it was done.
    pub disks_were_full: bool,
}

/// What a key is, with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Register(u64),
    /// One that ends by itself.
    Ending(u64),
    Pair(u64),
    Counter(u64),
    List(u64),
}

impl History {
    pub fn begin() -> History {
        LINES.with_borrow_mut(VecDeque::clear);
        History {
            records: Vec::new(),
            leaseless: Vec::new(),
            heard: Vec::new(),
            disks_were_full: false,
        }
    }

    pub fn note(&mut self, now_ns: u64, line: impl FnOnce() -> String) {
        LINES.with_borrow_mut(|lines| {
            if lines.len() == LINES_MAX {
                lines.pop_front();
            }
            lines.push_back(format!("{:>14.6} ms  {}", now_ns as f64 / 1e6, line()));
        });
    }

    pub fn distrust_leases(&mut self, from_ns: u64, until_ns: u64) {
        self.leaseless.push((from_ns, until_ns));
    }

    /// When every lease holds again.
    pub fn leases_hold_ns(&self) -> u64 {
        self.leaseless.iter().map(|(_, until_ns)| *until_ns).max().unwrap_or(0)
    }

    /// Reads that may rest on such a lease promise no more than those of a follower. Returns how
    /// many. Of several keys they promise nothing.
    pub fn doubt_reads(&mut self) -> usize {
        let mut doubtful = 0;
        for record in &mut self.records {
            let Ending::Done { at_ns, .. } = record.ending else { continue };
            let over =
                |(from_ns, until_ns): &(u64, u64)| *from_ns <= at_ns && record.asked_ns < *until_ns;
            let reads = !record.operation.writes()
                && !record.stale
                && !matches!(record.operation, Operation::Wait { .. });
            if reads && self.leaseless.iter().any(over) {
                record.stale = true;
                doubtful += 1;
                if matches!(record.operation, Operation::Transaction(_)) {
                    record.ending = Ending::Unknown;
                }
            }
        }
        doubtful
    }

    /// An operation is under way, under the number returned.
    pub fn ask(&mut self, record: Record) -> usize {
        self.records.push(record);
        self.records.len() - 1
    }

    pub fn end(&mut self, number: usize, ending: Ending) {
        self.records[number].ending = ending;
    }

    pub fn cut(&mut self, number: usize) {
        self.records[number].cut = true;
    }

    /// Where every node that went had handed over or stopped in good order: what a client was cut
    /// off from must not have been done. Of what only grows it can be seen.
    pub fn check_cut_off(&self) -> Result<(), String> {
        let found = self.records.iter().filter_map(|record| match &record.ending {
            Ending::Done { seen: Seen::Elements(elements), .. } => Some(elements),
            _ => None,
        });
        let found: BTreeSet<u64> = found.flatten().copied().collect();
        let sights = self.records.iter().filter_map(|record| match &record.ending {
            Ending::Done { seen: Seen::Sights(sights), .. } => Some(sights),
            _ => None,
        });
        let put: BTreeSet<(Object, u64)> = sights
            .flatten()
            .filter_map(|(object, sight)| match sight {
                Sight::All(all) => Some(all.iter().map(move |what| (*object, *what))),
                _ => None,
            })
            .flatten()
            .collect();
        // What another operation has put there too shows nothing of this one.
        let mut tried: BTreeMap<(Object, u64), usize> = BTreeMap::new();
        for record in &self.records {
            if let Operation::Transaction(one) = record.operation {
                one.puts().into_iter().for_each(|what| *tried.entry(what).or_default() += 1);
            }
        }
        let done =
            self.records.iter().filter(|record| record.cut).find(|record| match record.operation {
                Operation::Push { value, .. } | Operation::Tell { value, .. } => {
                    found.contains(&value)
                }
                Operation::Transaction(one) => {
                    one.puts().iter().any(|what| put.contains(what) && tried[what] == 1)
                }
                _ => false,
            });
        done.map_or(Ok(()), |done| Err(format!("done, but its client was cut off: {done:?}")))
    }

    /// Whatever was asked of these machines from then on was answered, soon enough.
    pub fn check_answers(
        &self,
        machines: &[usize],
        since_ns: u64,
        within_ns: u64,
    ) -> Result<(), String> {
        let of_them =
            |record: &&Record| record.node.is_some_and(|node| machines.contains(&(node - 1)));
        let asked = self.records.iter().filter(|record| record.asked_ns >= since_ns);
        let late = asked.filter(of_them).find(|record| match record.ending {
            Ending::Unknown => true,
            Ending::Refused => false,
            Ending::Done { at_ns, .. } => at_ns > record.asked_ns + within_ns,
        });
        late.map_or(Ok(()), |late| {
            Err(format!("not answered within {} ms: {late:?}", within_ns / 1_000_000))
        })
    }

    pub fn get(&self, number: usize) -> &Record {
        &self.records[number]
    }

    /// A listener has heard that this list has this value.
    pub fn hear(&mut self, list: u64, value: u64, at_ns: u64) {
        self.heard.push((list, value, at_ns));
    }

    /// What was heard is there from then on, whoever is asked that has the newest. But where the
    /// message stood behind a write that was refused, as it may have been on a full disk, or
    /// before the primary was found: only what was answered tells that.
    fn check_heard(&self) -> Result<(), String> {
        let sure = |record: &Record| match (record.operation, &record.ending) {
            (Operation::Tell { value, .. }, Ending::Done { .. }) => Some(value),
            (Operation::Tell { value, transaction: true, .. }, Ending::Unknown) => {
                (!self.disks_were_full).then_some(value)
            }
            _ => None,
        };
        let sure: BTreeSet<u64> = self.records.iter().filter_map(sure).collect();
        let mut heard = self.heard.clone();
        heard.retain(|(_, value, _)| sure.contains(value));
        heard.sort_by_key(|(.., at_ns)| *at_ns);
        for record in self.records.iter().filter(|record| !record.stale) {
            let Operation::Range { key } = record.operation else { continue };
            let Ending::Done { seen: Seen::Elements(found), .. } = &record.ending else { continue };
            let found: BTreeSet<u64> = found.iter().copied().collect();
            let mut before = heard.iter().take_while(|(.., at_ns)| *at_ns < record.asked_ns);
            let lacks = before.find(|(list, value, _)| *list == key && !found.contains(value));
            if let Some((_, value, at_ns)) = lacks {
                let at_ms = *at_ns as f64 / 1e6;
                return Err(format!(
                    "{value} was heard at {at_ms:.6} ms, and is not in {record:?}"
                ));
            }
        }
        Ok(())
    }

    /// What is known of a value that a client has tried to write.
    pub fn check(&self) -> Result<(), String> {
        self.check_heard()?;
        let mut by_key: BTreeMap<Key, Vec<&Record>> = BTreeMap::new();
        let counts = |record: &&Record| match record.ending {
            Ending::Refused => false,
            // Its time may have been over, whatever that is by whose clock.
            Ending::Done { seen: Seen::Value(None), .. } => {
                !matches!(record.operation, Operation::GetWhile { .. })
            }
            Ending::Unknown => record.operation.writes(),
            Ending::Done { .. } => true,
        };
        for record in self.records.iter().filter(counts) {
            let Some(key) = key_of(&record.operation) else { continue };
            by_key.entry(key).or_default().push(record);
        }
        for (key, records) in by_key {
            let verdict = match key {
                Key::Register(_) | Key::Ending(_) | Key::Pair(_) => check_register(&records),
                Key::Counter(_) | Key::List(_) => check_growth(&records),
            };
            verdict.map_err(|what| format!("{key:?}: {what}"))?;
        }
        let several = graph::check(self.records.iter().filter_map(deed).collect());
        several.map_err(|what| format!("several keys: {what}"))
    }
}

fn key_of(operation: &Operation) -> Option<Key> {
    Some(match *operation {
        Operation::Set { key, .. } | Operation::Get { key } => Key::Register(key),
        Operation::SetFor { key, .. } | Operation::GetWhile { key } => Key::Ending(key),
        Operation::Increment { key }
        | Operation::WatchIncrement { key }
        | Operation::Count { key } => Key::Counter(key),
        Operation::Push { key, .. } | Operation::Tell { key, .. } | Operation::Range { key } => {
            Key::List(key)
        }
        Operation::SetPair { key, .. } | Operation::GetPair { key, .. } => Key::Pair(key),
        Operation::Wait { .. } | Operation::Transaction(_) => return None,
    })
}

fn answered_ns(record: &Record) -> u64 {
    match record.ending {
        Ending::Done { at_ns, .. } => at_ns,
        Ending::Unknown | Ending::Refused => u64::MAX,
    }
}

fn access(record: &Record) -> Access {
    let value = match (record.operation, &record.ending) {
        (
            Operation::Set { value, .. }
            | Operation::SetFor { value, .. }
            | Operation::SetPair { value, .. },
            _,
        ) => Some(value),
        (_, Ending::Done { seen: Seen::Value(value), .. }) => *value,
        _ => None,
    };
    Access {
        value,
        writes: record.operation.writes(),
        asked_ns: record.asked_ns,
        answered_ns: answered_ns(record),
    }
}

fn check_register(records: &[&Record]) -> Result<(), String> {
    let mut current: Vec<Access> =
        records.iter().filter(|record| !record.stale).map(|record| access(record)).collect();
    let shown = records.iter().filter(|record| record.stale).map(|record| access(record));
    // What a follower has shown is there.
    let mut shown_ns: BTreeMap<u64, u64> = BTreeMap::new();
    for read in shown {
        let Some(value) = read.value else { continue };
        let first_ns = shown_ns.entry(value).or_insert(u64::MAX);
        *first_ns = read.answered_ns.min(*first_ns);
    }
    for write in current.iter_mut().filter(|access| access.writes) {
        let first_ns = write.value.and_then(|value| shown_ns.get(&value).copied());
        write.answered_ns = write.answered_ns.min(first_ns.unwrap_or(u64::MAX));
    }
    register::check(&current)?;
    let writes = current.iter().filter(|access| access.writes);
    let writes: BTreeMap<u64, &Access> =
        writes.filter_map(|access| Some((access.value?, access))).collect();
    let mut last: BTreeMap<u64, Access> = BTreeMap::new();
    for record in records.iter().filter(|record| record.stale) {
        let read = access(record);
        let written = match read.value {
            Some(value) => {
                let known = writes.get(&value).ok_or(format!("{read:?}: nobody wrote that"))?;
                if known.asked_ns > read.answered_ns {
                    return Err(format!("{read:?}: written later, {known:?}"));
                }
                **known
            }
            None => Access { asked_ns: 0, answered_ns: 0, ..read },
        };
        // Their order is known where one was over before the other began.
        if let Some(before) = last.insert(record.connection, written)
            && before.value != written.value
            && (written.value.is_none() || written.answered_ns < before.asked_ns)
        {
            return Err(format!("a follower goes back from {before:?} to {written:?}: {read:?}"));
        }
    }
    Ok(())
}

fn check_growth(records: &[&Record]) -> Result<(), String> {
    let steps: Vec<Step> = records.iter().map(|record| step(record)).collect();
    growth::check(&steps)?;
    let mut last: BTreeMap<u64, &Step> = BTreeMap::new();
    for (record, step) in records.iter().zip(&steps).filter(|(record, _)| record.stale) {
        if let Some(before) = last.insert(record.connection, step)
            && step.length < before.length
        {
            return Err(format!("a follower goes back from {before:?} to {step:?}"));
        }
    }
    Ok(())
}

fn step(record: &Record) -> Step {
    let (length, elements) = match &record.ending {
        Ending::Done { seen: Seen::Length(length), .. } => (*length, None),
        Ending::Done { seen: Seen::Elements(elements), .. } => {
            (elements.len() as u64, Some(elements.clone()))
        }
        _ => (0, None),
    };
    let element = match record.operation {
        Operation::Push { value, .. } | Operation::Tell { value, .. } => Some(value),
        _ => None,
    };
    Step {
        grows: record.operation.writes(),
        element,
        asked_ns: record.asked_ns,
        answered_ns: answered_ns(record),
        length,
        elements,
        stale: record.stale,
    }
}

/// What the check of several keys is to know of it.
fn deed(record: &Record) -> Option<Deed> {
    let Operation::Transaction(transaction) = record.operation else { return None };
    let (fate, sights, until) = match &record.ending {
        Ending::Done { at_ns, seen: Seen::Sights(sights) } => {
            let until = format!("{:.6} ms", *at_ns as f64 / 1e6);
            (Fate::Done { at_ns: *at_ns }, sights.clone(), until)
        }
        Ending::Refused => (Fate::Refused, Vec::new(), "refused".into()),
        _ => (Fate::Unknown, Vec::new(), "never answered".into()),
    };
    let puts = match fate {
        Fate::Done { .. } => transaction.puts_having_seen(&sights),
        _ => transaction.puts(),
    };
    let connection = record.connection;
    let node = record.node.map(|node| format!(" to node {node}")).unwrap_or_default();
    let asked_ms = record.asked_ns as f64 / 1e6;
    let name =
        format!("connection {connection}{node}, {asked_ms:.6} ms to {until}: {transaction:?}");
    Some(Deed { name, asked_ns: record.asked_ns, fate, puts, sights })
}
