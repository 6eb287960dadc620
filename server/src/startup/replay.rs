//! Shards from the entries of several logs: pure, whatever the logs are read from.

use engine::effect::apply::apply;
use engine::hash::Hasher64;
use engine::keyspace::{Shard, Shards};
use engine::settings::Settings;

use super::StartError;

/// An entry of a log.
pub struct OwnedEntry {
    pub shard: u16,
    pub index: u64,
    pub payload: Vec<u8>,
}

/// A log's entries in their order.
pub trait EntryStream {
    /// Shard and index of the next one.
    fn peek(&mut self) -> Option<(u16, u64)>;

    fn next(&mut self) -> Option<OwnedEntry>;
}

pub fn empty_shards(shard_count: usize, hasher: Hasher64) -> Shards {
    let mut shards = Shards::new(shard_count, hasher.clone());
    for id in 0..shard_count as u16 {
        shards.put(Box::new(Shard::new(id, hasher.clone())));
    }
    shards
}

/// Takes entries from the logs as long as one of them has the next entry of some shard.
pub fn apply_in_order<L: EntryStream>(
    logs: &mut [L],
    shards: &mut Shards,
    settings: &Settings,
) -> Result<u64, StartError> {
    let mut last_index = vec![0u64; shards.count()];
    let mut entries = 0;
    loop {
        let mut progressed = false;
        let mut stuck = None;
        for (core, log) in logs.iter_mut().enumerate() {
            while let Some((shard, index)) = log.peek() {
                let place = usize::from(shard);
                let Some(last) = last_index.get_mut(place) else {
                    return Err(format!(
                        "the log of core {core} has a shard {shard}, which this \
                                        directory does not have"
                    )
                    .into());
                };
                if index != *last + 1 {
                    stuck = Some((core, shard, index, *last));
                    break;
                }
                if let Some(entry) = log.next() {
                    apply(shards, place, settings, &entry.payload).map_err(|error| {
                        format!("the log of core {core}, shard {shard}, entry {index}: {error}")
                    })?;
                }
                *last = index;
                entries += 1;
                progressed = true;
            }
        }
        match stuck {
            None => break,
            Some(_) if progressed => {}
            Some((core, shard, index, last)) => {
                return Err(format!(
                    "the log of core {core} has entry {index} of shard {shard}, but no log has \
                     entry {}; a log file is missing or from another time",
                    last + 1
                )
                .into());
            }
        }
    }
    for (place, last) in last_index.into_iter().enumerate() {
        if let Some(shard) = shards.get_mut(place) {
            shard.resume_after(last);
        }
    }
    Ok(entries)
}
