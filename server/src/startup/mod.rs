//! From flags to running cores: settings, the data directory, recovery, threads.
//!
//! - [`joining`]: a machine that is no node yet. [`identity`]: whose directory this is;
//!   [`acquaintances`]: whom it has met.
//! - [`checkpoints`]: shards from checkpoints; [`checkpoint_files`]: where those lie.
//! - [`recovery`]: shards from logs. [`segments`]: where those lie; [`readers`] read them;
//!   [`replay`]: which entries take effect; [`appliers`] apply them. [`progress`]: how far it is.
//! - [`rebuild`]: one shard again, while the server runs; [`rebuild_files`]: from what.
//! - [`alone`]: a survivor goes on without a majority.
//! - [`starts`]: shards and logs are dealt out to the cores.

pub mod acquaintances;
pub mod alone;
pub mod appliers;
pub mod checkpoint_files;
pub mod checkpoints;
pub mod identity;
pub mod joining;
pub mod progress;
pub mod readers;
pub mod rebuild;
pub mod rebuild_files;
pub mod recovery;
pub mod replay;
pub mod segments;
pub mod starts;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use engine::hash::Hasher64;
use replication::ids::{Index, ShardId};
use replication::log::segment::{SegmentHeader, file_name};
use replication::log::{LogIdentity, Tail};

use crate::checkpoint::files::Files;
use crate::config::{Config, Durability};
use crate::core::host::Host;
use crate::core::{Core, CoreStart};
use crate::runtime::config::LogSync;
use crate::runtime::disk::{DataLock, create_segment, list_segments, remove_file};
use crate::runtime::threads::provide_descriptors;
use crate::runtime::{self, LogConfig, Running};
use acquaintances::Noted;
use identity::Identity;
use recovery::Recovered;
use replay::Replayed;

pub type StartError = Box<dyn std::error::Error + Send + Sync>;

/// Runs the server until it is told to stop. `on_ready` is called once every core takes clients.
pub fn run(mut config: Config, on_ready: impl FnOnce(&Running, &Banner)) -> Result<(), StartError> {
    // Before anything is made.
    runtime::probe::check_kernel()?;
    runtime::signals::outlive_file_size_limit()?;
    let chance = random_seeds()?;
    // Held until the process ends.
    let mut lock = None;
    let prepared = if config.durability == Durability::None {
        let shards = *config.shards.insert(config.shards.unwrap_or(config.cores));
        Prepared::empty(shards, Hasher64::new(chance))
    } else {
        lock = Some(DataLock::acquire(&config.dir)?);
        // Whoever had the directory before is no more.
        let alone_since = Instant::now();
        if let Some(join) = &config.join {
            joining::await_cluster(&config, join)?;
        }
        let mut prepared = Prepared::from_directory(&mut config, chance)?;
        settle_election_timeout(&config, prepared.identity.as_mut(), alone_since)?;
        prepared
    };
    warn_of_torn_ends(&prepared.recovered.tails);
    config.limit_clients(provide_descriptors(config.cores, config.is_member())? as usize);
    let banner = Banner {
        cores: config.cores,
        shards: prepared.recovered.shards.count(),
        directory: lock.is_some().then(|| config.dir.display().to_string()),
        durability: config.durability,
        entries_recovered: prepared.recovered.replayed.entries,
        records_cut: prepared.recovered.tails.iter().map(|tail| tail.cut_records).sum(),
        entries_cut: prepared.recovered.replayed.entries_cut(),
    };
    let runtime_config = runtime_config(&config);
    let starts = prepared.into_starts(&config, chance[0]);
    let starts = Mutex::new(starts.into_iter().map(Some).collect::<Vec<_>>());
    let make = move |core: runtime::CoreId| {
        let mut starts = starts.lock().map_err(|_| "another core's start failed")?;
        let start = starts[usize::from(core.0)].take().ok_or("a core starts once")?;
        Ok(Core::new(start))
    };
    runtime::run(runtime_config, make, |running| on_ready(running, &banner))?;
    drop(lock);
    Ok(())
}

