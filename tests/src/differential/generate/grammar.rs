//! Templates of commands. Words stand between spaces:
//!
//! | form | becomes |
//! | --- | --- |
//! | `word` | itself, in some case |
//! | `<kind>` | a value, see [`values`](super::values) |
//! | `[ … ]` | itself or nothing |
//! | `( a \| b )` | one of them |
//! | `{ a \| b }` | some of them in any order, rarely one twice |
//! | `+( … )` | itself one to five times, at times many more |

use crate::differential::random::Random;
use crate::differential::step::{Words, name};

use super::values;

enum Part<'a> {
    Word(&'a str),
    Value(&'a str),
    Maybe(Vec<Part<'a>>),
    OneOf(Vec<Vec<Part<'a>>>),
    SomeOf(Vec<Vec<Part<'a>>>),
    Repeat(Vec<Part<'a>>),
}

/// A command from a template; `letter` names the keys of its family.
pub fn expand(template: &str, letter: char, random: &mut Random) -> Words {
    let mut tokens = template.split_whitespace();
    let parts = parse(&mut tokens, "").remove(0);
    let mut out = Words::new();
    write(&parts, letter, random, &mut out);
    out
}

/// Reads alternatives up to `end`.
fn parse<'a>(tokens: &mut impl Iterator<Item = &'a str>, end: &str) -> Vec<Vec<Part<'a>>> {
    let mut all = vec![Vec::new()];
    while let Some(token) = tokens.next() {
        let part = match token {
            token if token == end => return all,
            "|" => {
                all.push(Vec::new());
                continue;
            }
            "[" => Part::Maybe(parse(tokens, "]").remove(0)),
            "(" => Part::OneOf(parse(tokens, ")")),
            "{" => Part::SomeOf(parse(tokens, "}")),
            "+(" => Part::Repeat(parse(tokens, ")").remove(0)),
            token => match token.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) {
                Some(kind) => Part::Value(kind),
                None => Part::Word(token),
            },
        };
        if let Some(last) = all.last_mut() {
            last.push(part);
        }
    }
    assert!(end.is_empty(), "a template lacks {end}");
    all
}

fn write(parts: &[Part<'_>], letter: char, random: &mut Random, out: &mut Words) {
    for part in parts {
        match part {
            Part::Word(word) => out.push(cased(word, random)),
            Part::Value(kind) => values::push(kind, letter, random, out),
            Part::Maybe(inner) => {
                if random.percent(50) {
                    write(inner, letter, random, out);
                }
            }
            Part::OneOf(all) => {
                let chosen = &all[random.below(all.len())];
                write(chosen, letter, random, out);
            }
            Part::SomeOf(all) => {
                let chance = if random.percent(50) { 15 } else { 40 };
                let mut chosen: Vec<_> = all.iter().filter(|_| random.percent(chance)).collect();
                if random.percent(2) {
                    chosen.push(&all[random.below(all.len())]);
                }
                random.shuffle(&mut chosen);
                chosen.iter().for_each(|parts| write(parts, letter, random, out));
            }
            Part::Repeat(inner) => {
                let times = match random.below(100) {
                    0..=1 => random.between(100, 600),
                    2..=5 => random.between(6, 140),
                    _ => random.between(1, 5),
                };
                (0..times).for_each(|_| write(inner, letter, random, out));
            }
        }
    }
}

fn cased(word: &str, random: &mut Random) -> Vec<u8> {
    match random.below(10) {
        0 => word.to_ascii_uppercase().into_bytes(),
        1 => word
            .bytes()
            .map(|b| if random.percent(50) { b.to_ascii_uppercase() } else { b })
            .collect(),
        _ => word.as_bytes().to_vec(),
    }
}

/// Now and then makes a command wrong: a word less, more, twice, or an odd one in its place.
pub fn spoil(words: &mut Words, random: &mut Random) {
    // What waits, answers or grows as far as a number says, or ends in so many milliseconds, keeps
    // its numbers. So does what versions of Redis read differently.
    let name = name(words);
    let careful = name.starts_with(['b', 'p'])
        || [
            "sort",
            "rand",
            "scan",
            "setrange",
            "lset",
            "lrem",
            "rank",
            "zrangestore",
            "zremrange",
            "zadd",
        ]
        .iter()
        .any(|part| name.contains(part))
        || words.iter().any(|word| word.eq_ignore_ascii_case(b"px"));
    if words.len() < 2 || !random.percent(4) {
        return;
    }
    let at = 1 + random.below(words.len() - 1);
    match random.below(4) {
        0 => words.truncate(words.len() - 1),
        _ if careful => {}
        1 => words.push(values::edge(random)),
        2 => words.insert(at, words[at].clone()),
        _ => words[at] = values::edge(random),
    }
}
