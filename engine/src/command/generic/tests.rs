//! Replies recorded from Redis 7.0.15.

use crate::args::OwnedArgs;
use crate::command::testing::{Fixture, contents};
use crate::effect::bytes_of_words;
use crate::settings::EntryLimits;

#[test]
fn keys_are_renamed_and_copied() {
    let mut fixture = Fixture::new(4);
    fixture.check(&[
        ("SET a 1", "+OK\r\n"),
        ("RENAME a b", "+OK\r\n"),
        ("RENAME none b", "-ERR no such key\r\n"),
        ("RENAME b b", "+OK\r\n"),
        ("RENAMENX b c", ":1\r\n"),
        ("SET d 1", "+OK\r\n"),
        ("RENAMENX c d", ":0\r\n"),
        ("COPY c d", ":0\r\n"),
        ("COPY c d REPLACE", ":1\r\n"),
        ("COPY c c", "-ERR source and destination objects are the same\r\n"),
        ("COPY c e DB 1", ":1\r\n"),
        ("SADD s 1", ":1\r\n"),
        ("COPY s t", ":1\r\n"),
        ("TYPE t", "+set\r\n"),
        ("TYPE none", "+none\r\n"),
        ("MOVE c 1", ":1\r\n"),
        ("MOVE c 1", ":0\r\n"),
        ("DEL c d none", ":1\r\n"),
        ("EXISTS s t s", ":3\r\n"),
        ("UNLINK s", ":1\r\n"),
        ("OBJECT ENCODING t", "$6\r\nintset\r\n"),
        ("DBSIZE", ":1\r\n"),
        ("FLUSHALL", "+OK\r\n"),
        ("DBSIZE", ":0\r\n"),
    ]);
}

/// A command with many members chooses the form before it knows which are new. Words of Redis 8.2,
/// with its default limits.
#[test]
fn the_number_of_members_in_one_command_chooses_the_encoding() {
    let repeated = |unit: &str, count: usize| format!(" {unit}").repeat(count);
    for (command, unit, max, small, large) in [
        ("SADD", "1", 512, "intset", "hashtable"),
        ("SADD", "a", 128, "listpack", "hashtable"),
        ("ZADD", "1 a", 128, "listpack", "skiplist"),
        ("HSET", "a 1", 512, "listpack", "hashtable"),
    ] {
        let mut fixture = Fixture::new(1);
        for before in ["", &format!("{command} k {unit}")] {
            for (count, name) in [(max, small), (max + 1, large)] {
                fixture.run("DEL k");
                if !before.is_empty() {
                    fixture.run(before);
                }
                fixture.run(&format!("{command} k{}", repeated(unit, count)));
                let expected = format!("${}\r\n{name}\r\n", name.len());
                assert_eq!(fixture.run("OBJECT ENCODING k"), expected, "{command} {count}");
            }
        }
    }
}

#[test]
fn a_database_s_number_is_one_of_32_bits() {
    let mut fixture = Fixture::new(1);
    let wide = "-ERR value is out of range, value must between -2147483648 and 2147483647\r\n";
    fixture.check(&[
        ("SET k 1", "+OK\r\n"),
        ("MOVE k 16", "-ERR DB index is out of range\r\n"),
        ("MOVE k -1", "-ERR DB index is out of range\r\n"),
        ("MOVE k 99999999999", wide),
        ("MOVE k abc", "-ERR value is not an integer or out of range\r\n"),
        ("COPY k c DB 99999999999", wide),
        ("SWAPDB 0 99999999999", "-ERR invalid second DB index\r\n"),
        ("SWAPDB -99999999999 0", "-ERR invalid first DB index\r\n"),
        ("SWAPDB 0 16", "-ERR DB index is out of range\r\n"),
    ]);
}

#[test]
fn an_option_that_is_none_is_repeated_byte_for_byte() {
    let mut fixture = Fixture::new(1);
    let reply = fixture.run_words(&[b"EXPIRE", b"k", b"10", b"\xff\r\n\0x"]);
    assert_eq!(reply, b"-ERR Unsupported option \xff  \r\n");
}

