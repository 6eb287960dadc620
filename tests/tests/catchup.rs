//! A node that was away gets what it lacks from the leader's log, as long as that has it, and else
//! a checkpoint: real processes.
#![allow(clippy::unwrap_used)] // A test stops at the first thing that is not as it should be.

use tests::harness::client::encode;
use tests::harness::{Cluster, Value};

/// Keys are written again and again: much log, little data.
const KEYS: usize = 300;
const VALUE_BYTES: usize = 10_000;
const BATCH: usize = 20;
/// What is written while a node is away: far more than is kept in memory.
const AWAY_BYTES: u64 = 40 << 20;
/// Nobody else comes to lead because the machine is busy: what a log has for others is its
/// leader's to know.
const PATIENT: [&str; 4] = ["--election-timeout-ms", "5000", "--catch-up-memory-bytes", "1048576"];

fn write(cluster: &Cluster, leader: usize, bytes: u64) {
    let mut client = cluster.servers[leader].as_ref().unwrap().client().unwrap();
    let value = "v".repeat(VALUE_BYTES);
    for batch in 0..bytes as usize / (BATCH * VALUE_BYTES) {
        let numbers = batch * BATCH..(batch + 1) * BATCH;
        let commands = numbers.map(|n| encode(&["SET", &format!("key:{}", n % KEYS), &value]));
        client.send_raw(&commands.collect::<Vec<_>>().concat()).unwrap();
        (0..BATCH).for_each(|_| assert_eq!(client.read().unwrap(), Value::ok()));
    }
}

/// A number that the leader's INFO has of another node.
fn of_peer(cluster: &Cluster, leader: usize, place: usize, name: &str) -> u64 {
    let mut client = cluster.servers[leader].as_ref().unwrap().client().unwrap();
    let Value::Bulk(info) = client.run("INFO replication").unwrap() else { panic!("INFO is text") };
    let info = String::from_utf8(info).unwrap();
    let node = format!(":node={},", place + 1);
    let line = info.lines().find(|line| line.contains(&node)).expect("a line for each node");
    let field = line.split(',').find_map(|field| field.strip_prefix(&format!("{name}=")));
    field.unwrap_or_else(|| panic!("no {name} in {line}")).parse().unwrap()
}

fn await_caught_up(cluster: &Cluster, leader: usize, place: usize) {
    let node = format!(":node={},link=up", place + 1);
    let caught_up = |info: &str| {
        info.lines().any(|line| {
            line.contains(&node) && line.contains("behind=0,") && line.contains("catch_up=none")
        })
    };
    cluster.await_info(leader, caught_up).unwrap();
    cluster.await_equal().unwrap();
}

#[test]
fn who_was_away_gets_the_log_and_no_checkpoint() {
    let mut cluster = Cluster::start_with(3, &PATIENT).unwrap();
    let leader = cluster.leader().unwrap();
    cluster.await_links(leader).unwrap();
    let away = (leader + 1) % 3;
    write(&cluster, leader, 4 << 20);
    for killed in [true, false] {
        let before = of_peer(&cluster, leader, away, "log_bytes");
        if killed {
            cluster.kill(away).unwrap();
        } else {
            cluster.servers[away].as_ref().unwrap().signal(libc::SIGSTOP);
        }
        write(&cluster, leader, AWAY_BYTES);
        if killed {
            cluster.start_node(away).unwrap();
        } else {
            cluster.servers[away].as_ref().unwrap().signal(libc::SIGCONT);
        }
        await_caught_up(&cluster, leader, away);
        let log_bytes = of_peer(&cluster, leader, away, "log_bytes") - before;
        // The rest was in memory, or on its way when the node stood still.
        assert!(log_bytes > AWAY_BYTES / 2, "{log_bytes} bytes from the log");
        assert_eq!(of_peer(&cluster, leader, away, "checkpoints"), 0, "killed: {killed}");
    }
    assert_eq!(cluster.leader().unwrap(), leader, "the same one leads");
}

#[test]
fn without_a_log_for_others_who_was_away_gets_a_checkpoint() {
    let more = [&PATIENT[..], &["--catch-up-log-bytes", "0"]].concat();
    let mut cluster = Cluster::start_with(3, &more).unwrap();
    let leader = cluster.leader().unwrap();
    cluster.await_links(leader).unwrap();
    let away = (leader + 2) % 3;
    cluster.kill(away).unwrap();
    write(&cluster, leader, AWAY_BYTES);
    cluster.start_node(away).unwrap();
    await_caught_up(&cluster, leader, away);
    assert!(of_peer(&cluster, leader, away, "checkpoints") > 0);
    assert!(of_peer(&cluster, leader, away, "checkpoint_bytes") > 0);
    assert_eq!(of_peer(&cluster, leader, away, "log_bytes"), 0);
    // Settings change while it runs, and say what they may be.
    let mut client = cluster.servers[leader].as_ref().unwrap().client().unwrap();
    let set = |name: &str, value: &str| format!("CONFIG SET catch-up-{name} {value}");
    assert_eq!(client.run(&set("log-bytes", "1gb")).unwrap(), Value::ok());
    assert_eq!(client.run(&set("bytes-per-second", "0")).unwrap(), Value::ok());
    let Value::Error(refused) = client.run(&set("bytes-per-second", "1000")).unwrap() else {
        panic!("less than a piece of a checkpoint a second")
    };
    assert!(refused.contains("1048576 or more"), "{refused}");
}
