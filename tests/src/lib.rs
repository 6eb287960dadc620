//! Tests of the whole: the real binary, crashes, the protocol as clients see it.
//!
//! # Layout
//! - [`harness`]: a server under test and a client for it.
//! - [`differential`]: random commands to Redis and Quoring, and where they differ.
//! - [`transcript`]: replies of real servers, recorded and replayed.
//! - `tests/crash.rs`: kill -9 under load. `tests/protocol.rs`: what clients rely on.

pub mod differential;
pub mod harness;
pub mod transcript;
