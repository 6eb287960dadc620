use super::*;
use crate::hash::Hasher64;
use crate::keyspace::{Expiry, Space};
use crate::settings::Settings;

const NOW_MS: i64 = 1_767_225_600_000;

struct Fixture {
    shards: Shards,
    settings: Settings,
    evictor: Evictor,
    dice: Rng,
    now_ms: i64,
}

impl Fixture {
    fn new(shard_count: usize, policy: Policy) -> Fixture {
        let hasher = Hasher64::new([1, 2, 3, 4]);
        let mut shards = Shards::new(shard_count, hasher.clone());
        (0..shard_count).for_each(|id| shards.put(Box::new(Shard::new(id as u16, hasher.clone()))));
        let mut settings = Settings::default();
        settings.eviction.policy = policy;
        let (evictor, dice) = (Evictor::default(), Rng::new(1));
        Fixture { shards, settings, evictor, dice, now_ms: NOW_MS }
    }

    fn space(&mut self, db: u16) -> Space<'_> {
        Space::new(&mut self.shards, &self.settings, db, self.now_ms)
    }

    /// Sets keys of a name and number, one a second.
    fn fill(&mut self, name: &str, numbers: std::ops::Range<i64>, life_s: Option<i64>) {
        for number in numbers {
            self.now_ms += 1000;
            let at_ms = life_s.map(|s| self.now_ms + s * 1000);
            let expiry = at_ms.map_or(Expiry::Clear, Expiry::At);
            self.space(0).set_string(format!("{name}:{number}").as_bytes(), b"value", expiry);
        }
    }

    fn evict(&mut self, count: usize) -> usize {
        let eviction = &self.settings.eviction;
        let mut evict_one = || {
            self.evictor.evict_one(
                &mut self.shards,
                |_| true,
                eviction,
                self.now_ms,
                &mut self.dice,
            )
        };
        (0..count).filter(|_| evict_one().is_some()).count()
    }

    fn numbers_left(&mut self, name: &str, numbers: std::ops::Range<i64>) -> Vec<i64> {
        let mut space = self.space(0);
        numbers.filter(|n| space.contains(format!("{name}:{n}").as_bytes())).collect()
    }
}

#[test]
fn the_longest_unused_keys_go_first_whatever_their_shard() {
    for shard_count in [1, 3] {
        let mut fixture = Fixture::new(shard_count, Policy::AllkeysLru);
        fixture.fill("key", 0..2000, None);
        assert_eq!(fixture.evict(1000), 1000);
        let left = fixture.numbers_left("key", 0..2000);
        assert_eq!(left.len(), 1000);
        // With five samples and a pool a key of the older half stays once in a while.
        let old = left.iter().filter(|number| **number < 1000).count();
        assert!(old < 130, "{old} of the older half are left");
        assert_eq!(fixture.shards.held().map(|shard| shard.stats.evicted).sum::<u64>(), 1000);
    }
}

#[test]
fn the_least_used_keys_go_first() {
    let mut fixture = Fixture::new(1, Policy::AllkeysLfu);
    fixture.settings.eviction.lfu_log_factor = 0;
    fixture.settings.eviction.lfu_decay_minutes = 0;
    fixture.fill("key", 0..1000, None);
    for number in 0..500 {
        for _ in 0..5 {
            fixture.space(0).read(format!("key:{number}").as_bytes());
        }
    }
    assert_eq!(fixture.evict(300), 300);
    let used = fixture.numbers_left("key", 0..500).len();
    assert!(used > 485, "{used} of 500 used keys are left");
}

#[test]
fn volatile_policies_take_keys_with_a_time_alone_and_find_few_among_many() {
    let policies =
        [Policy::VolatileLru, Policy::VolatileLfu, Policy::VolatileRandom, Policy::VolatileTtl];
    for policy in policies {
        let mut fixture = Fixture::new(2, policy);
        fixture.fill("stays", 0..20_000, None);
        fixture.fill("goes", 0..10, Some(100_000));
        let mut evicted = 0;
        for _ in 0..200 {
            evicted += fixture.evict(1);
        }
        assert_eq!(evicted, 10, "{policy:?}");
        assert_eq!(fixture.numbers_left("stays", 0..20_000).len(), 20_000);
        assert_eq!(fixture.shards.held().map(|shard| shard.evictable(policy)).sum::<usize>(), 0);
    }
}

#[test]
fn the_soonest_to_expire_go_first() {
    let mut fixture = Fixture::new(1, Policy::VolatileTtl);
    for number in 0..1000_i64 {
        let at_ms = fixture.now_ms + 1_000_000 + (number * 7919 % 1000) * 1000;
        let key = format!("key:{}", number * 7919 % 1000);
        fixture.space(0).set_string(key.as_bytes(), b"value", Expiry::At(at_ms));
    }
    assert_eq!(fixture.evict(500), 500);
    let late = fixture.numbers_left("key", 500..1000).len();
    assert!(late > 430, "{late} of the 500 that live longest are left");
}

#[test]
fn random_policies_prefer_no_database_and_no_key() {
    let mut fixture = Fixture::new(1, Policy::AllkeysRandom);
    for number in 0..4000 {
        let key = format!("key:{number}");
        // Three in four keys in database 1.
        let db = u16::from(number % 4 != 0);
        fixture.space(db).set_string(key.as_bytes(), b"value", Expiry::Clear);
    }
    assert_eq!(fixture.evict(2000), 2000);
    let left = fixture.shards.get(0).map_or(0, |shard| shard.database(0).len());
    assert!((430..570).contains(&left), "{left} of 1000");
}

#[test]
fn what_was_used_since_it_was_sampled_stays() {
    let mut fixture = Fixture::new(1, Policy::AllkeysLru);
    fixture.fill("key", 0..64, None);
    fixture.evict(8);
    let sampled: Vec<Vec<u8>> =
        fixture.evictor.pool.iter().map(|candidate| candidate.key.clone()).collect();
    assert!(!sampled.is_empty());
    fixture.now_ms += 10_000;
    for key in &sampled {
        fixture.space(0).read(key);
    }
    fixture.evict(20);
    for key in &sampled {
        assert!(fixture.space(0).contains(key));
    }
}

#[test]
fn nothing_to_take_is_no_fault() {
    let mut fixture = Fixture::new(1, Policy::VolatileLru);
    assert_eq!(fixture.evict(3), 0);
    fixture.fill("key", 0..10, None);
    assert_eq!(fixture.evict(3), 0);
    fixture.settings.eviction.policy = Policy::AllkeysLru;
    assert_eq!(fixture.evict(20), 10);
}
