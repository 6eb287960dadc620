//! Reads a core's log after a start: hands out its entries in order and decides where it ends.
//! `FORMAT.md` has the rules; [`decide`] is the table.

use std::collections::BTreeMap;

use crate::fault::{Fault, is_planted};
use crate::group::{NodeId, Vote};
use crate::ids::{Incarnation, Index, Lsn, ShardId, Term};

use super::assembler::Assembler;
use super::kept::Kept;
use super::limits::{BLOCK_BYTES, READ_BYTES};
use super::record::{HEADER_BYTES, RecordHeader, RecordKind};
use super::runs::{Place, Runs};
use super::segment::{HeaderError, LogIdentity, SegmentHeader, file_name};
use super::uses::{self, SegmentUse};
use super::walk::walk_segment;
use super::window::Window;
use crate::release::resolve::Content;

/// Where the segments of a log are read from.
pub trait SegmentSource {
    type Error: std::fmt::Display;

    /// Numbers of the segments there are, ascending, with their sizes.
    fn segments(&mut self) -> Result<Vec<(u64, u64)>, Self::Error>;

    /// Fills `out` from `offset` on, which lies within the segment.
    fn read(&mut self, segment: u64, offset: u64, out: &mut [u8]) -> Result<(), Self::Error>;
}

/// Where the log goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// 0: there is no segment yet.
    pub segment: u64,
    /// Where the next write goes; 0 when there is no segment.
    pub offset: u64,
    /// Size with which that segment was made; writes must not go beyond it.
    pub segment_bytes: u64,
    pub last_lsn: Lsn,
    pub last_crc: u32,
    /// The last record is the seal of an orderly stop.
    pub sealed: bool,
    /// Highest one found anywhere, in an abandoned tail too.
    pub incarnation: Incarnation,
    /// Records beyond the end that are cut: none of them was acknowledged.
    pub cut_records: u64,
    /// Where, in the last segment, the record that would come next begins and is not whole: a write
    /// that a crash has torn, or the last record of all, damaged. Which of them cannot be known.
    pub torn_at: Option<u64>,
    /// The segments up to that one, ascending.
    pub uses: Vec<SegmentUse>,
    /// Segments that the log let go and that are still there: to be removed.
    pub leftovers: Vec<u64>,
    /// Up to here each shard's entries may be in no log any more: checkpoints must have them.
    pub released: Vec<(ShardId, Index)>,
    /// The vote of each group that the log has one of.
    pub votes: BTreeMap<ShardId, Vote>,
    /// Where entries lie, and what they are.
    pub runs: Runs,
    pub kept: Kept,
}

/// An entry or a void read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub incarnation: Incarnation,
    pub shard: ShardId,
    pub term: Term,
    pub index: Index,
    /// Up to here the shard's entries were decided when this one was written.
    pub decided: Index,
    pub content: Content<&'a [u8]>,
}

/// Why a log cannot be taken.
#[derive(Debug)]
pub enum RecoveryError {
    Read {
        file: String,
        message: String,
    },
    /// Acknowledged records are damaged.
    Corrupt {
        file: String,
        offset: u64,
        lsn: u64,
        durable: u64,
    },
    DamagedHeader {
        file: String,
    },
    /// Segments are made whole: the end of this one is gone, or its header is another's.
    WrongSize {
        file: String,
        size: u64,
        whole: u64,
    },
    Missing {
        file: String,
    },
    Foreign {
        file: String,
        found: LogIdentity,
    },
    UnknownVersion {
        file: String,
        version: u32,
    },
    /// The visitor would not take an entry.
    Refused {
        file: String,
        offset: u64,
        message: String,
    },
}

