//! Random commands between the slices of a checkpoint: what is loaded must be what was there when
//! it began, and with the effects since then what is there now.

use std::fmt::Write as _;

use super::record::Head;
use super::*;
use crate::args::OwnedArgs;
use crate::command::call::{self, Call, Run};
use crate::command::table;
use crate::command::testing::{Contents as State, contents};
use crate::effect::apply::apply;
use crate::hash::Hasher64;
use crate::keyspace::{Shards, Space};
use crate::limits::{
    CHECKPOINT_BLOCK_BYTES, CHECKPOINT_PIECE_BYTES, CHECKPOINT_WAITING_BYTES_MAX,
    CHECKPOINT_WHOLE_BYTES_MAX, DATABASE_COUNT,
};
use crate::reply::{Protocol, Reply};
use crate::rng::Rng;
use crate::settings::Settings;
use crate::value::walk::Piece;

const START_MS: i64 = 1_767_225_600_000;

struct World {
    shards: Shards,
    settings: Settings,
    now_ms: i64,
    rng: Rng,
    /// Entries of shard 0 since the checkpoint began.
    since: Vec<Vec<u8>>,
}

fn shards(count: usize, seeds: [u64; 4]) -> Shards {
    let hasher = Hasher64::new(seeds);
    let mut shards = Shards::new(count, hasher.clone());
    (0..count).for_each(|id| shards.put(Box::new(Shard::new(id as u16, hasher.clone()))));
    shards
}

impl World {
    fn new(shard_count: usize, seed: u64) -> World {
        let shards = shards(shard_count, [seed, 2, 3, 4]);
        let mut settings = Settings::default();
        let limits = &mut settings.encoding;
        limits.hash_max_listpack_entries = 8;
        limits.set_max_listpack_entries = 8;
        limits.set_max_intset_entries = 16;
        limits.zset_max_listpack_entries = 8;
        limits.list_max_listpack_size = 4;
        World { shards, settings, now_ms: START_MS, rng: Rng::new(seed), since: Vec::new() }
    }

    fn shard(&mut self) -> &mut Shard {
        self.shards.get_mut(0).expect("the world holds all shards")
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.rng.below(bound)
    }

    /// Runs a command of words between spaces and closes the entries it made.
    fn run(&mut self, db: u16, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let args = OwnedArgs::from_words(words.iter().map(|word| word.as_bytes()));
        let spec = table::find(words[0].as_bytes()).unwrap_or_else(|| panic!("no {}", words[0]));
        let Run::Engine(handler) = spec.run else { panic!("the server runs {}", words[0]) };
        let mut out = Vec::new();
        let mut call = Call {
            args: args.as_args(),
            space: Space::new(&mut self.shards, &self.settings, db, self.now_ms),
            reply: Reply::new(&mut out, Protocol::Resp2),
            rng: &mut self.rng,
            block: None,
        };
        call::run(handler, &mut call);
        assert!(!out.starts_with(b"-ERR syntax"), "{line}");
        self.close_entries();
    }

    fn close_entries(&mut self) {
        for place in 0..self.shards.count() {
            let shard = self.shards.get_mut(place).expect("the world holds all shards");
            if place == 0 && !shard.effects.is_empty() {
                self.since.push(shard.effects.payload().to_vec());
            }
            shard.close_entry();
        }
    }

    /// What a shard holds, as if the others held nothing.
    fn state(&mut self) -> State {
        state_of(&mut self.shards)
    }

    fn text(&mut self, max: u64) -> String {
        let len = self.below(max) + 1;
        let seed = self.below(26) as u8;
        (0..len).map(|n| char::from(b'a' + ((u64::from(seed) + n) % 26) as u8)).collect()
    }

    fn key(&mut self, keys: u64) -> String {
        format!("k{}", self.below(keys))
    }

