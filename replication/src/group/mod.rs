//! The Raft group of a shard on one node: which entries there are, which are committed, who leads.
//! The one place that knows the `raft` crate; everything else sees the types of [`entry`].
//!
//! Sans-IO: the host gives ticks, times and messages, and carries out what [`Group::poll`] says:
//! write entries and votes to the core's log, send messages, apply what is committed. Writes may be
//! under way while more is polled; a message that rests on a write waits for it here.
//!
//! A leader's own write and its messages go out side by side, and its write counts as one of the
//! majority: what the others have written may be committed before it is on the own disk.
//!
//! - [`entry`]: entries, votes, members.
//! - [`lease`]: until when a leader may answer reads alone. `promise`: why nobody else leads then.
//! - [`payload`]: what an entry's bytes say, and how it stands in the core's log.
//! - [`restart`]: what a node's logs have of its groups.
//! - `ticks`: what happens as time passes. `handover`: the lead goes to another node.
//! - `chance`: election timeouts. `changes`: of members. [`roster`]: who they are.
//! - `storage`: what the crate reads of the log. [`fetch`]: what of it is read from the disk first;
//!   [`terms`]: what is known of that. `outgoing`: what goes out of what the crate says.
//! - `telling`: how the others hear what is committed.
//! - [`work`]: what a group is started with, and what it asks for. `view`: how it stands.

mod chance;
mod changes;
pub mod entry;
pub mod fetch;
mod handover;
mod lease;
mod outgoing;
pub mod payload;
mod promise;
pub mod restart;
pub mod roster;
mod storage;
mod telling;
pub mod terms;
#[cfg(test)]
mod tests;
mod ticks;
mod view;
pub mod work;

use std::collections::VecDeque;

use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb::{ConfChangeV2, EntryType, HardState, Message, MessageType};
use raft::{RawNode, Ready, SnapshotStatus};

use crate::buggify::{self, Point, is_taken};
use crate::fault::{Fault, is_planted};
use crate::ids::{Index, Term};
use crate::version::Version;
use chance::Chance;
pub use entry::{Base, Entry, EntryKind, Members, Vote};
pub use lease::DRIFT_PER_MILLE;
use lease::Lease;
use outgoing::without_superseded;
use promise::Promise;
use storage::EntryStore;
pub use work::{Envelope, GroupConfig, GroupError, GroupStart, Refusal, Role, Work};

/// A node of the cluster. A wiped one comes back under a new id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// What a read confirmation of the lease has in front; those of [`Group::read`] have the other.
const LEASE_ROUND: u8 = 1;
const HOST_READ: u8 = 2;

/// Election timeouts beyond those of others in which a node that is not to lead waits for them. It
/// may be the only one with all that is committed.
const RELUCTANT_TIMEOUTS: usize = 6;

pub struct Group {
    raft: RawNode<EntryStore>,
    config: GroupConfig,
    members: Members,
    vote: Vote,
    lease: Lease,
    /// Messages that wait for a write, by its number.
    waiting: VecDeque<(u64, Vec<Message>)>,
    /// Messages to go out.
    outbox: Vec<Message>,
    /// Writes that are not durable yet.
    unwritten: VecDeque<u64>,
    /// Number and index of a checkpoint that is being installed. Until it is, the crate's view of
    /// what is applied has a hole, and this replica neither hears nor moves.
    installing: Option<(u64, u64)>,
    promise: Promise,
    chance: Chance,
    election_timeout: usize,
    /// Ticks since this leader asked all others to confirm that it leads.
    round_ticks: usize,
    /// It stands for election only where no other does.
    reluctant: bool,
    /// Up to which index all others were last told what is committed.
    told: u64,
    /// Nodes that do not count any more.
    lost: Vec<NodeId>,
    /// The highest version that anything here says, committed or not.
    said_version: Version,
    seen: (Term, Role),
}

