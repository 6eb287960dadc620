//! Ranges of sorted sets by rank, score or member: read, counted, stored, removed.

use std::ops::{Bound, Range};

use crate::effect::EFFECT_BYTES;
use crate::error::{CommandError, CommandResult, MIN_OR_MAX_NOT_A_FLOAT, SYNTAX};
use crate::keyspace::{Missing, Value};
use crate::number::parse_f64_leniently;
use crate::value::ZSet;
use crate::value::zset::LexBound;

use super::call::Call;
use super::list::index_range;
use super::parse::integer;
use super::zset::{ZSetUpdate, write_members};

#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// Which members are meant, as parsed.
enum Wanted<'a> {
    Ranks(i64, i64),
    Scores(Bound<f64>, Bound<f64>),
    Lex(LexBound<'a>, LexBound<'a>),
}

impl Wanted<'_> {
    /// The ranks, counted from the lowest score.
    fn ranks(&self, zset: &ZSet, reverse: bool) -> Range<usize> {
        match *self {
            Wanted::Ranks(start, stop) => {
                let len = zset.len();
                let range = index_range(start, stop, len);
                if reverse { len - range.end..len - range.start } else { range }
            }
            Wanted::Scores(min, max) => zset.ranks_by_score(min, max),
            Wanted::Lex(min, max) => zset.ranks_by_lex(min, max),
        }
    }
}

fn parse_wanted<'a>(by: By, min: &'a [u8], max: &'a [u8]) -> Result<Wanted<'a>, CommandError> {
    Ok(match by {
        By::Rank => Wanted::Ranks(integer(min)?, integer(max)?),
        By::Score => Wanted::Scores(score_bound(min)?, score_bound(max)?),
        By::Lex => Wanted::Lex(lex_bound(min)?, lex_bound(max)?),
    })
}

fn score_bound(text: &[u8]) -> Result<Bound<f64>, CommandError> {
    // What no double can hold is an end of the line here, not an error.
    let parse = |text| match parse_f64_leniently(text) {
        Some((score, _)) => Ok(score),
        None => Err(MIN_OR_MAX_NOT_A_FLOAT),
    };
    match text {
        [b'(', rest @ ..] => parse(rest).map(Bound::Excluded),
        _ => parse(text).map(Bound::Included),
    }
}

fn lex_bound(text: &[u8]) -> Result<LexBound<'_>, CommandError> {
    match text {
        b"-" => Ok(LexBound::Min),
        b"+" => Ok(LexBound::Max),
        [b'(', rest @ ..] => Ok(LexBound::Excluded(rest)),
        [b'[', rest @ ..] => Ok(LexBound::Included(rest)),
        _ => Err(CommandError::new("ERR min or max not valid string range item")),
    }
}

/// Everything that a range command asks for.
struct Query<'a> {
    wanted: Wanted<'a>,
    reverse: bool,
    with_scores: bool,
    /// Members to skip, and the most to give.
    limit: Option<(i64, i64)>,
}

impl Query<'_> {
    /// The members in the order asked for.
    fn select<'z>(&self, zset: &'z ZSet) -> Vec<(&'z [u8], f64)> {
        let ranks = self.wanted.ranks(zset, self.reverse);
        let (skip, take) = match self.limit {
            None => (0, usize::MAX),
            // A negative offset is past the end; a negative count means all.
            Some((offset, count)) => (
                usize::try_from(offset).unwrap_or(usize::MAX),
                usize::try_from(count).unwrap_or(usize::MAX),
            ),
        };
        let start = ranks.start.saturating_add(skip).min(ranks.end);
        if self.reverse {
            let end = ranks.end.saturating_sub(skip).max(ranks.start);
            let start = end.saturating_sub(take).max(ranks.start);
            return zset.range(start..end).rev().collect();
        }
        let end = start.saturating_add(take).min(ranks.end);
        zset.range(start..end).collect()
    }
}

/// What a command leaves open to its options.
#[derive(Clone, Copy)]
struct Form {
    /// `None`: BYSCORE and BYLEX say it.
    by: Option<By>,
    /// `None`: REV says it.
    reverse: Option<bool>,
    /// Position of the first bound.
    first: usize,
    stores: bool,
}

