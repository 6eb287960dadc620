//! The version of a cluster of real processes: shown, raised, never beyond what a node's program
//! applies; and a program that lacks it is told so.
#![allow(clippy::unwrap_used)] // A test stops at the first thing that is not as it should be.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use replication::link::hello::{DirectoryId, HELLO_BYTES, Hello};
use replication::version::{Version, Versions};
use server::config::cluster::Cluster as Named;
use server::startup::identity::Identity;
use tests::harness::cluster::{SHARDS, TOKEN};
use tests::harness::{Client, Cluster, Value};

const PATIENCE: Duration = Duration::from_secs(60);
const NEWEST: Version = Version::NEWEST;

fn client(cluster: &Cluster, place: usize) -> Client {
    cluster.servers[place].as_ref().unwrap().client().unwrap()
}

fn error(client: &mut Client, words: &str) -> String {
    match client.run(words).unwrap() {
        Value::Error(why) => why,
        other => panic!("{words}: {other:?}"),
    }
}

/// Why whoever leads refuses it, once nothing else is under way.
fn refusal(cluster: &Cluster, words: &str) -> String {
    let began = Instant::now();
    loop {
        match cluster.ask(words).unwrap() {
            Value::Error(why) if why.contains("; ask ") => {
                assert!(began.elapsed() < PATIENCE, "{why}");
            }
            Value::Error(why) => return why,
            other => panic!("{words}: {other:?}"),
        }
    }
}

fn await_version(cluster: &Cluster, version: u16) {
    for place in 0..cluster.servers.len() {
        let own = format!("quoring_cluster_version:{version}\r\n");
        cluster.await_info(place, |info| info.contains(&own)).unwrap();
    }
}

#[test]
fn a_new_cluster_has_the_newest_version_and_none_goes_beyond_its_programs() {
    let cluster = Cluster::start_steady(3).unwrap();
    let leader = cluster.leader().unwrap();
    (0..3).for_each(|place| cluster.await_links(place).unwrap());
    await_version(&cluster, NEWEST.0);
    let applies = format!("applies={}-{NEWEST}", Version::OLDEST);
    for place in 0..3 {
        let fits = |info: &str| info.matches(&applies).count() == 2;
        cluster.await_info(place, fits).unwrap();
        let Value::Bulk(text) = client(&cluster, place).run("NODES").unwrap() else { panic!() };
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.matches(&applies).count(), 3, "{text}");
        assert!(text.ends_with(&format!("cluster version={NEWEST}\r\n")), "{text}");
    }
    // Through any node; the primary decides.
    let beyond = NEWEST.0 + 1;
    for place in 0..3 {
        let mut client = client(&cluster, place);
        let why = error(&mut client, &format!("NODES RAISE-VERSION {beyond}"));
        let expected = format!("applies versions {} to {NEWEST}, not {beyond}", Version::OLDEST);
        assert!(why.contains(&expected) && why.contains("Start it with one that does"), "{why}");
        let why = error(&mut client, "NODES RAISE-VERSION 1");
        assert!(why.contains(&format!("has version {NEWEST}, and none is ever lowered")), "{why}");
        for wrong in ["x", "-1", "65536", "1 2"] {
            let why = error(&mut client, &format!("NODES RAISE-VERSION {wrong}"));
            assert!(why.contains("RAISE-VERSION and the version"), "{why}");
        }
        assert_eq!(client.run("NODES RAISE-VERSION").unwrap(), Value::ok(), "it has it");
    }
    await_version(&cluster, NEWEST.0);
    refuses_an_older_program(&cluster, leader);
}

/// What a program of before says to the leader in the name of another node; both sides are told.
fn refuses_an_older_program(cluster: &Cluster, leader: usize) {
    let other = (leader + 1) % 3;
    let identity = Identity::load(cluster.directory(other)).unwrap();
    let (from, to) = ((identity.node, 0, 1), (leader as u64 + 1, 0));
    let own = (identity.directory, None);
    let id = identity.cluster.to_le_bytes();
    let hello = Hello::new(id, from, to, 0, 1, SHARDS as u16, own);
    let election_timeout_ms = identity.election_timeout_ms as u16;
    // All that it knows nothing of is zeros.
    let hello = Hello { election_timeout_ms, epoch: identity.epoch, ..hello };
    assert_eq!((hello.applied, hello.version), (Versions::UNSAID, Version(1)));
    let mut stream = TcpStream::connect(("127.0.0.1", cluster.peer_port(leader))).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&hello.encode()).unwrap();
    let mut answer = [0; HELLO_BYTES];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(Hello::decode(&answer).unwrap().version, NEWEST);
    assert_eq!(stream.read(&mut answer).unwrap(), 0, "it is closed then");
    let what = format!(
        "the cluster has version {NEWEST}, and the program of node {} applies 1 to 1: node {} \
         takes no part. Start one that applies {NEWEST} there",
        other + 1,
        other + 1
    );
    let said = cluster.servers[leader].as_ref().unwrap().await_line(&what, PATIENCE);
    assert!(said.is_some(), "node {} does not say: {what}", leader + 1);
}

/// Directories as the program before made them: nothing in them says a version.
fn of_the_first_version() -> Cluster {
    let cluster = Cluster::prepare(3, &[]).unwrap();
    for place in 0..3 {
        let node = place as u64 + 1;
        let named = Named::parse(Some(TOKEN), Some(node), Some(cluster.nodes())).unwrap().unwrap();
        let identity = Identity {
            cluster: named.id,
            node,
            shards: SHARDS,
            founded: Version(1),
            voters: vec![1, 2, 3],
            directory: DirectoryId([node as u8; 16]),
            addresses: named.nodes.iter().map(|(node, at)| (node.0, *at)).collect(),
            election_timeout_ms: 300,
            ..Identity::default()
        };
        identity.create(cluster.directory(place)).unwrap();
        let text = std::fs::read_to_string(cluster.directory(place).join("node.toml")).unwrap();
        assert!(text.contains("format = 4\n") && !text.contains("version"), "{text}");
    }
    cluster
}

