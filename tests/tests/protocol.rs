//! What clients rely on, on the real binary, with one core and with two.
#![allow(clippy::unwrap_used)] // A test stops at the first thing that is not as it should be.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use tests::harness::cases::{check, with_cores};
use tests::harness::{Client, Server, Value};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn pipelines_keep_their_order_over_all_shards() {
    with_cores(&[], |server| {
        let mut client = server.client().unwrap();
        for round in 0..50 {
            for n in 0..40 {
                client.send(&["SET", &format!("k{n}"), &format!("{round}:{n}")]).unwrap();
                client.send(&["GET", &format!("k{n}")]).unwrap();
                client.send(&["ECHO", &format!("{n}")]).unwrap();
            }
            client.send(&["MGET", "k0", "k1", "k39", "none"]).unwrap();
            for n in 0..40 {
                assert_eq!(client.read().unwrap(), Value::ok());
                assert_eq!(client.read().unwrap(), Value::bulk(&format!("{round}:{n}")));
                assert_eq!(client.read().unwrap(), Value::bulk(&n.to_string()));
            }
            let all = [0, 1, 39].map(|n| Value::bulk(&format!("{round}:{n}")));
            let all = all.into_iter().chain([Value::Null]).collect();
            assert_eq!(client.read().unwrap(), Value::Array(all));
        }
    });
}

/// As Redis 7.0.15 answers.
#[test]
fn a_trim_that_leaves_all_fails_a_transaction_that_watches() {
    with_cores(&[], |server| {
        let mut client = server.client().unwrap();
        check(&mut client, "RPUSH l a b", Value::Integer(2));
        check(&mut client, "WATCH l", Value::ok());
        check(&mut client, "LTRIM l -5 88", Value::ok());
        check(&mut client, "MULTI", Value::ok());
        check(&mut client, "EXEC", Value::Null);
        check(&mut client, "WATCH l", Value::ok());
        check(&mut client, "LTRIM none 0 1", Value::ok());
        check(&mut client, "MULTI", Value::ok());
        check(&mut client, "EXEC", Value::Array(Vec::new()));
    });
}

/// With three cores a request for shards could overtake a forwarded command on its way.
#[test]
fn what_takes_many_shards_sees_all_that_the_pipeline_wrote_before() {
    let directory = tempfile::tempdir().unwrap();
    let server =
        Server::start(directory.path(), &["--cores", "4", "--durability", "none"]).unwrap();
    let mut client = server.client().unwrap();
    for round in 1..=300 {
        let keys: Vec<String> = (0..8).map(|n| format!("k{n}")).collect();
        for key in &keys {
            client.send(&["SADD", key, &format!("{key}:{round}")]).unwrap();
        }
        let mut union = vec!["SUNION"];
        union.extend(keys.iter().map(String::as_str));
        client.send(&union).unwrap();
        for _ in &keys {
            assert_eq!(client.read().unwrap(), Value::Integer(1));
        }
        let Value::Array(members) = client.read().unwrap() else { panic!("no array") };
        assert_eq!(members.len(), round * keys.len());
    }
}

#[test]
fn bytes_one_at_a_time_inline_commands_and_bad_ones() {
    with_cores(&[], |server| {
        let mut client = server.client().unwrap();
        for byte in b"*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\nPING\r\n" {
            client.send_raw(&[*byte]).unwrap();
        }
        assert_eq!(client.read().unwrap(), Value::bulk("hi"));
        assert_eq!(client.read().unwrap(), Value::Simple("PONG".into()));
        client.send_raw(b"*1\r\n!\r\n").unwrap();
        let error = Value::Error("ERR Protocol error: expected '$', got '!'".into());
        assert_eq!(client.read().unwrap(), error);
        assert!(client.read().is_err(), "the connection is closed");
        let mut client = server.client().unwrap();
        let unknown = "ERR unknown command 'FOO', with args beginning with: 'a' 'b' ";
        check(&mut client, "FOO a b", Value::Error(unknown.trim_end().into()));
        let arity = "ERR wrong number of arguments for 'get' command";
        check(&mut client, "GET", Value::Error(arity.into()));
    });
}

