//! The connections of one core, with clients and other nodes: a table of slots with generations,
//! what is under way on each socket, and the submissions that keep it going. Must be dropped after
//! its ring.
//!
//! A slot: free → open (receive armed or paused, a send or none) → closing (nothing new begins,
//! what is under way is cancelled) or leaving (the same, but what is received goes along to another
//! core) → free, once the last completion has come.
//!
//! JUSTIFICATION: sends pass the address of a buffer to the kernel; there is no safe way to lend
//! memory to io_uring.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, OwnedFd};

use io_uring::{opcode, squeue, types};

use super::buffers::{self, Buffers};
use super::error::RuntimeError;
use super::limits::SEND_PART_BYTES;
use super::mesh::Handover;
use super::ring::{Completion, Ring};
use super::socket;
use super::token::{GENERATION_MASK, Kind, Token};
use crate::core::io::{ConnId, Input, Machine, OsError, Port};

#[derive(Default)]
pub struct Connections {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Sends asked for in this turn, submitted at its end, after what other cores wait for.
    ready: Vec<u32>,
    /// Sends submitted that complete at once or say so, not yet known to be done.
    quick: Vec<u32>,
    /// On their way to other cores.
    handed: Vec<(u16, Handover)>,
}

#[derive(Default)]
struct Slot {
    fd: Option<OwnedFd>,
    port: Port,
    generation: u32,
    receive: Receive,
    /// The machine wants no bytes.
    paused: bool,
    /// The client's side has ended: never received from again.
    ended: bool,
    closing: bool,
    /// To which core it goes, and with which bytes.
    leaving: Option<(u16, Vec<u8>)>,
    send: Send,
    /// Owned by the kernel while a send is under way.
    outgoing: Vec<u8>,
    sent_bytes: usize,
    await_sent: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Receive {
    #[default]
    Idle,
    Armed,
    /// Armed, and its cancellation is on the way.
    Cancelling,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Send {
    #[default]
    Idle,
    /// Asked for in this turn; the kernel knows nothing of it.
    Queued,
    /// Submitted so that it is over when the submission is: all bytes were taken and nothing is
    /// said, or a completion says how many were.
    Quick,
    /// Completes when all bytes were taken, be that later.
    UnderWay,
}

impl Connections {
    /// Takes a socket in and starts receiving.
    pub fn open(
        &mut self,
        ring: &mut Ring,
        fd: OwnedFd,
        port: Port,
    ) -> Result<ConnId, RuntimeError> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.slots.push(Slot::default());
                (self.slots.len() - 1) as u32
            }
        };
        let slot = &mut self.slots[index as usize];
        assert!(slot.fd.is_none() && slot.send == Send::Idle && slot.receive == Receive::Idle);
        slot.fd = Some(fd);
        slot.port = port;
        slot.arm_receive(ring, index)?;
        Ok(ConnId { index, generation: slot.generation })
    }

    /// Something is still under way on some socket.
    pub fn is_busy(&self) -> bool {
        self.slots.iter().any(|slot| slot.in_flight())
    }

    /// Takes the bytes to send; they are submitted by `submit_sends`. A connection that is gone or
    /// going drops them: it ended in the turn in which they were made.
    pub fn queue_send(&mut self, conn: ConnId, bytes: Vec<u8>, await_sent: bool) {
        let Some(slot) = self.get(conn) else { return };
        assert!(slot.send == Send::Idle, "one send a connection at a time: the machine sees to it");
        assert!(!bytes.is_empty(), "a send of nothing would never be reported");
        slot.send = Send::Queued;
        slot.outgoing = bytes;
        slot.sent_bytes = 0;
        slot.await_sent = await_sent;
        self.ready.push(conn.index);
    }

    /// Submits what `queue_send` took since the last call.
    pub fn submit_sends(&mut self, ring: &mut Ring) -> Result<(), RuntimeError> {
        for index in self.ready.drain(..) {
            let slot = &mut self.slots[index as usize];
            // Otherwise it was closed since, in the same turn.
            if slot.send != Send::Queued {
                continue;
            }
            // Of what goes in parts the kernel always says how much it took.
            let quick = !slot.await_sent && slot.outgoing.len() <= SEND_PART_BYTES;
            slot.send = if quick { Send::Quick } else { Send::UnderWay };
            if slot.send == Send::Quick {
                self.quick.push(index);
            }
            slot.submit_send(ring, index)?;
        }
        Ok(())
    }

    /// A send that was to be over at once was not: called for each completion of a send before
    /// `confirm_sends`. What is left of it goes the ordinary way.
    pub fn note_send_completion(&mut self, token: Token) {
        let slot = &mut self.slots[token.index as usize];
        slot.check(token);
        if slot.send == Send::Quick {
            slot.send = Send::UnderWay;
        }
    }

    /// Takes the quick sends of which no completion has come for done. To be called only when all
    /// submissions have been taken by the kernel and all completions collected and noted.
    pub fn confirm_sends<M: Machine>(&mut self, machine: &mut M, mut on_freed: impl FnMut()) {
        let mut quick = std::mem::take(&mut self.quick);
        for index in quick.drain(..) {
            let slot = &mut self.slots[index as usize];
            if slot.send != Send::Quick {
                continue;
            }
            let conn = ConnId { index, generation: slot.generation };
            let buffer = slot.take_outgoing();
            if !slot.closing {
                machine.on_input(Input::Sent { conn, buffer });
            } else if self.free_if_done(index) {
                on_freed();
            }
        }
        self.quick = quick;
    }

    pub fn pause(&mut self, ring: &mut Ring, conn: ConnId) -> Result<(), RuntimeError> {
        let Some(slot) = self.get(conn) else { return Ok(()) };
        slot.paused = true;
        slot.cancel_receive(ring, conn.index)
    }

    pub fn resume(&mut self, ring: &mut Ring, conn: ConnId) -> Result<(), RuntimeError> {
        let Some(slot) = self.get(conn) else { return Ok(()) };
        slot.paused = false;
        // While the cancellation is on the way, its completion arms the receive again.
        slot.arm_receive(ring, conn.index)
    }

    /// Begins to hand a connection over to another core, with `bytes` of it that came already.
    /// `true` if a client's slot is free already.
    pub fn hand_over(
        &mut self,
        ring: &mut Ring,
        conn: ConnId,
        to: u16,
        bytes: Vec<u8>,
    ) -> Result<bool, RuntimeError> {
        let Some(slot) = self.get(conn) else { return Ok(false) };
        assert!(slot.send == Send::Idle, "no send is under way: the machine sees to it");
        slot.leaving = Some((to, bytes));
        slot.cancel_receive(ring, conn.index)?;
        Ok(self.free_if_done(conn.index))
    }

    /// Those that nothing more can come of here.
    pub fn take_handed(&mut self) -> std::vec::Drain<'_, (u16, Handover)> {
        self.handed.drain(..)
    }

    /// Begins the end of a connection. `true` if a client's slot is free already.
    pub fn close(&mut self, ring: &mut Ring, conn: ConnId) -> Result<bool, RuntimeError> {
        let Some(slot) = self.get(conn) else { return Ok(false) };
        slot.closing = true;
        if slot.send == Send::Queued {
            slot.take_outgoing();
        }
        slot.cancel_receive(ring, conn.index)?;
        if slot.send == Send::UnderWay {
            let target = Token::new(Kind::Send, slot.generation, conn.index).pack();
            ring.push_cancel(target, Token::new(Kind::Cancel, 0, conn.index).pack())?;
        }
        Ok(self.free_if_done(conn.index))
    }

    /// Closes whatever is open: the core ends.
    pub fn close_all(&mut self, ring: &mut Ring) -> Result<(), RuntimeError> {
        for index in 0..self.slots.len() as u32 {
            let slot = &mut self.slots[index as usize];
            if slot.fd.is_some() && !slot.closing {
                slot.leaving = None;
                let conn = ConnId { index, generation: slot.generation };
                self.close(ring, conn)?;
            }
        }
        Ok(())
    }

    /// A receive completed. The bytes go to the machine out of the provided buffer. `true` if a
    /// client's slot became free.
    pub fn on_receive<M: Machine>(
        &mut self,
        ring: &mut Ring,
        buffers: &mut Buffers,
        machine: &mut M,
        token: Token,
        completion: Completion,
    ) -> Result<bool, RuntimeError> {
        let slot = &mut self.slots[token.index as usize];
        slot.check(token);
        let conn = ConnId { index: token.index, generation: slot.generation };
        if !completion.more() {
            slot.receive = Receive::Idle;
        }
        if completion.result > 0 {
            let Some(id) = completion.buffer() else {
                unreachable!("a receive with bytes names its buffer");
            };
            let bytes = buffers.bytes(id, completion.result as usize);
            match &mut slot.leaving {
                Some((_, ahead)) => ahead.extend_from_slice(bytes),
                None if slot.closing => {}
                None => machine.on_input(Input::Received { conn, bytes }),
            }
            buffers.give_back(id);
        } else if let Some(id) = completion.buffer() {
            buffers.give_back(id);
        }
        if slot.is_ending() {
            return Ok(self.free_if_done(token.index));
        }
        match -completion.result {
            // Cancelled by a pause that may be over, or out of buffers, which are back by the time
            // the new submission is.
            i32::MIN..0 | libc::ECANCELED | libc::ENOBUFS | libc::EINTR | libc::EAGAIN => {}
            0 => slot.end_receive(machine, conn, None),
            errno => slot.end_receive(machine, conn, Some(OsError(errno))),
        }
        slot.arm_receive(ring, token.index)?;
        Ok(false)
    }

    /// A send completed: the rest is sent, or the machine gets its buffer back. `true` if a
    /// client's slot became free.
    pub fn on_send<M: Machine>(
        &mut self,
        ring: &mut Ring,
        machine: &mut M,
        token: Token,
        completion: Completion,
    ) -> Result<bool, RuntimeError> {
        let slot = &mut self.slots[token.index as usize];
        slot.check(token);
        assert!(slot.send == Send::UnderWay, "a send completes once");
        let conn = ConnId { index: token.index, generation: slot.generation };
        if slot.closing {
            slot.take_outgoing();
            return Ok(self.free_if_done(token.index));
        }
        match completion.result {
            result @ 0.. => {
                slot.sent_bytes += result as usize;
                assert!(slot.sent_bytes <= slot.outgoing.len());
                if slot.sent_bytes < slot.outgoing.len() {
                    slot.submit_send(ring, token.index)?;
                    if result > 0 {
                        machine.on_input(Input::SentPart { conn });
                    }
                    return Ok(false);
                }
                let buffer = slot.take_outgoing();
                machine.on_input(Input::Sent { conn, buffer });
            }
            error if matches!(-error, libc::EINTR | libc::EAGAIN) => {
                slot.submit_send(ring, token.index)?;
            }
            error => {
                slot.take_outgoing();
                machine.on_input(Input::SendFailed { conn, error: OsError(-error) });
            }
        }
        Ok(false)
    }

    /// The slot of a connection that is open and not ending.
    fn get(&mut self, conn: ConnId) -> Option<&mut Slot> {
        self.slots.get_mut(conn.index as usize).filter(|slot| {
            slot.generation == conn.generation && slot.fd.is_some() && !slot.is_ending()
        })
    }

    /// `true` if a slot became free that was a client's: those are counted.
    fn free_if_done(&mut self, index: u32) -> bool {
        let slot = &mut self.slots[index as usize];
        assert!(slot.is_ending());
        if slot.in_flight() {
            return false;
        }
        let next = Slot { generation: slot.generation.wrapping_add(1), ..Slot::default() };
        let Slot { fd, port, leaving, .. } = std::mem::replace(slot, next);
        // Without two ends it is gone already, and nobody has to hear of it.
        if let (Some((to, bytes)), Some(fd)) = (leaving, fd)
            && let Ok((peer, local)) = socket::ends(&fd)
        {
            self.handed.push((to, Handover { fd, port, peer, local, bytes }));
        }
        self.free.push(index);
        port == Port::Client
    }
}

