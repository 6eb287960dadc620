//! `quoring-ctl` on directories that the real server wrote.
#![allow(clippy::unwrap_used)] // A test stops at the first thing that is not as it should be.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use engine::rng::Rng;
use tests::harness::{Cluster, Server, Value};

/// Runs the program; its exit code and what it printed.
fn ctl(arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_quoring-ctl")).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

fn verify(directory: &Path) -> (i32, String) {
    ctl(&["verify", directory.to_str().unwrap()])
}

/// A directory with 50 keys and a value of every type, written by a server that was then killed
/// or stopped.
fn written(cores: &str, stop: bool) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &["--cores", cores]).unwrap();
    let mut client = server.client().unwrap();
    for n in 0..50 {
        assert_eq!(client.run(&format!("SET key:{n} value:{n}")).unwrap(), Value::ok());
    }
    for command in [
        "RPUSH list a b",
        "SADD set a",
        "HSET hash field value",
        "ZADD zset 1.5 member",
        "SINTERSTORE copy set set",
        "EXPIRE list 1000",
        "DEL key:0",
        &format!("SET large {}", "x".repeat(600_000)),
    ] {
        assert!(!matches!(client.run(command).unwrap(), Value::Error(_)), "{command}");
    }
    if stop {
        server.stop().unwrap()
    } else {
        server.kill().unwrap()
    }
    directory
}

fn segment(directory: &Path, core: u16) -> PathBuf {
    directory.join(format!("core-{core}")).join("0000000000000001.log")
}

/// Every file below a directory with its bytes.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

#[test]
fn a_sound_directory_is_verified_and_left_as_it_is() {
    for (cores, stop) in [("1", true), ("2", true), ("2", false)] {
        let directory = written(cores, stop);
        std::fs::write(directory.path().join("core-0/0000000000000009.log.new"), b"half").unwrap();
        let before = files(directory.path());
        let (code, said) = verify(directory.path());
        assert_eq!(code, 0, "{said}");
        let ending = if stop { "sealed: ends at" } else { "clean: ends at" };
        assert_eq!(said.matches(ending).count().to_string(), cores, "{said}");
        assert!(said.contains(&format!(", {cores} shards")) && said.ends_with("\nsound\n"));
        assert_eq!(files(directory.path()), before, "nothing was changed");
    }
}

#[test]
fn a_log_is_printed_with_its_effects() {
    let directory = written("1", true);
    let path = directory.path().join("core-0");
    let (code, said) = ctl(&["log", path.to_str().unwrap()]);
    assert_eq!(code, 0, "{said}");
    for expected in [
        "lsn 1 incarnation 1 durable 0 entry shard 0 term 1 index 1 decided 0: ",
        "db0 SET \"key:7\" \"value:7\"\n",
        "db0 RPUSH \"list\" \"a\"\n",
        "db0 SADD \"set\" \"a\"\n",
        "db0 HSET \"hash\" \"field\" \"value\"\n",
        "db0 ZADD \"zset\" 1.5 \"member\"\n",
        "db0 PUT \"copy\" set of 1\n",
        "db0 PEXPIREAT \"list\" ",
        "db0 DEL \"key:0\"\n",
        ", first part\n",
        ", last part\n",
        "… (600000 bytes)\n",
        "offset",
        ": sealed\n",
    ] {
        assert!(said.contains(expected), "no {expected} in {said}");
    }
    let whole = ctl(&["log", "--full", segment(directory.path(), 0).to_str().unwrap()]).1;
    assert!(whole.contains(&"x".repeat(600_000)));
}

/// Segments that checkpoints have made needless are not missed; a damaged checkpoint is named.
#[test]
fn a_log_cut_short_is_sound_and_a_damaged_checkpoint_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &["--cores", "1"]).unwrap();
    let mut client = server.client().unwrap();
    let mut rng = Rng::new(1);
    for n in 0..60 {
        let value: String = (0..100_000).map(|_| char::from(b'a' + rng.below(26) as u8)).collect();
        assert_eq!(client.run(&format!("SET key:{n} {value}")).unwrap(), Value::ok());
        if n % 20 == 19 {
            assert_eq!(client.run("SAVE").unwrap(), Value::ok());
        }
    }
    assert_eq!(client.run("SET key:60 last").unwrap(), Value::ok());
    server.stop().unwrap();
    assert!(!segment(directory.path(), 0).exists(), "the first segment was let go");
    let (code, said) = verify(directory.path());
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("shard 0: checkpoint at entry ") && said.ends_with("\nsound\n"),
        "{said}"
    );
    let newest = std::fs::read_dir(directory.path().join("checkpoints")).unwrap();
    let newest = newest.map(|entry| entry.unwrap().path()).max().unwrap();
    let mut bytes = std::fs::read(&newest).unwrap();
    bytes[5_000] ^= 1;
    std::fs::write(&newest, bytes).unwrap();
    let (code, said) = verify(directory.path());
    let name = newest.file_name().unwrap().to_str().unwrap();
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&format!("DAMAGED: checkpoints/{name}: damaged at byte ")), "{said}");
}

