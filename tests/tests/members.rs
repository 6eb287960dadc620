//! A cluster is formed of machines that wait, grows and shrinks under load, loses its leader in the
//! middle of that, and goes on from a lone survivor: real processes.
#![allow(clippy::unwrap_used)] // A test stops at the first thing that is not as it should be.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tests::harness::ports::Port;
use tests::harness::{Client, Cluster, Server, Value};

const PATIENCE: Duration = Duration::from_secs(60);

struct Machine {
    directory: TempDir,
    port: Port,
    peers: String,
    /// Of its first start; later ones have the other number.
    cores: &'static str,
    server: Option<Server>,
}

impl Machine {
    fn new(number: usize) -> Machine {
        let port = Port::reserve().unwrap();
        let peers = format!("127.0.0.1:{}", port.number);
        let cores = ["1", "2"][number % 2];
        Machine { directory: tempfile::tempdir().unwrap(), port, peers, cores, server: None }
    }

    fn wait_for_cluster(&mut self, join: &str) {
        let (port, token) = (self.port.number.to_string(), "the secret of a test");
        let cores = ["--cores", self.cores, "--shards", "3", "--cluster-token", token];
        let others = ["--checkpoint-log-bytes", "200000", "--peer-port", &port, "--join", join];
        let arguments = [&cores[..], &others].concat();
        self.server = Some(Server::start_waiting(self.directory.path(), &arguments).unwrap());
    }

    /// With nothing but its directory.
    fn start_again(&mut self) {
        let arguments = ["--cores", if self.cores == "1" { "2" } else { "1" }];
        self.server = Some(Server::start(self.directory.path(), &arguments).unwrap());
    }

    fn address(&self) -> SocketAddr {
        self.server.as_ref().unwrap().address()
    }
}

