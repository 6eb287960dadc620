//! The replicas of a core's shards, and which of them have something to do: with many shards most
//! turns touch few, and looking at each costs more than all else that an idle cluster does.

use std::cell::Cell;
use std::collections::VecDeque;

use replication::group::{Group, GroupConfig, GroupError, GroupStart, NodeId, Role};
use replication::ids::ShardId;

use super::clock::Clock;
use super::patience::Patience;
use super::receiving::Receiving;
use super::standing::Standing;
use super::telling::Telling;
use super::{CONFIG, Replica, coordinator, period, primary, serving};
use crate::core::Core;
use crate::limits::GROUP_ELECTION_TICKS;

/// The replicas of a core.
#[derive(Default)]
pub struct Replicas {
    /// The node has peers. A core of it may have no shard.
    is_grouped: bool,
    /// By shard; of other cores' none.
    by_shard: Vec<Option<Box<Replica>>>,
    /// By shard: whether its replica may have changed since its group was driven, or waits for what
    /// no change of its own brings.
    pub(super) stirred: Vec<bool>,
    /// The groups' clock.
    pub(super) clock: Clock,
    pub(super) telling: Telling,
    /// By shard: whether its group has written what is not known to be durable.
    writing: Vec<bool>,
    /// By shard: whether memory is ahead of what is committed. Kept beside the replicas, each of
    /// which is taken out while its group is driven.
    executing: Vec<bool>,
    /// What all replicas together allow, unless one may have changed since that was looked at.
    overall: Cell<Option<Overall>>,
    /// Whether the node is the primary, and whether all its cores are.
    pub(crate) period: period::Period,
    pub(super) is_open: bool,
    /// The leads were handed over in this period: what was said of leases is void.
    pub(super) handed_over: bool,
    /// A core has told that this one, or what was before it, is over.
    pub(super) ended: period::Period,
    /// All cores hold their leases until then, as the first one says.
    pub(super) others_leased_until_ns: u64,
    /// Which node leads, as the first core says.
    pub(crate) lead: period::Lead,
    /// What the first one was told.
    pub(super) told: primary::Told,
    /// What the first one knows of all.
    pub(crate) coordinator: coordinator::Coordinator,
    /// Bytes of entries that this turn has applied, of all shards.
    pub(super) applied_bytes: usize,
    /// Shards whose memory was thrown away in this turn.
    pub(super) thrown_away: Vec<u16>,
    /// A checkpoint that comes from another node.
    pub(crate) receiving: Option<Receiving>,
    /// Before none is taken, as the last one failed here.
    pub(super) patience: Patience,
    /// What clients may do in this turn.
    pub(crate) serving: serving::Serving,
}

/// What matters of all replicas together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overall {
    /// All execute, and their groups are led from here.
    pub serves: bool,
    /// One has lost what it needs for that.
    pub has_lost: bool,
    /// When the first of the leases ends; zero where one is missing.
    pub leased_until_ns: u64,
    /// The most bytes that a leader has appended and not committed.
    pub uncommitted_bytes: usize,
}

