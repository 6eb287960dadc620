//! A log in use through several starts, each ended by a crash or in good order.

use engine::rng::Rng;
use replication::ids::{Incarnation, Index, Lsn, ShardId, Term};
use replication::log::limits::{BLOCK_BYTES, SEGMENT_BYTES_MIN};
use replication::log::record::{Fragment, HEADER_BYTES, RecordHeader, RecordKind};
use replication::log::writer::EntryRef;
use replication::log::{BlockBuffer, LogOperation, LogWriter, Tail};

use super::disk::{Disk, IDENTITY, recover_all};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub shard: u16,
    pub index: u64,
    pub payload: Vec<u8>,
}

pub type Entries = Vec<Entry>;

const SHARDS: u64 = 3;

struct Write {
    id: u64,
    segment: u64,
    offset: u64,
    buffer: BlockBuffer,
}

/// One start: what it found and what it appended.
struct Timeline {
    entries: Entries,
    /// So many of them were acknowledged.
    certain: usize,
    /// So many of them does the last write itself call durable.
    witnessed: usize,
}

pub struct History {
    pub disk: Disk,
    timelines: Vec<Timeline>,
    /// The files as each start but the last left them.
    left: Vec<Disk>,
    /// Segment and range of this start's last write that ended.
    last_write: (u64, std::ops::Range<usize>),
    writer: Option<Running>,
}

struct Running {
    writer: LogWriter,
    /// Highest lsn of each entry appended by this start, and its place among all.
    appended: Vec<Lsn>,
    in_flight: Vec<Write>,
    /// A segment that is being made.
    preparing: Option<(u64, Vec<u8>)>,
    indexes: [u64; SHARDS as usize],
}

impl History {
    pub fn new() -> History {
        History {
            disk: Disk::default(),
            timelines: Vec::new(),
            left: Vec::new(),
            last_write: (0, 0..0),
            writer: None,
        }
    }

    /// Everything that the last start found or appended, in order.
    pub fn written(&self) -> &Entries {
        &self.last().entries
    }

    /// How many of them were acknowledged.
    pub fn certain(&self) -> usize {
        self.last().certain
    }

    /// As many are there after any damage that spares the last write, or the log is refused.
    pub fn witnessed(&self) -> usize {
        self.last().witnessed
    }

    pub fn timelines(&self) -> impl Iterator<Item = &Entries> {
        self.timelines.iter().map(|timeline| &timeline.entries)
    }

    pub fn last_write(&self) -> (u64, std::ops::Range<usize>) {
        self.last_write.clone()
    }

    /// The files as some earlier start left them.
    pub fn earlier(&self, rng: &mut Rng) -> Option<&Disk> {
        self.left.get(rng.below(self.left.len().max(1) as u64) as usize)
    }

    fn last(&self) -> &Timeline {
        self.timelines.last().expect("a history is looked at after its first run")
    }

    /// Starts on what is there and appends for some turns.
    pub fn run(&mut self, rng: &mut Rng) {
        self.left.push(self.disk.clone());
        let found = recover_all(&mut self.disk);
        let (entries, tail) = found.expect("checked after the crash");
        let mut running = Running::new(segment_bytes(rng), &entries, tail);
        running.writer.set_writes_in_flight_max(1 + rng.below(3) as usize);
        let certain = entries.len();
        self.timelines.push(Timeline { entries, certain, witnessed: 0 });
        self.last_write = (0, 0..0);
        self.writer = Some(running);
        for _ in 0..rng.below(40) {
            self.turn(rng);
        }
    }

    fn turn(&mut self, rng: &mut Rng) {
        let Some(running) = &mut self.writer else { return };
        for _ in 0..rng.below(4) {
            let shard = rng.below(SHARDS) as u16;
            let payload = payload(rng, &self.disk, running.writer.appended());
            let entry = running.append(shard, payload);
            self.timelines.last_mut().expect("a run began").entries.push(entry);
        }
        self.advance(rng, 3);
    }

