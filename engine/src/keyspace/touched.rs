//! Which entry last changed a key, remembered per bucket of the key's hash (design §8).
//! Lives in a shard. A false hit only makes a read wait a little.

use crate::limits::TOUCHED_BUCKETS;

#[derive(Debug)]
pub struct Touched {
    last_index: Box<[u64]>,
    /// An entry that touched everything: FLUSHALL, SWAPDB.
    all: u64,
}

impl Default for Touched {
    fn default() -> Touched {
        Touched { last_index: vec![0; TOUCHED_BUCKETS].into_boxed_slice(), all: 0 }
    }
}

impl Touched {
    /// What its buckets take.
    pub const MEMORY_BYTES: usize = TOUCHED_BUCKETS * size_of::<u64>();

    pub fn mark(&mut self, hash: u64, index: u64) {
        self.last_index[hash as usize % TOUCHED_BUCKETS] = index;
    }

    pub fn mark_all(&mut self, index: u64) {
        self.all = index;
    }

    /// Index of the last entry that may have changed a key of this hash.
    pub fn last(&self, hash: u64) -> u64 {
        self.last_index[hash as usize % TOUCHED_BUCKETS].max(self.all)
    }
}
