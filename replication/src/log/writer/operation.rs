//! What a log asks of its caller, and what may become of that.

use super::super::buffer::BlockBuffer;
#[cfg(doc)]
use super::LogWriter;

/// errno of a full disk or quota, and of a process or a machine without descriptors.
const ENOSPC: i32 = 28;
const EDQUOT: i32 = 122;
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

/// What there was too little of for the next segment. It comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    Space,
    Descriptors,
}

impl Lack {
    pub(super) fn of(result: Result<(), i32>) -> Option<Lack> {
        match result {
            Err(ENOSPC | EDQUOT) => Some(Lack::Space),
            Err(EMFILE | ENFILE) => Some(Lack::Descriptors),
            _ => None,
        }
    }
}

/// What the caller is to do.
#[derive(Debug)]
pub enum LogOperation {
    /// Write the buffer's bytes at `offset` of the segment, onto stable storage; then
    /// [`LogWriter::on_write_done`].
    Write { id: u64, segment: u64, offset: u64, buffer: BlockBuffer },
    /// Make the segment: `size_bytes` of zeros behind this header, all of it and its name on
    /// stable storage; then [`LogWriter::on_segment_ready`]. One to `recycle` has the same size
    /// and is not needed any more: it may become this one, header apart with its old contents.
    /// The zeros may take until so many bytes of writes have been asked for; with 0 there is no
    /// time to lose.
    PrepareSegment {
        number: u64,
        header: BlockBuffer,
        size_bytes: u64,
        recycle: Option<u64>,
        within_bytes: u64,
    },
    /// Remove a segment that is not needed any more; then [`LogWriter::on_segment_removed`].
    RemoveSegment { number: u64 },
}

/// The log can go on no more: nothing appended since is or will be durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogFailed {
    Write { segment: u64, offset: u64, errno: i32 },
    PrepareSegment { number: u64, errno: i32 },
}

impl std::fmt::Display for LogFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (what, errno) = match self {
            LogFailed::Write { segment, offset, errno } => {
                (format!("writing segment {segment} at offset {offset}"), *errno)
            }
            LogFailed::PrepareSegment { number, errno } => {
                (format!("preparing segment {number}"), *errno)
            }
        };
        write!(f, "{what} failed: {}", std::io::Error::from_raw_os_error(errno))
    }
}

impl std::error::Error for LogFailed {}
