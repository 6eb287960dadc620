//! Starts that are refused, and what a start was told.
#![allow(clippy::unwrap_used)] // A test stops at the first thing that is not as it should be.

use std::process::Command;
use std::time::Duration;

use tests::harness::cases::{check, error};
use tests::harness::server::{binary, forbid_io_uring};
use tests::harness::{Cluster, Server, Value};

#[test]
fn without_io_uring_nothing_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut command = Command::new(binary().unwrap());
    forbid_io_uring(&mut command);
    let said = Server::refuses_by(command, &data, &["--cores", "1"]).unwrap();
    assert!(said.contains("io_uring"), "{said}");
    assert!(!data.exists(), "the directory was made before");
}

#[test]
fn a_log_level_that_is_none_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let run = |level: &str| {
        let mut command = Command::new(binary().unwrap());
        command.env("QUORING_LOG", level);
        command
    };
    let data = directory.path().join("data");
    let said = Server::refuses_by(run("verbose"), &data, &["--cores", "1"]).unwrap();
    let expected = "QUORING_LOG has 'verbose', which is no level: it is one of off, error, warn, \
                    info, debug, trace, or PART=LEVEL";
    assert!(said.contains(expected), "{said}");
    assert!(!data.exists());
    let server = Server::start_by(run("warn,server=info,quoring=info"), &data, &["--cores", "1"]);
    server.unwrap().stop().unwrap();
}

/// The binary, with files of so many KiB at most.
fn with_files_of(kib: u32) -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", &format!("ulimit -f {kib}; exec \"$0\" \"$@\"")]).arg(binary().unwrap());
    command
}

#[test]
fn a_limit_of_file_sizes_is_told_where_it_is_met() {
    let directory = tempfile::tempdir().unwrap();
    let said = Server::refuses_by(with_files_of(512), directory.path(), &["--cores", "1"]).unwrap();
    assert!(said.contains("File too large"), "at the start: {said}");
    // Segments that are there already; what goes beyond the limit cannot be written.
    Server::start(directory.path(), &["--cores", "1"]).unwrap().stop().unwrap();
    let server = Server::start_by(with_files_of(64), directory.path(), &["--cores", "1"]).unwrap();
    let mut client = server.client().unwrap();
    let set = format!("SET key {}", "x".repeat(10_000));
    let refused = (0..20).find(|_| !matches!(client.run(&set), Ok(reply) if reply == Value::ok()));
    assert!(refused.is_some(), "200 KB were acknowledged");
    let said = server.await_line("File too large", Duration::from_secs(10));
    assert!(said.is_some(), "it ended without a word");
}

#[test]
fn settings_of_the_start_can_be_read_and_not_changed() {
    let directory = tempfile::tempdir().unwrap();
    let get = |server: &Server, name: &str| {
        let reply = server.client().unwrap().run(&format!("CONFIG GET {name}")).unwrap();
        let Value::Array(pair) = reply else { panic!("{reply:?}") };
        assert_eq!(pair[0], Value::bulk(name));
        let Value::Bulk(value) = &pair[1] else { panic!("{pair:?}") };
        String::from_utf8(value.clone()).unwrap()
    };
    let server = Server::start(directory.path(), &["--cores", "1", "--shards", "3"]).unwrap();
    server.stop().unwrap();
    let server = Server::start(directory.path(), &["--cores", "2"]).unwrap();
    assert_eq!(get(&server, "shards"), "3", "those of the directory");
    for name in ["node", "nodes", "join", "advertise"] {
        assert_eq!(get(&server, name), "");
        let refused = format!(
            "ERR CONFIG SET failed (possibly related to argument '{name}') - can't set immutable \
             config"
        );
        check(&mut server.client().unwrap(), &format!("CONFIG SET {name} 1"), error(&refused));
    }
    let unknown = "ERR Unknown option or number of arguments for CONFIG SET - 'shard'";
    check(&mut server.client().unwrap(), "CONFIG SET shard 1", error(unknown));
    let cluster = Cluster::start_steady(3).unwrap();
    for (place, server) in cluster.servers.iter().flatten().enumerate() {
        assert_eq!(get(server, "node"), (place + 1).to_string());
        let nodes = get(server, "nodes");
        assert_eq!(nodes.split(',').count(), 3, "{nodes}");
        assert!(nodes.starts_with("1=127."), "{nodes}");
    }
}
