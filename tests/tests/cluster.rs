//! Three real processes: what was acknowledged survives the loss of any of them, whoever leads.
#![allow(clippy::unwrap_used)] // A test stops at the first thing that is not as it should be.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tests::harness::client::encode;
use tests::harness::{Client, Cluster, Value};

const CLIENTS: u64 = 4;
/// Writes of a client under way at once.
const PIPELINE: u64 = 8;
/// A failover on a machine that others use; the usual one takes half a second.
const FAILOVER_MAX: Duration = Duration::from_secs(60);

/// Where the nodes are now: those that come back have other ports.
type Addresses = Mutex<Vec<SocketAddr>>;

/// What a client wrote: each number once, acknowledged or in doubt.
#[derive(Default)]
struct Written {
    acknowledged: Vec<u64>,
    in_doubt: Vec<u64>,
}

/// One write: a pair that must never be seen in half.
fn command(c: u64, n: u64) -> Vec<u8> {
    let (a, b, v) = (format!("a:{c}:{n}"), format!("b:{c}:{n}"), format!("v{n}"));
    match n % 2 {
        0 => encode(&["MSET", &a, &v, &b, &v]),
        _ => [
            encode(&["MULTI"]),
            encode(&["SET", &a, &v]),
            encode(&["SET", &b, &v]),
            encode(&["EXEC"]),
        ]
        .concat(),
    }
}

/// The reply to a write: whether it took place, `None` if nobody knows.
fn outcome(client: &mut Client, n: u64) -> Option<bool> {
    let count = if n.is_multiple_of(2) { 1 } else { 4 };
    let mut last = Value::Null;
    for _ in 0..count {
        last = client.read().ok()?;
    }
    match last {
        Value::Simple(_) | Value::Array(_) => Some(true),
        Value::Error(_) => Some(false),
        _ => None,
    }
}

/// Writes to whichever node leads until told to stop; `done` counts what is acknowledged.
fn write(c: u64, addresses: &Addresses, stop: &AtomicBool, done: &AtomicU64) -> Written {
    let mut written = Written::default();
    let (mut next, mut turn) = (0, c as usize);
    while !stop.load(Ordering::Relaxed) {
        turn += 1;
        let address = {
            let addresses = addresses.lock().unwrap();
            addresses[turn % addresses.len()]
        };
        let Ok(mut client) = Client::connect(address) else {
            std::thread::sleep(Duration::from_millis(10));
            continue;
        };
        'connected: while !stop.load(Ordering::Relaxed) {
            let batch: Vec<u64> = (next..next + PIPELINE).collect();
            next += PIPELINE;
            let bytes: Vec<u8> = batch.iter().flat_map(|n| command(c, *n)).collect();
            if client.send_raw(&bytes).is_err() {
                written.in_doubt.extend(batch);
                break;
            }
            let mut refused = false;
            for (place, n) in batch.iter().enumerate() {
                match outcome(&mut client, *n) {
                    Some(true) => {
                        written.acknowledged.push(*n);
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    Some(false) => refused = true,
                    None => {
                        written.in_doubt.extend(&batch[place..]);
                        break 'connected;
                    }
                }
            }
            if refused {
                std::thread::sleep(Duration::from_millis(10));
                break;
            }
        }
    }
    written
}

/// An error if the connection was closed, as one is when its node leads no more.
fn is_there(client: &mut Client, c: u64, n: u64) -> anyhow::Result<bool> {
    let Value::Array(pair) = client.run(&format!("MGET a:{c}:{n} b:{c}:{n}"))? else {
        panic!("MGET gives an array")
    };
    assert_eq!(pair[0], pair[1], "half of write {n} of client {c}");
    assert!(pair[0] == Value::Null || pair[0] == Value::bulk(&format!("v{n}")));
    Ok(pair[0] != Value::Null)
}

/// All that was acknowledged is there, and nothing in half, on every node.
fn check(cluster: &Cluster, written: &[Written]) {
    cluster.leader().unwrap();
    cluster.await_equal().unwrap();
    let mut client = cluster.reader(0).unwrap();
    let mut ask = |c: u64, n: u64| {
        let began = Instant::now();
        loop {
            match is_there(&mut client, c, n) {
                Ok(there) => return there,
                Err(error) => assert!(began.elapsed() < FAILOVER_MAX, "{error}"),
            }
            // Closed: a busy machine has held up its node, which led.
            cluster.await_equal().unwrap();
            client = cluster.reader(0).unwrap();
        }
    };
    for (c, written) in written.iter().enumerate() {
        for n in &written.acknowledged {
            assert!(ask(c as u64, *n), "write {n} of client {c} was acknowledged");
        }
        for n in &written.in_doubt {
            ask(c as u64, *n);
        }
    }
}

