//! The command line and the configuration file. A flag wins over the file, the file over the
//! default.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, CommandFactory, FromArgMatches, Parser};
use serde::Deserialize;

use crate::limits::{
    ELECTION_TIMEOUT_MS_MAX, ELECTION_TIMEOUT_MS_MIN, LOG_WRITES_IN_FLIGHT_MAX, MEMBER_ENTRY,
};
use crate::runtime::limits::{CORES_MAX, KEEPALIVE_S_MAX};

use super::cluster::Cluster;
use super::join::Join;
use super::nearest::nearest;
use super::{Config, DebugAccess, Durability, names};

/// A Redis-compatible in-memory database that acknowledges a write once it cannot be lost.
#[derive(Parser, Debug)]
#[command(name = "quoring", version)]
pub struct Flags {
    /// Configuration file; the flags below are its keys
    #[arg(long)]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: FileSettings,
    /// Settings that CONFIG SET takes too, as name and value.
    #[arg(skip)]
    named: Vec<(String, String)>,
}

#[derive(clap::Args, Deserialize, Debug, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct FileSettings {
    /// Port of clients [default: 6379]
    #[arg(long)]
    port: Option<u16>,
    /// Port of other nodes, listened on in a cluster only [default: 16379]
    #[arg(long)]
    peer_port: Option<u16>,
    /// Secret that the nodes of a cluster share
    #[arg(long)]
    cluster_token: Option<String>,
    /// Number of this node among those of the cluster
    #[arg(long)]
    node: Option<u64>,
    /// The cluster's nodes with their ports for nodes: 1=HOST:PORT,2=HOST:PORT,…
    #[arg(long)]
    nodes: Option<String>,
    /// Ports for nodes of others that start like this one, or are of the cluster: HOST:PORT,…
    #[arg(long)]
    join: Option<String>,
    /// Name or address by which other nodes reach this one [default: where it listens]
    #[arg(long)]
    advertise: Option<String>,
    /// Milliseconds without a leader until a node stands for election, 60 to 10000; the same on all
    /// nodes of a cluster [default: 300]
    #[arg(long)]
    election_timeout_ms: Option<u64>,
    /// Addresses to listen on [default: 127.0.0.1]
    #[arg(long, num_args = 1..)]
    bind: Option<Vec<IpAddr>>,
    /// Data directory [default: quoring-data]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Threads, pinned if there is one a processor allowed to this process [default: as many]
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
    /// Log writes under way at once on each core [default: 2]
    #[arg(long)]
    log_writes_in_flight: Option<usize>,
    /// Password that clients must give
    #[arg(long)]
    requirepass: Option<String>,
    /// yes: refuse to listen beyond loopback without a password [default: yes]
    #[arg(long)]
    protected_mode: Option<String>,
    /// yes: no transparent huge pages, whose faults hold up a core [default: yes]
    #[arg(long)]
    disable_thp: Option<String>,
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
    poll_us: Option<u32>,
    /// Who may use DEBUG [default: no]
    #[arg(long)]
    enable_debug_command: Option<DebugAccess>,
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
    /// Reads the command line; where it asks for help or is wrong, says so and ends the process.
    pub fn from_command_line() -> Flags {
        Flags::from_matches(Flags::full_command().get_matches())
            .unwrap_or_else(|error| error.exit())
    }

    /// The flags above and one for every other setting that CONFIG SET takes.
    fn full_command() -> clap::Command {
        let command = Flags::command();
        let own = own_names();
        let named = names::settable().filter(|name| !own.iter().any(|own| own == name));
        let arguments: Vec<Arg> = named
            .map(|name| {
                let arg = Arg::new(name).long(name).value_name("VALUE");
                // Some take -1 or -2.
                arg.help("As CONFIG SET takes it").allow_negative_numbers(true)
            })
            .collect();
        command.args(arguments)
    }

    fn from_matches(matches: ArgMatches) -> Result<Flags, clap::Error> {
        let mut flags = Flags::from_arg_matches(&matches)?;
        for name in names::settable() {
            if let Ok(Some(value)) = matches.try_get_one::<String>(name) {
                flags.named.push((name.to_owned(), value.clone()));
            }
        }
        Ok(flags)
    }

    /// The settings that hold; `processors` is how many this process may use.
    pub fn into_config(self, processors: usize) -> Result<Config, ConfigError> {
        let mut config = Config { cores: processors.max(1), ..Config::default() };
        if let Some(path) = &self.config {
            let (settings, named) = read_file(path)?;
            settings.apply(&mut config)?;
            apply_named(&named, &mut config)?;
            config.file = Some(std::path::absolute(path).unwrap_or_else(|_| path.clone()));
        }
        self.settings.apply(&mut config)?;
        apply_named(&self.named, &mut config)?;
        check(&config)?;
        Ok(config)
    }
}

