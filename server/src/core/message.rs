//! What the cores of one node say to each other. Only pointers and small values move.

use std::sync::Arc;

use engine::args::{ArgsBatch, OwnedArgs};
use engine::command::spec::CommandSpec;
use engine::keyspace::waiters::Waiter;
use engine::keyspace::{KeyPlace, Shard};
use engine::reply::Protocol;
use replication::release::{Report, Transaction};

use super::io::ConnId;
use crate::pubsub::publish::Publication;
use crate::replica::handover::Drained;
use crate::replica::members::Followed;
use crate::replica::peers::GroupsHave;
use crate::replica::period::{Period, Stand, Word};

pub enum Message {
    /// Run commands on the receiver's shards and answer each under its ticket.
    Run(Box<ForwardedCommands>),
    /// Answers: released, ready to be sent.
    Answers(Box<Answers>),
    /// A gathering on its way through the owners, in ascending order.
    Gather(Box<Gather>),
    /// Shards come home. `gathering` is told when what it left in them is released.
    Home {
        shards: Vec<Box<Shard>>,
        origin: u16,
        gathering: Option<u64>,
        /// What the open entries of those shards that it names are part of.
        transaction: Option<Arc<Transaction>>,
    },
    /// What the sender's start had to write to its log is on its disk.
    Started,
    /// Messages of other nodes for groups of the receiver's shards.
    GroupMessages(Box<crate::links::batch::GroupMessages>),
    /// How the sender stands, for the first core; what that one says is next.
    Stand(Box<Stand>),
    Word(Box<Word>),
    /// Whom the sender's groups have, and how far they are with what is planned for them.
    GroupsHave(Box<GroupsHave>),
    Followed(Box<Followed>),
    /// The sender has nothing under way that would keep this node from handing over the lead.
    Drained(Box<Drained>),
    /// Whether the sender, which stops, has answered all its clients.
    Quiet {
        from: u16,
        quiet: bool,
    },
    /// The sender's parts of transactions are committed.
    Reports(Vec<Report>),
    /// What a gathering left in the sender's shards is released.
    Released {
        gathering: u64,
    },
    /// A key that a blocked client waits for may serve it now.
    Wake {
        ticket: u64,
    },
    /// A blocked client waits no more for these keys of the receiver's shards.
    Forget {
        db: u16,
        keys: OwnedArgs,
        waiter: Waiter,
    },
    /// Ends watches on keys of the receiver's shards.
    Unwatch(Vec<UnwatchedKey>),
    /// A command that the sender ran for the receiver's client was slow.
    Slow {
        conn: ConnId,
        slow: Box<crate::admin::slowlog::SlowCommand>,
    },
    /// What the sender uses of the memory that all cores share.
    Memory {
        from: u16,
        report: super::account::MemoryReport,
    },
    /// Something for every core: settings, statistics, clients.
    Ask {
        from: u16,
        ticket: u64,
        question: crate::admin::everywhere::Question,
    },
    Told {
        ticket: u64,
        answer: crate::admin::everywhere::Answer,
    },
    /// What the sender's clients have published, for those of the receiver's that listen; and how
    /// many bytes of the receiver's the sender has delivered.
    Published {
        from: u16,
        publications: Vec<Arc<Publication>>,
    },
    Delivered {
        bytes: usize,
    },
    /// Who asked which nodes have something waits for no more of them.
    WaitEnded(crate::admin::wait::Asker),
}

impl Message {
    /// Whether it may not overtake commands that the sender forwarded before it.
    pub fn stays_behind_commands(&self) -> bool {
        use Message::{Ask, Forget, Gather, Run, Unwatch, WaitEnded};
        matches!(self, Run(_) | Gather(_) | Forget { .. } | Unwatch(_) | Ask { .. } | WaitEnded(_))
    }
}

/// A watch that ends.
pub type UnwatchedKey = crate::connection::watched::WatchedKey;

/// The commands of one turn for shards of one other core, in the order in which they came.
#[derive(Default)]
pub struct ForwardedCommands {
    pub from: u16,
    pub heads: Vec<ForwardedHead>,
    pub words: ArgsBatch,
}

/// One forwarded command, without its words.
#[derive(Clone, Copy)]
pub struct ForwardedHead {
    pub spec: &'static CommandSpec,
    pub conn: ConnId,
    pub ticket: u64,
    pub shard: u16,
    /// Of the second word, which is the key in nearly all commands.
    pub key_place: Option<KeyPlace>,
    pub db: u16,
    pub protocol: Protocol,
    /// CLIENT NO-TOUCH.
    pub no_touch: bool,
    /// READONLY.
    pub reads_replica: bool,
    /// In which it was sent.
    pub period: Period,
    /// Its words in the batch: number of the command and how many they are.
    pub words: (u32, u32),
}

/// Answers to forwarded commands, for connections of one core.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answers {
    heads: Vec<AnswerHead>,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AnswerHead {
    conn: ConnId,
    ticket: u64,
    len: usize,
}

impl Answers {
    pub fn push(&mut self, conn: ConnId, ticket: u64, answer: &[u8]) {
        self.heads.push(AnswerHead { conn, ticket, len: answer.len() });
        self.bytes.extend_from_slice(answer);
    }

    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub fn clear(&mut self) {
        self.heads.clear();
        self.bytes.clear();
    }

    /// Each answer with its connection and ticket, in the order in which they were pushed.
    pub fn iter(&self) -> impl Iterator<Item = (ConnId, u64, &[u8])> {
        let mut start = 0;
        self.heads.iter().map(move |head| {
            let from = start;
            start += head.len;
            (head.conn, head.ticket, &self.bytes[from..start])
        })
    }
}

pub struct Gather {
    pub origin: u16,
    pub id: u64,
    /// Shards still to be collected, ascending.
    pub wanted: Vec<u16>,
    pub collected: Vec<Box<Shard>>,
    /// In which it set out.
    pub period: Period,
    /// It could not go on: what it has goes home, and it sets out again.
    pub is_turned_back: bool,
}
