//! A server under test and a client for it.
//!
//! - [`server`]: starts, kills and stops the real binary. [`client`]: speaks RESP to it.

pub mod client;
pub mod server;

pub use client::{Client, Value};
pub use server::Server;
