//! A checkpoint on its way to a replica that lacks more than is in memory: its file goes in pieces,
//! each once the one before is written there ([`super::receiving`]); then the group's message that
//! tells of it.
//!
//! Messages between nodes end with a byte that says what they are. Little-endian:
//!
//! | kind | what | bytes before it |
//! | --- | --- | --- |
//! | 0 | of the group | the `raft` crate's |
//! | 1 | piece of a checkpoint | index, the file's length and stamp, offset: u64 each; the piece |
//! | 2 | how far that has come | index u64, next offset u64; `NAMED` and `DAMAGED`: the file is |
//! | 3 | the node that hears it was removed from the cluster | nothing |
//! | 4 | who is in the cluster, for those that were away | roster |
//! | 5 | a machine has asked to join, elsewhere than at the leader | its directory, its address |

use replication::buggify::{Point, is_taken};
use replication::checkpoint::catalogue::file_name;
use replication::fault::{Fault, is_planted};
use replication::group::fetch::CatchUpWay;
use replication::group::{Base, NodeId, Role};
use replication::ids::{Index, ShardId};

use super::Replica;
use crate::core::Core;
use crate::limits::{RESIGN_AFTER_TIMEOUTS, TRANSFER_RETRY_NS, TRANSFER_SILENCE_NS};

pub const OF_GROUP: u8 = 0;
const PIECE: u8 = 1;
pub(super) const PROGRESS: u8 = 2;
pub(super) const REMOVED: u8 = 3;
pub(super) const ROSTER: u8 = 4;
pub(super) const JOIN: u8 = 5;
pub(super) const NAMED: u64 = u64::MAX;
pub(super) const DAMAGED: u64 = u64::MAX - 1;

/// A piece of a checkpoint's file, to be read beside the core.
#[derive(Clone, Debug)]
pub struct PieceOrder {
    pub shard: ShardId,
    pub index: Index,
    pub to: NodeId,
    pub offset: u64,
    pub name: String,
    pub directory: std::path::PathBuf,
}

/// What was read: a piece, and of which file. Two of one index are not the same.
#[derive(Debug)]
pub struct Piece {
    pub size: u64,
    pub stamp: u64,
    pub bytes: Vec<u8>,
}

/// The leader's side.
pub struct Sending {
    to: NodeId,
    index: Index,
    /// The message that tells of it.
    envelope: Vec<u8>,
    offset: u64,
    asked_ns: u64,
    progressed_ns: u64,
}

impl Replica {
    /// The least entry as of which a checkpoint is on its way.
    pub(super) fn least_sent(&self) -> Option<Index> {
        self.sending.iter().map(|sending| sending.index).min()
    }

    /// Whether some node got a checkpoint and lacks what the log has behind it.
    pub(super) fn pins_log(&self) -> bool {
        !self.pins.is_empty()
    }
}

impl Core {
    /// A message that is none of the group's.
    pub(super) fn on_transfer_message(&mut self, from: NodeId, shard: ShardId, message: &[u8]) {
        let Some((kind, body)) = message.split_last() else { return };
        if message == [REMOVED] {
            return self.on_removed();
        }
        if *kind == ROSTER {
            return self.on_hearsay(body);
        }
        if *kind == JOIN {
            return self.on_join_passed_on(body);
        }
        let number = |at: usize| body.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
        match (*kind, number(0), number(8), number(16).zip(number(24))) {
            (PIECE, Some(index), Some(size), Some((stamp, offset))) => {
                let piece = Piece { size, stamp, bytes: body[32..].to_vec() };
                self.on_piece(from, shard, Index(index), offset, piece);
            }
            (PROGRESS, Some(index), Some(offset), _) => {
                self.on_progress(from, shard, Index(index), offset);
            }
            _ => self.stats.group_messages_unknown += 1,
        }
    }

    /// A replica lacks what is not in memory any more: it is offered the newest checkpoint, or one
    /// is made.
    pub(super) fn offer_checkpoint(&mut self, shard: ShardId, replica: &mut Replica) {
        let wanting: Vec<NodeId> = replica.group.wanting_checkpoint().collect();
        let first = replica.group.first();
        // One that does not know of a new node as a member is of no use to it.
        let fits = |base: &Base| {
            base.index + 1 >= first.0 && wanting.iter().all(|node| base.members.contains(*node))
        };
        if !wanting.is_empty() && !replica.offered.as_ref().is_some_and(fits) {
            replica.checkpoint_lacked_ns.get_or_insert(self.now.mono_ns);
            self.ask_checkpoint_of(shard.0);
        }
    }

