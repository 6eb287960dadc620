//! What the kernel must be able to do, asked at start on each core's own ring. A refusal names the
//! feature, the kernel that has it and what to do.

use std::io;

use io_uring::{IoUring, Probe, opcode};

use super::error::RuntimeError;

/// The oldest kernel that has every flag the rings are made with.
const DEFER_TASKRUN_SINCE: &str = "6.1";

/// Makes a small ring and throws it away: lets main refuse before it touches anything else.
pub fn check_kernel() -> Result<(), RuntimeError> {
    super::ring::Ring::new(8, 16).map(drop)
}

/// Required features and operations of a ring that could be made.
pub fn check(ring: &IoUring) -> Result<(), RuntimeError> {
    let params = ring.params();
    let features = [
        (params.is_feature_nodrop(), "IORING_FEAT_NODROP (no lost completions)", "5.5"),
        (params.is_feature_fast_poll(), "IORING_FEAT_FAST_POLL (sockets without threads)", "5.7"),
        (params.is_feature_ext_arg(), "IORING_FEAT_EXT_ARG (waits with a timeout)", "5.11"),
        (params.is_feature_skip_cqe_on_success(), "IORING_FEAT_CQE_SKIP (quiet successes)", "5.17"),
    ];
    for (present, feature, since) in features {
        if !present {
            return Err(RuntimeError::Missing { feature, since });
        }
    }
    let mut probe = Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(|error| RuntimeError::Ring { what: "probing operations", error })?;
    for (code, feature, since) in OPERATIONS {
        if !probe.is_supported(*code) {
            return Err(RuntimeError::Missing { feature, since });
        }
    }
    Ok(())
}

const OPERATIONS: &[(u8, &str, &str)] = &[
    (opcode::AcceptMulti::CODE, "accept operation", "5.5 (multishot 5.19)"),
    (opcode::Connect::CODE, "connect operation", "5.5"),
    (opcode::LinkTimeout::CODE, "time limit of an operation", "5.5"),
    (opcode::RecvMulti::CODE, "receive operation", "5.6 (multishot 6.0)"),
    (opcode::Send::CODE, "send operation", "5.6"),
    (opcode::AsyncCancel::CODE, "cancel operation", "5.5"),
    (opcode::Read::CODE, "read operation", "5.6"),
    (opcode::Write::CODE, "write operation", "5.6"),
    (opcode::WriteFixed::CODE, "write operation with registered buffers", "5.1"),
    (opcode::Fsync::CODE, "sync operation", "5.1"),
    (opcode::Fallocate::CODE, "fallocate operation", "5.6"),
    (opcode::OpenAt::CODE, "open operation", "5.6"),
    (opcode::RenameAt::CODE, "rename operation", "5.11"),
    (opcode::UnlinkAt::CODE, "unlink operation", "5.11"),
    (opcode::MsgRingData::CODE, "message between rings", "5.18"),
];

/// Why `io_uring_setup` failed.
pub fn explain_setup(error: io::Error) -> RuntimeError {
    match error.raw_os_error() {
        // EACCES and EPERM: a seccomp filter or the sysctl; ENOSYS: a filter, or a kernel built
        // without it.
        Some(libc::EPERM | libc::EACCES | libc::ENOSYS) => RuntimeError::Forbidden {
            error,
            sysctl: std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
                .ok()
                .map(|text| text.trim().to_owned()),
        },
        Some(libc::EINVAL) => RuntimeError::Missing {
            feature: "IORING_SETUP_DEFER_TASKRUN (completions when asked for)",
            since: DEFER_TASKRUN_SINCE,
        },
        _ => RuntimeError::Ring { what: "io_uring_setup", error },
    }
}
