//! INFO: the server in Redis's sections and field names, and our own fields beside them.

use engine::args::Args;

use super::calls::info_commandstats;
use super::everywhere::{Purpose, Question};
use super::memory_figures::Figures;
use super::session::REDIS_VERSION;
use super::stats::Snapshot;
use crate::connection::Connection;
use crate::core::Core;
use crate::pubsub::Kind;
use crate::pubsub::directory::Directory;

/// In the order in which they are shown.
const SECTIONS: &[&str] = &[
    "server",
    "clients",
    "memory",
    "persistence",
    "stats",
    "turns",
    "replication",
    "cpu",
    "commandstats",
    "keyspace",
];

/// Shown only where they are asked for, or all are.
const ON_REQUEST: &[&str] = &["commandstats"];

impl Core {
    pub(crate) fn info(&mut self, connection: &mut Connection, args: Args<'_>) {
        let asked: Vec<String> =
            args.iter_from(1).map(|name| String::from_utf8_lossy(name).to_lowercase()).collect();
        let named = |names: &[&str]| asked.iter().any(|name| names.contains(&name.as_str()));
        let all = named(&["all", "everything"]);
        let default = asked.is_empty() || named(&["default"]);
        let sections = SECTIONS
            .iter()
            .filter(|section| {
                all || default && !ON_REQUEST.contains(section) || named(&[**section])
            })
            .map(|section| (*section).to_owned())
            .collect();
        self.ask_everywhere(connection, Question::Snapshot, Purpose::Info { sections });
    }

    pub(crate) fn info_text(&self, sum: &Snapshot, sections: &[String]) -> String {
        let texts: Vec<String> = sections
            .iter()
            .map(|section| match section.as_str() {
                "server" => self.info_server(),
                "clients" => self.info_clients(sum),
                "memory" => Figures::of(sum, &self.config).info(),
                "persistence" => self.info_persistence(sum),
                "stats" => info_stats(sum, &self.pubsub.directory),
                "turns" => sum.turns.info(),
                "replication" => self.info_replication(&sum.groups),
                "cpu" => info_cpu(),
                "commandstats" => info_commandstats(&sum.calls),
                _ => info_keyspace(sum),
            })
            .collect();
        texts.join("\r\n")
    }

    fn info_server(&self) -> String {
        let uptime_s = self.now.mono_ns.saturating_sub(self.config.started_ns) / 1_000_000_000;
        format!(
            "# Server\r\nredis_version:{REDIS_VERSION}\r\n\
             redis_git_sha1:00000000\r\nredis_git_dirty:0\r\nquoring_version:{}\r\n\
             redis_mode:standalone\r\nos:Linux\r\narch_bits:64\r\nmultiplexing_api:io_uring\r\n\
             process_id:{}\r\ntcp_port:{}\r\n\
             server_time_usec:{}\r\nuptime_in_seconds:{uptime_s}\r\n\
             uptime_in_days:{}\r\ncores:{}\r\nshards:{}\r\n",
            env!("CARGO_PKG_VERSION"),
            std::process::id(),
            self.config.port,
            self.now.unix_us,
            uptime_s / 86_400,
            self.config.cores,
            self.shards.count(),
        )
    }

    fn info_clients(&self, sum: &Snapshot) -> String {
        format!(
            "# Clients\r\nconnected_clients:{}\r\nmaxclients:{}\r\nblocked_clients:{}\r\n\
             pubsub_clients:{}\r\n",
            sum.clients, self.config.maxclients, sum.blocked, sum.pubsub_clients
        )
    }

    fn info_persistence(&self, sum: &Snapshot) -> String {
        format!(
            "# Persistence\r\nloading:0\r\naof_enabled:{}\r\ndurability:{}\r\n\
             rdb_changes_since_last_save:{}\r\nlog_records:{}\r\nlog_records_durable:{}\r\n\
             log_bytes_written:{}\r\nlog_payload_bytes:{}\r\n",
            u8::from(self.log.is_some()),
            self.config.durability.name(),
            sum.shards.changes.saturating_sub(sum.shards.changes_saved),
            sum.log_records,
            sum.log_durable,
            sum.log_written_bytes,
            sum.log_payload_bytes,
        ) + &self.info_checkpoints(sum)
    }
}

fn info_stats(sum: &Snapshot, directory: &Directory) -> String {
    let (stats, shards) = (&sum.stats, &sum.shards);
    format!(
        "# Stats\r\ntotal_connections_received:{}\r\ntotal_commands_processed:{}\r\n\
         total_net_input_bytes:{}\r\ntotal_net_output_bytes:{}\r\nrejected_connections:{}\r\n\
         expired_keys:{}\r\nevicted_keys:{}\r\nkeyspace_hits:{}\r\nkeyspace_misses:{}\r\n\
         pubsub_channels:{}\r\npubsub_patterns:{}\r\npubsubshard_channels:{}\r\n\
         total_error_replies:{}\r\nturns:{}\r\nforwarded_commands:{}\r\ngathered_operations:{}\r\n\
         quoring_tunnelled_commands:{}\r\n",
        stats.connections_received,
        stats.commands,
        stats.bytes_in,
        stats.bytes_out,
        stats.connections_refused,
        shards.expired,
        shards.evicted,
        shards.hits,
        shards.misses,
        directory.channel_count(Kind::Channel),
        directory.pattern_count(),
        directory.channel_count(Kind::Shard),
        stats.errors,
        stats.turns,
        stats.forwarded,
        stats.gathered,
        stats.tunnelled_commands,
    )
}

fn info_cpu() -> String {
    let (user, system) = crate::memory::cpu_seconds();
    format!("# CPU\r\nused_cpu_sys:{system:.6}\r\nused_cpu_user:{user:.6}\r\n")
}

fn info_keyspace(sum: &Snapshot) -> String {
    let mut text = String::from("# Keyspace\r\n");
    for (db, (keys, expires)) in sum.databases.iter().enumerate() {
        if *keys > 0 {
            text += &format!("db{db}:keys={keys},expires={expires},avg_ttl=0\r\n");
        }
    }
    text
}
