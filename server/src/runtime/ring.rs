//! The queues to and from the kernel. One a core, made and used on that core's thread only.
//! A submission is never lost when the queue is full, and a completion never when the other is.
//!
//! JUSTIFICATION: submissions carry addresses and `io_uring_enter` takes them on trust; the crate's
//! own `submit` cannot pass NO_IOWAIT and GETEVENTS at once with a registered ring descriptor.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use super::error::RuntimeError;
use super::probe;
use super::timer::Wait;

const ENTER_GETEVENTS: u32 = 1;
const ENTER_EXT_ARG: u32 = 1 << 3;
const ENTER_REGISTERED_RING: u32 = 1 << 4;
const ENTER_NO_IOWAIT: u32 = 1 << 7;
const REGISTER_RING_FDS: u32 = 20;

/// A completion as collected.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    pub user_data: u64,
    pub result: i32,
    pub flags: u32,
}

impl Completion {
    /// The operation goes on and will complete again.
    pub fn more(&self) -> bool {
        cqueue::more(self.flags)
    }

    pub fn buffer(&self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }
}

pub struct Ring {
    ring: IoUring,
    /// What `enter` is called with: the registered index where the kernel gave one.
    enter_fd: RawFd,
    enter_flags: u32,
    /// Submissions that found the queue full, in order.
    overflow: VecDeque<Queued>,
}

/// One operation, or one and its time limit: those must be submitted together.
enum Queued {
    One(squeue::Entry),
    Pair([squeue::Entry; 2]),
}

impl Queued {
    fn entries(&self) -> &[squeue::Entry] {
        match self {
            Self::One(entry) => std::slice::from_ref(entry),
            Self::Pair(entries) => entries,
        }
    }
}

/// `struct io_uring_getevents_arg` of the kernel's interface.
#[repr(C)]
struct GetEvents {
    sigmask: u64,
    sigmask_sz: u32,
    min_wait_usec: u32,
    timespec: u64,
}

/// `struct io_uring_rsrc_update` of the kernel's interface.
#[repr(C)]
struct ResourceUpdate {
    offset: u32,
    reserved: u32,
    data: u64,
}

impl Ring {
    pub fn new(submission_entries: u32, completion_entries: u32) -> Result<Self, RuntimeError> {
        let ring: IoUring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(completion_entries)
            .build(submission_entries)
            .map_err(probe::explain_setup)?;
        probe::check(&ring)?;
        let mut enter_flags = ENTER_GETEVENTS | ENTER_EXT_ARG;
        if ring.params().is_feature_no_iowait() {
            enter_flags |= ENTER_NO_IOWAIT;
        }
        let (enter_fd, registered) = match register_ring(ring.as_raw_fd()) {
            Some(index) => (index, ENTER_REGISTERED_RING),
            None => (ring.as_raw_fd(), 0),
        };
        Ok(Self {
            ring,
            enter_fd,
            enter_flags: enter_flags | registered,
            overflow: VecDeque::new(),
        })
    }

