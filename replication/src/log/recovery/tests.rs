use std::collections::BTreeMap;

use super::super::limits::{BLOCK_BYTES, SEGMENT_BYTES_MIN};
use super::super::{BlockBuffer, EntryRef, KeptFor, Lack, LogOperation, LogWriter};
use super::*;
use crate::ids::{CoreId, TransactionId};
use crate::release::{Participant, Transaction};

mod damage;
mod groups;

const IDENTITY: LogIdentity = LogIdentity { cluster: 0xc0ffee, node: 1, core: 0 };

/// A disk that keeps what was synced apart from what is still being written.
#[derive(Clone, Default)]
struct Disk {
    segments: BTreeMap<u64, Vec<u8>>,
}

impl SegmentSource for Disk {
    type Error = String;

    fn segments(&mut self) -> Result<Vec<(u64, u64)>, String> {
        Ok(self.segments.iter().map(|(number, bytes)| (*number, bytes.len() as u64)).collect())
    }

    fn read(&mut self, segment: u64, offset: u64, out: &mut [u8]) -> Result<(), String> {
        let bytes = self.segments.get(&segment).ok_or("no such segment")?;
        let offset = offset as usize;
        out.copy_from_slice(bytes.get(offset..offset + out.len()).ok_or("past the end")?);
        Ok(())
    }
}

/// What becomes of a write that was under way when the power went.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Lost,
    Kept,
    /// The first so many sectors of 512 bytes arrived.
    TornAfter(usize),
    /// Only the later sectors arrived.
    TornBefore(usize),
}

/// Shard, index and payload.
type OneEntry = (u16, u64, Vec<u8>);
type Entries = Vec<OneEntry>;
type Appended = Vec<(Lsn, OneEntry)>;

fn read_all(disk: &mut Disk) -> Result<(Entries, Tail), RecoveryError> {
    let mut entries = Vec::new();
    let tail = recover(disk, IDENTITY, &mut |entry| {
        let Content::Entry { payload, .. } = entry.content else { return Err("a void".into()) };
        entries.push((entry.shard.0, entry.index.0, payload.to_vec()));
        Ok(())
    })?;
    Ok((entries, tail))
}

/// A log in use: what was appended, what is under way, what was acknowledged.
struct Run {
    disk: Disk,
    writer: LogWriter,
    in_flight: Vec<(u64, u64, u64, BlockBuffer)>,
    appended: Appended,
    indexes: [u64; 3],
}

impl Run {
    fn start(disk: Disk) -> (Run, Entries) {
        Run::start_with(disk, SEGMENT_BYTES_MIN)
    }

    fn start_with(mut disk: Disk, segment_bytes: u64) -> (Run, Entries) {
        let (entries, tail) = read_all(&mut disk).expect("a crash never looks like corruption");
        let incarnation = Incarnation(tail.incarnation.0 + 1);
        let mut indexes = [0; 3];
        for (shard, index, _) in &entries {
            assert_eq!(*index, indexes[usize::from(*shard)] + 1, "no entry is missing or doubled");
            indexes[usize::from(*shard)] = *index;
        }
        let mut writer = LogWriter::new(IDENTITY, segment_bytes, tail, incarnation);
        writer.set_writes_in_flight_max(2);
        (Run { disk, writer, in_flight: Vec::new(), appended: Vec::new(), indexes }, entries)
    }

    fn append(&mut self, shard: u16, payload: Vec<u8>) {
        let index = &mut self.indexes[usize::from(shard)];
        *index += 1;
        let entry = EntryRef {
            shard: ShardId(shard),
            term: Term(1),
            index: Index(*index),
            decided: Index(*index - 1),
            transaction: None,
            payload: &payload,
        };
        let lsn = self.writer.append(entry);
        self.appended.push((lsn, (shard, *index, payload)));
    }

    fn submit(&mut self) {
        while let Some(operation) = self.writer.poll_operation() {
            match operation {
                LogOperation::Write { id, segment, offset, buffer } => {
                    assert!(offset.is_multiple_of(BLOCK_BYTES as u64));
                    self.in_flight.push((id, segment, offset, buffer));
                }
                LogOperation::RemoveSegment { number } => {
                    assert_eq!(self.disk.segments.keys().next(), Some(&number), "oldest first");
                    self.disk.segments.remove(&number);
                    self.writer.on_segment_removed();
                }
                LogOperation::PrepareSegment { number, header, size_bytes, recycle, .. } => {
                    let old = recycle.and_then(|old| self.disk.segments.remove(&old));
                    let mut bytes = old.unwrap_or_else(|| vec![0; size_bytes as usize]);
                    bytes[..BLOCK_BYTES].copy_from_slice(header.bytes());
                    self.disk.segments.insert(number, bytes);
                    self.writer.on_segment_ready(number, Ok(())).unwrap();
                }
            }
        }
    }