impl Group {
    /// A replica of a group as `start` has it. `seed` decides its election timeouts.
    pub fn new(
        node: NodeId,
        config: GroupConfig,
        start: GroupStart,
        seed: u64,
    ) -> Result<Group, GroupError> {
        let hard_state = HardState {
            term: start.vote.term.0,
            vote: start.vote.voted_for.map_or(0, |node| node.0),
            commit: committed_at_least(&start),
            ..HardState::default()
        };
        let settings = raft::Config {
            id: node.0,
            election_tick: config.election_ticks,
            max_election_tick: config.patience_ticks
                + (RELUCTANT_TIMEOUTS + 2) * config.election_ticks,
            // Heartbeats come from `ticks`; the crate's must be rarer than elections.
            heartbeat_tick: config.election_ticks - 1,
            applied: start.applied.0,
            max_size_per_msg: config.message_bytes_max,
            max_inflight_msgs: config.messages_in_flight_max,
            max_uncommitted_size: config.uncommitted_bytes_max,
            check_quorum: true,
            pre_vote: true,
            // See `outgoing`.
            batch_append: is_planted(Fault::MessagesJoined),
            // See `telling`.
            skip_bcast_commit: true,
            ..raft::Config::default()
        };
        let base = start.base.without(&start.lost);
        let members = base.members.clone();
        let said = start.entries.iter().map(payload::said_version);
        let said_version = said.fold(members.roster.version, Version::max);
        let alone = members.voters == [node] && members.voters_outgoing.is_empty();
        let entries = start.entries.iter().map(Into::into).collect();
        let store = EntryStore::new(base, start.terms, entries, hard_state, start.checkpoint);
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raft = RawNode::new(&settings, store, &logger)?;
        let mut group = Group {
            raft,
            config,
            members,
            vote: start.vote,
            lease: Lease::default(),
            waiting: VecDeque::new(),
            outbox: Vec::new(),
            unwritten: VecDeque::new(),
            installing: None,
            promise: Promise::unknown(config.election_ticks, alone),
            chance: Chance(seed),
            election_timeout: 0,
            round_ticks: 0,
            reluctant: false,
            told: 0,
            lost: start.lost,
            said_version,
            seen: (Term(0), Role::Follower),
        };
        group.draw_election_timeout();
        group.settle();
        Ok(group)
    }

    /// Stands for election at once. The crate asks only at its own elections whether it may.
    pub fn campaign(&mut self) -> Result<(), GroupError> {
        if !self.raft.raft.promotable() {
            return Err(GroupError("it has no vote in the group".into()));
        }
        if self.installing.is_some() {
            return Err(GroupError("a checkpoint is being installed".into()));
        }
        if self.promise.holds() {
            return Err(GroupError("the own vote is promised".into()));
        }
        let result = self.raft.campaign();
        self.settle();
        Ok(result?)
    }

    /// Appends bytes to the log if this node leads; they get this index.
    pub fn propose(&mut self, payload: Bytes) -> Result<Index, Refusal> {
        if is_taken(Point::ProposalRefused) {
            return Err(Refusal::Busy);
        }
        self.append(raft::eraftpb::Entry { data: payload, ..Default::default() })
    }

    fn append(&mut self, entry: raft::eraftpb::Entry) -> Result<Index, Refusal> {
        if self.role() != Role::Leader {
            return Err(Refusal::NotLeader(self.leader()));
        }
        let mut proposal = Message::default();
        proposal.set_msg_type(MessageType::MsgPropose);
        proposal.from = self.raft.raft.id;
        proposal.set_entries(vec![entry].into());
        let result = self.raft.raft.step(proposal);
        self.settle();
        match result {
            Ok(()) => {
                self.note_told();
                Ok(Index(self.raft.raft.raft_log.last_index()))
            }
            Err(_) => Err(Refusal::Busy),
        }
    }

    /// Asks for the index that a read must have applied to see everything acknowledged before now;
    /// [`Work::reads`] gives it under `ticket`. Nothing comes if there is no majority, or this node
    /// does not lead. Others' are not taken: one that came twice would be asked under the same name
    /// again, and late answers to the first would confirm what was asked between.
    pub fn read(&mut self, ticket: u64) {
        if self.role() == Role::Leader {
            self.raft.read_index(context(HOST_READ, ticket));
            self.settle();
        }
    }

