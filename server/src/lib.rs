//! The server process.
//!
//! # Layout
//! - [`core`]: a core's logic.

pub mod core;
