//! One segment in preparation: which step is due, and what it submits. A core's log files drive it,
//! one step at a time; a crash at any of them leaves a temporary file that start-up removes, or the
//! whole segment.
//!
//! JUSTIFICATION: takes over descriptors that the ring opened.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use io_uring::{opcode, squeue, types};

use super::{PrepareSegment, own, path_for_kernel};
use crate::core::io::OsError;
use crate::runtime::config::LogSync;
use crate::runtime::disk::{self, AlignedBytes};
use crate::runtime::limits::{BLOCK_BYTES, ZERO_SLICE_BYTES};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A recycled segment loses its old name first: its header is about to change.
    TakeOld,
    OpenTemporary,
    Allocate,
    /// Zeroes, slice by slice; the first slice carries the header, and is the only one of a
    /// recycled segment.
    Fill {
        offset: u64,
    },
    Sync,
    Rename,
    SyncDirectory,
    /// Again, now with the flags that log writes need.
    OpenFinal,
    Done,
}

/// How far the zeros may be: in step with the log's writes, whose disk they share.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    size_bytes: u64,
    within_bytes: u64,
    /// Of writes, when the preparation began.
    written_before: u64,
}

impl Pace {
    pub fn new(asked: &PrepareSegment, written_bytes: u64) -> Pace {
        let (size_bytes, within_bytes) = (asked.size_bytes, asked.within_bytes);
        Pace { size_bytes, within_bytes, written_before: written_bytes }
    }

    /// Whether zeros behind `offset` are due once so much has been written.
    fn allows(self, offset: u64, written_bytes: u64) -> bool {
        let since = u128::from(written_bytes - self.written_before);
        u128::from(offset) * u128::from(self.within_bytes) <= u128::from(self.size_bytes) * since
    }
}

pub struct Prepare {
    asked: PrepareSegment,
    pace: Pace,
    step: Step,
    slice: AlignedBytes,
    old_path: Option<CString>,
    temporary_path: CString,
    final_path: CString,
    direct: bool,
    sync: LogSync,
    temporary: Option<OwnedFd>,
    outcome: Result<OwnedFd, OsError>,
}

impl Prepare {
    pub fn new(
        asked: PrepareSegment,
        pace: Pace,
        directory: &Path,
        direct: bool,
        sync: LogSync,
    ) -> Result<Self, OsError> {
        let fits = asked.header.len() as u64 <= asked.size_bytes
            && asked.header.len() <= ZERO_SLICE_BYTES
            && asked.size_bytes > 0
            && asked.size_bytes.is_multiple_of(BLOCK_BYTES as u64);
        if !fits {
            return Err(OsError(libc::EINVAL));
        }
        let mut slice = AlignedBytes::zeroed(ZERO_SLICE_BYTES.min(asked.size_bytes as usize));
        slice.as_mut()[..asked.header.len()].copy_from_slice(&asked.header);
        let old_path = match asked.recycle {
            Some(old) => Some(path_for_kernel(&disk::segment_path(directory, old))?),
            None => None,
        };
        Ok(Self {
            step: if old_path.is_some() { Step::TakeOld } else { Step::OpenTemporary },
            slice,
            old_path,
            temporary_path: path_for_kernel(&disk::temporary_path(directory, asked.number))?,
            final_path: path_for_kernel(&disk::segment_path(directory, asked.number))?,
            direct,
            sync,
            temporary: None,
            outcome: Err(OsError(libc::EIO)),
            asked,
            pace,
        })
    }

    /// Whether the step is due once so many bytes of the log's writes have been asked for.
    pub fn may_go_on(&self, written_bytes: u64) -> bool {
        match self.step {
            Step::Fill { offset } => self.pace.allows(offset, written_bytes),
            _ => true,
        }
    }

