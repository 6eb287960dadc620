//! Whoever has confirmed a leader's lease gives its vote to nobody until the lease is over,
//! whatever it hears meanwhile.

use super::super::*;
use super::world::{CONFIG, TICK_NS};

struct Three {
    groups: Vec<Group>,
    now_ns: u64,
}

/// Nodes, as their places among the three.
const LEADER: usize = 0;
const RIVAL: usize = 1;
const VOTER: usize = 2;

impl Three {
    fn new() -> Three {
        let members = Members::of_voters((1..=3).map(NodeId));
        let group = |id: u64| {
            let base = Base { index: 1, term: 1, members: members.clone(), ended: None };
            let applied = Index(base.index);
            let start = GroupStart { base, applied, ..GroupStart::default() };
            Group::new(NodeId(id), CONFIG, start, id).unwrap()
        };
        let mut three = Three { groups: (1..=3).map(group).collect(), now_ns: 1 };
        // Past the silence after a start.
        let kept = Promise::unknown(CONFIG.election_ticks, true);
        three.groups.iter_mut().for_each(|group| group.promise = kept);
        three.groups[LEADER].campaign().unwrap();
        while three.deliver_all() {}
        three.tick(LEADER);
        while three.deliver_all() {}
        assert_eq!(three.groups[LEADER].role(), Role::Leader);
        three
    }

    /// What a node says now; what it writes is durable at once.
    fn say(&mut self, node: usize) -> Vec<Envelope> {
        let mut said = Vec::new();
        while let Some(work) = self.groups[node].poll() {
            said.extend(work.messages);
            self.groups[node].on_durable(work.number);
        }
        said
    }

    fn deliver(&mut self, messages: &[Envelope], to: usize) {
        for message in messages.iter().filter(|message| message.to.0 == to as u64 + 1) {
            self.groups[to].receive(&message.bytes, |_| true).unwrap();
        }
    }

    fn deliver_all(&mut self) -> bool {
        let said: Vec<Envelope> = (0..3).flat_map(|node| self.say(node)).collect();
        (0..3).for_each(|node| self.deliver(&said, node));
        !said.is_empty()
    }

    fn tick(&mut self, node: usize) {
        let now_ns = self.now_ns;
        self.groups[node].tick(now_ns);
    }

    fn holds_lease(&self) -> bool {
        self.groups[LEADER].holds_lease(self.now_ns)
    }
}

#[test]
fn a_term_that_passes_by_ends_no_promise() {
    assert!(!leads_beside_a_lease());
}

/// The leader stood still for so long that both others stand for election. One is a candidate in
/// the next term, and the other, which has asked it for its opinion, hears the leader again before
/// it hears that it is late. Returns whether the candidate comes to lead while the lease holds.
pub fn leads_beside_a_lease() -> bool {
    let mut three = Three::new();
    three.now_ns += 100 * TICK_NS;
    (0..CONFIG.election_ticks).for_each(|_| three.tick(VOTER));
    assert!(three.say(VOTER).is_empty(), "it has not asked yet");
    let mut asked = Vec::new();
    while asked.is_empty() {
        three.tick(RIVAL);
        asked = three.say(RIVAL);
    }
    three.deliver(&asked, VOTER);
    let answer = three.say(VOTER);
    three.deliver(&answer, RIVAL);
    let asks_for_vote = three.say(RIVAL);
    assert!(three.groups[RIVAL].term() > three.groups[LEADER].term());
    let mut asked = Vec::new();
    while asked.is_empty() {
        three.tick(VOTER);
        asked = three.say(VOTER);
    }
    // The leader is back, and hears that the voter follows it.
    assert!(!three.holds_lease());
    three.tick(LEADER);
    let word = three.say(LEADER);
    three.deliver(&word, VOTER);
    let confirmed = three.say(VOTER);
    three.deliver(&confirmed, LEADER);
    three.say(LEADER);
    assert!(three.holds_lease(), "a majority has confirmed it");
    // Now the rival's words arrive, one of them late.
    three.deliver(&asked, RIVAL);
    let answer = three.say(RIVAL);
    three.deliver(&answer, VOTER);
    three.deliver(&asks_for_vote, VOTER);
    let vote = three.say(VOTER);
    three.deliver(&vote, RIVAL);
    three.say(RIVAL);
    assert!(three.holds_lease());
    three.groups[RIVAL].role() == Role::Leader
}
