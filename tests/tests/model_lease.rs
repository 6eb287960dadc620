//! Every state within some steps of a small model of the lease (`replication/adr/0001`): elections
//! with pre-vote, a leader's rounds of confirmation, what followers promise with them, restarts
//! that forget it, hand-overs by a word that overrules it. Messages are lost, late, doubled and out
//! of order. A leader that holds a lease must be the last one elected: no other can have changed
//! anything.
//!
//! Three nodes, so that a majority is two. Logs are left out: any node may be elected, which is
//! more than there is. Time goes in rounds, in each of which every node has one tick at any moment
//! of it; nodes whose ticks are late only keep promises for longer. What is older than a lease
//! brings none, and is lost. `QUORING_MODEL_STATES` explores more of the model.

use stateright::{Checker, HasDiscoveries, Model, Property};

const NODES: u8 = 3;
const TERMS: usize = 6;

/// A rule that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    /// A node promises nothing for what it has forgotten.
    VotesAtOnce,
    /// A promise ends with the next term that a node hears of.
    ForgetsWithTerm,
    /// A leader that hands over keeps its lease.
    KeepsLease,
    /// A hand-over that was given up gives the lease back in the same term.
    TakesLeaseAgain,
    /// A lease is as long as a promise.
    LeaseTooLong,
    /// A lease counts from the answer.
    FromAnswer,
    /// A node's own vote is not bound by what it has promised.
    OwnVoteFree,
}

