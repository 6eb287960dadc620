//! Which keys go when memory runs out. Runs on the core that owns the shards; what goes is deleted
//! as by DEL and logged so.
//!
//! As in Redis, a few keys are sampled for each that goes, and the best candidates seen so far are
//! kept in a small pool from which the best of all is taken. Two things are better: a candidate
//! that was used since it was sampled is passed over, and keys with an expiry are found through
//! the deadlines of the table's segments, however few they are.

use crate::limits::{EVICTION_POOL_LEN, EVICTION_TRIES, SAMPLED_KEYS_MAX, SAMPLED_SEGMENTS_MAX};
use crate::rng::Rng;
use crate::settings::{Eviction, Policy};
use crate::table::NO_DEADLINE;

use super::access::AccessClock;
use super::entry::Entry;
use super::shard::{Database, Shard};
use super::shards::Shards;

/// After so many choices the numbers of keys are read again.
const PLACES_FRESH_FOR: usize = 64;

/// Volatile keys are sampled like others where at least one key in so many is one.
const DENSE_ONE_IN: usize = 8;

/// A key that may go. The higher its score, the sooner.
struct Candidate {
    score: u64,
    shard: u16,
    db: u16,
    hash: u64,
    key: Vec<u8>,
}

/// A database with keys that may go.
struct Place {
    shard: u16,
    db: u16,
    /// Those in all places before, and in this one.
    keys_up_to: usize,
}

/// Chooses keys. One a core; keeps what it has seen from one choice to the next.
#[derive(Default)]
pub struct Evictor {
    /// Ascending by score, at most `EVICTION_POOL_LEN`.
    pool: Vec<Candidate>,
    places: Vec<Place>,
    /// Choices left until the places are counted again.
    fresh_for: usize,
    policy: Option<Policy>,
}

/// One moment of an eviction.
#[derive(Clone, Copy)]
struct Moment<'a> {
    eviction: &'a Eviction,
    clock: AccessClock,
}

impl Evictor {
    /// Forgets what it has seen: the shards, their keys or the policy have changed.
    pub fn reset(&mut self) {
        self.pool.clear();
        self.fresh_for = 0;
    }

    /// Deletes one key of the shards held here for which `owns` holds. Returns its shard; `None`
    /// where none was found, which for keys with an expiry may only mean: not yet.
    pub fn evict_one(
        &mut self,
        shards: &mut Shards,
        owns: impl Fn(u16) -> bool,
        eviction: &Eviction,
        now_ms: i64,
        dice: &mut Rng,
    ) -> Option<u16> {
        if self.policy != Some(eviction.policy) {
            self.policy = Some(eviction.policy);
            self.reset();
        }
        if self.fresh_for == 0 {
            self.count_places(shards, owns, eviction.policy);
        }
        self.fresh_for -= 1;
        let moment = Moment { eviction, clock: AccessClock::new(now_ms, eviction) };
        for _ in 0..EVICTION_TRIES {
            let (shard, db) = self.choose_place(dice)?;
            let Some(held) = shards.get_mut(usize::from(shard)) else {
                // It left since the places were counted.
                self.fresh_for = 0;
                return None;
            };
            if eviction.policy.is_random() {
                let key = random_key(held, db, eviction.policy.is_volatile(), dice);
                let Some(key) = key else { continue };
                let hash = held.database(db).table.hash(&key);
                held.evict(db, hash, &key);
                return Some(shard);
            }
            self.sample(held, db, moment, dice);
            if let Some(shard) = self.evict_best(shards, moment) {
                return Some(shard);
            }
        }
        // The places may hold nothing any more.
        self.fresh_for = 0;
        None
    }

    fn count_places(&mut self, shards: &Shards, owns: impl Fn(u16) -> bool, policy: Policy) {
        self.fresh_for = PLACES_FRESH_FOR;
        self.places.clear();
        let mut keys_up_to = 0;
        for held in shards.held().filter(|shard| owns(shard.id())) {
            for (db, database) in held.databases.iter().enumerate() {
                let keys = evictable(database, policy);
                if keys > 0 {
                    keys_up_to += keys;
                    self.places.push(Place { shard: held.id(), db: db as u16, keys_up_to });
                }
            }
        }
    }

    /// A database, as likely as it has keys.
    fn choose_place(&self, dice: &mut Rng) -> Option<(u16, u16)> {
        let keys = self.places.last()?.keys_up_to;
        let wanted = dice.below(keys as u64) as usize;
        let place = self.places.partition_point(|place| place.keys_up_to <= wanted);
        self.places.get(place).map(|place| (place.shard, place.db))
    }

    /// Looks at some keys of a database and keeps the best of them.
    fn sample(&mut self, shard: &mut Shard, db: u16, moment: Moment<'_>, dice: &mut Rng) {
        let wanted = moment.eviction.samples;
        let volatile = moment.eviction.policy.is_volatile();
        let (pool, id) = (&mut self.pool, shard.id());
        let database = &mut shard.databases[usize::from(db)];
        let mut found = 0;
        visit_some(database, volatile, dice, |table_hash, entry| {
            offer(pool, (id, db), moment.score(entry), entry, table_hash);
            found += 1;
            found >= wanted
        });
    }