/// MSET of keys on two cores: each log has its part, and names the other's.
#[test]
fn a_transaction_is_printed_with_its_entries() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &["--cores", "2"]).unwrap();
    let mut client = server.client().unwrap();
    // Slots 3300 and 15495.
    assert_eq!(client.run("MSET b 1 a 2").unwrap(), Value::ok());
    server.stop().unwrap();
    for (core, effect) in [(0, "db0 SET \"b\" \"1\""), (1, "db0 SET \"a\" \"2\"")] {
        let path = segment(directory.path(), core);
        let (code, said) = ctl(&["log", path.to_str().unwrap()]);
        assert_eq!(code, 0, "{said}");
        assert!(said.contains(" of entries 0:1 1:1 (shard:index)\n"), "{said}");
        assert!(said.contains(effect), "{said}");
    }
}

#[test]
fn damage_is_found_with_file_and_offset() {
    let directory = written("2", true);
    let path = segment(directory.path(), 1);
    let sound = std::fs::read(&path).unwrap();
    let mut damaged = sound.clone();
    damaged[4096 * 3 + 80] ^= 1;
    std::fs::write(&path, &damaged).unwrap();
    let (code, said) = verify(directory.path());
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("core-1/0000000000000001.log is corrupt at offset 12288"), "{said}");
    assert!(said.contains("core-0: ") && said.contains("sealed"), "the other core's: {said}");
    let (code, said) = ctl(&["log", path.to_str().unwrap()]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("offset 12288: CORRUPT: record 3 is damaged"), "{said}");
    assert!(said.contains("(not in the chain)"), "{said}");

    let mut header = sound.clone();
    header[20] ^= 1;
    std::fs::write(&path, &header).unwrap();
    let (code, said) = verify(directory.path());
    assert!(code == 1 && said.contains("its header is damaged"), "{said}");
    let (code, said) = ctl(&["log", path.to_str().unwrap()]);
    assert!(code == 1 && said.contains("its header is damaged"), "{said}");

    std::fs::write(&path, &sound).unwrap();
    std::fs::remove_dir_all(directory.path().join("core-0")).unwrap();
    let (code, said) = verify(directory.path());
    assert!(code == 1 && said.contains("core-0 is missing, but core-1 is there"), "{said}");
}

/// As the start that would refuse it: nothing else begins the log.
#[test]
fn a_damaged_first_record_is_damage() {
    let directory = written("1", true);
    let path = segment(directory.path(), 0);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096 + 80] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let (code, said) = verify(directory.path());
    assert!(code == 1 && said.contains("is corrupt at offset 4096"), "{said}");
    let (code, said) = ctl(&["log", path.to_str().unwrap()]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("offset 4096: CORRUPT: record 1 is damaged"), "{said}");
}

/// A later segment may begin with any record, but its first one is at its beginning.
#[test]
fn a_damaged_first_record_of_a_later_segment_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &["--cores", "1"]).unwrap();
    let mut client = server.client().unwrap();
    let value = "x".repeat(50_000);
    let path = directory.path().join("core-0/0000000000000002.log");
    // Segment 2 is there before the first is full; a record of its own comes once it is.
    let begun =
        || std::fs::read(&path).is_ok_and(|bytes| bytes[4096..8192].iter().any(|b| *b != 0));
    while !begun() {
        assert_eq!(client.run(&format!("SET key {value}")).unwrap(), Value::ok());
    }
    for n in 0..5 {
        assert_eq!(client.run(&format!("SET key:{n} value")).unwrap(), Value::ok());
    }
    server.stop().unwrap();
    let shown = path.to_str().unwrap();
    let (code, said) = ctl(&["log", shown]);
    assert!(code == 0 && said.ends_with(": sealed\n"), "{said}");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096 + 80] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let (code, said) = ctl(&["log", shown]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("segment 2 offset 4096: CORRUPT: record "), "{said}");
}

#[test]
fn a_torn_end_is_told_and_is_no_damage() {
    let directory = written("1", false);
    let path = segment(directory.path(), 0);
    let mut torn = std::fs::read(&path).unwrap();
    // The last write lost its first block.
    let log = ctl(&["log", path.to_str().unwrap()]).1;
    let last = log.lines().rfind(|line| line.contains("first part")).unwrap();
    let offset: usize = last.split_whitespace().next().unwrap().parse().unwrap();
    let start = offset / 4096 * 4096;
    torn[start..start + 4096].fill(0);
    std::fs::write(&path, &torn).unwrap();
    let (code, said) = verify(directory.path());
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains(&format!("torn: ends at 0000000000000001.log offset {start}; ")),
        "{said}"
    );
    let (code, said) = ctl(&["log", path.to_str().unwrap()]);
    assert!(code == 0 && said.contains("were never acknowledged"), "{said}");
}

