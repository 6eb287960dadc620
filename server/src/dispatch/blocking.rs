//! Blocking commands: a client waits on its own core, registered with the shards of its keys. A
//! push wakes the first in line, whose command then runs as an ordinary operation.

use engine::args::OwnedArgs;
use engine::command::call::Block;
use engine::command::spec::category::SORTEDSET;
use engine::keyspace::waiters::{Awaited, Waiter};
use engine::reply::Reply;

use super::local::{Caller, find_command};
use super::parked::Parked;
use super::route::{Route, ShardSet};
use crate::connection::{BlockedCommand, Connection, Waiting};
use crate::core::Core;
use crate::core::io::ConnId;
use crate::core::message::Message;

impl Core {
    /// A blocking command found nothing: its client waits. The shards of its keys are in hand.
    pub(crate) fn begin_waiting(
        &mut self,
        connection: &mut Connection,
        block: Block,
        command: OwnedArgs,
    ) {
        let Ok(spec) = find_command(command.as_args()) else { return };
        self.measures.calls.take_back(spec);
        let awaited = if spec.categories & SORTEDSET != 0 { Awaited::ZSet } else { Awaited::List };
        let ticket = self.next_ticket();
        let waiter = Waiter { core: self.id, ticket, awaited };
        for key in keys_of(&command, &block.keys).as_args().iter_from(0) {
            let shard = self.shards.shard_of(key);
            if let Some(held) = self.shards.get_mut(shard) {
                held.waiters.register(connection.db, key, waiter);
            }
        }
        let deadline_ns = (block.timeout_ms > 0)
            .then(|| self.now.mono_ns.saturating_add(block.timeout_ms.saturating_mul(1_000_000)));
        if let Some(deadline_ns) = deadline_ns {
            self.deadlines.insert((deadline_ns, ticket));
        }
        self.blocked.insert(ticket, connection.id);
        connection.waiting = Waiting::Key(BlockedCommand {
            command,
            ticket,
            keys: block.keys,
            awaited,
            deadline_ns,
            retrying: false,
        });
    }

    /// Serves whoever waits for keys that received something, first come first served. What a
    /// served client gives to others (BLMOVE) is served in the same loop, as deep as the chain may
    /// be.
    pub(crate) fn serve_ready(&mut self, shards: &ShardSet) {
        for &shard in shards {
            let held = self.shards.get(usize::from(shard));
            if held.is_some_and(|held| held.waiters.has_ready()) && !self.to_serve.contains(&shard)
            {
                self.to_serve.push_back(shard);
            }
        }
        if std::mem::replace(&mut self.serving, true) {
            return;
        }
        while let Some(shard) = self.to_serve.pop_front() {
            let Some(held) = self.shards.get_mut(usize::from(shard)) else { continue };
            for (db, key) in held.waiters.take_ready() {
                self.serve_key(usize::from(shard), db, &key);
            }
        }
        self.serving = false;
    }

    fn serve_key(&mut self, shard: usize, db: u16, key: &[u8]) {
        let Some(held) = self.shards.get(shard) else { return };
        let queue: Vec<Waiter> = held.waiters.queue(db, key).collect();
        for waiter in queue {
            match self.served_by(shard, db, key) {
                None => return,
                Some(awaited) if awaited != waiter.awaited => continue,
                Some(_) => {}
            }
            if waiter.core != self.id {
                // The next in line is woken when this one says that it waits no more.
                return self.send_message(waiter.core, Message::Wake { ticket: waiter.ticket });
            }
            self.on_wake(waiter.ticket);
        }
    }

    /// Who is served by what the key holds.
    fn served_by(&self, shard: usize, db: u16, key: &[u8]) -> Option<Awaited> {
        self.shards.get(shard)?.served_by(db, self.shards.hash(key), key, self.now.unix_ms)
    }

    /// A key that one of our clients waits for may serve it.
    pub(crate) fn on_wake(&mut self, ticket: u64) {
        let Some(&conn) = self.blocked.get(&ticket) else { return };
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Waiting::Key(blocked) = &mut connection.waiting else { return };
        if blocked.retrying {
            return;
        }
        let command = blocked.command.clone();
        let Ok(spec) = find_command(command.as_args()) else { return };
        let needed = self.shards_needed(spec, command.as_args());
        if self.route(&needed) == Route::Here {
            self.retry_blocked(conn);
        } else {
            self.set_retrying(conn, true);
            self.gather_again(conn, needed);
        }
    }

    fn set_retrying(&mut self, conn: ConnId, value: bool) {
        if let Some(connection) = self.connections.get_mut(conn)
            && let Waiting::Key(blocked) = &mut connection.waiting
        {
            blocked.retrying = value;
        }
    }

