//! Log files through the ring, and what start-up reads back.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

use tempfile::TempDir;

use super::machines::Block;
use super::{PATIENCE, config, pattern};
use crate::core::io::{Input, Machine, Now, OsError, Output};
use crate::runtime::config::{Config, CoreId, LogConfig, LogSync};
use crate::runtime::disk::{
    AlignedBytes, DataLock, SegmentReader, list_segments, remove_leftovers,
};
use crate::runtime::error::RuntimeError;
use crate::runtime::file::{Done, Operation, PrepareSegment, Write};
use crate::runtime::limits::OPEN_SEGMENTS_MAX;
use crate::runtime::threads::{Drives, start};

pub const BLOCK: usize = 4096;
const SIZE: u64 = 3 << 20;

/// What stands for the number of an operation that has none.
pub const SIDE: u64 = u64::MAX;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    OneByOne,
    AllAtOnce,
    /// One by one, and the core stops in the turn that asks for the last.
    StopWithLast,
}

/// An operation's number, and how it ended.
pub type Ended = (u64, Result<(), OsError>);

/// Carries out operations and reports what came back.
struct Writer {
    operations: std::vec::IntoIter<Operation<Block>>,
    registered: Vec<AlignedBytes>,
    results: Sender<Ended>,
    order: Order,
    under_way: bool,
    stopping: bool,
}

impl Machine for Writer {
    type Message = u64;
    type LogDone = Done<Block>;
    type LogOperation = Operation<Block>;

    fn begin_turn(&mut self, _now: Now, _mesh_waiting: &[u32]) {}

    fn on_input(&mut self, input: Input<'_, u64, Done<Block>>) {
        match input {
            Input::Log(done) => {
                self.under_way = false;
                let report = match done {
                    Done::Write(done) => (done.id, done.result),
                    Done::SegmentReady { number, result } => (number, result),
                    Done::Synced { id, result } => (id, result),
                    Done::SegmentRemoved { number, result } => (number, result),
                    Done::Side { result } => (SIDE, result),
                    Done::Job(_) => unreachable!("none is started"),
                };
                self.results.send(report).unwrap();
            }
            Input::Shutdown => self.stopping = true,
            _ => unreachable!("no clients, no other core"),
        }
    }

    fn end_turn(&mut self, outputs: &mut Vec<Output<u64, Operation<Block>>>) -> Option<u64> {
        while (!self.under_way || self.order == Order::AllAtOnce)
            && let Some(operation) = self.operations.next()
        {
            self.under_way = true;
            outputs.push(Output::Log(operation));
            self.stopping |=
                self.order == Order::StopWithLast && self.operations.as_slice().is_empty();
        }
        if self.stopping {
            outputs.push(Output::Stop);
        }
        None
    }
}

impl Drives for Writer {
    type Buffer = Block;
    fn into_operation(operation: Operation<Block>) -> Operation<Block> {
        operation
    }
    fn from_done(done: Done<Block>) -> Done<Block> {
        done
    }
    fn log_buffers(&self) -> Vec<&[u8]> {
        self.registered.iter().map(AsRef::as_ref).collect()
    }
}

pub fn log_config(directory: &Path, sync: LogSync, direct: bool) -> LogConfig {
    let side_directory = directory.join("checkpoints");
    LogConfig { directory: directory.to_owned(), side_directory, sync, direct }
}

/// Runs the operations one by one on a core with its log in `directory`; their results.
fn run_operations(
    directory: &Path,
    sync: LogSync,
    direct: bool,
    make: fn() -> Vec<Operation<Block>>,
) -> Vec<Ended> {
    run_in_order(log_config(directory, sync, direct), Order::OneByOne, make)
}

/// Runs the operations on one core; their results as they came.
pub fn run_in_order(
    log: LogConfig,
    order: Order,
    make: fn() -> Vec<Operation<Block>>,
) -> Vec<Ended> {
    run_and_look(log, order, make, || ()).0
}

