//! The server process.
//!
//! # Layout
//! - [`startup`]: from flags to running cores. [`config`]: what an operator sets.
//! - [`core`]: a core's logic and its turn. [`dispatch`]: from bytes to commands that run.
//! - [`resp`]: the protocol. [`connection`]: one client. [`commit`]: what replies wait for.
//! - [`admin`]: commands about the server. [`memory`]: what the process uses.
//! - [`limits`]: every bound.

pub mod admin;
pub mod commit;
pub mod config;
pub mod connection;
pub mod core;
pub mod dispatch;
pub mod limits;
pub mod memory;
pub mod resp;
