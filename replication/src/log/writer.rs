//! What to write to a core's log, and what of it is durable. Lives on the core; no I/O of its own.
//!
//! Each turn appends its entries and then polls for operations. A buffer waits while the allowed
//! number of writes is under way, and takes more entries meanwhile: group commit.
//!
//! - `letting_go`: of segments. `reading`: what of them may be read meanwhile. `operation`: what is
//!   asked of the caller.

use std::collections::{BTreeMap, VecDeque};

use crate::buggify::{Point, is_taken};
use crate::fault::{Fault, is_planted};
use crate::ids::{Incarnation, Index, Lsn, ShardId, Term};

use super::buffer::BlockBuffer;
use super::entries::Subject;
pub use super::entries::{EntryRef, GroupEntryRef};
use super::limits::{
    BLOCK_BYTES, FRAGMENT_BYTES_MIN, NEXT_WRITE_PART, PAYLOAD_BYTES_MAX, SEGMENT_BYTES_MIN,
    SPARE_BUFFERS_MAX, WRITE_BUFFER_BYTES, WRITES_IN_FLIGHT_DEFAULT,
};
use super::record::{Fragment, HEADER_BYTES, RecordHeader, RecordKind};
use super::recovery::Tail;
use super::runs::{Place, Runs, note_least};
use super::segment::{LogIdentity, SegmentHeader};
use super::uses::{self, SegmentUse};
use crate::group::{Members, Vote};
pub use operation::{Lack, LogFailed, LogOperation};
pub use reading::{KeptFor, Readable};

mod letting_go;
mod operation;
mod reading;

struct InFlight {
    id: u64,
    segment: u64,
    offset: u64,
    /// Of records.
    bytes: usize,
    last_lsn: Lsn,
    done: bool,
}

/// One of each shard.
type Indexes = Vec<(ShardId, Index)>;

struct Batch {
    buffer: BlockBuffer,
    first_lsn: Lsn,
    last_lsn: Lsn,
    /// Last index of each shard in it.
    lasts: Indexes,
    /// Least index of each shard of which an entry begins in it.
    leasts: Indexes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum NextSegment {
    NotAsked,
    Asked,
    Ready,
    /// Not to be asked for until told.
    Lacking,
}

pub struct LogWriter {
    identity: LogIdentity,
    checksum_start: u32,
    /// Size of segments to be made.
    segment_bytes: u64,
    /// Size of the segment being written, which another start may have made.
    current_bytes: u64,
    incarnation: Incarnation,
    appended: Lsn,
    durable: Lsn,
    previous_crc: u32,
    segment: u64,
    /// Where the next write goes; 0 while there is no segment yet.
    offset: u64,
    next_segment: NextSegment,
    /// From a segment that could not be made for lack of something until one was.
    lack: Option<Lack>,
    /// Segments with records that may still be needed, ascending; the last one is being written.
    uses: VecDeque<SegmentUse>,
    /// Where entries lie in those.
    runs: Runs,
    /// The first segment that is being read.
    held: Option<u64>,
    /// Segments that are not: number and size, ascending; and the record that says so, before
    /// which they stay.
    unneeded: VecDeque<(u64, u64)>,
    unneeded_since: Lsn,
    /// Last index of each shard that went with a segment.
    released: Vec<(ShardId, Index)>,
    /// What each group's vote is: said again before a segment goes that may have it.
    votes: BTreeMap<ShardId, Vote>,
    /// One of them is being removed.
    removing: bool,
    /// Batches that wait, oldest first; the last one still takes entries.
    waiting: VecDeque<Batch>,
    waiting_bytes: usize,
    in_flight: VecDeque<InFlight>,
    writes_in_flight_max: usize,
    payload_bytes_max: usize,
    last_write: u64,
    written_bytes: u64,
    payload_bytes: u64,
    spare: Vec<BlockBuffer>,
    /// Where an entry's transaction is encoded.
    named: Vec<u8>,
    spare_lasts: Vec<(Indexes, Indexes)>,
    failed: Option<LogFailed>,
    sealed: Option<Lsn>,
}

impl LogWriter {
    /// Continues behind what recovery found. `incarnation` is above every one in the directory.
    pub fn new(
        identity: LogIdentity,
        segment_bytes: u64,
        tail: Tail,
        incarnation: Incarnation,
    ) -> LogWriter {
        assert!(segment_bytes >= SEGMENT_BYTES_MIN && segment_bytes.is_multiple_of(4096));
        assert!(incarnation > tail.incarnation, "an incarnation is never used twice");
        LogWriter {
            identity,
            checksum_start: identity.checksum_start(),
            segment_bytes,
            current_bytes: tail.segment_bytes,
            incarnation,
            appended: tail.last_lsn,
            durable: tail.last_lsn,
            previous_crc: tail.last_crc,
            segment: tail.segment,
            offset: tail.offset,
            next_segment: NextSegment::NotAsked,
            lack: None,
            uses: tail.uses.into(),
            runs: tail.runs,
            held: None,
            unneeded: VecDeque::new(),
            unneeded_since: Lsn(0),
            released: tail.released,
            votes: tail.votes,
            removing: false,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            in_flight: VecDeque::new(),
            writes_in_flight_max: WRITES_IN_FLIGHT_DEFAULT,
            payload_bytes_max: PAYLOAD_BYTES_MAX,
            last_write: 0,
            written_bytes: 0,
            payload_bytes: 0,
            spare: Vec::new(),
            named: Vec::new(),
            spare_lasts: Vec::new(),
            failed: None,
            sealed: None,
        }
    }

