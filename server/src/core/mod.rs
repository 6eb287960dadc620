//! A core's logic: deterministic, no I/O of its own.

pub mod io;
