//! MULTI … EXEC around the other families' commands, with WATCH before it at times. One step, so
//! that a failing list never loses the end of a transaction.

use crate::differential::random::Random;
use crate::differential::step::{Kind, Step, Words, name};
use crate::words;

use super::{Family, family_step, values};

pub fn step(random: &mut Random, family: &Family, all: &[&Family]) -> Step {
    let mut commands = Vec::new();
    if random.percent(50) {
        let mut watch = words!["WATCH"];
        (0..random.between(1, 3)).for_each(|_| watch.push(values::key(family.letter, random)));
        commands.push(watch);
        if random.percent(60) {
            commands.extend(inner(random, family, all));
        }
        if random.percent(10) {
            commands.push(words!["UNWATCH"]);
        }
    }
    commands.push(words!["MULTI"]);
    for _ in 0..random.between(0, 6) {
        commands.extend(inner(random, family, all));
        if random.percent(2) {
            commands.push(words!["MULTI"]);
        }
        if random.percent(2) {
            commands.push(words!["WATCH", "s1"]);
        }
    }
    commands.push(if random.percent(85) { words!["EXEC"] } else { words!["DISCARD"] });
    Step { kind: Kind::Plain, commands }
}

/// A command that may stand in a transaction: one whose effect is not left to chance.
fn inner(random: &mut Random, family: &Family, all: &[&Family]) -> Option<Words> {
    let family = if random.percent(70) { family } else { *random.pick(all) };
    let step = family_step(random, family);
    let words = step.commands.last().cloned()?;
    let ends = matches!(name(&words).as_str(), "exec" | "discard" | "multi" | "reset");
    (step.kind == Kind::Plain && !ends).then_some(words)
}
