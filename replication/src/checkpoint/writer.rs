//! Writes one checkpoint file so that it is whole under its name or not there. Lives on the core
//! that owns the shard; says what to do, one operation at a time, and does nothing itself.
//!
//! ```text
//! create → write … write → sync → (the index is released) → rename → sync directory → done
//!    └────────┴──────────┴──────────────┴─────────────────────┴──→ remove → abandoned
//! ```
//! A failure costs this checkpoint and nothing else: the log still has everything. A failed sync
//! is not tried again; the next checkpoint is another file.

use crate::fault::{Fault, is_planted};
use crate::log::BlockBuffer;

use super::catalogue::{file_name, temporary_name};
use super::file::{CheckpointIdentity, Encoder, OfGroup};

/// Bytes of a write, a multiple of 4096: long enough for the device, short beside the log's.
pub const WRITE_BYTES: usize = 256 * 1024;

/// Encoded bytes that may wait for a write before no more blocks are wanted.
const WAITING_BYTES_MAX: usize = 2 * WRITE_BYTES;

/// What the caller is to do, in the shard's checkpoint directory; then
/// [`CheckpointWriter::on_done`].
#[derive(Debug)]
pub enum FileOperation {
    /// Make this file, empty, whatever was there.
    Create {
        name: String,
    },
    /// Offset and length are multiples of 4096.
    Write {
        offset: u64,
        buffer: BlockBuffer,
    },
    /// Bring the file's data and length to stable storage.
    Sync,
    Rename {
        from: String,
        to: String,
    },
    /// Bring the directory's names to stable storage.
    SyncDirectory,
    Remove {
        name: String,
    },
}

/// Why there is no checkpoint, for INFO and the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abandoned {
    pub what: &'static str,
    /// The operating system's number, where it was its fault.
    pub errno: Option<i32>,
}

impl std::fmt::Display for Abandoned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.errno {
            Some(errno) => {
                write!(f, "{}: {}", self.what, std::io::Error::from_raw_os_error(errno))
            }
            None => f.write_str(self.what),
        }
    }
}

impl std::error::Error for Abandoned {}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The file has its name, for good.
    Catalogued {
        name: String,
        file_bytes: u64,
    },
    Abandoned(Abandoned),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Create,
    Write,
    Sync,
    /// Synced; waits for the index to be released.
    Hold,
    Rename,
    SyncDirectory,
    Remove,
    Over,
}

pub struct CheckpointWriter {
    identity: CheckpointIdentity,
    encoder: Encoder,
    step: Step,
    /// An operation is under way.
    busy: bool,
    /// Encoded, not yet handed out.
    encoded: Vec<u8>,
    offset: u64,
    /// No more blocks come, and the trailer is encoded.
    ended: bool,
    released: bool,
    file_bytes: u64,
    failure: Option<Abandoned>,
    outcome: Option<Outcome>,
}

impl CheckpointWriter {
    /// `group`: of the shard, if it has one.
    pub fn new(
        identity: CheckpointIdentity,
        group: Option<&OfGroup>,
        contents: &[u8],
    ) -> CheckpointWriter {
        let mut encoded = Vec::new();
        let encoder = Encoder::begin(&identity, group, contents, &mut encoded);
        CheckpointWriter {
            identity,
            encoder,
            step: Step::Create,
            busy: false,
            encoded,
            offset: 0,
            ended: false,
            released: false,
            file_bytes: 0,
            failure: None,
            outcome: None,
        }
    }

    pub fn identity(&self) -> &CheckpointIdentity {
        &self.identity
    }

    /// Whether the next block may come.
    pub fn wants_block(&self) -> bool {
        !self.ended && self.failure.is_none() && self.encoded.len() < WAITING_BYTES_MAX
    }

    /// Takes the next block.
    pub fn add_block(&mut self, payload: &[u8]) {
        assert!(!self.ended, "no block follows the last");
        if self.failure.is_none() {
            self.encoder.block(payload, &mut self.encoded);
        }
    }

