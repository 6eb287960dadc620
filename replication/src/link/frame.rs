//! Frames. Little-endian.
//!
//! | offset | size | what |
//! | --- | --- | --- |
//! | 0 | 4 | length of the payload |
//! | 4 | 2 | shard whose group it is for |
//! | 6 | 1 | kind: 1 a message of the group |
//! | 7 | 1 | 0 |
//! | 8 | 4 | number of the frame on this link, from 0 |
//! | 12 | 4 | CRC32C of bytes 0..12 and the payload, begun with the link's seed |
//! | 16 | | payload |

use super::{FRAME_BYTES_MAX, LinkError};
use crate::ids::ShardId;

pub const FRAME_HEAD_BYTES: usize = 16;
const MESSAGE: u8 = 1;

/// A message for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub shard: ShardId,
    pub payload: &'a [u8],
}

/// Writes frames in their order.
#[derive(Clone, Debug)]
pub struct FrameWriter {
    seed: u32,
    next: u32,
}

impl FrameWriter {
    pub fn new(seed: u32) -> FrameWriter {
        FrameWriter { seed, next: 0 }
    }

    /// Appends a frame to `out`. A payload beyond [`FRAME_BYTES_MAX`] is a fault of the caller's.
    pub fn write(&mut self, frame: Frame<'_>, out: &mut Vec<u8>) {
        assert!(frame.payload.len() <= FRAME_BYTES_MAX, "{} bytes", frame.payload.len());
        let mut head = [0; FRAME_HEAD_BYTES];
        head[..4].copy_from_slice(&(frame.payload.len() as u32).to_le_bytes());
        head[4..6].copy_from_slice(&frame.shard.0.to_le_bytes());
        head[6] = MESSAGE;
        head[8..12].copy_from_slice(&self.next.to_le_bytes());
        let checksum = checksum(self.seed, &head, frame.payload);
        head[12..].copy_from_slice(&checksum.to_le_bytes());
        self.next = self.next.wrapping_add(1);
        out.extend_from_slice(&head);
        out.extend_from_slice(frame.payload);
    }
}

/// Reads frames from bytes that come in any pieces. After an error it gives nothing more.
#[derive(Clone, Debug)]
pub struct FrameReader {
    seed: u32,
    next: u32,
    bytes: Vec<u8>,
    used: usize,
    failed: Option<LinkError>,
}

impl FrameReader {
    pub fn new(seed: u32) -> FrameReader {
        FrameReader { seed, next: 0, bytes: Vec::new(), used: 0, failed: None }
    }

    /// Takes what was received. What is kept is never more than a frame and this.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.used);
        self.used = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame, `None` until more has come.
    pub fn read(&mut self) -> Result<Option<Frame<'_>>, LinkError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let range = match self.check() {
            Ok(Some(range)) => range,
            Ok(None) => return Ok(None),
            Err(error) => {
                self.failed = Some(error.clone());
                return Err(error);
            }
        };
        let shard = u16::from_le_bytes([self.bytes[self.used + 4], self.bytes[self.used + 5]]);
        self.used = range.end;
        self.next = self.next.wrapping_add(1);
        Ok(Some(Frame { shard: ShardId(shard), payload: &self.bytes[range] }))
    }

    /// Where the next frame's payload lies, if it is here whole and sound.
    fn check(&self) -> Result<Option<std::ops::Range<usize>>, LinkError> {
        let rest = &self.bytes[self.used..];
        let Some(head) = rest.first_chunk::<FRAME_HEAD_BYTES>() else { return Ok(None) };
        let u32_at =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let len = u32_at(0) as usize;
        if len > FRAME_BYTES_MAX {
            return Err(LinkError::TooLong { bytes: len });
        }
        let Some(payload) = rest.get(FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + len) else {
            return Ok(None);
        };
        let sound = u32_at(12) == checksum(self.seed, head, payload);
        if !sound || u32_at(8) != self.next || head[6] != MESSAGE {
            return Err(LinkError::Damaged);
        }
        let start = self.used + FRAME_HEAD_BYTES;
        Ok(Some(start..start + len))
    }
}

fn checksum(seed: u32, head: &[u8; FRAME_HEAD_BYTES], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &head[..12]), payload)
}
