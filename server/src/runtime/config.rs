//! What a start of the runtime can ask for. Plain values, read by `threads` and by each core.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::limits;

/// A core of this process: 0 up to one less than the number of cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CoreId(pub u16);

#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses on which every core accepts. Port 0 lets the kernel choose one for all cores.
    pub listen: Vec<SocketAddr>,
    /// The same for other nodes; empty for a node without others. Who comes by these is no client:
    /// not counted, and left with the core that accepted it.
    pub peer_listen: Vec<SocketAddr>,
    /// Cores, each a thread; `None` for one a processor this process may use. As many as those are
    /// pinned.
    pub cores: Option<usize>,
    /// Spin this long for work before a core sleeps.
    pub poll_us: u32,
    /// Seconds of silence before TCP probes a client, 0 for never.
    pub keepalive_s: u32,
    /// Clients the process wants to hold: descriptors are provided for as many.
    pub clients_max: u32,
    /// Where the cores' logs live; `None` for a cache without a log.
    pub log: Option<LogConfig>,
    /// SIGTERM and SIGINT ask the cores to stop. Off where several runtimes share a process
    /// (tests).
    pub signals: bool,
    pub sizes: Sizes,
}

/// Sizes that only tests and benches change.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub submission_entries: u32,
    pub completion_entries: u32,
    pub receive_buffers: u16,
    pub receive_buffer_bytes: usize,
    pub mesh_ring_messages: usize,
}

#[derive(Clone, Debug)]
pub struct LogConfig {
    /// Core `n` keeps its segments in `directory/core-n`.
    pub directory: PathBuf,
    /// Where every core's side operations take place. Made if it is not there.
    pub side_directory: PathBuf,
    pub sync: LogSync,
    /// Leave the page cache out where the file system allows it.
    pub direct: bool,
}

/// When a log write counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogSync {
    /// On stable storage (O_DSYNC).
    EachWrite,
    /// Taken by the operating system; `Operation::Fdatasync` makes it stable.
    OnRequest,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            peer_listen: Vec::new(),
            cores: None,
            poll_us: 0,
            keepalive_s: 300,
            clients_max: 10_000,
            log: None,
            signals: false,
            sizes: Sizes::default(),
        }
    }
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            submission_entries: limits::SUBMISSION_ENTRIES,
            completion_entries: limits::COMPLETION_ENTRIES,
            receive_buffers: limits::RECEIVE_BUFFERS,
            receive_buffer_bytes: limits::RECEIVE_BUFFER_BYTES,
            mesh_ring_messages: limits::MESH_RING_MESSAGES,
        }
    }
}

impl LogConfig {
    pub fn core_directory(&self, core: CoreId) -> PathBuf {
        self.directory.join(format!("core-{}", core.0))
    }
}
