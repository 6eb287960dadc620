//! Checkpoints of a core's shards: when one is due, one shard at a time, a slice a turn; and the
//! log's segments that are not needed once they are there. Lives on the core; no I/O of its own.
//!
//! - [`round`]: one checkpoint under way. [`files`]: those that there are, and what may go.
//!   [`pinned`]: what keeps the log long.

pub mod files;
pub mod pinned;
pub mod round;

use std::collections::VecDeque;

use replication::buggify::{Point, is_taken};
use replication::checkpoint::{FileOperation, OfGroup, Outcome};
use replication::fault::{Fault, is_planted};
use replication::group::Base;
use replication::ids::{Incarnation, Index, ShardId, Term};
use replication::log::LogWriter;

use crate::admin::everywhere::Answer;
use crate::admin::wait::Asker;
use crate::core::Core;
use crate::core::io::{OsError, Output};
use crate::core::message::Message;
use crate::core::storage::StorageOperation;
use crate::limits::{CHECKPOINT_AT_STOP_BYTES_MIN, CHECKPOINT_HURRY, CHECKPOINT_RETRY_NS};
use files::Files;
use pinned::Growth;
use round::Round;

/// A core's share of the node's checkpoints.
pub struct Checkpoints {
    pub(crate) round: Option<Round>,
    /// By shard of this core.
    files: Vec<Files>,
    /// By shard: bytes of its entries since its last checkpoint began.
    logged_bytes: Vec<u64>,
    growth: Growth,
    /// Shards whose checkpoint was asked for.
    asked: VecDeque<u16>,
    /// One of those failed.
    asked_failed: bool,
    /// The round under way began before its shard was asked for, and the shard has changed between:
    /// another one is to follow.
    asked_since: bool,
    /// Changes of the shard that the round under way has.
    changes_taken: u64,
    /// Who is told when those are done.
    waiting: Vec<Asker>,
    /// Shards whose log has grown enough, or whose last checkpoint failed.
    due: VecDeque<u16>,
    /// A file that is not needed any more is being removed.
    removing: bool,
    /// Cores on whose disk is not yet what their start had to say: until there is none, a shard's
    /// log may still hold what another start would have to cut.
    starting: usize,
    own_started: bool,
    incarnation: Incarnation,
    begun: u64,
    not_before_ns: u64,
    /// The core drains.
    stopping: bool,
    pub stats: CheckpointStats,
}

/// For INFO and LASTSAVE.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckpointStats {
    pub in_progress: u64,
    /// Of those under way: keys written or announced, of the keys that there were.
    pub keys_taken: u64,
    pub keys_total: u64,
    /// Seconds since 1970 when the last one was there.
    pub last_unix_s: i64,
    pub done: u64,
    /// Those that came from other nodes.
    pub received: u64,
    pub failed: u64,
    pub last_failed: bool,
    pub bytes: u64,
    /// Bytes of the log's segments.
    pub log_bytes: u64,
}

impl CheckpointStats {
    pub fn add(&mut self, other: &CheckpointStats) {
        self.in_progress += other.in_progress;
        self.keys_taken += other.keys_taken;
        self.keys_total += other.keys_total;
        self.last_unix_s = self.last_unix_s.max(other.last_unix_s);
        self.done += other.done;
        self.received += other.received;
        self.failed += other.failed;
        self.last_failed |= other.last_failed;
        self.bytes += other.bytes;
        self.log_bytes += other.log_bytes;
    }
}

impl Checkpoints {
    /// `files` by shard, those of other cores' shards too; `log_bytes` of segments that the start
    /// has found.
    pub fn new(
        cores: usize,
        incarnation: Incarnation,
        files: Vec<Files>,
        mut logged_bytes: Vec<u64>,
        log_bytes: u64,
    ) -> Checkpoints {
        logged_bytes.resize(files.len(), 0);
        Checkpoints {
            round: None,
            growth: Growth::new(files.len(), log_bytes),
            logged_bytes,
            files,
            asked: VecDeque::new(),
            asked_failed: false,
            asked_since: false,
            changes_taken: 0,
            waiting: Vec::new(),
            due: VecDeque::new(),
            removing: false,
            starting: cores,
            own_started: false,
            incarnation,
            begun: 0,
            not_before_ns: 0,
            stopping: false,
            stats: CheckpointStats::default(),
        }
    }