/// Of logs that do not end with a whole record.
fn warn_of_torn_ends(tails: &[Tail]) {
    for (core, tail) in tails.iter().enumerate() {
        if let Some(offset) = tail.torn_at {
            let (file, record) = (file_name(tail.segment), tail.last_lsn.0 + 1);
            tracing::warn!(
                core,
                file,
                offset,
                record,
                "the log's last record is not whole, and was cut: a write that a crash has torn \
                 and nobody was told of; or it was damaged since"
            );
        }
    }
}

/// What the start banner says.
pub struct Banner {
    pub cores: usize,
    pub shards: usize,
    pub directory: Option<String>,
    pub durability: Durability,
    pub entries_recovered: u64,
    pub records_cut: u64,
    /// Entries of transactions that were not whole in all their logs.
    pub entries_cut: u64,
}

/// The state with which the cores begin.
struct Prepared {
    recovered: Recovered,
    identity: Option<Identity>,
}

impl Prepared {
    fn empty(shard_count: usize, hasher: Hasher64) -> Prepared {
        let shards = replay::empty_shards(shard_count, hasher);
        let files = vec![Files::default(); shard_count];
        let replayed = Replayed::default();
        let recovered = Recovered { shards, tails: Vec::new(), replayed, files };
        Prepared { recovered, identity: None }
    }

    fn from_directory(config: &mut Config, chance: [u64; 4]) -> Result<Prepared, StartError> {
        let wanted = config.shards.unwrap_or(config.cores);
        let identity = Identity::load_or_create(&config.dir, wanted, config.cluster.as_ref())?;
        if let Some(asked) = config.shards.filter(|asked| *asked != identity.shards) {
            return Err(format!(
                "{} was created with {} shards, which cannot be changed to {asked}; leave out \
                 --shards, or name another --dir",
                config.dir.display(),
                identity.shards
            )
            .into());
        }
        config.shards = Some(identity.shards);
        config.take_part(identity.cluster(config.cluster.as_ref()))?;
        if identity.epoch > 0 {
            let (node, epoch, lost) = (identity.node, identity.epoch, &identity.lost);
            tracing::warn!(node, epoch, ?lost, "went on without a majority once: these are lost");
        }
        // Nodes of a cluster order keys alike: a SCAN goes on where another one has come to lead.
        let seeds = config.cluster.as_ref().map_or(chance, |cluster| cluster.hash_seeds());
        let (settings, hasher) = (config.engine_settings(), Hasher64::new(seeds));
        let mut recovered = recovery::recover_directory(&config.dir, &identity, &settings, hasher)?;
        retire_logs(config, &recovered)?;
        make_first_segments(config, &identity, &mut recovered.tails)?;
        Ok(Prepared { recovered, identity: Some(identity) })
    }

    fn into_starts(self, config: &Config, seed: u64) -> Vec<CoreStart> {
        let noted = Noted::new(config.dir.clone(), self.identity.clone().unwrap_or_default());
        let acquaintances = Arc::new(noted);
        let log = self.identity.map(|identity| LogIdentity {
            cluster: identity.cluster,
            node: identity.node,
            core: 0,
        });
        let host =
            || -> Box<dyn Host> { Box::new(runtime::host::Machine::new(acquaintances.clone())) };
        starts::deal_out(config, self.recovered, log, seed, host)
    }
}

