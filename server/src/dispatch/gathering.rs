//! Operations over shards of several cores (design §5). The needed shards are collected through
//! their owners in ascending order, so no two gatherings can wait for each other; the operation
//! runs on the core of its client, with every shard in hand, exactly as a single-threaded server
//! would; then the shards go home. Operations that come in meanwhile share the next trip.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use engine::args::{Args, OwnedArgs};
use engine::keyspace::Shard;
use replication::buggify::{self, Point};
use replication::fault::{Fault, is_planted};
use replication::ids::ShardId;
use replication::release::Transaction;
use smallvec::SmallVec;

use super::parked::Parked;
use super::route::{ShardSet, add_shard};
use crate::commit::gate::Waiter;
use crate::connection::{Connection, Waiting};
use crate::core::Core;
use crate::core::io::ConnId;
use crate::core::message::{Gather, Message};
use crate::limits::GATHERED_OPERATIONS_MAX;
use crate::replica::period::Period;

/// The gatherings that this core started.
#[derive(Default)]
pub struct Gatherings {
    /// Clients whose operation waits for the next trip, and the shards it needs.
    queue: VecDeque<(ConnId, ShardSet)>,
    collecting: Option<Trip>,
    /// Shards that the operation now running changed or read, and the entry to wait for.
    foreign: BTreeMap<u16, u64>,
    /// Whose replies wait until what the trip that now runs did is released at every home.
    replies: Vec<(ConnId, u64)>,
    /// Trips whose effects are not released everywhere: who is to be told, and how many homes
    /// have not answered.
    unreleased: HashMap<u64, Unreleased>,
    last_id: u64,
    /// The last one was turned back: no other sets out before this time.
    not_before_ns: u64,
}

/// The trip under way.
struct Trip {
    needed: ShardSet,
    /// So many of the queued operations were there when it set out.
    departed_with: usize,
}

struct Unreleased {
    homes: usize,
    replies: Vec<(ConnId, u64)>,
}

impl Gatherings {
    pub fn note_foreign(&mut self, shard: u16, index: u64) {
        let last = self.foreign.entry(shard).or_insert(0);
        *last = (*last).max(index);
    }

    /// Operations wait and no trip is under way.
    pub fn can_start(&self, now_ns: u64) -> bool {
        self.collecting.is_none() && !self.queue.is_empty() && now_ns >= self.not_before_ns
    }

    /// Nothing is under way or waiting.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.collecting.is_none() && self.unreleased.is_empty()
    }
}

impl Core {
    /// Queues a client's operation for the next trip; the client runs nothing else before it.
    pub(crate) fn gather(&mut self, connection: &mut Connection, needed: ShardSet, args: Args<'_>) {
        connection.waiting = Waiting::Shards { command: OwnedArgs::copy_of(args) };
        self.gatherings.queue.push_back((connection.id, needed));
        self.stats.gathered += 1;
    }

    /// As [`Core::gather`] for a client whose command is kept already.
    pub(crate) fn gather_again(&mut self, conn: ConnId, needed: ShardSet) {
        self.gatherings.queue.push_back((conn, needed));
    }

    /// Sets out for the shards of all queued operations, if no trip is under way. Called once a
    /// turn, so that the operations of a turn share it.
    pub(crate) fn start_gathering(&mut self) {
        if !self.gatherings.can_start(self.now.mono_ns) {
            return;
        }
        let mut needed = ShardSet::new();
        let operations_max = buggify::limit(Point::GatheringSmall, GATHERED_OPERATIONS_MAX, 1);
        let departed_with = self.gatherings.queue.len().min(operations_max);
        for (_, shards) in self.gatherings.queue.iter().take(departed_with) {
            shards.iter().for_each(|shard| add_shard(&mut needed, *shard));
        }
        self.gatherings.last_id += 1;
        let id = self.gatherings.last_id;
        let wanted = needed.to_vec();
        self.gatherings.collecting = Some(Trip { needed, departed_with });
        self.on_gather(Box::new(Gather {
            origin: self.id,
            id,
            wanted,
            collected: Vec::new(),
            period: self.replicas.period,
            is_turned_back: false,
        }));
    }

    /// A gathering is here: takes our shards that it wants, and goes on to the next owner, by way
    /// of its origin, or home.
    pub(crate) fn on_gather(&mut self, gather: Box<Gather>) {
        self.collect(gather, None);
    }

