//! Keys whatever they hold: DEL, RENAME, COPY, TYPE, OBJECT, whole databases.

use crate::error::{CommandError, CommandResult, NO_SUCH_KEY, SYNTAX};
use crate::keyspace::string::string_encoding;
use crate::keyspace::{Entry, ValueRef};
use crate::limits::DATABASE_COUNT;
use crate::number;

use super::call::Call;
use super::parse;
use super::scan::type_of;

pub fn del(call: &mut Call<'_, '_>) -> CommandResult {
    let deleted = call.args.iter_from(1).filter(|key| call.space.delete(key)).count();
    call.reply.count(deleted);
    Ok(())
}

const IDLE_TIME_NOT_TRACKED: CommandError = CommandError::new(
    "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when \
     switching between policies at runtime LRU and LFU data will take some time to adjust.",
);

const FREQUENCY_NOT_TRACKED: CommandError = CommandError::new(
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that \
     when switching between policies at runtime LRU and LFU data will take some time to adjust.",
);

/// Large values are freed in slices whichever of the two was called.
pub fn unlink(call: &mut Call<'_, '_>) -> CommandResult {
    del(call)
}

/// Leaves no trace of a use, unlike TOUCH.
pub fn exists(call: &mut Call<'_, '_>) -> CommandResult {
    call.space.notes_access = false;
    touch(call)
}

pub fn touch(call: &mut Call<'_, '_>) -> CommandResult {
    let found = call.args.iter_from(1).filter(|key| call.space.read(key).is_some()).count();
    call.reply.count(found);
    Ok(())
}

pub fn type_(call: &mut Call<'_, '_>) -> CommandResult {
    let name = type_of(call.space.peek(call.args.at(1)));
    call.reply.simple(name);
    Ok(())
}

pub fn rename(call: &mut Call<'_, '_>) -> CommandResult {
    let (from, to) = (call.args.at(1), call.args.at(2));
    if from == to {
        if !call.space.contains(from) {
            return Err(NO_SUCH_KEY);
        }
    } else if !call.space.rename(from, to)? {
        return Err(NO_SUCH_KEY);
    }
    call.reply.ok();
    Ok(())
}

pub fn renamenx(call: &mut Call<'_, '_>) -> CommandResult {
    let (from, to) = (call.args.at(1), call.args.at(2));
    if !call.space.contains(from) {
        return Err(NO_SUCH_KEY);
    }
    let free = from != to && !call.space.contains(to);
    if free {
        call.space.rename(from, to)?;
    }
    call.reply.flag(free);
    Ok(())
}

pub fn copy(call: &mut Call<'_, '_>) -> CommandResult {
    let (args, from, to) = (call.args, call.args.at(1), call.args.at(2));
    let (mut db, mut replace) = (call.space.db(), false);
    let mut at = 3;
    while at < args.len() {
        if args.is(at, "replace") {
            replace = true;
        } else if args.is(at, "db") && at + 1 < args.len() {
            at += 1;
            db = parse::database(args.at(at))?;
        } else {
            return Err(SYNTAX);
        }
        at += 1;
    }
    if db == call.space.db() && from == to {
        return Err(CommandError::new("ERR source and destination objects are the same"));
    }
    let Some(entry) = call.space.read(from) else {
        call.reply.flag(false);
        return Ok(());
    };
    let (value, at_ms) = (entry.value().to_value(), entry.expires_at_ms());
    let mut target = call.space.in_database(db);
    let free = replace || !target.contains(to);
    if free {
        target.check_room_for(to, value.view())?;
        target.put(to, value, at_ms);
    }
    call.reply.flag(free);
    Ok(())
}

pub fn move_(call: &mut Call<'_, '_>) -> CommandResult {
    let (key, from) = (call.args.at(1), call.space.db());
    let db = parse::database(call.args.at(2))?;
    if db == from {
        return Err(CommandError::new("ERR source and destination objects are the same"));
    }
    let moved = call.space.contains(key) && !call.space.in_database(db).contains(key);
    if moved {
        call.space.check_room_for_that_of(key, key)?;
        call.space.move_to_database(key, db);
    }
    call.reply.flag(moved);
    Ok(())
}

pub fn object_encoding(call: &mut Call<'_, '_>) -> CommandResult {
    let Some(entry) = call.space.peek(call.args.at(2)) else {
        call.reply.null();
        return Ok(());
    };
    let name = encoding_of(entry.value());
    call.reply.bulk(name.as_bytes());
    Ok(())
}

