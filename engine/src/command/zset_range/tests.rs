//! Expected bytes are what Redis 8.2 replies.

use crate::command::testing::Fixture;
use crate::reply::Protocol;

fn check(fixture: &mut Fixture, line: &str, expected: &str) {
    assert_eq!(fixture.run(line), expected, "{line}");
}

#[test]
fn by_rank_and_score() {
    for shards in [1, 3] {
        let f = &mut Fixture::new(shards);
        check(f, "zadd z 1 a 2 b 3 c 4 d 5 e", ":5\r\n");
        check(f, "zrange z 0 -1", "*5\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n");
        check(f, "zrange z 1 2 withscores", "*4\r\n$1\r\nb\r\n$1\r\n2\r\n$1\r\nc\r\n$1\r\n3\r\n");
        check(f, "zrange z -2 -1", "*2\r\n$1\r\nd\r\n$1\r\ne\r\n");
        check(f, "zrange z 3 1", "*0\r\n");
        check(
            f,
            "zrange z 0 -1 rev",
            "*5\r\n$1\r\ne\r\n$1\r\nd\r\n$1\r\nc\r\n$1\r\nb\r\n$1\r\na\r\n",
        );
        check(
            f,
            "zrange z 0 1 rev withscores",
            "*4\r\n$1\r\ne\r\n$1\r\n5\r\n$1\r\nd\r\n$1\r\n4\r\n",
        );
        check(f, "zrange z 2 4 byscore", "*3\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n");
        check(f, "zrange z (2 4 byscore", "*2\r\n$1\r\nc\r\n$1\r\nd\r\n");
        check(f, "zrange z (2 (4 byscore withscores", "*2\r\n$1\r\nc\r\n$1\r\n3\r\n");
        check(f, "zrange z -inf +inf byscore limit 1 2", "*2\r\n$1\r\nb\r\n$1\r\nc\r\n");
        check(f, "zrange z -inf +inf byscore limit -1 2", "*0\r\n");
        check(
            f,
            "zrange z -inf +inf byscore limit 1 -1",
            "*4\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n",
        );
        check(f, "zrange z 4 2 byscore rev", "*3\r\n$1\r\nd\r\n$1\r\nc\r\n$1\r\nb\r\n");
        check(f, "zrange z +inf -inf byscore rev limit 1 2", "*2\r\n$1\r\nd\r\n$1\r\nc\r\n");
        check(f, "zrange z 2 4 byscore rev", "*0\r\n");
        check(
            f,
            "zrange z 0 -1 limit 1 2",
            "-ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX\r\n",
        );
        check(f, "zrange z x 1", "-ERR value is not an integer or out of range\r\n");
        check(f, "zrange z 0 1 nosuch", "-ERR syntax error\r\n");
        check(f, "zrange z x 4 byscore", "-ERR min or max is not a float\r\n");
        check(f, "zrange z a 4 bylex", "-ERR min or max not valid string range item\r\n");
        check(
            f,
            "zrange z 0 1 bylex withscores",
            "-ERR syntax error, WITHSCORES not supported in combination with BYLEX\r\n",
        );
        check(
            f,
            "zrange z - + bylex withscores",
            "-ERR syntax error, WITHSCORES not supported in combination with BYLEX\r\n",
        );
        check(f, "zrange nosuch 0 -1", "*0\r\n");
        check(f, "zrange nosuch x 1", "-ERR value is not an integer or out of range\r\n");
        check(f, "zrevrange z 0 1", "*2\r\n$1\r\ne\r\n$1\r\nd\r\n");
        check(
            f,
            "zrevrange z 0 1 withscores",
            "*4\r\n$1\r\ne\r\n$1\r\n5\r\n$1\r\nd\r\n$1\r\n4\r\n",
        );
        check(f, "zrevrange z 0 1 rev", "-ERR syntax error\r\n");
        check(
            f,
            "zrevrange z 0 1 limit 0 1",
            "-ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX\r\n",
        );
        check(f, "zrangebyscore z 2 4", "*3\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n");
        check(f, "zrangebyscore z 2 4 withscores limit 1 1", "*2\r\n$1\r\nc\r\n$1\r\n3\r\n");
        check(f, "zrangebyscore z (1 inf", "*4\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n");
        check(f, "zrangebyscore z 1 2 limit 0", "-ERR syntax error\r\n");
        check(f, "zrangebyscore z nan 1", "-ERR min or max is not a float\r\n");
        check(f, "zrevrangebyscore z 4 2", "*3\r\n$1\r\nd\r\n$1\r\nc\r\n$1\r\nb\r\n");
        check(
            f,
            "zrevrangebyscore z +inf (3 withscores",
            "*4\r\n$1\r\ne\r\n$1\r\n5\r\n$1\r\nd\r\n$1\r\n4\r\n",
        );
        check(f, "zcount z 2 4", ":3\r\n");
        check(f, "zcount z (2 4", ":2\r\n");
        check(f, "zcount z -inf inf", ":5\r\n");
        check(f, "zcount z x 4", "-ERR min or max is not a float\r\n");
        check(f, "zcount nosuch 1 2", ":0\r\n");
        check(f, "zlexcount z - +", ":5\r\n");
        check(f, "zlexcount z x +", "-ERR min or max not valid string range item\r\n");
        check(f, "set s x", "+OK\r\n");
        check(
            f,
            "zrange s 0 -1",
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        );
        check(
            f,
            "zcount s 1 2",
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        );
        check(
            f,
            "zrangebyscore s 1 2",
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        );
    }
}

