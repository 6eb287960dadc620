//! Tests of the whole: the real binary, crashes, the protocol as clients see it.
//!
//! # Layout
//! - [`harness`]: a server under test and a client for it.
//! - [`sim`]: the real cores on a virtual disk, network and clock.
//! - [`cluster_sim`]: several nodes of them in one thread, with faults between and in them.
//! - [`rot`]: every byte of a data directory damaged, one at a time.
//! - [`differential`]: random commands to Redis and Quoring, and where they differ.
//! - [`transcript`]: replies of real servers, recorded and replayed.
//! - [`fuzz`]: cases made from a seed for what reads bytes of clients and disks.
//! - `tests/clients.rs` and the folder `clients`: real client libraries.
//! - `tests/crash.rs`: kill -9 under load. `tests/protocol.rs`: what clients rely on.

pub mod cluster_sim;
pub mod differential;
pub mod fuzz;
pub mod harness;
#[cfg(test)]
mod rot;
pub mod sim;
pub mod transcript;
