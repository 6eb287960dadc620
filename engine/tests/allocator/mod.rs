//! The allocator's own figure, for tests of what is said to be taken. They run with the server's
//! allocator, each in a binary of its own, or others' memory would be in it.
#![allow(unsafe_code)]
// JUSTIFICATION: the allocator's own figures have no safe interface.

use std::ffi::c_void;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bytes of all blocks that this thread's heap has given out, each whole.
pub fn allocated_bytes() -> usize {
    unsafe extern "C" fn add(
        _: *const libmimalloc_sys::mi_heap_t,
        area: *const libmimalloc_sys::mi_heap_area_t,
        _: *mut c_void,
        _: usize,
        sum: *mut c_void,
    ) -> bool {
        // SAFETY: the allocator passes an area that is valid during the call, and `sum` is the
        // counter given below, which nothing else uses meanwhile.
        unsafe { *sum.cast::<usize>() += (*area).used * (*area).full_block_size };
        true
    }
    let mut sum = 0_usize;
    // SAFETY: the default heap is this thread's; `add` keeps nothing of what it is given.
    unsafe {
        let heap = libmimalloc_sys::mi_heap_get_default();
        libmimalloc_sys::mi_heap_visit_blocks(heap, false, Some(add), (&raw mut sum).cast());
    }
    sum
}
