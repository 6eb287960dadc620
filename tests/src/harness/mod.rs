//! A server under test and a client for it.
//!
//! - [`server`]: starts, kills and stops the real binary. [`client`]: speaks RESP to it.
//! - [`cluster`]: several of them; [`network`]: each in a network of its own, cut and slowed down.
//! - [`ports`]: those that servers are told.
//! - [`cases`]: what many tests do with them.

pub mod cases;
pub mod client;
pub mod cluster;
pub mod network;
pub mod ports;
pub mod server;

pub use client::{Client, Value};
pub use cluster::Cluster;
pub use server::Server;
