//! What a checkpoint costs: walking and loading, the longest slice, what changes pay meanwhile, the
//! memory it adds. One thread, no disk.
//!
//! ```text
//! checkpoint keys|changing|zset|hash [count] [value bytes]
//! ```
//! `keys`: small strings. `changing`: the same with a pipeline of SETs between slices. `zset`,
//! `hash`: one large collection.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use engine::checkpoint::{Contents, Loader, Progress};
use engine::hash::Hasher64;
use engine::keyspace::{Expiry, Missing, Shard, Shards, Space, Update};
use engine::settings::Settings;
use engine::value::{Hash, ZSet};
use replication::checkpoint::file::Encoder;
use replication::checkpoint::{CheckpointIdentity, CheckpointReader, CheckpointSource};
use replication::ids::{Index, ShardId, Term};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a turn may walk.
const SLICE_BYTES: usize = 64 * 1024;
/// SETs between two slices: fifty clients with pipelines of sixteen.
const SETS_A_TURN: u64 = 800;

struct InMemory(Vec<u8>);

impl CheckpointSource for InMemory {
    fn size_bytes(&mut self) -> Result<u64, String> {
        Ok(self.0.len() as u64)
    }

    fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), String> {
        let start = offset as usize;
        into.copy_from_slice(self.0.get(start..start + into.len()).ok_or("past the end")?);
        Ok(())
    }
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().context("keys, changing, zset or hash")?;
    let mut number = |default: u64| -> anyhow::Result<u64> {
        arguments.next().map_or(Ok(default), |text| text.parse().context("a number, please"))
    };
    let (count, value_bytes) = (number(5_000_000)?, number(16)? as usize);
    let hasher = Hasher64::new([1, 2, 3, 4]);
    let mut shards = Shards::new(1, hasher.clone());
    shards.put(Box::new(Shard::new(0, hasher)));
    let settings = Settings::default();
    fill(&mut shards, &settings, &what, count, value_bytes)?;
    let filled = resident_bytes()?;
    println!("{what}: {count} of {value_bytes} bytes, {} MiB resident", filled >> 20);
    let changing = what == "changing";
    let (file, contents) = walk(&mut shards, &settings, changing.then_some(count))?;
    println!("file {} MiB", file.len() >> 20);
    drop(shards);
    load(file, contents, &settings)
}

fn fill(
    shards: &mut Shards,
    settings: &Settings,
    what: &str,
    count: u64,
    value_bytes: usize,
) -> anyhow::Result<()> {
    let value = "v".repeat(value_bytes);
    for from in (0..count).step_by(1000) {
        let mut space = Space::new(shards, settings, 0, 1);
        for n in from..count.min(from + 1000) {
            put(&mut space, what, n, value.as_bytes())?;
        }
        // What the log has taken is not kept.
        shards.get_mut(0).context("it was put in")?.close_entry();
    }
    Ok(())
}

fn put(space: &mut Space<'_>, what: &str, n: u64, value: &[u8]) -> anyhow::Result<()> {
    let added = match what {
        "keys" | "changing" => {
            space.set_string(format!("key:{n:012}").as_bytes(), value, Expiry::Clear);
            return Ok(());
        }
        "zset" => {
            let member = format!("member:{n:010}");
            let score = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
            let change = |zset: &mut Update<'_, ZSet>| zset.put(member.as_bytes(), score as f64);
            space.update(b"zset", Missing::Create, change)
        }
        "hash" => {
            let field = format!("field:{n:010}");
            let change = |hash: &mut Update<'_, Hash>| {
                hash.set(field.as_bytes(), value);
            };
            space.update(b"hash", Missing::Create, change)
        }
        other => bail!("{other}: keys, changing, zset or hash"),
    };
    added.map(drop).map_err(|_| anyhow::anyhow!("the key has another type"))
}

#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn measure<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let result = work();
        self.0.push(began.elapsed());
        result
    }

    /// The longest part of all says more about the machine than about the work.
    fn print(&mut self, what: &str) {
        self.0.sort_unstable();
        let Some(last) = self.0.len().checked_sub(1) else { return };
        let part = |thousandth: usize| self.0[last * thousandth / 1000].as_micros();
        println!(
            "{what}: {:.2} s in {} parts; us: median {}, 99 % {}, 99.9 % {}, longest {}",
            self.0.iter().sum::<Duration>().as_secs_f64(),
            last + 1,
            part(500),
            part(990),
            part(999),
            part(1000)
        );
    }
}