    /// As [`Core::on_gather`] for one that has waited for `turn`, and is first there now. Elsewhere
    /// it stands behind what waits: a shard that has just come home is here, but may be owed to a
    /// command that was sent before.
    pub(crate) fn collect(&mut self, mut gather: Box<Gather>, turn: Option<u16>) {
        while let Some(&shard) = gather.wanted.first() {
            let home = self.homes[usize::from(shard)];
            if home != self.id {
                // Every request for shards leaves from the origin, so that it stays behind the
                // commands that the origin forwarded to that home before.
                let next = if gather.origin == self.id { home } else { gather.origin };
                return self.send_message(next, Message::Gather(gather));
            }
            if !self.is_now(gather.period) || self.replicas.lacks_memory(shard) {
                gather.is_turned_back = true;
                gather.wanted.clear();
                break;
            }
            let first =
                turn == Some(shard) || !self.has_parked(shard) || is_planted(Fault::LineJumped);
            if !first || !self.shards.holds(usize::from(shard)) {
                self.parked[usize::from(shard)].push_back(Parked::Gather(gather));
                return;
            }
            // What was collected here so far belongs to this core's log.
            self.close_entry(shard);
            if let Some(held) = self.shards.take(usize::from(shard)) {
                gather.collected.push(held);
                self.replicas.note_out(shard, true);
            }
            gather.wanted.remove(0);
        }
        if gather.origin == self.id {
            self.run_gathered(*gather);
        } else {
            let origin = gather.origin;
            self.send_message(origin, Message::Gather(gather));
        }
    }

    /// Every shard is in hand: runs all queued operations that need no more than these. One that
    /// came after the trip had set out runs only if nothing that its client sent before is under
    /// way: that may wait for the very shards that are here.
    fn run_gathered(&mut self, gather: Gather) {
        let Some(Trip { needed: held, departed_with }) = self.gatherings.collecting.take() else {
            return;
        };
        let counts = gather.collected.iter().all(|shard| self.is_of_this_period(shard));
        if gather.is_turned_back || !self.is_now(gather.period) || !counts {
            return self.give_back(gather);
        }
        for shard in gather.collected {
            self.replicas.note_out(shard.id(), false);
            self.shards.put(shard);
        }
        let queue = std::mem::take(&mut self.gatherings.queue);
        for (place, (conn, needed)) in queue.into_iter().enumerate() {
            let in_order = place < departed_with || !self.awaits_answers(conn);
            let fits = in_order && needed.iter().all(|shard| held.contains(shard));
            let full = self.gatherings.replies.len() >= GATHERED_OPERATIONS_MAX;
            if !fits || full || self.holds_large_entry(&held) {
                self.gatherings.queue.push_back((conn, needed));
                continue;
            }
            self.run_gathered_operation(conn);
        }
        self.send_home(gather.id, &held);
    }

    fn is_now(&self, period: Period) -> bool {
        period == self.replicas.period
    }

    /// A trip came to nothing: nothing was done with what it has.
    fn give_back(&mut self, gather: Gather) {
        self.gatherings.not_before_ns = self.now.mono_ns + self.config.group_tick_ns();
        for shard in gather.collected {
            let home = self.homes[usize::from(shard.id())];
            if home == self.id {
                self.on_home(vec![shard], self.id, None, None);
            } else {
                let (shards, origin) = (vec![shard], self.id);
                let message = Message::Home { shards, origin, gathering: None, transaction: None };
                self.send_message(home, message);
            }
        }
    }

    /// Gatherings that wait for a shard of this core go back: it may not come in a while, and what
    /// they have is needed at home.
    pub(crate) fn turn_back_parked(&mut self, shard: u16) {
        for parked in std::mem::take(&mut self.parked[usize::from(shard)]) {
            match parked {
                Parked::Gather(mut gather) => {
                    gather.is_turned_back = true;
                    gather.wanted.clear();
                    self.collect(gather, None);
                }
                other => self.parked[usize::from(shard)].push_back(other),
            }
        }
    }

    /// The period has ended: the clients of what is under way are gone. A trip comes back by
    /// itself, and is given back.
    pub(crate) fn forget_gatherings(&mut self) {
        let own = &mut self.gatherings;
        own.queue.clear();
        own.foreign.clear();
        own.replies.clear();
        own.unreleased.clear();
        for shard in 0..self.parked.len() {
            self.turn_back_parked(shard as u16);
        }
    }

    fn awaits_answers(&mut self, conn: ConnId) -> bool {
        self.connections.get_mut(conn).is_some_and(|c| c.replies.expected_answers() > 0)
    }

