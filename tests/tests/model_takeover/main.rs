//! Every state within some steps of a small model of transactions over two shards on three nodes:
//! who leads each shard changes at any time, entries reach the other nodes one by one or not at
//! all, nodes start again with or without what was not on their disks. What is released of a shard
//! must be released by every node alike for ever, and of a transaction all or nothing
//! (`server/adr/0013`).
//!
//! What decides is the real thing: `replication::release` with its takeover, and
//! `replication::group::restart` for what a start makes of a log. What `server::replica` does
//! around it is done here in its words. An election is one step, as is an entry's way to another
//! node and back: that Raft is right is not the question here. A lease is the knowledge of being
//! the last who was elected (`model_lease.rs`). `QUORING_MODEL_STATES` explores more of the model.

use std::sync::Arc;

use replication::fault::{Fault, plant};
use replication::ids::{CoreId, Incarnation, Index, TransactionId};
use replication::release::takeover::find_cuts;
use replication::release::{Participant, Release, Transaction};
use stateright::{Checker, HasDiscoveries, Model, Property};

mod nodes;
use nodes::*;

/// A rule that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    /// In the code that is explored.
    Code(Fault),
    /// A takeover settles what the shards that it leads have, without the others.
    LeadsSome,
    /// A takeover does not ask whether it has been replaced somewhere.
    Unleased,
    /// It does not wait until what it leads is committed.
    Uncommitted,
    /// It serves before what it voids is committed.
    VoidsUnawaited,
    /// A start does not know where a shard has ended.
    EndNotRead,
}

const ALL_BROKEN: [Broken; 8] = [
    Broken::Code(Fault::EndForgotten),
    Broken::Code(Fault::OpenTaken),
    Broken::Code(Fault::PartAssumed),
    Broken::Code(Fault::DecidedEarly),
    Broken::LeadsSome,
    Broken::Unleased,
    Broken::Uncommitted,
    Broken::VoidsUnawaited,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Elect {
        shard: usize,
        node: usize,
        by: usize,
    },
    /// `heard`: the leader gets the answer.
    Replicate {
        shard: usize,
        from: usize,
        to: usize,
        heard: bool,
    },
    Execute(usize),
    Mark(usize),
    Advance(usize),
    /// `lost`: a bit for each shard whose log loses what was not synced.
    Restart {
        node: usize,
        lost: u8,
    },
}

#[derive(Clone)]
struct Takeover {
    last_term: u8,
    transactions: usize,
    entries: usize,
    restarts: u8,
    /// A leader's entries go to another node all at once.
    whole_logs: bool,
    /// Answers to a leader get lost.
    lossy: bool,
    broken: Option<Broken>,
}

impl Takeover {
    fn breaks(&self, rule: Broken) -> bool {
        self.broken == Some(rule)
    }

    fn elect(&self, state: &mut State, shard: usize, node: usize, by: usize) {
        let term = state.nodes.iter().map(|n| n.replicas[shard].term).max().unwrap_or(0) + 1;
        for id in [by, node] {
            let replica = &mut state.nodes[id].replicas[shard];
            (replica.term, replica.leads) = (term, false);
        }
        let point = state.nodes[node].release.point(shard_id(shard));
        let replica = &mut state.nodes[node].replicas[shard];
        replica.leads = true;
        replica.append(Kind::First, point);
        state.last[shard] = node;
    }

    fn replicate(&self, state: &mut State, shard: usize, [from, to]: [usize; 2], heard: bool) {
        let leader = state.nodes[from].replicas[shard].clone();
        let point = state.nodes[to].release.point(shard_id(shard));
        let follower = &mut state.nodes[to].replicas[shard];
        if follower.term > leader.term {
            let follower_term = follower.term;
            let leader = &mut state.nodes[from].replicas[shard];
            (leader.term, leader.leads) = (follower_term, false);
            return;
        }
        (follower.term, follower.leads) = (leader.term, false);
        let same = leader.log.iter().zip(&follower.log).take_while(|(a, b)| a.term == b.term);
        let mut same = same.count();
        while let Some(next) = leader.log.get(same) {
            follower.log.truncate(same);
            follower.log.push(next.clone());
            follower.decided = follower.decided.max(point);
            same += 1;
            if !self.whole_logs {
                break;
            }
        }
        follower.synced = follower.log.len();
        follower.committed = follower.committed.max(leader.committed.min(same));
        if heard && same > leader.committed && leader.log[same - 1].term == leader.term {
            let leader = &mut state.nodes[from].replicas[shard];
            leader.committed = same;
            leader.synced = leader.synced.max(same);
        }
    }

