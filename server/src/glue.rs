//! How the log's operations become the runtime's, and back.
#![allow(unsafe_code)]
// JUSTIFICATION: the runtime gives a buffer's address to the kernel, which only the buffer's type
// can promise to keep.

use replication::checkpoint::FileOperation;
use replication::log::{BlockBuffer, LogOperation, LogWriter};

use crate::core::Core;
use crate::core::storage::StorageOperation;
use crate::dispatch::log_done::LogDone;
use crate::runtime::Drives;
use crate::runtime::file::{Done, LogBuffer, Operation, PrepareSegment, SideOperation, Write};
use crate::startup::checkpoint_files::{read_piece, verify_checkpoint};
use crate::startup::rebuild_files::rebuild_shard;
use crate::startup::segments::read_log_piece;

// SAFETY: the bytes lie in a heap allocation that is neither moved nor changed while the buffer is
// owned by the runtime, which has no access but `as_ref`.
unsafe impl LogBuffer for BlockBuffer {
    fn registered_id(&self) -> Option<u16> {
        None
    }
}

impl Drives for Core {
    type Buffer = BlockBuffer;

    fn log_segment(&self) -> Option<u64> {
        self.log.as_ref().and_then(LogWriter::current_segment)
    }

    fn into_operation(operation: StorageOperation) -> Operation<BlockBuffer> {
        match operation {
            StorageOperation::Log(operation) => log_operation(operation),
            StorageOperation::Checkpoint(operation) => Operation::Side(side_operation(operation)),
            StorageOperation::Rebuild(order) => Operation::Job(Box::new(move || {
                let result = rebuild_shard(&order).map_err(|error| error.to_string());
                let shard = order.shard.0;
                let through = order.through;
                Box::new(LogDone::Rebuilt { shard, through, result })
            })),
            StorageOperation::ReadPiece(order) => Operation::Job(Box::new(move || {
                let piece = read_piece(&order).map_err(|error| error.to_string());
                Box::new(LogDone::Piece { order, piece })
            })),
            StorageOperation::VerifyCheckpoint(order) => Operation::Job(Box::new(move || {
                let result = verify_checkpoint(&order).map_err(|error| error.to_string());
                Box::new(LogDone::Verified { order, result })
            })),
            StorageOperation::ReadLog(order) => Operation::Job(Box::new(move || {
                let bytes = read_log_piece(&order).map_err(|error| error.to_string());
                Box::new(LogDone::LogPiece { order, bytes })
            })),
        }
    }

    fn from_done(done: Done<BlockBuffer>) -> LogDone {
        match done {
            Done::Write(done) => {
                LogDone::Written { id: done.id, buffer: done.buffer, result: done.result }
            }
            Done::SegmentReady { number, result } => LogDone::SegmentReady { number, result },
            Done::SegmentRemoved { number, result } => LogDone::SegmentRemoved { number, result },
            Done::Side { result } => LogDone::Checkpoint { result },
            Done::Job(done) => match done.downcast::<LogDone>() {
                Ok(done) => *done,
                Err(_) => unreachable!("jobs give what the core is told"),
            },
            Done::Synced { .. } => unreachable!("the log never asks for a separate sync"),
        }
    }
}

fn log_operation(operation: LogOperation) -> Operation<BlockBuffer> {
    match operation {
        LogOperation::RemoveSegment { number } => Operation::RemoveSegment { number },
        LogOperation::Write { id, segment, offset, buffer } => {
            let len = buffer.len() as u32;
            Operation::Write(Write { id, segment, offset, buffer, len })
        }
        LogOperation::PrepareSegment { number, header, size_bytes, recycle, within_bytes } => {
            let header = header.bytes().to_vec();
            let asked = PrepareSegment { number, header, size_bytes, recycle, within_bytes };
            Operation::PrepareSegment(asked)
        }
    }
}

fn side_operation(operation: FileOperation) -> SideOperation<BlockBuffer> {
    match operation {
        FileOperation::Create { name } => SideOperation::Create { name },
        FileOperation::Write { offset, buffer } => {
            let len = buffer.len() as u32;
            SideOperation::Write { offset, buffer, len }
        }
        FileOperation::Sync => SideOperation::Sync,
        FileOperation::Rename { from, to } => SideOperation::Rename { from, to },
        FileOperation::SyncDirectory => SideOperation::SyncDirectory,
        FileOperation::Remove { name } => SideOperation::Remove { name },
    }
}