    /// Until all that was appended is durable.
    fn settle(&mut self) {
        while self.writer.durable() < self.writer.appended() {
            self.submit();
            (0..self.in_flight.len()).for_each(|_| self.complete(0));
        }
    }

    fn land(disk: &mut Disk, segment: u64, offset: u64, bytes: &[u8], damage: Damage) {
        let target = disk.segments.get_mut(&segment).expect("written segments are prepared");
        let target = &mut target[offset as usize..offset as usize + bytes.len()];
        match damage {
            Damage::Lost => {}
            Damage::Kept => target.copy_from_slice(bytes),
            Damage::TornAfter(sectors) => {
                let end = (sectors * 512).min(bytes.len());
                target[..end].copy_from_slice(&bytes[..end]);
            }
            Damage::TornBefore(sectors) => {
                let start = (sectors * 512).min(bytes.len());
                target[start..].copy_from_slice(&bytes[start..]);
            }
        }
    }

    /// Completes the write at `place` of those under way.
    fn complete(&mut self, place: usize) {
        let (id, segment, offset, buffer) = self.in_flight.remove(place);
        Run::land(&mut self.disk, segment, offset, buffer.bytes(), Damage::Kept);
        self.writer.on_write_done(id, buffer, Ok(())).unwrap();
    }

    /// The power goes: each write under way meets its damage.
    fn crash(mut self, damage: [Damage; 2]) -> (Disk, Entries, Entries) {
        let durable = self.writer.durable();
        for ((_, segment, offset, buffer), damage) in self.in_flight.drain(..).zip(damage) {
            Run::land(&mut self.disk, segment, offset, buffer.bytes(), damage);
        }
        let (acknowledged, unsure) =
            self.appended.into_iter().partition::<Vec<_>, _>(|(lsn, _)| *lsn <= durable);
        let entries =
            |list: Appended| -> Entries { list.into_iter().map(|(_, entry)| entry).collect() };
        (self.disk, entries(acknowledged), entries(unsure))
    }
}

/// A step of a fixed workload with several shards, large payloads and segment changes.
fn step(run: &mut Run, number: usize) {
    let mut rng_byte = (number as u8).wrapping_mul(37);
    for part in 0..1 + number % 3 {
        let len = match (number + part) % 7 {
            0 => 9_000,
            1 => 0,
            2 if number % 14 == 2 => 150_000,
            n => 100 * n,
        };
        rng_byte = rng_byte.wrapping_add(1);
        run.append((part % 3) as u16, vec![rng_byte; len]);
    }
    run.submit();
    // Now and then the later of two writes ends first.
    if number % 5 == 4 && run.in_flight.len() == 2 {
        run.complete(1);
    } else if number % 2 == 1 {
        while !run.in_flight.is_empty() {
            run.complete(0);
            run.submit();
        }
    }
}

fn check_recovered(found: &Entries, before: &Entries, acknowledged: &Entries, unsure: &Entries) {
    let sure = [before.as_slice(), acknowledged].concat();
    assert!(found.len() >= sure.len(), "an acknowledged entry is lost");
    assert_eq!(found[..sure.len()], sure);
    let more = &found[sure.len()..];
    assert_eq!(*more, unsure[..more.len()], "what is there beyond is a prefix of the rest");
}

#[test]
fn a_crash_at_any_step_loses_nothing_acknowledged_twice_over() {
    let damages = [
        [Damage::Lost, Damage::Lost],
        [Damage::Kept, Damage::Lost],
        [Damage::Lost, Damage::Kept],
        [Damage::TornAfter(1), Damage::Kept],
        [Damage::TornBefore(1), Damage::Kept],
        [Damage::TornAfter(9), Damage::TornBefore(2)],
        [Damage::Kept, Damage::TornAfter(3)],
    ];
    for steps in 0..45 {
        for damage in damages {
            let (mut run, _) = Run::start(Disk::default());
            for number in 0..steps {
                step(&mut run, number);
            }
            let (disk, acknowledged, unsure) = run.crash(damage);
            let (mut again, found) = Run::start(disk);
            check_recovered(&found, &Vec::new(), &acknowledged, &unsure);
            // A second crash right after, with less written than was abandoned.
            for number in 0..3 {
                step(&mut again, number);
            }
            let (disk, more, rest) = again.crash(damage);
            let (_, twice) = Run::start(disk);
            check_recovered(&twice, &found, &more, &rest);
        }
    }
}