impl std::fmt::Display for RecoveryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RecoveryError::Read { file, message } => write!(f, "cannot read {file}: {message}"),
            RecoveryError::Corrupt { file, offset, lsn, durable } => write!(
                f,
                "{file} is corrupt at offset {offset}: record {lsn} is damaged, but records up to \
                 {durable} had been acknowledged. Nothing was changed. Restore the file from a \
                 backup, or take the node out of its cluster (remove-node) and have an empty one \
                 join"
            ),
            RecoveryError::DamagedHeader { file } => write!(
                f,
                "{file} is corrupt at offset 0: its header is damaged. Nothing was changed. \
                 Restore the file from a backup"
            ),
            RecoveryError::WrongSize { file, size, whole } => write!(
                f,
                "{file} is corrupt at offset {}: it has {size} bytes, but its header says \
                 {whole}. Nothing was changed. Restore the file from a backup",
                size.min(whole)
            ),
            RecoveryError::Missing { file } => {
                write!(f, "{file} is missing, but later segments are there. Restore the file")
            }
            RecoveryError::Foreign { file, found } => write!(
                f,
                "{file} was made as a segment of core {} of node {} of cluster {:032x}, not of \
                 this directory; move it away and restore the right one",
                found.core, found.node, found.cluster
            ),
            RecoveryError::UnknownVersion { file, version } => write!(
                f,
                "{file} has format version {version}, which this program does not know; start \
                 one that does"
            ),
            RecoveryError::Refused { file, offset, message } => {
                write!(f, "{file} at offset {offset}: {message}")
            }
        }
    }
}

impl std::error::Error for RecoveryError {}

/// What stands beyond the place where the chain of records ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beyond {
    /// Whole records with a number at or past the end's.
    pub records: u64,
    /// Highest durable number that any of them names.
    pub durable: Lsn,
    /// Segment and offset of the first of them.
    pub first: Option<(u64, u64)>,
    /// One of them says that the last record of the chain was durable, but means another record.
    pub contradicts: bool,
    pub incarnation: Incarnation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    CleanEnd,
    TornTail,
    Corrupt,
}

/// The decision table: what the end of the chain means. `next` is the number that would come next.
pub fn decide(next: Lsn, beyond: Beyond) -> Verdict {
    match beyond.records {
        0 => Verdict::CleanEnd,
        _ if is_planted(Fault::CorruptionCut) => Verdict::TornTail,
        _ if beyond.durable >= next || beyond.contradicts => Verdict::Corrupt,
        _ => Verdict::TornTail,
    }
}

