use std::collections::VecDeque;

use engine::hash::Hasher64;
use engine::keyspace::Shard;
use engine::keyspace::digest::{Digest, digest_of_database};
use engine::rng::Rng;
use replication::ids::{CoreId, Incarnation, Term, TransactionId};
use replication::release::resolve::{Content, Placed};
use replication::release::{Participant, Transaction};

use super::super::replay::{EntryStream, apply_in_order, bases_of, empty_shards, take_in_order};
use super::*;

const SHARDS: usize = 5;
const LOGS: usize = 3;

type Entry = Placed<Vec<u8>>;

struct Entries(VecDeque<Entry>);

impl EntryStream for Entries {
    type Payload = Vec<u8>;

    fn peek(&mut self) -> Option<Incarnation> {
        self.0.front().map(|entry| entry.incarnation)
    }

    fn next(&mut self) -> Option<Entry> {
        self.0.pop_front()
    }
}

fn empty() -> Shards {
    empty_shards(SHARDS, Hasher64::new([1, 2, 3, 4]))
}

/// Logs of a node whose shards changed cores now and then, with transactions, in effects whose
/// order shows: each entry pushes its index to a list of its shard, and sets a key.
struct Made {
    logs: Vec<Vec<Entry>>,
    keys: Vec<String>,
    next: Vec<u64>,
    /// The log in which each shard's entries lie now.
    home: Vec<usize>,
    /// Goes up when they change.
    start: u64,
    transactions: u64,
}

impl Made {
    fn new() -> Made {
        let shards = empty();
        let key_of = |shard| {
            let mut keys = (0..).map(|number| format!("k{number}"));
            keys.find(|key| shards.shard_of(key.as_bytes()) == shard).unwrap()
        };
        Made {
            logs: (0..LOGS).map(|_| Vec::new()).collect(),
            keys: (0..SHARDS).map(key_of).collect(),
            next: vec![1; SHARDS],
            home: vec![0; SHARDS],
            start: 1,
            transactions: 0,
        }
    }

    fn add(&mut self, shard: usize, transaction: Option<Transaction>, payload: Vec<u8>) {
        let index = Index(self.next[shard]);
        self.next[shard] += 1;
        let content = Content::Entry { transaction, payload };
        let decided = Index(index.0 - 1);
        self.logs[self.home[shard]].push(Placed {
            incarnation: Incarnation(self.start),
            shard: ShardId(shard as u16),
            index,
            term: Term(1),
            decided,
            content,
        });
    }

    fn payload(&self, shard: usize, rng: &mut Rng) -> Vec<u8> {
        let (key, index) = (&self.keys[shard], self.next[shard].to_string());
        let mut payload = vec![1, 21, 0, key.len() as u8];
        payload.extend_from_slice(key.as_bytes());
        payload.push(index.len() as u8);
        payload.extend_from_slice(index.as_bytes());
        payload.extend([21 | 0x80, 3]);
        payload.extend_from_slice(format!("{:03}", rng.below(1000)).as_bytes());
        payload
    }

    fn fill(&mut self, entries: usize, rng: &mut Rng) {
        for _ in 0..entries {
            let shard = rng.below(SHARDS as u64) as usize;
            match rng.below(20) {
                0 => {
                    self.home[shard] = rng.below(LOGS as u64) as usize;
                    self.start += 1;
                }
                1 => {
                    let other = (shard + 1) % SHARDS;
                    let mut both = [shard, other];
                    both.sort_unstable();
                    let part = |shard: usize| Participant {
                        shard: ShardId(shard as u16),
                        index: Index(self.next[shard]),
                    };
                    let id = TransactionId {
                        node: 1,
                        incarnation: Incarnation(1),
                        core: CoreId(0),
                        counter: self.transactions,
                    };
                    self.transactions += 1;
                    let transaction = Transaction { id, participants: both.map(part).into() };
                    for shard in both {
                        let payload = self.payload(shard, rng);
                        self.add(shard, Some(transaction.clone()), payload);
                    }
                }
                _ => {
                    let payload = self.payload(shard, rng);
                    self.add(shard, None, payload);
                }
            }
        }
    }

    fn streams(&self) -> Vec<Entries> {
        let copy = |entry: &Entry| Placed { content: entry.content.clone(), ..*entry };
        self.logs.iter().map(|log| Entries(log.iter().map(copy).collect())).collect()
    }

    /// What one thread and several make of the logs.
    fn both(&self) -> [Result<Outcome, String>; 2] {
        let settings = Settings::default();
        let mut shards = empty();
        let bases = bases_of(&shards);
        let one = apply_in_order(&mut self.streams(), &bases, empty(), &settings);
        let mut logs = self.streams();
        let several = apply_by_threads(&mut shards, &settings, 3, |take_effect| {
            take_in_order(&mut logs, &bases, take_effect)
        });
        let several = several.map(|replayed| {
            replayed.resume(&mut shards);
            (shards, replayed)
        });
        let seen = |(shards, replayed): (Shards, Replayed)| Outcome {
            digests: shards.held().map(|shard| digest_of_database(shard, 0)).collect(),
            released: shards.held().map(Shard::released).collect(),
            replayed: format!("{replayed:?}"),
        };
        [one, several].map(|result| result.map(seen).map_err(|error| error.to_string()))
    }
}

#[derive(Debug, PartialEq)]
struct Outcome {
    digests: Vec<Digest>,
    released: Vec<u64>,
    replayed: String,
}

#[test]
fn several_threads_come_to_what_one_comes_to() {
    let mut rng = Rng::new(1);
    for entries in [0, 1, 30, 3_000, 30_000] {
        let mut made = Made::new();
        made.fill(entries, &mut rng);
        let [one, several] = made.both();
        assert!(one.is_ok(), "{one:?}");
        assert_eq!(one, several, "{entries} entries");
        // The last part of a log is lost: transactions are cut, or entries are missing.
        for lost in 1..LOGS.min(entries + 1) {
            made.logs[lost].pop();
            let [one, several] = made.both();
            assert_eq!(one, several, "{entries} entries, the last ones of {lost} logs lost");
        }
    }
}

#[test]
fn what_one_thread_refuses_first_several_refuse_too() {
    let mut rng = Rng::new(2);
    for case in 0..20 {
        let mut made = Made::new();
        made.fill(2_000, &mut rng);
        for _ in 0..2 {
            let log = &mut made.logs[rng.below(LOGS as u64) as usize];
            let at = rng.below(log.len() as u64) as usize;
            if let Content::Entry { payload, .. } = &mut log[at].content {
                payload.truncate(3);
            }
        }
        // What is decided later does not hide what could not be applied before.
        made.logs[0].pop();
        let [one, several] = made.both();
        assert!(one.as_ref().is_err_and(|error| error.contains("malformed")), "{case}: {one:?}");
        assert_eq!(one, several, "case {case}");
    }
}