fn sealed_log() -> (Disk, Entries) {
    let (mut run, _) = Run::start(Disk::default());
    for number in 0..12 {
        step(&mut run, number);
    }
    loop {
        run.submit();
        while !run.in_flight.is_empty() {
            run.complete(0);
            run.submit();
        }
        if run.writer.seal() {
            break;
        }
    }
    let entries = run.appended.iter().map(|(_, entry)| entry.clone()).collect();
    (run.disk, entries)
}

#[test]
fn a_flipped_bit_in_a_sealed_log_is_refused_or_harmless() {
    let (disk, entries) = sealed_log();
    let mut refused = 0;
    for (&number, bytes) in &disk.segments {
        let live = bytes.iter().rposition(|b| *b != 0).unwrap_or(0);
        for at in (0..live).step_by(211) {
            let mut damaged = disk.clone();
            damaged.segments.get_mut(&number).unwrap()[at] ^= 0x10;
            match read_all(&mut damaged) {
                Ok((found, _)) => {
                    // Padding, header rest, or the seal itself, behind which nothing stands.
                    assert_eq!(found, entries, "segment {number} byte {at}");
                }
                Err(
                    RecoveryError::Corrupt { .. }
                    | RecoveryError::DamagedHeader { .. }
                    | RecoveryError::Foreign { .. },
                ) => refused += 1,
                Err(other) => panic!("segment {number} byte {at}: {other}"),
            }
        }
    }
    assert!(refused > 100, "only {refused} flips were noticed");
}

#[test]
fn files_of_others_newer_and_missing_ones_are_refused() {
    let (disk, _) = sealed_log();
    let mut gap = disk.clone();
    gap.segments.remove(&2);
    assert!(disk.segments.len() >= 3);
    assert!(matches!(read_all(&mut gap), Err(RecoveryError::Missing { .. })));
    let stranger = LogIdentity { cluster: 1, ..IDENTITY };
    let foreign = recover(&mut disk.clone(), stranger, &mut |_| Ok(()));
    assert!(matches!(foreign, Err(RecoveryError::Foreign { .. })));
    let mut blank = disk.clone();
    blank.segments.insert(disk.segments.len() as u64 + 1, vec![0; 100]);
    assert!(read_all(&mut blank).is_ok(), "a segment that was only being made is harmless");
}

#[test]
fn a_full_disk_and_a_lack_of_descriptors_pass_and_a_failed_write_is_final() {
    // ENOSPC, EDQUOT, EMFILE, ENFILE.
    let lacks = [(28, Lack::Space), (122, Lack::Space)];
    let lacks = lacks.into_iter().chain([24, 23].map(|errno| (errno, Lack::Descriptors)));
    lacks.for_each(|(errno, lack)| check_that_it_passes(errno, lack));
}

fn check_that_it_passes(errno: i32, lack: Lack) {
    let (mut run, _) = Run::start(Disk::default());
    let Some(LogOperation::PrepareSegment { number, .. }) = run.writer.poll_operation() else {
        panic!("the first segment is asked for")
    };
    assert!(run.writer.on_segment_ready(number, Err(errno)).is_ok());
    assert_eq!(run.writer.full_for(), Some(lack));
    run.append(0, vec![1; 10]);
    assert!(run.writer.poll_operation().is_none());
    run.writer.retry_segment();
    run.submit();
    assert_eq!(run.in_flight.len(), 1);
    run.append(0, vec![2; 10]);
    run.submit();
    let (id, _, _, buffer) = run.in_flight.remove(0);
    assert!(run.writer.on_write_done(id, buffer, Err(5)).is_err());
    let (id, _, _, buffer) = run.in_flight.remove(0);
    assert!(run.writer.on_write_done(id, buffer, Ok(())).is_err(), "nothing counts after it");
    run.append(0, vec![3; 10]);
    assert!(run.writer.poll_operation().is_none());
    assert_eq!(run.writer.durable(), Lsn(0));
}

