//! This core's replicas of shards that other nodes have too: what a group decides becomes log
//! records, messages, memory, and the right to serve clients (design §8, §10).
//!
//! A leader executes at once and holds replies until its group has committed what they tell. A
//! follower applies what is committed. A leader that loses its term has executed what may never be
//! committed: its clients are closed, and where there is such a thing the shard's memory is thrown
//! away and read again from its checkpoint and the log.
//!
//! - [`work`]: what a group asks for: writes, messages, entries to apply.
//! - [`primary`]: one node leads all shards, and settles what the one before left open, all its
//!   cores together: [`coordinator`], [`period`].
//! - [`standing`]: a replica leads, serves, follows, or reads its memory again.
//! - [`serving`]: what clients may do here meanwhile.
//! - [`members`]: nodes come and go. [`peers`]: who they are. [`versions`]: what all may be sent.
//! - [`handover`]: the lead goes to another node because this one wants that.
//! - [`rebuild`]: memory from what is on the disk.
//! - [`catchup`]: what another node lacks and only the log has; [`pace`]: how fast.
//! - [`transfer`]: checkpoints that go to another node, and come from one. [`patience`]: when they
//!   are tried again. [`clock`]: which ticks of the groups have a turn.
//! - `telling`: how soon followers hear what is committed.
//! - [`seen`]: what a simulation compares.

pub mod catchup;
mod clock;
pub mod coordinator;
pub mod handover;
pub mod members;
pub mod pace;
pub mod patience;
pub mod peers;
pub mod period;
pub mod primary;
pub mod rebuild;
pub mod receiving;
pub mod replicas;
pub mod seen;
pub mod serving;
pub mod standing;
pub mod stopping;
mod telling;
pub mod transfer;
pub mod versions;
pub mod work;

use std::collections::VecDeque;

use bytes::Bytes;
use replication::buggify::{Point, is_taken};
use replication::fault::{Fault, is_planted};
use replication::group::{Base, Entry, Group, GroupConfig, NodeId};
use replication::ids::{Index, Lsn, ShardId};
use replication::log::LogWriter;

use crate::core::Core;
use crate::limits::{
    GROUP_ELECTION_TICKS, GROUP_HEARTBEAT_TICKS, GROUP_MESSAGE_BYTES_MAX,
    GROUP_MESSAGES_IN_FLIGHT_MAX,
};
pub use replicas::Replicas;
use standing::Standing;
use transfer::{OF_GROUP, Sending};

/// One shard's replica on this node.
pub struct Replica {
    pub(crate) group: Group,
    pub(crate) standing: Standing,
    /// Numbers of the group's writes, with the last record of each, that are not durable yet.
    writes: VecDeque<(Lsn, u64)>,
    /// The shard's memory has everything up to here, as far as it is released.
    pub(crate) applied: Index,
    /// When the turn began that applied something last.
    applied_ns: u64,
    /// Committed entries behind it, and their bytes.
    pending: VecDeque<Entry>,
    pending_bytes: usize,
    /// An entry that was executed could not be appended.
    refused: bool,
    /// An operation has the shard's memory in hand. Whatever becomes of the replica meanwhile, it
    /// comes back, and until then there is no other.
    is_out: bool,
    /// The newest checkpoint that was made since the start.
    offered: Option<Base>,
    /// Since when some node lacks one that there is not.
    checkpoint_lacked_ns: Option<u64>,
    /// Checkpoints on their way to other nodes.
    sending: Vec<Sending>,
    /// Nodes that were sent one, and lack what the log has behind it.
    pins: Vec<NodeId>,
    /// Times that entries were voided.
    voids: u64,
}

impl Replica {
    /// Whether memory has what clients' commands did, ahead of what is committed.
    pub(crate) fn executes(&self) -> bool {
        matches!(self.standing, Standing::Serving { .. })
    }

    /// Appends what was executed; it must get this index. False if it cannot be appended: the node
    /// leads no more, or not well enough to go on.
    pub(crate) fn propose(&mut self, index: Index, payload: Bytes) -> bool {
        let appended = match self.refused {
            // At another index it would name itself wrongly.
            false if self.executes() && self.group.last().0 + 1 == index.0 => {
                self.group.propose(payload).ok()
            }
            _ => None,
        };
        self.refused |= appended != Some(index);
        !self.refused
    }
}

