//! Which arguments of a command are keys, from the command table's key specifications.
//! Source: Redis's key specifications (redis.io, "Command key specifications").

use smallvec::SmallVec;

use crate::args::Args;
use crate::number::parse_i64;

use super::sort;
use super::spec::flag::{ALL_SHARDS, PATTERN_KEYS, PUBSUB};
use super::spec::{Begin, CommandSpec, Find, KeySpec};

/// Positions of key arguments, nearly always few.
pub type KeyPositions = SmallVec<[u32; 8]>;

/// The positions of all keys, in the order of the specifications. `None` where the arguments do
/// not form a valid list of keys; the command itself will say why. Channels are no keys.
pub fn key_positions(spec: &CommandSpec, args: Args<'_>) -> Option<KeyPositions> {
    let mut positions = KeyPositions::new();
    if spec.has(PUBSUB) {
        return Some(positions);
    }
    for key_spec in spec.keys {
        add_positions(key_spec, args, &mut positions)?;
    }
    Some(positions)
}

/// Whether a command needs every shard in hand: always, or for its patterns over keys.
pub fn needs_all_shards(spec: &CommandSpec, args: Args<'_>) -> bool {
    spec.has(ALL_SHARDS) || spec.has(PATTERN_KEYS) && sort::reads_other_keys(args)
}

fn add_positions(spec: &KeySpec, args: Args<'_>, positions: &mut KeyPositions) -> Option<()> {
    if spec.find == Find::SortTarget {
        positions.extend(sort::store_position(args).map(|at| at as u32));
        return Some(());
    }
    let begin = match spec.begin {
        Begin::Index(index) => index,
        Begin::Keyword(word, from) => match find_keyword(args, word, from) {
            Some(at) => at + 1,
            None => return Some(()),
        },
        Begin::Unknown => return Some(()),
    };
    if begin >= args.len() {
        return None;
    }
    match spec.find {
        Find::Range { last, step, limit } => {
            let end = args.len() - 1;
            let last = if last >= 0 {
                begin + last as usize
            } else if limit <= 1 {
                (end + 1).checked_sub(last.unsigned_abs() as usize)?
            } else {
                begin + (end - begin + 1) / limit - 1
            };
            if last > end || last < begin {
                return None;
            }
            positions.extend((begin..=last).step_by(step.max(1)).map(|at| at as u32));
        }
        Find::KeyCount { count_index, first, step } => {
            let count = parse_i64(args.get(begin + count_index)?)?;
            let count = usize::try_from(count).ok().filter(|c| *c > 0)?;
            let first = begin + first;
            let last = count.checked_sub(1)?.checked_mul(step.max(1))?.checked_add(first)?;
            if last >= args.len() {
                return None;
            }
            positions.extend((first..=last).step_by(step.max(1)).map(|at| at as u32));
        }
        Find::SortTarget | Find::Unknown => {}
    }
    Some(())
}

fn find_keyword(args: Args<'_>, word: &str, from: i32) -> Option<usize> {
    if from >= 0 {
        (from as usize..args.len()).find(|&at| args.is(at, word))
    } else {
        let start = args.len().checked_sub(from.unsigned_abs() as usize)?;
        (1..=start).rev().find(|&at| args.is(at, word))
    }
}