    /// An entry of so many bytes was logged. A checkpoint is due once there are more than
    /// `least_bytes`, and than the last one had.
    #[inline]
    pub fn note_logged(&mut self, shard: u16, bytes: usize, least_bytes: u64) {
        // One without effects is there too.
        self.logged_bytes[usize::from(shard)] += bytes.max(1) as u64;
        self.look_at_logged(shard, least_bytes);
    }

    fn look_at_logged(&mut self, shard: u16, least_bytes: u64) {
        let logged = self.logged_bytes[usize::from(shard)];
        if logged > self.wanted_bytes(shard, least_bytes) || is_taken(Point::CheckpointSoon) {
            self.make_due(shard);
        }
    }

    fn make_due(&mut self, shard: u16) {
        if !self.due.contains(&shard) {
            self.due.push_back(shard);
        }
    }

    /// Bytes of work a second for a shard's checkpoint, 0 for no limit. It follows need: one that
    /// the log outgrows is hurried, and a stop has nothing else to do.
    fn pace(&self, shard: u16, bytes_per_second: u64) -> u64 {
        if self.stopping {
            0
        } else if self.due.contains(&shard) {
            bytes_per_second.saturating_mul(CHECKPOINT_HURRY)
        } else {
            bytes_per_second
        }
    }

    /// The shard whose checkpoint is next.
    fn next_shard(&self) -> Option<u16> {
        self.asked.front().or(self.due.front()).copied()
    }

    /// The log up to here is not needed to bring the shard back, even if its newest checkpoint
    /// should turn out to be damaged.
    pub(crate) fn covered(&self, shard: ShardId) -> Index {
        if is_planted(Fault::SegmentsReleasedEarly) {
            return Index(u64::MAX);
        }
        self.files.get(usize::from(shard.0)).map_or(Index(0), Files::covered)
    }
}

impl Checkpoints {
    /// Whether a checkpoint of this index is there.
    pub fn has(&self, shard: u16, index: Index) -> bool {
        self.files.get(usize::from(shard)).is_some_and(|files| files.has(index))
    }

    /// Whether one of a shard is under way that counts: it is as of what is released.
    pub(crate) fn will_have(&self, shard: ShardId, released: Index) -> bool {
        let of_shard = |round: &&Round| round.shard() == shard.0 && round.index() <= released;
        self.round.as_ref().filter(of_shard).is_some()
    }

    /// Whether an operation on a file of checkpoints may be under way.
    pub fn uses_directory(&self) -> bool {
        self.round.is_some() || self.removing
    }

    /// A checkpoint may be damaged: nothing rests on it any more, and another one is due.
    pub fn distrust(&mut self, shard: ShardId, index: Index) {
        self.files[usize::from(shard.0)].distrust(index);
        self.make_due(shard.0);
    }

    /// A checkpoint of another node is there.
    pub fn add_received(&mut self, shard: u16, index: Index, bytes: u64) {
        self.stats.received += 1;
        self.files[usize::from(shard)].add(index, bytes);
    }
}

impl Core {
    /// Goes on with the checkpoint under way, or begins one. Once a turn, behind its entries.
    pub(crate) fn do_checkpoints(&mut self) {
        if self.log.is_none() || self.failure.is_some() {
            return;
        }
        self.note_own_start();
        if self.checkpoints.round.is_none() && !self.begin_checkpoint() {
            return self.remove_old_checkpoint();
        }
        self.advance_checkpoint();
    }

    /// Every core says once that its log holds what its start had to say.
    fn note_own_start(&mut self) {
        let Some(log) = &self.log else { return };
        if self.checkpoints.own_started || log.durable() < self.start_lsn {
            return;
        }
        self.checkpoints.own_started = true;
        self.on_core_started();
        let own = self.id;
        for core in (0..self.config.cores as u16).filter(|core| *core != own) {
            self.send_message(core, Message::Started);
        }
    }

