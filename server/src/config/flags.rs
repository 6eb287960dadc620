//! The command line and the configuration file. A flag wins over the file, the file over the
//! default.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::{Args as _, Parser};
use serde::Deserialize;

use super::{Config, Durability};

/// A Redis-compatible in-memory database that acknowledges a write once it cannot be lost.
#[derive(Parser, Debug)]
#[command(name = "quoring", version)]
pub struct Flags {
    /// Configuration file; the flags below are its keys
    #[arg(long)]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: FileSettings,
}

#[derive(clap::Args, Deserialize, Debug, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct FileSettings {
    /// Port of clients [default: 6379]
    #[arg(long)]
    port: Option<u16>,
    /// Addresses to listen on [default: 127.0.0.1]
    #[arg(long, num_args = 1..)]
    bind: Option<Vec<IpAddr>>,
    /// Data directory [default: quoring-data]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Threads, each pinned to a processor [default: one a processor allowed to this process]
    #[arg(long)]
    cores: Option<usize>,
    /// Shards of a new data directory [default: as many as cores]
    #[arg(long)]
    shards: Option<usize>,
    /// When a write is acknowledged [default: sync]
    #[arg(long)]
    durability: Option<Durability>,
    /// Size of a log segment [default: 134217728]
    #[arg(long)]
    log_segment_bytes: Option<u64>,
    /// Password that clients must give
    #[arg(long)]
    requirepass: Option<String>,
    /// yes: refuse to listen beyond loopback without a password [default: yes]
    #[arg(long)]
    protected_mode: Option<String>,
    /// Most clients at once [default: 10000]
    #[arg(long)]
    maxclients: Option<usize>,
    /// Seconds after which an idle client is closed, 0 never [default: 0]
    #[arg(long)]
    timeout: Option<u64>,
    /// Seconds between keep-alive probes, 0 none [default: 300]
    #[arg(long)]
    tcp_keepalive: Option<u32>,
    /// Microseconds that a core spins before it sleeps [default: 0]
    #[arg(long)]
    poll_us: Option<u64>,
}

/// A setting that cannot be: what, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError(pub String);

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl Flags {
    /// The settings that hold; `processors` is how many this process may use.
    pub fn into_config(self, processors: usize) -> Result<Config, ConfigError> {
        let mut config = Config { cores: processors.max(1), ..Config::default() };
        if let Some(path) = &self.config {
            read_file(path)?.apply(&mut config)?;
        }
        self.settings.apply(&mut config)?;
        check(&config)?;
        Ok(config)
    }
}

fn read_file(path: &Path) -> Result<FileSettings, ConfigError> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|e| ConfigError(format!("cannot read the configuration file {shown}: {e}")))?;
    let fail = |e: toml::de::Error| ConfigError(format!("configuration file {shown}: {e}"));
    check_names(&toml::from_str(&text).map_err(fail)?)
        .map_err(|unknown| ConfigError(format!("configuration file {shown}: {unknown}")))?;
    toml::from_str(&text).map_err(fail)
}

/// Every key of the file is a flag's name; the error says which is none, and the nearest.
fn check_names(table: &toml::Table) -> Result<(), String> {
    let command = FileSettings::augment_args(clap::Command::new("quoring"));
    let names: Vec<&str> = command.get_arguments().filter_map(|arg| arg.get_long()).collect();
    let unknown = table.keys().find(|key| !names.contains(&key.as_str()));
    let Some(unknown) = unknown else { return Ok(()) };
    let nearest = names.iter().min_by_key(|name| edits_between(unknown, name));
    let nearest = nearest.expect("there are settings");
    Err(format!("there is no setting '{unknown}'; the nearest is '{nearest}'"))
}

/// Characters to insert, delete or replace to make one text of the other (Levenshtein).
fn edits_between(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[row.len() - 1]
}

impl FileSettings {
    fn apply(self, config: &mut Config) -> Result<(), ConfigError> {
        fn set<T>(place: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *place = value;
            }
        }
        set(&mut config.port, self.port);
        set(&mut config.bind, self.bind);
        set(&mut config.dir, self.dir);
        set(&mut config.cores, self.cores);
        set(&mut config.durability, self.durability);
        set(&mut config.log_segment_bytes, self.log_segment_bytes);
        set(&mut config.maxclients, self.maxclients);
        set(&mut config.timeout_s, self.timeout);
        set(&mut config.tcp_keepalive_s, self.tcp_keepalive);
        set(&mut config.poll_us, self.poll_us);
        if self.shards.is_some() {
            config.shards = self.shards;
        }
        if let Some(password) = self.requirepass {
            config.requirepass = (!password.is_empty()).then_some(password);
        }
        match self.protected_mode.as_deref() {
            None => {}
            Some("yes") => config.protected_mode = true,
            Some("no") => config.protected_mode = false,
            Some(other) => {
                return Err(ConfigError(format!("protected-mode is yes or no, not '{other}'")));
            }
        }
        Ok(())
    }
}

/// Most cores and shards: their numbers are 16 bits wide, and a slot belongs to one shard.
const CORES_MAX: usize = 1024;
const SHARDS_MAX: usize = 4096;

fn check(config: &Config) -> Result<(), ConfigError> {
    let refuse = |text: String| Err(ConfigError(text));
    if !(1..=CORES_MAX).contains(&config.cores) {
        return refuse(format!("cores is 1 to {CORES_MAX}, not {}", config.cores));
    }
    if let Some(shards) = config.shards.filter(|shards| !(1..=SHARDS_MAX).contains(shards)) {
        return refuse(format!("shards is 1 to {SHARDS_MAX}, not {shards}"));
    }
    if config.bind.is_empty() {
        return refuse("bind names no address to listen on".into());
    }
    let open = config.bind.iter().find(|address| !address.is_loopback());
    if let Some(address) = open
        && config.requirepass.is_none()
        && config.protected_mode
    {
        return refuse(format!(
            "bind {address} would let anyone on the network in: set --requirepass, or say \
             --protected-mode no if the network itself is closed"
        ));
    }
    let segment = config.log_segment_bytes;
    if !((64 << 10)..=(1 << 40)).contains(&segment) || !segment.is_multiple_of(4096) {
        return refuse(format!(
            "log-segment-bytes is 65536 or more and a multiple of 4096, not {segment}"
        ));
    }
    Ok(())
}
