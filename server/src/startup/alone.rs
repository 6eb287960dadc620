//! What `quoring-ctl force-quorum` does to the directory of a survivor whose cluster has lost its
//! majority for good: from the next start on the others do not count. What they had acknowledged
//! and this one has not is lost (`server/adr/0014`).

use std::path::Path;

use super::StartError;
use super::identity::Identity;
use crate::runtime::disk::DataLock;

/// The node goes on alone. Its server must be stopped: the directory is locked meanwhile. Returns
/// what it is now.
pub fn force_quorum(directory: &Path) -> Result<Identity, StartError> {
    let lock = DataLock::acquire(directory)?;
    let mut identity = Identity::load(directory)?;
    if !identity.is_grouped() {
        return Err("the directory is that of a node without a cluster: it is alone already".into());
    }
    let known = identity.voters.iter().chain(identity.met.keys()).chain(identity.addresses.keys());
    let last = known.copied().max().unwrap_or(identity.node).max(identity.node);
    // All numbers that this node has ever heard of: none is given twice.
    identity.lost = (1..=last).filter(|node| *node != identity.node).collect();
    let next = identity.epoch.checked_add(1);
    identity.epoch = next.ok_or("this has been done 255 times")?;
    identity.create(directory)?;
    drop(lock);
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_others_that_were_ever_heard_of_are_lost() {
        let folder = tempfile::tempdir().unwrap();
        let (node, voters) = (2, vec![1, 2, 3]);
        let met = [(5, replication::link::hello::DirectoryId([1; 16]))].into();
        let identity = Identity { node, shards: 1, voters, met, ..Identity::default() };
        let identity =
            Identity { directory: replication::link::hello::DirectoryId([2; 16]), ..identity };
        identity.create(folder.path()).unwrap();
        let forced = force_quorum(folder.path()).unwrap();
        assert_eq!((forced.epoch, &forced.lost[..]), (1, &[1, 3, 4, 5][..]));
        assert_eq!(Identity::load(folder.path()).unwrap(), forced);
        let cluster = forced.cluster(None).unwrap();
        assert_eq!(cluster.members().voters, [replication::group::NodeId(2)]);
        assert_eq!(force_quorum(folder.path()).unwrap().epoch, 2);
    }
}