    fn execute(&self, state: &mut State, node: usize) {
        let counter = state.transactions.len() as u64 + 1;
        let replicas = &state.nodes[node].replicas;
        let parts = replicas.iter().enumerate().map(|(shard, replica)| Participant {
            shard: shard_id(shard),
            index: index(replica.log.len() + 1),
        });
        let id = TransactionId { node: 1, incarnation: Incarnation(1), core: CoreId(0), counter };
        let transaction = Arc::new(Transaction { id, participants: parts.collect() });
        let terms = std::array::from_fn(|shard| replicas[shard].term);
        state.transactions.push((Arc::clone(&transaction), terms));
        let Node { replicas, release, .. } = &mut state.nodes[node];
        for (shard, replica) in replicas.iter_mut().enumerate() {
            let id = shard_id(shard);
            replica.append(Kind::Part(Arc::clone(&transaction)), release.point(id));
            release.begin(id, index(replica.log.len()), Arc::clone(&transaction));
        }
    }

    /// Whether this node may settle what its predecessors have left.
    fn may_settle(&self, state: &State, node: usize) -> bool {
        let replicas = &state.nodes[node].replicas;
        let leads = match self.breaks(Broken::LeadsSome) {
            false => state.nodes[node].leads_all(),
            true => replicas[0].leads,
        };
        let mut led = replicas.iter().filter(|replica| replica.leads);
        let committed = led.all(|replica| replica.committed == replica.log.len());
        leads
            && (committed || self.breaks(Broken::Uncommitted))
            && (state.is_last(node)
                || self.breaks(Broken::Unleased)
                || self.breaks(Broken::LeadsSome))
    }

    /// The next step to being the primary (`server::replica::primary`).
    fn advance(&self, state: &mut State, node: usize) {
        let Node { replicas, release, .. } = &mut state.nodes[node];
        let logs: Vec<_> = replicas
            .iter()
            .enumerate()
            .map(|(shard, replica)| release.log(shard_id(shard), index(replica.log.len())))
            .collect();
        let open = logs.iter().any(|log| !log.open.is_empty());
        if open {
            for (shard, cut) in find_cuts(&logs).into_iter().enumerate() {
                let before = cut.map_or(Index(u64::MAX), |cut| Index(cut.0 - 1));
                release.decide_through(shard_id(shard), before);
                let point = release.point(shard_id(shard));
                if let Some(cut) = cut.filter(|_| replicas[shard].leads) {
                    replicas[shard].append(Kind::Void(cut), point);
                }
            }
            state.nodes[node].pump();
            if !self.breaks(Broken::VoidsUnawaited) {
                return;
            }
        }
        let Node { replicas, release, serves } = &mut state.nodes[node];
        let applied = replicas
            .iter()
            .enumerate()
            .all(|(shard, replica)| release.point(shard_id(shard)) == index(replica.log.len()));
        if (applied || open) && replicas.iter().all(|replica| replica.leads) {
            for (shard, replica) in replicas.iter_mut().enumerate() {
                let point = release.point(shard_id(shard));
                replica.append(Kind::Marker, point);
                release.note_marked(shard_id(shard), point);
                release.note_served(shard_id(shard));
            }
            *serves = true;
            state.takeovers += 1;
        }
    }

