//! What is written beside the log, and the removal of segments.

use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

use super::files::{
    BLOCK, Order, SIDE, block, log_config, prepare, read_segment, run_in_order, write,
};
use super::machines::Block;
use super::pattern;
use crate::core::io::OsError;
use crate::runtime::config::LogSync;
use crate::runtime::disk::{FileReader, list_files, list_segments, remove_file};
use crate::runtime::file::{Operation, SideOperation};

const LONG: usize = 8 << 20;

fn create(name: &str) -> Operation<Block> {
    Operation::Side(SideOperation::Create { name: name.to_owned() })
}

fn write_side(offset: usize, len: usize, seed: u64) -> Operation<Block> {
    let (offset, buffer) = (offset as u64, block(len, seed));
    Operation::Side(SideOperation::Write { offset, buffer, len: len as u32 })
}

fn sync() -> Operation<Block> {
    Operation::Side(SideOperation::Sync)
}

fn rename(from: &str, to: &str) -> Operation<Block> {
    Operation::Side(SideOperation::Rename { from: from.to_owned(), to: to.to_owned() })
}

fn sync_directory() -> Operation<Block> {
    Operation::Side(SideOperation::SyncDirectory)
}

fn remove(name: &str) -> Operation<Block> {
    Operation::Side(SideOperation::Remove { name: name.to_owned() })
}

/// Not the temporary directory of the system: it may be in memory, without O_DIRECT.
fn directory() -> TempDir {
    TempDir::new_in(env!("CARGO_MANIFEST_DIR")).unwrap()
}

/// Runs side operations; how each ended.
fn run_side(
    directory: &Path,
    direct: bool,
    order: Order,
    make: fn() -> Vec<Operation<Block>>,
) -> Vec<Result<(), OsError>> {
    let log = log_config(directory, LogSync::EachWrite, direct);
    let results = run_in_order(log, order, make).into_iter();
    results.inspect(|(id, _)| assert_eq!(*id, SIDE)).map(|(_, result)| result).collect()
}

fn files_of(directory: &Path) -> Vec<(String, u64)> {
    list_files(&directory.join("checkpoints")).unwrap()
}

fn read_side(directory: &Path, name: &str) -> Vec<u8> {
    let reader = FileReader::open(&directory.join("checkpoints").join(name)).unwrap();
    let mut bytes = vec![1; reader.size_bytes() as usize];
    reader.read_at(0, &mut bytes).unwrap();
    bytes
}

fn check_checkpoint(direct: bool) {
    let directory = directory();
    // What was there under the temporary name is gone, however long it was.
    std::fs::create_dir(directory.path().join("checkpoints")).unwrap();
    let old = directory.path().join("checkpoints/a.new");
    std::fs::write(&old, vec![7; 100 * BLOCK]).unwrap();
    let results = run_side(directory.path(), direct, Order::OneByOne, || {
        vec![
            create("a.new"),
            write_side(0, 64 * BLOCK, 1),
            write_side(64 * BLOCK, 3 * BLOCK, 2),
            write_side(67 * BLOCK, BLOCK, 3),
            sync(),
            rename("a.new", "a"),
            sync_directory(),
            // The file was closed with its name: nothing is open.
            sync(),
            create("b.new"),
            write_side(0, BLOCK, 4),
            remove("b.new"),
            remove("b.new"),
            sync(),
        ]
    });
    let closed = Err(OsError(libc::EBADF));
    let mut expected = vec![Ok(()); 13];
    (expected[7], expected[12]) = (closed, closed);
    assert_eq!(results, expected);
    assert_eq!(files_of(directory.path()), [("a".to_owned(), 68 * BLOCK as u64)]);
    let bytes = read_side(directory.path(), "a");
    assert!(bytes[..64 * BLOCK] == pattern(64 * BLOCK, 1));
    assert!(bytes[64 * BLOCK..67 * BLOCK] == pattern(3 * BLOCK, 2));
    assert!(bytes[67 * BLOCK..] == pattern(BLOCK, 3));
}

#[test]
fn a_checkpoint_is_written_past_the_page_cache() {
    check_checkpoint(true);
}

#[test]
fn a_checkpoint_is_written_through_the_page_cache() {
    check_checkpoint(false);
}

#[test]
fn side_operations_fail_with_the_systems_error() {
    let directory = directory();
    std::fs::create_dir_all(directory.path().join("checkpoints/folder")).unwrap();
    let results = run_side(directory.path(), true, Order::OneByOne, || {
        vec![
            write_side(0, BLOCK, 1),
            rename("missing", "a"),
            create("folder"),
            create("none/a"),
            create("../a"),
            create("/tmp"),
            remove("folder"),
            create("a.new"),
            write_side(0, BLOCK, 1),
            rename("missing", "a"),
            // After a failure the file can still be removed.
            remove("a.new"),
        ]
    });
    let error = |number| Err(OsError(number));
    let (missing, invalid) = (error(libc::ENOENT), error(libc::EINVAL));
    let is_directory = error(libc::EISDIR);
    assert_eq!(results[..4], [error(libc::EBADF), missing, is_directory, invalid]);
    assert_eq!(results[4..7], [invalid, invalid, is_directory]);
    assert_eq!(results[7..], [Ok(()), Ok(()), missing, Ok(())]);
    assert!(files_of(directory.path()).is_empty());
}

