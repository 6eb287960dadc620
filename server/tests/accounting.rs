//! What connections say they take, beside what the allocator says it gave out. A binary of its own:
//! the allocator is the server's, and nothing else runs here.
#![allow(unsafe_code)]
// JUSTIFICATION: the allocator's own figures have no safe interface.

use std::ffi::c_void;

use engine::args::OwnedArgs;
use server::connection::Transaction;
use server::connection::replies::Replies;
use server::connection::watched::{Watched, WatchedKey};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bytes of all blocks that this thread's heap has given out, each whole.
fn allocated_bytes() -> usize {
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

/// By how much what `fill` has made says something else than the allocator, and that at most.
fn check<T>(what: &str, fill: impl FnOnce() -> T, says: impl FnOnce(&T) -> usize, off_max: f64) {
    let before = allocated_bytes();
    let made = fill();
    let (allocated, said) = (allocated_bytes() - before, says(&made));
    let off = said as f64 / allocated as f64 - 1.0;
    println!("{what}: {said} bytes counted, {allocated} allocated, {:+.2} %", off * 100.0);
    assert!(off.abs() <= off_max, "{what}: {said} bytes counted, {allocated} allocated");
}

#[test]
fn what_clients_hold_is_counted() {
    for (count, value) in [(40_000, 3), (4_000, 100), (40, 100_000)] {
        let value = vec![b'v'; value];
        let fill = || {
            let mut transaction = Transaction::default();
            for n in 0..count {
                let key = format!("key:{n}");
                let words = [b"SET".as_slice(), key.as_bytes(), &value];
                let mut whole = OwnedArgs::from_words(words);
                whole = OwnedArgs::copy_of(whole.as_args());
                transaction.add(whole);
            }
            transaction
        };
        check("a transaction", fill, Transaction::memory_bytes, 0.02);
    }
    let fill = || {
        let mut replies = Replies::default();
        (0..50_000).for_each(|_| replies.begin().0.extend_from_slice(b"+OK\r\n"));
        replies
    };
    check("replies", fill, Replies::memory_bytes, 0.02);
    // Nodes of the map are filled as keys come: from a half to all.
    for scattered in [1, 7919] {
        let fill = || {
            let mut watched = Watched::default();
            for n in 0..20_000_u64 {
                let key = format!("key:{:05}", n * scattered % 20_000).into_bytes();
                watched.add(WatchedKey { db: 0, key: key.into(), version: n });
            }
            watched
        };
        check("watched keys", fill, Watched::memory_bytes, 0.15);
    }
}