    pub(crate) fn on_core_started(&mut self) {
        self.checkpoints.starting -= 1;
        self.release_segments();
    }

    /// Every core's log has what its start had to say, of shards that were elsewhere before too.
    pub(crate) fn all_started(&self) -> bool {
        self.checkpoints.starting == 0
    }

    /// Notes that what a start found in the log is to be covered by checkpoints.
    pub(crate) fn note_logged_before(&mut self) {
        for shard in 0..self.shards.count() as u16 {
            if self.is_home(usize::from(shard)) {
                self.checkpoints.look_at_logged(shard, self.config.checkpoint_log_bytes);
            }
        }
    }

    fn begin_checkpoint(&mut self) -> bool {
        let checkpoints = &self.checkpoints;
        let Some(shard) = checkpoints.next_shard() else { return false };
        if checkpoints.starting > 0 && !is_planted(Fault::StartUnawaited)
            || checkpoints.removing
            || self.replicas.receiving.is_some()
            || self.now.mono_ns < checkpoints.not_before_ns
        {
            return false;
        }
        let replica = self.replicas.get(shard);
        let Some(held) = self.shards.get_mut(usize::from(shard)) else { return false };
        if !held.effects.is_empty() {
            // Who waited for a release has gone on behind the turn's entries.
            return false;
        }
        let index = Index(held.open_index() - 1);
        let term = match replica {
            None => Term(1),
            Some(replica) => match replica.group.term_of(index) {
                Some(term) => term,
                None => return false,
            },
        };
        let ended = self.release.ended(ShardId(shard));
        let ended = ended.filter(|_| !is_planted(Fault::EndUnsaid));
        let group =
            replica.map(|replica| OfGroup { members: replica.group.members().clone(), ended });
        self.checkpoints.changes_taken = held.stats.changes;
        let (began_at, contents) = held.begin_checkpoint();
        debug_assert_eq!(began_at, index.0);
        self.checkpoints.due.retain(|due| *due != shard);
        self.checkpoints.begun += 1;
        // No two cores of a start give the same.
        let number = self.checkpoints.begun * self.config.cores as u64 + u64::from(self.id);
        let stamp = self.checkpoints.incarnation.0 << 32 | number;
        let (at, now_ns) = ((term, index), self.now.mono_ns);
        let round = Round::new(self.node, shard, at, stamp, group, &contents, now_ns);
        self.checkpoints.round = Some(round);
        self.checkpoints.logged_bytes[usize::from(shard)] = 0;
        let written_bytes = self.log.as_ref().map_or(0, LogWriter::written_bytes);
        self.checkpoints.growth.note_begun(shard, written_bytes);
        let stats = &mut self.checkpoints.stats;
        stats.in_progress = 1;
        (stats.keys_taken, stats.keys_total) = (0, contents.keys.iter().sum());
        true
    }

    fn advance_checkpoint(&mut self) {
        let Some(mut round) = self.checkpoints.round.take() else { return };
        if let Some(held) = self.shards.get_mut(usize::from(round.shard())) {
            let rate =
                self.checkpoints.pace(round.shard(), self.config.checkpoint_bytes_per_second);
            round.walk(held, &self.settings.encoding, self.now.mono_ns, rate);
            // After the walk only the file is awaited.
            let taken = held.checkpoint_keys_taken();
            self.checkpoints.stats.keys_taken = taken.unwrap_or(self.checkpoints.stats.keys_total);
        }
        let released = self.release.point(ShardId(round.shard())) >= round.index();
        let members = self.replicas.get(round.shard()).map(|replica| replica.group.members());
        if released && members != round.group.as_ref().map(|group| &group.members) {
            round.writer.abandon("the members of the group changed meanwhile");
        } else if is_taken(Point::CheckpointGivenUp) {
            round.writer.abandon("the simulation wants it so");
        } else if released || is_planted(Fault::CheckpointUnreleased) {
            round.writer.on_released();
        } else if self.commits_no_more() {
            round.writer.abandon("the node stops, and what it would hold is not committed");
        }
        if let Some(operation) = round.writer.poll_operation() {
            self.outputs.push(Output::Log(StorageOperation::Checkpoint(operation)));
        }
        match round.writer.outcome().cloned() {
            Some(outcome) => {
                // A failure ends it before its time: then the walk ends once the shard is here.
                let held = self.shards.get_mut(usize::from(round.shard()));
                if !round.end(held, &self.settings.encoding) {
                    self.checkpoints.round = Some(round);
                    return;
                }
                if let (Outcome::Catalogued { .. }, Some(group)) = (&outcome, &round.group) {
                    let identity = round.writer.identity();
                    let (index, term) = (identity.index.0, identity.term.0);
                    let OfGroup { members, ended } = group.clone();
                    self.note_checkpoint(round.shard(), Base { index, term, members, ended });
                }
                self.end_checkpoint(round.shard(), round.index(), outcome);
            }
            None => self.checkpoints.round = Some(round),
        }
    }

