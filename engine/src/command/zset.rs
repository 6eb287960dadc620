//! Sorted sets: members and their scores. Ranges are in `zset_range`, pops in `zset_pop`, what
//! combines several in `zset_store`.

use crate::error::{CommandError, CommandResult, OUT_OF_RANGE, SYNTAX, wrong_arity};
use crate::keyspace::{Missing, Update};
use crate::number::format_double;
use crate::value::ZSet;

use super::call::Call;
use super::parse::float;
use super::random::{self, parse_count};
use super::scan::{Scanned, parse_cursor, parse_options, write_scan};

pub(super) type ZSetUpdate<'a> = Update<'a, ZSet>;

const NOT_A_NUMBER: CommandError = CommandError::new("ERR resulting score is not a number (NaN)");

/// ZADD's options.
#[derive(Clone, Copy, Default)]
struct AddOptions {
    only_new: bool,
    only_existing: bool,
    only_greater: bool,
    only_less: bool,
    count_changed: bool,
    increment: bool,
}

/// What became of one member.
enum Outcome {
    /// The options forbade it.
    Nothing,
    Added(f64),
    Updated(f64),
    Same(f64),
}

pub fn zadd(call: &mut Call<'_, '_>) -> CommandResult {
    let (options, first) = parse_add_options(call);
    let args = call.args;
    let words = args.len() - first;
    if words == 0 || !words.is_multiple_of(2) {
        return Err(SYNTAX);
    }
    check_add_options(options, words / 2)?;
    let pairs = args.iter_from(first).step_by(2).zip(args.iter_from(first + 1).step_by(2));
    let pairs: Vec<(f64, &[u8])> = pairs
        .map(|(score, member)| float(score).map(|score| (score, member)))
        .collect::<Result<_, _>>()?;
    add_pairs(call, options, &pairs)
}

pub fn zincrby(call: &mut Call<'_, '_>) -> CommandResult {
    // Redis reads it as ZADD: an option in the place of the increment leaves no pair.
    let (_, first) = parse_add_options(call);
    if first != 2 {
        return Err(SYNTAX);
    }
    let by = float(call.args.at(2))?;
    let options = AddOptions { increment: true, ..AddOptions::default() };
    add_pairs(call, options, &[(by, call.args.at(3))])
}

/// The options, and where scores and members begin.
fn parse_add_options(call: &Call<'_, '_>) -> (AddOptions, usize) {
    let args = call.args;
    let mut options = AddOptions::default();
    let mut at = 2;
    while let Some(word) = args.get(at) {
        match word.to_ascii_lowercase().as_slice() {
            b"nx" => options.only_new = true,
            b"xx" => options.only_existing = true,
            b"gt" => options.only_greater = true,
            b"lt" => options.only_less = true,
            b"ch" => options.count_changed = true,
            b"incr" => options.increment = true,
            _ => break,
        }
        at += 1;
    }
    (options, at)
}

fn check_add_options(options: AddOptions, pairs: usize) -> CommandResult {
    let AddOptions { only_new, only_existing, only_greater, only_less, increment, .. } = options;
    if only_new && only_existing {
        return Err(CommandError::new("ERR XX and NX options at the same time are not compatible"));
    }
    if (only_greater && only_less) || (only_new && (only_greater || only_less)) {
        return Err(CommandError::new(
            "ERR GT, LT, and/or NX options at the same time are not compatible",
        ));
    }
    if increment && pairs > 1 {
        return Err(CommandError::new("ERR INCR option supports a single increment-element pair"));
    }
    Ok(())
}

fn add_pairs(
    call: &mut Call<'_, '_>,
    options: AddOptions,
    pairs: &[(f64, &[u8])],
) -> CommandResult {
    let missing = if options.only_existing { Missing::Skip } else { Missing::Create };
    let outcomes = call.space.update(call.args.at(1), missing, |zset: &mut ZSetUpdate<'_>| {
        zset.expect(pairs.first().map_or(b"", |(_, member)| member), pairs.len());
        pairs.iter().map(|(score, member)| add_one(zset, options, *score, member)).collect()
    })?;
    let outcomes: Vec<Outcome> = match outcomes {
        Some(outcomes) => Result::from_iter::<Vec<Result<Outcome, CommandError>>>(outcomes)?,
        None => Vec::new(),
    };
    if options.increment {
        match outcomes.first() {
            Some(Outcome::Added(score) | Outcome::Updated(score) | Outcome::Same(score)) => {
                call.reply.double(*score);
            }
            Some(Outcome::Nothing) | None => call.reply.null(),
        }
        return Ok(());
    }
    let counted = outcomes.iter().filter(|outcome| match outcome {
        Outcome::Added(_) => true,
        Outcome::Updated(_) => options.count_changed,
        Outcome::Nothing | Outcome::Same(_) => false,
    });
    call.reply.count(counted.count());
    Ok(())
}

fn add_one(
    zset: &mut ZSetUpdate<'_>,
    options: AddOptions,
    score: f64,
    member: &[u8],
) -> Result<Outcome, CommandError> {
    let Some(old) = zset.score(member) else {
        if options.only_existing {
            return Ok(Outcome::Nothing);
        }
        zset.put(member, score);
        return Ok(Outcome::Added(score));
    };
    if options.only_new {
        return Ok(Outcome::Nothing);
    }
    let new = if options.increment { old + score } else { score };
    if new.is_nan() {
        return Err(NOT_A_NUMBER);
    }
    if (options.only_greater && new <= old) || (options.only_less && new >= old) {
        return Ok(Outcome::Nothing);
    }
    if new == old {
        return Ok(Outcome::Same(new));
    }
    zset.put(member, new);
    Ok(Outcome::Updated(new))
}

