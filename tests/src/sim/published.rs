//! The bounds of `server/src/limits.rs` that are about publishing and subscribing.

use server::limits::{DELIVERED_BYTES_PER_TURN_MAX, PUBLISHED_BYTES_MAX};

use super::hand::{Hand, config};
use crate::harness::client::encode;

const MESSAGE_BYTES: usize = 1 << 20;

/// Of two clients on core 0 the second listens.
fn start(cores: usize, clients: u32) -> Hand {
    let mut hand = Hand::start(config(cores), clients);
    hand.send(1, encode(&["SUBSCRIBE", "a"]));
    hand.settle();
    assert_eq!(hand.replies(1), 1);
    hand
}

/// One after the other, or each in a transaction, from a client that waits for no reply.
#[test]
fn publishers_wait_while_much_is_under_way() {
    let message = "x".repeat(MESSAGE_BYTES);
    let publish = encode(&["PUBLISH", "a", &message]);
    let transaction = [encode(&["MULTI"]), publish.clone(), encode(&["EXEC"])].concat();
    for (commands, replies) in [(publish, 1), (transaction, 3)] {
        const MESSAGES: usize = 40;
        let mut hand = start(1, 2);
        hand.send(0, commands.repeat(MESSAGES));
        let (mut published, mut heard, mut turns) = (0, 0, 0);
        while heard < MESSAGES {
            hand.turn(0);
            turns += 1;
            published += hand.replies(0);
            heard += hand.replies(1);
            let under_way = (published / replies).saturating_sub(heard) * MESSAGE_BYTES;
            // One is begun while there is room for it; replies of a turn leave at its end.
            let most = PUBLISHED_BYTES_MAX + MESSAGE_BYTES;
            assert!(under_way <= most, "{under_way} bytes are under way");
            assert!(turns <= 4 * MESSAGES, "{heard} were heard in {turns} turns");
        }
        assert!(turns >= MESSAGES * MESSAGE_BYTES / DELIVERED_BYTES_PER_TURN_MAX, "{turns} turns");
        hand.settle();
        published += hand.replies(0);
        assert_eq!((published, hand.replies(1)), (MESSAGES * replies, 0));
    }
}

/// Nothing is sent to anybody when there is room again.
#[test]
fn publishers_that_waited_go_on_though_nothing_else_happens() {
    let mut hand = start(1, 3);
    hand.unread = true;
    hand.send(1, encode(&["PING"]));
    hand.send(0, encode(&["CLIENT", "REPLY", "OFF"]));
    hand.settle();
    hand.unread = false;
    // The listener's first reply is still on its way: messages stay behind it.
    hand.send(0, encode(&["PUBLISH", "a", &"x".repeat(PUBLISHED_BYTES_MAX + 1)]));
    hand.send(2, encode(&["PUBLISH", "a", "y"]));
    hand.settle();
    assert_eq!(hand.replies(2), 1);
    hand.read(1);
    hand.settle();
    assert_eq!(hand.replies(1), 3);
}
