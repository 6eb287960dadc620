//! Commands run in process with a clock that tests set. After every command the law of effects is
//! checked: the effects of a shard, applied to a copy of what it was, make the copy what it is.

use std::collections::BTreeMap;

use crate::args::OwnedArgs;
use crate::effect::apply::apply;
use crate::hash::Hasher64;
use crate::keyspace::{Shard, Shards, Space, ValueRef};
use crate::limits::DATABASE_COUNT;
use crate::reply::{Protocol, Reply};
use crate::rng::Rng;
use crate::settings::Settings;

use super::call::{self, Call, Run};
use super::table;

/// 2026-01-01; any moment that is not near 0 does.
const START_MS: i64 = 1_767_225_600_000;

/// Everything a test sees of a value: members in an order of their own.
pub(crate) type Contents = BTreeMap<(u16, Vec<u8>), (String, Option<i64>)>;

/// What a command left.
pub struct Ran {
    pub reply: Vec<u8>,
    /// It had effects.
    pub changed: bool,
}

pub struct Fixture {
    shards: Shards,
    /// What the effects alone have made.
    followers: Shards,
    pub settings: Settings,
    pub protocol: Protocol,
    pub db: u16,
    now_ms: i64,
    rng: Rng,
}

impl Fixture {
    pub fn new(shard_count: usize) -> Fixture {
        let build = |seeds| {
            let hasher = Hasher64::new(seeds);
            let mut shards = Shards::new(shard_count, hasher.clone());
            (0..shard_count)
                .for_each(|id| shards.put(Box::new(Shard::new(id as u16, hasher.clone()))));
            shards
        };
        Fixture {
            shards: build([1, 2, 3, 4]),
            followers: build([5, 6, 7, 8]),
            settings: Settings::default(),
            protocol: Protocol::Resp2,
            db: 0,
            now_ms: START_MS,
            rng: Rng::new(1),
        }
    }

    pub fn shards(&self) -> &Shards {
        &self.shards
    }

    pub fn advance_ms(&mut self, ms: i64) {
        self.now_ms += ms;
    }

    /// Runs a command whose words stand between spaces; `""` is an empty word.
    pub fn run(&mut self, line: &str) -> String {
        let words = line.split_whitespace();
        let words: Vec<&[u8]> =
            words.map(|word| if word == "\"\"" { b"" } else { word.as_bytes() }).collect();
        String::from_utf8_lossy(&self.run_words(&words)).into_owned()
    }

    /// Runs a command and returns its reply as bytes.
    pub fn run_words(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let name = String::from_utf8_lossy(words[0]).into_owned();
        let ran = self.try_words(words).unwrap_or_else(|error| panic!("{name}: {error}"));
        ran.unwrap_or_else(|| panic!("the engine does not run {name} of {} words", words.len()))
            .reply
    }

    /// Runs a command, if it is one of the engine's with so many words. The error says how the
    /// law of effects is broken.
    pub fn try_words(&mut self, words: &[&[u8]]) -> Result<Option<Ran>, String> {
        let args = OwnedArgs::from_words(words.iter().copied());
        let Some(mut spec) = table::find(words[0]) else { return Ok(None) };
        if let Some(word) = words.get(1)
            && let Some(sub) = table::find_subcommand(spec, word)
        {
            spec = sub;
        }
        let Run::Engine(handler) = spec.run else { return Ok(None) };
        if !spec.arity_fits(words.len()) {
            return Ok(None);
        }
        let mut out = Vec::new();
        let mut call = Call {
            args: args.as_args(),
            space: Space::new(&mut self.shards, &self.settings, self.db, self.now_ms),
            reply: Reply::new(&mut out, self.protocol),
            rng: &mut self.rng,
            block: None,
        };
        call::run(handler, &mut call);
        let changed = self.check_effects()?;
        Ok(Some(Ran { reply: out, changed }))
    }

    /// Runs commands one after the other and compares each reply.
    #[track_caller]
    pub fn check(&mut self, steps: &[(&str, &str)]) {
        for (line, expected) in steps {
            assert_eq!(self.run(line), *expected, "{line}");
        }
    }

    /// Whether there were any.
    fn check_effects(&mut self) -> Result<bool, String> {
        let mut changed = false;
        for place in 0..self.shards.count() {
            let shard = self.shards.get_mut(place).expect("the fixture holds all shards");
            shard.check_memory();
            let payload = shard.effects.payload().to_vec();
            shard.close_entry();
            if !payload.is_empty() {
                changed = true;
                apply(&mut self.followers, place, &self.settings, &payload)
                    .map_err(|error| format!("its effects cannot be applied: {error}"))?;
            }
        }
        let (contents, followed) = (contents(&self.shards), contents(&self.followers));
        if contents != followed {
            return Err(format!("made {contents:?}\nits effects {followed:?}"));
        }
        Ok(changed)
    }
}

pub(crate) fn contents(shards: &Shards) -> Contents {
    let mut contents = Contents::new();
    for shard in shards.held() {
        for db in 0..DATABASE_COUNT as u16 {
            for entry in shard.database(db).table.iter() {
                let value = describe(entry.value());
                contents.insert((db, entry.key().to_vec()), (value, entry.expires_at_ms()));
            }
        }
    }
    contents
}

fn describe(value: ValueRef<'_>) -> String {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines.join(" ")
    };
    match value {
        ValueRef::Integer(integer) => format!("string {integer}"),
        ValueRef::Embedded(bytes) => format!("string {}", text(bytes)),
        ValueRef::Raw(bytes) => format!("string {}", text(bytes)),
        ValueRef::Set(set) => {
            format!("set {}", sorted(set.iter().map(|member| text(&member)).collect()))
        }
        ValueRef::Hash(hash) => {
            let pairs = hash.iter().map(|(f, v)| format!("{}={}", text(f), text(v)));
            format!("hash {}", sorted(pairs.collect()))
        }
        other => {
            let mut image = Vec::new();
            crate::image::write(other, &mut image);
            format!("image {}", text(&image))
        }
    }
}
