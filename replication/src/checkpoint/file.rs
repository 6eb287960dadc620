//! Header, blocks and trailer of `FORMAT.md`, written and read.

use crate::group::Members;
use crate::ids::{Index, ShardId, Term};
use crate::version::NotApplied;

/// 1 had nothing of a group.
pub const FORMAT_VERSION: u32 = 2;
/// Header, trailer and the unit of the file's length.
pub const PAGE_BYTES: usize = 4096;
/// Longest contents that a header carries.
pub const CONTENTS_BYTES_MAX: usize = 4000;
/// Longest payload of a block: a reader never takes more memory than this for one.
pub const PAYLOAD_BYTES_MAX: usize = 2 << 30;
pub const BLOCK_HEADER_BYTES: usize = 24;

const MAGIC: &[u8; 8] = b"QUORCKP1";
const END_MAGIC: &[u8; 8] = b"QUORCKPE";
const BLOCK_MAGIC: &[u8; 4] = b"QCKB";
/// Where a file's header has its stamp.
pub const STAMP_AT: u64 = 56;
const CHECKSUM_AT: usize = PAGE_BYTES - 4;
/// The length of what is said of the group, which ends here.
const GROUP_LEN_AT: usize = PAGE_BYTES - 8;

/// Which checkpoint a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointIdentity {
    pub cluster: u128,
    pub node: u64,
    pub shard: ShardId,
    pub index: Index,
    pub term: Term,
    /// A number that this node never gives to two files.
    pub stamp: u64,
}

/// What a checkpoint says of its shard's group, as of the index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfGroup {
    pub members: Members,
    /// See [`crate::release::Release::note_ended`].
    pub ended: Option<Index>,
}

impl OfGroup {
    fn encode(&self, out: &mut Vec<u8>) {
        let ended = self.ended.map_or(0, |index| index.0);
        out.extend_from_slice(&ended.to_le_bytes());
        self.members.encode(out);
    }

    fn decode(bytes: &[u8]) -> Option<OfGroup> {
        let (ended, members) = bytes.split_first_chunk()?;
        let ended = u64::from_le_bytes(*ended);
        let ended = (ended > 0).then_some(Index(ended));
        Some(OfGroup { members: Members::decode(members)?, ended })
    }
}

/// What header and trailer say of a whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub identity: CheckpointIdentity,
    /// Without members where the node has no peers.
    pub group: OfGroup,
    pub contents: Vec<u8>,
    pub blocks: u64,
    /// Bytes of all payloads.
    pub payload_bytes: u64,
    pub file_bytes: u64,
    pub(super) end: u64,
    pub(super) digest: u32,
    pub(super) header_crc: u32,
    pub(super) last_crc: u32,
}

/// Why a file is not a checkpoint to be used. Offsets are the file's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileError {
    Newer {
        version: u32,
    },
    /// The cluster has a version that this program does not apply.
    Version(NotApplied),
    Damaged {
        offset: u64,
        what: &'static str,
    },
    /// It belongs to another cluster, node or shard, or its name says so.
    Foreign {
        found: CheckpointIdentity,
    },
    /// It could be read and is whole, but what it holds makes no shard: a fault of what wrote it.
    Contents {
        /// 0: the description in the header.
        block: u64,
        /// Where that block begins in the file.
        offset: u64,
        message: String,
    },
    Read {
        offset: u64,
        message: String,
    },
}

impl std::fmt::Display for FileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FileError::Newer { version } => write!(
                f,
                "it has format version {version}; this program knows up to {FORMAT_VERSION}: start \
                 a newer one"
            ),
            FileError::Version(error) => write!(f, "it is of {error}"),
            FileError::Damaged { offset, what } => write!(f, "damaged at byte {offset}: {what}"),
            FileError::Foreign { found } => write!(
                f,
                "it is of cluster {:032x}, node {}, shard {}, index {}: it belongs elsewhere",
                found.cluster, found.node, found.shard.0, found.index.0
            ),
            FileError::Contents { block, offset, message } => write!(
                f,
                "all its checksums hold, but block {block} at byte {offset} does not make a \
                 shard: {message}"
            ),
            FileError::Read { offset, message } => {
                write!(f, "cannot read it at byte {offset}: {message}")
            }
        }
    }
}

impl std::error::Error for FileError {}

/// Turns payloads into the bytes of a file, from first to last.
pub struct Encoder {
    start_crc: u32,
    previous_crc: u32,
    digest: u32,
    blocks: u32,
    payload_bytes: u64,
    /// Bytes given so far.
    offset: u64,
    scratch: Vec<u8>,
}

