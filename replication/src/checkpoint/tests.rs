//! Checkpoint files: vectors, damage of every kind, crashes and failures at every step of writing.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::catalogue::Unusable;
use super::catalogue::{check_identity, file_name, is_temporary, parse_name, temporary_name};
use super::file::{Encoder, PAGE_BYTES};
use super::*;
use crate::group::{Members, NodeId};
use crate::ids::{Index, ShardId, Term};

const IDENTITY: CheckpointIdentity = CheckpointIdentity {
    cluster: 7 << 90 | 5,
    node: 3,
    shard: ShardId(2),
    index: Index(0x1234),
    term: Term(1),
    stamp: 99,
};

impl CheckpointSource for &[u8] {
    fn size_bytes(&mut self) -> Result<u64, String> {
        Ok((**self).len() as u64)
    }

    fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), String> {
        let start = usize::try_from(offset).map_err(|e| e.to_string())?;
        let bytes = self.get(start..start + into.len()).ok_or("past the end")?;
        into.copy_from_slice(bytes);
        Ok(())
    }
}

fn encode(identity: &CheckpointIdentity, contents: &[u8], payloads: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = Encoder::begin(identity, None, contents, &mut file);
    payloads.iter().for_each(|payload| encoder.block(payload, &mut file));
    assert_eq!(encoder.end(&mut file), file.len() as u64);
    file
}

fn decode(file: &[u8]) -> Result<(Summary, Vec<Vec<u8>>), FileError> {
    let mut reader = CheckpointReader::open(file)?;
    let mut payloads = Vec::new();
    while let Some(payload) = reader.next_payload()? {
        payloads.push(payload.to_vec());
    }
    Ok((reader.summary().clone(), payloads))
}