    /// Runs a blocked client's command again: its shards are in hand. Where it finds nothing
    /// again, the client keeps its place in line.
    pub(crate) fn retry_blocked(&mut self, conn: ConnId) {
        let Some(mut connection) = self.connections.take(conn) else { return };
        let Waiting::Key(blocked) = std::mem::take(&mut connection.waiting) else {
            return self.settle(connection);
        };
        let args = blocked.command.as_args();
        let Ok(spec) = find_command(args) else { return self.settle(connection) };
        let db = connection.db;
        let mut keys = blocked.keys.iter().map(|at| args.at(*at));
        let serves =
            |key| self.served_by(self.shards.shard_of(key), db, key) == Some(blocked.awaited);
        if !keys.any(serves) {
            // Between the wake and now somebody else was served, or it is of another type now.
            connection.waiting = Waiting::Key(BlockedCommand { retrying: false, ..blocked });
            return self.connections.put_back(connection);
        }
        let needed = self.shards_needed(spec, args);
        let timing = self.start_timing(spec, args);
        self.begin_observing(&needed);
        let mut bytes = Vec::new();
        let reply = Reply::new(&mut bytes, connection.protocol);
        self.run_engine(spec, args, Caller::of(&connection), reply);
        if self.block.take().is_some() {
            self.measures.calls.take_back(spec);
            self.touch_changed(&needed);
            connection.waiting = Waiting::Key(BlockedCommand { retrying: false, ..blocked });
            return self.connections.put_back(connection);
        }
        let foreign = needed.iter().any(|shard| !self.is_home(usize::from(*shard)));
        if foreign {
            self.await_homes(&mut connection);
        }
        let (out, start) = connection.replies.begin();
        out.extend_from_slice(&bytes);
        self.hold_reply(&mut connection, start, &needed);
        self.forget(connection.db, &blocked);
        self.stop_timing(timing, &connection, spec, blocked.command.as_args());
        self.settle(connection);
        self.close_large_entries(&needed);
        self.serve_ready(&needed);
    }

    /// Ends a wait with a reply: its time is over, what it was for is there, or CLIENT UNBLOCK.
    pub(crate) fn end_waiting(&mut self, conn: ConnId, error: Option<&str>) -> bool {
        let Some(mut connection) = self.connections.take(conn) else { return false };
        match std::mem::take(&mut connection.waiting) {
            Waiting::Key(blocked) => self.end_key_wait(&mut connection, &blocked, error),
            Waiting::Nodes(wait) => self.end_node_wait(&mut connection, &wait, error),
            other => {
                connection.waiting = other;
                self.connections.put_back(connection);
                return false;
            }
        }
        self.settle(connection);
        true
    }

    fn end_key_wait(
        &mut self,
        connection: &mut Connection,
        blocked: &BlockedCommand,
        error: Option<&str>,
    ) {
        self.forget(connection.db, blocked);
        if let Ok(spec) = find_command(blocked.command.as_args()) {
            self.measures.calls.begin(spec);
        }
        self.reply_with(connection, |reply| match error {
            Some(error) => reply.error(error),
            None => reply.null_array(),
        });
    }

    /// Ends a wait without a reply: the client is gone.
    pub(crate) fn stop_waiting(&mut self, connection: &mut Connection) {
        if self.take_waiting(connection).is_none() {
            connection.waiting = Waiting::Nothing;
        }
    }

    /// Ends a wait for what comes elsewhere: its command.
    pub(crate) fn take_waiting(&mut self, connection: &mut Connection) -> Option<OwnedArgs> {
        match std::mem::take(&mut connection.waiting) {
            Waiting::Key(blocked) => {
                self.forget(connection.db, &blocked);
                Some(blocked.command)
            }
            Waiting::Nodes(wait) => {
                self.forget_node_wait(&wait);
                Some(wait.command)
            }
            other => {
                connection.waiting = other;
                None
            }
        }
    }

    /// Takes a client out of every line that it stands in.
    fn forget(&mut self, db: u16, blocked: &BlockedCommand) {
        self.blocked.remove(&blocked.ticket);
        if let Some(deadline_ns) = blocked.deadline_ns {
            self.deadlines.remove(&(deadline_ns, blocked.ticket));
        }
        let BlockedCommand { ticket, awaited, .. } = *blocked;
        let waiter = Waiter { core: self.id, ticket, awaited };
        for key in keys_of(&blocked.command, &blocked.keys).as_args().iter_from(0) {
            let keys = OwnedArgs::from_words([key]);
            let shard = self.shards.shard_of(key);
            if self.shards.holds(shard) || self.is_home(shard) {
                self.on_forget(db, &keys, waiter);
            } else {
                self.send_message(self.homes[shard], Message::Forget { db, keys, waiter });
            }
        }
    }

    /// A client waits no more for these keys: the next in line may be served.
    pub(crate) fn on_forget(&mut self, db: u16, keys: &OwnedArgs, waiter: Waiter) {
        for key in keys.as_args().iter_from(0) {
            let shard = self.shards.shard_of(key);
            let Some(held) = self.shards.get_mut(shard) else {
                let keys = OwnedArgs::from_words([key]);
                self.parked[shard].push_back(Parked::Forget { db, keys, waiter });
                continue;
            };
            held.waiters.unregister(db, key, waiter);
            // Of our own clients this is said while they are served, and `retry_blocked` looks at
            // what is ready once it is done with this one.
            held.waiters.signal(db, key);
            if waiter.core != self.id {
                self.serve_ready(&ShardSet::from_slice(&[shard as u16]));
            }
        }
    }
}

fn keys_of(command: &OwnedArgs, positions: &[usize]) -> OwnedArgs {
    OwnedArgs::from_words(positions.iter().map(|at| command.as_args().at(*at)))
}
