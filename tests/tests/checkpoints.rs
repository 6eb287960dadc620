//! Checkpoints on the real binary: what a start has of them, what the log lets go, and that they
//! harm nobody.
#![allow(clippy::unwrap_used)] // A test stops at the first thing that is not as it should be.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use engine::rng::Rng;
use tests::harness::cases::{check, error, with_cores};
use tests::harness::client::encode;
use tests::harness::{Client, Server, Value};

const TWO_CORES: [&str; 4] = ["--cores", "2", "--checkpoint-log-bytes", "65536"];
const ONE_CORE: [&str; 4] = ["--cores", "1", "--checkpoint-log-bytes", "65536"];

/// A value that does not compress, the same for the same number.
fn value(number: u64, bytes: usize) -> String {
    let mut rng = Rng::new(number);
    (0..bytes).map(|_| char::from(b' ' + 1 + rng.below(90) as u8)).collect()
}

/// Writes these keys in pipelines, some two megabytes each thousand.
fn write(client: &mut Client, numbers: std::ops::Range<u64>) {
    for first in numbers.clone().step_by(100) {
        let numbers = first..(first + 100).min(numbers.end);
        let set = |n: u64| encode(&["SET", &format!("key:{n}"), &value(n, 2_000)]);
        client.send_raw(&numbers.clone().flat_map(set).collect::<Vec<u8>>()).unwrap();
        numbers.for_each(|_| assert_eq!(client.read().unwrap(), Value::ok()));
    }
}

fn read(client: &mut Client, numbers: std::ops::Range<u64>) {
    for n in numbers {
        let expected = Value::Bulk(value(n, 2_000).into_bytes());
        assert_eq!(client.run(&format!("GET key:{n}")).unwrap(), expected, "key:{n}");
    }
}

fn files(directory: &Path, name: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory.join(name)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The log is cut short behind the checkpoints, its segments are used again, and a start has all.
#[test]
fn the_log_stays_short_and_a_start_with_other_cores_has_everything() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &TWO_CORES).unwrap();
    let mut client = server.client().unwrap();
    for round in 0..6 {
        write(&mut client, round * 2_000..(round + 1) * 2_000);
        check(&mut client, "SAVE", Value::ok());
    }
    // The second checkpoint behind everything lets the log go; the next write shows it.
    check(&mut client, "SAVE", Value::ok());
    write(&mut client, 12_000..12_010);
    let began = Instant::now();
    for core in ["core-0", "core-1"] {
        // They are removed beside the core.
        loop {
            let segments = files(directory.path(), core);
            let is_short = segments.len() <= 6;
            if is_short && !segments[0].ends_with("0000000000000001.log") {
                break;
            }
            let what = "wrote 12 MB in segments of 1 MB";
            assert!(began.elapsed() < Duration::from_secs(30), "{core} {what}: {segments:?}");
        }
    }
    server.kill().unwrap();
    let server = Server::start(directory.path(), &ONE_CORE).unwrap();
    let mut client = server.client().unwrap();
    check(&mut client, "DBSIZE", Value::Integer(12_010));
    read(&mut client, 0..12_010);
    check(&mut client, "SAVE", Value::ok());
    server.stop().unwrap();
    let server = Server::start(directory.path(), &TWO_CORES).unwrap();
    let mut client = server.client().unwrap();
    check(&mut client, "DBSIZE", Value::Integer(12_010));
    server.stop().unwrap();
}

/// What a crash left of shards of other cores is theirs to write down.
#[test]
fn an_orderly_stop_ends_after_a_start_with_much_to_cover() {
    let directory = tempfile::tempdir().unwrap();
    let late = ["--cores", "2", "--checkpoint-log-bytes", "1000000000"];
    let server = Server::start(directory.path(), &late).unwrap();
    write(&mut server.client().unwrap(), 0..8_000);
    server.kill().unwrap();
    Server::start(directory.path(), &late).unwrap().stop().unwrap();
    assert_eq!(files(directory.path(), "checkpoints").len(), 2, "one of each shard");
    let server = Server::start(directory.path(), &late).unwrap();
    let mut client = server.client().unwrap();
    check(&mut client, "DBSIZE", Value::Integer(8_000));
    read(&mut client, 0..100);
    server.stop().unwrap();
}