    /// Elements for one collection command, each after what `before` gives.
    fn elements(&mut self, before: &str, spread: u64) -> String {
        let count = if self.below(8) == 0 { self.below(40) + 1 } else { self.below(3) + 1 };
        let mut line = String::new();
        for _ in 0..count {
            let element = self.below(spread);
            let tail = if self.below(6) == 0 { self.text(90) } else { String::new() };
            match before {
                "field" => write!(line, " e{element} v{tail}"),
                "score" => write!(line, " {} e{element}", element * 7 % 50),
                "item" => write!(line, " e{element}{tail}"),
                _ => write!(line, " {element}"),
            }
            .expect("a string takes everything");
        }
        line
    }

    fn act(&mut self, keys: u64, spread: u64) {
        let db = if self.below(4) == 0 { self.below(3) as u16 } else { 0 };
        let (key, other) = (self.key(keys), self.key(keys));
        let (x, y) = (self.below(12), self.below(12));
        let (to, at) = (self.below(3), self.below(1500));
        let line = match self.below(60) {
            0..4 => format!("SET {key} {}", self.text(40)),
            4..6 => format!("SET {key} {}", self.text(3000)),
            6 => format!("SET {key} {}", self.below(1000)),
            7 => format!("SETEX {key} {} {}", 1 + x, self.text(300)),
            8..11 => format!("APPEND {key} {}", self.text(300)),
            11..15 => format!("SETRANGE {key} {at} {}", self.text(200)),
            15 => format!("DEL {key}"),
            16 => format!("EXPIRE {key} {}", x + 1),
            17 => format!("PERSIST {key}"),
            18 => format!("INCR {key}"),
            19..23 => format!("HSET {key}{}", self.elements("field", spread)),
            23 => format!("HDEL {key} e{x} e{y}"),
            24..26 => format!("RPUSH {key}{}", self.elements("item", spread)),
            26..28 => format!("LPUSH {key}{}", self.elements("item", spread)),
            28 => format!("LPOP {key} {}", x + 1),
            29 => format!("RPOP {key} {}", x + 1),
            30 => format!("LTRIM {key} {x} {}", x + y * 5),
            31 => format!("LSET {key} {} new{x}", x as i64 - 6),
            32 => format!("LINSERT {key} BEFORE e{x} in{y}"),
            33 => format!("LREM {key} 0 e{x}"),
            34..36 => format!("SADD {key}{}", self.elements("item", spread)),
            36 => format!("SADD {key}{}", self.elements("integer", spread)),
            37 => format!("SREM {key} e{x} {y}"),
            38 => format!("SPOP {key} {}", x + 1),
            39 => format!("SMOVE {key} {other} e{x}"),
            40..43 => format!("ZADD {key}{}", self.elements("score", spread)),
            43 => format!("ZREM {key} e{x} e{y}"),
            44 => format!("ZREMRANGEBYRANK {key} {x} {}", x + y),
            45 => format!("ZINCRBY {key} 3 e{x}"),
            46..48 => format!("RENAME {key} {other}"),
            48 => format!("COPY {key} {other} DB {to} REPLACE"),
            49 => format!("MOVE {key} {to}"),
            50 => format!("SWAPDB {to} {}", x % 3),
            51 => "FLUSHDB".into(),
            52 => format!("SUNIONSTORE {other} {key} {other}"),
            53 => format!("GETDEL {key}"),
            54 => format!("LMOVE {key} {other} LEFT RIGHT"),
            55 => format!("ZUNIONSTORE {other} 2 {key} {other}"),
            56 => format!("SORT {key} ALPHA STORE {other}"),
            57 => {
                self.now_ms += 2000;
                let now_ms = self.now_ms;
                self.shard().expire_slice(db, now_ms, 100);
                return self.close_entries();
            }
            58 => {
                let limits = self.settings.encoding;
                self.shard().rebuild(db, &limits).expect("what was written is read");
                return;
            }
            _ => format!("FLUSHDB{}", if to == 0 { " ASYNC" } else { "" }),
        };
        if self.skips(&line) {
            return;
        }
        self.run(db, &line);
        self.shard().free_slice(100);
    }

    /// Flushing as often as it is drawn would leave little to test; a few commands are errors
    /// where the key is absent.
    fn skips(&mut self, line: &str) -> bool {
        let rare = line.starts_with("FLUSH") && self.below(6) != 0;
        rare || line.starts_with("SWAPDB") && self.below(2) != 0
    }
}

