//! SORT and SORT_RO: a list, set or sorted set in order, replied or stored as a list.
//!
//! BY and GET patterns read keys that no argument names. Such a call asks for every shard
//! ([`reads_other_keys`]); without patterns only the key and the target are touched.

use std::cmp::Ordering;
use std::ops::Range;

use crate::args::Args;
use crate::error::{CommandError, CommandResult, SYNTAX, WRONG_TYPE};
use crate::keyspace::{Space, Value, ValueRef};
use crate::number::{Fit, parse_f64_leniently};
use crate::value::List;
use crate::value::list::End;

use super::call::Call;
use super::parse::integer;

type Element = Box<[u8]>;

const NOT_A_SCORE: CommandError =
    CommandError::new("ERR One or more scores can't be converted into double");

pub fn sort(call: &mut Call<'_, '_>) -> CommandResult {
    run(call, true)
}

pub fn sort_ro(call: &mut Call<'_, '_>) -> CommandResult {
    run(call, false)
}

fn run(call: &mut Call<'_, '_>, may_store: bool) -> CommandResult {
    let mut options = Options::parse(call.args, may_store)?;
    let (mut elements, window) = load(call, &mut options)?;
    if !options.unsorted {
        order(&mut call.space, &options, &mut elements)?;
    }
    let elements = &elements[window];
    match options.store {
        None => reply_with(call, &options, elements),
        Some(target) => store(call, &options, elements, target)?,
    }
    Ok(())
}

/// Whether this SORT or SORT_RO reads keys that its arguments do not name.
pub fn reads_other_keys(args: Args<'_>) -> bool {
    let reads = |pattern: &&[u8]| {
        matches!(Pattern::parse(pattern), Pattern::Key { .. } | Pattern::Field { .. })
    };
    Options::parse(args, true)
        .is_ok_and(|options| options.by.iter().chain(&options.gets).any(reads))
}

/// Where the name of the target stands: behind the last STORE that is not itself a value.
pub fn store_position(args: Args<'_>) -> Option<usize> {
    let (mut at, mut found) = (2, None);
    while at < args.len() {
        let values = match at {
            _ if args.is(at, "limit") => 2,
            _ if args.is(at, "by") || args.is(at, "get") || args.is(at, "store") => 1,
            _ => 0,
        };
        if args.is(at, "store") && at + 1 < args.len() {
            found = Some(at + 1);
        }
        at += 1 + values;
    }
    found
}

struct Options<'a> {
    descending: bool,
    alpha: bool,
    /// BY a pattern without a star: the order is the value's own.
    unsorted: bool,
    by: Option<&'a [u8]>,
    gets: Vec<&'a [u8]>,
    offset: i64,
    /// Below 0: all.
    count: i64,
    store: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(args: Args<'a>, may_store: bool) -> Result<Options<'a>, CommandError> {
        let mut options = Options {
            descending: false,
            alpha: false,
            unsorted: false,
            by: None,
            gets: Vec::new(),
            offset: 0,
            count: -1,
            store: None,
        };
        let mut at = 2;
        while at < args.len() {
            let (first, second) = (args.get(at + 1), args.get(at + 2));
            at += match (first, second) {
                _ if args.is(at, "asc") || args.is(at, "desc") => {
                    options.descending = args.is(at, "desc");
                    1
                }
                _ if args.is(at, "alpha") => {
                    options.alpha = true;
                    1
                }
                (Some(offset), Some(count)) if args.is(at, "limit") => {
                    options.offset = integer(offset)?;
                    options.count = integer(count)?;
                    3
                }
                (Some(target), _) if may_store && args.is(at, "store") => {
                    options.store = Some(target);
                    2
                }
                (Some(pattern), _) if args.is(at, "by") => {
                    // Once one pattern is constant, nothing is sorted, as in Redis.
                    options.unsorted |= !pattern.contains(&b'*');
                    options.by = Some(pattern);
                    2
                }
                (Some(pattern), _) if args.is(at, "get") => {
                    options.gets.push(pattern);
                    2
                }
                _ => return Err(SYNTAX),
            };
        }
        Ok(options)
    }

    /// The part of `len` elements that LIMIT asks for.
    fn window(&self, len: usize) -> Range<usize> {
        let clamp = |number: i64| usize::try_from(number).unwrap_or(usize::MAX).min(len);
        let start = clamp(self.offset.max(0));
        let count = if self.count < 0 { len } else { clamp(self.count) };
        start..start.saturating_add(count).min(len)
    }
}

