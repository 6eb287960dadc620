//! What a replica elsewhere lacks and this leader has no longer in memory comes from the log on
//! disk, as long as that has a place for it, and else from a checkpoint (`transfer`). Lives on the
//! core of the shard.
//!
//! One piece of a file is read at a time, and no more bytes a second than the operator allows, of
//! logs and checkpoints together: clients are not to feel it. What was read goes out before more is
//! read for that replica; a piece is given to all replicas of all shards that want just this one.

use std::collections::{BTreeMap, VecDeque};

use replication::group::NodeId;
use replication::ids::{Index, ShardId};
use replication::log::{KeptFor, Lack, LogIdentity, LogReader, Readable};

use super::Replica;
use super::pace::Pace;
use super::transfer::PieceOrder;
use crate::core::Core;
use crate::core::io::Output;
use crate::core::storage::StorageOperation;
use crate::limits::{CATCH_UP_PIECE_BYTES, TRANSFER_PIECE_BYTES};

/// A piece of a core's log, to be read beside the core.
#[derive(Clone, Debug)]
pub struct LogPieceOrder {
    pub core: u16,
    pub segment: u64,
    pub offset: u64,
    pub len: usize,
    /// Until where the segment's records go on, at least.
    pub end: u64,
    /// The node's data directory.
    pub directory: std::path::PathBuf,
}

/// A replica elsewhere: the shard, and the node.
type Target = (u16, NodeId);

struct Reading {
    reader: LogReader,
    /// The group wants what comes next.
    wanted: bool,
}

/// What went to a node.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caught {
    pub log_bytes: u64,
    pub checkpoint_bytes: u64,
    pub checkpoints: u64,
}

impl Caught {
    pub fn add(&mut self, other: &Caught) {
        self.log_bytes += other.log_bytes;
        self.checkpoint_bytes += other.checkpoint_bytes;
        self.checkpoints += other.checkpoints;
    }
}

/// A core's share of what brings other nodes up to date.
#[derive(Default)]
pub struct CatchUp {
    pace: Pace,
    readings: BTreeMap<Target, Reading>,
    /// A piece of the log is being read: its segment and offset.
    under_way: Option<(u64, u64)>,
    /// Pieces of checkpoints whose turn has not come.
    pieces: VecDeque<Box<PieceOrder>>,
    /// By node, since the start.
    caught: BTreeMap<NodeId, Caught>,
}

impl CatchUp {
    /// A piece of a checkpoint is to be read when its turn comes; one that waits already does.
    pub(super) fn add_piece(&mut self, order: Box<PieceOrder>) {
        let same =
            |waiting: &&mut Box<PieceOrder>| (waiting.shard, waiting.to) == (order.shard, order.to);
        match self.pieces.iter_mut().find(same) {
            Some(waiting) => *waiting = order,
            None => self.pieces.push_back(order),
        }
    }

    pub fn caught(&self) -> impl Iterator<Item = (NodeId, Caught)> {
        self.caught.iter().map(|(node, caught)| (*node, *caught))
    }

    pub(super) fn note_checkpoint_bytes(&mut self, to: NodeId, bytes: u64) {
        self.caught.entry(to).or_default().checkpoint_bytes += bytes;
    }

    pub(super) fn note_checkpoint_sent(&mut self, to: NodeId) {
        self.caught.entry(to).or_default().checkpoints += 1;
    }

    /// The earliest place in the log that a replica wants to be read.
    fn next_place(&self) -> Option<(u64, u64)> {
        let wanted = self.readings.values().filter(|reading| reading.wanted);
        wanted.map(|reading| reading.reader.wants()).min()
    }

    fn is_idle(&self) -> bool {
        self.pieces.is_empty()
            && (self.under_way.is_some() || self.readings.values().all(|reading| !reading.wanted))
    }

    /// When more may be read, if anything is to be.
    pub fn next_wake_ns(&self) -> Option<u64> {
        (!self.is_idle()).then(|| self.pace.free_ns())
    }
}

