//! SCAN goes from shard to shard in one call, and what it saw in any of them is told once that is
//! released.

use engine::slot::{shard_of_slot, slot_of};
use server::config::Config;

use super::hand::{Hand, TURNS_MAX, config};
use crate::harness::client::encode;

const SHARDS: usize = 4;

fn of_four_shards(cores: usize) -> Hand {
    Hand::start(Config { shards: Some(SHARDS), ..config(cores) }, 2)
}

fn key_of(shard: usize) -> String {
    let mut names = (0..).map(|number| format!("scanned:{number}"));
    let of_shard = |name: &String| shard_of_slot(slot_of(name.as_bytes()), SHARDS) == shard;
    names.find(of_shard).expect("every shard has keys")
}

/// Turns until nothing goes on, while the disk ends nothing.
fn turn_all(hand: &mut Hand, cores: u16) {
    for _ in 0..TURNS_MAX {
        let turned = (0..cores).map(|core| hand.turn(core));
        if !turned.fold(false, |any, turned| any | turned) {
            return;
        }
    }
    panic!("it does not come to an end");
}

#[test]
fn what_a_scan_saw_in_a_further_shard_waits_for_its_release() {
    // The first shards of the only core and of another one, and the last ones of each.
    for (cores, first, last) in [(1, 0, 3), (2, 0, 1), (2, 2, 3)] {
        let mut hand = of_four_shards(cores);
        let name = key_of(last);
        hand.send(0, encode(&["SET", &name, "1"]));
        turn_all(&mut hand, cores as u16);
        assert!(!hand.disk.is_empty(), "its write is under way");
        hand.send(1, encode(&["SCAN", &first.to_string(), "COUNT", "1000"]));
        turn_all(&mut hand, cores as u16);
        assert_eq!(hand.text(1), "", "cores {cores}, shards {first} to {last}");
        hand.settle();
        assert_eq!(hand.text(0), "+OK\r\n");
        let told = hand.text(1);
        assert!(told.contains(&name), "cores {cores}, shards {first} to {last}: {told}");
    }
}

#[test]
fn a_key_that_a_scan_found_over_is_deleted_in_the_log_too() {
    for (cores, first, last) in [(1, 0, 3), (2, 2, 3)] {
        let mut hand = of_four_shards(cores);
        let name = key_of(last);
        // Only who comes across it deletes it.
        hand.send(0, encode(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]));
        hand.send(0, encode(&["SET", &name, "1", "PX", "5"]));
        hand.settle();
        hand.now_ns += 20_000_000;
        hand.operations = 0;
        hand.send(1, encode(&["SCAN", &first.to_string(), "COUNT", "1000"]));
        hand.settle();
        assert!(hand.operations > 0, "cores {cores}: the log hears of it");
        assert!(!hand.text(1).contains(&name));
    }
}