/// The same, and what `look` sees when all of them have ended.
fn run_and_look<T>(
    log: LogConfig,
    order: Order,
    make: fn() -> Vec<Operation<Block>>,
    look: impl FnOnce() -> T,
) -> (Vec<Ended>, T) {
    let (sender, results): (_, Receiver<_>) = channel();
    let count = make().len();
    let running = start(Config { log: Some(log), ..config(1) }, move |_| {
        Ok(Writer {
            operations: make().into_iter(),
            registered: Vec::new(),
            results: sender.clone(),
            order,
            under_way: false,
            stopping: false,
        })
    })
    .unwrap();
    let got = (0..count).map(|_| results.recv_timeout(PATIENCE).expect("a result in time"));
    let got = got.collect();
    let seen = look();
    running.shutdown();
    running.wait().unwrap();
    (got, seen)
}

pub fn block(len: usize, seed: u64) -> Block {
    let mut bytes = AlignedBytes::zeroed(len);
    bytes.as_mut().copy_from_slice(&pattern(len, seed));
    Block { bytes, id: None }
}

pub fn write(id: u64, segment: u64, offset: u64, len: usize) -> Operation<Block> {
    Operation::Write(Write { id, segment, offset, buffer: block(len, id), len: len as u32 })
}

pub fn prepare(number: u64, recycle: Option<u64>) -> Operation<Block> {
    let header = format!("header of {number}").into_bytes();
    Operation::PrepareSegment(PrepareSegment {
        number,
        header,
        size_bytes: SIZE,
        recycle,
        within_bytes: 0,
    })
}

/// One of `SIZE` whose zeros are to be there once so much has been written.
fn prepare_within(number: u64, within_bytes: u64) -> Operation<Block> {
    match prepare(number, None) {
        Operation::PrepareSegment(asked) => {
            Operation::PrepareSegment(PrepareSegment { within_bytes, ..asked })
        }
        _ => unreachable!("it prepares"),
    }
}

pub fn read_segment(directory: &Path, number: u64) -> Vec<u8> {
    let segments = list_segments(&directory.join("core-0")).unwrap();
    let segment = segments.iter().find(|segment| segment.number == number).unwrap();
    assert_eq!(segment.size_bytes, SIZE);
    let mut bytes = vec![1; SIZE as usize + 10];
    let count = SegmentReader::open(segment).unwrap().read_at(0, &mut bytes).unwrap();
    assert_eq!(count, SIZE as usize, "short only at the end of the file");
    bytes.truncate(count);
    bytes
}

/// A segment is prepared, written, read back; then recycled under a new number.
fn check_log(sync: LogSync, direct: bool) {
    // Not the temporary directory of the system: it may be in memory, without O_DIRECT.
    let directory = TempDir::new_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let results = run_operations(directory.path(), sync, direct, || {
        vec![
            prepare(5, None),
            write(101, 5, BLOCK as u64, BLOCK),
            write(102, 5, 2 * BLOCK as u64, 32 * BLOCK),
            Operation::Fdatasync { id: 103, segment: 5 },
            prepare(6, None),
        ]
    });
    assert_eq!(results, [(5, Ok(())), (101, Ok(())), (102, Ok(())), (103, Ok(())), (6, Ok(()))]);
    let bytes = read_segment(directory.path(), 5);
    assert!(bytes.starts_with(b"header of 5\0"));
    assert!(bytes[BLOCK..2 * BLOCK] == pattern(BLOCK, 101));
    assert!(bytes[2 * BLOCK..34 * BLOCK] == pattern(32 * BLOCK, 102));
    assert!(bytes[34 * BLOCK..].iter().all(|byte| *byte == 0));

    // A new process: the segment is found and opened again, then recycled.
    let results = run_operations(directory.path(), sync, direct, || {
        vec![
            write(201, 5, 40 * BLOCK as u64, BLOCK),
            prepare(7, Some(5)),
            write(202, 7, BLOCK as u64, BLOCK),
            write(203, 5, BLOCK as u64, BLOCK),
        ]
    });
    let gone = Err(OsError(libc::ENOENT));
    assert_eq!(results, [(201, Ok(())), (7, Ok(())), (202, Ok(())), (203, gone)]);
    let bytes = read_segment(directory.path(), 7);
    assert!(bytes.starts_with(b"header of 7\0"));
    assert!(bytes[BLOCK..2 * BLOCK] == pattern(BLOCK, 202));
    assert!(bytes[40 * BLOCK..41 * BLOCK] == pattern(BLOCK, 201));
    let numbers: Vec<u64> = list_segments(&directory.path().join("core-0"))
        .unwrap()
        .iter()
        .map(|segment| segment.number)
        .collect();
    assert_eq!(numbers, [6, 7]);
}

