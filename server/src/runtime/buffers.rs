//! Memory for receives: a ring of buffers the kernel picks from, one a core.
//! A buffer belongs to the kernel from `give_back` until a completion names it, and to the turn
//! that delivers its bytes until it is given back.
//!
//! JUSTIFICATION: the kernel reads the ring of entries and writes the buffers by address; there is
//! no safe interface for shared memory of that kind.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use super::error::RuntimeError;
use super::limits::RECEIVE_BUFFER_STAGGER_BYTES;
use super::ring::Ring;

/// The only buffer group of a ring.
pub const GROUP: u16 = 0;

pub struct Buffers {
    entries: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    entries_layout: Layout,
    memory_layout: Layout,
    count: u16,
    size_bytes: usize,
    stride_bytes: usize,
    /// Entries written so far, modulo 2^16; the kernel sees them at `publish`.
    tail: u16,
}

impl Buffers {
    /// Makes `count` (a power of two) buffers and registers them with `ring`.
    ///
    /// # Safety
    /// The result must be dropped after `ring`.
    pub unsafe fn new(ring: &Ring, count: u16, size_bytes: usize) -> Result<Self, RuntimeError> {
        assert!(count.is_power_of_two() && count <= 1 << 15, "the kernel's rule for buffer rings");
        assert!((1..=1 << 24).contains(&size_bytes));
        let stride_bytes = size_bytes.next_multiple_of(64) + RECEIVE_BUFFER_STAGGER_BYTES;
        let invalid = |_| RuntimeError::Ring {
            what: "receive buffers",
            error: std::io::ErrorKind::OutOfMemory.into(),
        };
        let entries_layout =
            Layout::from_size_align(usize::from(count) * size_of::<BufRingEntry>(), 4096)
                .map_err(invalid)?;
        let memory_layout =
            Layout::from_size_align(usize::from(count) * stride_bytes, 4096).map_err(invalid)?;
        let mut buffers = Self {
            entries: allocate(entries_layout).cast(),
            memory: allocate(memory_layout),
            entries_layout,
            memory_layout,
            count,
            size_bytes,
            stride_bytes,
            tail: 0,
        };
        for id in 0..count {
            buffers.give_back(id);
        }
        // SAFETY: the entries are `count` long, page-aligned, and outlive the ring by this
        // function's contract.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                buffers.entries.as_ptr() as u64,
                count,
                GROUP,
                0,
            )
        }
        .map_err(|error| RuntimeError::Ring { what: "registering receive buffers", error })?;
        buffers.publish();
        Ok(buffers)
    }

    /// What the kernel put into buffer `id`, which a completion named.
    pub fn bytes(&self, id: u16, len: usize) -> &[u8] {
        assert!(id < self.count && len <= self.size_bytes, "the kernel names its own buffers");
        // SAFETY: in bounds by the assertion; zeroed at first; the kernel does not write to it
        // until it is given back, which needs `&mut self`.
        unsafe {
            std::slice::from_raw_parts(
                self.memory.as_ptr().add(usize::from(id) * self.stride_bytes),
                len,
            )
        }
    }

    /// Puts buffer `id` at the end of the ring; the kernel has it after the next `publish`.
    pub fn give_back(&mut self, id: u16) {
        assert!(id < self.count);
        let slot = usize::from(self.tail & (self.count - 1));
        // SAFETY: `slot` is below `count`. The kernel does not read this entry before `publish`:
        // no more than `count` buffers exist, so the entry it had here has been consumed. The
        // fields are set one by one because the first entry's spare bytes are the ring's tail.
        unsafe {
            let entry = &mut *self.entries.as_ptr().add(slot);
            entry.set_addr(self.memory.as_ptr().add(usize::from(id) * self.stride_bytes) as u64);
            entry.set_len(self.size_bytes as u32);
            entry.set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    /// Lets the kernel see all buffers given back.
    pub fn publish(&self) {
        // SAFETY: the tail lies in the first entry, initialised and alive; the kernel only reads
        // it, and an aligned u16 can be accessed as an atomic.
        let tail = unsafe { &*BufRingEntry::tail(self.entries.as_ptr()).cast::<AtomicU16>() };
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: both were allocated with these layouts and are freed once; the ring that knew
        // them is gone by the contract of `new`.
        unsafe {
            dealloc(self.entries.as_ptr().cast(), self.entries_layout);
            dealloc(self.memory.as_ptr(), self.memory_layout);
        }
    }
}

const PAGE_BYTES: usize = 4096;

fn allocate(layout: Layout) -> NonNull<u8> {
    assert!(layout.size() > 0);
    // SAFETY: the size is not zero.
    let pointer = unsafe { alloc_zeroed(layout) };
    let pointer = NonNull::new(pointer).unwrap_or_else(|| handle_alloc_error(layout));
    // Every page is taken now: no fault while clients wait, and no growth that looks like data.
    for page in (0..layout.size()).step_by(PAGE_BYTES) {
        // SAFETY: within the allocation, which nobody else knows yet.
        unsafe { pointer.as_ptr().add(page).write_volatile(0) };
    }
    pointer
}
