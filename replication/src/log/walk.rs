//! The records of a segment as they lie there, of the log's chain or not: for the search behind
//! the end of a log, and for tools that print one.

use super::limits::BLOCK_BYTES;
use super::record::{HEADER_BYTES, RecordHeader};
use super::recovery::{RecoveryError, SegmentSource};
use super::window::Window;

/// A whole record of a segment, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored<'a> {
    pub offset: u64,
    pub header: RecordHeader,
    pub payload: &'a [u8],
    pub crc: u32,
}

/// Visits the whole records of a segment of `size` bytes from `offset` on: at each block boundary,
/// and behind each record found.
pub fn walk_segment<S: SegmentSource>(
    source: &mut S,
    segment: u64,
    size: u64,
    offset: u64,
    visit: &mut dyn FnMut(Stored<'_>),
) -> Result<(), RecoveryError> {
    let mut window = Window::new(segment, size);
    let mut offset = offset;
    while offset < size {
        match window.record(source, offset)? {
            Some((header, crc)) => {
                let len = header.payload_len as usize;
                let payload = window.bytes(offset + HEADER_BYTES as u64, len);
                visit(Stored { offset, header, payload, crc });
                offset += (HEADER_BYTES + len) as u64;
            }
            None => offset = (offset + 1).next_multiple_of(BLOCK_BYTES as u64),
        }
    }
    Ok(())
}
