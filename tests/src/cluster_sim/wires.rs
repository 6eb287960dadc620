//! Connections: two pipes each, in order, with delays; cut, stalled, broken. Who is at their ends
//! and when things arrive is the world's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use server::core::io::ConnId;

/// Who is at an end of a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Client(usize),
    /// A machine's process, by which of its starts.
    Node {
        machine: usize,
        start: u32,
        conn: ConnId,
    },
}

/// What travels.
#[derive(Debug)]
pub enum Parcel {
    Bytes(Vec<u8>),
    /// The other side is gone.
    Gone,
}

/// One direction of a wire.
#[derive(Default, Debug)]
pub struct Way {
    /// When the last parcel sent arrives: the network keeps their order.
    pub until_ns: u64,
    /// What has arrived at a place that is cut off.
    pub held: VecDeque<Parcel>,
}

pub struct Wire {
    pub ends: [End; 2],
    /// The ends that still listen.
    pub alive: [bool; 2],
    /// Ends with a send of which they have not heard.
    pub sending: [bool; 2],
    /// By the end that they lead to.
    pub ways: [Way; 2],
    /// Nothing arrives for a while.
    pub stalled: bool,
    /// Nothing will ever arrive: each end hears of it in its time.
    pub broken: bool,
}

impl Wire {
    pub fn machine(&self, end: usize) -> Option<usize> {
        match self.ends[end] {
            End::Node { machine, .. } => Some(machine),
            End::Client(_) => None,
        }
    }
}

#[derive(Default)]
pub struct Wires {
    all: BTreeMap<u64, Wire>,
    last: u64,
    /// From a machine to another nothing arrives.
    pub cut: BTreeSet<(usize, usize)>,
}

impl Wires {
    pub fn join(&mut self, ends: [End; 2]) -> u64 {
        self.last += 1;
        let wire = Wire {
            ends,
            alive: [true; 2],
            sending: [false; 2],
            ways: Default::default(),
            stalled: false,
            broken: false,
        };
        self.all.insert(self.last, wire);
        self.last
    }

    pub fn get_mut(&mut self, wire: u64) -> Option<&mut Wire> {
        self.all.get_mut(&wire)
    }

    pub fn ids(&self) -> Vec<u64> {
        self.all.keys().copied().collect()
    }

    /// Wires with an end at a machine's process.
    pub fn of_machine(&self, machine: usize) -> Vec<u64> {
        let ends_there = |wire: &Wire| (0..2).any(|end| wire.machine(end) == Some(machine));
        self.all.iter().filter(|(_, wire)| ends_there(wire)).map(|(id, _)| *id).collect()
    }

    /// An end listens no more. The wire goes once neither does.
    pub fn leave(&mut self, wire: u64, end: usize) {
        let Some(own) = self.all.get_mut(&wire) else { return };
        own.alive[end] = false;
        if own.alive == [false; 2] {
            self.all.remove(&wire);
        }
    }

    /// Whether what goes to this end does not get there now.
    pub fn is_held(&self, wire: u64, to: usize) -> bool {
        let Some(own) = self.all.get(&wire) else { return true };
        own.stalled || own.broken || self.is_cut_for(own, to)
    }

    fn is_cut_for(&self, wire: &Wire, to: usize) -> bool {
        match (wire.machine(1 - to), wire.machine(to)) {
            (Some(from), Some(to)) => self.cut.contains(&(from, to)),
            _ => false,
        }
    }

    /// Wires of which a direction is cut.
    pub fn cut_ones(&self) -> Vec<u64> {
        let cut = |wire: &Wire| (0..2).any(|to| self.is_cut_for(wire, to));
        self.all.iter().filter(|(_, wire)| cut(wire)).map(|(id, _)| *id).collect()
    }
}