/// The elements in the value's own order, and which of them are wanted once they are sorted.
/// Where nothing is sorted, what is not wanted is not even copied if the value has ranks.
fn load(
    call: &mut Call<'_, '_>,
    options: &mut Options<'_>,
) -> Result<(Vec<Element>, Range<usize>), CommandError> {
    let Some(entry) = call.space.read(call.args.at(1)) else { return Ok((Vec::new(), 0..0)) };
    let elements: Vec<Element> = match entry.value() {
        ValueRef::List(list) => {
            let ranks = ranks_to_load(options, list.len());
            in_direction(options, list.range(ranks).map(Box::from))
        }
        ValueRef::ZSet(zset) => {
            let ranks = ranks_to_load(options, zset.len());
            in_direction(options, zset.range(ranks).map(|(member, _)| Box::from(member)))
        }
        ValueRef::Set(set) => {
            if options.unsorted && options.store.is_some() {
                // What is stored must not depend on the order of a table.
                (options.unsorted, options.alpha, options.by) = (false, true, None);
            }
            let members: Vec<Element> = set.iter().map(|member| Box::from(&*member)).collect();
            let window = options.window(members.len());
            return Ok((members, window));
        }
        _ => return Err(WRONG_TYPE),
    };
    let window = match options.unsorted {
        true => 0..elements.len(),
        false => options.window(elements.len()),
    };
    Ok((elements, window))
}

fn ranks_to_load(options: &Options<'_>, len: usize) -> Range<usize> {
    if !options.unsorted {
        return 0..len;
    }
    let window = options.window(len);
    match options.descending {
        true => len - window.end..len - window.start,
        false => window,
    }
}

fn in_direction(
    options: &Options<'_>,
    elements: impl DoubleEndedIterator<Item = Element>,
) -> Vec<Element> {
    match options.unsorted && options.descending {
        true => elements.rev().collect(),
        false => elements.collect(),
    }
}

fn order(
    space: &mut Space<'_>,
    options: &Options<'_>,
    elements: &mut Vec<Element>,
) -> CommandResult {
    let directed = |ordering: Ordering| match options.descending {
        true => ordering.reverse(),
        false => ordering,
    };
    let by = options.by.map(Pattern::parse);
    if options.alpha
        && let Some(pattern) = by
    {
        // What has no weight comes first; equal weights stay in the value's own order.
        let weigh = |element: Element| (pattern.look_up(space, &element), element);
        let mut weighted: Vec<_> = elements.drain(..).map(weigh).collect();
        weighted.sort_by(|a, b| directed(a.0.cmp(&b.0)));
        elements.extend(weighted.into_iter().map(|(_, element)| element));
    } else if options.alpha {
        elements.sort_by(|a, b| directed(a.cmp(b)));
    } else {
        let mut weighted = Vec::with_capacity(elements.len());
        for element in elements.drain(..) {
            let score = match &by {
                None => score_of(&element),
                Some(pattern) => match pattern.look_up(space, &element) {
                    None => Some(0.0),
                    Some(text) => score_of(&text),
                },
            };
            weighted.push((score.ok_or(NOT_A_SCORE)?, element));
        }
        // Never NaN. Equal scores go by their bytes, so that the order is always the same.
        let compare = |a: f64, b: f64| a.partial_cmp(&b).unwrap_or(Ordering::Equal);
        weighted.sort_by(|a, b| directed(compare(a.0, b.0).then_with(|| a.1.cmp(&b.1))));
        elements.extend(weighted.into_iter().map(|(_, element)| element));
    }
    Ok(())
}

