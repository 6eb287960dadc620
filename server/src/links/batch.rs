//! Messages for groups whose shards are at home on another core of this node: those of a turn go
//! to it as one.

use replication::group::NodeId;
use replication::ids::ShardId;

use crate::limits::FORWARDED_BYTES_MAX;

/// In the order in which they came.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct GroupMessages {
    heads: Vec<(NodeId, ShardId, usize)>,
    bytes: Vec<u8>,
}

impl GroupMessages {
    pub fn push(&mut self, from: NodeId, shard: ShardId, message: &[u8]) {
        self.heads.push((from, shard, message.len()));
        self.bytes.extend_from_slice(message);
    }

    /// Each message with the node that sent it and its shard.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, ShardId, &[u8])> {
        let mut start = 0;
        self.heads.iter().map(move |(from, shard, len)| {
            let begin = start;
            start += len;
            (*from, *shard, &self.bytes[begin..start])
        })
    }
}

/// What a turn collects for the other cores.
pub struct Batches {
    by_core: Vec<Option<Box<GroupMessages>>>,
    pending: bool,
}

impl Batches {
    pub fn new(cores: usize) -> Batches {
        Batches { by_core: (0..cores).map(|_| None).collect(), pending: false }
    }

    /// Returns what was collected for that core if it is enough to be sent on at once.
    pub fn push(
        &mut self,
        to: u16,
        from: NodeId,
        shard: ShardId,
        message: &[u8],
    ) -> Option<Box<GroupMessages>> {
        let place = &mut self.by_core[usize::from(to)];
        let batch = place.get_or_insert_default();
        batch.push(from, shard, message);
        if batch.bytes.len() > FORWARDED_BYTES_MAX {
            return place.take();
        }
        self.pending = true;
        None
    }

    /// What was collected, with the cores that it is for.
    pub fn take(&mut self) -> Vec<(u16, Box<GroupMessages>)> {
        if !std::mem::take(&mut self.pending) {
            return Vec::new();
        }
        let batches = self.by_core.iter_mut().enumerate();
        batches.filter_map(|(core, batch)| Some((core as u16, batch.take()?))).collect()
    }
}