    /// Lets another number of writes be under way at once than the one measured for most disks.
    pub fn set_writes_in_flight_max(&mut self, count: usize) {
        assert!(count > 0);
        self.writes_in_flight_max = count;
    }

    /// Other shards are at home in other logs, which say their votes again: this one does not any
    /// more.
    pub fn keep_votes_of(&mut self, is_home: impl Fn(ShardId) -> bool) {
        self.votes.retain(|shard, _| is_home(*shard));
    }

    /// Takes no longer payloads than this, which is less than recovery would.
    pub fn set_payload_bytes_max(&mut self, bytes: usize) {
        assert!(bytes <= PAYLOAD_BYTES_MAX, "recovery must read what is written");
        self.payload_bytes_max = bytes;
    }

    /// Highest number given to a record.
    pub fn appended(&self) -> Lsn {
        self.appended
    }

    /// Everything up to here is on stable storage.
    pub fn durable(&self) -> Lsn {
        self.durable
    }

    /// Bytes appended but not handed out for writing.
    pub fn queued_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Bytes handed out for writing so far, with headers and what fills up blocks.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Bytes of entries' payloads appended so far.
    pub fn payload_bytes(&self) -> u64 {
        self.payload_bytes
    }

    /// The segment that the next write goes to, if there is one.
    pub fn current_segment(&self) -> Option<u64> {
        (self.offset > 0).then_some(self.segment)
    }

    /// The next segment could not be made for lack of this, and what is left of this one is kept
    /// for what was appended already: nothing more should be. Passes once
    /// [`LogWriter::retry_segment`] works.
    pub fn full_for(&self) -> Option<Lack> {
        let left = self.segment_bytes.saturating_sub(self.offset + self.waiting_bytes as u64);
        self.lack.filter(|_| self.offset == 0 || left < self.segment_bytes / 4)
    }

    /// What the next segment could not be made for: ask again by [`LogWriter::retry_segment`].
    pub fn lack(&self) -> Option<Lack> {
        self.lack
    }

    /// Asks for the segment again that could not be made.
    pub fn retry_segment(&mut self) {
        if self.next_segment == NextSegment::Lacking {
            self.next_segment = NextSegment::NotAsked;
        }
    }

