//! Connects to other nodes that are under way, each with a time limit. One a core, on its thread;
//! must be dropped after its ring.
//!
//! JUSTIFICATION: a connect passes the address of a socket address, and its time limit that of a
//! time, to the kernel.
#![allow(unsafe_code)]

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use io_uring::{opcode, types};
use rustix::net::SocketAddrAny;
use rustix::net::addr::SocketAddrArg;

use super::error::RuntimeError;
use super::limits::CONNECT_NS_MAX;
use super::ring::{Completion, Ring};
use super::socket;
use super::token::{GENERATION_MASK, Kind, Token};
use crate::core::io::OsError;

/// What became of a connect.
pub struct Dialed {
    pub attempt: u64,
    pub result: Result<OwnedFd, OsError>,
}

#[derive(Default)]
pub struct Dials {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Connects that failed before they began.
    failed: Vec<Dialed>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    dial: Option<Box<Dial>>,
}

/// On the heap: the kernel reads it until the connect has ended.
struct Dial {
    attempt: u64,
    fd: Option<OwnedFd>,
    address: SocketAddrAny,
    limit: types::Timespec,
    /// Of the connect and its limit: completions still to come.
    to_come: u8,
}

impl Dials {
    /// Begins to connect.
    pub fn begin(
        &mut self,
        ring: &mut Ring,
        attempt: u64,
        address: SocketAddr,
    ) -> Result<(), RuntimeError> {
        let fd = match socket::to_peer(address) {
            Ok(fd) => fd,
            Err(error) => {
                let result = Err(OsError(error.raw_os_error()));
                self.failed.push(Dialed { attempt, result });
                return Ok(());
            }
        };
        let index = self.free.pop().unwrap_or(self.slots.len() as u32);
        if index as usize == self.slots.len() {
            self.slots.push(Slot::default());
        }
        let slot = &mut self.slots[index as usize];
        let (s, ns) = (CONNECT_NS_MAX / 1_000_000_000, (CONNECT_NS_MAX % 1_000_000_000) as u32);
        let limit = types::Timespec::new().sec(s).nsec(ns);
        let raw_fd = types::Fd(fd.as_raw_fd());
        let address = address.as_any();
        let dial = Dial { attempt, fd: Some(fd), address, limit, to_come: 2 };
        let dial = slot.dial.insert(Box::new(dial));
        let connect = opcode::Connect::new(
            raw_fd,
            dial.address.as_ptr().cast(),
            dial.address.addr_len() as libc::socklen_t,
        );
        let connect =
            connect.build().user_data(Token::new(Kind::Connect, slot.generation, index).pack());
        let limit = opcode::LinkTimeout::new(&raw const dial.limit)
            .build()
            .user_data(Token::new(Kind::ConnectTimeout, slot.generation, index).pack());
        // SAFETY: the address and the time are in the box, which is neither changed nor freed
        // before both completions have come; the table outlives the ring.
        unsafe { ring.push_limited(connect, limit) }
    }

    /// A completion of a connect or of its limit. Returns what became of it once the connect is
    /// over.
    pub fn on_completion(&mut self, token: Token, completion: Completion) -> Option<Dialed> {
        let slot = &mut self.slots[token.index as usize];
        assert!(slot.generation & GENERATION_MASK == token.generation, "a late completion");
        let Some(dial) = &mut slot.dial else {
            unreachable!("a dial is there until its last completion");
        };
        dial.to_come -= 1;
        let mut dialed = None;
        if token.kind == Kind::Connect {
            let result = match (completion.result, dial.fd.take()) {
                (0.., Some(fd)) => Ok(fd),
                // The limit ends it by cancelling it.
                (error, _) if -error == libc::ECANCELED => Err(OsError(libc::ETIMEDOUT)),
                (error, _) => Err(OsError(-error)),
            };
            dialed = Some(Dialed { attempt: dial.attempt, result });
        }
        if dial.to_come == 0 {
            slot.dial = None;
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(token.index);
        }
        dialed
    }

    /// Those that failed before they began.
    pub fn take_failed(&mut self) -> Vec<Dialed> {
        std::mem::take(&mut self.failed)
    }

    pub fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Something is under way.
    pub fn is_busy(&self) -> bool {
        self.slots.iter().any(|slot| slot.dial.is_some())
    }

    /// Ends whatever is under way: the core ends.
    pub fn cancel_all(&self, ring: &mut Ring) -> Result<(), RuntimeError> {
        for (index, slot) in self.slots.iter().enumerate() {
            if slot.dial.as_ref().is_some_and(|dial| dial.fd.is_some()) {
                let target = Token::new(Kind::Connect, slot.generation, index as u32).pack();
                ring.push_cancel(target, Token::new(Kind::Cancel, 0, index as u32).pack())?;
            }
        }
        Ok(())
    }
}
