//! The files of a log in memory, which count how they are read.

use std::collections::BTreeMap;

use replication::log::limits::{BLOCK_BYTES, READ_BYTES, RECORD_BYTES_MAX};
use replication::log::{LogIdentity, RecoveryError, SegmentSource, Tail, recover};
use replication::release::resolve::Content;

use super::history::{Entries, Entry};

pub const IDENTITY: LogIdentity =
    LogIdentity { cluster: 0x5eed << 96 | 0xc0ffee, node: 1, core: 0 };

#[derive(Clone, Default)]
pub struct Disk {
    pub segments: BTreeMap<u64, Vec<u8>>,
    read_bytes: u64,
    largest_read: usize,
}

impl Disk {
    pub fn bytes(&self) -> u64 {
        self.segments.values().map(|bytes| bytes.len() as u64).sum()
    }

    /// A recovery reads the log to its end and looks behind that: each byte a few times at most,
    /// and never more at once than its window.
    pub fn check_reads(&self) {
        let (read, there) = (self.read_bytes, self.bytes());
        assert!(read <= 6 * there + (8 << 20), "{read} bytes read of {there}");
        assert!(self.largest_read <= READ_BYTES + RECORD_BYTES_MAX + BLOCK_BYTES);
    }
}

impl SegmentSource for Disk {
    type Error = String;

    fn segments(&mut self) -> Result<Vec<(u64, u64)>, String> {
        Ok(self.segments.iter().map(|(number, bytes)| (*number, bytes.len() as u64)).collect())
    }

    fn read(&mut self, segment: u64, offset: u64, out: &mut [u8]) -> Result<(), String> {
        let bytes = self.segments.get(&segment).ok_or("no such segment")?;
        let start = offset as usize;
        let part = bytes.get(start..start + out.len());
        out.copy_from_slice(part.expect("only what lies within a segment is read"));
        self.read_bytes += out.len() as u64;
        self.largest_read = self.largest_read.max(out.len());
        Ok(())
    }
}

/// All entries of a log, and where it goes on.
pub fn recover_all(disk: &mut Disk) -> Result<(Entries, Tail), RecoveryError> {
    (disk.read_bytes, disk.largest_read) = (0, 0);
    let mut entries = Entries::new();
    let mut payload_bytes = 0;
    let there = disk.bytes();
    let tail = recover(disk, IDENTITY, &mut |entry| {
        let Content::Entry { payload, .. } = entry.content else { return Err("a void".into()) };
        payload_bytes += payload.len() as u64;
        assert!(payload_bytes <= there, "more payload than the files hold");
        entries.push(Entry {
            shard: entry.shard.0,
            index: entry.index.0,
            payload: payload.to_vec(),
        });
        Ok(())
    })?;
    Ok((entries, tail))
}
