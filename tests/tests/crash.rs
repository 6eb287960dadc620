//! kill -9 under load: everything acknowledged is there afterwards, and no half of anything,
//! whatever the number of cores.
#![allow(clippy::unwrap_used)] // A test stops at the first thing that is not as it should be.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tests::harness::client::encode;
use tests::harness::{Client, Server, Value};

/// What one client wrote: numbers below `acknowledged` are certain, up to `sent` possible.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    acknowledged: u64,
    sent: u64,
}

const CLIENTS: u64 = 6;
const PIPELINE: u64 = 16;

/// A disk that others use may be slow, but not so slow that no write is done in this time.
const FIRST_WRITE_MAX: Duration = Duration::from_secs(30);

/// The command with which client `c` writes number `n`: single keys, pairs over shards by MSET and
/// by MULTI, a list and a counter.
fn commands(c: u64, n: u64) -> Vec<u8> {
    let (a, b, v) = (format!("a:{c}:{n}"), format!("b:{c}:{n}"), format!("v{n}"));
    match n % 4 {
        0 => encode(&["SET", &a, &v]),
        1 => encode(&["MSET", &a, &v, &b, &v]),
        2 => [
            encode(&["MULTI"]),
            encode(&["SET", &a, &v]),
            encode(&["SET", &b, &v]),
            encode(&["INCR", &format!("count:{c}")]),
            encode(&["EXEC"]),
        ]
        .concat(),
        _ => [encode(&["SET", &a, &v]), encode(&["RPUSH", &format!("list:{c}"), &v])].concat(),
    }
}

fn replies(n: u64) -> usize {
    match n % 4 {
        2 => 5,
        3 => 2,
        _ => 1,
    }
}

/// Writes until the connection breaks. `begun` hears of the first acknowledged write.
fn write(mut client: Client, c: u64, from: u64, stop: &AtomicBool, begun: &AtomicU64) -> Progress {
    let mut progress = Progress { acknowledged: from, sent: from };
    while !stop.load(Ordering::Relaxed) {
        let batch: Vec<u64> = (progress.sent..progress.sent + PIPELINE).collect();
        progress.sent += PIPELINE;
        let bytes: Vec<u8> = batch.iter().flat_map(|n| commands(c, *n)).collect();
        if client.send_raw(&bytes).is_err() {
            break;
        }
        for n in batch {
            for _ in 0..replies(n) {
                match client.read() {
                    Ok(Value::Error(error)) => panic!("{error}"),
                    Ok(_) => {}
                    Err(_) => return progress,
                }
            }
            progress.acknowledged = n + 1;
            begun.fetch_add(u64::from(n == from), Ordering::Relaxed);
        }
    }
    progress
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Bulk(bytes) => String::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// Checks what is there and returns from where the client goes on.
fn check(client: &mut Client, c: u64, progress: Progress) -> u64 {
    let mut transactions = 0;
    for start in (0..progress.sent).step_by(500) {
        let end = (start + 500).min(progress.sent);
        let bytes: Vec<u8> = (start..end)
            .flat_map(|n| encode(&["MGET", &format!("a:{c}:{n}"), &format!("b:{c}:{n}")]))
            .collect();
        client.send_raw(&bytes).unwrap();
        for n in start..end {
            let Value::Array(pair) = client.read().unwrap() else { panic!("MGET gives an array") };
            let expected = Some(format!("v{n}"));
            let pair: Vec<Option<String>> = pair.into_iter().map(text).collect();
            let paired = n % 4 == 1 || n % 4 == 2;
            if n < progress.acknowledged {
                assert_eq!(pair[0], expected, "a:{c}:{n} was acknowledged");
                assert!(!paired || pair[1] == expected, "b:{c}:{n} was acknowledged");
            } else {
                assert!(pair[0].is_none() || pair[0] == expected);
                assert!(!paired || pair[0] == pair[1], "half of write {n} of client {c}: {pair:?}");
            }
            transactions += i64::from(n % 4 == 2 && pair[0].is_some());
        }
    }
    let count = text(client.run(&format!("GET count:{c}")).unwrap());
    let count: i64 = count.map_or(0, |count| count.parse().unwrap());
    assert_eq!(count, transactions, "each transaction counted itself");
    let least = (0..progress.acknowledged).filter(|n| n % 4 == 3).count() as i64;
    let Value::Integer(len) = client.run(&format!("LLEN list:{c}")).unwrap() else { panic!() };
    assert!(len >= least && len <= (0..progress.sent).filter(|n| n % 4 == 3).count() as i64);
    progress.sent
}

fn round(directory: &Path, cores: &str, from: &mut [u64], load: Duration) {
    // Checkpoints all the time, and a log that is cut short behind them.
    let settings = ["--checkpoint-log-bytes", "65536"];
    let with_cores = |cores| [&["--cores", cores], &settings[..]].concat();
    let server = Server::start(directory, &with_cores(cores)).unwrap();
    let address = server.address();
    let (stop, begun) = (AtomicBool::new(false), AtomicU64::new(0));
    let progress: Vec<Progress> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CLIENTS)
            .map(|c| {
                let (from, stop, begun) = (from[c as usize], &stop, &begun);
                let client = Client::connect(address).unwrap();
                scope.spawn(move || write(client, c, from, stop, begun))
            })
            .collect();
        let began = Instant::now();
        let all_begun = || begun.load(Ordering::Relaxed) == CLIENTS;
        while began.elapsed() < load || (!all_begun() && began.elapsed() < FIRST_WRITE_MAX) {
            std::thread::sleep(Duration::from_millis(5));
        }
        server.kill().unwrap();
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let done = progress.iter().zip(&*from).all(|(p, from)| p.acknowledged > *from);
    assert!(done, "every client got something done");
    let other = if cores == "1" { "2" } else { "1" };
    let server = Server::start(directory, &with_cores(other)).unwrap();
    let mut client = server.client().unwrap();
    for c in 0..CLIENTS {
        let checked = check(&mut client, c, progress[c as usize]);
        // What was in doubt is written again, so that next time it is certain.
        for n in progress[c as usize].acknowledged..checked {
            let key = format!("a:{c}:{n}");
            client.run(&format!("SET {key} v{n}")).unwrap();
            if n % 4 == 1 || n % 4 == 2 {
                client.run(&format!("SET b:{c}:{n} v{n}")).unwrap();
            }
        }
        let certain = (0..checked).filter(|n| n % 4 == 2).count();
        client.run(&format!("SET count:{c} {certain}")).unwrap();
        let Value::Integer(len) = client.run(&format!("LLEN list:{c}")).unwrap() else { panic!() };
        for _ in len..(0..checked).filter(|n| n % 4 == 3).count() as i64 {
            client.run(&format!("RPUSH list:{c} again")).unwrap();
        }
        from[c as usize] = checked;
    }
    assert_eq!(client.run("SAVE").unwrap(), Value::ok());
    let checkpoints = std::fs::read_dir(directory.join("checkpoints")).unwrap();
    assert!(checkpoints.count() > 0, "SAVE answers once the checkpoints are there");
    server.stop().unwrap();
}

