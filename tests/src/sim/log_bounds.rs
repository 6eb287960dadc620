//! The bounds of the log and of checkpoints, filled as in `bounds`.

use std::cell::Cell;

use engine::rng::Rng;
use engine::settings::EntryLimits;
use replication::checkpoint::FileOperation;
use server::config::Config;
use server::limits::{
    CHECKPOINT_AT_STOP_BYTES_MIN, CHECKPOINT_LOG_BYTES, CHECKPOINT_RETRY_NS,
    LOG_WRITES_IN_FLIGHT_MAX, OTHER_FILE_OPERATIONS_MAX, SEGMENT_RETRY_NS,
};

use super::disk::Disk;
use super::hand::{Hand, TURNS_MAX, config, key};
use super::quiet::Quiet;
use crate::harness::client::encode;

const ENOSPC: i32 = 28;
const EMFILE: i32 = 24;
const EIO: i32 = 5;

#[test]
fn so_many_log_writes_are_under_way_and_the_rest_waits_for_them() {
    let config = Config { log_writes_in_flight: LOG_WRITES_IN_FLIGHT_MAX, ..config(1) };
    let mut hand = Hand::start(config, 1);
    let set = encode(&["SET", "key", &"x".repeat(300_000)]);
    hand.operations = 0;
    for _ in 0..2 * LOG_WRITES_IN_FLIGHT_MAX {
        hand.send(0, set.clone());
        hand.turn(0);
    }
    assert_eq!(hand.operations, LOG_WRITES_IN_FLIGHT_MAX);
    hand.settle();
    assert_eq!(hand.replies(0), 2 * LOG_WRITES_IN_FLIGHT_MAX);
}

const SMALL: EntryLimits =
    EntryLimits { closed_bytes: 128 << 10, words_bytes_max: 4 << 20, copied_bytes_max: 2 << 20 };
const VALUE_BYTES: usize = 300_000;

/// The log ends the process if it is given more than `SMALL` allows in one entry.
fn small(cores: usize) -> Config {
    Config { entry: SMALL, ..config(cores) }
}

fn copies(from: &str, to: &[String]) -> Vec<u8> {
    to.iter().flat_map(|to| encode(&["COPY", from, to, "REPLACE"])).collect()
}

/// What is there after a kill and a start.
fn keys_after_a_start(hand: Hand, config: &Config) -> String {
    let mut again = Hand::start_from(config.clone(), hand.node.disk, 1);
    again.send(0, encode(&["DBSIZE"]));
    again.settle();
    again.text(0)
}

/// A turn of as many copies as there may be is no entry of their size: it goes on in others, and
/// clients wait for the log.
#[test]
fn a_turn_of_copies_is_many_entries() {
    for cores in [1, 2] {
        let mut hand = Hand::start(small(cores), 1);
        let value = "x".repeat(VALUE_BYTES);
        let from = key(0, "from");
        // To the same shard, to the other one, and from that.
        let near: Vec<String> = (0..30).map(|n| key(0, &format!("near:{n}"))).collect();
        let far: Vec<String> = (0..30).map(|n| key(1, &format!("far:{n}"))).collect();
        hand.send(0, encode(&["SET", &from, &value]));
        hand.send(0, copies(&from, &near));
        hand.send(0, copies(&from, &far));
        hand.send(0, copies(&far[0], &near));
        hand.settle();
        assert_eq!(hand.replies(0), 91, "{cores} cores");
        assert_eq!(keys_after_a_start(hand, &small(cores)), ":61\r\n");
    }
}

/// A transaction is one entry: what would make it too long is refused, and the rest is whole.
#[test]
fn a_transaction_of_copies_ends_at_its_bound() {
    for (cores, shard) in [(1, 0), (2, 0), (2, 1)] {
        let mut hand = Hand::start(small(cores), 1);
        let to: Vec<String> = (0..30).map(|n| key(shard, &format!("to:{n}"))).collect();
        let from = key(0, "from");
        hand.send(0, encode(&["SET", &from, &"x".repeat(VALUE_BYTES)]));
        let copies = copies(&from, &to);
        hand.send(0, [encode(&["MULTI"]), copies, encode(&["EXEC"])].concat());
        hand.settle();
        let text = hand.text(0);
        let fit = SMALL.copied_bytes_max / VALUE_BYTES;
        let (_, replies) = text.split_once("*30\r\n").expect("EXEC's reply");
        assert_eq!(replies.matches(":1\r\n").count(), fit, "{cores} cores: {replies:.300}");
        let refused = "-ERR too much to change at once: ";
        assert_eq!(replies.matches(refused).count(), 30 - fit);
        assert_eq!(keys_after_a_start(hand, &small(cores)), format!(":{}\r\n", fit + 1));
    }
}

