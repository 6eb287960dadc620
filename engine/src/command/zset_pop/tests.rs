//! Expected bytes are what Redis 8.2 replies.

use crate::command::testing::Fixture;
use crate::reply::Protocol;

fn check(fixture: &mut Fixture, line: &str, expected: &str) {
    assert_eq!(fixture.run(line), expected, "{line}");
}

#[test]
fn from_either_end() {
    for shards in [1, 3] {
        let f = &mut Fixture::new(shards);
        check(f, "zadd z 1 a 2 b 3 c 4 d 5 e", ":5\r\n");
        check(f, "zpopmin z", "*2\r\n$1\r\na\r\n$1\r\n1\r\n");
        check(f, "zpopmax z", "*2\r\n$1\r\ne\r\n$1\r\n5\r\n");
        check(f, "zpopmin z 2", "*4\r\n$1\r\nb\r\n$1\r\n2\r\n$1\r\nc\r\n$1\r\n3\r\n");
        check(f, "zpopmax z 0", "*0\r\n");
        check(f, "zpopmax z -1", "-ERR value is out of range, must be positive\r\n");
        check(f, "zpopmax z x", "-ERR value is out of range, must be positive\r\n");
        check(f, "zpopmax z 1 2", "-ERR syntax error\r\n");
        check(f, "zpopmin nosuch", "*0\r\n");
        check(f, "zpopmin nosuch 2", "*0\r\n");
        check(f, "zpopmin z 10", "*2\r\n$1\r\nd\r\n$1\r\n4\r\n");
        check(f, "exists z", ":0\r\n");
        check(f, "zadd z 1 a 2 b", ":2\r\n");
        check(f, "bzpopmin z 0", "*3\r\n$1\r\nz\r\n$1\r\na\r\n$1\r\n1\r\n");
        check(f, "bzpopmax nosuch z 0", "*3\r\n$1\r\nz\r\n$1\r\nb\r\n$1\r\n2\r\n");
        check(f, "exists z", ":0\r\n");
        check(f, "zadd z 1 a 2 b", ":2\r\n");
        check(f, "bzpopmin z x", "-ERR timeout is not a float or out of range\r\n");
        check(f, "bzpopmin z -1", "-ERR timeout is negative\r\n");
        check(f, "set s x", "+OK\r\n");
        check(
            f,
            "zpopmin s",
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        );
        check(
            f,
            "bzpopmin s 0",
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        );
        check(f, "zmpop 1 z min", "*2\r\n$1\r\nz\r\n*1\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n");
        check(
            f,
            "zmpop 2 nosuch z max count 5",
            "*2\r\n$1\r\nz\r\n*1\r\n*2\r\n$1\r\nb\r\n$1\r\n2\r\n",
        );
        check(f, "zmpop 1 z min", "*-1\r\n");
        check(f, "zmpop 0 z min", "-ERR numkeys should be greater than 0\r\n");
        check(f, "zmpop 1 z x", "-ERR syntax error\r\n");
        check(f, "zmpop 5 z min", "-ERR syntax error\r\n");
        check(f, "zmpop 1 z min count 0", "-ERR count should be greater than 0\r\n");
        check(f, "zmpop 1 z min count x", "-ERR count should be greater than 0\r\n");
        check(f, "zmpop 1 z min count 1 count 1", "-ERR syntax error\r\n");
        check(f, "zadd z 1 a", ":1\r\n");
        check(f, "bzmpop 0 1 z min", "*2\r\n$1\r\nz\r\n*1\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n");
        check(f, "zadd z 1 a", ":1\r\n");
        check(f, "bzmpop x 1 z min", "-ERR timeout is not a float or out of range\r\n");
        check(f, "bzmpop 0 1 z max count 3", "*2\r\n$1\r\nz\r\n*1\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n");
    }
}

#[test]
fn in_resp3() {
    for shards in [1, 3] {
        let f = &mut Fixture::new(shards);
        f.protocol = Protocol::Resp3;
        check(f, "zadd z 1 a 2 b 3 c 4 d 5 e", ":5\r\n");
        check(f, "zpopmin z", "*2\r\n$1\r\na\r\n,1\r\n");
        check(f, "zpopmin z 2", "*2\r\n*2\r\n$1\r\nb\r\n,2\r\n*2\r\n$1\r\nc\r\n,3\r\n");
        check(f, "zpopmax nosuch", "*0\r\n");
        check(f, "zpopmax z 0", "*0\r\n");
        check(f, "bzpopmax z 0", "*3\r\n$1\r\nz\r\n$1\r\ne\r\n,5\r\n");
        check(f, "zmpop 1 z min", "*2\r\n$1\r\nz\r\n*1\r\n*2\r\n$1\r\nd\r\n,4\r\n");
        check(f, "zmpop 1 z min", "_\r\n");
    }
}

#[test]
fn the_time_to_wait_is_read_last() {
    let mut fixture = Fixture::new(1);
    let negative = "-ERR timeout is negative\r\n";
    for (pops, end) in [("BZMPOP", "MIN"), ("BLMPOP", "LEFT")] {
        let counts = "-ERR count should be greater than 0\r\n";
        assert_eq!(fixture.run(&format!("{pops} abc 1 k {end} COUNT 0")), counts);
        assert_eq!(fixture.run(&format!("{pops} abc 1 k odd")), "-ERR syntax error\r\n");
        assert_eq!(fixture.run(&format!("{pops} -1 1 k {end}")), negative);
    }
    let wide = "-ERR timeout is out of range\r\n";
    fixture.check(&[("BLPOP k 1e4000", wide), ("BZPOPMIN k 9223372036854775", wide)]);
    fixture.check(&[("BLPOP k -1e4000", negative), ("BLPOP k -inf", negative)]);
}
