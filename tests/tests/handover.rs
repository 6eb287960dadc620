//! Planned hand-overs of the lead between real processes: SIGTERM of the leader and FAILOVER, while
//! clients write. Nothing is lost, nothing is in doubt, and little time is.
#![allow(clippy::unwrap_used)] // A test stops at the first thing that is not as it should be.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tests::harness::cluster::STEADY_MS;
use tests::harness::{Client, Cluster, Value};

const CLIENTS: u64 = 4;
/// For so long clients notice a hand-over, at most: where the machine lets each process run when it
/// has something to do, which on a busy one is so in some of these many rounds.
const NOTICED_US_MAX: u64 = 20_000;
const ROUNDS_MAX: usize = 20;
/// Nothing takes so long unless something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a client wrote, and the longest time between two acknowledgements since that was asked
/// last.
#[derive(Default)]
struct Written {
    acknowledged: Vec<u64>,
    in_doubt: Vec<u64>,
}

/// Shared by clients and who watches them.
struct Load {
    addresses: Mutex<Vec<SocketAddr>>,
    stop: AtomicBool,
    done: AtomicU64,
    in_doubt: AtomicU64,
    began: Instant,
    /// When the last write of any client was acknowledged, and the longest time without one.
    last_us: AtomicU64,
    gap_us: AtomicU64,
}

impl Load {
    fn new(addresses: Vec<SocketAddr>) -> Load {
        Load {
            addresses: Mutex::new(addresses),
            stop: AtomicBool::new(false),
            done: AtomicU64::new(0),
            in_doubt: AtomicU64::new(0),
            began: Instant::now(),
            last_us: AtomicU64::new(0),
            gap_us: AtomicU64::new(0),
        }
    }