/// What is too large or too near 0 for a double is refused.
fn score_of(text: &[u8]) -> Option<f64> {
    parse_f64_leniently(text).filter(|(_, fit)| *fit == Fit::Normal).map(|(value, _)| value)
}

/// A pattern of BY or GET.
enum Pattern<'a> {
    /// `#`: the element itself.
    Element,
    /// Without a star: no key at all.
    Nothing,
    Key {
        before: &'a [u8],
        after: &'a [u8],
    },
    /// A field of a hash, `before*after->field`.
    Field {
        before: &'a [u8],
        after: &'a [u8],
        field: &'a [u8],
    },
}

impl<'a> Pattern<'a> {
    fn parse(text: &'a [u8]) -> Pattern<'a> {
        if text == b"#" {
            return Pattern::Element;
        }
        let Some(star) = text.iter().position(|byte| *byte == b'*') else {
            return Pattern::Nothing;
        };
        let (before, after) = (&text[..star], &text[star + 1..]);
        match after.windows(2).position(|pair| pair == b"->") {
            Some(arrow) if arrow + 2 < after.len() => {
                Pattern::Field { before, after: &after[..arrow], field: &after[arrow + 2..] }
            }
            _ => Pattern::Key { before, after },
        }
    }

    /// What the pattern names for an element; `None` where it is absent or of another type.
    fn look_up(&self, space: &mut Space<'_>, element: &[u8]) -> Option<Vec<u8>> {
        match *self {
            Pattern::Element => Some(element.to_vec()),
            Pattern::Nothing => None,
            Pattern::Key { before, after } => {
                let key = [before, element, after].concat();
                let text = space.string(&key).ok().flatten()?;
                Some(text.bytes().to_vec())
            }
            Pattern::Field { before, after, field } => {
                let key = [before, element, after].concat();
                let hash = space.hash(&key).ok().flatten()?;
                hash.get(field).map(<[u8]>::to_vec)
            }
        }
    }
}

fn reply_with(call: &mut Call<'_, '_>, options: &Options<'_>, elements: &[Element]) {
    if options.gets.is_empty() {
        call.reply.array(elements.len());
        elements.iter().for_each(|element| call.reply.bulk(element));
        return;
    }
    let patterns: Vec<Pattern<'_>> = options.gets.iter().map(|text| Pattern::parse(text)).collect();
    call.reply.array(elements.len() * patterns.len());
    for element in elements {
        for pattern in &patterns {
            let value = pattern.look_up(&mut call.space, element);
            call.reply.bulk_or_null(value.as_deref());
        }
    }
}

/// Puts the result under the target as a list; an empty result deletes it. One that grows beyond
/// what the log takes, as GET can repeat a value for every element, is given up at once.
fn store(
    call: &mut Call<'_, '_>,
    options: &Options<'_>,
    elements: &[Element],
    target: &[u8],
) -> CommandResult {
    let limits = call.space.settings.encoding;
    let mut list = List::new();
    let mut bytes = 0;
    let mut push = |space: &mut Space<'_>, item: &[u8]| {
        bytes += item.len();
        list.push(End::Tail, item, &limits);
        space.check_room(target, bytes)
    };
    let patterns: Vec<Pattern<'_>> = options.gets.iter().map(|text| Pattern::parse(text)).collect();
    for element in elements {
        if patterns.is_empty() {
            push(&mut call.space, element)?;
        }
        for pattern in &patterns {
            // A list holds no null: what is absent is stored as an empty text.
            let value = pattern.look_up(&mut call.space, element).unwrap_or_default();
            push(&mut call.space, &value)?;
        }
    }
    let len = list.len();
    call.space.store(target, (len > 0).then_some(Value::List(list)))?;
    call.reply.count(len);
    Ok(())
}

#[cfg(test)]
mod tests;