#[test]
fn a_full_disk_lets_a_segment_be_used_up_to_a_reserve() {
    let (mut run, _) = Run::start(Disk::default());
    run.submit();
    let mut appended = 0;
    while run.writer.full_for().is_none() {
        run.append(0, vec![1; 1000]);
        appended += 1;
        while let Some(operation) = run.writer.poll_operation() {
            match operation {
                LogOperation::Write { id, buffer, .. } => {
                    run.writer.on_write_done(id, buffer, Ok(())).unwrap();
                }
                LogOperation::PrepareSegment { number, .. } => {
                    run.writer.on_segment_ready(number, Err(28)).unwrap();
                    assert_eq!(run.writer.lack(), Some(Lack::Space));
                }
                LogOperation::RemoveSegment { .. } => unreachable!("all are needed"),
            }
        }
        assert!(appended < 1_000, "no segment takes that many");
    }
    assert!(appended > 8, "half a segment was left when there was no space for the next");
    assert_eq!(run.writer.durable(), run.writer.appended());
    run.writer.retry_segment();
    assert!(run.writer.full_for().is_some(), "until the segment is there");
    let Some(LogOperation::PrepareSegment { number, .. }) = run.writer.poll_operation() else {
        panic!("it is asked for again")
    };
    run.writer.on_segment_ready(number, Ok(())).unwrap();
    assert!(run.writer.full_for().is_none());
}

#[test]
fn the_table_of_verdicts() {
    let beyond = |records, durable| Beyond { records, durable: Lsn(durable), ..Beyond::default() };
    assert_eq!(decide(Lsn(8), beyond(0, 0)), Verdict::CleanEnd);
    assert_eq!(decide(Lsn(8), beyond(2, 7)), Verdict::TornTail);
    assert_eq!(decide(Lsn(8), beyond(1, 8)), Verdict::Corrupt);
    assert_eq!(decide(Lsn(8), beyond(1, 9)), Verdict::Corrupt);
    let other = Beyond { contradicts: true, ..beyond(1, 7) };
    assert_eq!(decide(Lsn(8), other), Verdict::Corrupt);
}

#[test]
fn random_bytes_never_panic_or_hang() {
    let (disk, _) = sealed_log();
    let mut state = 1u64;
    let mut random = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    for _ in 0..300 {
        let mut damaged = disk.clone();
        for _ in 0..20 {
            let number = 1 + random() as u64 % damaged.segments.len() as u64;
            let bytes = damaged.segments.get_mut(&number).unwrap();
            let at = random() % bytes.len();
            bytes[at] = random() as u8;
        }
        let _ = read_all(&mut damaged);
    }
}

/// The segment that a start goes on in has the size that it was made with.
#[test]
fn another_size_of_segments_is_for_new_ones() {
    let (mut disk, mut expected) = (Disk::default(), Entries::new());
    for factor in [1, 8, 2, 1, 4] {
        let (mut run, found) = Run::start_with(disk, SEGMENT_BYTES_MIN * factor);
        assert_eq!(found.len(), expected.len());
        for number in 0..20 {
            step(&mut run, number);
        }
        run.settle();
        let (after, acknowledged, unsure) = run.crash([Damage::Lost; 2]);
        assert!(unsure.is_empty());
        (disk, expected) = (after, [found, acknowledged].concat());
    }
    assert!(read_all(&mut disk).expect("it is sound").0 == expected);
}

#[test]
fn an_empty_segment_too_small_for_the_first_write_is_passed_over() {
    let (mut run, _) = Run::start(Disk::default());
    run.submit();
    let (disk, ..) = run.crash([Damage::Lost; 2]);
    let (mut run, _) = Run::start_with(disk, 8 * SEGMENT_BYTES_MIN);
    run.append(0, vec![1; 150_000]);
    run.settle();
    let (mut disk, acknowledged, _) = run.crash([Damage::Lost; 2]);
    assert!(read_all(&mut disk).expect("it is sound").0 == acknowledged);
    assert_eq!(acknowledged.len(), 1);
}