#[test]
fn transactions_are_whole_and_watch_sees_changes() {
    with_cores(&[], |server| {
        let (mut one, mut other) = (server.client().unwrap(), server.client().unwrap());
        for (watched, expected) in [("w1", true), ("w2", true), ("w3", false), ("w4", false)] {
            check(&mut one, &format!("WATCH {watched} x"), Value::ok());
            if !expected {
                check(&mut other, &format!("SET {watched} 1"), Value::ok());
            }
            check(&mut one, "MULTI", Value::ok());
            for command in ["SET p 1", "SET q 2", "RPUSH l a", "DEL l", "MGET p q"] {
                check(&mut one, command, Value::Simple("QUEUED".into()));
            }
            let replies = vec![
                Value::ok(),
                Value::ok(),
                Value::Integer(1),
                Value::Integer(1),
                Value::Array(vec![Value::bulk("1"), Value::bulk("2")]),
            ];
            check(&mut one, "EXEC", if expected { Value::Array(replies) } else { Value::Null });
        }
        check(&mut one, "MULTI", Value::ok());
        assert!(matches!(one.run("NOSUCH").unwrap(), Value::Error(_)));
        let aborted = "EXECABORT Transaction discarded because of previous errors.";
        check(&mut one, "EXEC", Value::Error(aborted.into()));
        check(&mut one, "EXEC", Value::Error("ERR EXEC without MULTI".into()));
        check(&mut one, "MULTI", Value::ok());
        check(&mut one, "INFO server", Value::Simple("QUEUED".into()));
        check(&mut one, "ECHO x", Value::Simple("QUEUED".into()));
        let Value::Array(replies) = one.run("EXEC").unwrap() else { panic!("EXEC ran") };
        assert!(matches!(&replies[0], Value::Bulk(text) if text.starts_with(b"# Server")));
        assert_eq!(replies[1], Value::bulk("x"));
    });
}

#[test]
fn a_transaction_of_reads_is_answered_at_once() {
    with_cores(&[], |server| {
        let mut client = server.client().unwrap();
        for _ in 0..300 {
            check(&mut client, "MULTI", Value::ok());
            check(&mut client, "GET k", Value::Simple("QUEUED".into()));
            check(&mut client, "EXEC", Value::Array(vec![Value::Null]));
        }
    });
}

#[test]
fn blocking_commands_wake_in_order_and_time_out() {
    with_cores(&[], |server| {
        let mut pusher = server.client().unwrap();
        for key in ["q1", "q2", "q3", "q4"] {
            let mut waiting: Vec<Client> = (0..3).map(|_| server.client().unwrap()).collect();
            for (n, client) in waiting.iter_mut().enumerate() {
                client.send(&["BLPOP", "nothing", key, "0"]).unwrap();
                // Each stands in line before the next one asks.
                loop {
                    let Value::Bulk(info) = pusher.run("INFO clients").unwrap() else { panic!() };
                    let blocked = format!("blocked_clients:{}\r\n", n + 1);
                    if String::from_utf8_lossy(&info).contains(&blocked) {
                        break;
                    }
                }
            }
            for (n, client) in waiting.iter_mut().enumerate() {
                check(&mut pusher, &format!("RPUSH {key} v{n}"), Value::Integer(1));
                let expected = Value::Array(vec![Value::bulk(key), Value::bulk(&format!("v{n}"))]);
                assert_eq!(client.read().unwrap(), expected);
            }
            check(&mut pusher, &format!("EXISTS {key}"), Value::Integer(0));
        }
        check(&mut pusher, "BLPOP none1 none2 0.05", Value::Null);
        check(&mut pusher, "BLMOVE none1 none2 LEFT RIGHT 0.05", Value::Null);
    });
}

