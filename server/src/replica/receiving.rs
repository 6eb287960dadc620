//! A checkpoint that comes from another node: its pieces go to a file under a temporary name, which
//! is read again from its first block to its last before it gets its own. What a disk or a memory
//! has spoilt, at whichever of the two nodes, is sent for again, after a while.

use std::path::PathBuf;

use replication::buggify::{Point, is_taken};
use replication::checkpoint::catalogue::{check_identity, file_name, temporary_name};
use replication::checkpoint::{CheckpointReader, CheckpointSource, FileError, FileOperation};
use replication::fault::{Fault, is_planted};
use replication::group::NodeId;
use replication::ids::{Index, ShardId};
use replication::log::BlockBuffer;

use super::Replica;
use super::transfer::{DAMAGED, NAMED, PROGRESS, Piece};
use crate::core::Core;
use crate::core::io::{OsError, Output};
use crate::core::storage::StorageOperation;
use crate::limits::{TRANSFER_SILENCE_NS, TRANSFER_YIELD_NS};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Create,
    Write,
    /// Waits for the next piece.
    Between,
    Sync,
    Verify,
    Rename,
    SyncDirectory,
    Remove,
}

/// A checkpoint to be read beside the core, all of it.
#[derive(Clone, Debug)]
pub struct VerifyOrder {
    pub(super) shard: ShardId,
    pub(super) index: Index,
    /// It came from another node and has yet to get its name.
    pub(super) is_received: bool,
    pub(super) cluster: u128,
    /// The node's data directory.
    pub directory: PathBuf,
}

impl VerifyOrder {
    pub fn file_name(&self) -> String {
        match self.is_received {
            true => temporary_name(self.shard, self.index),
            false => file_name(self.shard, self.index),
        }
    }

    /// Whether it is the one that it should be, and as it was written.
    pub fn verify(&self, file: impl CheckpointSource) -> Result<(), FileError> {
        let mut reader = CheckpointReader::open(file)?;
        let found = &reader.summary().identity;
        check_identity(&file_name(self.shard, self.index), found, self.cluster, found.node)?;
        while reader.next_payload()?.is_some() {}
        Ok(())
    }
}

/// One at a time on a core, and no checkpoint of its own beside it.
pub struct Receiving {
    shard: ShardId,
    from: NodeId,
    index: Index,
    size: u64,
    stamp: u64,
    offset: u64,
    piece: Vec<u8>,
    step: Step,
    heard_ns: u64,
}

impl Core {
    /// Once a tick: what leads nowhere is given up.
    pub(super) fn tend_receiving(&mut self, shard: ShardId, replica: &Replica) {
        let (leader, now_ns) = (replica.group.leader(), self.now.mono_ns);
        if let Some(receiving) = &mut self.replicas.receiving
            && receiving.step == Step::Between
        {
            // Who leads no more sends no more, and this node may be the one that others wait for.
            let abandoned = receiving.shard == shard
                && leader.is_some_and(|leader| leader != receiving.from)
                && !is_planted(Fault::AbandonedAwaited);
            let silent = now_ns > receiving.heard_ns + TRANSFER_SILENCE_NS;
            if abandoned || silent || is_taken(Point::ReceivingGivenUp) {
                receiving.step = Step::Remove;
                self.push_receiving();
            }
        }
    }

    pub(super) fn on_piece(
        &mut self,
        from: NodeId,
        shard: ShardId,
        index: Index,
        offset: u64,
        piece: Piece,
    ) {
        let Piece { size, stamp, bytes: piece } = piece;
        let Some(applied) = self.replicas.get(shard.0).map(|replica| replica.applied) else {
            return;
        };
        // It is here, or this node has come further by itself: the group's message will show that.
        let further = applied >= index;
        let is_said = further && !is_planted(Fault::FurtherUnsaid);
        if self.checkpoints.has(shard.0, index) || is_said {
            return self.say_progress(from, shard, index, NAMED);
        }
        let whole = size.is_multiple_of(4096) && piece.len().is_multiple_of(4096);
        let end = offset.checked_add(piece.len() as u64);
        let fits = whole && !piece.is_empty() && end.is_some_and(|end| end <= size);
        if !fits || further || self.replicas.executes(shard.0) {
            return;
        }
        let now_ns = self.now.mono_ns;
        match &mut self.replicas.receiving {
            // An operation of the directory is under way, or failed a moment ago: it comes again.
            None if self.checkpoints.uses_directory() || self.replicas.patience.waits(now_ns) => {}
            None if offset == 0 => {
                let first = Piece { size, stamp, bytes: piece };
                self.begin_receiving(from, shard, index, first);
            }
            None if is_planted(Fault::RestartUnsaid) => {}
            // What came before went with a restart.
            None => self.say_progress(from, shard, index, 0),
            Some(receiving)
                // Two nodes' files may be alike in all of that and differ in what is in them.
                if (receiving.shard, receiving.index) == (shard, index)
                    && ((receiving.from, receiving.size, receiving.stamp) == (from, size, stamp)
                        || is_planted(Fault::PiecesMixed))
                    && receiving.step == Step::Between =>
            {
                receiving.heard_ns = now_ns;
                if offset != receiving.offset {
                    let offset = receiving.offset;
                    return self.say_progress(from, shard, index, offset);
                }
                receiving.piece = piece;
                receiving.step = Step::Write;
                self.push_receiving();
            }
            // Another one comes instead: what is here of this goes first. But one that goes on is
            // not given up for another shard's, or neither would ever be there.
            Some(receiving)
                if receiving.step == Step::Between
                    && !is_planted(Fault::FirstReceivedKept)
                    && (receiving.shard == shard
                        || now_ns > receiving.heard_ns + TRANSFER_YIELD_NS) =>
            {
                receiving.step = Step::Remove;
                self.push_receiving();
            }
            Some(_) => {}
        }
    }

