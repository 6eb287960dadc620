//! The listening sockets of one core: accepting, and going on after it failed. Must be dropped
//! after its ring.
//!
//! JUSTIFICATION: accept answers with a bare descriptor.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use io_uring::{opcode, types};

use super::config::CoreId;
use super::error::RuntimeError;
use super::limits::ACCEPT_BACKOFF_NS;
use super::ring::{Completion, Ring};
use super::socket::{self, AcceptFailure, CoreListeners};
use super::timer;
use super::token::{Kind, Token};
use crate::core::io::Port;

pub struct Listeners {
    core: CoreId,
    list: Vec<Listener>,
    /// When accepting, given up for lack of descriptors, is tried again.
    retry_ns: Option<u64>,
}

struct Listener {
    port: Port,
    fd: OwnedFd,
    armed: bool,
}

impl Listeners {
    pub fn new(core: CoreId, listeners: CoreListeners) -> Self {
        let list = listeners.into_iter();
        let list = list.map(|(port, fd)| Listener { port, fd, armed: false }).collect();
        Self { core, list, retry_ns: None }
    }

    /// Accepts on every listener that does not yet.
    pub fn arm(&mut self, ring: &mut Ring) -> Result<(), RuntimeError> {
        for (index, listener) in self.list.iter_mut().enumerate() {
            if std::mem::replace(&mut listener.armed, true) {
                continue;
            }
            let entry = opcode::AcceptMulti::new(types::Fd(listener.fd.as_raw_fd()))
                .flags(libc::SOCK_CLOEXEC)
                .build()
                .user_data(Token::new(Kind::Accept, 0, index as u32).pack());
            // SAFETY: no address in it; the listener stays open until the core ends.
            unsafe { ring.push(entry) }?;
        }
        Ok(())
    }

    pub fn cancel(&self, ring: &mut Ring) -> Result<(), RuntimeError> {
        for (index, listener) in self.list.iter().enumerate() {
            if listener.armed {
                let target = Token::new(Kind::Accept, 0, index as u32).pack();
                ring.push_cancel(target, Token::new(Kind::Cancel, 0, 0).pack())?;
            }
        }
        Ok(())
    }

    /// Of clients that are accepted from now on.
    pub fn set_keepalive(&self, seconds: u32) {
        for listener in self.list.iter().filter(|listener| listener.port == Port::Client) {
            if let Err(error) = socket::set_keepalive_of_clients(&listener.fd, seconds) {
                tracing::error!(core = self.core.0, seconds, %error, "cannot set tcp-keepalive");
            }
        }
    }

    pub fn is_armed(&self) -> bool {
        self.list.iter().any(|listener| listener.armed)
    }

    /// When accepting wants to be tried again.
    pub fn retry_ns(&self) -> Option<u64> {
        self.retry_ns
    }

    /// Whether it is to be tried again now.
    pub fn take_due(&mut self) -> bool {
        self.retry_ns.take_if(|at| *at <= timer::monotonic_ns()).is_some()
    }

    /// Whether listeners that have ended may be armed again.
    pub fn may_arm(&self) -> bool {
        self.retry_ns.is_none()
    }

    /// An accept completed: a new connection, or none after a failure that passes.
    pub fn on_accept(
        &mut self,
        index: usize,
        completion: Completion,
    ) -> Result<Option<(Port, OwnedFd)>, RuntimeError> {
        let listener = &mut self.list[index];
        if !completion.more() {
            listener.armed = false;
        }
        if completion.result >= 0 {
            // SAFETY: accept just made it and nothing else owns it.
            let fd = unsafe { OwnedFd::from_raw_fd(completion.result) };
            return Ok(Some((listener.port, fd)));
        }
        let error = std::io::Error::from_raw_os_error(-completion.result);
        match socket::judge_accept(-completion.result) {
            AcceptFailure::Again => Ok(None),
            AcceptFailure::Later => {
                tracing::warn!(core = self.core.0, %error, "accepting again in a moment");
                self.retry_ns = Some(timer::monotonic_ns() + ACCEPT_BACKOFF_NS);
                Ok(None)
            }
            AcceptFailure::Fatal => Err(RuntimeError::Accept { error }),
        }
    }
}