    /// A checkpoint of memory that is ahead of what is committed counts once that is committed; and
    /// nothing is, while those that a majority needs lack a checkpoint. Then this node leads no
    /// more: its memory is read again as of what is committed, and once it is elected again it
    /// makes one of that, before it serves.
    fn resign_if_stuck(&mut self, shard: ShardId, replica: &mut Replica) {
        let Some(lacked_ns) = replica.checkpoint_lacked_ns else { return };
        let group = &replica.group;
        let waits = replica.executes() && group.committed() < group.last();
        let fits = |base: &Base| base.index + 1 >= group.first().0;
        let is_there = replica.offered.as_ref().is_some_and(fits) || !replica.sending.is_empty();
        let comes = self.checkpoints.will_have(shard, self.release.point(shard));
        if !waits || is_there || comes || group.would_commit(&group.members().voters) {
            replica.checkpoint_lacked_ns = None;
            return;
        }
        let patience_ns = RESIGN_AFTER_TIMEOUTS * self.config.election_timeout_ns();
        if self.now.mono_ns > lacked_ns + patience_ns && !is_planted(Fault::RemovesAnyway) {
            tracing::warn!(
                core = self.id,
                shard = shard.0,
                "nothing can be committed before another node has a checkpoint, and none can be \
                 made of what is not committed: this node leads no more, to make one as of before"
            );
            replica.checkpoint_lacked_ns = None;
            replica.group.resign();
        }
    }

    /// A checkpoint of a shard has its name.
    pub(crate) fn note_checkpoint(&mut self, shard: u16, base: Base) {
        if let Some(replica) = self.replicas.get_mut(shard) {
            replica.group.offer(base.clone());
            replica.offered = Some(base);
        }
    }

    /// The group wants a checkpoint to go to a node, and then this message.
    pub(super) fn send_checkpoint(
        &mut self,
        shard: ShardId,
        replica: &mut Replica,
        (to, index): (NodeId, Index),
        envelope: Vec<u8>,
    ) {
        let now_ns = self.now.mono_ns;
        replica.sending.retain(|sending| sending.to != to);
        let sending =
            Sending { to, index, envelope, offset: 0, asked_ns: now_ns, progressed_ns: now_ns };
        self.read_piece(shard, &sending);
        replica.sending.push(sending);
        replica.pins.retain(|node| *node != to);
        replica.pins.push(to);
        self.catch_up.note_checkpoint_sent(to);
        tracing::info!(core = self.id, shard = shard.0, node = to.0, "a checkpoint goes to a node");
    }

    /// Once it may be read.
    fn read_piece(&mut self, shard: ShardId, sending: &Sending) {
        let Sending { to, index, offset, .. } = *sending;
        let (name, directory) = (file_name(shard, index), self.config.dir.clone());
        let order = Box::new(PieceOrder { shard, index, to, offset, name, directory });
        self.catch_up.add_piece(order);
    }

    /// A piece was read.
    pub(crate) fn on_piece_read(&mut self, order: &PieceOrder, piece: Result<Piece, String>) {
        let PieceOrder { shard, index, to, offset, .. } = *order;
        let Some(replica) = self.replicas.get_mut(shard.0) else { return };
        let current = |s: &&mut Sending| (s.to, s.index, s.offset) == (to, index, offset);
        if replica.sending.iter_mut().find(current).is_none() {
            return;
        }
        match piece {
            Ok(Piece { size, stamp, mut bytes }) => {
                if is_taken(Point::PieceRotten)
                    && let Some(byte) = bytes.last_mut()
                {
                    *byte ^= 1;
                }
                let mut message = Vec::with_capacity(bytes.len() + 33);
                for number in [index.0, size, stamp, offset] {
                    message.extend_from_slice(&number.to_le_bytes());
                }
                message.extend_from_slice(&bytes);
                message.push(PIECE);
                self.catch_up.note_checkpoint_bytes(to, bytes.len() as u64);
                if !is_taken(Point::PieceLost) {
                    self.links.send(to, shard, &message);
                }
            }
            // The piece is read again after a while, unless it turns out that the file is damaged.
            Err(error) => {
                let (core, shard_number, node) = (self.id, shard.0, to.0);
                tracing::error!(
                    core,
                    shard = shard_number,
                    node,
                    "cannot read a checkpoint for a node: {error}"
                );
                self.verify_checkpoint(shard, index, false);
            }
        }
    }