    fn begin_receiving(&mut self, from: NodeId, shard: ShardId, index: Index, first: Piece) {
        let Piece { size, stamp, bytes: piece } = first;
        self.replicas.receiving = Some(Receiving {
            shard,
            from,
            index,
            size,
            stamp,
            offset: 0,
            piece,
            step: Step::Create,
            heard_ns: self.now.mono_ns,
        });
        self.push_receiving();
    }

    fn say_progress(&mut self, to: NodeId, shard: ShardId, index: Index, offset: u64) {
        let mut message = index.0.to_le_bytes().to_vec();
        message.extend_from_slice(&offset.to_le_bytes());
        message.push(PROGRESS);
        self.links.send(to, shard, &message);
    }

    /// Begins the operation of the present step.
    fn push_receiving(&mut self) {
        let Some(receiving) = &mut self.replicas.receiving else { return };
        let Receiving { shard, index, offset, .. } = *receiving;
        let operation = match receiving.step {
            Step::Between => return,
            Step::Create => FileOperation::Create { name: temporary_name(shard, index) },
            Step::Write => {
                let mut buffer = BlockBuffer::with_capacity(receiving.piece.len());
                buffer.extend(&receiving.piece);
                FileOperation::Write { offset, buffer }
            }
            Step::Sync => FileOperation::Sync,
            Step::Verify => return self.verify_checkpoint(shard, index, true),
            Step::Rename => FileOperation::Rename {
                from: temporary_name(shard, index),
                to: file_name(shard, index),
            },
            Step::SyncDirectory => FileOperation::SyncDirectory,
            Step::Remove => FileOperation::Remove { name: temporary_name(shard, index) },
        };
        self.outputs.push(Output::Log(StorageOperation::Checkpoint(operation)));
    }

    pub(super) fn verify_checkpoint(&mut self, shard: ShardId, index: Index, is_received: bool) {
        let (cluster, directory) = (self.node.cluster, self.config.dir.clone());
        let order = VerifyOrder { shard, index, is_received, cluster, directory };
        let operation = StorageOperation::VerifyCheckpoint(Box::new(order));
        self.outputs.push(Output::Log(operation));
    }

    pub(crate) fn on_checkpoint_verified(
        &mut self,
        order: &VerifyOrder,
        result: Result<(), String>,
    ) {
        match order.is_received {
            true => self.on_received_verified(result),
            false => self.on_sent_verified(order.shard, order.index, result),
        }
    }

    fn on_received_verified(&mut self, result: Result<(), String>) {
        let Err(error) = result else { return self.on_receiving_done(Ok(())) };
        let Some(receiving) = &mut self.replicas.receiving else { return };
        receiving.step = Step::Remove;
        let Receiving { shard, from, index, .. } = *receiving;
        let retry_s = self.lose_received();
        tracing::error!(
            core = self.id,
            shard = shard.0,
            node = from.0,
            "a checkpoint that came from a node is damaged, there, on the way or on this disk: \
             {error}; it is taken again in {retry_s} s"
        );
        self.push_receiving();
        self.say_progress(from, shard, index, DAMAGED);
    }

    /// What came is of no use. Returns in how many seconds it is taken again.
    fn lose_received(&mut self) -> u64 {
        self.checkpoints.stats.failed += 1;
        self.replicas.patience.on_failed(self.now.mono_ns) / 1_000_000_000
    }

    /// The operation on the file that is being received ended.
    pub(crate) fn on_receiving_done(&mut self, result: Result<(), OsError>) {
        let Some(receiving) = &mut self.replicas.receiving else { return };
        if let Err(error) = result
            && receiving.step != Step::Remove
        {
            receiving.step = Step::Remove;
            let (shard, node) = (receiving.shard.0, receiving.from.0);
            let (core, retry_s) = (self.id, self.lose_received());
            tracing::error!(
                core,
                shard,
                node,
                "cannot write the checkpoint that a node sends: {error:?}; it is taken again in \
                 {retry_s} s"
            );
            return self.push_receiving();
        }
        let Receiving { shard, from, index, size, .. } = *receiving;
        receiving.step = match receiving.step {
            Step::Create => Step::Write,
            Step::Write => {
                receiving.offset += std::mem::take(&mut receiving.piece).len() as u64;
                if receiving.offset == size { Step::Sync } else { Step::Between }
            }
            Step::Sync
                if is_planted(Fault::ReceivedUnchecked) || is_planted(Fault::PiecesMixed) =>
            {
                Step::Rename
            }
            Step::Sync => Step::Verify,
            Step::Verify => Step::Rename,
            Step::Rename => Step::SyncDirectory,
            Step::Between => Step::Between,
            Step::SyncDirectory => {
                self.replicas.receiving = None;
                self.replicas.patience.on_received();
                self.checkpoints.add_received(shard.0, index, size);
                return self.say_progress(from, shard, index, NAMED);
            }
            Step::Remove => {
                self.replicas.receiving = None;
                return;
            }
        };
        let (step, offset) = (receiving.step, receiving.offset);
        if step == Step::Between {
            return self.say_progress(from, shard, index, offset);
        }
        self.push_receiving();
    }
}