fn read_file(path: &Path) -> Result<(FileSettings, Vec<(String, String)>), ConfigError> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|e| ConfigError(format!("cannot read the configuration file {shown}: {e}")))?;
    parse_file(&text).map_err(|e| ConfigError(format!("configuration file {shown}: {e}")))
}

/// Names that are flags of their own.
fn own_names() -> Vec<String> {
    let command = Flags::command();
    let names = command.get_arguments().filter_map(|argument| argument.get_long());
    names.filter(|name| *name != "config").map(str::to_owned).collect()
}

/// What a file says: settings of the start, and those that CONFIG SET takes too.
fn parse_file(text: &str) -> Result<(FileSettings, Vec<(String, String)>), String> {
    let table: toml::Table = toml::from_str(text).map_err(|e| e.to_string())?;
    let own = own_names();
    let (mut settings, mut named) = (toml::Table::new(), Vec::new());
    for (name, value) in table {
        if own.contains(&name) {
            settings.insert(name, value);
        } else if names::settable().any(|known| known == name) {
            named.push((name, plain_text(&value)?));
        } else {
            let known = own.iter().cloned().chain(names::settable().map(str::to_owned));
            let known: Vec<String> = known.collect();
            return Err(match nearest(&name, known.iter().map(String::as_str)) {
                Some(meant) => format!("there is no setting '{name}'; is '{meant}' meant?"),
                None => format!("there is no setting '{name}'"),
            });
        }
    }
    let settings = settings.try_into().map_err(|e: toml::de::Error| e.to_string())?;
    Ok((settings, named))
}

/// A value as CONFIG SET takes it.
fn plain_text(value: &toml::Value) -> Result<String, String> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Boolean(value) => Ok(if *value { "yes" } else { "no" }.into()),
        other => Err(format!("a setting is a number, a text, true or false, not {other}")),
    }
}

fn apply_named(named: &[(String, String)], config: &mut Config) -> Result<(), ConfigError> {
    for (name, value) in named {
        config.set(name, value).map_err(|why| ConfigError(format!("{name} '{value}': {why}")))?;
    }
    Ok(())
}

impl FileSettings {
    fn apply(self, config: &mut Config) -> Result<(), ConfigError> {
        fn set<T>(place: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *place = value;
            }
        }
        set(&mut config.port, self.port);
        let (token, nodes) = (self.cluster_token.as_deref(), self.nodes.as_deref());
        let join = Join::parse(token, self.join.as_deref(), self.advertise);
        config.join = join.map_err(ConfigError)?;
        // With a token alone the directory says the rest.
        if self.nodes.is_some() || self.node.is_some() {
            config.set_cluster(Cluster::parse(token, self.node, nodes).map_err(ConfigError)?);
        }
        set(&mut config.peer_port, self.peer_port);
        set(&mut config.election_timeout_ms, self.election_timeout_ms);
        set(&mut config.bind, self.bind);
        set(&mut config.dir, self.dir);
        set(&mut config.cores, self.cores);
        set(&mut config.durability, self.durability);
        set(&mut config.log_segment_bytes, self.log_segment_bytes);
        set(&mut config.log_writes_in_flight, self.log_writes_in_flight);
        set(&mut config.maxclients, self.maxclients);
        set(&mut config.timeout_s, self.timeout);
        set(&mut config.tcp_keepalive_s, self.tcp_keepalive);
        set(&mut config.poll_us, self.poll_us);
        set(&mut config.enable_debug, self.enable_debug_command);
        if self.shards.is_some() {
            config.shards = self.shards;
        }
        if let Some(password) = self.requirepass {
            config.requirepass = (!password.is_empty()).then_some(password);
        }
        set_switch(&mut config.protected_mode, "protected-mode", self.protected_mode.as_deref())?;
        set_switch(&mut config.disable_thp, "disable-thp", self.disable_thp.as_deref())?;
        Ok(())
    }
}

