//! A core's log files: writes, syncs, new segments and their removal, all through the ring, so that
//! no disk ever holds up the loop; and what a core writes beside its log. Must be dropped after its
//! ring.
//!
//! The types mirror what a log writer asks for and gets back; they are generic over its buffers.
//!
//! JUSTIFICATION: writes lend memory and paths to the kernel by address; there is no safe
//! interface.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::ffi::CString;
use std::fs::{self, File};
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use io_uring::{opcode, squeue, types};

use super::config::{LogConfig, LogSync};
use super::disk;
use super::error::RuntimeError;
use super::jobs::{Job, JobDone};
use super::limits::{BLOCK_BYTES, FILE_OPERATIONS_MAX, OPEN_SEGMENTS_MAX};
use super::ring::{Completion, Ring};
use super::token::{Kind, Token};
use crate::core::io::OsError;

mod prepare;
mod side;

use prepare::{Pace, Prepare, Step};
use side::{SideFile, SidePending};

pub use side::SideOperation;

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
    /// Zeros go on in step with the log's writes, so that those have the disk: all are there once
    /// so many bytes of them have been asked for. 0: at once.
    pub within_bytes: u64,
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
    /// Unlinks a segment, for which nothing is under way and nothing is asked any more. One that is
    /// not there is removed already. Removals are carried out one after the other; those that have
    /// not begun when the core ends do not take place.
    RemoveSegment {
        number: u64,
    },
    /// At most one at a time.
    Side(SideOperation<B>),
    /// No operation on a file of the core's: it is done by a thread.
    Job(Job),
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
    SegmentReady {
        number: u64,
        result: Result<(), OsError>,
    },
    Synced {
        id: u64,
        result: Result<(), OsError>,
    },
    SegmentRemoved {
        number: u64,
        result: Result<(), OsError>,
    },
    /// The buffer of a write is freed.
    Side {
        result: Result<(), OsError>,
    },
    Job(JobDone),
}

pub struct LogFiles<B> {
    directory: PathBuf,
    directory_fd: OwnedFd,
    sync: LogSync,
    direct: bool,
    segments: Vec<(u64, OwnedFd)>,
    side: SideFile,
    /// Segments to remove, the one under way in front.
    removals: VecDeque<u64>,
    /// Bytes of writes asked for so far.
    written_bytes: u64,
    /// Preparations that wait until there are more; none does once the core ends.
    paced: Vec<u32>,
    ending: bool,
    operations: Vec<Option<Pending<B>>>,
    free: Vec<u32>,
}

enum Pending<B> {
    Write { write: Write<B>, fd: RawFd, done_bytes: u32 },
    Sync { id: u64, segment: u64 },
    Prepare(Box<Prepare>),
    Remove { path: CString },
    Side(SidePending<B>),
}

impl<B: LogBuffer> LogFiles<B> {
    /// Opens the core's directory and the one beside, which are made if needed, and finds out
    /// whether their file systems take O_DIRECT.
    pub fn open(config: &LogConfig, directory: PathBuf) -> Result<Self, RuntimeError> {
        let (directory_fd, direct) = open_directory(&directory, config.direct)?;
        let (side_fd, side_direct) = open_directory(&config.side_directory, config.direct)?;
        Ok(Self {
            directory,
            directory_fd,
            sync: config.sync,
            direct,
            segments: Vec::new(),
            side: SideFile::new(side_fd, side_direct),
            removals: VecDeque::new(),
            written_bytes: 0,
            paced: Vec::new(),
            ending: false,
            operations: Vec::new(),
            free: Vec::new(),
        })
    }

    /// Opens a segment that will be written, while there are descriptors.
    pub fn open_segment(&mut self, segment: u64) -> Result<(), RuntimeError> {
        let path = disk::segment_path(&self.directory, segment);
        let explain = |OsError(errno)| {
            let error = std::io::Error::from_raw_os_error(errno);
            RuntimeError::File { what: "cannot open the log segment", path, error }
        };
        self.segment_fd(segment).map(drop).map_err(explain)
    }

    pub fn is_busy(&self) -> bool {
        self.free.len() < self.operations.len()
    }

