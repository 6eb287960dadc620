//! The rings by which cores send each other messages: one a pair and direction, bounded.
//! Order is kept per pair; across pairs a turn takes a consistent cut.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rtrb::{Consumer, Producer, RingBuffer};

use super::limits::MESH_SNAPSHOT_TRIES;
use crate::core::io::Port;

/// What travels between cores.
pub enum Packet<M> {
    Message(M),
    /// A connection that was accepted by one core for another.
    Connection(Handover),
}

pub struct Handover {
    pub fd: OwnedFd,
    pub port: Port,
    pub peer: SocketAddr,
    pub local: SocketAddr,
    /// What came by it already and the other core has to hear first.
    pub bytes: Vec<u8>,
}

/// One core's ends of all its rings.
pub struct Mesh<M> {
    core: usize,
    incoming: Vec<Option<Consumer<Packet<M>>>>,
    outgoing: Vec<Option<Producer<Packet<M>>>>,
    /// What found its ring full, in order.
    outbox: Vec<VecDeque<Packet<M>>>,
    /// Lengths of `outbox`, as the machine sees them.
    waiting: Vec<u32>,
    /// Cores that were sent something since `take_touched`.
    touched: Vec<bool>,
    /// How much of each incoming ring belongs to this turn.
    cut: Vec<usize>,
}

/// Makes the rings between `cores` cores, each ring for `capacity` messages.
pub fn connect<M: Send>(cores: usize, capacity: usize) -> Vec<Mesh<M>> {
    assert!(cores >= 1 && capacity >= 1);
    let mut meshes: Vec<Mesh<M>> = (0..cores)
        .map(|core| Mesh {
            core,
            incoming: (0..cores).map(|_| None).collect(),
            outgoing: (0..cores).map(|_| None).collect(),
            outbox: (0..cores).map(|_| VecDeque::new()).collect(),
            waiting: vec![0; cores],
            touched: vec![false; cores],
            cut: vec![0; cores],
        })
        .collect();
    for from in 0..cores {
        for to in (0..cores).filter(|to| *to != from) {
            let (producer, consumer) = RingBuffer::new(capacity);
            meshes[from].outgoing[to] = Some(producer);
            meshes[to].incoming[from] = Some(consumer);
        }
    }
    meshes
}

impl<M> Mesh<M> {
    pub fn send(&mut self, to: usize, packet: Packet<M>) {
        assert!(to != self.core && to < self.outgoing.len(), "a message goes to another core");
        self.touched[to] = true;
        if self.outbox[to].is_empty() {
            let Some(producer) = &mut self.outgoing[to] else { return };
            if let Err(rtrb::PushError::Full(packet)) = producer.push(packet) {
                self.outbox[to].push_back(packet);
            }
        } else {
            self.outbox[to].push_back(packet);
        }
        self.waiting[to] = self.outbox[to].len() as u32;
    }

    /// Moves from the outboxes what now fits.
    pub fn flush_outboxes(&mut self) {
        for to in 0..self.outbox.len() {
            if self.waiting[to] == 0 {
                continue;
            }
            let Some(producer) = &mut self.outgoing[to] else { continue };
            let room = producer.slots().min(self.outbox[to].len());
            for packet in self.outbox[to].drain(..room) {
                let pushed = producer.push(packet);
                assert!(pushed.is_ok(), "only this core fills the ring, and it has room");
            }
            // A core that drains its ring is not told that there is room: the rest goes along with
            // the next turn, which a non-empty outbox keeps coming.
            self.touched[to] |= room > 0;
            self.waiting[to] = self.outbox[to].len() as u32;
        }
    }

    /// Messages that wait for room, per core.
    pub fn waiting(&self) -> &[u32] {
        &self.waiting
    }

    pub fn has_waiting(&self) -> bool {
        self.waiting.iter().any(|count| *count > 0)
    }

    /// Whether a core was sent something since the last call.
    pub fn take_touched(&mut self, to: usize) -> bool {
        std::mem::take(&mut self.touched[to])
    }

    pub fn has_incoming(&self) -> bool {
        self.incoming.iter().flatten().any(|ring| !ring.is_empty())
    }

    /// Fixes what this turn will take: a cut such that no message is in it whose cause, sent to
    /// this
    /// core before, is not. Two equal passes over the rings' heads are such a cut: what is in the
    /// first pass has its causes in the second. `false` if the rings kept changing.
    pub fn take_cut(&mut self) -> bool {
        let mut changed = self.read_heads();
        for _ in 0..MESH_SNAPSHOT_TRIES {
            if !changed {
                return true;
            }
            changed = self.read_heads();
        }
        !changed
    }

    /// Reads how many messages each ring holds; whether any number differs from the last reading.
    fn read_heads(&mut self) -> bool {
        let mut changed = false;
        for (ring, cut) in self.incoming.iter().zip(&mut self.cut) {
            let Some(ring) = ring else { continue };
            let count = ring.slots();
            changed |= count != *cut;
            *cut = count;
        }
        changed
    }

    /// The next message of the cut.
    pub fn pop_cut(&mut self) -> Option<(usize, Packet<M>)> {
        for from in 0..self.incoming.len() {
            if self.cut[from] == 0 {
                continue;
            }
            let Some(ring) = &mut self.incoming[from] else { continue };
            let Ok(packet) = ring.pop() else {
                unreachable!("the cut counts messages that are in the ring");
            };
            self.cut[from] -= 1;
            return Some((from, packet));
        }
        None
    }
}
