//! Starts a real Redis and Quoring, both without persistence, on free ports of 127.0.0.1. Or
//! Quoring with its log, from which it is to come back as it was.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::harness::Server;
use crate::harness::ports::Port;

const START_MAX: Duration = Duration::from_secs(60);

/// A Redis or a Valkey to compare with.
pub struct Redis {
    child: Child,
    address: SocketAddr,
    _port: Port,
    version: (u32, u32),
    _directory: TempDir,
}

impl Redis {
    pub fn start(program: &str) -> Result<Redis> {
        let version = version_of(program)?;
        let directory = TempDir::new()?;
        let port = Port::reserve()?;
        let child = Command::new(program)
            .args(["--bind", "127.0.0.1", "--port", &port.number.to_string()])
            .args(["--save", "", "--appendonly", "no", "--databases", "16", "--dir"])
            .arg(directory.path())
            // SORT ALPHA is by bytes then, as ours is.
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let address = SocketAddr::from(([127, 0, 0, 1], port.number));
        let redis = Redis { child, address, _port: port, version, _directory: directory };
        let since = Instant::now();
        while TcpStream::connect(address).is_err() {
            if since.elapsed() > START_MAX {
                bail!("{program} does not answer on {address}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(redis)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its first two numbers.
    pub fn version(&self) -> (u32, u32) {
        self.version
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn version_of(program: &str) -> Result<(u32, u32)> {
    let output = Command::new(program)
        .arg("--version")
        .output()
        .with_context(|| format!("cannot run {program}; give one with --redis PATH"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("peer: {}", text.trim());
    let number = text.split_whitespace().find_map(|word| word.strip_prefix("v="));
    let number = number.with_context(|| format!("no version in: {text}"))?;
    let mut parts = number.split('.').map(str::parse);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if major >= 7 => Ok((major, minor)),
        _ => bail!("{program} is version {number}; 7.0 or newer is compared with"),
    }
}

/// Both servers.
pub struct Servers {
    pub redis: Redis,
    /// `None` where its start has failed.
    quoring: Option<Server>,
    directory: TempDir,
    cores: usize,
    /// It is killed and started again after each run.
    pub restarts: bool,
}

/// Starts have one core, then two, up to this, and one again.
const RESTART_CORES_MAX: usize = 3;

impl Servers {
    pub fn start(program: &str, cores: usize, restarts: bool) -> Result<Servers> {
        let redis = Redis::start(program)?;
        let directory = TempDir::new()?;
        let mut servers = Servers { redis, quoring: None, directory, cores, restarts };
        servers.start_quoring()?;
        Ok(servers)
    }

    /// A new Quoring in place of one that ended or hangs.
    pub fn restart(&mut self) -> Result<()> {
        self.quoring = None;
        self.directory = TempDir::new()?;
        self.start_quoring()
    }

    /// Kills Quoring with -9 and starts it on what it left, with another number of cores.
    pub fn kill_and_restart(&mut self) -> Result<()> {
        if let Some(server) = self.quoring.take() {
            server.kill()?;
        }
        self.cores = self.cores % RESTART_CORES_MAX + 1;
        self.start_quoring()
    }

    pub fn quoring(&self) -> Result<SocketAddr> {
        Ok(self.quoring.as_ref().context("quoring has not started")?.address())
    }

    fn start_quoring(&mut self) -> Result<()> {
        let durability = if self.restarts { "sync" } else { "none" };
        let cores = self.cores.to_string();
        let arguments = ["--durability", durability, "--cores", &cores];
        self.quoring = Some(Server::start(self.directory.path(), &arguments)?);
        Ok(())
    }
}