/// The zeros of segment 6 wait for writes to segment 5, and with enough of those it is ready. Of
/// one that still waits when the core ends nothing is left.
#[test]
fn zeros_wait_for_writes() {
    let directory = TempDir::new_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let first =
        run_operations(directory.path(), LogSync::EachWrite, true, || vec![prepare(5, None)]);
    assert_eq!(first, [(5, Ok(()))]);
    let half = SIZE as usize / 2;
    let log = log_config(directory.path(), LogSync::EachWrite, true);
    let mut results = run_in_order(log.clone(), Order::AllAtOnce, || {
        vec![
            prepare_within(6, SIZE),
            write(1, 5, 0, SIZE as usize / 2),
            write(2, 5, SIZE / 2, SIZE as usize / 2),
        ]
    });
    results.sort_by_key(|(id, _)| *id);
    assert_eq!(results, [(1, Ok(())), (2, Ok(())), (6, Ok(()))]);
    assert!(read_segment(directory.path(), 6)[BLOCK..].iter().all(|byte| *byte == 0));

    let (sender, results) = channel();
    let running = start(Config { log: Some(log), ..config(1) }, move |_| {
        let operations = vec![prepare_within(7, SIZE), write(3, 5, 0, half)];
        Ok(Writer {
            operations: operations.into_iter(),
            registered: Vec::new(),
            results: sender.clone(),
            order: Order::AllAtOnce,
            under_way: false,
            stopping: false,
        })
    })
    .unwrap();
    assert_eq!(results.recv_timeout(PATIENCE).expect("the write ends"), (3, Ok(())));
    let began = std::time::Instant::now();
    running.shutdown();
    running.wait().unwrap();
    assert!(began.elapsed() < PATIENCE, "nobody waits for it");
    assert_eq!(std::fs::read_dir(directory.path().join("core-0")).unwrap().count(), 2);
}

#[test]
fn direct_and_synchronous() {
    check_log(LogSync::EachWrite, true);
}

#[test]
fn through_the_page_cache() {
    check_log(LogSync::EachWrite, false);
}

#[test]
fn synced_on_request() {
    check_log(LogSync::OnRequest, true);
}

#[test]
fn registered_buffers_are_written() {
    let directory = TempDir::new_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let (sender, results) = channel();
    let log = log_config(directory.path(), LogSync::EachWrite, true);
    let running = start(Config { log: Some(log), ..config(1) }, move |_: CoreId| {
        // The machine lends the buffer it registers: the list is read before the first turn.
        let mut registered = block(8 * BLOCK, 1);
        registered.id = Some(0);
        Ok(Registered {
            buffer: Some(registered),
            begun: false,
            prepared: false,
            written: false,
            results: sender.clone(),
        })
    })
    .unwrap();
    assert_eq!(results.recv_timeout(PATIENCE).expect("a result in time"), Ok(()));
    running.wait().unwrap();
    let bytes = read_segment(directory.path(), 1);
    assert!(bytes[BLOCK..9 * BLOCK] == pattern(8 * BLOCK, 1));
}

/// Prepares a segment, writes its one registered buffer, stops.
struct Registered {
    buffer: Option<Block>,
    begun: bool,
    prepared: bool,
    written: bool,
    results: Sender<Result<(), OsError>>,
}

impl Machine for Registered {
    type Message = u64;
    type LogDone = Done<Block>;
    type LogOperation = Operation<Block>;

    fn begin_turn(&mut self, _now: Now, _mesh_waiting: &[u32]) {}

    fn on_input(&mut self, input: Input<'_, u64, Done<Block>>) {
        match input {
            Input::Log(Done::SegmentReady { result, .. }) => {
                result.unwrap();
                self.prepared = true;
            }
            Input::Log(Done::Write(done)) => {
                self.results.send(done.result).unwrap();
                self.written = true;
            }
            _ => {}
        }
    }

