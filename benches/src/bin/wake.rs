//! Waking another core's ring: a message between rings or an eventfd? Two pinned threads bounce a
//! wake-up; "parked" sleeps in `enter`, "busy" spins on the completion queue and only pays the
//! receiving side. Results stand at `runtime/wake.rs`. Argument: rounds.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::Barrier;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use io_uring::{IoUring, opcode, squeue, types};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    MessageRing,
    /// A write by system call, a read in the other's ring.
    Eventfd,
}

fn main() -> anyhow::Result<()> {
    let rounds: u32 = std::env::args().nth(1).map_or(Ok(100_000), |text| text.parse())?;
    for way in [Way::MessageRing, Way::Eventfd] {
        for busy in [false, true] {
            let elapsed = bounce(way, busy, rounds)?;
            let one_way_us = elapsed.as_secs_f64() * 1e6 / f64::from(rounds) / 2.0;
            println!(
                "{way:?} {}: {one_way_us:.2} us one way",
                if busy { "busy" } else { "parked" }
            );
        }
    }
    Ok(())
}

fn bounce(way: Way, busy: bool, rounds: u32) -> anyhow::Result<Duration> {
    let rings = Arc::new([AtomicI32::new(-1), AtomicI32::new(-1)]);
    let events = [event()?, event()?];
    let barrier = Arc::new(Barrier::new(2));
    let threads: Vec<_> = (0..2)
        .map(|me| {
            let (rings, barrier) = (rings.clone(), barrier.clone());
            std::thread::spawn(move || {
                let side = Side { me, way, busy, events };
                side.run(rounds, &rings, &barrier)
            })
        })
        .collect();
    let mut elapsed = Duration::ZERO;
    for thread in threads {
        let took = thread.join().ok().context("a thread panicked")??;
        elapsed = elapsed.max(took);
    }
    Ok(elapsed)
}

fn event() -> anyhow::Result<RawFd> {
    // SAFETY: no memory is passed. Never closed: the bench ends soon.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    anyhow::ensure!(fd >= 0, "eventfd failed");
    Ok(fd)
}

struct Side {
    me: usize,
    way: Way,
    busy: bool,
    events: [RawFd; 2],
}

impl Side {
    fn run(
        &self,
        rounds: u32,
        rings: &[AtomicI32; 2],
        barrier: &Barrier,
    ) -> anyhow::Result<Duration> {
        pin(self.me)?;
        let mut ring: IoUring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .build(64)?;
        rings[self.me].store(ring.as_raw_fd(), Ordering::Release);
        let mut counter = 0u64;
        if self.way != Way::MessageRing {
            self.arm(&mut ring, &mut counter)?;
        }
        barrier.wait();
        let other = rings[1 - self.me].load(Ordering::Acquire);
        let begin = Instant::now();
        for _ in 0..rounds {
            if self.me == 0 {
                self.wake(&mut ring, other)?;
                self.await_wake(&mut ring, &mut counter)?;
            } else {
                self.await_wake(&mut ring, &mut counter)?;
                self.wake(&mut ring, other)?;
            }
        }
        ring.submit()?;
        barrier.wait();
        Ok(begin.elapsed())
    }

    fn wake(&self, ring: &mut IoUring, other: RawFd) -> anyhow::Result<()> {
        let event = self.events[1 - self.me];
        let entry = match self.way {
            Way::Eventfd => {
                // SAFETY: eight bytes that live for ever.
                unsafe { libc::write(event, (&raw const ONE).cast(), 8) };
                return Ok(());
            }
            Way::MessageRing => opcode::MsgRingData::new(types::Fd(other), 0, 1, None).build(),
        };
        let entry = entry.flags(squeue::Flags::SKIP_SUCCESS);
        // SAFETY: the eight bytes live for ever.
        unsafe { ring.submission().push(&entry) }?;
        Ok(())
    }

    fn await_wake(&self, ring: &mut IoUring, counter: &mut u64) -> anyhow::Result<()> {
        loop {
            if self.busy {
                ring.submit()?;
                while !ring.submission().taskrun() && ring.completion().is_empty() {
                    std::hint::spin_loop();
                }
                ring.submit()?;
            } else {
                ring.submit_and_wait(1)?;
            }
            let woken = ring.completion().count() > 0;
            if woken {
                break;
            }
        }
        if self.way != Way::MessageRing {
            self.arm(ring, counter)?;
        }
        Ok(())
    }

    fn arm(&self, ring: &mut IoUring, counter: &mut u64) -> anyhow::Result<()> {
        let fd = types::Fd(self.events[self.me]);
        let entry = opcode::Read::new(fd, std::ptr::from_mut(counter).cast(), 8).build();
        // SAFETY: the counter outlives the ring: it is declared after it, in a frame that only ends
        // once all wake-ups have come, and nothing else touches it.
        unsafe { ring.submission().push(&entry) }?;
        Ok(())
    }
}

static ONE: u64 = 1;

fn pin(processor: usize) -> anyhow::Result<()> {
    // SAFETY: the set is plain data, initialised by zeroing, and lives through the call.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(processor, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    anyhow::ensure!(result == 0, "no such processor: {processor}");
    Ok(())
}
