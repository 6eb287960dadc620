//! What the bytes of a group's entry are: a head that says what the core's log has in its record
//! header, then the record's payload. `log/FORMAT.md` has the rest.
//!
//! | offset | size | what |
//! | --- | --- | --- |
//! | 0 | 1 | kind, as in a record: 1 entry, 3 void, 9 marker |
//! | 1 | 1 | 0 |
//! | 2 | 2 | participants of the entry's transaction, little-endian |
//! | 4 | 8 | up to which entry the shard's were decided when this was made, little-endian |
//! | 12 | | payload, as in a record |
//!
//! The first entry of a leader's term is empty, and so is its record's payload. Entries of one
//! index and term may differ between nodes in what they call decided: each says what its node knew.

use std::ops::Deref;

use bytes::Bytes;

use super::entry::{Entry, EntryKind};
use crate::ids::{Index, ShardId};
use crate::log::GroupEntryRef;
use crate::log::record::RecordKind;
use crate::release::Transaction;
use crate::release::resolve::{Content, Placed};

const HEAD_BYTES: usize = 12;

/// The bytes of an entry with these effects, of a shard that is decided so far.
pub fn encode_entry(transaction: Option<&Transaction>, decided: Index, effects: &[u8]) -> Bytes {
    let participants = transaction.map_or(0, |transaction| transaction.participants.len());
    let named = Transaction::encoded_bytes(participants);
    let mut bytes = Vec::with_capacity(HEAD_BYTES + named + effects.len());
    put_head(RecordKind::Entry, participants, decided, &mut bytes);
    if let Some(transaction) = transaction {
        transaction.encode(&mut bytes);
    }
    bytes.extend_from_slice(effects);
    bytes.into()
}

/// The bytes of an entry that voids those of its shard from `from` on, up to itself.
pub fn encode_void(from: Index) -> Bytes {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + 8);
    put_head(RecordKind::Void, 0, Index(from.0.saturating_sub(1)), &mut bytes);
    bytes.extend_from_slice(&from.0.to_le_bytes());
    bytes.into()
}

/// The bytes of an entry that says no more than what is decided.
pub fn encode_marker(decided: Index) -> Bytes {
    let mut bytes = Vec::with_capacity(HEAD_BYTES);
    put_head(RecordKind::Marker, 0, decided, &mut bytes);
    bytes.into()
}

fn put_head(kind: RecordKind, participants: usize, decided: Index, bytes: &mut Vec<u8>) {
    let participants = u16::try_from(participants).expect("there are fewer shards");
    bytes.extend_from_slice(&[kind as u8, 0]);
    bytes.extend_from_slice(&participants.to_le_bytes());
    bytes.extend_from_slice(&decided.0.to_le_bytes());
}

/// A group's entry as it stands in the core's log, of a shard that this node knows to be decided so
/// far, or its leader has. `None` if its bytes are malformed.
pub fn to_record<'a>(entry: &'a Entry, shard: ShardId, known: Index) -> Option<GroupEntryRef<'a>> {
    let decided = decided(entry).max(known);
    let Entry { index, term, .. } = *entry;
    let (kind, participants, payload) = match entry.kind {
        EntryKind::Members => (RecordKind::Change, 0, &entry.payload[..]),
        EntryKind::Data if entry.payload.is_empty() => (RecordKind::Entry, 0, &[][..]),
        EntryKind::Data => split(&entry.payload)?,
    };
    Some(GroupEntryRef { shard, term, index, decided, kind, participants, payload })
}

fn split(bytes: &[u8]) -> Option<(RecordKind, u16, &[u8])> {
    let (head, payload) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let participants = u16::from_le_bytes([head[2], head[3]]);
    let kind = match head[0] {
        kind if kind == RecordKind::Entry as u8 => RecordKind::Entry,
        kind if kind == RecordKind::Void as u8 && participants == 0 => RecordKind::Void,
        kind if kind == RecordKind::Marker as u8 && participants == 0 => RecordKind::Marker,
        _ => return None,
    };
    (head[1] == 0).then_some((kind, participants, payload))
}

