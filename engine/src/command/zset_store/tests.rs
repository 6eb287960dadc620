//! Expected bytes are what Redis 8.2 replies.

use crate::command::testing::Fixture;
use crate::reply::Protocol;

fn check(fixture: &mut Fixture, line: &str, expected: &str) {
    assert_eq!(fixture.run(line), expected, "{line}");
}

#[test]
fn combined() {
    for shards in [1, 3] {
        let f = &mut Fixture::new(shards);
        check(f, "zadd a 1 x 2 y 3 z", ":3\r\n");
        check(f, "zadd b 10 y 20 z 30 w", ":3\r\n");
        check(f, "sadd s x w q", ":3\r\n");
        check(
            f,
            "zunion 2 a b withscores",
            "*8\r\n$1\r\nx\r\n$1\r\n1\r\n$1\r\ny\r\n$2\r\n12\r\n$1\r\nz\r\n$2\r\n23\r\n$1\r\nw\r\n$2\r\n30\r\n",
        );
        check(f, "zunion 2 a b", "*4\r\n$1\r\nx\r\n$1\r\ny\r\n$1\r\nz\r\n$1\r\nw\r\n");
        check(
            f,
            "zunion 2 a b weights 2 3 withscores",
            "*8\r\n$1\r\nx\r\n$1\r\n2\r\n$1\r\ny\r\n$2\r\n34\r\n$1\r\nz\r\n$2\r\n66\r\n$1\r\nw\r\n$2\r\n90\r\n",
        );
        check(
            f,
            "zunion 2 a b aggregate min withscores",
            "*8\r\n$1\r\nx\r\n$1\r\n1\r\n$1\r\ny\r\n$1\r\n2\r\n$1\r\nz\r\n$1\r\n3\r\n$1\r\nw\r\n$2\r\n30\r\n",
        );
        check(
            f,
            "zunion 2 a b aggregate max weights 1 -1 withscores",
            "*8\r\n$1\r\nw\r\n$3\r\n-30\r\n$1\r\nx\r\n$1\r\n1\r\n$1\r\ny\r\n$1\r\n2\r\n$1\r\nz\r\n$1\r\n3\r\n",
        );
        check(f, "zinter 2 a b withscores", "*4\r\n$1\r\ny\r\n$2\r\n12\r\n$1\r\nz\r\n$2\r\n23\r\n");
        check(
            f,
            "zinter 2 a b aggregate max withscores",
            "*4\r\n$1\r\ny\r\n$2\r\n10\r\n$1\r\nz\r\n$2\r\n20\r\n",
        );
        check(f, "zinter 2 a nosuch", "*0\r\n");
        check(f, "zinter 2 a s withscores", "*2\r\n$1\r\nx\r\n$1\r\n2\r\n");
        check(f, "zdiff 2 a b withscores", "*2\r\n$1\r\nx\r\n$1\r\n1\r\n");
        check(f, "zdiff 2 a s", "*2\r\n$1\r\ny\r\n$1\r\nz\r\n");
        check(f, "zdiff 1 nosuch", "*0\r\n");
        check(f, "zdiff 2 a b weights 1 2", "-ERR syntax error\r\n");
        check(f, "zunion 0 a", "-ERR at least 1 input key is needed for 'zunion' command\r\n");
        check(f, "zunion x a", "-ERR value is not an integer or out of range\r\n");
        check(f, "zunion 3 a b", "-ERR syntax error\r\n");
        check(f, "zunion 2 a b weights 1", "-ERR syntax error\r\n");
        check(f, "zunion 2 a b weights 1 x", "-ERR weight value is not a float\r\n");
        check(f, "zunion 2 a b aggregate avg", "-ERR syntax error\r\n");
        check(f, "zunion 2 a b nosuch", "-ERR syntax error\r\n");
        check(f, "set str v", "+OK\r\n");
        check(
            f,
            "zunion 2 a str",
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        );
        check(f, "zunionstore t 2 a b", ":4\r\n");
        check(
            f,
            "zrange t 0 -1 withscores",
            "*8\r\n$1\r\nx\r\n$1\r\n1\r\n$1\r\ny\r\n$2\r\n12\r\n$1\r\nz\r\n$2\r\n23\r\n$1\r\nw\r\n$2\r\n30\r\n",
        );
        check(f, "zunionstore t 2 a b withscores", "-ERR syntax error\r\n");
        check(f, "zinterstore t 2 a b weights 2 1", ":2\r\n");
        check(
            f,
            "zrange t 0 -1 withscores",
            "*4\r\n$1\r\ny\r\n$2\r\n14\r\n$1\r\nz\r\n$2\r\n26\r\n",
        );
        check(f, "zinterstore t 2 a nosuch", ":0\r\n");
        check(f, "exists t", ":0\r\n");
        check(f, "zdiffstore t 2 a b", ":1\r\n");
        check(f, "zrange t 0 -1 withscores", "*2\r\n$1\r\nx\r\n$1\r\n1\r\n");
        check(f, "zdiffstore a 1 a", ":3\r\n");
        check(f, "zunionstore str 1 s", ":3\r\n");
        check(f, "type str", "+zset\r\n");
        check(f, "zintercard 2 a b", ":2\r\n");
        check(f, "zintercard 2 a b limit 1", ":1\r\n");
        check(f, "zintercard 2 a b limit 0", ":2\r\n");
        check(f, "zintercard 2 a b limit -1", "-ERR LIMIT can't be negative\r\n");
        check(f, "zintercard 2 a b limit x", "-ERR LIMIT can't be negative\r\n");
        check(
            f,
            "zintercard 0 a",
            "-ERR at least 1 input key is needed for 'zintercard' command\r\n",
        );
        check(f, "zintercard 5 a b", "-ERR syntax error\r\n");
        check(f, "zintercard x a", "-ERR value is not an integer or out of range\r\n");
        check(f, "zintercard 1 a nosuch 1", "-ERR syntax error\r\n");
        check(
            f,
            "zunionstore t 0 a",
            "-ERR at least 1 input key is needed for 'zunionstore' command\r\n",
        );
        check(
            f,
            "zinterstore t 0 a",
            "-ERR at least 1 input key is needed for 'zinterstore' command\r\n",
        );
        check(
            f,
            "zdiffstore t 0 a",
            "-ERR at least 1 input key is needed for 'zdiffstore' command\r\n",
        );
        check(f, "zadd i inf m", ":1\r\n");
        check(f, "zadd j -inf m", ":1\r\n");
        check(f, "zunion 2 i j withscores", "*2\r\n$1\r\nm\r\n$1\r\n0\r\n");
        check(f, "zunion 1 i weights 0 withscores", "*2\r\n$1\r\nm\r\n$1\r\n0\r\n");
    }
}

