//! What happens on the wires: connects, bytes in pieces, ends that hear of each other or do not.

use server::core::io::{ConnId, OsError};

use super::wires::{End, Parcel};
use super::world::{Event, World};
use crate::sim::node::{ECONNREFUSED, Waiting};

const ETIMEDOUT: i32 = 110;

impl World {
    /// Mostly little, now and then long.
    pub fn delay_ns(&mut self) -> u64 {
        let most_ns = if self.rng.below(50) == 0 { 30_000_000 } else { 200_000 };
        10_000 + self.rng.below(most_ns)
    }

    pub fn find_wire(&mut self, machine: usize, conn: ConnId) -> Option<(u64, usize)> {
        let start = self.machines[machine].start;
        let wire = self.machines[machine].wire_of(conn)?;
        let own = End::Node { machine, start, conn };
        let ends = self.wires.get_mut(wire)?.ends;
        let end = ends.iter().position(|end| *end == own)?;
        Some((wire, end))
    }

    /// A connection of a machine's core, under a name of its own.
    pub fn new_end(&mut self, (machine, core): (usize, u16)) -> (ConnId, End) {
        let conn = self.machines[machine].take_slot(core);
        (conn, End::Node { machine, start: self.machines[machine].start, conn })
    }

    /// Some core of a machine: whose listener takes a connection is chance.
    pub fn any_core(&mut self, machine: usize) -> u16 {
        match self.machines[machine].cores() {
            1 => 0,
            cores => self.rng.below(u64::from(cores)) as u16,
        }
    }

    /// A core has accepted a connection that is for another one.
    pub fn hand_on(&mut self, machine: usize, conn: ConnId, to: u16, bytes: Vec<u8>) {
        let Some((wire, end)) = self.find_wire(machine, conn) else { return };
        self.machines[machine].free_slot(conn);
        let (conn, other) = self.new_end((machine, to));
        self.machines[machine].set_wire(conn, wire);
        if let Some(own) = self.wires.get_mut(wire) {
            own.ends[end] = other;
        }
        self.add(machine, to, Waiting::AcceptedPeer(conn));
        self.add(machine, to, Waiting::Received(conn, bytes));
    }

    pub fn on_dial(&mut self, (machine, core): (usize, u16), start: u32, attempt: u64, to: usize) {
        if self.machines[machine].start != start || !self.machines[machine].is_up() {
            return;
        }
        let cut = &self.wires.cut;
        if cut.contains(&(machine, to)) || cut.contains(&(to, machine)) {
            let delay_ns = 500_000_000 + self.rng.below(2_000_000_000);
            return self.after(delay_ns, Event::DialFailed { machine, core, start, attempt });
        }
        if !self.machines[to].is_up() {
            return self.fail_dial((machine, core), attempt, ECONNREFUSED);
        }
        let by = self.any_core(to);
        let (conn, end) = self.new_end((machine, core));
        let (there, other) = self.new_end((to, by));
        let wire = self.wires.join([end, other]);
        self.machines[machine].set_wire(conn, wire);
        self.machines[to].set_wire(there, wire);
        self.add(to, by, Waiting::AcceptedPeer(there));
        self.add(machine, core, Waiting::Connected(attempt, Ok(conn)));
    }

    pub fn on_dial_failed(&mut self, caller: (usize, u16), start: u32, attempt: u64) {
        if self.machines[caller.0].start == start {
            self.fail_dial(caller, attempt, ETIMEDOUT);
        }
    }

    fn fail_dial(&mut self, (machine, core): (usize, u16), attempt: u64, errno: i32) {
        self.add(machine, core, Waiting::Connected(attempt, Err(OsError(errno))));
    }

