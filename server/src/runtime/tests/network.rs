//! Clients of an echo machine, well behaved and not.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};

use super::machines::{Echo, Event, WANTED};
use super::{PATIENCE, check_echo, config, config_with, connect, pattern};
use crate::core::io::OsError;
use crate::runtime::config::Config;
use crate::runtime::error::RuntimeError;
use crate::runtime::threads::{Running, start};

const WAITING_MAX: usize = 256 * 1024;

fn start_echo(config: Config) -> (Running, Receiver<Event>) {
    let (sender, events) = channel();
    let running =
        start(config, move |core| Ok(Echo::new(core, sender.clone(), WAITING_MAX))).unwrap();
    (running, events)
}

fn stop(running: Running) {
    running.shutdown();
    running.wait().unwrap();
}

/// The first event that `wanted` is true for.
fn await_event(events: &Receiver<Event>, wanted: impl Fn(&Event) -> bool) -> Event {
    loop {
        let event = events.recv_timeout(PATIENCE).expect("an event in time");
        if wanted(&event) {
            return event;
        }
    }
}

#[test]
fn echoes_small_and_large() {
    let (running, _events) = start_echo(config(1));
    let mut stream = connect(running.addresses()[0]);
    for len in [1, 2, 100, 16 * 1024, 16 * 1024 + 1, 100_000] {
        check_echo(&mut stream, &pattern(len, len as u64));
    }
    stop(running);
}

#[test]
fn sends_all_to_a_slow_reader() {
    let (running, events) = start_echo(config(1));
    let mut stream = connect(running.addresses()[0]);
    // More than both sockets' buffers hold (4 and 6 MiB at most by default): sends stay partial.
    stream.write_all(&[WANTED, &[32]].concat()).unwrap();
    let wanted = pattern(32 << 20, 1);
    let mut got = vec![0; wanted.len()];
    // Not `read`, which a process that was stopped and goes on is told of.
    let (begun, rest) = got.split_at_mut(16 << 20);
    begun.chunks_mut(10_000).for_each(|piece| stream.read_exact(piece).unwrap());
    // It is told that the client reads long before the whole is out.
    await_event(&events, |event| *event == Event::SentPart);
    rest.chunks_mut(10_000).for_each(|piece| stream.read_exact(piece).unwrap());
    assert!(got == wanted);
    stop(running);
}

#[test]
fn pauses_and_resumes() {
    let (running, events) = start_echo(config(1));
    let mut stream = connect(running.addresses()[0]);
    let bytes = pattern(16 << 20, 3);
    let mut writer = stream.try_clone().unwrap();
    let to_write = bytes.clone();
    // Nothing is read before the machine has paused: only then is the pause certain.
    let writing = std::thread::spawn(move || writer.write_all(&to_write));
    await_event(&events, |event| *event == Event::Paused);
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).unwrap();
    assert!(back == bytes);
    writing.join().unwrap().unwrap();
    stop(running);
}

#[test]
fn spreads_two_thousand_clients_evenly() {
    const CLIENTS: usize = 2_000;
    let (running, events) = start_echo(config(2));
    let mut streams: Vec<TcpStream> =
        (0..CLIENTS).map(|_| connect(running.addresses()[0])).collect();
    let mut counts = [0usize; 2];
    for _ in 0..CLIENTS {
        let accepted = await_event(&events, |event| matches!(event, Event::Accepted { .. }));
        if let Event::Accepted { core } = accepted {
            counts[usize::from(core.0)] += 1;
        }
    }
    // Two cores that accept at the same time may both choose on the same counts.
    assert!(counts[0].abs_diff(counts[1]) <= CLIENTS / 100, "uneven: {counts:?}");
    // All at once, so that every connection is under way together.
    for (index, stream) in streams.iter_mut().enumerate() {
        stream.write_all(&pattern(64, index as u64)).unwrap();
    }
    for (index, stream) in streams.iter_mut().enumerate() {
        let mut back = [0; 64];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(back.as_slice(), pattern(64, index as u64));
    }
    stop(running);
}

#[test]
fn client_resets_in_mid_send() {
    let (running, events) = start_echo(config(1));
    for _ in 0..20 {
        let mut stream = connect(running.addresses()[0]);
        stream.write_all(&[WANTED, &[16]].concat()).unwrap();
        stream.read_exact(&mut [0; 1000]).unwrap();
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        set_option(&stream, libc::SO_LINGER, &linger);
        drop(stream);
        // The kernel tells the reset once, to the send or to the receive; the other sees an end.
        let failed = await_event(&events, |event| {
            matches!(event, Event::SendFailed { .. } | Event::ReceiveEnded { error: Some(_) })
        });
        let reset = [libc::ECONNRESET, libc::EPIPE].map(OsError);
        assert!(
            reset.map(|error| Event::SendFailed { error }).contains(&failed)
                || reset.map(|e| Event::ReceiveEnded { error: Some(e) }).contains(&failed),
            "{failed:?}"
        );
    }
    check_echo(&mut connect(running.addresses()[0]), b"still here");
    stop(running);
}

