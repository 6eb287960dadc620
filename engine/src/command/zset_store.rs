//! What combines several sorted sets (or sets, whose members all score 1): union, intersection and
//! difference, replied, stored or counted.

use std::collections::HashMap;

use crate::error::{CommandError, CommandResult, SYNTAX, WRONG_TYPE};
use crate::keyspace::{Entry, ValueRef};
use crate::number::{parse_f64, parse_i64};
use crate::value::ZSet;

use super::call::Call;
use super::parse::integer;
use super::zset::write_members;
use super::zset_range::store;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

#[derive(Clone, Copy, Default)]
enum Aggregate {
    #[default]
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn join(self, a: f64, b: f64) -> f64 {
        match self {
            // Infinities of both signs cancel.
            Aggregate::Sum => not_nan(a + b),
            Aggregate::Min => a.min(b),
            Aggregate::Max => a.max(b),
        }
    }
}

fn not_nan(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

type Scores = HashMap<Vec<u8>, f64>;

pub fn zunion(call: &mut Call<'_, '_>) -> CommandResult {
    reply_combined(call, Operation::Union, "zunion")
}

pub fn zinter(call: &mut Call<'_, '_>) -> CommandResult {
    reply_combined(call, Operation::Intersection, "zinter")
}

pub fn zdiff(call: &mut Call<'_, '_>) -> CommandResult {
    reply_combined(call, Operation::Difference, "zdiff")
}

pub fn zunionstore(call: &mut Call<'_, '_>) -> CommandResult {
    store_combined(call, Operation::Union, "zunionstore")
}

pub fn zinterstore(call: &mut Call<'_, '_>) -> CommandResult {
    store_combined(call, Operation::Intersection, "zinterstore")
}

pub fn zdiffstore(call: &mut Call<'_, '_>) -> CommandResult {
    store_combined(call, Operation::Difference, "zdiffstore")
}

fn reply_combined(call: &mut Call<'_, '_>, operation: Operation, name: &str) -> CommandResult {
    let options = parse_options(call, 1, operation, name, true)?;
    // Not by way of a sorted set, whose packed form knows no -0.
    let mut members = Vec::from_iter(combine(call, operation, &options)?);
    members.sort_by(|(a, x), (b, y)| {
        x.partial_cmp(y).expect("a score is never NaN").then_with(|| a.cmp(b))
    });
    let members = members.iter().map(|(member, score)| (&member[..], *score));
    write_members(call, members, options.with_scores);
    Ok(())
}

fn store_combined(call: &mut Call<'_, '_>, operation: Operation, name: &str) -> CommandResult {
    let options = parse_options(call, 2, operation, name, false)?;
    let result = combine(call, operation, &options)?;
    let (limits, hasher) = (call.space.settings.encoding, call.space.shards.hasher());
    let mut zset = ZSet::new();
    for (member, score) in &result {
        zset.set(member, *score, &limits, &hasher);
    }
    store(call, call.args.at(1), zset)
}

struct Options<'a> {
    keys: Vec<&'a [u8]>,
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
}

/// Reads the keys, whose number stands at `count_at`, and the options behind them.
fn parse_options<'a>(
    call: &mut Call<'a, '_>,
    count_at: usize,
    operation: Operation,
    name: &str,
    replies: bool,
) -> Result<Options<'a>, CommandError> {
    let args = call.args;
    let keys = parse_keys(call, count_at, name)?;
    let key_count = keys.len();
    let mut options = Options {
        keys,
        weights: vec![1.0; key_count],
        aggregate: Aggregate::default(),
        with_scores: false,
    };
    let weighted = operation != Operation::Difference;
    let mut at = count_at + 1 + key_count;
    while at < args.len() {
        if weighted && args.is(at, "weights") && args.len() - at > key_count {
            for (place, weight) in options.weights.iter_mut().enumerate() {
                *weight = parse_f64(args.at(at + 1 + place))
                    .ok_or(CommandError::new("ERR weight value is not a float"))?;
            }
            at += key_count;
        } else if weighted && args.is(at, "aggregate") && at + 1 < args.len() {
            at += 1;
            options.aggregate = match args.at(at).to_ascii_lowercase().as_slice() {
                b"sum" => Aggregate::Sum,
                b"min" => Aggregate::Min,
                b"max" => Aggregate::Max,
                _ => return Err(SYNTAX),
            };
        } else if replies && args.is(at, "withscores") {
            options.with_scores = true;
        } else {
            return Err(SYNTAX);
        }
        at += 1;
    }
    Ok(options)
}