/// Waits until NODES says so. Returns the machine that leads then.
fn await_nodes(machines: &[Machine], what: &str, mut fits: impl FnMut(&str) -> bool) -> usize {
    let began = Instant::now();
    let mut last = String::new();
    while began.elapsed() < PATIENCE {
        for machine in machines.iter().filter(|machine| machine.server.is_some()) {
            let Ok(mut client) = Client::connect(machine.address()) else { continue };
            if client.run("SET probe x").ok() != Some(Value::ok()) {
                continue;
            }
            if let Ok(Value::Bulk(text)) = client.run("NODES") {
                last = String::from_utf8(text).unwrap();
                let leads = last.lines().find(|line| line.contains("leads=yes"));
                let address = |machine: &Machine| format!(" address={} ", machine.peers);
                let leads =
                    |machine: &Machine| leads.is_some_and(|l| l.contains(&address(machine)));
                if let Some(leader) = machines.iter().position(leads)
                    && fits(&last)
                {
                    return leader;
                }
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{what}: {last}");
}

/// Stops the load when a test does, however that ends.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Says NODES INIT to a machine that waits.
fn form(machine: &Machine) {
    let (began, mut was_closed) = (Instant::now(), false);
    loop {
        let Ok(mut client) = Client::connect(machine.address()) else {
            assert!(was_closed, "nobody waits");
            // It was told, and its answer was not heard.
            return;
        };
        match client.run("NODES INIT") {
            Ok(Value::Simple(_)) => return,
            // They have not all asked each other yet.
            Ok(Value::Error(why)) => assert!(began.elapsed() < PATIENCE, "{why}"),
            Ok(other) => panic!("{other:?}"),
            // Who says nothing for half a second is not waited for.
            Err(error) => {
                assert!(began.elapsed() < PATIENCE, "{error}");
                was_closed = true;
            }
        }
    }
}

/// A client of the machine that leads.
fn leading(machines: &[Machine]) -> Client {
    Client::connect(machines[await_nodes(machines, "a leader", |_| true)].address()).unwrap()
}

/// Takes a node out: asks until no other change is under way, and who was asked last has answered.
fn remove(machines: &[Machine], node: &str) {
    let began = Instant::now();
    let mut was_closed = false;
    loop {
        assert!(began.elapsed() < PATIENCE, "node {node} stays");
        match leading(machines).run(&format!("NODES REMOVE {node}")) {
            Ok(Value::Simple(_)) => return,
            Ok(Value::Error(why)) if was_closed && why.contains("was removed") => return,
            Ok(Value::Error(why)) => {
                assert!(why.contains("; ask ") || why.starts_with("CLUSTERDOWN "), "{why}");
            }
            Ok(other) => panic!("{other:?}"),
            // It has lost the lead meanwhile.
            Err(_) => was_closed = true,
        }
    }
}

fn voters(text: &str) -> usize {
    text.matches("role=voter duty=full").count()
}

/// Writes keys wherever they are taken, until told to stop. Returns how many were acknowledged:
/// key n is n.
fn load(addresses: &Mutex<Vec<SocketAddr>>, stop: &AtomicBool) -> usize {
    let mut acknowledged = 0;
    while !stop.load(Ordering::Relaxed) {
        let all = addresses.lock().unwrap().clone();
        for address in all {
            let Ok(mut client) = Client::connect(address) else { continue };
            while !stop.load(Ordering::Relaxed)
                && client.run(&format!("SET key:{acknowledged} {acknowledged}")).ok()
                    == Some(Value::ok())
            {
                acknowledged += 1;
            }
        }
    }
    acknowledged
}

#[test]
fn a_cluster_is_formed_grows_and_shrinks_and_loses_nothing() {
    let mut machines: Vec<Machine> = (0..3).map(Machine::new).collect();
    let join = machines.iter().map(|machine| machine.peers.clone()).collect::<Vec<_>>().join(",");
    machines.iter_mut().for_each(|machine| machine.wait_for_cluster(&join));
    form(&machines[1]);
    for machine in &mut machines {
        machine.server.as_mut().unwrap().await_ready().unwrap();
    }
    await_nodes(&machines, "three", |text| voters(text) == 3);
    let addresses = Mutex::new(machines.iter().map(Machine::address).collect::<Vec<_>>());
    let stop = AtomicBool::new(false);
    let acknowledged = std::thread::scope(|scope| {
        let loading = scope.spawn(|| load(&addresses, &stop));
        let stopping = Stop(&stop);
        for count in 4..=5 {
            let mut new = Machine::new(count);
            // One node is enough, whether it leads or not.
            new.wait_for_cluster(&machines[count % 3].peers);
            new.server.as_mut().unwrap().await_ready().unwrap();
            addresses.lock().unwrap().push(new.address());
            machines.push(new);
            if count == 4 {
                // In the middle of it.
                let leader = await_nodes(&machines, "a leader", |_| true);
                machines[leader].server.take().unwrap().kill().unwrap();
                machines[leader].start_again();
                addresses.lock().unwrap()[leader] = machines[leader].address();
            }
            await_nodes(&machines, "grown", |text| voters(text) == count);
        }
        for left in [4, 3] {
            let mut text = String::new();
            await_nodes(&machines, "all linked", |seen| {
                text = seen.to_owned();
                !seen.contains("link=down")
            });
            // The leader itself, the first time.
            let leads = |line: &&str| line.contains("leads=yes") == (left == 4);
            let node = text.lines().find(leads).unwrap();
            remove(&machines, node.strip_prefix("node=").unwrap().split(' ').next().unwrap());
            await_nodes(&machines, "shrunk", |text| {
                let nodes = text.lines().filter(|line| line.starts_with("node="));
                voters(text) == left && nodes.count() == left
            });
        }
        drop(stopping);
        loading.join().unwrap()
    });
    assert!(acknowledged > 100, "{acknowledged}");
    let (began, mut client, mut key) = (Instant::now(), leading(&machines), 0);
    while key < acknowledged {
        match client.run(&format!("GET key:{key}")) {
            Ok(Value::Error(why)) if why.starts_with("CLUSTERDOWN ") => {}
            Ok(value) => {
                assert_eq!(value, Value::bulk(&key.to_string()), "of {acknowledged}");
                key += 1;
            }
            // It has lost the lead.
            Err(_) => client = leading(&machines),
        }
        assert!(began.elapsed() < PATIENCE * 5, "{key} keys of {acknowledged} are read");
    }
}

#[test]
fn a_lone_survivor_goes_on_and_the_others_are_refused() {
    let mut cluster = Cluster::start_steady(3).unwrap();
    let leader = cluster.leader().unwrap();
    (0..3).for_each(|place| cluster.await_links(place).unwrap());
    let mut client = cluster.servers[leader].as_ref().unwrap().client().unwrap();
    assert_eq!(client.run("SET a 1").unwrap(), Value::ok());
    for place in 0..3 {
        cluster.kill(place).unwrap();
    }
    server::startup::alone::force_quorum(cluster.directory(leader)).unwrap();
    cluster.start_node(leader).unwrap();
    assert_eq!(cluster.leader().unwrap(), leader);
    let mut client = cluster.servers[leader].as_ref().unwrap().client().unwrap();
    assert_eq!(client.run("GET a").unwrap(), Value::bulk("1"));
    let other = (leader + 1) % 3;
    cluster.start_node(other).unwrap();
    let said = |place: usize| {
        let server = cluster.servers[place].as_ref().unwrap();
        server.await_line("force-quorum", PATIENCE)
    };
    assert!(said(other).is_some_and(|line| line.contains("this node was left behind")));
    assert_eq!(client.run("SET a 2").unwrap(), Value::ok());
    // It starts again as what it is now.
    drop(client);
    cluster.stop(leader).unwrap();
    cluster.start_node(leader).unwrap();
    assert_eq!(cluster.leader().unwrap(), leader);
    let mut client = cluster.servers[leader].as_ref().unwrap().client().unwrap();
    assert_eq!(client.run("GET a").unwrap(), Value::bulk("2"));
}

/// The operator reads at both that the tokens differ, and where: of machines that wait, of one that
/// would join a cluster, and of nodes that were named.
#[test]
fn another_token_is_named_on_both_sides() {
    let directories = [(); 4].map(|()| tempfile::tempdir().unwrap());
    let ports = [(); 4].map(|()| Port::reserve().unwrap());
    let addresses = ports.each_ref().map(|port| format!("127.0.0.1:{}", port.number));
    let await_line = |server: &Server, parts: &[&str]| {
        let all = |line: &String| parts.iter().all(|part| line.contains(part));
        let mut lines = std::iter::from_fn(|| server.await_line("--cluster-token", PATIENCE));
        assert!(lines.any(|line| all(&line)), "{parts:?}");
    };
    let joining = |place: usize, token: &str, join: &str| {
        let port = ports[place].number.to_string();
        let arguments =
            ["--cores", "1", "--cluster-token", token, "--peer-port", &port, "--join", join];
        Server::start_waiting(directories[place].path(), &arguments).unwrap()
    };
    let waiting =
        [joining(0, "the one token", &addresses[1]), joining(1, "the other token", &addresses[0])];
    for (own, other) in [(0, 1), (1, 0)] {
        let told = format!("{} was started with another", addresses[other]);
        let heard = format!("{} asks here, and was", addresses[other]);
        await_line(&waiting[own], &[&told, "start this one with that", &heard]);
    }
    drop(waiting);
    let nodes = format!("1={},2={}", addresses[2], addresses[3]);
    let named = |place: usize, node: &str, token: &str| {
        let arguments = ["--cores", "1", "--cluster-token", token, "--node", node, "--nodes"];
        let arguments = [&arguments[..], &[&nodes]].concat();
        Server::start(directories[place].path(), &arguments).unwrap()
    };
    let servers = [named(2, "1", "the one token"), named(3, "2", "the other token")];
    for (own, other) in [(0, "node 2"), (1, "node 1")] {
        let what = format!("{other} was started with another --cluster-token than this node");
        await_line(&servers[own], &[&what, "with an empty directory and the token of the others"]);
    }
    let asker = joining(0, "the other token", &addresses[2]);
    await_line(&asker, &["node 1 was started with another", "start this one with that"]);
    await_line(&servers[0], &["a machine that asks to become a node was started", &addresses[0]]);
}
