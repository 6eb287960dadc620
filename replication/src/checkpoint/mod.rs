//! Checkpoint files: how payload blocks lie in one, how one is written so that it is whole or
//! absent, and which of those found is to be used. `FORMAT.md` has the bytes. No I/O of its own.
//!
//! A checkpoint may only get its name once its index is released: committed, and past no
//! undecided transaction (`release`). The caller sees to that before [`CheckpointWriter::finish`];
//! it waits with that call as long as it takes.
//!
//! - [`file`]: header, blocks and trailer as bytes.
//! - [`writer`]: from blocks to a named file, step by step. [`reader`]: from a file to blocks.
//! - [`catalogue`]: the newest good one, what may go, and from where on the log is needed.

pub mod catalogue;
pub mod file;
pub mod reader;
#[cfg(test)]
mod tests;
pub mod writer;

pub use catalogue::{Decision, Found, decide};
pub use file::{CheckpointIdentity, FileError, OfGroup, Summary};
pub use reader::{CheckpointReader, CheckpointSource};
pub use writer::{Abandoned, CheckpointWriter, FileOperation, Outcome};
