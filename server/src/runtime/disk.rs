//! Blocking file work for start-up and for tools: the data directory's lock, which segments and
//! other files there are, reading them. Must not be called from a running core.
//!
//! JUSTIFICATION: memory aligned for O_DIRECT needs the allocator's own interface.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use rustix::fs::FlockOperation;

use super::config::LogSync;
use super::error::RuntimeError;
use super::limits::BLOCK_BYTES;

/// The right to a data directory, held until dropped or until the process ends in any way.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

impl DataLock {
    /// Makes the directory if needed and locks it.
    pub fn acquire(directory: &Path) -> Result<Self, RuntimeError> {
        let path = directory.join("LOCK");
        let fail = |what| {
            let path = path.clone();
            move |error| RuntimeError::File { what, path, error }
        };
        fs::create_dir_all(directory).map_err(fail("cannot make the directory of"))?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o640)
            .open(&path)
            .map_err(fail("cannot open the lock file"))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                // Only for the message: an unreadable file still means that it is locked.
                let _ = file.take(64).read_to_string(&mut holder);
                let holder = format!("process {}", holder.trim());
                return Err(RuntimeError::Locked { path: directory.to_owned(), holder });
            }
            Err(error) => return Err(fail("cannot lock")(error.into())),
        }
        let write_pid = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write_pid(&mut file).map_err(fail("cannot write the lock file"))?;
        Ok(Self { _file: file })
    }
}

/// A segment found at start-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFile {
    pub number: u64,
    pub path: PathBuf,
    pub size_bytes: u64,
}

/// The segments of a core's directory by number. A missing directory has none.
pub fn list_segments(directory: &Path) -> Result<Vec<SegmentFile>, RuntimeError> {
    let fail = cannot_list(directory);
    let mut segments = Vec::new();
    for entry in entries_of(directory)? {
        let name = entry.file_name();
        if let Some(number) = name.to_str().and_then(segment_number) {
            let size_bytes = entry.metadata().map_err(&fail)?.len();
            segments.push(SegmentFile { number, path: entry.path(), size_bytes });
        }
    }
    segments.sort_by_key(|segment| segment.number);
    Ok(segments)
}

/// Removes what is left in a core's directory of preparations that did not end.
pub fn remove_leftovers(directory: &Path) -> Result<(), RuntimeError> {
    for entry in entries_of(directory)? {
        if entry.file_name().to_str().is_some_and(|name| name.ends_with(TEMPORARY_SUFFIX)) {
            fs::remove_file(entry.path()).map_err(cannot_list(directory))?;
        }
    }
    Ok(())
}

/// The plain files of a directory, names in order, with their bytes; not those whose names are not
/// UTF-8. A missing directory has none.
pub fn list_files(directory: &Path) -> Result<Vec<(String, u64)>, RuntimeError> {
    let fail = cannot_list(directory);
    let mut files = Vec::new();
    for entry in entries_of(directory)? {
        let metadata = entry.metadata().map_err(&fail)?;
        if let Ok(name) = entry.file_name().into_string()
            && metadata.is_file()
        {
            files.push((name, metadata.len()));
        }
    }
    files.sort();
    Ok(files)
}

/// Removes a file. One that is not there is removed already.
pub fn remove_file(path: &Path) -> Result<(), RuntimeError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(RuntimeError::File { what: "cannot remove", path: path.to_owned(), error })
        }
        _ => Ok(()),
    }
}

/// Brings what is in a file, and in the drive's cache, onto stable storage.
pub fn flush(path: &Path) -> Result<(), RuntimeError> {
    let flushed = File::open(path).and_then(|file| file.sync_data());
    let fail = |error| RuntimeError::File { what: "cannot sync", path: path.to_owned(), error };
    flushed.map_err(fail)
}

fn entries_of(directory: &Path) -> Result<Vec<fs::DirEntry>, RuntimeError> {
    let fail = cannot_list(directory);
    match fs::read_dir(directory) {
        Ok(entries) => entries.collect::<Result<_, _>>().map_err(fail),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(fail(error)),
    }
}

fn cannot_list(directory: &Path) -> impl Fn(io::Error) -> RuntimeError {
    let path = directory.to_owned();
    move |error| RuntimeError::File { what: "cannot list", path: path.clone(), error }
}

/// A segment open for reading.
pub struct SegmentReader {
    file: File,
    path: PathBuf,
}

impl SegmentReader {
    pub fn open(segment: &SegmentFile) -> Result<Self, RuntimeError> {
        let path = segment.path.clone();
        match File::open(&path) {
            Ok(file) => Ok(Self { file, path }),
            Err(error) => Err(RuntimeError::File { what: "cannot open", path, error }),
        }
    }

    /// Reads at `offset`; fewer bytes than asked for only at the end of the file.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, RuntimeError> {
        let mut done = 0;
        while done < into.len() {
            match self.file.read_at(&mut into[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let path = self.path.clone();
                    return Err(RuntimeError::File { what: "cannot read", path, error });
                }
            }
        }
        Ok(done)
    }
}

/// A file open for reading, as long as it was when it was opened.
pub struct FileReader {
    file: File,
    path: PathBuf,
    size_bytes: u64,
}

