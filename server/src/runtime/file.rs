//! A core's log files: writes, syncs and new segments, all through the ring, so that no disk ever
//! holds up the loop. Must be dropped after its ring.
//!
//! The types mirror what a log writer asks for and gets back; they are generic over its buffers.
//!
//! JUSTIFICATION: writes lend memory and paths to the kernel by address; there is no safe
//! interface.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use io_uring::{opcode, squeue, types};

use super::config::{LogConfig, LogSync};
use super::disk;
use super::error::RuntimeError;
use super::limits::{BLOCK_BYTES, FILE_OPERATIONS_MAX, OPEN_SEGMENTS_MAX};
use super::ring::{Completion, Ring};
use super::token::{Kind, Token};
use crate::core::io::OsError;

mod prepare;

use prepare::{Prepare, Step};

/// A buffer of a log write.
///
/// # Safety
/// `as_ref` gives the same address and length however often it is called and wherever the value is
/// moved, until it is dropped; nothing changes those bytes meanwhile.
pub unsafe trait LogBuffer: AsRef<[u8]> + 'static {
    /// Its index in `Drives::log_buffers`, if it was listed there.
    fn registered_id(&self) -> Option<u16>;
}

/// The first `len` bytes of `buffer` to `offset` of a segment. Offset, length and, with O_DIRECT,
/// the buffer's address are multiples of 4 KiB.
pub struct Write<B> {
    pub id: u64,
    pub segment: u64,
    pub offset: u64,
    pub buffer: B,
    pub len: u32,
}

/// A segment ready to be written in place: preallocated, every block written once, `header` at its
/// beginning, durable under its name.
pub struct PrepareSegment {
    pub number: u64,
    pub header: Vec<u8>,
    /// A multiple of 4 KiB.
    pub size_bytes: u64,
    /// A segment of the same size that is not needed any more: becomes the new one, header apart
    /// with its old contents, which the log's chain and incarnation tell from live ones.
    pub recycle: Option<u64>,
}

/// What a machine asks of its log files.
pub enum Operation<B> {
    Write(Write<B>),
    PrepareSegment(PrepareSegment),
    /// Makes earlier, completed writes stable where `LogSync::OnRequest` leaves that open.
    Fdatasync {
        id: u64,
        segment: u64,
    },
}

pub struct WriteDone<B> {
    pub id: u64,
    pub buffer: B,
    /// All bytes written, and stable with `LogSync::EachWrite`; or final failure.
    pub result: Result<(), OsError>,
}

/// What comes back, once for each operation.
pub enum Done<B> {
    Write(WriteDone<B>),
    SegmentReady { number: u64, result: Result<(), OsError> },
    Synced { id: u64, result: Result<(), OsError> },
}

pub struct LogFiles<B> {
    directory: PathBuf,
    directory_fd: OwnedFd,
    sync: LogSync,
    direct: bool,
    segments: Vec<(u64, OwnedFd)>,
    operations: Vec<Option<Pending<B>>>,
    free: Vec<u32>,
}

enum Pending<B> {
    Write { write: Write<B>, fd: RawFd, done_bytes: u32 },
    Sync { id: u64, segment: u64 },
    Prepare(Box<Prepare>),
}

impl<B: LogBuffer> LogFiles<B> {
    /// Opens the directory, which is made if needed, and finds out whether its file system takes
    /// O_DIRECT.
    pub fn open(config: &LogConfig, directory: PathBuf) -> Result<Self, RuntimeError> {
        let fail = |what| {
            let path = directory.clone();
            move |error| RuntimeError::File { what, path, error }
        };
        std::fs::create_dir_all(&directory).map_err(fail("cannot make the log directory"))?;
        let directory_fd: OwnedFd =
            File::open(&directory).map_err(fail("cannot open the log directory"))?.into();
        if let Some(parent) = directory.parent() {
            // The new directory's own name must last as well.
            File::open(parent)
                .and_then(|parent| parent.sync_all())
                .map_err(fail("cannot sync the parent of the log directory"))?;
        }
        let direct = config.direct
            && disk::takes_direct(&directory).map_err(fail("cannot write to the log directory"))?;
        if config.direct && !direct {
            tracing::warn!(
                directory = %directory.display(),
                "this file system refuses O_DIRECT: log writes go through the page cache"
            );
        }
        Ok(Self {
            directory,
            directory_fd,
            sync: config.sync,
            direct,
            segments: Vec::new(),
            operations: Vec::new(),
            free: Vec::new(),
        })
    }

