//! One shard: all databases' keys of a range of slots, and what hangs on them. Owned by exactly
//! one core at a time, as a `Box<Shard>` (design §5): the type system is the lock.

use crate::checkpoint::walker::{Left, Walker};
use crate::effect::EffectLog;
use crate::effect::Kind as EffectKind;
use crate::hash::Hasher64;
use crate::limits::{DATABASE_COUNT, ENTRY_CLOSED_BYTES};
use crate::rng::Rng;
use crate::table::Table;
use crate::value::limits::EncodingLimits;

use super::entry::{Entry, Value};
use super::garbage::Garbage;
use super::touched::Touched;
use super::waiters::{Awaited, Waiters};
use super::watched::Watched;

/// The keys of one database that lie in one shard.
pub struct Database {
    pub(crate) table: Table<Entry>,
    /// Keys with an expiry.
    pub(crate) volatile: usize,
    /// What the entries take with all they own.
    pub(crate) entry_bytes: usize,
    /// Where the search for expired keys goes on.
    expiry_cursor: u64,
    /// Its number when the checkpoint under way began, if it was there.
    pub(crate) origin: Option<u16>,
    /// The same for keys with an expiry that may be evicted.
    pub(super) eviction_cursor: u64,
}

impl Database {
    fn new(hasher: Hasher64) -> Database {
        Database {
            table: Table::new(hasher),
            volatile: 0,
            entry_bytes: 0,
            expiry_cursor: 0,
            origin: None,
            eviction_cursor: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.table.len() == 0
    }

    pub fn volatile(&self) -> usize {
        self.volatile
    }

    /// What the table takes, without what its entries point to; 0 if it has none.
    pub fn table_bytes(&self) -> usize {
        if self.is_empty() { 0 } else { self.table.memory_bytes() }
    }

    /// What the entries and the table take.
    pub fn memory_bytes(&self) -> usize {
        self.entry_bytes + self.table.memory_bytes()
    }

    /// Takes out some `max` entries of a database that nobody will use again and gives each to
    /// `free`; true when none is left.
    pub(super) fn drain_slice(&mut self, max: usize, mut free: impl FnMut(Entry)) -> bool {
        let Database { table, entry_bytes, .. } = self;
        table.drain_slice(max, |entry| {
            *entry_bytes -= entry.memory_bytes();
            free(entry);
        })
    }
}

/// Counters for INFO.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShardStats {
    pub hits: u64,
    pub misses: u64,
    pub expired: u64,
    pub evicted: u64,
    /// Changes since the start, and those of them that the newest checkpoint has.
    pub changes: u64,
    pub changes_saved: u64,
}

pub struct Shard {
    id: u16,
    pub(crate) databases: Vec<Database>,
    pub effects: EffectLog,
    pub waiters: Waiters,
    pub watched: Watched,
    pub stats: ShardStats,
    /// Thrown for what entries remember of their uses under an LFU policy.
    pub(super) dice: Rng,
    touched: Touched,
    /// Index that the entry now being collected will have.
    open_index: u64,
    /// Highest index whose replies may leave.
    released: u64,
    /// Highest unreleased index whose data was read since [`Shard::begin_observing`].
    observed: u64,
    /// Size of the effects at [`Shard::begin_observing`].
    effects_before: usize,
    /// The checkpoint under way.
    pub(crate) walker: Option<Box<Walker>>,
    /// What the entries and tables of all databases take.
    data_bytes: usize,
    garbage: Garbage,
}

impl Shard {
    pub fn new(id: u16, hasher: Hasher64) -> Shard {
        let databases: Vec<_> =
            (0..DATABASE_COUNT).map(|_| Database::new(hasher.clone())).collect();
        Shard {
            id,
            data_bytes: databases.iter().map(Database::memory_bytes).sum(),
            databases,
            effects: EffectLog::default(),
            waiters: Waiters::default(),
            watched: Watched::default(),
            stats: ShardStats::default(),
            dice: Rng::new(hasher.hash(&id.to_le_bytes())),
            touched: Touched::default(),
            open_index: 1,
            released: 0,
            observed: 0,
            effects_before: 0,
            walker: None,
            garbage: Garbage::default(),
        }
    }

