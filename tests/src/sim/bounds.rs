//! The bounds of `server/src/limits.rs` that a core keeps for itself: each is filled, what comes
//! more waits or is refused as its comment says, and goes on once there is room. Those of the log
//! and of checkpoints are in `log_bounds`.

use server::config::{Config, DebugAccess};
use server::limits::{
    ANSWERED_BYTES_PER_TURN_MAX, COMMANDS_AHEAD_MAX, COMMANDS_PER_CLIENT_AND_TURN_MAX,
    DEBUG_SLEEP_NS_MAX, EVICTED_PER_COMMAND, EVICTED_PER_TURN_MAX, EVICTION_DEBT_BYTES_MIN,
    EXPECTED_ANSWERS_MAX, EXPIRED_PER_TURN_MAX, FORWARDED_BYTES_MAX, FREED_PER_COMMAND_MAX,
    FREED_PER_TURN_MAX, GATHERED_OPERATIONS_MAX, HOUSEKEEPING_PERIOD_NS, LOG_QUEUED_BYTES_MAX,
    MESH_WAITING_MAX, SLOWLOG_ENTRIES_MAX, UNREAD_DRAIN_NS_MAX, UNSENT_REPLY_BYTES_MAX,
    WAITING_QUERY_BYTES_MAX,
};

use super::hand::{Hand, TURNS_MAX, client, config, key};
use super::node::Waiting;
use crate::harness::client::encode;

#[test]
fn a_slow_log_holds_clients_back_and_lets_them_go_on() {
    const VALUE_BYTES: usize = 512 * 1024;
    let mut hand = Hand::start(config(1), 2);
    let value = "x".repeat(VALUE_BYTES);
    let mut sent = 0;
    // The disk does not answer: what is appended waits, then what is received.
    while hand.paused.is_empty() {
        hand.send(0, encode(&["SET", "key", &value]));
        hand.turn(0);
        sent += 1;
        let taken = sent * VALUE_BYTES;
        // Two values of slack: a command is not cut, and one write is under way.
        let most = LOG_QUEUED_BYTES_MAX + UNSENT_REPLY_BYTES_MAX + 3 * VALUE_BYTES;
        assert!(taken < most, "{taken} bytes were taken");
    }
    assert!(sent * VALUE_BYTES > LOG_QUEUED_BYTES_MAX, "{sent} values are few");
    hand.send(1, encode(&["PING"]));
    (0..10).for_each(|_| {
        hand.turn(0);
    });
    assert_eq!(hand.replies(1), 0, "all clients of the core wait");
    hand.settle();
    assert_eq!((hand.replies(0), hand.replies(1)), (sent, 1));
    assert!(hand.paused.is_empty());
}

#[test]
fn a_core_that_takes_its_messages_too_slowly_holds_the_others_clients_back() {
    let mut hand = Hand::start(config(2), 1);
    for (waiting, answers) in [(MESH_WAITING_MAX, 1), (MESH_WAITING_MAX + 1, 0), (0, 2)] {
        hand.node.mesh_waiting = waiting;
        hand.send(0, encode(&["PING"]));
        (0..4).for_each(|_| {
            hand.turn(0);
        });
        assert_eq!(hand.replies(0), answers, "{waiting} messages wait");
    }
}

#[test]
fn a_long_pipeline_gives_way_to_other_clients() {
    let mut hand = Hand::start(config(1), 2);
    hand.send(0, encode(&["GET", "key"]).repeat(5_000));
    hand.send(1, encode(&["PING"]));
    hand.turn(0);
    let first = hand.replies(0);
    // Once as they come, and once more when all clients have had their turn.
    let most = 2 * (COMMANDS_PER_CLIENT_AND_TURN_MAX + COMMANDS_AHEAD_MAX);
    assert!(first > 0 && first <= most, "{first} commands of one client in a turn");
    assert_eq!(hand.replies(1), 1, "the other one is served in the same turn");
    hand.settle();
    assert_eq!(hand.replies(0), 5_000 - first);
}

