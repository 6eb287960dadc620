//! What a core may ask of its machine in the middle of a turn: the few things that cannot wait for
//! the turn's outputs. The runtime answers with the real machine, a simulator with its own.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::links::identity::Acquaintances;

pub trait Host: Send {
    /// The monotonic clock now; `Now` has what it was when the turn began. Some 25 ns: not for
    /// every command.
    fn monotonic_ns(&self) -> u64;

    /// What the calling thread has used of a processor, in user and system time. A system call, a
    /// fraction of a microsecond: not for every turn.
    fn thread_cpu_ns(&self) -> u64;

    /// Does nothing for so long, and lets this core do nothing (DEBUG SLEEP).
    fn sleep_ns(&self, ns: u64);

    /// Whom this node knows.
    fn acquaintances(&self) -> Arc<dyn Acquaintances>;

    fn read_text(&self, path: &Path) -> io::Result<String>;

    /// Replaces a file by one with this text: durable and whole, or as it was.
    fn replace_text(&self, path: &Path, text: &str) -> io::Result<()>;
}