impl Core {
    /// What the group of a shard wants to be read: readers are placed where it lies.
    pub(super) fn note_wanted_entries(&mut self, shard: ShardId, replica: &mut Replica) {
        for (node, next) in replica.group.wanting_entries() {
            let target = (shard.0, node);
            let known = self.catch_up.readings.get_mut(&target);
            if let Some(reading) = known.filter(|reading| reading.reader.next() == next) {
                reading.wanted = true;
                continue;
            }
            self.catch_up.readings.remove(&target);
            if !self.links.is_linked(node) {
                continue;
            }
            let reach = self.log_reach(shard).filter(|reach| *reach <= next);
            let place = self.log.as_ref().and_then(|log| log.place_of(shard, next));
            let Some(place) = place.filter(|_| reach.is_some()) else {
                self.lose_entries(shard, replica);
                replica.group.try_again(node);
                continue;
            };
            let identity = LogIdentity { core: self.id, ..self.node };
            let reader = LogReader::new(identity, shard, next, place);
            self.catch_up.readings.insert(target, Reading { reader, wanted: true });
            tracing::info!(
                core = self.id,
                shard = shard.0,
                node = node.0,
                entry = next.0,
                "a node gets from the log what it lacks"
            );
        }
    }

    /// The first entry of a shard that may be read from the log for others.
    fn log_reach(&self, shard: ShardId) -> Option<Index> {
        match self.config.catch_up_log_bytes {
            0 => None,
            _ => self.log.as_ref()?.reach(shard, u64::MAX),
        }
    }

    /// Whether the log has everything of a shard behind each checkpoint that is on its way.
    pub(super) fn log_follows_sent(&self, shard: ShardId, replica: &Replica) -> bool {
        let Some(least) = replica.least_sent() else { return true };
        self.log_reach(shard).is_some_and(|first| first.0 <= least.0 + 1)
    }

    /// The group does not count on what the log has no place for.
    fn lose_entries(&self, shard: ShardId, replica: &mut Replica) {
        let lost = self.log_reach(shard).map_or(Index(u64::MAX), |first| Index(first.0 - 1));
        replica.group.lose(lost);
    }

    /// The log lets go of what two checkpoints of every shard have, but for what others lack: so
    /// much as the operator allows, and all behind a checkpoint that is on its way to one, or it
    /// would need another one once it has it. On a full disk clients' writes come first. Nothing
    /// goes before what stands in another core's log by now is durable there.
    pub(crate) fn release_segments(&mut self) {
        if self.replicas.is_rebuilding() || !self.all_started() {
            return;
        }
        let (checkpoints, replicas) = (&self.checkpoints, &self.replicas);
        let Some(log) = &mut self.log else { return };
        let pinned = replicas.iter().any(|(_, replica)| replica.pins_log());
        let bytes_max = match self.config.catch_up_log_bytes {
            _ if log.lack() == Some(Lack::Space) => 0,
            0 => 0,
            _ if pinned => u64::MAX,
            bytes => bytes,
        };
        let needed_behind = |shard: ShardId| {
            let replica = replicas.get(shard.0);
            replica.map_or(Index(u64::MAX), |replica| replica.group.needed_by_members())
        };
        let kept = KeptFor { needed_behind: &needed_behind, bytes_max };
        if log.release_segments(&|shard| checkpoints.covered(shard), &kept) {
            self.for_each_replica(|core, shard, replica| core.lose_entries(shard, replica));
        }
    }

    /// Once a tick: who has come far enough, or does not ask any more, has no reader.
    pub(super) fn tend_catch_up(&mut self) {
        let replicas = &self.replicas;
        let before = self.catch_up.readings.len();
        self.catch_up.readings.retain(|(shard, node), _| {
            replicas.get(*shard).is_some_and(|replica| replica.group.reads_for(*node))
        });
        if self.catch_up.readings.len() < before {
            self.release_segments();
        }
    }