    /// The submission of the step that is due.
    pub fn entry(&self, directory: RawFd) -> squeue::Entry {
        let here = types::Fd(libc::AT_FDCWD);
        let file = types::Fd(self.temporary.as_ref().map_or(-1, |fd| fd.as_raw_fd()));
        match self.step {
            Step::TakeOld => {
                let old = self.old_path.as_ref().map_or(std::ptr::null(), |path| path.as_ptr());
                opcode::RenameAt::new(here, old, here, self.temporary_path.as_ptr()).build()
            }
            Step::OpenTemporary => {
                let mut flags = libc::O_RDWR | libc::O_CLOEXEC;
                if self.direct {
                    flags |= libc::O_DIRECT;
                }
                if self.asked.recycle.is_none() {
                    flags |= libc::O_CREAT | libc::O_TRUNC;
                }
                opcode::OpenAt::new(here, self.temporary_path.as_ptr())
                    .flags(flags)
                    .mode(0o640)
                    .build()
            }
            Step::Allocate => opcode::Fallocate::new(file, self.asked.size_bytes).build(),
            Step::Fill { offset } => {
                let bytes = &self.slice.as_ref()[..self.fill_bytes(offset)];
                opcode::Write::new(file, bytes.as_ptr(), bytes.len() as u32).offset(offset).build()
            }
            Step::Sync => opcode::Fsync::new(file).build(),
            Step::Rename => opcode::RenameAt::new(
                here,
                self.temporary_path.as_ptr(),
                here,
                self.final_path.as_ptr(),
            )
            .build(),
            Step::SyncDirectory => opcode::Fsync::new(types::Fd(directory)).build(),
            Step::OpenFinal => opcode::OpenAt::new(here, self.final_path.as_ptr())
                .flags(disk::writing_flags(self.direct, self.sync))
                .build(),
            Step::Done => unreachable!("nothing is due any more"),
        }
    }

    /// Takes the result of the step that was due; gives the next.
    pub fn advance(&mut self, result: Result<u32, OsError>) -> Step {
        let value = match (self.step, result) {
            (_, Err(OsError(libc::EINTR | libc::EAGAIN))) => return self.step,
            // Filling allocates as well, only less neatly.
            (Step::Allocate, Err(OsError(libc::EOPNOTSUPP))) => 0,
            (_, Ok(value)) => value,
            (_, Err(error)) => {
                self.outcome = Err(error);
                self.step = Step::Done;
                return self.step;
            }
        };
        self.step = match self.step {
            Step::TakeOld => Step::OpenTemporary,
            Step::OpenTemporary => {
                // SAFETY: the ring just opened it for this step.
                self.temporary = Some(unsafe { own(value) });
                match self.asked.recycle {
                    None => Step::Allocate,
                    Some(_) => Step::Fill { offset: 0 },
                }
            }
            Step::Allocate => Step::Fill { offset: 0 },
            Step::Fill { offset } => self.advance_fill(offset, value as usize),
            Step::Sync => Step::Rename,
            Step::Rename => Step::SyncDirectory,
            Step::SyncDirectory => Step::OpenFinal,
            Step::OpenFinal => {
                // SAFETY: the ring just opened it for this step.
                self.outcome = Ok(unsafe { own(value) });
                Step::Done
            }
            Step::Done => unreachable!("nothing was due any more"),
        };
        self.step
    }

    /// The number, the segment that was used up, and the new one's descriptor.
    pub fn finish(self) -> (u64, Option<u64>, Result<OwnedFd, OsError>) {
        if self.outcome.is_err() && self.temporary.is_some() {
            // A failed preparation may leave a file of full size on a full disk. If this fails too,
            // start-up removes it.
            let _ = rustix::fs::unlink(&self.temporary_path);
        }
        (self.asked.number, self.asked.recycle, self.outcome)
    }

    fn advance_fill(&mut self, offset: u64, written_bytes: usize) -> Step {
        if written_bytes != self.fill_bytes(offset) {
            self.outcome = Err(OsError(libc::EIO));
            return Step::Done;
        }
        if offset == 0 {
            let header_len = self.asked.header.len();
            self.slice.as_mut()[..header_len].fill(0);
        }
        let next = offset + written_bytes as u64;
        if next < self.asked.size_bytes && self.asked.recycle.is_none() {
            Step::Fill { offset: next }
        } else {
            Step::Sync
        }
    }

    /// How much is written at `offset`.
    fn fill_bytes(&self, offset: u64) -> usize {
        if self.asked.recycle.is_some() {
            return self.asked.header.len().next_multiple_of(BLOCK_BYTES).max(BLOCK_BYTES);
        }
        let left = self.asked.size_bytes - offset;
        self.slice.as_ref().len().min(usize::try_from(left).unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_in_step_with_writes() {
        let asked = |within_bytes| PrepareSegment {
            number: 2,
            header: Vec::new(),
            size_bytes: 1000,
            recycle: None,
            within_bytes,
        };
        let pace = Pace::new(&asked(500), 70);
        assert!(pace.allows(0, 70), "the first slice has the header and waits for nothing");
        assert!(!pace.allows(1, 70) && pace.allows(200, 170) && !pace.allows(201, 170));
        assert!(pace.allows(1000, 570), "all of it");
        assert!(Pace::new(&asked(0), 70).allows(1000, 70), "at once");
    }
}