#[test]
fn a_client_with_much_to_run_is_not_received_from() {
    let mut hand = Hand::start(config(1), 1);
    let commands = encode(&["GET", "key"]).repeat(10_000);
    let len = commands.len();
    hand.send(0, commands);
    hand.turn(0);
    let first = hand.replies(0);
    assert!(len - first * len / 10_000 > WAITING_QUERY_BYTES_MAX, "{first} were run");
    assert_eq!(hand.paused, [0]);
    hand.settle();
    assert_eq!(hand.replies(0), 10_000 - first);
    assert!(hand.paused.is_empty());
}

#[test]
fn so_many_commands_of_a_client_are_under_way_on_other_cores() {
    let mut hand = Hand::start(config(2), 1);
    let other = key(1, "key");
    hand.send(0, encode(&["GET", &other]).repeat(1_000));
    let (mut answered, mut trips) = (0, 0);
    while answered < 1_000 && trips < TURNS_MAX {
        hand.turn(0);
        // Replies of several trips may leave together.
        answered += hand.replies(0);
        hand.turn(1);
        trips += 1;
    }
    assert_eq!(answered, 1_000);
    // What is read ahead is looked at as a whole.
    let least = 1_000 / (EXPECTED_ANSWERS_MAX + COMMANDS_AHEAD_MAX);
    assert!(trips > least, "a thousand commands went in {trips} trips");
}

/// So many clients each ask another core so often for a value of a MiB.
fn ask_for_large_values(hand: &mut Hand, clients: u32, commands: usize) {
    let other = key(1, "key");
    hand.send(0, encode(&["SET", &other, &"x".repeat(1 << 20)]));
    hand.settle();
    assert_eq!(hand.replies(0), 1);
    (0..clients).for_each(|n| hand.send(n, encode(&["GET", &other]).repeat(commands)));
}

#[test]
fn who_reads_nothing_is_owed_little_by_other_cores() {
    let mut hand = Hand::start(config(2), 2);
    ask_for_large_values(&mut hand, 1, 64);
    hand.unread = true;
    hand.settle();
    hand.unread = false;
    hand.send(1, words("CLIENT LIST"));
    hand.settle();
    let list = hand.text(1);
    let unread = list.split(" omem=").skip(1).filter_map(|rest| rest.split(' ').next());
    let unread: usize = unread.filter_map(|bytes| bytes.parse::<usize>().ok()).sum();
    // What may be unread, and what was under way when it still was less.
    let most = 2 * UNSENT_REPLY_BYTES_MAX + (1 << 20);
    assert!((UNSENT_REPLY_BYTES_MAX / 2..most).contains(&unread), "{unread} bytes");
    hand.read(0);
    hand.settle();
    assert_eq!(hand.replies(0), 64);
}

#[test]
fn a_core_answers_others_so_much_a_turn() {
    const CLIENTS: u32 = 20;
    let mut hand = Hand::start(config(2), CLIENTS);
    ask_for_large_values(&mut hand, CLIENTS, 4);
    hand.turn(0);
    hand.messages.clear();
    let (values, mut turns) = (4 * CLIENTS as usize, 0);
    while hand.messages.get(&0).is_none_or(|count| *count < values) && turns < TURNS_MAX {
        hand.turn(1);
        turns += 1;
    }
    // Each of them is a message, and the last one of a turn goes beyond the bound.
    let most = ANSWERED_BYTES_PER_TURN_MAX / (1 << 20) + 1;
    assert!(turns >= values / most, "{values} MiB in {turns} turns");
    hand.settle();
    (0..CLIENTS).for_each(|n| assert_eq!(hand.replies(n), 4, "client {n}"));
}

#[test]
fn what_is_collected_for_another_core_goes_on_when_it_is_much() {
    let mut hand = Hand::start(config(2), 1);
    hand.messages.clear();
    let value = "x".repeat(FORWARDED_BYTES_MAX * 2 / 3);
    let set = encode(&["SET", &key(1, "key"), &value]);
    hand.send(0, set.repeat(6));
    hand.turn(0);
    assert!(hand.messages[&1] >= 2, "{:?} messages with 4 MiB", hand.messages);
    hand.settle();
    assert_eq!(hand.replies(0), 6);
}

