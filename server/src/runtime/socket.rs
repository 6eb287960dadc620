//! Listening sockets: one a core and address, all on the same port, and what accept brings.
//! Made on the starting thread; each is then used by one core.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

use super::config::Config;
use super::error::RuntimeError;
use super::limits::{BIND_PAUSE_MS, BIND_TRIES, LISTEN_BACKLOG};

/// All listeners of one core, in the order of `Config::listen`.
pub type CoreListeners = Vec<OwnedFd>;

/// Listeners for `cores` cores, and the addresses with the real ports.
pub fn listen_all(
    config: &Config,
    cores: usize,
) -> Result<(Vec<CoreListeners>, Vec<SocketAddr>), RuntimeError> {
    let mut listeners: Vec<CoreListeners> = (0..cores).map(|_| Vec::new()).collect();
    let mut addresses = Vec::new();
    for asked in &config.listen {
        let mut address = *asked;
        for (core, of_core) in listeners.iter_mut().enumerate() {
            let explain = |error: Errno| RuntimeError::Listen { address, error: error.into() };
            let fd = bind_patiently(address, core == 0, config.keepalive_s).map_err(explain)?;
            if core == 0 {
                address = local_address(&fd).map_err(explain)?;
                addresses.push(address);
            }
            of_core.push(fd);
        }
    }
    // Only now: a client must not be queued at a core that never comes to be.
    for of_core in &listeners {
        for (fd, address) in of_core.iter().zip(&addresses) {
            net::listen(fd, LISTEN_BACKLOG)
                .map_err(|error| RuntimeError::Listen { address: *address, error: error.into() })?;
        }
    }
    Ok((listeners, addresses))
}

/// Binds, with a few tries while the port is still held by a process that has just ended.
fn bind_patiently(address: SocketAddr, first: bool, keepalive_s: u32) -> Result<OwnedFd, Errno> {
    for _ in 1..BIND_TRIES {
        match bind_one(address, first, keepalive_s) {
            Err(Errno::ADDRINUSE) => std::thread::sleep(Duration::from_millis(BIND_PAUSE_MS)),
            other => return other,
        }
    }
    bind_one(address, first, keepalive_s)
}

/// The first socket binds alone, so that a port another process holds is refused; only then does it
/// share the port with the other cores' sockets.
fn bind_one(address: SocketAddr, first: bool, keepalive_s: u32) -> Result<OwnedFd, Errno> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let fd = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&fd, true)?;
    }
    if !first {
        sockopt::set_socket_reuseport(&fd, true)?;
    }
    net::bind(&fd, &address)?;
    if first {
        sockopt::set_socket_reuseport(&fd, true)?;
    }
    // Accepted sockets inherit these on Linux, which spares system calls for each client.
    sockopt::set_tcp_nodelay(&fd, true)?;
    if keepalive_s > 0 {
        sockopt::set_socket_keepalive(&fd, true)?;
        sockopt::set_tcp_keepidle(&fd, Duration::from_secs(u64::from(keepalive_s)))?;
        // As Redis: three probes within the same time again.
        let interval_s = u64::from(keepalive_s / 3).max(1);
        sockopt::set_tcp_keepintvl(&fd, Duration::from_secs(interval_s))?;
        sockopt::set_tcp_keepcnt(&fd, 3)?;
    }
    Ok(fd)
}

/// Both ends of an accepted connection. Fails if the client is gone already.
pub fn ends(fd: impl AsFd) -> Result<(SocketAddr, SocketAddr), Errno> {
    let peer = net::getpeername(&fd)?.ok_or(Errno::NOTCONN)?;
    Ok((SocketAddr::try_from(peer)?, local_address(&fd)?))
}

fn local_address(fd: impl AsFd) -> Result<SocketAddr, Errno> {
    SocketAddr::try_from(net::getsockname(fd)?)
}

/// What to do after accept failed.
#[derive(Debug, PartialEq, Eq)]
pub enum AcceptFailure {
    /// A client went away in the queue: go on.
    Again,
    /// Descriptors or memory have run out: go on in a while.
    Later,
    /// The listener is broken.
    Fatal,
}

pub fn judge_accept(errno: i32) -> AcceptFailure {
    match errno {
        libc::ECONNABORTED
        | libc::EINTR
        | libc::EAGAIN
        | libc::EPROTO
        | libc::ENETDOWN
        | libc::EHOSTDOWN
        | libc::EHOSTUNREACH
        | libc::ENETUNREACH
        | libc::EPERM
        | libc::ETIMEDOUT
        | libc::ECANCELED => AcceptFailure::Again,
        libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM => AcceptFailure::Later,
        _ => AcceptFailure::Fatal,
    }
}
