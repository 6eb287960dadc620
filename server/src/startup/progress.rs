//! How far a start is, for those who wait for it: some lines in the log, not one for each step.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Between two lines.
const TOLD_EVERY: Duration = Duration::from_secs(2);

/// A part of a start that reads so many bytes, by any number of threads.
pub struct Progress {
    what: &'static str,
    begun: Instant,
    read_bytes: AtomicU64,
    total_bytes: u64,
    /// Milliseconds from the beginning to the last line.
    told_ms: AtomicU64,
}

impl Progress {
    pub fn begin(what: &'static str, total_bytes: u64) -> Progress {
        Progress {
            what,
            begun: Instant::now(),
            read_bytes: AtomicU64::new(0),
            total_bytes,
            told_ms: AtomicU64::new(0),
        }
    }

    /// So many bytes more were read.
    pub fn add(&self, bytes: u64) {
        let read_bytes = self.read_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let elapsed = self.begun.elapsed();
        let now_ms = elapsed.as_millis() as u64;
        let told_ms = self.told_ms.load(Ordering::Relaxed);
        if now_ms < told_ms + TOLD_EVERY.as_millis() as u64 {
            return;
        }
        // Of several threads one says it.
        let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
        if self.told_ms.compare_exchange(told_ms, now_ms, success, failure).is_ok() {
            tracing::info!(
                "{}: {} of {} MB read, {}",
                self.what,
                read_bytes / 1_000_000,
                self.total_bytes.max(read_bytes) / 1_000_000,
                rate(read_bytes, elapsed)
            );
        }
    }

    /// It is done; `came_to` says what of it there is now.
    pub fn end(&self, came_to: &str) {
        let (read_bytes, elapsed) = (self.read_bytes.load(Ordering::Relaxed), self.begun.elapsed());
        tracing::info!(
            "{}: {came_to} from {} MB in {:.2} s, {}",
            self.what,
            read_bytes / 1_000_000,
            elapsed.as_secs_f64(),
            rate(read_bytes, elapsed)
        );
    }
}

fn rate(bytes: u64, elapsed: Duration) -> String {
    format!("{:.0} MB/s", bytes as f64 / 1e6 / elapsed.as_secs_f64().max(0.001))
}