/// A key whose time is over is deleted by who looks at it, also where no reply tells of it.
#[test]
fn expiry_without_a_reply_and_a_checkpoint_in_one_turn() {
    with_cores(&["--enable-debug-command", "yes"], |server| {
        let mut client = server.client().unwrap();
        check(&mut client, "DEBUG SET-ACTIVE-EXPIRE 0", Value::ok());
        for round in 0..20 {
            check(&mut client, &format!("PSETEX key:{round} 1 x"), Value::ok());
            check(&mut client, "DEBUG SLEEP 0.003", Value::ok());
            let watch = encode(&["WATCH", &format!("key:{round}")]);
            client.send_raw(&[watch, encode(&["SAVE"]), encode(&["UNWATCH"])].concat()).unwrap();
            (0..3).for_each(|_| assert_eq!(client.read().unwrap(), Value::ok()));
        }
        check(&mut client, "DBSIZE", Value::Integer(0));
    });
}

#[test]
fn a_damaged_checkpoint_is_replaced_by_the_one_before_and_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &ONE_CORE).unwrap();
    let mut client = server.client().unwrap();
    for round in 0..4 {
        write(&mut client, round * 1_000..(round + 1) * 1_000);
        check(&mut client, "SAVE", Value::ok());
    }
    server.kill().unwrap();
    let passed_over = "an older checkpoint and the log are used instead";
    let server = Server::start(directory.path(), &ONE_CORE).unwrap();
    assert!(!server.said_at_start().contains(passed_over), "{}", server.said_at_start());
    server.kill().unwrap();
    let newest = files(directory.path(), "checkpoints").pop().unwrap();
    let mut bytes = std::fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&newest, bytes).unwrap();
    let server = Server::start(directory.path(), &ONE_CORE).unwrap();
    // An operator is told which file it is.
    let said = server.said_at_start().lines().find(|line| line.contains(passed_over));
    let said = said.unwrap_or_else(|| panic!("{}", server.said_at_start()));
    assert!(said.contains(newest.to_str().unwrap()) && said.contains("ERROR"), "{said}");
    let mut client = server.client().unwrap();
    check(&mut client, "DBSIZE", Value::Integer(4_000));
    read(&mut client, 0..4_000);
    server.kill().unwrap();
    // Without any the log does not reach back far enough: refused, not begun anew.
    std::fs::remove_dir_all(directory.path().join("checkpoints")).unwrap();
    let said = Server::refuses(directory.path(), &ONE_CORE).unwrap();
    assert!(said.contains("no sound checkpoint") || said.contains("no log has entry"), "{said}");
}

/// SAVE is for what was written before it, though a checkpoint is under way that began earlier.
#[test]
fn save_has_what_was_written_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let slow = ["--cores", "1", "--shards", "1", "--checkpoint-bytes-per-second", "4mb"];
    let server = Server::start(directory.path(), &slow).unwrap();
    let mut client = server.client().unwrap();
    let field = |client: &mut Client, name: &str| {
        let Value::Bulk(text) = client.run("INFO persistence").unwrap() else { panic!("no text") };
        let text = String::from_utf8(text).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        line.unwrap().to_owned()
    };
    write(&mut client, 0..2_000);
    assert_eq!(field(&mut client, "rdb_changes_since_last_save"), "2000");
    client.run("BGSAVE").unwrap();
    assert_eq!(field(&mut client, "rdb_bgsave_in_progress"), "1");
    check(&mut client, "SET later 1", Value::ok());
    check(&mut client, "SAVE", Value::ok());
    assert_eq!(field(&mut client, "rdb_changes_since_last_save"), "0");
    check(&mut client, "SET later 2", Value::ok());
    assert_eq!(field(&mut client, "rdb_changes_since_last_save"), "1");
}

