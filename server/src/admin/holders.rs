//! Which nodes have on stable storage what is released of this core's shards, for clients that
//! wait for that ([`super::wait`]). Lives on the shards' core.
//!
//! A watch notes how far each shard is released, and tells its asker of each node as soon as that
//! has confirmed all of it; of this node, once its log is durable. What a follower confirms is on
//! its disk, and what an earlier watch waits for is part of what a later one does: so each node is
//! past a first few of the watches. Where nobody waits all this is one branch a turn.
//!
//! Nodes that have yet to become voters count too: what counts is where the data is.

use std::collections::BTreeMap;

use replication::fault::{Fault, is_planted};
use replication::group::NodeId;
use replication::ids::Lsn;
use replication::log::LogWriter;

use super::everywhere::Answer;
use super::wait::Asker;
use crate::core::Core;
use crate::core::io::ConnId;

/// What an asker is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watching {
    /// Of every node, until it says that it is enough.
    Always,
    /// Who has it now.
    Once,
    /// The same, once this core's log has it too, if there is one.
    OnceDurable,
}

struct Watch {
    asker: Asker,
    watching: Watching,
    /// How far each of this core's shards is released, in their order.
    released: Box<[u64]>,
    /// The end of the log, once the turn's entries are in it.
    written: Option<Lsn>,
}

/// How far the log of a core is.
#[derive(Clone, Copy)]
struct LogAt {
    appended: Lsn,
    durable: Lsn,
}

#[derive(Default)]
pub struct Holders {
    /// In the order in which they came.
    watches: BTreeMap<u64, Watch>,
    by_asker: BTreeMap<Asker, u64>,
    next: u64,
    /// Watches from here on were told nothing yet.
    first_untold: u64,
    /// By node, this one included: it has what all watches before this one wait for.
    reached: BTreeMap<NodeId, u64>,
    /// This core's clients who ask once all that they said before is released.
    pub behind: Vec<ConnId>,
}

impl Holders {
    fn add(&mut self, watch: Watch) {
        self.by_asker.insert(watch.asker, self.next);
        self.watches.insert(self.next, watch);
        self.next += 1;
    }

    pub fn forget(&mut self, asker: Asker) {
        if let Some(number) = self.by_asker.remove(&asker) {
            self.watches.remove(&number);
        }
    }

    /// Nodes have come so far in each shard, and this one's log: who is to be told what.
    fn advance(
        &mut self,
        others: &BTreeMap<NodeId, Vec<u64>>,
        own: NodeId,
        log: Option<LogAt>,
    ) -> Vec<(Asker, Answer)> {
        let mut news: BTreeMap<u64, Vec<NodeId>> = BTreeMap::new();
        for (number, watch) in self.watches.range_mut(self.first_untold..) {
            watch.written = log.map(|log| log.appended);
            news.insert(*number, Vec::new());
        }
        for (node, matched) in others {
            self.reach(*node, &mut news, |watch| watch.is_held(matched));
        }
        if let Some(log) = log {
            self.reach(own, &mut news, |watch| watch.written.is_some_and(|at| at <= log.durable));
        }
        let mut answers = Vec::new();
        for (number, nodes) in news {
            let Some(watch) = self.watches.get(&number) else { continue };
            let (asker, durable) = (watch.asker, self.has_reached(own, number));
            let (nodes, first) = match watch.watching {
                Watching::Always => (nodes, number >= self.first_untold),
                Watching::OnceDurable if log.is_some() && !durable => continue,
                Watching::Once | Watching::OnceDurable => {
                    self.forget(asker);
                    let all = others.keys().copied().chain([own]);
                    (all.filter(|node| self.has_reached(*node, number)).collect(), true)
                }
            };
            answers.push((asker, Answer::Holders { nodes, first }));
        }
        self.first_untold = self.next;
        answers
    }

    /// A node is past the watches that hold, up to the first that does not.
    fn reach(
        &mut self,
        node: NodeId,
        news: &mut BTreeMap<u64, Vec<NodeId>>,
        holds: impl Fn(&Watch) -> bool,
    ) {
        let reached = self.reached.entry(node).or_default();
        for (number, _) in self.watches.range(*reached..).take_while(|(_, watch)| holds(watch)) {
            *reached = number + 1;
            news.entry(*number).or_default().push(node);
        }
    }

    fn has_reached(&self, node: NodeId, number: u64) -> bool {
        self.reached.get(&node).is_some_and(|reached| *reached > number)
    }
}

impl Watch {
    /// Whether a node has all, that has come so far in each shard.
    fn is_held(&self, matched: &[u64]) -> bool {
        let mut shards = self.released.iter().zip(matched);
        shards.all(|(released, matched)| released <= matched) || is_planted(Fault::HoldersAssumed)
    }
}

impl Core {
    /// Tells who asks which nodes have what is released now: at the end of the turn, and later.
    pub(crate) fn watch_holders(&mut self, asker: Asker, watching: Watching) {
        let own = self.replicas.iter();
        let released = own.map(|(shard, _)| self.released[usize::from(shard)]).collect();
        self.holders.add(Watch { asker, watching, released, written: None });
    }

