//! BGSAVE, SAVE and LASTSAVE: checkpoints of every core's shards.

use engine::args::Args;

use super::everywhere::{Answer, Purpose, Question};
use super::stats::Snapshot;
use super::wait::Asker;
use crate::connection::Connection;
use crate::core::Core;

const NO_DIRECTORY: &str =
    "ERR there is no data directory to save to: the server runs with --durability none";

impl Core {
    /// BGSAVE [SCHEDULE]. What is under way is not begun again; what follows it is.
    pub(crate) fn bgsave(&mut self, connection: &mut Connection, args: Args<'_>) {
        let known = args.len() == 1 || args.len() == 2 && args.is(1, "schedule");
        if !known {
            return self.reply_with(connection, |reply| reply.error("ERR syntax error"));
        }
        if self.log.is_none() {
            return self.reply_with(connection, |reply| reply.error(NO_DIRECTORY));
        }
        self.ask_everywhere(connection, Question::Checkpoint { wait: false }, Purpose::BgSave);
    }

    /// SAVE: answers once the checkpoints are there. Other clients do not wait meanwhile.
    pub(crate) fn save(&mut self, connection: &mut Connection) {
        if self.log.is_none() {
            return self.reply_with(connection, |reply| reply.error(NO_DIRECTORY));
        }
        self.ask_everywhere(connection, Question::Checkpoint { wait: true }, Purpose::Save);
    }

    pub(crate) fn lastsave(&mut self, connection: &mut Connection) {
        self.ask_everywhere(connection, Question::Snapshot, Purpose::LastSave);
    }

    /// When the last checkpoint was there, or the server began.
    pub(crate) fn last_save_unix_s(&self, sum: &Snapshot) -> i64 {
        match sum.checkpoints.last_unix_s {
            0 => self.config.started_unix_s,
            unix_s => unix_s,
        }
    }

    pub(crate) fn answer_checkpoint(&mut self, wait: bool, asker: Asker) -> Answer {
        let asked = self.ask_checkpoints(wait.then_some(asker));
        if wait && asked { Answer::Later } else { Answer::Count(0) }
    }

    pub(crate) fn info_checkpoints(&self, sum: &Snapshot) -> String {
        let checkpoints = &sum.checkpoints;
        format!(
            "rdb_bgsave_in_progress:{}\r\nrdb_last_save_time:{}\r\nrdb_last_bgsave_status:{}\r\n\
             current_save_keys_processed:{}\r\ncurrent_save_keys_total:{}\r\n\
             rdb_saves:{}\r\ncheckpoints_failed:{}\r\ncheckpoint_bytes_written:{}\r\n\
             log_segment_bytes_on_disk:{}\r\n",
            u8::from(checkpoints.in_progress > 0),
            self.last_save_unix_s(sum),
            if checkpoints.last_failed { "err" } else { "ok" },
            checkpoints.keys_taken,
            checkpoints.keys_total,
            checkpoints.done,
            checkpoints.failed,
            checkpoints.bytes,
            checkpoints.log_bytes,
        )
    }
}