    /// Hands operations out and ends some of those under way, one in `patience` not.
    fn advance(&mut self, rng: &mut Rng, patience: u64) {
        let Some(running) = &mut self.writer else { return };
        running.submit();
        if rng.below(patience) > 0
            && let Some((number, bytes)) = running.preparing.take()
        {
            self.disk.segments.insert(number, bytes);
            running.writer.on_segment_ready(number, Ok(())).expect("nothing failed");
            running.submit();
        }
        while !running.in_flight.is_empty() && rng.below(patience) > 0 {
            let place = rng.below(running.in_flight.len() as u64) as usize;
            let write = running.in_flight.remove(place);
            let bytes = write.buffer.bytes();
            let range = write.offset as usize..write.offset as usize + bytes.len();
            let segment = self.disk.segments.get_mut(&write.segment).expect("it is prepared");
            segment[range.clone()].copy_from_slice(bytes);
            if (write.segment, range.start) >= (self.last_write.0, self.last_write.1.start) {
                self.last_write = (write.segment, range);
            }
            running.writer.on_write_done(write.id, write.buffer, Ok(())).expect("nothing failed");
            running.submit();
        }
    }

    /// The process stops in good order, or the power goes.
    pub fn end(&mut self, rng: &mut Rng) {
        if rng.below(4) == 0 {
            self.seal(rng);
        }
        let Some(running) = self.writer.take() else { return };
        let durable = running.writer.durable();
        let named = self.durable_named();
        let timeline = self.timelines.last_mut().expect("a run began");
        let up_to = |lsn| running.appended.iter().filter(|appended| **appended <= lsn).count();
        timeline.witnessed = named.map_or(0, |named| timeline.certain + up_to(named));
        timeline.certain += up_to(durable);
        for write in running.in_flight {
            let segment = self.disk.segments.get_mut(&write.segment).expect("it is prepared");
            let bytes = write.buffer.bytes();
            let target = &mut segment[write.offset as usize..][..bytes.len()];
            tear(rng, target, bytes);
        }
        if let Some((number, bytes)) = running.preparing
            && rng.below(2) == 0
        {
            // It had its name already.
            self.disk.segments.insert(number, bytes);
        }
    }

    /// Highest durable number that the records of the last write name.
    fn durable_named(&self) -> Option<Lsn> {
        let (segment, range) = &self.last_write;
        let bytes = self.disk.segments.get(segment)?.get(range.clone())?;
        let (mut offset, mut named) = (0, None);
        while let Ok((header, payload, _)) =
            RecordHeader::read(&bytes[offset..], IDENTITY.checksum_start())
        {
            named = named.max(Some(header.durable));
            offset += HEADER_BYTES + payload.len();
        }
        named
    }

    fn seal(&mut self, rng: &mut Rng) {
        loop {
            self.advance(rng, 8);
            let Some(running) = &mut self.writer else { return };
            if running.writer.seal() {
                return;
            }
        }
    }
}

impl Running {
    fn new(segment_bytes: u64, entries: &Entries, tail: Tail) -> Running {
        let mut indexes = [0; SHARDS as usize];
        for entry in entries {
            indexes[usize::from(entry.shard)] = entry.index;
        }
        let incarnation = Incarnation(tail.incarnation.0 + 1);
        let writer = LogWriter::new(IDENTITY, segment_bytes, tail, incarnation);
        Running { writer, appended: Vec::new(), in_flight: Vec::new(), preparing: None, indexes }
    }

    fn append(&mut self, shard: u16, payload: Vec<u8>) -> Entry {
        let index = &mut self.indexes[usize::from(shard)];
        *index += 1;
        let lsn = self.writer.append(EntryRef {
            shard: ShardId(shard),
            term: Term(1),
            index: Index(*index),
            decided: Index(*index - 1),
            transaction: None,
            payload: &payload,
        });
        self.appended.push(lsn);
        Entry { shard, index: *index, payload }
    }

    fn submit(&mut self) {
        while let Some(operation) = self.writer.poll_operation() {
            match operation {
                LogOperation::Write { id, segment, offset, buffer } => {
                    self.in_flight.push(Write { id, segment, offset, buffer });
                }
                LogOperation::RemoveSegment { .. } => unreachable!("none is released here"),
                LogOperation::PrepareSegment { number, header, size_bytes, .. } => {
                    let mut bytes = header.bytes().to_vec();
                    bytes.resize(size_bytes as usize, 0);
                    self.preparing = Some((number, bytes));
                }
            }
        }
    }
}