const CONFIG: GroupConfig = GroupConfig {
    // As an operator has it.
    tick_ns: 0,
    heartbeat_ticks: GROUP_HEARTBEAT_TICKS,
    election_ticks: GROUP_ELECTION_TICKS,
    patience_ticks: 0,
    message_bytes_max: GROUP_MESSAGE_BYTES_MAX,
    messages_in_flight_max: GROUP_MESSAGES_IN_FLIGHT_MAX,
    // What is executed must be appended; commands wait before there is too much (`serving`). With
    // the largest number it would not be counted.
    uncommitted_bytes_max: u64::MAX - 1,
};

impl Core {
    /// A message of another node for the group of a shard that is at home on this core, if there is
    /// one. Its checksum held: what cannot be read is another program's.
    pub(crate) fn on_group_message(&mut self, from: NodeId, shard: u16, message: &[u8]) {
        let Some((&OF_GROUP, bytes)) = message.split_last() else {
            return self.on_transfer_message(from, ShardId(shard), message);
        };
        if self.is_group_silent() {
            return;
        }
        let Some(replica) = self.replicas.get_mut(shard) else {
            self.stats.group_messages_unknown += 1;
            return;
        };
        let checkpoints = &self.checkpoints;
        let is_here = |index| checkpoints.has(shard, index);
        if let Err(error) = replica.group.receive(bytes, is_here) {
            self.stats.group_messages_unknown += 1;
            tracing::error!(core = self.id, shard, node = from.0, "a message of a group: {error}");
        }
    }

    /// This node has no part in the groups any more.
    fn is_group_silent(&self) -> bool {
        self.membership.removed || self.is_all_quiet()
    }

    /// The log is durable up to here: what rests on it may leave. A follower that has much to apply
    /// says so later, and its leader waits for it: no more than what that lets be under way comes.
    pub(crate) fn note_group_writes(&mut self, durable: Lsn) {
        let pending_max = self.config.catch_up_memory_bytes;
        self.for_each_writing(|core, shard, replica| {
            // Unless it waits for what comes: an entry that says that a transaction is decided.
            let applies = |next: &Entry| next.index <= core.release.point(shard);
            let much = replica.pending_bytes > pending_max;
            if much
                && (replica.pending.front().is_some_and(applies)
                    || is_planted(Fault::FullAwaitsMarker))
                || is_taken(Point::DurableToldLate)
            {
                return true;
            }
            let mut last = None;
            while let Some((_, number)) = replica.writes.front().filter(|(lsn, _)| *lsn <= durable)
            {
                last = Some(*number);
                replica.writes.pop_front();
            }
            if let Some(number) = last {
                replica.group.on_durable(number);
                core.replicas.stir(shard.0);
            }
            !replica.writes.is_empty()
        });
    }

    /// Ends the turn of the groups: what they want written goes with the turn's entries.
    pub(crate) fn drive_groups(&mut self) {
        if !self.replicas.is_grouped() {
            return;
        }
        let durable = self.log.as_ref().map(LogWriter::durable);
        durable.into_iter().for_each(|durable| self.note_group_writes(durable));
        if self.now.mono_ns >= self.replicas.clock.wake_ns() {
            self.tick_groups();
        }
        self.tell_committed();
        self.replicas.applied_bytes = 0;
        self.for_each_stirred(Core::drive_group);
        while self.failure.is_none() && self.change_primary() {
            self.for_each_stirred(Core::drive_group);
        }
        for shard in std::mem::take(&mut self.replicas.thrown_away) {
            self.turn_back_parked(shard);
        }
        self.drive_catch_up();
        self.refresh_serving();
    }

    fn drive_group(&mut self, shard: ShardId, replica: &mut Replica) {
        loop {
            let mut worked = false;
            if is_taken(Point::GroupPolledLate) {
                self.replicas.stir(shard.0);
                return;
            }
            while let Some(work) = replica.group.poll() {
                self.carry_out(shard, replica, work);
                worked = true;
            }
            self.apply_committed(shard, replica);
            worked |= self.change_standing(shard, replica);
            if !worked || self.failure.is_some() {
                break;
            }
        }
        let memory_bytes = self.config.catch_up_memory_bytes;
        // What stands behind a checkpoint that is on its way is needed once it is there.
        if self.log_follows_sent(shard, replica) {
            replica.group.forget_beyond(memory_bytes, replica.applied);
        }
        self.note_wanted_entries(shard, replica);
        self.offer_checkpoint(shard, replica);
        self.note_untold(shard.0, replica.group.has_untold());
    }

    pub(crate) fn fail_replica(&mut self, shard: ShardId, why: &str) {
        let message = format!("replica of shard {}: {why}; the server stops", shard.0);
        self.failure.get_or_insert(message);
    }
}