    pub fn id(&self) -> u16 {
        self.id
    }

    pub fn database(&self, db: u16) -> &Database {
        &self.databases[usize::from(db)]
    }

    /// What the shard takes: keys, values, tables, garbage not yet freed, and what stands beside
    /// them; all but the effects, which are the log's.
    pub fn memory_bytes(&self) -> usize {
        let beside = self.waiters.memory_bytes() + self.watched.memory_bytes();
        let fixed = size_of::<Shard>() + DATABASE_COUNT * size_of::<Database>();
        self.data_bytes + self.garbage_bytes() + beside + fixed + Touched::MEMORY_BYTES
    }

    /// What entries and tables take.
    pub fn data_bytes(&self) -> usize {
        self.data_bytes
    }

    /// Deleted values and databases that wait to be freed.
    pub fn unfreed(&self) -> usize {
        self.garbage.len()
    }

    /// What waits to be freed takes, and what is deleted and still to be written by the checkpoint
    /// under way.
    pub fn garbage_bytes(&self) -> usize {
        self.garbage.bytes() + self.walker.as_ref().map_or(0, |walker| walker.kept_bytes())
    }

    // The commit gate's side.

    /// Continues after a log that ends with this index; everything in it is released.
    pub fn resume_after(&mut self, index: u64) {
        self.open_index = index + 1;
        self.released = index;
    }

    /// The entry to be collected will have this index: others came before it. Nothing is collected
    /// yet.
    pub fn continue_at(&mut self, open_index: u64) {
        assert!(self.effects.is_empty() && open_index > self.released, "an index is used once");
        self.open_index = open_index;
    }

    pub fn open_index(&self) -> u64 {
        self.open_index
    }

    pub fn released(&self) -> u64 {
        self.released
    }

    /// Ends the entry being collected: its payload was handed to the log. Returns its index.
    pub fn close_entry(&mut self) -> u64 {
        let index = self.open_index;
        self.effects.clear();
        self.open_index += 1;
        index
    }

    pub fn release_up_to(&mut self, index: u64) {
        assert!(index < self.open_index, "released an entry that was never closed");
        self.released = self.released.max(index);
    }

    /// Forgets what was read and changed before: a command begins.
    pub fn begin_observing(&mut self) {
        self.observed = 0;
        self.effects_before = self.effects.len();
    }

    /// Whether anything was changed since [`Shard::begin_observing`].
    pub fn wrote(&self) -> bool {
        self.effects.len() > self.effects_before
    }

    /// The entry that must be released before what was read may be shown; 0 for none.
    pub fn observed(&self) -> u64 {
        self.observed
    }

    /// Something unreleased may have been seen that no single key stands for: DBSIZE, KEYS.
    pub(crate) fn observe_all(&mut self) {
        let last = if self.effects.is_empty() { self.open_index - 1 } else { self.open_index };
        if last > self.released {
            self.observed = last;
        }
    }

    pub(crate) fn observe(&mut self, hash: u64) {
        if self.released + 1 == self.open_index && self.effects.is_empty() {
            return;
        }
        let last = self.touched.last(hash);
        if last > self.released {
            self.observed = self.observed.max(last);
        }
    }

    /// Who is served by what a key holds, if its time is not over.
    pub fn served_by(&self, db: u16, hash: u64, key: &[u8], now_ms: i64) -> Option<Awaited> {
        let entry = self.databases[usize::from(db)].table.get(hash, key)?;
        let alive = entry.expires_at_ms().is_none_or(|at_ms| now_ms <= at_ms);
        Awaited::of(entry.value()).filter(|_| alive)
    }

    /// Whether any key has an expiry.
    pub fn has_volatile(&self) -> bool {
        self.databases.iter().any(|database| database.volatile > 0)
    }

    // The mutators' side.

    /// Every change of a key passes here, after its effect was appended.
    pub(crate) fn key_changed(&mut self, db: u16, hash: u64, key: &[u8]) {
        self.stats.changes += 1;
        self.touched.mark(hash, self.open_index);
        self.watched.changed(db, key);
    }

