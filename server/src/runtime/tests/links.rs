//! Connections between nodes: dialled, accepted on the peers' port, handed over to another core.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use rustix::net::{self, AddressFamily, SocketType, sockopt};

use super::machines::Block;
use super::{PATIENCE, check_echo, config, config_with, connect, pattern};
use crate::core::io::{ConnId, Input, Machine, Now, OsError, Output, Port};
use crate::runtime::buffers::Buffers;
use crate::runtime::config::{Config, CoreId};
use crate::runtime::connections::Connections;
use crate::runtime::file::{Done, Operation};
use crate::runtime::limits::{CONNECT_NS_MAX, PEER_SILENCE_MS_MAX};
use crate::runtime::ring::{Completion, Ring};
use crate::runtime::socket;
use crate::runtime::threads::{Drives, Running, start};
use crate::runtime::timer::Wait;
use crate::runtime::token::{Kind, Token};

/// A connection that begins with this and a core's number goes to that core, if it is another.
const TO: u8 = b'>';

#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Accepted { core: u16, port: Port },
    Connected { attempt: u64, result: Result<(), OsError> },
    Answered { bytes: Vec<u8> },
    Ended { error: Option<OsError> },
    SendFailed { error: OsError },
}

/// Dials at its first turn, says something to whom it reaches and tells what comes back; echoes to
/// who reaches it.
struct Talker {
    core: CoreId,
    events: Sender<Event>,
    to_dial: Vec<SocketAddr>,
    greeting: Vec<u8>,
    conns: HashMap<ConnId, Talk>,
    touched: Vec<ConnId>,
    outputs: Vec<Output<u64, Operation<Block>>>,
    stopping: bool,
}

#[derive(Default)]
struct Talk {
    dialled: bool,
    /// Nothing was received yet.
    fresh: bool,
    waiting: Vec<u8>,
    sending: bool,
    leaving: Option<u16>,
}

impl Talker {
    fn new(
        core: CoreId,
        events: Sender<Event>,
        to_dial: Vec<SocketAddr>,
        greeting: Vec<u8>,
    ) -> Talker {
        Talker {
            core,
            events,
            to_dial,
            greeting,
            conns: HashMap::new(),
            touched: Vec::new(),
            outputs: Vec::new(),
            stopping: false,
        }
    }

    fn report(&self, event: Event) {
        // A test that has seen enough no longer listens.
        let _ = self.events.send(event);
    }

    fn close(&mut self, conn: ConnId) {
        self.conns.remove(&conn).expect("nothing is told of a connection that is gone");
        self.outputs.push(Output::Close { conn });
    }
}

impl Machine for Talker {
    type Message = u64;
    type LogDone = Done<Block>;
    type LogOperation = Operation<Block>;

    fn begin_turn(&mut self, _now: Now, _mesh_waiting: &[u32]) {
        for (attempt, address) in self.to_dial.drain(..).enumerate() {
            self.outputs.push(Output::Connect { attempt: attempt as u64, address });
        }
    }

    fn on_input(&mut self, input: Input<'_, u64, Done<Block>>) {
        match input {
            Input::Accepted { conn, port, .. } => {
                self.report(Event::Accepted { core: self.core.0, port });
                let talk = Talk { fresh: true, ..Talk::default() };
                assert!(self.conns.insert(conn, talk).is_none());
            }
            Input::Connected { attempt, result } => {
                self.report(Event::Connected { attempt, result: result.map(|_| ()) });
                if let Ok(conn) = result {
                    let waiting = self.greeting.clone();
                    let talk = Talk { dialled: true, waiting, ..Talk::default() };
                    assert!(self.conns.insert(conn, talk).is_none());
                    self.touched.push(conn);
                }
            }
            Input::Received { conn, bytes } => {
                let talk = self.conns.get_mut(&conn).expect("a connection of ours");
                if talk.dialled {
                    return self.report(Event::Answered { bytes: bytes.to_vec() });
                }
                if std::mem::take(&mut talk.fresh)
                    && let [TO, to, ..] = bytes
                    && u16::from(*to) != self.core.0
                {
                    talk.leaving = Some(u16::from(*to));
                }
                talk.waiting.extend_from_slice(bytes);
                self.touched.push(conn);
            }
            Input::ReceiveEnded { conn, error } => {
                self.report(Event::Ended { error });
                self.close(conn);
            }
            Input::SendFailed { conn, error } => {
                self.report(Event::SendFailed { error });
                self.close(conn);
            }
            Input::Sent { conn, .. } => {
                self.conns.get_mut(&conn).expect("a connection of ours").sending = false;
                self.touched.push(conn);
            }
            Input::SentPart { .. } => {}
            Input::Shutdown => self.stopping = true,
            Input::Mesh { .. } | Input::Log(_) => unreachable!("it has neither"),
        }
    }

