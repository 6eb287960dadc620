//! Expected bytes are what Redis 8.2 replies.

use crate::command::testing::Fixture;
use crate::reply::Protocol;

fn check(fixture: &mut Fixture, line: &str, expected: &str) {
    assert_eq!(fixture.run(line), expected, "{line}");
}

#[test]
fn members_and_scores() {
    for shards in [1, 3] {
        let f = &mut Fixture::new(shards);
        check(f, "zadd z 1 a 2 b 3 c", ":3\r\n");
        check(f, "zadd z 1 a 5 b 7 d", ":1\r\n");
        check(f, "zadd z ch 1 a 6 b 8 e", ":2\r\n");
        check(f, "zadd z nx 9 a 9 f", ":1\r\n");
        check(f, "zadd z xx 9 a 9 g", ":0\r\n");
        check(f, "zadd z gt 8 a 10 b", ":0\r\n");
        check(f, "zadd z lt 1 a 20 b", ":0\r\n");
        check(f, "zadd z gt ch 100 a 1 b", ":1\r\n");
        check(f, "zadd z incr 1.5 a", "$5\r\n101.5\r\n");
        check(f, "zadd z nx incr 1.5 a", "$-1\r\n");
        check(f, "zadd z xx incr 1 nosuch", "$-1\r\n");
        check(
            f,
            "zadd z xx nx 1 a",
            "-ERR XX and NX options at the same time are not compatible\r\n",
        );
        check(
            f,
            "zadd z gt lt 1 a",
            "-ERR GT, LT, and/or NX options at the same time are not compatible\r\n",
        );
        check(
            f,
            "zadd z gt nx 1 a",
            "-ERR GT, LT, and/or NX options at the same time are not compatible\r\n",
        );
        check(
            f,
            "zadd z incr 1 a 2 b",
            "-ERR INCR option supports a single increment-element pair\r\n",
        );
        check(f, "zadd z 1 a 2", "-ERR syntax error\r\n");
        check(f, "zadd z x a", "-ERR value is not a valid float\r\n");
        check(f, "zadd z nan a", "-ERR value is not a valid float\r\n");
        check(f, "zadd z inf a", ":0\r\n");
        check(f, "zadd z incr -inf a", "-ERR resulting score is not a number (NaN)\r\n");
        check(f, "zscore z a", "$3\r\ninf\r\n");
        check(f, "zscore z nosuch", "$-1\r\n");
        check(f, "zscore nosuch a", "$-1\r\n");
        check(f, "zmscore z a nosuch b", "*3\r\n$3\r\ninf\r\n$-1\r\n$2\r\n10\r\n");
        check(f, "zmscore nosuch a", "*1\r\n$-1\r\n");
        check(f, "zincrby z 2.5 b", "$4\r\n12.5\r\n");
        check(f, "zincrby z 1 new", "$1\r\n1\r\n");
        check(f, "zincrby z x new", "-ERR value is not a valid float\r\n");
        check(f, "zincrby z inf pos", "$3\r\ninf\r\n");
        check(f, "zincrby z -inf pos", "-ERR resulting score is not a number (NaN)\r\n");
        check(f, "zcard z", ":8\r\n");
        check(f, "zcard nosuch", ":0\r\n");
        check(f, "zrem z a nosuch b", ":2\r\n");
        check(f, "zrem nosuch a", ":0\r\n");
        check(f, "zrank z c", ":1\r\n");
        check(f, "zrank z nosuch", "$-1\r\n");
        check(f, "zrank z c withscore", "*2\r\n:1\r\n$1\r\n3\r\n");
        check(f, "zrank z nosuch withscore", "*-1\r\n");
        check(f, "zrank z c x", "-ERR syntax error\r\n");
        check(f, "zrank z c withscore x", "-ERR wrong number of arguments for 'zrank' command\r\n");
        check(f, "zrevrank z c", ":4\r\n");
        check(f, "zrevrank z c withscore", "*2\r\n:4\r\n$1\r\n3\r\n");
        check(f, "zrevrank nosuch c", "$-1\r\n");
        check(f, "zrem z c d e f new pos", ":6\r\n");
        check(f, "exists z", ":0\r\n");
        check(f, "set s x", "+OK\r\n");
        check(
            f,
            "zadd s 1 a",
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        );
        check(
            f,
            "zscore s a",
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        );
        check(
            f,
            "zcard s",
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        );
        check(
            f,
            "zrank s a",
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        );
        check(
            f,
            "zrem s a",
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        );
        check(f, "zadd nosuch xx 1 a", ":0\r\n");
        check(f, "exists nosuch", ":0\r\n");
        check(f, "zadd e 1.5 \"\"", ":1\r\n");
        check(f, "zscore e \"\"", "$3\r\n1.5\r\n");
        check(f, "object encoding e", "$8\r\nlistpack\r\n");
        check(f, "zadd e 1e300 big 1e-10 small 3.0 int 0.1 tenth", ":4\r\n");
        check(
            f,
            "zrange e 0 -1 withscores",
            "*10\r\n$5\r\nsmall\r\n$5\r\n1e-10\r\n$5\r\ntenth\r\n$3\r\n0.1\r\n$0\r\n\r\n$3\r\n1.5\r\n$3\r\nint\r\n$1\r\n3\r\n$3\r\nbig\r\n$6\r\n1e+300\r\n",
        );
    }
}

