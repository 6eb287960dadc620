//! Whose data directory this is: the file `node.toml`, written when the directory is made, and
//! again whenever a node is met for the first time.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use replication::fault::{Fault, is_planted};
use replication::group::NodeId;
use replication::link::hello::DirectoryId;
use replication::version::{NotApplied, Version, Versions};
use serde::{Deserialize, Serialize};

use crate::config::cluster::Cluster;
use crate::limits::ELECTION_TIMEOUT_MS;

const FILE: &str = "node.toml";
/// What a directory that waits for its cluster is called.
const JOINING_FILE: &str = "joining";
/// 1 had neither the directory's own identity nor those of others, 2 no addresses, 3 no election
/// timeout, 4 no version of the cluster. 4 is written still where that would be 1: the program
/// before may then be started again.
const FORMAT: u32 = 5;
const FORMAT_WITHOUT_VERSION: u32 = 4;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub cluster: u128,
    pub node: u64,
    pub shards: usize,
    /// The version that the cluster began with. What it has since then the logs know.
    pub founded: Version,
    /// The nodes that the cluster began with; none where this one has no peers.
    pub voters: Vec<u64>,
    /// Of this directory, whatever node it is of; zeros in one of format 1, until its next start.
    pub directory: DirectoryId,
    /// The directories that other nodes had when they were first met.
    pub met: BTreeMap<u64, DirectoryId>,
    /// Where the nodes were when the directory was made; none in one of an older format.
    pub addresses: BTreeMap<u64, SocketAddr>,
    /// How often a survivor went on alone, and who does not count since then.
    pub epoch: u8,
    pub lost: Vec<u64>,
    /// With which this node of a cluster took part last; 0 in a directory of an older format, and
    /// without a cluster.
    pub election_timeout_ms: u64,
}

/// For how long a node that starts with this election timeout takes no part yet. With a longer one
/// before, a leader that still has that may hold a lease that rests on what this node promised it
/// before the start, and the new timeout would forget too early (`server/adr/0017`).
pub fn owed_ms(before_ms: u64, now_ms: u64) -> u64 {
    let owed = before_ms > now_ms && !is_planted(Fault::ShorterAtOnce);
    if owed { before_ms } else { 0 }
}