    fn run_gathered_operation(&mut self, conn: ConnId) {
        let Some(mut connection) = self.connections.take(conn) else { return };
        let command = match std::mem::take(&mut connection.waiting) {
            Waiting::Shards { command } => command,
            waiting => {
                connection.waiting = waiting;
                self.connections.put_back(connection);
                return self.retry_blocked(conn);
            }
        };
        self.await_homes(&mut connection);
        let args = command.as_args();
        if let Ok(spec) = super::local::find_command(args) {
            let needed = self.shards_needed(spec, args);
            self.run_here(&mut connection, spec, args, &needed);
        }
        self.settle(connection);
    }

    /// The reply that comes next stands behind a place that the last home's release opens. Only
    /// while a trip runs: no one else has foreign shards in hand.
    pub(crate) fn await_homes(&mut self, connection: &mut Connection) {
        let ticket = self.next_ticket();
        connection.expect_answer(ticket, true);
        self.gatherings.replies.push((connection.id, ticket));
    }

    /// Gives the shards back. The replies leave once every home has released what was done.
    fn send_home(&mut self, id: u64, held: &ShardSet) {
        let replies = std::mem::take(&mut self.gatherings.replies);
        let foreign = std::mem::take(&mut self.gatherings.foreign);
        let transaction = if self.links_foreign() { self.seal_linked() } else { None };
        let mut homes: BTreeMap<u16, (Vec<Box<Shard>>, bool)> = BTreeMap::new();
        for &shard in held {
            let home = self.homes[usize::from(shard)];
            if home == self.id {
                continue;
            }
            if let Some(taken) = self.shards.take(usize::from(shard)) {
                let (shards, tell) = homes.entry(home).or_default();
                shards.push(taken);
                *tell |= foreign.contains_key(&shard);
            }
        }
        let waiting_homes = homes.values().filter(|(_, tell)| *tell).count();
        self.gatherings.unreleased.insert(id, Unreleased { homes: waiting_homes.max(1), replies });
        for (home, (shards, tell)) in homes {
            let gathering = tell.then_some(id);
            let (origin, transaction) = (self.id, transaction.clone());
            self.send_message(home, Message::Home { shards, origin, gathering, transaction });
        }
        if waiting_homes == 0 {
            self.on_gathering_released(id);
        }
        for &shard in held {
            if self.is_home(usize::from(shard)) {
                self.run_parked(shard);
            }
        }
    }

    /// Our shards come home with what a gathering did to them.
    pub(crate) fn on_home(
        &mut self,
        shards: Vec<Box<Shard>>,
        origin: u16,
        gathering: Option<u64>,
        transaction: Option<&Arc<Transaction>>,
    ) {
        let (mut shards, all) = (Vec::new(), shards);
        for shard in all {
            self.replicas.note_out(shard.id(), false);
            match self.is_of_this_period(&shard) {
                true => shards.push(shard),
                false => self.receive_shard(shard),
            }
        }
        let ids: Vec<u16> = shards.iter().map(|shard| shard.id()).collect();
        let mut open = false;
        let mut fences = SmallVec::<[(u16, u64); 4]>::new();
        for mut shard in shards {
            let id = shard.id();
            shard.release_up_to(self.released[usize::from(id)]);
            let part = transaction.filter(|whole| whole.index_in(ShardId(id)).is_some());
            if is_planted(Fault::HomeForgets) {
                shard.effects.clear();
            }
            let changed = !shard.effects.is_empty() || part.is_some();
            let last = if changed { shard.open_index() } else { shard.open_index() - 1 };
            if last > self.released[usize::from(id)] {
                fences.push((id, last));
            }
            self.shards.put(shard);
            if let Some(transaction) = part {
                self.transactions.put(id, Arc::clone(transaction));
            }
            if changed {
                self.touch(id);
            }
            open |= changed;
        }
        if let Some(id) = gathering {
            let waiter = Waiter::Gathering { core: origin, id };
            if fences.is_empty() || self.gate.wait(waiter, &fences, open).is_err() {
                self.send_message(origin, Message::Released { gathering: id });
            }
        }
        let home = ShardSet::from_slice(&ids);
        self.close_large_entries(&home);
        self.serve_ready(&home);
        for id in ids {
            self.run_parked(id);
        }
    }

    /// One home has released what a gathering did; the last one opens the replies.
    pub(crate) fn on_gathering_released(&mut self, id: u64) {
        let Some(unreleased) = self.gatherings.unreleased.get_mut(&id) else { return };
        unreleased.homes -= 1;
        if unreleased.homes > 0 {
            return;
        }
        let Some(Unreleased { replies, .. }) = self.gatherings.unreleased.remove(&id) else {
            return;
        };
        for (conn, ticket) in replies {
            if let Some(connection) = self.connections.get_mut(conn) {
                connection.replies.open_answer(ticket);
                self.mark_dirty(conn);
            }
        }
    }
}
