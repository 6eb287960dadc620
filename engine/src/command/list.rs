//! Lists: pushing, popping, ranges, positions. Moves and blocking commands are in `list_move`.

use crate::effect::EFFECT_BYTES;
use crate::error::{
    CommandError, CommandResult, INDEX_OUT_OF_RANGE, NO_SUCH_KEY, NOT_POSITIVE, SYNTAX,
};
use crate::keyspace::{Missing, Update};
use crate::value::List;
use crate::value::list::End;

use super::call::Call;
use super::parse::integer;

type ListUpdate<'a> = Update<'a, List>;

pub fn lpush(call: &mut Call<'_, '_>) -> CommandResult {
    push(call, End::Head, Missing::Create)
}

pub fn rpush(call: &mut Call<'_, '_>) -> CommandResult {
    push(call, End::Tail, Missing::Create)
}

pub fn lpushx(call: &mut Call<'_, '_>) -> CommandResult {
    push(call, End::Head, Missing::Skip)
}

pub fn rpushx(call: &mut Call<'_, '_>) -> CommandResult {
    push(call, End::Tail, Missing::Skip)
}

fn push(call: &mut Call<'_, '_>, end: End, missing: Missing) -> CommandResult {
    let elements = call.args.iter_from(2);
    let len = call.space.update(call.args.at(1), missing, |list: &mut ListUpdate<'_>| {
        elements.for_each(|element| push_one(list, end, element));
        list.len()
    })?;
    call.reply.count(len.unwrap_or(0));
    Ok(())
}

pub(super) fn push_one(list: &mut ListUpdate<'_>, end: End, element: &[u8]) {
    match end {
        End::Head => list.push_front(element),
        End::Tail => list.push_back(element),
    }
}

pub fn lpop(call: &mut Call<'_, '_>) -> CommandResult {
    pop(call, End::Head, "lpop")
}

pub fn rpop(call: &mut Call<'_, '_>) -> CommandResult {
    pop(call, End::Tail, "rpop")
}

fn pop(call: &mut Call<'_, '_>, end: End, command: &str) -> CommandResult {
    if call.args.len() > 3 {
        return Err(crate::error::wrong_arity(command));
    }
    let count = match call.args.get(2) {
        None => None,
        Some(text) => Some(parse_count(text)?),
    };
    let Some(list) = call.space.list(call.args.at(1))? else {
        if count.is_some() {
            call.reply.null_array();
        } else {
            call.reply.null();
        }
        return Ok(());
    };
    let taken = ends(list, end, count.unwrap_or(1));
    if count.is_some() {
        call.reply.array(taken.len());
    }
    taken.iter().for_each(|element| call.reply.bulk(element));
    drop_from(call, call.args.at(1), end, taken.len())
}

/// Reads a count that must not be negative, as LPOP takes it.
fn parse_count(text: &[u8]) -> Result<usize, CommandError> {
    crate::number::parse_i64(text).and_then(|count| usize::try_from(count).ok()).ok_or(NOT_POSITIVE)
}

/// Copies of up to `count` elements, in the order in which popping gives them.
pub(super) fn ends(list: &List, end: End, count: usize) -> Vec<Vec<u8>> {
    let len = list.len();
    let count = count.min(len);
    match end {
        End::Head => list.range(0..count).map(<[u8]>::to_vec).collect(),
        End::Tail => list.range(len - count..len).rev().map(<[u8]>::to_vec).collect(),
    }
}

/// Takes elements off that are known to be there.
pub(super) fn drop_from(
    call: &mut Call<'_, '_>,
    key: &[u8],
    end: End,
    count: usize,
) -> CommandResult {
    if count == 0 {
        return Ok(());
    }
    call.space.update(key, Missing::Skip, |list: &mut ListUpdate<'_>| match end {
        End::Head => list.drop_front(count),
        End::Tail => list.drop_back(count),
    })?;
    Ok(())
}

pub fn llen(call: &mut Call<'_, '_>) -> CommandResult {
    let len = call.space.list(call.args.at(1))?.map_or(0, List::len);
    call.reply.count(len);
    Ok(())
}

pub fn lindex(call: &mut Call<'_, '_>) -> CommandResult {
    let list = call.space.list(call.args.at(1))?;
    let Some(list) = list else {
        call.reply.null();
        return Ok(());
    };
    let index = integer(call.args.at(2))?;
    call.reply.bulk_or_null(list.get(index));
    Ok(())
}

/// Redis's inclusive range with negative ends, as a range of `0..len`.
pub(crate) fn index_range(start: i64, stop: i64, len: usize) -> std::ops::Range<usize> {
    let len = len as i64;
    let from_end = |at: i64| if at < 0 { at.saturating_add(len) } else { at };
    let (start, stop) = (from_end(start).max(0), from_end(stop).min(len - 1));
    if start > stop { 0..0 } else { start as usize..stop as usize + 1 }
}

pub fn lrange(call: &mut Call<'_, '_>) -> CommandResult {
    let (start, stop) = (integer(call.args.at(2))?, integer(call.args.at(3))?);
    let Some(list) = call.space.list(call.args.at(1))? else {
        call.reply.array(0);
        return Ok(());
    };
    let range = index_range(start, stop, list.len());
    call.reply.array(range.len());
    list.range(range).for_each(|element| call.reply.bulk(element));
    Ok(())
}

