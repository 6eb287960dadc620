//! Signals that would end the process where an error says more.
//!
//! JUSTIFICATION: `std` and `rustix` set no signal's disposition.

#![allow(unsafe_code)]

use std::io;

use super::error::RuntimeError;

/// A write beyond the limit of a file's size (RLIMIT_FSIZE) fails with EFBIG from now on, as a
/// write to a full disk fails: the server says which file it was.
pub fn outlive_file_size_limit() -> Result<(), RuntimeError> {
    // SAFETY: no handler is installed, so no code of ours runs in a signal's context.
    let before = unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    if before == libc::SIG_ERR {
        return Err(RuntimeError::Signals { error: io::Error::last_os_error() });
    }
    Ok(())
}