/// What an entry says: effects, a void, a change of members. `None` if its bytes are malformed.
pub fn content(entry: &Entry, shard: ShardId) -> Option<Content<&[u8]>> {
    let record = to_record(entry, shard, Index(0))?;
    Content::decode(record.kind, record.participants, (shard, entry.index), record.payload).ok()
}

/// Up to which entry the shard's were decided when this one was made; 0 where it does not say.
pub fn decided(entry: &Entry) -> Index {
    let told = entry.payload.get(4..HEAD_BYTES).filter(|_| entry.kind == EntryKind::Data);
    let told = told.and_then(|bytes| bytes.try_into().ok());
    Index(told.map_or(0, u64::from_le_bytes))
}

/// A group's entry from what its record said. `None` for what is none.
pub fn from_record<P: Deref<Target = [u8]>>(record: &Placed<P>) -> Option<Entry> {
    let Placed { index, term, decided, .. } = *record;
    let (kind, payload) = match &record.content {
        Content::Change { payload } => (EntryKind::Members, Bytes::copy_from_slice(payload)),
        Content::Entry { transaction: None, payload } if payload.is_empty() => {
            (EntryKind::Data, Bytes::new())
        }
        Content::Entry { transaction, payload } => {
            (EntryKind::Data, encode_entry(transaction.as_ref(), decided, payload))
        }
        Content::Marker => (EntryKind::Data, encode_marker(decided)),
        Content::Void { from } => (EntryKind::Data, encode_void(*from)),
        Content::Members { .. } => return None,
    };
    Some(Entry { index, term, kind, payload })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{CoreId, Incarnation, Term, TransactionId};
    use crate::release::Participant;

    const DECIDED: Index = Index(5);

    fn transaction() -> Transaction {
        let part = |shard, index| Participant { shard: ShardId(shard), index: Index(index) };
        let id =
            TransactionId { node: 1, incarnation: Incarnation(2), core: CoreId(3), counter: 4 };
        Transaction { id, participants: [part(5, 9), part(7, 8)].into() }
    }

    #[test]
    fn entries_go_through_records_unchanged() {
        let tx = transaction();
        let cases = [
            (EntryKind::Data, Bytes::new()),
            (EntryKind::Data, encode_entry(None, DECIDED, b"effects")),
            (EntryKind::Data, encode_entry(Some(&tx), DECIDED, b"effects")),
            (EntryKind::Data, encode_entry(Some(&tx), DECIDED, b"")),
            (EntryKind::Data, encode_marker(DECIDED)),
            (EntryKind::Data, encode_void(Index(6))),
            (EntryKind::Members, Bytes::from_static(b"change")),
        ];
        for (kind, payload) in cases {
            let (shard, index, term) = (ShardId(5), Index(9), Term(2));
            let entry = Entry { index, term, kind, payload };
            let content = content(&entry, shard).unwrap();
            let incarnation = Incarnation(1);
            let record = Placed { incarnation, shard, index, term, decided: DECIDED, content };
            assert_eq!(from_record(&record), Some(entry));
        }
    }

    #[test]
    fn malformed_bytes_are_none() {
        let tx = encode_entry(Some(&transaction()), DECIDED, b"");
        let mut void = encode_void(Index(6)).to_vec();
        void.pop();
        let heads =
            [&b"\x01"[..], b"\x02\0\0\0", b"\x01\x01\0\0", b"\x03\0\x02\0", b"\x09\0\x01\0"];
        for payload in heads.map(|head| [head, &[0; 8]].concat()).iter().chain([&void]) {
            let payload = Bytes::copy_from_slice(payload);
            let entry = Entry { index: Index(9), term: Term(2), kind: EntryKind::Data, payload };
            assert_eq!(content(&entry, ShardId(5)), None, "{entry:?}");
        }
        // It names another entry than the one in which it lies.
        let (index, term) = (Index(10), Term(2));
        let entry = Entry { index, term, kind: EntryKind::Data, payload: tx };
        assert_eq!(content(&entry, ShardId(5)), None);
    }
}
