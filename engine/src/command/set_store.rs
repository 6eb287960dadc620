//! What combines several sets: intersection, union and difference, replied or stored.
//!
//! The sets lie in several shards. Each is first looked up as a command's key (its time, its type,
//! its access), then all are borrowed at once; nothing changes before the result stands by itself.

use crate::error::{CommandError, CommandResult, SYNTAX};
use crate::keyspace::{Space, Value, ValueRef};
use crate::value::Set;

use super::call::Call;
use super::parse::integer;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Intersection,
    Union,
    Difference,
}

pub fn sinter(call: &mut Call<'_, '_>) -> CommandResult {
    reply_combined(call, Operation::Intersection)
}

pub fn sunion(call: &mut Call<'_, '_>) -> CommandResult {
    reply_combined(call, Operation::Union)
}

pub fn sdiff(call: &mut Call<'_, '_>) -> CommandResult {
    reply_combined(call, Operation::Difference)
}

pub fn sinterstore(call: &mut Call<'_, '_>) -> CommandResult {
    store_combined(call, Operation::Intersection)
}

pub fn sunionstore(call: &mut Call<'_, '_>) -> CommandResult {
    store_combined(call, Operation::Union)
}

pub fn sdiffstore(call: &mut Call<'_, '_>) -> CommandResult {
    store_combined(call, Operation::Difference)
}

pub fn sintercard(call: &mut Call<'_, '_>) -> CommandResult {
    let args = call.args;
    let too_few = || CommandError::new("ERR numkeys should be greater than 0");
    let key_count = integer(args.at(1)).ok().filter(|count| *count > 0).ok_or_else(too_few)?;
    let Some(key_count) = usize::try_from(key_count).ok().filter(|n| *n <= args.len() - 2) else {
        return Err(CommandError::new("ERR Number of keys can't be greater than number of args"));
    };
    let negative = || CommandError::new("ERR LIMIT can't be negative");
    let mut limit = 0;
    let mut at = 2 + key_count;
    while at < args.len() {
        let Some(value) = args.get(at + 1).filter(|_| args.is(at, "limit")) else {
            return Err(SYNTAX);
        };
        let value = integer(value).map_err(|_| negative())?;
        limit = usize::try_from(value).map_err(|_| negative())?;
        at += 2;
    }
    let keys: Vec<&[u8]> = args.iter_from(2).take(key_count).collect();
    check_sets(&mut call.space, &keys)?;
    let mut count = 0;
    intersect(&borrow_sets(&call.space, &keys), |_| {
        count += 1;
        count != limit
    });
    call.reply.count(count);
    Ok(())
}

fn reply_combined(call: &mut Call<'_, '_>, operation: Operation) -> CommandResult {
    let result = combine(call, 1, operation)?;
    call.reply.set(result.len());
    result.iter().for_each(|member| call.reply.bulk(&member));
    Ok(())
}

fn store_combined(call: &mut Call<'_, '_>, operation: Operation) -> CommandResult {
    let target = call.args.at(1);
    let result = combine(call, 2, operation)?;
    let len = result.len();
    call.space.store(target, (len > 0).then_some(Value::Set(result)))?;
    call.reply.count(len);
    Ok(())
}

/// The result of an operation on the sets of all arguments from `first` on.
fn combine(
    call: &mut Call<'_, '_>,
    first: usize,
    operation: Operation,
) -> Result<Set, CommandError> {
    let keys: Vec<&[u8]> = call.args.iter_from(first).collect();
    check_sets(&mut call.space, &keys)?;
    let (limits, hasher) = (&call.space.settings.encoding, call.space.shards.hasher());
    let sets = borrow_sets(&call.space, &keys);
    let mut result = Set::new();
    let mut add = |member: &[u8]| {
        result.add(member, limits, &hasher);
    };
    match operation {
        Operation::Intersection => intersect(&sets, |member| {
            add(member);
            true
        }),
        Operation::Union => {
            let members = sets.iter().flatten().flat_map(|set| set.iter());
            members.for_each(|member| add(&member));
        }
        Operation::Difference => {
            let (first, others) = sets.split_first().expect("the arity asks for a key");
            let members = first.iter().flat_map(|set| set.iter());
            if removes_others(&sets) {
                members.for_each(|member| add(&member));
                for member in others.iter().flatten().flat_map(|set| set.iter()) {
                    result.remove(&member);
                }
            } else {
                members
                    .filter(|member| !others.iter().flatten().any(|set| set.contains(member)))
                    .for_each(|member| add(&member));
            }
        }
    }
    Ok(result)
}

/// Whether a difference is made by removing all others' members from a copy of the first, rather
/// than by looking each of the first's up in the others: Redis's estimate of the work. The choice
/// shows in the result's encoding.
fn removes_others(sets: &[Option<&Set>]) -> bool {
    let present: Vec<usize> = sets.iter().flatten().map(|set| set.len()).collect();
    let Some(first) = sets[0] else { return false };
    let with_itself = sets[1..].iter().flatten().any(|set| std::ptr::eq(*set, first));
    !with_itself && first.len() * present.len() / 2 > present.iter().sum()
}

/// Visits what all sets have in common, until `visit` says no. An absent set has nothing.
fn intersect(sets: &[Option<&Set>], mut visit: impl FnMut(&[u8]) -> bool) {
    let Some(mut sets) = sets.iter().copied().collect::<Option<Vec<&Set>>>() else { return };
    sets.sort_by_key(|set| set.len());
    let (smallest, others) = sets.split_first().expect("the arity asks for a key");
    for member in smallest.iter() {
        if others.iter().all(|set| set.contains(&member)) && !visit(&member) {
            return;
        }
    }
}

/// Looks each key up as a set that is read.
fn check_sets(space: &mut Space<'_>, keys: &[&[u8]]) -> CommandResult {
    keys.iter().try_for_each(|key| space.set(key).map(drop))
}

/// The sets under keys that [`check_sets`] has seen at this moment.
fn borrow_sets<'s>(space: &'s Space<'_>, keys: &[&[u8]]) -> Vec<Option<&'s Set>> {
    let find = |key: &&[u8]| {
        let shards = &*space.shards;
        let shard = shards.get(shards.shard_of(key))?;
        match shard.database(space.db()).table.get(shards.hash(key), key)?.value() {
            ValueRef::Set(set) => Some(set),
            _ => None,
        }
    };
    keys.iter().map(find).collect()
}
