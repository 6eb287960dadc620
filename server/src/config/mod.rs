//! What an operator sets: by flag, in the file, or while the server runs with CONFIG, under the
//! same names.
//!
//! - [`flags`]: the command line and the file.
//! - [`names`]: settings that CONFIG reads and changes, with Redis's names where Redis has one.

pub mod flags;
pub mod names;

use std::net::IpAddr;
use std::path::PathBuf;

use engine::settings::Settings;
use engine::value::limits::EncodingLimits;

use crate::limits::CLIENTS_MAX;

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Once it is on stable storage.
    Sync,
    /// From memory; it reaches stable storage within a second.
    Interval,
    /// There is no log: a cache.
    None,
}

impl Durability {
    pub fn name(self) -> &'static str {
        match self {
            Durability::Sync => "sync",
            Durability::Interval => "interval",
            Durability::None => "none",
        }
    }
}

/// All settings; each core holds a copy.
#[derive(Clone, Debug)]
pub struct Config {
    pub port: u16,
    pub bind: Vec<IpAddr>,
    pub dir: PathBuf,
    pub cores: usize,
    /// Shards of a new data directory; an existing one keeps its own.
    pub shards: Option<usize>,
    pub durability: Durability,
    pub log_segment_bytes: u64,
    pub requirepass: Option<String>,
    pub protected_mode: bool,
    pub maxclients: usize,
    /// Seconds after which an idle client is closed; 0 never.
    pub timeout_s: u64,
    pub tcp_keepalive_s: u32,
    pub poll_us: u64,
    pub proto_max_bulk_len: usize,
    pub encoding: EncodingLimits,
    /// Monotonic time of the start, for the uptime.
    pub started_ns: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            port: 6379,
            bind: vec![IpAddr::from([127, 0, 0, 1])],
            dir: PathBuf::from("quoring-data"),
            cores: 1,
            shards: None,
            durability: Durability::Sync,
            log_segment_bytes: 128 << 20,
            requirepass: None,
            protected_mode: true,
            maxclients: CLIENTS_MAX,
            timeout_s: 0,
            tcp_keepalive_s: 300,
            poll_us: 0,
            proto_max_bulk_len: engine::limits::STRING_BYTES_MAX,
            encoding: EncodingLimits::default(),
            started_ns: 0,
        }
    }
}

impl Config {
    pub fn engine_settings(&self) -> Settings {
        Settings {
            encoding: self.encoding,
            string_bytes_max: self.proto_max_bulk_len,
            active_expire: true,
        }
    }
}
