//! Sockets and their options. Listening ones: one a core and address, all on the same port, made on
//! the starting thread, each then used by one core. Those to other nodes: made by their core.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

use super::config::Config;
use super::error::RuntimeError;
use super::limits::{
    BIND_PAUSE_MS, BIND_TRIES, LISTEN_BACKLOG, PEER_KEEPALIVE_INTERVAL_S, PEER_KEEPALIVE_S,
    PEER_SILENCE_MS_MAX,
};
use crate::core::io::Port;

/// All listeners of one core: those of `Config::listen`, then those of `Config::peer_listen`.
pub type CoreListeners = Vec<(Port, OwnedFd)>;

/// What is listened on, with the real ports.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    pub clients: Vec<SocketAddr>,
    pub peers: Vec<SocketAddr>,
}

/// Listeners for `cores` cores.
pub fn listen_all(
    config: &Config,
    cores: usize,
) -> Result<(Vec<CoreListeners>, Addresses), RuntimeError> {
    let mut listeners: Vec<CoreListeners> = (0..cores).map(|_| Vec::new()).collect();
    let mut addresses = Addresses::default();
    let clients = config.listen.iter().map(|address| (Port::Client, *address));
    let peers = config.peer_listen.iter().map(|address| (Port::Peer, *address));
    for (port, mut address) in clients.chain(peers) {
        for (core, of_core) in listeners.iter_mut().enumerate() {
            let explain = |error: Errno| RuntimeError::Listen { address, error: error.into() };
            let bind = || bind_one(address, core == 0, port, config.keepalive_s);
            let fd = bind_patiently(bind).map_err(explain)?;
            if core == 0 {
                address = local_address(&fd).map_err(explain)?;
            }
            of_core.push((port, fd));
        }
        match port {
            Port::Client => addresses.clients.push(address),
            Port::Peer => addresses.peers.push(address),
        }
    }
    // Only now: a client must not be queued at a core that never comes to be.
    for of_core in &listeners {
        let all = addresses.clients.iter().chain(&addresses.peers);
        for ((_, fd), address) in of_core.iter().zip(all) {
            net::listen(fd, LISTEN_BACKLOG)
                .map_err(|error| RuntimeError::Listen { address: *address, error: error.into() })?;
        }
    }
    Ok((listeners, addresses))
}

/// A socket that is to be connected to another node.
pub fn to_peer(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let fd = stream_socket(address)?;
    set_options(&fd, Port::Peer, 0)?;
    Ok(fd)
}

/// Binds, with a few tries while the port is still held by a process that has just ended.
fn bind_patiently(bind: impl Fn() -> Result<OwnedFd, Errno>) -> Result<OwnedFd, Errno> {
    for _ in 1..BIND_TRIES {
        match bind() {
            Err(Errno::ADDRINUSE) => std::thread::sleep(Duration::from_millis(BIND_PAUSE_MS)),
            other => return other,
        }
    }
    bind()
}

fn stream_socket(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)
}

/// The first socket binds alone, so that a port another process holds is refused; only then does it
/// share the port with the other cores' sockets.
fn bind_one(
    address: SocketAddr,
    first: bool,
    port: Port,
    keepalive_s: u32,
) -> Result<OwnedFd, Errno> {
    let fd = stream_socket(address)?;
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
    set_options(&fd, port, keepalive_s)?;
    Ok(fd)
}

/// `keepalive_s` is of clients, 0 for none.
fn set_options(fd: &OwnedFd, port: Port, keepalive_s: u32) -> Result<(), Errno> {
    sockopt::set_tcp_nodelay(fd, true)?;
    match port {
        Port::Client => set_keepalive_of_clients(fd, keepalive_s),
        Port::Peer => {
            sockopt::set_tcp_user_timeout(fd, PEER_SILENCE_MS_MAX)?;
            set_keepalive(fd, PEER_KEEPALIVE_S, PEER_KEEPALIVE_INTERVAL_S)
        }
    }
}

/// On a listener it is of those accepted from now on. 0: no probes.
pub fn set_keepalive_of_clients(fd: &OwnedFd, seconds: u32) -> Result<(), Errno> {
    match seconds {
        0 => sockopt::set_socket_keepalive(fd, false),
        // As Redis: three probes within the same time again.
        _ => set_keepalive(fd, seconds, (seconds / 3).max(1)),
    }
}

fn set_keepalive(fd: &OwnedFd, idle_s: u32, interval_s: u32) -> Result<(), Errno> {
    sockopt::set_socket_keepalive(fd, true)?;
    sockopt::set_tcp_keepidle(fd, Duration::from_secs(u64::from(idle_s)))?;
    sockopt::set_tcp_keepintvl(fd, Duration::from_secs(u64::from(interval_s)))?;
    sockopt::set_tcp_keepcnt(fd, 3)
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