impl Encoder {
    /// Begins a file: its header goes to `out`.
    ///
    /// # Panics
    /// When contents and what is said of the group together are longer than [`CONTENTS_BYTES_MAX`].
    pub fn begin(
        identity: &CheckpointIdentity,
        group: Option<&OfGroup>,
        contents: &[u8],
        out: &mut Vec<u8>,
    ) -> Encoder {
        let page = encode_header(identity, group, contents);
        out.extend_from_slice(&page);
        Encoder {
            start_crc: crc32c::crc32c(&page[12..64]),
            previous_crc: u32_at(&page, CHECKSUM_AT),
            digest: 0,
            blocks: 0,
            payload_bytes: 0,
            offset: PAGE_BYTES as u64,
            scratch: Vec::new(),
        }
    }

    /// Appends a block with this payload.
    ///
    /// # Panics
    /// When the payload is longer than [`PAYLOAD_BYTES_MAX`].
    pub fn block(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        assert!(payload.len() <= PAYLOAD_BYTES_MAX, "a payload stays below its bound");
        self.scratch.resize(lz4_flex::block::get_maximum_output_size(payload.len()), 0);
        let packed = lz4_flex::block::compress_into(payload, &mut self.scratch);
        let stored = match packed {
            Ok(len) if len < payload.len() => &self.scratch[..len],
            _ => payload,
        };
        self.blocks += 1;
        let mut header = [0; BLOCK_HEADER_BYTES];
        header[..4].copy_from_slice(BLOCK_MAGIC);
        header[4..8].copy_from_slice(&self.blocks.to_le_bytes());
        header[8..12].copy_from_slice(&(stored.len() as u32).to_le_bytes());
        header[12..16].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        header[16..20].copy_from_slice(&self.previous_crc.to_le_bytes());
        self.previous_crc = block_crc(self.start_crc, &header, stored);
        header[20..].copy_from_slice(&self.previous_crc.to_le_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(stored);
        self.digest = crc32c::crc32c_append(self.digest, payload);
        self.payload_bytes += payload.len() as u64;
        self.offset += (BLOCK_HEADER_BYTES + stored.len()) as u64;
    }

    /// Ends the file: padding and trailer. Returns the file's length.
    pub fn end(&mut self, out: &mut Vec<u8>) -> u64 {
        let end = self.offset;
        let padded = end.next_multiple_of(PAGE_BYTES as u64);
        out.resize(out.len() + (padded - end) as usize, 0);
        let file_bytes = padded + PAGE_BYTES as u64;
        let mut page = [0; PAGE_BYTES];
        page[..8].copy_from_slice(END_MAGIC);
        page[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        page[12..16].copy_from_slice(&self.previous_crc.to_le_bytes());
        page[16..24].copy_from_slice(&u64::from(self.blocks).to_le_bytes());
        page[24..32].copy_from_slice(&self.payload_bytes.to_le_bytes());
        page[32..40].copy_from_slice(&end.to_le_bytes());
        page[40..48].copy_from_slice(&file_bytes.to_le_bytes());
        page[48..52].copy_from_slice(&self.digest.to_le_bytes());
        let crc = crc32c::crc32c_append(self.start_crc, &page[..CHECKSUM_AT]);
        page[CHECKSUM_AT..].copy_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&page);
        file_bytes
    }
}

fn encode_header(
    identity: &CheckpointIdentity,
    group: Option<&OfGroup>,
    contents: &[u8],
) -> [u8; PAGE_BYTES] {
    let mut listed = Vec::new();
    group.iter().for_each(|group| group.encode(&mut listed));
    assert!(contents.len() + listed.len() <= CONTENTS_BYTES_MAX, "they fit into the header");
    let mut page = [0; PAGE_BYTES];
    page[..8].copy_from_slice(MAGIC);
    page[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    page[12..14].copy_from_slice(&identity.shard.0.to_le_bytes());
    page[14..16].copy_from_slice(&(contents.len() as u16).to_le_bytes());
    page[16..32].copy_from_slice(&identity.cluster.to_le_bytes());
    page[32..40].copy_from_slice(&identity.node.to_le_bytes());
    page[40..48].copy_from_slice(&identity.index.0.to_le_bytes());
    page[48..56].copy_from_slice(&identity.term.0.to_le_bytes());
    page[56..64].copy_from_slice(&identity.stamp.to_le_bytes());
    page[64..64 + contents.len()].copy_from_slice(contents);
    page[GROUP_LEN_AT - listed.len()..GROUP_LEN_AT].copy_from_slice(&listed);
    page[GROUP_LEN_AT..GROUP_LEN_AT + 2].copy_from_slice(&(listed.len() as u16).to_le_bytes());
    let crc = crc32c::crc32c(&page[..CHECKSUM_AT]);
    page[CHECKSUM_AT..].copy_from_slice(&crc.to_le_bytes());
    page
}

/// The header and trailer of a file of this length, both whole.
pub fn decode_summary(
    header: &[u8; PAGE_BYTES],
    trailer: &[u8; PAGE_BYTES],
    file_bytes: u64,
) -> Result<Summary, FileError> {
    let damaged = |offset, what| Err(FileError::Damaged { offset, what });
    let trailer_at = file_bytes.saturating_sub(PAGE_BYTES as u64);
    let header_crc = u32_at(header, CHECKSUM_AT);
    if header[..8] != MAGIC[..] || crc32c::crc32c(&header[..CHECKSUM_AT]) != header_crc {
        return damaged(0, "this is no header of a checkpoint");
    }
    check_version(u32_at(header, 8))?;
    let contents_len = usize::from(u16::from_le_bytes([header[14], header[15]]));
    if contents_len > CONTENTS_BYTES_MAX {
        return damaged(14, "the contents are longer than they can be");
    }
    let Some(group) = decode_group(header, contents_len) else {
        return damaged(GROUP_LEN_AT as u64, "what is said of the group is malformed");
    };
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header[12..64]), &trailer[..CHECKSUM_AT]);
    if trailer[..8] != END_MAGIC[..] || crc != u32_at(trailer, CHECKSUM_AT) {
        return damaged(trailer_at, "this is not the file's trailer");
    }
    check_version(u32_at(trailer, 8))?;
    let (end, said_bytes) = (u64_at(trailer, 32), u64_at(trailer, 40));
    let fits = end.checked_next_multiple_of(PAGE_BYTES as u64) == Some(trailer_at);
    if said_bytes != file_bytes || !fits {
        return damaged(trailer_at, "the file is not as long as its trailer says");
    }
    Ok(Summary {
        identity: CheckpointIdentity {
            cluster: u128::from_le_bytes(array_at(header, 16)),
            node: u64_at(header, 32),
            shard: ShardId(u16::from_le_bytes([header[12], header[13]])),
            index: Index(u64_at(header, 40)),
            term: Term(u64_at(header, 48)),
            stamp: u64_at(header, 56),
        },
        group,
        contents: header[64..64 + contents_len].to_vec(),
        blocks: u64_at(trailer, 16),
        payload_bytes: u64_at(trailer, 24),
        file_bytes,
        end,
        digest: u32_at(trailer, 48),
        header_crc,
        last_crc: u32_at(trailer, 12),
    })
}

