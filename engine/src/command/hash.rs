//! Hashes: HSET, HGET and their kin.
//!
//! Handlers only read through the space and change through the mutators of a hash.

use crate::error::{CommandError, CommandResult, NAN_OR_INFINITY, OVERFLOW, wrong_arity};
use crate::keyspace::{Missing, Update};
use crate::number::extended::Extended;
use crate::number::parse_i64;
use crate::value::Hash;

use super::call::Call;
use super::parse::{extended, integer};
use super::random::{self, parse_count};
use super::scan::{Scanned, parse_cursor, parse_options, write_scan};

const HASH_VALUE_NOT_AN_INTEGER: CommandError =
    CommandError::new("ERR hash value is not an integer");
const HASH_VALUE_NOT_A_FLOAT: CommandError = CommandError::new("ERR hash value is not a float");

pub fn hset(call: &mut Call<'_, '_>) -> CommandResult {
    let created = set_fields(call, "hset")?;
    call.reply.count(created);
    Ok(())
}

pub fn hmset(call: &mut Call<'_, '_>) -> CommandResult {
    set_fields(call, "hmset")?;
    call.reply.ok();
    Ok(())
}

/// Sets fields from their pairs of arguments. Returns how many are new.
fn set_fields(call: &mut Call<'_, '_>, command: &str) -> Result<usize, CommandError> {
    let args = call.args;
    if !args.len().is_multiple_of(2) {
        return Err(wrong_arity(command));
    }
    let set = |hash: &mut Update<'_, Hash>| {
        hash.expect(args.len() / 2 - 1);
        (2..args.len()).step_by(2).filter(|&at| hash.set(args.at(at), args.at(at + 1))).count()
    };
    Ok(call.space.update(args.at(1), Missing::Create, set)?.unwrap_or(0))
}

pub fn hsetnx(call: &mut Call<'_, '_>) -> CommandResult {
    let (field, value) = (call.args.at(2), call.args.at(3));
    let created = call.space.update(call.args.at(1), Missing::Create, |hash| {
        let hash: &mut Update<'_, Hash> = hash;
        hash.get(field).is_none() && hash.set(field, value)
    })?;
    call.reply.flag(created == Some(true));
    Ok(())
}

pub fn hget(call: &mut Call<'_, '_>) -> CommandResult {
    let field = call.args.at(2);
    let value = call.space.hash(call.args.at(1))?.and_then(|hash| hash.get(field));
    call.reply.bulk_or_null(value);
    Ok(())
}

pub fn hmget(call: &mut Call<'_, '_>) -> CommandResult {
    let hash = call.space.hash(call.args.at(1))?;
    call.reply.array(call.args.len() - 2);
    for field in call.args.iter_from(2) {
        call.reply.bulk_or_null(hash.and_then(|hash| hash.get(field)));
    }
    Ok(())
}

pub fn hgetall(call: &mut Call<'_, '_>) -> CommandResult {
    let hash = call.space.hash(call.args.at(1))?;
    call.reply.map(hash.map_or(0, Hash::len));
    for (field, value) in hash.iter().flat_map(|hash| hash.iter()) {
        call.reply.bulk(field);
        call.reply.bulk(value);
    }
    Ok(())
}

pub fn hkeys(call: &mut Call<'_, '_>) -> CommandResult {
    let hash = call.space.hash(call.args.at(1))?;
    call.reply.array(hash.map_or(0, Hash::len));
    hash.iter().flat_map(|hash| hash.iter()).for_each(|(field, _)| call.reply.bulk(field));
    Ok(())
}

pub fn hvals(call: &mut Call<'_, '_>) -> CommandResult {
    let hash = call.space.hash(call.args.at(1))?;
    call.reply.array(hash.map_or(0, Hash::len));
    hash.iter().flat_map(|hash| hash.iter()).for_each(|(_, value)| call.reply.bulk(value));
    Ok(())
}

pub fn hdel(call: &mut Call<'_, '_>) -> CommandResult {
    let fields = call.args.iter_from(2);
    let deleted = call.space.update(call.args.at(1), Missing::Skip, |hash| {
        let hash: &mut Update<'_, Hash> = hash;
        fields.filter(|field| hash.delete(field)).count()
    })?;
    call.reply.count(deleted.unwrap_or(0));
    Ok(())
}

pub fn hexists(call: &mut Call<'_, '_>) -> CommandResult {
    let field = call.args.at(2);
    let found = call.space.hash(call.args.at(1))?.is_some_and(|hash| hash.get(field).is_some());
    call.reply.flag(found);
    Ok(())
}

