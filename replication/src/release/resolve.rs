//! What a crash leaves of the transactions over several shards, with all logs of the node at hand:
//! each shard's entries are cut at the first transaction that some other participant lacks or has
//! cut, again and again until nothing changes. What is cut was never acknowledged.
//!
//! Entries are handed in as they are read and handed out as soon as their fate is known, so that
//! little of a log is in memory at a time.

use std::collections::{HashMap, VecDeque};

use crate::fault::{Fault, is_planted};
use crate::group::Members;
use crate::ids::{Incarnation, Index, ShardId, Term, TransactionId};
use crate::log::record::RecordKind;

use super::Transaction;

/// An entry of a shard, or a void, in the order of the shard's indexes.
pub struct Placed<P> {
    pub incarnation: Incarnation,
    pub shard: ShardId,
    pub index: Index,
    pub term: Term,
    /// Up to here the shard's entries were decided when this one was written.
    pub decided: Index,
    pub content: Content<P>,
}

/// What a record says of a shard at its index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content<P> {
    Entry {
        transaction: Option<Transaction>,
        payload: P,
    },
    /// Everything from there up to this was cut by an earlier start.
    Void {
        from: Index,
    },
    /// An entry that changes the members of the shard's group.
    Change {
        payload: P,
    },
    /// Nothing but that its leader serves: transactions of those before are settled in all shards.
    Marker,
    /// No entry: what the members of the group are as of the index. `installed`: the state is a
    /// checkpoint as of there, and nothing of the shard before it counts.
    Members {
        members: Members,
        installed: bool,
    },
}

impl<P> Content<P> {
    /// The same, its bytes turned into others.
    pub fn map<Q>(self, keep: impl FnOnce(P) -> Q) -> Content<Q> {
        match self {
            Content::Entry { transaction, payload } => {
                Content::Entry { transaction, payload: keep(payload) }
            }
            Content::Void { from } => Content::Void { from },
            Content::Change { payload } => Content::Change { payload: keep(payload) },
            Content::Marker => Content::Marker,
            Content::Members { members, installed } => Content::Members { members, installed },
        }
    }

    /// What takes effect, or changes members.
    pub fn payload(&self) -> Option<&P> {
        match self {
            Content::Entry { payload, .. } | Content::Change { payload } => Some(payload),
            Content::Void { .. } | Content::Members { .. } | Content::Marker => None,
        }
    }

    /// Whether it is the first entry of a leader's term.
    pub fn begins_term(&self) -> bool
    where
        P: std::ops::Deref<Target = [u8]>,
    {
        matches!(self, Content::Entry { transaction: None, payload } if payload.is_empty())
    }
}

impl<'a> Content<&'a [u8]> {
    /// What a record of this kind with so many participants and this payload says; an error if it
    /// is malformed or of no shard.
    pub fn decode(
        kind: RecordKind,
        participants: u16,
        (shard, index): (ShardId, Index),
        payload: &'a [u8],
    ) -> Result<Content<&'a [u8]>, String> {
        match kind {
            RecordKind::Void => match payload.try_into() {
                Ok(from) => Ok(Content::Void { from: Index(u64::from_le_bytes(from)) }),
                Err(_) => Err("a void of another length".into()),
            },
            RecordKind::Change => Ok(Content::Change { payload }),
            RecordKind::Marker if participants == 0 && payload.is_empty() => Ok(Content::Marker),
            RecordKind::Marker => Err("a marker with more than itself".into()),
            RecordKind::Members | RecordKind::Base => {
                let members = Members::decode(payload).ok_or("a malformed list of members")?;
                Ok(Content::Members { members, installed: kind == RecordKind::Base })
            }
            RecordKind::Entry if participants == 0 => {
                Ok(Content::Entry { transaction: None, payload })
            }
            RecordKind::Entry => {
                let participants = usize::from(participants);
                let transaction = Transaction::decode(payload, participants)
                    .ok_or("the transaction of an entry is malformed")?;
                if transaction.index_in(shard) != Some(index) {
                    return Err("an entry is no part of its own transaction".into());
                }
                let payload = &payload[Transaction::encoded_bytes(participants)..];
                Ok(Content::Entry { transaction: Some(transaction), payload })
            }
            RecordKind::Seal | RecordKind::Release | RecordKind::Vote => {
                Err("a record that says nothing of a shard's entries".into())
            }
        }
    }
}

/// How a shard goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// The last entry that took effect.
    pub last: Index,
    /// The highest index used; the next entry gets the one behind it.
    pub used: Index,
    /// Entries from here on are cut: a void must be the next thing in the shard's log.
    pub void_from: Option<Index>,
}