#[test]
fn more_transactions_than_one_trip_takes_are_all_answered() {
    let clients = 3 * GATHERED_OPERATIONS_MAX as u32;
    let mut hand = Hand::start(config(2), clients);
    for number in 0..clients {
        let (here, there) = (key(0, &number.to_string()), key(1, &number.to_string()));
        hand.send(number, encode(&["MSET", &here, "1", &there, "1"]).repeat(2));
    }
    hand.settle();
    (0..clients).for_each(|number| assert_eq!(hand.replies(number), 2, "client {number}"));
}

#[test]
fn keys_expire_some_a_turn() {
    let mut hand = Hand::start(config(1), 1);
    let keys = 3 * EXPIRED_PER_TURN_MAX;
    let set = |n: usize| encode(&["SET", &format!("key:{n}"), "x", "PX", "1000"]);
    hand.send(0, (0..keys).flat_map(set).collect());
    hand.settle();
    assert_eq!(hand.replies(0), keys);
    hand.now_ns += 2_000_000_000;
    hand.operations = 0;
    for _ in 0..10 {
        hand.now_ns += HOUSEKEEPING_PERIOD_NS;
        hand.settle();
    }
    // Each turn that deletes some writes its own entry.
    assert!(hand.operations >= 3, "{keys} keys went in {} turns", hand.operations);
    hand.send(0, encode(&["DBSIZE"]));
    hand.settle();
    assert_eq!(hand.received.remove(&0).as_deref(), Some(&b":0\r\n"[..]));
}