#[test]
fn words_that_may_leave_too_much_are_refused_before_anything_changes() {
    let mut hand = Hand::start(small(1), 1);
    let set = |n: usize| encode(&["SET", &format!("key:{n}"), &"x".repeat(VALUE_BYTES)]);
    // Each word may be in the log twice.
    let fit = SMALL.words_bytes_max / (2 * VALUE_BYTES);
    for (count, taken) in [(fit, true), (fit + 1, false)] {
        let sets: Vec<u8> = (0..count).flat_map(set).collect();
        let before = encode(&["FLUSHALL"]);
        hand.send(0, [before, encode(&["MULTI"]), sets, encode(&["EXEC"])].concat());
        hand.send(0, encode(&["DBSIZE"]));
        hand.settle();
        let text = hand.text(0);
        let discarded = "-EXECABORT Transaction discarded because of: ERR too much to change";
        assert_eq!(!text.contains(discarded), taken, "{count} values");
        let there = if taken { count } else { 0 };
        assert!(text.ends_with(&format!(":{there}\r\n")), "{text:.300}");
    }
    let long = "x".repeat(SMALL.words_bytes_max / 2);
    hand.send(0, encode(&["SET", "long", &long]));
    hand.send(0, encode(&["EXISTS", "long"]));
    hand.settle();
    let text = hand.text(0);
    assert!(text.starts_with("-ERR too much to change at once: "), "{text:.80}");
    assert!(text.ends_with("\r\n:0\r\n"), "{text:.200}");
}

/// Elements that go round and round through blocked clients are one operation each.
#[test]
fn a_chain_of_moves_is_many_entries() {
    let mut hand = Hand::start(small(1), 41);
    for n in 1..=40_u32 {
        let (from, to) = (format!("list:{}", n - 1), format!("list:{n}"));
        hand.send(n, encode(&["BLMOVE", &from, &to, "LEFT", "RIGHT", "0"]));
    }
    hand.settle();
    hand.send(0, encode(&["RPUSH", "list:0", &"x".repeat(VALUE_BYTES)]));
    hand.settle();
    (0..=40).for_each(|n| assert_eq!(hand.replies(n), 1, "client {n}"));
}

/// As Redis does: what cannot be written is refused when it is queued.
#[test]
fn on_a_full_disk_no_write_is_queued() {
    let full = "MISCONF The log cannot grow because the disk is full. Writes are refused until \
                there is space again; reads go on.\r\n";
    check_that_writes_are_refused(ENOSPC, full);
}

#[test]
fn without_descriptors_no_write_is_queued() {
    let full = "MISCONF The log cannot grow because too many files are open. Writes are refused \
                until there are less; reads go on.\r\n";
    check_that_writes_are_refused(EMFILE, full);
}

fn check_that_writes_are_refused(errno: i32, full: &str) {
    let config = Config { log_segment_bytes: 1 << 20, ..config(1) };
    let mut hand = Hand::start(config.clone(), 4);
    // This one's write is queued before.
    hand.send(1, [encode(&["MULTI"]), encode(&["SET", "key", "1"])].concat());
    hand.settle();
    assert_eq!(hand.text(1), "+OK\r\n+QUEUED\r\n");
    let set = encode(&["SET", "filler", &"x".repeat(20_000)]);
    let mut refused = false;
    for _ in 0..200 {
        hand.send(0, set.clone());
        refused |= settle_failing(&mut hand, |disk, operation| {
            disk.is_preparation(0, operation).then_some(errno)
        })
        .contains(full);
    }
    assert!(refused, "the disk fills up");
    let transaction =
        |command: &[&str]| [encode(&["MULTI"]), encode(command), encode(&["EXEC"])].concat();
    hand.send(1, encode(&["EXEC"]));
    hand.send(2, transaction(&["DEL", "key"]));
    hand.send(3, transaction(&["GET", "key"]));
    hand.settle();
    assert_eq!(hand.text(1), format!("-EXECABORT Transaction discarded because of: {full}"));
    let aborted = "-EXECABORT Transaction discarded because of previous errors.\r\n";
    assert_eq!(hand.text(2), format!("+OK\r\n-{full}{aborted}"));
    assert_eq!(hand.text(3), "+OK\r\n+QUEUED\r\n*1\r\n$-1\r\n");
    // It passes, and nothing is lost.
    hand.now_ns += SEGMENT_RETRY_NS;
    hand.settle();
    hand.send(1, encode(&["SET", "key", "1"]));
    hand.settle();
    assert_eq!(hand.text(1), "+OK\r\n");
    assert_eq!(keys_after_a_start(hand, &config), ":2\r\n");
}

