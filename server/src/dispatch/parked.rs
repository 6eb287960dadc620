//! What waits for a shard of this core that is away with a gathering, first come first served.
//! Once it is home they run in as many turns as they take, and nothing overtakes them.

use engine::args::{Args, OwnedArgs};
use engine::keyspace::waiters::Waiter;

use super::local::find_command;
use crate::connection::{Connection, Waiting};
use crate::core::Core;
use crate::core::io::ConnId;
use crate::core::message::{ForwardedHead, Gather, UnwatchedKey};

pub enum Parked {
    /// A client of this core; its command is in its connection.
    Client(ConnId),
    /// A client of another core.
    Forwarded {
        from: u16,
        head: ForwardedHead,
        command: OwnedArgs,
    },
    /// A gathering passing through, holding the shards it has collected.
    Gather(Box<Gather>),
    /// Clients that gave up waiting, or watching.
    Forget {
        db: u16,
        keys: OwnedArgs,
        waiter: Waiter,
    },
    Unwatch(Vec<UnwatchedKey>),
}

impl Parked {
    pub fn forwarded(from: u16, head: ForwardedHead, args: Args<'_>) -> Parked {
        Parked::Forwarded { from, head, command: OwnedArgs::copy_of(args) }
    }
}

impl Core {
    pub(crate) fn park(&mut self, connection: &mut Connection, shard: u16, args: Args<'_>) {
        connection.waiting = Waiting::Shards { command: OwnedArgs::copy_of(args) };
        self.parked[usize::from(shard)].push_back(Parked::Client(connection.id));
    }

    /// Runs what waited for a shard that came home, until it leaves again, or the turn has no room
    /// for more: then the next one goes on.
    pub(crate) fn run_parked(&mut self, shard: u16) {
        let place = usize::from(shard);
        while self.shards.holds(place) {
            let has_room = match self.parked[place].front() {
                Some(Parked::Client(_)) => !self.budget.is_spent(),
                Some(Parked::Forwarded { .. }) => self.forwards.has_room(),
                _ => true,
            };
            if !has_room {
                if !self.budget.parked_left.contains(&shard) {
                    self.budget.parked_left.push(shard);
                }
                return;
            }
            match self.parked[place].pop_front() {
                None => break,
                Some(Parked::Client(conn)) => {
                    self.run_waiting(conn);
                    self.spend_commands(1);
                }
                Some(Parked::Forwarded { from, head, command }) => {
                    self.run_forwarded(from, &head, command.as_args());
                    self.spend_forwarded(1);
                }
                Some(Parked::Gather(gather)) => self.collect(gather, Some(shard)),
                Some(Parked::Forget { db, keys, waiter }) => self.on_forget(db, &keys, waiter),
                Some(Parked::Unwatch(keys)) => self.on_unwatch(keys),
            }
        }
    }

    /// A turn begins: what the last one had no room for comes before all that arrives in this one.
    pub(crate) fn run_parked_left(&mut self) {
        for shard in std::mem::take(&mut self.budget.parked_left) {
            self.run_parked(shard);
        }
    }

    /// Whether something stands in line for a shard: what comes later stands behind it.
    pub(crate) fn has_parked(&self, shard: u16) -> bool {
        !self.parked[usize::from(shard)].is_empty()
    }

    /// Runs the command that a client waits with, if its shards are in hand now.
    pub(crate) fn run_waiting(&mut self, conn: ConnId) {
        let Some(mut connection) = self.connections.take(conn) else { return };
        if let Waiting::Shards { command } = std::mem::take(&mut connection.waiting) {
            let args = command.as_args();
            if let Ok(spec) = find_command(args) {
                self.dispatch(&mut connection, spec, args);
            }
        }
        self.settle(connection);
    }
}
