//! What befalls a server from outside while it works: a disk that fills up and has space again, a
//! process that is stopped for seconds. Nothing acknowledged is lost, and service returns by
//! itself.
#![allow(clippy::unwrap_used)] // A test stops at the first thing that is not as it should be.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tests::harness::cases::check;
use tests::harness::client::encode;
use tests::harness::{Client, Server, Value};

const FULL: &str = "MISCONF The log cannot grow because the disk is full. Writes are refused until \
                    there is space again; reads go on.";

/// A file system of its own, on a file.
struct SmallDisk {
    mounted: PathBuf,
    _image: tempfile::TempDir,
}

impl SmallDisk {
    /// `None`, and a message, where this process may not mount.
    fn mount(mebibytes: u64) -> Option<SmallDisk> {
        let folder = tempfile::tempdir().unwrap();
        let (image, mounted) = (folder.path().join("image"), folder.path().join("mounted"));
        std::fs::File::create(&image).unwrap().set_len(mebibytes << 20).unwrap();
        std::fs::create_dir(&mounted).unwrap();
        let run = |command: &mut Command| match command.output() {
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Some(error.to_string()),
        };
        let made = run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image));
        let mount = || run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&mounted));
        if let Some(why) = made.or_else(mount) {
            println!("SKIPPED: no file system of its own for the test of a full disk: {why}");
            return None;
        }
        Some(SmallDisk { mounted, _image: folder })
    }

    /// Takes all the space there is but so much; the file that takes it.
    fn fill_up(&self, but_bytes: u64) -> PathBuf {
        let path = self.mounted.join("ballast");
        let mut file = std::fs::File::create(&path).unwrap();
        let mut len = 0;
        for part in [1 << 20, 4096] {
            let bytes = vec![b'x'; part];
            while file.write_all(&bytes).is_ok() && file.sync_data().is_ok() {
                len += part as u64;
            }
        }
        file.set_len(len.saturating_sub(but_bytes)).unwrap();
        file.sync_all().unwrap();
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The server on it has ended; what is left open otherwise goes with this process.
        let _ = Command::new("umount").arg("-l").arg(&self.mounted).output();
    }
}

fn key(n: u64) -> String {
    format!("key:{n}")
}

fn value(n: u64) -> String {
    format!("{n:020000}")
}

/// Writes numbered keys from `from` on until so many in a row are refused; which were taken. The
/// first that was not is the last result.
fn write_until_refused(client: &mut Client, from: u64) -> (Vec<u64>, Vec<u64>) {
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for n in from..from + 10_000 {
        match client.run(&format!("SET {} {}", key(n), value(n))).unwrap() {
            Value::Error(text) => {
                assert_eq!(text, FULL);
                refused.push(n);
            }
            reply => {
                assert_eq!(reply, Value::ok());
                taken.push(n);
            }
        }
        // Keys of every shard are refused.
        if refused.iter().rev().zip((0..=n).rev()).take_while(|(a, b)| *a == b).count() == 30 {
            return (taken, refused);
        }
    }
    panic!("the disk does not fill up");
}

fn check_keys(client: &mut Client, taken: &[u64], refused: &[u64]) {
    for n in taken {
        check(client, &format!("GET {}", key(*n)), Value::Bulk(value(*n).into_bytes()));
    }
    for n in refused {
        check(client, &format!("GET {}", key(*n)), Value::Null);
    }
}