fn walk(
    shards: &mut Shards,
    settings: &Settings,
    changing: Option<u64>,
) -> anyhow::Result<(Vec<u8>, Contents)> {
    let before = resident_bytes()?;
    let (mut begin, mut slices, mut encode) =
        (Times::default(), Times::default(), Times::default());
    let (mut quiet, mut busy) = (Times::default(), Times::default());
    let mut sets = Sets { next: 1 };
    if let Some(count) = changing {
        (0..500).for_each(|_| quiet.measure(|| sets.turn(shards, settings, count)));
    }
    let shard = shards.get_mut(0).context("it was put in")?;
    let (index, contents) = begin.measure(|| shard.begin_checkpoint());
    let identity = CheckpointIdentity {
        cluster: 1,
        node: 1,
        shard: ShardId(0),
        index: Index(index),
        term: Term(1),
        stamp: 1,
    };
    let mut file = Vec::with_capacity(4 << 30);
    let mut encoder = Encoder::begin(&identity, None, &contents.encode(), &mut file);
    let mut waiting_max = 0;
    loop {
        if let Some(count) = changing {
            busy.measure(|| sets.turn(shards, settings, count));
        }
        let shard = shards.get_mut(0).context("it was put in")?;
        let progress = slices.measure(|| shard.walk_checkpoint(&settings.encoding, SLICE_BYTES));
        waiting_max = waiting_max.max(shard.checkpoint_waiting_bytes());
        while let Some(block) = shard.take_checkpoint_block() {
            encode.measure(|| encoder.block(&block, &mut file));
        }
        if progress == Progress::Done {
            break;
        }
    }
    encoder.end(&mut file);
    let shard = shards.get_mut(0).context("it was put in")?;
    assert!(shard.finish_checkpoint(&settings.encoding));
    begin.print("begin");
    slices.print("walk");
    encode.print("compress and check");
    if changing.is_some() {
        quiet.print("800 SETs a turn, without a checkpoint");
        busy.print("800 SETs a turn, beside the walk");
    }
    let added = resident_bytes()?.saturating_sub(before + file.len());
    println!("blocks waiting at most {} KiB, memory added {} MiB", waiting_max >> 10, added >> 20);
    Ok((file, contents))
}

struct Sets {
    next: u64,
}

impl Sets {
    fn turn(&mut self, shards: &mut Shards, settings: &Settings, count: u64) {
        let mut space = Space::new(shards, settings, 0, 1);
        for _ in 0..SETS_A_TURN {
            self.next = self.next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let n = (self.next >> 33) % count;
            space.set_string(format!("key:{n:012}").as_bytes(), b"changed", Expiry::Clear);
        }
        if let Some(shard) = shards.get_mut(0) {
            shard.close_entry();
        }
    }
}

fn load(file: Vec<u8>, contents: Contents, settings: &Settings) -> anyhow::Result<()> {
    let before = resident_bytes()?;
    let (mut read, mut load) = (Times::default(), Times::default());
    let mut reader = CheckpointReader::open(InMemory(file))?;
    let bytes = reader.summary().payload_bytes;
    let hasher = Hasher64::new([5, 6, 7, 8]);
    let began = Instant::now();
    let mut loader = Loader::new(0, 1, hasher, settings.encoding, contents, bytes);
    while let Some(payload) = read.measure(|| reader.next_payload())? {
        load.measure(|| loader.load(payload))?;
    }
    let shard = loader.finish(1)?;
    println!(
        "loaded {} keys in {:.2} s: {} MiB of contents, {} MiB more resident",
        shard.database(0).len(),
        began.elapsed().as_secs_f64(),
        bytes >> 20,
        (resident_bytes()?.saturating_sub(before)) >> 20
    );
    read.print("of that check and decompress");
    load.print("of that make keys");
    Ok(())
}

fn resident_bytes() -> anyhow::Result<usize> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages: usize = text.split(' ').nth(1).context("statm has seven numbers")?.parse()?;
    Ok(pages * 4096)
}