fn state_of(shards: &mut Shards) -> State {
    let others: Vec<_> = (1..shards.count()).filter_map(|place| shards.take(place)).collect();
    let state = contents(shards);
    others.into_iter().for_each(|shard| shards.put(shard));
    state
}

fn load_all(world: &World, contents: &Contents, blocks: &[Vec<u8>], index: u64) -> Shards {
    let count = world.shards.count();
    let mut loaded = shards(count, [77, 78, 79, 80]);
    loaded.take(0);
    let bytes = blocks.iter().map(|block| block.len() as u64).sum();
    let (hasher, limits) = (loaded.hasher(), world.settings.encoding);
    let mut loader = Loader::new(0, count, hasher, limits, contents.clone(), bytes);
    for block in blocks {
        loader.load(block).expect("what was written is loaded");
    }
    let shard = loader.finish(index).expect("nothing is missing");
    shard.check_memory();
    loaded.put(shard);
    loaded
}

/// One schedule of commands and slices.
fn schedule(seed: u64) {
    let shard_count = if seed.is_multiple_of(4) { 2 } else { 1 };
    let mut world = World::new(shard_count, seed);
    let keys = [3, 12, 40][world.below(3) as usize];
    let spread = [5, 60, 400][world.below(3) as usize];
    if seed.is_multiple_of(16) {
        for key in 0..world.below(2500) {
            world.run(0, &format!("SET f{key} {key}"));
        }
    }
    for _ in 0..world.below(300) {
        world.act(keys, spread);
    }
    let rounds = 1 + world.below(3);
    for round in 0..rounds {
        let last = round + 1 == rounds;
        checkpoint_once(&mut world, keys, spread, !last);
        for _ in 0..world.below(20) {
            world.act(keys, spread);
        }
    }
}

fn checkpoint_once(world: &mut World, keys: u64, spread: u64, may_abandon: bool) {
    let at_begin = world.state();
    let limits = world.settings.encoding;
    let (index, contents) = world.shard().begin_checkpoint();
    assert_eq!(contents.keys.iter().sum::<u64>(), at_begin.len() as u64);
    assert_eq!(Contents::decode(&contents.encode()), Ok(contents.clone()));
    world.since.clear();
    let mut blocks = Vec::new();
    let abandon_after = if may_abandon { world.below(12) } else { u64::MAX };
    let (acts_max, budget_max) = ([1, 4, 30][world.below(3) as usize], 1 + world.below(20_000));
    let fillers = world.below(3);
    for turn in 0.. {
        if turn == abandon_after {
            world.shard().finish_checkpoint(&limits);
            world.shard().check_memory();
            return;
        }
        for _ in 0..world.below(acts_max + 1) {
            world.act(keys, spread);
            if fillers == 0 && world.below(20) == 0 {
                // Segments split, or shrink and merge.
                let (from, removes) = (world.below(2000), world.below(2) == 0);
                for key in from..from + 300 {
                    let remove = format!("DEL f{key}");
                    world.run(0, &if removes { remove } else { format!("SET f{key} {turn}") });
                }
            }
        }
        let budget = 1 + world.below(budget_max) as usize;
        let progress = world.shard().walk_checkpoint(&limits, budget);
        world.shard().check_memory();
        while world.below(3) != 0 || progress != Progress::More {
            let Some(block) = world.shard().take_checkpoint_block() else { break };
            blocks.push(block);
        }
        if progress == Progress::Done {
            break;
        }
    }
    assert!(world.shard().finish_checkpoint(&limits), "it was done");
    world.shard().check_memory();
    let mut loaded = load_all(world, &contents, &blocks, index);
    assert_eq!(state_of(&mut loaded), at_begin, "loaded, and when it began");
    assert_eq!(loaded.get(0).map(Shard::open_index), Some(index + 1));
    for payload in &world.since {
        apply(&mut loaded, 0, &world.settings, payload).expect("the effects fit");
    }
    assert_eq!(state_of(&mut loaded), world.state(), "loaded with the effects, and now");
    for db in 0..DATABASE_COUNT as u16 {
        let (one, other) = (loaded.get(0), world.shards.get(0));
        let volatile = |shard: Option<&Shard>| shard.map(|s| s.database(db).volatile());
        assert_eq!(volatile(one), volatile(other));
    }
}

