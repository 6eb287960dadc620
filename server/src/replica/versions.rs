//! The cluster's version (`server/adr/0018`): what this node may emit, what it takes, and how the
//! version is raised. It is part of the roster, so it comes to all groups as other changes of the
//! members do, and holds in each from where it is applied there.
//!
//! Invariant: what needs a version goes to nobody whose program does not apply it. A version comes
//! with the entry, or the checkpoint, that says it, and as soon as a core has one of these its
//! links require that version of the other side.

use replication::fault::{Fault, is_planted};
use replication::group::Work;
use replication::group::payload::needed_version;
use replication::group::roster::Roster;
use replication::ids::ShardId;
use replication::version::{NotApplied, Version};

use super::Replica;
use crate::core::Core;

impl Core {
    /// What the next entry of a shard's group may be made of.
    pub(crate) fn emitted_version(&self, replica: &Replica) -> Version {
        match is_planted(Fault::EmitsUnraised) {
            false => replica.group.version(),
            true => self.config.applied.most,
        }
    }

    /// Whether this program applies all that a group wants taken: else the node stops before it has
    /// any of it. From now on links require what was said.
    pub(super) fn takes_versions(
        &mut self,
        shard: ShardId,
        replica: &Replica,
        work: &Work,
    ) -> bool {
        let installed = work.install.as_ref().map(|base| (base.index, base.members.roster.version));
        let entries = work.entries.iter().map(|entry| (entry.index.0, needed_version(entry)));
        for (index, version) in installed.into_iter().chain(entries) {
            if let Err(error) = NotApplied::check(self.config.applied, version) {
                self.fail_replica(shard, &format!("entry {index} is of {error}"));
                return false;
            }
        }
        self.links.require(replica.group.said_version());
        true
    }

    /// A core begins with what its groups have said.
    pub(super) fn begin_versions(&mut self) {
        let said = self.replicas.iter().map(|(_, replica)| replica.group.said_version());
        let said = said.max().unwrap_or_default();
        self.links.require(said);
    }

    /// The version that the cluster is to be raised to, if all its nodes are known to apply it.
    pub(super) fn check_raise(
        &self,
        roster: &Roster,
        asked: Option<Version>,
    ) -> Result<Version, String> {
        let (now, applied) = (roster.version, self.config.applied);
        let version = asked.unwrap_or(applied.most);
        if version < now {
            return Err(format!("the cluster has version {now}, and none is ever lowered"));
        }
        for node in roster.nodes.iter().map(|known| known.node) {
            match self.links.applied_by(node) {
                Some(applied) if applied.contains(version) => {}
                Some(applied) => {
                    return Err(format!(
                        "the program of node {} applies versions {applied}, not {version}. Start \
                         it with one that does first",
                        node.0
                    ));
                }
                None => {
                    return Err(format!(
                        "node {} is not linked: what its program applies is not known. Start it \
                         first, or take it out (remove-node)",
                        node.0
                    ));
                }
            }
        }
        Ok(version)
    }
}