/// Bytes that do not compress (xorshift64, Marsaglia 2003).
fn noise(len: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn what_is_said_of_the_group_is_read_back() {
    let members = Members::of_voters([NodeId(3), NodeId(1)]);
    let mut file = Vec::new();
    let group = OfGroup { members, ended: Some(Index(7)) };
    let mut encoder = Encoder::begin(&IDENTITY, Some(&group), b"contents", &mut file);
    encoder.end(&mut file);
    let (summary, _) = decode(&file).unwrap();
    assert_eq!((summary.group, &summary.contents[..]), (group, &b"contents"[..]));
    let alone = encode(&IDENTITY, b"contents", &[]);
    assert_eq!(decode(&alone).unwrap().0.group, OfGroup::default());
}

fn payloads() -> Vec<Vec<u8>> {
    vec![b"a".repeat(5000), noise(9000), b"short".to_vec(), b"ab".repeat(400)]
}

#[test]
fn the_bytes_are_those_of_the_format() {
    let file = encode(&IDENTITY, b"contents", &[b"payload".to_vec()]);
    assert_eq!(file.len(), 3 * PAGE_BYTES);
    let mut header = b"QUORCKP1\x02\0\0\0\x02\0\x08\0".to_vec();
    header.extend((7_u128 << 90 | 5).to_le_bytes());
    header.extend([3_u64, 0x1234, 1, 99].map(u64::to_le_bytes).concat());
    header.extend(b"contents");
    assert_eq!(file[..72], header);
    // CRC32C of RFC 3720, as in the log.
    let start = crc32c::crc32c(&header[12..64]);
    let header_crc = crc32c::crc32c(&file[..4092]).to_le_bytes();
    assert_eq!(file[4092..4096], header_crc);
    let mut block = b"QCKB\x01\0\0\0\x07\0\0\0\x07\0\0\0".to_vec();
    block.extend(header_crc);
    let crc = crc32c::crc32c_append(crc32c::crc32c_append(start, &block), b"payload");
    block.extend(crc.to_le_bytes());
    block.extend(b"payload");
    assert_eq!(file[4096..4096 + 31], block);
    assert!(file[4096 + 31..8192].iter().all(|byte| *byte == 0));
    let mut trailer = b"QUORCKPE\x02\0\0\0".to_vec();
    trailer.extend(crc.to_le_bytes());
    trailer.extend([1_u64, 7, 4096 + 31, 3 * 4096].map(u64::to_le_bytes).concat());
    trailer.extend(crc32c::crc32c(b"payload").to_le_bytes());
    assert_eq!(file[8192..8192 + 52], trailer);
}

#[test]
fn what_is_written_is_read() {
    for payloads in [Vec::new(), payloads(), vec![b"x".repeat(3 << 20); 3]] {
        let file = encode(&IDENTITY, b"contents", &payloads);
        let (summary, read) = decode(&file).unwrap();
        assert_eq!(read, payloads);
        assert_eq!(summary.identity, IDENTITY);
        assert_eq!(summary.contents, b"contents");
        assert_eq!(summary.blocks, payloads.len() as u64);
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let file = encode(&IDENTITY, b"contents", &payloads());
    for at in 0..file.len() {
        let mut damaged = file.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(decode(&damaged).is_err(), "byte {at}");
    }
    for len in (0..file.len()).step_by(511).chain([4096, file.len() - 4096]) {
        assert!(decode(&file[..len]).is_err(), "cut to {len}");
    }
    let longer = [&file[..], &[0; 4096]].concat();
    assert!(decode(&longer).is_err());
}

#[test]
fn no_block_of_another_file_or_place_is_taken() {
    let block = b"0123456789".repeat(10);
    // Blocks of a page each, which a disk could exchange whole.
    let blocks = vec![noise(4072); 3];
    let file = encode(&IDENTITY, &block, &blocks);
    let others = [
        CheckpointIdentity { stamp: 98, ..IDENTITY },
        CheckpointIdentity { index: Index(0x1233), ..IDENTITY },
        CheckpointIdentity { shard: ShardId(1), ..IDENTITY },
        CheckpointIdentity { node: 4, ..IDENTITY },
        CheckpointIdentity { cluster: 1, ..IDENTITY },
    ];
    for other in others {
        let stale = encode(&other, &block, &blocks);
        assert_eq!(stale.len(), file.len());
        for page in 0..file.len() / PAGE_BYTES {
            let range = page * PAGE_BYTES..(page + 1) * PAGE_BYTES;
            let mut mixed = file.clone();
            mixed[range.clone()].copy_from_slice(&stale[range]);
            assert!(decode(&mixed).is_err(), "page {page} of {other:?}");
        }
        let name = file_name(IDENTITY.shard, IDENTITY.index);
        let own = check_identity(&name, &other, IDENTITY.cluster, IDENTITY.node);
        assert_eq!(own.is_ok(), other.stamp == 98);
    }
    let mut exchanged = file.clone();
    exchanged.copy_within(PAGE_BYTES..2 * PAGE_BYTES, 2 * PAGE_BYTES);
    assert!(decode(&exchanged).is_err());
    exchanged[PAGE_BYTES..2 * PAGE_BYTES].copy_from_slice(&file[2 * PAGE_BYTES..3 * PAGE_BYTES]);
    assert!(decode(&exchanged).is_err());
}

/// A directory of which a crash may take what was not synced.
#[derive(Clone, Default)]
struct Disk {
    /// Of each file: its pages, and whether they are on stable storage.
    files: BTreeMap<String, (Vec<u8>, bool)>,
    durable_names: Vec<String>,
}

impl Disk {
    fn run(&mut self, operation: FileOperation) {
        let temporary = temporary_name(IDENTITY.shard, IDENTITY.index);
        match operation {
            FileOperation::Create { name } => {
                self.files.insert(name, Default::default());
            }
            FileOperation::Write { offset, buffer } => {
                let (bytes, synced) = self.files.get_mut(&temporary).unwrap();
                assert_eq!(bytes.len() as u64, offset);
                assert!(buffer.len().is_multiple_of(PAGE_BYTES));
                bytes.extend_from_slice(buffer.bytes());
                *synced = false;
            }
            FileOperation::Sync => self.files.get_mut(&temporary).unwrap().1 = true,
            FileOperation::Rename { from, to } => {
                let file = self.files.remove(&from).unwrap();
                self.files.insert(to, file);
            }
            FileOperation::SyncDirectory => {
                self.durable_names = self.files.keys().cloned().collect();
            }
            FileOperation::Remove { name } => {
                self.files.remove(&name);
            }
        }
    }

    /// What may be found after a crash: of unsynced files nothing, a part or all.
    fn after_crash(&self) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        for (name, (bytes, synced)) in &self.files {
            if *synced {
                found.push((name.clone(), bytes.clone()));
            } else {
                for len in [0, bytes.len() / 2, bytes.len()] {
                    found.push((name.clone(), bytes[..len].to_vec()));
                }
            }
        }
        found
    }
}

/// Writes a checkpoint; the operation of number `fails_at` fails. Calls `after` after each.
fn write(disk: &mut Disk, fails_at: usize, mut after: impl FnMut(&Disk)) -> Outcome {
    let mut writer = CheckpointWriter::new(IDENTITY, None, b"contents");
    let mut blocks = vec![noise(150_000); 12].into_iter().chain(payloads());
    let mut steps = 0;
    loop {
        while writer.wants_block() {
            match blocks.next() {
                Some(block) => writer.add_block(&block),
                None => writer.end_blocks(),
            }
        }
        match writer.poll_operation() {
            Some(operation) if steps == fails_at => {
                drop(operation);
                writer.on_done(Err(28));
                steps += 1;
            }
            Some(operation) => {
                disk.run(operation);
                writer.on_done(Ok(()));
                steps += 1;
            }
            // Held until its index is released.
            None if writer.outcome().is_none() => {
                assert!(disk.files.keys().all(|name| is_temporary(name)));
                writer.on_released();
            }
            None => {}
        }
        after(disk);
        if let Some(outcome) = writer.outcome() {
            return outcome.clone();
        }
    }
}

#[test]
fn a_file_under_its_name_is_whole_whenever_the_process_ends() {
    let name = file_name(IDENTITY.shard, IDENTITY.index);
    let mut disk = Disk::default();
    let outcome = write(&mut disk, usize::MAX, |disk| {
        for (found, bytes) in disk.after_crash() {
            if found == name {
                assert!(decode(&bytes).is_ok());
            } else {
                assert!(is_temporary(&found));
            }
        }
    });
    let file_bytes = disk.files[&name].0.len() as u64;
    assert_eq!(outcome, Outcome::Catalogued { name: name.clone(), file_bytes });
    assert_eq!(disk.durable_names, [name]);
}

#[test]
fn a_failure_at_any_step_gives_it_up_and_leaves_nothing_behind() {
    let mut abandoned = 0;
    for fails_at in 0.. {
        let mut disk = Disk::default();
        match write(&mut disk, fails_at, |_| {}) {
            Outcome::Abandoned(error) => {
                assert_eq!(error.errno, Some(28));
                assert!(error.to_string().contains("No space"), "{error}");
                // Only a name whose sync failed stays: the file is whole.
                assert!(disk.files.keys().all(|name| !is_temporary(name)));
                abandoned += 1;
            }
            Outcome::Catalogued { .. } => break,
        }
    }
    assert!(abandoned >= 10, "create, writes, sync, rename, directory");
}

#[test]
fn one_given_up_is_removed() {
    let mut writer = CheckpointWriter::new(IDENTITY, None, b"");
    let mut disk = Disk::default();
    disk.run(writer.poll_operation().unwrap());
    writer.abandon("the server stops");
    assert!(!writer.wants_block());
    writer.on_done(Ok(()));
    disk.run(writer.poll_operation().unwrap());
    writer.on_done(Ok(()));
    assert!(disk.files.is_empty());
    let Some(Outcome::Abandoned(why)) = writer.outcome() else { panic!("it was given up") };
    assert_eq!(why.to_string(), "the server stops");
}

/// And that operation ends well, or fails too.
#[test]
fn one_given_up_during_any_operation_comes_to_an_end() {
    for (given_up_at, result) in (0..6).flat_map(|at| [(at, Ok(())), (at, Err(28))]) {
        let mut writer = CheckpointWriter::new(IDENTITY, None, b"contents");
        let mut disk = Disk::default();
        writer.end_blocks();
        writer.on_released();
        for step in 0..8 {
            let Some(operation) = writer.poll_operation() else { break };
            let meant = step == given_up_at;
            if meant {
                writer.abandon("the server stops");
            }
            let result = if meant { result } else { Ok(()) };
            if result.is_ok() {
                disk.run(operation);
            }
            writer.on_done(result);
        }
        assert!(writer.outcome().is_some(), "given up at {given_up_at}, then {result:?}");
        assert!(disk.files.keys().all(|name| !is_temporary(name)));
    }
}

#[test]
fn names_say_shard_and_index() {
    let name = file_name(ShardId(0x2a), Index(0xbeef));
    assert_eq!(name, "002a-000000000000beef.ckpt");
    assert_eq!(parse_name(&name), Some((ShardId(0x2a), Index(0xbeef))));
    let others = ["", "x.ckpt", "002a-beef.ckpt", "002A-000000000000beef.ckpt", "+02a-0.ckpt"];
    for other in others {
        assert_eq!(parse_name(other), None, "{other}");
    }
    assert_eq!(parse_name(&temporary_name(ShardId(1), Index(1))), None);
}

const SHARD: ShardId = ShardId(2);

fn found(index: u64, good: bool) -> Found {
    let damaged = FileError::Damaged { offset: 0, what: "damaged" };
    Found {
        name: file_name(SHARD, Index(index)),
        verdict: if good { Ok(()) } else { Err(damaged) },
    }
}

fn names(indexes: &[u64]) -> Vec<String> {
    indexes.iter().map(|index| file_name(SHARD, Index(*index))).collect()
}

#[test]
fn the_newest_good_one_is_taken_and_the_one_before_kept_while_its_log_is_there() {
    let none = decide(SHARD, &[], Index(1)).unwrap();
    assert_eq!(none, Decision { log_from: Index(1), ..Decision::default() });
    let files = [found(10, true), found(30, true), found(20, true), found(5, true)];
    let decision = decide(SHARD, &files, Index(21)).unwrap();
    assert_eq!((decision.newest, decision.log_from), (Some(Index(30)), Index(31)));
    assert_eq!(decision.remove, names(&[10, 5]));
    // The log was recycled beyond the one before.
    assert_eq!(decide(SHARD, &files, Index(22)).unwrap().remove, names(&[20, 10, 5]));
    assert_eq!(decide(SHARD, &files, Index(31)).unwrap().newest, Some(Index(30)));
    let lost = decide(SHARD, &files, Index(32));
    assert!(matches!(lost, Err(Unusable::Missing { index: Index(31), .. })), "{lost:?}");
    assert!(decide(SHARD, &[], Index(2)).is_err());
}

#[test]
fn a_damaged_one_is_passed_over_and_reported() {
    let files = [found(10, true), found(20, true), found(30, false)];
    let decision = decide(SHARD, &files, Index(11)).unwrap();
    assert_eq!(decision.newest, Some(Index(20)));
    assert_eq!(decision.damaged.len(), 1);
    assert!(decision.remove.is_empty());
    let error = decide(SHARD, &files, Index(22)).unwrap_err().to_string();
    assert!(error.contains("entries 21 to 21") && error.contains("001e.ckpt"), "{error}");
    let files = [found(5, false), found(10, true), found(20, true)];
    assert_eq!(decide(SHARD, &files, Index(11)).unwrap().remove, names(&[5]));
    let newer = Found { verdict: Err(FileError::Newer { version: 9 }), ..found(3, true) };
    assert!(matches!(decide(SHARD, &[newer], Index(1)), Err(Unusable::Newer { .. })));
    let leftovers = ["0002-0000000000000001.ckpt.new", "notes.txt", "0003-0000000000000001.ckpt"]
        .map(|name| Found { name: name.into(), verdict: Ok(()) });
    let decision = decide(SHARD, &leftovers, Index(1)).unwrap();
    assert_eq!((decision.newest, decision.remove.len()), (None, 1));
}

proptest! {
    #[test]
    fn what_is_decided_brings_everything_back(
        files in prop::collection::btree_map(1..40_u64, any::<bool>(), 0..8),
        log_first in 1..42_u64,
    ) {
        let found: Vec<Found> = files.iter().map(|(index, good)| found(*index, *good)).collect();
        let newest = files.iter().rev().find(|(_, good)| **good).map_or(0, |(index, _)| *index);
        match decide(SHARD, &found, Index(log_first)) {
            Ok(decision) => {
                prop_assert!(log_first <= newest + 1);
                prop_assert_eq!(decision.log_from.0, newest + 1);
                prop_assert!(!decision.remove.contains(&file_name(SHARD, Index(newest))));
                // What is left decides the same.
                let left: Vec<Found> = found
                    .into_iter()
                    .filter(|found| !decision.remove.contains(&found.name))
                    .collect();
                let again = decide(SHARD, &left, Index(log_first)).unwrap();
                prop_assert_eq!(again.newest, decision.newest);
                prop_assert!(again.remove.is_empty());
            }
            Err(_) => prop_assert!(log_first > newest + 1),
        }
    }
}
