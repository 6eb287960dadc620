//! Random commands from a seed.
//!
//! # Layout
//! - [`grammar`]: templates of commands, and how one becomes words.
//! - [`values`]: what fills the places of a template.
//! - `generic`, `strings`, `hashes`, `lists`, `sets`, `zsets`: the templates, family by family.
//! - [`transactions`]: MULTI, WATCH and their kin around the others.

mod generic;
pub mod grammar;
mod hashes;
mod lists;
mod sets;
mod strings;
mod transactions;
mod values;
mod zsets;

use super::random::Random;
use super::step::{Kind, Step, Words, lower, name};
use crate::words;

/// A family's templates, with weights, and the letter of its keys.
pub struct Family {
    pub name: &'static str,
    pub letter: char,
    pub templates: &'static [(u32, &'static str)],
}

static FAMILIES: &[&Family] = &[
    &generic::FAMILY,
    &strings::FAMILY,
    &hashes::FAMILY,
    &lists::FAMILY,
    &sets::FAMILY,
    &zsets::FAMILY,
];

/// The families' names.
pub fn families() -> Vec<&'static str> {
    FAMILIES.iter().map(|family| family.name).collect()
}

/// All steps of a seed, of `count` commands or a few more; `only`: from these families.
pub fn seed_steps(seed: u64, count: usize, only: &[String]) -> Vec<Step> {
    let mut random = Random::new(seed);
    let chosen: Vec<&Family> = FAMILIES
        .iter()
        .copied()
        .filter(|family| only.is_empty() || only.iter().any(|name| name == family.name))
        .collect();
    // A seed has few favourites, so that its keys grow rich.
    let favourite = *random.pick(&chosen);
    let mut steps = Vec::new();
    let mut sum = 0;
    while sum < count {
        let family = if random.percent(50) { favourite } else { *random.pick(&chosen) };
        let step = match random.below(100) {
            0..=2 => transactions::step(&mut random, family, &chosen),
            3 => short_time(&mut random, family),
            _ => family_step(&mut random, family),
        };
        sum += step.commands.len();
        steps.push(step);
    }
    steps
}

/// One command of a family, and what has to stand before it.
pub fn family_step(random: &mut Random, family: &Family) -> Step {
    let template = *random.weighted(family.templates);
    let mut words = grammar::expand(template, family.letter, random);
    grammar::spoil(&mut words, random);
    let kind = match name(&words).as_str() {
        "spop" => Kind::Pop,
        "scan" | "hscan" | "sscan" | "zscan" => Kind::Scan,
        _ => Kind::Plain,
    };
    let mut commands: Vec<Words> = probe(&words).into_iter().collect();
    let looks = looks_after(&words);
    commands.push(words);
    commands.extend(looks);
    Step { kind, commands }
}

/// A look at a key whose time may be over as soon as it is set: Redis counts it until then.
fn looks_after(words: &Words) -> Option<Words> {
    let absolute = |word: &Vec<u8>| matches!(lower(word).as_str(), "exat" | "pxat");
    let key = words.get(1).filter(|_| name(words) == "set" && words.iter().any(absolute))?;
    Some(words!["EXISTS", key.clone()])
}

/// The question whose answer holds all that a random command may answer.
fn probe(words: &Words) -> Option<Words> {
    let key = words.get(1).cloned();
    match (name(words).as_str(), key) {
        ("randomkey", _) => Some(words!["KEYS", "*"]),
        ("srandmember", Some(key)) => Some(words!["SMEMBERS", key]),
        ("hrandfield", Some(key)) => Some(words!["HGETALL", key]),
        ("zrandmember", Some(key)) => Some(words!["ZRANGE", key, "0", "-1", "WITHSCORES"]),
        _ => None,
    }
}

/// A key that ends by itself, and a look at it.
fn short_time(random: &mut Random, family: &Family) -> Step {
    let key = values::key(family.letter, random);
    let set = match random.below(4) {
        0 => words!["SET", key.clone(), "x", "PX", "1"],
        1 => words!["PSETEX", key.clone(), "2", "x"],
        2 => words!["GETEX", key.clone(), "PX", "1"],
        _ => words!["PEXPIRE", key.clone(), "1"],
    };
    Step { kind: Kind::Wait, commands: vec![set, words!["EXISTS", key]] }
}
