//! The nodes: a process each, in a network of its own and with a disk of its own.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tests::harness::network::{Network, run};
use tests::harness::server::binary;
use tests::harness::{Client, Server, Value};

use super::{NODES, SERVICE_MAX, Shared};

/// A node's disk, with its segments and checkpoints; its ballast takes the rest.
const DISK_MEBIBYTES: u64 = 192;

/// All of them; one that is killed is missing for a while.
pub struct Nodes {
    cores: usize,
    pub servers: [Option<Server>; NODES],
    pub folders: Vec<PathBuf>,
    list: String,
    pub network: Network,
    _root: tempfile::TempDir,
}

impl Nodes {
    pub fn start(cores: usize) -> Nodes {
        let network = Network::build(NODES).unwrap();
        let root = tempfile::tempdir().unwrap();
        let folders: Vec<PathBuf> =
            (1..=NODES).map(|node| root.path().join(node.to_string())).collect();
        for folder in &folders {
            std::fs::create_dir(folder).unwrap();
            let path = folder.display();
            run(&format!("mount -t tmpfs -o size={DISK_MEBIBYTES}m none {path}")).unwrap();
        }
        let list = (1..=NODES).map(|node| format!("{node}={}:16379", Network::address(node)));
        let list = list.collect::<Vec<_>>().join(",");
        let servers = Default::default();
        let mut nodes = Nodes { cores, servers, folders, list, network, _root: root };
        (0..NODES).for_each(|place| nodes.start_node(place));
        nodes
    }

    pub fn start_node(&mut self, place: usize) {
        let (node, address) = ((place + 1).to_string(), Network::address(place + 1));
        let arguments = format!(
            "--cores {} --shards 4 --node {node} --nodes {} --cluster-token secret-of-a-test \
             --bind {address} --protected-mode no --checkpoint-log-bytes 1048576 \
             --enable-debug-command yes",
            self.cores, self.list
        );
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let command = Network::command(place + 1, &binary().unwrap());
        let directory = self.folders[place].join("data");
        self.servers[place] = Some(Server::start_by(command, &directory, &arguments).unwrap());
    }

    /// Tells clients where the nodes are that are there.
    pub fn publish(&self, shared: &Shared) {
        let addresses = self.servers.each_ref().map(|s| s.as_ref().map(Server::address));
        *shared.addresses.lock().unwrap() = addresses;
    }

    /// Who leads, as far as the nodes know.
    pub fn leader(&self) -> Option<usize> {
        (0..NODES).find(|place| {
            let client = self.servers[*place].as_ref().map(Server::client);
            let info = client.and_then(|client| client.ok()?.run("ROLE").ok());
            let Some(Value::Array(words)) = info else { return false };
            words.first() == Some(&Value::bulk("master"))
        })
    }

    pub fn signal(&self, place: usize, signal: i32) {
        if let Some(server) = &self.servers[place] {
            server.signal(signal);
        }
    }
}

/// A client of whoever leads.
pub fn leading_client(nodes: &Nodes) -> Client {
    let began = Instant::now();
    loop {
        for server in nodes.servers.iter().flatten() {
            let client = server.client();
            if let Ok(mut client) = client
                && client.run("SET leader:probe x").is_ok_and(|reply| reply == Value::ok())
            {
                return client;
            }
        }
        assert!(began.elapsed() < SERVICE_MAX, "nobody leads");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A read by whoever leads: one that loses the lead, as a busy machine may have it, closes its
/// clients.
pub fn read(nodes: &Nodes, client: &mut Client, command: &str) -> Value {
    let began = Instant::now();
    loop {
        match client.run(command) {
            // No node led for long.
            Ok(Value::Error(error)) if error.starts_with("CLUSTERDOWN No primary ") => {}
            Ok(value) => return value,
            Err(error) => assert!(began.elapsed() < SERVICE_MAX, "{command}: {error}"),
        }
        *client = leading_client(nodes);
    }
}