pub fn hlen(call: &mut Call<'_, '_>) -> CommandResult {
    let len = call.space.hash(call.args.at(1))?.map_or(0, Hash::len);
    call.reply.count(len);
    Ok(())
}

pub fn hstrlen(call: &mut Call<'_, '_>) -> CommandResult {
    let field = call.args.at(2);
    let value = call.space.hash(call.args.at(1))?.and_then(|hash| hash.get(field));
    call.reply.count(value.map_or(0, <[u8]>::len));
    Ok(())
}

pub fn hincrby(call: &mut Call<'_, '_>) -> CommandResult {
    let field = call.args.at(2);
    let by = integer(call.args.at(3))?;
    let sum = call.space.update(call.args.at(1), Missing::Create, |hash| {
        let hash: &mut Update<'_, Hash> = hash;
        let old = match hash.get(field) {
            Some(text) => parse_i64(text).ok_or(HASH_VALUE_NOT_AN_INTEGER)?,
            None => 0,
        };
        let sum = old.checked_add(by).ok_or(OVERFLOW)?;
        hash.set(field, itoa::Buffer::new().format(sum).as_bytes());
        Ok::<i64, CommandError>(sum)
    })?;
    call.reply.integer(sum.transpose()?.unwrap_or(0));
    Ok(())
}

pub fn hincrbyfloat(call: &mut Call<'_, '_>) -> CommandResult {
    let field = call.args.at(2);
    let by = extended(call.args.at(3))?;
    if !by.is_finite() {
        return Err(CommandError::new("ERR value is NaN or Infinity"));
    }
    let sum = call.space.update(call.args.at(1), Missing::Create, |hash| {
        let hash: &mut Update<'_, Hash> = hash;
        let old = match hash.get(field) {
            Some(text) => Extended::parse(text).ok_or(HASH_VALUE_NOT_A_FLOAT)?,
            None => Extended::ZERO,
        };
        let sum = old.plus(by).ok_or(NAN_OR_INFINITY)?.print();
        hash.check_room(field.len() + sum.len())?;
        hash.set(field, sum.as_bytes());
        Ok::<String, CommandError>(sum)
    })?;
    call.reply.bulk(sum.transpose()?.unwrap_or_default().as_bytes());
    Ok(())
}

pub fn hrandfield(call: &mut Call<'_, '_>) -> CommandResult {
    let args = call.args;
    let Some(count) = args.get(2) else {
        let random = call.rng.next_u64();
        let pair = call.space.hash(args.at(1))?.and_then(|hash| hash.random(random));
        call.reply.bulk_or_null(pair.map(|(field, _)| field));
        return Ok(());
    };
    let count = parse_count(count)?;
    let with_values = args.len() > 3;
    if args.len() > 4 || (with_values && !args.is(3, "withvalues")) {
        return Err(crate::error::SYNTAX);
    }
    // Each field brings two elements, and Redis wants their number to fit.
    if with_values && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(crate::error::OUT_OF_RANGE);
    }
    let Some(hash) = call.space.hash(args.at(1))? else {
        call.reply.array(0);
        return Ok(());
    };
    let rng = &mut *call.rng;
    let pairs = if count < 0 {
        random::repeated(count, rng, |bits| hash.random(bits))?
    } else {
        random::distinct(count, hash.len(), rng, hash.iter(), |bits| hash.random(bits))
    };
    let nested = with_values && call.reply.is_resp3();
    call.reply.array(if with_values && !nested { pairs.len() * 2 } else { pairs.len() });
    for (field, value) in pairs {
        if nested {
            call.reply.array(2);
        }
        call.reply.bulk(field);
        if with_values {
            call.reply.bulk(value);
        }
    }
    Ok(())
}

pub fn hscan(call: &mut Call<'_, '_>) -> CommandResult {
    let args = call.args;
    let cursor = parse_cursor(args.at(2))?;
    // Redis looks at the key before it looks at the options.
    let Some(hash) = call.space.hash(args.at(1))? else {
        write_scan(call, 0, [].into_iter());
        return Ok(());
    };
    let options = parse_options(args, 3, Scanned::Hash)?;
    let mut elements: Vec<Box<[u8]>> = Vec::new();
    let next = hash.scan(cursor, options.count, |field, value| {
        if options.matches(field) {
            elements.push(field.into());
            if !options.alone {
                elements.push(value.into());
            }
        }
    });
    write_scan(call, next, elements.iter().map(|element| &**element));
    Ok(())
}

#[cfg(test)]
mod tests;
