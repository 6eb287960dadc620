//! Reads a checkpoint file from its first block to its last and believes nothing that is not
//! checked. Memory: one block as stored, one as it was, and what is read ahead.

use super::file::{
    BLOCK_HEADER_BYTES, BlockHeader, FileError, PAGE_BYTES, Summary, block_crc, decode_summary,
    start_crc,
};

use crate::fault::{Fault, is_planted};

/// Bytes asked for at once: what a disk gives in about a millisecond.
const READ_BYTES: usize = 1 << 20;

/// Where the bytes of a file come from.
pub trait CheckpointSource {
    /// Length of the file.
    fn size_bytes(&mut self) -> Result<u64, String>;

    /// Fills `into` from `offset` on.
    fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), String>;
}

pub struct CheckpointReader<S> {
    source: S,
    summary: Summary,
    start_crc: u32,
    previous_crc: u32,
    digest: u32,
    /// Blocks given so far.
    blocks: u64,
    payload_bytes: u64,
    /// Where the last block given begins.
    block_at: u64,
    /// Where the next block begins.
    offset: u64,
    /// Bytes of the file from `offset` on, from `used` on.
    window: Vec<u8>,
    used: usize,
    payload: Vec<u8>,
}

impl<S: CheckpointSource> CheckpointReader<S> {
    /// Checks header and trailer. Whose checkpoint it is, is for the caller to check.
    pub fn open(mut source: S) -> Result<CheckpointReader<S>, FileError> {
        let read_error = |offset, message| FileError::Read { offset, message };
        let file_bytes = source.size_bytes().map_err(|message| read_error(0, message))?;
        let trailer_at = match file_bytes.checked_sub(PAGE_BYTES as u64) {
            Some(at) if at >= PAGE_BYTES as u64 && at.is_multiple_of(PAGE_BYTES as u64) => at,
            _ => return Err(FileError::Damaged { offset: file_bytes, what: "the file was cut" }),
        };
        let (mut header, mut trailer) = ([0; PAGE_BYTES], [0; PAGE_BYTES]);
        source.read(0, &mut header).map_err(|message| read_error(0, message))?;
        source.read(trailer_at, &mut trailer).map_err(|m| read_error(trailer_at, m))?;
        let summary = decode_summary(&header, &trailer, file_bytes)?;
        Ok(CheckpointReader {
            source,
            start_crc: start_crc(&summary.identity, &summary.contents),
            previous_crc: summary.header_crc,
            digest: 0,
            blocks: 0,
            payload_bytes: 0,
            block_at: 0,
            offset: PAGE_BYTES as u64,
            window: Vec::new(),
            used: 0,
            payload: Vec::new(),
            summary,
        })
    }

    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// An error in what the last block given holds, or in the header's contents before the first.
    pub fn contents_error(&self, message: String) -> FileError {
        FileError::Contents { block: self.blocks, offset: self.block_at, message }
    }

    /// The payload of the next block. `None` after the last, once everything that the trailer says
    /// was found to be so.
    pub fn next_payload(&mut self) -> Result<Option<&[u8]>, FileError> {
        if self.offset == self.summary.end {
            return self.check_end().map(|()| None);
        }
        let header = self.block_header()?;
        self.fill(BLOCK_HEADER_BYTES + header.stored_bytes)?;
        let (fixed, rest) = self.window[self.used..].split_at(BLOCK_HEADER_BYTES);
        let stored = &rest[..header.stored_bytes];
        let damaged = |what| Err(FileError::Damaged { offset: self.offset, what });
        let checks = !is_planted(Fault::BlocksUnchecked);
        if checks && block_crc(self.start_crc, fixed, stored) != header.crc {
            return damaged("the checksum of the block does not hold");
        }
        if header.previous_crc != self.previous_crc || u64::from(header.number) != self.blocks + 1 {
            return damaged("the block does not follow the one before");
        }
        if header.stored_bytes == header.payload_bytes {
            self.payload.clear();
            self.payload.extend_from_slice(stored);
        } else {
            self.payload.resize(header.payload_bytes, 0);
            match lz4_flex::block::decompress_into(stored, &mut self.payload) {
                Ok(len) if len == header.payload_bytes => {}
                _ => return damaged("the block does not decompress"),
            }
        }
        self.digest = crc32c::crc32c_append(self.digest, &self.payload);
        self.previous_crc = header.crc;
        self.blocks += 1;
        self.payload_bytes += header.payload_bytes as u64;
        self.block_at = self.offset;
        self.used += BLOCK_HEADER_BYTES + header.stored_bytes;
        self.offset += (BLOCK_HEADER_BYTES + header.stored_bytes) as u64;
        Ok(Some(&self.payload))
    }

    fn block_header(&mut self) -> Result<BlockHeader, FileError> {
        self.fill(BLOCK_HEADER_BYTES)?;
        let fixed = self.window[self.used..].first_chunk::<BLOCK_HEADER_BYTES>();
        let header = fixed.and_then(BlockHeader::decode);
        // What it claims to hold must lie in the file: nothing is made room for before.
        let left = self.summary.end - self.offset;
        header
            .filter(|header| (BLOCK_HEADER_BYTES + header.stored_bytes) as u64 <= left)
            .ok_or(FileError::Damaged { offset: self.offset, what: "this is no block" })
    }

    fn check_end(&mut self) -> Result<(), FileError> {
        let Summary { blocks, payload_bytes, digest, last_crc, end, .. } = self.summary;
        let counted = (self.blocks, self.payload_bytes) == (blocks, payload_bytes);
        let digests = self.digest == digest || is_planted(Fault::BlocksUnchecked);
        if !counted || self.previous_crc != last_crc || !digests {
            return Err(FileError::Damaged {
                offset: end,
                what: "the blocks are not those that the trailer counts",
            });
        }
        let mut padding = [0; PAGE_BYTES];
        let padding = &mut padding[..(end.next_multiple_of(PAGE_BYTES as u64) - end) as usize];
        let read = self.source.read(end, padding);
        read.map_err(|message| FileError::Read { offset: end, message })?;
        match padding.iter().position(|byte| *byte != 0) {
            None => Ok(()),
            Some(at) => Err(FileError::Damaged {
                offset: end + at as u64,
                what: "there is something behind the last block",
            }),
        }
    }

    /// Has at least so many bytes from `offset` on in the window.
    fn fill(&mut self, bytes: usize) -> Result<(), FileError> {
        let have = self.window.len() - self.used;
        if have >= bytes {
            return Ok(());
        }
        let from = self.offset + have as u64;
        let left = self.summary.end.saturating_sub(from);
        let more = (bytes - have).max(READ_BYTES).min(usize::try_from(left).unwrap_or(usize::MAX));
        if have + more < bytes {
            return Err(FileError::Damaged { offset: self.offset, what: "the blocks end early" });
        }
        self.window.drain(..self.used);
        self.used = 0;
        self.window.resize(have + more, 0);
        let read = self.source.read(from, &mut self.window[have..]);
        read.map_err(|message| FileError::Read { offset: from, message })
    }
}
