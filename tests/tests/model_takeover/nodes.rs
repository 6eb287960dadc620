//! What the nodes of the model hold, and what each does by itself, in the words of
//! `server::replica`.

use std::sync::Arc;

use replication::group::restart::{Contradiction, Restart};
use replication::group::{Base, Members, NodeId};
use replication::ids::{Incarnation, Index, ShardId, Term};
use replication::release::resolve::{Content, Placed};
use replication::release::{Release, Transaction};
use replication::version::Versions;

pub const NODES: usize = 3;
pub const SHARDS: usize = 2;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A leader's first one.
    First,
    Part(Arc<Transaction>),
    Void(Index),
    Marker,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    pub term: u8,
    /// Up to here its leader had decided.
    pub said: Index,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replica {
    pub term: u8,
    pub leads: bool,
    pub log: Vec<Entry>,
    /// Of these the disk has so many.
    pub synced: usize,
    pub committed: usize,
    /// Committed entries up to here were given to the release.
    pub taken: usize,
    /// What the records of the disk say to be decided.
    pub decided: Index,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    pub replicas: [Replica; SHARDS],
    pub release: Release,
    pub serves: bool,
}

/// What became of an entry: its term, and whether it took effect.
pub type Fate = Option<(u8, bool)>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub nodes: Vec<Node>,
    /// Who was elected last.
    pub last: [usize; SHARDS],
    /// Each transaction, and the terms of its parts.
    pub transactions: Vec<(Arc<Transaction>, [u8; SHARDS])>,
    /// By shard and index.
    pub fates: [Vec<Fate>; SHARDS],
    /// What must not be.
    pub wrong: Option<&'static str>,
    pub restarts: u8,
    pub takeovers: u8,
}

pub fn shard_id(shard: usize) -> ShardId {
    ShardId(shard as u16)
}

pub fn index(place: usize) -> Index {
    Index(place as u64)
}

impl Replica {
    pub fn append(&mut self, kind: Kind, point: Index) {
        self.decided = self.decided.max(point);
        self.log.push(Entry { term: self.term, said: point, kind });
    }

    /// What a start makes of the log if it is decided up to there: which entries have effect, and
    /// where the shard has ended.
    pub fn read(&self, through: Index) -> Result<(Vec<Index>, Option<Index>), Contradiction> {
        let members = Members::of_voters((1..=NODES as u64).map(NodeId));
        let base = Base { index: 0, term: 0, members, ended: None };
        let mut restart = Restart::new(vec![base], Versions::OWN);
        let shard = ShardId(0);
        let mut applied = Vec::new();
        let mut apply = |_, at, _: Vec<u8>| {
            applied.push(at);
            Ok::<(), Contradiction>(())
        };
        for (place, entry) in self.log.iter().enumerate() {
            let none = None;
            let content = match &entry.kind {
                Kind::First => Content::Entry { transaction: none, payload: Vec::new() },
                Kind::Part(part) => {
                    let transaction = Some(Transaction::clone(part));
                    Content::Entry { transaction, payload: vec![1] }
                }
                Kind::Void(from) => Content::Void { from: *from },
                Kind::Marker => Content::Marker,
            };
            let (incarnation, term) = (Incarnation(1), Term(entry.term.into()));
            let (at, decided) = (index(place + 1), Index(0));
            let placed = Placed { incarnation, shard, index: at, term, decided, content };
            restart.take(placed, &mut apply)?;
        }
        restart.decide(shard, through, &mut apply)?;
        let ended = restart.ended(shard);
        Ok((applied, ended))
    }
}

impl Node {
    pub fn leads_all(&self) -> bool {
        self.replicas.iter().all(|replica| replica.leads)
    }

    /// What the cores of a node tell each other, at once.
    pub fn pump(&mut self) {
        while let Some(report) = self.release.poll_report() {
            self.release.on_report(report);
        }
        while self.release.poll_advanced().is_some() {}
    }