    /// All blocks were given.
    pub fn end_blocks(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            self.file_bytes = self.encoder.end(&mut self.encoded);
        }
    }

    /// The checkpoint's index is committed, and past no undecided transaction. The file keeps its
    /// temporary name until this was called.
    pub fn on_released(&mut self) {
        self.released = true;
    }

    /// Gives the checkpoint up: what was written is removed.
    pub fn abandon(&mut self, what: &'static str) {
        self.fail(Abandoned { what, errno: None });
    }

    /// How it ended, once it has.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// The next thing to do now, if any.
    pub fn poll_operation(&mut self) -> Option<FileOperation> {
        if self.busy || self.outcome.is_some() {
            return None;
        }
        let temporary = || temporary_name(self.identity.shard, self.identity.index);
        let operation = match self.step {
            Step::Create => FileOperation::Create { name: temporary() },
            Step::Write => self.next_write()?,
            Step::Sync => FileOperation::Sync,
            Step::Hold if !self.released => return None,
            Step::Hold | Step::Rename => {
                self.step = Step::Rename;
                let to = file_name(self.identity.shard, self.identity.index);
                FileOperation::Rename { from: temporary(), to }
            }
            Step::SyncDirectory => FileOperation::SyncDirectory,
            Step::Remove => FileOperation::Remove { name: temporary() },
            Step::Over => return None,
        };
        self.busy = true;
        Some(operation)
    }

    fn next_write(&mut self) -> Option<FileOperation> {
        // All of it is whole pages once the trailer is there.
        let len = self.encoded.len().min(WRITE_BYTES);
        if len == 0 || len < WRITE_BYTES && !self.ended {
            return None;
        }
        let mut buffer = BlockBuffer::with_capacity(len);
        buffer.extend(&self.encoded[..len]);
        self.encoded.drain(..len);
        let offset = self.offset;
        self.offset += len as u64;
        Some(FileOperation::Write { offset, buffer })
    }

    /// The operation polled last is done, or failed with this errno.
    pub fn on_done(&mut self, result: Result<(), i32>) {
        assert!(self.busy, "only what was asked for is done");
        self.busy = false;
        let Err(errno) = result else { return self.advance() };
        let what = match self.step {
            Step::Create => "cannot make the checkpoint's file",
            Step::Write => "cannot write the checkpoint",
            Step::Sync | Step::Hold => "cannot bring the checkpoint to stable storage",
            Step::Rename => "cannot give the checkpoint its name",
            Step::SyncDirectory => "cannot bring the checkpoint's name to stable storage",
            // A start removes what stays behind.
            Step::Remove | Step::Over => return self.end_abandoned(),
        };
        // It may have been given up while the operation was under way.
        self.failure.get_or_insert(Abandoned { what, errno: Some(errno) });
        self.leave_step();
    }

    fn advance(&mut self) {
        self.step = match self.step {
            _ if self.failure.is_some() => match self.step {
                Step::Remove | Step::Over => return self.end_abandoned(),
                // Renamed while it was given up: it is whole, and sound.
                Step::Rename => Step::SyncDirectory,
                Step::SyncDirectory => Step::Over,
                _ => Step::Remove,
            },
            Step::Create => Step::Write,
            Step::Write if self.ended && self.encoded.is_empty() => {
                if is_planted(Fault::CheckpointUnsynced) { Step::Hold } else { Step::Sync }
            }
            Step::Write => Step::Write,
            Step::Sync => Step::Hold,
            Step::Rename => Step::SyncDirectory,
            Step::SyncDirectory => Step::Over,
            Step::Hold | Step::Remove | Step::Over => unreachable!("nothing was under way"),
        };
        if self.step == Step::Over {
            let name = file_name(self.identity.shard, self.identity.index);
            self.outcome = Some(Outcome::Catalogued { name, file_bytes: self.file_bytes });
        }
    }

    fn fail(&mut self, failure: Abandoned) {
        if self.failure.is_some() || self.outcome.is_some() {
            return;
        }
        self.failure = Some(failure);
        // The operation under way comes first.
        if !self.busy {
            self.leave_step();
        }
    }

    fn leave_step(&mut self) {
        self.encoded = Vec::new();
        match self.step {
            Step::Create => self.end_abandoned(),
            // The name may be there or not; a file under it is whole, as it was synced before.
            Step::SyncDirectory => self.end_abandoned(),
            _ => self.step = Step::Remove,
        }
    }

    fn end_abandoned(&mut self) {
        self.step = Step::Over;
        let failure = self.failure.clone();
        self.outcome = failure.map(Outcome::Abandoned);
    }
}