#[test]
fn members_in_resp3() {
    for shards in [1, 3] {
        let f = &mut Fixture::new(shards);
        f.protocol = Protocol::Resp3;
        check(f, "zadd z 1.5 a 2 b", ":2\r\n");
        check(f, "zscore z a", ",1.5\r\n");
        check(f, "zscore z x", "_\r\n");
        check(f, "zmscore z a x", "*2\r\n,1.5\r\n_\r\n");
        check(f, "zincrby z 1 a", ",2.5\r\n");
        check(f, "zadd z incr 1 a", ",3.5\r\n");
        check(f, "zadd z nx incr 1 a", "_\r\n");
        check(f, "zrank z a withscore", "*2\r\n:1\r\n,3.5\r\n");
        check(f, "zrank z x withscore", "_\r\n");
        check(
            f,
            "zrange z 0 -1 withscores",
            "*2\r\n*2\r\n$1\r\nb\r\n,2\r\n*2\r\n$1\r\na\r\n,3.5\r\n",
        );
        check(f, "zrange z 0 -1", "*2\r\n$1\r\nb\r\n$1\r\na\r\n");
        check(f, "zrandmember nosuch", "_\r\n");
        check(f, "zrandmember nosuch 3", "*0\r\n");
        check(f, "zrandmember z 0", "*0\r\n");
        check(
            f,
            "zscan z 0",
            "*2\r\n$1\r\n0\r\n*4\r\n$1\r\nb\r\n$1\r\n2\r\n$1\r\na\r\n$3\r\n3.5\r\n",
        );
        check(f, "zscan z 0 match a*", "*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$3\r\n3.5\r\n");
        check(f, "zscan nosuch 0", "*2\r\n$1\r\n0\r\n*0\r\n");
        check(f, "zscan z x", "-ERR invalid cursor\r\n");
        check(f, "zscan z 0 count 0", "-ERR syntax error\r\n");
    }
}

#[test]
fn scans_and_random_members() {
    for shards in [1, 3] {
        let f = &mut Fixture::new(shards);
        check(f, "zadd z 1 a 2.5 b", ":2\r\n");
        check(
            f,
            "zscan z 0",
            "*2\r\n$1\r\n0\r\n*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$3\r\n2.5\r\n",
        );
        check(f, "zscan z 0 noscores", "*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n");
        check(f, "zscan z 0 novalues", "-ERR syntax error\r\n");
        check(f, "zscan z 0 match b", "*2\r\n$1\r\n0\r\n*2\r\n$1\r\nb\r\n$3\r\n2.5\r\n");
        check(f, "zscan z 0 count x", "-ERR value is not an integer or out of range\r\n");
        check(f, "zrandmember z 5 withscores x", "-ERR syntax error\r\n");
        check(f, "zrandmember z 5 scores", "-ERR syntax error\r\n");
        check(f, "zrandmember nosuch", "$-1\r\n");
        check(f, "zrandmember nosuch 1", "*0\r\n");
        check(f, "zrandmember z x", "-ERR value is not an integer or out of range\r\n");
        check(
            f,
            "zrandmember z -9223372036854775808",
            "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807\r\n",
        );
        check(f, "zadd one 3 m", ":1\r\n");
        check(f, "zrandmember one", "$1\r\nm\r\n");
        check(f, "zrandmember one 2", "*1\r\n$1\r\nm\r\n");
        check(
            f,
            "zrandmember one -2 withscores",
            "*4\r\n$1\r\nm\r\n$1\r\n3\r\n$1\r\nm\r\n$1\r\n3\r\n",
        );
        check(f, "set s x", "+OK\r\n");
        check(
            f,
            "zrandmember s",
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        );
        check(
            f,
            "zscan s 0",
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        );
    }
}

/// As Redis 7.0.15 answers.
#[test]
fn an_option_is_no_increment() {
    let mut fixture = Fixture::new(1);
    fixture.check(&[
        ("zincrby z NX m", "-ERR syntax error\r\n"),
        ("zincrby z incr xx", "-ERR syntax error\r\n"),
        ("zincrby z odd m", "-ERR value is not a valid float\r\n"),
        ("zincrby z 1 nx", "$1\r\n1\r\n"),
    ]);
}