#[test]
fn what_cannot_be_looked_at_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let (code, said) = verify(directory.path());
    assert!(code == 2 && said.contains("node.toml"), "{said}");
    let missing = directory.path().join("none.log");
    let (code, said) = ctl(&["log", missing.to_str().unwrap()]);
    assert!(code == 2 && said.contains("cannot read"), "{said}");
    let (code, said) = ctl(&["log", directory.path().to_str().unwrap()]);
    assert!(code == 2 && said.contains("no segments"), "{said}");
}

#[test]
fn status_tells_of_a_running_server_and_why_it_cannot() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["--cores", "2", "--requirepass", "secret", "--maxmemory", "1gb"];
    let server = Server::start(directory.path(), &arguments).unwrap();
    let mut client = server.client().unwrap();
    for command in ["AUTH secret", "SET a 1", "SELECT 3", "SET b 1", "SET c 1", "SAVE"] {
        assert_eq!(client.run(command).unwrap(), Value::ok(), "{command}");
    }
    let port = server.address().port().to_string();
    let (code, text) = ctl(&["status", "--port", &port, "--password", "secret"]);
    assert_eq!(code, 0, "{text}");
    let version = format!("version {}", env!("CARGO_PKG_VERSION"));
    let words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let lines: Vec<String> = words.collect();
    for begin in [
        &version,
        "uptime",
        "cores 2",
        "durability sync",
        "clients 2 of at most",
        "memory",
        "keys 3",
        "log on disk",
        "checkpoint none under way",
        "last checkpoint",
        "turns longest",
    ] {
        assert!(lines.iter().any(|line| line.starts_with(begin)), "{begin} is not in {text}");
    }
    assert!(text.contains("% of 1.0 GiB") && !text.contains("none since the start"), "{text}");

    let (code, text) = ctl(&["status", "--port", &port]);
    assert!(code == 2 && text.contains("wants a password"), "{text}");
    let (code, text) = ctl(&["status", "--port", &port, "--password", "wrong"]);
    assert!(code == 2 && text.contains("WRONGPASS"), "{text}");
    server.stop().unwrap();
    let (code, text) = ctl(&["status", "--port", &port, "--password", "secret"]);
    assert!(code == 2 && text.contains("cannot connect to 127.0.0.1:"), "{text}");
}

#[test]
fn the_clusters_version_is_shown_and_raised_no_further_than_programs_apply() {
    let alone = tempfile::tempdir().unwrap();
    let server = Server::start(alone.path(), &[]).unwrap();
    let at = server.address().to_string();
    let (code, said) = ctl(&["raise-version", "--at", &at]);
    assert!(code == 2 && said.contains("this node is not part of a cluster"), "{said}");
    let cluster = Cluster::start_steady(3).unwrap();
    let leader = cluster.leader().unwrap();
    (0..3).for_each(|place| cluster.await_links(place).unwrap());
    let address = cluster.servers[leader].as_ref().unwrap().address();
    let (at, port) = (address.to_string(), address.port().to_string());
    let (code, said) = ctl(&["nodes", "--at", &at]);
    assert!(code == 0 && said.contains("cluster version=2"), "{said}");
    let (code, said) = ctl(&["status", "--port", &port]);
    assert!(code == 0 && said.contains("cluster version   2; this program applies 1-2"), "{said}");
    for version in [&[][..], &["2"]] {
        let (code, said) = ctl(&[&["raise-version", "--at", &at][..], version].concat());
        assert_eq!((code, said.as_str()), (0, "OK\n"));
    }
    let (code, said) = ctl(&["raise-version", "3", "--at", &at]);
    assert!(code == 2 && said.contains("applies versions 1 to 2, not 3"), "{said}");
}

#[test]
fn a_majority_is_given_up_only_on_purpose_and_by_a_node_of_a_cluster() {
    let directory = written("1", true);
    let path = directory.path().to_str().unwrap();
    let (code, said) = ctl(&["force-quorum", path]);
    assert!(code == 2 && said.contains("gives up on a majority"), "{said}");
    let (code, said) = ctl(&["force-quorum", path, "--yes-i-accept-losing-acknowledged-writes"]);
    assert!(code == 2 && said.contains(path), "{said}");
    let (code, said) = ctl(&["add-node"]);
    assert!(code == 0 && said.contains("--join"), "{said}");
}
