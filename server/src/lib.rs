//! The server process.
//!
//! # Layout
//! - [`startup`]: from flags to running cores. [`config`]: what an operator sets.
//! - [`core`]: a core's logic and its turn. [`dispatch`]: from bytes to commands that run.
//! - [`resp`]: the protocol. [`connection`]: one client. [`commit`]: what replies wait for.
//! - [`links`]: connections with the cores of other nodes. [`replica`]: shards that those have too.
//! - [`pubsub`]: channels, and who listens.
//! - [`tunnel`]: clients of a node that follows reach the primary.
//! - [`checkpoint`]: shards as files, and the log cut short behind them.
//! - [`admin`]: commands about the server. [`memory`]: what the process uses.
//! - [`runtime`]: threads, sockets, files and io_uring: what drives a core. [`glue`]: how the log's
//!   operations become the runtime's.
//! - [`limits`]: every bound.

pub mod admin;
pub mod checkpoint;
pub mod commit;
pub mod config;
pub mod connection;
pub mod core;
pub mod dispatch;
pub mod glue;
pub mod limits;
pub mod links;
pub mod memory;
pub mod pubsub;
pub mod replica;
pub mod resp;
pub mod runtime;
pub mod startup;
pub mod tunnel;