    /// An end sends: in pieces that may break anywhere.
    pub fn send_bytes(&mut self, wire: u64, end: usize, bytes: Vec<u8>, took_ns: u64) {
        let Some(own) = self.wires.get_mut(wire) else { return };
        own.sending[end] = true;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let len = match self.rng.below(4) {
                0 => 1 + self.rng.below(rest.len() as u64) as usize,
                _ => rest.len(),
            };
            let (piece, more) = rest.split_at(len);
            rest = more;
            let piece = piece.to_vec();
            self.send_parcel_after(wire, 1 - end, Parcel::Bytes(piece), took_ns);
        }
        let delay_ns = took_ns + self.rng.below(20_000);
        self.after(delay_ns, Event::Taken { wire, end, bytes });
    }

    pub fn send_parcel(&mut self, wire: u64, to: usize, parcel: Parcel) {
        self.send_parcel_after(wire, to, parcel, 0);
    }

    fn send_parcel_after(&mut self, wire: u64, to: usize, parcel: Parcel, took_ns: u64) {
        let delay_ns = took_ns + self.delay_ns();
        let now_ns = self.now_ns;
        let Some(own) = self.wires.get_mut(wire) else { return };
        let way = &mut own.ways[to];
        way.until_ns = way.until_ns.max(now_ns + delay_ns) + 1;
        let at_ns = way.until_ns;
        self.at(at_ns, Event::Arrive { wire, to, parcel });
    }

    pub fn on_arrive(&mut self, wire: u64, to: usize, parcel: Parcel) -> Result<(), String> {
        let held = self.wires.is_held(wire, to);
        let Some(own) = self.wires.get_mut(wire) else { return Ok(()) };
        if own.broken || !own.alive[to] {
            return Ok(());
        }
        if held || !own.ways[to].held.is_empty() {
            own.ways[to].held.push_back(parcel);
            return Ok(());
        }
        self.hand(wire, to, parcel)
    }

    fn hand(&mut self, wire: u64, to: usize, parcel: Parcel) -> Result<(), String> {
        let Some(own) = self.wires.get_mut(wire).filter(|own| own.alive[to]) else {
            return Ok(());
        };
        match (own.ends[to], parcel) {
            (End::Client(client), Parcel::Bytes(bytes)) => {
                self.on_client_bytes(client, wire, &bytes)?;
            }
            (End::Client(client), Parcel::Gone) => self.on_client_dropped(client, wire),
            (End::Node { machine, conn, .. }, Parcel::Bytes(bytes)) => {
                self.add_for(machine, conn, Waiting::Received(conn, bytes));
            }
            (End::Node { machine, conn, .. }, Parcel::Gone) => {
                self.add_for(machine, conn, Waiting::Ended(conn));
            }
        }
        Ok(())
    }

    pub fn on_taken(&mut self, wire: u64, end: usize, bytes: Vec<u8>) {
        let Some(own) = self.wires.get_mut(wire) else { return };
        if !own.alive[end] {
            return;
        }
        own.sending[end] = false;
        // A send ends, one way or the other: a node that stops waits for that.
        let broken = own.broken;
        if let End::Node { machine, conn, .. } = own.ends[end] {
            let failed = Waiting::SendFailed(conn);
            let input = if broken { failed } else { Waiting::Sent(conn, bytes) };
            self.add_for(machine, conn, input);
        }
    }

    /// An end closes; the other one hears of it behind what was sent.
    pub fn close_end(&mut self, wire: u64, end: usize) {
        self.wires.leave(wire, end);
        self.send_parcel(wire, 1 - end, Parcel::Gone);
    }

    /// Nothing more will come by a wire; its ends hear of that each in its time.
    pub fn break_wire(&mut self, wire: u64) {
        let Some(own) = self.wires.get_mut(wire).filter(|own| !own.broken) else { return };
        own.broken = true;
        self.outcome.wires_broken += 1;
        for end in 0..2 {
            let most_ns = if self.rng.below(4) == 0 { 3_000_000_000 } else { 1_000_000 };
            let delay_ns = self.rng.below(most_ns);
            self.after(delay_ns, Event::Broken { wire, end });
        }
    }

    pub fn on_broken(&mut self, wire: u64, end: usize) {
        let Some(own) = self.wires.get_mut(wire).filter(|own| own.alive[end]) else { return };
        own.broken = true;
        let sending = own.sending[end];
        match own.ends[end] {
            End::Client(client) => self.on_client_dropped(client, wire),
            End::Node { machine, conn, .. } => {
                let failed = sending && self.rng.below(2) == 0;
                let input = if failed { Waiting::SendFailed(conn) } else { Waiting::Ended(conn) };
                self.add_for(machine, conn, input);
            }
        }
    }

    pub fn on_time_out(&mut self, wire: u64) {
        if self.wires.cut_ones().contains(&wire) {
            self.break_wire(wire);
        }
    }

    /// What was held up arrives where it can.
    pub fn let_go(&mut self) -> Result<(), String> {
        for wire in self.wires.ids() {
            for to in 0..2 {
                while !self.wires.is_held(wire, to)
                    && let Some(own) = self.wires.get_mut(wire)
                    && let Some(parcel) = own.ways[to].held.pop_front()
                {
                    self.hand(wire, to, parcel)?;
                }
            }
        }
        Ok(())
    }

    pub fn unstall(&mut self, wire: u64) -> Result<(), String> {
        if let Some(own) = self.wires.get_mut(wire) {
            own.stalled = false;
        }
        self.let_go()
    }
}