    pub(crate) fn everything_changed(&mut self) {
        self.stats.changes += 1;
        self.touched.mark_all(self.open_index);
    }

    pub(crate) fn table(&mut self, db: u16) -> &mut Table<Entry> {
        &mut self.databases[usize::from(db)].table
    }

    /// Must be called before an entry's value or time is changed in place, for the checkpoint under
    /// way to see it as it was. Insertion and removal do it themselves.
    #[inline]
    pub(crate) fn before_change(&mut self, db: u16, hash: u64, key: &[u8]) {
        if let Some(walker) = &mut self.walker {
            walker.before_change(&mut self.databases[usize::from(db)], hash, key);
        }
    }

    /// Puts in a key that is absent.
    pub(crate) fn insert_entry(&mut self, db: u16, hash: u64, entry: Entry) {
        self.before_change(db, hash, entry.key());
        let database = &mut self.databases[usize::from(db)];
        let (bytes, table_bytes) = (entry.memory_bytes(), database.table.memory_bytes());
        let at_ms = entry.expires_at_ms();
        database.table.insert(hash, entry);
        database.entry_bytes += bytes;
        self.data_bytes += bytes + database.table.memory_bytes();
        self.data_bytes -= table_bytes;
        if let Some(at_ms) = at_ms {
            database.volatile += 1;
            database.table.lower_deadline(hash, at_ms);
        }
    }

    /// An entry of a database takes so much more than it did.
    #[inline]
    pub(crate) fn entry_grew(&mut self, db: u16, grown: isize) {
        if grown != 0 {
            let database = &mut self.databases[usize::from(db)];
            database.entry_bytes = database.entry_bytes.wrapping_add_signed(grown);
            self.data_bytes = self.data_bytes.wrapping_add_signed(grown);
        }
    }

    pub(crate) fn note_deadline(&mut self, db: u16, hash: u64, at_ms: i64) {
        self.databases[usize::from(db)].table.lower_deadline(hash, at_ms);
    }

    pub(crate) fn remove_entry(&mut self, db: u16, hash: u64, key: &[u8]) -> Option<Entry> {
        self.before_change(db, hash, key);
        let database = &mut self.databases[usize::from(db)];
        let table_bytes = database.table.memory_bytes();
        let entry = database.table.remove(hash, key)?;
        let bytes = entry.memory_bytes();
        database.volatile -= usize::from(entry.expires_at_ms().is_some());
        database.entry_bytes -= bytes;
        self.data_bytes += database.table.memory_bytes();
        self.data_bytes -= table_bytes + bytes;
        Some(entry)
    }

    /// Deletes a key whose time is over, if it is, and logs the deletion. Only leaders do this;
    /// what is applied from a log deletes by effects alone.
    pub(crate) fn expire_if_due(&mut self, db: u16, hash: u64, key: &[u8], now_ms: i64) -> bool {
        let database = &mut self.databases[usize::from(db)];
        if database.volatile == 0 {
            return false;
        }
        let due = database
            .table
            .get(hash, key)
            .and_then(Entry::expires_at_ms)
            .is_some_and(|at_ms| now_ms > at_ms);
        if due {
            self.stats.expired += 1;
            self.delete(db, hash, key);
        }
        due
    }

    /// Deletes a key and logs it. Returns whether it was there.
    pub(crate) fn delete(&mut self, db: u16, hash: u64, key: &[u8]) -> bool {
        let Some(entry) = self.remove_entry(db, hash, key) else { return false };
        self.discard_entry(db, entry);
        if !self.effects.muted() {
            self.effects.begin(EffectKind::Delete, db, key);
        }
        self.key_changed(db, hash, key);
        true
    }

    pub(crate) fn swap_databases(&mut self, a: u16, b: u16) {
        self.databases.swap(usize::from(a), usize::from(b));
    }

    pub(crate) fn take_database(&mut self, db: u16) -> Database {
        let fresh = Database::new(self.databases[usize::from(db)].table.hasher().clone());
        self.data_bytes += fresh.memory_bytes();
        let taken = std::mem::replace(&mut self.databases[usize::from(db)], fresh);
        self.data_bytes -= taken.memory_bytes();
        taken
    }

