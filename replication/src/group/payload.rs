//! What the bytes of a group's entry are: a head that says what the core's log has in its record
//! header, then the record's payload. `log/FORMAT.md` has the rest.
//!
//! | offset | size | long head |
//! | --- | --- | --- |
//! | 0 | 1 | kind, as in a record: 1 entry, 3 void, 9 marker |
//! | 1 | 1 | 0 |
//! | 2 | 2 | participants of the entry's transaction, little-endian |
//! | 4 | 8 | up to which entry the shard's were decided when this was made, little-endian |
//! | 12 | | payload, as in a record |
//!
//! From version 2 of the cluster on an entry of effects has a short one, mostly of 3 bytes: the
//! kind plus 64, then as varints (LEB128, as short as can be) the participants, and by how many
//! entries the last one that was decided stands before this one. Programs of version 1 take that
//! for damage.
//!
//! The first entry of a leader's term is empty, and so is its record's payload. Entries of one
//! index and term may differ between nodes in what they call decided, and in their heads: each says
//! what its node knew. What a start makes of its log has long heads, which all programs read.

use std::ops::Deref;

use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb::ConfChangeV2;

use super::entry::{Entry, EntryKind};
use super::roster::Roster;
use crate::ids::{Index, ShardId};
use crate::log::GroupEntryRef;
use crate::log::record::RecordKind;
use crate::release::Transaction;
use crate::release::resolve::{Content, Placed};
use crate::version::Version;

const HEAD_BYTES: usize = 12;
/// Of a short one: the kind, and two varints at their longest.
const SHORT_HEAD_BYTES_MAX: usize = 1 + 3 + 10;
/// Added to the kind where the head is short.
const SHORT: u8 = 64;

/// The bytes of an entry with these effects that is to get this index, of a shard that is decided
/// so far and whose group has this version.
pub fn encode_entry(
    transaction: Option<&Transaction>,
    (index, decided): (Index, Index),
    effects: &[u8],
    version: Version,
) -> Bytes {
    let participants = transaction.map_or(0, |transaction| transaction.participants.len());
    let named = Transaction::encoded_bytes(participants);
    let mut bytes = Vec::with_capacity(SHORT_HEAD_BYTES_MAX + named + effects.len());
    match index.0.checked_sub(decided.0).filter(|_| version >= Version::SHORT_HEADS) {
        Some(behind) => {
            bytes.push(RecordKind::Entry as u8 + SHORT);
            put_varint(participants as u64, &mut bytes);
            put_varint(behind, &mut bytes);
        }
        None => put_head(RecordKind::Entry, participants, decided, &mut bytes),
    }
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

fn put_varint(mut number: u64, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// As few bytes as the number needs, and no more than fit.
fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        let part = u64::from(byte & 0x7f);
        number |= part << shift;
        if *byte < 0x80 {
            let whole = part << shift >> shift == part && (*byte > 0 || shift == 0);
            return whole.then_some(number);
        }
    }
    None
}

/// A group's entry as it stands in the core's log, of a shard that this node knows to be decided so
/// far, or its leader has. `None` if its bytes are malformed.
pub fn to_record<'a>(entry: &'a Entry, shard: ShardId, known: Index) -> Option<GroupEntryRef<'a>> {
    let Entry { index, term, .. } = *entry;
    let Parts { kind, participants, decided, payload } = split(entry)?;
    let decided = decided.max(known);
    Some(GroupEntryRef { shard, term, index, decided, kind, participants, payload })
}

/// What an entry's bytes say.
struct Parts<'a> {
    kind: RecordKind,
    participants: u16,
    decided: Index,
    payload: &'a [u8],
}

fn split(entry: &Entry) -> Option<Parts<'_>> {
    let bytes = &entry.payload[..];
    let plain = |kind, payload| Parts { kind, participants: 0, decided: Index(0), payload };
    match bytes.first() {
        _ if entry.kind == EntryKind::Members => Some(plain(RecordKind::Change, bytes)),
        None => Some(plain(RecordKind::Entry, bytes)),
        Some(first) if *first == RecordKind::Entry as u8 + SHORT => split_short(entry, bytes),
        Some(_) => split_long(bytes),
    }
}

fn split_short<'a>(entry: &Entry, bytes: &'a [u8]) -> Option<Parts<'a>> {
    let mut rest = &bytes[1..];
    let participants = u16::try_from(take_varint(&mut rest)?).ok()?;
    let decided = Index(entry.index.0.checked_sub(take_varint(&mut rest)?)?);
    Some(Parts { kind: RecordKind::Entry, participants, decided, payload: rest })
}