    /// A message came from another node. `is_here` says whether the host has the checkpoint of an
    /// index: without it, it is not installed. What a node said to have may have gone with a crash.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        is_here: impl FnOnce(Index) -> bool,
    ) -> Result<(), GroupError> {
        let message =
            Message::parse_from_bytes(bytes).map_err(|error| GroupError(error.to_string()))?;
        let asks_read = message.get_msg_type() == MessageType::MsgReadIndex;
        let installs = message.get_msg_type() == MessageType::MsgSnapshot;
        if installs && !is_here(Index(message.get_snapshot().get_metadata().index)) {
            return Ok(());
        }
        if self.installing.is_some() || self.promise.forbids(&message) || asks_read {
            return Ok(());
        }
        let (leads, from) = (promise::is_of_leader(&message), message.from);
        if is_planted(Fault::LearnerCounted) {
            self.count_for_voter(&message);
        }
        let result = self.raft.step(message);
        if leads && self.raft.raft.leader_id == from {
            self.promise.renew();
        }
        self.settle();
        match result {
            // From one that is no member any more, or not yet.
            Ok(()) | Err(raft::Error::StepPeerNotFound | raft::Error::ProposalDropped) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What is to be done now, if anything is.
    pub fn poll(&mut self) -> Option<Work> {
        if self.outbox.is_empty() && !self.raft.has_ready() {
            return None;
        }
        let mut work = Work::default();
        if self.raft.has_ready() {
            let ready = self.raft.ready();
            self.take_ready(ready, &mut work);
        }
        let messages = without_superseded(std::mem::take(&mut self.outbox));
        work.messages.extend(messages.iter().filter_map(|message| {
            let bytes = message.write_to_bytes().ok()?;
            let checkpoint = (message.get_msg_type() == MessageType::MsgSnapshot)
                .then(|| Index(message.get_snapshot().get_metadata().index));
            Some(Envelope { to: NodeId(message.to), bytes, checkpoint })
        }));
        self.settle();
        Some(work)
    }

    fn take_ready(&mut self, mut ready: Ready, work: &mut Work) {
        work.number = ready.number();
        if let Some(state) = ready.hs() {
            let voted_for = (state.vote != 0).then_some(NodeId(state.vote));
            let vote = Vote { term: Term(state.term), voted_for };
            work.vote = (vote != self.vote).then_some(vote);
            self.vote = vote;
        }
        if !ready.snapshot().is_empty() {
            let base = Base::of_message(ready.snapshot()).without(&self.lost);
            self.members = base.members.clone();
            self.said_version = self.said_version.max(self.members.roster.version);
            self.raft.mut_store().reset(base.clone());
            self.installing = Some((work.number, base.index));
            work.install = Some(base);
        }
        work.entries = ready.entries().iter().map(Into::into).collect();
        let said = work.entries.iter().map(payload::said_version);
        self.said_version = said.fold(self.said_version, Version::max);
        self.raft.mut_store().append(ready.entries());
        for read in ready.take_read_states() {
            self.on_confirmed(&read.request_ctx, read.index, work);
        }
        let committed = ready.take_committed_entries();
        self.outbox.append(&mut ready.take_messages());
        let held = ready.take_persisted_messages();
        self.raft.advance_append_async(ready);
        self.take_committed(&committed, work);
        if is_planted(Fault::GroupAnswersBeforeSync) {
            self.outbox.extend(held);
        } else {
            self.waiting.push_back((work.number, held));
        }
        if work.must_write() {
            self.unwritten.push_back(work.number);
        } else if self.unwritten.is_empty() {
            self.on_durable(work.number);
        }
    }

    fn take_committed(&mut self, committed: &[raft::eraftpb::Entry], work: &mut Work) {
        for entry in committed {
            if entry.get_entry_type() == EntryType::EntryConfChangeV2
                && let Ok(change) = ConfChangeV2::parse_from_bytes(&entry.data)
            {
                self.apply_change(change);
                let members = self.members.clone();
                work.members.push((Term(entry.term), Index(entry.index), members));
            }
            work.committed.push(entry.into());
        }
        if let Some(last) = committed.last() {
            self.raft.advance_apply_to(last.index);
        }
    }

    fn on_confirmed(&mut self, context: &[u8], index: u64, work: &mut Work) {
        let Some((kind, number)) = context.split_first() else { return };
        let Ok(number) = number.try_into().map(u64::from_le_bytes) else { return };
        if *kind == LEASE_ROUND {
            self.lease.on_confirmed(number, self.lease_timeout_ns());
        } else {
            work.reads.push((number, Index(index)));
        }
    }

    /// What [`Work`] of this number, and every one before, had to write is on stable storage.
    pub fn on_durable(&mut self, number: u64) {
        while self.unwritten.front().is_some_and(|own| *own <= number) {
            self.unwritten.pop_front();
        }
        // What had nothing to write but came behind is durable with it.
        let until = self.unwritten.front().map_or(u64::MAX, |next| next - 1);
        let mut durable = number;
        while let Some((own, _)) = self.waiting.front()
            && *own <= until
        {
            durable = durable.max(*own);
            let (_, mut messages) = self.waiting.pop_front().unwrap_or_default();
            self.outbox.append(&mut messages);
        }
        self.raft.on_persist_ready(durable);
        if let Some((own, index)) = self.installing
            && own <= durable
        {
            self.installing = None;
            self.raft.advance_apply_to(index);
        }
        self.settle();
    }

    /// This node leads, has committed an entry of its term, and no other can lead at this time:
    /// its own committed entries are all that anybody can have seen.
    pub fn holds_lease(&self, now_ns: u64) -> bool {
        let held = self.lease.holds(now_ns) || is_planted(Fault::LeaseForEver);
        held && self.role() == Role::Leader && self.raft.raft.commit_to_current_term()
    }

    /// When the lease ends, as far as is known now; zero where there is none.
    pub fn leased_until_ns(&self) -> u64 {
        match self.role() == Role::Leader && self.raft.raft.commit_to_current_term() {
            true if is_planted(Fault::LeaseForEver) => u64::MAX,
            true => self.lease.until_ns(),
            false => 0,
        }
    }

    /// What must be so after each call: a new term or role ends a lease, and chance is ours.
    fn settle(&mut self) {
        let now = (self.term(), self.role());
        if now != self.seen {
            self.seen = now;
            self.lease.reset();
            self.draw_election_timeout();
        }
        // The crate draws its own in places; none of those counts.
        self.raft.raft.set_randomized_election_timeout(self.election_timeout);
    }

    fn draw_election_timeout(&mut self) {
        let ticks = self.config.election_ticks;
        let drawn = self.chance.below(ticks as u64) as usize;
        let drawn = buggify::limit(Point::ElectionSoon, drawn, 0);
        let reluctance = if self.reluctant { RELUCTANT_TIMEOUTS * ticks } else { 0 };
        self.election_timeout = self.config.patience_ticks + reluctance + ticks + drawn;
    }

    /// Leaves the oldest entries to the log on disk until no more than so many bytes are left, but
    /// none behind `applied` or that is not there yet, and none that a majority may yet have to be
    /// given.
    pub fn forget_beyond(&mut self, bytes_max: usize, applied: Index) {
        let bytes_max = buggify::limit(Point::EntriesForgotten, bytes_max, 0);
        if self.raft.store().bytes() > bytes_max {
            let log = &self.raft.raft.raft_log;
            let there = log.applied.min(log.persisted).min(applied.0);
            let needed = self.needed_by_majority();
            self.raft.mut_store().forget_beyond(bytes_max, there.min(needed));
        }
    }

    /// Forgets entries up to here, on disk too; they must be applied. Who lacks them gets a
    /// checkpoint.
    pub fn forget(&mut self, index: Index) {
        let applied = self.raft.raft.raft_log.applied;
        self.raft.mut_store().forget(index.0.min(applied));
    }

    /// A checkpoint that may be sent to who is too far behind, or new: it must know of them.
    pub fn offer(&mut self, checkpoint: Base) {
        self.raft.mut_store().offer(checkpoint);
    }

    /// A checkpoint that was offered is of no use.
    pub fn withdraw(&mut self, index: Index) {
        self.raft.mut_store().withdraw(index);
    }

    /// Nodes that need a checkpoint newer than the one offered, since this was asked last.
    pub fn wanting_checkpoint(&mut self) -> impl Iterator<Item = NodeId> {
        self.raft.mut_store().take_wanting().into_iter()
    }

    /// The checkpoint that an [`Envelope`] told of has arrived there, or will not.
    pub fn on_checkpoint_sent(&mut self, to: NodeId, arrived: bool) {
        let status = if arrived { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
        self.raft.report_snapshot(to.0, status);
        self.settle();
    }
}

/// What is committed in a log for sure. A change of members is proposed only once the one before is
/// applied, so all but the last in a log are committed. To begin with less would be to stand for
/// election among members of long ago, who may not be a majority of today's.
fn committed_at_least(start: &GroupStart) -> u64 {
    let open = start.entries.iter().rev().filter(|entry| entry.index > start.applied);
    let mut changes = open.filter(|entry| entry.kind == EntryKind::Members);
    let settled = changes.nth(1).map_or(0, |entry| entry.index.0);
    start.applied.0.max(start.committed.0).max(settled)
}

fn context(kind: u8, number: u64) -> Vec<u8> {
    let mut context = vec![kind];
    context.extend_from_slice(&number.to_le_bytes());
    context
}
