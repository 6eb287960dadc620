//! Where the parts of a shard that is read again lie, in the directory of a node that runs.

use replication::group::Base;

use super::StartError;
use super::checkpoint_files::with_checkpoints;
use super::readers::{Reading, read_logs};
use super::rebuild::{apply_logs, load_checkpoint};
use super::replay::{Bases, Replayed};
use super::segments::core_directories;
use crate::replica::rebuild::{RebuildOrder, Rebuilt};

/// A segment that is not needed any more may go, or become another, while the logs are listed and
/// opened: then they are listed again.
const ATTEMPTS: usize = 5;

/// Reads a shard again. Blocks: for a thread of its own.
pub fn rebuild_shard(order: &RebuildOrder) -> Result<Rebuilt, StartError> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        match attempt(order) {
            Ok(shard) => return Ok(shard),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| "it was not tried".into()))
}

fn attempt(order: &RebuildOrder) -> Result<Rebuilt, StartError> {
    let loaded = with_checkpoints(&order.directory, |directory, names| {
        load_checkpoint(order, directory, names)
    })?;
    let directories = core_directories(&order.directory)?;
    let nothing_before = vec![Base::default(); order.identity.shards];
    let bases = Bases::Grouped(nothing_before, order.applied);
    let mut shard = None;
    read_logs(&directories, &order.identity, &bases, Reading::WhileWritten, |logs| {
        let (rebuilt, entries) = apply_logs(order, loaded, logs)?;
        shard = Some(rebuilt);
        Ok(Replayed { entries, ..Replayed::default() })
    })?;
    shard.ok_or_else(|| "the logs were not read".into())
}
