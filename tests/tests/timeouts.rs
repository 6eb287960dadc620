//! The election timeout of a cluster of real processes: the same on all nodes, or they do not talk;
//! a shorter one counts once what rests on the longer one is over.
#![allow(clippy::unwrap_used)] // A test stops at the first thing that is not as it should be.

use std::time::{Duration, Instant};

use tests::harness::cluster::STEADY_MS;
use tests::harness::{Cluster, Value};

const PATIENCE: Duration = Duration::from_secs(60);
const BEFORE_MS: &str = STEADY_MS;
const AFTER_MS: &str = "200";

#[test]
fn a_timeout_is_changed_on_all_nodes_at_once() {
    let flag = |ms: &str| vec!["--election-timeout-ms".to_owned(), ms.to_owned()];
    let mut cluster = Cluster::start_with(3, &["--election-timeout-ms", BEFORE_MS]).unwrap();
    let leader = cluster.leader().unwrap();
    (0..3).for_each(|place| cluster.await_links(place).unwrap());
    let mut client = cluster.servers[leader].as_ref().unwrap().client().unwrap();
    let shown = client.run("CONFIG GET election-timeout-ms").unwrap();
    assert!(format!("{shown:?}").contains(&format!("{:?}", BEFORE_MS.as_bytes())), "{shown:?}");
    let refused = client.run("CONFIG SET election-timeout-ms 200").unwrap();
    assert!(format!("{refused:?}").contains("can't set immutable config"), "{refused:?}");
    assert_eq!(client.run("SET a 1").unwrap(), Value::ok());

    // One node alone: both sides say why it takes no part, and it has waited.
    let other = (leader + 1) % 3;
    cluster.kill(other).unwrap();
    cluster.more = flag(AFTER_MS);
    let began = Instant::now();
    cluster.start_node(other).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(BEFORE_MS.parse().unwrap()));
    let says = |cluster: &Cluster, place: usize, what: &str| {
        let said = cluster.servers[place].as_ref().unwrap().await_line(what, PATIENCE);
        assert!(said.is_some(), "node {} does not say: {what}", place + 1);
    };
    let what = format!("node {} was started with --election-timeout-ms {AFTER_MS}", other + 1);
    says(&cluster, leader, &what);
    says(&cluster, other, &format!("was started with --election-timeout-ms {BEFORE_MS}"));
    assert_eq!(client.run("SET a 2").unwrap(), Value::ok(), "two of three go on");

    // All: it waits no more.
    (0..3).for_each(|place| cluster.kill(place).unwrap());
    (0..3).for_each(|place| cluster.start_node(place).unwrap());
    assert_eq!(cluster.ask("GET a").unwrap(), Value::Bulk(b"2".to_vec()));
    cluster.await_links(other).unwrap();
    let text = std::fs::read_to_string(cluster.directory(other).join("node.toml")).unwrap();
    assert!(text.contains(&format!("election_timeout_ms = {AFTER_MS}")), "{text}");
}
