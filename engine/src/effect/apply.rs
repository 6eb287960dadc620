//! Makes a shard what a payload says, with the same mutators that wrote it: recovery and followers.
//! No replies, no clock, no chance; expiry happens by effects alone.

use smallvec::SmallVec;

use crate::image;
use crate::keyspace::key::{flush, swap};
use crate::keyspace::{Expiry, KeyPlace, Missing, Shard, Shards, Space, Update};
use crate::limits::{DATABASE_COUNT, PREFETCHED_KEYS_MAX};
use crate::settings::Settings;
use crate::value::{Hash, List, Set, ZSet};

use super::decode::{Change, DecodeError, Decoder, Effect};

/// Why a payload could not be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    Decode(DecodeError),
    /// The effect does not fit what the shard holds: the log and the shard disagree.
    Mismatch {
        key: Vec<u8>,
        what: &'static str,
    },
}

impl std::fmt::Display for ApplyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ApplyError::Decode(error) => error.fmt(f),
            ApplyError::Mismatch { key, what } => {
                write!(f, "effect on key '{}' does not fit the data: {what}", key.escape_ascii())
            }
        }
    }
}

impl std::error::Error for ApplyError {}

impl From<DecodeError> for ApplyError {
    fn from(error: DecodeError) -> ApplyError {
        ApplyError::Decode(error)
    }
}

/// Applies all effects of a payload to the shard at `place`, which `shards` holds.
pub fn apply(
    shards: &mut Shards,
    place: usize,
    settings: &Settings,
    payload: &[u8],
) -> Result<(), ApplyError> {
    apply_batch(shards, settings, &[(place, payload)]).map_err(|(_, error)| error)
}

/// Applies the payloads one after the other, each to the shard at its place, which `shards` holds,
/// and says which of them could not be applied. What is behind that one is not applied.
pub fn apply_batch(
    shards: &mut Shards,
    settings: &Settings,
    payloads: &[(usize, &[u8])],
) -> Result<(), (usize, ApplyError)> {
    payloads.iter().for_each(|(place, _)| set_muted(shards, *place, true));
    let effects = payloads.iter().enumerate().flat_map(|(number, (place, payload))| {
        Decoder::new(payload).map(move |effect| (number, *place, effect))
    });
    let result = apply_all(shards, settings, effects);
    payloads.iter().for_each(|(place, _)| set_muted(shards, *place, false));
    result
}

/// An effect of a payload that is known by its number, for the shard at the place.
type Numbered<'a> = (usize, usize, Result<Effect<'a>, DecodeError>);

