//! The checkpoints of a data directory: read by as many threads as there are processors, and what
//! is not needed of them removed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::hash::Hasher64;
use engine::keyspace::{Shard, Shards};
use engine::settings::Settings;
use replication::checkpoint::CheckpointSource;
use replication::ids::ShardId;

use super::StartError;
use super::checkpoints::{CheckpointDirectory, LoadPlan, LoadedShard};
use super::identity::Identity;
use crate::checkpoint::files::Files;
use crate::runtime::disk::{FileReader, list_files, remove_file};

/// Where checkpoints lie in a data directory.
pub const DIRECTORY: &str = "checkpoints";

struct Directory(PathBuf);

struct File(FileReader);

impl CheckpointDirectory for Directory {
    type Source = File;

    fn open(&self, name: &str) -> Result<File, String> {
        FileReader::open(&self.0.join(name)).map(File).map_err(|error| error.to_string())
    }
}

impl CheckpointSource for File {
    fn size_bytes(&mut self) -> Result<u64, String> {
        Ok(self.0.size_bytes())
    }

    fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), String> {
        self.0.read_at(offset, into).map_err(|error| error.to_string())
    }
}

/// Loads every shard from its newest sound checkpoint, or empty, and removes files that are of no
/// use any more.
pub fn load_checkpoints(
    data: &Path,
    identity: &Identity,
    settings: &Settings,
    hasher: Hasher64,
) -> Result<(Shards, Vec<Files>), StartError> {
    let directory = data.join(DIRECTORY);
    let names = list_files(&directory)?;
    let plan = LoadPlan { identity, settings, hasher: &hasher, names: &names };
    let loaded = load_all(&plan, &Directory(directory.clone()), |_| {})?;
    let mut shards = Shards::new(identity.shards, hasher.clone());
    let mut files = Vec::new();
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
    Ok((shards, files))
}

/// The checkpoints of a directory, by shard: each is read, none is kept in memory. Changes nothing.
pub fn inspect_checkpoints(
    data: &Path,
    identity: &Identity,
) -> Result<Vec<LoadedShard>, StartError> {
    let directory = data.join(DIRECTORY);
    let names = list_files(&directory)?;
    let (settings, hasher) = (Settings::default(), Hasher64::new([1, 2, 3, 4]));
    let plan = LoadPlan { identity, settings: &settings, hasher: &hasher, names: &names };
    load_all(&plan, &Directory(directory), |loaded| loaded.shard = None)
}

/// `look` sees each shard as soon as it is loaded.
fn load_all(
    plan: &LoadPlan<'_>,
    directory: &Directory,
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
