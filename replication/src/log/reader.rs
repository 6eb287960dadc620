//! Reads a shard's entries from the log of a core while that is written, for a replica elsewhere
//! that lacks them. No I/O of its own: it says which bytes it wants and is given them.
//!
//! Every record has to continue the chain, or nothing more is given; and of the shard's entries
//! only the one of each index that the group has there now, which its term tells.

use crate::fault::{Fault, is_planted};
use crate::group::Entry;
use crate::group::payload::from_record;
use crate::ids::{Index, Lsn, ShardId, Term};
use crate::release::resolve::{Content, Placed};

use super::limits::BLOCK_BYTES;
use super::record::{HEADER_BYTES, NoRecord, RecordHeader};
use super::runs::Place;
use super::segment::{LogIdentity, file_name};

/// Why a log cannot be read for others. The replica gets a checkpoint instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub file: String,
    pub offset: u64,
    pub why: &'static str,
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at offset {}: {}", self.file, self.offset, self.why)
    }
}

impl std::error::Error for Unreadable {}

/// An entry of which the last fragment has not come.
struct Partial {
    term: Term,
    payload: Vec<u8>,
}

pub struct LogReader {
    checksum_start: u32,
    shard: ShardId,
    /// The entry that comes next.
    next: Index,
    segment: u64,
    /// Where the next record may be: `buffer` begins there.
    at: u64,
    /// Bytes that were read and say nothing yet: part of a record.
    buffer: Vec<u8>,
    /// What the next record has to be, and the checksum that it has to name.
    lsn: Lsn,
    previous_crc: Option<u32>,
    partial: Option<Partial>,
}

impl LogReader {
    /// Begins with an entry that is found from `place` on.
    pub fn new(identity: LogIdentity, shard: ShardId, next: Index, place: Place) -> LogReader {
        let Place { segment, offset, lsn } = place;
        let (buffer, checksum_start) = (Vec::new(), identity.checksum_start());
        let (previous_crc, partial) = (None, None);
        LogReader {
            checksum_start,
            shard,
            next,
            segment,
            at: offset,
            buffer,
            lsn,
            previous_crc,
            partial,
        }
    }

    /// The index of the entry that comes next.
    pub fn next(&self) -> Index {
        self.next
    }

    /// Segment and offset of the bytes that it wants.
    pub fn wants(&self) -> (u64, u64) {
        (self.segment, self.at + self.buffer.len() as u64)
    }

    /// This segment ends here, and the log goes on in another.
    pub fn enter(&mut self, segment: u64) -> Result<(), Unreadable> {
        let (_, read) = self.wants();
        if self.at.next_multiple_of(BLOCK_BYTES as u64) != read {
            return Err(self.fail("the segment ends within a record"));
        }
        self.buffer.clear();
        (self.segment, self.at) = (segment, BLOCK_BYTES as u64);
        Ok(())
    }

    /// Takes the bytes that it wanted, whole blocks, of a segment whose records go on until `end`
    /// at least; returns entries that follow each other. `term_of`: the term of an entry as the
    /// group has it.
    pub fn take(
        &mut self,
        bytes: &[u8],
        end: u64,
        term_of: impl Fn(Index) -> Option<Term>,
    ) -> Result<Vec<Entry>, Unreadable> {
        self.buffer.extend_from_slice(bytes);
        let buffer = std::mem::take(&mut self.buffer);
        let (mut used, mut entries) = (0, Vec::new());
        while used < buffer.len() {
            match RecordHeader::read(&buffer[used..], self.checksum_start) {
                Ok((header, payload, crc)) if self.continues(&header) => {
                    self.take_record(&header, payload, &term_of, &mut entries)?;
                    (self.lsn.0, self.previous_crc) = (header.lsn.0 + 1, Some(crc));
                    used += HEADER_BYTES + payload.len();
                    self.at += (HEADER_BYTES + payload.len()) as u64;
                }
                Err(NoRecord::NeedsBytes(needed)) if self.at + needed as u64 <= end => break,
                // Behind a write's last record there are zeros up to the next block.
                _ => {
                    let block = self.at.next_multiple_of(BLOCK_BYTES as u64);
                    if block == self.at {
                        return Err(self.fail("no record of the log is there"));
                    }
                    used += (block - self.at) as usize;
                    self.at = block;
                }
            }
        }
        self.buffer.extend_from_slice(&buffer[used.min(buffer.len())..]);
        Ok(entries)
    }

    fn continues(&self, header: &RecordHeader) -> bool {
        header.lsn == self.lsn && self.previous_crc.is_none_or(|crc| header.previous_crc == crc)
    }

    fn take_record(
        &mut self,
        header: &RecordHeader,
        payload: &[u8],
        term_of: &impl Fn(Index) -> Option<Term>,
        entries: &mut Vec<Entry>,
    ) -> Result<(), Unreadable> {
        let RecordHeader { index, term, fragment, .. } = *header;
        if header.shard != self.shard || !header.kind.is_entry() {
            return Ok(());
        }
        if fragment.first {
            let counts = term_of(index) == Some(term) || is_planted(Fault::ReplacedEntriesRead);
            self.partial =
                (index == self.next && counts).then(|| Partial { term, payload: Vec::new() });
        }
        let Some(mut partial) = self.partial.take() else { return Ok(()) };
        if partial.term != term {
            return Err(self.fail("the parts of an entry do not fit together"));
        }
        if !fragment.last {
            partial.payload.extend_from_slice(payload);
            self.partial = Some(partial);
            return Ok(());
        }
        let whole: &[u8] = match partial.payload.is_empty() {
            true => payload,
            false => {
                partial.payload.extend_from_slice(payload);
                &partial.payload
            }
        };
        entries.push(self.entry_of(header, whole)?);
        self.next = Index(index.0 + 1);
        Ok(())
    }

    fn entry_of(&self, header: &RecordHeader, payload: &[u8]) -> Result<Entry, Unreadable> {
        let RecordHeader { kind, incarnation, shard, index, term, decided, participants, .. } =
            *header;
        let content = Content::decode(kind, participants, (shard, index), payload);
        let content = content.map_err(|_| self.fail("an entry is malformed"))?;
        let placed = Placed { incarnation, shard, index, term, decided, content };
        from_record(&placed).ok_or_else(|| self.fail("a record is no entry"))
    }

    fn fail(&self, why: &'static str) -> Unreadable {
        Unreadable { file: file_name(self.segment), offset: self.at, why }
    }
}

#[cfg(test)]
mod tests;