#[test]
fn whole_keyspace_commands_see_every_shard() {
    with_cores(&[], |server| {
        let mut client = server.client().unwrap();
        for n in 0..1000 {
            check(&mut client, &format!("SET key:{n} {n}"), Value::ok());
        }
        check(&mut client, "DBSIZE", Value::Integer(1000));
        let (mut cursor, mut seen) = ("0".to_owned(), std::collections::BTreeSet::new());
        for _ in 0..1000 {
            let Value::Array(reply) = client.run(&format!("SCAN {cursor} COUNT 17")).unwrap()
            else {
                panic!("SCAN gives an array")
            };
            let [Value::Bulk(next), Value::Array(keys)] = &reply[..] else { panic!("two parts") };
            for key in keys {
                let Value::Bulk(key) = key else { panic!("keys are bulk strings") };
                assert!(seen.insert(key.clone()), "no key comes twice");
            }
            cursor = String::from_utf8(next.clone()).unwrap();
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(seen.len(), 1000);
        check(&mut client, "RENAME key:1 other", Value::ok());
        check(&mut client, "GET other", Value::bulk("1"));
        check(&mut client, "MSETNX key:2 x new y", Value::Integer(0));
        check(&mut client, "COPY key:2 copied", Value::Integer(1));
        check(&mut client, "SWAPDB 0 1", Value::ok());
        check(&mut client, "DBSIZE", Value::Integer(0));
        check(&mut client, "SELECT 1", Value::ok());
        check(&mut client, "DBSIZE", Value::Integer(1001));
        check(&mut client, "FLUSHALL", Value::ok());
        check(&mut client, "DBSIZE", Value::Integer(0));
    });
}

/// The keys of the patterns and the target lie in shards that the list's core does not own.
#[test]
fn sort_reads_and_stores_keys_of_every_shard() {
    with_cores(&[], |server| {
        let mut client = server.client().unwrap();
        for n in 0..40 {
            check(&mut client, &format!("RPUSH list {n}"), Value::Integer(n + 1));
            check(&mut client, &format!("SET weight:{n} {}", 40 - n), Value::ok());
            check(&mut client, &format!("HSET object:{n} name n{n}"), Value::Integer(1));
        }
        let sort = "SORT list BY weight:* GET object:*->name";
        let names: Vec<Value> = (0..40).rev().map(|n| Value::bulk(&format!("n{n}"))).collect();
        check(&mut client, sort, Value::Array(names.clone()));
        for to in 0..8 {
            check(&mut client, &format!("{sort} STORE to:{to}"), Value::Integer(40));
            check(&mut client, &format!("LRANGE to:{to} 0 -1"), Value::Array(names.clone()));
            check(&mut client, &format!("SORT list LIMIT 0 1 STORE to:{to}"), Value::Integer(1));
        }
        check(&mut client, "MULTI", Value::ok());
        check(&mut client, &format!("{sort} LIMIT 0 1"), Value::Simple("QUEUED".into()));
        check(&mut client, "EXEC", Value::Array(vec![Value::Array(names[..1].to_vec())]));
    });
}

#[test]
fn big_values_and_a_client_that_never_reads() {
    with_cores(&[], |server| {
        let mut client = server.client().unwrap();
        let big = "x".repeat(20 << 20);
        client.send(&["SET", "big", &big]).unwrap();
        assert_eq!(client.read().unwrap(), Value::ok());
        // On every core.
        for n in 0..8 {
            check(&mut client, &format!("SET part:{n} {}", "y".repeat(1 << 20)), Value::ok());
        }
        // Some of them are connected to another core than their key's.
        let mut greedy: Vec<Client> = (0..8).map(|_| server.client().unwrap()).collect();
        for (n, greedy) in greedy.iter_mut().enumerate() {
            let command = ["GET", &format!("part:{n}")];
            (0..500).for_each(|_| greedy.send(&command).unwrap());
        }
        check(&mut client, "SET small 1", Value::ok());
        check(&mut client, "GET small", Value::bulk("1"));
        while most_unread(&mut client) < 2 << 20 {
            std::thread::yield_now();
        }
        let unread = most_unread(&mut client);
        assert!(unread < 16 << 20, "the greedy client has to read first: {unread}");
        assert_eq!(client.run("GET big").unwrap(), Value::Bulk(big.into_bytes()));
        drop(greedy);
        check(&mut client, "PING", Value::Simple("PONG".into()));
    });
}

/// The most that some client has to read still.
fn most_unread(client: &mut Client) -> usize {
    let Value::Bulk(list) = client.run("CLIENT LIST").unwrap() else { panic!() };
    let list = String::from_utf8_lossy(&list).into_owned();
    let unread = list
        .split("omem=")
        .skip(1)
        .filter_map(|rest| rest.split(' ').next().and_then(|number| number.parse::<usize>().ok()));
    unread.max().unwrap_or(0)
}

#[test]
fn a_server_stops_though_a_client_reads_nothing() {
    for cores in ["1", "2"] {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::start(directory.path(), &["--cores", cores]).unwrap();
        let mut client = server.client().unwrap();
        check(&mut client, &format!("SET part {}", "y".repeat(1 << 20)), Value::ok());
        let mut greedy = server.client().unwrap();
        (0..40).for_each(|_| greedy.send(&["GET", "part"]).unwrap());
        while most_unread(&mut client) < 1 << 20 {
            std::thread::yield_now();
        }
        server.signal(libc::SIGTERM);
        let said = server.await_line("the server stops, and the client has read nothing", PATIENCE);
        assert!(said.is_some(), "{cores} cores");
        server.await_end().unwrap();
    }
}

/// What was acknowledged before the end is there, whichever of the two signals it was.
#[test]
fn sigint_ends_a_server_in_good_order_as_sigterm_does() {
    const PIPELINE: usize = 100;
    for (cores, signal) in [("1", libc::SIGINT), ("2", libc::SIGINT), ("2", libc::SIGTERM)] {
        let directory = tempfile::tempdir().unwrap();
        let start = || Server::start(directory.path(), &["--cores", cores]).unwrap();
        let server = start();
        let mut client = server.client().unwrap();
        let mut acknowledged = 0;
        // It is in the middle of such pipelines when the signal comes.
        let mut is_told = false;
        loop {
            let sets =
                (acknowledged..acknowledged + PIPELINE).map(|n| format!("SET k:{n} {n}\r\n"));
            let sent = client.send_raw(sets.collect::<String>().as_bytes());
            if acknowledged >= 10 * PIPELINE && !std::mem::replace(&mut is_told, true) {
                server.signal(signal);
            }
            let answers = (0..PIPELINE).map_while(|_| client.read().ok());
            let count = answers.inspect(|answer| assert_eq!(*answer, Value::ok())).count();
            acknowledged += count;
            if sent.is_err() || count < PIPELINE {
                break;
            }
        }
        assert!(is_told, "it ended before");
        server.await_end().unwrap();
        let server = start();
        let mut client = server.client().unwrap();
        for n in 0..acknowledged {
            check(&mut client, &format!("GET k:{n}"), Value::bulk(&n.to_string()));
        }
    }
}

/// For how long a server's connection with a client still bears silence; `None` for ever.
fn silence_left_s(server: &Server, client: &TcpStream) -> Option<u64> {
    let ends = [server.address(), client.local_addr().unwrap()];
    let [local, remote] = ends.map(|end| format!("0100007F:{:04X}", end.port()));
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let of_it = |line: &&str| line.contains(&format!(" {local} {remote} "));
    let line = table.lines().find(of_it).expect("the connection is there");
    let timer = line.split_whitespace().nth(5).unwrap();
    let (kind, ticks) = timer.split_once(':').unwrap();
    (kind == "02").then(|| u64::from_str_radix(ticks, 16).unwrap() / 100)
}

#[test]
fn keepalive_holds_for_clients_that_come_after_it_was_set() {
    with_cores(&["--tcp-keepalive", "500"], |server| {
        let mut client = server.client().unwrap();
        for (set, least_s, most_s) in [(None, 400, 500), (Some(9000), 8900, 9000), (Some(0), 0, 0)]
        {
            if let Some(seconds) = set {
                check(&mut client, &format!("CONFIG SET tcp-keepalive {seconds}"), Value::ok());
            }
            for _ in 0..8 {
                let mut came = TcpStream::connect(server.address()).unwrap();
                // A reply says that it is a client; its acknowledgement may be on its way.
                came.write_all(b"PING\r\n").unwrap();
                came.read_exact(&mut [0; 7]).unwrap();
                let began = Instant::now();
                let left_s = std::iter::repeat_with(|| silence_left_s(server, &came))
                    .find(|left_s| left_s.unwrap_or(0) >= least_s || began.elapsed() > PATIENCE)
                    .flatten();
                assert!(left_s.unwrap_or(0) >= least_s, "{left_s:?} of {set:?}");
                assert!(left_s.unwrap_or(0) <= most_s, "{left_s:?} of {set:?}");
                assert_eq!(left_s.is_none(), most_s == 0);
            }
        }
        let refused = "ERR CONFIG SET failed (possibly related to argument 'tcp-keepalive') - \
                       argument must be between 0 and 32767 inclusive";
        check(&mut client, "CONFIG SET tcp-keepalive 32768", Value::Error(refused.into()));
    });
}

#[test]
fn a_thousand_clients_at_once() {
    with_cores(&[], |server| {
        let mut clients: Vec<Client> = (0..1000).map(|_| server.client().unwrap()).collect();
        for (n, client) in clients.iter_mut().enumerate() {
            client.send(&["SET", &format!("c{n}"), &n.to_string()]).unwrap();
        }
        for client in &mut clients {
            assert_eq!(client.read().unwrap(), Value::ok());
        }
        check(&mut clients[0], "DBSIZE", Value::Integer(1000));
    });
}

#[test]
fn expiry_and_restart() {
    let directory = tempfile::tempdir().unwrap();
    let start = |path: &Path, cores| Server::start(path, &["--cores", cores]).unwrap();
    let server = start(directory.path(), "1");
    let mut client = server.client().unwrap();
    check(&mut client, "SET short 1 PX 1", Value::ok());
    check(&mut client, "SET long 1 EX 1000", Value::ok());
    check(&mut client, "RPUSH list a b c", Value::Integer(3));
    check(&mut client, "LREM list 0 b", Value::Integer(1));
    while client.run("DBSIZE").unwrap() != Value::Integer(2) {
        std::thread::yield_now();
    }
    server.stop().unwrap();
    let server = start(directory.path(), "2");
    let mut client = server.client().unwrap();
    check(&mut client, "GET short", Value::Null);
    let Value::Integer(ttl) = client.run("TTL long").unwrap() else { panic!("a number") };
    assert!((900..=1000).contains(&ttl));
    let list = Value::Array(vec![Value::bulk("a"), Value::bulk("c")]);
    check(&mut client, "LRANGE list 0 -1", list);
    server.stop().unwrap();
}