fn parse_query<'a>(call: &Call<'a, '_>, form: Form) -> Result<Query<'a>, CommandError> {
    let args = call.args;
    let (mut by, mut reverse) = (form.by, form.reverse);
    let (mut with_scores, mut limit) = (false, None);
    let mut at = form.first + 2;
    while at < args.len() {
        if !form.stores && args.is(at, "withscores") {
            with_scores = true;
        } else if args.is(at, "limit") && at + 2 < args.len() {
            limit = Some((integer(args.at(at + 1))?, integer(args.at(at + 2))?));
            at += 2;
        } else if reverse.is_none() && args.is(at, "rev") {
            reverse = Some(true);
        } else if by.is_none() && args.is(at, "bylex") {
            by = Some(By::Lex);
        } else if by.is_none() && args.is(at, "byscore") {
            by = Some(By::Score);
        } else {
            return Err(SYNTAX);
        }
        at += 1;
    }
    let (by, reverse) = (by.unwrap_or(By::Rank), reverse.unwrap_or(false));
    // A limit of -1 is none.
    if limit.is_some_and(|(_, count)| count != -1) && by == By::Rank {
        return Err(CommandError::new(
            "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
        ));
    }
    if with_scores && by == By::Lex {
        return Err(CommandError::new(
            "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
        ));
    }
    // Backwards by score or member, the greater bound comes first.
    let (mut min, mut max) = (args.at(form.first), args.at(form.first + 1));
    if reverse && by != By::Rank {
        std::mem::swap(&mut min, &mut max);
    }
    Ok(Query { wanted: parse_wanted(by, min, max)?, reverse, with_scores, limit })
}

fn reply_range(call: &mut Call<'_, '_>, by: Option<By>, reverse: Option<bool>) -> CommandResult {
    let query = parse_query(call, Form { by, reverse, first: 2, stores: false })?;
    let zset = call.space.zset(call.args.at(1))?;
    let found: Vec<(Vec<u8>, f64)> = zset
        .map(|zset| query.select(zset))
        .unwrap_or_default()
        .into_iter()
        .map(|(member, score)| (member.to_vec(), score))
        .collect();
    let members = found.iter().map(|(member, score)| (&member[..], *score));
    write_members(call, members, query.with_scores);
    Ok(())
}

pub fn zrange(call: &mut Call<'_, '_>) -> CommandResult {
    reply_range(call, None, None)
}

pub fn zrevrange(call: &mut Call<'_, '_>) -> CommandResult {
    reply_range(call, Some(By::Rank), Some(true))
}

pub fn zrangebyscore(call: &mut Call<'_, '_>) -> CommandResult {
    reply_range(call, Some(By::Score), Some(false))
}

pub fn zrevrangebyscore(call: &mut Call<'_, '_>) -> CommandResult {
    reply_range(call, Some(By::Score), Some(true))
}

pub fn zrangebylex(call: &mut Call<'_, '_>) -> CommandResult {
    reply_range(call, Some(By::Lex), Some(false))
}

pub fn zrevrangebylex(call: &mut Call<'_, '_>) -> CommandResult {
    reply_range(call, Some(By::Lex), Some(true))
}

pub fn zrangestore(call: &mut Call<'_, '_>) -> CommandResult {
    let query = parse_query(call, Form { by: None, reverse: None, first: 3, stores: true })?;
    let target = call.args.at(1);
    let (limits, hasher) = (call.space.settings.encoding, call.space.shards.hasher());
    let mut stored = ZSet::new();
    if let Some(zset) = call.space.zset(call.args.at(2))? {
        for (member, score) in query.select(zset) {
            stored.set(member, score, &limits, &hasher);
        }
    }
    store(call, target, stored)
}

/// Puts a result under its key, or deletes the key where there is none, and replies its length.
pub(super) fn store(call: &mut Call<'_, '_>, target: &[u8], result: ZSet) -> CommandResult {
    let len = result.len();
    call.space.store(target, (len > 0).then_some(Value::ZSet(result)))?;
    call.reply.count(len);
    Ok(())
}

pub fn zcount(call: &mut Call<'_, '_>) -> CommandResult {
    count(call, By::Score)
}

pub fn zlexcount(call: &mut Call<'_, '_>) -> CommandResult {
    count(call, By::Lex)
}

fn count(call: &mut Call<'_, '_>, by: By) -> CommandResult {
    let wanted = parse_wanted(by, call.args.at(2), call.args.at(3))?;
    let zset = call.space.zset(call.args.at(1))?;
    let len = zset.map_or(0, |zset| wanted.ranks(zset, false).len());
    call.reply.count(len);
    Ok(())
}

pub fn zremrangebyrank(call: &mut Call<'_, '_>) -> CommandResult {
    remove(call, By::Rank)
}

pub fn zremrangebyscore(call: &mut Call<'_, '_>) -> CommandResult {
    remove(call, By::Score)
}

pub fn zremrangebylex(call: &mut Call<'_, '_>) -> CommandResult {
    remove(call, By::Lex)
}

fn remove(call: &mut Call<'_, '_>, by: By) -> CommandResult {
    let wanted = parse_wanted(by, call.args.at(2), call.args.at(3))?;
    let removed =
        call.space.update(call.args.at(1), Missing::Skip, |zset: &mut ZSetUpdate<'_>| {
            let ranks = wanted.ranks(zset, false);
            let members: Vec<Vec<u8>> =
                zset.range(ranks).map(|(member, _)| member.to_vec()).collect();
            zset.check_room(members.iter().map(|member| member.len() + EFFECT_BYTES).sum())?;
            Ok(members.iter().filter(|member| zset.remove(member)).count())
        })?;
    call.reply.count(removed.transpose()?.unwrap_or(0));
    Ok(())
}

#[cfg(test)]
mod tests;