/// A directory that takes no file any more: SAVE says so, and everything else goes on.
#[test]
fn a_checkpoint_that_cannot_be_written_harms_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &TWO_CORES[..2]).unwrap();
    let mut client = server.client().unwrap();
    write(&mut client, 0..4_000);
    std::fs::remove_dir(directory.path().join("checkpoints")).unwrap();
    check(&mut client, "SAVE", error("ERR a checkpoint failed; see the log"));
    check(&mut client, "SET key:0 still", Value::ok());
    // Nor does the stop wait for it.
    server.stop().unwrap();
    let server = Server::start(directory.path(), &TWO_CORES).unwrap();
    let mut client = server.client().unwrap();
    check(&mut client, "GET key:0", Value::Bulk(b"still".to_vec()));
    check(&mut client, "DBSIZE", Value::Integer(4_000));
    server.stop().unwrap();
}

#[test]
fn what_is_asked_of_checkpoints_is_answered_in_a_transaction_too() {
    with_cores(&[], |server| {
        let mut client = server.client().unwrap();
        check(&mut client, "BGSAVE now", error("ERR syntax error"));
        check(&mut client, "MULTI", Value::ok());
        let denied = error("ERR Command not allowed inside a transaction");
        check(&mut client, "SAVE", denied);
        check(&mut client, "DISCARD", Value::ok());
        for command in ["MULTI", "SET a 1", "BGSAVE", "LASTSAVE", "EXEC"] {
            client.send_raw(&encode(&command.split(' ').collect::<Vec<_>>())).unwrap();
        }
        assert_eq!(client.read().unwrap(), Value::ok());
        (0..3).for_each(|_| {
            assert_eq!(client.read().unwrap(), Value::Simple("QUEUED".into()));
        });
        let Value::Array(replies) = client.read().unwrap() else { panic!("not an array") };
        assert_eq!(replies[0], Value::ok());
        assert_eq!(replies[1], Value::Simple("Background saving started".into()));
        assert!(matches!(replies[2], Value::Integer(1_000_000_000..)), "{replies:?}");
        check(&mut client, "GET a", Value::Bulk(b"1".to_vec()));
    });
}

/// Bytes of all segments of the log.
fn log_bytes(client: &mut Client) -> u64 {
    let Value::Bulk(info) = client.run("INFO persistence").unwrap() else { panic!("a text") };
    let info = String::from_utf8(info).unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix("log_segment_bytes_on_disk:"));
    line.unwrap().parse().unwrap()
}

/// Nobody writes to most shards any more, and one write at a time fills blocks with little: the log
/// stays short all the same, and a start has everything, with a damaged checkpoint too.
#[test]
fn shards_at_rest_and_small_writes_do_not_keep_the_log() {
    const SEGMENT: u64 = 1 << 20;
    for (cores, count) in [("1", 1), ("2", 2)] {
        let directory = tempfile::tempdir().unwrap();
        let arguments = ["--cores", cores, "--shards", "6", "--checkpoint-log-bytes", "65536"];
        let server = Server::start(directory.path(), &arguments).unwrap();
        let mut client = server.client().unwrap();
        for number in 0..100 {
            check(&mut client, &format!("SET rests:{number} {number}"), Value::ok());
        }
        // Twice twice a segment, which is more than what brings a checkpoint of each shard; and the
        // one that is written, one behind it and two ahead.
        let most = count * (4 + 4) * SEGMENT;
        let (mut written, mut longest) = (0, 0);
        while written < 12_000 {
            check(&mut client, &format!("SET busy {written}"), Value::ok());
            written += 1;
            if written % 500 == 0 {
                longest = longest.max(log_bytes(&mut client));
            }
        }
        let blocks = written * 4096;
        assert!(
            longest <= most && most < blocks / 2,
            "{longest} bytes of {blocks}, {most} at most"
        );
        server.kill().unwrap();
        let shard_of = |path: &PathBuf| path.file_name().unwrap().as_encoded_bytes()[..4].to_vec();
        let found = files(directory.path(), "checkpoints");
        for of_shard in found.chunk_by(|one, next| shard_of(one) == shard_of(next)) {
            let newest = of_shard.last().unwrap();
            let mut bytes = std::fs::read(newest).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(newest, bytes).unwrap();
        }
        let server = Server::start(directory.path(), &arguments).unwrap();
        let mut client = server.client().unwrap();
        for number in 0..100 {
            check(&mut client, &format!("GET rests:{number}"), Value::bulk(&number.to_string()));
        }
        check(&mut client, "GET busy", Value::bulk(&(written - 1).to_string()));
        server.stop().unwrap();
    }
}
