//! Settings by name, as CONFIG GET and CONFIG SET see them.

use super::cluster::Cluster;
use super::memory_text::parse_memory;
use super::{Config, Durability};
use crate::limits::{CATCH_UP_BYTES_PER_SECOND_MIN, CATCH_UP_MEMORY_BYTES_MIN};
use crate::runtime::limits::KEEPALIVE_S_MAX;
use engine::settings::Policy;

/// Why a value was not taken, in Redis's words.
pub type SetError = String;

/// Redis takes more samples a key; they would make one eviction take longer than a turn may.
const SAMPLES_MAX: i32 = 1024;

type Set = fn(&mut Config, &str) -> Result<(), SetError>;

struct Setting {
    name: &'static str,
    get: fn(&Config) -> String,
    /// `None`: fixed at the start.
    set: Option<Set>,
}

/// All settings with the value they have.
pub fn all(config: &Config) -> impl Iterator<Item = (&'static str, String)> {
    SETTINGS.iter().map(|setting| (setting.name, (setting.get)(config)))
}

impl Config {
    /// Changes one setting. The error is the reason alone.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SetError> {
        let Some(setting) = SETTINGS.iter().find(|s| s.name.eq_ignore_ascii_case(name)) else {
            return Err("unknown option".into());
        };
        match setting.set {
            Some(set) => set(self, value),
            None => Err("can't set immutable config".into()),
        }
    }
}

/// Names that a flag, the file and CONFIG SET take.
pub fn settable() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().filter(|setting| setting.set.is_some()).map(|setting| setting.name)
}

/// Whether CONFIG knows this name.
pub fn is_known(name: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.name.eq_ignore_ascii_case(name))
}

fn number<T: TryFrom<i64>>(value: &str, min: i64, max: i64) -> Result<T, SetError> {
    let parsed = engine::number::parse_i64(value.as_bytes())
        .ok_or("argument couldn't be parsed into an integer")?;
    if !(min..=max).contains(&parsed) {
        return Err(format!("argument must be between {min} and {max} inclusive"));
    }
    T::try_from(parsed).map_err(|_| "argument couldn't be parsed into an integer".into())
}

/// A size with a unit, as Redis takes it.
fn memory(value: &str, min: u64, max: u64) -> Result<usize, SetError> {
    let bytes = parse_memory(value).ok_or("argument must be a memory value")?;
    if !(min..=max).contains(&bytes) {
        return Err(format!("argument must be between {min} and {max} inclusive"));
    }
    usize::try_from(bytes).map_err(|_| "argument must be a memory value".into())
}

fn policy(value: &str) -> Result<Policy, SetError> {
    Policy::parse(value).ok_or_else(|| {
        let names = Policy::ALL.map(|(name, _)| name).join(", ");
        format!("argument(s) must be one of the following: {names}")
    })
}

fn switch(value: &str) -> Result<bool, SetError> {
    match value.to_ascii_lowercase().as_str() {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("argument must be 'yes' or 'no'".into()),
    }
}

fn yes_no(value: bool) -> String {
    if value { "yes" } else { "no" }.into()
}

macro_rules! encoding_setting {
    ($name:literal, $field:ident) => {
        Setting {
            name: $name,
            get: |c| c.encoding.$field.to_string(),
            set: Some(|c, value| {
                c.encoding.$field = number(value, 0, i64::MAX)?;
                Ok(())
            }),
        }
    };
}

macro_rules! list_size_setting {
    ($name:literal) => {
        Setting {
            name: $name,
            get: |c| c.encoding.list_max_listpack_size.to_string(),
            set: Some(|c, value| {
                c.encoding.list_max_listpack_size =
                    number(value, i32::MIN.into(), i32::MAX.into())?;
                Ok(())
            }),
        }
    };
}

/// A setting of Redis's that can be only one thing here; to set it to just that is allowed.
macro_rules! fixed {
    ($name:literal, $value:literal) => {
        Setting {
            name: $name,
            get: |_| $value.into(),
            set: Some(|_, value| {
                if value.eq_ignore_ascii_case($value) {
                    return Ok(());
                }
                Err(concat!("this server has '", $value, "' only").into())
            }),
        }
    };
}

