//! Whom a node knows by which data directory. A directory has an identity, made with it; a node
//! whose directory was lost and that comes back under its old number has forgotten what it voted
//! for and acknowledged, and must not be taken for the one that it was (`server/adr/0012`).

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;

use replication::link::hello::DirectoryId;

/// What this node's directory knows, on every core the same. Asked once a connection.
pub trait Acquaintances: Send + Sync {
    /// This node's own directory.
    fn own(&self) -> DirectoryId;

    /// The directory that a node had when it was first met.
    fn known(&self, node: u64) -> Option<DirectoryId>;

    /// A node is here with this directory: durably the one that it is known by from now on, if it
    /// was not met before. Returns which that is. May take as long as a small file is written.
    fn meet(&self, node: u64, directory: DirectoryId) -> io::Result<DirectoryId>;
}

/// Kept in memory alone: what a simulator, or a test, does without a directory.
pub struct Remembered {
    own: DirectoryId,
    met: Mutex<BTreeMap<u64, DirectoryId>>,
}

impl Remembered {
    pub fn new(own: DirectoryId) -> Remembered {
        Remembered { own, met: Mutex::default() }
    }

    fn met(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, DirectoryId>> {
        self.met.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Acquaintances for Remembered {
    fn own(&self) -> DirectoryId {
        self.own
    }

    fn known(&self, node: u64) -> Option<DirectoryId> {
        self.met().get(&node).copied()
    }

    fn meet(&self, node: u64, directory: DirectoryId) -> io::Result<DirectoryId> {
        Ok(*self.met().entry(node).or_insert(directory))
    }
}
