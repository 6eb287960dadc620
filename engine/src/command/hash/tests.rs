//! Replies recorded from Redis 7.0.15.

use crate::command::testing::Fixture;
use crate::reply::Protocol;

#[test]
fn fields_are_set_read_and_deleted() {
    let mut fixture = Fixture::new(1);
    fixture.check(&[
        ("HSET h a 1 b 2 a 3", ":2\r\n"),
        ("HSET h a 1 b", "-ERR wrong number of arguments for 'hset' command\r\n"),
        ("HMSET h c 3 d", "-ERR wrong number of arguments for 'hmset' command\r\n"),
        ("HMSET h c 3", "+OK\r\n"),
        ("HSETNX h c 4", ":0\r\n"),
        ("HSETNX h e 5", ":1\r\n"),
        ("HGET h a", "$1\r\n3\r\n"),
        ("HGET h no", "$-1\r\n"),
        ("HGET none a", "$-1\r\n"),
        ("HMGET h a no b", "*3\r\n$1\r\n3\r\n$-1\r\n$1\r\n2\r\n"),
        ("HMGET none a b", "*2\r\n$-1\r\n$-1\r\n"),
        ("HGETALL h", "*8\r\n$1\r\na\r\n$1\r\n3\r\n$1\r\nb\r\n$1\r\n2\r\n$1\r\nc\r\n$1\r\n3\r\n$1\r\ne\r\n$1\r\n5\r\n"),
        ("HGETALL none", "*0\r\n"),
        ("HKEYS h", "*4\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\ne\r\n"),
        ("HVALS h", "*4\r\n$1\r\n3\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n5\r\n"),
        ("HKEYS none", "*0\r\n"),
        ("HLEN h", ":4\r\n"),
        ("HLEN none", ":0\r\n"),
        ("HEXISTS h a", ":1\r\n"),
        ("HEXISTS h no", ":0\r\n"),
        ("HSTRLEN h a", ":1\r\n"),
        ("HSTRLEN h no", ":0\r\n"),
        ("HDEL h a no a", ":1\r\n"),
        ("HDEL none a", ":0\r\n"),
        ("HDEL h b c e", ":3\r\n"),
        ("EXISTS h", ":0\r\n"),
        ("SET s x", "+OK\r\n"),
        ("HSET s a 1", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
        ("HGET s a", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
        ("HDEL s a", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
        ("HGETALL s", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
        ("HINCRBY s a 1", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
        ("HSETNX s a 1", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
        ("HSCAN s 0", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
    ]);
    fixture.protocol = Protocol::Resp3;
    fixture.check(&[
        ("HSET h a 1 b 2", ":2\r\n"),
        ("HGETALL h", "%2\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n"),
        ("HGETALL none", "%0\r\n"),
        ("HGET none a", "_\r\n"),
        ("HKEYS h", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        ("HVALS none", "*0\r\n"),
        ("HSCAN h 0", "*2\r\n$1\r\n0\r\n*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n"),
    ]);
}

#[test]
fn fields_count() {
    let mut fixture = Fixture::new(4);
    fixture.check(&[
        ("HINCRBY h n 5", ":5\r\n"),
        ("HINCRBY h n -7", ":-2\r\n"),
        ("HINCRBY h n x", "-ERR value is not an integer or out of range\r\n"),
        ("HSET h t text m 9223372036854775807", ":2\r\n"),
        ("HINCRBY h t 1", "-ERR hash value is not an integer\r\n"),
        ("HINCRBY h m 1", "-ERR increment or decrement would overflow\r\n"),
        ("HINCRBYFLOAT h f 0.1", "$3\r\n0.1\r\n"),
        ("HINCRBYFLOAT h f 0.2", "$3\r\n0.3\r\n"),
        ("HINCRBYFLOAT h t 1", "-ERR hash value is not a float\r\n"),
        ("HINCRBYFLOAT h f x", "-ERR value is not a valid float\r\n"),
        ("HINCRBYFLOAT h f inf", "-ERR value is NaN or Infinity\r\n"),
        ("HINCRBYFLOAT h f nan", "-ERR value is not a valid float\r\n"),
        ("HINCRBYFLOAT none f x", "-ERR value is not a valid float\r\n"),
        ("EXISTS none", ":0\r\n"),
        ("HGET h f", "$3\r\n0.3\r\n"),
        ("HINCRBYFLOAT h n 3.0e3", "$4\r\n2998\r\n"),
    ]);
}

#[test]
fn random_fields_and_scans() {
    let mut fixture = Fixture::new(1);
    fixture.check(&[
        ("HRANDFIELD none", "$-1\r\n"),
        ("HRANDFIELD none 3", "*0\r\n"),
        ("HSET h a 1", ":1\r\n"),
        ("HRANDFIELD h", "$1\r\na\r\n"),
        ("HRANDFIELD h 5", "*1\r\n$1\r\na\r\n"),
        ("HRANDFIELD h -2", "*2\r\n$1\r\na\r\n$1\r\na\r\n"),
        ("HRANDFIELD h 0", "*0\r\n"),
        ("HRANDFIELD h 5 WITHVALUES", "*2\r\n$1\r\na\r\n$1\r\n1\r\n"),
        ("HRANDFIELD h -2 WITHVALUES", "*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\na\r\n$1\r\n1\r\n"),
        ("HRANDFIELD h x", "-ERR value is not an integer or out of range\r\n"),
        ("HRANDFIELD h 1 WITHVALUE", "-ERR syntax error\r\n"),
        ("HRANDFIELD h 1 WITHVALUES x", "-ERR syntax error\r\n"),
        ("HRANDFIELD h -9223372036854775808", "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807\r\n"),
        ("HRANDFIELD h -9223372036854775807 WITHVALUES", "-ERR value is out of range\r\n"),
        ("HSCAN h 0", "*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n"),
        ("HSCAN h x", "-ERR invalid cursor\r\n"),
        ("HSCAN none x", "-ERR invalid cursor\r\n"),
        ("HSCAN none 0 NOSUCH", "*2\r\n$1\r\n0\r\n*0\r\n"),
        ("HSCAN h 0 NOSUCH", "-ERR syntax error\r\n"),
        ("HSCAN h 0 COUNT 0", "-ERR syntax error\r\n"),
        ("HSCAN h 0 COUNT x", "-ERR value is not an integer or out of range\r\n"),
        ("HSCAN h 0 MATCH b*", "*2\r\n$1\r\n0\r\n*0\r\n"),
        ("HSCAN h 0 MATCH a* COUNT 1", "*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n"),
    ]);
    fixture.protocol = Protocol::Resp3;
    fixture.check(&[
        ("HRANDFIELD h 5 WITHVALUES", "*1\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n"),
        (
            "HRANDFIELD h -2 WITHVALUES",
            "*2\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n",
        ),
        ("HRANDFIELD none 2 WITHVALUES", "*0\r\n"),
        ("HRANDFIELD none", "_\r\n"),
    ]);
}

/// No recording: what is chosen is left to chance, and NOVALUES is younger than 7.0.
#[test]
fn large_hashes_are_chosen_from_and_scanned() {
    let mut fixture = Fixture::new(2);
    for n in 0..300 {
        fixture.run(&format!("HSET h f{n} v{n}"));
    }
    for count in [1, 50, 299, 300, 1000] {
        let reply = fixture.run(&format!("HRANDFIELD h {count}"));
        let mut fields: Vec<&str> = reply.lines().skip(2).step_by(2).collect();
        fields.sort();
        fields.dedup();
        assert_eq!(fields.len(), count.min(300));
    }
    let names_only = fixture.run("HSCAN h 0 COUNT 1000 NOVALUES");
    assert!(names_only.contains("f299\r\n") && !names_only.contains("v299\r\n"));
    assert!(fixture.run("HRANDFIELD h -99999999").starts_with("-ERR value is out of range"));
}
