//! What the cores of one node say to each other. Only pointers and small values move.

use engine::args::OwnedArgs;
use engine::keyspace::Shard;
use engine::keyspace::waiters::Waiter;
use engine::reply::Protocol;

use super::io::ConnId;

pub enum Message {
    /// Run a command on one of the receiver's shards and answer under the ticket.
    Run(Box<ForwardedCommand>),
    /// The answer: released, ready to be sent.
    Answer {
        conn: ConnId,
        ticket: u64,
        bytes: Vec<u8>,
    },
    /// A gathering on its way through the owners, in ascending order.
    Gather(Box<Gather>),
    /// Shards come home. `gathering` is told when what it left in them is released.
    Home {
        shards: Vec<Box<Shard>>,
        origin: u16,
        gathering: Option<u64>,
    },
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
}

/// A watch that ends.
pub type UnwatchedKey = crate::connection::WatchedKey;

pub struct ForwardedCommand {
    pub from: u16,
    pub conn: ConnId,
    pub ticket: u64,
    pub shard: u16,
    pub db: u16,
    pub protocol: Protocol,
    pub command: OwnedArgs,
}

pub struct Gather {
    pub origin: u16,
    pub id: u64,
    /// Shards still to be collected, ascending.
    pub wanted: Vec<u16>,
    pub collected: Vec<Box<Shard>>,
}
