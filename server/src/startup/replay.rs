//! Shards from the entries of several logs: pure, whatever the logs are read from and whichever
//! thread applies what.

use std::ops::Deref;

use engine::effect::apply::apply_batch;
use engine::hash::Hasher64;
use engine::keyspace::{Shard, Shards};
use engine::settings::Settings;
use replication::ids::{Index, ShardId};
use replication::log::recovery::Entry;
use replication::release::resolve::{Content, Ending, Placed, Resolver};

use super::StartError;

/// A log's entries, and voids, in their order.
pub trait EntryStream {
    type Payload: Deref<Target = [u8]>;

    /// Shard and index of the next one.
    fn peek(&mut self) -> Option<(ShardId, Index)>;

    fn next(&mut self) -> Option<Placed<Self::Payload>>;
}

/// What the logs came to, beside the shards.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Entries read that no checkpoint has.
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

    /// The shards go on behind what the logs have of them.
    pub fn resume(&self, shards: &mut Shards) {
        for (place, ending) in self.endings.iter().enumerate() {
            if let Some(shard) = shards.get_mut(place) {
                shard.resume_after(resumes_after(ending).0);
            }
        }
    }
}

/// An entry as it was read, its payload kept by `keep`.
pub fn place<P>(entry: Entry<'_>, keep: impl FnOnce(&[u8]) -> P) -> Placed<P> {
    let content = match entry.content {
        Content::Entry { transaction, payload } => {
            Content::Entry { transaction, payload: keep(payload) }
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

/// The index up to which each shard has everything.
pub fn bases_of(shards: &Shards) -> Vec<Index> {
    shards.held().map(|shard| Index(shard.released())).collect()
}

/// Applies the entries of the logs behind those that the shards have already, if their
/// transactions are whole: all in one thread.
pub fn apply_in_order<L: EntryStream>(
    logs: &mut [L],
    shards: Shards,
    settings: &Settings,
) -> Result<(Shards, Replayed), StartError> {
    let bases = bases_of(&shards);
    let mut applier = Applier::new(shards, settings);
    let mut order = 0;
    let decided = take_in_order(logs, &bases, |shard, index, payload| {
        applier.apply(&[Decided { order, shard, index, payload }]);
        order += 1;
        Ok(())
    });
    let (mut shards, failed) = applier.finish();
    if let Some(failed) = failed {
        return Err(failed.message.into());
    }
    let replayed = decided?;
    replayed.resume(&mut shards);
    Ok((shards, replayed))
}

/// An entry that is to take effect.
pub struct Decided<P> {
    /// Its number among all of them.
    pub order: u64,
    pub shard: ShardId,
    pub index: Index,
    pub payload: P,
}

/// Some shards to which entries are applied, each shard's in order.
pub struct Applier<'s> {
    shards: Shards,
    settings: &'s Settings,
    failed: Option<Failed>,
}

/// An entry that could not be applied.
pub struct Failed {
    /// Its number among all that are to take effect.
    pub order: u64,
    pub message: String,
}

impl<'s> Applier<'s> {
    pub fn new(shards: Shards, settings: &'s Settings) -> Applier<'s> {
        Applier { shards, settings, failed: None }
    }

    /// Nothing more is applied once an entry has failed.
    pub fn apply<P: Deref<Target = [u8]>>(&mut self, entries: &[Decided<P>]) {
        if self.failed.is_some() {
            return;
        }
        let payloads = entries.iter().map(|entry| (usize::from(entry.shard.0), &*entry.payload));
        let payloads: Vec<_> = payloads.collect();
        if let Err((at, error)) = apply_batch(&mut self.shards, self.settings, &payloads) {
            let Decided { order, shard, index, .. } = &entries[at];
            let message = format!("entry {} of shard {}: {error}", index.0, shard.0);
            self.failed = Some(Failed { order: *order, message });
        }
    }

    pub fn finish(self) -> (Shards, Option<Failed>) {
        (self.shards, self.failed)
    }
}

/// Payload bytes, and some for each entry, that are taken from a log before the next one's turn:
/// so the readers of all logs have something to do.
const TURN_BYTES: usize = 1 << 20;
const ENTRY_BYTES: usize = 128;

/// Takes entries from the logs as long as one of them has the next entry of some shard. Those
/// behind the shard's base whose transactions are whole are given to `take_effect`, each shard's
/// in order. Which log is taken from when depends on nothing but the logs.
pub fn take_in_order<L: EntryStream>(
    logs: &mut [L],
    bases: &[Index],
    mut take_effect: impl FnMut(ShardId, Index, L::Payload) -> Result<(), StartError>,
) -> Result<Replayed, StartError> {
    let mut resolver = Resolver::new(bases);
    let mut bytes = vec![0; bases.len()];
    let mut take_effect = |shard: ShardId, index: Index, payload: L::Payload| {
        bytes[usize::from(shard.0)] += payload.len() as u64;
        take_effect(shard, index, payload)
    };
    let mut entries = 0;
    loop {
        let mut progressed = false;
        let mut stuck = None;
        for (core, log) in logs.iter_mut().enumerate() {
            let mut turn_bytes = 0;
            while turn_bytes < TURN_BYTES
                && let Some((shard, index)) = log.peek()
            {
                let expected = resolver.next_index(shard).ok_or_else(|| {
                    format!(
                        "the log of core {core} has a shard {}, which this directory does not have",
                        shard.0
                    )
                })?;
                let covered = index <= bases[usize::from(shard.0)];
                if !covered && index != expected {
                    stuck = Some((core, shard, index, expected));
                    break;
                }
                progressed = true;
                // A checkpoint has what is covered.
                if let Some(entry) = log.next().filter(|_| !covered) {
                    turn_bytes += ENTRY_BYTES + payload_bytes(&entry);
                    entries += 1;
                    resolver.take(entry, &mut take_effect)?;
                }
            }
        }
        match stuck {
            _ if progressed => {}
            None => break,
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

fn payload_bytes<P: Deref<Target = [u8]>>(entry: &Placed<P>) -> usize {
    match &entry.content {
        Content::Entry { payload, .. } => payload.len(),
        Content::Void { .. } => 0,
    }
}

/// The last index that is used once a shard's void, if it needs one, is written.
pub fn resumes_after(ending: &Ending) -> Index {
    Index(ending.used.0 + u64::from(ending.void_from.is_some()))
}
