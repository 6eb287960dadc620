//! Shards from logs. Every core directory's log is read and checked by a thread of its own; the
//! entries meet here, where it is decided which of them take effect, whichever logs they lie in: so
//! a node may start with another number of cores than last time. Then the threads that have the
//! shards apply them.

use std::path::Path;

use engine::hash::Hasher64;
use engine::keyspace::Shards;
use engine::settings::Settings;
use replication::log::Tail;

use super::StartError;
use super::appliers::apply_by_threads;
use super::checkpoint_files::{Loaded, load_checkpoints};
use super::identity::Identity;
use super::readers::{Reading, read_logs};
use super::replay::{Bases, Replayed, take_in_order};
use super::segments::core_directories;
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

pub fn recover_directory(
    directory: &Path,
    identity: &Identity,
    settings: &Settings,
    hasher: Hasher64,
) -> Result<Recovered, StartError> {
    let Loaded { mut shards, files, bases } =
        load_checkpoints(directory, identity, settings, hasher)?;
    let directories = core_directories(directory)?;
    for directory in &directories {
        remove_leftovers(directory)?;
    }
    let (replayed, tails) =
        read_logs(&directories, identity, &bases, Reading::ToRecover, |logs| {
            let threads_max = std::thread::available_parallelism().map_or(1, usize::from);
            apply_by_threads(&mut shards, settings, threads_max, |take_effect| {
                take_in_order(logs, &bases, take_effect)
            })
        })?;
    replayed.resume(&mut shards);
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
    bases: &Bases,
) -> Result<Replayed, StartError> {
    let directories = core_directories(directory)?;
    let (replayed, tails) = read_logs(&directories, identity, bases, Reading::ToRecover, |logs| {
        take_in_order(logs, bases, |_, _, _| Ok(()))
    })?;
    check_released(&tails, bases)?;
    Ok(replayed)
}

/// What the logs have let go must be in checkpoints.
pub fn check_released(tails: &[Tail], bases: &Bases) -> Result<(), StartError> {
    for (shard, last) in tails.iter().flat_map(|tail| &tail.released) {
        let base = bases.index(*shard);
        if base < *last {
            return Err(format!(
                "entries {} to {} of shard {} are in no log any more, and no sound checkpoint has \
                 them; restore the directory from a backup, but that of a cluster's node never: \
                 take the node out (remove-node), and have an empty one join",
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
