//! What clients ask of several keys at once, so that two such operations share some keys and not
//! others: lists that get tags, copies of them, moves between accounts, sets that members go
//! between. What is read tells everything that was done before: of each balance, as each move is a
//! digit of its own.

use std::fmt;

use engine::rng::Rng;

use super::graph::{Object, Sight};
use crate::sim::client::Reply;

const LISTS: u64 = 4;
const ACCOUNTS: u64 = 3;
const SETS: u64 = 2;
const COPIES_READ_MAX: u64 = 3;
/// Of a bank, whose accounts are others than those of the next: 3^36 is within 63 bits.
const MOVES_MAX: u64 = 36;

/// Some of the lists.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Lists(u8);

impl Lists {
    fn iter(self) -> impl Iterator<Item = u64> {
        (0..LISTS).filter(move |list| self.0 & 1 << list != 0)
    }

    fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// So many of those that are not among `others`, or all there are.
    fn random(rng: &mut Rng, count: u64, others: Lists) -> Lists {
        let mut left: Vec<u64> = (0..LISTS).filter(|list| others.0 & 1 << list == 0).collect();
        let count = count.min(left.len() as u64);
        let drawn = (0..count).map(|_| left.swap_remove(rng.below(left.len() as u64) as usize));
        Lists(drawn.fold(0, |lists, list| lists | 1 << list))
    }
}

impl fmt::Debug for Lists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// With MULTI where it takes more than one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transaction {
    /// RPUSH of the tag to some lists, and LRANGE of others.
    Append { tag: u64, to: Lists, of: Lists },
    /// DECRBY and INCRBY of what no other move moves.
    Move { number: u64, from: u64, to: u64 },
    /// MGET of all accounts of a bank.
    Audit { bank: u64 },
    /// SADD of what is added only once.
    Add { sets: u64, member: u64 },
    /// SMOVE, which is asked for only once.
    Shift { sets: u64, member: u64 },
    /// SMEMBERS of both sets.
    Members { sets: u64 },
    /// COPY of a list to a key of its own: what it saw shows even if it was never answered.
    Copy { number: u64 },
    /// LRANGE of copies.
    Copies { first: u64, count: u64 },
}

/// What is asked in a run.
pub struct Transactions {
    /// Of a hundred operations.
    percent: u64,
    /// Of these alone: a run without them is as it was before there were any.
    rng: Rng,
    moves: u64,
    copies: u64,
    /// Members that nobody has tried to shift.
    members: Vec<(u64, u64)>,
}

impl Transactions {
    pub fn new(seed: u64, percent: u64) -> Transactions {
        let rng = Rng::new(seed ^ 0x7EA2_5AC7);
        Transactions { percent, rng, moves: 0, copies: 0, members: Vec::new() }
    }

    /// Now and then one is asked for, instead of something else.
    pub fn draw(&mut self, tag: u64, writes_percent: u64) -> Option<Transaction> {
        if self.percent == 0 || self.rng.below(100) >= self.percent {
            return None;
        }
        let write = self.rng.below(100) < writes_percent;
        Some(match (self.rng.below(10), write) {
            (0..=3, _) => self.append(tag, write),
            (4 | 5, true) => self.move_amount(),
            (4 | 5, false) => Transaction::Audit { bank: self.rng.below(self.banks()) },
            (6 | 7, true) => self.copy(),
            (6 | 7, false) if self.copies > 0 => {
                let first = self.rng.below(self.copies);
                Transaction::Copies { first, count: (self.copies - first).min(COPIES_READ_MAX) }
            }
            (_, true) => self.add_or_shift(tag),
            (_, false) => Transaction::Members { sets: self.rng.below(SETS) },
        })
    }

    fn append(&mut self, tag: u64, write: bool) -> Transaction {
        let writes = if write { 1 + self.rng.below(3) } else { 0 };
        let to = Lists::random(&mut self.rng, writes, Lists(0));
        let reads = if write { self.rng.below(3) } else { 1 + self.rng.below(3) };
        let of = Lists::random(&mut self.rng, reads, to);
        Transaction::Append { tag, to, of }
    }

    fn move_amount(&mut self) -> Transaction {
        let number = self.moves;
        self.moves += 1;
        let from = self.rng.below(ACCOUNTS);
        let to = (from + 1 + self.rng.below(ACCOUNTS - 1)) % ACCOUNTS;
        Transaction::Move { number, from, to }
    }

    fn copy(&mut self) -> Transaction {
        self.copies += 1;
        Transaction::Copy { number: self.copies - 1 }
    }

