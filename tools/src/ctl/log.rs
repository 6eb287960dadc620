//! Prints the records of segments, in the order in which they lie there.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use replication::ids::{Incarnation, Lsn};
use replication::log::SegmentSource;
use replication::log::assembler::Assembler;
use replication::log::limits::BLOCK_BYTES;
use replication::log::record::{HEADER_BYTES, RecordKind};
use replication::log::recovery::{Beyond, Verdict, decide};
use replication::log::segment::{HeaderError, SegmentHeader, number_of};
use replication::log::walk::{Stored, walk_segment};
use server::runtime::disk::{SegmentFile, list_segments};
use server::startup::segments::SegmentFiles;

use super::effects::describe_content;

/// Where the first record of a segment stands.
const FIRST_OFFSET: u64 = BLOCK_BYTES as u64;

/// Prints these segments, and those of directories among the paths. Returns whether the records
/// form a chain as far as they go.
pub fn print(paths: &[PathBuf], shown_bytes_max: usize, out: &mut dyn Write) -> Result<bool> {
    let mut printer = Printer { out, shown_bytes_max, chain: None, sound: true };
    for path in paths {
        for file in segments_at(path)? {
            printer.segment(file)?;
        }
    }
    printer.finish_chain()?;
    Ok(printer.sound)
}

fn segments_at(path: &Path) -> Result<Vec<SegmentFile>> {
    let shown = path.display();
    let metadata = std::fs::metadata(path).with_context(|| format!("cannot read {shown}"))?;
    if !metadata.is_dir() {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = number_of(name).unwrap_or(0);
        return Ok(vec![SegmentFile { number, path: path.into(), size_bytes: metadata.len() }]);
    }
    let segments = list_segments(path)?;
    if segments.is_empty() {
        bail!("{shown} has no segments; name a segment, or a directory core-<n>");
    }
    Ok(segments)
}

/// The chain of records, which may go on from one segment to the next.
struct Chain {
    core: u16,
    /// The segment with which it begins.
    begin: u64,
    segment: u64,
    file: String,
    first: Option<Lsn>,
    /// The first record does not begin a segment: at least the one before it is missing.
    is_late: bool,
    last: Lsn,
    last_crc: u32,
    /// Highest durable number that a record of the chain names.
    durable: Lsn,
    incarnation: Incarnation,
    sealed: bool,
    /// Where the last record's write ends.
    end: u64,
    /// Number, durable number and named checksum of the records that did not go on.
    apart: Vec<(Lsn, Lsn, u32)>,
    assembler: Assembler,
}

impl Chain {
    fn new(core: u16, begin: u64, file: &str) -> Chain {
        Chain {
            core,
            begin,
            segment: begin,
            file: file.to_owned(),
            first: None,
            is_late: false,
            last: Lsn(0),
            last_crc: 0,
            durable: Lsn(0),
            incarnation: Incarnation(0),
            sealed: false,
            end: FIRST_OFFSET,
            apart: Vec::new(),
            assembler: Assembler::default(),
        }
    }

    /// Whether the record goes on where the last one ended. The first one begins the chain, but
    /// segment 1 has record 1 at its beginning.
    fn takes(&mut self, stored: &Stored<'_>) -> bool {
        let header = &stored.header;
        let follows = header.lsn.0 == self.last.0 + 1
            && header.previous_crc == self.last_crc
            && header.incarnation >= self.incarnation;
        let begins = self.first.is_none() && self.begin != 1;
        if !begins && !follows {
            self.apart.push((header.lsn, header.durable, header.previous_crc));
            return false;
        }
        if self.first.is_none() {
            self.first = Some(header.lsn);
            self.is_late = begins && (self.segment, stored.offset) != (self.begin, FIRST_OFFSET);
        }
        self.durable = self.durable.max(header.durable);
        (self.last, self.last_crc) = (header.lsn, stored.crc);
        self.incarnation = header.incarnation;
        self.sealed = header.kind == RecordKind::Seal;
        let end = stored.offset + (HEADER_BYTES + stored.payload.len()) as u64;
        self.end = end.next_multiple_of(BLOCK_BYTES as u64);
        true
    }

    /// The record before the first one, if it must be there and is not.
    fn missing(&self) -> Option<Lsn> {
        let before = Lsn(self.first?.0.checked_sub(1)?);
        (self.is_late && self.durable >= before).then_some(before)
    }

    /// What those that did not go on say of the end, as recovery sees it.
    fn beyond(&self) -> Beyond {
        let mut beyond = Beyond::default();
        for (lsn, durable, previous_crc) in self.apart.iter().filter(|(lsn, ..)| *lsn > self.last) {
            beyond.records += 1;
            beyond.durable = beyond.durable.max(*durable);
            beyond.contradicts |=
                lsn.0 == self.last.0 + 1 && *durable == self.last && *previous_crc != self.last_crc;
        }
        beyond
    }
}

struct Printer<'o> {
    out: &'o mut dyn Write,
    shown_bytes_max: usize,
    chain: Option<Chain>,
    sound: bool,
}

