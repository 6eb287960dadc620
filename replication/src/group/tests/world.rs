//! Several nodes in one thread, with a virtual network, disks and clocks that drift, and what must
//! hold of them after every event.

use std::collections::{BTreeMap, BTreeSet};

use super::super::*;
use super::disk::{Disk, Write};

pub const TICK_NS: u64 = 10_000_000;
pub const NODES: u64 = 5;
/// Entries that a log keeps behind a checkpoint.
const OLD_ENTRIES: usize = 60;

pub const CONFIG: GroupConfig = GroupConfig {
    tick_ns: TICK_NS,
    heartbeat_ticks: 2,
    election_ticks: 10,
    patience_ticks: 0,
    message_bytes_max: 4096,
    messages_in_flight_max: 8,
    uncommitted_bytes_max: 1 << 16,
};

pub struct Node {
    /// `None` while it is down.
    pub group: Option<Group>,
    disk: Disk,
    /// What the state is as of.
    applied: Base,
    /// Its clock runs so many thousandths as fast as true time, and shows so much more.
    rate: u64,
    offset_ns: u64,
    starts: u64,
    /// Ticks that only counted, of which its group has not heard.
    ticks_owed: usize,
}

impl Node {
    fn now_ns(&self, true_ns: u64) -> u64 {
        true_ns / 1000 * self.rate + self.offset_ns
    }
}

/// What a tick that only counts does not touch.
fn standing(group: &Group) -> (Role, Term, bool, bool, u64, usize) {
    (
        group.role(),
        group.term(),
        group.lacks_leader(),
        group.raft.has_ready(),
        group.lease.until_ns(),
        group.outbox.len(),
    )
}

enum Event {
    Tick(u64, u64),
    Deliver(Envelope),
    Written(u64, u64),
    /// From a node and a start of it: a checkpoint has arrived there, or not.
    Sent(u64, u64, NodeId, bool),
    /// At a node and a start of it: entries for another from one on were read.
    Read(u64, u64, NodeId, Index),
    Propose,
    Trouble,
}

