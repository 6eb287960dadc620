//! The nodes that this directory has met, kept in its `node.toml`. Shared by all cores: one of them
//! meets a node first, and writes that down before it talks to it.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use replication::link::hello::DirectoryId;

use super::identity::Identity;
use crate::links::identity::Acquaintances;

pub struct Noted {
    directory: PathBuf,
    identity: Mutex<Identity>,
}

impl Noted {
    /// `identity` is what the directory's file says.
    pub fn new(directory: PathBuf, identity: Identity) -> Noted {
        Noted { directory, identity: Mutex::new(identity) }
    }

    fn identity(&self) -> MutexGuard<'_, Identity> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Acquaintances for Noted {
    fn own(&self) -> DirectoryId {
        self.identity().directory
    }

    fn known(&self, node: u64) -> Option<DirectoryId> {
        self.identity().met.get(&node).copied()
    }

    fn meet(&self, node: u64, directory: DirectoryId) -> io::Result<DirectoryId> {
        let mut identity = self.identity();
        if let Some(known) = identity.met.get(&node) {
            return Ok(*known);
        }
        let mut with_it = identity.clone();
        with_it.met.insert(node, directory);
        with_it.create(&self.directory)?;
        *identity = with_it;
        Ok(directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_met_first_is_known_after_a_start() {
        let folder = tempfile::tempdir().unwrap();
        let load = || Identity::load_or_create(folder.path(), 1, None).unwrap();
        let (first, second) = (DirectoryId([1; 16]), DirectoryId([2; 16]));
        let noted = Noted::new(folder.path().into(), load());
        assert_eq!(noted.meet(2, first).unwrap(), first);
        assert_eq!(noted.meet(2, second).unwrap(), first);
        let again = Noted::new(folder.path().into(), load());
        assert_eq!((again.known(2), again.known(3)), (Some(first), None));
        assert_eq!(again.own(), noted.own());
        let elsewhere = tempfile::tempdir().unwrap();
        let other = Identity::load_or_create(elsewhere.path(), 1, None).unwrap();
        assert_ne!(other.directory, again.own());
        // What cannot be written down is not known either.
        let gone = Noted::new(folder.path().join("none"), load());
        assert!(gone.meet(3, first).is_err() && gone.known(3).is_none());
    }
}