    /// Appends an entry; it is durable once [`LogWriter::durable`] has reached the result.
    ///
    /// # Panics
    /// If recovery would not take it: better no acknowledgement than one that a start refuses.
    pub fn append(&mut self, entry: EntryRef<'_>) -> Lsn {
        let EntryRef { shard, term, index, decided, transaction, payload } = entry;
        let participants = transaction.map_or(0, |transaction| transaction.participants.len());
        let participants = u16::try_from(participants).expect("there are fewer shards");
        let kind = RecordKind::Entry;
        let subject = Subject { kind, shard, term, index, decided, participants };
        let mut named = std::mem::take(&mut self.named);
        named.clear();
        if let Some(transaction) = transaction {
            transaction.encode(&mut named);
        }
        let (len, most) = (named.len() + payload.len(), self.payload_bytes_max);
        assert!(len <= most, "an entry of {len} bytes, of which the log takes {most}");
        self.payload_bytes += payload.len() as u64;
        let lsn = self.append_record(subject, [&named, payload]);
        self.named = named;
        lsn
    }

    /// Appends what this node promises in a shard's group.
    pub fn append_vote(&mut self, shard: ShardId, vote: Vote) -> Lsn {
        self.votes.insert(shard, vote);
        let (kind, term) = (RecordKind::Vote, vote.term);
        let subject = Subject { shard, term, ..Subject::of_log(kind) };
        let voted_for = vote.voted_for.map_or(0, |node| node.0);
        self.append_record(subject, [&[], &voted_for.to_le_bytes()])
    }

    /// Appends an entry of a group. One whose index is there already replaces it and all behind it.
    pub fn append_group_entry(&mut self, entry: GroupEntryRef<'_>) -> Lsn {
        let GroupEntryRef { shard, term, index, decided, kind, participants, payload } = entry;
        let subject = Subject { kind, shard, term, index, decided, participants };
        self.append_record(subject, [&[], payload])
    }

    /// Appends what the members of a group are as of an index. `installed`: its state is a
    /// checkpoint as of there; nothing that the log has of the shard before counts.
    pub fn append_members(
        &mut self,
        shard: ShardId,
        (term, index): (Term, Index),
        members: &Members,
        installed: bool,
    ) -> Lsn {
        let kind = if installed { RecordKind::Base } else { RecordKind::Members };
        let subject = Subject { shard, term, index, ..Subject::of_log(kind) };
        let mut payload = Vec::new();
        members.encode(&mut payload);
        self.append_record(subject, [&[], &payload])
    }

    /// Appends a record that cuts a shard's entries from `from` on, for good. It takes the index
    /// behind the last one used.
    pub fn append_void(&mut self, shard: ShardId, term: Term, index: Index, from: Index) -> Lsn {
        assert!(from.0 > 0 && from < index);
        let decided = Index(from.0 - 1);
        let kind = RecordKind::Void;
        let subject = Subject { kind, shard, term, index, decided, participants: 0 };
        self.append_record(subject, [&[], &from.0.to_le_bytes()])
    }

    /// Appends the record of an orderly stop once everything else is durable. True when the seal
    /// itself is durable: nothing is left to do.
    pub fn seal(&mut self) -> bool {
        match self.sealed {
            Some(lsn) => self.durable >= lsn,
            None if self.durable < self.appended => false,
            None => {
                let subject = Subject::of_log(RecordKind::Seal);
                self.sealed = Some(self.append_record(subject, [&[], &[]]));
                false
            }
        }
    }

    /// The payload is given in two parts, which need not be copied together.
    fn append_record(&mut self, subject: Subject, payload: [&[u8]; 2]) -> Lsn {
        let [mut front, mut rest] = payload;
        let mut first = true;
        loop {
            let needed = HEADER_BYTES + front.len() + rest.len();
            let mut room = self.open_room(needed) - HEADER_BYTES;
            // Others are never so long that they have to be cut.
            if subject.kind == RecordKind::Entry && is_taken(Point::LogFragments) {
                room = room.min(1);
            }
            let (front_part, front_left) = front.split_at(front.len().min(room));
            let (part, left) = rest.split_at(rest.len().min(room - front_part.len()));
            let payload_len = front_part.len() + part.len();
            self.appended.0 += 1;
            let header = RecordHeader {
                kind: subject.kind,
                fragment: Fragment { first, last: front_left.is_empty() && left.is_empty() },
                lsn: self.appended,
                incarnation: self.incarnation,
                durable: self.durable,
                term: subject.term,
                index: subject.index,
                shard: subject.shard,
                participants: subject.participants,
                decided: subject.decided,
                payload_len: payload_len as u32,
                previous_crc: self.previous_crc,
            };
            let batch = self.waiting.back_mut().expect("open_room made sure of one");
            let payload = [front_part, part];
            self.previous_crc = header.write(payload, self.checksum_start, &mut batch.buffer);
            batch.last_lsn = self.appended;
            if subject.kind.has_index() {
                uses::note(&mut batch.lasts, subject.shard, subject.index);
            }
            if first && subject.kind.is_entry() {
                note_least(&mut batch.leasts, subject.shard, subject.index);
            }
            self.waiting_bytes += HEADER_BYTES + payload_len;
            (front, rest, first) = (front_left, left, false);
            if header.fragment.last {
                return self.appended;
            }
        }
    }

