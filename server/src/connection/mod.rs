//! A client's connection: what it said that has not run yet, what it is to be told, and its state.
//! Lives on one core.

pub mod replies;
pub mod table;
pub mod watched;

use std::net::SocketAddr;

use engine::args::OwnedArgs;
use engine::command::spec::CommandSpec;
use engine::keyspace::waiters::Awaited;
use engine::reply::Protocol;
use engine::table::alloc_size;

use crate::admin::wait::NodeWait;
use crate::core::io::{ConnId, Now};
use crate::pubsub::Kind;
use crate::pubsub::publish::Publication;
use crate::pubsub::subscriptions::Subscriptions;
use crate::resp::parser::Parser;
use crate::tunnel::{Tunnel, Until};
use replies::Replies;
use watched::Watched;

/// What CLIENT REPLY asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplyMode {
    #[default]
    On,
    Off,
    /// Off for the next command only.
    SkipNext,
    /// Off for the command that runs now.
    Skipping,
}

/// Why a connection's next command does not run yet.
#[derive(Debug, Default)]
pub enum Waiting {
    #[default]
    Nothing,
    /// Its command waits for shards that are on their way.
    Shards { command: OwnedArgs },
    /// A blocking command waits for a key.
    Key(BlockedCommand),
    /// WAIT waits until nodes have what it wrote.
    Nodes(NodeWait),
    /// Its command waits until everything before it is released.
    Release { command: OwnedArgs },
    /// Its command waits until CLIENT PAUSE is over.
    Pause { command: OwnedArgs },
    /// What its transaction published is heard once everything before is released.
    Publishing(Vec<Publication>),
    /// Its command, if there is one, waits for something between this node and the primary.
    Tunnel { command: Option<OwnedArgs>, until: Until },
    /// An answer of another core must arrive before anything else may run.
    Answer,
}

/// A command such as BLPOP that found nothing.
#[derive(Debug)]
pub struct BlockedCommand {
    pub command: OwnedArgs,
    /// Under which it is registered with the shards of its keys.
    pub ticket: u64,
    /// Positions of its keys in `command`.
    pub keys: Vec<usize>,
    pub awaited: Awaited,
    /// Monotonic nanoseconds; `None` waits for ever.
    pub deadline_ns: Option<u64>,
    /// It was woken and its command is on the way to the shards.
    pub retrying: bool,
}

/// Commands between MULTI and EXEC.
#[derive(Debug, Default)]
pub struct Transaction {
    commands: Vec<OwnedArgs>,
    /// Of the commands' words.
    bytes: usize,
    /// What the commands take, without their places in the list.
    memory_bytes: usize,
    /// A command could not be queued: EXEC will refuse.
    pub failed: bool,
    /// One of them asks which nodes have what was written before.
    pub waits: bool,
}

impl Transaction {
    pub fn add(&mut self, command: OwnedArgs) {
        self.bytes += command.bytes();
        self.memory_bytes += command.memory_bytes();
        self.commands.push(command);
    }

    pub fn commands(&self) -> &[OwnedArgs] {
        &self.commands
    }

    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes + alloc_size(self.commands.capacity() * size_of::<OwnedArgs>())
    }
}

#[derive(Debug)]
pub struct Connection {
    pub id: ConnId,
    /// As CLIENT ID gives it: unique in the process, never used again.
    pub client_id: u64,
    pub peer: SocketAddr,
    pub local: SocketAddr,
    /// Bytes received but not run.
    pub query: Vec<u8>,
    pub parser: Parser,
    pub replies: Replies,
    pub waiting: Waiting,
    pub db: u16,
    pub protocol: Protocol,
    pub authenticated: bool,
    pub transaction: Option<Transaction>,
    pub watched: Watched,
    /// What it listens to; `None` for nothing.
    pub subscriptions: Option<Box<Subscriptions>>,
    /// It listens to something at the primary, on a node that follows.
    pub subscribed_upstream: bool,
    pub reply_mode: ReplyMode,
    /// Entries of own shards that commands without a reply rest on, the last of each shard, unless
    /// it is known that they are released.
    pub unreleased: Vec<(u16, u64)>,
    pub name: Vec<u8>,
    pub library_name: Vec<u8>,
    pub library_version: Vec<u8>,
    pub no_evict: bool,
    pub no_touch: bool,
    /// READONLY: reads are answered here where another node leads.
    pub reads_replica: bool,
    /// What it has with the primary, on a node that follows.
    pub tunnel: Option<Box<Tunnel>>,
    /// Another node's client: that node speaks for it.
    pub tunnelled: bool,
    /// What that node is told at the end.
    pub farewell: Option<&'static [u8]>,
    /// `query` begins with what this node has noted of it, once for each: up to its end that is run
    /// beside the transaction that the client has open, which waits here.
    pub replays: Vec<Option<Transaction>>,
    /// The node where it watched keys leads no more: they count as changed.
    pub watch_lost: bool,
    /// Send what is there, then close.
    pub closing: bool,
    /// No more bytes come.
    pub ended: bool,
    /// What is in `query` is no whole command.
    pub needs_bytes: bool,
    /// On the core's list of connections with something to send.
    pub dirty: bool,
    /// On the core's list of connections with commands to run.
    pub runnable: bool,
    pub receive_paused: bool,
    /// Since when more is unread than the soft `client-output-buffer-limit` allows.
    pub soft_limit_since_ns: Option<u64>,
    /// When its socket was last given something to send, or took a part of it.
    pub taken_ns: u64,
    pub created_ns: u64,
    pub last_active_ns: u64,
    pub last_command: Option<&'static CommandSpec>,
    pub commands_total: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// What it took in memory when that was last looked at.
    pub noted_bytes: usize,
}