    fn end_turn(&mut self, outputs: &mut Vec<Output<u64, Operation<Block>>>) -> Option<u64> {
        outputs.append(&mut self.outputs);
        for conn in std::mem::take(&mut self.touched) {
            let Some(talk) = self.conns.get_mut(&conn) else { continue };
            if talk.sending || talk.waiting.is_empty() {
                continue;
            }
            let bytes = std::mem::take(&mut talk.waiting);
            if let Some(to) = talk.leaving {
                self.conns.remove(&conn);
                outputs.push(Output::HandOver { conn, to, bytes });
            } else {
                talk.sending = true;
                outputs.push(Output::Send { conn, bytes, await_sent: false });
            }
        }
        if self.stopping {
            outputs.push(Output::Stop);
        }
        None
    }
}

impl Drives for Talker {
    type Buffer = Block;
    fn into_operation(operation: Operation<Block>) -> Operation<Block> {
        operation
    }
    fn from_done(done: Done<Block>) -> Done<Block> {
        done
    }
}

/// A node that others can reach; core 0 dials `to_dial` and sends `greeting` to each.
fn start_node(
    config: Config,
    to_dial: Vec<SocketAddr>,
    greeting: Vec<u8>,
) -> (Running, Receiver<Event>) {
    let (sender, events) = channel();
    let config = Config { peer_listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))], ..config };
    let running = start(config, move |core| {
        let to_dial = if core.0 == 0 { to_dial.clone() } else { Vec::new() };
        Ok(Talker::new(core, sender.clone(), to_dial, greeting.clone()))
    })
    .unwrap();
    (running, events)
}

fn stop(running: Running) {
    running.shutdown();
    running.wait().unwrap();
}

fn next(events: &Receiver<Event>) -> Event {
    events.recv_timeout(PATIENCE).expect("an event in time")
}

/// Where nobody listens, and nobody comes to while the socket lives.
fn silent_address() -> (SocketAddr, OwnedFd) {
    let fd = net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    net::bind(&fd, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    (SocketAddr::try_from(net::getsockname(&fd).unwrap()).unwrap(), fd)
}

/// A listener whose queue is full: further connects to it get no answer. Lives as long as the rest.
fn full_listener() -> (SocketAddr, OwnedFd, Vec<TcpStream>) {
    let (address, fd) = silent_address();
    net::listen(&fd, 0).unwrap();
    let (mut queued, mut late) = (Vec::new(), 0);
    // A machine that stands still makes one of them late too.
    while late < 2 {
        match TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            Ok(stream) => queued.push(stream),
            Err(_) => late += 1,
        }
        assert!(queued.len() < 8, "a backlog of none takes no more than one or two");
    }
    (address, fd, queued)
}

#[test]
fn two_nodes_exchange_more_than_their_sockets_hold() {
    let (acceptor, accepted) = start_node(config(1), Vec::new(), Vec::new());
    let greeting = pattern(32 << 20, 5);
    let (dialler, dialled) =
        start_node(config(1), vec![acceptor.peer_addresses()[0]], greeting.clone());
    assert_eq!(next(&dialled), Event::Connected { attempt: 0, result: Ok(()) });
    assert_eq!(next(&accepted), Event::Accepted { core: 0, port: Port::Peer });
    let mut back = Vec::new();
    while back.len() < greeting.len() {
        match next(&dialled) {
            Event::Answered { bytes } => back.extend(bytes),
            other => panic!("{other:?} after {} bytes", back.len()),
        }
    }
    assert!(back == greeting, "the echo differs");
    // The end of one node is an end of the connection at the other.
    stop(acceptor);
    assert!(matches!(next(&dialled), Event::Ended { .. }));
    stop(dialler);
}

#[test]
fn nobody_listens() {
    let (gone, _silent) = silent_address();
    let (running, events) = start_node(config(1), vec![gone], Vec::new());
    let refused = OsError(libc::ECONNREFUSED);
    assert_eq!(next(&events), Event::Connected { attempt: 0, result: Err(refused) });
    stop(running);
}