impl Replicas {
    pub fn new(
        node: NodeId,
        (shard_count, cores): (usize, usize),
        groups: Vec<(u16, GroupStart)>,
        tick_ns: u64,
        seed: u64,
    ) -> Result<Replicas, GroupError> {
        let mut by_shard: Vec<Option<Box<Replica>>> = Vec::new();
        by_shard.resize_with(shard_count, || None);
        for (shard, start) in groups {
            let applied = start.applied;
            let patience_ticks = if shard == 0 { 0 } else { GROUP_ELECTION_TICKS };
            let config = GroupConfig { tick_ns, patience_ticks, ..CONFIG };
            let group = Group::new(node, config, start, seed ^ u64::from(shard) << 32)?;
            by_shard[usize::from(shard)] = Some(Box::new(Replica {
                group,
                standing: Standing::Following,
                writes: VecDeque::new(),
                applied,
                applied_ns: 0,
                pending: VecDeque::new(),
                pending_bytes: 0,
                refused: false,
                is_out: false,
                offered: None,
                checkpoint_lacked_ns: None,
                sending: Vec::new(),
                pins: Vec::new(),
                voids: 0,
            }));
        }
        let mut clock = Clock::new(shard_count, tick_ns);
        let own = by_shard.iter().enumerate().filter(|(_, replica)| replica.is_some());
        own.for_each(|(shard, _)| clock.set_due(shard, 0));
        Ok(Replicas {
            is_grouped: true,
            by_shard,
            stirred: vec![true; shard_count],
            clock,
            telling: Telling::new(shard_count),
            writing: vec![false; shard_count],
            executing: vec![false; shard_count],
            coordinator: coordinator::Coordinator::new(cores),
            ..Replicas::default()
        })
    }

    /// Whether the shards have replicas on other nodes.
    #[inline]
    pub fn is_grouped(&self) -> bool {
        self.is_grouped
    }

    /// Whether a shard's memory has what clients' commands did, ahead of what is committed.
    pub(crate) fn executes(&self, shard: u16) -> bool {
        self.executing.get(usize::from(shard)).is_none_or(|executing| *executing)
    }

    /// An operation takes a shard's memory along, or brings it back.
    pub(crate) fn note_out(&mut self, shard: u16, is_out: bool) {
        if let Some(replica) = self.get_mut(shard) {
            replica.is_out = is_out;
        }
    }

    pub(super) fn set_executing(&mut self, shard: u16, executing: bool) {
        self.executing[usize::from(shard)] = executing;
        self.stir(shard);
    }

    pub fn get(&self, shard: u16) -> Option<&Replica> {
        self.by_shard.get(usize::from(shard))?.as_deref()
    }

    pub(crate) fn get_mut(&mut self, shard: u16) -> Option<&mut Replica> {
        if usize::from(shard) < self.by_shard.len() {
            self.stir(shard);
        }
        let replica = self.by_shard.get_mut(usize::from(shard))?.as_deref_mut()?;
        replica.group.pass(self.clock.hear(usize::from(shard)));
        Some(replica)
    }

    /// Takes a replica out, to be put back at once.
    pub(super) fn take(&mut self, shard: u16) -> Option<Box<Replica>> {
        self.overall.set(None);
        self.lift(usize::from(shard))
    }

    fn lift(&mut self, shard: usize) -> Option<Box<Replica>> {
        let mut replica = self.by_shard.get_mut(shard)?.take()?;
        replica.group.pass(self.clock.hear(shard));
        Some(replica)
    }

    pub(super) fn put(&mut self, shard: u16, replica: Box<Replica>) {
        self.by_shard[usize::from(shard)] = Some(replica);
        self.stir(shard);
    }

    pub fn iter(&self) -> impl Iterator<Item = (u16, &Replica)> {
        let numbered = self.by_shard.iter().enumerate();
        numbered.filter_map(|(shard, replica)| Some((shard as u16, replica.as_deref()?)))
    }

    /// Counts the ticks that have passed since the last turn.
    pub fn count_ticks(&mut self, now_ns: u64) {
        self.clock.count(now_ns);
    }

    /// When the groups want their next tick, or have something to say.
    pub fn next_wake_ns(&self) -> Option<u64> {
        let tick_ns = self.is_grouped().then(|| self.clock.wake_ns());
        tick_ns.into_iter().chain(self.telling.wake_ns()).min()
    }

    /// Whether checkpoints are on their way to other nodes.
    pub fn is_sending(&self) -> bool {
        self.iter().any(|(_, replica)| !replica.sending.is_empty())
    }

    /// Whether a shard's memory is being read again.
    pub(crate) fn lacks_memory(&self, shard: u16) -> bool {
        let standing = self.get(shard).map(|replica| replica.standing);
        matches!(standing, Some(Standing::Rebuilding { .. }))
    }