/// Until nothing goes on, with operations of core 0 that fail with what `fails` says. What client 0
/// was told.
fn settle_failing(hand: &mut Hand, fails: impl Fn(&Disk, u64) -> Option<i32>) -> String {
    let mut rng = Rng::new(1);
    for _ in 0..TURNS_MAX {
        let any = !hand.disk.is_empty();
        for (core, operation) in std::mem::take(&mut hand.disk) {
            match fails(&hand.node.disk, operation) {
                Some(errno) => hand.node.fail_disk(core, operation, errno, &mut rng),
                None => hand.node.finish_disk(core, operation),
            }
        }
        if !hand.turn(0) && !any {
            return hand.text(0);
        }
    }
    panic!("it does not come to an end");
}

#[test]
fn a_failed_checkpoint_is_tried_again_after_some_time() {
    let config = Config { checkpoint_log_bytes: 64 << 10, shards: Some(1), ..config(1) };
    let mut hand = Hand::start(config, 1);
    hand.send(0, encode(&["SET", "key", &"x".repeat(100_000)]));
    let failing = |disk: &Disk, operation| disk.is_checkpoint(0, operation).then_some(EIO);
    settle_failing(&mut hand, failing);
    let saved = |hand: &mut Hand| {
        hand.send(0, encode(&["INFO", "persistence"]));
        hand.settle();
        let text = hand.text(0);
        (text.contains("rdb_last_bgsave_status:err"), text.contains("rdb_saves:1\r\n"))
    };
    assert_eq!(saved(&mut hand), (true, false));
    hand.now_ns += CHECKPOINT_RETRY_NS - 1_000_000_000;
    assert_eq!(saved(&mut hand), (true, false), "not yet");
    // Begun in the next turn, and some turns later there.
    let again = (0..10).any(|_| {
        hand.now_ns += 1_000_000_000;
        saved(&mut hand) == (false, true)
    });
    assert!(again, "it is tried again");
}

/// Whatever of a checkpoint finds no space, clients notice nothing, and the next one succeeds.
#[test]
fn a_checkpoint_without_space_leaves_the_service_and_is_made_later() {
    let is_write = |o: &FileOperation| matches!(o, FileOperation::Write { .. });
    let is_sync = |o: &FileOperation| matches!(o, FileOperation::Sync);
    let is_rename = |o: &FileOperation| matches!(o, FileOperation::Rename { .. });
    let is_create = |o: &FileOperation| matches!(o, FileOperation::Create { .. });
    let steps: [fn(&FileOperation) -> bool; 4] = [is_create, is_write, is_sync, is_rename];
    for (step, fails) in steps.into_iter().enumerate() {
        let config = Config { shards: Some(1), ..config(1) };
        let mut hand = Hand::start(config.clone(), 1);
        hand.send(0, encode(&["SET", "key", &"x".repeat(100_000)]));
        hand.send(0, encode(&["BGSAVE"]));
        let failed = Cell::new(0);
        let mut said = String::new();
        for _ in 0..TURNS_MAX {
            said += &settle_failing(&mut hand, |disk, operation| {
                let hit = disk.checkpoint_operation(0, operation).is_some_and(fails);
                failed.set(failed.get() + usize::from(hit));
                hit.then_some(ENOSPC)
            });
            if failed.get() > 0 {
                break;
            }
            // A checkpoint has so much time for so many bytes.
            hand.now_ns += 1_000_000;
        }
        assert!(said.starts_with("+OK\r\n+Background saving"), "{said}");
        assert!(failed.get() > 0, "step {step} of a checkpoint has failed");
        hand.send(0, [encode(&["SET", "other", "1"]), encode(&["INFO", "persistence"])].concat());
        hand.settle();
        let text = hand.text(0);
        assert!(text.starts_with("+OK\r\n$"), "step {step}: {text:.80}");
        assert!(text.contains("rdb_last_bgsave_status:err"), "step {step}: {text}");
        assert_eq!(hand.node.disk.files.named(), 0, "step {step}");
        hand.send(0, encode(&["BGSAVE"]));
        hand.settle();
        hand.text(0);
        // It is for the next try, some time after the failed one.
        let made = (0..20).any(|_| {
            hand.now_ns += 1_000_000_000;
            hand.send(0, encode(&["INFO", "persistence"]));
            hand.settle();
            hand.text(0).contains("rdb_last_bgsave_status:ok")
        });
        assert!(made, "step {step}");
        let files = hand.node.disk.files.list();
        assert_eq!((hand.node.disk.files.named(), files.len()), (1, 1), "{files:?}");
        assert_eq!(keys_after_a_start(hand, &config), ":2\r\n", "step {step}");
    }
}