/// Redis matches `*` without looking; any other pattern fails against a name without bytes.
#[test]
fn the_empty_name_matches_the_star_alone() {
    let mut fixture = Fixture::new(1);
    fixture.run("SET \"\" x");
    fixture.check(&[
        ("KEYS *", "*1\r\n$0\r\n\r\n"),
        ("KEYS **", "*0\r\n"),
        ("SCAN 0 MATCH *", "*2\r\n$1\r\n0\r\n*1\r\n$0\r\n\r\n"),
        ("SCAN 0 MATCH **", "*2\r\n$1\r\n0\r\n*0\r\n"),
    ]);
}

/// As Redis 7.2 does: what has another type is not looked at further, so it is there until its time
/// is noticed otherwise.
#[test]
fn a_scan_by_type_leaves_other_types_to_expire() {
    let mut fixture = Fixture::new(1);
    fixture.check(&[("SET s v PX 5", "+OK\r\n"), ("HSET h f v", ":1\r\n")]);
    fixture.check(&[("PEXPIRE h 5", ":1\r\n"), ("SET k v", "+OK\r\n")]);
    fixture.advance_ms(6);
    fixture.check(&[
        ("SCAN 0 TYPE string COUNT 10", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n"),
        ("DBSIZE", ":2\r\n"),
        ("SCAN 0 TYPE nosuch COUNT 10", "*2\r\n$1\r\n0\r\n*0\r\n"),
        ("SCAN 0 COUNT 10", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n"),
        ("DBSIZE", ":1\r\n"),
    ]);
}

/// As Redis 7.0.15 answers.
#[test]
fn the_last_time_there_is_is_rounded_to_seconds() {
    let mut fixture = Fixture::new(1);
    fixture.check(&[
        ("set k v", "+OK\r\n"),
        ("pexpireat k 9223372036854775807", ":1\r\n"),
        ("expiretime k", ":9223372036854776\r\n"),
        ("pexpiretime k", ":9223372036854775807\r\n"),
    ]);
}

/// As Redis 7.0.15 counts, where every use counts and nothing decays.
#[test]
fn uses_are_counted_as_redis_counts_them() {
    let mut fixture = Fixture::new(1);
    let eviction = &mut fixture.settings.eviction;
    eviction.policy = crate::settings::Policy::AllkeysLfu;
    (eviction.lfu_log_factor, eviction.lfu_decay_minutes) = (0, 0);
    let steps = [
        ("SET k v", "k", 5),
        ("GET k", "k", 6),
        ("SET k w", "k", 7),
        ("EXISTS k", "k", 7),
        ("TOUCH k", "k", 8),
        ("TTL k", "k", 8),
        ("TYPE k", "k", 8),
        ("EXPIRE k 100", "k", 9),
        ("PERSIST k", "k", 10),
        ("APPEND k x", "k", 11),
        ("RENAME k k2", "k2", 12),
        ("COPY k2 k3", "k2", 13),
        ("GET nokey", "k3", 5),
        ("OBJECT ENCODING k2", "k2", 13),
        ("SET k2 y KEEPTTL", "k2", 14),
        ("SETEX k2 100 v", "k2", 15),
        ("MGET k2 k3", "k2", 16),
        ("RPUSH l a", "l", 5),
        ("RPUSH l b", "l", 6),
        ("LRANGE l 0 -1", "l", 7),
        ("HSET h a b", "h", 5),
        ("HSET h a c", "h", 6),
    ];
    for (command, key, uses) in steps {
        fixture.run(command);
        assert_eq!(fixture.run(&format!("OBJECT FREQ {key}")), format!(":{uses}\r\n"), "{command}");
    }
    let error = fixture.run("OBJECT IDLETIME k2");
    assert!(error.starts_with("-ERR An LFU maxmemory policy is selected, idle time not tracked."));
    assert_eq!(fixture.run("OBJECT FREQ nokey"), "$-1\r\n");
    fixture.settings.eviction.policy = crate::settings::Policy::VolatileTtl;
    let error = fixture.run("OBJECT FREQ k2");
    assert!(error.starts_with("-ERR An LFU maxmemory policy is not selected, access frequency"));
}

/// With an entry of 2,000 bytes: what no word of the command brings is refused beyond, and nothing
/// has changed then.
#[test]
fn what_an_entry_has_no_room_for_is_refused_whole() {
    let mut fixture = Fixture::new(2);
    let text = "x".repeat(1_500);
    let members: Vec<String> = (0..300).map(|n| format!("member:{n}")).collect();
    let scored: Vec<String> = members.iter().map(|member| format!("1 {member}")).collect();
    for (command, words) in
        [("SADD {s}a", &members), ("RPUSH {s}l", &members), ("ZADD {s}z", &scored)]
    {
        fixture.run(&format!("{command} {}", words.join(" ")));
    }
    fixture.run(&format!("RPUSH {{s}}same {}", "x ".repeat(300)));
    fixture.run(&format!(
        "MSET {{s}}text {text} {{s}}wide {text}{text} {{s}}0 {text} {{s}}float 1e300"
    ));
    fixture.run("RPUSH {s}one 0 0");
    fixture.run(&format!("RPUSH {{s}}wides {text}{text}"));
    fixture.settings.entry.copied_bytes_max = 2_000;
    assert_eq!(fixture.run("COPY {s}text {s}copy"), ":1\r\n", "that has room");
    let refused = "-ERR too much to change at once: ";
    for command in [
        "COPY {s}wide {s}new",
        "COPY {s}wide {s}text REPLACE",
        "MOVE {s}wide 1",
        "SUNIONSTORE {s}new {s}a",
        "SINTERSTORE {s}new {s}a {s}a",
        "SDIFFSTORE {s}new {s}a {s}none",
        "ZUNIONSTORE {s}new 1 {s}z",
        "ZRANGESTORE {s}new {s}z 0 -1",
        "SORT {s}l ALPHA STORE {s}new",
        "SORT {s}one GET {s}* STORE {s}new",
        "ZPOPMIN {s}z 300",
        "ZMPOP 1 {s}z MAX COUNT 250",
        "ZREMRANGEBYRANK {s}z 0 -1",
        "LREM {s}same 0 x",
        "LMOVE {s}wides {s}l LEFT LEFT",
        "LMOVE {s}wides {s}wides LEFT RIGHT",
    ] {
        let before = contents(fixture.shards());
        let reply = fixture.run(command);
        assert!(
            reply.starts_with(refused) && reply.ends_with("takes 2000\r\n"),
            "{command}: {reply}"
        );
        assert_eq!(contents(fixture.shards()), before, "{command}");
    }
    // Within a shard a name is all that changes.
    assert_eq!(fixture.run("RENAME {s}wide {s}wider"), "+OK\r\n");
    let replies: Vec<String> =
        (0..20).map(|n| fixture.run(&format!("RENAME {{s}}wider to:{n}"))).collect();
    assert!(replies.iter().any(|reply| reply.starts_with(refused)), "{replies:?}");
    // A count of SPOP is no promise.
    let popped = fixture.run("SPOP {s}a 290");
    let count = popped[1..].split('\r').next().and_then(|n| n.parse::<usize>().ok());
    assert!(count.is_some_and(|count| count > 100 && count < 200), "{count:?} were popped");
    assert_eq!(fixture.run("SCARD {s}a"), format!(":{}\r\n", 300 - count.unwrap_or(0)));
    // A short word for a long text.
    fixture.settings.entry.copied_bytes_max = 300;
    for command in ["INCRBYFLOAT {s}float 1e300", "HINCRBYFLOAT {s}h f 1e300"] {
        assert!(fixture.run(command).starts_with(refused), "{command}");
    }
    assert_eq!(fixture.run("EXISTS {s}h"), ":0\r\n");
}

#[test]
fn words_are_taken_to_leave_themselves_twice() {
    let words = |count, len| OwnedArgs::from_words(vec![&vec![b'x'; len][..]; count]);
    let limits = EntryLimits { words_bytes_max: 2 * 3_000 + 3 * 32 + 128, ..Default::default() };
    assert!(limits.check_words(bytes_of_words(words(3, 1_000).as_args())).is_ok());
    assert!(limits.check_words(bytes_of_words(words(3, 1_001).as_args())).is_err());
    assert!(limits.check_words(bytes_of_words(words(200, 1).as_args())).is_err());
}