impl FileReader {
    pub fn open(path: &Path) -> Result<Self, RuntimeError> {
        let open = || {
            let file = File::open(path)?;
            let size_bytes = file.metadata()?.len();
            Ok(Self { file, path: path.to_owned(), size_bytes })
        };
        let path = path.to_owned();
        open().map_err(|error| RuntimeError::File { what: "cannot open", path, error })
    }

    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Fills all of `into` from `offset` on; a file that ends before that is a failure.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), RuntimeError> {
        let read = self.file.read_exact_at(into, offset);
        let path = || self.path.clone();
        read.map_err(|error| RuntimeError::File { what: "cannot read", path: path(), error })
    }
}

/// Makes a segment before any core runs: `header`, then zeros up to `size_bytes`, every block
/// written and on stable storage, under its name once it is whole.
pub fn create_segment(
    directory: &Path,
    number: u64,
    header: &[u8],
    size_bytes: u64,
) -> Result<(), RuntimeError> {
    let temporary = temporary_path(directory, number);
    let create = || -> io::Result<()> {
        fs::create_dir_all(directory)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o640)
            .open(&temporary)?;
        file.write_all(header)?;
        let zeros = vec![0; ZEROS_BYTES];
        let mut left = size_bytes.saturating_sub(header.len() as u64);
        while left > 0 {
            let part = left.min(ZEROS_BYTES as u64) as usize;
            file.write_all(&zeros[..part])?;
            left -= part as u64;
        }
        file.sync_all()?;
        fs::rename(&temporary, segment_path(directory, number))?;
        File::open(directory)?.sync_all()?;
        if let Some(parent) = directory.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(())
    };
    let what = "cannot make the log segment";
    create().map_err(|error| RuntimeError::File { what, path: temporary.clone(), error })
}

/// Zeros written at once.
const ZEROS_BYTES: usize = 1 << 20;

const SEGMENT_SUFFIX: &str = ".log";
const TEMPORARY_SUFFIX: &str = ".log.new";

/// Where segment `number` lies: sixteen hexadecimal digits, so that names sort as numbers.
pub fn segment_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:016x}{SEGMENT_SUFFIX}"))
}

pub(super) fn temporary_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:016x}{TEMPORARY_SUFFIX}"))
}

fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SEGMENT_SUFFIX)?;
    if digits.len() != 16 {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

/// Whether files in `directory` can be written past the page cache.
pub(super) fn takes_direct(directory: &Path) -> io::Result<bool> {
    let path = directory.join(format!("direct{TEMPORARY_SUFFIX}"));
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(libc::O_DIRECT)
        .open(&path);
    let takes = match &opened {
        Ok(file) => {
            let block = AlignedBytes::zeroed(BLOCK_BYTES);
            file.write_all_at(block.as_ref(), 0)
        }
        Err(error) => Err(io::Error::from(error.kind())),
    };
    let errno = opened.as_ref().err().and_then(io::Error::raw_os_error);
    // A file system may refuse at open and still have made the file.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    match takes {
        Ok(()) => Ok(true),
        // A full disk is no reason not to start: what is there can be read.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT)) => Ok(true),
        Err(error) => match errno.or(error.raw_os_error()) {
            Some(libc::EINVAL | libc::EOPNOTSUPP) => Ok(false),
            _ => Err(opened.err().unwrap_or(error)),
        },
    }
}

/// How a segment is opened for log writes.
pub(super) fn writing_flags(direct: bool, sync: LogSync) -> i32 {
    let mut flags = libc::O_RDWR | libc::O_CLOEXEC;
    if direct {
        flags |= libc::O_DIRECT;
    }
    if sync == LogSync::EachWrite {
        flags |= libc::O_DSYNC;
    }
    flags
}

pub(super) fn open_for_writing(path: &Path, direct: bool, sync: LogSync) -> io::Result<OwnedFd> {
    let flags = writing_flags(direct, sync) & !libc::O_RDWR;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    Ok(file.into())
}

/// Bytes on the heap that begin on a block boundary.
pub struct AlignedBytes {
    memory: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it owns its bytes, as a Vec does.
unsafe impl Send for AlignedBytes {}

impl AlignedBytes {
    pub fn zeroed(len: usize) -> Self {
        assert!(len > 0 && len <= isize::MAX as usize / 2);
        let Ok(layout) = Layout::from_size_align(len, BLOCK_BYTES) else {
            unreachable!("the length is far below the limit of a layout");
        };
        // SAFETY: the size is not zero.
        let memory = unsafe { alloc_zeroed(layout) };
        match NonNull::new(memory) {
            Some(memory) => Self { memory, layout },
            None => handle_alloc_error(layout),
        }
    }
}

impl AsRef<[u8]> for AlignedBytes {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: allocated with this size, initialised, owned.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.layout.size()) }
    }
}

impl AsMut<[u8]> for AlignedBytes {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_ref`, and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.layout.size()) }
    }
}

impl Drop for AlignedBytes {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, freed once.
        unsafe { dealloc(self.memory.as_ptr(), self.layout) }
    }
}
