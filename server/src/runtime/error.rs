//! Every way the runtime can fail, with what an operator can do about it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::config::CoreId;

/// Why a machine could not be made: its maker knows, the runtime only passes it on.
pub type MachineError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug)]
pub enum RuntimeError {
    /// The kernel, or what the process runs in, forbids io_uring.
    Forbidden {
        error: io::Error,
        sysctl: Option<String>,
    },
    /// The kernel is too old.
    Missing {
        feature: &'static str,
        since: &'static str,
    },
    /// A ring could not be made or used.
    Ring {
        what: &'static str,
        error: io::Error,
    },
    Listen {
        address: SocketAddr,
        error: io::Error,
    },
    Accept {
        error: io::Error,
    },
    /// More cores asked for than a process can have, or none.
    Cores {
        asked: usize,
        max: usize,
    },
    Affinity {
        error: io::Error,
    },
    Thread {
        core: CoreId,
        error: io::Error,
    },
    /// Too few descriptors for even one client.
    Descriptors {
        limit: u64,
        needed: u64,
    },
    File {
        what: &'static str,
        path: PathBuf,
        error: io::Error,
    },
    /// Another process uses the data directory.
    Locked {
        path: PathBuf,
        holder: String,
    },
    /// The machine of a core could not be made, as by a log that cannot be recovered.
    Machine {
        core: CoreId,
        error: MachineError,
    },
    /// A core's thread ended by a panic.
    Panicked {
        core: CoreId,
    },
    Signals {
        error: io::Error,
    },
}

impl fmt::Display for RuntimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden { error, sysctl } => {
                write!(f, "io_uring is forbidden here ({error}). ")?;
                match sysctl.as_deref() {
                    Some("0") | None => write!(
                        f,
                        "A container's seccomp profile usually does that: allow io_uring_setup, \
                         io_uring_enter and io_uring_register (Docker: --security-opt \
                         seccomp=FILE; Kubernetes: seccompProfile Localhost)"
                    ),
                    Some(value) => write!(
                        f,
                        "kernel.io_uring_disabled is {value}: set it to 0 with `sysctl -w \
                         kernel.io_uring_disabled=0` (1 allows it to members of \
                         kernel.io_uring_group only)"
                    ),
                }
            }
            Self::Missing { feature, since } => write!(
                f,
                "this kernel has no {feature}, which Linux has since {since}: run a kernel of at \
                 least that version"
            ),
            Self::Ring { what, error } => write!(f, "io_uring: {what}: {error}"),
            Self::Listen { address, error } => write!(f, "cannot listen on {address}: {error}"),
            Self::Accept { error } => write!(f, "cannot accept connections any more: {error}"),
            Self::Cores { asked, max } => {
                write!(f, "{asked} cores asked for: a process has 1 to {max}")
            }
            Self::Affinity { error } => write!(f, "cannot read or set processors: {error}"),
            Self::Thread { core, error } => {
                write!(f, "cannot start the thread of core {}: {error}", core.0)
            }
            Self::Descriptors { limit, needed } => write!(
                f,
                "the limit of {limit} open files is too low: at least {needed} are needed. Raise \
                 it with `ulimit -n` or LimitNOFILE="
            ),
            Self::File { what, path, error } => {
                write!(f, "{what} {}: {error}", path.display())
            }
            Self::Locked { path, holder } => write!(
                f,
                "{} is in use by another process ({holder}): stop it or choose another --dir",
                path.display()
            ),
            Self::Machine { core, error } => write!(f, "core {} cannot start: {error}", core.0),
            Self::Panicked { core } => write!(f, "the thread of core {} panicked", core.0),
            Self::Signals { error } => write!(f, "cannot wait for signals: {error}"),
        }
    }
}

impl std::error::Error for RuntimeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Forbidden { error, .. }
            | Self::Ring { error, .. }
            | Self::Listen { error, .. }
            | Self::Accept { error }
            | Self::Affinity { error }
            | Self::Thread { error, .. }
            | Self::File { error, .. }
            | Self::Signals { error } => Some(error),
            Self::Machine { error, .. } => Some(&**error),
            _ => None,
        }
    }
}