    /// Reads what may be read now.
    pub(super) fn drive_catch_up(&mut self) {
        let (now_ns, rate) = (self.now.mono_ns, self.config.catch_up_bytes_per_second);
        while !self.catch_up.is_idle() && self.catch_up.pace.free_ns() <= now_ns {
            if let Some(order) = self.catch_up.pieces.pop_front() {
                self.catch_up.pace.spend(now_ns, rate, TRANSFER_PIECE_BYTES as u64);
                self.outputs.push(Output::Log(StorageOperation::ReadPiece(order)));
            } else if !self.read_log() {
                break;
            }
        }
    }

    /// Begins to read the piece of the log that comes next; false if there is none.
    fn read_log(&mut self) -> bool {
        while let Some(place) = self.catch_up.next_place() {
            let Some(log) = &mut self.log else { return false };
            match log.readable(place.0, place.1) {
                Readable::Until(end) => {
                    self.read_log_piece(place, end);
                    return true;
                }
                Readable::In(next) => self.for_readings_at(place, |_, _, reading| {
                    reading.reader.enter(next).map_err(|error| error.to_string())
                }),
                Readable::End | Readable::Gone => self.for_readings_at(place, |_, _, reading| {
                    let next = reading.reader.next().0;
                    Err(format!("entry {next} is not in the log any more"))
                }),
            }
        }
        false
    }

    fn read_log_piece(&mut self, (segment, offset): (u64, u64), end: u64) {
        let len = (end - offset).min(CATCH_UP_PIECE_BYTES as u64) as usize;
        let (core, directory) = (self.id, self.config.dir.clone());
        let order = LogPieceOrder { core, segment, offset, len, end, directory };
        if let Some(log) = &mut self.log {
            log.hold(Some(segment));
        }
        self.catch_up.under_way = Some((segment, offset));
        let rate = self.config.catch_up_bytes_per_second;
        self.catch_up.pace.spend(self.now.mono_ns, rate, len as u64);
        self.outputs.push(Output::Log(StorageOperation::ReadLog(Box::new(order))));
    }

    /// A piece of the log was read, or could not be.
    pub(crate) fn on_log_read(&mut self, order: &LogPieceOrder, bytes: Result<Vec<u8>, String>) {
        self.catch_up.under_way = None;
        if let Some(log) = &mut self.log {
            log.hold(None);
        }
        let LogPieceOrder { segment, offset, end, .. } = *order;
        self.for_readings_at((segment, offset), |core, (shard, node), reading| {
            let bytes = bytes.as_ref().map_err(String::clone)?;
            let Some(replica) = core.replicas.get_mut(shard) else { return Ok(()) };
            let group = &mut replica.group;
            let entries = reading.reader.take(bytes, end, |index| group.term_of(index));
            let entries = entries.map_err(|error| error.to_string())?;
            if !entries.is_empty() {
                reading.wanted = false;
                let payloads = entries.iter().map(|entry| entry.payload.len() as u64);
                core.catch_up.caught.entry(node).or_default().log_bytes += payloads.sum::<u64>();
                group.on_entries_read(node, &entries);
            }
            Ok(())
        });
    }

    /// Acts on each reader that wants what is at this place. Where that fails, its replica gets a
    /// checkpoint.
    fn for_readings_at(
        &mut self,
        place: (u64, u64),
        mut act: impl FnMut(&mut Core, Target, &mut Reading) -> Result<(), String>,
    ) {
        let readings = std::mem::take(&mut self.catch_up.readings);
        for (target, mut reading) in readings {
            if reading.wanted
                && reading.reader.wants() == place
                && let Err(error) = act(self, target, &mut reading)
            {
                self.give_up_reading(target, reading.reader.next(), &error);
                continue;
            }
            self.catch_up.readings.insert(target, reading);
        }
    }

    fn give_up_reading(&mut self, (shard, node): Target, next: Index, error: &str) {
        tracing::warn!(
            core = self.id,
            shard,
            node = node.0,
            "the log of this core cannot be read for another node, which gets a checkpoint \
             instead: {error}"
        );
        if let Some(replica) = self.replicas.get_mut(shard) {
            replica.group.lose(next);
            replica.group.try_again(node);
        }
    }
}