pub struct World {
    pub chance: Chance,
    pub nodes: BTreeMap<u64, Node>,
    events: BTreeMap<(u64, u64), Event>,
    last_event: u64,
    pub now_ns: u64,
    /// From a node to another nothing arrives.
    pub cut: BTreeSet<(u64, u64)>,
    pub calm: bool,
    /// Nobody proposes anything to this node.
    pub left_alone: Option<u64>,
    /// What is committed anywhere, by index.
    committed: BTreeMap<u64, (Term, Bytes)>,
    /// Proposals under way: node, its start, term, index, payload.
    proposed: Vec<(u64, u64, Term, Index, Bytes)>,
    pub acknowledged: u64,
    reads: BTreeMap<u64, u64>,
    last_read: u64,
    pub leaders: BTreeMap<u64, u64>,
    pub lease_reads: u64,
    pub reads_done: u64,
    /// Bytes of entries that stay in memory; the rest is on disk.
    pub memory_bytes: usize,
    /// A group is asked what is to be done seldom: much comes together in one round.
    pub long_turns: bool,
    /// Entries that came from a disk for another node.
    pub from_disk: u64,
    /// Checkpoints that were installed.
    pub installed: u64,
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut chance = Chance(seed);
        let members = Members::of_voters((1..=3).map(NodeId));
        let nodes = (1..=NODES).map(|id| {
            let founding = Base { index: 1, term: 1, members: members.clone(), ended: None };
            let base = if id <= 3 { founding } else { Base::default() };
            let disk = Disk { base: base.clone(), ..Disk::default() };
            // At most 48 thousandths between two of them.
            let rate = 976 + chance.below(48);
            let offset_ns = chance.below(1 << 40);
            (
                id,
                Node {
                    group: None,
                    disk,
                    applied: base,
                    rate,
                    offset_ns,
                    starts: 0,
                    ticks_owed: 0,
                },
            )
        });
        let nodes = nodes.collect();
        let mut world = World {
            chance,
            nodes,
            events: BTreeMap::new(),
            last_event: 0,
            now_ns: 1_000_000,
            cut: BTreeSet::new(),
            calm: false,
            left_alone: None,
            committed: BTreeMap::new(),
            proposed: Vec::new(),
            acknowledged: 0,
            reads: BTreeMap::new(),
            last_read: 0,
            leaders: BTreeMap::new(),
            lease_reads: 0,
            reads_done: 0,
            memory_bytes: usize::MAX,
            long_turns: false,
            from_disk: 0,
            installed: 0,
        };
        (1..=NODES).for_each(|id| world.start(id));
        world.after(1, Event::Propose);
        world.after(100 * TICK_NS, Event::Trouble);
        world
    }

    /// Without troubles so far, and at work: something is acknowledged.
    pub fn working(seed: u64) -> Result<World, String> {
        let mut world = World::new(seed);
        world.calm = true;
        while world.acknowledged == 0 {
            world.step()?;
        }
        Ok(world)
    }

    fn after(&mut self, delay_ns: u64, event: Event) {
        self.last_event += 1;
        self.events.insert((self.now_ns + delay_ns, self.last_event), event);
    }

    pub fn start(&mut self, id: u64) {
        let seed = self.chance.below(u64::MAX);
        let node = self.nodes.get_mut(&id).unwrap();
        node.starts += 1;
        node.applied = node.disk.base.clone();
        let group = Group::new(NodeId(id), CONFIG, node.disk.start(), seed).unwrap();
        node.group = Some(group);
        node.ticks_owed = 0;
        let start = node.starts;
        self.after(1, Event::Tick(id, start));
    }

    /// Power goes: of the writes under way the first ones may be there.
    pub fn crash(&mut self, id: u64) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.group = None;
        let kept = self.chance.below(node.disk.under_way.len() as u64 + 1);
        (0..kept).for_each(|_| _ = node.disk.finish());
        node.disk.under_way.clear();
    }

    pub fn step(&mut self) -> Result<(), String> {
        let Some(((at_ns, _), event)) = self.events.pop_first() else {
            return Err("nothing happens any more".into());
        };
        self.now_ns = at_ns;
        if !matches!(event, Event::Tick(..)) {
            self.pass_ticks();
        }
        match event {
            Event::Tick(id, start) => self.tick(id, start)?,
            Event::Sent(id, start, to, arrived) => {
                let node = self.nodes.get_mut(&id).unwrap();
                if let Some(group) = node.group.as_mut().filter(|_| node.starts == start) {
                    group.on_checkpoint_sent(to, arrived);
                    self.carry_out(id)?;
                }
            }
            Event::Read(id, start, to, from) => {
                let node = self.nodes.get_mut(&id).unwrap();
                if let Some(group) = node.group.as_mut().filter(|_| node.starts == start) {
                    let read = node.disk.read(from);
                    let has = |entry: &&Entry| group.term_of(entry.index) == Some(entry.term);
                    let read: Vec<Entry> = read.iter().take_while(has).cloned().collect();
                    self.from_disk += read.len() as u64;
                    match read.is_empty() {
                        true => group.try_again(to),
                        false => group.on_entries_read(to, &read),
                    }
                    self.carry_out(id)?;
                }
            }
            Event::Deliver(Envelope { to, bytes, .. }) => {
                if let Some(group) = self.nodes.get_mut(&to.0).and_then(|n| n.group.as_mut()) {
                    group.receive(&bytes, |_| true).map_err(|error| error.to_string())?;
                    self.carry_out_soon(to.0)?;
                }
            }
            Event::Written(id, start) => {
                let node = self.nodes.get_mut(&id).unwrap();
                if node.starts == start
                    && let Some(group) = &mut node.group
                    && let Some(number) = node.disk.finish()
                {
                    group.on_durable(number);
                    self.carry_out_soon(id)?;
                }
            }
            Event::Propose => self.propose()?,
            Event::Trouble => self.trouble()?,
        }
        self.check()
    }

    fn tick(&mut self, id: u64, start: u64) -> Result<(), String> {
        let node = self.nodes.get_mut(&id).unwrap();
        if node.starts != start {
            return Ok(());
        }
        let Some(group) = &mut node.group else { return Ok(()) };
        let now_ns = self.now_ns / 1000 * node.rate + node.offset_ns;
        let counts = group.counting_ticks(now_ns) > node.ticks_owed;
        match counts && self.chance.below(4) > 0 {
            true => node.ticks_owed += 1,
            false => {
                group.pass(std::mem::take(&mut node.ticks_owed));
                let before = standing(group);
                group.tick(now_ns);
                if counts && standing(group) != before {
                    return Err(format!("a tick that was to count did more to {before:?}"));
                }
            }
        }
        let wanted = group.wanting_checkpoint().count() > 0;
        // Otherwise heartbeats tell it.
        if self.chance.below(2) > 0 {
            group.tell_committed();
        }
        let next_ns = TICK_NS * 1000 / node.rate;
        // Sometimes a process stands still.
        let pause_ns = if !self.calm && self.chance.below(400) == 0 { 20 * TICK_NS } else { 0 };
        let pause_ns = self.chance.below(pause_ns + 1);
        self.after(next_ns + pause_ns, Event::Tick(id, start));
        if wanted {
            self.compact(id);
        }
        self.carry_out(id)
    }

    /// Groups hear of the ticks that only counted before anything happens to them.
    pub fn pass_ticks(&mut self) {
        for node in self.nodes.values_mut() {
            let owed = std::mem::take(&mut node.ticks_owed);
            node.group.iter_mut().for_each(|group| group.pass(owed));
        }
    }

    fn carry_out_soon(&mut self, id: u64) -> Result<(), String> {
        match self.long_turns && self.chance.below(8) > 0 {
            true => Ok(()),
            false => self.carry_out(id),
        }
    }

    pub fn carry_out(&mut self, id: u64) -> Result<(), String> {
        loop {
            let node = self.nodes.get_mut(&id).unwrap();
            let Some(work) = node.group.as_mut().and_then(Group::poll) else { return Ok(()) };
            if work.must_write() {
                let Work { number, vote, install, entries, .. } = &work;
                let (vote, install, entries) = (*vote, install.clone(), entries.clone());
                node.disk.under_way.push_back(Write { number: *number, vote, install, entries });
                let start = node.starts;
                let slow = if self.chance.below(50) == 0 { 8 * TICK_NS } else { TICK_NS / 10 };
                let delay_ns = self.chance.below(slow);
                self.after(delay_ns, Event::Written(id, start));
            }
            self.installed += u64::from(work.install.is_some());
            self.apply(id, &work)?;
            work.messages.iter().try_for_each(check_message)?;
            self.send(id, work.messages);
            self.forget(id);
        }
    }

    /// What is too much for memory stays on the disk, and is read there when it is wanted.
    fn forget(&mut self, id: u64) {
        let node = self.nodes.get_mut(&id).unwrap();
        let Some(group) = &mut node.group else { return };
        group.forget_beyond(self.memory_bytes, Index(node.applied.index));
        let (start, wanting) = (node.starts, group.wanting_entries());
        for (to, from) in wanting {
            let delay_ns = self.chance.below(TICK_NS / 2);
            self.after(delay_ns, Event::Read(id, start, to, from));
        }
    }

    fn apply(&mut self, id: u64, work: &Work) -> Result<(), String> {
        let node = self.nodes.get_mut(&id).unwrap();
        if let Some(base) = &work.install {
            if base.index <= node.applied.index {
                return Err(format!("node {id} goes back to {}", base.index));
            }
            node.applied = base.clone();
        }
        for entry in &work.committed {
            if entry.index.0 != node.applied.index + 1 {
                let applied = node.applied.index;
                return Err(format!("node {id} applies {:?} after {applied}", entry.index));
            }
            (node.applied.index, node.applied.term) = (entry.index.0, entry.term.0);
            let mine = (entry.term, entry.payload.clone());
            let known = self.committed.entry(entry.index.0).or_insert_with(|| mine.clone());
            if *known != mine {
                return Err(format!(
                    "node {id}: entry {:?} is {mine:?}, was {known:?}",
                    entry.index
                ));
            }
        }
        if let Some((_, _, members)) = work.members.last() {
            node.applied.members = members.clone();
        }
        for (ticket, index) in &work.reads {
            let Some(least) = self.reads.remove(ticket) else { continue };
            self.reads_done += 1;
            if index.0 < least {
                return Err(format!("a read at {index:?} misses what was acknowledged: {least}"));
            }
        }
        Ok(())
    }

    fn send(&mut self, from: u64, messages: Vec<Envelope>) {
        for message in messages {
            let cut = self.cut.contains(&(from, message.to.0));
            let lost = !self.calm && (cut || self.chance.below(20) == 0);
            if message.checkpoint.is_some() {
                let start = self.nodes[&from].starts;
                self.after(5 * TICK_NS, Event::Sent(from, start, message.to, !lost));
            }
            if lost {
                continue;
            }
            if self.chance.below(20) == 0 {
                let delay_ns = self.chance.below(20 * TICK_NS);
                self.after(delay_ns, Event::Deliver(message.clone()));
            }
            let delay_ns = self.chance.below(TICK_NS / 5);
            self.after(delay_ns, Event::Deliver(message));
        }
    }

    fn propose(&mut self) -> Result<(), String> {
        let id = 1 + self.chance.below(NODES);
        let delay_ns = self.chance.below(TICK_NS);
        self.after(delay_ns, Event::Propose);
        let payload = Bytes::from(self.last_event.to_le_bytes().to_vec());
        let node = self.nodes.get_mut(&id).unwrap();
        let Some(group) = node.group.as_mut().filter(|_| self.left_alone != Some(id)) else {
            return Ok(());
        };
        self.last_read += 1;
        self.reads.insert(self.last_read, self.acknowledged);
        group.read(self.last_read);
        if let Ok(index) = group.propose(payload.clone()) {
            self.proposed.push((id, node.starts, group.term(), index, payload));
        }
        self.carry_out_soon(id)
    }

    fn trouble(&mut self) -> Result<(), String> {
        let delay_ns = self.chance.below(60 * TICK_NS);
        self.after(delay_ns, Event::Trouble);
        let id = 1 + self.chance.below(NODES);
        if self.calm {
            return Ok(());
        }
        let down = self.nodes[&id].group.is_none();
        match self.chance.below(8) {
            0 | 1 if down => self.start(id),
            0 | 1 => {
                self.crash(id);
                // Soon enough for a lease to hold that it has helped to.
                if self.chance.below(2) == 0 {
                    self.start(id);
                }
            }
            2 => self.part(),
            3 => self.cut.clear(),
            4 => self.change_members(),
            5 => self.hand_over(id),
            6 => self.take_back(),
            _ => self.compact(id),
        }
        (1..=NODES).try_for_each(|id| self.carry_out(id))
    }

    /// Some cannot talk to the others, or here and there one does not hear another.
    fn part(&mut self) {
        let apart: Vec<u64> = (1..=NODES).filter(|_| self.chance.below(3) == 0).collect();
        let whole = self.chance.below(2) == 0;
        let pairs = (1..=NODES).flat_map(|from| (1..=NODES).map(move |to| (from, to)));
        self.cut = pairs
            .filter(|(from, to)| {
                let parted = apart.contains(from) != apart.contains(to);
                if whole { parted } else { self.chance.below(4) == 0 }
            })
            .collect();
    }

    fn change_members(&mut self) {
        let picked: Vec<NodeId> =
            (1..=NODES).filter(|_| self.chance.below(2) == 0).map(NodeId).collect();
        let (learners, voters) = picked.split_at(picked.len() / 3);
        if voters.is_empty() {
            return;
        }
        for node in self.nodes.values_mut() {
            if let Some(group) = &mut node.group {
                // Refused where it does not lead.
                let _ = group.change_members(voters, learners);
            }
        }
    }

    pub fn hand_over(&mut self, to: u64) {
        self.pass_ticks();
        let groups = self.nodes.values_mut().filter_map(|node| node.group.as_mut());
        groups.for_each(|group| group.hand_over(NodeId(to)));
    }

    /// Whoever leads stands for election at once, as after a hand-over that came to nothing.
    pub fn take_back(&mut self) {
        self.pass_ticks();
        let groups = self.nodes.values_mut().filter_map(|node| node.group.as_mut());
        groups.for_each(Group::take_back);
    }

    /// A checkpoint of what is applied and on the own disk; the log before it goes.
    fn compact(&mut self, id: u64) {
        let node = self.nodes.get_mut(&id).unwrap();
        let Some(group) = &mut node.group else { return };
        let idle = node.disk.under_way.is_empty();
        if !idle || node.applied.index <= node.disk.base.index {
            return;
        }
        let Disk { base, entries, old, .. } = &mut node.disk;
        *base = node.applied.clone();
        while entries.front().is_some_and(|first| first.index.0 <= base.index) {
            old.extend(entries.pop_front());
        }
        group.offer(base.clone());
        if self.memory_bytes == usize::MAX {
            old.clear();
            return group.forget(Index(base.index));
        }
        while old.len() > OLD_ENTRIES
            && let Some(gone) = old.pop_front()
        {
            group.lose(gone.index);
        }
    }

    fn check(&mut self) -> Result<(), String> {
        for (id, node) in &self.nodes {
            let Some(group) = &node.group else { continue };
            if group.role() == Role::Leader {
                let leader = *self.leaders.entry(group.term().0).or_insert(*id);
                if leader != *id {
                    return Err(format!("{leader} and {id} lead in {:?}", group.term()));
                }
            }
            if group.holds_lease(node.now_ns(self.now_ns)) {
                self.lease_reads += 1;
                let last = self.leaders.last_key_value().map_or(0, |(term, _)| *term);
                if group.term().0 < last {
                    let term = group.term();
                    return Err(format!(
                        "node {id} holds a lease in {term:?}, others lead in {last}"
                    ));
                }
                let committed = group.committed().0;
                if committed < self.acknowledged {
                    let most = self.acknowledged;
                    return Err(format!("node {id} holds a lease at {committed} of {most}"));
                }
            }
        }
        self.acknowledge();
        Ok(())
    }

    /// A leader acknowledges what it proposed and a majority has.
    fn acknowledge(&mut self) {
        let (nodes, acknowledged) = (&self.nodes, &mut self.acknowledged);
        self.proposed.retain(|(id, start, term, index, _)| {
            let node = &nodes[id];
            let Some(group) = node.group.as_ref().filter(|_| node.starts == *start) else {
                return false;
            };
            let leads = group.role() == Role::Leader && group.term() == *term;
            if leads && group.committed() >= *index {
                *acknowledged = index.0.max(*acknowledged);
            }
            leads && group.committed() < *index
        });
    }

    pub fn run(&mut self, events: u64) -> Result<(), String> {
        (0..events).try_for_each(|_| self.step())
    }

    pub fn run_for(&mut self, ns: u64) -> Result<(), String> {
        let until_ns = self.now_ns + ns;
        while self.now_ns < until_ns {
            self.step()?;
        }
        Ok(())
    }

    /// Faults end: everybody runs and talks, and soon something new is acknowledged.
    pub fn heal(&mut self) -> Result<(), String> {
        self.calm = true;
        self.cut.clear();
        let down: Vec<u64> =
            self.nodes.iter().filter(|(_, n)| n.group.is_none()).map(|(id, _)| *id).collect();
        down.into_iter().for_each(|id| self.start(id));
        let (before, until_ns) = (self.acknowledged, self.now_ns + 2_000 * TICK_NS);
        while self.now_ns < until_ns {
            self.step()?;
            if self.acknowledged > before + 10 {
                return Ok(());
            }
        }
        let nodes = self.nodes.iter().filter_map(|(id, node)| {
            let group = node.group.as_ref()?;
            let (role, term) = (group.role(), group.term().0);
            Some(format!(
                "\n{id}: {role:?} in {term}, leader {:?}, {:?} of {:?}, applied {}, {:?}",
                group.leader(),
                group.committed(),
                group.last(),
                node.applied.index,
                group.members()
            ))
        });
        Err(format!("no progress after the faults have ended: {}", nodes.collect::<String>()))
    }
}

/// The entries of a message stand behind the one that it names.
fn check_message(envelope: &Envelope) -> Result<(), String> {
    let message = Message::parse_from_bytes(&envelope.bytes).map_err(|e| e.to_string())?;
    let first = message.get_entries().first().map(|entry| entry.index);
    match first.filter(|first| *first != message.index + 1) {
        Some(first) => Err(format!("entry {first} is said to stand behind {}", message.index)),
        None => Ok(()),
    }
}