    pub fn is_busy(&self) -> bool {
        self.free.len() < self.operations.len()
    }

    /// Starts an operation. What cannot even start is done at once, with its failure.
    pub fn start(
        &mut self,
        ring: &mut Ring,
        operation: Operation<B>,
    ) -> Result<Option<Done<B>>, RuntimeError> {
        match operation {
            Operation::Write(write) => self.start_write(ring, write),
            Operation::Fdatasync { id, segment } => {
                let fd = match self.segment_fd(segment) {
                    Ok(fd) => fd,
                    Err(error) => return Ok(Some(Done::Synced { id, result: Err(error) })),
                };
                let slot = self.occupy(Pending::Sync { id, segment });
                let entry = opcode::Fsync::new(types::Fd(fd))
                    .flags(types::FsyncFlags::DATASYNC)
                    .build()
                    .user_data(token(slot));
                // SAFETY: no address in it.
                unsafe { ring.push(entry) }?;
                Ok(None)
            }
            Operation::PrepareSegment(asked) => {
                let number = asked.number;
                match Prepare::new(asked, &self.directory, self.direct, self.sync) {
                    Ok(prepare) => {
                        let slot = self.occupy(Pending::Prepare(Box::new(prepare)));
                        self.push_prepare(ring, slot)?;
                        Ok(None)
                    }
                    Err(error) => Ok(Some(Done::SegmentReady { number, result: Err(error) })),
                }
            }
        }
    }

    /// A step completed: the next one is submitted, or the operation is done.
    pub fn on_completion(
        &mut self,
        ring: &mut Ring,
        token: Token,
        completion: Completion,
    ) -> Result<Option<Done<B>>, RuntimeError> {
        let slot = token.index;
        let result = match completion.result {
            result @ 0.. => Ok(result as u32),
            error => Err(OsError(-error)),
        };
        match &mut self.operations[slot as usize] {
            None => unreachable!("a file operation completes once"),
            Some(Pending::Sync { .. }) => {}
            Some(Pending::Write { write, done_bytes, .. }) => match result {
                Err(OsError(libc::EINTR | libc::EAGAIN)) => {
                    self.push_write(ring, slot)?;
                    return Ok(None);
                }
                Ok(bytes) => {
                    *done_bytes += bytes;
                    assert!(*done_bytes <= write.len);
                    // Continued where it can be: what is left must still be whole blocks.
                    let aligned = (*done_bytes as usize).is_multiple_of(BLOCK_BYTES);
                    if *done_bytes < write.len && bytes > 0 && aligned {
                        self.push_write(ring, slot)?;
                        return Ok(None);
                    }
                }
                Err(_) => {}
            },
            Some(Pending::Prepare(prepare)) => {
                if prepare.advance(result) != Step::Done {
                    self.push_prepare(ring, slot)?;
                    return Ok(None);
                }
            }
        }
        Ok(Some(self.finish(slot, result)))
    }

    fn start_write(
        &mut self,
        ring: &mut Ring,
        write: Write<B>,
    ) -> Result<Option<Done<B>>, RuntimeError> {
        let bytes = write.buffer.as_ref();
        let len = write.len as usize;
        assert!(len > 0 && len <= bytes.len() && len.is_multiple_of(BLOCK_BYTES));
        assert!(write.offset.is_multiple_of(BLOCK_BYTES as u64));
        assert!(!self.direct || (bytes.as_ptr() as usize).is_multiple_of(BLOCK_BYTES));
        match self.segment_fd(write.segment) {
            Ok(fd) => {
                let slot = self.occupy(Pending::Write { write, fd, done_bytes: 0 });
                self.push_write(ring, slot)?;
                Ok(None)
            }
            Err(error) => Ok(Some(Done::Write(WriteDone {
                id: write.id,
                buffer: write.buffer,
                result: Err(error),
            }))),
        }
    }

