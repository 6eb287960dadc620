//! The shards that a core holds at this moment: its own, or those of a gathering.

use smallvec::SmallVec;

use crate::hash::Hasher64;
use crate::limits::PREFETCHED_KEYS_MAX;
use crate::slot::{shard_of_slot, slot_of};

use super::entry::Entry;
use super::shard::Shard;
use crate::table::Table;

/// One place for each shard of the node; empty where another core holds it.
pub struct Shards {
    places: Vec<Option<Box<Shard>>>,
    hasher: Hasher64,
}

impl Shards {
    pub fn new(shard_count: usize, hasher: Hasher64) -> Shards {
        assert!(shard_count > 0);
        Shards { places: (0..shard_count).map(|_| None).collect(), hasher }
    }

    /// Number of shards of the node, held here or not.
    pub fn count(&self) -> usize {
        self.places.len()
    }

    pub fn shard_of(&self, key: &[u8]) -> usize {
        match self.places.len() {
            1 => 0,
            count => shard_of_slot(slot_of(key), count),
        }
    }

    pub fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash(key)
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

    /// Asks the processor for what looking these keys up will touch, so that their cache misses
    /// overlap instead of following each other. Keys of shards that are not here, and more than
    /// `PREFETCHED_KEYS_MAX`, are passed over.
    pub fn prefetch<'k>(&self, db: u16, keys: impl Iterator<Item = &'k [u8]>) {
        let mut places: SmallVec<[(&Table<Entry>, u64); PREFETCHED_KEYS_MAX]> = SmallVec::new();
        for key in keys.take(PREFETCHED_KEYS_MAX) {
            if let Some(shard) = self.get(self.shard_of(key)) {
                let (table, hash) = (&shard.database(db).table, self.hasher.hash(key));
                table.prefetch(hash);
                places.push((table, hash));
            }
        }
        for (table, hash) in places {
            table.prefetch_entry(hash);
        }
    }

    /// The shard of a key. Dispatch runs a command only where its shards are held.
    pub(crate) fn of_key(&mut self, key: &[u8]) -> (&mut Shard, u64) {
        let shard = self.shard_of(key);
        let hash = self.hasher.hash(key);
        let held = self.places[shard].as_deref_mut();
        (held.expect("a command runs where its shards are held"), hash)
    }
}