/// OBJECT ENCODING's word for a value.
pub fn encoding_of(value: ValueRef<'_>) -> &'static str {
    match value {
        ValueRef::List(list) => list.encoding(),
        ValueRef::Set(set) => set.encoding(),
        ValueRef::Hash(hash) => hash.encoding(),
        ValueRef::ZSet(zset) => zset.encoding(),
        string => string_encoding(string).unwrap_or("raw"),
    }
}

pub fn object_refcount(call: &mut Call<'_, '_>) -> CommandResult {
    if call.space.peek(call.args.at(2)).is_some() {
        call.reply.integer(1);
    } else {
        call.reply.null();
    }
    Ok(())
}

pub fn object_idletime(call: &mut Call<'_, '_>) -> CommandResult {
    let clock = call.space.access_clock();
    match call.space.peek(call.args.at(2)).map(Entry::access) {
        Some(access) if clock.frequency(access).is_some() => return Err(IDLE_TIME_NOT_TRACKED),
        Some(access) => call.reply.integer(i64::from(clock.idle_s(access))),
        None => call.reply.null(),
    }
    Ok(())
}

pub fn object_freq(call: &mut Call<'_, '_>) -> CommandResult {
    let clock = call.space.access_clock();
    match call.space.peek(call.args.at(2)).map(Entry::access) {
        Some(access) => match clock.frequency(access) {
            Some(frequency) => call.reply.integer(i64::from(frequency)),
            None => return Err(FREQUENCY_NOT_TRACKED),
        },
        None => call.reply.null(),
    }
    Ok(())
}

pub fn object_help(call: &mut Call<'_, '_>) -> CommandResult {
    write_help(
        call,
        "OBJECT",
        &[
            "ENCODING <key>",
            "    Return the kind of internal representation used in order to store the value",
            "    associated with a <key>.",
            "FREQ <key>",
            "    Return the access frequency index of the <key>. The returned integer is",
            "    proportional to the logarithm of the recent access frequency of the key.",
            "IDLETIME <key>",
            "    Return the idle time of the <key>, that is the approximated number of",
            "    seconds elapsed since the last access to the key.",
            "REFCOUNT <key>",
            "    Return the number of references of the value associated with the specified",
            "    <key>.",
        ],
    );
    Ok(())
}

/// A container's HELP, in the frame that Redis gives it.
pub fn write_help(call: &mut Call<'_, '_>, name: &str, lines: &[&str]) {
    call.reply.array(lines.len() + 3);
    call.reply.simple(&format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    lines.iter().for_each(|line| call.reply.simple(line));
    call.reply.simple("HELP");
    call.reply.simple("    Print this help.");
}

pub fn dbsize(call: &mut Call<'_, '_>) -> CommandResult {
    let db = call.space.db();
    let mut count = 0;
    for shard in call.space.shards.held_mut() {
        shard.observe_all();
        count += shard.database(db).len();
    }
    call.reply.count(count);
    Ok(())
}

/// SYNC and ASYNC come to the same: a flushed table is freed in slices.
fn check_flush_option(call: &Call<'_, '_>) -> CommandResult {
    let args = call.args;
    match args.len() {
        1 => Ok(()),
        2 if args.is(1, "sync") || args.is(1, "async") => Ok(()),
        _ => Err(SYNTAX),
    }
}

pub fn flushdb(call: &mut Call<'_, '_>) -> CommandResult {
    check_flush_option(call)?;
    call.space.flush_database();
    call.reply.ok();
    Ok(())
}

pub fn flushall(call: &mut Call<'_, '_>) -> CommandResult {
    check_flush_option(call)?;
    for db in 0..DATABASE_COUNT as u16 {
        call.space.in_database(db).flush_database();
    }
    call.reply.ok();
    Ok(())
}

pub fn swapdb(call: &mut Call<'_, '_>) -> CommandResult {
    let parse = |text: &[u8], error: &'static str| {
        let index = number::parse_i64(text).and_then(|index| i32::try_from(index).ok());
        index.ok_or(CommandError::new(error))
    };
    let a = parse(call.args.at(1), "ERR invalid first DB index")?;
    let b = parse(call.args.at(2), "ERR invalid second DB index")?;
    let in_range = |db: i32| usize::try_from(db).is_ok_and(|db| db < DATABASE_COUNT);
    if !in_range(a) || !in_range(b) {
        return Err(CommandError::new("ERR DB index is out of range"));
    }
    call.space.swap_databases(a as u16, b as u16);
    call.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests;