    fn end_turn(&mut self, outputs: &mut Vec<Output<u64, Operation<Block>>>) -> Option<u64> {
        if !std::mem::replace(&mut self.begun, true) {
            outputs.push(Output::Log(prepare(1, None)));
        }
        match self.buffer.take_if(|_| self.prepared) {
            Some(buffer) => outputs.push(Output::Log(Operation::Write(Write {
                id: 1,
                segment: 1,
                offset: BLOCK as u64,
                len: 8 * BLOCK as u32,
                buffer,
            }))),
            None if self.written => outputs.push(Output::Stop),
            None => {}
        }
        None
    }
}

impl Drives for Registered {
    type Buffer = Block;
    fn into_operation(operation: Operation<Block>) -> Operation<Block> {
        operation
    }
    fn from_done(done: Done<Block>) -> Done<Block> {
        done
    }
    fn log_buffers(&self) -> Vec<&[u8]> {
        self.buffer.iter().map(AsRef::as_ref).collect()
    }
}

/// However many segments a core goes through, few are open; one that was closed is opened again.
#[test]
fn so_many_segments_are_open() {
    const SEGMENTS: u64 = 2 * OPEN_SEGMENTS_MAX as u64;
    let make = || {
        let first = |number| write(100 + number, number, BLOCK as u64, BLOCK);
        let both = |number| [prepare(number, None), first(number)];
        let all = (1..=SEGMENTS).flat_map(both);
        all.chain([write(200, 1, 2 * BLOCK as u64, BLOCK)]).collect()
    };
    let directory = TempDir::new_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let own = directory.path().canonicalize().unwrap().join("core-0");
    let open = || {
        let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let files = links.filter_map(|link| std::fs::read_link(link.path()).ok());
        files.filter(|file| file.parent() == Some(&own)).count()
    };
    let log = log_config(directory.path(), LogSync::EachWrite, true);
    let (results, open) = run_and_look(log, Order::OneByOne, make, open);
    assert!(results.iter().all(|(_, result)| result.is_ok()), "{results:?}");
    assert_eq!(results.len() as u64, 2 * SEGMENTS + 1);
    assert_eq!(open, OPEN_SEGMENTS_MAX);
    assert!(read_segment(directory.path(), 1)[2 * BLOCK..3 * BLOCK] == pattern(BLOCK, 200));
}

#[test]
fn a_missing_segment_and_a_bad_size_are_failures() {
    let directory = TempDir::new_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let results = run_operations(directory.path(), LogSync::EachWrite, true, || {
        vec![
            write(1, 9, 0, BLOCK),
            Operation::PrepareSegment(PrepareSegment {
                number: 2,
                header: Vec::new(),
                size_bytes: 100,
                recycle: None,
                within_bytes: 0,
            }),
            prepare(3, Some(8)),
            Operation::Fdatasync { id: 4, segment: 9 },
        ]
    });
    let missing = Err(OsError(libc::ENOENT));
    assert_eq!(
        results,
        [(1, missing), (2, Err(OsError(libc::EINVAL))), (3, missing), (4, missing)]
    );
}

#[test]
fn leftovers_of_a_preparation_are_removed() {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("0000000000000001.log.new"), b"half").unwrap();
    std::fs::write(directory.path().join("000000000000000a.log"), b"whole").unwrap();
    std::fs::write(directory.path().join("notes.txt"), b"left alone").unwrap();
    let segments = list_segments(directory.path()).unwrap();
    assert_eq!(segments.len(), 1);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 3, "listing only reads");
    remove_leftovers(directory.path()).unwrap();
    assert_eq!((segments[0].number, segments[0].size_bytes), (10, 5));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    assert!(list_segments(&directory.path().join("missing")).unwrap().is_empty());
    remove_leftovers(&directory.path().join("missing")).unwrap();
}

#[test]
fn a_data_directory_has_one_user() {
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("data");
    let lock = DataLock::acquire(&data).unwrap();
    match DataLock::acquire(&data) {
        Err(RuntimeError::Locked { path, holder }) => {
            assert_eq!(path, data);
            assert_eq!(holder, format!("process {}", std::process::id()));
        }
        other => panic!("expected a refusal, got {other:?}"),
    }
    drop(lock);
    DataLock::acquire(&data).unwrap();
}
