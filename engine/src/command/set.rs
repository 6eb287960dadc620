//! Sets: SADD, SPOP and their kin; what combines several sets is in `set_store`.

use crate::error::{CommandError, CommandResult, NOT_POSITIVE, SYNTAX};
use crate::keyspace::{Missing, Update};
use crate::value::Set;

use super::call::Call;
use super::parse::integer;
use super::random::{self, parse_count};
use super::scan::{Scanned, parse_cursor, parse_options, write_scan};

/// SPOP leaves the members in the smallest form if so many times more were popped than are left.
const REPACK_RATIO: usize = 5;

pub fn sadd(call: &mut Call<'_, '_>) -> CommandResult {
    let members = call.args.iter_from(2);
    let first = call.args.at(2);
    let added = call.space.update(call.args.at(1), Missing::Create, |set| {
        let set: &mut Update<'_, Set> = set;
        set.expect(first, members.len());
        members.filter(|member| set.add(member)).count()
    })?;
    call.reply.count(added.unwrap_or(0));
    Ok(())
}

pub fn srem(call: &mut Call<'_, '_>) -> CommandResult {
    let members = call.args.iter_from(2);
    let removed = call.space.update(call.args.at(1), Missing::Skip, |set| {
        let set: &mut Update<'_, Set> = set;
        members.filter(|member| set.remove(member)).count()
    })?;
    call.reply.count(removed.unwrap_or(0));
    Ok(())
}

pub fn scard(call: &mut Call<'_, '_>) -> CommandResult {
    let len = call.space.set(call.args.at(1))?.map_or(0, Set::len);
    call.reply.count(len);
    Ok(())
}

pub fn sismember(call: &mut Call<'_, '_>) -> CommandResult {
    let member = call.args.at(2);
    let found = call.space.set(call.args.at(1))?.is_some_and(|set| set.contains(member));
    call.reply.flag(found);
    Ok(())
}

pub fn smismember(call: &mut Call<'_, '_>) -> CommandResult {
    let set = call.space.set(call.args.at(1))?;
    call.reply.array(call.args.len() - 2);
    for member in call.args.iter_from(2) {
        call.reply.flag(set.is_some_and(|set| set.contains(member)));
    }
    Ok(())
}

pub fn smembers(call: &mut Call<'_, '_>) -> CommandResult {
    let set = call.space.set(call.args.at(1))?;
    call.reply.set(set.map_or(0, Set::len));
    set.iter().flat_map(|set| set.iter()).for_each(|member| call.reply.bulk(&member));
    Ok(())
}

pub fn smove(call: &mut Call<'_, '_>) -> CommandResult {
    let (from, to, member) = (call.args.at(1), call.args.at(2), call.args.at(3));
    let Some(source) = call.space.set(from)? else {
        call.reply.flag(false);
        return Ok(());
    };
    let found = source.contains(member);
    // The target's type is checked before anything changes.
    call.space.set(to)?;
    if found && from != to {
        let remove = |set: &mut Update<'_, Set>| set.remove(member);
        call.space.update(from, Missing::Skip, remove)?;
        let add = |set: &mut Update<'_, Set>| set.add(member);
        call.space.update(to, Missing::Create, add)?;
    }
    call.reply.flag(found);
    Ok(())
}

pub fn spop(call: &mut Call<'_, '_>) -> CommandResult {
    match call.args.len() {
        2 => spop_one(call),
        3 => spop_count(call),
        _ => Err(SYNTAX),
    }
}

fn spop_one(call: &mut Call<'_, '_>) -> CommandResult {
    let random = call.rng.next_u64();
    let popped = call.space.update(call.args.at(1), Missing::Skip, |set| {
        let set: &mut Update<'_, Set> = set;
        let Some(member) = set.random(random).map(|member| member.to_vec()) else {
            return Ok(None);
        };
        set.check_room(member.len())?;
        set.remove(&member);
        Ok(Some(member))
    })?;
    call.reply.bulk_or_null(popped.transpose()?.flatten().as_deref());
    Ok(())
}

/// Pops no more members than the log takes at once: the count is no promise to give as many.
fn spop_count(call: &mut Call<'_, '_>) -> CommandResult {
    let key = call.args.at(1);
    let count = positive_count(call.args.at(2))?;
    let Some(set) = call.space.set(key)? else {
        call.reply.set(0);
        return Ok(());
    };
    if count >= set.len() {
        call.reply.set(set.len());
        set.iter().for_each(|member| call.reply.bulk(&member));
        call.space.delete(key);
        return Ok(());
    }
    // Where few are left, Redis makes a new set of them.
    let repacks = (set.len() - count) * REPACK_RATIO <= count;
    let rng = &mut *call.rng;
    let popped = call.space.update(key, Missing::Skip, |set| {
        let set: &mut Update<'_, Set> = set;
        let mut popped: Vec<Vec<u8>> = Vec::new();
        while popped.len() < count {
            let Some(member) = set.random(rng.next_u64()).map(|member| member.to_vec()) else {
                unreachable!("the set holds more members than are popped")
            };
            if !set.has_room(member.len()) {
                break;
            }
            set.remove(&member);
            popped.push(member);
        }
        if repacks && count > 0 {
            set.repack();
        }
        popped
    })?;
    let popped = popped.unwrap_or_default();
    call.reply.set(popped.len());
    popped.iter().for_each(|member| call.reply.bulk(member));
    Ok(())
}

fn positive_count(text: &[u8]) -> Result<usize, CommandError> {
    let count = integer(text).map_err(|_| NOT_POSITIVE)?;
    usize::try_from(count).map_err(|_| NOT_POSITIVE)
}

pub fn srandmember(call: &mut Call<'_, '_>) -> CommandResult {
    let args = call.args;
    let Some(count) = args.get(2) else {
        let random = call.rng.next_u64();
        let member = call.space.set(args.at(1))?.and_then(|set| set.random(random));
        call.reply.bulk_or_null(member.as_deref());
        return Ok(());
    };
    if args.len() > 3 {
        return Err(SYNTAX);
    }
    let count = parse_count(count)?;
    let Some(set) = call.space.set(args.at(1))? else {
        call.reply.array(0);
        return Ok(());
    };
    let rng = &mut *call.rng;
    let choose = |bits| set.random(bits).map(|member| Box::<[u8]>::from(&*member));
    let members = if count < 0 {
        random::repeated(count, rng, choose)?
    } else {
        let all = set.iter().map(|member| Box::<[u8]>::from(&*member));
        random::distinct(count, set.len(), rng, all, choose)
    };
    call.reply.array(members.len());
    members.iter().for_each(|member| call.reply.bulk(member));
    Ok(())
}

pub fn sscan(call: &mut Call<'_, '_>) -> CommandResult {
    let args = call.args;
    let cursor = parse_cursor(args.at(2))?;
    // Redis looks at the key before it looks at the options.
    let Some(set) = call.space.set(args.at(1))? else {
        write_scan(call, 0, [].into_iter());
        return Ok(());
    };
    let options = parse_options(args, 3, Scanned::Set)?;
    let mut members: Vec<Box<[u8]>> = Vec::new();
    let next = set.scan(cursor, options.count, |member| {
        if options.matches(member) {
            members.push(member.into());
        }
    });
    write_scan(call, next, members.iter().map(|member| &**member));
    Ok(())
}

#[cfg(test)]
mod tests;
