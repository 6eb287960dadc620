//! Shards from logs. Every core directory's log is read and checked by a thread of its own; the
//! entries meet here and are applied in the order of each shard's indexes, whichever logs they lie
//! in: so a node may start with another number of cores than last time.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use engine::hash::Hasher64;
use engine::keyspace::Shards;
use engine::settings::Settings;
use replication::ids::{Index, ShardId};
use replication::log::{LogIdentity, Tail, recover};
use replication::release::resolve::Content;

use super::StartError;
use super::checkpoint_files::load_checkpoints;
use super::identity::Identity;
use super::replay::{EntryStream, OwnedEntry, Replayed, apply_in_order, own, take_in_order};
use super::segments::{SegmentFiles, core_directories};
use crate::checkpoint::files::Files;
use crate::runtime::disk::{flush, remove_file, remove_leftovers, segment_path};

pub struct Recovered {
    pub shards: Shards,
    /// Where each core directory's log goes on.
    pub tails: Vec<Tail>,
    pub replayed: Replayed,
    /// Checkpoint files by shard.
    pub files: Vec<Files>,
}

/// Payload bytes a reading thread hands over at once, and such batches that may wait: together
/// the most that a log's reader is ahead.
const BATCH_BYTES: usize = 1 << 20;
const BATCHES_MAX: usize = 4;

pub fn recover_directory(
    directory: &Path,
    identity: &Identity,
    settings: &Settings,
    hasher: Hasher64,
) -> Result<Recovered, StartError> {
    let (mut shards, files) = load_checkpoints(directory, identity, settings, hasher)?;
    let directories = core_directories(directory)?;
    for directory in &directories {
        remove_leftovers(directory)?;
    }
    let bases: Vec<Index> = shards.held().map(|shard| Index(shard.released())).collect();
    let (replayed, tails) =
        read_logs(&directories, identity, |logs| apply_in_order(logs, &mut shards, settings))?;
    check_released(&tails, &bases)?;
    for (directory, tail) in directories.iter().zip(&tails) {
        make_durable(directory, tail)?;
        for number in &tail.leftovers {
            remove_file(&segment_path(directory, *number))?;
        }
    }
    Ok(Recovered { shards, tails, replayed, files })
}

/// Whether the transactions of a directory whose logs are sound are whole or cut: what a start
/// would find behind these checkpoints. Changes nothing.
pub fn check_transactions(
    directory: &Path,
    identity: &Identity,
    bases: &[Index],
) -> Result<Replayed, StartError> {
    let directories = core_directories(directory)?;
    let (replayed, tails) =
        read_logs(&directories, identity, |logs| take_in_order(logs, bases, |_, _, _| Ok(())))?;
    check_released(&tails, bases)?;
    Ok(replayed)
}

/// What the logs have let go must be in checkpoints.
pub fn check_released(tails: &[Tail], bases: &[Index]) -> Result<(), StartError> {
    for (shard, last) in tails.iter().flat_map(|tail| &tail.released) {
        let base = bases.get(usize::from(shard.0)).copied().unwrap_or_default();
        if base < *last {
            return Err(format!(
                "entries {} to {} of shard {} are in no log any more, and no sound checkpoint has \
                 them; restore the directory from a backup",
                base.0 + 1,
                last.0,
                shard.0
            )
            .into());
        }
    }
    Ok(())
}

/// What is shown from now on must not be lost by a later power cut: a write that was under way at
/// the end of the last start may be in the drive's cache only.
fn make_durable(directory: &Path, tail: &Tail) -> Result<(), StartError> {
    for number in tail.segment.saturating_sub(1)..=tail.segment {
        let path = segment_path(directory, number);
        if path.exists() {
            flush(&path)?;
        }
    }
    Ok(())
}

/// Reads every log in a thread of its own while `take` takes the entries.
fn read_logs(
    directories: &[PathBuf],
    identity: &Identity,
    take: impl FnOnce(&mut [Log]) -> Result<Replayed, StartError>,
) -> Result<(Replayed, Vec<Tail>), StartError> {
    std::thread::scope(|scope| {
        let mut logs = Vec::new();
        let mut threads = Vec::new();
        for (core, path) in directories.iter().enumerate() {
            let (sender, receiver) = sync_channel(BATCHES_MAX);
            let identity =
                LogIdentity { cluster: identity.cluster, node: identity.node, core: core as u16 };
            threads.push(scope.spawn(move || read_log(path, identity, sender)));
            logs.push(Log { receiver, batch: Vec::new().into_iter().peekable() });
        }
        let applied = take(&mut logs);
        // Readers that wait for a place end when nobody receives.
        drop(logs);
        let mut tails = Vec::new();
        for thread in threads {
            let read = thread.join().map_err(|_| "a thread reading a log panicked")?;
            tails.push(read);
        }
        // A reader's own error says more than the gap that it leaves.
        let tails = tails.into_iter().collect::<Result<Vec<Option<Tail>>, StartError>>()?;
        let replayed = applied?;
        let tails = tails.into_iter().collect::<Option<Vec<Tail>>>();
        Ok((replayed, tails.ok_or("a log was not read to its end")?))
    })
}

/// `None` if nobody takes its entries any more, because replay has failed and says why.
fn read_log(
    directory: &Path,
    identity: LogIdentity,
    sender: SyncSender<Vec<OwnedEntry>>,
) -> Result<Option<Tail>, StartError> {
    let mut source = SegmentFiles::list(directory)?;
    let (mut batch, mut batch_bytes) = (Vec::new(), 0);
    let mut wanted = true;
    let tail = recover(&mut source, identity, &mut |entry| {
        if let Content::Entry { payload, .. } = &entry.content {
            batch_bytes += payload.len();
        }
        batch.push(own(entry));
        if batch_bytes >= BATCH_BYTES {
            batch_bytes = 0;
            let full = std::mem::take(&mut batch);
            wanted = sender.send(full).is_ok();
        }
        if wanted { Ok(()) } else { Err("nobody takes its entries".into()) }
    });
    match tail {
        _ if !wanted => Ok(None),
        Err(error) => Err(format!("{}/{error}", directory.display()).into()),
        Ok(tail) => Ok(sender.send(batch).is_ok().then_some(tail)),
    }
}

/// What a log's reader hands over.
struct Log {
    receiver: Receiver<Vec<OwnedEntry>>,
    batch: std::iter::Peekable<std::vec::IntoIter<OwnedEntry>>,
}

impl EntryStream for Log {
    fn peek(&mut self) -> Option<(ShardId, Index)> {
        loop {
            if let Some(entry) = self.batch.peek() {
                return Some((entry.shard, entry.index));
            }
            self.batch = self.receiver.recv().ok()?.into_iter().peekable();
        }
    }

    fn next(&mut self) -> Option<OwnedEntry> {
        self.batch.next()
    }
}
