//! The checkpoints of a data directory: read by as many threads as there are processors, and what
//! is not needed of them removed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::hash::Hasher64;
use engine::keyspace::{Shard, Shards};
use engine::limits::DATABASE_COUNT;
use engine::settings::Settings;
use replication::checkpoint::CheckpointSource;
use replication::checkpoint::catalogue::parse_name;
use replication::checkpoint::file::STAMP_AT;
use replication::ids::ShardId;
use replication::version::Versions;

use super::StartError;
use super::checkpoints::{CheckpointDirectory, LoadPlan, LoadedShard};
use super::identity::Identity;
use super::progress::Progress;
use super::replay::Bases;
use crate::checkpoint::files::Files;
use crate::limits::TRANSFER_PIECE_BYTES;
use crate::replica::receiving::VerifyOrder;
use crate::replica::transfer::{Piece, PieceOrder};
use crate::runtime::disk::{FileReader, list_files, remove_file};

/// Where checkpoints lie in a data directory.
pub const DIRECTORY: &str = "checkpoints";

pub struct Directory<'p> {
    path: &'p Path,
    progress: &'p Progress,
}

pub struct File<'p> {
    reader: FileReader,
    progress: &'p Progress,
}

impl<'p> CheckpointDirectory for Directory<'p> {
    type Source = File<'p>;

    fn open(&self, name: &str) -> Result<File<'p>, String> {
        let reader = FileReader::open(&self.path.join(name)).map_err(|error| error.to_string())?;
        Ok(File { reader, progress: self.progress })
    }
}

impl CheckpointSource for File<'_> {
    fn size_bytes(&mut self) -> Result<u64, String> {
        Ok(self.reader.size_bytes())
    }

    fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), String> {
        self.progress.add(into.len() as u64);
        self.reader.read_at(offset, into).map_err(|error| error.to_string())
    }
}

/// The shards of a directory as their checkpoints have them.
pub struct Loaded {
    pub shards: Shards,
    /// By shard, those that are there.
    pub files: Vec<Files>,
    pub bases: Bases,
}

/// Loads every shard from its newest sound checkpoint, or empty, and removes files that are of no
/// use any more.
pub fn load_checkpoints(
    data: &Path,
    identity: &Identity,
    settings: &Settings,
    hasher: Hasher64,
) -> Result<Loaded, StartError> {
    let directory = data.join(DIRECTORY);
    let names = list_files(&directory)?;
    let applied = Versions::OWN;
    let plan = LoadPlan { identity, settings, hasher: &hasher, names: &names, applied };
    let progress = Progress::begin("checkpoints", newest_bytes(&names));
    let loaded = load_all(&plan, &Directory { path: &directory, progress: &progress }, |_| {})?;
    let keys = loaded.iter().filter_map(|loaded| loaded.shard.as_deref()).map(key_count);
    let (shards_found, keys) = keys.fold((0, 0), |(shards, all), keys| (shards + 1, all + keys));
    if shards_found > 0 {
        progress.end(&format!("{keys} keys of {shards_found} shards"));
    }
    let mut shards = Shards::new(identity.shards, hasher.clone());
    let mut files = Vec::new();
    let bases = Bases::new(identity, applied, loaded.iter().map(|loaded| loaded.base.clone()));
    for (id, loaded) in loaded.into_iter().enumerate() {
        let LoadedShard { shard, files: found, decision, .. } = loaded;
        for (name, error) in &decision.damaged {
            tracing::error!(
                "{}/{name}: {error}; an older checkpoint and the log are used instead",
                directory.display()
            );
        }
        for name in &decision.remove {
            let path = directory.join(name);
            if path.exists() {
                remove_file(&path)?;
            }
        }
        shards.put(shard.unwrap_or_else(|| Box::new(Shard::new(id as u16, hasher.clone()))));
        files.push(found);
    }
    Ok(Loaded { shards, files, bases })
}

