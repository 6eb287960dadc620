//! Networks for nodes, one each, in namespaces that go with the process, with a router between them
//! that drops what it is told to. Linux's own forwarding and queues, so that a cut is silent.

use std::process::Command;

use anyhow::{Context, Result, bail};

/// Set where the test runs in namespaces of its own.
const INSIDE: &str = "QUORING_NETWORK_INSIDE";

/// Runs a test again in network and mount namespaces of its own, from within itself. Returns
/// whether this is that run; where there can be none, it says so and the test is skipped.
pub fn enter(test: &str) -> Result<bool> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(true);
    }
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--propagation", "private"]);
        command
    };
    let probe = "ip link add probe0 type veth peer name probe1 && mount -t tmpfs none /run/netns";
    std::fs::create_dir_all("/run/netns").ok();
    let possible = unshare().args(["sh", "-c", probe]).output();
    let why = match possible {
        Ok(output) if output.status.success() => {
            let status = unshare()
                .arg(std::env::current_exe()?)
                .args(["--exact", test, "--nocapture", "--test-threads", "1"])
                .env(INSIDE, "1")
                .status()?;
            return if status.success() { Ok(false) } else { bail!("{test}: {status}") };
        }
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    println!("SKIPPED: {test}: no namespaces of its own on this machine: {why}");
    Ok(false)
}

/// Carries out a command; its words are separated by spaces.
pub fn run(command: &str) -> Result<()> {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap_or_default()).args(words).output();
    let output = output.with_context(|| command.to_owned())?;
    if !output.status.success() {
        bail!("{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Nodes' networks, numbered from 1; this process is in the router's.
pub struct Network {
    nodes: usize,
    /// From a node to another nothing arrives.
    cuts: Vec<(usize, usize)>,
    slow: Vec<usize>,
}

impl Network {
    pub fn build(nodes: usize) -> Result<Network> {
        run("mount -t tmpfs none /run/netns")?;
        run("ip link set lo up")?;
        for n in 1..=nodes {
            run(&format!("ip netns add q{n}"))?;
            run(&format!("ip link add v{n} type veth peer name eth0 netns q{n}"))?;
            run(&format!("ip addr add 10.77.{n}.254/24 dev v{n}"))?;
            run(&format!("ip link set v{n} up"))?;
            run(&format!("ip -n q{n} addr add 10.77.{n}.1/24 dev eth0"))?;
            run(&format!("ip -n q{n} link set eth0 up"))?;
            run(&format!("ip -n q{n} link set lo up"))?;
            run(&format!("ip -n q{n} route add default via 10.77.{n}.254"))?;
        }
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
        Ok(Network { nodes, cuts: Vec::new(), slow: Vec::new() })
    }

    pub fn address(node: usize) -> String {
        format!("10.77.{node}.1")
    }

    /// A command that becomes a program in a node's network.
    pub fn command(node: usize, program: &std::path::Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &format!("q{node}")]).arg(program);
        command
    }

    /// From a node to another nothing arrives any more.
    pub fn cut(&mut self, from: usize, to: usize) -> Result<()> {
        if from != to && !self.cuts.contains(&(from, to)) {
            run(&format!("ip rule add {} blackhole", pair(from, to)))?;
            self.cuts.push((from, to));
        }
        Ok(())
    }

    /// Everything from or to a node, as far as it is asked for.
    pub fn isolate(&mut self, node: usize, from: bool, to: bool) -> Result<()> {
        for other in 1..=self.nodes {
            if from {
                self.cut(node, other)?;
            }
            if to {
                self.cut(other, node)?;
            }
        }
        Ok(())
    }

    /// What goes to a node has little room: it waits for tens of milliseconds, or is lost.
    pub fn slow_down(&mut self, node: usize) -> Result<()> {
        run(&format!("tc qdisc replace dev v{node} root tbf rate 1mbit burst 4k latency 60ms"))?;
        self.slow.push(node);
        Ok(())
    }

    pub fn heal(&mut self) -> Result<()> {
        for (from, to) in std::mem::take(&mut self.cuts) {
            run(&format!("ip rule del {} blackhole", pair(from, to)))?;
        }
        for node in std::mem::take(&mut self.slow) {
            run(&format!("tc qdisc del dev v{node} root"))?;
        }
        Ok(())
    }
}

fn pair(from: usize, to: usize) -> String {
    format!("from {} to {}", Network::address(from), Network::address(to))
}
