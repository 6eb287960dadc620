//! Whose data directory this is: the file `node.toml`, written once when the directory is made.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config::cluster::Cluster;

const FILE: &str = "node.toml";
const FORMAT: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub cluster: u128,
    pub node: u64,
    pub shards: usize,
    /// The nodes that the cluster began with; none where this one has no peers.
    pub voters: Vec<u64>,
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
    /// CRC32C of the others. What lies beside this file says something else with other shards, so
    /// no damage here may pass; directories made before it was written have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    check: Option<String>,
}

impl File {
    fn check(&self) -> String {
        let File { format, cluster, node, shards, voters, check: _ } = self;
        let mut said = format!("{format} {cluster} {node} {shards}");
        voters.iter().for_each(|voter| said += &format!(" {voter}"));
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
                let identity = Identity::parse(&text).map_err(|e| format!("{shown}: {e}"))?;
                identity.check_cluster(cluster).map_err(|e| format!("{shown}: {e}"))?;
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
                        voters: cluster.voters().map(|node| node.0).collect(),
                    },
                    None => Identity { cluster: random()?, node: 1, shards, voters: Vec::new() },
                };
                identity.create(directory).map_err(|e| format!("cannot write {shown}: {e}"))?;
                Ok(identity)
            }
            Err(error) => Err(format!("cannot read {shown}: {error}")),
        }
    }

    /// Whether its shards' groups have replicas on other nodes.
    pub fn is_grouped(&self) -> bool {
        !self.voters.is_empty()
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
            None if self.is_grouped() => Err(format!(
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
        if file.check.as_ref().is_some_and(|check| *check != file.check()) {
            return Err("it is corrupt: what it says is not what was written (see its line \
                        `check`). Nothing was changed. Restore it from a backup"
                .into());
        }
        let cluster = u128::from_str_radix(&file.cluster, 16)
            .map_err(|_| "the cluster id is not a hexadecimal number".to_owned())?;
        if file.shards == 0 {
            return Err("a directory has at least one shard".into());
        }
        let File { node, shards, voters, .. } = file;
        Ok(Identity { cluster, node, shards, voters })
    }

    /// Written under another name first, so that it is whole or absent.
    pub fn create(&self, directory: &Path) -> std::io::Result<()> {
        let mut file = File {
            format: FORMAT,
            cluster: format!("{:032x}", self.cluster),
            node: self.node,
            shards: self.shards,
            voters: self.voters.clone(),
            check: None,
        };
        file.check = Some(file.check());
        let text = toml::to_string(&file).map_err(std::io::Error::other)?;
        let temporary = directory.join("node.toml.new");
        let mut out = std::fs::File::create(&temporary)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        std::fs::rename(&temporary, directory.join(FILE))?;
        std::fs::File::open(directory)?.sync_all()
    }
}

fn random() -> Result<u128, String> {
    let seeds = super::random_seeds().map_err(|e| e.to_string())?;
    Ok(u128::from(seeds[0]) << 64 | u128::from(seeds[1]))
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
        std::fs::write(&path, text.replace("format = 1", "format = 2")).unwrap();
        let error = Identity::load_or_create(directory.path(), 4, None).unwrap_err();
        assert!(error.contains("format 2"), "{error}");
        std::fs::write(&path, text.replace("shards = 4", "shards = 5")).unwrap();
        let error = Identity::load_or_create(directory.path(), 4, None).unwrap_err();
        assert!(error.contains("node.toml: it is corrupt"), "{error}");
        // As older programs wrote it.
        let old = text.lines().filter(|line| !line.starts_with("check"));
        std::fs::write(&path, old.collect::<Vec<_>>().join("\n")).unwrap();
        assert_eq!(Identity::load_or_create(directory.path(), 9, None).unwrap(), first);
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(directory.path().join("core-0")).unwrap();
        assert!(
            Identity::load_or_create(directory.path(), 4, None).unwrap_err().contains("missing")
        );
    }
}