/// Applies effects some at a time, so that the waits for memory overlap, of several payloads too.
fn apply_all<'a>(
    shards: &mut Shards,
    settings: &Settings,
    mut effects: impl Iterator<Item = Numbered<'a>>,
) -> Result<(), (usize, ApplyError)> {
    let mut group: SmallVec<[(Numbered<'a>, KeyPlace); PREFETCHED_KEYS_MAX]> = SmallVec::new();
    loop {
        for (number, place, effect) in effects.by_ref().take(PREFETCHED_KEYS_MAX) {
            let key = effect.as_ref().map_or(&b""[..], |effect| effect.key);
            let known = shards.locate(key);
            group.push(((number, place, effect), known));
        }
        if group.is_empty() {
            return Ok(());
        }
        let keys = group.iter().filter_map(|((.., effect), known)| {
            let db = effect.as_ref().ok()?.db;
            (usize::from(db) < DATABASE_COUNT).then_some((db, *known))
        });
        shards.prefetch_each(keys);
        let result = group.drain(..).try_for_each(|((number, place, effect), known)| {
            let effect = effect.map_err(|error| (number, error.into()))?;
            shards.know(effect.key, known);
            let result = apply_effect(shards, place, settings, &effect);
            result.map_err(|error| (number, error))
        });
        shards.forget_known();
        result?;
    }
}

fn set_muted(shards: &mut Shards, place: usize, muted: bool) {
    if let Some(shard) = shards.get_mut(place) {
        shard.effects.set_muted(muted);
    }
}

fn apply_effect(
    shards: &mut Shards,
    place: usize,
    settings: &Settings,
    effect: &Effect<'_>,
) -> Result<(), ApplyError> {
    let key = effect.key;
    let mismatch = |what| ApplyError::Mismatch { key: key.to_vec(), what };
    if usize::from(effect.db) >= DATABASE_COUNT {
        return Err(mismatch("no such database"));
    }
    let whole_database =
        matches!(effect.change, Change::FlushDatabase | Change::SwapDatabases { .. });
    if !whole_database && shards.shard_of(key) != place {
        return Err(mismatch("the key belongs to another shard"));
    }
    if whole_database {
        let shard = shards.get_mut(place).ok_or_else(|| mismatch("the shard is not here"))?;
        return apply_to_database(shard, effect).ok_or_else(|| mismatch("no such database"));
    }
    let mut space = Space::new(shards, settings, effect.db, i64::MIN);
    apply_to_key(&mut space, key, &effect.change).ok_or_else(|| mismatch("no such element or type"))
}

fn apply_to_database(shard: &mut Shard, effect: &Effect<'_>) -> Option<()> {
    match effect.change {
        Change::SwapDatabases { other } => {
            let other = u16::try_from(other).ok().filter(|o| usize::from(*o) < DATABASE_COUNT)?;
            swap(shard, effect.db, other);
        }
        _ => flush(shard, effect.db),
    }
    Some(())
}

/// `None` where the effect does not fit.
fn apply_to_key(space: &mut Space<'_>, key: &[u8], change: &Change<'_>) -> Option<()> {
    match *change {
        Change::Delete => space.delete(key).then_some(()),
        Change::SetString(value) => {
            space.set_string(key, value, Expiry::Clear);
            Some(())
        }
        Change::SetStringExpiring { at_ms, value } => {
            space.set_string(key, value, Expiry::At(at_ms));
            Some(())
        }
        Change::SetStringKeep(value) => {
            space.set_string(key, value, Expiry::Keep);
            Some(())
        }
        Change::Append(tail) => space.append_string(key, tail).ok().map(drop),
        Change::Patch { offset, bytes } => {
            space.patch_string(key, usize::try_from(offset).ok()?, bytes).ok().map(drop)
        }
        Change::Expire { at_ms } => space.expire(key, at_ms).then_some(()),
        Change::Persist => space.persist(key).then_some(()),
        Change::Put { at_ms, image } => {
            let value =
                image::read(image, &space.settings.encoding, &space.shards.hasher()).ok()?;
            space.put(key, value, (at_ms != -1).then_some(at_ms));
            Some(())
        }
        Change::Rename { to } => (space.shards.shard_of(key) == space.shards.shard_of(to)
            && space.rename(key, to) == Ok(true))
        .then_some(()),
        Change::HashSet { field, value } => {
            create(space, key, |hash: &mut Update<'_, Hash>| hash.set(field, value))
        }
        Change::HashDelete(field) => {
            skip(space, key, |hash: &mut Update<'_, Hash>| hash.delete(field))
        }
        Change::SetAdd(member) => create(space, key, |set: &mut Update<'_, Set>| set.add(member)),
        Change::SetRemove(member) => {
            skip(space, key, |set: &mut Update<'_, Set>| set.remove(member))
        }
        Change::SortedSetAdd { score, member } => {
            create(space, key, |zset: &mut Update<'_, ZSet>| zset.put(member, score))
        }
        Change::SortedSetRemove(member) => {
            skip(space, key, |zset: &mut Update<'_, ZSet>| zset.remove(member))
        }
        Change::FlushDatabase | Change::SwapDatabases { .. } => None,
        ref list => apply_to_list(space, key, list),
    }
}

fn apply_to_list(space: &mut Space<'_>, key: &[u8], change: &Change<'_>) -> Option<()> {
    type ListUpdate<'a> = Update<'a, List>;
    let at = |index: u64| usize::try_from(index).ok();
    match *change {
        Change::ListPushFront(element) => {
            create(space, key, |list: &mut ListUpdate<'_>| list.push_front(element))
        }
        Change::ListPushBack(element) => {
            create(space, key, |list: &mut ListUpdate<'_>| list.push_back(element))
        }
        Change::ListPopFront(count) => {
            let count = at(count)?;
            skip(space, key, |list: &mut ListUpdate<'_>| list.drop_front(count))
        }
        Change::ListPopBack(count) => {
            let count = at(count)?;
            skip(space, key, |list: &mut ListUpdate<'_>| list.drop_back(count))
        }
        Change::ListSet { index, element } => {
            let index = at(index)?;
            skip(space, key, |list: &mut ListUpdate<'_>| list.set(index, element))
        }
        Change::ListInsert { index, element } => {
            let index = at(index)?;
            skip(space, key, |list: &mut ListUpdate<'_>| list.insert(index, element))
        }
        Change::ListRemove { index, count } => {
            let (index, count) = (at(index)?, at(count)?);
            skip(space, key, |list: &mut ListUpdate<'_>| list.remove_range(index, count))
        }
        _ => None,
    }
}

fn create<V: crate::keyspace::update::Collection, R>(
    space: &mut Space<'_>,
    key: &[u8],
    change: impl FnOnce(&mut Update<'_, V>) -> R,
) -> Option<()> {
    space.update(key, Missing::Create, change).ok().flatten().map(drop)
}

/// `change` returns whether what it was to change was there.
fn skip<V: crate::keyspace::update::Collection>(
    space: &mut Space<'_>,
    key: &[u8],
    change: impl FnOnce(&mut Update<'_, V>) -> bool,
) -> Option<()> {
    space.update(key, Missing::Skip, change).ok().flatten().filter(|done| *done).map(drop)
}