#[test]
fn a_full_disk_fails_the_write() {
    let directory = directory();
    std::fs::create_dir(directory.path().join("checkpoints")).unwrap();
    symlink("/dev/full", directory.path().join("checkpoints/a.new")).unwrap();
    let results = run_side(directory.path(), false, Order::OneByOne, || {
        vec![create("a.new"), write_side(0, BLOCK, 1), remove("a.new"), create("a.new")]
    });
    assert_eq!(results, [Ok(()), Err(OsError(libc::ENOSPC)), Ok(()), Ok(())]);
    assert_eq!(files_of(directory.path()), [("a.new".to_owned(), 0)]);
}

#[test]
fn a_file_in_a_missing_directory_is_not_made() {
    let directory = directory();
    std::fs::create_dir(directory.path().join("checkpoints")).unwrap();
    symlink("missing/a", directory.path().join("checkpoints/a.new")).unwrap();
    let results = run_side(directory.path(), true, Order::OneByOne, || {
        vec![create("a.new"), sync(), remove("a.new"), create("a.new")]
    });
    let (missing, closed) = (Err(OsError(libc::ENOENT)), Err(OsError(libc::EBADF)));
    assert_eq!(results, [missing, closed, Ok(()), Ok(())]);
}

#[test]
fn a_segment_that_cannot_be_removed_says_why() {
    let directory = directory();
    let log = log_config(directory.path(), LogSync::EachWrite, true);
    std::fs::create_dir_all(directory.path().join("core-0/0000000000000001.log")).unwrap();
    let results = run_in_order(log, Order::OneByOne, || {
        vec![Operation::RemoveSegment { number: 1 }, Operation::RemoveSegment { number: 2 }]
    });
    assert_eq!(results, [(1, Err(OsError(libc::EISDIR))), (2, Ok(()))]);
}

#[test]
fn a_write_under_way_is_whole_when_the_core_ends() {
    let directory = directory();
    let results = run_side(directory.path(), true, Order::StopWithLast, || {
        vec![create("a.new"), write_side(0, LONG, 1)]
    });
    assert_eq!(results, [Ok(()), Ok(())]);
    assert!(read_side(directory.path(), "a.new") == pattern(LONG, 1));
}

#[test]
fn segments_are_removed_while_another_is_written() {
    let directory = directory();
    let log = || log_config(directory.path(), LogSync::EachWrite, true);
    let made = run_in_order(log(), Order::OneByOne, || {
        let written = write(101, 1, BLOCK as u64, BLOCK);
        vec![prepare(1, None), prepare(2, None), prepare(3, None), written]
    });
    assert!(made.iter().all(|(_, result)| result.is_ok()));
    let mut results = run_in_order(log(), Order::AllAtOnce, || {
        vec![
            write(101, 3, BLOCK as u64, 8 * BLOCK),
            Operation::RemoveSegment { number: 1 },
            create("a.new"),
            write(102, 3, 9 * BLOCK as u64, 8 * BLOCK),
            Operation::RemoveSegment { number: 9 },
            Operation::RemoveSegment { number: 2 },
            write(103, 3, 17 * BLOCK as u64, BLOCK),
        ]
    });
    results.sort_by_key(|(id, _)| *id);
    assert_eq!(results, [1, 2, 9, 101, 102, 103, SIDE].map(|id| (id, Ok(()))));
    let bytes = read_segment(directory.path(), 3);
    assert!(bytes[BLOCK..9 * BLOCK] == pattern(8 * BLOCK, 101));
    assert!(bytes[9 * BLOCK..17 * BLOCK] == pattern(8 * BLOCK, 102));
    assert!(bytes[17 * BLOCK..18 * BLOCK] == pattern(BLOCK, 103));
    let left = list_segments(&directory.path().join("core-0")).unwrap();
    assert_eq!(left.iter().map(|segment| segment.number).collect::<Vec<_>>(), [3]);
}

#[test]
fn a_segment_that_was_open_is_removed() {
    let directory = directory();
    let log = log_config(directory.path(), LogSync::EachWrite, true);
    let results = run_in_order(log, Order::OneByOne, || {
        vec![
            prepare(1, None),
            write(101, 1, BLOCK as u64, BLOCK),
            Operation::RemoveSegment { number: 1 },
            // Closed too: opening it again finds nothing.
            write(102, 1, BLOCK as u64, BLOCK),
        ]
    });
    let gone = Err(OsError(libc::ENOENT));
    assert_eq!(results, [(1, Ok(())), (101, Ok(())), (1, Ok(())), (102, gone)]);
}

#[test]
fn files_are_listed_read_and_removed() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("b");
    std::fs::write(&path, b"0123456789").unwrap();
    std::fs::write(directory.path().join("a"), b"").unwrap();
    std::fs::create_dir(directory.path().join("folder")).unwrap();
    let files = list_files(directory.path()).unwrap();
    assert_eq!(files, [("a".to_owned(), 0), ("b".to_owned(), 10)]);
    let reader = FileReader::open(&path).unwrap();
    let mut bytes = [0; 4];
    reader.read_at(6, &mut bytes).unwrap();
    assert_eq!((reader.size_bytes(), &bytes), (10, b"6789"));
    assert!(reader.read_at(7, &mut bytes).is_err(), "all or nothing");
    remove_file(&path).unwrap();
    remove_file(&path).unwrap();
    assert!(remove_file(&directory.path().join("folder")).is_err());
    assert!(FileReader::open(&path).is_err());
    assert!(list_files(&path).unwrap().is_empty());
}