/// Why the logs cannot be taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contradiction {
    /// An entry that took effect names another that does not exist or was voided.
    Half { shard: ShardId, index: Index, missing: ShardId, missing_index: Index },
    /// A void names entries that had been decided.
    VoidsDecided { shard: ShardId, index: Index, from: Index },
    /// An entry is missing, or is there twice.
    OutOfOrder { shard: ShardId, index: Index, expected: Index },
    /// The log of a node without peers has a record that only a group's members write.
    OfGroup { shard: ShardId },
}

impl std::fmt::Display for Contradiction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Contradiction::Half { shard, index, missing, missing_index } => write!(
                f,
                "entry {} of shard {} is part of a transaction that was acknowledged, but entry \
                 {} of shard {} that belongs to it is in no log; a log file is missing or from \
                 another time. Nothing was changed. Restore the directory from a backup",
                index.0, shard.0, missing_index.0, missing.0
            ),
            Contradiction::VoidsDecided { shard, index, from } => write!(
                f,
                "record {} of shard {} voids its entries from {} on, which had been \
                 acknowledged; the logs are not of one directory. Nothing was changed. Restore \
                 the directory from a backup",
                index.0, shard.0, from.0
            ),
            Contradiction::OutOfOrder { shard, index, expected } => write!(
                f,
                "there is entry {} of shard {}, but entry {} is in no log and in no sound \
                 checkpoint; a file is missing, damaged or from another time",
                index.0, shard.0, expected.0
            ),
            Contradiction::OfGroup { shard } => write!(
                f,
                "a log has records of a group of nodes for shard {}, but this node has no peers",
                shard.0
            ),
        }
    }
}

impl std::error::Error for Contradiction {}

struct Shard<P> {
    /// Everything up to here took effect or was voided.
    settled: Index,
    last: Index,
    used: Index,
    decided: Index,
    /// Behind the first transaction that is not known to be decided.
    held: VecDeque<Placed<P>>,
    /// Nothing up to here is looked for: a checkpoint has it.
    base: Index,
}

/// What is known of a transaction of which some part took effect already.
struct Known {
    transaction: Transaction,
    /// Participants whose part took effect.
    taken: Vec<ShardId>,
}

/// Takes the entries of all shards of a node, each shard's in order, shards in any order.
pub struct Resolver<P> {
    shards: Vec<Shard<P>>,
    /// Transactions that took effect in some shards, until they did in all.
    known: HashMap<TransactionId, Known>,
}

impl<P> Resolver<P> {
    /// `bases`: the index up to which a checkpoint has each shard; 0 for none.
    pub fn new(bases: &[Index]) -> Resolver<P> {
        let shard = |base: &Index| Shard {
            settled: *base,
            last: *base,
            used: *base,
            decided: *base,
            held: VecDeque::new(),
            base: *base,
        };
        Resolver { shards: bases.iter().map(shard).collect(), known: HashMap::new() }
    }

    /// The index that the shard's next entry must have.
    pub fn next_index(&self, shard: ShardId) -> Option<Index> {
        self.shards.get(usize::from(shard.0)).map(|shard| Index(shard.used.0 + 1))
    }

    /// The next entry of its shard. What can take effect now is given to `apply`.
    pub fn take<E: From<Contradiction>>(
        &mut self,
        placed: Placed<P>,
        apply: &mut impl FnMut(ShardId, Index, P) -> Result<(), E>,
    ) -> Result<(), E> {
        let id = placed.shard;
        let shard = &mut self.shards[usize::from(id.0)];
        if matches!(
            placed.content,
            Content::Change { .. } | Content::Members { .. } | Content::Marker
        ) {
            return Err(Contradiction::OfGroup { shard: id }.into());
        }
        let (index, expected) = (placed.index, Index(shard.used.0 + 1));
        if index != expected {
            return Err(Contradiction::OutOfOrder { shard: id, index, expected }.into());
        }
        shard.used = placed.index;
        if let Content::Void { from } = placed.content {
            if from <= shard.decided || from > placed.index {
                let index = placed.index;
                return Err(Contradiction::VoidsDecided { shard: id, index, from }.into());
            }
            while shard.held.back().is_some_and(|held| held.index >= from) {
                shard.held.pop_back();
            }
        }
        shard.decided = shard.decided.max(placed.decided);
        shard.held.push_back(placed);
        self.settle(id, apply)
    }