static SETTINGS: &[Setting] = &[
    fixed!("activedefrag", "no"),
    Setting {
        name: "advertise",
        get: |c| c.join.as_ref().and_then(|join| join.advertise.clone()).unwrap_or_default(),
        set: None,
    },
    Setting {
        name: "appendfsync",
        get: |c| match c.durability {
            Durability::Sync => "always".into(),
            Durability::Interval => "everysec".into(),
            Durability::None => "no".into(),
        },
        set: Some(|c, value| match value {
            "always" => set_durability(c, Durability::Sync),
            "everysec" => set_durability(c, Durability::Interval),
            "no" => set_durability(c, Durability::None),
            _ => Err("argument(s) must be one of the following: everysec, always, no".into()),
        }),
    },
    Setting { name: "appendonly", get: |c| yes_no(c.durability != Durability::None), set: None },
    Setting {
        name: "bind",
        get: |c| c.bind.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        set: None,
    },
    Setting {
        name: "catch-up-bytes-per-second",
        get: |c| c.catch_up_bytes_per_second.to_string(),
        set: Some(|c, value| {
            let rate = memory(value, 0, 1 << 40)? as u64;
            if (1..CATCH_UP_BYTES_PER_SECOND_MIN).contains(&rate) {
                let least = CATCH_UP_BYTES_PER_SECOND_MIN;
                return Err(format!("argument must be 0, for no limit, or {least} or more"));
            }
            c.catch_up_bytes_per_second = rate;
            Ok(())
        }),
    },
    Setting {
        name: "catch-up-log-bytes",
        get: |c| c.catch_up_log_bytes.to_string(),
        set: Some(|c, value| {
            c.catch_up_log_bytes = memory(value, 0, 1 << 50)? as u64;
            Ok(())
        }),
    },
    Setting {
        name: "catch-up-memory-bytes",
        get: |c| c.catch_up_memory_bytes.to_string(),
        set: Some(|c, value| {
            c.catch_up_memory_bytes = memory(value, CATCH_UP_MEMORY_BYTES_MIN, 1 << 40)?;
            Ok(())
        }),
    },
    Setting {
        name: "client-output-buffer-limit",
        get: |c| c.output_limits.to_string(),
        set: Some(|c, value| c.output_limits.set(value)),
    },
    Setting {
        name: "client-query-buffer-limit",
        get: |c| c.query_buffer_bytes_max.to_string(),
        set: Some(|c, value| {
            c.query_buffer_bytes_max = memory(value, 1 << 20, i64::MAX as u64)?;
            Ok(())
        }),
    },
    fixed!("cluster-enabled", "no"),
    Setting { name: "cores", get: |c| c.cores.to_string(), set: None },
    Setting { name: "databases", get: |_| engine::limits::DATABASE_COUNT.to_string(), set: None },
    Setting { name: "dir", get: |c| c.dir.display().to_string(), set: None },
    Setting { name: "disable-thp", get: |c| yes_no(c.disable_thp), set: None },
    Setting {
        name: "durability",
        get: |c| c.durability.name().into(),
        set: Some(|c, value| match value {
            "sync" => set_durability(c, Durability::Sync),
            "interval" => set_durability(c, Durability::Interval),
            "none" => set_durability(c, Durability::None),
            _ => Err("argument(s) must be one of the following: sync, interval, none".into()),
        }),
    },
    Setting { name: "election-timeout-ms", get: |c| c.election_timeout_ms.to_string(), set: None },
    Setting { name: "enable-debug-command", get: |c| c.enable_debug.name().into(), set: None },
    encoding_setting!("hash-max-listpack-entries", hash_max_listpack_entries),
    encoding_setting!("hash-max-listpack-value", hash_max_listpack_value),
    encoding_setting!("hash-max-ziplist-entries", hash_max_listpack_entries),
    encoding_setting!("hash-max-ziplist-value", hash_max_listpack_value),
    fixed!("hz", "10"),
    Setting {
        name: "join",
        get: |c| c.join.as_ref().map_or(String::new(), |join| join.named.join(",")),
        set: None,
    },
    Setting {
        name: "latency-monitor-threshold",
        get: |c| c.latency_threshold_ms.to_string(),
        set: Some(|c, value| {
            c.latency_threshold_ms = number(value, 0, i64::MAX)?;
            Ok(())
        }),
    },
    Setting {
        name: "latency-tracking",
        get: |c| yes_no(c.latency_tracking),
        set: Some(|c, value| {
            c.latency_tracking = switch(value)?;
            Ok(())
        }),
    },
    fixed!("lazyfree-lazy-eviction", "yes"),
    fixed!("lazyfree-lazy-expire", "yes"),
    fixed!("lazyfree-lazy-server-del", "yes"),
    fixed!("lazyfree-lazy-user-del", "yes"),
    fixed!("lazyfree-lazy-user-flush", "yes"),
    Setting {
        name: "lfu-decay-time",
        get: |c| c.eviction.lfu_decay_minutes.to_string(),
        set: Some(|c, value| {
            c.eviction.lfu_decay_minutes = number(value, 0, i64::from(i32::MAX))?;
            Ok(())
        }),
    },
    Setting {
        name: "lfu-log-factor",
        get: |c| c.eviction.lfu_log_factor.to_string(),
        set: Some(|c, value| {
            c.eviction.lfu_log_factor = number(value, 0, i64::from(i32::MAX))?;
            Ok(())
        }),
    },
    fixed!("list-compress-depth", "0"),
    list_size_setting!("list-max-listpack-size"),
    list_size_setting!("list-max-ziplist-size"),
    Setting {
        name: "checkpoint-bytes-per-second",
        get: |c| c.checkpoint_bytes_per_second.to_string(),
        set: Some(|c, value| {
            c.checkpoint_bytes_per_second = memory(value, 0, 1 << 40)? as u64;
            Ok(())
        }),
    },
    Setting {
        name: "checkpoint-log-bytes",
        get: |c| c.checkpoint_log_bytes.to_string(),
        set: Some(|c, value| {
            c.checkpoint_log_bytes = memory(value, 1 << 16, 1 << 50)? as u64;
            Ok(())
        }),
    },
    Setting { name: "log-segment-bytes", get: |c| c.log_segment_bytes.to_string(), set: None },
    Setting {
        name: "log-writes-in-flight",
        get: |c| c.log_writes_in_flight.to_string(),
        set: None,
    },
    Setting {
        name: "maxclients",
        get: |c| c.maxclients.to_string(),
        set: Some(|c, value| {
            let asked = number(value, 1, i64::from(u32::MAX))?;
            if asked > c.clients_possible {
                return Err(format!(
                    "The operating system is not able to handle the specified number of clients, \
                     try with {}",
                    c.clients_possible
                ));
            }
            c.maxclients = asked;
            Ok(())
        }),
    },
    Setting {
        name: "maxmemory",
        get: |c| c.maxmemory_bytes.to_string(),
        set: Some(|c, value| {
            c.maxmemory_bytes = memory(value, 0, i64::MAX as u64)? as u64;
            Ok(())
        }),
    },
    fixed!("maxmemory-clients", "0"),
    Setting {
        name: "maxmemory-policy",
        get: |c| c.eviction.policy.name().into(),
        set: Some(|c, value| {
            c.eviction.policy = policy(value)?;
            Ok(())
        }),
    },
    Setting {
        name: "maxmemory-samples",
        get: |c| c.eviction.samples.to_string(),
        set: Some(|c, value| {
            c.eviction.samples = number(value, 1, i64::from(SAMPLES_MAX))?;
            Ok(())
        }),
    },
    Setting {
        name: "node",
        get: |c| c.cluster.as_ref().map_or(String::new(), |cluster| cluster.node.0.to_string()),
        set: None,
    },
    Setting {
        name: "nodes",
        get: |c| c.cluster.as_ref().map_or(String::new(), Cluster::nodes_text),
        set: None,
    },
    Setting { name: "peer-port", get: |c| c.peer_port.to_string(), set: None },
    Setting { name: "poll-us", get: |c| c.poll_us.to_string(), set: None },
    Setting { name: "port", get: |c| c.port.to_string(), set: None },
    Setting {
        name: "proto-max-bulk-len",
        get: |c| c.proto_max_bulk_len.to_string(),
        set: Some(|c, value| {
            c.proto_max_bulk_len = memory(value, 1 << 20, u64::from(u32::MAX / 4))?;
            Ok(())
        }),
    },
    Setting { name: "protected-mode", get: |c| yes_no(c.protected_mode), set: None },
    Setting {
        name: "requirepass",
        get: |c| c.requirepass.clone().unwrap_or_default(),
        set: Some(|c, value| {
            c.requirepass = (!value.is_empty()).then(|| value.to_owned());
            Ok(())
        }),
    },
    fixed!("save", ""),
    encoding_setting!("set-max-intset-entries", set_max_intset_entries),
    encoding_setting!("set-max-listpack-entries", set_max_listpack_entries),
    encoding_setting!("set-max-listpack-value", set_max_listpack_value),
    Setting {
        name: "shards",
        get: |c| c.shards.map_or(String::new(), |shards| shards.to_string()),
        set: None,
    },
    Setting {
        name: "slowlog-log-slower-than",
        get: |c| c.slowlog_slower_than_us.to_string(),
        set: Some(|c, value| {
            c.slowlog_slower_than_us = number(value, -1, i64::MAX)?;
            Ok(())
        }),
    },
    Setting {
        name: "slowlog-max-len",
        get: |c| c.slowlog_entries_max.to_string(),
        set: Some(|c, value| {
            c.slowlog_entries_max = number(value, 0, i64::MAX)?;
            Ok(())
        }),
    },
    Setting {
        name: "tcp-keepalive",
        get: |c| c.tcp_keepalive_s.to_string(),
        set: Some(|c, value| {
            c.tcp_keepalive_s = number(value, 0, i64::from(KEEPALIVE_S_MAX))?;
            Ok(())
        }),
    },
    Setting {
        name: "timeout",
        get: |c| c.timeout_s.to_string(),
        set: Some(|c, value| {
            c.timeout_s = number(value, 0, i64::from(i32::MAX))?;
            Ok(())
        }),
    },
    fixed!("tls-port", "0"),
    fixed!("unixsocket", ""),
    encoding_setting!("zset-max-listpack-entries", zset_max_listpack_entries),
    encoding_setting!("zset-max-listpack-value", zset_max_listpack_value),
    encoding_setting!("zset-max-ziplist-entries", zset_max_listpack_entries),
    encoding_setting!("zset-max-ziplist-value", zset_max_listpack_value),
];

