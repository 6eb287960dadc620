//! What the runtime costs before any database work: answers `+OK\r\n` to every SET without parsing,
//! storing or logging it. Compare with the floor in shared/peers/README.md.
//!
//! ```text
//! taskset -c 0 floor 7001 1 & taskset -c 1 redis-benchmark -p 7001 -t set -d 64 -c 50 -n 500000
//! -r 1000000
//! ```
//! Arguments: port, cores, poll in microseconds. SIGINT prints requests and processor time of each.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use memchr::memmem::Finder;
use server::core::io::{ConnId, Input, Machine, Now, Output};
use server::runtime::disk::AlignedBytes;
use server::runtime::file::{Done, LogBuffer, Operation};
use server::runtime::{Config, Drives, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

static REQUESTS: AtomicU64 = AtomicU64::new(0);
static TURNS: AtomicU64 = AtomicU64::new(0);

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| -> anyhow::Result<u64> {
        arguments.next().map_or(Ok(default), |text| text.parse().context("a number, please"))
    };
    let port = u16::try_from(number(7001)?)?;
    let cores = usize::try_from(number(1)?)?;
    let poll_us = u32::try_from(number(0)?)?;
    let config = Config {
        listen: vec![([127, 0, 0, 1], port).into()],
        cores: Some(cores),
        poll_us,
        signals: true,
        ..Config::default()
    };
    run(config, |_| Ok(Floor::new()), |running| println!("ready on {:?}", running.addresses()))?;
    let processor_us = processor_us()?;
    let requests = REQUESTS.load(Ordering::Relaxed).max(1);
    let turns = TURNS.load(Ordering::Relaxed).max(1);
    println!(
        "{requests} requests in {turns} turns ({:.1} each), {:.2} us of processor a request",
        requests as f64 / turns as f64,
        processor_us / requests as f64
    );
    Ok(())
}

/// Processor time of this process so far: fields 14 and 15 of /proc/self/stat, in ticks of 10 ms.
fn processor_us() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').context("the name ends with a parenthesis")?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    Ok(ticks * 10_000.0)
}

struct Floor {
    head: Finder<'static>,
    clients: Vec<Client>,
    /// Clients that got something in this turn.
    touched: Vec<ConnId>,
    closes: Vec<ConnId>,
    requests: u64,
    turns: u64,
    stopping: bool,
}

#[derive(Default)]
struct Client {
    replies: Vec<u8>,
    spare: Vec<u8>,
    sending: bool,
}

impl Floor {
    fn new() -> Self {
        Self {
            head: Finder::new(b"*3\r\n"),
            clients: Vec::new(),
            touched: Vec::new(),
            closes: Vec::new(),
            requests: 0,
            turns: 0,
            stopping: false,
        }
    }

    fn client(&mut self, conn: ConnId) -> &mut Client {
        &mut self.clients[conn.index as usize]
    }
}

impl Machine for Floor {
    type Message = ();
    type LogDone = Done<NoLog>;
    type LogOperation = Operation<NoLog>;

    fn begin_turn(&mut self, _now: Now, _mesh_waiting: &[u32]) {
        self.turns += 1;
    }

    fn on_input(&mut self, input: Input<'_, (), Done<NoLog>>) {
        match input {
            Input::Accepted { conn, .. } => {
                let index = conn.index as usize;
                if index >= self.clients.len() {
                    self.clients.resize_with(index + 1, Client::default);
                }
                *self.client(conn) = Client::default();
            }
            Input::Received { conn, bytes } => {
                let mut count = self.head.find_iter(bytes).count();
                if count == 0 && !bytes.is_empty() {
                    // CONFIG GET of redis-benchmark, or a value's tail: answer it all the same.
                    count = usize::from(bytes.starts_with(b"*"));
                }
                self.requests += count as u64;
                let client = self.client(conn);
                for _ in 0..count {
                    client.replies.extend_from_slice(b"+OK\r\n");
                }
                self.touched.push(conn);
            }
            Input::Sent { conn, mut buffer } => {
                buffer.clear();
                let client = self.client(conn);
                client.sending = false;
                client.spare = buffer;
                if !client.replies.is_empty() {
                    self.touched.push(conn);
                }
            }
            Input::ReceiveEnded { conn, .. } | Input::SendFailed { conn, .. } => {
                self.closes.push(conn);
            }
            Input::Shutdown => self.stopping = true,
            Input::SentPart { .. } | Input::Connected { .. } => {}
            Input::Mesh { .. } | Input::Log(_) => {}
        }
    }

    fn end_turn(&mut self, outputs: &mut Vec<Output<(), Operation<NoLog>>>) -> Option<u64> {
        for conn in self.touched.drain(..) {
            let client = &mut self.clients[conn.index as usize];
            if !client.sending && !client.replies.is_empty() {
                client.sending = true;
                let spare = std::mem::take(&mut client.spare);
                let bytes = std::mem::replace(&mut client.replies, spare);
                outputs.push(Output::Send { conn, bytes, await_sent: false });
            }
        }
        outputs.extend(self.closes.drain(..).map(|conn| Output::Close { conn }));
        if self.stopping {
            REQUESTS.fetch_add(std::mem::take(&mut self.requests), Ordering::Relaxed);
            TURNS.fetch_add(std::mem::take(&mut self.turns), Ordering::Relaxed);
            outputs.push(Output::Stop);
        }
        None
    }
}

/// There is no log: never made.
struct NoLog(AlignedBytes);

impl AsRef<[u8]> for NoLog {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref()
    }
}

#[allow(unsafe_code)]
// SAFETY: `AlignedBytes` is on the heap and has no interior mutability.
unsafe impl LogBuffer for NoLog {
    fn registered_id(&self) -> Option<u16> {
        None
    }
}

impl Drives for Floor {
    type Buffer = NoLog;
    fn into_operation(operation: Operation<NoLog>) -> Operation<NoLog> {
        operation
    }
    fn from_done(done: Done<NoLog>) -> Done<NoLog> {
        done
    }
}