    /// Gives out what is decided, and what no undecided transaction stands before.
    fn settle<E>(
        &mut self,
        id: ShardId,
        apply: &mut impl FnMut(ShardId, Index, P) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            let shard = &mut self.shards[usize::from(id.0)];
            let Some(front) = shard.held.front() else { return Ok(()) };
            let open = matches!(&front.content, Content::Entry { transaction: Some(_), .. });
            if open && front.index > shard.decided && !is_planted(Fault::HalvesTaken) {
                return Ok(());
            }
            self.apply_front(id, apply)?;
        }
    }

    /// The first entry held takes effect.
    fn apply_front<E>(
        &mut self,
        id: ShardId,
        apply: &mut impl FnMut(ShardId, Index, P) -> Result<(), E>,
    ) -> Result<(), E> {
        let shard = &mut self.shards[usize::from(id.0)];
        let Some(placed) = shard.held.pop_front() else { return Ok(()) };
        shard.settled = placed.index;
        shard.last = placed.index;
        if let Content::Entry { transaction, payload } = placed.content {
            apply(id, placed.index, payload)?;
            if let Some(transaction) = transaction {
                self.note_taken(id, transaction);
            }
        }
        Ok(())
    }

    fn note_taken(&mut self, id: ShardId, transaction: Transaction) {
        let key = transaction.id;
        let known = self.known.entry(key).or_insert(Known { transaction, taken: Vec::new() });
        known.taken.push(id);
        let (shards, taken) = (&self.shards, &known.taken);
        let whole = known.transaction.participants.iter().all(|part| {
            taken.contains(&part.shard)
                || shards.get(usize::from(part.shard.0)).is_some_and(|s| s.base >= part.index)
        });
        if whole {
            self.known.remove(&key);
        }
    }

    /// Every log is read to its end: decides what is open. Gives the rest that takes effect to
    /// `apply` and says how each shard goes on.
    pub fn finish<E: From<Contradiction>>(
        mut self,
        apply: &mut impl FnMut(ShardId, Index, P) -> Result<(), E>,
    ) -> Result<Vec<Ending>, E> {
        let cuts = self.find_cuts();
        let mut endings = Vec::new();
        for (place, cut) in cuts.into_iter().enumerate() {
            let id = ShardId(place as u16);
            let stays = |held: &Placed<P>| cut.is_none_or(|cut| held.index < cut);
            while self.shards[place].held.front().is_some_and(stays) {
                self.apply_front(id, apply)?;
            }
            let Shard { last, used, .. } = self.shards[place];
            endings.push(Ending { last, used, void_from: cut });
        }
        match self.known.values().next() {
            None => Ok(endings),
            Some(_) if is_planted(Fault::HalvesTaken) => Ok(endings),
            Some(known) => Err(self.half(known).into()),
        }
    }

    /// Where each shard's entries end: the fixed point of design §9.
    fn find_cuts(&self) -> Vec<Option<Index>> {
        let mut cuts: Vec<Option<Index>> = vec![None; self.shards.len()];
        loop {
            let mut changed = false;
            for place in 0..self.shards.len() {
                let cut = self.first_cut(place, &cuts);
                changed |= cut != cuts[place];
                cuts[place] = cut;
            }
            if !changed || is_planted(Fault::CutOnce) {
                return cuts;
            }
        }
    }

    fn first_cut(&self, place: usize, cuts: &[Option<Index>]) -> Option<Index> {
        let id = ShardId(place as u16);
        let held = self.shards[place].held.iter();
        let mut held = held.take_while(|held| cuts[place].is_none_or(|cut| held.index < cut));
        let lacks = held.find(|held| match &held.content {
            Content::Entry { transaction: Some(transaction), .. } => !transaction
                .participants
                .iter()
                .all(|part| part.shard == id || self.has(part, transaction.id, cuts)),
            _ => false,
        });
        lacks.map(|held| held.index).or(cuts[place])
    }

    /// Whether a participant has its part of a transaction, and has not cut it.
    fn has(&self, part: &super::Participant, id: TransactionId, cuts: &[Option<Index>]) -> bool {
        let place = usize::from(part.shard.0);
        let Some(shard) = self.shards.get(place) else { return false };
        if part.index <= shard.base {
            return true;
        }
        if part.index <= shard.settled {
            return self.known.get(&id).is_some_and(|known| known.taken.contains(&part.shard));
        }
        let found = shard.held.binary_search_by_key(&part.index, |held| held.index);
        let Ok(at) = found else { return false };
        cuts[place].is_none_or(|cut| part.index < cut)
            && matches!(&shard.held[at].content,
                Content::Entry { transaction: Some(found), .. } if found.id == id)
    }

    /// What a transaction that took effect somewhere lacks.
    fn half(&self, known: &Known) -> Contradiction {
        let parts = &known.transaction.participants;
        let lacking = parts.iter().find(|part| !known.taken.contains(&part.shard));
        let missing = lacking.unwrap_or(&parts[0]);
        let shard = known.taken[0];
        let index = known.transaction.index_in(shard).unwrap_or_default();
        Contradiction::Half { shard, index, missing: missing.shard, missing_index: missing.index }
    }
}