#[test]
fn kill_9_under_load_loses_nothing_acknowledged() {
    let rounds = std::env::var("QUORING_CRASH_ROUNDS").ok().and_then(|n| n.parse().ok());
    let rounds: u64 = rounds.unwrap_or(3);
    let directory = tempfile::tempdir().unwrap();
    let mut from = vec![0; CLIENTS as usize];
    for number in 0..rounds {
        let cores = if number % 2 == 0 { "2" } else { "1" };
        round(directory.path(), cores, &mut from, Duration::from_millis(300 + 50 * (number % 7)));
    }
}

#[test]
fn a_damaged_log_is_refused_with_file_and_offset_and_a_torn_tail_is_cut() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &["--cores", "1"]).unwrap();
    let mut client = server.client().unwrap();
    for n in 0..50 {
        assert_eq!(client.run(&format!("SET key:{n} value:{n}")).unwrap(), Value::ok());
    }
    server.kill().unwrap();
    let path = directory.path().join("core-0").join("0000000000000001.log");
    let sound = std::fs::read(&path).unwrap();
    let last = sound.iter().rposition(|b| *b != 0).unwrap();

    let mut damaged = sound.clone();
    damaged[4096 * 3 + 80] ^= 1;
    std::fs::write(&path, &damaged).unwrap();
    let said = Server::refuses(directory.path(), &["--cores", "1"]).unwrap();
    assert!(said.contains("0000000000000001.log is corrupt at offset 12288"), "{said}");

    let mut torn = sound;
    torn[last / 4096 * 4096..last + 1].fill(0xff);
    std::fs::write(&path, &torn).unwrap();
    let server = Server::start(directory.path(), &["--cores", "2"]).unwrap();
    let mut client = server.client().unwrap();
    assert_eq!(client.run("DBSIZE").unwrap(), Value::Integer(49));
    server.stop().unwrap();
}
