//! Which shards a command needs, and so where it can run.

use engine::args::Args;
use engine::command::keys::{key_positions, needs_all_shards};
use engine::command::scan;
use engine::command::spec::flag::PUBSUB;
use engine::command::spec::{Begin, CommandSpec, Find, KeySpec};
use smallvec::SmallVec;

use crate::core::Core;

/// Shards in ascending order, each once.
pub type ShardSet = SmallVec<[u16; 4]>;

/// Where a command runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Its shards are all in hand (or it needs none).
    Here,
    /// Its only shard is at home here, but away with a gathering.
    Away(u16),
    /// Its only shard is at home on another core.
    Core { core: u16, shard: u16 },
    /// It needs shards of other cores, or several of which some are away.
    Gather(ShardSet),
}

impl Core {
    pub(crate) fn shards_needed(&self, spec: &CommandSpec, args: Args<'_>) -> ShardSet {
        let mut needed = ShardSet::new();
        if needs_all_shards(spec, args) {
            needed.extend(0..self.shards.count() as u16);
            return needed;
        }
        if let Some(at) = single_key_at(spec).filter(|at| *at < args.len()) {
            needed.push(self.shards.shard_of(args.at(at)) as u16);
            return needed;
        }
        if spec.name == "scan" {
            let cursor = scan::parse_cursor(args.at(1)).unwrap_or(0);
            let first = scan::shard_of_cursor(cursor, self.shards.count());
            needed.push(first as u16);
            needed.extend(scan::further_shards(&self.shards, first).map(|shard| shard as u16));
            return needed;
        }
        for position in key_positions(spec, args).unwrap_or_default() {
            add_shard(&mut needed, self.shards.shard_of(args.at(position as usize)) as u16);
        }
        needed
    }

    /// Decides where a command that needs these shards runs.
    pub(crate) fn route(&self, needed: &ShardSet) -> Route {
        if needed.iter().all(|shard| self.shards.holds(usize::from(*shard))) {
            return Route::Here;
        }
        // Memory that is read again may take a while: what is in hand elsewhere would wait for it.
        if self.replicas.is_grouped()
            && needed.iter().all(|shard| self.is_home(usize::from(*shard)))
            && let Some(shard) = needed.iter().find(|shard| self.replicas.lacks_memory(**shard))
        {
            return Route::Away(*shard);
        }
        match needed.as_slice() {
            [shard] if self.is_home(usize::from(*shard)) => Route::Away(*shard),
            [shard] => Route::Core { core: self.homes[usize::from(*shard)], shard: *shard },
            _ => Route::Gather(needed.clone()),
        }
    }
}

/// Where the key stands of a command that has just one, whatever its arguments: the usual case.
fn single_key_at(spec: &CommandSpec) -> Option<usize> {
    match spec.keys {
        [KeySpec { begin: Begin::Index(at), find: Find::Range { last: 0, .. }, .. }]
            if !spec.has(PUBSUB) =>
        {
            Some(*at)
        }
        _ => None,
    }
}

/// Adds a shard to a set, keeping it sorted and without repetition.
pub fn add_shard(set: &mut ShardSet, shard: u16) {
    if let Err(place) = set.binary_search(&shard) {
        set.insert(place, shard);
    }
}
