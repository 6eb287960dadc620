//! One shard from its checkpoint and the logs of a node that runs. Pure but for where those are
//! read from.

use engine::keyspace::{Shard, Shards};
use replication::checkpoint::catalogue::parse_name;
use replication::fault::{Fault, is_planted};
use replication::group::Base;
use replication::group::restart::Restart;
use replication::ids::Index;
use replication::release::resolve::{Content, Placed};

use super::StartError;
use super::checkpoints::{CheckpointDirectory, LoadPlan};
use super::replay::{Applier, Decided, EntryStream};
use crate::replica::rebuild::{RebuildOrder, Rebuilt};

/// The shard as its newest sound checkpoint has it, and what that is as of.
pub fn load_checkpoint<D: CheckpointDirectory>(
    order: &RebuildOrder,
    directory: &D,
    names: &[(String, u64)],
) -> Result<(Box<Shard>, Base), StartError> {
    let RebuildOrder { shard, identity, settings, hasher, through, applied, .. } = order;
    // One of another node may be there already that the group has not heard of.
    let reached = |(name, _): &&(String, u64)| {
        parse_name(name).is_some_and(|(_, index)| index <= *through)
            || is_planted(Fault::UnheardRead)
    };
    let names: Vec<_> = names.iter().filter(reached).cloned().collect();
    let names = &names;
    let plan = LoadPlan { identity, settings, hasher, names, applied: *applied };
    let loaded = plan.load(directory, *shard)?;
    let empty = || Box::new(Shard::new(shard.0, hasher.clone()));
    Ok((loaded.shard.unwrap_or_else(empty), loaded.base))
}

/// Applies what the logs have of the shard behind that, as far as was asked for. Returns the shard,
/// and how many entries that were.
pub fn apply_logs<L: EntryStream>(
    order: &RebuildOrder,
    (shard, base): (Box<Shard>, Base),
    logs: &mut [L],
) -> Result<(Rebuilt, u64), StartError> {
    let RebuildOrder { shard: id, through, identity, settings, hasher, .. } = order;
    let place = usize::from(id.0);
    let mut shards = Shards::new(identity.shards, hasher.clone());
    shards.put(shard);
    let mut bases = vec![Base::default(); identity.shards];
    bases[place] = base;
    let mut restart = Restart::new(bases, order.applied);
    let mut applier = Applier::new(shards, settings);
    let mut number = 0;
    let mut apply = |shard, index: Index, payload: L::Payload| {
        number += 1;
        applier.apply(&[Decided { order: number, shard, index, payload }]);
        Ok::<(), StartError>(())
    };
    let mut counts = true;
    while let Some(start) = logs.iter_mut().filter_map(|log| log.peek()).min() {
        for log in &mut *logs {
            while log.peek() == Some(start)
                && let Some(mut entry) = log.next()
            {
                // The log goes on meanwhile, and knows of more than memory is to have: of entries
                // that are decided, or of a checkpoint of another node that came.
                counts &= entry.shard != *id || entry.index <= *through || !is_installed(&entry);
                if entry.shard == *id && counts {
                    entry.decided = entry.decided.min(*through);
                    restart.take(entry, &mut apply)?;
                }
            }
        }
    }
    let reached = restart.decide(*id, *through, &mut apply)?;
    let (mut shards, failed) = applier.finish();
    if let Some(failed) = failed {
        return Err(failed.message.into());
    }
    if reached != *through {
        let (has, wants) = (reached.0, through.0);
        return Err(format!("its log ends with entry {has}, but has had entry {wants}").into());
    }
    let mut shard = shards.take(place).ok_or("the shard went away")?;
    shard.resume_after(through.0);
    Ok((Rebuilt { shard, ended: restart.ended(*id) }, number))
}

/// Whether a record says that a checkpoint of another node is the shard's state from there on.
fn is_installed<P>(placed: &Placed<P>) -> bool {
    matches!(placed.content, Content::Members { installed: true, .. })
}