    fn end_checkpoint(&mut self, shard: u16, index: Index, outcome: Outcome) {
        let place = usize::from(shard);
        let stats = &mut self.checkpoints.stats;
        (stats.in_progress, stats.keys_taken, stats.keys_total) = (0, 0, 0);
        match outcome {
            Outcome::Catalogued { file_bytes, .. } => {
                stats.done += 1;
                stats.bytes += file_bytes;
                stats.last_failed = false;
                stats.last_unix_s = self.now.unix_us / 1_000_000;
                self.checkpoints.files[place].add(index, file_bytes);
                if let Some(held) = self.shards.get_mut(place) {
                    held.stats.changes_saved = self.checkpoints.changes_taken;
                }
                self.release_segments();
            }
            Outcome::Abandoned(why) => {
                stats.failed += 1;
                stats.last_failed = true;
                self.checkpoints.asked_failed |= self.checkpoints.asked.contains(&shard);
                self.checkpoints.asked_since = false;
                self.checkpoints.not_before_ns = self.now.mono_ns + CHECKPOINT_RETRY_NS;
                // What was logged until then still is to be covered.
                self.checkpoints.make_due(shard);
                if self.checkpoints.stopping {
                    // The log has everything: a stop does not wait for a disk that may never heal.
                    self.checkpoints.asked.clear();
                }
                let next = match self.checkpoints.stopping {
                    true => "",
                    false => ", another one is tried in some seconds",
                };
                tracing::error!(
                    core = self.id,
                    shard,
                    "a checkpoint failed ({why}); the log has everything{next}"
                );
            }
        }
        if !std::mem::take(&mut self.checkpoints.asked_since) {
            self.checkpoints.asked.retain(|asked| *asked != shard);
        }
        if self.checkpoints.asked.is_empty() {
            let failed = u64::from(std::mem::take(&mut self.checkpoints.asked_failed));
            for asker in std::mem::take(&mut self.checkpoints.waiting) {
                self.tell_asker(asker, Answer::Count(failed));
            }
        }
    }

    fn remove_old_checkpoint(&mut self) {
        let needed = self.replicas.is_rebuilding() || self.replicas.is_sending();
        if self.checkpoints.removing || needed || self.replicas.receiving.is_some() {
            return;
        }
        let mut shards = self.checkpoints.files.iter_mut().enumerate();
        let outdated = shards.find_map(|(shard, files)| files.take_outdated(ShardId(shard as u16)));
        if let Some(name) = outdated {
            self.checkpoints.removing = true;
            let operation = FileOperation::Remove { name };
            self.outputs.push(Output::Log(StorageOperation::Checkpoint(operation)));
        }
    }

    /// The file operation of a checkpoint ended.
    pub(crate) fn on_checkpoint_done(&mut self, result: Result<(), OsError>) {
        if self.replicas.receiving.is_some() {
            return self.on_receiving_done(result);
        }
        match &mut self.checkpoints.round {
            Some(round) if !self.checkpoints.removing => {
                round.writer.on_done(result.map_err(|e| e.0));
            }
            _ => {
                self.checkpoints.removing = false;
                if let Err(error) = result {
                    let core = self.id;
                    tracing::warn!(core, "cannot remove an old checkpoint: {error:?}");
                }
            }
        }
    }