#[derive(Serialize, Deserialize)]
struct File {
    /// Version of the directory's layout.
    format: u32,
    cluster: String,
    node: u64,
    shards: usize,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    voters: Vec<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    directory: Option<String>,
    /// CRC32C of the others. What lies beside this file says something else with other shards, so
    /// no damage here may pass; directories made before it was written have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    check: Option<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    epoch: u8,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lost: Vec<u64>,
    #[serde(default, skip_serializing_if = "is_zero")]
    election_timeout_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<u16>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    met: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    addresses: BTreeMap<String, SocketAddr>,
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

impl File {
    fn check(&self) -> String {
        let File { format, cluster, node, shards, voters, directory, check: _, .. } = self;
        let File { epoch, lost, met, addresses, election_timeout_ms, version, .. } = self;
        let mut said = format!("{format} {cluster} {node} {shards}");
        voters.iter().for_each(|voter| said += &format!(" {voter}"));
        directory.iter().for_each(|directory| said += &format!(" directory {directory}"));
        met.iter().for_each(|(node, directory)| said += &format!(" met {node} {directory}"));
        addresses.iter().for_each(|(node, address)| said += &format!(" at {node} {address}"));
        if *epoch > 0 {
            said += &format!(" epoch {epoch} lost {lost:?}");
        }
        if *election_timeout_ms > 0 {
            said += &format!(" election timeout {election_timeout_ms}");
        }
        version.iter().for_each(|version| said += &format!(" version {version}"));
        format!("{:08x}", crc32c::crc32c(said.as_bytes()))
    }
}

impl Identity {
    /// Reads the directory's identity, or gives a new directory one with `shards` shards, as a node
    /// of `cluster` if there is one.
    pub fn load_or_create(
        directory: &Path,
        shards: usize,
        cluster: Option<&Cluster>,
    ) -> Result<Identity, String> {
        let path = directory.join(FILE);
        let shown = path.display();
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let mut identity = Identity::parse(&text).map_err(|e| format!("{shown}: {e}"))?;
                identity.check_cluster(cluster).map_err(|e| format!("{shown}: {e}"))?;
                if identity.directory == DirectoryId::default() {
                    identity.directory = new_directory()?;
                    identity.create(directory).map_err(|e| format!("cannot write {shown}: {e}"))?;
                }
                Ok(identity)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if directory.join("core-0").exists() {
                    return Err(format!(
                        "{shown} is missing, but there are logs beside it; restore it from a backup"
                    ));
                }
                let identity = match cluster {
                    Some(cluster) => Identity {
                        cluster: cluster.id,
                        node: cluster.node.0,
                        shards,
                        founded: cluster.founded,
                        voters: cluster.founders.iter().map(|node| node.0).collect(),
                        directory: new_directory()?,
                        addresses: cluster.nodes.iter().map(|(id, at)| (id.0, *at)).collect(),
                        epoch: cluster.epoch,
                        lost: cluster.lost.iter().map(|node| node.0).collect(),
                        ..Identity::default()
                    },
                    None => Identity {
                        cluster: random()?,
                        node: 1,
                        shards,
                        directory: new_directory()?,
                        ..Identity::default()
                    },
                };
                identity.create(directory).map_err(|e| format!("cannot write {shown}: {e}"))?;
                Ok(identity)
            }
            Err(error) => Err(format!("cannot read {shown}: {error}")),
        }
    }

    /// Whether a directory has an identity.
    pub fn exists(directory: &Path) -> bool {
        directory.join(FILE).exists()
    }

    /// The identity that a directory will have once it is a node's: the same at each start.
    pub fn directory_to_be(directory: &Path) -> Result<DirectoryId, String> {
        let path = directory.join(JOINING_FILE);
        let shown = path.display();
        match std::fs::read_to_string(&path) {
            Ok(text) => directory_of(text.trim()).map_err(|e| format!("{shown}: {e}")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let id = new_directory()?;
                write_whole(directory, JOINING_FILE, &hex(id))
                    .map_err(|e| format!("cannot write {shown}: {e}"))?;
                Ok(id)
            }
            Err(error) => Err(format!("cannot read {shown}: {error}")),
        }
    }

    /// Whether its shards' groups have replicas on other nodes.
    pub fn is_grouped(&self) -> bool {
        !self.voters.is_empty()
    }

    /// The node takes part with this election timeout, from when [`owed_ms`] is over.
    pub fn note_election_timeout(&mut self, directory: &Path, ms: u64) -> std::io::Result<()> {
        if self.election_timeout_ms == ms {
            return Ok(());
        }
        self.election_timeout_ms = ms;
        self.create(directory)
    }

    /// With which it may have promised something before this start.
    pub fn promised_with_ms(&self) -> u64 {
        match self.election_timeout_ms {
            // It was no setting.
            0 => ELECTION_TIMEOUT_MS,
            ms => ms,
        }
    }

    /// The cluster that the directory is of, if any; `told` at this start, perhaps.
    pub fn cluster(&self, told: Option<&Cluster>) -> Option<Cluster> {
        if !self.is_grouped() {
            return None;
        }
        let known = self.addresses.iter().map(|(node, address)| (NodeId(*node), *address));
        let nodes = told.map_or_else(|| known.collect(), |cluster| cluster.nodes.clone());
        Some(Cluster {
            told: told.is_some(),
            founders: self.voters.iter().copied().map(NodeId).collect(),
            founded: self.founded,
            epoch: self.epoch,
            lost: self.lost.iter().copied().map(NodeId).collect(),
            ..Cluster::of(self.cluster, NodeId(self.node), nodes)
        })
    }

    /// Reads the identity of a directory that has one.
    pub fn load(directory: &Path) -> Result<Identity, String> {
        let path = directory.join(FILE);
        let shown = path.display();
        let text =
            std::fs::read_to_string(&path).map_err(|e| format!("cannot read {shown}: {e}"))?;
        Identity::parse(&text).map_err(|e| format!("{shown}: {e}"))
    }

    /// Whether a directory of this identity is that of this node of this cluster.
    fn check_cluster(&self, cluster: Option<&Cluster>) -> Result<(), String> {
        match cluster {
            None if self.is_grouped() && self.addresses.is_empty() => Err(format!(
                "the directory is that of node {} of a cluster: name --cluster-token, --node and \
                 --nodes",
                self.node
            )),
            None => Ok(()),
            Some(_) if !self.is_grouped() => {
                Err("the directory is that of a node without peers; it cannot join a cluster"
                    .into())
            }
            Some(cluster) if cluster.id != self.cluster => {
                Err("the directory belongs to a cluster with another token".into())
            }
            Some(cluster) if cluster.node.0 != self.node => {
                Err(format!("the directory is that of node {}, not {}", self.node, cluster.node.0))
            }
            Some(_) => Ok(()),
        }
    }

    fn parse(text: &str) -> Result<Identity, String> {
        let file: File = toml::from_str(text).map_err(|e| e.to_string())?;
        if file.format > FORMAT {
            return Err(format!(
                "the directory has format {}, this program knows up to {FORMAT}; start a newer one",
                file.format
            ));
        }
        let unchecked = file.check.is_none() && file.format > 1;
        if unchecked || file.check.as_ref().is_some_and(|check| *check != file.check()) {
            return Err("it is corrupt: what it says is not what was written (see its line \
                        `check`). Nothing was changed. Restore it from a backup"
                .into());
        }
        let cluster = u128::from_str_radix(&file.cluster, 16)
            .map_err(|_| "the cluster id is not a hexadecimal number".to_owned())?;
        if file.shards == 0 {
            return Err("a directory has at least one shard".into());
        }
        let File { node, shards, voters, directory, met, addresses, epoch, lost, .. } = file;
        let election_timeout_ms = file.election_timeout_ms;
        let founded = Version(file.version.unwrap_or(1).max(1));
        NotApplied::check(Versions::OWN, founded)
            .map_err(|error| format!("it is of {error}. Nothing was changed"))?;
        let addresses = addresses.into_iter().map(|(node, address)| {
            let wrong = |_| "a node that has an address has no number".to_owned();
            Ok((node.parse().map_err(wrong)?, address))
        });
        let addresses = addresses.collect::<Result<_, String>>()?;
        let directory = directory.map(|text| directory_of(&text)).transpose()?.unwrap_or_default();
        let met = met.into_iter().map(|(node, text)| {
            let node = node.parse().map_err(|_| "a node that was met has no number".to_owned())?;
            Ok((node, directory_of(&text)?))
        });
        let met = met.collect::<Result<_, String>>()?;
        Ok(Identity {
            cluster,
            node,
            shards,
            founded,
            voters,
            directory,
            met,
            addresses,
            epoch,
            lost,
            election_timeout_ms,
        })
    }

    /// Written under another name first, so that it is whole or absent.
    pub fn create(&self, directory: &Path) -> std::io::Result<()> {
        let version = Some(self.founded.0).filter(|version| *version > 1);
        let mut file = File {
            format: version.map_or(FORMAT_WITHOUT_VERSION, |_| FORMAT),
            cluster: format!("{:032x}", self.cluster),
            node: self.node,
            shards: self.shards,
            voters: self.voters.clone(),
            directory: (self.directory != DirectoryId::default()).then(|| hex(self.directory)),
            check: None,
            epoch: self.epoch,
            lost: self.lost.clone(),
            election_timeout_ms: self.election_timeout_ms,
            version,
            met: self.met.iter().map(|(node, id)| (node.to_string(), hex(*id))).collect(),
            addresses: self.addresses.iter().map(|(node, at)| (node.to_string(), *at)).collect(),
        };
        file.check = Some(file.check());
        let text = toml::to_string(&file).map_err(std::io::Error::other)?;
        write_whole(directory, FILE, &text)
    }
}

