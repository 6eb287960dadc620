//! Shards from the entries of several logs: pure, whatever the logs are read from and whichever
//! thread applies what.

use std::ops::Deref;

use engine::effect::apply::apply_batch;
use engine::hash::Hasher64;
use engine::keyspace::{Shard, Shards};
use engine::settings::Settings;
use replication::group::restart::Restart;
use replication::group::{Base, GroupStart};
use replication::ids::{Incarnation, Index, ShardId};
use replication::log::recovery::Entry;
use replication::release::resolve::{Ending, Placed, Resolver};
use replication::version::Versions;

use super::StartError;
use super::identity::Identity;

/// A log's entries, and voids, in their order.
pub trait EntryStream {
    type Payload: Deref<Target = [u8]>;

    /// The start that wrote the next one.
    fn peek(&mut self) -> Option<Incarnation>;

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
    /// How each group goes on, but for its vote; none where the node has no peers.
    pub groups: Vec<GroupStart>,
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
    let Entry { incarnation, shard, index, term, decided, content } = entry;
    Placed { incarnation, shard, index, term, decided, content: content.map(keep) }
}

pub fn empty_shards(shard_count: usize, hasher: Hasher64) -> Shards {
    let mut shards = Shards::new(shard_count, hasher.clone());
    for id in 0..shard_count as u16 {
        shards.put(Box::new(Shard::new(id, hasher.clone())));
    }
    shards
}

/// Up to where each shard has everything: what its checkpoint is as of.
#[derive(Clone, Debug)]
pub enum Bases {
    /// Of a node without peers.
    Alone(Vec<Index>),
    /// And what this program can take behind them.
    Grouped(Vec<Base>, Versions),
}

impl Bases {
    /// Those of a directory whose shards begin with these.
    pub fn new(identity: &Identity, applied: Versions, bases: impl Iterator<Item = Base>) -> Bases {
        if identity.is_grouped() {
            Bases::Grouped(bases.collect(), applied)
        } else {
            Bases::Alone(bases.map(|base| Index(base.index)).collect())
        }
    }

    pub fn count(&self) -> usize {
        match self {
            Bases::Alone(bases) => bases.len(),
            Bases::Grouped(bases, _) => bases.len(),
        }
    }

    /// 0 for a shard that there is none of.
    pub fn index(&self, shard: ShardId) -> Index {
        let place = usize::from(shard.0);
        match self {
            Bases::Alone(bases) => bases.get(place).copied().unwrap_or_default(),
            Bases::Grouped(bases, _) => bases.get(place).map_or(Index(0), |base| Index(base.index)),
        }
    }
}

/// The bases of a node without peers.
pub fn bases_of(shards: &Shards) -> Bases {
    Bases::Alone(shards.held().map(|shard| Index(shard.released())).collect())
}

/// Applies the entries of the logs behind those that the shards have already, if their
/// transactions are whole: all in one thread.
pub fn apply_in_order<L: EntryStream>(
    logs: &mut [L],
    bases: &Bases,
    shards: Shards,
    settings: &Settings,
) -> Result<(Shards, Replayed), StartError> {
    let mut applier = Applier::new(shards, settings);
    let mut order = 0;
    let decided = take_in_order(logs, bases, |shard, index, payload| {
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

/// Which entries take effect.
enum Rules<P> {
    /// No other node has them: what the logs have of a transaction decides.
    Alone(Resolver<P>),
    /// What is not known to be decided is for the groups to settle.
    Grouped(Restart<P>),
}

/// Takes the entries of the logs, those of an earlier start first. Those behind the shard's base
/// that take effect are given to `take_effect`, each shard's in order. Which log is taken from when
/// depends on nothing but the logs.
pub fn take_in_order<L: EntryStream>(
    logs: &mut [L],
    bases: &Bases,
    mut take_effect: impl FnMut(ShardId, Index, L::Payload) -> Result<(), StartError>,
) -> Result<Replayed, StartError> {
    let mut rules = match bases {
        Bases::Alone(bases) => Rules::Alone(Resolver::new(bases)),
        Bases::Grouped(bases, applied) => Rules::Grouped(Restart::new(bases.clone(), *applied)),
    };
    let mut bytes = vec![0; bases.count()];
    let mut take_effect = |shard: ShardId, index: Index, payload: L::Payload| {
        bytes[usize::from(shard.0)] += payload.len() as u64;
        take_effect(shard, index, payload)
    };
    let mut entries = 0;
    while let Some(start) = logs.iter_mut().filter_map(|log| log.peek()).min() {
        for (core, log) in logs.iter_mut().enumerate() {
            let mut turn_bytes = 0;
            while turn_bytes < TURN_BYTES
                && log.peek() == Some(start)
                && let Some(entry) = log.next()
            {
                let shard = entry.shard;
                if usize::from(shard.0) >= bases.count() {
                    let (id, has) = (shard.0, "which this directory does not have");
                    return Err(format!("the log of core {core} has a shard {id}, {has}").into());
                }
                turn_bytes += ENTRY_BYTES + payload_bytes(&entry);
                entries += 1;
                let in_log = |error: StartError| format!("the log of core {core}: {error}");
                match &mut rules {
                    // A checkpoint has what is covered.
                    Rules::Alone(_) if entry.index <= bases.index(shard) => entries -= 1,
                    Rules::Alone(resolver) => resolver.take(entry, &mut take_effect)?,
                    Rules::Grouped(restart) => {
                        restart.take(entry, &mut take_effect).map_err(in_log)?;
                    }
                }
            }
        }
    }
    match rules {
        Rules::Alone(resolver) => {
            let endings = resolver.finish(&mut take_effect)?;
            Ok(Replayed { entries, endings, bytes, groups: Vec::new() })
        }
        Rules::Grouped(restart) => {
            let groups = restart.finish();
            let ending = |group: &GroupStart| {
                let last = group.applied;
                Ending { last, used: last, void_from: None }
            };
            let endings = groups.iter().map(ending).collect();
            Ok(Replayed { entries, endings, bytes, groups })
        }
    }
}

fn payload_bytes<P: Deref<Target = [u8]>>(entry: &Placed<P>) -> usize {
    entry.content.payload().map_or(0, |payload| payload.len())
}

/// The last index that is used once a shard's void, if it needs one, is written.
pub fn resumes_after(ending: &Ending) -> Index {
    Index(ending.used.0 + u64::from(ending.void_from.is_some()))
}
