//! Records: their 72 byte header, checksum and chain.

use crate::fault::{Fault, is_planted};
use crate::ids::{Incarnation, Index, Lsn, ShardId, Term};

use super::buffer::BlockBuffer;
use super::limits::RECORD_BYTES_MAX;
use super::segment::field;

pub const HEADER_BYTES: usize = 72;
const MAGIC: &[u8; 4] = b"QREC";
/// Versions that are read; the last one is written. 2 lacked the records of groups.
pub(super) const FORMAT_VERSIONS: std::ops::RangeInclusive<u8> = 2..=3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// Effects of one shard.
    Entry = 1,
    /// An orderly stop: everything before is durable.
    Seal = 2,
    /// Entries of one shard that a start has cut.
    Void = 3,
    /// Segments before one are not needed any more.
    Release = 4,
    /// What this node has promised in a shard's group.
    Vote = 5,
    /// An entry that changes the members of a shard's group.
    Change = 6,
    /// What the members of a shard's group are as of an index.
    Members = 7,
    /// The same, and the shard's state is a checkpoint as of there that another node sent.
    Base = 8,
    /// An entry of a group without effects: its leader serves, and says what is decided.
    Marker = 9,
}

impl RecordKind {
    /// Whether it says something of a shard at an index.
    pub fn has_index(self) -> bool {
        match self {
            RecordKind::Entry | RecordKind::Void | RecordKind::Change => true,
            RecordKind::Members | RecordKind::Base | RecordKind::Marker => true,
            RecordKind::Seal | RecordKind::Release | RecordKind::Vote => false,
        }
    }

    /// Whether it is an entry of its shard.
    pub fn is_entry(self) -> bool {
        matches!(
            self,
            RecordKind::Entry | RecordKind::Void | RecordKind::Change | RecordKind::Marker
        )
    }

    fn decode(byte: u8) -> Option<RecordKind> {
        Some(match byte {
            1 => RecordKind::Entry,
            2 => RecordKind::Seal,
            3 => RecordKind::Void,
            4 => RecordKind::Release,
            5 => RecordKind::Vote,
            6 => RecordKind::Change,
            7 => RecordKind::Members,
            8 => RecordKind::Base,
            9 => RecordKind::Marker,
            _ => return None,
        })
    }
}

/// Which part of a payload a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    pub first: bool,
    pub last: bool,
}

impl Fragment {
    pub const WHOLE: Fragment = Fragment { first: true, last: true };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    pub kind: RecordKind,
    pub fragment: Fragment,
    pub lsn: Lsn,
    pub incarnation: Incarnation,
    pub durable: Lsn,
    pub term: Term,
    pub index: Index,
    pub shard: ShardId,
    /// How many shards take part in the entry's transaction, which stands before its effects; 0:
    /// none does.
    pub participants: u16,
    /// Highest index of the shard known to be decided when this record was built.
    pub decided: Index,
    pub payload_len: u32,
    /// Checksum of the record before.
    pub previous_crc: u32,
}

/// Why there is no record at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRecord {
    /// No magic, a bad checksum, an impossible field, or the end of the bytes.
    Invalid,
    /// A header that needs this many bytes in all to be judged.
    NeedsBytes(usize),
    UnknownVersion(u8),
}

impl RecordHeader {
    /// Appends header and payload, given in two parts; there is room for all. Returns the record's
    /// checksum, which begins with `start`
    /// ([`LogIdentity::checksum_start`](super::LogIdentity::checksum_start)).
    pub fn write(&self, payload: [&[u8]; 2], start: u32, out: &mut BlockBuffer) -> u32 {
        let payload_bytes = payload[0].len() + payload[1].len();
        assert_eq!(self.payload_len as usize, payload_bytes);
        assert!(HEADER_BYTES + payload_bytes <= RECORD_BYTES_MAX);
        let mut header = [0u8; HEADER_BYTES];
        header[..4].copy_from_slice(MAGIC);
        header[4] = *FORMAT_VERSIONS.end();
        header[5] = self.kind as u8;
        header[6] = u8::from(self.fragment.first) | u8::from(self.fragment.last) << 1;
        header[8..16].copy_from_slice(&self.lsn.0.to_le_bytes());
        header[16..24].copy_from_slice(&self.incarnation.0.to_le_bytes());
        header[24..32].copy_from_slice(&self.durable.0.to_le_bytes());
        header[32..40].copy_from_slice(&self.term.0.to_le_bytes());
        header[40..48].copy_from_slice(&self.index.0.to_le_bytes());
        header[48..50].copy_from_slice(&self.shard.0.to_le_bytes());
        header[50..52].copy_from_slice(&self.participants.to_le_bytes());
        header[52..56].copy_from_slice(&self.payload_len.to_le_bytes());
        header[56..64].copy_from_slice(&self.decided.0.to_le_bytes());
        header[64..68].copy_from_slice(&self.previous_crc.to_le_bytes());
        let parts = [&header[..68], payload[0], payload[1]];
        let crc = parts.iter().fold(start, |crc, part| crc32c::crc32c_append(crc, part));
        header[68..].copy_from_slice(&crc.to_le_bytes());
        out.extend(&header);
        out.extend(payload[0]);
        out.extend(payload[1]);
        crc
    }

