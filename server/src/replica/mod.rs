//! This core's replicas of shards that other nodes have too: what their groups hear.

use replication::group::NodeId;

use crate::core::Core;

impl Core {
    /// A message of another node for the group of a shard that is at home on this core, if there is
    /// one. There is none: it counts as for a shard that is not known here.
    pub(crate) fn on_group_message(&mut self, _from: NodeId, _shard: u16, _bytes: &[u8]) {
        self.stats.group_messages_unknown += 1;
    }
}