#[test]
fn who_does_not_answer_is_given_up() {
    let (address, _listener, _queued) = full_listener();
    let began = Instant::now();
    let (running, events) = start_node(config(1), vec![address], Vec::new());
    let late = OsError(libc::ETIMEDOUT);
    assert_eq!(next(&events), Event::Connected { attempt: 0, result: Err(late) });
    assert!(began.elapsed() >= Duration::from_nanos(CONNECT_NS_MAX));
    stop(running);
}

#[test]
fn a_connect_under_way_does_not_hold_up_the_end() {
    let (address, _listener, _queued) = full_listener();
    let (gone, _silent) = silent_address();
    let (running, events) = start_node(config(1), vec![address, gone], Vec::new());
    // The other one has failed: this one is under way.
    assert!(matches!(next(&events), Event::Connected { attempt: 1, result: Err(_) }));
    let began = Instant::now();
    stop(running);
    assert!(began.elapsed() < Duration::from_nanos(CONNECT_NS_MAX), "it was waited for");
}

/// Also those that find the queue full have their time limits.
#[test]
fn many_connects_through_tiny_queues() {
    const DIALS: usize = 60;
    const SILENT: usize = 6;
    let (silent, _listener, _queued) = full_listener();
    let (acceptor, _accepted) = start_node(config(2), Vec::new(), Vec::new());
    let tiny = config_with(1, |sizes| {
        sizes.submission_entries = 2;
        sizes.completion_entries = 4;
    });
    let reached = vec![acceptor.peer_addresses()[0]; DIALS];
    let to_dial = [reached, vec![silent; SILENT]].concat();
    let began = Instant::now();
    let (dialler, dialled) = start_node(tiny, to_dial, b"hello".to_vec());
    let late = Err(OsError(libc::ETIMEDOUT));
    let (mut attempts, mut answered) = (Vec::new(), 0);
    while attempts.len() < DIALS + SILENT || answered < DIALS * b"hello".len() {
        match next(&dialled) {
            Event::Connected { attempt, result } => {
                let wanted = if attempt < DIALS as u64 { Ok(()) } else { late };
                assert_eq!(result, wanted, "attempt {attempt}");
                attempts.push(attempt);
            }
            Event::Answered { bytes } => answered += bytes.len(),
            other => panic!("{other:?}"),
        }
    }
    // Without our limit it would be TCP that gives up, at twice the time.
    assert!(began.elapsed() < Duration::from_millis(u64::from(PEER_SILENCE_MS_MAX)));
    attempts.sort_unstable();
    assert!(attempts.into_iter().eq(0..(DIALS + SILENT) as u64));
    stop(dialler);
    stop(acceptor);
}

/// What is received before, while and after a connection moves comes in order and whole.
#[test]
fn a_connection_moves_to_the_core_that_it_is_for() {
    let (running, events) = start_node(config(2), Vec::new(), Vec::new());
    let mut moved = 0;
    for round in 0..60_u8 {
        let to = round % 2;
        let mut stream = connect(running.peer_addresses()[0]);
        let mut writer = stream.try_clone().unwrap();
        let bytes = [vec![TO, to], pattern(300_000, u64::from(round))].concat();
        let to_write = bytes.clone();
        let writing = std::thread::spawn(move || {
            to_write.chunks(4_096).for_each(|piece| writer.write_all(piece).unwrap());
        });
        let mut back = vec![0; bytes.len()];
        stream.read_exact(&mut back).unwrap();
        assert!(back == bytes, "the echo differs");
        writing.join().unwrap();
        let Event::Accepted { core, port: Port::Peer } = next(&events) else {
            panic!("it begins with being accepted");
        };
        if core != u16::from(to) {
            moved += 1;
            let there = Event::Accepted { core: u16::from(to), port: Port::Peer };
            assert_eq!(next(&events), there);
        }
        drop(stream);
        assert!(matches!(next(&events), Event::Ended { error: None }));
    }
    assert!(moved > 0, "the kernel's choice was right sixty times");
    stop(running);
}

/// A ring and its buffers, dropped in this order.
struct Ringed {
    ring: Ring,
    buffers: Buffers,
}

