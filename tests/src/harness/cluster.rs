//! A cluster of real processes on 127.0.0.1, each with a directory of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::client::{Client, Value};
use super::ports::Port;
use super::server::{Server, binary};

/// An election on a machine that others use takes less.
const LEADER_MAX: Duration = Duration::from_secs(60);

/// What the nodes share.
pub const TOKEN: &str = "the secret of a test";
/// Shards of each.
pub const SHARDS: usize = 4;
/// Milliseconds; the first election takes one to two of these.
pub const STEADY_MS: &str = "4000";

pub struct Cluster {
    directories: Vec<TempDir>,
    /// By node; `None` while it is down.
    pub servers: Vec<Option<Server>>,
    nodes: String,
    /// Where the nodes reach each other.
    ports: Vec<Port>,
    /// Of all nodes so far.
    starts: usize,
    /// Flags of the next starts beside the others.
    pub more: Vec<String>,
}

impl Cluster {
    pub fn start(count: usize) -> Result<Cluster> {
        Cluster::start_with(count, &[])
    }

    /// For tests that want one leader throughout: a busy machine may hold a node up for seconds,
    /// and nobody takes its lead.
    pub fn start_steady(count: usize) -> Result<Cluster> {
        Cluster::start_with(count, &["--election-timeout-ms", STEADY_MS])
    }

    /// With flags beside the usual ones.
    pub fn start_with(count: usize, more: &[&str]) -> Result<Cluster> {
        let mut cluster = Cluster::prepare(count, more)?;
        (0..count).try_for_each(|place| cluster.start_node(place))?;
        Ok(cluster)
    }

    /// The same, with empty directories and none of them started.
    pub fn prepare(count: usize, more: &[&str]) -> Result<Cluster> {
        let ports: Vec<Port> = (0..count).map(|_| Port::reserve()).collect::<Result<_>>()?;
        let nodes = ports.iter().enumerate();
        let nodes = nodes.map(|(place, port)| format!("{}=127.0.0.1:{}", place + 1, port.number));
        let nodes = nodes.collect::<Vec<_>>().join(",");
        let directories = (0..count).map(|_| tempfile::tempdir()).collect::<Result<_, _>>()?;
        let servers = (0..count).map(|_| None).collect();
        let more = more.iter().map(ToString::to_string).collect();
        Ok(Cluster { directories, servers, nodes, ports, starts: 0, more })
    }

    /// Starts a node that is down.
    pub fn start_node(&mut self, place: usize) -> Result<()> {
        self.start_node_by(place, &binary()?)
    }

    /// The same with another program than the binary.
    pub fn start_node_by(&mut self, place: usize, program: &Path) -> Result<()> {
        let node = (place + 1).to_string();
        // Nodes differ, and so do the starts of one.
        self.starts += 1;
        let cores = (1 + self.starts % 2).to_string();
        let shards = SHARDS.to_string();
        let usual = [
            "--cores",
            &cores,
            "--shards",
            &shards,
            "--cluster-token",
            TOKEN,
            "--node",
            &node,
            "--nodes",
            &self.nodes,
            "--checkpoint-log-bytes",
            "1048576",
            "--enable-debug-command",
            "yes",
        ];
        let more = self.more.iter().map(String::as_str);
        let arguments: Vec<&str> = usual.into_iter().chain(more).collect();
        let directory = self.directories[place].path();
        self.servers[place] = Some(Server::start_by(Command::new(program), directory, &arguments)?);
        Ok(())
    }

    /// kill -9.
    pub fn kill(&mut self, place: usize) -> Result<()> {
        self.servers[place].take().context("it is down already")?.kill()
    }

    /// SIGTERM, and waits for an orderly end.
    pub fn stop(&mut self, place: usize) -> Result<()> {
        self.servers[place].take().context("it is down already")?.stop()
    }

    pub fn directory(&self, place: usize) -> &Path {
        self.directories[place].path()
    }

    /// Gives a node that is down an empty directory; returns the one that it had.
    pub fn wipe(&mut self, place: usize) -> Result<TempDir> {
        Ok(std::mem::replace(&mut self.directories[place], tempfile::tempdir()?))
    }

    /// Gives a node that is down the directory back that it had.
    pub fn put_back(&mut self, place: usize, directory: TempDir) {
        self.directories[place] = directory;
    }

