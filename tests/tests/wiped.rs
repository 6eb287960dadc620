//! A node whose directory was lost and that is started under its old number takes no part, until it
//! has its own directory again.
#![allow(clippy::unwrap_used)] // A test stops at the first thing that is not as it should be.

use std::time::{Duration, Instant};

use tests::harness::{Cluster, Value};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_wiped_follower_takes_no_part_and_the_cluster_goes_on() {
    let mut cluster = Cluster::start_steady(3).unwrap();
    let leader = cluster.leader().unwrap();
    // Everybody has met everybody.
    (0..3).for_each(|place| cluster.await_links(place).unwrap());
    let (wiped, third) = ((leader + 1) % 3, (leader + 2) % 3);
    let mut client = cluster.servers[leader].as_ref().unwrap().client().unwrap();
    assert_eq!(client.run("SET a 1").unwrap(), Value::ok());
    cluster.kill(wiped).unwrap();
    let own = cluster.wipe(wiped).unwrap();
    cluster.start_node(wiped).unwrap();
    // Both sides say what it is, and to whom it happened.
    let names = |from: usize, what: &str| {
        let said = cluster.servers[from].as_ref().unwrap().await_line(what, PATIENCE);
        assert!(said.is_some(), "node {} does not say: {what}", from + 1);
    };
    let number = wiped + 1;
    names(leader, &format!("node {number} has come with another data directory"));
    names(third, &format!("node {number} has come with another data directory"));
    names(wiped, "knows this node by another data directory");
    assert_eq!(client.run("SET a 2").unwrap(), Value::ok(), "two of three go on");
    // Without the third one there is no majority: the wiped one is not counted, nor does it vote.
    cluster.kill(third).unwrap();
    let began = Instant::now();
    loop {
        let reply = cluster.servers[leader].as_ref().unwrap().client().unwrap().run("SET a 3");
        match reply {
            Ok(Value::Error(error)) => {
                assert!(error.starts_with("CLUSTERDOWN "), "{error}");
                break;
            }
            Ok(reply) => panic!("acknowledged without a majority: {reply:?}"),
            // Closed, as it leads no more.
            Err(_) => assert!(began.elapsed() < PATIENCE, "it still holds clients"),
        }
    }
    let mut reader = cluster.reader(wiped).unwrap();
    assert_eq!(reader.run("GET a").unwrap(), Value::Null, "it has nothing, and got nothing");
    for _ in 0..20 {
        for place in [leader, wiped] {
            cluster
                .await_info(place, |info| {
                    info.contains("role:slave") && info.contains("quoring_leader:0")
                })
                .unwrap();
        }
    }
    // With its own directory it is itself again.
    cluster.kill(wiped).unwrap();
    cluster.put_back(wiped, own);
    cluster.start_node(wiped).unwrap();
    let leader = cluster.leader().unwrap();
    let mut client = cluster.servers[leader].as_ref().unwrap().client().unwrap();
    let value = client.run("GET a").unwrap();
    // The last one was sent to a leader without a majority: nobody was told what became of it.
    assert!(value == Value::bulk("2") || value == Value::bulk("3"), "{value:?}");
    cluster.start_node(third).unwrap();
    cluster.await_equal().unwrap();
}
