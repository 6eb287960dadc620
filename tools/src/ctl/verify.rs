//! Says whether a data directory is sound: what a start would find, without changing anything.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::{Result, anyhow};
use engine::effect::decode::Decoder;
use replication::ids::ShardId;
use replication::log::segment::file_name;
use replication::log::{LogIdentity, Tail, recover};
use replication::release::resolve::Content;
use replication::version::Versions;
use server::startup::checkpoint_files::{DIRECTORY, inspect_checkpoints};
use server::startup::checkpoints::LoadedShard;
use server::startup::identity::Identity;
use server::startup::recovery::check_transactions;
use server::startup::replay::Bases;
use server::startup::segments::{SegmentFiles, core_directories};

/// Checks the log of every core and that no entry of a shard is missing among them. Returns
/// whether all is well; an error only where the directory is none of a server.
pub fn verify(directory: &Path, out: &mut dyn Write) -> Result<bool> {
    let identity = Identity::load(directory).map_err(|message| anyhow!(message))?;
    writeln!(
        out,
        "{}: node {} of cluster {:032x}, {} shards",
        directory.display(),
        identity.node,
        identity.cluster,
        identity.shards
    )?;
    let cores = match core_directories(directory) {
        Ok(cores) => cores,
        Err(error) => {
            writeln!(out, "DAMAGED: {error}")?;
            return Ok(false);
        }
    };
    let checkpoints = match inspect_checkpoints(directory, &identity) {
        Ok(checkpoints) => checkpoints,
        Err(error) => {
            writeln!(out, "DAMAGED: {error}")?;
            return Ok(false);
        }
    };
    let mut sound = report_checkpoints(&checkpoints, out)?;
    let of_checkpoint = |checkpoint: &LoadedShard| checkpoint.base.clone();
    let bases = Bases::new(&identity, Versions::OWN, checkpoints.iter().map(of_checkpoint));
    let mut shards = Shards::default();
    let mut logs_sound = true;
    for (core, path) in cores.iter().enumerate() {
        logs_sound &= verify_core(path, core as u16, &identity, &mut shards, out)?;
    }
    // A damaged log has gaps of course.
    logs_sound = logs_sound
        // What a group's later leader replaced is there twice: its rules are those of a start.
        && (identity.is_grouped() || shards.report(&bases, out)?)
        && report_transactions(directory, &identity, &bases, out)?;
    sound &= logs_sound;
    writeln!(out, "{}", if sound { "sound" } else { "DAMAGED" })?;
    Ok(sound)
}

/// Says which checkpoint each shard would begin with. One that is damaged costs a start only time
/// as long as the one before is there, but is not well.
fn report_checkpoints(checkpoints: &[LoadedShard], out: &mut dyn Write) -> Result<bool> {
    let mut sound = true;
    for (shard, LoadedShard { decision, .. }) in checkpoints.iter().enumerate() {
        if let Some(index) = decision.newest {
            writeln!(out, "shard {shard}: checkpoint at entry {}", index.0)?;
        }
        for (name, error) in &decision.damaged {
            writeln!(out, "        DAMAGED: {DIRECTORY}/{name}: {error}")?;
            sound = false;
        }
    }
    Ok(sound)
}

/// Says whether the transactions over several shards are whole.
fn report_transactions(
    directory: &Path,
    identity: &Identity,
    bases: &Bases,
    out: &mut dyn Write,
) -> Result<bool> {
    match check_transactions(directory, identity, bases) {
        Ok(replayed) if replayed.entries_cut() > 0 => writeln!(
            out,
            "{} entries belong to transactions that are not whole, or stand behind one; they were \
             never acknowledged and are cut by the next start",
            replayed.entries_cut()
        )?,
        Ok(_) => {}
        Err(error) => {
            writeln!(out, "DAMAGED: {error}")?;
            return Ok(false);
        }
    }
    Ok(true)
}

fn verify_core(
    path: &Path,
    core: u16,
    identity: &Identity,
    shards: &mut Shards,
    out: &mut dyn Write,
) -> Result<bool> {
    let mut source = SegmentFiles::list(path)?;
    let segments = source.files().len();
    let log = LogIdentity { cluster: identity.cluster, node: identity.node, core };
    let (mut entries, mut payload_bytes) = (0u64, 0u64);
    let found = recover(&mut source, log, &mut |entry| {
        entries += 1;
        if !matches!(entry.content, Content::Members { .. }) {
            shards.add(entry.shard.0, entry.index.0);
        }
        let Content::Entry { payload, .. } = entry.content else { return Ok(()) };
        payload_bytes += payload.len() as u64;
        Decoder::new(payload)
            .try_for_each(|effect| effect.map(drop))
            .map_err(|error| format!("shard {}, entry {}: {error}", entry.shard.0, entry.index.0))
    });
    write!(out, "core-{core}: {segments} segments, ")?;
    match found {
        Ok(tail) => {
            writeln!(
                out,
                "{} records, {entries} entries of {payload_bytes} bytes, incarnation {}",
                tail.last_lsn.0, tail.incarnation.0
            )?;
            writeln!(out, "        {}", ending(&tail))?;
            Ok(true)
        }
        Err(error) => {
            writeln!(out, "{entries} entries before the damage")?;
            writeln!(out, "        DAMAGED: {}/{error}", path.display())?;
            Ok(false)
        }
    }
}

fn ending(tail: &Tail) -> String {
    if tail.segment == 0 {
        return "empty".to_owned();
    }
    let (file, offset) = (file_name(tail.segment), tail.offset);
    match (tail.cut_records, tail.sealed) {
        (0, false) if let Some(torn) = tail.torn_at => format!(
            "torn: ends at {file} offset {offset}; record {} at {torn} is not whole: a write that \
             a crash has torn and nobody was told of, or the last record, damaged",
            tail.last_lsn.0 + 1
        ),
        (0, true) => format!("sealed: ends at {file} offset {offset}"),
        (0, false) => format!("clean: ends at {file} offset {offset}, not sealed"),
        (cut, _) => format!(
            "torn: ends at {file} offset {offset}; {cut} records beyond were never acknowledged \
             and are cut by the next start"
        ),
    }
}

/// Which entries of each shard were found, as rows of consecutive indexes.
#[derive(Default)]
struct Shards {
    rows: BTreeMap<u16, Vec<(u64, u64)>>,
}

impl Shards {
    fn add(&mut self, shard: u16, index: u64) {
        let rows = self.rows.entry(shard).or_default();
        match rows.last_mut() {
            Some((_, last)) if *last + 1 == index => *last = index,
            _ => rows.push((index, index)),
        }
    }

    /// Whether each shard's entries go on where its checkpoint ends, and none is missing or there
    /// twice. The log may go back further.
    fn report(&mut self, bases: &Bases, out: &mut dyn Write) -> Result<bool> {
        let mut sound = true;
        for (shard, rows) in &mut self.rows {
            let base = bases.index(ShardId(*shard));
            if usize::from(*shard) >= bases.count() {
                writeln!(out, "DAMAGED: there is no shard {shard} in this directory")?;
                sound = false;
                continue;
            }
            rows.sort_unstable();
            let mut next = rows.first().map_or(1, |(first, _)| *first).min(base.0 + 1);
            for (first, last) in rows {
                if *first != next {
                    writeln!(
                        out,
                        "DAMAGED: shard {shard} goes on with entry {first}, but {next} is next"
                    )?;
                    sound = false;
                }
                next = *last + 1;
            }
        }
        Ok(sound)
    }
}