impl Slot {
    fn is_ending(&self) -> bool {
        self.closing || self.leaving.is_some()
    }

    fn in_flight(&self) -> bool {
        matches!(self.send, Send::Quick | Send::UnderWay) || self.receive != Receive::Idle
    }

    /// A completion must be of the slot's present user: a slot is freed only after its last one.
    fn check(&self, token: Token) {
        assert!(
            self.fd.is_some() && self.generation & GENERATION_MASK == token.generation,
            "a completion outlived its connection"
        );
    }

    fn arm_receive(&mut self, ring: &mut Ring, index: u32) -> Result<(), RuntimeError> {
        if self.receive != Receive::Idle || self.paused || self.ended || self.is_ending() {
            return Ok(());
        }
        let Some(fd) = &self.fd else { return Ok(()) };
        let entry = opcode::RecvMulti::new(types::Fd(fd.as_raw_fd()), buffers::GROUP)
            .build()
            .user_data(Token::new(Kind::Receive, self.generation, index).pack());
        self.receive = Receive::Armed;
        // SAFETY: the entry has no address: the kernel picks a registered buffer. The descriptor
        // stays open until the operation has ended.
        unsafe { ring.push(entry) }
    }

    fn cancel_receive(&mut self, ring: &mut Ring, index: u32) -> Result<(), RuntimeError> {
        if self.receive != Receive::Armed {
            return Ok(());
        }
        self.receive = Receive::Cancelling;
        let target = Token::new(Kind::Receive, self.generation, index).pack();
        ring.push_cancel(target, Token::new(Kind::Cancel, 0, index).pack())
    }