    fn on_progress(&mut self, from: NodeId, shard: ShardId, index: Index, offset: u64) {
        let now_ns = self.now.mono_ns;
        let Some(replica) = self.replicas.get_mut(shard.0) else { return };
        let current = |sending: &Sending| sending.to == from && sending.index == index;
        let Some(place) = replica.sending.iter().position(current) else { return };
        if offset == NAMED {
            let mut sending = replica.sending.swap_remove(place);
            replica.group.on_checkpoint_sent(from, true);
            sending.envelope.push(OF_GROUP);
            self.links.send(from, shard, &sending.envelope);
            return;
        }
        if offset == DAMAGED {
            // It goes again, unless it turns out that it is this node's that is damaged.
            replica.sending.swap_remove(place);
            replica.group.on_checkpoint_sent(from, false);
            return self.verify_checkpoint(shard, index, false);
        }
        // Further than it was; or back at the beginning, if the other side had to start again.
        if offset == replica.sending[place].offset {
            return;
        }
        let mut sending = replica.sending.swap_remove(place);
        (sending.offset, sending.asked_ns, sending.progressed_ns) = (offset, now_ns, now_ns);
        self.read_piece(shard, &sending);
        if let Some(replica) = self.replicas.get_mut(shard.0) {
            replica.sending.push(sending);
        }
    }

    /// A checkpoint that came to another node damaged, or of which a piece could not be read, was
    /// read here.
    pub(super) fn on_sent_verified(
        &mut self,
        shard: ShardId,
        index: Index,
        result: Result<(), String>,
    ) {
        if !self.checkpoints.has(shard.0, index) {
            // It went while it was read: there are newer ones.
            return;
        }
        let (core, entry) = (self.id, index.0);
        let Err(error) = result else {
            return tracing::error!(
                core,
                shard = shard.0,
                "the checkpoint at entry {entry} came to another node damaged, or could not be \
                 read for it, and is sound here now"
            );
        };
        tracing::error!(
            core,
            shard = shard.0,
            "the checkpoint at entry {entry} is damaged: {error}; another one is made"
        );
        if let Some(replica) = self.replicas.get_mut(shard.0) {
            replica.group.withdraw(index);
            replica.offered.take_if(|base| base.index == entry);
            for sending in replica.sending.extract_if(.., |sending| sending.index == index) {
                replica.group.on_checkpoint_sent(sending.to, false);
            }
        }
        self.checkpoints.distrust(shard, index);
    }

    /// Once a tick: what was lost on the way is sent again, and what leads nowhere is given up.
    pub(super) fn tend_transfers(&mut self, shard: ShardId, replica: &mut Replica) {
        let now_ns = self.now.mono_ns;
        self.resign_if_stuck(shard, replica);
        // A group that leads no more has forgotten whom it wanted to have one.
        let unserved = is_planted(Fault::SendsOnlyServing) && !replica.executes();
        if replica.group.role() != Role::Leader || unserved {
            replica.sending.clear();
        }
        let mut kept = Vec::new();
        for mut sending in std::mem::take(&mut replica.sending) {
            let silent = now_ns > sending.progressed_ns + TRANSFER_SILENCE_NS;
            if silent || is_taken(Point::SendingGivenUp) {
                replica.group.on_checkpoint_sent(sending.to, false);
                continue;
            }
            if now_ns > sending.asked_ns + TRANSFER_RETRY_NS {
                sending.asked_ns = now_ns;
                self.read_piece(shard, &sending);
            }
            kept.push(sending);
        }
        replica.sending = kept;
        let (group, links) = (&replica.group, &self.links);
        replica.pins.retain(|node| {
            let lacks_much = group.catch_up_way(*node) >= CatchUpWay::Log;
            group.role() == Role::Leader && links.is_linked(*node) && lacks_much
        });
        self.tend_receiving(shard, replica);
    }
}