/// Whatever the sizes: a list of participants longer than what is left of a buffer, too.
#[test]
fn transactions_and_voids_are_read_back() {
    for (participants, payload_bytes) in [(2, 0), (3, 10), (2, 600_000), (9_000, 300_000)] {
        let (mut run, _) = Run::start_with(Disk::default(), 8 * SEGMENT_BYTES_MIN);
        let part = |n: u16| Participant { shard: ShardId(n), index: Index(7) };
        let id =
            TransactionId { node: 1, incarnation: Incarnation(1), core: CoreId(0), counter: 5 };
        let transaction = Transaction { id, participants: (0..participants).map(part).collect() };
        let payload = vec![b'x'; payload_bytes];
        run.writer.append(EntryRef {
            shard: ShardId(1),
            term: Term(1),
            index: Index(7),
            decided: Index(5),
            transaction: Some(&transaction),
            payload: &payload,
        });
        run.writer.append_void(ShardId(2), Term(1), Index(9), Index(4));
        run.settle();
        let mut found = Vec::new();
        let tail = recover(&mut run.disk, IDENTITY, &mut |entry| {
            let Entry { shard, index, decided, content, .. } = entry;
            found.push((
                shard.0,
                index.0,
                decided.0,
                match content {
                    Content::Entry { transaction, payload } => (transaction, payload.to_vec()),
                    Content::Void { from } => (None, from.0.to_le_bytes().to_vec()),
                    other => panic!("{other:?}"),
                },
            ));
            Ok(())
        });
        assert_eq!(tail.unwrap().cut_records, 0);
        let void = (2, 9, 3, (None, 4u64.to_le_bytes().to_vec()));
        assert!(found == [(1, 7, 5, (Some(transaction), payload)), void]);
    }
}

/// Entries that a checkpoint has may go, and nothing else does: whatever is recycled, whatever was
/// cut into parts, and through several crashes.
#[test]
fn what_a_checkpoint_has_may_go_and_nothing_else() {
    let mut disk = Disk::default();
    let mut covered = [0u64; 3];
    let (mut removed, mut number) = (0, 0);
    let mut indexes = [0u64; 3];
    let mut first_segment = Vec::new();
    for start in 0..6 {
        let mut found = Vec::new();
        // One that could not be removed is none of the log.
        let lacks_first = start > 0 && !disk.segments.contains_key(&1);
        if lacks_first {
            disk.segments.insert(1, first_segment.clone());
        }
        let tail = recover(&mut disk, IDENTITY, &mut |entry| {
            found.push((usize::from(entry.shard.0), entry.index.0));
            Ok(())
        });
        let tail = tail.expect("a crash never looks like corruption");
        assert_eq!(tail.leftovers, if lacks_first { vec![1] } else { Vec::new() });
        tail.leftovers.iter().for_each(|number| drop(disk.segments.remove(number)));
        for shard in 0..3 {
            let of_shard = found.iter().filter(|(of, _)| *of == shard).map(|(_, index)| *index);
            let needed: Vec<u64> = of_shard.filter(|index| *index > covered[shard]).collect();
            let expected: Vec<u64> = (covered[shard] + 1..=indexes[shard]).collect();
            assert_eq!(needed, expected, "shard {shard} after start {start}");
        }
        let incarnation = Incarnation(tail.incarnation.0 + 1);
        let writer = LogWriter::new(IDENTITY, SEGMENT_BYTES_MIN, tail, incarnation);
        let (in_flight, appended) = (Vec::new(), Vec::new());
        let mut run = Run { disk, writer, in_flight, appended, indexes };
        for _ in 0..60 {
            number += 1;
            let before = run.disk.segments.keys().next().copied();
            if before == Some(1) {
                first_segment.clone_from(&run.disk.segments[&1]);
            }
            let shard = number % 3;
            run.append(shard as u16, vec![number as u8; 1 + number * 7919 % 30_000]);
            run.settle();
            if number % 7 == 0 {
                covered[shard] = run.indexes[shard] - 1;
            }
            let covered = |shard: ShardId| Index(covered[usize::from(shard.0)]);
            run.writer.release_segments(&covered, &KeptFor::NOBODY);
            run.submit();
            removed += usize::from(run.disk.segments.keys().next().copied() != before);
            assert!(run.disk.segments.len() < 40, "the log is bounded");
        }
        (disk, indexes) = (run.disk, run.indexes);
    }
    assert!(removed > 20, "{removed}");
    // But one that is needed may not be missing.
    let (_, tail) = read_all(&mut disk).expect("it is sound");
    disk.segments.remove(&(tail.segment - 1));
    assert!(matches!(read_all(&mut disk), Err(RecoveryError::Missing { .. })));
}
