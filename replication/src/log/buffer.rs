//! A buffer that a disk takes as it is: aligned to blocks and a multiple of them long.

use super::limits::BLOCK_BYTES;

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(4096))]
struct Block([u8; BLOCK_BYTES]);

/// Fixed capacity; filled from the front.
pub struct BlockBuffer {
    blocks: Vec<Block>,
    len: usize,
}

impl std::fmt::Debug for BlockBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlockBuffer({} of {} bytes)", self.len, self.capacity())
    }
}

impl BlockBuffer {
    pub fn with_capacity(bytes: usize) -> BlockBuffer {
        let count = bytes.div_ceil(BLOCK_BYTES);
        BlockBuffer { blocks: vec![Block([0; BLOCK_BYTES]); count], len: 0 }
    }

    pub fn capacity(&self) -> usize {
        self.blocks.len() * BLOCK_BYTES
    }

    /// Bytes filled.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn room(&self) -> usize {
        self.capacity() - self.len
    }

    pub fn clear(&mut self) {
        self.len = 0;
    }

    pub fn extend(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        let start = std::mem::replace(&mut self.len, end);
        self.all_mut()[start..end].copy_from_slice(bytes);
    }

    /// Fills up with zeros to the next block boundary.
    pub fn pad(&mut self) {
        let end = self.len.next_multiple_of(BLOCK_BYTES);
        let start = std::mem::replace(&mut self.len, end);
        self.all_mut()[start..end].fill(0);
    }

    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.blocks)[..self.len]
    }

    fn all_mut(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut(&mut self.blocks)
    }
}

impl AsRef<[u8]> for BlockBuffer {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}
