//! Replies recorded from Redis 7.0.15.

use crate::command::testing::Fixture;
use crate::reply::Protocol;

#[test]
fn members_come_and_go() {
    let mut fixture = Fixture::new(4);
    fixture.check(&[
        ("SADD s 3 1 2 1", ":3\r\n"),
        ("SADD s 1", ":0\r\n"),
        ("SCARD s", ":3\r\n"),
        ("SCARD none", ":0\r\n"),
        ("SISMEMBER s 1", ":1\r\n"),
        ("SISMEMBER s 9", ":0\r\n"),
        ("SMISMEMBER s 1 9 2", "*3\r\n:1\r\n:0\r\n:1\r\n"),
        ("SMISMEMBER none 1 9", "*2\r\n:0\r\n:0\r\n"),
        ("SMEMBERS s", "*3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n"),
        ("SMEMBERS none", "*0\r\n"),
        ("SREM s 1 9", ":1\r\n"),
        ("SREM none 1", ":0\r\n"),
        ("SMOVE s t 2", ":1\r\n"),
        ("SMOVE s t 2", ":0\r\n"),
        ("SMOVE none t 2", ":0\r\n"),
        ("SMOVE s s 3", ":1\r\n"),
        ("SMOVE s s 9", ":0\r\n"),
        ("SMEMBERS t", "*1\r\n$1\r\n2\r\n"),
        ("SMOVE s t 3", ":1\r\n"),
        ("EXISTS s", ":0\r\n"),
        ("SMEMBERS t", "*2\r\n$1\r\n2\r\n$1\r\n3\r\n"),
        ("SET x x", "+OK\r\n"),
        ("SMOVE t x 3", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
        ("SMOVE none x 3", ":0\r\n"),
        ("SADD x 1", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
        ("SCARD x", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
        ("SPOP x", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
        ("SSCAN x 0", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
        ("SSCAN t 0", "*2\r\n$1\r\n0\r\n*2\r\n$1\r\n2\r\n$1\r\n3\r\n"),
        ("SSCAN t 0 MATCH 2", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\n2\r\n"),
        ("SSCAN none 0 NOSUCH", "*2\r\n$1\r\n0\r\n*0\r\n"),
        ("SSCAN t 0 NOSUCH", "-ERR syntax error\r\n"),
    ]);
}

#[test]
fn popping_and_choosing() {
    let mut fixture = Fixture::new(1);
    fixture.check(&[
        ("SADD s a", ":1\r\n"),
        ("SRANDMEMBER s", "$1\r\na\r\n"),
        ("SRANDMEMBER s 3", "*1\r\n$1\r\na\r\n"),
        ("SRANDMEMBER s -3", "*3\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n"),
        ("SRANDMEMBER s 0", "*0\r\n"),
        ("SRANDMEMBER s x", "-ERR value is not an integer or out of range\r\n"),
        ("SRANDMEMBER s 1 2", "-ERR syntax error\r\n"),
        ("SRANDMEMBER none", "$-1\r\n"),
        ("SRANDMEMBER none 2", "*0\r\n"),
        ("SPOP s 0", "*0\r\n"),
        ("SPOP s -1", "-ERR value is out of range, must be positive\r\n"),
        ("SPOP s x", "-ERR value is out of range, must be positive\r\n"),
        ("SPOP s 1 2", "-ERR syntax error\r\n"),
        ("SPOP s 5", "*1\r\n$1\r\na\r\n"),
        ("EXISTS s", ":0\r\n"),
        ("SPOP s", "$-1\r\n"),
        ("SPOP s 2", "*0\r\n"),
        ("SADD s a", ":1\r\n"),
        ("SPOP s", "$1\r\na\r\n"),
        ("EXISTS s", ":0\r\n"),
        ("SADD s 1 2 3", ":3\r\n"),
        ("SPOP s 3", "*3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n"),
        ("EXISTS s", ":0\r\n"),
    ]);
    fixture.protocol = Protocol::Resp3;
    fixture.check(&[
        ("SADD s a", ":1\r\n"),
        ("SRANDMEMBER s 2", "*1\r\n$1\r\na\r\n"),
        ("SMEMBERS s", "~1\r\n$1\r\na\r\n"),
        ("SMEMBERS none", "~0\r\n"),
        ("SPOP none 2", "~0\r\n"),
        ("SPOP s 2", "~1\r\n$1\r\na\r\n"),
        ("SPOP none", "_\r\n"),
        ("SRANDMEMBER none 2", "*0\r\n"),
    ]);
}

#[test]
fn sets_are_combined() {
    let mut fixture = Fixture::new(4);
    fixture.check(&[
        ("SADD a 1 2 3 4", ":4\r\n"),
        ("SADD b 2 4 6", ":3\r\n"),
        ("SADD c 4 5", ":2\r\n"),
        ("SET x x", "+OK\r\n"),
        ("SINTER a b", "*2\r\n$1\r\n2\r\n$1\r\n4\r\n"),
        ("SINTER a b c", "*1\r\n$1\r\n4\r\n"),
        ("SINTER a none", "*0\r\n"),
        ("SINTER a x", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
        ("SINTER none x", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
        (
            "SUNION a b c none",
            "*6\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n$1\r\n6\r\n",
        ),
        ("SUNION a x", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
        ("SDIFF a b", "*2\r\n$1\r\n1\r\n$1\r\n3\r\n"),
        ("SDIFF a b c", "*2\r\n$1\r\n1\r\n$1\r\n3\r\n"),
        ("SDIFF none a", "*0\r\n"),
        ("SDIFF a none", "*4\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n"),
        ("SDIFF a a", "*0\r\n"),
        ("SDIFF none x", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
        ("SINTERSTORE d a b", ":2\r\n"),
        ("SMEMBERS d", "*2\r\n$1\r\n2\r\n$1\r\n4\r\n"),
        ("SINTERSTORE d a none", ":0\r\n"),
        ("EXISTS d", ":0\r\n"),
        ("SUNIONSTORE x a b", ":5\r\n"),
        ("SMEMBERS x", "*5\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n6\r\n"),
        ("SDIFFSTORE a a b", ":2\r\n"),
        ("SMEMBERS a", "*2\r\n$1\r\n1\r\n$1\r\n3\r\n"),
        ("SDIFFSTORE a a a", ":0\r\n"),
        ("EXISTS a", ":0\r\n"),
        ("SET y y", "+OK\r\n"),
        (
            "SINTERSTORE d none y",
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        ),
        (
            "SUNIONSTORE d b y",
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        ),
        (
            "SDIFFSTORE d none y",
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        ),
        ("SINTERCARD 2 b c", ":1\r\n"),
        ("SINTERCARD 1 b LIMIT 2", ":2\r\n"),
        ("SINTERCARD 1 b LIMIT 0", ":3\r\n"),
        ("SINTERCARD 0 b", "-ERR numkeys should be greater than 0\r\n"),
        ("SINTERCARD x b", "-ERR numkeys should be greater than 0\r\n"),
        ("SINTERCARD 3 b c", "-ERR Number of keys can't be greater than number of args\r\n"),
        ("SINTERCARD 1 b LIMIT -1", "-ERR LIMIT can't be negative\r\n"),
        ("SINTERCARD 1 b LIMIT x", "-ERR LIMIT can't be negative\r\n"),
        ("SINTERCARD 1 b c", "-ERR syntax error\r\n"),
        ("SINTERCARD 1 b LIMIT", "-ERR syntax error\r\n"),
        ("SINTERCARD 2 b none", ":0\r\n"),
        (
            "SINTERCARD 2 none y",
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        ),
    ]);
    fixture.protocol = Protocol::Resp3;
    fixture.check(&[
        ("SINTER b c", "~1\r\n$1\r\n4\r\n"),
        ("SUNION none", "~0\r\n"),
        ("SDIFF b c", "~2\r\n$1\r\n2\r\n$1\r\n6\r\n"),
    ]);
}

/// No recording: what is popped is left to chance.
#[test]
fn every_member_is_popped_once() {
    let mut fixture = Fixture::new(2);
    for n in 0..300 {
        fixture.run(&format!("SADD s m{n}"));
    }
    let mut seen = std::collections::HashSet::new();
    for count in [1, 20, 200] {
        let reply = fixture.run(&format!("SPOP s {count}"));
        let popped: Vec<&str> = reply.lines().skip(2).step_by(2).collect();
        assert_eq!(popped.len(), count);
        assert!(popped.iter().all(|member| seen.insert((*member).to_owned())));
    }
    fixture.check(&[("SCARD s", ":79\r\n")]);
    let rest = fixture.run("SPOP s 500");
    let rest: Vec<&str> = rest.lines().skip(2).step_by(2).collect();
    assert_eq!(rest.len(), 79);
    assert!(rest.iter().all(|member| !seen.contains(*member)));
    fixture.check(&[("EXISTS s", ":0\r\n")]);
}

/// Words of Redis 8.2: how a result was made shows in its form.
#[test]
fn a_difference_and_what_spop_leaves_have_redis_s_form() {
    let mut fixture = Fixture::new(1);
    let members = |range: std::ops::Range<u32>| range.map(|n| format!(" m{n}")).collect::<String>();
    fixture.run(&format!("SADD big{}", members(0..150)));
    fixture.run(&format!("SADD most{}", members(0..120)));
    // Each member of the first is looked up in the other.
    fixture.run("SDIFFSTORE d big most");
    fixture.check(&[("SCARD d", ":30\r\n"), ("OBJECT ENCODING d", "$8\r\nlistpack\r\n")]);
    // Many small ones: theirs are removed from a copy of the first, which was a table.
    fixture.run(&format!("SADD few{}", members(0..30)));
    fixture.run("SDIFFSTORE d big few few few few");
    fixture.check(&[("SCARD d", ":120\r\n"), ("OBJECT ENCODING d", "$9\r\nhashtable\r\n")]);
    fixture.run("SPOP big 100");
    fixture.check(&[("OBJECT ENCODING big", "$9\r\nhashtable\r\n")]);
    fixture.run("SPOP big 45");
    fixture.check(&[("SCARD big", ":5\r\n"), ("OBJECT ENCODING big", "$8\r\nlistpack\r\n")]);
}