    /// The number that whatever begins here says to have, be it whole or not.
    pub fn claimed_lsn(bytes: &[u8]) -> Option<Lsn> {
        let header = bytes.first_chunk::<HEADER_BYTES>()?;
        (header[..4] == MAGIC[..]).then(|| Lsn(u64::from_le_bytes(field(header, 8))))
    }

    /// Reads the record at the start of `bytes`: header, payload, checksum.
    pub fn read(bytes: &[u8], start: u32) -> Result<(RecordHeader, &[u8], u32), NoRecord> {
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(NoRecord::NeedsBytes(HEADER_BYTES));
        };
        if header[..4] != MAGIC[..] {
            return Err(NoRecord::Invalid);
        }
        let payload_len = u32::from_le_bytes(field(header, 52));
        let end = HEADER_BYTES + payload_len as usize;
        if end > RECORD_BYTES_MAX {
            return Err(NoRecord::Invalid);
        }
        let Some(payload) = bytes.get(HEADER_BYTES..end) else {
            return Err(NoRecord::NeedsBytes(end));
        };
        let crc = u32::from_le_bytes(field(header, 68));
        let found = crc32c::crc32c_append(crc32c::crc32c_append(start, &header[..68]), payload);
        if found != crc && !is_planted(Fault::RecordsUnchecked) {
            return Err(NoRecord::Invalid);
        }
        if !FORMAT_VERSIONS.contains(&header[4]) {
            return Err(NoRecord::UnknownVersion(header[4]));
        }
        let Some(kind) = RecordKind::decode(header[5]) else { return Err(NoRecord::Invalid) };
        let record = RecordHeader {
            kind,
            fragment: Fragment { first: header[6] & 1 != 0, last: header[6] & 2 != 0 },
            lsn: Lsn(u64::from_le_bytes(field(header, 8))),
            incarnation: Incarnation(u64::from_le_bytes(field(header, 16))),
            durable: Lsn(u64::from_le_bytes(field(header, 24))),
            term: Term(u64::from_le_bytes(field(header, 32))),
            index: Index(u64::from_le_bytes(field(header, 40))),
            shard: ShardId(u16::from_le_bytes(field(header, 48))),
            participants: u16::from_le_bytes(field(header, 50)),
            decided: Index(u64::from_le_bytes(field(header, 56))),
            payload_len,
            previous_crc: u32::from_le_bytes(field(header, 64)),
        };
        Ok((record, payload, crc))
    }
}

#[cfg(test)]
mod tests {
    use super::super::segment::LogIdentity;
    use super::*;

    fn sample() -> RecordHeader {
        RecordHeader {
            kind: RecordKind::Entry,
            fragment: Fragment::WHOLE,
            lsn: Lsn(0x0102_0304_0506_0708),
            incarnation: Incarnation(9),
            durable: Lsn(0x11),
            term: Term(1),
            index: Index(0x22),
            shard: ShardId(0x3344),
            participants: 0x0506,
            decided: Index(0x21),
            payload_len: 5,
            previous_crc: 0xdead_beef,
        }
    }

    /// The layout of FORMAT.md, byte by byte.
    #[test]
    fn test_vector() {
        let mut buffer = BlockBuffer::with_capacity(4096);
        let identity = LogIdentity { cluster: 0x0102, node: 3, core: 4 };
        let start = identity.checksum_start();
        let crc = sample().write([b"hel", b"lo"], start, &mut buffer);
        let mut expected = b"QREC\x03\x01\x03\x00\x08\x07\x06\x05\x04\x03\x02\x01".to_vec();
        expected.extend(9u64.to_le_bytes());
        expected.extend(0x11u64.to_le_bytes());
        expected.extend(1u64.to_le_bytes());
        expected.extend(0x22u64.to_le_bytes());
        expected.extend(b"\x44\x33\x06\x05\x05\x00\x00\x00");
        expected.extend(0x21u64.to_le_bytes());
        expected.extend(b"\xef\xbe\xad\xde");
        assert_eq!(expected.len(), 68);
        let mut summed = b"\x02\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
        summed.extend(b"\x03\0\0\0\0\0\0\0\x04\0");
        summed.extend(&expected);
        summed.extend(b"hello");
        assert_eq!(crc, crc32c::crc32c(&summed));
        expected.extend(crc.to_le_bytes());
        expected.extend(b"hello");
        assert_eq!(buffer.bytes(), expected);
        assert_eq!(RecordHeader::read(buffer.bytes(), start), Ok((sample(), &b"hello"[..], crc)));
        let other = LogIdentity { core: 5, ..identity }.checksum_start();
        assert_eq!(RecordHeader::read(buffer.bytes(), other), Err(NoRecord::Invalid));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let mut buffer = BlockBuffer::with_capacity(4096);
        sample().write([b"", b"hello"], 7, &mut buffer);
        for bit in 0..buffer.len() * 8 {
            let mut bytes = buffer.bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(RecordHeader::read(&bytes, 7).is_err(), "bit {bit}");
        }
    }
}
