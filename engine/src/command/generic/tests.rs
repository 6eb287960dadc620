//! Replies recorded from Redis 7.0.15.

use crate::command::testing::Fixture;

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

/// A command with many members chooses the form before it knows which are new. Words of Redis 8.2
/// with the limits of 7.2.
#[test]
fn the_number_of_members_in_one_command_chooses_the_encoding() {
    let repeated = |unit: &str, count: usize| format!(" {unit}").repeat(count);
    for (command, unit, max, small, large) in [
        ("SADD", "1", 512, "intset", "hashtable"),
        ("SADD", "a", 128, "listpack", "hashtable"),
        ("ZADD", "1 a", 128, "listpack", "skiplist"),
        ("HSET", "a 1", 128, "listpack", "hashtable"),
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