    /// Ends the turn for those that wait: what other nodes have confirmed in it is known.
    pub(crate) fn tell_holders(&mut self) {
        if self.holders.watches.is_empty() {
            return;
        }
        let own = NodeId(self.node.node);
        let at = |log: &LogWriter| LogAt { appended: log.appended(), durable: log.durable() };
        let (others, log) = (self.matched_by_others(), self.log.as_ref().map(at));
        for (asker, answer) in self.holders.advance(&others, own, log) {
            self.tell_asker(asker, answer);
        }
    }

    /// How far each other node has come in each of this core's shards: who is in all of them.
    fn matched_by_others(&self) -> BTreeMap<NodeId, Vec<u64>> {
        let mut all: BTreeMap<NodeId, Vec<u64>> = BTreeMap::new();
        let mut shards = 0;
        for (_, replica) in self.replicas.iter() {
            shards += 1;
            for (node, matched) in replica.group.progress() {
                all.entry(node).or_default().push(matched.0);
            }
        }
        all.retain(|node, matched| node.0 != self.node.node && matched.len() == shards);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: NodeId = NodeId(1);

    fn watch(holders: &mut Holders, ticket: u64, watching: Watching, released: &[u64]) {
        let asker = Asker { core: 0, ticket };
        holders.add(Watch { asker, watching, released: released.into(), written: None });
    }

    /// Tickets with the nodes that they are told of.
    fn told(
        holders: &mut Holders,
        others: &[(u64, &[u64])],
        log: Option<(u64, u64)>,
    ) -> Vec<(u64, Vec<u64>, bool)> {
        let others = others.iter().map(|(node, matched)| (NodeId(*node), matched.to_vec()));
        let log =
            log.map(|(appended, durable)| LogAt { appended: Lsn(appended), durable: Lsn(durable) });
        let answers = holders.advance(&others.collect(), OWN, log);
        let told = answers.into_iter().map(|(asker, answer)| match answer {
            Answer::Holders { nodes, first } => {
                (asker.ticket, nodes.iter().map(|node| node.0).collect(), first)
            }
            other => panic!("{other:?}"),
        });
        told.collect()
    }

    #[test]
    fn a_node_is_told_of_once_it_has_all_of_every_shard() {
        let mut holders = Holders::default();
        watch(&mut holders, 7, Watching::Always, &[5, 9]);
        let first = told(&mut holders, &[(2, &[5, 8]), (3, &[4, 9])], None);
        assert_eq!(first, [(7, vec![], true)]);
        let second = told(&mut holders, &[(2, &[5, 9]), (3, &[4, 9])], None);
        assert_eq!(second, [(7, vec![2], false)]);
        assert_eq!(told(&mut holders, &[(2, &[6, 9]), (3, &[4, 9])], None), []);
        let last = told(&mut holders, &[(2, &[6, 9]), (3, &[5, 20])], None);
        assert_eq!(last, [(7, vec![3], false)]);
        // One that joins counts once it has all; one that was away is told of once.
        assert_eq!(told(&mut holders, &[(2, &[6, 9]), (4, &[5, 9])], None), [(7, vec![4], false)]);
        assert_eq!(told(&mut holders, &[(3, &[5, 20]), (4, &[5, 9])], None), []);
    }

    #[test]
    fn what_was_there_before_counts_at_once_and_who_has_enough_is_told_no_more() {
        let mut holders = Holders::default();
        watch(&mut holders, 1, Watching::Always, &[5]);
        watch(&mut holders, 2, Watching::Always, &[6]);
        let first = told(&mut holders, &[(2, &[5]), (3, &[6])], None);
        assert_eq!(first, [(1, vec![2, 3], true), (2, vec![3], true)]);
        holders.forget(Asker { core: 0, ticket: 2 });
        watch(&mut holders, 3, Watching::Always, &[7]);
        let second = told(&mut holders, &[(2, &[7]), (3, &[6])], None);
        assert_eq!(second, [(3, vec![2], true)]);
        holders.forget(Asker { core: 0, ticket: 1 });
        holders.forget(Asker { core: 0, ticket: 3 });
        assert!(holders.watches.is_empty() && holders.by_asker.is_empty());
    }

    #[test]
    fn this_node_counts_once_the_log_has_what_was_written_by_then() {
        let mut holders = Holders::default();
        watch(&mut holders, 1, Watching::Always, &[5]);
        assert_eq!(told(&mut holders, &[(2, &[5])], Some((10, 9))), [(1, vec![2], true)]);
        assert_eq!(told(&mut holders, &[(2, &[5])], Some((12, 10))), [(1, vec![1], false)]);
    }

    #[test]
    fn who_asks_once_is_told_once() {
        let mut holders = Holders::default();
        watch(&mut holders, 1, Watching::Once, &[5]);
        watch(&mut holders, 2, Watching::OnceDurable, &[5]);
        let first = told(&mut holders, &[(2, &[5]), (3, &[4])], Some((10, 9)));
        assert_eq!(first, [(1, vec![2], true)]);
        let second = told(&mut holders, &[(2, &[5]), (3, &[5])], Some((11, 10)));
        assert_eq!(second, [(2, vec![2, 3, 1], true)]);
        watch(&mut holders, 3, Watching::OnceDurable, &[]);
        assert_eq!(told(&mut holders, &[], None), [(3, vec![], true)], "there is no log");
        assert!(holders.watches.is_empty() && holders.by_asker.is_empty());
    }
}
