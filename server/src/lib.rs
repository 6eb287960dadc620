//! The server process.
//!
//! # Layout
//! - [`core`]: a core's logic.
//! - [`runtime`]: threads, sockets, files and io_uring: what drives a core.

pub mod core;
pub mod runtime;