pub fn lset(call: &mut Call<'_, '_>) -> CommandResult {
    let (key, element) = (call.args.at(1), call.args.at(3));
    let Some(list) = call.space.list(key)? else { return Err(NO_SUCH_KEY) };
    let index = integer(call.args.at(2))?;
    let index = list.index_of(index).ok_or(INDEX_OUT_OF_RANGE)?;
    call.space.update(key, Missing::Skip, |list: &mut ListUpdate<'_>| list.set(index, element))?;
    call.reply.ok();
    Ok(())
}

pub fn linsert(call: &mut Call<'_, '_>) -> CommandResult {
    let (key, pivot, element) = (call.args.at(1), call.args.at(3), call.args.at(4));
    let behind = if call.args.is(2, "after") {
        1
    } else if call.args.is(2, "before") {
        0
    } else {
        return Err(SYNTAX);
    };
    let answer = match call.space.list(key)?.map(|list| list.find(pivot)) {
        None => 0,
        Some(None) => -1,
        Some(Some(at)) => {
            let len = call.space.update(key, Missing::Skip, |list: &mut ListUpdate<'_>| {
                list.insert(at + behind, element);
                list.len() as i64
            })?;
            len.unwrap_or(0)
        }
    };
    call.reply.integer(answer);
    Ok(())
}

pub fn lrem(call: &mut Call<'_, '_>) -> CommandResult {
    let (key, element) = (call.args.at(1), call.args.at(3));
    let count = integer(call.args.at(2))?;
    let max = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
    let places: Vec<usize> = match call.space.list(key)? {
        None => Vec::new(),
        Some(list) if count >= 0 => equal_places(list.iter().enumerate(), element, max),
        Some(list) => {
            let len = list.len();
            let backwards = list.iter().rev().enumerate().map(|(i, e)| (len - 1 - i, e));
            equal_places(backwards, element, max)
        }
    };
    remove_places(call, key, places)
}

fn equal_places<'l>(
    elements: impl Iterator<Item = (usize, &'l [u8])>,
    wanted: &[u8],
    max: usize,
) -> Vec<usize> {
    elements.filter(|(_, element)| *element == wanted).take(max).map(|(at, _)| at).collect()
}

/// Removes single elements, from the back so that the places before them stay true.
fn remove_places(call: &mut Call<'_, '_>, key: &[u8], mut places: Vec<usize>) -> CommandResult {
    places.sort_unstable();
    let removed = places.len();
    call.space.check_room(key, removed * EFFECT_BYTES)?;
    call.space.update(key, Missing::Skip, |list: &mut ListUpdate<'_>| {
        places.iter().rev().for_each(|at| {
            list.remove_range(*at, 1);
        });
    })?;
    call.reply.count(removed);
    Ok(())
}

pub fn ltrim(call: &mut Call<'_, '_>) -> CommandResult {
    let (start, stop) = (integer(call.args.at(2))?, integer(call.args.at(3))?);
    call.space.update(call.args.at(1), Missing::Skip, |list: &mut ListUpdate<'_>| {
        let len = list.len();
        let kept = index_range(start, stop, len);
        // As in Redis, a trim that leaves all is a change to those who watch.
        list.touch();
        list.drop_back(len - kept.end);
        list.drop_front(kept.start);
    })?;
    call.reply.ok();
    Ok(())
}

/// RANK, COUNT and MAXLEN of LPOS.
struct PositionOptions {
    rank: i64,
    count: Option<usize>,
    len_max: usize,
}

pub fn lpos(call: &mut Call<'_, '_>) -> CommandResult {
    let options = parse_position_options(call)?;
    let element = call.args.at(2);
    let list = call.space.list(call.args.at(1))?;
    let found = list.map_or_else(Vec::new, |list| positions(list, element, &options));
    match options.count {
        None => match found.first() {
            Some(at) => call.reply.count(*at),
            None => call.reply.null(),
        },
        Some(_) => {
            call.reply.array(found.len());
            found.iter().for_each(|at| call.reply.count(*at));
        }
    }
    Ok(())
}

fn positions(list: &List, element: &[u8], options: &PositionOptions) -> Vec<usize> {
    let skipped = options.rank.unsigned_abs() as usize - 1;
    let max = match options.count {
        None => 1,
        Some(0) => usize::MAX,
        Some(count) => count,
    };
    let len_max = if options.len_max == 0 { usize::MAX } else { options.len_max };
    let len = list.len();
    let elements: Box<dyn Iterator<Item = (usize, &[u8])>> = if options.rank > 0 {
        Box::new(list.iter().enumerate())
    } else {
        Box::new(list.iter().rev().enumerate().map(move |(i, e)| (len - 1 - i, e)))
    };
    elements
        .take(len_max)
        .filter(|(_, candidate)| *candidate == element)
        .skip(skipped)
        .take(max)
        .map(|(at, _)| at)
        .collect()
}

fn parse_position_options(call: &Call<'_, '_>) -> Result<PositionOptions, CommandError> {
    let args = call.args;
    let mut options = PositionOptions { rank: 1, count: None, len_max: 0 };
    let mut at = 3;
    while at < args.len() {
        let Some(value) = args.get(at + 1) else { return Err(SYNTAX) };
        if args.is(at, "rank") {
            options.rank = integer(value)?;
            if options.rank == i64::MIN {
                return Err(CommandError::new(
                    "ERR value is out of range, value must between -9223372036854775807 and \
                     9223372036854775807",
                ));
            }
            if options.rank == 0 {
                return Err(CommandError::new(
                    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the \
                     second ... or use negative to start from the end of the list",
                ));
            }
        } else if args.is(at, "count") {
            let count = not_negative(value, "ERR COUNT can't be negative")?;
            options.count = Some(count);
        } else if args.is(at, "maxlen") {
            options.len_max = not_negative(value, "ERR MAXLEN can't be negative")?;
        } else {
            return Err(SYNTAX);
        }
        at += 2;
    }
    Ok(options)
}

fn not_negative(text: &[u8], error: &'static str) -> Result<usize, CommandError> {
    let value = crate::number::parse_i64(text);
    value.and_then(|value| usize::try_from(value).ok()).ok_or(CommandError::new(error))
}