#[test]
fn half_closed_client_gets_the_rest() {
    let (running, _events) = start_echo(config(1));
    let mut stream = connect(running.addresses()[0]);
    let bytes = pattern(50_000, 9);
    stream.write_all(&bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    assert!(back == bytes);
    stop(running);
}

#[test]
fn runs_out_of_receive_buffers() {
    let (running, _events) = start_echo(config_with(1, |sizes| {
        sizes.receive_buffers = 2;
        sizes.receive_buffer_bytes = 64;
    }));
    hammer(&running, 20, 5, 5_000);
    stop(running);
}

#[test]
fn tiny_queues_lose_nothing() {
    let (running, _events) = start_echo(config_with(1, |sizes| {
        sizes.submission_entries = 2;
        sizes.completion_entries = 4;
    }));
    hammer(&running, 200, 3, 1_000);
    stop(running);
}

/// Connections come and go over and over: slots and generations are used again.
#[test]
fn connections_come_and_go() {
    let (running, _events) = start_echo(config(2));
    for round in 0..10 {
        hammer(&running, 50, 1, 100 + round);
    }
    stop(running);
}

#[test]
fn polling_core_serves_too() {
    let (running, _events) = start_echo(Config { poll_us: 50, ..config(2) });
    hammer(&running, 20, 20, 200);
    stop(running);
}

#[test]
fn stops_while_traffic_runs() {
    let (running, _events) = start_echo(config(2));
    let address = running.addresses()[0];
    let rounds = Arc::new(AtomicU32::new(0));
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let mut stream = connect(address);
            let rounds = rounds.clone();
            std::thread::spawn(move || {
                let mut back = [0; 64];
                while stream.write_all(&[7; 64]).is_ok() && stream.read_exact(&mut back).is_ok() {
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    while rounds.load(Ordering::Relaxed) < 1_000 {
        std::thread::yield_now();
    }
    stop(running);
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_port_in_use_is_refused() {
    let (running, _events) = start_echo(config(2));
    let address = running.addresses()[0];
    let (sender, _) = channel();
    let second = start(Config { listen: vec![address], ..config(2) }, move |core| {
        Ok(Echo::new(core, sender.clone(), WAITING_MAX))
    });
    match second.map(|_| ()) {
        Err(RuntimeError::Listen { address: named, error }) => {
            assert_eq!(named, address);
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
        }
        other => panic!("expected a refusal, got {other:?}"),
    }
    stop(running);
}

#[test]
fn a_port_is_free_as_soon_as_the_cores_have_ended() {
    let (running, _events) = start_echo(config(2));
    let address = running.addresses()[0];
    check_echo(&mut connect(address), b"once");
    stop(running);
    for _ in 0..20 {
        let (sender, _events) = channel();
        let again = start(Config { listen: vec![address], ..config(2) }, move |core| {
            Ok(Echo::new(core, sender.clone(), WAITING_MAX))
        })
        .unwrap();
        check_echo(&mut connect(address), b"again");
        stop(again);
    }
}

#[test]
fn a_core_that_cannot_start_ends_the_start() {
    let (sender, _) = channel();
    let result = start(config(2), move |core| match core.0 {
        1 => Err("its log is damaged".into()),
        _ => Ok(Echo::new(core, sender.clone(), WAITING_MAX)),
    });
    let error = result.map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "core 1 cannot start: its log is damaged");
}

#[test]
fn accepted_sockets_inherit_nodelay_and_keepalive() {
    let asked = Config { keepalive_s: 77, ..config(1) };
    let (mut listeners, addresses) = crate::runtime::socket::listen_all(&asked, 1).unwrap();
    let listener = std::net::TcpListener::from(listeners.remove(0).remove(0).1);
    let _client = connect(addresses.clients[0]);
    let (accepted, _) = listener.accept().unwrap();
    assert!(accepted.nodelay().unwrap());
    assert!(rustix::net::sockopt::socket_keepalive(&accepted).unwrap());
    assert_eq!(rustix::net::sockopt::tcp_keepidle(&accepted).unwrap().as_secs(), 77);
}

/// `clients` threads, each with one connection, echo `rounds` times `len` bytes.
fn hammer(running: &Running, clients: usize, rounds: usize, len: usize) {
    let address = running.addresses()[0];
    std::thread::scope(|scope| {
        for client in 0..clients {
            scope.spawn(move || {
                let mut stream = connect(address);
                for round in 0..rounds {
                    check_echo(&mut stream, &pattern(len, (client * rounds + round) as u64));
                }
            });
        }
    });
}

#[allow(unsafe_code)]
fn set_option<T>(stream: &TcpStream, option: libc::c_int, value: &T) {
    // SAFETY: the value lives through the call and its size is passed.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    assert_eq!(result, 0);
}
