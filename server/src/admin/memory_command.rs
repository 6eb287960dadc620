//! MEMORY's subcommands that concern the process. The allocator does not count what values take, so
//! `allocated` here means occupied: the resident memory of the process.

use engine::limits::DATABASE_COUNT;
use engine::reply::Reply;

use super::everywhere::{Purpose, Question};
use super::stats::Snapshot;
use crate::connection::Connection;
use crate::core::Core;
use crate::memory;

/// Below this nothing useful can be said of how memory is used.
const SMALL_BYTES: u64 = 64 << 20;

/// Data to all memory, below which it is worth a look what the rest is.
const DATA_RATIO_LOW: f64 = 0.5;

/// Bytes that a client holds on average, beyond which clients are worth a look.
const CLIENT_BYTES_HIGH: u64 = 256 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryView {
    Stats,
    Doctor,
}

impl Core {
    pub(crate) fn memory_command(&mut self, connection: &mut Connection, sub: &str) {
        let view = match sub {
            "purge" => {
                return self.ask_everywhere(connection, Question::GiveMemoryBack, Purpose::Ok);
            }
            "malloc-stats" => {
                let report = memory::allocator_report();
                return self.reply_with(connection, |reply| reply.verbatim(&report));
            }
            "stats" => MemoryView::Stats,
            _ => MemoryView::Doctor,
        };
        self.ask_everywhere(connection, Question::Snapshot, Purpose::Memory(view));
    }
}

/// What is known of memory, in bytes where nothing else is said.
struct Figures {
    used: u64,
    used_peak: u64,
    at_start: u64,
    clients: u64,
    log: u64,
    /// The tables of each database.
    tables: [u64; DATABASE_COUNT],
    keys_count: u64,
    clients_count: u64,
}

impl Figures {
    fn of(sum: &Snapshot) -> Figures {
        Figures {
            used: memory::resident_bytes(),
            used_peak: memory::resident_bytes_peak(),
            at_start: memory::resident_bytes_at_start(),
            clients: sum.client_bytes,
            log: sum.log_queued_bytes,
            tables: sum.table_bytes,
            keys_count: sum.databases.iter().map(|(keys, _)| *keys as u64).sum(),
            clients_count: sum.clients as u64,
        }
    }

    fn overhead(&self) -> u64 {
        self.at_start + self.clients + self.log + self.tables.iter().sum::<u64>()
    }

    fn dataset(&self) -> u64 {
        self.used.saturating_sub(self.overhead())
    }
}

pub fn write_memory(reply: &mut Reply<'_>, sum: &Snapshot, view: MemoryView) {
    let figures = Figures::of(sum);
    match view {
        MemoryView::Stats => write_stats(reply, &figures),
        MemoryView::Doctor => reply.verbatim(&report(&figures)),
    }
}

fn write_stats(reply: &mut Reply<'_>, figures: &Figures) {
    let (used, peak) = (figures.used, figures.used_peak);
    let data = used.saturating_sub(figures.at_start);
    let integer = |name, value: u64| (name, Figure::Integer(value as i64));
    let tables = figures.tables.iter().enumerate().filter(|(_, bytes)| **bytes > 0);
    let mut fields = vec![
        integer("peak.allocated", peak),
        integer("total.allocated", used),
        integer("startup.allocated", figures.at_start),
        integer("replication.backlog", 0),
        integer("clients.slaves", 0),
        integer("clients.normal", figures.clients),
        integer("cluster.links", 0),
        integer("aof.buffer", figures.log),
        integer("lua.caches", 0),
        integer("functions.caches", 0),
    ];
    let names: Vec<(String, u64)> =
        tables.map(|(db, bytes)| (format!("db.{db}"), *bytes)).collect();
    fields.extend(names.iter().map(|(name, bytes)| (name.as_str(), Figure::Tables(*bytes as i64))));
    fields.extend([
        integer("overhead.total", figures.overhead()),
        integer("keys.count", figures.keys_count),
        integer("keys.bytes-per-key", data.checked_div(figures.keys_count).unwrap_or(0)),
        integer("dataset.bytes", figures.dataset()),
        ("dataset.percentage", Figure::Double(percent(figures.dataset(), data))),
        ("peak.percentage", Figure::Double(percent(used, peak))),
        integer("allocator.resident", used),
    ]);
    reply.map(fields.len());
    for (name, figure) in &fields {
        reply.bulk(name.as_bytes());
        figure.write(reply);
    }
}

enum Figure {
    Integer(i64),
    Double(f64),
    /// What the tables of a database take. There is none apart for keys that expire.
    Tables(i64),
}

impl Figure {
    fn write(&self, reply: &mut Reply<'_>) {
        match self {
            Figure::Integer(value) => reply.integer(*value),
            Figure::Double(value) => reply.double(*value),
            Figure::Tables(bytes) => {
                reply.map(2);
                reply.bulk(b"overhead.hashtable.main");
                reply.integer(*bytes);
                reply.bulk(b"overhead.hashtable.expires");
                reply.integer(0);
            }
        }
    }
}

fn data_ratio(figures: &Figures) -> f64 {
    figures.dataset() as f64 / figures.used.max(1) as f64
}

fn percent(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole.max(1) as f64
}

fn report(figures: &Figures) -> String {
    let (used_mib, peak_mib) = (figures.used >> 20, figures.used_peak >> 20);
    if figures.used < SMALL_BYTES {
        return format!(
            "The server uses {used_mib} MiB: too little to say anything useful of how.\n"
        );
    }
    let mut text = String::new();
    if figures.used_peak / 2 > figures.used {
        text += &format!("- It used {peak_mib} MiB at its peak and uses {used_mib} MiB now.\n");
    }
    if data_ratio(figures) < DATA_RATIO_LOW {
        text += "- Less than half of it is data. MEMORY STATS shows what else there is; MEMORY \
                 PURGE gives back what is free.\n";
    }
    let client = figures.clients.checked_div(figures.clients_count).unwrap_or(0);
    if client > CLIENT_BYTES_HIGH {
        text += &format!(
            "- A client holds {} KiB on average: large pipelines, or clients that do not read. See \
             omem and qbuf in CLIENT LIST, and client-output-buffer-limit.\n",
            client >> 10
        );
    }
    if text.is_empty() { "Nothing about its memory is unusual.\n".into() } else { text }
}