    fn stops(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn note_acknowledged(&self) {
        let now_us = self.began.elapsed().as_micros() as u64;
        let last_us = self.last_us.swap(now_us, Ordering::Relaxed);
        self.gap_us.fetch_max(now_us.saturating_sub(last_us), Ordering::Relaxed);
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// Until so many more writes are acknowledged.
    fn await_writes(&self, count: u64) {
        let (began, until) = (Instant::now(), self.done.load(Ordering::Relaxed) + count);
        while self.done.load(Ordering::Relaxed) < until {
            assert!(began.elapsed() < PATIENCE, "no writes are acknowledged any more");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// One client: a write at a time, to whichever node takes it.
    fn write(&self, c: u64) -> Written {
        let mut written = Written::default();
        let (mut next, mut turn) = (0, c as usize);
        while !self.stops() {
            turn += 1;
            let address = {
                let addresses = self.addresses.lock().unwrap();
                addresses[turn % addresses.len()]
            };
            let Ok(mut client) = Client::connect(address) else {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            };
            while !self.stops() {
                next += 1;
                match client.run(&format!("SET k:{c}:{next} {next}")) {
                    Ok(Value::Simple(_)) => {
                        written.acknowledged.push(next);
                        self.note_acknowledged();
                    }
                    // It was not done: this node does not lead, or none does for seconds.
                    Ok(Value::Error(error)) => {
                        let refused = ["READONLY ", "CLUSTERDOWN No primary "];
                        assert!(refused.iter().any(|why| error.starts_with(why)), "{error}");
                        std::thread::sleep(Duration::from_millis(1));
                        break;
                    }
                    other => {
                        println!("write {next} of client {c} is in doubt: {other:?}");
                        written.in_doubt.push(next);
                        self.in_doubt.fetch_add(1, Ordering::Relaxed);
                        break;
                    }
                }
            }
        }
        written
    }
}

/// The clients end as well if what they are watched by fails: their scope waits for them.
struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn rounds() -> usize {
    let rounds = std::env::var("QUORING_HANDOVER_ROUNDS").ok().and_then(|n| n.parse().ok());
    rounds.unwrap_or(3)
}

/// Hands over again and again under load, and says how long writes were not acknowledged.
/// `hand_over` says whether that came about: what is not over within a second is given up, and on a
/// busy machine every process may stand still for so long.
fn hand_over_under_load(what: &str, hand_over: impl Fn(&mut Cluster, &Load, usize) -> bool) {
    // Nobody is to lose the lead but by a plan.
    let timeout_ms = std::env::var("QUORING_ELECTION_TIMEOUT_MS").unwrap_or(STEADY_MS.into());
    let mut cluster = Cluster::start_with(3, &["--election-timeout-ms", &timeout_ms]).unwrap();
    cluster.leader().unwrap();
    let load = Load::new(cluster.addresses());
    let mut took_us = Vec::new();
    let written: Vec<Written> = std::thread::scope(|scope| {
        let load = &load;
        let threads: Vec<_> = (0..CLIENTS).map(|c| scope.spawn(move || load.write(c))).collect();
        let stopped = StopWhenDropped(&load.stop);
        let mut given_up = 0;
        let is_slow = |took_us: &[u64]| {
            took_us.iter().all(|took_us| *took_us > NOTICED_US_MAX) && took_us.len() < ROUNDS_MAX
        };
        while took_us.len() < rounds() || is_slow(&took_us) {
            let leader = cluster.leader().unwrap();
            load.await_writes(500);
            load.gap_us.store(0, Ordering::Relaxed);
            let in_doubt = load.in_doubt.load(Ordering::Relaxed);
            let came_about = hand_over(&mut cluster, load, leader);
            load.await_writes(200);
            if came_about {
                took_us.push(load.gap_us.load(Ordering::Relaxed));
                assert_ne!(cluster.leader().unwrap(), leader, "another node leads");
            } else {
                given_up += 1;
                assert!(given_up < 5, "hand-overs do not come about");
                load.in_doubt.store(in_doubt, Ordering::Relaxed);
            }
            if cluster.servers[leader].is_none() {
                cluster.start_node(leader).unwrap();
                *load.addresses.lock().unwrap() = cluster.addresses();
                cluster.await_close(leader).unwrap();
            }
        }
        drop(stopped);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    took_us.sort_unstable();
    assert!(took_us[0] <= NOTICED_US_MAX, "{what}: no writes for {took_us:?} us");
    let (median, longest) = (took_us[took_us.len() / 2], took_us[took_us.len() - 1]);
    let in_doubt = load.in_doubt.load(Ordering::Relaxed);
    println!(
        "{what}, {} times: without an acknowledged write for {:.1} ms (median), {:.1} ms at most; \
         {in_doubt} writes in doubt; {took_us:?}",
        took_us.len(),
        median as f64 / 1e3,
        longest as f64 / 1e3
    );
    check(&cluster, &written);
    assert_eq!(in_doubt, 0, "of a planned hand-over no write is in doubt");
}

fn check(cluster: &Cluster, written: &[Written]) {
    let leader = cluster.leader().unwrap();
    cluster.await_equal().unwrap();
    let mut client = cluster.servers[leader].as_ref().unwrap().client().unwrap();
    for (c, written) in written.iter().enumerate() {
        for n in &written.acknowledged {
            let value = client.run(&format!("GET k:{c}:{n}")).unwrap();
            assert_eq!(value, Value::bulk(&n.to_string()), "write {n} of client {c}");
        }
    }
}

#[test]
fn sigterm_of_the_leader_hands_over() {
    hand_over_under_load("SIGTERM of the leader", |cluster, load, leader| {
        let server = cluster.servers[leader].take().unwrap();
        let address = server.address();
        server.signal(libc::SIGTERM);
        let said = server.await_line("handed over", PATIENCE).expect("it says what becomes of it");
        server.await_end().unwrap();
        load.addresses.lock().unwrap().retain(|other| *other != address);
        !said.contains("is not handed over")
    });
}

#[test]
fn failover_hands_over_and_clients_stay() {
    hand_over_under_load("FAILOVER", |cluster, _, leader| {
        let mut client = cluster.servers[leader].as_ref().unwrap().client().unwrap();
        let mut blocked = cluster.servers[leader].as_ref().unwrap().client().unwrap();
        blocked.send(&["BLPOP", "nothing", "0"]).unwrap();
        assert_eq!(client.run("SET mine 1").unwrap(), Value::ok());
        assert_eq!(client.run("FAILOVER").unwrap(), Value::ok());
        // The connection is the same; it waits while the lead is on its way.
        let began = Instant::now();
        loop {
            let info = info(&mut client);
            // The lead of some shards goes before that of others.
            if info.contains("role:slave") && info.contains("state:no-failover") {
                assert!(info.contains("quoring_last_failover:done"), "{info}");
                break;
            }
            if info.contains("role:master")
                && info.contains("state:no-failover")
                && info.contains("in time")
            {
                // Held up for a second: nothing has changed, and it may be told again.
                let again = client.run("FAILOVER").unwrap();
                println!("FAILOVER again: {again:?}");
            }
            assert!(began.elapsed() < PATIENCE, "{info}");
        }
        assert_eq!(client.run("SET mine 2").unwrap(), Value::ok(), "by way of the new leader");
        // Whoever waited waits there.
        assert_eq!(client.run("RPUSH nothing x").unwrap(), Value::Integer(1));
        let popped = blocked.read().unwrap();
        assert_eq!(popped, Value::Array(vec![Value::bulk("nothing"), Value::bulk("x")]));
        true
    });
}

fn info(client: &mut Client) -> String {
    match client.run("INFO replication").unwrap() {
        Value::Bulk(text) => String::from_utf8(text).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Redis's words, as its source has them; those about FORCE with a quorum are ours.
#[test]
fn failover_answers_as_redis_does() {
    let cluster = Cluster::start_steady(3).unwrap();
    let leader = cluster.leader().unwrap();
    let mut client = cluster.servers[leader].as_ref().unwrap().client().unwrap();
    cluster.await_links(leader).unwrap();
    let errors = [
        ("FAILOVER ABORT", "ERR No failover in progress."),
        ("FAILOVER TIMEOUT 0", "ERR FAILOVER timeout must be greater than 0"),
        ("FAILOVER TIMEOUT x", "ERR value is not an integer or out of range"),
        ("FAILOVER TO 127.0.0.1 x", "ERR value is not an integer or out of range"),
        ("FAILOVER TO 127.0.0.1", "ERR syntax error"),
        ("FAILOVER ABORT FORCE", "ERR syntax error"),
        ("FAILOVER TO 127.0.0.1 1", "ERR FAILOVER target HOST and PORT is not a replica."),
        (
            "FAILOVER FORCE",
            "ERR FAILOVER with force option requires both a timeout and target HOST and IP.",
        ),
        (
            "FAILOVER TO 127.0.0.1 1 FORCE TIMEOUT 10",
            "ERR FAILOVER cannot be forced: a node that lacks acknowledged writes is not elected. \
             Leave FORCE out",
        ),
    ];
    for (command, error) in errors {
        assert_eq!(client.run(command).unwrap(), Value::Error(error.into()), "{command}");
    }
    let follower = (leader + 1) % 3;
    let mut other = cluster.servers[follower].as_ref().unwrap().client().unwrap();
    let error = "ERR FAILOVER is not valid when server is a replica.";
    assert_eq!(other.run("FAILOVER").unwrap(), Value::Error(error.into()));
    // To the one that is named, by the address that ROLE gives of it.
    let port = cluster.peer_port(follower);
    let failover = format!("FAILOVER TO 127.0.0.1 {port} TIMEOUT 10000");
    assert_eq!(client.run(&failover).unwrap(), Value::ok());
    assert_eq!(cluster.hand_over(leader, &failover).unwrap(), follower);
}

/// The node that is to lead stands still: the leader goes on, and says how it went.
#[test]
fn a_leader_goes_on_if_nobody_takes_the_lead() {
    let cluster = Cluster::start_steady(3).unwrap();
    let leader = cluster.leader().unwrap();
    cluster.await_links(leader).unwrap();
    let server = |place: usize| cluster.servers[place].as_ref().unwrap();
    let mut client = server(leader).client().unwrap();
    let target = (leader + 1) % 3;
    server(target).signal(libc::SIGSTOP);
    let port = cluster.peer_port(target);
    let began = Instant::now();
    let begun = client.run(&format!("FAILOVER TO 127.0.0.1 {port} TIMEOUT 300")).unwrap();
    assert_eq!(begun, Value::ok());
    let after = loop {
        let info = info(&mut client);
        if info.contains("master_failover_state:no-failover") {
            break info;
        }
        assert!(began.elapsed() < PATIENCE, "{info}");
    };
    server(target).signal(libc::SIGCONT);
    assert!(after.contains("role:master"), "{after}");
    assert!(!after.contains("quoring_last_failover:none"), "{after}");
    assert_eq!(client.run("SET a 1").unwrap(), Value::ok(), "on the same connection");
}