    /// Room in the open batch for a record or a fragment of it; opens another batch where the open
    /// one is too full.
    fn open_room(&mut self, needed: usize) -> usize {
        if let Some(batch) = self.waiting.back() {
            let room = batch.buffer.room();
            let fits = room >= needed || room >= HEADER_BYTES + FRAGMENT_BYTES_MIN;
            if fits && !is_taken(Point::LogBatchShort) {
                return room;
            }
        }
        let buffer = self.spare.pop().unwrap_or_else(|| {
            let largest = self.segment_bytes as usize - BLOCK_BYTES;
            BlockBuffer::with_capacity(WRITE_BUFFER_BYTES.min(largest))
        });
        let room = buffer.room();
        let (mut lasts, mut leasts) = self.spare_lasts.pop().unwrap_or_default();
        lasts.clear();
        leasts.clear();
        let (first_lsn, last_lsn) = (Lsn(self.appended.0 + 1), self.appended);
        self.waiting.push_back(Batch { buffer, first_lsn, last_lsn, lasts, leasts });
        room
    }

    /// The next thing to do now, if any; call until `None`.
    pub fn poll_operation(&mut self) -> Option<LogOperation> {
        if self.failed.is_some() {
            return None;
        }
        if let Some(operation) = self.poll_segment().or_else(|| self.poll_removal()) {
            return Some(operation);
        }
        if self.in_flight.len() >= self.writes_in_flight_max || self.offset == 0 {
            return None;
        }
        let bytes = self.waiting.front()?.buffer.len();
        let worth = self.in_flight.back().is_none_or(|last| bytes >= last.bytes / NEXT_WRITE_PART);
        let len = bytes.next_multiple_of(BLOCK_BYTES) as u64;
        let waits = !self.in_flight.is_empty() && is_taken(Point::LogWriteWaits);
        if len == 0 || !worth || waits {
            return None;
        }
        let ready = self.next_segment == NextSegment::Ready;
        if self.offset + len > self.current_bytes || ready && is_taken(Point::LogSegmentShort) {
            if self.next_segment != NextSegment::Ready {
                return None;
            }
            self.segment += 1;
            self.current_bytes = self.segment_bytes;
            self.offset = BLOCK_BYTES as u64;
            self.next_segment = NextSegment::NotAsked;
        }
        let Batch { mut buffer, first_lsn, last_lsn, lasts, leasts } = self.waiting.pop_front()?;
        let (segment, offset) = (self.segment, self.offset);
        let place = Place { segment, offset, lsn: first_lsn };
        self.runs.note(place, offset + len, &leasts);
        self.note_uses(&lasts);
        if self.spare_lasts.len() < SPARE_BUFFERS_MAX {
            self.spare_lasts.push((lasts, leasts));
        }
        self.waiting_bytes -= bytes;
        buffer.pad();
        self.offset += len;
        self.written_bytes += len;
        self.last_write += 1;
        let id = self.last_write;
        self.in_flight.push_back(InFlight { id, segment, offset, bytes, last_lsn, done: false });
        Some(LogOperation::Write { id, segment, offset, buffer })
    }

