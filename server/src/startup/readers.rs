//! The logs as they are read: each by a thread of its own, which checks it and is ahead of those
//! who take its entries by a bounded number of bytes.

use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use replication::ids::Incarnation;
use replication::log::recovery::read_chain;
use replication::log::{LogIdentity, SegmentSource, Tail, recover};
use replication::release::resolve::{Content, Placed};

use super::StartError;
use super::identity::Identity;
use super::progress::Progress;
use super::replay::{Bases, EntryStream, Replayed, place};
use super::segments::SegmentFiles;

/// Payload bytes and entries that a reading thread hands over at once, and such batches that may
/// wait: together the most that a log's reader is ahead, but for one entry that is longer.
const BATCH_BYTES: usize = 1 << 20;
const BATCH_ENTRIES: usize = 8 << 10;
const BATCHES_MAX: usize = 4;

/// Entries whose payloads lie behind each other in one piece of memory, so that the thread that
/// reads them and the one that applies them do not hand an allocation to and fro for each.
struct Batch {
    bytes: Arc<Vec<u8>>,
    entries: std::vec::IntoIter<Placed<Range<usize>>>,
}

/// A payload within its batch.
pub struct Payload {
    batch: Arc<Vec<u8>>,
    range: Range<usize>,
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.batch[self.range.clone()]
    }
}

/// What logs are read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// To go on behind them: where they end is judged.
    ToRecover,
    /// They are being written. What is asked for is on stable storage; where they end is not.
    WhileWritten,
}

/// Reads every log in a thread of its own while `take` takes the entries. Entries up to the shards'
/// `bases` are checked, but not handed over.
pub fn read_logs(
    directories: &[PathBuf],
    identity: &Identity,
    bases: &Bases,
    how: Reading,
    take: impl FnOnce(&mut [Log]) -> Result<Replayed, StartError>,
) -> Result<(Replayed, Vec<Tail>), StartError> {
    let sources = directories.iter().map(|path| SegmentFiles::list(path));
    let sources = sources.collect::<Result<Vec<_>, _>>()?;
    let total_bytes = sources.iter().flat_map(SegmentFiles::files).map(|file| file.size_bytes);
    let progress = Progress::begin("logs", total_bytes.sum());
    std::thread::scope(|scope| {
        let mut logs = Vec::new();
        let mut threads = Vec::new();
        for (core, (path, source)) in directories.iter().zip(sources).enumerate() {
            let (sender, receiver) = sync_channel(BATCHES_MAX);
            let identity =
                LogIdentity { cluster: identity.cluster, node: identity.node, core: core as u16 };
            let source = Counted { source, progress: &progress };
            threads.push(scope.spawn(move || read_log(path, source, identity, bases, how, sender)));
            logs.push(Log { receiver, batch: None });
        }
        let taken = take(&mut logs);
        // Readers that wait for a place end when nobody receives.
        drop(logs);
        let mut tails = Vec::new();
        for thread in threads {
            let read = thread.join().map_err(|_| "a thread reading a log panicked")?;
            tails.push(read);
        }
        // A reader's own error says more than the gap that it leaves.
        let tails = tails.into_iter().collect::<Result<Vec<Option<Tail>>, StartError>>()?;
        let replayed = taken?;
        let tails = tails.into_iter().collect::<Option<Vec<Tail>>>();
        progress.end(&format!("{} entries", replayed.entries));
        Ok((replayed, tails.ok_or("a log was not read to its end")?))
    })
}

/// `None` if nobody takes its entries any more, because replay has failed and says why.
fn read_log(
    directory: &Path,
    mut source: Counted<'_>,
    identity: LogIdentity,
    bases: &Bases,
    how: Reading,
    sender: SyncSender<Batch>,
) -> Result<Option<Tail>, StartError> {
    let mut batch = Filling::default();
    let mut wanted = true;
    let read = match how {
        Reading::ToRecover => recover,
        Reading::WhileWritten => read_chain,
    };
    let tail = read(&mut source, identity, &mut |entry| {
        let entered = !matches!(entry.content, Content::Members { .. });
        if entered && entry.index <= bases.index(entry.shard) {
            return Ok(());
        }
        batch.entries.push(place(entry, |payload| batch.bytes.append(payload)));
        if batch.is_full() {
            wanted = sender.send(std::mem::take(&mut batch).close()).is_ok();
        }
        if wanted { Ok(()) } else { Err("nobody takes its entries".into()) }
    });
    match tail {
        _ if !wanted => Ok(None),
        Err(error) => Err(format!("{}/{error}", directory.display()).into()),
        Ok(tail) => Ok(sender.send(batch.close()).is_ok().then_some(tail)),
    }
}

/// A batch that is being made.
#[derive(Default)]
struct Filling {
    bytes: Bytes,
    entries: Vec<Placed<Range<usize>>>,
}

#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn append(&mut self, payload: &[u8]) -> Range<usize> {
        let start = self.0.len();
        self.0.extend_from_slice(payload);
        start..self.0.len()
    }
}

impl Filling {
    fn is_full(&self) -> bool {
        self.bytes.0.len() >= BATCH_BYTES || self.entries.len() >= BATCH_ENTRIES
    }

    fn close(self) -> Batch {
        Batch { bytes: Arc::new(self.bytes.0), entries: self.entries.into_iter() }
    }
}

/// What a log's reader hands over.
pub struct Log {
    receiver: Receiver<Batch>,
    batch: Option<Batch>,
}

impl EntryStream for Log {
    type Payload = Payload;

    fn peek(&mut self) -> Option<Incarnation> {
        loop {
            let next = self.batch.as_ref().and_then(|batch| batch.entries.as_slice().first());
            if let Some(entry) = next {
                return Some(entry.incarnation);
            }
            self.batch = None;
            self.batch = Some(self.receiver.recv().ok()?);
        }
    }

    fn next(&mut self) -> Option<Placed<Payload>> {
        let batch = self.batch.as_mut()?;
        let Placed { incarnation, shard, index, term, decided, content } = batch.entries.next()?;
        let content = content.map(|range| Payload { batch: batch.bytes.clone(), range });
        Some(Placed { incarnation, shard, index, term, decided, content })
    }
}

/// Segments whose reading is counted.
struct Counted<'p> {
    source: SegmentFiles,
    progress: &'p Progress,
}

impl SegmentSource for Counted<'_> {
    type Error = String;

    fn segments(&mut self) -> Result<Vec<(u64, u64)>, String> {
        self.source.segments()
    }

    fn read(&mut self, segment: u64, offset: u64, out: &mut [u8]) -> Result<(), String> {
        self.progress.add(out.len() as u64);
        self.source.read(segment, offset, out)
    }
}