    /// The descriptor other rings send wake-ups to.
    pub fn fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    pub fn submitter(&self) -> io_uring::Submitter<'_> {
        self.ring.submitter()
    }

    /// Queues an operation. If the queue is full, what it holds is submitted first.
    ///
    /// # Safety
    /// Everything `entry` points at stays valid, and if the kernel writes to it, untouched, until
    /// the operation's last completion has been collected or this ring is dropped.
    pub unsafe fn push(&mut self, entry: squeue::Entry) -> Result<(), RuntimeError> {
        if !self.overflow.is_empty() {
            self.overflow.push_back(Queued::One(entry));
            return Ok(());
        }
        // SAFETY: the caller's promise is exactly what `push` asks for.
        if unsafe { self.ring.submission().push(&entry) }.is_ok() {
            return Ok(());
        }
        self.overflow.push_back(Queued::One(entry));
        self.submit_overflow()
    }

    /// Queues an operation and, linked to it, its time limit.
    ///
    /// # Safety
    /// As [`Ring::push`], for both.
    pub unsafe fn push_limited(
        &mut self,
        operation: squeue::Entry,
        limit: squeue::Entry,
    ) -> Result<(), RuntimeError> {
        let pair = [operation.flags(squeue::Flags::IO_LINK), limit];
        if self.overflow.is_empty() {
            // SAFETY: the caller's promise is exactly what `push_multiple` asks for.
            let pushed = unsafe { self.ring.submission().push_multiple(&pair) };
            if pushed.is_ok() {
                return Ok(());
            }
        }
        self.overflow.push_back(Queued::Pair(pair));
        self.submit_overflow()
    }

    /// Cancels the operation with that token; its own completion then says how it ended.
    pub fn push_cancel(&mut self, target: u64, user_data: u64) -> Result<(), RuntimeError> {
        let entry = opcode::AsyncCancel::new(target).build().user_data(user_data);
        // SAFETY: a cancellation refers to no memory.
        unsafe { self.push(entry) }
    }

    /// Puts a completion with `user_data` into another ring, waking its core.
    pub fn push_wake(&mut self, ring: RawFd, user_data: u64) -> Result<(), RuntimeError> {
        let entry = opcode::MsgRingData::new(types::Fd(ring), 0, user_data, None)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(user_data);
        // SAFETY: the message is in the entry itself.
        unsafe { self.push(entry) }
    }

    /// Submits everything queued and waits as told for at least one completion. A signal, a timeout
    /// and a kernel short of memory end the wait early: the caller's loop comes back.
    pub fn enter(&mut self, wait: Wait) -> Result<(), RuntimeError> {
        self.submit_overflow()?;
        // What could not be submitted must not be slept on.
        let wait = if self.overflow.is_empty() { wait } else { Wait::No };
        self.enter_once(wait)
    }

    /// Moves up to `max` completions into `into`.
    pub fn collect(&mut self, into: &mut Vec<Completion>, max: usize) {
        let room = max.saturating_sub(into.len());
        into.extend(self.ring.completion().take(room).map(|entry| Completion {
            user_data: entry.user_data(),
            result: entry.result(),
            flags: entry.flags(),
        }));
    }

    pub fn has_completions(&mut self) -> bool {
        !self.ring.completion().is_empty()
    }

    /// Everything pushed has been taken by the kernel, and every completion so far collected.
    pub fn is_settled(&mut self) -> bool {
        if !self.overflow.is_empty() {
            return false;
        }
        let submission = self.ring.submission();
        let taken = submission.is_empty() && !submission.cq_overflow();
        drop(submission);
        taken && self.ring.completion().is_empty()
    }

    /// Something has completed or is ready to, as far as can be seen without a system call.
    pub fn has_work(&mut self) -> bool {
        let submission = self.ring.submission();
        let waiting = submission.taskrun() || submission.cq_overflow();
        drop(submission);
        waiting || !self.ring.completion().is_empty()
    }

    fn submit_overflow(&mut self) -> Result<(), RuntimeError> {
        while !self.overflow.is_empty() {
            self.enter_once(Wait::No)?;
            let mut queue = self.ring.submission();
            let mut moved = false;
            while let Some(queued) = self.overflow.front() {
                // SAFETY: the promise given to `push` for these entries still holds.
                if unsafe { queue.push_multiple(queued.entries()) }.is_err() {
                    break;
                }
                moved = true;
                self.overflow.pop_front();
            }
            if !moved {
                // The kernel takes nothing until completions are collected.
                break;
            }
        }
        Ok(())
    }

    fn enter_once(&mut self, wait: Wait) -> Result<(), RuntimeError> {
        let to_submit = self.ring.submission().len() as u32;
        let timespec = match wait {
            Wait::For(ns) => {
                types::Timespec::new().sec(ns / 1_000_000_000).nsec((ns % 1_000_000_000) as u32)
            }
            Wait::No | Wait::Forever => types::Timespec::new(),
        };
        let argument = GetEvents {
            sigmask: 0,
            sigmask_sz: 0,
            min_wait_usec: 0,
            timespec: match wait {
                Wait::For(_) => &raw const timespec as u64,
                Wait::No | Wait::Forever => 0,
            },
        };
        let complete_min: u32 = if wait == Wait::No { 0 } else { 1 };
        // SAFETY: `argument` and the timespec it points to outlive the call; the submissions' own
        // memory is vouched for by whoever pushed them.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.enter_fd,
                to_submit,
                complete_min,
                self.enter_flags,
                &raw const argument,
                size_of::<GetEvents>(),
            )
        };
        if result >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY) => Ok(()),
            _ => Err(RuntimeError::Ring { what: "io_uring_enter", error }),
        }
    }
}

/// The ring's own descriptor as a registered one, which spares a look-up at each `enter`. `None` if
/// the kernel refuses: the plain descriptor works too.
fn register_ring(fd: RawFd) -> Option<RawFd> {
    let mut update = ResourceUpdate { offset: u32::MAX, reserved: 0, data: fd as u64 };
    // SAFETY: one valid update is passed, as the count says, and outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_io_uring_register, fd, REGISTER_RING_FDS, &raw mut update, 1)
    };
    (result == 1).then_some(update.offset as RawFd)
}
