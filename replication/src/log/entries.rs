//! What is appended to a log, as who appends it says it.

use super::record::RecordKind;
use crate::ids::{Index, ShardId, Term};
use crate::release::Transaction;

/// One entry to append.
#[derive(Clone, Copy, Debug)]
pub struct EntryRef<'a> {
    pub shard: ShardId,
    pub term: Term,
    pub index: Index,
    /// Up to here the shard's entries are decided.
    pub decided: Index,
    /// The transaction over several shards of which the entry is a part.
    pub transaction: Option<&'a Transaction>,
    pub payload: &'a [u8],
}

/// One entry of a group, as `group::payload` takes it apart.
#[derive(Clone, Copy, Debug)]
pub struct GroupEntryRef<'a> {
    pub shard: ShardId,
    pub term: Term,
    pub index: Index,
    /// Up to here the shard's entries are committed and decided.
    pub decided: Index,
    /// Entry, void or change.
    pub kind: RecordKind,
    pub participants: u16,
    /// With the transaction, if it is part of one.
    pub payload: &'a [u8],
}

/// What a record says beside its payload and its place in the log.
#[derive(Clone, Copy)]
pub(super) struct Subject {
    pub kind: RecordKind,
    pub shard: ShardId,
    pub term: Term,
    pub index: Index,
    pub decided: Index,
    pub participants: u16,
}

impl Subject {
    /// Of a record that concerns no shard.
    pub(super) fn of_log(kind: RecordKind) -> Subject {
        let (shard, term) = (ShardId(0), Term(0));
        let (index, decided) = (Index(0), Index(0));
        Subject { kind, shard, term, index, decided, participants: 0 }
    }
}