impl Connection {
    pub fn new(
        id: ConnId,
        client_id: u64,
        peer: SocketAddr,
        local: SocketAddr,
        authenticated: bool,
        now: Now,
    ) -> Connection {
        Connection {
            id,
            client_id,
            peer,
            local,
            query: Vec::new(),
            parser: Parser::default(),
            replies: Replies::default(),
            waiting: Waiting::Nothing,
            db: 0,
            protocol: Protocol::Resp2,
            authenticated,
            transaction: None,
            watched: Watched::default(),
            subscriptions: None,
            subscribed_upstream: false,
            reply_mode: ReplyMode::On,
            unreleased: Vec::new(),
            name: Vec::new(),
            library_name: Vec::new(),
            library_version: Vec::new(),
            no_evict: false,
            no_touch: false,
            reads_replica: false,
            tunnel: None,
            tunnelled: false,
            farewell: None,
            replays: Vec::new(),
            watch_lost: false,
            closing: false,
            ended: false,
            needs_bytes: false,
            dirty: false,
            runnable: false,
            receive_paused: false,
            soft_limit_since_ns: None,
            taken_ns: now.mono_ns,
            created_ns: now.mono_ns,
            last_active_ns: now.mono_ns,
            last_command: None,
            commands_total: 0,
            bytes_in: 0,
            bytes_out: 0,
            noted_bytes: 0,
        }
    }

    /// Whether the next command may run now.
    pub fn may_run(&self) -> bool {
        matches!(self.waiting, Waiting::Nothing) && !self.closing
    }

    /// Whether more replies are on their way from shards, without a client's doing.
    pub fn awaits_shards(&self) -> bool {
        match self.replies.has_held() {
            true => self.replies.awaits_answer_soon(),
            false => matches!(self.waiting, Waiting::Shards { .. }),
        }
    }

    /// CLIENT REPLY OFF or SKIP: what its commands answer is not sent.
    pub fn is_silent(&self) -> bool {
        matches!(self.reply_mode, ReplyMode::Off | ReplyMode::Skipping)
    }

    /// Keeps a place for the answer to a command, which stays empty if the client wants none.
    pub fn expect_answer(&mut self, ticket: u64, soon: bool) {
        let silent = self.is_silent();
        self.replies.expect_answer(ticket, soon, silent);
    }

    /// The same for a command of so many bytes that goes to another core.
    pub fn expect_forwarded(&mut self, ticket: u64, bytes: usize) {
        let silent = self.is_silent();
        self.replies.expect_forwarded(ticket, silent, bytes);
    }

    /// Whether it listens to any channel or pattern.
    pub fn is_subscribed(&self) -> bool {
        self.subscribed_upstream || self.subscriptions.is_some()
    }

    /// How many channels or patterns it listens to; those of a client of a node that follows are
    /// the primary's to say.
    pub fn subscription_count(&self, kind: Kind) -> usize {
        self.subscriptions.as_ref().map_or(0, |own| own.count(kind))
    }

    /// Whether the primary has something of it to answer, or will.
    pub fn is_tunnel_busy(&self) -> bool {
        self.tunnel.as_ref().is_some_and(|tunnel| !tunnel.queue.is_empty())
    }

    /// It waits for a key at the primary.
    pub fn blocks_upstream(&self) -> bool {
        self.tunnel.as_ref().is_some_and(|tunnel| tunnel.queue.has_blocking())
    }

    /// What it runs is what this node has noted of it, not what comes from the client.
    pub fn replays_own(&self) -> bool {
        !self.replays.is_empty()
    }

    fn open_transactions(&self) -> impl Iterator<Item = &Transaction> {
        self.transaction.iter().chain(self.replays.iter().flatten())
    }

    /// What it takes in memory.
    pub fn memory_bytes(&self) -> usize {
        let queued: usize = self.open_transactions().map(Transaction::memory_bytes).sum();
        let subscribed = self.subscriptions.as_ref().map_or(0, |own| own.memory_bytes());
        let passed = self.tunnel.as_ref().map_or(0, |tunnel| tunnel.memory_bytes());
        alloc_size(self.query.capacity())
            + passed
            + subscribed
            + queued
            + self.watched.memory_bytes()
            + self.replies.memory_bytes()
            + size_of::<Connection>()
    }

    /// What one client can make this core hold, for limits and CLIENT LIST.
    pub fn query_bytes(&self) -> usize {
        let queued: usize = self.open_transactions().map(|open| open.bytes).sum();
        self.query.len() + queued
    }
}
