//! Shards from checkpoints: of each shard the newest one that is sound. Pure but for the directory
//! that it is given.

use engine::checkpoint::{Contents, Loader};
use engine::hash::Hasher64;
use engine::keyspace::Shard;
use engine::settings::Settings;
use replication::checkpoint::catalogue::{check_identity, is_temporary, parse_name};
use replication::checkpoint::{
    CheckpointIdentity, CheckpointReader, CheckpointSource, Decision, FileError, Found, OfGroup,
    decide,
};
use replication::fault::{Fault, is_planted};
use replication::group::Base;
use replication::ids::{Index, ShardId, Term};
use replication::version::{NotApplied, Versions};

use super::StartError;
use super::identity::Identity;
use crate::checkpoint::files::Files;

/// Where checkpoint files are read from.
pub trait CheckpointDirectory: Sync {
    type Source: CheckpointSource;

    fn open(&self, name: &str) -> Result<Self::Source, String>;
}

/// A shard as its newest sound checkpoint has it.
pub struct LoadedShard {
    /// `None`: there is none, the shard begins empty.
    pub shard: Option<Box<Shard>>,
    /// What it is as of.
    pub base: Base,
    /// Those that are there.
    pub files: Files,
    pub decision: Decision,
}

/// What a shard is loaded with.
#[derive(Clone, Copy)]
pub struct LoadPlan<'a> {
    pub identity: &'a Identity,
    pub settings: &'a Settings,
    pub hasher: &'a Hasher64,
    /// Name and size of every file in the directory.
    pub names: &'a [(String, u64)],
    /// What this program can take of a cluster's state.
    pub applied: Versions,
}

impl LoadPlan<'_> {
    /// Loads one shard. An error refuses the start: a newer program's file.
    pub fn load<D: CheckpointDirectory>(
        &self,
        directory: &D,
        id: ShardId,
    ) -> Result<LoadedShard, StartError> {
        let of_shard = |name: &str| parse_name(name).filter(|(shard, _)| *shard == id);
        let mut candidates: Vec<_> = self
            .names
            .iter()
            .filter_map(|(name, bytes)| Some((of_shard(name)?.1, name, *bytes)))
            .collect();
        candidates.sort_unstable_by_key(|(index, ..)| std::cmp::Reverse(*index));
        let (mut loaded, mut found, mut there) = (None, Vec::new(), Vec::new());
        for (index, name, bytes) in candidates {
            let verdict = match &loaded {
                None => self.load_file(directory, name, id).map(|(shard, base)| {
                    loaded = Some((shard, base));
                }),
                Some(_) => self.open(directory, name).map(drop),
            };
            if verdict.is_ok() {
                there.push((index, bytes));
            }
            if is_planted(Fault::NoFallback)
                && let Err(error) = &verdict
            {
                return Err(format!("{name}: {error}").into());
            }
            found.push(Found { name: name.clone(), verdict });
        }
        let temporary = self.names.iter().filter(|(name, _)| is_temporary(name));
        found.extend(temporary.map(|(name, _)| Found { name: name.clone(), verdict: Ok(()) }));
        // That no entry is missing behind it is seen when the logs are read.
        let decision = decide(id, &found, Index(1))?;
        there.retain(|(index, _)| {
            let name = replication::checkpoint::catalogue::file_name(id, *index);
            !decision.remove.contains(&name)
        });
        let (shard, base) = loaded.unzip();
        let base = base.unwrap_or_else(|| self.first_base());
        Ok(LoadedShard { shard, base, files: Files::found(there), decision })
    }

    /// What a shard without a checkpoint begins with.
    fn first_base(&self) -> Base {
        let members = self.identity.cluster(None).map(|cluster| cluster.members());
        Base { members: members.unwrap_or_default(), ..Base::default() }
    }

    fn open<D: CheckpointDirectory>(
        &self,
        directory: &D,
        name: &str,
    ) -> Result<CheckpointReader<D::Source>, FileError> {
        let read = |message| FileError::Read { offset: 0, message };
        let reader = CheckpointReader::open(directory.open(name).map_err(read)?)?;
        let found = &reader.summary().identity;
        // A replica may have been sent another node's.
        let node = if self.identity.is_grouped() { found.node } else { self.identity.node };
        check_identity(name, found, self.identity.cluster, node)?;
        let version = reader.summary().group.members.roster.version;
        NotApplied::check(self.applied, version).map_err(FileError::Version)?;
        Ok(reader)
    }

    fn load_file<D: CheckpointDirectory>(
        &self,
        directory: &D,
        name: &str,
        id: ShardId,
    ) -> Result<(Box<Shard>, Base), FileError> {
        let mut reader = self.open(directory, name)?;
        let summary = reader.summary().clone();
        let contents = Contents::decode(&summary.contents)
            .map_err(|error| reader.contents_error(error.to_string()))?;
        let limits = self.settings.encoding;
        let hasher = self.hasher.clone();
        let bytes = summary.payload_bytes;
        let shards = self.identity.shards;
        let mut loader = Loader::new(id.0, shards, hasher, limits, contents, bytes);
        while let Some(payload) = reader.next_payload()? {
            let loaded = loader.load(payload);
            loaded.map_err(|error| reader.contents_error(error.to_string()))?;
        }
        let CheckpointIdentity { index: Index(index), term: Term(term), .. } = summary.identity;
        let shard = loader.finish(index);
        let shard = shard.map_err(|error| reader.contents_error(error.to_string()))?;
        let OfGroup { members, ended } = summary.group;
        Ok((shard, Base { index, term, members, ended }))
    }
}

#[cfg(test)]
mod tests;