    /// What `server::replica::work` does with what is committed.
    pub fn take_committed(&mut self, shard: usize) -> Result<(), &'static str> {
        let (id, release) = (shard_id(shard), &mut self.release);
        let replica = &mut self.replicas[shard];
        let last = replica.committed;
        if last <= replica.taken {
            return Ok(());
        }
        let mut marked = Index(0);
        if !self.serves {
            for place in replica.taken + 1..=last {
                let Entry { said, kind, .. } = &replica.log[place - 1];
                marked = marked.max(*said);
                match kind {
                    Kind::First => release.note_ended(id, index(place)),
                    Kind::Marker => release.note_served(id),
                    Kind::Part(part) => release.begin(id, index(place), Arc::clone(part)),
                    Kind::Void(from) => {
                        release.note_ended(id, *from);
                        if *from <= release.point(id) {
                            return Err("a void of what was released");
                        }
                        release.void(id, *from, index(place));
                    }
                }
            }
        }
        replica.taken = last;
        release.commit(id, index(last));
        release.note_marked(id, marked);
        if marked > release.point(id) {
            release.decide_through(id, marked);
        }
        self.pump();
        Ok(())
    }

    /// It serves no more once it has lost a shard.
    pub fn stop_if_lost(&mut self) -> Result<(), &'static str> {
        if !self.serves || self.leads_all() {
            return Ok(());
        }
        self.serves = false;
        for (shard, replica) in self.replicas.iter_mut().enumerate() {
            let point = self.release.point(shard_id(shard));
            self.release.reset(shard_id(shard), point);
            replica.taken = point.0 as usize;
            if replica.log.len() > replica.taken {
                // Memory is read again.
                let (_, ended) = replica.read(point).map_err(|_| "a log that cannot be read")?;
                self.release.resume_ended(shard_id(shard), ended);
            }
        }
        (0..SHARDS).try_for_each(|shard| self.take_committed(shard))
    }
}

impl State {
    pub fn is_last(&self, node: usize) -> bool {
        self.last.iter().all(|last| *last == node)
    }

    pub fn note_fate(&mut self, shard: usize, place: usize, term: u8, effect: bool) {
        let fates = &mut self.fates[shard];
        if fates.len() < place {
            fates.resize(place, None);
        }
        let fate = &mut fates[place - 1];
        if fate.is_some_and(|before| before != (term, effect)) {
            self.wrong = Some("what was released has changed");
        }
        *fate = Some((term, effect));
    }

    /// What a node has released of a shard beyond this.
    pub fn note_released(&mut self, node: usize, shard: usize, from: Index) {
        let point = self.nodes[node].release.point(shard_id(shard));
        let replica = &self.nodes[node].replicas[shard];
        let voids: Vec<_> = (1..=replica.committed)
            .filter_map(|at| match replica.log[at - 1].kind {
                Kind::Void(from) => Some((from.0 as usize)..at),
                _ => None,
            })
            .collect();
        let terms: Vec<u8> = replica.log.iter().map(|entry| entry.term).collect();
        for place in from.0 as usize + 1..=point.0 as usize {
            let effect = !voids.iter().any(|void| void.contains(&place));
            self.note_fate(shard, place, terms[place - 1], effect);
        }
    }

    /// Of a transaction: whether some part has effect, and some has not, for good.
    pub fn is_half(&self) -> bool {
        self.transactions.iter().any(|(transaction, terms)| {
            let effects = transaction.participants.iter().filter_map(|part| {
                let shard = usize::from(part.shard.0);
                let fate = self.fates[shard].get(part.index.0 as usize - 1)?;
                fate.map(|fate| fate == (terms[shard], true))
            });
            let effects: Vec<bool> = effects.collect();
            effects.contains(&true) && effects.contains(&false)
        })
    }
}

pub fn points(node: &Node) -> [Index; SHARDS] {
    std::array::from_fn(|shard| node.release.point(shard_id(shard)))
}

/// Whether a log has as much as another, as voters see it.
pub fn has_as_much(one: &Replica, other: &Replica) -> bool {
    let key = |replica: &Replica| (replica.log.last().map(|e| e.term), replica.log.len());
    key(one) >= key(other)
}

/// The first node has served in term 1, and everybody has heard that.
pub fn first_state() -> State {
    let marker = Entry { term: 1, said: Index(0), kind: Kind::Marker };
    let follower = Replica {
        term: 1,
        leads: false,
        log: vec![marker],
        synced: 1,
        committed: 1,
        taken: 1,
        decided: Index(1),
    };
    let mut release = Release::new(SHARDS);
    (0..SHARDS).for_each(|shard| release.resume(shard_id(shard), Index(1)));
    let replicas = std::array::from_fn(|_| follower.clone());
    let node = Node { replicas, release, serves: false };
    let mut nodes = vec![node; NODES];
    nodes[0].serves = true;
    for replica in &mut nodes[0].replicas {
        replica.leads = true;
    }
    let fates = std::array::from_fn(|_| vec![Some((1, true))]);
    let (last, transactions) = ([0; SHARDS], Vec::new());
    let (wrong, restarts, takeovers) = (None, 0, 0);
    State { nodes, last, transactions, fates, wrong, restarts, takeovers }
}