/// `QUORING_SCHEDULES=100000 cargo test --release -p engine checkpoint` runs more of them,
/// `QUORING_SEED=5` one.
#[test]
fn any_schedule_gives_the_state_at_the_index() {
    let setting = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match setting("QUORING_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("QUORING_SCHEDULES").unwrap_or(600),
    };
    for seed in seeds {
        let run = std::panic::catch_unwind(|| schedule(seed));
        assert!(
            run.is_ok(),
            "repeat it with QUORING_SEED={seed} cargo test -p engine any_schedule"
        );
    }
}

/// A shard with every form of value, its checkpoint, and where it belongs.
fn sample() -> (World, Contents, Vec<Vec<u8>>) {
    let mut world = World::new(1, 9);
    for _ in 0..150 {
        world.act(12, 60);
    }
    for (kind, line) in ["HSET h", "RPUSH l", "SADD s", "ZADD z"].into_iter().enumerate() {
        for _ in 0..100 {
            let before = ["field", "item", "item", "score"][kind];
            let elements = world.elements(before, 400);
            world.run(1, &format!("{line}{elements}"));
        }
    }
    world.run(2, &format!("SET text {}", "t".repeat(5000)));
    world.run(2, "PEXPIREAT text 9999999999999");
    let limits = world.settings.encoding;
    let (_, contents) = world.shard().begin_checkpoint();
    let mut blocks = Vec::new();
    while world.shard().walk_checkpoint(&limits, 5000) != Progress::Done {
        blocks.extend(world.shard().take_checkpoint_block());
    }
    while let Some(block) = world.shard().take_checkpoint_block() {
        blocks.push(block);
    }
    assert!(world.shard().finish_checkpoint(&limits));
    (world, contents, blocks)
}

fn try_load(world: &World, contents: &Contents, blocks: &[Vec<u8>]) -> Result<(), LoadError> {
    let hasher = Hasher64::new([5, 6, 7, 8]);
    let bytes = blocks.iter().map(|block| block.len() as u64).sum();
    let limits = world.settings.encoding;
    let mut loader = Loader::new(0, 1, hasher, limits, contents.clone(), bytes);
    blocks.iter().try_for_each(|block| loader.load(block))?;
    loader.finish(1).map(drop)
}

#[test]
fn whatever_is_read_nothing_panics_and_what_is_missing_is_noticed() {
    let (world, contents, blocks) = sample();
    assert!(blocks.len() > 3);
    assert_eq!(try_load(&world, &contents, &blocks), Ok(()));
    for missing in 0..blocks.len() {
        let mut fewer = blocks.clone();
        fewer.remove(missing);
        assert!(try_load(&world, &contents, &fewer).is_err(), "without block {missing}");
        let mut twice = blocks.clone();
        twice.push(blocks[missing].clone());
        assert!(try_load(&world, &contents, &twice).is_err(), "block {missing} twice");
    }
    let mut rng = Rng::new(3);
    for _ in 0..4000 {
        let mut damaged = blocks.clone();
        let block = rng.below(blocks.len() as u64) as usize;
        let at = rng.below(damaged[block].len() as u64) as usize;
        match rng.below(3) {
            0 => damaged[block].truncate(at),
            1 => damaged[block][at] ^= 1 << rng.below(8),
            _ => damaged[block][at] = 255,
        }
        // Checksums notice it; here it must only be harmless.
        let _ = try_load(&world, &contents, &damaged);
    }
}