impl Ringed {
    #[allow(unsafe_code)]
    fn new() -> Ringed {
        let ring = Ring::new(8, 16).unwrap();
        // SAFETY: both move into one value, whose fields are dropped in order: the ring first.
        let buffers = unsafe { Buffers::new(&ring, 4, 64).unwrap() };
        Ringed { ring, buffers }
    }

    /// What completes next.
    fn completions(&mut self) -> Vec<Completion> {
        let mut completions = Vec::new();
        let until = Instant::now() + PATIENCE;
        while completions.is_empty() {
            assert!(Instant::now() < until, "nothing completes");
            self.ring.enter(Wait::For(100_000_000)).unwrap();
            self.ring.collect(&mut completions, 16);
        }
        completions
    }
}

/// The kernel has given bytes to a receive, but no turn has looked at them yet.
#[test]
fn what_has_come_when_a_connection_leaves_goes_along() {
    let mut ringed = Ringed::new();
    let mut connections = Connections::default();
    let (sender, events) = channel();
    let mut machine = Talker::new(CoreId(0), sender, Vec::new(), Vec::new());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut stream = connect(listener.local_addr().unwrap());
    let fd = OwnedFd::from(listener.accept().unwrap().0);
    let conn = connections.open(&mut ringed.ring, fd, Port::Peer).unwrap();
    stream.write_all(b"come").unwrap();
    let mut completions = ringed.completions();
    let left = connections.hand_over(&mut ringed.ring, conn, 1, b"was read and ".to_vec());
    assert!(!left.unwrap(), "a receive is under way");
    let mut handed = Vec::new();
    while handed.is_empty() {
        for completion in completions {
            let token = Token::unpack(completion.user_data).unwrap();
            if token.kind == Kind::Receive {
                let Ringed { ring, buffers } = &mut ringed;
                connections.on_receive(ring, buffers, &mut machine, token, completion).unwrap();
            }
        }
        handed.extend(connections.take_handed());
        completions = if handed.is_empty() { ringed.completions() } else { Vec::new() };
    }
    let (to, handover) = handed.remove(0);
    assert_eq!((to, handover.port), (1, Port::Peer));
    assert_eq!(handover.bytes, b"was read and come");
    assert!(events.try_recv().is_err(), "the machine has given it away");
    drop(ringed);
}

#[test]
fn peers_are_no_clients() {
    let (running, events) = start_node(config(2), Vec::new(), Vec::new());
    let open = |address: SocketAddr| {
        let mut stream = connect(address);
        check_echo(&mut stream, b"x");
        match next(&events) {
            Event::Accepted { core, port } => (stream, core, port),
            other => panic!("{other:?}"),
        }
    };
    let peers: Vec<_> = (0..21).map(|_| open(running.peer_addresses()[0])).collect();
    assert!(peers.iter().all(|(_, _, port)| *port == Port::Peer));
    let spread = |clients: &[(TcpStream, u16, Port)]| {
        let on_first = clients.iter().filter(|(_, core, _)| *core == 0).count();
        assert!(on_first.abs_diff(clients.len() - on_first) <= 1, "{on_first} on core 0");
    };
    let mut clients: Vec<_> = (0..10).map(|_| open(running.addresses()[0])).collect();
    spread(&clients);
    drop(peers);
    (0..21).for_each(|_| assert!(matches!(next(&events), Event::Ended { .. })));
    clients.extend((0..10).map(|_| open(running.addresses()[0])));
    spread(&clients);
    assert!(clients.iter().all(|(_, _, port)| *port == Port::Client));
    stop(running);
}

#[test]
fn sockets_between_nodes_notice_a_dead_machine() {
    let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    let asked = Config { keepalive_s: 0, peer_listen: listen, ..config(1) };
    let (mut listeners, addresses) = socket::listen_all(&asked, 1).unwrap();
    let (port, fd) = listeners.remove(0).remove(1);
    assert_eq!(port, Port::Peer);
    let listener = TcpListener::from(fd);
    let dialled = TcpStream::from(socket::to_peer(addresses.peers[0]).unwrap());
    net::connect(&dialled, &addresses.peers[0]).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    for end in [&dialled, &accepted] {
        assert!(end.nodelay().unwrap());
        assert!(sockopt::socket_keepalive(end).unwrap());
        assert_eq!(sockopt::tcp_user_timeout(end).unwrap(), PEER_SILENCE_MS_MAX);
        assert_eq!(sockopt::tcp_keepidle(end).unwrap(), Duration::from_secs(2));
    }
}
