//! Commands that wait for a shard that is away run within the bounds of a turn once it is home,
//! and in order; those that a client leaves behind count for it until they have run.

use server::config::{Config, Durability};
use server::limits::{COMMANDS_PER_TURN_MAX, EXPECTED_ANSWERS_MAX};

use super::hand::{Hand, client, config, key};
use super::node::Waiting;
use crate::harness::client::encode;

fn without_log() -> Config {
    Config { durability: Durability::None, maxclients: 20_000, ..config(2) }
}

/// A command that needs the shards of both cores.
fn of_both() -> Vec<u8> {
    encode(&["MSET", &key(0, "both"), "1", &key(1, "both"), "1"])
}

/// Core `home`, whose shard is on its way to a client of the other core, hears of these commands
/// of clients of core 0 meanwhile.
fn park(hand: &mut Hand, home: u16, commands: &[Vec<u8>]) {
    let mover = client(commands.len() as u32);
    hand.node.add(1 - home, Waiting::Accepted(mover));
    hand.node.add(1 - home, Waiting::Received(mover, of_both()));
    hand.turn(1 - home);
    if home == 0 {
        hand.turn(0);
    }
    (0..).zip(commands).for_each(|(number, commands)| hand.send(number, commands.clone()));
    while hand.turn(0) {}
    while home == 1 && hand.turn(1) {}
}

#[test]
fn what_waited_for_a_shard_runs_in_bounded_turns() {
    const CLIENTS: usize = 6_000;
    for home in [0, 1] {
        let mut hand = Hand::start(without_log(), CLIENTS as u32);
        let get = encode(&["GET", &key(usize::from(home), "both")]);
        park(&mut hand, home, &vec![get; CLIENTS]);
        let answered = |hand: &mut Hand| (0..).take(CLIENTS).map(|n| hand.replies(n)).sum();
        let mut all: usize = answered(&mut hand);
        let before = all;
        let mut most = 0;
        while all < CLIENTS {
            assert!(hand.turn(home) | hand.turn(1 - home), "it stands still");
            let now: usize = answered(&mut hand);
            (all, most) = (all + now, most.max(now));
        }
        assert_eq!(before, 0, "the shard was away from core {home}");
        assert_eq!(most, COMMANDS_PER_TURN_MAX, "in a turn of core {home}");
    }
}

#[test]
fn nothing_overtakes_what_waited_for_a_shard() {
    const CLIENTS: u32 = 100;
    const COMMANDS: usize = 5 * EXPECTED_ANSWERS_MAX;
    let mut hand = Hand::start(without_log(), CLIENTS);
    let incr = |number: u32| encode(&["INCR", &key(1, &number.to_string())]);
    let commands: Vec<Vec<u8>> = (0..CLIENTS).map(|n| incr(n).repeat(COMMANDS)).collect();
    park(&mut hand, 1, &commands);
    hand.settle();
    let expected: String = (1..=COMMANDS).map(|n| format!(":{n}\r\n")).collect();
    (0..CLIENTS).for_each(|number| assert_eq!(hand.text(number), expected));
}

#[test]
fn who_leaves_commands_behind_counts_as_a_client_until_they_have_run() {
    let mut hand = Hand::start(Config { maxclients: 4, ..without_log() }, 2);
    let counter = key(1, "counter");
    hand.send(0, encode(&["INCR", &counter]).repeat(2 * EXPECTED_ANSWERS_MAX));
    hand.turn(0);
    hand.node.add(0, Waiting::SendFailed(client(0)));
    hand.turn(0);
    assert_eq!(hand.closed, [0]);
    hand.node.add(0, Waiting::Accepted(client(2)));
    hand.turn(0);
    assert_eq!(hand.text(2), "-ERR max number of clients reached\r\n");
    hand.settle();
    hand.node.add(0, Waiting::Accepted(client(3)));
    hand.settle();
    hand.send(3, encode(&["GET", &counter]));
    hand.settle();
    // What had been sent on is done, to the last command; what had not is not.
    let text = hand.text(3);
    let done: usize = text.lines().last().and_then(|line| line.parse().ok()).expect("a count");
    assert!((1..2 * EXPECTED_ANSWERS_MAX).contains(&done), "{done} commands");
}
