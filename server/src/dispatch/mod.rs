//! From a client's bytes to a command that runs where its shards are.
//!
//! # Layout
//! - [`clients`]: connections come, send, read and go.
//! - [`ahead`]: a pipeline is read some commands ahead.
//! - [`route`]: which shards a command needs.
//! - [`local`]: a command runs here; [`transaction`]: MULTI, EXEC, WATCH.
//! - [`forward`]: its one shard is another core's; [`gathering`]: its shards are several cores'.
//! - [`blocking`]: it waits for a key; [`parked`]: it waits for a shard that is away;
//!   [`behind`]: it waits until what came before it is released.
//! - [`log_done`]: the log answers; [`housekeeping`]: what is done between commands.
//! - [`links`]: what other nodes say goes to the core that it is for.
//! - [`unread`]: clients that leave too much unread; [`eviction`]: too much memory is used.

pub mod ahead;
pub mod behind;
pub mod blocking;
pub mod clients;
pub mod eviction;
pub mod forward;
pub mod gathering;
pub mod housekeeping;
pub mod links;
pub mod local;
pub mod log_done;
pub mod parked;
pub mod route;
pub mod transaction;
pub mod unread;