    fn end_receive<M: Machine>(&mut self, machine: &mut M, conn: ConnId, error: Option<OsError>) {
        self.ended = true;
        machine.on_input(Input::ReceiveEnded { conn, error });
    }

    fn take_outgoing(&mut self) -> Vec<u8> {
        self.send = Send::Idle;
        std::mem::take(&mut self.outgoing)
    }

    fn submit_send(&mut self, ring: &mut Ring, index: u32) -> Result<(), RuntimeError> {
        let Some(fd) = &self.fd else { return Ok(()) };
        let rest = &self.outgoing[self.sent_bytes..];
        let length = rest.len().min(SEND_PART_BYTES) as u32;
        // WAITALL lets the kernel itself go on after a partial send, and makes a partial one that
        // may not wait (DONTWAIT) a failure, which is reported where a success is not.
        let mut flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let mut entry_flags = squeue::Flags::empty();
        if self.send == Send::Quick {
            flags |= libc::MSG_DONTWAIT;
            entry_flags |= squeue::Flags::SKIP_SUCCESS;
        }
        let entry = opcode::Send::new(types::Fd(fd.as_raw_fd()), rest.as_ptr(), length)
            .flags(flags)
            .build()
            .flags(entry_flags)
            .user_data(Token::new(Kind::Send, self.generation, index).pack());
        // SAFETY: `outgoing` is neither changed nor freed while a send is under way, and moving
        // the Vec does
        // not move its bytes; the table outlives the ring.
        unsafe { ring.push(entry) }
    }
}
