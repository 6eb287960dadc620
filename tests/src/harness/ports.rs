//! Ports of 127.0.0.1 for servers that must know theirs beforehand, or have it again after a
//! restart.

use std::net::TcpListener;
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result};

/// Below those that Linux gives to whoever asks for any.
const NUMBERS: Range<u16> = 25_000..32_768;

/// A port that nothing else is given while this lives, whether anybody listens there or not.
pub struct Port {
    pub number: u16,
    /// Keeps other tests off, those of other processes too; it goes with the process.
    _name: UnixListener,
}

impl Port {
    pub fn reserve() -> Result<Port> {
        static TRIED: AtomicU16 = AtomicU16::new(0);
        let count = NUMBERS.end - NUMBERS.start;
        // Processes begin at different places.
        let begin = (std::process::id() % u32::from(count)) as u16;
        (0..count)
            .find_map(|_| {
                let tried = TRIED.fetch_add(1, Ordering::Relaxed);
                let place = (u32::from(begin) + u32::from(tried)) % u32::from(count);
                Port::take(NUMBERS.start + place as u16)
            })
            .context("every port is taken")
    }

    fn take(number: u16) -> Option<Port> {
        let name = SocketAddr::from_abstract_name(format!("quoring test port {number}")).ok()?;
        let name = UnixListener::bind_addr(&name).ok()?;
        // Something else than a test may listen there.
        TcpListener::bind(("127.0.0.1", number)).ok()?;
        Some(Port { number, _name: name })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Port;

    #[test]
    fn a_port_is_given_once_and_again_when_it_is_free() {
        let ports: Vec<Port> = (0..50).map(|_| Port::reserve().unwrap()).collect();
        let numbers: BTreeSet<u16> = ports.iter().map(|port| port.number).collect();
        assert_eq!(numbers.len(), ports.len());
        assert!(numbers.iter().all(|number| Port::take(*number).is_none()));
        drop(ports);
        // Another process may have been quicker here and there.
        assert!(numbers.iter().any(|number| Port::take(*number).is_some()));
    }
}
