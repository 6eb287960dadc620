//! Deals out a node's shards and logs to its cores. Pure.

use engine::keyspace::Shards;
use replication::ids::Incarnation;
use replication::log::{LogIdentity, LogWriter, Tail};

use crate::config::Config;
use crate::core::host::Host;
use crate::core::{CoreStart, home_of};

/// What each core starts with. `tails` is by core directory; `log` names the node whose logs these
/// are (its `core` is of no account), `None` where there are none.
pub fn deal_out(
    config: &Config,
    mut shards: Shards,
    tails: &[Tail],
    log: Option<LogIdentity>,
    seed: u64,
    make_host: impl Fn() -> Box<dyn Host>,
) -> Vec<CoreStart> {
    let shard_count = shards.count();
    let hasher = shards.hasher();
    let highest = tails.iter().map(|tail| tail.incarnation).max().unwrap_or_default();
    let incarnation = Incarnation(highest.0 + 1);
    (0..config.cores as u16)
        .map(|id| {
            let owned = (0..shard_count)
                .filter(|shard| home_of(*shard, shard_count, config.cores) == id)
                .filter_map(|shard| shards.take(shard))
                .collect();
            let log = log.map(|node| {
                let tail = tails.get(usize::from(id)).copied().unwrap_or_default();
                let identity = LogIdentity { core: id, ..node };
                LogWriter::new(identity, config.log_segment_bytes, tail, incarnation)
            });
            CoreStart {
                id,
                config: config.clone(),
                shard_count,
                shards: owned,
                hasher: hasher.clone(),
                log,
                seed: seed.wrapping_add(u64::from(id)),
                host: make_host(),
            }
        })
        .collect()
}