#[test]
fn a_query_that_grows_beyond_its_limit_and_one_client_too_many_are_closed() {
    let limit = 1 << 20;
    let config = Config { query_buffer_bytes_max: limit, maxclients: 2, ..config(1) };
    let mut hand = Hand::start(config, 2);
    hand.send(0, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4000000\r\n".to_vec());
    let mut sent = 0;
    while hand.closed.is_empty() {
        hand.send(0, vec![b'x'; 16 * 1024]);
        hand.turn(0);
        sent += 16 * 1024;
        assert!(sent <= limit + 16 * 1024, "{sent} bytes were kept");
    }
    assert!(sent > limit - 16 * 1024, "{sent} bytes are few");
    hand.node.add(0, Waiting::Accepted(client(2)));
    hand.node.add(0, Waiting::Accepted(client(3)));
    hand.settle();
    let said = hand.received.remove(&3).expect("a reply");
    assert_eq!(said, b"-ERR max number of clients reached\r\n");
    assert_eq!(hand.closed, [0, 3]);
}

#[test]
fn a_server_that_stops_closes_new_clients_without_a_word() {
    let mut hand = Hand::start(config(1), 1);
    hand.node.add(0, Waiting::Shutdown);
    hand.node.add(0, Waiting::Accepted(client(1)));
    hand.settle();
    assert_eq!((hand.received.get(&1), &hand.closed[..]), (None, &[1][..]));
}

#[test]
fn a_client_that_reads_nothing_is_closed_when_the_server_stops() {
    let mut hand = Hand::start(config(1), 2);
    hand.unread = true;
    (0..2).for_each(|number| hand.send(number, words("ECHO text")));
    hand.turn(0);
    // Until then it may take as long as it likes.
    hand.now_ns += 2 * UNREAD_DRAIN_NS_MAX;
    hand.settle();
    hand.node.add(0, Waiting::Shutdown);
    hand.turn(0);
    for closed in [&[][..], &[0], &[0]] {
        hand.now_ns += UNREAD_DRAIN_NS_MAX / 2;
        hand.node.add(0, Waiting::SentPart(client(1)));
        hand.settle();
        assert_eq!((&hand.closed[..], hand.node.has_stopped()), (closed, false));
    }
    hand.read(1);
    hand.settle();
    hand.now_ns += HOUSEKEEPING_PERIOD_NS;
    hand.settle();
    assert_eq!((hand.text(1), hand.node.has_stopped()), ("$4\r\ntext\r\n".to_owned(), true));
}

fn words(line: &str) -> Vec<u8> {
    encode(&line.split(' ').collect::<Vec<_>>())
}

/// A set of so many members, and its deletion.
fn set_and_deletion(members: usize) -> [Vec<u8>; 2] {
    let members: Vec<String> = (0..members).map(|n| format!("member:{n}")).collect();
    [words(&format!("SADD set {}", members.join(" "))), words("DEL set")]
}

/// What of deleted values is not freed yet, as client 1 is told in this turn.
fn pending(hand: &mut Hand) -> usize {
    hand.send(1, words("INFO memory"));
    hand.turn(0);
    let text = hand.text(1);
    let (_, rest) = text.split_once("lazyfree_pending_objects:").expect("INFO has it");
    rest.split('\r').next().and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn what_is_deleted_is_freed_some_a_turn() {
    let mut hand = Hand::start(config(1), 2);
    let [add, delete] = set_and_deletion(FREED_PER_TURN_MAX * 29 / 10);
    hand.send(0, add);
    hand.settle();
    // A slice ends the turn of the deletion too; one may be a quarter more than its bound.
    hand.send(0, delete);
    hand.turn(0);
    assert_eq!([0; 3].map(|_| pending(&mut hand)), [1, 1, 0]);
}

#[test]
fn while_memory_is_short_each_command_frees_some() {
    let most = FREED_PER_TURN_MAX / FREED_PER_COMMAND_MAX;
    // Each frees the rest of a table's segment too, which holds up to some 800.
    for (commands, left) in [(2, 1), (most, 0)] {
        let mut hand = Hand::start(config(1), 2);
        let [add, delete] = set_and_deletion(FREED_PER_TURN_MAX * 19 / 10);
        hand.send(0, add);
        hand.settle();
        hand.send(0, [words("CONFIG SET maxmemory 1"), delete].concat());
        hand.turn(0);
        hand.send(1, words("SET key value").repeat(commands));
        assert_eq!(pending(&mut hand), left, "{commands} commands");
    }
}

/// Some 24 MB of keys, of which 4 may stay: each eviction's turn and the wait of clients.
#[test]
fn eviction_takes_some_keys_a_turn_and_clients_wait_while_much_is_over() {
    const KEYS: usize = 3_000;
    const VALUE_BYTES: usize = 8_000;
    const LIMIT_BYTES: usize = 4 << 20;
    let mut hand = Hand::start(config(1), 2);
    let value = "x".repeat(VALUE_BYTES);
    hand.send(0, words("CONFIG SET maxmemory-policy allkeys-random"));
    for n in 0..KEYS {
        hand.send(0, encode(&["SET", &format!("key:{n}"), &value]));
    }
    hand.settle();
    assert_eq!(hand.replies(0), KEYS + 1);
    hand.send(0, words(&format!("CONFIG SET maxmemory {LIMIT_BYTES}")));
    let evicted = |hand: &Hand| hand.node.core(0).see_keys_gone().1 as usize;
    let (mut before, mut waited, mut turns) = (evicted(&hand), 0, 0);
    loop {
        hand.turn(0);
        turns += 1;
        let now = evicted(&hand);
        // A PING needs no memory: only the end of the turn evicts.
        assert!(now - before <= EVICTED_PER_TURN_MAX, "{} keys in a turn", now - before);
        let over_bytes = (KEYS - now) * VALUE_BYTES;
        if turns == 1 {
            hand.text(0);
            assert_eq!(now - before, EVICTED_PER_TURN_MAX, "as many as there may go");
            hand.send(1, words("PING"));
        } else if hand.replies(1) == 1 {
            let left = ((KEYS - before) * VALUE_BYTES).saturating_sub(LIMIT_BYTES);
            let most = EVICTION_DEBT_BYTES_MIN as usize + EVICTED_PER_TURN_MAX * VALUE_BYTES;
            assert!(left <= most, "served with {left} bytes over the limit");
            break;
        } else {
            assert!(over_bytes > 0 && turns < TURNS_MAX, "it is never served");
            waited += 1;
        }
        before = now;
        for (core, operation) in std::mem::take(&mut hand.disk) {
            hand.node.finish_disk(core, operation);
        }
    }
    // With less to go than a debt that is bearable nobody would have waited.
    assert!(waited >= 3, "{waited} turns");
    hand.settle();
    hand.send(0, words("SET one more"));
    hand.send(1, words("INFO memory"));
    hand.settle();
    assert_eq!(hand.text(0), "+OK\r\n");
    let text = hand.text(1);
    let used = text.split("used_memory:").nth(1).and_then(|rest| rest.split('\r').next());
    let used: usize = used.and_then(|bytes| bytes.parse().ok()).expect("a number");
    assert!(used < LIMIT_BYTES + (1 << 20), "{used} bytes");
}

/// Commands that bring in memory take more away than they bring, in the same turn.
#[test]
fn commands_that_need_memory_evict_beside_the_turns_own() {
    let mut hand = Hand::start(config(1), 1);
    // What is over is no debt for which clients wait.
    let value = "x".repeat(400);
    let keys = 4 * EVICTED_PER_TURN_MAX;
    hand.send(0, words("CONFIG SET maxmemory-policy allkeys-random"));
    for n in 0..keys {
        hand.send(0, encode(&["SET", &format!("key:{n}"), &value]));
    }
    hand.settle();
    assert_eq!(hand.replies(0), keys + 1);
    hand.send(0, words("CONFIG SET maxmemory 200000"));
    hand.turn(0);
    let evicted = |hand: &Hand| hand.node.core(0).see_keys_gone().1 as usize;
    assert_eq!(evicted(&hand), EVICTED_PER_TURN_MAX);
    let commands = 100;
    (0..commands).for_each(|n| hand.send(0, words(&format!("SET new:{n} x"))));
    hand.turn(0);
    let most = 2 * EVICTED_PER_TURN_MAX + EVICTED_PER_COMMAND * commands;
    assert_eq!(evicted(&hand), most);
    hand.settle();
    assert_eq!(hand.replies(0), commands + 1);
}

#[test]
fn the_slowlog_keeps_the_newest_entries() {
    let mut hand = Hand::start(Config { slowlog_slower_than_us: 0, ..config(1) }, 2);
    for n in 0..SLOWLOG_ENTRIES_MAX + 20 {
        hand.send(0, words(&format!("GET key:{n}")));
    }
    hand.settle();
    hand.send(1, [words("SLOWLOG LEN"), words("SLOWLOG GET -1")].concat());
    hand.settle();
    let text = hand.text(1);
    assert!(text.starts_with(&format!(":{SLOWLOG_ENTRIES_MAX}\r\n*")), "{text:.80}");
    let newest = SLOWLOG_ENTRIES_MAX + 19;
    assert!(text.contains(&format!("key:{newest}\r\n")), "the newest is there");
    assert!(!text.contains("key:19\r\n"), "the oldest have made room");
}

#[test]
fn a_core_sleeps_so_long_and_no_longer() {
    let mut hand = Hand::start(Config { enable_debug: DebugAccess::Yes, ..config(1) }, 1);
    let most_s = DEBUG_SLEEP_NS_MAX / 1_000_000_000;
    hand.send(0, [words(&format!("DEBUG SLEEP {most_s}")), words("DEBUG SLEEP 60.01")].concat());
    hand.settle();
    assert_eq!(hand.text(0), "+OK\r\n-ERR DEBUG SLEEP takes at most 60 seconds\r\n");
}

/// The last command that waits is what makes the client, or the log, wait: there is nothing left
/// to be resumed, and it is received from again.
#[test]
fn a_client_whose_last_command_is_too_much_is_received_from_again() {
    let mut hand = Hand::start(config(1), 1);
    hand.send(0, encode(&["SET", "key", &"x".repeat(UNSENT_REPLY_BYTES_MAX * 3 / 4)]));
    hand.settle();
    assert_eq!(hand.replies(0), 1);
    let pings = WAITING_QUERY_BYTES_MAX / 10;
    let mut commands = words("PING").repeat(pings);
    commands.extend(words("GET key").repeat(2));
    hand.send(0, commands);
    hand.settle();
    assert_eq!((hand.replies(0), &hand.paused[..]), (pings + 2, &[][..]));
    // As a long word comes in: received from and not, by turns.
    let set = encode(&["SET", "key", &"x".repeat(LOG_QUEUED_BYTES_MAX * 5 / 4)]);
    for piece in set.chunks(1 << 20) {
        hand.send(0, piece.to_vec());
        hand.turn(0);
    }
    hand.settle();
    assert_eq!((hand.replies(0), &hand.paused[..]), (1, &[][..]));
}