fn decode_group(header: &[u8; PAGE_BYTES], contents_len: usize) -> Option<OfGroup> {
    let len = u16::from_le_bytes([header[GROUP_LEN_AT], header[GROUP_LEN_AT + 1]]);
    match usize::from(len) {
        0 => Some(OfGroup::default()),
        len if contents_len + len > CONTENTS_BYTES_MAX => None,
        len => OfGroup::decode(&header[GROUP_LEN_AT - len..GROUP_LEN_AT]),
    }
}

fn check_version(version: u32) -> Result<(), FileError> {
    if version > FORMAT_VERSION { Err(FileError::Newer { version }) } else { Ok(()) }
}

/// The fixed part of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockHeader {
    pub number: u32,
    pub stored_bytes: usize,
    pub payload_bytes: usize,
    pub previous_crc: u32,
    pub crc: u32,
}

impl BlockHeader {
    pub(super) fn decode(bytes: &[u8; BLOCK_HEADER_BYTES]) -> Option<BlockHeader> {
        let (stored_bytes, payload_bytes) = (u32_at(bytes, 8) as usize, u32_at(bytes, 12) as usize);
        let fits = stored_bytes <= payload_bytes && payload_bytes <= PAYLOAD_BYTES_MAX;
        (bytes[..4] == BLOCK_MAGIC[..] && fits).then_some(BlockHeader {
            number: u32_at(bytes, 4),
            stored_bytes,
            payload_bytes,
            previous_crc: u32_at(bytes, 16),
            crc: u32_at(bytes, 20),
        })
    }
}

/// With the checksum of the identity, the checksum of a block.
pub(super) fn block_crc(start: u32, header: &[u8], stored: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(start, &header[..20]), stored)
}

/// The checksum with which those of a file's blocks begin.
pub(super) fn start_crc(identity: &CheckpointIdentity, contents: &[u8]) -> u32 {
    crc32c::crc32c(&encode_header(identity, None, contents)[12..64])
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}