#[test]
fn records_are_as_the_format_says() {
    let mut out = Vec::new();
    let head = Head { db: 3, expires_at_ms: Some(0x0102), key: b"key" };
    record::put_whole(&mut out, 1, head, b"value");
    record::put_begin(&mut out, Head { expires_at_ms: None, ..head }, 300, 2, 5);
    let piece = Piece { elements: 1, ordinal: 2, bytes: b"\x01a".to_vec() };
    record::put_piece(&mut out, 300, &piece);
    record::put_end(&mut out, 300);
    let expected: &[u8] = b"\x81\x03\x02\x01\0\0\0\0\0\0\x03key\x05value\
        \x08\x03\x03key\xac\x02\x02\x05\
        \x09\xac\x02\x02\x01\x02\x01a\
        \x0a\xac\x02";
    assert_eq!(out, expected);
    let contents = Contents { keys: [1, 200, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7] };
    let expected = b"\x01\x10\x01\xc8\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\x07";
    assert_eq!(contents.encode(), expected);
    assert!(Contents::decode(b"\x02\0").is_err(), "a newer version");
    assert!(Contents::decode(b"\x01\x05\0").is_err(), "too short");
}

/// A world whose shard has so many strings of `len` bytes, and a checkpoint that has begun.
fn begun(keys: usize, len: usize) -> World {
    let mut world = World::new(1, 3);
    let text = "x".repeat(len);
    (0..keys).for_each(|n| world.run(0, &format!("SET k{n} {text}")));
    world.shard().begin_checkpoint();
    world
}

#[test]
fn the_walk_stops_while_its_blocks_wait_and_a_change_forces_out_its_own_key() {
    const LEN: usize = CHECKPOINT_WHOLE_BYTES_MAX - 20;
    let mut world = begun(400, LEN);
    let limits = world.settings.encoding;
    assert_eq!(world.shard().walk_checkpoint(&limits, usize::MAX), Progress::Full);
    let waiting = world.shard().checkpoint_waiting_bytes();
    // A chunk of the table is looked at as a whole.
    let chunk = 14 * (CHECKPOINT_WHOLE_BYTES_MAX + 20);
    let most = CHECKPOINT_WAITING_BYTES_MAX + chunk;
    assert!((CHECKPOINT_WAITING_BYTES_MAX..most).contains(&waiting), "{waiting} bytes wait");
    assert_eq!(world.shard().walk_checkpoint(&limits, usize::MAX), Progress::Full);
    assert_eq!(world.shard().checkpoint_waiting_bytes(), waiting, "it waits");
    let block = world.shard().take_checkpoint_block().expect("some wait");
    let most = CHECKPOINT_BLOCK_BYTES + CHECKPOINT_WHOLE_BYTES_MAX + 20;
    assert!((CHECKPOINT_BLOCK_BYTES..most).contains(&block.len()), "{} bytes", block.len());
    // Keys that the walk has not come to: the table is what it was, so none is split.
    let mut forced = 0;
    for n in 0..400 {
        let before = world.shard().checkpoint_waiting_bytes();
        world.run(0, &format!("SET k{n} {}", "y".repeat(LEN)));
        let more = world.shard().checkpoint_waiting_bytes() - before;
        assert!(more <= CHECKPOINT_WHOLE_BYTES_MAX + 20, "a change forced out {more} bytes");
        forced = forced.max(more);
    }
    assert!(forced > LEN, "a change forces out what it changes: {forced} bytes");
}

#[test]
fn a_value_is_whole_up_to_a_size_and_beyond_it_in_pieces() {
    for (len, pieces) in [(CHECKPOINT_WHOLE_BYTES_MAX, false), (3 * CHECKPOINT_PIECE_BYTES, true)] {
        let mut world = begun(1, len);
        let limits = world.settings.encoding;
        let (mut steps, mut most) = (0, 0);
        loop {
            let before = world.shard().checkpoint_waiting_bytes();
            let progress = world.shard().walk_checkpoint(&limits, 1);
            let more = world.shard().checkpoint_waiting_bytes() - before;
            if progress == Progress::Done {
                break;
            }
            (steps, most) = (steps + usize::from(more >= 100), most.max(more));
        }
        assert!(most <= CHECKPOINT_PIECE_BYTES + 20, "{most} bytes in a step of {len}");
        assert_eq!(steps, if pieces { 3 } else { 1 }, "{len} bytes in so many steps");
    }
}