fn set_switch(place: &mut bool, name: &str, value: Option<&str>) -> Result<(), ConfigError> {
    *place = match value {
        None => return Ok(()),
        Some("yes") => true,
        Some("no") => false,
        Some(other) => return Err(ConfigError(format!("{name} is yes or no, not '{other}'"))),
    };
    Ok(())
}

/// Most shards: their numbers are 16 bits wide, and a slot belongs to one shard.
const SHARDS_MAX: usize = 4096;

fn check(config: &Config) -> Result<(), ConfigError> {
    let refuse = |text: String| Err(ConfigError(text));
    if !(1..=CORES_MAX).contains(&config.cores) {
        return refuse(format!("cores is 1 to {CORES_MAX}, not {}", config.cores));
    }
    if let Some(shards) = config.shards.filter(|shards| !(1..=SHARDS_MAX).contains(shards)) {
        return refuse(format!("shards is 1 to {SHARDS_MAX}, not {shards}"));
    }
    if !(1..=u32::MAX as usize).contains(&config.maxclients) {
        return refuse(format!("maxclients is 1 to {}, not {}", u32::MAX, config.maxclients));
    }
    if config.tcp_keepalive_s > KEEPALIVE_S_MAX {
        let asked = config.tcp_keepalive_s;
        return refuse(format!("tcp-keepalive is 0 to {KEEPALIVE_S_MAX} seconds, not {asked}"));
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
    if config.is_member() && config.peer_port == config.port && config.port != 0 {
        return refuse(format!("peer-port {} is the port of clients: name another", config.port));
    }
    let timeouts = ELECTION_TIMEOUT_MS_MIN..=ELECTION_TIMEOUT_MS_MAX;
    if !timeouts.contains(&config.election_timeout_ms) {
        return refuse(format!(
            "election-timeout-ms is {ELECTION_TIMEOUT_MS_MIN} to {ELECTION_TIMEOUT_MS_MAX}, not {}",
            config.election_timeout_ms
        ));
    }
    if config.is_member() || config.join.is_some() {
        check_member(config)?;
    }
    let segment = config.log_segment_bytes;
    if !((64 << 10)..=(1 << 40)).contains(&segment) || !segment.is_multiple_of(4096) {
        return refuse(format!(
            "log-segment-bytes is 65536 or more and a multiple of 4096, not {segment}"
        ));
    }
    if !(1..=LOG_WRITES_IN_FLIGHT_MAX).contains(&config.log_writes_in_flight) {
        return refuse(format!(
            "log-writes-in-flight is 1 to {LOG_WRITES_IN_FLIGHT_MAX}, not {}",
            config.log_writes_in_flight
        ));
    }
    Ok(())
}

impl Config {
    /// The data directory is that of a node of this cluster, or of none.
    pub fn take_part(&mut self, cluster: Option<Cluster>) -> Result<(), ConfigError> {
        self.set_cluster(cluster);
        if self.is_member() { check_member(self) } else { Ok(()) }
    }

    fn set_cluster(&mut self, cluster: Option<Cluster>) {
        let Some(cluster) = cluster else { return };
        // Where an operator has said both, the port that was named is the one to listen on.
        if self.cluster.is_none() {
            self.peer_port = cluster.own_port().unwrap_or(self.peer_port);
        }
        self.entry = MEMBER_ENTRY;
        self.cluster = Some(cluster);
    }
}

/// What a node of a cluster cannot have yet.
fn check_member(config: &Config) -> Result<(), ConfigError> {
    let refuse = |text: &str| Err(ConfigError(text.into()));
    if config.durability != Durability::Sync {
        return refuse("a node of a cluster acknowledges with --durability sync only, for now");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use engine::settings::Policy;

    use super::*;

    fn from_flags(flags: &[&str]) -> Result<Config, String> {
        let words = ["quoring"].iter().chain(flags);
        let matches =
            Flags::full_command().try_get_matches_from(words).map_err(|e| e.to_string())?;
        let flags = Flags::from_matches(matches).map_err(|e| e.to_string())?;
        flags.into_config(2).map_err(|e| e.0)
    }

    #[test]
    fn every_setting_is_a_flag_and_a_wrong_one_names_the_nearest() {
        Flags::full_command().debug_assert();
        let config =
            from_flags(&["--slowlog-max-len", "7", "--enable-debug-command", "local"]).unwrap();
        assert_eq!(config.slowlog_entries_max, 7);
        assert_eq!(config.enable_debug, DebugAccess::Local);
        assert!(from_flags(&["--slowlog-maxlen", "7"]).unwrap_err().contains("--slowlog-max-len"));
        let error = from_flags(&["--maxmemory-policy", "lru"]).unwrap_err();
        assert!(error.starts_with("maxmemory-policy 'lru': "), "{error}");
        let flags = ["--maxmemory", "4gb", "--maxmemory-policy", "allkeys-lru"];
        let config = from_flags(&flags).unwrap();
        assert_eq!(config.maxmemory_bytes, 4 << 30);
        assert_eq!(config.eviction.policy, Policy::AllkeysLru);
    }

    #[test]
    fn values_below_zero_are_no_flags() {
        let config =
            from_flags(&["--slowlog-log-slower-than", "-1", "--list-max-listpack-size", "-2"])
                .unwrap();
        assert_eq!(config.slowlog_slower_than_us, -1);
        assert_eq!(config.encoding.list_max_listpack_size, -2);
        let error = from_flags(&["--slowlog-log-slower-than", "-2"]).unwrap_err();
        assert!(error.contains("must be between -1 and"), "{error}");
        assert!(from_flags(&["--slowlog-max-len", "--maxmemory", "1gb"]).is_err());
    }

    #[test]
    fn log_writes_in_flight_are_one_to_some() {
        let count = |count: usize| from_flags(&["--log-writes-in-flight", &count.to_string()]);
        let taken = count(LOG_WRITES_IN_FLIGHT_MAX).unwrap();
        assert_eq!(taken.log_writes_in_flight, LOG_WRITES_IN_FLIGHT_MAX);
        for wrong in [0, LOG_WRITES_IN_FLIGHT_MAX + 1] {
            let error = count(wrong).unwrap_err();
            assert_eq!(error, format!("log-writes-in-flight is 1 to 16, not {wrong}"));
        }
    }

    #[test]
    fn an_election_timeout_has_bounds_and_a_tick_is_a_fifteenth() {
        let timeout = |ms: &str| from_flags(&["--election-timeout-ms", ms]);
        assert_eq!(from_flags(&[]).unwrap().group_tick_ns(), 20_000_000);
        for (ms, tick_ns) in [("60", 4_000_000), ("100", 6_666_666), ("10000", 666_666_666)] {
            let config = timeout(ms).unwrap();
            assert_eq!(config.group_tick_ns(), tick_ns);
            assert_eq!(config.election_timeout_ns(), 15 * tick_ns);
        }
        for wrong in ["0", "59", "10001"] {
            let error = timeout(wrong).unwrap_err();
            assert_eq!(error, format!("election-timeout-ms is 60 to 10000, not {wrong}"));
        }
        let refused = from_flags(&[]).unwrap().set("election-timeout-ms", "100");
        assert_eq!(refused, Err("can't set immutable config".into()));
    }

    #[test]
    fn a_node_of_a_cluster_waits_for_stable_storage() {
        let nodes = ["--cluster-token", "a secret", "--nodes", "1=127.0.0.1:7,2=127.0.0.1:8"];
        let with = |more: &[&str]| from_flags(&[&nodes[..], &["--node", "2"], more].concat());
        let config = with(&["--cores", "1"]).unwrap();
        assert!(config.is_member() && config.peer_port == 8);
        for durability in ["interval", "none"] {
            let error = with(&["--cores", "1", "--durability", durability]).unwrap_err();
            assert!(error.contains("--durability sync"), "{error}");
        }
        let error = with(&["--cores", "1", "--appendfsync", "everysec"]).unwrap_err();
        assert!(error.contains("stable storage only"), "{error}");
        assert!(from_flags(&nodes).unwrap_err().contains("go together"));
    }

    #[test]
    fn a_file_takes_the_same_names() {
        let (settings, named) = parse_file(
            "port = 7\nhz = 10\nlatency-tracking = true\nclient-query-buffer-limit = \"2mb\"\n",
        )
        .unwrap();
        let mut config = Config::default();
        settings.apply(&mut config).unwrap();
        apply_named(&named, &mut config).unwrap();
        assert_eq!((config.port, config.latency_tracking), (7, true));
        assert_eq!(config.query_buffer_bytes_max, 2 << 20);
        let error = parse_file("slowlog-log-slower = 1").unwrap_err();
        assert_eq!(
            error,
            "there is no setting 'slowlog-log-slower'; is 'slowlog-log-slower-than' meant?"
        );
        assert!(parse_file("config = \"x\"").is_err());
        assert!(parse_file("save = [1]").is_err());
    }
}
