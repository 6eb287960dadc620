//! Strings: GET, SET and their kin.

use crate::args::Args;
use crate::error::{CommandError, CommandResult, NAN_OR_INFINITY, OVERFLOW, SYNTAX, wrong_arity};
use crate::keyspace::Expiry;
use crate::keyspace::space::{StringRef, string_of};
use crate::number::extended::Extended;

use super::call::Call;
use super::parse::{TimeForm, extended, integer, positive_time};

pub fn get(call: &mut Call<'_, '_>) -> CommandResult {
    let value = call.space.string(call.args.at(1))?;
    match value {
        Some(StringRef::Bytes(bytes)) => call.reply.bulk(bytes),
        Some(StringRef::Integer(integer)) => call.reply.bulk_integer(integer),
        None => call.reply.null(),
    }
    Ok(())
}

/// What SET's options ask for.
#[derive(Default)]
struct SetOptions {
    only_if_absent: bool,
    only_if_present: bool,
    return_old: bool,
    keep_expiry: bool,
    expiry: Option<(TimeForm, usize)>,
}

pub fn set(call: &mut Call<'_, '_>) -> CommandResult {
    let (key, value) = (call.args.at(1), call.args.at(2));
    if call.args.len() == 3 {
        call.space.set_string(key, value, Expiry::Clear);
        call.reply.ok();
        return Ok(());
    }
    let options = parse_set_options(call)?;
    let expiry = match options.expiry {
        Some((form, at)) => {
            let at_ms = positive_time(call.args.at(at), form, call.space.now_ms(), "set")?;
            Expiry::At(at_ms)
        }
        None if options.keep_expiry => Expiry::Keep,
        None => Expiry::Clear,
    };
    if options.return_old {
        get(call)?;
    }
    if (options.only_if_absent && call.space.contains(key))
        || (options.only_if_present && !call.space.contains(key))
    {
        if !options.return_old {
            call.reply.null();
        }
        return Ok(());
    }
    call.space.set_string(key, value, expiry);
    if !options.return_old {
        call.reply.ok();
    }
    Ok(())
}

/// SET's options; a way to give the time may come again, and the last one holds.
fn parse_set_options(call: &Call<'_, '_>) -> Result<SetOptions, CommandError> {
    let args = call.args;
    let mut options = SetOptions::default();
    let mut at = 3;
    while at < args.len() {
        if args.is(at, "nx") && !options.only_if_present {
            options.only_if_absent = true;
        } else if args.is(at, "xx") && !options.only_if_absent {
            options.only_if_present = true;
        } else if args.is(at, "get") {
            options.return_old = true;
        } else if args.is(at, "keepttl") && options.expiry.is_none() {
            options.keep_expiry = true;
        } else if !options.keep_expiry
            && let Some(form) = time_option(args, at, options.expiry)
        {
            at += 1;
            options.expiry = Some((form, at));
        } else {
            return Err(SYNTAX);
        }
        at += 1;
    }
    Ok(options)
}

/// The way in which a time is given at this place: one with a value behind it, and the same as
/// before.
fn time_option(args: Args<'_>, at: usize, before: Option<(TimeForm, usize)>) -> Option<TimeForm> {
    let form = TimeForm::from_option(args.at(at))?;
    let fits = at + 1 < args.len() && before.is_none_or(|(old, _)| old == form);
    fits.then_some(form)
}

pub fn setnx(call: &mut Call<'_, '_>) -> CommandResult {
    let key = call.args.at(1);
    let absent = !call.space.contains(key);
    if absent {
        call.space.set_string(key, call.args.at(2), Expiry::Clear);
    }
    call.reply.flag(absent);
    Ok(())
}

pub fn setex(call: &mut Call<'_, '_>) -> CommandResult {
    set_with_time(call, TimeForm::EX, "setex")
}

pub fn psetex(call: &mut Call<'_, '_>) -> CommandResult {
    set_with_time(call, TimeForm::PX, "psetex")
}

fn set_with_time(call: &mut Call<'_, '_>, form: TimeForm, command: &str) -> CommandResult {
    let at_ms = positive_time(call.args.at(2), form, call.space.now_ms(), command)?;
    call.space.set_string(call.args.at(1), call.args.at(3), Expiry::At(at_ms));
    call.reply.ok();
    Ok(())
}

pub fn getset(call: &mut Call<'_, '_>) -> CommandResult {
    get(call)?;
    call.space.set_string(call.args.at(1), call.args.at(2), Expiry::Clear);
    Ok(())
}

pub fn getdel(call: &mut Call<'_, '_>) -> CommandResult {
    get(call)?;
    call.space.delete(call.args.at(1));
    Ok(())
}

pub fn getex(call: &mut Call<'_, '_>) -> CommandResult {
    let (args, key) = (call.args, call.args.at(1));
    let (mut persist, mut expiry) = (false, None);
    let mut at = 2;
    while at < args.len() {
        if args.is(at, "persist") && expiry.is_none() {
            persist = true;
        } else if !persist && let Some(form) = time_option(args, at, expiry) {
            at += 1;
            expiry = Some((form, at));
        } else {
            return Err(SYNTAX);
        }
        at += 1;
    }
    // Redis looks at the value's type before it looks at the time.
    let exists = call.space.string(key)?.is_some();
    let at_ms = match expiry {
        Some((form, at)) if exists => {
            Some(positive_time(args.at(at), form, call.space.now_ms(), "getex")?)
        }
        _ => None,
    };
    get(call)?;
    if let Some(at_ms) = at_ms {
        call.space.expire(key, at_ms);
    } else if persist {
        call.space.persist(key);
    }
    Ok(())
}