/// Under another name first, so that it is whole or absent.
fn write_whole(directory: &Path, name: &str, text: &str) -> std::io::Result<()> {
    let temporary = directory.join(format!("{name}.new"));
    let mut out = std::fs::File::create(&temporary)?;
    out.write_all(text.as_bytes())?;
    out.sync_all()?;
    std::fs::rename(&temporary, directory.join(name))?;
    std::fs::File::open(directory)?.sync_all()
}

fn random() -> Result<u128, String> {
    let seeds = super::random_seeds().map_err(|e| e.to_string())?;
    Ok(u128::from(seeds[0]) << 64 | u128::from(seeds[1]))
}

fn new_directory() -> Result<DirectoryId, String> {
    random().map(|number| DirectoryId(number.to_be_bytes()))
}

fn hex(DirectoryId(bytes): DirectoryId) -> String {
    format!("{:032x}", u128::from_be_bytes(bytes))
}

fn directory_of(text: &str) -> Result<DirectoryId, String> {
    let number = u128::from_str_radix(text, 16);
    let wrong = |_| "the identity of a directory is not a hexadecimal number".to_owned();
    number.map(|number| DirectoryId(number.to_be_bytes())).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_kept_and_damage_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let first = Identity::load_or_create(directory.path(), 4, None).unwrap();
        assert_eq!(Identity::load_or_create(directory.path(), 9, None).unwrap(), first);
        let path = directory.path().join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("format = 4", "format = 6")).unwrap();
        let error = Identity::load_or_create(directory.path(), 4, None).unwrap_err();
        assert!(error.contains("format 6"), "{error}");
        std::fs::write(&path, text.replace("shards = 4", "shards = 5")).unwrap();
        let error = Identity::load_or_create(directory.path(), 4, None).unwrap_err();
        assert!(error.contains("node.toml: it is corrupt"), "{error}");
        // A setting that leases rest on.
        let mut noted = first.clone();
        noted.note_election_timeout(directory.path(), 1000).unwrap();
        assert_eq!(Identity::load(directory.path()).unwrap().promised_with_ms(), 1000);
        let said = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, said.replace("timeout_ms = 1000", "timeout_ms = 100")).unwrap();
        let error = Identity::load(directory.path()).unwrap_err();
        assert!(error.contains("it is corrupt"), "{error}");
        assert_eq!((first.promised_with_ms(), owed_ms(300, 300), owed_ms(100, 300)), (300, 0, 0));
        assert_eq!(owed_ms(1000, 999), 1000);
        // The version that a cluster began with; 1 is as the program before wrote it.
        let founded = Version::NEWEST;
        Identity { founded, voters: vec![1], ..first.clone() }.create(directory.path()).unwrap();
        assert_eq!(Identity::load(directory.path()).unwrap().founded, founded);
        let founded = Version(founded.0 + 1);
        Identity { founded, voters: vec![1], ..first.clone() }.create(directory.path()).unwrap();
        let error = Identity::load_or_create(directory.path(), 4, None).unwrap_err();
        assert!(error.contains("node.toml: it is of version 3 of the cluster"), "{error}");
        // Without the line that checks it: that is needed since there is a directory's identity.
        let unchecked = text.lines().filter(|line| !line.starts_with("check"));
        std::fs::write(&path, unchecked.collect::<Vec<_>>().join("\n")).unwrap();
        let error = Identity::load_or_create(directory.path(), 4, None).unwrap_err();
        assert!(error.contains("node.toml: it is corrupt"), "{error}");
        // As older programs wrote it: it gets an identity, once.
        let old = format!("format = 1\ncluster = \"{:x}\"\nnode = 1\nshards = 4\n", first.cluster);
        std::fs::write(&path, old).unwrap();
        assert_eq!(Identity::load(directory.path()).unwrap().directory, DirectoryId::default());
        let given = Identity::load_or_create(directory.path(), 9, None).unwrap();
        assert_ne!(given.directory, DirectoryId::default());
        assert_eq!(given, Identity { directory: given.directory, ..first });
        assert_eq!(Identity::load_or_create(directory.path(), 9, None).unwrap(), given);
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(directory.path().join("core-0")).unwrap();
        assert!(
            Identity::load_or_create(directory.path(), 4, None).unwrap_err().contains("missing")
        );
    }
}