/// Until a write is taken again, which no one has to ask for.
fn wait_for_service(client: &mut Client) {
    let began = Instant::now();
    for round in 0.. {
        let replies: Vec<Value> =
            (0..30).map(|n| client.run(&format!("SET probe:{n} {round}")).unwrap()).collect();
        if replies.iter().all(|reply| *reply == Value::ok()) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "no service: {replies:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Nothing of a transaction is done either. It is where a checkpoint has made room meanwhile: then
/// the disk is filled up once more.
fn transaction_is_refused(client: &mut Client, taken: &mut Vec<u64>) {
    for first in (1_000_000..).step_by(10_000).take(10) {
        let gone = [taken.pop().unwrap(), taken.pop().unwrap()];
        check(client, "MULTI", Value::ok());
        let replies = [format!("DEL {} {}", key(gone[0]), key(gone[1])), "EXEC".to_owned()]
            .map(|command| client.run(&command).unwrap());
        if format!("{replies:?}").contains(FULL) {
            taken.extend(gone);
            return;
        }
        let done = [Value::Simple("QUEUED".into()), Value::Array(vec![Value::Integer(2)])];
        assert_eq!(replies, done, "whole, or not at all");
        taken.extend(write_until_refused(client, first).0);
    }
    panic!("the disk does not stay full");
}

fn fill_and_free(disk: &SmallDisk, checkpoint_log_bytes: &str) {
    let directory = disk.mounted.join(format!("data-{checkpoint_log_bytes}"));
    let more = ["--cores", "2", "--checkpoint-log-bytes", checkpoint_log_bytes];
    let server = Server::start(&directory, &more).unwrap();
    let mut client = server.client().unwrap();
    for n in 0..20 {
        check(&mut client, &format!("SET {} {}", key(n), value(n)), Value::ok());
    }
    let ballast = disk.fill_up(3 << 20);
    let (mut taken, refused) = write_until_refused(&mut client, 20);
    taken.extend(0..20);
    assert!(taken.len() > 60, "some 3 MiB were left for values of 20 kB: {}", taken.len());
    check_keys(&mut client, &taken, &refused);
    check(&mut client, "DBSIZE", Value::Integer(taken.len() as i64));
    transaction_is_refused(&mut client, &mut taken);
    check_keys(&mut client, &taken, &refused);
    // Whoever starts it again in its trouble finds the data too.
    server.kill().unwrap();
    let taken_by_others = disk.mounted.join("more");
    let _ = std::fs::write(&taken_by_others, vec![b'x'; 4 << 20]);
    let server = Server::start(&directory, &more).unwrap();
    let mut client = server.client().unwrap();
    check_keys(&mut client, &taken, &refused);
    std::fs::remove_file(&ballast).unwrap();
    std::fs::remove_file(&taken_by_others).unwrap();
    wait_for_service(&mut client);
    for n in 20_000..20_040 {
        check(&mut client, &format!("SET {} {}", key(n), value(n)), Value::ok());
        taken.push(n);
    }
    server.kill().unwrap();
    let server = Server::start(&directory, &["--cores", "1"]).unwrap();
    check_keys(&mut server.client().unwrap(), &taken, &refused);
    server.stop().unwrap();
}

#[test]
fn a_full_disk_refuses_writes_and_service_returns_with_space() {
    // Without checkpoints, and with one for every few writes, which need space of their own.
    for checkpoint_log_bytes in ["1000000000", "65536"] {
        let Some(disk) = SmallDisk::mount(40) else { return };
        fill_and_free(&disk, checkpoint_log_bytes);
    }
}

const CLIENTS: u64 = 4;
const PIPELINE: u64 = 16;

/// Writes numbers until told to stop or the connection breaks; `acknowledged` counts.
fn write(mut client: Client, c: u64, stop: &AtomicBool, acknowledged: &AtomicU64) -> bool {
    for first in (0..).step_by(PIPELINE as usize) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let set = |n: u64| encode(&["SET", &format!("{c}:{n}"), &n.to_string()]);
        let bytes: Vec<u8> = (first..first + PIPELINE).flat_map(set).collect();
        if client.send_raw(&bytes).is_err() {
            return false;
        }
        for n in first..first + PIPELINE {
            let Ok(reply) = client.read() else { return false };
            assert_eq!(reply, Value::ok());
            acknowledged.store(n + 1, Ordering::Relaxed);
        }
    }
    true
}

/// Until every client has so many writes more acknowledged.
fn wait_for_more(acknowledged: &[AtomicU64], more: u64) {
    let goals: Vec<u64> =
        acknowledged.iter().map(|count| count.load(Ordering::Relaxed) + more).collect();
    let began = Instant::now();
    while acknowledged.iter().zip(&goals).any(|(count, goal)| count.load(Ordering::Relaxed) < *goal)
    {
        assert!(began.elapsed() < Duration::from_secs(60), "the clients do not go on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn stop_and_go_on(directory: &Path, cores: &str) {
    let more = ["--cores", cores, "--checkpoint-log-bytes", "65536"];
    let server = Server::start(directory, &more).unwrap();
    let address = server.address();
    let acknowledged: Vec<AtomicU64> = (0..CLIENTS).map(|_| AtomicU64::new(0)).collect();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CLIENTS)
            .map(|c| {
                let (stop, count) = (&stop, &acknowledged[c as usize]);
                let client = Client::connect(address).unwrap();
                scope.spawn(move || write(client, c, stop, count))
            })
            .collect();
        wait_for_more(&acknowledged, 500);
        server.signal(libc::SIGSTOP);
        std::thread::sleep(Duration::from_millis(2_500));
        server.signal(libc::SIGCONT);
        wait_for_more(&acknowledged, 500);
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            assert!(thread.join().unwrap(), "a connection broke");
        }
    });
    server.kill().unwrap();
    let server = Server::start(directory, &more).unwrap();
    let mut client = server.client().unwrap();
    for (c, count) in acknowledged.iter().enumerate() {
        for n in 0..count.load(Ordering::Relaxed) {
            check(&mut client, &format!("GET {c}:{n}"), Value::bulk(&n.to_string()));
        }
    }
    server.stop().unwrap();
}

#[test]
fn a_process_stopped_for_seconds_goes_on_and_loses_nothing() {
    for cores in ["1", "2"] {
        stop_and_go_on(tempfile::tempdir().unwrap().path(), cores);
    }
}
