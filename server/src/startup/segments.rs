//! Where the logs of a data directory lie, for recovery, for other nodes and for tools. Reads
//! only.

use std::path::{Path, PathBuf};

use replication::log::SegmentSource;

use super::StartError;
use crate::replica::catchup::LogPieceOrder;
use crate::runtime::disk::{FileReader, SegmentFile, SegmentReader, list_segments, segment_path};
use crate::runtime::error::RuntimeError;

/// `core-0`, `core-1` …, each there: one that is missing among them had entries of its own.
pub fn core_directories(directory: &Path) -> Result<Vec<PathBuf>, StartError> {
    let fail = |error| format!("cannot list {}: {error}", directory.display());
    let mut cores = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(fail)? {
        let name = entry.map_err(fail)?.file_name();
        let number = |name: &str| name.strip_prefix("core-")?.parse::<u16>().ok();
        let core = name.to_str().and_then(number);
        cores.extend(core.filter(|core| name == *format!("core-{core}")));
    }
    cores.sort_unstable();
    for (expected, core) in cores.iter().enumerate() {
        if usize::from(*core) != expected {
            return Err(format!(
                "{}/core-{expected} is missing, but core-{core} is there; restore it from a backup",
                directory.display()
            )
            .into());
        }
    }
    Ok(cores.into_iter().map(|core| directory.join(format!("core-{core}"))).collect())
}

/// A piece of a core's log while that is written. Blocks.
pub fn read_log_piece(order: &LogPieceOrder) -> Result<Vec<u8>, StartError> {
    let directory = order.directory.join(format!("core-{}", order.core));
    let path = segment_path(&directory, order.segment);
    let reader = FileReader::open(&path)?;
    let mut bytes = vec![0; order.len];
    reader.read_at(order.offset, &mut bytes)?;
    Ok(bytes)
}

/// The segments of one core, the last one read kept open.
pub struct SegmentFiles {
    files: Vec<SegmentFile>,
    open: Option<(u64, SegmentReader)>,
}

impl SegmentFiles {
    /// The segments in a core's directory.
    pub fn list(directory: &Path) -> Result<SegmentFiles, RuntimeError> {
        Ok(SegmentFiles { files: list_segments(directory)?, open: None })
    }

    /// One segment, wherever it lies.
    pub fn single(file: SegmentFile) -> SegmentFiles {
        SegmentFiles { files: vec![file], open: None }
    }

    pub fn files(&self) -> &[SegmentFile] {
        &self.files
    }
}

impl SegmentSource for SegmentFiles {
    type Error = String;

    fn segments(&mut self) -> Result<Vec<(u64, u64)>, String> {
        Ok(self.files.iter().map(|file| (file.number, file.size_bytes)).collect())
    }

    fn read(&mut self, segment: u64, offset: u64, out: &mut [u8]) -> Result<(), String> {
        if self.open.as_ref().is_none_or(|(number, _)| *number != segment) {
            let file = self.files.iter().find(|file| file.number == segment);
            let file = file.ok_or("no such segment")?;
            let reader = SegmentReader::open(file).map_err(|e| e.to_string())?;
            self.open = Some((segment, reader));
        }
        let (_, reader) = self.open.as_ref().ok_or("no such segment")?;
        let read = reader.read_at(offset, out).map_err(|e| e.to_string())?;
        if read < out.len() {
            return Err("the file became shorter while it was read".into());
        }
        Ok(())
    }
}
