//! The command line: what is refused, and with which words.
#![allow(clippy::unwrap_used)] // A test stops at the first thing that is not as it should be.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

fn refused(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_quoring")).args(arguments).output().unwrap();
    assert!(!output.status.success(), "{arguments:?} was taken");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn bad_flags_are_refused_with_what_to_do() {
    assert!(refused(&["--prot", "1"]).contains("--port"));
    assert!(refused(&["--durability", "maybe"]).contains("sync"));
    assert!(refused(&["--cores", "0"]).contains("cores is 1 to"));
    assert!(refused(&["--maxclients", "0"]).contains("maxclients is 1 to 4294967295, not 0"));
    assert!(refused(&["--poll-us", "4294967296"]).contains("not in 0..=4294967295"));
    let said = refused(&["--tcp-keepalive", "32768"]);
    assert!(said.contains("tcp-keepalive is 0 to 32767 seconds, not 32768"), "{said}");
    assert!(refused(&["--bind", "0.0.0.0"]).contains("--requirepass"));
    assert!(refused(&["--log-segment-bytes", "5000"]).contains("multiple of 4096"));
    assert!(refused(&["--config", "/nonexistent/quoring.toml"]).contains("cannot read"));
}

#[test]
fn too_many_cores_are_refused_before_anything_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let said = refused(&["--cores", "257", "--port", "0", "--dir", data.to_str().unwrap()]);
    assert!(said.contains("cores is 1 to 256, not 257"), "{said}");
    assert!(!data.exists());
}

#[test]
fn an_unknown_name_in_the_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("quoring.toml");
    std::fs::write(&path, "prot = 1\n").unwrap();
    let said = refused(&["--config", path.to_str().unwrap()]);
    assert!(said.contains("no setting 'prot'; is 'port' meant?"), "{said}");
    std::fs::write(&path, "port = 0\nmaxclient = 5\n").unwrap();
    let said = refused(&["--config", path.to_str().unwrap()]);
    assert!(said.contains("no setting 'maxclient'; is 'maxclients' meant?"), "{said}");
    std::fs::write(&path, "port = 'many'\n").unwrap();
    let said = refused(&["--config", path.to_str().unwrap()]);
    assert!(said.contains("invalid type"), "{said}");
}

#[test]
fn an_unknown_flag_is_refused_and_the_nearest_named() {
    for (flag, nearest) in
        [("--prot", "--port"), ("--maxclient", "--maxclients"), ("--durabilty", "--durability")]
    {
        let said = refused(&[flag, "1"]);
        assert!(said.contains(&format!("'{nearest}'")), "{said}");
    }
}

#[test]
fn the_version_is_told() {
    let output = Command::new(env!("CARGO_BIN_EXE_quoring")).arg("--version").output().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, format!("quoring {}\n", env!("CARGO_PKG_VERSION")));
}

/// A server with one core on a directory, killed when dropped.
struct Running(Child);

impl Running {
    fn start(directory: &Path) -> Running {
        let mut running = Running(command(directory).stderr(Stdio::piped()).spawn().unwrap());
        let mut said = Vec::new();
        for line in BufReader::new(running.0.stderr.take().unwrap()).lines() {
            said.push(line.unwrap());
            if said.last().unwrap().contains("ready") {
                return running;
            }
        }
        panic!("it did not start: {said:?}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quoring"));
    command.args(["--port", "0", "--cores", "1", "--log-segment-bytes", "65536", "--dir"]);
    command.arg(directory).env("NO_COLOR", "1");
    command
}

/// What a start on this directory says before it gives up.
fn refuses(directory: &Path) -> String {
    let mut child = command(directory).stderr(Stdio::piped()).spawn().unwrap();
    let started = std::time::Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("it started: {:?}", child.wait_with_output().unwrap());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success(), "it started");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_directory_has_one_process() {
    let directory = tempfile::tempdir().unwrap();
    let running = Running::start(directory.path());
    let said = refuses(directory.path());
    assert!(said.contains(&format!("process {}", running.0.id())), "{said}");
    assert!(said.contains(&directory.path().display().to_string()), "{said}");
    drop(running);
    Running::start(directory.path());
}

#[test]
fn other_formats_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    Running::start(directory.path());
    let segment = directory.path().join("core-0/0000000000000001.log");
    let sound = std::fs::read(&segment).unwrap();
    for version in [1u32, 4] {
        let mut other = sound.clone();
        other[8..12].copy_from_slice(&version.to_le_bytes());
        let crc = crc32c::crc32c(&other[..64]);
        other[64..68].copy_from_slice(&crc.to_le_bytes());
        std::fs::write(&segment, &other).unwrap();
        let said = refuses(directory.path());
        let version = format!("0000000000000001.log has format version {version}");
        assert!(said.contains(&version), "{said}");
        assert_eq!(std::fs::read(&segment).unwrap(), other, "nothing was changed");
    }
    std::fs::write(&segment, &sound).unwrap();

    let node = directory.path().join("node.toml");
    let text = std::fs::read_to_string(&node).unwrap();
    std::fs::write(&node, text.replace("format = 4", "format = 6")).unwrap();
    let said = refuses(directory.path());
    assert!(said.contains("node.toml") && said.contains("format 6"), "{said}");
    std::fs::write(&node, text).unwrap();
    Running::start(directory.path());
}

#[test]
fn too_few_descriptors_are_told_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let line =
        "ulimit -n 24 && exec \"$0\" --port 0 --cores 1 --log-segment-bytes 65536 --dir \"$1\"";
    let output = Command::new("sh")
        .args(["-c", line, env!("CARGO_BIN_EXE_quoring")])
        .arg(directory.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("24") && said.contains("ulimit -n"), "{said}");
}
