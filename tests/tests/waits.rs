//! WAIT and WAITAOF of real processes: they wait until so many nodes have what was written, at
//! whichever node they are asked, and say how many have.
#![allow(clippy::unwrap_used)] // A test stops at the first thing that is not as it should be.

use std::time::{Duration, Instant};

use tests::harness::{Client, Cluster, Value};

/// Nothing takes so long unless something hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a wait is that is not to be fulfilled.
const WAIT_MS: u64 = 300;
/// After so long without a primary commands are refused, and a little more.
const NO_PRIMARY_MAX: Duration = Duration::from_secs(5);

fn client(cluster: &Cluster, place: usize) -> Client {
    cluster.servers[place].as_ref().unwrap().client().unwrap()
}

fn signal(cluster: &Cluster, place: usize, signal: i32) {
    cluster.servers[place].as_ref().unwrap().signal(signal);
}

fn check(client: &mut Client, command: &str, expected: &Value) {
    assert_eq!(client.run(command).unwrap(), *expected, "{command}");
}

fn counts(local: i64, nodes: i64) -> Value {
    Value::Array(vec![Value::Integer(local), Value::Integer(nodes)])
}

/// Not before its time is over.
fn check_long(client: &mut Client, command: &str, expected: &Value) {
    let began = Instant::now();
    check(client, command, expected);
    assert!(began.elapsed() >= Duration::from_millis(WAIT_MS), "{command}: {:?}", began.elapsed());
}

fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether so many clients of the primary wait.
fn has_blocked(admin: &mut Client, count: usize) -> bool {
    match admin.run("INFO clients").unwrap() {
        Value::Bulk(info) => {
            String::from_utf8(info).unwrap().contains(&format!("blocked_clients:{count}\r\n"))
        }
        other => panic!("{other:?}"),
    }
}

fn await_blocked(admin: &mut Client, count: usize) {
    await_that(&format!("{count} clients that wait"), || has_blocked(admin, count));
}