    /// Whether memory is being read again, so that nothing on the disk may go.
    pub fn is_rebuilding(&self) -> bool {
        self.iter().any(|(_, replica)| matches!(replica.standing, Standing::Rebuilding { .. }))
    }

    /// A shard's group is to be driven in this turn, or in the next one.
    pub(super) fn stir(&mut self, shard: u16) {
        self.stirred[usize::from(shard)] = true;
        self.overall.set(None);
    }

    /// A shard's group has written what will be durable later.
    pub(super) fn note_write(&mut self, shard: u16) {
        self.writing[usize::from(shard)] = true;
    }

    pub(super) fn overall(&self) -> Overall {
        self.overall.get().unwrap_or_else(|| {
            let overall = self.look_at_all();
            self.overall.set(Some(overall));
            overall
        })
    }

    fn look_at_all(&self) -> Overall {
        let none = Overall {
            serves: true,
            has_lost: false,
            leased_until_ns: u64::MAX,
            uncommitted_bytes: 0,
        };
        self.iter().fold(none, |all, (_, replica)| {
            let group = &replica.group;
            Overall {
                serves: all.serves && replica.executes() && group.role() == Role::Leader,
                has_lost: all.has_lost || replica.has_lost(),
                leased_until_ns: all.leased_until_ns.min(group.leased_until_ns()),
                uncommitted_bytes: all.uncommitted_bytes.max(group.uncommitted_bytes()),
            }
        })
    }
}

impl Replica {
    /// Whether it may have something to do that no change of its own brings: the other shards
    /// decide what is to be applied, and the log becomes durable.
    fn waits(&self) -> bool {
        !self.pending.is_empty() || matches!(self.standing, Standing::Rebuilding { .. })
    }
}

impl Core {
    pub(super) fn with_replica(&mut self, shard: u16, act: impl FnOnce(&mut Core, &mut Replica)) {
        let Some(mut replica) = self.replicas.take(shard) else { return };
        act(self, &mut replica);
        self.replicas.put(shard, replica);
    }

    /// Each replica in turn, taken out meanwhile.
    pub(super) fn for_each_replica(
        &mut self,
        mut act: impl FnMut(&mut Core, ShardId, &mut Replica),
    ) {
        for shard in 0..self.replicas.by_shard.len() as u16 {
            self.with_replica(shard, |core, replica| act(core, ShardId(shard), replica));
        }
    }

    /// As [`Core::for_each_replica`], of those that may have something to do.
    pub(super) fn for_each_stirred(
        &mut self,
        mut act: impl FnMut(&mut Core, ShardId, &mut Replica),
    ) {
        for shard in 0..self.replicas.by_shard.len() {
            if !std::mem::take(&mut self.replicas.stirred[shard]) {
                continue;
            }
            let Some(mut replica) = self.replicas.take(shard as u16) else { continue };
            act(self, ShardId(shard as u16), &mut replica);
            self.replicas.stirred[shard] |= replica.waits();
            self.replicas.clock.set_due(shard, self.counting_ticks(&replica));
            self.replicas.by_shard[shard] = Some(replica);
            self.replicas.overall.set(None);
        }
    }

    /// Those whose groups have written what is not known to be durable, taken out meanwhile; false
    /// says of one that it has no more of that. Whoever changes one says so.
    pub(super) fn for_each_writing(
        &mut self,
        mut act: impl FnMut(&mut Core, ShardId, &mut Replica) -> bool,
    ) {
        for shard in 0..self.replicas.by_shard.len() {
            if !self.replicas.writing[shard] {
                continue;
            }
            let Some(mut replica) = self.replicas.lift(shard) else { continue };
            self.replicas.writing[shard] = act(self, ShardId(shard as u16), &mut replica);
            self.replicas.by_shard[shard] = Some(replica);
        }
    }
}
