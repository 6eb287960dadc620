//! Machines that stand in for a core's logic.

use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::Sender;

use crate::core::io::{ConnId, Input, Machine, Now, OsError, Output};
use crate::runtime::config::CoreId;
use crate::runtime::disk::AlignedBytes;
use crate::runtime::file::{Done, LogBuffer, Operation};
use crate::runtime::threads::Drives;

/// A log buffer of the tests.
pub struct Block {
    pub bytes: AlignedBytes,
    pub id: Option<u16>,
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

#[allow(unsafe_code)]
// SAFETY: `AlignedBytes` is on the heap and has no interior mutability.
unsafe impl LogBuffer for Block {
    fn registered_id(&self) -> Option<u16> {
        self.id
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Accepted { core: CoreId },
    Received { bytes: usize },
    ReceiveEnded { error: Option<OsError> },
    SentPart,
    SendFailed { error: OsError },
    Paused,
}

/// What asks an [`Echo`] for that many mebibytes (the byte that follows) instead of an echo.
pub const WANTED: &[u8] = b"mebibytes wanted:";

/// Sends back what it gets, in whole; reads no more while too much is waiting.
pub struct Echo {
    core: CoreId,
    events: Sender<Event>,
    /// Bytes waiting for one client beyond which it is not read from.
    waiting_max: usize,
    clients: HashMap<u32, Client>,
    outputs: Vec<Output<u64, Operation<Block>>>,
    /// Clients something happened to in this turn.
    touched: Vec<u32>,
    stopping: bool,
}

struct Client {
    conn: ConnId,
    waiting: VecDeque<u8>,
    sending: bool,
    paused: bool,
    ended: bool,
}

impl Echo {
    pub fn new(core: CoreId, events: Sender<Event>, waiting_max: usize) -> Self {
        Self {
            core,
            events,
            waiting_max,
            clients: HashMap::new(),
            outputs: Vec::new(),
            touched: Vec::new(),
            stopping: false,
        }
    }

    fn report(&self, event: Event) {
        // A test that has seen enough no longer listens.
        let _ = self.events.send(event);
    }

    fn advance(&mut self, index: u32) {
        let Some(client) = self.clients.get_mut(&index) else { return };
        let conn = client.conn;
        if !client.sending && !client.waiting.is_empty() {
            client.sending = true;
            let bytes = client.waiting.drain(..).collect();
            // Bytes that come meanwhile come in a turn of their own; only the close waits.
            self.outputs.push(Output::Send { conn, bytes, await_sent: client.ended });
        }
        let full = client.waiting.len() > self.waiting_max;
        if full && !client.paused {
            client.paused = true;
            self.outputs.push(Output::PauseReceive { conn });
            self.report(Event::Paused);
        } else if client.paused && !full {
            client.paused = false;
            self.outputs.push(Output::ResumeReceive { conn });
        }
        let Some(client) = self.clients.get(&index) else { return };
        if client.ended && !client.sending {
            self.close(index);
        }
    }

    fn close(&mut self, index: u32) {
        if let Some(client) = self.clients.remove(&index) {
            self.outputs.push(Output::Close { conn: client.conn });
        }
    }
}

impl Machine for Echo {
    type Message = u64;
    type LogDone = Done<Block>;
    type LogOperation = Operation<Block>;

    fn begin_turn(&mut self, _now: Now, _mesh_waiting: &[u32]) {}

    fn on_input(&mut self, input: Input<'_, u64, Done<Block>>) {
        match input {
            Input::Accepted { conn, .. } => {
                self.report(Event::Accepted { core: self.core });
                let client = Client {
                    conn,
                    waiting: VecDeque::new(),
                    sending: false,
                    paused: false,
                    ended: false,
                };
                assert!(self.clients.insert(conn.index, client).is_none(), "a slot used twice");
            }
            Input::Received { conn, bytes } => {
                self.report(Event::Received { bytes: bytes.len() });
                let Some(client) = self.clients.get_mut(&conn.index) else { return };
                assert_eq!(client.conn, conn);
                if let Some([mebibytes]) = bytes.strip_prefix(WANTED) {
                    client.waiting.extend(super::pattern(usize::from(*mebibytes) << 20, 1));
                } else {
                    client.waiting.extend(bytes);
                }
                self.touched.push(conn.index);
            }
            Input::ReceiveEnded { conn, error } => {
                self.report(Event::ReceiveEnded { error });
                if let Some(client) = self.clients.get_mut(&conn.index) {
                    client.ended = true;
                }
                self.touched.push(conn.index);
            }
            Input::Sent { conn, buffer } => {
                assert!(!buffer.is_empty());
                if let Some(client) = self.clients.get_mut(&conn.index) {
                    client.sending = false;
                }
                self.touched.push(conn.index);
            }
            Input::SentPart { .. } => self.report(Event::SentPart),
            Input::SendFailed { conn, error } => {
                self.report(Event::SendFailed { error });
                self.close(conn.index);
            }
            Input::Shutdown => {
                let open: Vec<u32> = self.clients.keys().copied().collect();
                open.into_iter().for_each(|index| self.close(index));
                self.stopping = true;
            }
            Input::Mesh { .. } | Input::Log(_) | Input::Connected { .. } => {
                unreachable!("an echo has none of these")
            }
        }
    }

    fn end_turn(&mut self, outputs: &mut Vec<Output<u64, Operation<Block>>>) -> Option<u64> {
        for index in std::mem::take(&mut self.touched) {
            self.advance(index);
        }
        outputs.append(&mut self.outputs);
        if self.stopping {
            outputs.push(Output::Stop);
        }
        None
    }
}

impl Drives for Echo {
    type Buffer = Block;
    fn into_operation(operation: Operation<Block>) -> Operation<Block> {
        operation
    }
    fn from_done(done: Done<Block>) -> Done<Block> {
        done
    }
}
