//! Messages between cores, and time.

use std::sync::mpsc::{Sender, channel};

use super::machines::Block;
use super::{PATIENCE, config, config_with};
use crate::core::io::{Input, Machine, Now, Output};
use crate::runtime::config::{Config, CoreId};
use crate::runtime::file::{Done, Operation};
use crate::runtime::threads::{Drives, start};

/// Core 0 keeps `window` messages on their way to core 1, which sends each back, up to `total`.
/// Both check that numbers come in order.
struct PingPong {
    core: CoreId,
    window: u64,
    total: u64,
    sent: u64,
    received: u64,
    waiting_max: u32,
    to_send: Vec<u64>,
    /// Told how much waited in the outbox at most, when all have come back.
    finished: Sender<(CoreId, u32)>,
    stopping: bool,
}

impl Machine for PingPong {
    type Message = u64;
    type LogDone = Done<Block>;
    type LogOperation = Operation<Block>;

    fn begin_turn(&mut self, _now: Now, mesh_waiting: &[u32]) {
        let other = 1 - usize::from(self.core.0);
        self.waiting_max = self.waiting_max.max(mesh_waiting[other]);
    }

    fn on_input(&mut self, input: Input<'_, u64, Done<Block>>) {
        match input {
            Input::Mesh { from, message } => {
                assert_eq!(from, 1 - self.core.0);
                assert_eq!(message, self.received, "out of order");
                self.received += 1;
                if self.core.0 == 1 {
                    self.to_send.push(message);
                }
                if self.received == self.total {
                    self.finished.send((self.core, self.waiting_max)).unwrap();
                }
            }
            Input::Shutdown => self.stopping = true,
            _ => unreachable!("no clients, no log"),
        }
    }

    fn end_turn(&mut self, outputs: &mut Vec<Output<u64, Operation<Block>>>) -> Option<u64> {
        if self.core.0 == 0 {
            while self.sent < self.total && self.sent < self.received + self.window {
                self.to_send.push(self.sent);
                self.sent += 1;
            }
        }
        let to = 1 - self.core.0;
        outputs.extend(self.to_send.drain(..).map(|message| Output::Mesh { to, message }));
        if self.stopping {
            outputs.push(Output::Stop);
        }
        None
    }
}

impl Drives for PingPong {
    type Buffer = Block;
    fn into_operation(operation: Operation<Block>) -> Operation<Block> {
        operation
    }
    fn from_done(done: Done<Block>) -> Done<Block> {
        done
    }
}

/// Returns the longest outbox either core saw.
fn ping_pong(config: Config, window: u64, total: u64) -> u32 {
    let (finished, reports) = channel();
    let running = start(config, move |core| {
        Ok(PingPong {
            core,
            window,
            total,
            sent: 0,
            received: 0,
            waiting_max: 0,
            to_send: Vec::new(),
            finished: finished.clone(),
            stopping: false,
        })
    })
    .unwrap();
    let waits = [(); 2].map(|()| reports.recv_timeout(PATIENCE).expect("all messages in time").1);
    running.shutdown();
    running.wait().unwrap();
    waits[0].max(waits[1])
}

#[test]
fn one_message_at_a_time_wakes_the_other_core() {
    assert_eq!(ping_pong(config(2), 1, 5_000), 0);
}

#[test]
fn polling_cores_ping_pong() {
    assert_eq!(ping_pong(Config { poll_us: 100, ..config(2) }, 1, 5_000), 0);
}

#[test]
fn full_rings_keep_order_and_show() {
    let waited = ping_pong(config_with(2, |sizes| sizes.mesh_ring_messages = 4), 1_000, 50_000);
    assert!(waited > 0, "a window of 1,000 over rings of 4 must wait");
}

/// Asks for a turn every 2 ms and counts them.
struct Ticker {
    now_ns: u64,
    next_ns: Option<u64>,
    turns: u32,
    ticks: u32,
    finished: Option<Sender<u32>>,
    stopping: bool,
}

const TICK_NS: u64 = 2_000_000;
const TICKS: u32 = 100;

impl Machine for Ticker {
    type Message = u64;
    type LogDone = Done<Block>;
    type LogOperation = Operation<Block>;

    fn begin_turn(&mut self, now: Now, _mesh_waiting: &[u32]) {
        assert!(now.mono_ns >= self.now_ns && now.unix_ms == now.unix_us / 1_000);
        self.now_ns = now.mono_ns;
    }

    fn on_input(&mut self, input: Input<'_, u64, Done<Block>>) {
        self.stopping |= matches!(input, Input::Shutdown);
    }

    fn end_turn(&mut self, outputs: &mut Vec<Output<u64, Operation<Block>>>) -> Option<u64> {
        self.turns += 1;
        if self.stopping {
            outputs.push(Output::Stop);
            return None;
        }
        if self.next_ns.is_none_or(|at| at <= self.now_ns) {
            self.next_ns = Some(self.now_ns + TICK_NS);
            self.ticks += 1;
            if self.ticks == TICKS
                && let Some(finished) = self.finished.take()
            {
                finished.send(self.turns).unwrap();
            }
        }
        self.next_ns
    }
}

impl Drives for Ticker {
    type Buffer = Block;
    fn into_operation(operation: Operation<Block>) -> Operation<Block> {
        operation
    }
    fn from_done(done: Done<Block>) -> Done<Block> {
        done
    }
}

#[test]
fn a_deadline_brings_one_turn() {
    let (finished, reports) = channel();
    let running = start(config(1), move |_| {
        Ok(Ticker {
            now_ns: 0,
            next_ns: None,
            turns: 0,
            ticks: 0,
            finished: Some(finished.clone()),
            stopping: false,
        })
    })
    .unwrap();
    let turns = reports.recv_timeout(PATIENCE).expect("ticks in time");
    // The kernel never wakes early; a turn may come a little before its time by rounding.
    assert!(turns < 2 * TICKS, "{turns} turns for {TICKS} deadlines: the core spins");
    running.shutdown();
    running.wait().unwrap();
}