    fn add_or_shift(&mut self, member: u64) -> Transaction {
        if !self.members.is_empty() && self.rng.below(2) == 0 {
            let drawn = self.rng.below(self.members.len() as u64) as usize;
            let (sets, member) = self.members.swap_remove(drawn);
            return Transaction::Shift { sets, member };
        }
        let sets = self.rng.below(SETS);
        self.members.push((sets, member));
        Transaction::Add { sets, member }
    }

    fn banks(&self) -> u64 {
        self.moves / MOVES_MAX + 1
    }

    /// Reads of everything that they change.
    pub fn audit(&self) -> Vec<Transaction> {
        if self.percent == 0 {
            return Vec::new();
        }
        let all = Transaction::Append { tag: 0, to: Lists(0), of: Lists((1 << LISTS) - 1) };
        let banks = (0..self.banks()).map(|bank| Transaction::Audit { bank });
        let sets = (0..SETS).map(|sets| Transaction::Members { sets });
        let copies = Transaction::Copies { first: 0, count: self.copies };
        let copies = (self.copies > 0).then_some(copies);
        banks.chain(sets).chain(copies).chain([all]).collect()
    }
}

impl Transaction {
    pub fn writes(&self) -> bool {
        !self.puts().is_empty()
    }

    /// What it does to what, if it is done: nothing else does the same.
    pub fn puts(&self) -> Vec<(Object, u64)> {
        match *self {
            Transaction::Append { tag, to, .. } => {
                to.iter().map(|list| (Object::List(list), tag)).collect()
            }
            Transaction::Move { number, from, to } => {
                let bank = number / MOVES_MAX;
                let account = |number| Object::Account { bank, number };
                vec![(account(from), number * 2 + 1), (account(to), number * 2)]
            }
            Transaction::Add { sets, member } => vec![(Object::Sets(sets), added(member))],
            Transaction::Shift { sets, member } => vec![(Object::Sets(sets), shifted(member))],
            Transaction::Copy { number } => vec![(Object::Copy(number), number)],
            Transaction::Audit { .. }
            | Transaction::Members { .. }
            | Transaction::Copies { .. } => Vec::new(),
        }
    }

    /// As [`Transaction::puts`] of one that has seen this: what is not there does not go anywhere.
    pub fn puts_having_seen(&self, sights: &[(Object, Sight)]) -> Vec<(Object, u64)> {
        let puts = match self {
            Transaction::Copy { .. } => sights.is_empty(),
            _ => !sights.iter().any(|(_, sight)| matches!(sight, Sight::Lacks(_))),
        };
        if puts { self.puts() } else { Vec::new() }
    }

    /// Commands, with `;` between.
    pub fn words(&self) -> String {
        let words = match *self {
            Transaction::Append { tag, to, of } => {
                let pushes = to.iter().map(|list| format!("RPUSH t{list} {tag}"));
                let ranges = of.iter().map(|list| format!("LRANGE t{list} 0 -1"));
                pushes.chain(ranges).collect::<Vec<_>>().join(";")
            }
            Transaction::Move { number, from, to } => {
                let (bank, amount) = (number / MOVES_MAX, amount_of(number));
                format!("DECRBY b{bank}:{from} {amount};INCRBY b{bank}:{to} {amount}")
            }
            Transaction::Audit { bank } => {
                let keys: String = (0..ACCOUNTS).map(|n| format!(" b{bank}:{n}")).collect();
                format!("MGET{keys}")
            }
            Transaction::Add { sets, member } => format!("SADD s{sets}:a {member}"),
            Transaction::Shift { sets, member } => format!("SMOVE s{sets}:a s{sets}:b {member}"),
            Transaction::Members { sets } => format!("SMEMBERS s{sets}:a;SMEMBERS s{sets}:b"),
            Transaction::Copy { number } => format!("COPY t{} k{number}", copied_by(number)),
            Transaction::Copies { first, count } => {
                let ranges = (first..first + count).map(|number| format!("LRANGE k{number} 0 -1"));
                ranges.collect::<Vec<_>>().join(";")
            }
        };
        if self.commands() > 1 { format!("MULTI;{words};EXEC") } else { words }
    }

    fn commands(&self) -> usize {
        match self {
            Transaction::Append { to, of, .. } => to.len() + of.len(),
            Transaction::Move { .. } | Transaction::Members { .. } => 2,
            Transaction::Copies { count, .. } => *count as usize,
            _ => 1,
        }
    }

    pub fn reply_count(&self) -> usize {
        let commands = self.commands();
        if commands > 1 { commands + 2 } else { 1 }
    }