    /// Deletes up to `max` keys whose time is over, in up to `max` segments due. Returns how many
    /// keys and segments were looked at, at most `max`.
    pub fn expire_slice(&mut self, db: u16, now_ms: i64, max: usize) -> usize {
        let place = usize::from(db);
        if self.databases[place].volatile == 0 {
            return 0;
        }
        let mut work = 0;
        // Names may be long: an entry takes only so many bytes of them.
        while work < max && self.effects.len() < ENTRY_CLOSED_BYTES {
            let database = &mut self.databases[place];
            let (found, next) =
                database.table.find_due(now_ms - 1, database.expiry_cursor, max - work);
            database.expiry_cursor = next;
            let Some(view) = found else { break };
            let (hash, mut next_ms) = (view.hash(), i64::MAX);
            let mut due: Vec<Box<[u8]>> = Vec::new();
            let mut due_bytes = 0;
            for entry in view.iter() {
                let room = due.len() < max - work && due_bytes < ENTRY_CLOSED_BYTES;
                match entry.expires_at_ms() {
                    Some(at_ms) if now_ms > at_ms && room => {
                        due_bytes += entry.key().len();
                        due.push(entry.key().into());
                    }
                    Some(at_ms) => next_ms = next_ms.min(at_ms),
                    None => {}
                }
            }
            database.table.set_deadline(hash, next_ms);
            work += 1 + due.len();
            for key in due {
                let hash = self.databases[place].table.hash(&key);
                self.stats.expired += 1;
                self.delete(db, hash, &key);
            }
        }
        work.min(max)
    }

    /// Drops an entry that was taken out: now if that is quick, else in slices later.
    pub(crate) fn discard_entry(&mut self, db: u16, entry: Entry) {
        if self.walker.is_none() {
            return self.garbage.add_entry(entry);
        }
        let key: Box<[u8]> = entry.key().into();
        self.discard(db, &key, entry.into_value());
    }

    /// Drops the value that a key had: now if that is quick, else in slices later.
    pub(crate) fn discard(&mut self, db: u16, key: &[u8], value: Value) {
        let kept = match &mut self.walker {
            Some(walker) => walker.keep(&self.databases[usize::from(db)], key, value),
            None => Some(value),
        };
        kept.into_iter().for_each(|value| self.garbage.add_value(value));
    }

    pub(crate) fn discard_database(&mut self, database: Database) {
        let kept = match &mut self.walker {
            Some(walker) => walker.keep_database(database),
            None => Some(database),
        };
        kept.into_iter().for_each(|database| self.garbage.add_database(database));
    }

    /// Frees in slices what a checkpoint has done with, which may have changed what there is.
    pub(crate) fn discard_left(&mut self, left: impl IntoIterator<Item = Left>) {
        for left in left {
            match left {
                Left::Value(value) => self.garbage.add_value(value),
                Left::Database(database) => self.garbage.add_database(database),
            }
        }
        self.count_data();
    }

    /// Adds up what all databases take.
    pub(crate) fn count_data(&mut self) {
        self.data_bytes = self.databases.iter().map(Database::memory_bytes).sum();
    }

    /// Frees up to about `max` elements of discarded values. Returns how many were freed or looked
    /// at: less than `max` once nothing is left.
    pub fn free_slice(&mut self, max: usize) -> usize {
        self.garbage.free_slice(max)
    }

    /// Gives up all data, to be freed in slices; the shard is not used again.
    pub fn bury(&mut self, limits: &EncodingLimits) {
        self.finish_checkpoint(limits);
        self.effects.clear();
        for db in 0..DATABASE_COUNT as u16 {
            let database = self.take_database(db);
            self.garbage.add_database(database);
        }
    }

    /// Counts everything anew and compares: for tests.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn check_memory(&self) {
        for database in &self.databases {
            let bytes: usize = database.table.iter().map(Entry::memory_bytes).sum();
            assert_eq!(bytes, database.entry_bytes);
        }
        let bytes: usize = self.databases.iter().map(Database::memory_bytes).sum();
        assert_eq!(bytes, self.data_bytes);
        assert!(!self.garbage.is_empty() || self.garbage.bytes() == 0);
    }
}