    fn restart(&self, state: &mut State, node: usize, lost: u8) -> Result<(), &'static str> {
        state.restarts += 1;
        let mut release = Release::new(SHARDS);
        for shard in 0..SHARDS {
            let replica = &mut state.nodes[node].replicas[shard];
            if lost & 1 << shard != 0 {
                replica.log.truncate(replica.synced);
            }
            replica.synced = replica.log.len();
            replica.leads = false;
            let decided = replica.decided;
            let (applied, ended) = replica.read(decided).map_err(|_| "a log with a hole")?;
            (replica.committed, replica.taken) = (decided.0 as usize, decided.0 as usize);
            release.resume(shard_id(shard), decided);
            if !self.breaks(Broken::EndNotRead) {
                release.resume_ended(shard_id(shard), ended);
            }
            let parts: Vec<_> = (1..=replica.taken)
                .filter(|place| matches!(replica.log[place - 1].kind, Kind::Part(_)))
                .map(|place| (place, replica.log[place - 1].term))
                .collect();
            for (place, term) in parts {
                state.note_fate(shard, place, term, applied.contains(&index(place)));
            }
        }
        state.nodes[node].release = release;
        state.nodes[node].serves = false;
        Ok(())
    }

    fn carry_out(&self, state: &mut State, action: Action) -> Result<(), &'static str> {
        let points: Vec<[Index; SHARDS]> = state.nodes.iter().map(points).collect();
        let mut started = None;
        match action {
            Action::Elect { shard, node, by } => self.elect(state, shard, node, by),
            Action::Replicate { shard, from, to, heard } => {
                self.replicate(state, shard, [from, to], heard);
            }
            Action::Execute(node) => self.execute(state, node),
            Action::Mark(node) => {
                let Node { replicas, release, .. } = &mut state.nodes[node];
                for (shard, replica) in replicas.iter_mut().enumerate() {
                    let id = shard_id(shard);
                    if release.lacks_marker(id) {
                        replica.append(Kind::Marker, release.point(id));
                        release.note_marked(id, release.point(id));
                    }
                }
            }
            Action::Advance(node) => self.advance(state, node),
            Action::Restart { node, lost } => {
                started = Some(node);
                self.restart(state, node, lost)?;
            }
        }
        for node in (0..NODES).filter(|node| started != Some(*node)) {
            state.nodes[node].stop_if_lost()?;
            (0..SHARDS).try_for_each(|shard| state.nodes[node].take_committed(shard))?;
            for (shard, from) in points[node].into_iter().enumerate() {
                state.note_released(node, shard, from);
            }
        }
        Ok(())
    }
}

const fn replicate(shard: usize, from: usize, to: usize) -> Action {
    Action::Replicate { shard, from, to, heard: true }
}

/// The second node leads all, and voids what it has of a transaction.
const VOIDING: [Action; 7] = [
    Action::Execute(0),
    replicate(0, 0, 1),
    Action::Elect { shard: 0, node: 1, by: 2 },
    replicate(0, 1, 0),
    Action::Elect { shard: 1, node: 1, by: 2 },
    replicate(1, 1, 2),
    Action::Advance(1),
];

/// The third node serves, and the second has not heard that it leads the second shard no more.
const STALE: [Action; 7] = [
    Action::Elect { shard: 1, node: 1, by: 2 },
    replicate(1, 1, 2),
    Action::Elect { shard: 1, node: 2, by: 0 },
    replicate(1, 2, 0),
    Action::Elect { shard: 0, node: 2, by: 0 },
    replicate(0, 2, 0),
    Action::Advance(2),
];

impl Model for Takeover {
    type State = State;
    type Action = Action;

