//! Which checkpoint of a shard to begin with, what may be removed, and from where on the log is
//! needed. A pure decision over what was found in the directory.

use crate::ids::{Index, ShardId};

use super::file::{CheckpointIdentity, FileError};
use crate::version::NotApplied;

const SUFFIX: &str = ".ckpt";
const TEMPORARY_SUFFIX: &str = ".ckpt.new";

pub fn file_name(shard: ShardId, index: Index) -> String {
    format!("{:04x}-{:016x}{SUFFIX}", shard.0, index.0)
}

pub fn temporary_name(shard: ShardId, index: Index) -> String {
    format!("{:04x}-{:016x}{TEMPORARY_SUFFIX}", shard.0, index.0)
}

/// Shard and index in a checkpoint's name; `None` for any other file.
pub fn parse_name(name: &str) -> Option<(ShardId, Index)> {
    let (shard, index) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let number = |digits: &str, len| {
        let lower = digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        (digits.len() == len && lower).then(|| u64::from_str_radix(digits, 16).ok())?
    };
    Some((ShardId(u16::try_from(number(shard, 4)?).ok()?), Index(number(index, 16)?)))
}

/// Whether a file was being written when the process ended: no checkpoint, and nobody's any more.
pub fn is_temporary(name: &str) -> bool {
    name.ends_with(TEMPORARY_SUFFIX)
}

/// Whether a file of this name and header is a checkpoint of this node and of nothing else.
pub fn check_identity(
    name: &str,
    found: &CheckpointIdentity,
    cluster: u128,
    node: u64,
) -> Result<(), FileError> {
    let ours = found.cluster == cluster && found.node == node;
    let named = parse_name(name) == Some((found.shard, found.index));
    if ours && named { Ok(()) } else { Err(FileError::Foreign { found: *found }) }
}

/// A file with a checkpoint's name, and what reading it, all of it or only header and trailer,
/// found.
#[derive(Clone, Debug)]
pub struct Found {
    pub name: String,
    pub verdict: Result<(), FileError>,
}

/// What to do with the checkpoints of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The one to begin with; without one the shard begins empty.
    pub newest: Option<Index>,
    /// The first entry that must come from the log.
    pub log_from: Index,
    /// Files to remove now.
    pub remove: Vec<String>,
    /// Files that are not what their names say, to be reported. They are removed once two newer
    /// good ones are there.
    pub damaged: Vec<(String, FileError)>,
}

/// Why the shard cannot be brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// A newer program wrote it, and what this one can read may be long out of date.
    Newer { name: String, version: u32 },
    /// The same, of a cluster's version.
    Version { name: String, error: NotApplied },
    /// Entries are in no checkpoint that can be used, nor in the log.
    Missing {
        /// The first one.
        index: Index,
        /// Where the log begins.
        log_first: Index,
        damaged: Vec<(String, FileError)>,
    },
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unusable::Newer { name, version } => write!(
                f,
                "{name} has format version {version}, which this program does not know: start a \
                 newer one"
            ),
            Unusable::Version { name, error } => {
                write!(f, "{name} is of {error}. Nothing was changed")
            }
            Unusable::Missing { index, log_first, damaged } => {
                write!(
                    f,
                    "entries {} to {} of the shard are in no sound checkpoint and no more in the \
                     log",
                    index.0,
                    log_first.0.saturating_sub(1)
                )?;
                damaged.iter().try_for_each(|(name, error)| write!(f, "; {name}: {error}"))?;
                write!(f, "; restore the directory from a backup")
            }
        }
    }
}

impl std::error::Error for Unusable {}

/// Decides over the files of one shard's directory, temporary ones and others among them.
/// `log_first` is the shard's first entry that the logs still have, the one after its last where
/// they have none.
pub fn decide(shard: ShardId, files: &[Found], log_first: Index) -> Result<Decision, Unusable> {
    let mut decision = Decision { log_from: Index(1), ..Decision::default() };
    let mut good: Vec<Index> = Vec::new();
    let mut others: Vec<(Index, String)> = Vec::new();
    for Found { name, verdict } in files {
        if is_temporary(name) {
            decision.remove.push(name.clone());
            continue;
        }
        let Some((_, index)) = parse_name(name).filter(|(owner, _)| *owner == shard) else {
            continue;
        };
        match verdict {
            Ok(()) => good.push(index),
            Err(FileError::Newer { version }) => {
                return Err(Unusable::Newer { name: name.clone(), version: *version });
            }
            Err(FileError::Version(error)) => {
                return Err(Unusable::Version { name: name.clone(), error: *error });
            }
            Err(error) => {
                others.push((index, name.clone()));
                decision.damaged.push((name.clone(), error.clone()));
            }
        }
    }
    good.sort_unstable_by(|a, b| b.cmp(a));
    decision.newest = good.first().copied();
    decision.log_from = Index(decision.newest.map_or(1, |index| index.0 + 1));
    if log_first > decision.log_from {
        let damaged = decision.damaged;
        return Err(Unusable::Missing { index: decision.log_from, log_first, damaged });
    }
    // The one before is of use while the log goes back to it.
    let spare = good.get(1).copied().filter(|index| log_first.0 <= index.0 + 1);
    let kept = if spare.is_some() { 2 } else { 1 };
    let outdated = good.iter().skip(kept).map(|index| file_name(shard, *index));
    decision.remove.extend(outdated);
    if let Some(spare) = good.get(1) {
        let outdated = others.into_iter().filter(|(index, _)| index < spare);
        decision.remove.extend(outdated.map(|(_, name)| name));
    }
    Ok(decision)
}