/// What this node has promised with a longer election timeout is over before it takes part with a
/// shorter one. If the process ends meanwhile, the next start waits again.
fn settle_election_timeout(
    config: &Config,
    identity: Option<&mut Identity>,
    since: Instant,
) -> Result<(), StartError> {
    let Some(identity) = identity.filter(|identity| identity.is_grouped()) else { return Ok(()) };
    let (before_ms, now_ms) = (identity.promised_with_ms(), config.election_timeout_ms);
    let owed = Duration::from_millis(identity::owed_ms(before_ms, now_ms));
    let rest = owed.saturating_sub(since.elapsed());
    if !rest.is_zero() {
        tracing::info!(
            before_ms,
            now_ms,
            "the election timeout is shorter than before: this start waits for the longer one once"
        );
        std::thread::sleep(rest);
    }
    let noted = identity.note_election_timeout(&config.dir, now_ms);
    noted.map_err(|e| format!("cannot write node.toml of {}: {e}", config.dir.display()).into())
}

/// Removes the logs of cores that this start does not have, once checkpoints have all of them.
fn retire_logs(config: &Config, recovered: &Recovered) -> Result<(), StartError> {
    let covered =
        |shard: ShardId| recovered.files.get(usize::from(shard.0)).map_or(Index(0), Files::covered);
    let (kept, others) = recovered.tails.split_at(recovered.tails.len().min(config.cores));
    let votes = starts::votes_of(kept);
    for (core, tail) in (config.cores..).zip(others) {
        // This start says a vote again, but that is not durable yet.
        let mut said = tail.votes.iter();
        let covered_votes =
            said.all(|(shard, vote)| votes.get(shard).is_some_and(|v| v.covers(vote)));
        if covered_votes && tail.uses.iter().all(|segment| segment.is_covered(&covered)) {
            let directory = config.dir.join(format!("core-{core}"));
            // Oldest first: no segment may be missing before others.
            for segment in list_segments(&directory)? {
                remove_file(&segment.path)?;
            }
        }
    }
    Ok(())
}

/// Every core begins with a segment to write to, so that its first client does not wait for one.
fn make_first_segments(
    config: &Config,
    identity: &Identity,
    tails: &mut Vec<Tail>,
) -> Result<(), StartError> {
    tails.resize(tails.len().max(config.cores), Tail::default());
    for (core, tail) in tails.iter_mut().enumerate().take(config.cores) {
        if tail.segment > 0 {
            continue;
        }
        let core = core as u16;
        let header = SegmentHeader {
            identity: LogIdentity { cluster: identity.cluster, node: identity.node, core },
            number: 1,
            size_bytes: config.log_segment_bytes,
        };
        let directory = config.dir.join(format!("core-{core}"));
        let block = header.encode();
        create_segment(&directory, 1, block.bytes(), config.log_segment_bytes)?;
        tail.segment = 1;
        tail.offset = block.len() as u64;
        tail.segment_bytes = config.log_segment_bytes;
    }
    Ok(())
}

fn runtime_config(config: &Config) -> runtime::Config {
    let log = (config.durability != Durability::None).then(|| LogConfig {
        directory: config.dir.clone(),
        side_directory: config.dir.join(checkpoint_files::DIRECTORY),
        sync: LogSync::EachWrite,
        direct: true,
    });
    let listen_on = |port| config.bind.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
    runtime::Config {
        listen: listen_on(config.port),
        peer_listen: if config.is_member() { listen_on(config.peer_port) } else { Vec::new() },
        cores: Some(config.cores),
        poll_us: config.poll_us,
        keepalive_s: config.tcp_keepalive_s,
        clients_max: config.maxclients as u32,
        log,
        signals: true,
        ..runtime::Config::default()
    }
}

/// Keys of the hash function and of chance: clients must not be able to guess them.
fn random_seeds() -> Result<[u64; 4], StartError> {
    use std::io::Read;
    let mut bytes = [0u8; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|e| format!("cannot read /dev/urandom: {e}"))?;
    let mut seeds = [0u64; 4];
    for (seed, chunk) in seeds.iter_mut().zip(bytes.chunks_exact(8)) {
        *seed = chunk.iter().fold(0, |seed, byte| seed << 8 | u64::from(*byte));
    }
    Ok(seeds)
}