#[test]
fn by_member() {
    for shards in [1, 3] {
        let f = &mut Fixture::new(shards);
        check(f, "zadd l 0 a 0 b 0 c 0 d 0 e", ":5\r\n");
        check(
            f,
            "zrangebylex l - +",
            "*5\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n",
        );
        check(f, "zrangebylex l [b [d", "*3\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n");
        check(f, "zrangebylex l (b (d", "*1\r\n$1\r\nc\r\n");
        check(f, "zrangebylex l - (c", "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
        check(f, "zrangebylex l [c +", "*3\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n");
        check(f, "zrangebylex l + -", "*0\r\n");
        check(f, "zrangebylex l - + limit 1 2", "*2\r\n$1\r\nb\r\n$1\r\nc\r\n");
        check(
            f,
            "zrangebylex l - + withscores",
            "-ERR syntax error, WITHSCORES not supported in combination with BYLEX\r\n",
        );
        check(f, "zrangebylex l b [d", "-ERR min or max not valid string range item\r\n");
        check(
            f,
            "zrevrangebylex l + -",
            "*5\r\n$1\r\ne\r\n$1\r\nd\r\n$1\r\nc\r\n$1\r\nb\r\n$1\r\na\r\n",
        );
        check(f, "zrevrangebylex l [d [b", "*3\r\n$1\r\nd\r\n$1\r\nc\r\n$1\r\nb\r\n");
        check(f, "zrevrangebylex l [d (b limit 0 1", "*1\r\n$1\r\nd\r\n");
        check(f, "zrange l [b [d bylex", "*3\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n");
        check(f, "zrange l [d [b bylex rev", "*3\r\n$1\r\nd\r\n$1\r\nc\r\n$1\r\nb\r\n");
        check(f, "zlexcount l [b (d", ":2\r\n");
        check(f, "zlexcount l + -", ":0\r\n");
        check(f, "zremrangebylex l [b (d", ":2\r\n");
        check(f, "zremrangebylex l x y", "-ERR min or max not valid string range item\r\n");
        check(f, "zrange l 0 -1", "*3\r\n$1\r\na\r\n$1\r\nd\r\n$1\r\ne\r\n");
    }
}

#[test]
fn stored_and_removed() {
    for shards in [1, 3] {
        let f = &mut Fixture::new(shards);
        check(f, "zadd z 1 a 2 b 3 c 4 d 5 e", ":5\r\n");
        check(f, "zrangestore t z 1 2", ":2\r\n");
        check(f, "zrange t 0 -1 withscores", "*4\r\n$1\r\nb\r\n$1\r\n2\r\n$1\r\nc\r\n$1\r\n3\r\n");
        check(f, "zrangestore t z 2 4 byscore", ":3\r\n");
        check(f, "zrangestore t z 4 2 byscore rev limit 0 1", ":1\r\n");
        check(f, "zrange t 0 -1 withscores", "*2\r\n$1\r\nd\r\n$1\r\n4\r\n");
        check(f, "zrangestore t z 9 10", ":0\r\n");
        check(f, "exists t", ":0\r\n");
        check(f, "zrangestore t z 0 1 withscores", "-ERR syntax error\r\n");
        check(
            f,
            "zrangestore t z 0 1 limit 0 1",
            "-ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX\r\n",
        );
        check(f, "zrangestore t nosuch 0 -1", ":0\r\n");
        check(f, "set t x", "+OK\r\n");
        check(f, "zrangestore t z 0 -1", ":5\r\n");
        check(f, "zcard t", ":5\r\n");
        check(f, "set s x", "+OK\r\n");
        check(
            f,
            "zrangestore t s 0 -1",
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        );
        check(f, "zremrangebyrank z 0 1", ":2\r\n");
        check(f, "zremrangebyrank z x 1", "-ERR value is not an integer or out of range\r\n");
        check(f, "zremrangebyrank z 5 9", ":0\r\n");
        check(f, "zremrangebyscore z 4 4", ":1\r\n");
        check(f, "zremrangebyscore z (4 inf", ":1\r\n");
        check(f, "zremrangebyscore z x 1", "-ERR min or max is not a float\r\n");
        check(f, "zremrangebyscore nosuch 1 2", ":0\r\n");
        check(f, "zrange z 0 -1", "*1\r\n$1\r\nc\r\n");
        check(f, "zremrangebyrank z -1 -1", ":1\r\n");
        check(f, "exists z", ":0\r\n");
        check(
            f,
            "zremrangebyrank s 0 1",
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        );
    }
}

#[test]
fn in_resp3() {
    for shards in [1, 3] {
        let f = &mut Fixture::new(shards);
        f.protocol = Protocol::Resp3;
        check(f, "zadd z 1 a 2 b 3.5 c", ":3\r\n");
        check(
            f,
            "zrange z 0 -1 withscores",
            "*3\r\n*2\r\n$1\r\na\r\n,1\r\n*2\r\n$1\r\nb\r\n,2\r\n*2\r\n$1\r\nc\r\n,3.5\r\n",
        );
        check(f, "zrevrange z 0 0 withscores", "*1\r\n*2\r\n$1\r\nc\r\n,3.5\r\n");
        check(
            f,
            "zrangebyscore z 2 9 withscores",
            "*2\r\n*2\r\n$1\r\nb\r\n,2\r\n*2\r\n$1\r\nc\r\n,3.5\r\n",
        );
        check(f, "zrange nosuch 0 -1", "*0\r\n");
    }
}

#[test]
fn bounds_are_read_as_c_reads_them() {
    let mut fixture = Fixture::new(1);
    fixture.run("ZADD z 1 a 2 b 3 c");
    for (min, max, count) in [
        (&b"-1e400"[..], &b"1e400"[..], ":3\r\n"),
        (b"1e-400", b" 2", ":2\r\n"),
        (b"", b"0x2", ":2\r\n"),
        (b"(", b"( 3", ":2\r\n"),
        (b"1 ", b"3", "-ERR min or max is not a float\r\n"),
        (b"nan", b"3", "-ERR min or max is not a float\r\n"),
    ] {
        let reply = fixture.run_words(&[b"ZCOUNT", b"z", min, max]);
        assert_eq!(String::from_utf8(reply).unwrap(), count, "{min:?} {max:?}");
    }
}

/// Redis 7.0.15.
#[test]
fn bounds_and_options_at_their_edges() {
    let mut fixture = Fixture::new(1);
    fixture.run("zadd z 0 a 1 b 2 c 3 d");
    let not_a_float = "-ERR min or max is not a float\r\n";
    fixture.check(&[
        ("zcount z ( 5", ":3\r\n"),
        ("zcount z \"\" 5", ":4\r\n"),
        ("zcount z (0x1 5", ":2\r\n"),
        ("zcount z 1e-400 1e400", ":4\r\n"),
        ("zcount z -1e400 (+1", ":1\r\n"),
        ("zcount z ((1 5", not_a_float),
        ("zcount z 1e 5", not_a_float),
        ("zrange z 0 0 limit 0 -1", "*1\r\n$1\r\na\r\n"),
        ("zrange z 1 1 byscore byscore", "-ERR syntax error\r\n"),
        ("zrange z 1 1 bylex byscore", "-ERR syntax error\r\n"),
        ("zrange z 0 0 rev rev", "-ERR syntax error\r\n"),
    ]);
}
