//! Many clients and slow ones: the others keep working, and memory stays bounded.
#![allow(clippy::unwrap_used)] // A test stops at the first thing that is not as it should be.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tests::harness::{Server, Value};

/// Clients of the largest crowd, `maxclients`' default; fewer where the limit of open files, which
/// is not ours to raise, allows no more.
const CROWD: u64 = 10_000;
/// Descriptors of a test process besides its clients.
const RESERVED: u64 = 300;
/// What an idle client may cost the server: its state and the kernel's completions of it.
const IDLE_CLIENT_BYTES_MAX: u64 = 4096;

/// Held by a test while it has a crowd: descriptors are there for one.
static ONE_CROWD: Mutex<()> = Mutex::new(());

fn crowd_size() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let wanted = CROWD + RESERVED;
    let current = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..limit }).unwrap();
    (current - RESERVED) as usize
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

fn expect(stream: &mut TcpStream, reply: &[u8]) {
    let mut got = vec![0; reply.len()];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(reply));
}

fn resident_bytes(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn ten_thousand_clients_and_one_that_sends_a_byte_at_a_time() {
    let _crowd = ONE_CROWD.lock().unwrap_or_else(PoisonError::into_inner);
    for cores in ["1", "2"] {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::start(directory.path(), &["--cores", cores]).unwrap();
        let before = resident_bytes(&server);
        let mut crowd: Vec<TcpStream> = (1..crowd_size()).map(|_| connect(&server)).collect();
        let mut slow = connect(&server);
        let spelled = std::thread::spawn(move || {
            slow.set_nodelay(true).unwrap();
            for byte in b"*3\r\n$3\r\nSET\r\n$4\r\nslow\r\n$4\r\nword\r\n" {
                slow.write_all(&[*byte]).unwrap();
                std::thread::sleep(Duration::from_millis(30));
            }
            expect(&mut slow, b"+OK\r\n");
        });
        let mut rounds = 0;
        while rounds < 2 || !spelled.is_finished() {
            for stream in &mut crowd {
                stream.write_all(b"INCR rounds\r\nPING\r\n").unwrap();
            }
            for (n, stream) in crowd.iter_mut().enumerate() {
                // Replies to INCR come in some order over the clients.
                let mut byte = [0];
                while byte != *b"\n" {
                    stream.read_exact(&mut byte).unwrap_or_else(|e| panic!("client {n}: {e}"));
                }
                expect(stream, b"+PONG\r\n");
            }
            rounds += 1;
        }
        spelled.join().unwrap();
        let idle_bytes = (resident_bytes(&server) - before) / crowd.len() as u64;
        assert!(idle_bytes <= IDLE_CLIENT_BYTES_MAX, "{idle_bytes} bytes a client");
        let increments = (rounds * crowd.len()).to_string();
        drop(crowd);
        // Descriptors of the crowd come free as the server hears of it.
        let mut client = server.client().unwrap();
        assert_eq!(client.run("GET rounds").unwrap(), Value::bulk(&increments));
        assert_eq!(client.run("GET slow").unwrap(), Value::bulk("word"));
        server.stop().unwrap();
    }
}

/// Each client moves what it gets on to the next one: one push serves them all.
#[test]
fn a_chain_of_blocked_moves_as_long_as_the_crowd() {
    let _crowd = ONE_CROWD.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &["--cores", "1"]).unwrap();
    let mut crowd: Vec<TcpStream> = (1..crowd_size()).map(|_| connect(&server)).collect();
    for (n, stream) in crowd.iter_mut().enumerate() {
        write!(stream, "BLMOVE k{n} k{} LEFT RIGHT 0\r\n", n + 1).unwrap();
    }
    let mut client = server.client().unwrap();
    let waiting = format!("blocked_clients:{}\r\n", crowd.len());
    let all_wait = |value: &Value| match value {
        Value::Bulk(text) => String::from_utf8_lossy(text).contains(&waiting),
        _ => false,
    };
    while !all_wait(&client.run("INFO clients").unwrap()) {
        std::thread::yield_now();
    }
    assert_eq!(client.run("LPUSH k0 x").unwrap(), Value::Integer(1));
    for stream in &mut crowd {
        expect(stream, b"$1\r\nx\r\n");
    }
    let last = format!("LLEN k{}", crowd.len());
    assert_eq!(client.run(&last).unwrap(), Value::Integer(1));
    server.stop().unwrap();
}
