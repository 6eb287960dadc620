//! A virtual disk: segments as they are after a power cut, the operations under way, and what goes
//! wrong with them.

use std::collections::BTreeMap;

use engine::rng::Rng;
use replication::checkpoint::FileOperation;
use replication::log::limits::BLOCK_BYTES;
use replication::log::record::HEADER_BYTES;
use replication::log::segment::SegmentHeader;
use replication::log::walk::walk_segment;
use replication::log::{BlockBuffer, LogOperation, SegmentSource};
use server::core::storage::StorageOperation;
use server::replica::catchup::LogPieceOrder;
use server::replica::rebuild::RebuildOrder;
use server::replica::receiving::VerifyOrder;
use server::replica::transfer::PieceOrder;

use super::files::Files;

/// What a drive writes whole.
const SECTOR_BYTES: usize = 512;

/// One core's segments by number.
pub type Segments = BTreeMap<u64, Vec<u8>>;

/// A log operation that has not ended.
pub enum UnderWay {
    Write {
        id: u64,
        segment: u64,
        offset: u64,
        buffer: BlockBuffer,
    },
    Prepare {
        number: u64,
        header: BlockBuffer,
        size_bytes: u64,
        recycle: Option<u64>,
    },
    Remove {
        number: u64,
    },
    Checkpoint(FileOperation),
    /// A shard is read again: from what is there when it ends.
    Rebuild(Box<RebuildOrder>),
    /// A piece of a checkpoint is read.
    ReadPiece(Box<PieceOrder>),
    /// A checkpoint of another node is read.
    Verify(Box<VerifyOrder>),
    /// A piece of the log is read.
    ReadLog(Box<LogPieceOrder>),
}

#[derive(Default)]
pub struct Disk {
    /// By core.
    logs: Vec<Segments>,
    under_way: BTreeMap<(u16, u64), UnderWay>,
    last_operation: u64,
    /// Checkpoints, and those that a start found damaged.
    pub files: Files,
    pub damaged: Vec<String>,
}

/// What became of an operation's data when the power was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    Lost,
    Kept,
    Prefix,
    SomeSectors,
}

impl Damage {
    pub const ALL: [Damage; 4] = [Damage::Lost, Damage::Kept, Damage::Prefix, Damage::SomeSectors];

    fn random(rng: &mut Rng) -> Damage {
        Damage::ALL[rng.below(4) as usize]
    }
}

/// A bit of a core's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bit {
    core: u16,
    segment: u64,
    at: usize,
}

impl Disk {
    pub fn log(&mut self, core: u16) -> &mut Segments {
        let place = usize::from(core);
        if self.logs.len() <= place {
            self.logs.resize_with(place + 1, Segments::new);
        }
        &mut self.logs[place]
    }

    /// Cores that ever had a log.
    pub fn log_count(&self) -> u16 {
        self.logs.len() as u16
    }

    /// The oldest segment of a core's log.
    pub fn first_segment(&self, core: u16) -> Option<u64> {
        self.logs.get(usize::from(core))?.keys().next().copied()
    }

    /// A copy of what is on it, while nothing is under way.
    pub fn copy(&self) -> Disk {
        assert!(self.under_way.is_empty(), "a copy has no operations");
        Disk { logs: self.logs.clone(), files: self.files.clone(), ..Disk::default() }
    }

    /// What a power cut would leave now that takes all that is under way.
    pub fn durable(&self) -> Disk {
        let mut disk =
            Disk { logs: self.logs.clone(), files: self.files.clone(), ..Disk::default() };
        disk.files.cut_power(&mut Rng::new(1));
        disk
    }

    /// Starts an operation; it ends with [`Disk::finish`] under the number returned.
    pub fn start(&mut self, core: u16, operation: StorageOperation) -> u64 {
        self.last_operation += 1;
        let under_way = match operation {
            StorageOperation::Log(LogOperation::Write { id, segment, offset, buffer }) => {
                UnderWay::Write { id, segment, offset, buffer }
            }
            StorageOperation::Log(LogOperation::PrepareSegment {
                number,
                header,
                size_bytes,
                recycle,
                within_bytes: _,
            }) => UnderWay::Prepare { number, header, size_bytes, recycle },
            StorageOperation::Log(LogOperation::RemoveSegment { number }) => {
                UnderWay::Remove { number }
            }
            StorageOperation::Checkpoint(operation) => UnderWay::Checkpoint(operation),
            StorageOperation::Rebuild(order) => UnderWay::Rebuild(order),
            StorageOperation::ReadPiece(order) => UnderWay::ReadPiece(order),
            StorageOperation::VerifyCheckpoint(order) => UnderWay::Verify(order),
            StorageOperation::ReadLog(order) => UnderWay::ReadLog(order),
        };
        self.under_way.insert((core, self.last_operation), under_way);
        self.last_operation
    }

    /// Operations started so far.
    pub fn operations(&self) -> u64 {
        self.last_operation
    }

