//! The primary changes while clients of other nodes are there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tests::harness::client::encode;
use tests::harness::{Client, Cluster, Value};

use super::{await_that, client, start, text};

/// kill -9 of the leader: idle clients stay and go on, what was watched counts as changed, and what
/// is acknowledged by any node is there, once.
#[test]
fn clients_of_followers_outlive_the_leader() {
    let (mut cluster, leader, follower) = start();
    let third = (0..3).find(|place| ![leader, follower].contains(place)).unwrap();
    let mut idle = client(&cluster, follower);
    idle.run("SELECT 4").unwrap();
    assert_eq!(idle.run("SET k 1").unwrap(), Value::ok());
    let mut watching = client(&cluster, follower);
    assert_eq!(watching.run("WATCH k").unwrap(), Value::ok());
    let mut queueing = client(&cluster, follower);
    assert_eq!(queueing.run("SET q 1").unwrap(), Value::ok());
    assert_eq!(queueing.run("MULTI").unwrap(), Value::ok());
    assert_eq!(queueing.run("INCR q").unwrap(), Value::Simple("QUEUED".into()));
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let pushed: Vec<(Vec<u64>, usize)> = std::thread::scope(|scope| {
        let (stop, done) = (&stop, &done);
        let places = [follower, third, follower, third].into_iter().enumerate();
        let threads: Vec<_> = places
            .map(|(c, place)| {
                let address = cluster.servers[place].as_ref().unwrap().address();
                scope.spawn(move || push(address, c as u64, stop, done))
            })
            .collect();
        await_that("writes", || done.load(Ordering::Relaxed) > 500);
        cluster.kill(leader).unwrap();
        let before = done.load(Ordering::Relaxed);
        await_that("writes go on", || done.load(Ordering::Relaxed) > before + 500);
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(idle.run("GET k").unwrap(), Value::bulk("1"), "in the database that it had");
    watching.run("MULTI").unwrap();
    watching.run("SET k 2").unwrap();
    assert_eq!(watching.run("EXEC").unwrap(), Value::Null, "what was watched is lost");
    watching.run("MULTI").unwrap();
    watching.run("SET k 2").unwrap();
    assert_eq!(watching.run("EXEC").unwrap(), Value::Array(vec![Value::ok()]));
    assert_eq!(queueing.run("EXEC").unwrap(), Value::Array(vec![Value::Integer(2)]));
    let closed: usize = pushed.iter().map(|(_, closed)| closed).sum();
    println!("{closed} clients were closed with a write under way");
    let Value::Array(all) = client(&cluster, follower).run("LRANGE pushed 0 -1").unwrap() else {
        panic!("a list")
    };
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    all.into_iter().for_each(|value| *times.entry(text(value)).or_default() += 1);
    assert!(times.values().all(|count| *count == 1), "something was done twice");
    for (c, (acknowledged, _)) in pushed.iter().enumerate() {
        for n in acknowledged {
            assert!(times.contains_key(&format!("{c}:{n}")), "push {n} of client {c}");
        }
    }
}

/// Pushes to a list, a value once; which were acknowledged, and how often it was cut off.
fn push(
    address: std::net::SocketAddr,
    c: u64,
    stop: &AtomicBool,
    done: &AtomicU64,
) -> (Vec<u64>, usize) {
    let (mut acknowledged, mut closed, mut next) = (Vec::new(), 0, 0);
    while !stop.load(Ordering::Relaxed) {
        let mut client = Client::connect(address).unwrap();
        while !stop.load(Ordering::Relaxed) {
            next += 1;
            match client.run(&format!("RPUSH pushed {c}:{next}")) {
                Ok(Value::Integer(_)) => {
                    acknowledged.push(next);
                    done.fetch_add(1, Ordering::Relaxed);
                }
                // Not done: there was no primary.
                Ok(Value::Error(error)) => assert!(error.starts_with("CLUSTERDOWN "), "{error}"),
                Ok(other) => panic!("{other:?}"),
                Err(_) => {
                    closed += 1;
                    break;
                }
            }
        }
    }
    (acknowledged, closed)
}

/// What came before MULTI and waits for a primary is no part of the transaction, whichever node
/// runs it at last: one of these becomes the primary itself.
#[test]
fn what_waits_for_a_primary_is_run_before_the_transaction_behind_it() {
    // The next one must be there before commands are given up, for which a busy machine may be too
    // slow: then it is killed too.
    let mut cluster = Cluster::start(3).unwrap();
    let mut round = 0;
    await_that("a primary comes in time", || {
        round += 1;
        let leader = cluster.leader().unwrap();
        cluster.await_equal().unwrap();
        let others = (0..3).filter(|place| *place != leader);
        let mut clients: Vec<Client> = others.map(|place| client(&cluster, place)).collect();
        cluster.kill(leader).unwrap();
        for (n, client) in clients.iter_mut().enumerate() {
            client.send(&["INCR", &format!("before:{round}:{n}")]).unwrap();
            client.send(&["MULTI"]).unwrap();
            client.send(&["INCR", &format!("within:{round}:{n}")]).unwrap();
            client.send(&["GET", &format!("before:{round}:{n}")]).unwrap();
        }
        // All of them: a client that is not looked at tells nothing.
        let came = clients.iter_mut().filter_map(transaction_behind_wait).count();
        cluster.start_node(leader).unwrap();
        came == clients.len()
    });
}

/// Looks at what comes of the increment and the transaction behind it; `None` if there was no
/// primary in time, or not for long.
fn transaction_behind_wait(client: &mut Client) -> Option<()> {
    let no_primary = "CLUSTERDOWN No primary ";
    let queued = || Value::Simple("QUEUED".into());
    for expected in [Value::Integer(1), Value::ok(), queued(), queued()] {
        match client.read().ok()? {
            Value::Error(error) if error.starts_with(no_primary) => return None,
            reply => assert_eq!(reply, expected),
        }
    }
    let done = Value::Array(vec![Value::Integer(1), Value::bulk("1")]);
    match client.run("EXEC").ok()? {
        Value::Error(error) if error.starts_with(no_primary) => return None,
        reply => assert_eq!(reply, done),
    }
    Some(())
}

/// The lead goes round while clients of all nodes work: not one of them sees an error.
#[test]
fn a_planned_hand_over_is_not_noticed_by_clients() {
    let (cluster, _, _) = start();
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut waits: Vec<Client> = (0..3).map(|place| client(&cluster, place)).collect();
    for (n, waiting) in waits.iter_mut().enumerate() {
        waiting.send(&["BLPOP", &format!("wait:{n}"), "0"]).unwrap();
    }
    let pushed: Vec<(Vec<u64>, usize)> = std::thread::scope(|scope| {
        let (stop, done) = (&stop, &done);
        let threads: Vec<_> = (0..6u64)
            .map(|c| {
                let address = cluster.servers[c as usize % 3].as_ref().unwrap().address();
                scope.spawn(move || push_in_pipelines(address, c, stop, done))
            })
            .collect();
        for _ in 0..4 {
            let before = done.load(Ordering::Relaxed);
            await_that("writes", || done.load(Ordering::Relaxed) > before + 500);
            cluster.hand_over(cluster.leader().unwrap(), "FAILOVER").unwrap();
        }
        let before = done.load(Ordering::Relaxed);
        await_that("writes", || done.load(Ordering::Relaxed) > before + 500);
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let closed: usize = pushed.iter().map(|(_, closed)| closed).sum();
    assert_eq!(closed, 0, "clients were closed");
    let mut last = client(&cluster, 0);
    for (n, waiting) in waits.iter_mut().enumerate() {
        assert_eq!(last.run(&format!("RPUSH wait:{n} x")).unwrap(), Value::Integer(1));
        let popped = Value::Array(vec![Value::bulk(&format!("wait:{n}")), Value::bulk("x")]);
        assert_eq!(waiting.read().unwrap(), popped);
    }
    for (c, (acknowledged, _)) in pushed.iter().enumerate() {
        let Value::Array(all) = last.run(&format!("LRANGE pushed:{c} 0 -1")).unwrap() else {
            panic!("a list")
        };
        let all: Vec<u64> = all.into_iter().map(|value| text(value).parse().unwrap()).collect();
        assert_eq!(all, *acknowledged, "each once, in order, by client {c}");
    }
}

/// What was begun at one primary goes on at the next.
#[test]
fn a_scan_outlives_its_primary() {
    let (cluster, leader, follower) = start();
    let mut here = client(&cluster, follower);
    (0..500).for_each(|n| here.send(&["SET", &format!("key:{n}"), "x"]).unwrap());
    (0..500).for_each(|_| assert_eq!(here.read().unwrap(), Value::ok()));
    let (mut cursor, mut found, mut turns) = ("0".to_owned(), BTreeSet::new(), 0);
    loop {
        let Value::Array(page) = here.run(&format!("SCAN {cursor} COUNT 20")).unwrap() else {
            panic!("a page")
        };
        let [Value::Bulk(next), Value::Array(keys)] = &page[..] else { panic!("{page:?}") };
        found.extend(keys.iter().map(|key| text(key.clone())));
        cursor = String::from_utf8(next.clone()).unwrap();
        turns += 1;
        if turns == 10 {
            cluster.hand_over(leader, "FAILOVER").unwrap();
        }
        if cursor == "0" {
            break;
        }
    }
    assert!(turns > 15, "it was over before: {turns}");
    let missed = (0..500).filter(|n| !found.contains(&format!("key:{n}"))).count();
    assert_eq!(missed, 0, "of 500 keys");
}

/// The same, several at a time, some in transactions; of its own list, so that the order shows.
fn push_in_pipelines(
    address: std::net::SocketAddr,
    c: u64,
    stop: &AtomicBool,
    done: &AtomicU64,
) -> (Vec<u64>, usize) {
    let (mut acknowledged, mut next) = (Vec::new(), 0u64);
    let mut client = Client::connect(address).unwrap();
    let key = format!("pushed:{c}");
    while !stop.load(Ordering::Relaxed) {
        let numbers: Vec<u64> = (next..next + 8).collect();
        next += 8;
        let mut bytes = Vec::new();
        for n in &numbers {
            let push = encode(&["RPUSH", &key, &n.to_string()]);
            if n % 3 == 0 {
                bytes.extend([encode(&["MULTI"]), push, encode(&["EXEC"])].concat());
            } else {
                bytes.extend(push);
            }
        }
        client.send_raw(&bytes).unwrap();
        for n in numbers {
            let count = if n % 3 == 0 { 3 } else { 1 };
            let mut reply = Value::Null;
            for _ in 0..count {
                let Ok(next) = client.read() else { return (acknowledged, 1) };
                assert!(!matches!(next, Value::Error(_)), "{next:?}");
                reply = next;
            }
            assert!(matches!(reply, Value::Integer(_) | Value::Array(_)), "{reply:?}");
            acknowledged.push(n);
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
    (acknowledged, 0)
}

/// A node that stops refuses what comes behind a command that the primary has, and says so behind
/// its reply.
#[test]
fn refusals_of_a_node_that_stops_overtake_nothing() {
    let (cluster, leader, follower) = start();
    let server = cluster.servers[follower].as_ref().unwrap();
    let mut here = client(&cluster, follower);
    assert_eq!(here.run("SET k 1").unwrap(), Value::ok());
    assert_eq!(client(&cluster, leader).run("CLIENT PAUSE 1000 WRITE").unwrap(), Value::ok());
    here.send(&["SET", "k", "2"]).unwrap();
    server.signal(libc::SIGTERM);
    let refuses = || server.client().is_ok_and(|mut other| other.run("PING").is_err());
    await_that("new clients are refused", refuses);
    here.send(&["GET", "k"]).unwrap();
    match here.read() {
        Ok(reply) => assert_eq!(reply, Value::ok()),
        Err(_) => return, // It is closed: nothing was said wrong.
    }
    match here.read() {
        Ok(Value::Error(text)) => assert!(text.starts_with("READONLY "), "{text}"),
        Ok(reply) => panic!("{reply:?}"),
        Err(_) => {}
    }
}