const ALL_BROKEN: [Broken; 7] = [
    Broken::VotesAtOnce,
    Broken::ForgetsWithTerm,
    Broken::KeepsLease,
    Broken::TakesLeaseAgain,
    Broken::LeaseTooLong,
    Broken::FromAnswer,
    Broken::OwnVoteFree,
];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Role {
    #[default]
    Follower,
    Asking,
    Candidate,
    Leader,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Node {
    term: u8,
    /// On stable storage, as the term is.
    vote: Option<u8>,
    role: Role,
    leader: Option<u8>,
    /// Ticks in which nobody gets its vote.
    promise: u8,
    ticked: bool,
    /// Rounds that the lease lasts.
    lease: u8,
    given_up: bool,
    /// It stands at the word of a leader that hands over.
    forced: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Say {
    MayI,
    YouMay,
    /// A refusal of any kind, or an answer to a leader of before: it tells the sender's term.
    Late,
    Vote {
        forced: bool,
    },
    Voted,
    Confirm {
        age: u8,
    },
    Confirmed {
        age: u8,
    },
    Stand,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Message {
    from: u8,
    to: u8,
    term: u8,
    say: Say,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    nodes: [Node; NODES as usize],
    /// What was said and may still arrive, again and again; ascending.
    said: Vec<Message>,
    /// Who was elected in each term.
    elected: [Option<u8>; TERMS],
    two_leaders: bool,
    hand_overs: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Arrives(Message),
    Tick(u8),
    RoundEnds,
    Asks { from: u8, to: u8 },
    LosesPatience { id: u8, asks: u8 },
    AsksForVote { from: u8, to: u8 },
    Restarts(u8),
    HandsOver { from: u8, to: u8 },
    TakesBack(u8),
    GivesTheLeadUp(u8),
}

#[derive(Clone)]
struct Lease {
    /// Ticks for which a follower promises its vote to nobody.
    patience: u8,
    last_term: u8,
    hand_overs: u8,
    /// Most messages that may arrive at a time.
    under_way: usize,
    broken: Option<Broken>,
}

impl Lease {
    fn breaks(&self, rule: Broken) -> bool {
        self.broken == Some(rule)
    }

    fn lease_rounds(&self) -> u8 {
        self.patience - u8::from(!self.breaks(Broken::LeaseTooLong))
    }

    fn say(&self, state: &mut State, message: Message) {
        if let Err(place) = state.said.binary_search(&message) {
            state.said.insert(place, message);
        }
    }

    /// A node hears of a later term.
    fn follow(&self, node: &mut Node, term: u8, leader: Option<u8>) {
        if term > node.term {
            node.vote = None;
            if self.breaks(Broken::ForgetsWithTerm) {
                node.promise = 0;
            }
        }
        let Node { vote, promise, ticked, .. } = *node;
        *node = Node { term, vote, leader, promise, ticked, ..Node::default() };
    }

    fn stand(&self, state: &mut State, id: u8, forced: bool) {
        let node = &mut state.nodes[usize::from(id)];
        self.follow(node, node.term + 1, None);
        (node.role, node.vote, node.forced) = (Role::Candidate, Some(id), forced);
    }

    fn lead(&self, state: &mut State, id: u8) {
        let node = &mut state.nodes[usize::from(id)];
        (node.role, node.leader) = (Role::Leader, Some(id));
        let elected = &mut state.elected[usize::from(node.term)];
        state.two_leaders |= elected.is_some_and(|other| other != id);
        *elected = Some(id);
    }

    fn arrive(&self, state: &mut State, message: Message) {
        let Message { from, to, term, say } = message;
        let at = usize::from(to);
        let node = &mut state.nodes[at];
        match say {
            Say::MayI | Say::Vote { .. } => return self.asked(state, message),
            Say::YouMay => {
                if node.role == Role::Asking && node.term + 1 == term {
                    self.stand(state, to, false);
                }
                return;
            }
            Say::Confirm { .. } if term < node.term => {
                let late = Message { from: to, to: from, term: node.term, say: Say::Late };
                return self.say(state, late);
            }
            _ if term < node.term => return,
            Say::Confirm { .. } => self.follow(node, term, Some(from)),
            _ if term > node.term => self.follow(node, term, None),
            _ => {}
        }
        match say {
            Say::Confirm { age } => {
                node.promise = self.patience;
                let say = Say::Confirmed { age };
                self.say(state, Message { from: to, to: from, term, say });
            }
            Say::Confirmed { age } if node.role == Role::Leader && !node.given_up => {
                let age = if self.breaks(Broken::FromAnswer) { 0 } else { age };
                node.lease = node.lease.max(self.lease_rounds() - age);
            }
            Say::Voted if node.role == Role::Candidate => self.lead(state, to),
            Say::Stand if node.role == Role::Follower && term < self.last_term => {
                self.stand(state, to, true);
            }
            _ => {}
        }
    }

    /// For a vote, or for an opinion before that.
    fn asked(&self, state: &mut State, message: Message) {
        let Message { from, to, term, say } = message;
        let node = &mut state.nodes[usize::from(to)];
        let forced = say == Say::Vote { forced: true };
        let bound = node.promise > 0 || node.role == Role::Leader && term > node.term;
        if bound && !forced || term < node.term && say != Say::MayI {
            return;
        }
        if say == Say::MayI {
            let free = node.vote == Some(from) || node.vote.is_none() && node.leader.is_none();
            let may = term > node.term || term == node.term && free;
            let (term, say) = if may { (term, Say::YouMay) } else { (node.term, Say::Late) };
            return self.say(state, Message { from: to, to: from, term, say });
        }
        if term > node.term {
            self.follow(node, term, None);
        }
        if node.vote == Some(from) || node.vote.is_none() && node.leader.is_none() {
            node.vote = Some(from);
            self.say(state, Message { from: to, to: from, term, say: Say::Voted });
        }
    }

    fn end_round(&self, state: &mut State) {
        for node in &mut state.nodes {
            node.ticked = false;
            node.lease = node.lease.saturating_sub(1);
        }
        let rounds = self.lease_rounds() + u8::from(self.breaks(Broken::FromAnswer));
        for message in &mut state.said {
            if let Say::Confirm { age } | Say::Confirmed { age } = &mut message.say {
                *age += 1;
            }
        }
        state.said.retain(|message| match message.say {
            Say::Confirm { age } | Say::Confirmed { age } => age < rounds,
            _ => true,
        });
        state.said.sort_unstable();
    }

    /// Drops what can change nothing any more.
    fn forget(&self, state: &mut State) {
        let nodes = state.nodes;
        state.said.retain(|message| {
            let term = message.term;
            let from = nodes[usize::from(message.from)];
            let to = nodes[usize::from(message.to)];
            match message.say {
                Say::MayI => from.term < term || from.term < to.term,
                Say::YouMay | Say::Late => term > to.term,
                Say::Vote { .. } => from.term == term && to.term <= term,
                Say::Voted => to.term == term && to.role == Role::Candidate,
                Say::Confirmed { .. } => to.term == term && to.role == Role::Leader,
                Say::Confirm { .. } | Say::Stand => term >= to.term,
            }
        });
    }
}

impl Model for Lease {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let follower = Node { term: 1, vote: Some(0), leader: Some(0), ..Node::default() };
        let mut nodes = [follower; NODES as usize];
        nodes[0].role = Role::Leader;
        let mut elected = [None; TERMS];
        elected[1] = Some(0);
        vec![State { nodes, said: Vec::new(), elected, two_leaders: false, hand_overs: 0 }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend(state.said.iter().map(|message| Action::Arrives(*message)));
        if state.nodes.iter().all(|node| node.ticked || node.promise == 0) {
            actions.push(Action::RoundEnds);
        }
        for (id, node) in (0..NODES).zip(&state.nodes) {
            if !node.ticked && node.promise > 0 {
                actions.push(Action::Tick(id));
            }
            let bound = node.promise > 0 && !self.breaks(Broken::OwnVoteFree);
            match node.role {
                Role::Leader => {
                    let again = self.breaks(Broken::TakesLeaseAgain);
                    if !node.given_up || again {
                        let others = (0..NODES).filter(|to| *to != id);
                        actions.extend(others.map(|to| Action::Asks { from: id, to }));
                    }
                    if node.given_up && node.term < self.last_term {
                        actions.push(Action::TakesBack(id));
                    }
                    if state.hand_overs < self.hand_overs {
                        let others = (0..NODES).filter(|to| *to != id);
                        actions.extend(others.map(|to| Action::HandsOver { from: id, to }));
                    }
                    if node.lease == 0 {
                        actions.push(Action::GivesTheLeadUp(id));
                    }
                }
                Role::Follower | Role::Asking | Role::Candidate
                    if !bound && node.term < self.last_term =>
                {
                    let others = (0..NODES).filter(|asks| *asks != id);
                    actions.extend(others.map(|asks| Action::LosesPatience { id, asks }));
                }
                _ => {}
            }
            if node.role == Role::Candidate {
                let others = (0..NODES).filter(|to| *to != id);
                actions.extend(others.map(|to| Action::AsksForVote { from: id, to }));
            }
            actions.push(Action::Restarts(id));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Arrives(message) => self.arrive(&mut state, message),
            Action::Tick(id) => {
                let node = &mut state.nodes[usize::from(id)];
                (node.promise, node.ticked) = (node.promise - 1, true);
            }
            Action::RoundEnds => self.end_round(&mut state),
            Action::Asks { from, to } => {
                let node = &mut state.nodes[usize::from(from)];
                node.given_up = false;
                let (term, say) = (node.term, Say::Confirm { age: 0 });
                self.say(&mut state, Message { from, to, term, say });
            }
            Action::LosesPatience { id, asks } => {
                let node = &mut state.nodes[usize::from(id)];
                (node.role, node.leader) = (Role::Asking, None);
                let (term, say) = (node.term + 1, Say::MayI);
                self.say(&mut state, Message { from: id, to: asks, term, say });
            }
            Action::AsksForVote { from, to } => {
                let Node { term, forced, .. } = state.nodes[usize::from(from)];
                self.say(&mut state, Message { from, to, term, say: Say::Vote { forced } });
            }
            Action::Restarts(id) => {
                let node = &mut state.nodes[usize::from(id)];
                let promise = if self.breaks(Broken::VotesAtOnce) { 0 } else { self.patience };
                let Node { term, vote, ticked, .. } = *node;
                *node = Node { term, vote, promise, ticked, ..Node::default() };
            }
            Action::HandsOver { from, to } => {
                state.hand_overs += 1;
                let node = &mut state.nodes[usize::from(from)];
                let term = node.term;
                if !self.breaks(Broken::KeepsLease) {
                    (node.lease, node.given_up) = (0, true);
                }
                self.say(&mut state, Message { from, to, term, say: Say::Stand });
            }
            Action::TakesBack(id) => self.stand(&mut state, id, true),
            Action::GivesTheLeadUp(id) => {
                let node = &mut state.nodes[usize::from(id)];
                self.follow(node, node.term, None);
            }
        }
        self.forget(&mut state);
        (state != *last).then_some(state)
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.said.len() <= self.under_way
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("a term has one leader", |_, state: &State| !state.two_leaders),
            Property::always("who holds a lease was elected last", |_, state: &State| {
                state.nodes.iter().all(|node| {
                    let later = &state.elected[usize::from(node.term) + 1..];
                    node.lease == 0 || later.iter().all(Option::is_none)
                })
            }),
            Property::sometimes("a later leader gets a lease", |_, state: &State| {
                state.nodes.iter().any(|node| node.lease > 0 && node.term > 1)
            }),
        ]
    }
}

const SMALL: Lease = Lease { patience: 2, last_term: 3, hand_overs: 2, under_way: 5, broken: None };

const WITHOUT_HAND_OVERS: Lease = Lease { hand_overs: 0, last_term: 2, ..SMALL };

/// Where a broken rule is looked for, with those that are met again.
const STATES: usize = 2_000_000;

/// States to explore beyond CI's.
fn states_max() -> Option<usize> {
    std::env::var("QUORING_MODEL_STATES").ok().and_then(|count| count.parse().ok())
}

#[test]
fn a_lease_is_held_by_the_last_leader_alone() {
    let larger = Lease { patience: 3, under_way: 7, last_term: 4, ..SMALL };
    let models = match states_max() {
        // With the steps within which every state is looked at.
        None => vec![("small", SMALL, 10), ("without hand-overs", WITHOUT_HAND_OVERS, 12)],
        Some(_) => vec![("larger", larger, 0)],
    };
    for (name, model, steps) in models {
        // In one thread, or a state that is met by a longer way first is not gone on from.
        let checker = match states_max() {
            Some(states) => model.checker().target_state_count(states).threads(2),
            None => model.checker().target_max_depth(steps),
        };
        let checker = checker.spawn_bfs().join();
        let (states, depth) = (checker.unique_state_count(), checker.max_depth());
        println!("lease, {name}: {states} states, depth {depth}");
        for never in ["a term has one leader", "who holds a lease was elected last"] {
            checker.assert_no_discovery(never);
        }
        checker.assert_any_discovery("a later leader gets a lease");
    }
}

#[test]
fn broken_rules_are_found() {
    for rule in ALL_BROKEN {
        let model = match rule {
            Broken::KeepsLease | Broken::TakesLeaseAgain => SMALL,
            _ => WITHOUT_HAND_OVERS,
        };
        let model = Lease { broken: Some(rule), ..model };
        let checker = model.checker().finish_when(HasDiscoveries::AnyFailures);
        let checker = checker.target_state_count(10 * STATES).threads(2).spawn_bfs().join();
        let found = checker.discovery("who holds a lease was elected last");
        println!("{rule:?}: {} states", checker.unique_state_count());
        let path = found.unwrap_or_else(|| panic!("{rule:?} was not found"));
        println!("{:?}", path.into_actions());
    }
}
