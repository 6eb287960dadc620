//! What a core writes beside its log: one file at a time in a directory that all cores share, as a
//! checkpoint is. The core's log files drive it, one operation at a time; each is one submission,
//! a write that the disk takes in pieces apart.
//!
//! JUSTIFICATION: takes over descriptors that the ring opened.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use io_uring::{opcode, squeue, types};

use super::{LogBuffer, name_for_kernel, own, write_entry};
use crate::core::io::OsError;
use crate::runtime::limits::BLOCK_BYTES;

/// What a machine asks beside its log: one file at a time in `LogConfig::side_directory`, one
/// operation at a time. Names have no directory in them. An operation that failed leaves the file
/// closed or as it was: `Remove` is always possible.
pub enum SideOperation<B> {
    /// Makes the file, empty, whatever was there; past the page cache where the file system takes
    /// that. It is the open file from now on, and the one before it is closed.
    Create { name: String },
    /// The first `len` bytes of `buffer` to `offset` of the open file. Offset, length and, with
    /// O_DIRECT, the buffer's address are multiples of 4 KiB.
    Write { offset: u64, buffer: B, len: u32 },
    /// Data and length of the open file to stable storage.
    Sync,
    /// Closes the open file.
    Rename { from: String, to: String },
    /// Names to stable storage.
    SyncDirectory,
    /// Closes the open file. A name that is not there is removed already.
    Remove { name: String },
}

/// An operation under way: owns what its submission points at.
pub enum SidePending<B> {
    Create { name: CString },
    Write { file: RawFd, offset: u64, buffer: B, len: u32, done_bytes: u32 },
    Sync { file: RawFd },
    Rename { from: CString, to: CString },
    SyncDirectory,
    Remove { name: CString },
}

pub struct SideFile {
    directory: OwnedFd,
    direct: bool,
    file: Option<OwnedFd>,
    /// Invariant: `file` changes only while this is false or by `advance`, so that no submission
    /// finds its descriptor closed.
    under_way: bool,
}

impl SideFile {
    pub fn new(directory: OwnedFd, direct: bool) -> Self {
        Self { directory, direct, file: None, under_way: false }
    }

    /// Takes an operation up. What cannot even start fails at once.
    pub fn begin<B: LogBuffer>(
        &mut self,
        operation: SideOperation<B>,
    ) -> Result<SidePending<B>, OsError> {
        assert!(!self.under_way, "one side operation at a time");
        let open = self.file.as_ref().map(AsRawFd::as_raw_fd).ok_or(OsError(libc::EBADF));
        let pending = match operation {
            SideOperation::Create { name } => {
                self.file = None;
                SidePending::Create { name: name_for_kernel(&name)? }
            }
            SideOperation::Write { offset, buffer, len } => {
                let bytes = buffer.as_ref();
                let length = len as usize;
                assert!(length > 0 && length <= bytes.len() && length.is_multiple_of(BLOCK_BYTES));
                assert!(offset.is_multiple_of(BLOCK_BYTES as u64));
                assert!(!self.direct || (bytes.as_ptr() as usize).is_multiple_of(BLOCK_BYTES));
                SidePending::Write { file: open?, offset, buffer, len, done_bytes: 0 }
            }
            SideOperation::Sync => SidePending::Sync { file: open? },
            SideOperation::Rename { from, to } => {
                SidePending::Rename { from: name_for_kernel(&from)?, to: name_for_kernel(&to)? }
            }
            SideOperation::SyncDirectory => SidePending::SyncDirectory,
            SideOperation::Remove { name } => {
                // Closed first: the blocks are then freed with the name, off the loop.
                self.file = None;
                SidePending::Remove { name: name_for_kernel(&name)? }
            }
        };
        self.under_way = true;
        Ok(pending)
    }

    /// The submission that is due.
    pub fn entry<B: LogBuffer>(&self, pending: &SidePending<B>) -> squeue::Entry {
        let directory = types::Fd(self.directory.as_raw_fd());
        match pending {
            SidePending::Create { name } => {
                let mut flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC | libc::O_CLOEXEC;
                if self.direct {
                    flags |= libc::O_DIRECT;
                }
                opcode::OpenAt::new(directory, name.as_ptr()).flags(flags).mode(0o640).build()
            }
            SidePending::Write { file, offset, buffer, len, done_bytes } => {
                write_entry(*file, *offset, buffer, *done_bytes..*len)
            }
            SidePending::Sync { file } => opcode::Fsync::new(types::Fd(*file)).build(),
            SidePending::Rename { from, to } => {
                opcode::RenameAt::new(directory, from.as_ptr(), directory, to.as_ptr()).build()
            }
            SidePending::SyncDirectory => opcode::Fsync::new(directory).build(),
            SidePending::Remove { name } => opcode::UnlinkAt::new(directory, name.as_ptr()).build(),
        }
    }

    /// Takes the result of the submission: how the operation ended, or `None` if another is due.
    pub fn advance<B>(
        &mut self,
        pending: &mut SidePending<B>,
        result: Result<u32, OsError>,
    ) -> Option<Result<(), OsError>> {
        let is_sync = matches!(pending, SidePending::Sync { .. } | SidePending::SyncDirectory);
        // A sync is not tried again: the kernel tells of an error once, the next one may well pass.
        if matches!(result, Err(OsError(libc::EINTR | libc::EAGAIN))) && !is_sync {
            return None;
        }
        let ended = match (&mut *pending, result) {
            (SidePending::Create { .. }, Ok(fd)) => {
                // SAFETY: the ring just opened it for this operation.
                self.file = Some(unsafe { own(fd) });
                Ok(())
            }
            (SidePending::Write { len, done_bytes, .. }, Ok(bytes)) => {
                *done_bytes += bytes;
                assert!(*done_bytes <= *len);
                if *done_bytes < *len {
                    // Past the page cache only whole blocks can follow.
                    let aligned = (*done_bytes as usize).is_multiple_of(BLOCK_BYTES);
                    if bytes > 0 && (aligned || !self.direct) {
                        return None;
                    }
                    // A disk that takes part of a block, or nothing: there is no going on.
                    Err(OsError(libc::EIO))
                } else {
                    Ok(())
                }
            }
            (SidePending::Remove { .. }, Err(OsError(libc::ENOENT))) => Ok(()),
            (_, result) => result.map(drop),
        };
        if matches!(pending, SidePending::Rename { .. }) {
            self.file = None;
        }
        self.under_way = false;
        Some(ended)
    }
}