/// Reads a log from its first segment on; `visit` gets each entry, in order, and may refuse it.
pub fn recover<S: SegmentSource>(
    source: &mut S,
    identity: LogIdentity,
    visit: &mut dyn FnMut(Entry<'_>) -> Result<(), String>,
) -> Result<Tail, RecoveryError> {
    let Some(mut scan) = Scan::new(source, identity)? else { return Ok(Tail::default()) };
    let first = scan.segments[0].0;
    scan.run(visit)?;
    let next = Lsn(scan.tail.last_lsn.0 + 1);
    let beyond = scan.look_beyond()?;
    let damaged_at = beyond.first.map(|first| scan.damaged_at(first)).transpose()?;
    let (first_needed, torn_at) = (scan.first_needed, scan.torn_at(next)?);
    let mut tail = scan.tail;
    match decide(next, beyond) {
        Verdict::Corrupt if beyond.durable < next => Err(RecoveryError::Corrupt {
            file: file_name(scan.last.0),
            offset: scan.last.1,
            lsn: tail.last_lsn.0,
            durable: beyond.durable.0,
        }),
        Verdict::Corrupt => {
            let (segment, offset) = damaged_at.unwrap_or((tail.segment, tail.offset));
            let (file, lsn, durable) = (file_name(segment), next.0, beyond.durable.0);
            Err(RecoveryError::Corrupt { file, offset, lsn, durable })
        }
        Verdict::CleanEnd | Verdict::TornTail if first > first_needed => {
            Err(RecoveryError::Missing { file: file_name(first - 1) })
        }
        Verdict::CleanEnd | Verdict::TornTail => {
            tail.incarnation = tail.incarnation.max(beyond.incarnation);
            (tail.cut_records, tail.torn_at) = (beyond.records, torn_at);
            Ok(tail)
        }
    }
}

/// Reads a log that is being written, as far as its chain of records is there; `visit` as for
/// [`recover`]. Where it ends says nothing.
pub fn read_chain<S: SegmentSource>(
    source: &mut S,
    identity: LogIdentity,
    visit: &mut dyn FnMut(Entry<'_>) -> Result<(), String>,
) -> Result<Tail, RecoveryError> {
    let Some(mut scan) = Scan::new(source, identity)? else { return Ok(Tail::default()) };
    scan.run(visit)?;
    Ok(scan.tail)
}

/// Checks the headers. A last segment that was only being made counts as absent. Those before a
/// gap, whose numbers come first, are none of the log: what it says of the segments that it needs
/// tells whether they were let go and could not be removed, or others are lost.
fn usable_segments<S: SegmentSource>(
    source: &mut S,
    identity: LogIdentity,
) -> Result<(Vec<u64>, Segments), RecoveryError> {
    let mut segments = source.segments().map_err(|e| read_error(0, &e))?;
    let mut checked = Vec::new();
    let last = segments.last().map(|(number, _)| *number);
    for (number, size) in segments.drain(..) {
        let file = file_name(number);
        let mut block = vec![0; BLOCK_BYTES];
        let header = if size < BLOCK_BYTES as u64 {
            Err(HeaderError::Blank)
        } else {
            source.read(number, 0, &mut block).map_err(|e| read_error(number, &e))?;
            SegmentHeader::decode(&block)
        };
        match header {
            Ok(header) => {
                let found = header.identity;
                if found != identity || header.number != number {
                    return Err(RecoveryError::Foreign { file, found });
                }
                if size != header.size_bytes {
                    return Err(RecoveryError::WrongSize { file, size, whole: header.size_bytes });
                }
                checked.push((number, header.size_bytes));
            }
            Err(HeaderError::Blank) if Some(number) == last && is_blank(source, number, size)? => {}
            Err(HeaderError::UnknownVersion(version)) => {
                return Err(RecoveryError::UnknownVersion { file, version });
            }
            Err(HeaderError::Blank | HeaderError::Damaged) => {
                return Err(RecoveryError::DamagedHeader { file });
            }
        }
    }
    let gap = checked.windows(2).rposition(|pair| pair[0].0 + 1 != pair[1].0);
    let first = gap.map_or(0, |before| before + 1);
    let leftovers = checked.drain(..first).map(|(number, _)| number).collect();
    Ok((leftovers, checked))
}

/// Whether nothing was ever written to a segment.
fn is_blank<S: SegmentSource>(
    source: &mut S,
    number: u64,
    size: u64,
) -> Result<bool, RecoveryError> {
    let mut offset = 0;
    while offset < size {
        let mut part = vec![0; (size - offset).min(READ_BYTES as u64) as usize];
        source.read(number, offset, &mut part).map_err(|e| read_error(number, &e))?;
        if part.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        offset += part.len() as u64;
    }
    Ok(true)
}

fn decode_vote(header: &RecordHeader, payload: &[u8]) -> Option<Vote> {
    let node = u64::from_le_bytes(payload.try_into().ok()?);
    Some(Vote { term: header.term, voted_for: (node != 0).then_some(NodeId(node)) })
}

pub(super) fn read_error(segment: u64, error: &dyn std::fmt::Display) -> RecoveryError {
    RecoveryError::Read { file: file_name(segment), message: error.to_string() }
}

/// Numbers and sizes.
type Segments = Vec<(u64, u64)>;

struct Scan<'s, S> {
    source: &'s mut S,
    identity: LogIdentity,
    segments: Segments,
    tail: Tail,
    /// Where the chain left each segment.
    ends: Vec<u64>,
    /// Segment and offset of the last record.
    last: (u64, u64),
    /// Where it ends.
    last_end: u64,
    /// The segment from which on all are needed, as the log says.
    first_needed: u64,
    assembler: Assembler,
}

impl<'s, S: SegmentSource> Scan<'s, S> {
    /// `None`: there is no segment.
    fn new(source: &'s mut S, identity: LogIdentity) -> Result<Option<Scan<'s, S>>, RecoveryError> {
        let (leftovers, segments) = usable_segments(source, identity)?;
        let Some(&(first, segment_bytes)) = segments.first() else { return Ok(None) };
        Ok(Some(Scan {
            source,
            identity,
            segments,
            tail: Tail {
                segment: first,
                offset: BLOCK_BYTES as u64,
                segment_bytes,
                leftovers,
                ..Tail::default()
            },
            ends: Vec::new(),
            last: (first, 0),
            last_end: BLOCK_BYTES as u64,
            first_needed: 1,
            assembler: if first > 1 { Assembler::late() } else { Assembler::default() },
        }))
    }

    /// Follows the chain to its end.
    fn run(
        &mut self,
        visit: &mut dyn FnMut(Entry<'_>) -> Result<(), String>,
    ) -> Result<(), RecoveryError> {
        for place in 0..self.segments.len() {
            let (number, size) = self.segments[place];
            let mut window = Window::new(number, size, &self.identity);
            let mut offset = BLOCK_BYTES as u64;
            let mut found = SegmentUse::new(number, size);
            while let Some((header, end, crc)) = self.advance(&mut window, &mut offset)? {
                let start = offset;
                let payload_at = start + HEADER_BYTES as u64;
                let payload = window.bytes(payload_at, header.payload_len as usize);
                self.assembler.take(&header, payload, visit).map_err(|message| {
                    RecoveryError::Refused { file: file_name(number), offset: start, message }
                })?;
                if header.kind == RecordKind::Release
                    && let Some((first, released)) = uses::decode_release(payload)
                {
                    (self.first_needed, self.tail.released) = (first, released);
                }
                if header.kind == RecordKind::Vote {
                    let vote = decode_vote(&header, payload).ok_or_else(|| {
                        let (file, offset) = (file_name(number), start);
                        RecoveryError::Refused { file, offset, message: "a malformed vote".into() }
                    })?;
                    self.tail.votes.insert(header.shard, vote);
                }
                if header.kind.has_index() {
                    uses::note(&mut found.lasts, header.shard, header.index);
                }
                self.note_place(number, &header, (start, end));
                self.last = (number, start);
                (offset, self.last_end) = (end, end);
                self.tail.last_lsn = header.lsn;
                self.tail.last_crc = crc;
                self.tail.sealed = header.kind == RecordKind::Seal;
                self.tail.incarnation = header.incarnation;
                self.tail.segment = number;
                self.tail.segment_bytes = size;
                self.tail.offset = offset.next_multiple_of(BLOCK_BYTES as u64);
            }
            // One without a record is passed over: what came first was too large for it.
            self.ends.push(offset);
            self.tail.uses.push(found);
        }
        // What is behind the last record was made ahead of its time, and is made again.
        let end = self.tail.segment;
        self.tail.uses.retain(|found| found.number <= end);
        Ok(())
    }

    /// Notes where a record stands, for those who read the log while it goes on.
    fn note_place(&mut self, segment: u64, header: &RecordHeader, (start, end): (u64, u64)) {
        self.tail.kept.note(header);
        let begins = header.fragment.first && header.kind.is_entry();
        let least = [(header.shard, header.index)];
        let place = Place { segment, offset: start, lsn: header.lsn };
        let end = end.next_multiple_of(BLOCK_BYTES as u64);
        self.tail.runs.note(place, end, if begins { &least[..] } else { &[] });
    }

    /// The next record of the chain: at `offset`, as within a write records follow each other, or
    /// where the next write begins. Moves `offset` there.
    fn advance(
        &mut self,
        window: &mut Window,
        offset: &mut u64,
    ) -> Result<Option<(RecordHeader, u64, u32)>, RecoveryError> {
        let found = self.next_record(window, *offset)?;
        let block = offset.next_multiple_of(BLOCK_BYTES as u64);
        if found.is_some() || block == *offset {
            return Ok(found);
        }
        *offset = block;
        self.next_record(window, block)
    }

    /// The record at this place if it continues the chain: header, end, checksum.
    fn next_record(
        &mut self,
        window: &mut Window,
        offset: u64,
    ) -> Result<Option<(RecordHeader, u64, u32)>, RecoveryError> {
        let Some((header, crc)) = window.record(self.source, offset)? else { return Ok(None) };
        // Where the first segments are gone, the chain begins with whatever is first: that no entry
        // is missing is for the checkpoints to show.
        let begins = self.tail.last_lsn.0 == 0 && self.assembler.is_late() && self.ends.is_empty();
        let chained = begins
            || header.lsn.0 == self.tail.last_lsn.0 + 1
                && (is_planted(Fault::ChainUnchecked)
                    || header.previous_crc == self.tail.last_crc
                        && header.incarnation >= self.tail.incarnation);
        let end = offset + (HEADER_BYTES + header.payload_len as usize) as u64;
        Ok(chained.then_some((header, end, crc)))
    }

    /// Where a part of the record with this number stands behind the last one, in the same write or
    /// at the next one's place.
    fn torn_at(&mut self, next: Lsn) -> Result<Option<u64>, RecoveryError> {
        for offset in [self.last_end, self.tail.offset] {
            let mut header = [0; HEADER_BYTES];
            if offset + HEADER_BYTES as u64 > self.tail.segment_bytes {
                continue;
            }
            let read = self.source.read(self.tail.segment, offset, &mut header);
            read.map_err(|error| read_error(self.tail.segment, &error))?;
            if RecordHeader::claimed_lsn(&header) == Some(next) {
                return Ok(Some(offset));
            }
        }
        Ok(None)
    }

    /// Looks for whole records behind the end of the chain, and behind where it left a segment
    /// for the next: it may have left too early, for a record that strayed there.
    fn look_beyond(&mut self) -> Result<Beyond, RecoveryError> {
        let mut beyond = Beyond::default();
        let (last, last_crc) = (self.tail.last_lsn, self.tail.last_crc);
        for (place, &segment) in self.segments.iter().enumerate() {
            let start = self.ends.get(place).copied().unwrap_or(BLOCK_BYTES as u64);
            walk_segment(self.source, &self.identity, segment, start, &mut |stored| {
                let header = stored.header;
                if header.lsn > last {
                    beyond.records += 1;
                    beyond.first.get_or_insert((segment.0, stored.offset));
                    beyond.durable = beyond.durable.max(header.durable);
                    let next = header.lsn.0 == last.0 + 1;
                    beyond.contradicts |=
                        next && header.durable == last && header.previous_crc != last_crc;
                }
                beyond.incarnation = beyond.incarnation.max(header.incarnation);
            })?;
        }
        Ok(beyond)
    }

    /// Where the record stands that comes next and is none, if it alone is damaged: `first` is the
    /// one behind it. What an operator is to restore is told by it.
    fn damaged_at(&mut self, first: (u64, u64)) -> Result<(u64, u64), RecoveryError> {
        let block = BLOCK_BYTES as u64;
        // It begins the next segment, unless the one behind it does.
        if first.0 > self.tail.segment && first != (self.tail.segment + 1, block) {
            return Ok((self.tail.segment + 1, block));
        }
        // Within a write records follow each other; behind it there are zeros.
        let (segment, ended) = (self.tail.segment, self.last_end);
        let mut rest = vec![0; (self.tail.offset - ended) as usize];
        self.source.read(segment, ended, &mut rest).map_err(|e| read_error(segment, &e))?;
        let follows = rest.iter().any(|byte| *byte != 0);
        Ok((segment, if follows { ended } else { self.tail.offset }))
    }
}

#[cfg(test)]
mod tests;