    /// The core ends: removals that have not begun do not take place, and a preparation that waits
    /// for writes is given up.
    pub fn cancel_waiting(&mut self) {
        self.removals.truncate(1);
        self.ending = true;
        for slot in std::mem::take(&mut self.paced) {
            self.finish(slot, Ok(0));
        }
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
                assert!(!self.removals.contains(&number), "a removed segment does not come back");
                let pace = Pace::new(&asked, self.written_bytes);
                match Prepare::new(asked, pace, &self.directory, self.direct, self.sync) {
                    Ok(prepare) => {
                        let slot = self.occupy(Pending::Prepare(Box::new(prepare)));
                        self.push_prepare(ring, slot)?;
                        Ok(None)
                    }
                    Err(error) => Ok(Some(Done::SegmentReady { number, result: Err(error) })),
                }
            }
            Operation::RemoveSegment { number } => self.start_removal(ring, number),
            Operation::Job(_) => unreachable!("the driver gives it to a thread"),
            Operation::Side(asked) => match self.side.begin(asked) {
                Ok(pending) => {
                    let slot = self.occupy(Pending::Side(pending));
                    self.push_side(ring, slot)?;
                    Ok(None)
                }
                Err(error) => Ok(Some(Done::Side { result: Err(error) })),
            },
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
            Some(Pending::Remove { .. }) => return self.advance_removal(ring, slot, result),
            Some(Pending::Side(pending)) => match self.side.advance(pending, result) {
                None => {
                    self.push_side(ring, slot)?;
                    return Ok(None);
                }
                Some(ended) => return Ok(Some(self.finish(slot, ended.map(|()| 0)))),
            },
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
                self.written_bytes += u64::from(write.len);
                let slot = self.occupy(Pending::Write { write, fd, done_bytes: 0 });
                self.push_write(ring, slot)?;
                for slot in std::mem::take(&mut self.paced) {
                    self.push_prepare(ring, slot)?;
                }
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
        let entry = write_entry(*fd, write.offset, &write.buffer, *done_bytes..write.len);
        // SAFETY: the buffer stays in its slot, unchanged and at its address by the contract of
        // `LogBuffer`, until the operation has completed; the table outlives the ring.
        unsafe { ring.push(entry.user_data(token(slot))) }
    }

    fn push_prepare(&mut self, ring: &mut Ring, slot: u32) -> Result<(), RuntimeError> {
        let Some(Pending::Prepare(prepare)) = &self.operations[slot as usize] else {
            unreachable!("the slot holds the preparation that is pushed");
        };
        if !prepare.may_go_on(self.written_bytes) {
            match self.ending {
                true => _ = self.finish(slot, Ok(0)),
                false => self.paced.push(slot),
            }
            return Ok(());
        }
        let entry: squeue::Entry = prepare.entry(self.directory_fd.as_raw_fd());
        // SAFETY: the paths and the slice it points at are on the heap, owned by the slot's
        // `Prepare`, and changed by `advance` only, which runs after the step has completed.
        unsafe { ring.push(entry.user_data(token(slot))) }
    }

    /// Removals take their turn: one may free gigabytes, and the disk has the log's writes to do.
    fn start_removal(
        &mut self,
        ring: &mut Ring,
        number: u64,
    ) -> Result<Option<Done<B>>, RuntimeError> {
        assert!(!self.is_used(number), "a segment is removed after its last write");
        assert!(!self.removals.contains(&number), "a segment is removed once");
        // Closed first: its blocks are then freed with the name, off the loop.
        self.segments.retain(|(segment, _)| *segment != number);
        self.removals.push_back(number);
        if self.removals.len() == 1 {
            self.begin_removal(ring, number)?;
        }
        Ok(None)
    }

    fn begin_removal(&mut self, ring: &mut Ring, number: u64) -> Result<(), RuntimeError> {
        let Ok(path) = path_for_kernel(&disk::segment_path(&self.directory, number)) else {
            unreachable!("the directory has been opened under this path");
        };
        let slot = self.occupy(Pending::Remove { path });
        self.push_removal(ring, slot)
    }

    fn push_removal(&mut self, ring: &mut Ring, slot: u32) -> Result<(), RuntimeError> {
        let Some(Pending::Remove { path }) = &self.operations[slot as usize] else {
            unreachable!("the slot holds the removal that is pushed");
        };
        let entry = opcode::UnlinkAt::new(types::Fd(libc::AT_FDCWD), path.as_ptr()).build();
        // SAFETY: the path is on the heap, owned by the slot and unchanged until completion.
        unsafe { ring.push(entry.user_data(token(slot))) }
    }

    fn advance_removal(
        &mut self,
        ring: &mut Ring,
        slot: u32,
        result: Result<u32, OsError>,
    ) -> Result<Option<Done<B>>, RuntimeError> {
        if matches!(result, Err(OsError(libc::EINTR | libc::EAGAIN))) {
            self.push_removal(ring, slot)?;
            return Ok(None);
        }
        let done = self.finish(slot, result);
        if let Some(next) = self.removals.front() {
            self.begin_removal(ring, *next)?;
        }
        Ok(Some(done))
    }

    fn push_side(&mut self, ring: &mut Ring, slot: u32) -> Result<(), RuntimeError> {
        let Some(Pending::Side(pending)) = &self.operations[slot as usize] else {
            unreachable!("the slot holds the side operation that is pushed");
        };
        let entry = self.side.entry(pending);
        // SAFETY: the names are on the heap and owned by the slot, and so is the buffer, which
        // keeps its address by the contract of `LogBuffer`, until the operation has completed; the
        // table outlives the ring.
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
            Some(Pending::Remove { .. }) => {
                let Some(number) = self.removals.pop_front() else {
                    unreachable!("the removal under way is in front");
                };
                let gone = result == Err(OsError(libc::ENOENT));
                let result = if gone { Ok(()) } else { result.map(drop) };
                Done::SegmentRemoved { number, result }
            }
            Some(Pending::Side(_)) => Done::Side { result: result.map(drop) },
        }
    }

    /// The descriptor of a segment; one that recovery found is opened here, once.
    fn segment_fd(&mut self, segment: u64) -> Result<RawFd, OsError> {
        if let Some((_, fd)) = self.segments.iter().find(|(number, _)| *number == segment) {
            return Ok(fd.as_raw_fd());
        }
        assert!(!self.removals.contains(&segment), "a removed segment is not written");
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
        let full = self.segments.len() >= OPEN_SEGMENTS_MAX;
        let is_unused = |(number, _): &(u64, OwnedFd)| !self.is_used(*number);
        if full && let Some(unused) = self.segments.iter().position(is_unused) {
            self.segments.remove(unused);
        }
        self.segments.push((segment, fd));
    }

    /// Whether a submission under way has the segment's descriptor.
    fn is_used(&self, number: u64) -> bool {
        self.operations.iter().flatten().any(|operation| match operation {
            Pending::Write { write, .. } => write.segment == number,
            Pending::Sync { segment, .. } => *segment == number,
            Pending::Prepare(_) | Pending::Remove { .. } | Pending::Side(_) => false,
        })
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

/// Opens a directory, which is made if needed, its name on stable storage; and whether files in it
/// are written past the page cache.
fn open_directory(directory: &Path, direct: bool) -> Result<(OwnedFd, bool), RuntimeError> {
    let fail = |what| {
        let path = directory.to_owned();
        move |error| RuntimeError::File { what, path, error }
    };
    fs::create_dir_all(directory).map_err(fail("cannot make the directory"))?;
    let fd = File::open(directory).map_err(fail("cannot open the directory"))?;
    if let Some(parent) = directory.parent() {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        // The new directory's own name must last as well.
        File::open(parent)
            .and_then(|parent| parent.sync_all())
            .map_err(fail("cannot sync the parent of the directory"))?;
    }
    let takes =
        direct && disk::takes_direct(directory).map_err(fail("cannot write to the directory"))?;
    if direct && !takes {
        tracing::warn!(
            directory = %directory.display(),
            "this file system refuses O_DIRECT: writes go through the page cache"
        );
    }
    Ok((fd.into(), takes))
}

/// The write of the bytes `range` of a buffer that lies at `offset` of the file.
fn write_entry<B: LogBuffer>(
    file: RawFd,
    offset: u64,
    buffer: &B,
    range: Range<u32>,
) -> squeue::Entry {
    let offset = offset + u64::from(range.start);
    let rest = &buffer.as_ref()[range.start as usize..range.end as usize];
    let (file, length) = (types::Fd(file), rest.len() as u32);
    match buffer.registered_id() {
        Some(id) => opcode::WriteFixed::new(file, rest.as_ptr(), length, id).offset(offset).build(),
        None => opcode::Write::new(file, rest.as_ptr(), length).offset(offset).build(),
    }
}

/// A name within a directory, and in no other.
fn name_for_kernel(name: &str) -> Result<CString, OsError> {
    if matches!(name, "" | "." | "..") || name.contains('/') {
        return Err(OsError(libc::EINVAL));
    }
    CString::new(name).map_err(|_| OsError(libc::EINVAL))
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