fn id_of(client: &mut Client) -> i64 {
    match client.run("CLIENT ID").unwrap() {
        Value::Integer(id) => id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_is_answered_once_so_many_nodes_have_what_was_written() {
    let cluster = Cluster::start_steady(3).unwrap();
    let leader = cluster.leader().unwrap();
    let (follower, away) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.await_links(leader).unwrap();
    cluster.await_close(follower).unwrap();
    let mut admin = client(&cluster, leader);
    for place in [leader, follower] {
        let mut client = client(&cluster, place);
        check(&mut client, "MSET a 1 b 1 c 1 d 1 e 1", &Value::ok());
        check(&mut client, "WAIT 2 0", &Value::Integer(2));
        check(&mut client, "WAITAOF 1 2 0", &counts(1, 2));

        signal(&cluster, away, libc::SIGSTOP);
        check(&mut client, "MSET a 2 b 2 c 2 d 2 e 2", &Value::ok());
        check_long(&mut client, &format!("WAIT 2 {WAIT_MS}"), &Value::Integer(1));
        check_long(&mut client, &format!("WAITAOF 1 2 {WAIT_MS}"), &counts(1, 1));
        check(&mut client, "WAIT 1 0", &Value::Integer(1));
        check(&mut client, "WAITAOF 1 1 0", &counts(1, 1));
        let is_late = |line: &str| line.starts_with("slave") && line.contains("state=online");
        await_that("INFO says that a node is silent", || {
            let Ok(Value::Bulk(text)) = admin.run("INFO replication") else { return false };
            let text = String::from_utf8_lossy(&text).into_owned();
            let lags = text.lines().filter(|line| is_late(line));
            let mut lags = lags.filter_map(|line| line.rsplit("lag=").next()?.parse::<u64>().ok());
            lags.clone().count() == 2 && lags.any(|lag| lag > 0)
        });
        // Within a transaction it does not wait.
        for command in ["MULTI", "SET a 3", "WAIT 2 0", "WAITAOF 1 2 0"] {
            client.run(command).unwrap();
        }
        let expected = vec![Value::ok(), Value::Integer(1), counts(1, 1)];
        check(&mut client, "EXEC", &Value::Array(expected));

        // Nothing of a pipeline overtakes it.
        for words in [&["SET", "a", "4"][..], &["WAIT", "2", "0"], &["INCR", "a"]] {
            client.send(words).unwrap();
        }
        await_blocked(&mut admin, 1);
        check(&mut admin, "GET a", &Value::bulk("4"));
        signal(&cluster, away, libc::SIGCONT);
        let expected = [Value::ok(), Value::Integer(2), Value::Integer(5)];
        assert_eq!([(); 3].map(|()| client.read().unwrap()), expected);
        await_blocked(&mut admin, 0);
    }
}

#[test]
fn it_ends_with_its_client_and_when_it_is_told_to() {
    let cluster = Cluster::start_steady(3).unwrap();
    let leader = cluster.leader().unwrap();
    let follower = (leader + 1) % 3;
    cluster.await_close(follower).unwrap();
    let mut admin = client(&cluster, leader);
    for place in [leader, follower] {
        let mut waiting = client(&cluster, place);
        check(&mut waiting, "SET a 1", &Value::ok());
        check(&mut waiting, "WAIT 2 0", &Value::Integer(2));
        let id = id_of(&mut waiting);
        let error = Value::Error("UNBLOCKED client unblocked via CLIENT UNBLOCK".into());
        let (aof, all) = (["WAITAOF", "0", "3", "0"], Value::Integer(2));
        for (words, how, expected) in [
            (&["WAIT", "3", "0"][..], "TIMEOUT", all),
            (&aof, "TIMEOUT", counts(1, 2)),
            (&aof, "ERROR", error),
        ] {
            waiting.send(words).unwrap();
            await_blocked(&mut admin, 1);
            let unblock = format!("CLIENT UNBLOCK {id} {how}");
            check(&mut admin, &unblock, &Value::Integer(1));
            assert_eq!(waiting.read().unwrap(), expected, "{words:?}");
            check(&mut admin, &unblock, &Value::Integer(0));
        }
        waiting.send(&["WAIT", "3", "0"]).unwrap();
        await_blocked(&mut admin, 1);
        drop(waiting);
        await_blocked(&mut admin, 0);
    }
}

/// Whoever waits goes on to wait at the next primary, who knows by itself which nodes have what.
#[test]
fn it_goes_on_where_another_node_leads() {
    let mut cluster = Cluster::start_with(3, &["--election-timeout-ms", "1000"]).unwrap();
    let leader = cluster.leader().unwrap();
    let (next, away) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.await_links(leader).unwrap();
    [next, away].into_iter().for_each(|place| cluster.await_close(place).unwrap());
    // Two other nodes have nothing from here on, until both of them are back.
    signal(&cluster, away, libc::SIGSTOP);
    let mut waiting = [leader, next].map(|place| {
        let mut client = client(&cluster, place);
        check(&mut client, "SET a 1", &Value::ok());
        client.send(&["WAIT", "2", "0"]).unwrap();
        client
    });
    await_blocked(&mut client(&cluster, leader), 2);
    check(&mut client(&cluster, leader), "FAILOVER", &Value::ok());
    cluster.await_info(next, |info| info.contains("role:master")).unwrap();
    await_blocked(&mut client(&cluster, next), 2);

    // One that is lost takes only its own clients with it.
    cluster.kill(next).unwrap();
    let lost = Instant::now();
    signal(&cluster, away, libc::SIGCONT);
    assert!(waiting[1].read().is_err(), "its node is gone");
    let last = cluster.leader().unwrap();
    let mut admin = client(&cluster, last);
    // It is refused if the election has taken too long.
    let mut waits = false;
    while !waits && lost.elapsed() < NO_PRIMARY_MAX {
        waits = has_blocked(&mut admin, 1);
    }
    if waits {
        check(&mut admin, "WAIT 1 20000", &Value::Integer(1));
        await_blocked(&mut admin, 1);
    }
    cluster.start_node(next).unwrap();
    match waiting[0].read().unwrap() {
        Value::Error(said) if !waits && said.starts_with("CLUSTERDOWN ") => {
            println!("the election took too long");
        }
        said => assert_eq!(said, Value::Integer(2)),
    }
    check(&mut waiting[0], "GET a", &Value::bulk("1"));
}
