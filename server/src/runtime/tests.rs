//! The runtime with real sockets, threads and files, and small machines of its own.
//! No sleeps: clients block on sockets with a time limit, machines report through channels.

mod files;
mod links;
mod machines;
mod mesh;
mod network;
mod side;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::config::{Config, Sizes};

/// No wait of these tests is longer; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

fn config(cores: usize) -> Config {
    Config { cores: Some(cores), ..Config::default() }
}

fn config_with(cores: usize, change: impl FnOnce(&mut Sizes)) -> Config {
    let mut config = config(cores);
    change(&mut config.sizes);
    config
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Bytes that differ from place to place, so that a lost or doubled piece shows.
fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

fn check_echo(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).unwrap();
    assert!(back == bytes, "the echo differs");
}
