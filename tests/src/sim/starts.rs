//! Situations that no seed brings about, in which a rule of starts is needed: each is right with
//! the rule and wrong without it.

use engine::rng::Rng;
use replication::fault::{Fault, plant};

use super::disk::{Damage, Disk};
use super::hand::{Hand, config, key};
use super::quiet::Quiet;
use crate::harness::client::encode;

/// What a start makes of a log that goes back to before an acknowledged transaction over its shard
/// and another, whose own log has more.
fn start_with_an_older_log() -> Result<(), String> {
    let config = config(2);
    let (here, there) = (key(0, "here"), key(1, "there"));
    let mut quiet = Quiet::start(&config, Disk::default())?;
    quiet.run(&[&format!("MSET {here} 1 {there} 1")])?;
    quiet.settle()?;
    let older = quiet.disk().copy().log(1).clone();
    quiet.run(&[&format!("MSET {here} 2 {there} 2")])?;
    quiet.run(&[&format!("SET {here} 3")])?;
    let mut disk = quiet.kill()?;
    *disk.log(1) = older;
    Quiet::start(&config, disk).map(drop)
}

/// Without the markers nothing tells it from a transaction that was never acknowledged.
#[test]
fn a_log_from_another_time_is_refused_for_what_others_call_decided() {
    let refused = start_with_an_older_log().expect_err("an acknowledged write is missing");
    assert!(refused.contains("is part of a transaction that was acknowledged"), "{refused}");
    plant(Some(Fault::MarkerForgotten));
    let found = start_with_an_older_log();
    plant(None);
    assert_eq!(found, Ok(()), "without markers it goes unnoticed");
}

/// Some turns of both cores, in which operations of the disk end for one of them alone.
fn turn_with_disk_of(core: u16, hand: &mut Hand) {
    for _ in 0..100 {
        // A checkpoint has so much time for so many bytes.
        hand.now_ns += 1_000_000;
        for (of, operation) in std::mem::take(&mut hand.disk) {
            match of == core {
                true => hand.node.finish_disk(of, operation),
                false => hand.disk.push((of, operation)),
            }
        }
        (0..2).for_each(|core| _ = hand.turn(core));
    }
}

fn without_power(mut hand: Hand) -> Disk {
    let mut disk = std::mem::take(&mut hand.node.disk);
    disk.cut_power(&mut Rng::new(1), Some(Damage::Lost));
    disk
}

/// A transaction of which one core's log has its part and the other one's has not; then a start
/// that voids it, in which the one disk stands still and the other one goes on; then another start.
/// What is there of the transaction's two keys, and how many checkpoints were made beside the void.
fn start_beside_a_void() -> (String, usize) {
    let (here, there) = (key(0, "here"), key(1, "there"));
    let mut hand = Hand::start(config(2), 1);
    hand.send(0, encode(&["MSET", &here, "half", &there, "half"]));
    turn_with_disk_of(0, &mut hand);
    assert_eq!(hand.replies(0), 0, "it is not acknowledged");
    let mut hand = Hand::begin(config(2), without_power(hand), 1);
    turn_with_disk_of(1, &mut hand);
    hand.send(0, encode(&["SET", &there, "whole"]));
    turn_with_disk_of(1, &mut hand);
    assert_eq!(hand.replies(0), 1, "the index is another entry's");
    hand.send(0, encode(&["BGSAVE"]));
    turn_with_disk_of(1, &mut hand);
    let checkpoints = hand.node.disk.files.named();
    let mut hand = Hand::start_from(config(2), without_power(hand), 1);
    hand.send(0, encode(&["MGET", &here, &there]));
    hand.settle();
    (hand.text(0), checkpoints)
}

/// What a checkpoint has counts as a part that is there, so there is none until it is on disk that
/// the transaction is void.
#[test]
fn no_checkpoint_overtakes_what_a_start_voids() {
    assert_eq!(start_beside_a_void(), ("*2\r\n$-1\r\n$5\r\nwhole\r\n".into(), 0));
    plant(Some(Fault::StartUnawaited));
    let found = start_beside_a_void();
    plant(None);
    assert_eq!(found, ("*2\r\n$4\r\nhalf\r\n$5\r\nwhole\r\n".into(), 1));
}
