//! What a core asks of its files: its log, and the checkpoint that it writes.

use crate::replica::catchup::LogPieceOrder;
use crate::replica::rebuild::RebuildOrder;
use crate::replica::receiving::VerifyOrder;
use crate::replica::transfer::PieceOrder;
use replication::checkpoint::FileOperation;
use replication::log::LogOperation;

#[derive(Debug)]
pub enum StorageOperation {
    Log(LogOperation),
    /// In the node's directory of checkpoints; one at a time.
    Checkpoint(FileOperation),
    /// Read a shard's memory again; one at a time for each shard.
    Rebuild(Box<RebuildOrder>),
    /// Read a piece of a checkpoint's file.
    ReadPiece(Box<PieceOrder>),
    /// Read all of a checkpoint.
    VerifyCheckpoint(Box<VerifyOrder>),
    /// Read a piece of the log; one at a time.
    ReadLog(Box<LogPieceOrder>),
}