#[test]
fn a_version_is_raised_once_all_nodes_are_there_and_stays() {
    let mut cluster = of_the_first_version();
    (0..3).for_each(|place| cluster.start_node(place).unwrap());
    let leader = cluster.leader().unwrap();
    (0..3).for_each(|place| cluster.await_links(place).unwrap());
    await_version(&cluster, 1);
    assert_eq!(cluster.ask("SET before 1").unwrap(), Value::ok());
    // What the program of one that is down applies is not known.
    let away = (leader + 1) % 3;
    cluster.kill(away).unwrap();
    let unknown = format!("node {} is not linked", away + 1);
    for place in (0..3).filter(|place| *place != away) {
        let fits = |info: &str| info.contains("link=down,applies=unknown");
        cluster.await_info(place, fits).unwrap();
    }
    let why = refusal(&cluster, "NODES RAISE-VERSION");
    assert!(why.contains(&unknown), "{why}");
    cluster.start_node(away).unwrap();
    (0..3).for_each(|place| cluster.await_links(place).unwrap());
    await_version(&cluster, 1);
    let began = Instant::now();
    loop {
        match client(&cluster, away).run("NODES RAISE-VERSION 2") {
            Ok(Value::Error(why)) if why.starts_with("CLUSTERDOWN ") => {}
            Ok(Value::Error(why)) => assert!(why.contains("; ask "), "{why}"),
            Ok(reply) => break assert_eq!(reply, Value::ok()),
            // Closed, as the primary has changed; it has the version then, or is told once more.
            Err(_) => {}
        }
        assert!(began.elapsed() < PATIENCE, "another change never ends");
    }
    await_version(&cluster, 2);
    assert_eq!(cluster.ask("MSET after 2 {b}x 3 {c}x 4").unwrap(), Value::ok());
    cluster.await_equal().unwrap();
    // All start again, from logs and checkpoints that have it.
    assert!(!matches!(cluster.ask("SAVE").unwrap(), Value::Error(_)));
    (0..3).for_each(|place| cluster.kill(place).unwrap());
    (0..3).for_each(|place| cluster.start_node(place).unwrap());
    await_version(&cluster, 2);
    assert_eq!(cluster.ask("GET before").unwrap(), Value::Bulk(b"1".to_vec()));
    assert_eq!(cluster.ask("GET after").unwrap(), Value::Bulk(b"2".to_vec()));
}

/// A program that applies the first version only.
fn older() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_older"))
}

/// Node by node to the newest program, one of them back and forth again, with writes between: all
/// of it is there at the end, and the older program takes no part once the version is raised.
#[test]
fn older_programs_and_newer_ones_are_one_cluster_until_the_version_is_raised() {
    let mut cluster = of_the_first_version();
    (0..3).for_each(|place| cluster.start_node_by(place, older()).unwrap());
    let mut written = 0;
    let mut write = |cluster: &Cluster| {
        for _ in 0..50 {
            written += 1;
            let mset = format!("MSET a:{written} x {{b}}{written} y c:{written} z");
            assert_eq!(cluster.ask(&mset).unwrap(), Value::ok());
        }
        written
    };
    write(&cluster);
    let newer = |cluster: &mut Cluster, place: usize| {
        cluster.stop(place).unwrap();
        cluster.start_node(place).unwrap();
        cluster.await_links(place).unwrap();
    };
    for place in 0..3 {
        newer(&mut cluster, place);
        write(&cluster);
        // Whoever leads, the newest or the oldest, is understood by all.
        cluster.await_equal().unwrap();
        if place == 2 {
            break;
        }
        let leader = cluster.leader().unwrap();
        cluster.await_links(leader).unwrap();
        let why = refusal(&cluster, "NODES RAISE-VERSION 2");
        assert!(why.contains("applies versions 1 to 1, not 2"), "{why}");
    }
    // Until then the program before can be started again, on any node.
    cluster.stop(1).unwrap();
    cluster.start_node_by(1, older()).unwrap();
    write(&cluster);
    newer(&mut cluster, 1);
    let leader = cluster.leader().unwrap();
    cluster.await_links(leader).unwrap();
    await_version(&cluster, 1);
    assert_eq!(cluster.ask("NODES RAISE-VERSION 2").unwrap(), Value::ok());
    await_version(&cluster, 2);
    let written = write(&cluster);
    cluster.await_equal().unwrap();
    let other = (cluster.leader().unwrap() + 1) % 3;
    cluster.stop(other).unwrap();
    cluster.start_node_by(other, older()).unwrap();
    let server = cluster.servers[other].as_ref().unwrap();
    let what = "this program applies 1 to 1: this node takes no part. Start one that applies 2";
    assert!(server.await_line(what, PATIENCE).is_some(), "it does not say: {what}");
    cluster.kill(other).unwrap();
    cluster.start_node(other).unwrap();
    for n in 1..=written {
        let found = cluster.ask(&format!("MGET a:{n} {{b}}{n} c:{n}")).unwrap();
        assert_eq!(found, Value::Array(["x", "y", "z"].map(Value::bulk).to_vec()), "write {n}");
    }
}
