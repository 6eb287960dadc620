//! Moving elements between lists, popping from the first of several, and waiting for either.

use crate::error::{CommandError, CommandResult, SYNTAX, TIMEOUT_NEGATIVE, TIMEOUT_NOT_A_FLOAT};
use crate::keyspace::{Missing, Update};
use crate::number::extended::Extended;
use crate::number::{parse_f64, parse_i64};
use crate::value::List;
use crate::value::list::End;

use super::call::{Block, Call, NothingReply};
use super::list::{drop_from, ends, push_one};

fn parse_end(text: &[u8]) -> Result<End, CommandError> {
    match text.to_ascii_lowercase().as_slice() {
        b"left" => Ok(End::Head),
        b"right" => Ok(End::Tail),
        _ => Err(SYNTAX),
    }
}

/// A timeout in seconds, as milliseconds; 0 for none. What is below a millisecond is one.
pub(crate) fn parse_timeout(text: &[u8], now_ms: i64) -> Result<u64, CommandError> {
    let seconds = match (parse_f64(text), Extended::parse(text)) {
        (Some(seconds), _) => seconds,
        // Redis reads a long double here: more than a double holds is a number still.
        (None, Some(Extended::Finite { negative, exponent, .. })) => {
            let magnitude = if exponent > 0 { f64::INFINITY } else { f64::MIN_POSITIVE };
            if negative { -magnitude } else { magnitude }
        }
        (None, _) => return Err(TIMEOUT_NOT_A_FLOAT),
    };
    let ms = (seconds * 1000.0).ceil();
    if ms < 0.0 {
        return Err(TIMEOUT_NEGATIVE);
    }
    // The moment at which the time is over must be one.
    if ms > (i64::MAX - now_ms) as f64 {
        return Err(CommandError::new("ERR timeout is out of range"));
    }
    Ok(ms as u64)
}

pub fn rpoplpush(call: &mut Call<'_, '_>) -> CommandResult {
    if !move_element(call, End::Tail, End::Head)? {
        call.reply.null();
    }
    Ok(())
}

pub fn lmove(call: &mut Call<'_, '_>) -> CommandResult {
    let (from, to) = (parse_end(call.args.at(3))?, parse_end(call.args.at(4))?);
    if !move_element(call, from, to)? {
        call.reply.null();
    }
    Ok(())
}

pub fn brpoplpush(call: &mut Call<'_, '_>) -> CommandResult {
    let timeout_ms = parse_timeout(call.args.at(3), call.space.now_ms())?;
    if !move_element(call, End::Tail, End::Head)? {
        call.block = Some(Block { keys: vec![1], timeout_ms, in_transaction: NothingReply::Null });
    }
    Ok(())
}

pub fn blmove(call: &mut Call<'_, '_>) -> CommandResult {
    let (from, to) = (parse_end(call.args.at(3))?, parse_end(call.args.at(4))?);
    let timeout_ms = parse_timeout(call.args.at(5), call.space.now_ms())?;
    if !move_element(call, from, to)? {
        call.block = Some(Block { keys: vec![1], timeout_ms, in_transaction: NothingReply::Null });
    }
    Ok(())
}

/// Moves an element from the list of the first key to that of the second and replies with it.
/// False if there is none.
fn move_element(call: &mut Call<'_, '_>, from: End, to: End) -> Result<bool, CommandError> {
    let (source, target) = (call.args.at(1), call.args.at(2));
    let Some(list) = call.space.list(source)? else { return Ok(false) };
    let taken = ends(list, from, 1);
    let Some(element) = taken.first() else { return Ok(false) };
    call.space.list(target)?;
    call.space.check_room(target, element.len())?;
    if source == target {
        // In one update, so that a list of one element is not deleted in between. The element is
        // taken first, as in Redis: the list must not look longer than it ever is.
        call.space.update(source, Missing::Skip, |list: &mut Update<'_, List>| {
            let at = if from == End::Head { 0 } else { list.len() - 1 };
            list.remove_range(at, 1);
            push_one(list, to, element);
        })?;
    } else {
        drop_from(call, source, from, 1)?;
        call.space.update(target, Missing::Create, |list: &mut Update<'_, List>| {
            push_one(list, to, element);
        })?;
    }
    call.reply.bulk(element);
    Ok(true)
}