fn split_long(bytes: &[u8]) -> Option<Parts<'_>> {
    let (head, payload) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let [kind, zero, participants @ .., _, _, _, _, _, _, _, _] = *head;
    let participants = u16::from_le_bytes(participants);
    let kind = match kind {
        kind if kind == RecordKind::Entry as u8 => RecordKind::Entry,
        kind if kind == RecordKind::Void as u8 && participants == 0 => RecordKind::Void,
        kind if kind == RecordKind::Marker as u8 && participants == 0 => RecordKind::Marker,
        _ => return None,
    };
    let decided = Index(u64::from_le_bytes(*head.last_chunk()?));
    (zero == 0).then_some(Parts { kind, participants, decided, payload })
}

/// What an entry says: effects, a void, a change of members. `None` if its bytes are malformed.
pub fn content(entry: &Entry, shard: ShardId) -> Option<Content<&[u8]>> {
    let record = to_record(entry, shard, Index(0))?;
    Content::decode(record.kind, record.participants, (shard, entry.index), record.payload).ok()
}

/// Up to which entry the shard's were decided when this one was made; 0 where it does not say.
pub fn decided(entry: &Entry) -> Index {
    split(entry).map_or(Index(0), |parts| parts.decided)
}

/// The version that an entry needs of whoever takes it.
pub fn needed_version(entry: &Entry) -> Version {
    match entry.payload.first() {
        _ if entry.kind == EntryKind::Members => said_version(entry),
        Some(first) if *first == RecordKind::Entry as u8 + SHORT => Version::SHORT_HEADS,
        _ => Version(1),
    }
}

/// The version that an entry says is that of the cluster from then on; the first one where it says
/// none.
pub fn said_version(entry: &Entry) -> Version {
    match entry.kind {
        EntryKind::Members => version_of_change(&entry.payload),
        EntryKind::Data => Version(1),
    }
}

/// The same of the bytes of a change of members.
pub fn version_of_change(bytes: &[u8]) -> Version {
    let change = ConfChangeV2::parse_from_bytes(bytes).ok();
    let roster = change.and_then(|change| Roster::decode(&change.context));
    roster.map_or(Version(1), |roster| roster.version)
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
            let at = (index, decided);
            (EntryKind::Data, encode_entry(transaction.as_ref(), at, payload, Version(1)))
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
    const AT: (Index, Index) = (Index(9), DECIDED);

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
            (EntryKind::Data, encode_entry(None, AT, b"effects", Version(1))),
            (EntryKind::Data, encode_entry(Some(&tx), AT, b"effects", Version(1))),
            (EntryKind::Data, encode_entry(Some(&tx), AT, b"", Version(1))),
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
        let tx = encode_entry(Some(&transaction()), AT, b"", Version(1));
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

    fn of(index: u64, payload: &[u8]) -> Entry {
        let payload = Bytes::copy_from_slice(payload);
        Entry { index: Index(index), term: Term(2), kind: EntryKind::Data, payload }
    }

    /// By the table above, and LEB128.
    #[test]
    fn a_short_head_says_the_same_and_only_where_the_version_allows() {
        let (at, newer) = ((Index(300), Index(0)), Version::SHORT_HEADS);
        assert_eq!(encode_entry(None, at, b"xy", newer), &b"\x41\x00\xac\x02xy"[..]);
        assert_eq!(encode_entry(None, at, b"", Version(1))[0], 1);
        let tx = transaction();
        for (transaction, effects) in [(None, &b"effects"[..]), (Some(&tx), b""), (Some(&tx), b"e")]
        {
            let short = of(9, &encode_entry(transaction, AT, effects, newer));
            let long = of(9, &encode_entry(transaction, AT, effects, Version(1)));
            assert_eq!(short.payload.len() + 9, long.payload.len());
            assert_eq!(content(&short, ShardId(5)), content(&long, ShardId(5)));
            assert_eq!((decided(&short), decided(&long)), (DECIDED, DECIDED));
            assert_eq!((needed_version(&short), needed_version(&long)), (newer, Version(1)));
        }
        // Cut, before the first entry, too many participants, longer than it need be, too long.
        let beyond = [&b"\x41\0"[..], &[0xff; 9], &[2]].concat();
        let heads = [&b"\x41"[..], b"\x41\0", b"\x41\0\x0a", b"\x41\xff\xff\x7f\x01"];
        let heads = heads.into_iter().chain([&b"\x41\0\x81\0"[..], &beyond]);
        for head in heads {
            assert_eq!(content(&of(9, head), ShardId(5)), None, "{head:?}");
        }
        assert_eq!(decided(&of(9, b"\x41\0\x09")), Index(0));
    }
}