    /// The first segment is asked for at once, the next one when half of this one is used or the
    /// batch that is next does not fit into it.
    fn poll_segment(&mut self) -> Option<LogOperation> {
        let next_len = self.waiting.front().map_or(0, |batch| batch.buffer.capacity() as u64);
        let due = self.offset == 0
            || self.offset >= self.current_bytes / 2
            || self.offset + next_len > self.current_bytes
            || is_taken(Point::LogSegmentEarly);
        if !due || self.next_segment != NextSegment::NotAsked {
            return None;
        }
        self.next_segment = NextSegment::Asked;
        let number = self.segment + 1;
        let size_bytes = self.segment_bytes;
        let header = SegmentHeader { identity: self.identity, number, size_bytes }.encode();
        // Only the oldest one: no segment may be missing before others.
        let free = !self.removing && self.durable >= self.unneeded_since;
        let oldest = self.unneeded.front().filter(|(_, size)| free && *size == size_bytes);
        let recycle = oldest.map(|(number, _)| *number);
        if recycle.is_some() {
            self.unneeded.pop_front();
        }
        let within_bytes = self.zeros_within_bytes();
        Some(LogOperation::PrepareSegment { number, header, size_bytes, recycle, within_bytes })
    }

    /// Three quarters of what this segment takes for sure before a batch is too long for it.
    fn zeros_within_bytes(&self) -> u64 {
        let left = self.current_bytes.saturating_sub(self.offset);
        match self.offset {
            0 => 0,
            _ => left.saturating_sub(WRITE_BUFFER_BYTES as u64) / 4 * 3,
        }
    }

    /// A batch goes to the current segment.
    fn note_uses(&mut self, lasts: &[(ShardId, Index)]) {
        if self.uses.back().is_none_or(|last| last.number != self.segment) {
            self.uses.push_back(SegmentUse::new(self.segment, self.current_bytes));
        }
        if let Some(segment) = self.uses.back_mut() {
            lasts.iter().for_each(|(shard, last)| uses::note(&mut segment.lasts, *shard, *last));
        }
    }

    /// A write ended. Returns up to where the log is durable now. Writes may end in any order;
    /// they count in the order in which they were handed out.
    pub fn on_write_done(
        &mut self,
        id: u64,
        mut buffer: BlockBuffer,
        result: Result<(), i32>,
    ) -> Result<Lsn, LogFailed> {
        let write = self.in_flight.iter_mut().find(|write| write.id == id);
        let write = write.expect("a write ends once");
        write.done = true;
        if let Err(errno) = result
            && !is_planted(Fault::FailedWriteTaken)
        {
            let (segment, offset) = (write.segment, write.offset);
            self.failed.get_or_insert(LogFailed::Write { segment, offset, errno });
        }
        buffer.clear();
        if self.spare.len() < SPARE_BUFFERS_MAX {
            self.spare.push(buffer);
        }
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        if is_planted(Fault::DurableOutOfOrder) {
            let ended = self.in_flight.iter().filter(|write| write.done);
            self.durable = ended.map(|write| write.last_lsn).max().unwrap_or(self.durable);
        }
        while let Some(write) = self.in_flight.front().filter(|write| write.done) {
            self.durable = self.durable.max(write.last_lsn);
            self.in_flight.pop_front();
        }
        Ok(self.durable)
    }

    /// A segment is ready, or could not be made. A full disk is no failure, nor is a lack of
    /// descriptors: see [`LogWriter::full_for`].
    pub fn on_segment_ready(
        &mut self,
        number: u64,
        result: Result<(), i32>,
    ) -> Result<Lsn, LogFailed> {
        debug_assert_eq!(number, self.segment + 1);
        self.lack = Lack::of(result);
        match result {
            Ok(()) if self.offset == 0 => {
                self.segment = number;
                self.current_bytes = self.segment_bytes;
                self.offset = BLOCK_BYTES as u64;
                self.next_segment = NextSegment::NotAsked;
            }
            Ok(()) => self.next_segment = NextSegment::Ready,
            Err(_) if self.lack.is_some() => self.next_segment = NextSegment::Lacking,
            Err(errno) => {
                self.failed.get_or_insert(LogFailed::PrepareSegment { number, errno });
            }
        }
        match &self.failed {
            Some(failed) => Err(failed.clone()),
            None => Ok(self.durable),
        }
    }
}

#[cfg(test)]
mod tests;
