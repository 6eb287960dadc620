//! What a group asks for is done: records for the core's log, messages for the other nodes, and
//! committed entries for the shard's memory.

use engine::effect::apply::apply_batch;
use replication::buggify::{self, Point};
use replication::fault::{Fault, is_planted};
use replication::group::payload::{content, decided, to_record};
use replication::group::{Entry, Envelope, Work};
use replication::ids::{Index, ShardId};
use replication::release::Release;
use replication::release::resolve::Content;

use super::Replica;
use super::transfer::OF_GROUP;
use crate::core::Core;
use crate::limits::APPLIED_BYTES_PER_TURN_MAX;

impl Core {
    pub(super) fn carry_out(&mut self, shard: ShardId, replica: &mut Replica, mut work: Work) {
        if !self.takes_versions(shard, replica, &work) {
            return;
        }
        if let Some(base) = &work.install {
            self.install(shard, replica, base);
        }
        self.membership.changed |= !work.members.is_empty() || work.install.is_some();
        self.write_work(shard, replica, &work);
        for Envelope { to, mut bytes, checkpoint } in work.messages.drain(..) {
            match checkpoint {
                None => {
                    bytes.push(OF_GROUP);
                    self.links.send(to, shard, &bytes);
                }
                Some(index) => self.send_checkpoint(shard, replica, (to, index), bytes),
            }
        }
        // Records that call an entry decided stand behind what its members are then.
        for (term, index, members) in &work.members {
            if let Some(log) = &mut self.log {
                log.append_members(shard, (*term, *index), members, false);
            }
        }
        if is_planted(Fault::AppliesUncommitted) {
            self.take_committed(shard, replica, work.entries);
        }
        self.take_committed(shard, replica, work.committed);
    }

    fn write_work(&mut self, shard: ShardId, replica: &mut Replica, work: &Work) {
        let Some(log) = &mut self.log else { return };
        if let Some(vote) = work.vote {
            log.append_vote(shard, vote);
        }
        let decided = self.release.point(shard);
        for entry in &work.entries {
            let decided = match is_planted(Fault::DecidedAhead) {
                false => decided,
                true => Index(entry.index.0 - 1),
            };
            let Some(record) = to_record(entry, shard, decided) else {
                return self.fail_replica(shard, "an entry of another node is malformed");
            };
            let least_bytes = self.config.checkpoint_log_bytes;
            self.checkpoints.note_logged(shard.0, record.payload.len(), least_bytes);
            log.append_group_entry(record);
        }
        if work.must_write() {
            replica.writes.push_back((log.appended(), work.number));
            self.replicas.note_write(shard.0);
        }
    }

    /// Entries are committed: what that decides is released.
    pub(super) fn take_committed(
        &mut self,
        shard: ShardId,
        replica: &mut Replica,
        committed: Vec<Entry>,
    ) {
        let Some(last) = committed.last().map(|entry| entry.index) else { return };
        let executed = replica.executes();
        let mut marked = Index(0);
        if !executed {
            let applied = replica.applied;
            for entry in committed.into_iter().filter(|entry| entry.index > applied) {
                marked = marked.max(decided(&entry));
                if !self.take_entry(shard, replica, entry) {
                    return self.fail_replica(shard, "a committed entry is malformed");
                }
            }
        }
        self.release.commit(shard, last);
        self.release.note_marked(shard, marked);
        if marked > self.release.point(shard) {
            self.release.decide_through(shard, marked);
        }
        self.release_decided();
        if executed {
            replica.applied = self.release.point(shard);
        }
    }

    /// A committed entry that was not executed here will be applied once it is decided. False if it
    /// is malformed.
    fn take_entry(&mut self, shard: ShardId, replica: &mut Replica, entry: Entry) -> bool {
        let Some(said) = content(&entry, shard) else { return false };
        note_end(&mut self.release, shard, &entry);
        match said {
            Content::Entry { transaction: Some(transaction), .. } => {
                self.release.begin(shard, entry.index, transaction.into());
            }
            Content::Void { from } if from > self.release.point(shard) => {
                self.release.void(shard, from, entry.index);
                replica.voids += 1;
                while replica.pending.back().is_some_and(|last| last.index >= from)
                    && let Some(last) = replica.pending.pop_back()
                {
                    replica.pending_bytes -= bytes_of(&last);
                }
            }
            Content::Void { .. } => return false,
            Content::Entry { transaction: None, .. }
            | Content::Change { .. }
            | Content::Members { .. }
            | Content::Marker => {}
        }
        replica.pending_bytes += bytes_of(&entry);
        replica.pending.push_back(entry);
        true
    }

    /// Applies to memory what is released, some a turn of all shards together. None waits for the
    /// others for ever: each gets on by an entry a turn.
    pub(super) fn apply_committed(&mut self, shard: ShardId, replica: &mut Replica) {
        if replica.pending.is_empty() {
            return;
        }
        let point = self.release.point(shard);
        let place = usize::from(shard.0);
        let bytes_max = buggify::limit(Point::AppliesLittle, APPLIED_BYTES_PER_TURN_MAX, 1);
        while (self.replicas.applied_bytes < bytes_max || replica.applied_ns != self.now.mono_ns)
            && self.shards.holds(place)
            && replica.pending.front().is_some_and(|entry| entry.index <= point)
        {
            let Some(entry) = replica.pending.pop_front() else { break };
            self.replicas.applied_bytes += bytes_of(&entry);
            replica.applied_ns = self.now.mono_ns;
            replica.pending_bytes -= bytes_of(&entry);
            if let Err(message) = self.apply_entry(shard, &entry) {
                return self.fail_replica(shard, &message);
            }
            replica.applied = entry.index;
        }
        if let Some(held) = self.shards.get_mut(place) {
            held.resume_after(replica.applied.0);
            self.released[place] = replica.applied.0;
        }
        let more = replica.pending.front().is_some_and(|entry| entry.index <= point);
        self.more_housekeeping |= more && self.shards.holds(place);
    }

    fn apply_entry(&mut self, shard: ShardId, entry: &Entry) -> Result<(), String> {
        let Index(index) = entry.index;
        match content(entry, shard) {
            Some(Content::Entry { payload, .. }) => {
                let batch = [(usize::from(shard.0), payload)];
                let applied = apply_batch(&mut self.shards, &self.settings, &batch);
                applied.map_err(|(_, error)| format!("entry {index}: {error}"))
            }
            Some(
                Content::Change { .. }
                | Content::Members { .. }
                | Content::Marker
                // What it voids was taken back when it was committed.
                | Content::Void { .. },
            ) => Ok(()),
            None => Err(format!("entry {index} is malformed")),
        }
    }
}

/// Whether a committed entry ends what can be part of transactions in its shard, or begins it.
pub(super) fn note_end(release: &mut Release, shard: ShardId, entry: &Entry) {
    match content(entry, shard) {
        Some(Content::Marker) => release.note_served(shard),
        Some(Content::Void { from }) => release.note_ended(shard, from),
        Some(said) if said.begins_term() && !is_planted(Fault::FirstEntryIgnored) => {
            release.note_ended(shard, entry.index);
        }
        _ => {}
    }
}

fn bytes_of(entry: &Entry) -> usize {
    entry.payload.len() + size_of::<Entry>()
}
