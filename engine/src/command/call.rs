//! One run of a command: what it is given and what it leaves.

use crate::args::Args;
use crate::error::{CommandError, CommandResult};
use crate::keyspace::Space;
use crate::reply::Reply;
use crate::rng::Rng;

/// Who runs a command.
#[derive(Clone, Copy)]
pub enum Run {
    /// The engine: it reads or changes keys.
    Engine(fn(&mut Call<'_, '_>) -> CommandResult),
    /// The server: it concerns the connection, the process or a transaction.
    Server(ServerCommand),
    /// Nobody: its subcommands do.
    Container,
}

/// The commands that the server runs itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServerCommand {
    /// READONLY, READWRITE and ASKING, which only a cluster answers.
    Asking,
    Auth,
    Bgsave,
    ClientCommand,
    Command,
    Config,
    Debug,
    Discard,
    Echo,
    Exec,
    Failover,
    Hello,
    /// HELP of any container.
    Help,
    Info,
    Lastsave,
    Latency,
    Lolwut,
    Memory,
    Multi,
    /// Who is in the cluster, and changes of that.
    Nodes,
    Ping,
    /// PUBLISH and SPUBLISH.
    Publish,
    /// Who listens to what.
    Pubsub,
    Quit,
    Reset,
    Role,
    Save,
    Select,
    Shutdown,
    Slowlog,
    /// SUBSCRIBE, UNSUBSCRIBE and their kin.
    Subscribe,
    Time,
    Unwatch,
    Wait,
    Waitaof,
    Watch,
}

/// What a blocking command asks for when there is nothing to serve it now.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// Argument positions of the keys to wait for.
    pub keys: Vec<usize>,
    /// 0: for ever.
    pub timeout_ms: u64,
    /// The reply inside a transaction, where nothing waits. When its time is over, every command
    /// answers a null array.
    pub in_transaction: NothingReply,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NothingReply {
    Null,
    NullArray,
}

impl NothingReply {
    pub fn write(self, reply: &mut Reply<'_>) {
        match self {
            NothingReply::Null => reply.null(),
            NothingReply::NullArray => reply.null_array(),
        }
    }
}

/// `'a` outlives the call: arguments and the keyspace; `'r` is the reply being written.
pub struct Call<'a, 'r> {
    pub args: Args<'a>,
    pub space: Space<'a>,
    pub reply: Reply<'r>,
    pub rng: &'a mut Rng,
    /// Set by a blocking command that found nothing; it has written no reply then.
    pub block: Option<Block>,
}

/// Runs an engine command. An error takes back what was written of the reply and stands instead.
/// Returns whether it was an error.
pub fn run(handler: fn(&mut Call<'_, '_>) -> CommandResult, call: &mut Call<'_, '_>) -> bool {
    let start = call.reply.position();
    match handler(call) {
        Ok(()) => false,
        Err(CommandError(text)) => {
            call.reply.truncate(start);
            call.reply.error(&text);
            call.block = None;
            true
        }
    }
}
