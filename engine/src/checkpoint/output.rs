//! Records become blocks, which wait to be taken. What waits is bounded by the walk, which stops;
//! what changes force out goes beyond.

use std::collections::VecDeque;

use crate::limits::{CHECKPOINT_BLOCK_BYTES, CHECKPOINT_WAITING_BYTES_MAX};

#[derive(Debug, Default)]
pub struct Output {
    open: Vec<u8>,
    ready: VecDeque<Vec<u8>>,
    ready_bytes: usize,
}

impl Output {
    /// Appends a record. Returns its size.
    pub fn put(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        if self.open.capacity() == 0 {
            self.open.reserve(CHECKPOINT_BLOCK_BYTES + CHECKPOINT_BLOCK_BYTES / 4);
        }
        let before = self.open.len();
        write(&mut self.open);
        let bytes = self.open.len() - before;
        if self.open.len() >= CHECKPOINT_BLOCK_BYTES {
            self.seal();
        }
        bytes
    }

    /// Makes a block of what there is.
    pub fn seal(&mut self) {
        if !self.open.is_empty() {
            self.ready_bytes += self.open.len();
            self.ready.push_back(std::mem::take(&mut self.open));
        }
    }

    pub fn is_full(&self) -> bool {
        self.waiting_bytes() >= CHECKPOINT_WAITING_BYTES_MAX
    }

    pub fn waiting_bytes(&self) -> usize {
        self.ready_bytes + self.open.len()
    }

    /// The oldest whole block.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        let block = self.ready.pop_front()?;
        self.ready_bytes -= block.len();
        Some(block)
    }
}