    /// The first node has served; and what is many steps behind that.
    fn init_states(&self) -> Vec<State> {
        let quick = Takeover { whole_logs: true, ..self.clone() };
        let behind = |steps: &[Action]| {
            let step = |state: State, step: &Action| {
                quick.next_state(&state, *step).expect("a step changes something")
            };
            steps.iter().fold(first_state(), step)
        };
        vec![behind(&[]), behind(&STALE), behind(&VOIDING)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for shard in 0..SHARDS {
            let replica = |node: usize| &state.nodes[node].replicas[shard];
            let term = (0..NODES).map(|node| replica(node).term).max().unwrap_or(0);
            for node in 0..NODES {
                if !replica(node).leads {
                    let free = |by: &usize| {
                        *by != node
                            && term < self.last_term
                            && has_as_much(replica(node), replica(*by))
                    };
                    let elected = (0..NODES).filter(free);
                    actions.extend(elected.map(|by| Action::Elect { shard, node, by }));
                    continue;
                }
                let others = (0..NODES).filter(|to| *to != node);
                let ways = others.flat_map(|to| [(to, false), (to, true)]);
                let ways = ways.filter(|(_, heard)| *heard || self.lossy);
                let replicate = |(to, heard)| Action::Replicate { shard, from: node, to, heard };
                actions.extend(ways.map(replicate));
            }
        }
        for (node, Node { replicas, release, serves }) in state.nodes.iter().enumerate() {
            if *serves && state.is_last(node) {
                if state.transactions.len() < self.transactions {
                    actions.push(Action::Execute(node));
                }
                if (0..SHARDS).any(|shard| release.lacks_marker(shard_id(shard))) {
                    actions.push(Action::Mark(node));
                }
            }
            if !serves && self.may_settle(state, node) {
                actions.push(Action::Advance(node));
            }
            if state.restarts < self.restarts {
                let unsynced = replicas.iter().map(|replica| replica.log.len() > replica.synced);
                let unsynced = unsynced.rev().fold(0, |mask, is| mask << 1 | u8::from(is));
                let masks = (0..1 << SHARDS).filter(|lost| lost & !unsynced == 0);
                actions.extend(masks.map(|lost| Action::Restart { node, lost }));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let fault = match self.broken {
            Some(Broken::Code(fault)) => Some(fault),
            _ => None,
        };
        plant(fault);
        let mut state = last.clone();
        if let Err(wrong) = self.carry_out(&mut state, action) {
            state.wrong = Some(wrong);
        }
        plant(None);
        (state != *last).then_some(state)
    }

    fn within_boundary(&self, state: &State) -> bool {
        let mut replicas = state.nodes.iter().flat_map(|node| &node.replicas);
        replicas.all(|replica| replica.log.len() <= self.entries)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("what was released stays", |_, state: &State| state.wrong.is_none()),
            Property::always("a transaction is whole", |_, state: &State| !state.is_half()),
            Property::sometimes("a takeover takes a part for good", |_, state: &State| {
                state.takeovers > 0
                    && state.fates.iter().all(|fates| fates.contains(&Some((1, true))))
                    && !state.transactions.is_empty()
            }),
            Property::sometimes("a takeover voids a part", |_, state: &State| {
                let voided = |fate: &Fate| fate.is_some_and(|(_, effect)| !effect);
                state.takeovers > 0 && state.fates.iter().flatten().any(voided)
            }),
        ]
    }
}

const SMALL: Takeover = Takeover {
    last_term: 3,
    transactions: 1,
    entries: 7,
    restarts: 0,
    whole_logs: true,
    lossy: true,
    broken: None,
};

/// Steps from the beginning within which every state is looked at.
const DEPTH: usize = 7;

/// Where a broken rule is looked for, with those that are met again.
const STATES: usize = 1_500_000;

fn states_max() -> Option<usize> {
    std::env::var("QUORING_MODEL_STATES").ok().and_then(|count| count.parse().ok())
}

#[test]
fn what_is_released_stays_and_is_whole() {
    let larger = Takeover { last_term: 4, transactions: 2, entries: 9, restarts: 1, ..SMALL };
    let models = match states_max() {
        None => vec![("small", SMALL), ("with restarts", Takeover { restarts: 1, ..SMALL })],
        Some(_) => vec![("larger", Takeover { whole_logs: false, ..larger })],
    };
    for (name, model) in models {
        // In one thread, or a state that is met by a longer way first is not gone on from.
        let checker = match states_max() {
            Some(states) => model.checker().target_state_count(states).threads(2),
            None => model.checker().target_max_depth(DEPTH),
        };
        let checker = checker.spawn_bfs().join();
        let (states, depth) = (checker.unique_state_count(), checker.max_depth());
        println!("takeover, {name}: {states} states, depth {depth}");
        checker.assert_properties();
    }
}

#[test]
fn broken_rules_are_found() {
    for rule in ALL_BROKEN {
        let model = Takeover { broken: Some(rule), lossy: false, ..SMALL };
        let checker = model.checker().finish_when(HasDiscoveries::AnyFailures);
        let checker = checker.target_state_count(10 * STATES).threads(2).spawn_bfs().join();
        println!("{rule:?}: {} states", checker.unique_state_count());
        let names = ["what was released stays", "a transaction is whole"];
        let found = names.into_iter().find_map(|name| Some((name, checker.discovery(name)?)));
        let (name, path) = found.unwrap_or_else(|| panic!("{rule:?} was not found"));
        println!("{name}: {:?}", path.into_actions());
    }
}