pub fn strlen(call: &mut Call<'_, '_>) -> CommandResult {
    let len = call.space.string(call.args.at(1))?.map_or(0, |value| value.bytes().len());
    call.reply.count(len);
    Ok(())
}

pub fn append(call: &mut Call<'_, '_>) -> CommandResult {
    let len = call.space.append_string(call.args.at(1), call.args.at(2))?;
    call.reply.count(len);
    Ok(())
}

pub fn setrange(call: &mut Call<'_, '_>) -> CommandResult {
    let (key, bytes) = (call.args.at(1), call.args.at(3));
    let offset = integer(call.args.at(2))?;
    let offset =
        usize::try_from(offset).map_err(|_| CommandError::new("ERR offset is out of range"))?;
    let old_len = match call.space.peek(key) {
        Some(entry) => string_of(entry.value())?.bytes().len(),
        None => 0,
    };
    let len =
        if bytes.is_empty() { old_len } else { call.space.patch_string(key, offset, bytes)? };
    call.reply.count(len);
    Ok(())
}

pub fn getrange(call: &mut Call<'_, '_>) -> CommandResult {
    let (start, end) = (integer(call.args.at(2))?, integer(call.args.at(3))?);
    let Some(value) = call.space.string(call.args.at(1))? else {
        call.reply.bulk(b"");
        return Ok(());
    };
    let bytes = value.bytes();
    let range = string_range(start, end, bytes.len());
    call.reply.bulk(&bytes[range]);
    Ok(())
}

pub fn substr(call: &mut Call<'_, '_>) -> CommandResult {
    getrange(call)
}

/// Redis's inclusive range with negative ends, as a range of `0..len`.
fn string_range(start: i64, end: i64, len: usize) -> std::ops::Range<usize> {
    let len = len as i64;
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let from_end = |at: i64| if at < 0 { (len + at).max(0) } else { at };
    let (start, end) = (from_end(start), from_end(end).min(len - 1));
    if len == 0 || start > end { 0..0 } else { start as usize..end as usize + 1 }
}

pub fn incr(call: &mut Call<'_, '_>) -> CommandResult {
    add(call, 1)
}

pub fn decr(call: &mut Call<'_, '_>) -> CommandResult {
    add(call, -1)
}

pub fn incrby(call: &mut Call<'_, '_>) -> CommandResult {
    let by = integer(call.args.at(2))?;
    add(call, by)
}

pub fn decrby(call: &mut Call<'_, '_>) -> CommandResult {
    let by = integer(call.args.at(2))?;
    match by.checked_neg() {
        Some(by) => add(call, by),
        None => Err(CommandError::new("ERR decrement would overflow")),
    }
}

fn add(call: &mut Call<'_, '_>, by: i64) -> CommandResult {
    let key = call.args.at(1);
    let old = match call.space.string(key)? {
        None => 0,
        Some(StringRef::Integer(integer)) => integer,
        Some(StringRef::Bytes(bytes)) => integer(bytes)?,
    };
    let new = old.checked_add(by).ok_or(OVERFLOW)?;
    let mut digits = itoa::Buffer::new();
    call.space.set_string(key, digits.format(new).as_bytes(), Expiry::Keep);
    call.reply.integer(new);
    Ok(())
}

pub fn incrbyfloat(call: &mut Call<'_, '_>) -> CommandResult {
    let key = call.args.at(1);
    let old = match call.space.string(key)? {
        Some(value) => extended(&value.bytes())?,
        None => Extended::ZERO,
    };
    let by = extended(call.args.at(2))?;
    let sum = old.plus(by).ok_or(NAN_OR_INFINITY)?.print();
    call.space.check_room(key, sum.len())?;
    call.space.set_text(key, sum.as_bytes(), Expiry::Keep);
    call.reply.bulk(sum.as_bytes());
    Ok(())
}

pub fn mget(call: &mut Call<'_, '_>) -> CommandResult {
    call.reply.array(call.args.len() - 1);
    call.space.prefetch(call.args.iter_from(1));
    for key in call.args.iter_from(1) {
        match call.space.string(key) {
            Ok(Some(StringRef::Bytes(bytes))) => call.reply.bulk(bytes),
            Ok(Some(StringRef::Integer(integer))) => call.reply.bulk_integer(integer),
            Ok(None) | Err(_) => call.reply.null(),
        }
    }
    Ok(())
}

pub fn mset(call: &mut Call<'_, '_>) -> CommandResult {
    set_pairs(call, "mset")?;
    call.reply.ok();
    Ok(())
}

pub fn msetnx(call: &mut Call<'_, '_>) -> CommandResult {
    if call.args.len().is_multiple_of(2) {
        return Err(wrong_arity("msetnx"));
    }
    for key in call.args.iter_from(1).step_by(2) {
        if call.space.contains(key) {
            call.reply.flag(false);
            return Ok(());
        }
    }
    set_pairs(call, "msetnx")?;
    call.reply.flag(true);
    Ok(())
}

fn set_pairs(call: &mut Call<'_, '_>, command: &str) -> CommandResult {
    let args = call.args;
    if args.len().is_multiple_of(2) {
        return Err(wrong_arity(command));
    }
    call.space.prefetch(args.iter_from(1).step_by(2));
    for at in (1..args.len()).step_by(2) {
        call.space.set_string(args.at(at), args.at(at + 1), Expiry::Clear);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
