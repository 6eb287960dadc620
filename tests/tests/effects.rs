//! The law of effects for commands as the differential tester makes them: what a command leaves is
//! what its effects alone make of a copy. The fixture looks after every command.
#![allow(clippy::unwrap_used)] // A test stops at the first thing that is not as it should be.

use std::collections::BTreeSet;

use engine::command::call::Run;
use engine::command::spec::flag::WRITE;
use engine::command::table;
use engine::command::testing::Fixture;
use tests::differential::generate::{families, seed_steps};
use tests::differential::step::{Kind, Words, name, show};
use tests::words;

/// Seeds of each family, and commands of each seed.
const SEEDS: u64 = 6;
const COMMANDS: usize = 1000;

/// What a wait of the tester is.
const WAIT_MS: i64 = 6;

#[test]
fn generated_commands_obey_the_law_of_effects() {
    let mut changed = BTreeSet::new();
    for (place, family) in families().into_iter().enumerate() {
        for seed in 0..SEEDS {
            let seed = place as u64 * SEEDS + seed;
            let steps = seed_steps(seed, COMMANDS, &[family.to_owned(), "generic".to_owned()]);
            let mut fixture = Fixture::new(1 + (seed % 3) as usize);
            for step in &steps {
                for words in &step.commands {
                    if run(&mut fixture, words, seed) {
                        changed.insert(name(words));
                    }
                }
                if step.kind == Kind::Wait {
                    fixture.advance_ms(WAIT_MS);
                }
            }
            // With which the next seed of the tester begins.
            if run(&mut fixture, &words!["flushall"], seed) {
                changed.insert("flushall".to_owned());
            }
        }
    }
    let writes = table::all()
        .filter(|spec| spec.has(WRITE) && matches!(spec.run, Run::Engine(_)))
        .map(|spec| spec.name.to_owned());
    let never: Vec<String> = writes.filter(|name| !changed.contains(name)).collect();
    assert!(never.is_empty(), "no seed has these change anything: {never:?}");
}

/// Whether the command had effects.
fn run(fixture: &mut Fixture, words: &Words, seed: u64) -> bool {
    if name(words) == "select" {
        let database = words.get(1).and_then(|word| std::str::from_utf8(word).ok()?.parse().ok());
        fixture.db = database.filter(|database| *database < 16).unwrap_or(fixture.db);
        return false;
    }
    let words_run: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    match fixture.try_words(&words_run) {
        Ok(ran) => ran.is_some_and(|ran| ran.changed),
        Err(error) => panic!("seed {seed}, {}: {error}", show(words)),
    }
}
