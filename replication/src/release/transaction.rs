//! A transaction over several shards, as each of its entries names it. `log/FORMAT.md` has the
//! bytes.

use crate::ids::{CoreId, Incarnation, Index, ShardId, TransactionId};
use crate::log::segment::field;

/// Bytes before the list of participants, and of each participant.
const ID_BYTES: usize = 26;
const PARTICIPANT_BYTES: usize = 10;

/// One shard's part: the entry in which it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Participant {
    pub shard: ShardId,
    pub index: Index,
}

/// It takes effect if and only if every participant's entry is committed and none is voided.
///
/// Invariant: at least two participants, ascending by shard, each shard once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Transaction {
    pub id: TransactionId,
    pub participants: Box<[Participant]>,
}

impl Transaction {
    /// The entry of a shard, if it takes part.
    pub fn index_in(&self, shard: ShardId) -> Option<Index> {
        let place = self.participants.binary_search_by_key(&shard, |part| part.shard).ok()?;
        Some(self.participants[place].index)
    }

    pub fn encoded_bytes(participants: usize) -> usize {
        if participants == 0 { 0 } else { ID_BYTES + participants * PARTICIPANT_BYTES }
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id.node.to_le_bytes());
        out.extend_from_slice(&self.id.incarnation.0.to_le_bytes());
        out.extend_from_slice(&self.id.core.0.to_le_bytes());
        out.extend_from_slice(&self.id.counter.to_le_bytes());
        for part in &self.participants {
            out.extend_from_slice(&part.shard.0.to_le_bytes());
            out.extend_from_slice(&part.index.0.to_le_bytes());
        }
    }

    /// Reads one of so many participants from the start of `bytes`; `None` if it is malformed.
    pub fn decode(bytes: &[u8], participants: usize) -> Option<Transaction> {
        let bytes = bytes.get(..Transaction::encoded_bytes(participants))?;
        let (id, list) = bytes.split_at_checked(ID_BYTES)?;
        let parts = list.chunks_exact(PARTICIPANT_BYTES).map(|part| Participant {
            shard: ShardId(u16::from_le_bytes(field(part, 0))),
            index: Index(u64::from_le_bytes(field(part, 2))),
        });
        let participants: Box<[Participant]> = parts.collect();
        let ascending = participants.windows(2).all(|pair| pair[0].shard < pair[1].shard);
        let id = TransactionId {
            node: u64::from_le_bytes(field(id, 0)),
            incarnation: Incarnation(u64::from_le_bytes(field(id, 8))),
            core: CoreId(u16::from_le_bytes(field(id, 16))),
            counter: u64::from_le_bytes(field(id, 18)),
        };
        (ascending && participants.len() > 1).then_some(Transaction { id, participants })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The layout of `log/FORMAT.md`, byte by byte.
    #[test]
    fn test_vector() {
        let part = |shard, index| Participant { shard: ShardId(shard), index: Index(index) };
        let id = TransactionId {
            node: 1,
            incarnation: Incarnation(0x0203),
            core: CoreId(4),
            counter: 0x0506,
        };
        let transaction = Transaction { id, participants: [part(7, 8), part(0x0109, 10)].into() };
        let mut bytes = Vec::new();
        transaction.encode(&mut bytes);
        let expected = b"\x01\0\0\0\0\0\0\0\x03\x02\0\0\0\0\0\0\x04\0\x06\x05\0\0\0\0\0\0\
                         \x07\0\x08\0\0\0\0\0\0\0\x09\x01\x0a\0\0\0\0\0\0\0";
        assert_eq!(bytes, expected);
        assert_eq!(bytes.len(), Transaction::encoded_bytes(2));
        bytes.extend_from_slice(b"effects");
        assert_eq!(Transaction::decode(&bytes, 2), Some(transaction.clone()));
        assert_eq!(transaction.index_in(ShardId(0x0109)), Some(Index(10)));
        assert_eq!(transaction.index_in(ShardId(8)), None);
        for cut in 0..expected.len() {
            assert_eq!(Transaction::decode(&expected[..cut], 2), None);
        }
        assert_eq!(Transaction::decode(&bytes, 1), None);
        bytes[26] = 0xff;
        bytes[27] = 0xff;
        assert_eq!(Transaction::decode(&bytes, 2), None, "not ascending");
    }
}
