//! The shards that a core holds at this moment: its own, or those of a gathering.

use smallvec::SmallVec;

use crate::hash::Hasher64;
use crate::limits::PREFETCHED_KEYS_MAX;
use crate::slot::{shard_of_slot, slot_of};

use super::entry::Entry;
use super::shard::Shard;
use crate::table::Table;

/// Where a key belongs: the same on every core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPlace {
    pub shard: u16,
    pub hash: u64,
}

/// One place for each shard of the node; empty where another core holds it.
pub struct Shards {
    places: Vec<Option<Box<Shard>>>,
    hasher: Hasher64,
    known: Known,
}

/// A key whose place was computed before, known by where it lies.
#[derive(Clone, Copy)]
struct Known {
    address: usize,
    len: usize,
    place: KeyPlace,
}

impl Known {
    const NOTHING: Known = Known { address: 0, len: 0, place: KeyPlace { shard: 0, hash: 0 } };

    #[inline]
    fn is(&self, key: &[u8]) -> bool {
        self.address == key.as_ptr().addr() && self.len == key.len()
    }
}

impl Shards {
    pub fn new(shard_count: usize, hasher: Hasher64) -> Shards {
        assert!(shard_count > 0);
        let places = (0..shard_count).map(|_| None).collect();
        Shards { places, hasher, known: Known::NOTHING }
    }

    /// Number of shards of the node, held here or not.
    pub fn count(&self) -> usize {
        self.places.len()
    }

    #[inline]
    pub fn shard_of(&self, key: &[u8]) -> usize {
        match self.places.len() {
            1 => 0,
            _ if self.known.is(key) => usize::from(self.known.place.shard),
            count => shard_of_slot(slot_of(key), count),
        }
    }

    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        if self.known.is(key) { self.known.place.hash } else { self.hasher.hash(key) }
    }

    #[inline]
    pub fn locate(&self, key: &[u8]) -> KeyPlace {
        KeyPlace { shard: self.shard_of(key) as u16, hash: self.hash(key) }
    }

    /// Says where a key of the next command belongs, so that it is not computed again. Until
    /// `forget_known` the bytes of the key must stay as and where they are.
    #[inline]
    pub fn know(&mut self, key: &[u8], place: KeyPlace) {
        debug_assert_eq!(self.hasher.hash(key), place.hash);
        self.known = Known { address: key.as_ptr().addr(), len: key.len(), place };
    }

    #[inline]
    pub fn forget_known(&mut self) {
        self.known = Known::NOTHING;
    }

    pub fn hasher(&self) -> Hasher64 {
        self.hasher.clone()
    }

    pub fn holds(&self, shard: usize) -> bool {
        self.places[shard].is_some()
    }

    pub fn put(&mut self, shard: Box<Shard>) {
        let place = &mut self.places[usize::from(shard.id())];
        assert!(place.is_none(), "a shard exists once");
        *place = Some(shard);
    }

    pub fn take(&mut self, shard: usize) -> Option<Box<Shard>> {
        self.places[shard].take()
    }

    pub fn get(&self, shard: usize) -> Option<&Shard> {
        self.places[shard].as_deref()
    }

    pub fn get_mut(&mut self, shard: usize) -> Option<&mut Shard> {
        self.places[shard].as_deref_mut()
    }

    /// The shards held here, in ascending order.
    pub fn held(&self) -> impl Iterator<Item = &Shard> {
        self.places.iter().flatten().map(|shard| &**shard)
    }

    pub fn held_mut(&mut self) -> impl Iterator<Item = &mut Shard> {
        self.places.iter_mut().flatten().map(|shard| &mut **shard)
    }

    /// Asks the processor for what looking up keys will touch, so that their cache misses overlap
    /// instead of following each other. Keys of shards that are not here, and more than
    /// `PREFETCHED_KEYS_MAX`, are passed over.
    pub fn prefetch(&self, db: u16, keys: impl Iterator<Item = KeyPlace>) {
        self.prefetch_each(keys.map(|place| (db, place)));
    }

    /// As [`Shards::prefetch`], for keys of several databases.
    pub fn prefetch_each(&self, keys: impl Iterator<Item = (u16, KeyPlace)>) {
        let mut places: SmallVec<[(&Table<Entry>, u64); PREFETCHED_KEYS_MAX]> = SmallVec::new();
        for (db, KeyPlace { shard, hash }) in keys.take(PREFETCHED_KEYS_MAX) {
            if let Some(shard) = self.get(usize::from(shard)) {
                let table = &shard.database(db).table;
                table.prefetch_segment(hash);
                places.push((table, hash));
            }
        }
        places.iter().for_each(|(table, hash)| table.prefetch_chunk(*hash));
        places.iter().for_each(|(table, hash)| table.prefetch_entry(*hash));
    }

    /// The shard of a key. Dispatch runs a command only where its shards are held.
    pub(crate) fn of_key(&mut self, key: &[u8]) -> (&mut Shard, u64) {
        let KeyPlace { shard, hash } = self.locate(key);
        let held = self.places[usize::from(shard)].as_deref_mut();
        (held.expect("a command runs where its shards are held"), hash)
    }
}
