//! What a group is started with, what it asks its host for, and how it refuses.

use super::terms::TermRuns;
use super::{Base, Entry, Members, NodeId, Vote};
use crate::ids::{Index, Term};

/// How a group keeps time and how much it sends ahead.
#[derive(Clone, Copy, Debug)]
pub struct GroupConfig {
    pub tick_ns: u64,
    /// Ticks between heartbeats.
    pub heartbeat_ticks: usize,
    /// Ticks without a leader after which a node stands for election: this many to twice as many.
    pub election_ticks: usize,
    /// Ticks beyond those in which a replica does not stand for election: others go first.
    pub patience_ticks: usize,
    /// Bytes of entries in one message.
    pub message_bytes_max: u64,
    /// Messages with entries under way to one node.
    pub messages_in_flight_max: usize,
    /// Bytes of entries that are not committed; more are refused. With [`u64::MAX`] the crate does
    /// not count them, and [`super::Group::uncommitted_bytes`] is of no use.
    pub uncommitted_bytes_max: u64,
}

/// What a start has: from the checkpoint and the log.
#[derive(Clone, Debug, Default)]
pub struct GroupStart {
    /// The entry before those in `entries`, and the members as of `applied`.
    pub base: Base,
    /// What the host's state is as of, at or behind the base.
    pub applied: Index,
    /// A checkpoint that may be offered to others.
    pub checkpoint: Option<Base>,
    pub vote: Vote,
    /// What the log says to be committed, at least.
    pub committed: Index,
    /// Behind the base, without a gap.
    pub entries: Vec<Entry>,
    /// The terms of entries up to the base that can be read from the log.
    pub terms: TermRuns,
    /// Nodes that do not count any more, whatever the log says: all others went on without them.
    pub lost: Vec<NodeId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Follower,
    Candidate,
    Leader,
}

/// A message to another node's replica of the same group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub to: NodeId,
    pub bytes: Vec<u8>,
    /// It tells of the checkpoint as of this entry, and must not arrive before that has; the host
    /// says with [`Group::on_checkpoint_sent`] how that went.
    pub checkpoint: Option<Index>,
}

/// What the host has to do, in this order; it may do the writes and the sends side by side.
#[derive(Debug, Default)]
pub struct Work {
    /// Give this to [`Group::on_durable`] once `vote` and `entries` are on stable storage.
    pub number: u64,
    /// Replaces the vote of before.
    pub vote: Option<Vote>,
    /// An entry whose index is there already replaces it and all behind it.
    pub entries: Vec<Entry>,
    /// The state must become that of a checkpoint as of here, and the log begin behind it.
    pub install: Option<Base>,
    pub messages: Vec<Envelope>,
    /// To be applied, in order.
    pub committed: Vec<Entry>,
    /// What the members are as of each of them that changes those. A restart that finds less of the
    /// log decided needs every one.
    pub members: Vec<(Term, Index, Members)>,
    /// Reads that were asked for with [`Group::read`]: what they need is applied once `Index` is.
    pub reads: Vec<(u64, Index)>,
}

impl Work {
    pub fn must_write(&self) -> bool {
        self.vote.is_some() || !self.entries.is_empty() || self.install.is_some()
    }
}

/// A proposal, or a change of members, was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Somebody else leads, if it is known who.
    NotLeader(Option<NodeId>),
    /// Too much is not committed yet, or leadership is being handed over.
    Busy,
}

/// A start, or a message, that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupError(pub String);

impl std::fmt::Display for GroupError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for GroupError {}

impl From<raft::Error> for GroupError {
    fn from(error: raft::Error) -> GroupError {
        GroupError(error.to_string())
    }
}