/// The keys, whose number stands at `count_at`; all are sorted sets, sets or absent.
fn parse_keys<'a>(
    call: &mut Call<'a, '_>,
    count_at: usize,
    name: &str,
) -> Result<Vec<&'a [u8]>, CommandError> {
    let args = call.args;
    let key_count = integer(args.at(count_at))?;
    if key_count < 1 {
        return Err(CommandError::from_text(format!(
            "ERR at least 1 input key is needed for '{name}' command"
        )));
    }
    let available = args.len() - count_at - 1;
    let key_count = usize::try_from(key_count).ok().filter(|n| *n <= available).ok_or(SYNTAX)?;
    let keys: Vec<&[u8]> = args.iter_from(count_at + 1).take(key_count).collect();
    // Redis looks at the keys before it looks at the options.
    for key in &keys {
        match call.space.read(key).map(Entry::value) {
            None | Some(ValueRef::ZSet(_) | ValueRef::Set(_)) => {}
            Some(_) => return Err(WRONG_TYPE),
        }
    }
    Ok(keys)
}

/// The members and scores of a key's sorted set or set; none where it is absent.
fn scores_of(call: &mut Call<'_, '_>, key: &[u8]) -> Result<Vec<(Vec<u8>, f64)>, CommandError> {
    let Some(entry) = call.space.read(key) else { return Ok(Vec::new()) };
    match entry.value() {
        ValueRef::ZSet(zset) => Ok(zset.iter().map(|(m, score)| (m.to_vec(), score)).collect()),
        ValueRef::Set(set) => Ok(set.iter().map(|member| (member.to_vec(), 1.0)).collect()),
        _ => Err(WRONG_TYPE),
    }
}

fn combine(
    call: &mut Call<'_, '_>,
    operation: Operation,
    options: &Options<'_>,
) -> Result<Scores, CommandError> {
    let mut inputs = Vec::with_capacity(options.keys.len());
    for (key, weight) in options.keys.iter().zip(&options.weights) {
        let mut scores = scores_of(call, key)?;
        for (_, score) in &mut scores {
            *score = not_nan(*score * weight);
        }
        inputs.push(scores);
    }
    if operation != Operation::Difference {
        // Sums of doubles depend on their order. Redis takes the smallest set first.
        inputs.sort_by_key(Vec::len);
    }
    let mut inputs = inputs.into_iter();
    let mut result: Scores = inputs.next().unwrap_or_default().into_iter().collect();
    for input in inputs {
        match operation {
            Operation::Union => {
                for (member, score) in input {
                    let join = |old: &mut f64| *old = options.aggregate.join(*old, score);
                    result.entry(member).and_modify(join).or_insert(score);
                }
            }
            Operation::Intersection => {
                let other: Scores = input.into_iter().collect();
                result.retain(|member, score| match other.get(member) {
                    Some(more) => {
                        *score = options.aggregate.join(*score, *more);
                        true
                    }
                    None => false,
                });
            }
            Operation::Difference => {
                input.iter().for_each(|(member, _)| {
                    result.remove(member);
                });
            }
        }
    }
    Ok(result)
}

pub fn zintercard(call: &mut Call<'_, '_>) -> CommandResult {
    let args = call.args;
    let keys = parse_keys(call, 1, "zintercard")?;
    let key_count = keys.len();
    let mut limit = 0;
    let mut at = 2 + key_count;
    while at < args.len() {
        let Some(value) = args.get(at + 1).filter(|_| args.is(at, "limit")) else {
            return Err(SYNTAX);
        };
        limit = parse_i64(value)
            .and_then(|limit| usize::try_from(limit).ok())
            .ok_or(CommandError::new("ERR LIMIT can't be negative"))?;
        at += 2;
    }
    let options = Options {
        keys,
        weights: vec![1.0; key_count],
        aggregate: Aggregate::default(),
        with_scores: false,
    };
    let len = combine(call, Operation::Intersection, &options)?.len();
    call.reply.count(if limit == 0 { len } else { len.min(limit) });
    Ok(())
}

#[cfg(test)]
mod tests;