    /// Takes the best candidate that is still what it was, and deletes it.
    fn evict_best(&mut self, shards: &mut Shards, moment: Moment<'_>) -> Option<u16> {
        while let Some(best) = self.pool.pop() {
            let Some(held) = shards.get_mut(usize::from(best.shard)) else { continue };
            let database = held.database(best.db);
            let still = database.table.get(best.hash, &best.key).is_some_and(|entry| {
                let may_go =
                    !moment.eviction.policy.is_volatile() || entry.expires_at_ms().is_some();
                may_go && moment.score(entry) >= best.score
            });
            if still {
                held.evict(best.db, best.hash, &best.key);
                return Some(best.shard);
            }
        }
        None
    }
}

impl Moment<'_> {
    fn score(self, entry: &Entry) -> u64 {
        match self.eviction.policy {
            Policy::VolatileTtl => {
                u64::MAX - entry.expires_at_ms().unwrap_or(i64::MAX).max(0).unsigned_abs()
            }
            _ => match self.clock.frequency(entry.access()) {
                Some(frequency) => u64::from(u8::MAX) - u64::from(frequency),
                None => u64::from(self.clock.idle_s(entry.access())),
            },
        }
    }
}

impl Shard {
    fn evict(&mut self, db: u16, hash: u64, key: &[u8]) {
        if self.delete(db, hash, key) {
            self.stats.evicted += 1;
        }
    }

    /// Keys that a policy may take.
    pub fn evictable(&self, policy: Policy) -> usize {
        self.databases.iter().map(|database| evictable(database, policy)).sum()
    }
}

fn evictable(database: &Database, policy: Policy) -> usize {
    match policy {
        Policy::Noeviction => 0,
        _ if policy.is_volatile() => database.volatile(),
        _ => database.len(),
    }
}

/// Puts a key into the pool if it is better than the worst there, or the pool has room.
fn offer(
    pool: &mut Vec<Candidate>,
    (shard, db): (u16, u16),
    score: u64,
    entry: &Entry,
    hash: impl FnOnce() -> u64,
) {
    let full = pool.len() >= EVICTION_POOL_LEN;
    if full && pool[0].score >= score {
        return;
    }
    let same = |c: &Candidate| c.shard == shard && c.db == db && c.key == entry.key();
    if pool.iter().any(same) {
        return;
    }
    let mut key = if full { pool.remove(0).key } else { Vec::new() };
    key.clear();
    key.extend_from_slice(entry.key());
    let at = pool.partition_point(|candidate| candidate.score <= score);
    pool.insert(at, Candidate { score, shard, db, hash: hash(), key });
}

/// Visits keys of a random place until `visit` says enough or the bound is reached. `visit` is
/// given how to get a key's hash, and the key.
fn visit_some(
    database: &mut Database,
    volatile: bool,
    dice: &mut Rng,
    mut visit: impl FnMut(&dyn Fn() -> u64, &Entry) -> bool,
) {
    let hasher = database.table.hasher().clone();
    let mut look = |entry: &Entry| {
        if volatile && entry.expires_at_ms().is_none() {
            return false;
        }
        visit(&|| hasher.hash(entry.key()), entry)
    };
    if !volatile || database.volatile() * DENSE_ONE_IN >= database.len() {
        return database.table.sample(dice.next_u64(), SAMPLED_KEYS_MAX, look);
    }
    let segment = database.next_volatile_segment(dice);
    if let Some(hash) = segment {
        database.table.sample_segment(hash, dice.next_u64(), &mut look);
    }
}

fn random_key(shard: &mut Shard, db: u16, volatile: bool, dice: &mut Rng) -> Option<Vec<u8>> {
    let database = &mut shard.databases[usize::from(db)];
    let mut found = None;
    if !volatile {
        let entry = database.table.random(dice.next_u64());
        return entry.map(|entry| entry.key().to_vec());
    }
    visit_some(database, true, dice, |_, entry| {
        found = Some(entry.key().to_vec());
        true
    });
    found
}

impl Database {
    /// A segment in which keys have an expiry, by a hash that belongs to it: the next one from
    /// where the search was last, among a bounded number.
    fn next_volatile_segment(&mut self, dice: &mut Rng) -> Option<u64> {
        if self.eviction_cursor == 0 {
            // Not always from the start: the first segments are no better than the others.
            self.eviction_cursor = dice.next_u64() >> (64 - crate::table::CURSOR_BITS);
        }
        let (found, next) =
            self.table.find_due(NO_DEADLINE - 1, self.eviction_cursor, SAMPLED_SEGMENTS_MAX);
        let hash = found.as_ref().map(|view| view.hash());
        // A deadline that no key has any more would be found in vain for ever.
        let stale = found.is_some_and(|view| view.iter().all(|e| e.expires_at_ms().is_none()));
        self.eviction_cursor = next;
        if let Some(hash) = hash.filter(|_| stale) {
            self.table.set_deadline(hash, NO_DEADLINE);
            return None;
        }
        hash
    }
}

#[cfg(test)]
mod tests;
