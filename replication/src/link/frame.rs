//! Frames. Little-endian.
//!
//! | offset | size | what |
//! | --- | --- | --- |
//! | 0 | 4 | length of the payload |
//! | 4 | 2 | shard whose group it is for |
//! | 6 | 1 | kind: 1 a message of the group or the last part of one, 2 a part that others follow |
//! | 7 | 1 | 0 |
//! | 8 | 4 | number of the frame on this link, from 0 |
//! | 12 | 4 | CRC32C of bytes 0..12 and the payload, begun with the link's seed |
//! | 16 | | payload |
//!
//! The parts of a message follow each other; a message of one frame is its last part.

use super::{FRAME_BYTES_MAX, LinkError, MESSAGE_BYTES_MAX};
use crate::ids::ShardId;

pub const FRAME_HEAD_BYTES: usize = 16;
const MESSAGE: u8 = 1;
const PART: u8 = 2;

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

    /// Appends a message to `out`, in parts if it is a long one. One beyond [`MESSAGE_BYTES_MAX`]
    /// is a fault of the caller's.
    pub fn write(&mut self, frame: Frame<'_>, out: &mut Vec<u8>) {
        let Frame { shard, mut payload } = frame;
        assert!(payload.len() <= MESSAGE_BYTES_MAX, "{} bytes", payload.len());
        while payload.len() > FRAME_BYTES_MAX {
            let (part, rest) = payload.split_at(FRAME_BYTES_MAX);
            self.write_one(PART, Frame { shard, payload: part }, out);
            payload = rest;
        }
        self.write_one(MESSAGE, Frame { shard, payload }, out);
    }

    fn write_one(&mut self, kind: u8, frame: Frame<'_>, out: &mut Vec<u8>) {
        let mut head = [0; FRAME_HEAD_BYTES];
        head[..4].copy_from_slice(&(frame.payload.len() as u32).to_le_bytes());
        head[4..6].copy_from_slice(&frame.shard.0.to_le_bytes());
        head[6] = kind;
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
    /// Parts of a message whose last one has not come; once that has, all of it.
    parts: Vec<u8>,
    whole: bool,
    failed: Option<LinkError>,
}

impl FrameReader {
    pub fn new(seed: u32) -> FrameReader {
        let (bytes, parts) = (Vec::new(), Vec::new());
        FrameReader { seed, next: 0, bytes, used: 0, parts, whole: false, failed: None }
    }

    /// Takes what was received. What is kept is never more than a message and this.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.used);
        self.used = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message, `None` until more has come.
    pub fn read(&mut self) -> Result<Option<Frame<'_>>, LinkError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if std::mem::take(&mut self.whole) {
            self.parts = Vec::new();
        }
        loop {
            let range = match self.check() {
                Ok(Some(range)) => range,
                Ok(None) => return Ok(None),
                Err(error) => {
                    self.failed = Some(error.clone());
                    return Err(error);
                }
            };
            let (at, kind) = (self.used + 4, self.bytes[self.used + 6]);
            let shard = ShardId(u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]]));
            self.used = range.end;
            self.next = self.next.wrapping_add(1);
            if kind == MESSAGE && self.parts.is_empty() {
                return Ok(Some(Frame { shard, payload: &self.bytes[range] }));
            }
            self.parts.extend_from_slice(&self.bytes[range]);
            if kind == MESSAGE {
                self.whole = true;
                return Ok(Some(Frame { shard, payload: &self.parts }));
            }
        }
    }

    /// Where the next frame's payload lies, if it is here whole and sound.
    fn check(&self) -> Result<Option<std::ops::Range<usize>>, LinkError> {
        let rest = &self.bytes[self.used..];
        let Some(head) = rest.first_chunk::<FRAME_HEAD_BYTES>() else { return Ok(None) };
        let u32_at =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let len = u32_at(0) as usize;
        if len > FRAME_BYTES_MAX || self.parts.len() + len > MESSAGE_BYTES_MAX {
            return Err(LinkError::TooLong { bytes: self.parts.len() + len });
        }
        let Some(payload) = rest.get(FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + len) else {
            return Ok(None);
        };
        let sound = u32_at(12) == checksum(self.seed, head, payload);
        if !sound || u32_at(8) != self.next || !matches!(head[6], MESSAGE | PART) {
            return Err(LinkError::Damaged);
        }
        let start = self.used + FRAME_HEAD_BYTES;
        Ok(Some(start..start + len))
    }
}

fn checksum(seed: u32, head: &[u8; FRAME_HEAD_BYTES], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &head[..12]), payload)
}