    /// What its last reply says.
    pub fn read(&self, reply: &Reply) -> Result<Vec<(Object, Sight)>, String> {
        let wrong = || format!("{self:?} was answered {reply:?}");
        let parts = match reply {
            Reply::Many(parts) if self.commands() > 1 => &parts[..],
            one => std::slice::from_ref(one),
        };
        if parts.len() != self.commands() {
            return Err(wrong());
        }
        let sights = match (*self, parts) {
            (Transaction::Append { to, of, .. }, parts) => appended(to, of, parts),
            (Transaction::Move { number, from, to }, parts) => {
                let accounts = [from, to].into_iter().zip(parts);
                balances(number / MOVES_MAX, accounts)
            }
            (Transaction::Audit { bank }, [Reply::Many(parts)]) => {
                let sum = parts.iter().filter_map(integer).map(i128::from).sum::<i128>();
                if sum != 0 {
                    return Err(format!("the accounts have {sum} too much: {}", wrong()));
                }
                balances(bank, (0..).zip(parts))
            }
            (Transaction::Add { .. }, [Reply::Integer(1)]) => Some(Vec::new()),
            (Transaction::Shift { sets, member }, [Reply::Integer(shifts @ 0..=1)]) => {
                let was = added(member);
                let sight = if *shifts == 1 { Sight::Has(was) } else { Sight::Lacks(was) };
                Some(vec![(Object::Sets(sets), sight)])
            }
            (Transaction::Members { sets }, [left, right]) => {
                let (left, right) = (elements(left), elements(right));
                let both =
                    left.iter().flatten().find(|one| right.iter().flatten().any(|o| o == *one));
                if let Some(member) = both {
                    return Err(format!("{member} is in both sets: {}", wrong()));
                }
                left.zip(right).map(|(left, right)| vec![members(sets, &left, &right)])
            }
            (Transaction::Copy { number }, [Reply::Integer(copied @ 0..=1)]) => {
                let nothing = (Object::List(copied_by(number)), Sight::All(Vec::new()));
                Some(if *copied == 1 { Vec::new() } else { vec![nothing] })
            }
            (Transaction::Copies { first, .. }, parts) => copies(first, parts),
            _ => None,
        };
        sights.ok_or_else(wrong)
    }
}

fn appended(to: Lists, of: Lists, parts: &[Reply]) -> Option<Vec<(Object, Sight)>> {
    let (lengths, ranges) = parts.split_at(to.len());
    let lengths = to.iter().zip(lengths).map(|(list, length)| {
        Some((Object::List(list), Sight::Length(integer(length)?.try_into().ok()?)))
    });
    let ranges = of
        .iter()
        .zip(ranges)
        .map(|(list, range)| Some((Object::List(list), Sight::All(elements(range)?))));
    lengths.chain(ranges).collect()
}

fn balances<'a>(
    bank: u64,
    accounts: impl Iterator<Item = (u64, &'a Reply)>,
) -> Option<Vec<(Object, Sight)>> {
    let sights = accounts.map(|(number, balance)| {
        let moves = moves_of(bank, integer(balance)?);
        Some((Object::Account { bank, number }, Sight::All(moves)))
    });
    sights.collect()
}

fn members(sets: u64, left: &[u64], right: &[u64]) -> (Object, Sight) {
    let shifts = right.iter().map(|member| shifted(*member));
    let all = left.iter().chain(right).map(|member| added(*member)).chain(shifts);
    (Object::Sets(sets), Sight::All(all.collect()))
}

fn copies(first: u64, parts: &[Reply]) -> Option<Vec<(Object, Sight)>> {
    let sights = (first..).zip(parts).map(|(number, part)| {
        let of = Object::List(copied_by(number));
        let seen = Sight::Copied { number, of, all: elements(part)? };
        Some((Object::Copy(number), seen))
    });
    sights.collect()
}

fn copied_by(number: u64) -> u64 {
    number % LISTS
}

fn added(member: u64) -> u64 {
    member * 2
}

fn shifted(member: u64) -> u64 {
    member * 2 + 1
}

fn amount_of(number: u64) -> i64 {
    3_i64.pow((number % MOVES_MAX) as u32)
}

/// What was done to an account that has so much: its digits are -1, 0 and 1.
fn moves_of(bank: u64, mut balance: i64) -> Vec<u64> {
    let mut moves = Vec::new();
    for number in bank * MOVES_MAX.. {
        if balance == 0 {
            break;
        }
        let digit = [0, 1, -1][balance.rem_euclid(3) as usize];
        if digit != 0 {
            moves.push(number * 2 + u64::from(digit < 0));
        }
        balance = (balance - digit) / 3;
    }
    moves
}

fn integer(reply: &Reply) -> Option<i64> {
    match reply {
        Reply::Integer(number) => Some(*number),
        Reply::Null => Some(0),
        Reply::Bulk(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        _ => None,
    }
}

fn elements(reply: &Reply) -> Option<Vec<u64>> {
    let Reply::Many(items) = reply else { return None };
    let element = |item: &Reply| match item {
        Reply::Bulk(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        _ => None,
    };
    items.iter().map(element).collect()
}