pub fn blpop(call: &mut Call<'_, '_>) -> CommandResult {
    pop_first(call, End::Head)
}

pub fn brpop(call: &mut Call<'_, '_>) -> CommandResult {
    pop_first(call, End::Tail)
}

fn pop_first(call: &mut Call<'_, '_>, end: End) -> CommandResult {
    let last = call.args.len() - 1;
    let timeout_ms = parse_timeout(call.args.at(last), call.space.now_ms())?;
    for at in 1..last {
        let key = call.args.at(at);
        let Some(list) = call.space.list(key)? else { continue };
        let taken = ends(list, end, 1);
        call.reply.array(2);
        call.reply.bulk(key);
        taken.iter().for_each(|element| call.reply.bulk(element));
        return drop_from(call, key, end, taken.len());
    }
    let keys = (1..last).collect();
    call.block = Some(Block { keys, timeout_ms, in_transaction: NothingReply::NullArray });
    Ok(())
}

pub fn lmpop(call: &mut Call<'_, '_>) -> CommandResult {
    let many = parse_many(call, 1)?;
    if pop_many(call, 1, many)?.is_some() {
        call.reply.null_array();
    }
    Ok(())
}

pub fn blmpop(call: &mut Call<'_, '_>) -> CommandResult {
    let many = parse_many(call, 2)?;
    let timeout_ms = parse_timeout(call.args.at(1), call.space.now_ms())?;
    if let Some(keys) = pop_many(call, 2, many)? {
        call.block = Some(Block { keys, timeout_ms, in_transaction: NothingReply::NullArray });
    }
    Ok(())
}

/// Where the keys end, from which end, and how many.
fn parse_many(call: &Call<'_, '_>, count_at: usize) -> Result<(usize, End, usize), CommandError> {
    let args = call.args;
    let key_count = parse_i64(args.at(count_at))
        .and_then(|count| usize::try_from(count).ok())
        .filter(|count| *count > 0)
        .ok_or(CommandError::new("ERR numkeys should be greater than 0"))?;
    let end_at = key_count.checked_add(count_at + 1).filter(|at| *at < args.len()).ok_or(SYNTAX)?;
    let end = parse_end(args.at(end_at))?;
    let mut count = None;
    let mut at = end_at + 1;
    while at < args.len() {
        if !args.is(at, "count") || count.is_some() || at + 1 >= args.len() {
            return Err(SYNTAX);
        }
        let value = parse_i64(args.at(at + 1)).and_then(|value| usize::try_from(value).ok());
        count = Some(
            value
                .filter(|value| *value > 0)
                .ok_or(CommandError::new("ERR count should be greater than 0"))?,
        );
        at += 2;
    }
    Ok((end_at, end, count.unwrap_or(1)))
}

/// Pops from the first list that has something and replies. Otherwise the positions of the keys.
fn pop_many(
    call: &mut Call<'_, '_>,
    count_at: usize,
    (end_at, end, count): (usize, End, usize),
) -> Result<Option<Vec<usize>>, CommandError> {
    for key_at in count_at + 1..end_at {
        let key = call.args.at(key_at);
        let Some(list) = call.space.list(key)? else { continue };
        let taken = ends(list, end, count);
        call.reply.array(2);
        call.reply.bulk(key);
        call.reply.array(taken.len());
        taken.iter().for_each(|element| call.reply.bulk(element));
        drop_from(call, key, end, taken.len())?;
        return Ok(None);
    }
    Ok(Some((count_at + 1..end_at).collect()))
}
