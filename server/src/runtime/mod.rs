//! The only place that knows io_uring, threads, sockets and files: it drives one [`Machine`] a
//! core.
//!
//! A turn of a core, in `driver`:
//! ```text
//! enter (submit everything, wait) → collect completions → snapshot of the mesh rings → begin_turn
//! →
//! mesh messages → what the completions brought → end_turn → outputs become submissions
//! ```
//! One `io_uring_enter` a turn; no allocation, lock or further system call a request.
//!
//! # Layout
//! - [`threads`]: start, readiness, signals, the end. Read first.
//! - [`config`]: what a start can ask for. [`error`]: every way it can fail. [`limits`]: every
//!   constant.
//! - [`probe`]: is this kernel enough, and if not, what to do. [`signals`]: errors in their place.
//! - `driver`: one core's loop. `ring`: the queues. `token`: what a completion belongs to.
//! - `buffers`: memory for receives. `socket`: options of sockets. `listeners`: accepting. `dials`:
//!   connecting to other nodes. `connections`: what a core is connected with.
//! - `mesh`: rings between cores, hand-over of connections. `wake`: how a sleeping core is woken.
//! - `timer`: clocks and deadlines. [`host`]: what a machine may ask for in the middle of a turn.
//! - [`file`]: log writes, segments and what is written beside the log, through the ring.
//!   [`disk`]: blocking reads at start, the data directory's lock. [`jobs`]: what blocks for long.
//!
//! Invariant: an operation owns its buffer until its completion has been collected; a ring is
//! closed
//! before any buffer it may know is freed.
//! Absent on purpose: commands, replies, Redis, limits on clients. Those are the machine's.
//!
//! [`Machine`]: crate::core::io::Machine

mod buffers;
pub mod config;
mod connections;
mod dials;
pub mod disk;
mod driver;
pub mod error;
pub mod file;
pub mod host;
pub mod jobs;
pub mod limits;
mod listeners;
mod mesh;
pub mod probe;
mod ring;
pub mod signals;
mod socket;
pub mod threads;
mod timer;
mod token;
mod wake;

#[cfg(test)]
mod tests;

pub use config::{Config, CoreId, LogConfig};
pub use error::RuntimeError;
pub use threads::{Drives, Running, run, start};