/// The clients end as well if what they are watched by fails: their scope waits for them.
struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Clients write while `disturb` does what it does; what they wrote is checked.
fn under_load(
    cluster: &mut Cluster,
    disturb: impl FnOnce(&mut Cluster, &Addresses, &AtomicU64),
) -> Vec<Written> {
    cluster.leader().unwrap();
    let addresses = Mutex::new(cluster.addresses());
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let (addresses, stop, done) = (&addresses, &stop, &done);
        let threads: Vec<_> =
            (0..CLIENTS).map(|c| scope.spawn(move || write(c, addresses, stop, done))).collect();
        let stopped = StopWhenDropped(stop);
        await_writes(done, 200);
        disturb(cluster, addresses, done);
        await_writes(done, 200);
        drop(stopped);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Until so many more writes are acknowledged; how long that took.
fn await_writes(done: &AtomicU64, count: u64) -> Duration {
    let (began, until) = (Instant::now(), done.load(Ordering::Relaxed) + count);
    while done.load(Ordering::Relaxed) < until {
        assert!(began.elapsed() < FAILOVER_MAX, "no writes are acknowledged any more");
        std::thread::sleep(Duration::from_millis(2));
    }
    began.elapsed()
}

/// kill -9 of the leader, again and again; each comes back.
#[test]
fn leaders_are_killed_and_nothing_acknowledged_is_lost() {
    let rounds = std::env::var("QUORING_CLUSTER_ROUNDS").ok().and_then(|n| n.parse().ok());
    let rounds: usize = rounds.unwrap_or(3);
    let timeout_ms = std::env::var("QUORING_ELECTION_TIMEOUT_MS").unwrap_or("300".into());
    let mut cluster = Cluster::start_with(3, &["--election-timeout-ms", &timeout_ms]).unwrap();
    let mut took = Vec::new();
    let written = under_load(&mut cluster, |cluster, addresses, done| {
        for _ in 0..rounds {
            let leader = cluster.leader().unwrap();
            cluster.kill(leader).unwrap();
            *addresses.lock().unwrap() = cluster.addresses();
            took.push(await_writes(done, 1));
            await_writes(done, 100);
            cluster.start_node(leader).unwrap();
            *addresses.lock().unwrap() = cluster.addresses();
            await_writes(done, 100);
        }
    });
    took.sort_unstable();
    let at = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)];
    println!(
        "{rounds} leaders killed: writes again after {:?} (median), {:?} (p99), {:?} at most",
        at(50),
        at(99),
        at(100)
    );
    check(&cluster, &written);
    // And after all of them are killed at once.
    (0..3).for_each(|place| cluster.kill(place).unwrap());
    (0..3).for_each(|place| cluster.start_node(place).unwrap());
    check(&cluster, &written);
}

/// A leader that stands still is replaced; when it goes on it must not show what it alone had done.
#[test]
fn a_leader_that_stood_still_follows_the_next_one() {
    let mut cluster = Cluster::start(3).unwrap();
    let written = under_load(&mut cluster, |cluster, addresses, done| {
        for _ in 0..2 {
            let leader = cluster.leader().unwrap();
            let server = cluster.servers[leader].as_ref().unwrap();
            server.signal(libc::SIGSTOP);
            let others = cluster.servers.iter().enumerate().filter(|(place, _)| *place != leader);
            *addresses.lock().unwrap() =
                others.map(|(_, server)| server.as_ref().unwrap().address()).collect();
            // Clients that wait for the one that stands still are of no use: those who come anew.
            let began = Instant::now();
            let mut fresh = None;
            while fresh.is_none() && began.elapsed() < FAILOVER_MAX {
                let all = addresses.lock().unwrap().clone();
                fresh = all.into_iter().find(|address| {
                    let client = Client::connect(*address);
                    client.is_ok_and(|mut client| {
                        client.run("SET fresh x").is_ok_and(|reply| reply == Value::ok())
                    })
                });
            }
            assert!(fresh.is_some(), "nobody takes the place of a leader that stands still");
            server.signal(libc::SIGCONT);
            // It closes its clients once it sees that it leads no more; who comes after that is
            // answered, if need be when it has read its memory again.
            let began = Instant::now();
            while !cluster.reader(leader).is_ok_and(|mut client| client.run("GET fresh").is_ok()) {
                assert!(began.elapsed() < FAILOVER_MAX, "it does not come back");
            }
            *addresses.lock().unwrap() = cluster.addresses();
            await_writes(done, 100);
        }
    });
    check(&cluster, &written);
}

/// SIGTERM of a follower and of the leader while writes go on: each stops in good order, and comes
/// back.
#[test]
fn nodes_stop_in_good_order_while_others_write() {
    let mut cluster = Cluster::start(3).unwrap();
    let written = under_load(&mut cluster, |cluster, addresses, done| {
        for of_leader in [false, true] {
            let leader = cluster.leader().unwrap();
            let place = if of_leader { leader } else { (leader + 1) % 3 };
            *addresses.lock().unwrap() = (0..3)
                .filter(|other| *other != place)
                .map(|other| cluster.servers[other].as_ref().unwrap().address())
                .collect();
            cluster.stop(place).unwrap();
            await_writes(done, 100);
            cluster.start_node(place).unwrap();
            *addresses.lock().unwrap() = cluster.addresses();
            await_writes(done, 100);
        }
    });
    check(&cluster, &written);
}

/// Without a majority nothing is acknowledged, and no read is answered as if there was one.
#[test]
fn a_node_alone_acknowledges_nothing() {
    let mut cluster = Cluster::start(3).unwrap();
    let leader = cluster.leader().unwrap();
    for place in (0..3).filter(|place| *place != leader) {
        cluster.kill(place).unwrap();
    }
    let began = Instant::now();
    let server = cluster.servers[leader].as_ref().unwrap();
    let error = loop {
        // Closed when the node gives up the lead.
        let reply = server.client().unwrap().run("GET leader:probe");
        match reply {
            Ok(Value::Error(error)) => break error,
            _ => assert!(began.elapsed() < FAILOVER_MAX, "it still answers"),
        }
    };
    assert!(error.starts_with("CLUSTERDOWN No primary "), "{error}");
    let refused = server.client().unwrap().run("SET a 1").unwrap();
    assert_eq!(refused, Value::Error(error), "of a write too");
    let mut reader = cluster.reader(leader).unwrap();
    assert_eq!(reader.run("GET leader:probe").unwrap(), Value::bulk("x"));
    for place in (0..3).filter(|place| *place != leader) {
        cluster.start_node(place).unwrap();
    }
    assert_eq!(cluster.ask("GET a").unwrap(), Value::Null);
}