    /// Ends an operation well: its data is on stable storage.
    pub fn finish(&mut self, core: u16, operation: u64) -> UnderWay {
        let ended = self.under_way.remove(&(core, operation)).expect("it ends once");
        match &ended {
            UnderWay::Write { segment, offset, buffer, .. } => {
                let bytes = buffer.bytes();
                self.target(core, *segment, *offset, bytes.len()).copy_from_slice(bytes);
            }
            UnderWay::Prepare { number, header, size_bytes, recycle } => {
                self.prepare(core, *number, header, *size_bytes, *recycle);
            }
            UnderWay::Remove { number } => {
                self.log(core).remove(number);
            }
            UnderWay::Checkpoint(operation) => self.files.finish(core, operation),
            UnderWay::Rebuild(_)
            | UnderWay::ReadPiece(_)
            | UnderWay::Verify(_)
            | UnderWay::ReadLog(_) => {}
        }
        ended
    }

    fn prepare(
        &mut self,
        core: u16,
        number: u64,
        header: &BlockBuffer,
        size_bytes: u64,
        recycle: Option<u64>,
    ) {
        let old = recycle.and_then(|old| self.log(core).remove(&old));
        let mut bytes = old.unwrap_or_else(|| vec![0; size_bytes as usize]);
        bytes[..header.len()].copy_from_slice(header.bytes());
        self.log(core).insert(number, bytes);
    }

    /// Whether the operation may find the disk full.
    pub fn takes_space(&self, core: u16, operation: u64) -> bool {
        self.is_preparation(core, operation)
            || matches!(
                self.under_way.get(&(core, operation)),
                Some(UnderWay::Checkpoint(operation))
                    if !matches!(operation, FileOperation::Remove { .. })
            )
    }

    /// What an operation of a checkpoint does, if it is one.
    pub fn checkpoint_operation(&self, core: u16, operation: u64) -> Option<&FileOperation> {
        match self.under_way.get(&(core, operation))? {
            UnderWay::Checkpoint(operation) => Some(operation),
            _ => None,
        }
    }

    /// Ends an operation badly: of its data anything may be there.
    pub fn fail(&mut self, core: u16, operation: u64, rng: &mut Rng) -> UnderWay {
        let ended = self.under_way.remove(&(core, operation)).expect("it ends once");
        if let UnderWay::Write { segment, offset, buffer, .. } = &ended {
            let damage = Damage::random(rng);
            self.damage(core, *segment, *offset, buffer.bytes(), damage, rng);
        }
        if let UnderWay::Checkpoint(operation @ FileOperation::Write { .. }) = &ended
            && Damage::random(rng) == Damage::Kept
        {
            self.files.finish(core, operation);
        }
        ended
    }

    pub fn is_preparation(&self, core: u16, operation: u64) -> bool {
        matches!(self.under_way.get(&(core, operation)), Some(UnderWay::Prepare { .. }))
    }

    pub fn is_checkpoint(&self, core: u16, operation: u64) -> bool {
        matches!(self.under_way.get(&(core, operation)), Some(UnderWay::Checkpoint(_)))
    }

    /// The checkpoint whose file an operation under way is about, if it makes or fills one; and
    /// whether it makes it.
    pub fn checkpoint_made(&self, core: u16, operation: u64) -> Option<(String, bool)> {
        let Some(UnderWay::Checkpoint(operation)) = self.under_way.get(&(core, operation)) else {
            return None;
        };
        match operation {
            FileOperation::Create { name } => Some((name.clone(), true)),
            FileOperation::Rename { from, .. } => Some((from.clone(), false)),
            FileOperation::Write { .. } | FileOperation::Sync => {
                Some((self.files.open_name(core)?.to_owned(), false))
            }
            FileOperation::SyncDirectory | FileOperation::Remove { .. } => None,
        }
    }

    /// Whether an operation under way is about a checkpoint, of whichever node.
    pub fn is_about_checkpoint(&self, core: u16, operation: u64) -> bool {
        matches!(
            self.under_way.get(&(core, operation)),
            Some(UnderWay::Checkpoint(_) | UnderWay::ReadPiece(_) | UnderWay::Verify(_))
        )
    }

    /// Whether an operation under way reads a shard again.
    pub fn reads_memory(&self, core: u16, operation: u64) -> bool {
        matches!(self.under_way.get(&(core, operation)), Some(UnderWay::Rebuild(_)))
    }

    /// Whether any does.
    pub fn is_reading_memory(&self) -> bool {
        self.under_way.values().any(|operation| matches!(operation, UnderWay::Rebuild(_)))
    }

    pub fn is_log_write(&self, core: u16, operation: u64) -> bool {
        matches!(self.under_way.get(&(core, operation)), Some(UnderWay::Write { .. }))
    }

    /// Some bit of what later records call durable.
    pub fn acknowledged_bit(&self, rng: &mut Rng) -> Option<Bit> {
        let core = rng.below(self.logs.len().max(1) as u64) as u16;
        let (last, end) = self.told(core)?;
        let log = &self.logs[usize::from(core)];
        let numbers: Vec<u64> = log.keys().copied().filter(|number| *number <= last).collect();
        let segment = numbers[rng.below(numbers.len() as u64) as usize];
        let bytes = if segment == last { end as usize } else { log[&segment].len() };
        // Mostly where something is written, and not in the padding.
        let places = (0..64).map(|_| rng.below(bytes as u64 * 8) as usize);
        let at = places.reduce(|at, next| if log[&segment][at / 8] == 0 { next } else { at })?;
        Some(Bit { core, segment, at })
    }