    /// A checkpoint of one shard, for another node.
    pub(crate) fn ask_checkpoint_of(&mut self, shard: u16) {
        let round = self.checkpoints.round.as_ref().map(Round::shard);
        if round != Some(shard) && !self.checkpoints.asked.contains(&shard) {
            self.checkpoints.asked.push_back(shard);
        }
    }

    /// BGSAVE and SAVE: all shards of this core. `asker` is told when they are done.
    pub(crate) fn ask_checkpoints(&mut self, asker: Option<Asker>) -> bool {
        if self.log.is_none() {
            return false;
        }
        for shard in 0..self.shards.count() as u16 {
            if self.is_home(usize::from(shard)) && !self.checkpoints.asked.contains(&shard) {
                self.checkpoints.asked.push_back(shard);
            }
        }
        if let Some(round) = &self.checkpoints.round {
            let held = self.shards.get(usize::from(round.shard()));
            let same = held.is_some_and(|held| held.open_index() == round.index().0 + 1);
            self.checkpoints.asked_since |= !same;
        }
        self.checkpoints.waiting.extend(asker);
        !self.checkpoints.asked.is_empty()
    }

    pub(crate) fn checkpoint_stats(&self) -> CheckpointStats {
        let log_bytes = self.log.as_ref().map_or(0, LogWriter::segments_bytes);
        let stats = self.checkpoints.stats;
        // Whoever asked for one looks here until it is done.
        let asked = u64::from(!self.checkpoints.asked.is_empty());
        CheckpointStats { log_bytes, in_progress: stats.in_progress.max(asked), ..stats }
    }

    /// An orderly stop makes checkpoints where reading the log again would take long. Whether
    /// everything there is to make is made.
    pub(crate) fn finish_checkpoints(&mut self) -> bool {
        if self.log.is_none() {
            return true;
        }
        if !std::mem::replace(&mut self.checkpoints.stopping, true) {
            for shard in 0..self.shards.count() as u16 {
                let logged = self.checkpoints.logged_bytes[usize::from(shard)];
                let asked = self.checkpoints.asked.contains(&shard);
                let own = self.is_home(usize::from(shard));
                if own && logged >= CHECKPOINT_AT_STOP_BYTES_MIN && !asked {
                    self.checkpoints.asked.push_back(shard);
                }
            }
        }
        self.checkpoints.asked.is_empty() && self.checkpoints.round.is_none()
    }

    /// When the checkpoint under way wants a turn although nothing may happen.
    pub(crate) fn checkpoint_wake_ns(&self) -> Option<u64> {
        let checkpoints = &self.checkpoints;
        match &checkpoints.round {
            Some(round) => {
                let here = self.shards.holds(usize::from(round.shard()));
                round.wake_ns(self.now.mono_ns).filter(|_| here)
            }
            // What is awaited brings a turn of its own.
            None if checkpoints.removing || checkpoints.starting > 0 => None,
            None => {
                let next = checkpoints.next_shard()?;
                let here = self.shards.holds(usize::from(next));
                here.then(|| checkpoints.not_before_ns.max(self.now.mono_ns))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_that_the_log_outgrows_is_hurried() {
        let files = vec![Files::found(vec![(Index(1), 5_000)]), Files::default()];
        let mut checkpoints = Checkpoints::new(1, Incarnation(1), files, Vec::new(), 0);
        // As much as the last one had, or as the setting says.
        for (shard, most) in [(0, 5_000), (1, 1_000)] {
            checkpoints.note_logged(shard, most, 1_000);
            assert_eq!(checkpoints.pace(shard, 100), 100);
            checkpoints.note_logged(shard, 1, 1_000);
            assert_eq!(checkpoints.pace(shard, 100), 100 * CHECKPOINT_HURRY);
        }
        assert_eq!(checkpoints.next_shard(), Some(0));
        checkpoints.stopping = true;
        assert_eq!(checkpoints.pace(0, 100), 0, "a stop knows no limit");
    }
}
