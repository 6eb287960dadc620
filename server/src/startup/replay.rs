//! Shards from the entries of several logs: pure, whatever the logs are read from.

use engine::effect::apply::apply;
use engine::hash::Hasher64;
use engine::keyspace::{Shard, Shards};
use engine::settings::Settings;
use replication::ids::{Index, ShardId};
use replication::log::recovery::Entry;
use replication::release::resolve::{Content, Ending, Placed, Resolver};

use super::StartError;

/// An entry of a log, or a void.
pub type OwnedEntry = Placed<Vec<u8>>;

/// A log's entries in their order.
pub trait EntryStream {
    /// Shard and index of the next one.
    fn peek(&mut self) -> Option<(ShardId, Index)>;

    fn next(&mut self) -> Option<OwnedEntry>;
}

/// What the logs came to, beside the shards.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Entries read.
    pub entries: u64,
    /// How each shard goes on.
    pub endings: Vec<Ending>,
    /// Bytes of each shard's entries behind its checkpoint.
    pub bytes: Vec<u64>,
}

impl Replayed {
    /// Entries that are cut because their transactions are not whole.
    pub fn entries_cut(&self) -> u64 {
        let cut = |ending: &Ending| ending.void_from.map_or(0, |from| ending.used.0 + 1 - from.0);
        self.endings.iter().map(cut).sum()
    }
}

/// A copy of an entry as it was read.
pub fn own(entry: Entry<'_>) -> OwnedEntry {
    let content = match entry.content {
        Content::Entry { transaction, payload } => {
            Content::Entry { transaction, payload: payload.to_vec() }
        }
        Content::Void { from } => Content::Void { from },
    };
    Placed { shard: entry.shard, index: entry.index, decided: entry.decided, content }
}

pub fn empty_shards(shard_count: usize, hasher: Hasher64) -> Shards {
    let mut shards = Shards::new(shard_count, hasher.clone());
    for id in 0..shard_count as u16 {
        shards.put(Box::new(Shard::new(id, hasher.clone())));
    }
    shards
}

/// Applies the entries of the logs behind those that the shards have already, if their
/// transactions are whole.
pub fn apply_in_order<L: EntryStream>(
    logs: &mut [L],
    shards: &mut Shards,
    settings: &Settings,
) -> Result<Replayed, StartError> {
    let bases: Vec<Index> = shards.held().map(|shard| Index(shard.released())).collect();
    let replayed = take_in_order(logs, &bases, |shard, index, payload| {
        apply(shards, usize::from(shard.0), settings, payload).map_err(|error| {
            StartError::from(format!("entry {} of shard {}: {error}", index.0, shard.0))
        })
    })?;
    for (place, ending) in replayed.endings.iter().enumerate() {
        if let Some(shard) = shards.get_mut(place) {
            shard.resume_after(resumes_after(ending).0);
        }
    }
    Ok(replayed)
}

/// Takes entries from the logs as long as one of them has the next entry of some shard. Those
/// behind the shard's base whose transactions are whole are given to `take_effect`, each shard's
/// in order.
pub fn take_in_order<L: EntryStream>(
    logs: &mut [L],
    bases: &[Index],
    mut take_effect: impl FnMut(ShardId, Index, &[u8]) -> Result<(), StartError>,
) -> Result<Replayed, StartError> {
    let mut resolver = Resolver::new(bases);
    let mut bytes = vec![0; bases.len()];
    let mut take_effect = |shard: ShardId, index: Index, payload: Vec<u8>| {
        bytes[usize::from(shard.0)] += payload.len() as u64;
        take_effect(shard, index, &payload)
    };
    let mut entries = 0;
    loop {
        let mut progressed = false;
        let mut stuck = None;
        for (core, log) in logs.iter_mut().enumerate() {
            while let Some((shard, index)) = log.peek() {
                let expected = resolver.next_index(shard).ok_or_else(|| {
                    format!(
                        "the log of core {core} has a shard {}, which this directory does not have",
                        shard.0
                    )
                })?;
                if index <= bases[usize::from(shard.0)] {
                    // A checkpoint has it.
                    log.next();
                    progressed = true;
                    continue;
                }
                if index != expected {
                    stuck = Some((core, shard, index, expected));
                    break;
                }
                if let Some(entry) = log.next() {
                    resolver.take(entry, &mut take_effect)?;
                }
                entries += 1;
                progressed = true;
            }
        }
        match stuck {
            None => break,
            Some(_) if progressed => {}
            Some((core, shard, index, expected)) => {
                return Err(format!(
                    "the log of core {core} has entry {} of shard {}, but no log has entry {}; a \
                     log file is missing or from another time",
                    index.0, shard.0, expected.0
                )
                .into());
            }
        }
    }
    let endings = resolver.finish(&mut take_effect)?;
    Ok(Replayed { entries, endings, bytes })
}

/// The last index that is used once a shard's void, if it needs one, is written.
pub fn resumes_after(ending: &Ending) -> Index {
    Index(ending.used.0 + u64::from(ending.void_from.is_some()))
}