    /// Where the last record ends that another one calls durable: segment and offset.
    fn told(&self, core: u16) -> Option<(u64, u64)> {
        let log = self.logs.get(usize::from(core))?;
        let mut records = Vec::new();
        for (&number, bytes) in log {
            let identity = SegmentHeader::decode(&bytes[..BLOCK_BYTES]).ok()?.identity;
            let segment = (number, bytes.len() as u64);
            let (source, from) = (&mut LogSource(log), BLOCK_BYTES as u64);
            let walked = walk_segment(source, &identity, segment, from, &mut |stored| {
                let end = stored.offset + (HEADER_BYTES + stored.payload.len()) as u64;
                records.push((stored.header, (number, end)));
            });
            walked.ok()?;
        }
        let told = records.iter().map(|(header, _)| header.durable).max()?;
        records.iter().filter(|(header, _)| header.lsn == told).map(|(_, end)| *end).min()
    }

    pub fn flip(&mut self, Bit { core, segment, at }: Bit) {
        let bytes = self.log(core).get_mut(&segment).expect("segments stay");
        bytes[at / 8] ^= 1 << (at % 8);
    }

    /// The power goes: each operation under way meets this damage, or any.
    pub fn cut_power(&mut self, rng: &mut Rng, damage: Option<Damage>) {
        self.cut_operations(rng, damage);
        self.files.cut_power(rng);
    }

    fn cut_operations(&mut self, rng: &mut Rng, damage: Option<Damage>) {
        for ((core, _), operation) in std::mem::take(&mut self.under_way) {
            let damage = damage.unwrap_or_else(|| Damage::random(rng));
            match operation {
                // A segment gets its name when all of it is on stable storage.
                UnderWay::Prepare { number, header, size_bytes, recycle } => match damage {
                    Damage::Kept => self.prepare(core, number, &header, size_bytes, recycle),
                    Damage::Lost => {}
                    // The old one has lost its name, the new one has none yet.
                    _ => recycle.into_iter().for_each(|old| {
                        self.log(core).remove(&old);
                    }),
                },
                UnderWay::Remove { number } => {
                    if damage == Damage::Kept {
                        self.log(core).remove(&number);
                    }
                }
                UnderWay::Rebuild(_)
                | UnderWay::ReadPiece(_)
                | UnderWay::Verify(_)
                | UnderWay::ReadLog(_) => {}
                UnderWay::Checkpoint(operation) => {
                    if damage != Damage::Lost {
                        self.files.finish(core, &operation);
                    }
                }
                UnderWay::Write { segment, offset, buffer, .. } => {
                    self.damage(core, segment, offset, buffer.bytes(), damage, rng);
                }
            }
        }
    }

    fn damage(
        &mut self,
        core: u16,
        segment: u64,
        offset: u64,
        bytes: &[u8],
        damage: Damage,
        rng: &mut Rng,
    ) {
        let sectors = bytes.len() / SECTOR_BYTES;
        let prefix = rng.below(sectors as u64 + 1) as usize;
        let target = self.target(core, segment, offset, bytes.len());
        for sector in 0..sectors {
            let kept = match damage {
                Damage::Lost => false,
                Damage::Kept => true,
                Damage::Prefix => sector < prefix,
                Damage::SomeSectors => rng.below(2) == 0,
            };
            if kept {
                let range = sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES;
                target[range.clone()].copy_from_slice(&bytes[range]);
            }
        }
    }

    /// A piece of a core's log, as it is now.
    pub fn log_piece(&self, order: &LogPieceOrder) -> Result<Vec<u8>, String> {
        let log = self.logs.get(usize::from(order.core)).ok_or("no such log")?;
        let bytes = log.get(&order.segment).ok_or("no such segment")?;
        let piece = bytes.get(order.offset as usize..).and_then(|rest| rest.get(..order.len));
        Ok(piece.ok_or("past the end")?.to_vec())
    }

    fn target(&mut self, core: u16, segment: u64, offset: u64, len: usize) -> &mut [u8] {
        let bytes = self.log(core).get_mut(&segment).expect("segments are prepared, then written");
        &mut bytes[offset as usize..offset as usize + len]
    }
}

/// One core's log for recovery.
pub struct LogSource<'a>(pub &'a Segments);

impl SegmentSource for LogSource<'_> {
    type Error = String;

    fn segments(&mut self) -> Result<Vec<(u64, u64)>, String> {
        Ok(self.0.iter().map(|(number, bytes)| (*number, bytes.len() as u64)).collect())
    }

    fn read(&mut self, segment: u64, offset: u64, out: &mut [u8]) -> Result<(), String> {
        let bytes = self.0.get(&segment).ok_or("no such segment")?;
        let range = offset as usize..offset as usize + out.len();
        out.copy_from_slice(bytes.get(range).ok_or("past the end")?);
        Ok(())
    }
}
