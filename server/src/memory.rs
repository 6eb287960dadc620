//! What the process uses, as INFO and MEMORY report it. Read on request only.
#![allow(unsafe_code)]
// JUSTIFICATION: neither getrusage nor the allocator's own figures have a safe interface.

use std::ffi::{CStr, c_char, c_void};

/// Bytes of memory that the process occupies.
pub fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|p| p.parse().ok()).unwrap_or(0);
    pages * 4096
}

/// Seconds of processor time: user, system.
pub fn cpu_seconds() -> (f64, f64) {
    // SAFETY: an all-zero rusage is valid, and getrusage fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    (seconds(usage.ru_utime), seconds(usage.ru_stime))
}

/// Gives memory that the calling thread's heap does not need back to the system.
pub fn give_back() {
    // SAFETY: no condition; it touches only the calling thread's heap and free pages.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

/// Bytes of memory that the machine has.
pub fn system_bytes() -> u64 {
    // SAFETY: sysconf has no condition.
    let (pages, page_bytes) =
        unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
    pages.max(0) as u64 * page_bytes.max(0) as u64
}

/// The allocator's own report.
pub fn allocator_report() -> String {
    unsafe extern "C" fn append(text: *const c_char, report: *mut c_void) {
        // SAFETY: the allocator passes a text that ends with 0, and the pointer that it was given,
        // to a String that lives through the call and that nobody else uses.
        unsafe {
            let text = CStr::from_ptr(text).to_string_lossy();
            (*report.cast::<String>()).push_str(&text);
        }
    }
    let mut report = String::new();
    // SAFETY: `append` gets only what is named here, and only during this call.
    unsafe {
        libmimalloc_sys::mi_stats_print_out(Some(append), (&raw mut report).cast());
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_there() {
        assert!(resident_bytes() > 0);
        assert!(system_bytes() > resident_bytes());
        give_back();
        assert!(!allocator_report().is_empty());
    }
}
