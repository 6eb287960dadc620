//! The checker refuses wrong histories, and none that may be.

use super::checker::Checker;
use super::client::{Asked, Reply};
use super::workload::{ACCOUNTS, Operation};

/// What client 0 asks and is told, at times that follow each other.
struct History {
    checker: Checker,
    now_ns: u64,
}

impl History {
    fn new() -> History {
        History { checker: Checker::of_shards(1), now_ns: 0 }
    }

    fn ask(&mut self, operation: Operation) -> Asked {
        self.now_ns += 10;
        self.checker.on_asked(&operation);
        Asked { operation, started_ns: self.now_ns, replies: Vec::new() }
    }

    fn answer(&mut self, mut asked: Asked, replies: Vec<Reply>) -> Result<(), String> {
        self.now_ns += 10;
        asked.replies = replies;
        self.checker.on_done(0, &asked, self.now_ns)
    }

    fn run(&mut self, operation: Operation, reply: Reply) -> Result<(), String> {
        let asked = self.ask(operation);
        self.answer(asked, vec![reply])
    }

    /// A pipeline whose answers a crash takes.
    fn lose(&mut self, operations: Vec<Operation>) {
        let asked: Vec<Asked> = operations.into_iter().map(|one| self.ask(one)).collect();
        self.checker.on_lost(0, &asked, self.now_ns);
    }

    fn transfer(&mut self, operation: Operation) {
        let asked = self.ask(operation);
        let mut replies = vec![Reply::Simple("OK".into())];
        replies.extend([(); 2].map(|()| Reply::Simple("QUEUED".into())));
        replies.push(Reply::Many(vec![Reply::Integer(0), Reply::Integer(0)]));
        self.answer(asked, replies).expect("it ran");
    }

    /// The end, at which accounts 0 and 1 have this.
    fn end(&mut self, first: i64, second: i64) -> Result<(), String> {
        let mut balances = vec![Reply::Null; ACCOUNTS as usize];
        (balances[0], balances[1]) = (bulk(first), bulk(second));
        self.run(Operation::Audit, Reply::Many(balances))?;
        self.checker.check_end()
    }
}

fn bulk(value: i64) -> Reply {
    Reply::Bulk(value.to_string().into_bytes())
}

fn ok() -> Reply {
    Reply::Simple("OK".into())
}

fn set(key: u64, value: u64) -> Operation {
    Operation::SetOwn { key, value }
}

fn get(key: u64) -> Operation {
    Operation::GetOwn { key }
}

const TRANSFER: Operation = Operation::Transfer { from: 0, to: 1, amount: 5 };
const INCREMENT: Operation = Operation::Increment { counter: 0 };
const COUNT: Operation = Operation::ReadCounter { counter: 0 };

/// Two writes, and a third and fourth whose answers are lost.
fn with_lost_writes() -> History {
    let mut history = History::new();
    history.run(set(0, 1), ok()).unwrap();
    history.run(set(1, 2), ok()).unwrap();
    history.lose(vec![set(0, 3), set(1, 4)]);
    history
}

#[test]
fn a_later_write_is_not_there_without_an_earlier_one() {
    for (first, second, may_be) in [(1, 2, true), (3, 2, true), (3, 4, true), (1, 4, false)] {
        for order in [[0, 1], [1, 0]] {
            let mut history = with_lost_writes();
            let values = [first, second];
            let read = |key: u64| history.run(get(key), bulk(values[key as usize]));
            let verdict: Result<Vec<()>, String> = order.into_iter().map(read).collect();
            assert_eq!(verdict.is_ok(), may_be, "{first} and {second}, {order:?}");
        }
    }
}

#[test]
fn a_refused_write_may_be_missing_before_a_later_one() {
    let mut history = History::new();
    history.checker.may_refuse = true;
    history.run(set(0, 1), ok()).unwrap();
    history.lose(vec![set(0, 3), set(1, 4)]);
    history.run(get(0), bulk(1)).unwrap();
    history.run(get(1), bulk(4)).unwrap();
    assert!(history.run(get(1), Reply::Null).is_err(), "what is read stays");
}

#[test]
fn an_acknowledged_write_is_not_lost_nor_an_overwritten_one_back() {
    let mut history = with_lost_writes();
    history.run(set(0, 5), ok()).unwrap();
    assert!(history.run(get(0), bulk(3)).is_err());
    assert!(with_lost_writes().run(get(1), Reply::Null).is_err());
}

#[test]
fn a_counter_has_what_was_acknowledged_and_no_more_than_was_sent() {
    for (value, may_be) in [(0, false), (1, true), (2, true), (3, false)] {
        let mut history = History::new();
        history.run(INCREMENT, Reply::Integer(1)).unwrap();
        history.lose(vec![INCREMENT]);
        let verdict = history.run(COUNT, bulk(value));
        assert_eq!(verdict.is_ok(), may_be, "{value}: {verdict:?}");
    }
    // One increment that counts twice.
    let mut history = History::new();
    assert!(history.run(INCREMENT, Reply::Integer(2)).is_err());
}

#[test]
fn a_transaction_that_did_not_run_adds_nothing_to_a_counter() {
    let mut history = History::new();
    history.run(INCREMENT, Reply::Integer(1)).unwrap();
    let asked = history.ask(Operation::WatchedIncrement { counter: 0 });
    let queued = Reply::Simple("QUEUED".into());
    history.answer(asked, vec![ok(), bulk(1), ok(), queued, Reply::Null]).unwrap();
    assert!(history.run(COUNT, bulk(2)).is_err());
}

#[test]
fn transfers_are_neither_lost_nor_doubled() {
    // One that was acknowledged, and one that was perhaps done.
    for (moved, may_be) in [(0, false), (5, true), (10, true), (15, false)] {
        let mut history = History::new();
        history.transfer(TRANSFER);
        history.lose(vec![TRANSFER]);
        let verdict = history.end(-moved, moved);
        assert_eq!(verdict.is_ok(), may_be, "{moved}: {verdict:?}");
    }
    let mut history = History::new();
    history.transfer(TRANSFER);
    assert!(history.end(-5, 4).is_err(), "money went");
}
