//! How a sleeping core is woken, and a busy one left alone. Shared by all cores.
//!
//! The rule, on both sides a store, a full fence, a load (Dekker's): a sender pushes its messages,
//! fences, then reads `sleeping`; a core sets `sleeping`, fences, then looks at its rings once
//! more.
//! At least one of them sees the other, so no message is slept on.
//!
//! The call itself is a message between rings (MSG_RING). Measured with `benches`' `wake` on the
//! 2-processor Zen 4 machine, Linux 6.18, one way, median of five runs: parked 6.44 µs against 6.41
//! by eventfd, busy 1.43 against 1.37. Eventfd was level or up to 12 % ahead in each of them, and
//! further ahead in two earlier runs on the loaded machine (parked 24 and 10.8 against 13 and 9.4).
//! Chosen all the same, because MSG_RING goes along with the `enter` a turn ends with anyway, where
//! an eventfd costs the sender a system call for each core it wakes and the woken one another read:
//! that is an argument, not a measurement. A run with one core waking several on a quiet machine
//! should decide it; `ring_event` is all it takes to switch.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering, fence};

use rustix::event::{EventfdFlags, eventfd};

/// One core's bell. Aligned to two cache lines: others read `sleeping` at each batch they send.
#[repr(align(128))]
pub struct Bell {
    sleeping: AtomicBool,
    /// Descriptor of the core's ring, -1 until it has one.
    ring_fd: AtomicI32,
    /// Clients of the core, those on their way to it included.
    pub clients: AtomicU32,
    /// For threads without a ring: signals and the end.
    event: OwnedFd,
}

impl Bell {
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            sleeping: AtomicBool::new(false),
            ring_fd: AtomicI32::new(-1),
            clients: AtomicU32::new(0),
            event: eventfd(0, EventfdFlags::CLOEXEC)?,
        })
    }

    pub fn set_ring(&self, fd: RawFd) {
        self.ring_fd.store(fd, Ordering::Release);
    }

    pub fn event(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// The owner is about to sleep. It must look for work once more after this.
    pub fn set_sleeping(&self) {
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    pub fn set_awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// After work has been published for the owner: the ring to send a wake-up to, if it sleeps and
    /// no one else has woken it.
    pub fn take_sleeper(&self) -> Option<RawFd> {
        fence(Ordering::SeqCst);
        if !self.sleeping.load(Ordering::Relaxed) || !self.sleeping.swap(false, Ordering::AcqRel) {
            return None;
        }
        let fd = self.ring_fd.load(Ordering::Acquire);
        assert!(fd >= 0, "a core sleeps only after it has published its ring");
        Some(fd)
    }

    /// Wakes the owner by a system call, asleep or not: from a thread without a ring.
    pub fn ring_event(&self) {
        // A full counter (EAGAIN cannot happen on a blocking one below 2^64) means it is ringing.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }
}
