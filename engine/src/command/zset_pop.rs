//! Taking the lowest or highest members out, from one sorted set or the first of several that has
//! some, and waiting for it.

use crate::effect::EFFECT_BYTES;
use crate::error::{CommandError, CommandResult, NOT_POSITIVE, SYNTAX};
use crate::keyspace::Missing;
use crate::number::parse_i64;
use crate::value::ZSet;
use crate::value::zset::Side;

use super::call::{Block, Call, NothingReply};
use super::list_move::parse_timeout;
use super::zset::{ZSetUpdate, write_members};

/// Members with their scores, taken out.
type Popped = Vec<(Vec<u8>, f64)>;

/// The first `count` members from an end.
fn peek(zset: &ZSet, side: Side, count: usize) -> Popped {
    let len = zset.len();
    let count = count.min(len);
    let own = |(member, score): (&[u8], f64)| (member.to_vec(), score);
    match side {
        Side::Min => zset.range(0..count).map(own).collect(),
        Side::Max => zset.range(len - count..len).rev().map(own).collect(),
    }
}

/// Takes up to `count` members out of the sorted set of a key; `None` where there is none.
fn pop(
    call: &mut Call<'_, '_>,
    key: &[u8],
    side: Side,
    count: usize,
) -> Result<Option<Popped>, CommandError> {
    let popped = call.space.update(key, Missing::Skip, |zset: &mut ZSetUpdate<'_>| {
        let popped = peek(zset, side, count);
        zset.check_room(popped.iter().map(|(member, _)| member.len() + EFFECT_BYTES).sum())?;
        popped.iter().for_each(|(member, _)| {
            zset.remove(member);
        });
        Ok(popped)
    })?;
    popped.transpose()
}

pub fn zpopmin(call: &mut Call<'_, '_>) -> CommandResult {
    pop_one_key(call, Side::Min)
}

pub fn zpopmax(call: &mut Call<'_, '_>) -> CommandResult {
    pop_one_key(call, Side::Max)
}

fn pop_one_key(call: &mut Call<'_, '_>, side: Side) -> CommandResult {
    let args = call.args;
    if args.len() > 3 {
        return Err(SYNTAX);
    }
    let count = match args.get(2) {
        None => None,
        Some(text) => {
            let count = parse_i64(text).and_then(|count| usize::try_from(count).ok());
            Some(count.ok_or(NOT_POSITIVE)?)
        }
    };
    let popped = pop(call, args.at(1), side, count.unwrap_or(1))?.unwrap_or_default();
    // Without a count, even RESP3 has no pairs.
    if count.is_none() && call.reply.is_resp3() {
        call.reply.array(popped.len() * 2);
        for (member, score) in &popped {
            call.reply.bulk(member);
            call.reply.double(*score);
        }
        return Ok(());
    }
    write_members(call, popped.iter().map(|(member, score)| (&member[..], *score)), true);
    Ok(())
}

pub fn bzpopmin(call: &mut Call<'_, '_>) -> CommandResult {
    pop_first_key(call, Side::Min)
}

pub fn bzpopmax(call: &mut Call<'_, '_>) -> CommandResult {
    pop_first_key(call, Side::Max)
}

fn pop_first_key(call: &mut Call<'_, '_>, side: Side) -> CommandResult {
    let last = call.args.len() - 1;
    let timeout_ms = parse_timeout(call.args.at(last), call.space.now_ms())?;
    for at in 1..last {
        let key = call.args.at(at);
        let Some(popped) = pop(call, key, side, 1)? else { continue };
        call.reply.array(3);
        call.reply.bulk(key);
        for (member, score) in &popped {
            call.reply.bulk(member);
            call.reply.double(*score);
        }
        return Ok(());
    }
    let keys = (1..last).collect();
    call.block = Some(Block { keys, timeout_ms, in_transaction: NothingReply::NullArray });
    Ok(())
}

pub fn zmpop(call: &mut Call<'_, '_>) -> CommandResult {
    let many = parse_many(call, 1)?;
    if pop_many(call, 1, many)?.is_some() {
        call.reply.null_array();
    }
    Ok(())
}

pub fn bzmpop(call: &mut Call<'_, '_>) -> CommandResult {
    let many = parse_many(call, 2)?;
    let timeout_ms = parse_timeout(call.args.at(1), call.space.now_ms())?;
    if let Some(keys) = pop_many(call, 2, many)? {
        call.block = Some(Block { keys, timeout_ms, in_transaction: NothingReply::NullArray });
    }
    Ok(())
}

/// Pops from the first sorted set that has something and replies. Otherwise the positions of the
/// keys.
fn pop_many(
    call: &mut Call<'_, '_>,
    count_at: usize,
    (end_at, side, count): (usize, Side, usize),
) -> Result<Option<Vec<usize>>, CommandError> {
    for key_at in count_at + 1..end_at {
        let key = call.args.at(key_at);
        let Some(popped) = pop(call, key, side, count)? else { continue };
        call.reply.array(2);
        call.reply.bulk(key);
        call.reply.array(popped.len());
        for (member, score) in &popped {
            call.reply.array(2);
            call.reply.bulk(member);
            call.reply.double(*score);
        }
        return Ok(None);
    }
    Ok(Some((count_at + 1..end_at).collect()))
}

/// Where the keys end, from which side, and how many.
fn parse_many(call: &Call<'_, '_>, count_at: usize) -> Result<(usize, Side, usize), CommandError> {
    let args = call.args;
    let positive = |text: &[u8], error: &'static str| {
        parse_i64(text)
            .and_then(|value| usize::try_from(value).ok())
            .filter(|value| *value > 0)
            .ok_or(CommandError::new(error))
    };
    let key_count = positive(args.at(count_at), "ERR numkeys should be greater than 0")?;
    let end_at = key_count.checked_add(count_at + 1).filter(|at| *at < args.len()).ok_or(SYNTAX)?;
    let side = if args.is(end_at, "min") {
        Side::Min
    } else if args.is(end_at, "max") {
        Side::Max
    } else {
        return Err(SYNTAX);
    };
    let mut count = None;
    let mut at = end_at + 1;
    while at < args.len() {
        if !args.is(at, "count") || count.is_some() || at + 1 >= args.len() {
            return Err(SYNTAX);
        }
        count = Some(positive(args.at(at + 1), "ERR count should be greater than 0")?);
        at += 2;
    }
    Ok((end_at, side, count.unwrap_or(1)))
}

#[cfg(test)]
mod tests;