/// A log that was never written cannot be made up for, and one that stops would look complete.
fn set_durability(config: &mut Config, durability: Durability) -> Result<(), SetError> {
    if (config.durability == Durability::None) != (durability == Durability::None) {
        return Err("a log can be neither begun nor given up while the server runs; restart with \
                    --durability"
            .into());
    }
    if config.is_member() && durability != Durability::Sync {
        return Err(
            "a node of a cluster acknowledges what is on stable storage only, for now".into()
        );
    }
    config.durability = durability;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `CONFIG GET *-max-*` says of Redis 7.0, 8.2 and Valkey 9.1; those of sets are 7.2's.
    #[test]
    fn bounds_of_packed_forms_are_redis_s() {
        let config = Config::default();
        let settings: std::collections::BTreeMap<&str, String> = all(&config).collect();
        for (name, value) in [
            ("hash-max-listpack-entries", "512"),
            ("hash-max-listpack-value", "64"),
            ("hash-max-ziplist-entries", "512"),
            ("hash-max-ziplist-value", "64"),
            ("list-max-listpack-size", "-2"),
            ("list-max-ziplist-size", "-2"),
            ("set-max-intset-entries", "512"),
            ("set-max-listpack-entries", "128"),
            ("set-max-listpack-value", "64"),
            ("zset-max-listpack-entries", "128"),
            ("zset-max-listpack-value", "64"),
            ("zset-max-ziplist-entries", "128"),
            ("zset-max-ziplist-value", "64"),
        ] {
            assert_eq!(settings[name], value, "{name}");
        }
    }
}
