//! Entries take effect: the shards are dealt out to threads, and each applies those of its shards,
//! in their order.

use std::ops::Deref;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use engine::keyspace::Shards;
use engine::settings::Settings;
use replication::ids::{Index, ShardId};

use super::StartError;
use super::replay::{Applier, Decided, Failed, Replayed};

/// Entries and bytes that are handed over at once, and such batches that may wait.
const BATCH_ENTRIES: usize = 4 << 10;
const BATCH_BYTES: usize = 1 << 20;
const BATCHES_MAX: usize = 4;

/// The way to a thread.
struct Lane<P> {
    sender: SyncSender<Vec<Decided<P>>>,
    batch: Vec<Decided<P>>,
    batch_bytes: usize,
}

impl<P> Lane<P> {
    fn send(&mut self) -> Result<(), StartError> {
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH_ENTRIES));
        self.batch_bytes = 0;
        self.sender.send(batch).map_err(|_| "a thread applying entries panicked".into())
    }
}

/// Gives `decide` the function that takes what takes effect, each shard's in order, and applies it
/// meanwhile. What is wrong is what would be found first if all was done one after the other.
pub fn apply_by_threads<P: Deref<Target = [u8]> + Send>(
    shards: &mut Shards,
    settings: &Settings,
    threads_max: usize,
    decide: impl FnOnce(
        &mut dyn FnMut(ShardId, Index, P) -> Result<(), StartError>,
    ) -> Result<Replayed, StartError>,
) -> Result<Replayed, StartError> {
    let count = threads_max.clamp(1, shards.count());
    std::thread::scope(|scope| {
        let (mut lanes, mut threads) = (Vec::new(), Vec::new());
        for place in 0..count {
            let (sender, receiver) = sync_channel(BATCHES_MAX);
            let mut own = Shards::new(shards.count(), shards.hasher());
            let mine = (place..shards.count()).step_by(count);
            mine.filter_map(|shard| shards.take(shard)).for_each(|shard| own.put(shard));
            threads.push(scope.spawn(move || apply_all(own, settings, receiver)));
            lanes.push(Lane { sender, batch: Vec::new(), batch_bytes: 0 });
        }
        let mut order = 0;
        let decided = decide(&mut |shard, index, payload| {
            let lane = &mut lanes[usize::from(shard.0) % count];
            lane.batch_bytes += payload.len();
            lane.batch.push(Decided { order, shard, index, payload });
            order += 1;
            let full = lane.batch.len() >= BATCH_ENTRIES || lane.batch_bytes >= BATCH_BYTES;
            if full { lane.send() } else { Ok(()) }
        });
        lanes.iter_mut().try_for_each(Lane::send)?;
        drop(lanes);
        let mut failed: Vec<Failed> = Vec::new();
        for thread in threads {
            let applier = thread.join().map_err(|_| "a thread applying entries panicked")?;
            let (mut own, error) = applier.finish();
            (0..own.count()).filter_map(|shard| own.take(shard)).for_each(|one| shards.put(one));
            failed.extend(error);
        }
        // What was decided to take effect was so before anything that stopped the decisions.
        match failed.into_iter().min_by_key(|failed| failed.order) {
            Some(failed) => Err(failed.message.into()),
            None => decided,
        }
    })
}

fn apply_all<P: Deref<Target = [u8]>>(
    own: Shards,
    settings: &Settings,
    receiver: Receiver<Vec<Decided<P>>>,
) -> Applier<'_> {
    let mut applier = Applier::new(own, settings);
    receiver.into_iter().for_each(|batch| applier.apply(&batch));
    applier
}

#[cfg(test)]
mod tests;