#[test]
fn in_resp3() {
    for shards in [1, 3] {
        let f = &mut Fixture::new(shards);
        f.protocol = Protocol::Resp3;
        check(f, "zadd a 1 x 2.5 y", ":2\r\n");
        check(f, "zadd b 1 y", ":1\r\n");
        check(
            f,
            "zunion 2 a b withscores",
            "*2\r\n*2\r\n$1\r\nx\r\n,1\r\n*2\r\n$1\r\ny\r\n,3.5\r\n",
        );
        check(f, "zinter 2 a b withscores", "*1\r\n*2\r\n$1\r\ny\r\n,3.5\r\n");
        check(f, "zdiff 2 a b withscores", "*1\r\n*2\r\n$1\r\nx\r\n,1\r\n");
        check(f, "zdiff 2 a b", "*1\r\n$1\r\nx\r\n");
    }
}

#[test]
fn keys_are_looked_at_before_options() {
    let mut fixture = Fixture::new(2);
    let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
    fixture.check(&[
        ("set s x", "+OK\r\n"),
        ("zunion 2 z s odd", wrong),
        ("zinter 2 s z weights 1 x", wrong),
        ("zdiffstore d 2 z s odd", wrong),
        ("zintercard 2 z s limit -1", wrong),
        ("zunion 2 z none odd", "-ERR syntax error\r\n"),
    ]);
}

/// As Redis 7.2: the packed form keeps an integer, and no integer is -0.
#[test]
fn the_packed_form_knows_no_negative_zero() {
    let mut fixture = Fixture::new(1);
    fixture.check(&[
        ("zadd z -0 a", ":1\r\n"),
        ("zscore z a", "$1\r\n0\r\n"),
        ("zunion 1 z weights -1 withscores", "*2\r\n$1\r\na\r\n$2\r\n-0\r\n"),
        ("zunionstore u 1 z weights -1", ":1\r\n"),
        ("zscore u a", "$1\r\n0\r\n"),
    ]);
}

/// (0.1 + 0.2) + 0.3 is another double than (0.2 + 0.3) + 0.1.
#[test]
fn scores_are_added_from_the_smallest_set_on() {
    let mut fixture = Fixture::new(2);
    fixture.check(&[
        ("zadd a 0.1 x 1 y", ":2\r\n"),
        ("zadd b 0.2 x", ":1\r\n"),
        ("zadd c 0.3 x", ":1\r\n"),
        ("zunion 3 a b c withscores", "*4\r\n$1\r\nx\r\n$3\r\n0.6\r\n$1\r\ny\r\n$1\r\n1\r\n"),
        ("zinter 3 a b c withscores", "*2\r\n$1\r\nx\r\n$3\r\n0.6\r\n"),
    ]);
}
