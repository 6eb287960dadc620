//! MEMORY's subcommands that concern the process. `allocated` is what data, clients and the log's
//! buffers take by our own count; `active` and `resident` are what the process
//! occupies.

use engine::reply::Reply;

use super::everywhere::{Purpose, Question};
use super::memory_figures::{Figures, ratio};
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

pub fn write_memory(reply: &mut Reply<'_>, figures: &Figures, view: MemoryView) {
    match view {
        MemoryView::Stats => write_stats(reply, figures),
        MemoryView::Doctor => reply.verbatim(&report(figures)),
    }
}

fn write_stats(reply: &mut Reply<'_>, figures: &Figures) {
    let integer = |name, value: u64| (name, Figure::Integer(value as i64));
    let tables = figures.tables.iter().enumerate().filter(|(_, bytes)| **bytes > 0);
    let data = figures.used.saturating_sub(figures.at_start);
    let mut fields = vec![
        integer("peak.allocated", figures.used_peak),
        integer("total.allocated", figures.used),
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
        ("dataset.percentage", Figure::Double(figures.dataset_percent())),
        ("peak.percentage", Figure::Double(figures.peak_percent())),
        integer("allocator.allocated", figures.used),
        integer("allocator.active", figures.resident),
        integer("allocator.resident", figures.resident),
        ("allocator-fragmentation.ratio", Figure::Double(ratio(figures.resident, figures.used))),
        ("allocator-fragmentation.bytes", difference(figures.resident, figures.used)),
        ("allocator-rss.ratio", Figure::Double(ratio(figures.resident, figures.resident))),
        ("allocator-rss.bytes", difference(figures.resident, figures.resident)),
        ("rss-overhead.ratio", Figure::Double(1.0)),
        integer("rss-overhead.bytes", 0),
        ("fragmentation", Figure::Double(ratio(figures.resident, figures.used))),
        ("fragmentation.bytes", difference(figures.resident, figures.used)),
    ]);
    reply.map(fields.len());
    for (name, figure) in &fields {
        reply.bulk(name.as_bytes());
        figure.write(reply);
    }
}

fn difference(a: u64, b: u64) -> Figure {
    Figure::Integer(a as i64 - b as i64)
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
