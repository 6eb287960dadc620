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
        params.is_feature_nodrop(),
        params.is_feature_fast_poll(),
        params.is_feature_ext_arg(),
        params.is_feature_skip_cqe_on_success(),
    ];
    let mut probe = Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(|error| RuntimeError::Ring { what: "probing operations", error })?;
    match first_missing(features, |code| probe.is_supported(code)) {
        Some((feature, since)) => Err(RuntimeError::Missing { feature, since }),
        None => Ok(()),
    }
}

/// What of that is not there, and which kernel has it.
fn first_missing(
    features: [bool; FEATURES.len()],
    is_supported: impl Fn(u8) -> bool,
) -> Option<(&'static str, &'static str)> {
    let features = FEATURES.iter().zip(features).filter(|(_, present)| !present);
    let operations = OPERATIONS.iter().filter(|(code, _, _)| !is_supported(*code));
    let operations = operations.map(|(_, feature, since)| (*feature, *since));
    features.map(|(feature, _)| *feature).chain(operations).next()
}

const FEATURES: &[(&str, &str)] = &[
    ("IORING_FEAT_NODROP (no lost completions)", "5.5"),
    ("IORING_FEAT_FAST_POLL (sockets without threads)", "5.7"),
    ("IORING_FEAT_EXT_ARG (waits with a timeout)", "5.11"),
    ("IORING_FEAT_CQE_SKIP (quiet successes)", "5.17"),
];

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
    explain(error, || std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok())
}

fn explain(error: io::Error, sysctl: impl Fn() -> Option<String>) -> RuntimeError {
    match error.raw_os_error() {
        // EACCES and EPERM: a seccomp filter or the sysctl; ENOSYS: a filter, or a kernel built
        // without it.
        Some(libc::EPERM | libc::EACCES | libc::ENOSYS) => {
            RuntimeError::Forbidden { error, sysctl: sysctl().map(|text| text.trim().to_owned()) }
        }
        Some(libc::EINVAL) => RuntimeError::Missing {
            feature: "IORING_SETUP_DEFER_TASKRUN (completions when asked for)",
            since: DEFER_TASKRUN_SINCE,
        },
        _ => RuntimeError::Ring { what: "io_uring_setup", error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [bool; FEATURES.len()] = [true; FEATURES.len()];

    #[test]
    fn a_kernel_that_has_everything_will_do() {
        assert_eq!(first_missing(ALL, |_| true), None);
    }

    #[test]
    fn each_feature_and_operation_is_asked_for_and_named_with_its_kernel() {
        let features = (0..FEATURES.len()).map(|place| {
            let mut features = ALL;
            features[place] = false;
            (first_missing(features, |_| true), FEATURES[place])
        });
        let operations = OPERATIONS.iter().map(|(code, feature, since)| {
            (first_missing(ALL, |asked| asked != *code), (*feature, *since))
        });
        for (missing, expected) in features.chain(operations) {
            assert_eq!(missing, Some(expected));
            let (feature, since) = expected;
            let said = RuntimeError::Missing { feature, since }.to_string();
            let expected = format!(
                "this kernel has no {feature}, which Linux has since {since}: run a kernel of at \
                 least that version"
            );
            assert_eq!(said, expected);
        }
    }

    #[test]
    fn of_much_that_is_missing_the_oldest_feature_is_named_first() {
        let first = first_missing([false; FEATURES.len()], |_| false);
        assert_eq!(first, Some(FEATURES[0]));
        assert_eq!(first_missing(ALL, |_| false).unwrap().0, "accept operation");
    }

    #[test]
    fn why_no_ring_could_be_made_is_told_with_what_to_do() {
        let said = |code: i32, sysctl: Option<&str>| {
            let sysctl = || sysctl.map(str::to_owned);
            explain(io::Error::from_raw_os_error(code), sysctl).to_string()
        };
        // io_uring_disabled is 0 to 2 (Documentation/admin-guide/sysctl/kernel.rst).
        for code in [libc::EPERM, libc::EACCES, libc::ENOSYS] {
            for sysctl in [None, Some("0\n")] {
                let said = said(code, sysctl);
                let expected = ["io_uring is forbidden here", "seccomp", "io_uring_setup"];
                assert!(expected.iter().all(|part| said.contains(part)), "{said}");
            }
            for value in ["1", "2"] {
                let said = said(code, Some(&format!("{value}\n")));
                let expected = format!("kernel.io_uring_disabled is {value}: set it to 0");
                assert!(said.contains(&expected) && !said.contains("seccomp"), "{said}");
            }
        }
        let old = said(libc::EINVAL, None);
        assert!(old.contains("IORING_SETUP_DEFER_TASKRUN") && old.contains("since 6.1"), "{old}");
        let other = said(libc::ENOMEM, Some("2\n"));
        assert!(other.starts_with("io_uring: io_uring_setup: "), "{other}");
    }
}
