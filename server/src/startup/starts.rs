//! Deals out a node's shards and logs to its cores. Pure.

use std::collections::BTreeMap;

use replication::fault::{Fault, is_planted};
use replication::group::{GroupStart, Vote};
use replication::ids::{Incarnation, Index, ShardId, Term};
use replication::log::limits::TRANSACTION_BYTES_MAX;
use replication::log::{LogIdentity, LogWriter, Tail};
use replication::release::resolve::Ending;

use crate::config::Config;
use crate::core::host::Host;
use crate::core::{CoreStart, home_of};

use super::recovery::Recovered;

/// The votes of the groups, in whichever logs they lie.
pub fn votes_of(tails: &[Tail]) -> BTreeMap<ShardId, Vote> {
    let mut votes = BTreeMap::new();
    for (shard, vote) in tails.iter().flat_map(|tail| &tail.votes) {
        let known = votes.entry(*shard).or_insert(*vote);
        if vote.covers(known) {
            *known = *vote;
        }
    }
    votes
}

/// What each core starts with. `log_identity` names the node whose logs these are (its `core` is of
/// no account), `None` where there are none.
pub fn deal_out(
    config: &Config,
    recovered: Recovered,
    log_identity: Option<LogIdentity>,
    seed: u64,
    host: impl Fn() -> Box<dyn Host>,
) -> Vec<CoreStart> {
    let Recovered { mut shards, tails, replayed, files } = recovered;
    let shard_count = shards.count();
    let hasher = shards.hasher();
    let highest = tails.iter().map(|tail| tail.incarnation).max().unwrap_or_default();
    let kept = highest.0 > 0 && is_planted(Fault::IncarnationKept);
    let incarnation = Incarnation(highest.0 + u64::from(!kept));
    let votes = votes_of(&tails);
    (0..config.cores as u16)
        .map(|id| {
            let owned: Vec<_> = (0..shard_count)
                .filter(|shard| home_of(*shard, shard_count, config.cores) == id)
                .filter_map(|shard| shards.take(shard))
                .collect();
            let log = log_identity.map(|node| {
                let tail = tails.get(usize::from(id)).cloned().unwrap_or_default();
                let identity = LogIdentity { core: id, ..node };
                let mut log = LogWriter::new(identity, config.log_segment_bytes, tail, incarnation);
                log.set_writes_in_flight_max(config.log_writes_in_flight);
                log.set_payload_bytes_max(config.entry.bytes_max() + TRANSACTION_BYTES_MAX);
                log.keep_votes_of(|shard| {
                    home_of(usize::from(shard.0), shard_count, config.cores) == id
                });
                for shard in &owned {
                    // Its own log has it from now on, wherever it lay before.
                    if let Some(vote) = votes.get(&ShardId(shard.id())) {
                        log.append_vote(ShardId(shard.id()), *vote);
                    }
                    let ending = replayed.endings.get(usize::from(shard.id()));
                    void_cut(&mut log, ShardId(shard.id()), ending);
                }
                log
            });
            let group_of = |shard: u16| {
                let mut group = replayed.groups.get(usize::from(shard))?.clone();
                set_vote(&mut group, votes.get(&ShardId(shard)));
                let last = (Index(group.base.index), Term(group.base.term));
                if let Some(tail) = tails.get(usize::from(id)) {
                    group.terms = tail.kept.terms_until(ShardId(shard), last, incarnation);
                }
                group.lost = config.cluster.as_ref().map_or(Vec::new(), |of| of.lost.clone());
                Some((shard, group))
            };
            CoreStart {
                groups: owned.iter().filter_map(|shard| group_of(shard.id())).collect(),
                id,
                config: config.clone(),
                shard_count,
                shards: owned,
                hasher: hasher.clone(),
                log,
                node: log_identity.unwrap_or(LogIdentity { cluster: 0, node: 0, core: 0 }),
                incarnation,
                checkpoints: files.clone(),
                logged_bytes: replayed.bytes.clone(),
                seed: seed.wrapping_add(u64::from(id)),
                host: host(),
            }
        })
        .collect()
}

fn set_vote(group: &mut GroupStart, vote: Option<&Vote>) {
    group.vote = vote.copied().unwrap_or_default();
    // A checkpoint of another node may be here of which the group has not heard yet: no vote was
    // given in its term.
    let last = group.entries.last().map_or(Term(group.base.term), |entry| entry.term);
    if group.vote.term < last {
        group.vote = Vote { term: last, voted_for: None };
    }
}

/// What was cut of a shard must stay cut: it is said before anything else of the shard is logged.
fn void_cut(log: &mut LogWriter, shard: ShardId, ending: Option<&Ending>) {
    if let Some(Ending { used, void_from: Some(from), .. }) = ending
        && !is_planted(Fault::VoidForgotten)
    {
        log.append_void(shard, Term(1), Index(used.0 + 1), *from);
    }
}
