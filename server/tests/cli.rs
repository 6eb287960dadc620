//! The command line: what is refused, and with which words.
#![allow(clippy::unwrap_used)] // A test stops at the first thing that is not as it should be.

use std::process::Command;

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
    assert!(refused(&["--bind", "0.0.0.0"]).contains("--requirepass"));
    assert!(refused(&["--log-segment-bytes", "5000"]).contains("multiple of 4096"));
    assert!(refused(&["--config", "/nonexistent/quoring.toml"]).contains("cannot read"));
}

#[test]
fn an_unknown_name_in_the_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("quoring.toml");
    std::fs::write(&path, "prot = 1\n").unwrap();
    let said = refused(&["--config", path.to_str().unwrap()]);
    assert!(said.contains("prot") && said.contains("port"), "{said}");
}
