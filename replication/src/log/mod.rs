//! The log of one core: records in preallocated segments, group commit, recovery. No I/O of its
//! own: [`LogWriter`] says what to write, [`recover`] reads through [`SegmentSource`].
//!
//! - `FORMAT.md`: the bytes. [`record`], [`segment`]: encode and decode them.
//! - [`writer`]: what to write, and what is durable; [`buffer`]: the buffers it fills; `entries`:
//!   what is appended.
//! - [`recovery`]: the records of a log, and where it ends. [`assembler`]: payloads from their
//!   fragments. [`walk`]: what lies in a segment, whether it belongs to the log or not.
//! - [`uses`]: which entries a segment holds, and whether it is needed. [`runs`]: where they lie.
//! - [`reader`]: entries of one shard, for a replica elsewhere. [`kept`]: what a start finds of
//!   them.
//! - `window`: the part of a segment that both have in memory.

pub mod assembler;
pub mod buffer;
mod entries;
pub mod kept;
pub mod limits;
pub mod reader;
pub mod record;
pub mod recovery;
pub mod runs;
pub mod segment;
pub mod uses;
pub mod walk;
mod window;
pub mod writer;

pub use buffer::BlockBuffer;
pub use reader::LogReader;
pub use recovery::{RecoveryError, SegmentSource, Tail, recover};
pub use segment::LogIdentity;
pub use uses::SegmentUse;
pub use writer::{
    EntryRef, GroupEntryRef, KeptFor, Lack, LogFailed, LogOperation, LogWriter, Readable,
};
