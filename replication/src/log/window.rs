//! A moving part of one segment in memory, and the records in it.

use super::limits::{BLOCK_BYTES, READ_BYTES};
use super::record::{HEADER_BYTES, NoRecord, RecordHeader};
use super::recovery::{RecoveryError, SegmentSource, read_error};
use super::segment::{LogIdentity, file_name};

/// A moving part of one segment in memory.
pub(super) struct Window {
    segment: u64,
    size: u64,
    checksum_start: u32,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    pub(super) fn new(segment: u64, size: u64, identity: &LogIdentity) -> Window {
        let checksum_start = identity.checksum_start();
        Window { segment, size, checksum_start, start: 0, bytes: Vec::new() }
    }

    /// The bytes from `offset` on; `record` has made sure that they are here.
    pub(super) fn bytes(&self, offset: u64, len: usize) -> &[u8] {
        let at = (offset - self.start) as usize;
        &self.bytes[at..at + len]
    }

    /// The record at `offset`, whether it continues the chain or not.
    pub(super) fn record<S: SegmentSource>(
        &mut self,
        source: &mut S,
        offset: u64,
    ) -> Result<Option<(RecordHeader, u32)>, RecoveryError> {
        let mut wanted = HEADER_BYTES;
        loop {
            if offset + wanted as u64 > self.size {
                return Ok(None);
            }
            self.fill(source, offset, wanted)?;
            let at = (offset - self.start) as usize;
            match RecordHeader::read(&self.bytes[at..], self.checksum_start) {
                Ok((header, _, crc)) => return Ok(Some((header, crc))),
                Err(NoRecord::NeedsBytes(bytes)) if bytes > wanted => wanted = bytes,
                Err(NoRecord::UnknownVersion(version)) => {
                    let file = file_name(self.segment);
                    return Err(RecoveryError::UnknownVersion {
                        file,
                        version: u32::from(version),
                    });
                }
                Err(_) => return Ok(None),
            }
        }
    }

    fn fill<S: SegmentSource>(
        &mut self,
        source: &mut S,
        offset: u64,
        len: usize,
    ) -> Result<(), RecoveryError> {
        let end = self.start + self.bytes.len() as u64;
        if offset >= self.start && offset + len as u64 <= end {
            return Ok(());
        }
        self.start = offset / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
        let wanted = ((offset - self.start) as usize + len).max(READ_BYTES) as u64;
        let len = wanted.min(self.size - self.start) as usize;
        self.bytes.resize(len, 0);
        source
            .read(self.segment, self.start, &mut self.bytes)
            .map_err(|e| read_error(self.segment, &e))
    }
}