/// Gives `read` the directory's checkpoints and the names and sizes there.
pub fn with_checkpoints<T>(
    data: &Path,
    read: impl FnOnce(&Directory<'_>, &[(String, u64)]) -> Result<T, StartError>,
) -> Result<T, StartError> {
    let directory = data.join(DIRECTORY);
    let names = list_files(&directory)?;
    let progress = Progress::begin("checkpoints", newest_bytes(&names));
    read(&Directory { path: &directory, progress: &progress }, &names)
}

/// A piece of a checkpoint's file. Blocks.
pub fn read_piece(order: &PieceOrder) -> Result<Piece, StartError> {
    let reader = FileReader::open(&order.directory.join(DIRECTORY).join(&order.name))?;
    let size = reader.size_bytes();
    let left = size.checked_sub(order.offset).ok_or("the file is shorter than it was")?;
    let mut piece = vec![0; left.min(TRANSFER_PIECE_BYTES as u64) as usize];
    reader.read_at(order.offset, &mut piece)?;
    let mut stamp = [0; 8];
    reader.read_at(STAMP_AT, &mut stamp)?;
    Ok(Piece { size, stamp: u64::from_le_bytes(stamp), bytes: piece })
}

/// Reads all of a checkpoint. Blocks.
pub fn verify_checkpoint(order: &VerifyOrder) -> Result<(), StartError> {
    let reader = FileReader::open(&order.directory.join(DIRECTORY).join(order.file_name()))?;
    let progress = &Progress::begin("a checkpoint", reader.size_bytes());
    Ok(order.verify(File { reader, progress }).map_err(|error| error.to_string())?)
}

/// The checkpoints of a directory, by shard: each is read, none is kept in memory. Changes nothing.
pub fn inspect_checkpoints(
    data: &Path,
    identity: &Identity,
) -> Result<Vec<LoadedShard>, StartError> {
    let directory = data.join(DIRECTORY);
    let names = list_files(&directory)?;
    let (settings, hasher) = (Settings::default(), Hasher64::new([1, 2, 3, 4]));
    let applied = Versions::OWN;
    let plan = LoadPlan { identity, settings: &settings, hasher: &hasher, names: &names, applied };
    let progress = Progress::begin("checkpoints", newest_bytes(&names));
    let directory = Directory { path: &directory, progress: &progress };
    load_all(&plan, &directory, |loaded| loaded.shard = None)
}

fn key_count(shard: &Shard) -> usize {
    (0..DATABASE_COUNT as u16).map(|db| shard.database(db).len()).sum()
}

/// Bytes of the newest file of each shard, which are read if none is damaged.
fn newest_bytes(names: &[(String, u64)]) -> u64 {
    let mut newest = BTreeMap::new();
    for (name, bytes) in names {
        if let Some((shard, index)) = parse_name(name) {
            let found = newest.entry(shard).or_insert((index, *bytes));
            *found = (*found).max((index, *bytes));
        }
    }
    newest.values().map(|(_, bytes)| bytes).sum()
}

/// `look` sees each shard as soon as it is loaded.
fn load_all(
    plan: &LoadPlan<'_>,
    directory: &Directory<'_>,
    look: impl Fn(&mut LoadedShard) + Sync,
) -> Result<Vec<LoadedShard>, StartError> {
    let shards = plan.identity.shards;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut loaded = Vec::new();
        loop {
            let shard = next.fetch_add(1, Ordering::Relaxed);
            if shard >= shards {
                return Ok(loaded);
            }
            let mut one = plan.load(directory, ShardId(shard as u16))?;
            look(&mut one);
            loaded.push((shard, one));
        }
    };
    let mut all = Vec::new();
    std::thread::scope(|scope| -> Result<(), StartError> {
        let threads: Vec<_> = (0..processors.min(shards)).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            let loaded: Result<Vec<(usize, LoadedShard)>, StartError> =
                thread.join().map_err(|_| "a thread reading a checkpoint panicked")?;
            all.extend(loaded?);
        }
        Ok(())
    })?;
    all.sort_by_key(|(shard, _)| *shard);
    Ok(all.into_iter().map(|(_, loaded)| loaded).collect())
}
