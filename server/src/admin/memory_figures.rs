//! What is known of memory, for INFO, MEMORY STATS and MEMORY DOCTOR alike. In bytes where nothing
//! else is said.

use engine::limits::DATABASE_COUNT;

use super::stats::Snapshot;
use crate::config::Config;
use crate::memory;

pub struct Figures {
    /// What data and clients take, as `maxmemory` counts it, and the log's buffers.
    pub used: u64,
    /// The sum of each core's own peak, so at least the highest sum.
    pub used_peak: u64,
    /// Before there is a key or a client.
    pub at_start: u64,
    pub clients: u64,
    /// Effects and entries on their way to the disk: not counted for eviction, which makes some.
    pub log: u64,
    /// The tables of each database.
    pub tables: [u64; DATABASE_COUNT],
    pub keys_count: u64,
    pub clients_count: u64,
    pub unfreed_count: u64,
    /// Of the process. How much of it the allocator has, it does not say.
    pub resident: u64,
    max: u64,
    policy: &'static str,
}

impl Figures {
    pub fn of(sum: &Snapshot, config: &Config) -> Figures {
        let used = sum.used_bytes + sum.log_bytes;
        Figures {
            used,
            used_peak: sum.used_peak_bytes.max(used),
            at_start: sum.empty_bytes,
            clients: sum.client_bytes,
            log: sum.log_bytes,
            tables: sum.table_bytes,
            keys_count: sum.databases.iter().map(|(keys, _)| *keys as u64).sum(),
            clients_count: sum.clients as u64,
            unfreed_count: sum.unfreed as u64,
            resident: memory::resident_bytes(),
            max: config.maxmemory_bytes,
            policy: config.eviction.policy.name(),
        }
    }

    pub fn overhead(&self) -> u64 {
        self.at_start + self.clients + self.log + self.tables.iter().sum::<u64>()
    }

    pub fn dataset(&self) -> u64 {
        self.used.saturating_sub(self.overhead())
    }

    /// Data beside all that came after the start.
    pub fn dataset_percent(&self) -> f64 {
        ratio(self.dataset(), self.used.saturating_sub(self.at_start)) * 100.0
    }

    pub fn peak_percent(&self) -> f64 {
        ratio(self.used, self.used_peak) * 100.0
    }

    /// INFO's section.
    pub fn info(&self) -> String {
        let mut fields: Vec<(String, String)> = Vec::new();
        let plain = |name: &str, value: u64| (name.to_owned(), value.to_string());
        let both =
            |name: &str, bytes| [plain(name, bytes), (format!("{name}_human"), human(bytes))];
        let percent = |name: &str, value: f64| (name.to_owned(), format!("{value:.2}%"));
        let compared = |name: &str, a: u64, b: u64| {
            let ratio = (format!("{name}_ratio"), format!("{:.2}", ratio(a, b)));
            [ratio, (format!("{name}_bytes"), (a as i64 - b as i64).to_string())]
        };
        fields.extend(both("used_memory", self.used));
        fields.extend(both("used_memory_rss", self.resident));
        fields.extend(both("used_memory_peak", self.used_peak));
        fields.push(percent("used_memory_peak_perc", self.peak_percent()));
        fields.push(plain("used_memory_overhead", self.overhead()));
        fields.push(plain("used_memory_startup", self.at_start));
        fields.push(plain("used_memory_dataset", self.dataset()));
        fields.push(percent("used_memory_dataset_perc", self.dataset_percent()));
        fields.push(plain("allocator_allocated", self.used));
        fields.push(plain("allocator_active", self.resident));
        fields.push(plain("allocator_resident", self.resident));
        fields.extend(both("total_system_memory", memory::system_bytes()));
        fields.extend(both("maxmemory", self.max));
        fields.push(("maxmemory_policy".into(), self.policy.into()));
        fields.extend(compared("allocator_frag", self.resident, self.used));
        fields.extend(compared("allocator_rss", self.resident, self.resident));
        fields.extend(compared("mem_fragmentation", self.resident, self.used));
        fields.push(plain("mem_not_counted_for_evict", self.log));
        fields.push(plain("mem_clients_slaves", 0));
        fields.push(plain("mem_clients_normal", self.clients));
        fields.push(plain("mem_aof_buffer", self.log));
        fields.push(("mem_allocator".into(), "mimalloc".into()));
        fields.push(plain("lazyfree_pending_objects", self.unfreed_count));
        let lines = fields.iter().map(|(name, value)| format!("{name}:{value}\r\n"));
        std::iter::once("# Memory\r\n".to_owned()).chain(lines).collect()
    }
}

pub fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b.max(1) as f64
}

/// A size as INFO's `_human` fields have it.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["K", "M", "G", "T"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.2}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn sizes_read_as_redis_writes_them() {
        let known = [(0, "0B"), (1023, "1023B"), (939_328, "917.31K"), (6_656_000, "6.35M")];
        for (bytes, text) in known {
            assert_eq!(human(bytes), text);
        }
        assert_eq!(human(25_276_063_744), "23.54G");
        assert_eq!(human(3 << 40), "3.00T");
    }
}