impl Printer<'_> {
    fn segment(&mut self, file: SegmentFile) -> Result<()> {
        let shown = file.path.display().to_string();
        let (number, size) = (file.number, file.size_bytes);
        let mut source = SegmentFiles::single(file);
        let mut block = vec![0; size.min(BLOCK_BYTES as u64) as usize];
        source.read(number, 0, &mut block).map_err(anyhow::Error::msg)?;
        let header = match SegmentHeader::decode(&block) {
            Ok(header) => header,
            Err(error) => {
                self.sound = false;
                let what = match error {
                    HeaderError::Blank => "its header is blank".to_owned(),
                    HeaderError::Damaged => "its header is damaged".to_owned(),
                    HeaderError::UnknownVersion(version) => {
                        format!("format version {version} needs another program")
                    }
                };
                writeln!(self.out, "{shown}: {what}")?;
                return Ok(());
            }
        };
        let identity = header.identity;
        let core = identity.core;
        let goes_on = self
            .chain
            .as_ref()
            .is_some_and(|chain| chain.core == core && chain.segment + 1 == header.number);
        if !goes_on {
            self.finish_chain()?;
        }
        writeln!(
            self.out,
            "{shown}: segment {} of core {core}, node {} of cluster {:032x}, {} bytes",
            header.number, header.identity.node, header.identity.cluster, header.size_bytes
        )?;
        let chain = self.chain.take();
        let mut chain = chain.unwrap_or_else(|| Chain::new(core, header.number, &shown));
        chain.segment = header.number;
        let mut written = Ok(());
        let walked =
            walk_segment(&mut source, &identity, (number, size), FIRST_OFFSET, &mut |stored| {
                if written.is_ok() {
                    written = self.record(&mut chain, &stored, &shown);
                }
            });
        self.chain = Some(chain);
        written?;
        walked.with_context(|| shown)
    }

    fn record(&mut self, chain: &mut Chain, stored: &Stored<'_>, file: &str) -> Result<()> {
        let header = &stored.header;
        let part = match (header.fragment.first, header.fragment.last) {
            (true, true) => "",
            (true, false) => ", first part",
            (false, false) => ", a middle part",
            (false, true) => ", last part",
        };
        let taken = chain.takes(stored);
        write!(
            self.out,
            "{:>12}  lsn {} incarnation {} durable {} ",
            stored.offset, header.lsn.0, header.incarnation.0, header.durable.0
        )?;
        match header.kind {
            RecordKind::Seal => write!(self.out, "seal")?,
            RecordKind::Release => write!(self.out, "earlier segments released")?,
            RecordKind::Entry => write!(
                self.out,
                "entry shard {} term {} index {} decided {}: {} bytes{part}",
                header.shard.0, header.term.0, header.index.0, header.decided.0, header.payload_len
            )?,
            kind @ (RecordKind::Void
            | RecordKind::Change
            | RecordKind::Members
            | RecordKind::Base
            | RecordKind::Marker) => {
                let kind = match kind {
                    RecordKind::Void => "void",
                    RecordKind::Change => "change",
                    RecordKind::Members => "members",
                    RecordKind::Marker => "marker",
                    _ => "base",
                };
                let (shard, term, index) = (header.shard.0, header.term.0, header.index.0);
                write!(self.out, "{kind} shard {shard} term {term} index {index}")?;
            }
            RecordKind::Vote => {
                write!(self.out, "vote shard {} term {}", header.shard.0, header.term.0)?;
            }
        }
        writeln!(self.out, "{}", if taken { "" } else { " (not in the chain)" })?;
        if !taken {
            return Ok(());
        }
        chain.file = file.to_owned();
        let mut lines = Vec::new();
        let assembled = chain.assembler.take(header, stored.payload, &mut |entry| {
            lines = describe_content(&entry.content, self.shown_bytes_max);
            Ok(())
        });
        if let Err(message) = assembled {
            // A chain that begins in the middle of a payload has no first part.
            lines.push(format!("({message})"));
        }
        lines.iter().try_for_each(|line| writeln!(self.out, "{:14}{line}", ""))?;
        Ok(())
    }

    /// Says how the chain began and ended.
    fn finish_chain(&mut self) -> Result<()> {
        let Some(chain) = self.chain.take() else { return Ok(()) };
        let (last, end, beyond) = (chain.last.0, chain.end, chain.beyond());
        match chain.first {
            None if beyond.records == 0 => return Ok(writeln!(self.out, "no records")?),
            None => write!(self.out, "no records of the chain; ")?,
            Some(first) => write!(self.out, "records {} to {last}; ", first.0)?,
        }
        if let Some(missing) = chain.missing() {
            write!(self.out, "segment {} offset {FIRST_OFFSET}: ", chain.begin)?;
            return self.damaged(missing, chain.durable.max(beyond.durable));
        }
        write!(self.out, "{} offset {end}: ", chain.file)?;
        match decide(Lsn(last + 1), beyond) {
            Verdict::CleanEnd if chain.sealed => writeln!(self.out, "sealed")?,
            Verdict::CleanEnd => writeln!(self.out, "the end, not sealed")?,
            Verdict::TornTail => writeln!(
                self.out,
                "the end, not sealed; the {} records beyond were never acknowledged",
                beyond.records
            )?,
            Verdict::Corrupt => {
                let damaged = Lsn(if beyond.durable.0 > last { last + 1 } else { last });
                self.damaged(damaged, beyond.durable)?;
            }
        }
        Ok(())
    }

    fn damaged(&mut self, lsn: Lsn, durable: Lsn) -> Result<()> {
        self.sound = false;
        let (lsn, durable) = (lsn.0, durable.0);
        writeln!(
            self.out,
            "CORRUPT: record {lsn} is damaged, but records up to {durable} had been acknowledged"
        )?;
        Ok(())
    }
}