/// Each start may be told another size of segments.
fn segment_bytes(rng: &mut Rng) -> u64 {
    match rng.below(30) {
        0 => 2 << 20,
        1..=6 => 256 << 10,
        7..=10 => SEGMENT_BYTES_MIN + 8192,
        _ => SEGMENT_BYTES_MIN,
    }
}

/// A write that was under way: sectors of 512 bytes land or do not, each whole.
fn tear(rng: &mut Rng, target: &mut [u8], bytes: &[u8]) {
    const SECTOR_BYTES: usize = 512;
    let sectors = bytes.len() / SECTOR_BYTES;
    let cut = rng.below(sectors as u64 + 1) as usize;
    let kind = rng.below(5);
    for sector in 0..sectors {
        let lands = match kind {
            0 => false,
            1 => true,
            2 => sector < cut,
            3 => sector >= cut,
            _ => rng.below(4) > 0,
        };
        if lands {
            let range = sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES;
            target[range.clone()].copy_from_slice(&bytes[range]);
        }
    }
}

fn payload(rng: &mut Rng, disk: &Disk, appended: Lsn) -> Vec<u8> {
    let len = match rng.below(30) {
        0 => rng.below(200_000),
        1..=4 => rng.below(12_000),
        _ => rng.below(300),
    } as usize;
    match rng.below(10) {
        0 => forged(rng, len, appended),
        // What lies on the disk, once more: records of this log and others.
        1 => match disk.segments.values().rfind(|segment| !segment.is_empty()) {
            Some(segment) => {
                let start = rng.below(segment.len() as u64) as usize / BLOCK_BYTES * BLOCK_BYTES;
                segment[start..segment.len().min(start + len)].to_vec()
            }
            None => Vec::new(),
        },
        _ => {
            let byte = rng.next_u64() as u8;
            vec![byte; len]
        }
    }
}

/// What a client would send that wants its bytes to pass for records where a write is torn. It
/// knows the format, but not the cluster id.
fn forged(rng: &mut Rng, len: usize, appended: Lsn) -> Vec<u8> {
    let header = RecordHeader {
        kind: if rng.below(4) == 0 { RecordKind::Seal } else { RecordKind::Entry },
        fragment: Fragment::WHOLE,
        lsn: Lsn(appended.0 + rng.below(40)),
        incarnation: Incarnation(if rng.below(3) == 0 { u64::MAX } else { rng.below(6) }),
        durable: Lsn(if rng.below(2) == 0 { u64::MAX } else { appended.0 + rng.below(40) }),
        term: Term(1),
        index: Index(1),
        shard: ShardId(rng.below(SHARDS + 1) as u16),
        participants: 0,
        decided: Index(0),
        payload_len: 0,
        previous_crc: rng.next_u64() as u32,
    };
    let mut block = BlockBuffer::with_capacity(BLOCK_BYTES);
    header.write([&[], &[]], 0, &mut block);
    let mut record = block.bytes().to_vec();
    if rng.below(3) == 0 {
        // One that claims to go on for long.
        record[52..56].copy_from_slice(&(rng.below(1 << 22) as u32).to_le_bytes());
    }
    record.iter().copied().cycle().take(len).collect()
}

/// Appends behind what a recovery found. Returns what the next one finds, and what it should.
pub fn go_on(rng: &mut Rng, disk: Disk, found: &Entries, tail: Tail) -> (Entries, Entries) {
    let mut history = History {
        disk,
        timelines: vec![Timeline { entries: found.clone(), certain: 0, witnessed: 0 }],
        last_write: (0, 0..0),
        left: Vec::new(),
        writer: None,
    };
    history.writer = Some(Running::new(segment_bytes(rng), found, tail));
    for _ in 0..3 {
        history.turn(rng);
    }
    history.seal(rng);
    let again = recover_all(&mut history.disk);
    let (entries, _) = again.expect("what was written in good order is sound");
    (entries, history.written().clone())
}
