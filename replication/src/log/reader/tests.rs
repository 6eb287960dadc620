//! What a reader gives is what was written last, whatever is in the way.

use std::collections::BTreeMap;

use super::*;
use crate::fault::plant;
use crate::group::payload::{encode_entry, to_record};
use crate::group::{EntryKind, Vote};
use crate::ids::Incarnation;
use crate::log::limits::SEGMENT_BYTES_MIN;
use crate::log::{KeptFor, LogOperation, LogWriter, Readable, SegmentSource, Tail, recover};
use crate::version::Version;

const IDENTITY: LogIdentity = LogIdentity { cluster: 5, node: 6, core: 7 };
const SHARD: ShardId = ShardId(2);
const OTHER: ShardId = ShardId(9);

/// A log and its disk.
struct Written {
    log: LogWriter,
    segments: BTreeMap<u64, Vec<u8>>,
    /// The entries of the shard as they are now.
    live: Vec<Entry>,
}

impl Written {
    fn new() -> Written {
        let log = LogWriter::new(IDENTITY, SEGMENT_BYTES_MIN, Tail::default(), Incarnation(1));
        Written { log, segments: BTreeMap::new(), live: Vec::new() }
    }

    fn add(&mut self, shard: ShardId, index: u64, term: u64, bytes: usize) {
        let payload =
            encode_entry(None, (Index(index), Index(0)), &vec![term as u8; bytes], Version(1));
        let (index, term, kind) = (Index(index), Term(term), EntryKind::Data);
        let entry = Entry { index, term, kind, payload };
        self.log.append_group_entry(to_record(&entry, shard, Index(0)).unwrap());
        if shard == SHARD {
            self.live.retain(|known| known.index < index);
            self.live.push(entry);
        }
    }

    /// Writes everything; segments that are asked for are there at once.
    fn flush(&mut self) {
        while let Some(operation) = self.log.poll_operation() {
            match operation {
                LogOperation::Write { id, segment, offset, buffer } => {
                    let bytes = self.segments.get_mut(&segment).unwrap();
                    bytes[offset as usize..][..buffer.len()].copy_from_slice(buffer.bytes());
                    self.log.on_write_done(id, buffer, Ok(())).unwrap();
                }
                LogOperation::PrepareSegment { number, header, size_bytes, recycle, .. } => {
                    let old = recycle.and_then(|old| self.segments.remove(&old));
                    let mut bytes = old.unwrap_or_else(|| vec![0; size_bytes as usize]);
                    bytes[..header.len()].copy_from_slice(header.bytes());
                    self.segments.insert(number, bytes);
                    self.log.on_segment_ready(number, Ok(())).unwrap();
                }
                LogOperation::RemoveSegment { number } => {
                    self.segments.remove(&number);
                    self.log.on_segment_removed();
                }
            }
        }
    }

    fn restart(&mut self, incarnation: u64) {
        let tail = recover(&mut Source(&self.segments), IDENTITY, &mut |_| Ok(())).unwrap();
        self.log = LogWriter::new(IDENTITY, SEGMENT_BYTES_MIN, tail, Incarnation(incarnation));
    }

    /// All entries from one on, read in pieces of so many bytes.
    fn read(&self, from: u64, piece_bytes: u64) -> Result<Vec<Entry>, Unreadable> {
        let place = self.log.place_of(SHARD, Index(from)).expect("the log has it");
        let mut reader = LogReader::new(IDENTITY, SHARD, Index(from), place);
        let mut entries = Vec::new();
        loop {
            let (segment, offset) = reader.wants();
            match self.log.readable(segment, offset) {
                Readable::Until(end) => {
                    let until = end.min(offset + piece_bytes) as usize;
                    let piece = &self.segments[&segment][offset as usize..until];
                    entries.extend(reader.take(piece, end, |index| self.term_of(index))?);
                }
                Readable::In(segment) => reader.enter(segment)?,
                Readable::End => return Ok(entries),
                Readable::Gone => panic!("segment {segment} is gone"),
            }
        }
    }

