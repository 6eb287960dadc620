//! The log answers: a write is durable, or the log can go on no more.

use replication::ids::Index;
use replication::log::{BlockBuffer, Lack};

use crate::core::Core;
use crate::core::io::OsError;
use crate::replica::catchup::LogPieceOrder;
use crate::replica::rebuild::Rebuilt;
use crate::replica::receiving::VerifyOrder;
use crate::replica::transfer::{Piece, PieceOrder};

/// How a log operation ended.
pub enum LogDone {
    Written {
        id: u64,
        buffer: BlockBuffer,
        result: Result<(), OsError>,
    },
    SegmentReady {
        number: u64,
        result: Result<(), OsError>,
    },
    SegmentRemoved {
        number: u64,
        result: Result<(), OsError>,
    },
    /// A shard's memory was read again.
    Rebuilt {
        shard: u16,
        through: Index,
        result: Result<Rebuilt, String>,
    },
    /// A piece of a checkpoint's file was read.
    Piece {
        order: Box<PieceOrder>,
        piece: Result<Piece, String>,
    },
    /// A checkpoint was read, all of it.
    Verified {
        order: Box<VerifyOrder>,
        result: Result<(), String>,
    },
    /// A piece of the log was read, all of it.
    LogPiece {
        order: Box<LogPieceOrder>,
        bytes: Result<Vec<u8>, String>,
    },
    /// The operation on a checkpoint's file.
    Checkpoint {
        result: Result<(), OsError>,
    },
}

impl Core {
    pub(crate) fn on_log_done(&mut self, done: LogDone) {
        let Some(log) = &mut self.log else { return };
        let lacked = log.lack();
        let outcome = match done {
            LogDone::Written { id, buffer, result } => {
                log.on_write_done(id, buffer, result.map_err(|e| e.0))
            }
            LogDone::SegmentReady { number, result } => {
                log.on_segment_ready(number, result.map_err(|e| e.0))
            }
            LogDone::SegmentRemoved { number, result } => {
                if let Err(error) = result {
                    let core = self.id;
                    tracing::warn!(core, number, "cannot remove a segment: {error:?}");
                }
                return log.on_segment_removed();
            }
            LogDone::Checkpoint { result } => return self.on_checkpoint_done(result),
            LogDone::Piece { order, piece } => return self.on_piece_read(&order, piece),
            LogDone::Verified { order, result } => {
                return self.on_checkpoint_verified(&order, result);
            }
            LogDone::LogPiece { order, bytes } => return self.on_log_read(&order, bytes),
            LogDone::Rebuilt { shard, through, result } => {
                return self.on_rebuilt(shard, through, result);
            }
        };
        let lack = log.lack();
        if lack != lacked {
            self.tell_lack(lack);
        }
        match outcome {
            Ok(durable) => {
                self.note_group_writes(durable);
                self.release_durable(durable);
            }
            // What follows would be a guess: after a failed write or sync nothing is known of the
            // device, so no reply may leave any more (design §7).
            Err(failed) => {
                let message = format!("log of core {}: {failed}; the server stops", self.id);
                self.failure.get_or_insert(message);
            }
        }
    }

    fn tell_lack(&self, lack: Option<Lack>) {
        let (core, directory) = (self.id, self.config.dir.display());
        match lack {
            Some(Lack::Space) => tracing::error!(
                core,
                %directory,
                "no space for the next segment of the log: once this one is used up, writes are \
                 refused until there is; free some, it is asked for every second"
            ),
            Some(Lack::Descriptors) => tracing::error!(
                core,
                %directory,
                "too many files are open to make the next segment of the log: once this one is \
                 used up, writes are refused until it is there; raise the limit of open files \
                 (ulimit -n), or lower maxclients; it is asked for every second"
            ),
            None => tracing::info!(core, "the log has its next segment"),
        }
    }

    /// Clients that waited for the log or for another core may go on, once neither presses.
    pub(crate) fn resume_pressed(&mut self) {
        if self.is_core_pressed() || !std::mem::take(&mut self.was_pressed) {
            return;
        }
        let waiting: Vec<_> = self
            .connections
            .iter()
            .filter(|connection| !connection.query.is_empty())
            .map(|connection| connection.id)
            .collect();
        for conn in waiting {
            self.mark_runnable(conn);
        }
    }
}
