//! What each byte of the directory is for, read from the files by the rules of their formats.

use std::ops::Range;

use replication::checkpoint::catalogue::parse_name;
use replication::log::LogIdentity;
use replication::log::limits::BLOCK_BYTES;
use replication::log::record::{HEADER_BYTES, RecordHeader, RecordKind};
use replication::log::segment::file_name;

use super::image::{Ending, Image};
use crate::sim::disk::Disk;
use crate::sim::node::IDENTITY;

/// What is summed of a segment's header.
const SEGMENT_HEADER_BYTES: usize = 68;
const SECTOR_BYTES: usize = 512;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum File {
    Segment { core: u16, number: u64 },
    Checkpoint(String),
}

impl File {
    pub fn name(&self) -> String {
        match self {
            File::Segment { number, .. } => file_name(*number),
            File::Checkpoint(name) => name.clone(),
        }
    }

    pub fn is_log(&self) -> bool {
        matches!(self, File::Segment { .. })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nobody reads it, or what stands there is of no account.
    Unused,
    /// A record of the log, or a segment's header, that begins here.
    Needed {
        start: usize,
    },
    Seal,
    /// The last record of this core's log, if the log is not sealed.
    Last {
        core: u16,
    },
    /// Of the checkpoint that a start begins with.
    Newest,
    /// Of the one before.
    Older,
}

#[derive(Clone, Debug)]
pub struct Flip {
    pub file: File,
    pub at: usize,
    pub bit: u8,
    pub kind: Kind,
}

impl Flip {
    pub fn apply(&self, disk: &mut Disk) {
        let bytes = match &self.file {
            File::Segment { core, number } => disk.log(*core).get_mut(number),
            File::Checkpoint(name) => Some(disk.files.bytes_mut(name)),
        };
        bytes.expect("it is there")[self.at] ^= 1 << self.bit;
    }
}

/// A flip at every byte, at one byte a sector where no write has come to yet.
pub fn flips(image: &Image) -> Vec<Flip> {
    flips_thinned(image, 1)
}

/// As [`flips`], but in each file only every so many bytes.
pub fn flips_thinned(image: &Image, step: usize) -> Vec<Flip> {
    let mut flips = flips_of_logs(image, step);
    flips.extend(flips_of_checkpoints(image, step));
    flips
}

fn flips_of_logs(image: &Image, step: usize) -> Vec<Flip> {
    let mut disk = image.disk.copy();
    let mut flips = Vec::new();
    for core in 0..disk.log_count() {
        let parts = parts_of_log(image, core);
        for (number, bytes) in disk.log(core) {
            let file = File::Segment { core, number: *number };
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            let used = end.next_multiple_of(BLOCK_BYTES);
            let kind_at = |at: usize| {
                let part = parts.iter().find(|(of, range, _)| of == number && range.contains(&at));
                part.map_or(Kind::Unused, |(_, _, kind)| kind.clone())
            };
            let sectors = (used..bytes.len()).step_by(SECTOR_BYTES * step);
            let unwritten = sectors.map(|at| at + at / SECTOR_BYTES % SECTOR_BYTES);
            add(&mut flips, &file, (0..used).step_by(step).chain(unwritten), kind_at);
        }
    }
    flips
}

fn flips_of_checkpoints(image: &Image, step: usize) -> Vec<Flip> {
    let mut disk = image.disk.copy();
    let mut flips = Vec::new();
    let names = disk.files.list();
    for (name, _) in &names {
        let (shard, index) = parse_name(name).expect("nothing else is there");
        let of_shard = names.iter().filter_map(|(name, _)| parse_name(name));
        let newest = of_shard.filter(|(of, _)| *of == shard).map(|(_, index)| index).max();
        let bytes = disk.files.bytes_mut(name);
        let kind = if Some(index) == newest { Kind::Newest } else { Kind::Older };
        let file = File::Checkpoint(name.clone());
        add(&mut flips, &file, (0..bytes.len()).step_by(step), |_| kind.clone());
    }
    flips
}

fn add(
    flips: &mut Vec<Flip>,
    file: &File,
    places: impl Iterator<Item = usize>,
    kind_at: impl Fn(usize) -> Kind,
) {
    flips.extend(places.map(|at| {
        // Another bit for each byte, and not the same for the same field of all records.
        let bit = ((at % 8) ^ (at / BLOCK_BYTES % 8)) as u8;
        Flip { file: file.clone(), at, bit, kind: kind_at(at) }
    }));
}

/// Segment, bytes, and what they are.
type Part = (u64, Range<usize>, Kind);

/// The headers and records of a log.
fn parts_of_log(image: &Image, core: u16) -> Vec<Part> {
    let mut disk = image.disk.copy();
    let start = LogIdentity { core, ..IDENTITY }.checksum_start();
    let (mut parts, mut records) = (Vec::<Part>::new(), Vec::new());
    let mut last_lsn = None;
    for (number, bytes) in disk.log(core) {
        parts.push((*number, 0..SEGMENT_HEADER_BYTES, Kind::Needed { start: 0 }));
        let mut at = BLOCK_BYTES;
        while at < bytes.len() {
            let found = RecordHeader::read(&bytes[at..], start).ok();
            // Others are what a segment held before.
            let next = |lsn: u64| last_lsn.is_none_or(|last| lsn == last + 1);
            match found.filter(|(header, ..)| next(header.lsn.0)) {
                Some((header, payload, _)) => {
                    last_lsn = Some(header.lsn.0);
                    let end = at + HEADER_BYTES + payload.len();
                    records.push((*number, at..end, header.kind));
                    at = end;
                }
                None if at.is_multiple_of(BLOCK_BYTES) => break,
                None => at = at.next_multiple_of(BLOCK_BYTES),
            }
        }
    }
    let last = records.len() - 1;
    assert_eq!(records[last].2 == RecordKind::Seal, image.ending == Ending::Stopped);
    parts.extend(records.into_iter().enumerate().map(|(place, (number, range, kind))| {
        let needed = Kind::Needed { start: range.start };
        let kind = match kind {
            _ if place < last => needed,
            RecordKind::Seal => Kind::Seal,
            _ => Kind::Last { core },
        };
        (number, range, kind)
    }));
    parts
}