    fn term_of(&self, index: Index) -> Option<Term> {
        self.live.iter().find(|entry| entry.index == index).map(|entry| entry.term)
    }

    fn live_from(&self, from: u64) -> Vec<Entry> {
        self.live.iter().filter(|entry| entry.index.0 >= from).cloned().collect()
    }
}

struct Source<'s>(&'s BTreeMap<u64, Vec<u8>>);

impl SegmentSource for Source<'_> {
    type Error = String;

    fn segments(&mut self) -> Result<Vec<(u64, u64)>, String> {
        Ok(self.0.iter().map(|(number, bytes)| (*number, bytes.len() as u64)).collect())
    }

    fn read(&mut self, segment: u64, offset: u64, out: &mut [u8]) -> Result<(), String> {
        out.copy_from_slice(&self.0[&segment][offset as usize..][..out.len()]);
        Ok(())
    }
}

/// Many writes of two shards over some segments; some entries are longer than a segment, some are
/// replaced, and there were two starts.
fn written() -> Written {
    let mut written = Written::new();
    let (mut index, mut term) = (0, 1);
    for round in 0..60_u64 {
        for _ in 0..=round % 4 {
            index += 1;
            let bytes = if round % 20 == 7 { 150_000 } else { 100 + round as usize * 37 };
            written.add(SHARD, index, term, bytes);
            written.add(OTHER, index + 1000, term, 500);
        }
        if round % 7 == 6 {
            // A leader of a later term replaces the last ones, and has fewer at first; and so does
            // the one after it, with what it had.
            for back in [3, 2] {
                (index, term) = (index - back, term + 1);
                written.add(SHARD, index, term, 10);
            }
        }
        if round % 3 > 0 {
            written.flush();
        }
        if round == 25 {
            written.flush();
            written.restart(2);
            written.log.append_vote(SHARD, Vote { term: Term(term), voted_for: None });
        }
    }
    written.flush();
    written
}

/// What is read is not what was written.
type Wrong = Option<String>;

fn read_from_any_on() -> Wrong {
    let mut written = written();
    assert!(written.segments.len() > 5 && written.live.len() > 80);
    for restarted in [false, true] {
        if restarted {
            written.restart(3);
        }
        let all = 1..=written.live.len() as u64;
        let pieces = [1, 2, 3, 7, 1000].map(|blocks| (1, blocks * 4096));
        for (from, piece_bytes) in all.map(|from| (from, 64 << 10)).chain(pieces) {
            let read = written.read(from, piece_bytes);
            if read.as_ref() != Ok(&written.live_from(from)) {
                return Some(format!("from {from} by {piece_bytes}: {read:?}"));
            }
        }
    }
    None
}

fn terms_at_start() -> Wrong {
    let written = written();
    let tail = recover(&mut Source(&written.segments), IDENTITY, &mut |_| Ok(())).unwrap();
    let last = written.live.last().unwrap();
    let terms = tail.kept.terms_until(SHARD, (last.index, last.term), Incarnation(3));
    let wrong = |entry: &&Entry| terms.get(entry.index) != Some(entry.term);
    written.live.iter().find(wrong).map(|entry| format!("{:?}", entry.index))
}

#[test]
fn entries_are_read_from_any_on_in_pieces_of_any_length() {
    assert_eq!(read_from_any_on(), None);
}

#[test]
fn what_a_start_finds_of_terms_is_right() {
    assert_eq!(terms_at_start(), None);
}

#[test]
fn planted_faults_are_found() {
    let checks: [(Fault, fn() -> Wrong); 3] = [
        (Fault::ReplacedEntriesRead, read_from_any_on),
        (Fault::ReplacedTermsKept, terms_at_start),
        (Fault::ReadSegmentsReleased, released_while_read),
    ];
    for (fault, check) in checks {
        assert_eq!(check(), None);
        plant(Some(fault));
        let found = std::panic::catch_unwind(check);
        plant(None);
        assert!(!matches!(found, Ok(None)), "{fault:?} was not found");
    }
}