pub fn zrem(call: &mut Call<'_, '_>) -> CommandResult {
    let members = call.args.iter_from(2);
    let removed =
        call.space.update(call.args.at(1), Missing::Skip, |zset: &mut ZSetUpdate<'_>| {
            members.filter(|member| zset.remove(member)).count()
        })?;
    call.reply.count(removed.unwrap_or(0));
    Ok(())
}

pub fn zcard(call: &mut Call<'_, '_>) -> CommandResult {
    let len = call.space.zset(call.args.at(1))?.map_or(0, ZSet::len);
    call.reply.count(len);
    Ok(())
}

pub fn zscore(call: &mut Call<'_, '_>) -> CommandResult {
    let member = call.args.at(2);
    match call.space.zset(call.args.at(1))?.and_then(|zset| zset.score(member)) {
        Some(score) => call.reply.double(score),
        None => call.reply.null(),
    }
    Ok(())
}

pub fn zmscore(call: &mut Call<'_, '_>) -> CommandResult {
    let members = call.args.iter_from(2);
    let zset = call.space.zset(call.args.at(1))?;
    call.reply.array(members.len());
    for member in members {
        match zset.and_then(|zset| zset.score(member)) {
            Some(score) => call.reply.double(score),
            None => call.reply.null(),
        }
    }
    Ok(())
}

pub fn zrank(call: &mut Call<'_, '_>) -> CommandResult {
    rank(call, false, "zrank")
}

pub fn zrevrank(call: &mut Call<'_, '_>) -> CommandResult {
    rank(call, true, "zrevrank")
}

fn rank(call: &mut Call<'_, '_>, reverse: bool, command: &str) -> CommandResult {
    let args = call.args;
    if args.len() > 4 {
        return Err(wrong_arity(command));
    }
    let with_score = args.len() == 4;
    if with_score && !args.is(3, "withscore") {
        return Err(SYNTAX);
    }
    let member = args.at(2);
    let found = call.space.zset(args.at(1))?.and_then(|zset| {
        let rank = zset.rank(member)?;
        let rank = if reverse { zset.len() - 1 - rank } else { rank };
        Some((rank, zset.score(member)?))
    });
    match found {
        None if with_score => call.reply.null_array(),
        None => call.reply.null(),
        Some((rank, score)) if with_score => {
            call.reply.array(2);
            call.reply.count(rank);
            call.reply.double(score);
        }
        Some((rank, _)) => call.reply.count(rank),
    }
    Ok(())
}

/// Members with scores as most commands reply them: flat in RESP2, pairs in RESP3.
pub(super) fn write_members<'m>(
    call: &mut Call<'_, '_>,
    members: impl ExactSizeIterator<Item = (&'m [u8], f64)>,
    with_scores: bool,
) {
    let nested = with_scores && call.reply.is_resp3();
    let len = members.len();
    call.reply.array(if with_scores && !nested { len * 2 } else { len });
    for (member, score) in members {
        if nested {
            call.reply.array(2);
        }
        call.reply.bulk(member);
        if with_scores {
            call.reply.double(score);
        }
    }
}

pub fn zrandmember(call: &mut Call<'_, '_>) -> CommandResult {
    let args = call.args;
    let Some(count) = args.get(2) else {
        let bits = call.rng.next_u64();
        let chosen = call.space.zset(args.at(1))?.and_then(|zset| zset.random(bits));
        call.reply.bulk_or_null(chosen.map(|(member, _)| member));
        return Ok(());
    };
    let count = parse_count(count)?;
    let with_scores = args.len() > 3;
    if args.len() > 4 || (with_scores && !args.is(3, "withscores")) {
        return Err(SYNTAX);
    }
    if with_scores && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(OUT_OF_RANGE);
    }
    let Some(zset) = call.space.zset(args.at(1))? else {
        call.reply.array(0);
        return Ok(());
    };
    // Scores compare by their bits here: what is chosen is a member with what belongs to it.
    let bits_of = |(member, score): (&[u8], f64)| (member.to_vec(), score.to_bits());
    let rng = &mut *call.rng;
    let chosen = if count < 0 {
        random::repeated(count, rng, |bits| zset.random(bits).map(bits_of))?
    } else {
        let all = zset.iter().map(bits_of);
        random::distinct(count, zset.len(), rng, all, |bits| zset.random(bits).map(bits_of))
    };
    let members = chosen.iter().map(|(member, score)| (&member[..], f64::from_bits(*score)));
    write_members(call, members, with_scores);
    Ok(())
}

pub fn zscan(call: &mut Call<'_, '_>) -> CommandResult {
    let args = call.args;
    let cursor = parse_cursor(args.at(2))?;
    // Redis looks at the key before it looks at the options.
    let Some(zset) = call.space.zset(args.at(1))? else {
        write_scan(call, 0, [].into_iter());
        return Ok(());
    };
    let options = parse_options(args, 3, Scanned::ZSet)?;
    let mut elements: Vec<Box<[u8]>> = Vec::new();
    let next = zset.scan(cursor, options.count, |member, score| {
        if options.matches(member) {
            elements.push(member.into());
            if !options.alone {
                elements.push(format_double(score).into_bytes().into());
            }
        }
    });
    write_scan(call, next, elements.iter().map(|element| &**element));
    Ok(())
}

#[cfg(test)]
mod tests;