    /// Where clients reach the nodes that are up.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().flatten().map(Server::address).collect()
    }

    /// The node that takes writes, once one does.
    pub fn leader(&self) -> Result<usize> {
        let began = Instant::now();
        while began.elapsed() < LEADER_MAX {
            for (place, server) in self.servers.iter().enumerate() {
                let Some(server) = server else { continue };
                if let Ok(mut client) = server.client()
                    && let Ok(Value::Bulk(info)) = client.run("INFO replication")
                    && String::from_utf8_lossy(&info).contains("role:master")
                    && client.run("SET leader:probe x").is_ok_and(|reply| reply == Value::ok())
                {
                    return Ok(place);
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("no node leads after {LEADER_MAX:?}")
    }

    /// The reply of whoever leads. Where the lead is lost meanwhile, which closes clients, the next
    /// one is asked: of what may be done twice only.
    pub fn ask(&self, command: &str) -> Result<Value> {
        let began = Instant::now();
        loop {
            let server = self.servers[self.leader()?].as_ref().context("it is down")?;
            match server.client().and_then(|mut client| client.run(command)) {
                Ok(Value::Error(error)) if error.starts_with("CLUSTERDOWN ") => {}
                Ok(reply) => return Ok(reply),
                Err(error) if began.elapsed() >= LEADER_MAX => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// Says FAILOVER until another node leads; which one. A machine that stands still for a second
    /// keeps a hand-over from coming about: then the node is told once more.
    pub fn hand_over(&self, from: usize, failover: &str) -> Result<usize> {
        let began = Instant::now();
        loop {
            let server = self.servers[from].as_ref().context("it is down")?;
            // Refused while one is under way, and where this node follows already.
            let begun = server.client().and_then(|mut client| client.run(failover));
            self.await_info(from, |info| info.contains("master_failover_state:no-failover"))?;
            let leader = self.leader()?;
            if leader != from {
                return Ok(leader);
            }
            if began.elapsed() >= LEADER_MAX {
                bail!("node {} still leads: {begun:?}", from + 1);
            }
        }
    }

    /// A client that reads what a node has applied, leader or not.
    pub fn reader(&self, place: usize) -> Result<Client> {
        let began = Instant::now();
        loop {
            let mut client = self.servers[place].as_ref().context("it is down")?.client()?;
            match client.run("READONLY") {
                Ok(_) => return Ok(client),
                Err(error) if began.elapsed() >= LEADER_MAX => return Err(error),
                // Closed: it has just lost the lead.
                Err(_) => {}
            }
        }
    }

    /// All nodes, as --nodes names them.
    pub fn nodes(&self) -> &str {
        &self.nodes
    }

    /// The port of a node for the others.
    pub fn peer_port(&self, place: usize) -> u16 {
        self.ports[place].number
    }

    /// Waits until a node that leads has links with all others that are up.
    pub fn await_links(&self, place: usize) -> Result<()> {
        let up = self.servers.iter().flatten().count() - 1;
        self.await_info(place, |info| info.matches("link=up").count() >= up)
    }

    /// Waits until a node follows and has everything that it has heard of.
    pub fn await_close(&self, place: usize) -> Result<()> {
        let number = |info: &str, name: &str| -> Option<u64> {
            let line = info.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse().ok()
        };
        self.await_info(place, |info| {
            let applied = number(info, "quoring_applied:");
            let committed = number(info, "quoring_committed:");
            info.contains("master_link_status:up")
                && applied.zip(committed).is_some_and(|(a, c)| c > 0 && a + 100 >= c)
        })
    }

    /// Waits until INFO replication of a node is as it should be.
    pub fn await_info(&self, place: usize, fits: impl Fn(&str) -> bool) -> Result<()> {
        let began = Instant::now();
        let mut last = String::new();
        while began.elapsed() < LEADER_MAX {
            let mut client = self.servers[place].as_ref().context("it is down")?.client()?;
            if let Ok(Value::Bulk(text)) = client.run("INFO replication") {
                last = String::from_utf8(text)?;
                if fits(&last) {
                    return Ok(());
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("node {}: {last}", place + 1)
    }

    /// Waits until every node that is up has the same data; writes must have ended.
    pub fn await_equal(&self) -> Result<()> {
        let began = Instant::now();
        let mut digests = Vec::new();
        while began.elapsed() < LEADER_MAX {
            digests.clear();
            for place in (0..self.servers.len()).filter(|place| self.servers[*place].is_some()) {
                // Closed if it has just lost the lead.
                digests.push(self.reader(place)?.run("DEBUG DIGEST").unwrap_or(Value::Null));
            }
            let all = digests.iter().all(|digest| matches!(digest, Value::Simple(_)));
            if all && digests.windows(2).all(|pair| pair[0] == pair[1]) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the nodes differ after {LEADER_MAX:?}: {digests:?}")
    }
}