/// A segment becomes another between two pieces of it.
fn released_while_read() -> Wrong {
    let mut written = filled();
    written.log.hold(Some(1));
    written.log.release_segments(&|_| Index(u64::MAX), &KeptFor::NOBODY);
    (written.log.readable(1, 8192) == Readable::Gone).then(|| "it is gone".into())
}

fn filled() -> Written {
    let mut written = Written::new();
    for index in 1..=100 {
        written.add(SHARD, index, 1, 8_000);
        written.flush();
    }
    written
}

#[test]
fn a_flipped_bit_never_gives_another_entry() {
    let mut written = Written::new();
    for index in 1..=6 {
        written.add(SHARD, index, 1 + index / 3, 300 * index as usize);
        written.add(OTHER, index, 1, 100);
        written.flush();
    }
    let whole = written.read(1, 8192).unwrap();
    assert_eq!(whole, written.live);
    let (mut refused, end) = (0, written.log.written_bytes() as usize);
    for at in 0..end {
        written.segments.get_mut(&1).unwrap()[4096 + at] ^= 1;
        match written.read(1, 8192) {
            Ok(entries) => assert_eq!(entries, whole, "byte {at}"),
            Err(_) => refused += 1,
        }
        written.segments.get_mut(&1).unwrap()[4096 + at] ^= 1;
    }
    assert!(refused > 6 * 300, "{refused} of {end} bytes");
}

#[test]
fn segments_stay_for_replicas_within_a_bound_and_while_they_are_read() {
    let all = |_| Index(u64::MAX);
    let behind = |most| move |shard| if shard == SHARD { most } else { Index(u64::MAX) };
    let reach = |written: &Written| written.log.reach(SHARD, u64::MAX).unwrap().0;
    let left = |needed_behind: &dyn Fn(ShardId) -> Index, bytes_max, held: Option<u64>| {
        let mut written = filled();
        written.log.hold(held);
        written.log.release_segments(&all, &KeptFor { needed_behind, bytes_max });
        assert_eq!(written.read(reach(&written), 4096).unwrap().last(), written.live.last());
        written.flush();
        reach(&written)
    };
    let (none, most) = (behind(Index(u64::MAX)), u64::MAX);
    let newest = left(&none, most, None);
    assert!(newest > 80, "{newest}: nobody needs any");
    // The segment in which entry 31 is stays, and those behind it.
    assert!((20..=31).contains(&left(&behind(Index(30)), most, None)));
    assert_eq!(left(&behind(Index(0)), most, None), 1);
    assert_eq!(left(&behind(Index(0)), 0, None), newest);
    let some = left(&behind(Index(0)), 5 * SEGMENT_BYTES_MIN, None);
    assert!(some > 1 && some < newest, "{some}");
    let held = left(&none, most, Some(4));
    assert!(held > 1 && held < newest, "{held}: what is read stays");
    // Nothing is kept that a start needs no less.
    let mut written = filled();
    let covered = |_| Index(0);
    written.log.release_segments(&covered, &KeptFor { needed_behind: &none, bytes_max: 0 });
    assert_eq!(reach(&written), 1);
}

#[test]
fn what_is_not_on_stable_storage_is_not_read() {
    let mut written = Written::new();
    written.add(SHARD, 1, 1, 100);
    written.flush();
    written.add(SHARD, 2, 1, 100);
    let (id, segment, offset, buffer) = loop {
        match written.log.poll_operation() {
            Some(LogOperation::Write { id, segment, offset, buffer }) => {
                break (id, segment, offset, buffer);
            }
            Some(LogOperation::PrepareSegment { number, .. }) => {
                written.log.on_segment_ready(number, Ok(())).unwrap();
            }
            _ => panic!("the second entry is to be written"),
        }
    };
    assert_eq!(written.log.readable(segment, 4096), Readable::Until(offset));
    assert_eq!(written.log.readable(segment, offset), Readable::End);
    written.log.on_write_done(id, buffer, Ok(())).unwrap();
    assert_eq!(written.log.readable(segment, offset), Readable::Until(offset + 4096));
    assert_eq!(written.log.readable(segment + 1, 4096), Readable::End);
}