/// With a disk that does not answer, all that a core begins on files stays under way: the writes
/// that there may be, a segment in preparation, a step of a checkpoint.
#[test]
fn operations_on_files_are_few_however_slow_the_disk() {
    let config = Config {
        log_segment_bytes: 1 << 20,
        checkpoint_log_bytes: 64 << 10,
        log_writes_in_flight: LOG_WRITES_IN_FLIGHT_MAX,
        shards: Some(1),
        ..config(1)
    };
    let mut hand = Hand::start(config, 1);
    let set = encode(&["SET", "key", &"x".repeat(30_000)]);
    let (mut sent, mut most) = (0, 0);
    // Each round the oldest operation ends, so that one of each kind is begun some time.
    for _ in 0..1_000 {
        if hand.paused.is_empty() {
            hand.send(0, set.clone());
            sent += 1;
        }
        hand.turn(0);
        most = most.max(hand.disk.len());
        if hand.disk.len() >= LOG_WRITES_IN_FLIGHT_MAX {
            let (core, operation) = hand.disk.remove(0);
            hand.node.finish_disk(core, operation);
        }
    }
    assert!(most >= LOG_WRITES_IN_FLIGHT_MAX, "{most} under way");
    // The runtime begins one removal after the other.
    assert!(most <= LOG_WRITES_IN_FLIGHT_MAX + OTHER_FILE_OPERATIONS_MAX, "{most} under way");
    hand.settle();
    assert_eq!(hand.replies(0), sent);
}

/// A node with one shard and so many bytes of entries.
fn logged(bytes: u64) -> Quiet {
    let config = Config { cores: 1, shards: Some(1), ..Config::default() };
    let mut quiet = Quiet::start(&config, Disk::default()).expect("it starts");
    let set = format!("SET key {}", "x".repeat(bytes as usize / 32));
    for _ in 0..32 {
        quiet.run(&[&set]).expect("it is set");
    }
    // A checkpoint under way has the time that it takes.
    quiet.run(&["BLPOP none 10"]).expect("it waits in vain");
    quiet
}

#[test]
fn a_checkpoint_is_due_when_the_log_has_grown_so_much() {
    for (bytes, checkpoints) in [(CHECKPOINT_LOG_BYTES * 9 / 10, 0), (CHECKPOINT_LOG_BYTES, 1)] {
        let quiet = logged(bytes);
        assert_eq!(quiet.disk().files.named(), checkpoints, "{bytes} bytes");
    }
}

#[test]
fn a_stop_makes_a_checkpoint_where_the_log_is_long() {
    let least = CHECKPOINT_AT_STOP_BYTES_MIN;
    for (bytes, checkpoints) in [(least * 9 / 10, 0), (least, 1)] {
        let disk = logged(bytes).stop().expect("it stops");
        assert_eq!(disk.files.named(), checkpoints, "{bytes} bytes");
    }
}
