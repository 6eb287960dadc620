//! What shards say they take, beside what the allocator says it gave out. A binary of its own: the
//! allocator is the server's, and nothing else runs here.

mod allocator;

use engine::args::OwnedArgs;
use engine::command::call::{self, Call, Run};
use engine::command::table;
use engine::hash::Hasher64;
use engine::keyspace::{Shard, Shards, Space};
use engine::reply::{Protocol, Reply};
use engine::rng::Rng;
use engine::settings::Settings;

use allocator::allocated_bytes;

const START_MS: i64 = 1_767_225_600_000;

struct Fixture {
    shards: Shards,
    settings: Settings,
    rng: Rng,
    now_ms: i64,
    /// The allocator's figure before there were shards.
    before_bytes: usize,
    replies: Vec<u8>,
}

impl Fixture {
    fn new(shard_count: usize) -> Fixture {
        let hasher = Hasher64::new([1, 2, 3, 4]);
        let before_bytes = allocated_bytes();
        let mut shards = Shards::new(shard_count, hasher.clone());
        (0..shard_count).for_each(|id| shards.put(Box::new(Shard::new(id as u16, hasher.clone()))));
        let (settings, rng) = (Settings::default(), Rng::new(7));
        Fixture { shards, settings, rng, now_ms: START_MS, before_bytes, replies: Vec::new() }
    }

    fn run(&mut self, words: &[&[u8]]) {
        let args = OwnedArgs::from_words(words.iter().copied());
        let spec = table::find(words[0]).expect("a command");
        let Run::Engine(handler) = spec.run else { panic!("not the engine's") };
        self.replies.clear();
        let mut call = Call {
            args: args.as_args(),
            space: Space::new(&mut self.shards, &self.settings, 0, self.now_ms),
            reply: Reply::new(&mut self.replies, Protocol::Resp2),
            rng: &mut self.rng,
            block: None,
        };
        assert!(!call::run(handler, &mut call), "{}", self.replies.escape_ascii());
        self.shards.held_mut().for_each(|shard| {
            shard.close_entry();
        });
    }

    fn line(&mut self, line: &str) {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        self.run(&words);
    }

    fn text(&mut self, len_max: u64) -> String {
        let len = 1 + self.rng.below(len_max) as usize;
        let letter = char::from(b'a' + self.rng.below(26) as u8);
        std::iter::repeat_n(letter, len).collect()
    }

    fn free_garbage(&mut self) {
        while self.shards.held_mut().any(|shard| shard.free_slice(1000) >= 1000) {}
        assert!(self.shards.held().all(|shard| shard.garbage_bytes() == 0));
    }

    /// Compares within 2 %. What is small in itself (buffers of the test) is allowed for.
    #[track_caller]
    fn check(&mut self, what: &str) {
        self.replies = Vec::new();
        let effects: usize = self.shards.held().map(|shard| shard.effects.memory_bytes()).sum();
        let counted: usize = self.shards.held().map(Shard::memory_bytes).sum();
        let counted = counted + effects;
        let allocated = allocated_bytes() - self.before_bytes;
        let error = counted as f64 / allocated as f64 * 100.0 - 100.0;
        println!("{what}: counted {counted}, allocated {allocated}, {error:+.2} %");
        let allowed = allocated / 50 + 4096;
        assert!(counted.abs_diff(allocated) <= allowed, "{what}: {counted} of {allocated}");
    }

    fn fill_strings(&mut self, name: &str, count: u64, len_max: u64) {
        for number in 0..count {
            let value = self.text(len_max);
            self.line(&format!("SET {name}:{number} {value}"));
        }
    }

    /// So many collections of each type with so many elements.
    fn fill_collections(&mut self, name: &str, count: u64, elements: u64, len_max: u64) {
        for number in 0..count {
            for element in 0..elements {
                let (value, score) = (self.text(len_max), self.rng.below(1000));
                self.line(&format!("RPUSH {name}:list:{number} {value}"));
                self.line(&format!("HSET {name}:hash:{number} field:{element} {value}"));
                self.line(&format!("SADD {name}:set:{number} {element}:{value}"));
                self.line(&format!("SADD {name}:numbers:{number} {}", element * score));
                self.line(&format!("ZADD {name}:zset:{number} {score} {element}:{value}"));
            }
        }
    }
}

#[test]
fn shards_know_what_they_take_within_two_per_cent_of_the_allocator() {
    let mut fixture = Fixture::new(3);
    fixture.check("empty shards");
    fixture.fill_strings("short", 50_000, 40);
    fixture.check("short strings");
    fixture.fill_strings("medium", 5_000, 2_000);
    fixture.fill_strings("long", 200, 200_000);
    fixture.check("strings of all lengths");
    for number in 0..50_000 {
        fixture.line(&format!("SET number:{number} {number}"));
        if number % 3 == 0 {
            fixture.line(&format!("EXPIRE number:{number} {}", 100 + number % 50));
        }
        fixture.line(&format!("APPEND short:{number} tail"));
    }
    fixture.check("numbers, times, appended strings");
    fixture.fill_collections("small", 2_000, 6, 20);
    fixture.check("small collections");
    fixture.fill_collections("medium", 40, 400, 30);
    fixture.check("medium collections");
    fixture.fill_collections("large", 2, 60_000, 40);
    fixture.check("large collections");
    fixture.fill_collections("large", 1, 2_000, 2_000);
    fixture.check("large elements");
    // Other scores and values in place, and elements that go.
    for number in 0..60_000 {
        let (value, score) = (fixture.text(60), fixture.rng.below(1000));
        fixture.line(&format!("ZADD large:zset:1 {score} {number}:x"));
        fixture.line(&format!("HSET large:hash:1 field:{number} {value}"));
        if number % 2 == 0 {
            fixture.line(&format!("SREM large:numbers:1 {number}"));
            fixture.line("LPOP large:list:1");
            fixture.line("ZPOPMIN large:zset:1");
            fixture.line(&format!("HDEL large:hash:1 field:{number}"));
        }
    }
    fixture.check("changed collections");
    fixture.now_ms += 200_000;
    for shard in fixture.shards.held_mut() {
        while shard.expire_slice(0, START_MS + 200_000, 1000) == 1000 {}
        shard.close_entry();
    }
    fixture.check("after expiry");
    for number in 0..40_000 {
        fixture.line(&format!("DEL short:{number} medium:{number} small:set:{number}"));
    }
    fixture.check("after deletions");
    fixture.line("DEL large:zset:0 large:hash:0 large:set:0 large:list:0 large:numbers:0");
    fixture.check("large values not yet freed");
    fixture.free_garbage();
    fixture.check("large values freed");
    fixture.line("FLUSHALL");
    fixture.check("flushed, not yet freed");
    let mut slices = 0;
    while fixture.shards.held_mut().any(|shard| shard.free_slice(4096) >= 4096) {
        slices += 1;
        if slices % 5 == 0 {
            fixture.check("while it is freed");
        }
    }
    fixture.free_garbage();
    fixture.check("flushed");
}
