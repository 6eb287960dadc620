//! Small data directories of two cores and three shards, on the simulator's disk.

use engine::hash::Hasher64;
use engine::keyspace::Shards;
use engine::keyspace::digest::{Digest, digest_of_database};
use engine::limits::DATABASE_COUNT;
use engine::slot::{shard_of_slot, slot_of};
use replication::log::limits::SEGMENT_BYTES_MIN;
use server::config::Config;

use super::map::Flip;
use crate::sim::client::Reply;
use crate::sim::disk::Disk;
use crate::sim::node::recover_disk;
use crate::sim::quiet::Quiet;

/// Two of them on the first core, so that it writes several records at once.
pub const SHARDS: usize = 3;

/// A shard of each core.
const OF_CORE: [usize; 2] = [0, 2];

/// How the process that wrote the directory ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Stopped,
    Killed,
}

/// A digest of each shard's data.
pub type State = Vec<String>;

/// What was recovered: the data, and the checkpoints that are damaged.
pub type Found = (State, Vec<String>);

pub struct Image {
    pub disk: Disk,
    pub config: Config,
    pub whole: State,
    /// The data before the last command of each core, where the log was not sealed.
    before: State,
    pub ending: Ending,
}

/// A key of this shard, told from others by `tag`.
fn key(shard: usize, tag: &str) -> String {
    let mut names = (0..).map(|number| format!("{tag}{number}"));
    let of_shard = |name: &String| shard_of_slot(slot_of(name.as_bytes()), SHARDS) == shard;
    names.find(of_shard).expect("every shard has keys")
}

/// Writes of every type for one shard.
fn writes(shard: usize, round: &str) -> Vec<String> {
    let key = |tag: &str| key(shard, &format!("{round}{tag}"));
    vec![
        format!("SET {} text", key("s")),
        format!("INCRBY {} 12345", key("i")),
        format!("RPUSH {} a b c 17", key("l")),
        format!("SADD {} 1 2 3", key("n")),
        format!("SADD {} x y", key("m")),
        format!("HSET {} f 1 g two", key("h")),
        format!("ZADD {} 1.5 x -2 y", key("z")),
        format!("SET {} brief PXAT 1900000000000", key("e")),
        format!("SET {} gone", key("d")),
        format!("DEL {}", key("d")),
    ]
}

fn pair(round: &str) -> String {
    let key = |shard| key(shard, &format!("{round}p"));
    format!("MSET {} left {} middle {} right", key(0), key(1), key(2))
}

fn config() -> Config {
    Config {
        cores: 2,
        shards: Some(SHARDS),
        log_segment_bytes: SEGMENT_BYTES_MIN,
        checkpoint_log_bytes: 1 << 40,
        ..Config::default()
    }
}

impl Image {
    /// Every type, a transaction over both shards, two checkpoints of each shard, and behind them
    /// a log with a start in the middle.
    pub fn small(ending: Ending) -> Image {
        let config = config();
        let mut node = Quiet::start(&config, Disk::default()).expect("it starts");
        let write = |node: &mut Quiet, round: &str| {
            run(node, &(0..SHARDS).flat_map(|shard| writes(shard, round)).collect::<Vec<_>>());
            run(node, &[pair(round)]);
        };
        for round in ["one", "two"] {
            write(&mut node, round);
            run(&mut node, &["SAVE".to_owned()]);
        }
        let disk = node.kill().expect("it settles");
        let mut node = Quiet::start(&config, disk).expect("it starts");
        write(&mut node, "three");
        // So that every record but the last one of each log is called durable by another.
        OF_CORE.iter().for_each(|shard| run(&mut node, &[format!("SET {} 1", key(*shard, "k"))]));
        node.settle().expect("it settles");
        let before = state_of(&config, &mut node.disk().copy()).expect("it is sound").0;
        OF_CORE.iter().for_each(|shard| run(&mut node, &[format!("SET {} 2", key(*shard, "z"))]));
        Image::of(config, node, before, ending)
    }

    /// Several segments of each log, some of them made of older ones.
    pub fn long() -> Image {
        let config = config();
        let mut node = Quiet::start(&config, Disk::default()).expect("it starts");
        let large = "x".repeat(30_000);
        for round in 0..8 {
            for shard in 0..SHARDS {
                let set = |n: usize| format!("SET {} {large}{round}", key(shard, &format!("v{n}")));
                (0..3).for_each(|n| run(&mut node, &[set(n)]));
            }
            run(&mut node, &[pair(&round.to_string())]);
            if round < 6 {
                run(&mut node, &["SAVE".to_owned()]);
            }
        }
        Image::of(config, node, State::new(), Ending::Stopped)
    }

    fn of(config: Config, node: Quiet, before: State, ending: Ending) -> Image {
        let disk = match ending {
            Ending::Stopped => node.stop(),
            Ending::Killed => node.kill(),
        };
        let disk = disk.expect("it comes to its end");
        let (whole, damaged) = state_of(&config, &mut disk.copy()).expect("it is sound");
        assert!(damaged.is_empty(), "{damaged:?}");
        assert_ne!(whole, before);
        Image { disk, config, whole, before, ending }
    }

    /// A start with one bit flipped.
    pub fn recover_with(&self, flip: &Flip) -> Result<Found, String> {
        let mut disk = self.disk.copy();
        flip.apply(&mut disk);
        state_of(&self.config, &mut disk)
    }

    /// The data without the last entry in the log of this core.
    pub fn without_last(&self, core: u16) -> State {
        let (mut state, shard) = (self.whole.clone(), OF_CORE[usize::from(core)]);
        state[shard].clone_from(&self.before[shard]);
        state
    }
}

fn run(node: &mut Quiet, commands: &[String]) {
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    let replies = node.run(&commands).expect("they are answered");
    for (command, reply) in commands.iter().zip(replies) {
        assert!(!matches!(reply, Reply::Error(_)), "{command}: {reply:?}");
    }
}

fn state_of(config: &Config, disk: &mut Disk) -> Result<Found, String> {
    let recovered = recover_disk(config, disk, hasher())?;
    Ok((state(&recovered.shards), std::mem::take(&mut disk.damaged)))
}

pub fn hasher() -> Hasher64 {
    Hasher64::new([1, 2, 3, 4])
}

pub fn state(shards: &Shards) -> State {
    let digest = |shard| {
        let mut sum = Digest::default();
        (0..DATABASE_COUNT as u16).for_each(|db| sum ^= digest_of_database(shard, db));
        sum.to_string()
    };
    shards.held().map(digest).collect()
}
