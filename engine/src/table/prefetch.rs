//! Asks the processor to bring a cache line closer. The one file of the table with `unsafe`.
//!
//! A prefetch never faults and never changes what a program computes.
#![allow(unsafe_code)]

/// Brings the line of `target` into the nearest cache.
#[inline]
pub(super) fn prefetch_line<T>(target: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch is a hint; any address may be given, mapped or not.
    // JUSTIFICATION: no safe form exists; a batch of lookups waits for memory once, not n times
    // (Valkey gains three times over on MGET by the same means).
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(target.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = target;
}

/// Brings the first line of what an entry points to, without touching it. Entries are pointers of
/// eight bytes, perhaps with a tag in the low three bits.
#[inline]
pub(super) fn prefetch_entry_target<E>(entry: &E) {
    prefetch_line(target_of(entry));
}

/// As [`prefetch_entry_target`], and the line after it: for entries that will be read whole, most
/// of which are longer than a line.
#[inline]
pub(super) fn prefetch_entry_whole<E>(entry: &E) {
    let target = target_of(entry);
    prefetch_line(target);
    prefetch_line(target.wrapping_add(LINE_BYTES));
}

const LINE_BYTES: usize = 64;

fn target_of<E>(entry: &E) -> *const u8 {
    const { assert!(size_of::<E>() == size_of::<*const u8>()) };
    // SAFETY: `E` is a thin owned pointer (the table's contract; its size was just checked), so
    // its bytes are initialised and valid as a pointer. The pointer is only a hint's operand.
    // JUSTIFICATION: asking the entry for its address would be one more duty of every entry type.
    let address = unsafe { std::mem::transmute_copy::<E, *const u8>(entry) };
    address.map_addr(|address| address & !7)
}
