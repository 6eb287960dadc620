//! The real machine behind [`Host`]. Any core; blocks, since who asks wants to wait.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::timer;
use crate::core::host::Host;
use crate::links::identity::Acquaintances;

pub struct Machine {
    acquaintances: Arc<dyn Acquaintances>,
}

impl Machine {
    /// `acquaintances`: what the node's directory knows of others, the same on all cores.
    pub fn new(acquaintances: Arc<dyn Acquaintances>) -> Machine {
        Machine { acquaintances }
    }
}

impl Host for Machine {
    fn monotonic_ns(&self) -> u64 {
        timer::monotonic_ns()
    }

    fn thread_cpu_ns(&self) -> u64 {
        timer::thread_cpu_ns()
    }

    fn sleep_ns(&self, ns: u64) {
        std::thread::sleep(Duration::from_nanos(ns));
    }

    fn acquaintances(&self) -> Arc<dyn Acquaintances> {
        self.acquaintances.clone()
    }

    fn read_text(&self, path: &Path) -> io::Result<String> {
        fs::read_to_string(path)
    }

    fn replace_text(&self, path: &Path, text: &str) -> io::Result<()> {
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        let temporary = Path::new(&name);
        let written = write_whole(temporary, path, text);
        if written.is_err() {
            // What is left of the attempt is of no use; the error that counts is the first.
            let _ = fs::remove_file(temporary);
        }
        written
    }
}

fn write_whole(temporary: &Path, path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::create(temporary)?;
    if let Ok(present) = fs::metadata(path) {
        file.set_permissions(present.permissions())?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(temporary, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use replication::link::hello::DirectoryId;

    use super::*;
    use crate::links::identity::Remembered;

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        let machine = Machine::new(Arc::new(Remembered::new(DirectoryId([1; 16]))));
        machine.replace_text(&path, "one").unwrap();
        machine.replace_text(&path, "two").unwrap();
        assert_eq!(machine.read_text(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let missing = folder.path().join("none").join("a.toml");
        assert!(machine.replace_text(&missing, "one").is_err());
    }
}
