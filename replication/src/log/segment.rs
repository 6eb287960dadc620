//! Segments: their names and header block.

use super::buffer::BlockBuffer;
use super::limits::BLOCK_BYTES;

/// Versions that are read; the last one is written.
const FORMAT_VERSIONS: std::ops::RangeInclusive<u32> = 2..=3;
const MAGIC: &[u8; 8] = b"QUORSEG1";
const HEADER_BYTES: usize = 68;

/// Whose log this is; written into each segment, so that a stray file is never replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogIdentity {
    pub cluster: u128,
    pub node: u64,
    pub core: u16,
}

impl LogIdentity {
    /// The checksum with which those of the log's records begin. Clients do not know the cluster
    /// id, so nothing that they have written can pass for a record where a write was torn, nor
    /// can a record of another log.
    pub fn checksum_start(&self) -> u32 {
        let start = crc32c::crc32c(&self.cluster.to_le_bytes());
        let start = crc32c::crc32c_append(start, &self.node.to_le_bytes());
        crc32c::crc32c_append(start, &self.core.to_le_bytes())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    pub identity: LogIdentity,
    pub number: u64,
    pub size_bytes: u64,
}

/// Why a header block is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// All zeros: the segment was being made when the process ended.
    Blank,
    Damaged,
    UnknownVersion(u32),
}

pub fn file_name(number: u64) -> String {
    format!("{number:016x}.log")
}

/// The number in a segment's file name; `None` for any other file.
pub fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok())?
}

impl SegmentHeader {
    pub fn encode(&self) -> BlockBuffer {
        let mut bytes = [0u8; BLOCK_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSIONS.end().to_le_bytes());
        bytes[12..14].copy_from_slice(&self.identity.core.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.identity.cluster.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.identity.node.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.number.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.size_bytes.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..64]);
        bytes[64..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
        let mut block = BlockBuffer::with_capacity(BLOCK_BYTES);
        block.extend(&bytes);
        block
    }

    pub fn decode(block: &[u8]) -> Result<SegmentHeader, HeaderError> {
        let Some(header) = block.first_chunk::<HEADER_BYTES>() else {
            return Err(HeaderError::Damaged);
        };
        if header.iter().all(|b| *b == 0) {
            return Err(HeaderError::Blank);
        }
        let crc = u32::from_le_bytes(field(header, 64));
        if header[..8] != MAGIC[..] || crc32c::crc32c(&header[..64]) != crc {
            return Err(HeaderError::Damaged);
        }
        let version = u32::from_le_bytes(field(header, 8));
        if !FORMAT_VERSIONS.contains(&version) {
            return Err(HeaderError::UnknownVersion(version));
        }
        Ok(SegmentHeader {
            identity: LogIdentity {
                cluster: u128::from_le_bytes(field(header, 16)),
                node: u64::from_le_bytes(field(header, 32)),
                core: u16::from_le_bytes(field(header, 12)),
            },
            number: u64::from_le_bytes(field(header, 40)),
            size_bytes: u64::from_le_bytes(field(header, 48)),
        })
    }
}

/// `N` bytes at `at`, which lie within `bytes`.
pub(crate) fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_names_round_trip() {
        let identity = LogIdentity { cluster: 7 << 90, node: 3, core: 2 };
        let header = SegmentHeader { identity, number: 0xabc, size_bytes: 1 << 20 };
        let block = header.encode();
        assert_eq!(SegmentHeader::decode(block.bytes()), Ok(header));
        for at in 0..HEADER_BYTES {
            let mut bytes = block.bytes().to_vec();
            bytes[at] ^= 1;
            assert!(SegmentHeader::decode(&bytes).is_err(), "byte {at}");
        }
        assert_eq!(SegmentHeader::decode(&[0; BLOCK_BYTES]), Err(HeaderError::Blank));
        assert_eq!(file_name(0xabc), "0000000000000abc.log");
        assert_eq!(number_of("0000000000000abc.log"), Some(0xabc));
        assert_eq!(number_of("abc.log"), None);
        assert_eq!(number_of("0000000000000abc.log.new"), None);
    }
}