    fn push_write(&mut self, ring: &mut Ring, slot: u32) -> Result<(), RuntimeError> {
        let Some(Pending::Write { write, fd, done_bytes }) = &self.operations[slot as usize] else {
            unreachable!("the slot holds the write that is pushed");
        };
        let rest = &write.buffer.as_ref()[*done_bytes as usize..write.len as usize];
        let offset = write.offset + u64::from(*done_bytes);
        let fd = types::Fd(*fd);
        let length = rest.len() as u32;
        let entry = match write.buffer.registered_id() {
            Some(id) => {
                opcode::WriteFixed::new(fd, rest.as_ptr(), length, id).offset(offset).build()
            }
            None => opcode::Write::new(fd, rest.as_ptr(), length).offset(offset).build(),
        };
        // SAFETY: the buffer stays in its slot, unchanged and at its address by the contract of
        // `LogBuffer`, until the operation has completed; the table outlives the ring.
        unsafe { ring.push(entry.user_data(token(slot))) }
    }

    fn push_prepare(&mut self, ring: &mut Ring, slot: u32) -> Result<(), RuntimeError> {
        let Some(Pending::Prepare(prepare)) = &self.operations[slot as usize] else {
            unreachable!("the slot holds the preparation that is pushed");
        };
        let entry: squeue::Entry = prepare.entry(self.directory_fd.as_raw_fd());
        // SAFETY: the paths and the slice it points at are on the heap, owned by the slot's
        // `Prepare`, and changed by `advance` only, which runs after the step has completed.
        unsafe { ring.push(entry.user_data(token(slot))) }
    }

    fn finish(&mut self, slot: u32, result: Result<u32, OsError>) -> Done<B> {
        self.free.push(slot);
        match self.operations[slot as usize].take() {
            None => unreachable!("a file operation completes once"),
            Some(Pending::Sync { id, .. }) => Done::Synced { id, result: result.map(drop) },
            Some(Pending::Write { write, done_bytes, .. }) => {
                let result = match result {
                    Err(error) => Err(error),
                    Ok(_) if done_bytes == write.len => Ok(()),
                    // A disk that takes part of a block, or nothing: there is no going on.
                    Ok(_) => Err(OsError(libc::EIO)),
                };
                Done::Write(WriteDone { id: write.id, buffer: write.buffer, result })
            }
            Some(Pending::Prepare(prepare)) => {
                let (number, recycled, outcome) = prepare.finish();
                if let Some(old) = recycled {
                    self.segments.retain(|(segment, _)| *segment != old);
                }
                let result = outcome.map(|fd| self.remember(number, fd));
                Done::SegmentReady { number, result }
            }
        }
    }

    /// The descriptor of a segment; one that recovery found is opened here, once.
    fn segment_fd(&mut self, segment: u64) -> Result<RawFd, OsError> {
        if let Some((_, fd)) = self.segments.iter().find(|(number, _)| *number == segment) {
            return Ok(fd.as_raw_fd());
        }
        let path = disk::segment_path(&self.directory, segment);
        let fd = disk::open_for_writing(&path, self.direct, self.sync)
            .map_err(|error| OsError(error.raw_os_error().unwrap_or(libc::EIO)))?;
        let raw = fd.as_raw_fd();
        self.remember(segment, fd);
        Ok(raw)
    }

    /// Keeps a descriptor; the longest kept one that nothing uses makes room.
    fn remember(&mut self, segment: u64, fd: OwnedFd) {
        self.segments.retain(|(number, _)| *number != segment);
        if self.segments.len() >= OPEN_SEGMENTS_MAX {
            let used = |number: u64| {
                self.operations.iter().flatten().any(|operation| match operation {
                    Pending::Write { write, .. } => write.segment == number,
                    Pending::Sync { segment, .. } => *segment == number,
                    Pending::Prepare(_) => false,
                })
            };
            if let Some(unused) = self.segments.iter().position(|(number, _)| !used(*number)) {
                self.segments.remove(unused);
            }
        }
        self.segments.push((segment, fd));
    }

    fn occupy(&mut self, operation: Pending<B>) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.operations[slot as usize] = Some(operation);
            return slot;
        }
        assert!(self.operations.len() < FILE_OPERATIONS_MAX, "log operations are not coming back");
        self.operations.push(Some(operation));
        (self.operations.len() - 1) as u32
    }
}

fn token(slot: u32) -> u64 {
    Token::new(Kind::File, 0, slot).pack()
}

fn path_for_kernel(path: &Path) -> Result<CString, OsError> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| OsError(libc::EINVAL))
}

/// A descriptor the ring just opened.
///
/// # Safety
/// `fd` is the result of an open operation and nothing else owns it.
unsafe fn own(fd: u32) -> OwnedFd {
    // SAFETY: the caller's promise.
    unsafe { OwnedFd::from_raw_fd(fd as RawFd) }
}
