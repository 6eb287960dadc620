//! Replies as Redis 7.0 gave them to the same lines.

use crate::command::keys::{key_positions, needs_all_shards};
use crate::command::table;
use crate::command::testing::Fixture;

/// A fixture with a list, a set of integers, a set of texts and a sorted set.
fn fixture() -> Fixture {
    let mut fixture = Fixture::new(4);
    for line in [
        "RPUSH l 3 1 2 10 -5 1.5",
        "SADD s 3 1 2 10",
        "SADD t b a c 10 9",
        "ZADD z 1 c 2 b 3 a 4 d",
        "MSET w_1 5 w_2 4 w_3 3 w_10 2",
        "MSET v_1 e v_2 d v_3 c",
        "HSET o_1 f 10 g x",
        "HSET o_2 f 5",
        "HSET o_3 f 7",
        "SET text x",
    ] {
        fixture.run(line);
    }
    fixture
}

/// The elements of an array reply, `-` for a null.
fn words(reply: &str) -> String {
    let mut lines = reply.split("\r\n").skip(1);
    let mut words = Vec::new();
    while let Some(line) = lines.next().filter(|line| !line.is_empty()) {
        match line {
            "$-1" => words.push("-"),
            _ => words.push(lines.next().unwrap()),
        }
    }
    words.join(" ")
}

#[track_caller]
fn check_words(fixture: &mut Fixture, steps: &[(&str, &str)]) {
    for (line, expected) in steps {
        assert_eq!(words(&fixture.run(line)), *expected, "{line}");
    }
}

#[test]
fn numbers_texts_and_limits() {
    check_words(
        &mut fixture(),
        &[
            ("SORT l", "-5 1 1.5 2 3 10"),
            ("SORT l DESC", "10 3 2 1.5 1 -5"),
            ("SORT l desc ASC", "-5 1 1.5 2 3 10"),
            ("SORT l ALPHA", "-5 1 1.5 10 2 3"),
            ("SORT_RO l ALPHA DESC", "3 2 10 1.5 1 -5"),
            ("SORT l LIMIT 1 2", "1 1.5"),
            ("SORT l LIMIT -1 2", "-5 1"),
            ("SORT l LIMIT 2 -5", "1.5 2 3 10"),
            ("SORT l LIMIT 0 0", ""),
            ("SORT l LIMIT 10 2", ""),
            ("SORT l LIMIT 9223372036854775807 9223372036854775807", ""),
            ("SORT s", "1 2 3 10"),
            ("SORT t ALPHA", "10 9 a b c"),
            ("SORT z ALPHA DESC", "d c b a"),
            ("SORT absent", ""),
        ],
    );
}

#[test]
fn a_constant_pattern_keeps_the_order_of_the_value() {
    check_words(
        &mut fixture(),
        &[
            ("SORT l BY nosort", "3 1 2 10 -5 1.5"),
            ("SORT l BY nosort DESC", "1.5 -5 10 2 1 3"),
            ("SORT l BY nosort LIMIT 1 2", "1 2"),
            ("SORT l BY nosort DESC LIMIT 1 2", "-5 10"),
            ("SORT z BY nosort", "c b a d"),
            ("SORT z BY nosort DESC LIMIT 1 2", "a b"),
            ("SORT z BY nosort LIMIT 9 9", ""),
            ("SORT z BY nosort GET #", "c b a d"),
            ("SORT l BY nosort BY w_*", "3 1 2 10 -5 1.5"),
        ],
    );
}

#[test]
fn patterns_read_other_keys() {
    check_words(
        &mut fixture(),
        &[
            ("SORT s BY w_*", "10 3 2 1"),
            ("SORT s BY w_* DESC LIMIT 1 2", "2 3"),
            ("SORT s BY v_* ALPHA", "10 3 2 1"),
            ("SORT s BY o_*->f", "10 2 3 1"),
            ("SORT s BY o_*->", "1 10 2 3"),
            ("SORT s GET # GET v_* GET o_*->f GET o_*", "1 e 10 - 2 d 5 - 3 c 7 - 10 - - -"),
            ("SORT s BY w_* GET v_*", "- c d e"),
            ("SORT s GET nope", "- - - -"),
            ("SORT s BY *", "1 10 2 3"),
        ],
    );
    let mut fixture = fixture();
    fixture.run("SET w_1 1 PX 20");
    check_words(&mut fixture, &[("SORT s BY w_*", "1 10 3 2"), ("SORT s GET w_*", "1 4 3 2")]);
    fixture.advance_ms(21);
    check_words(&mut fixture, &[("SORT s BY w_* DESC", "2 3 10 1"), ("SORT s GET w_*", "- 4 3 2")]);
}

#[test]
fn results_are_stored_as_lists() {
    let mut fixture = fixture();
    fixture.check(&[
        ("SORT l STORE to", ":6\r\n"),
        ("TYPE to", "+list\r\n"),
        ("OBJECT ENCODING to", "$8\r\nlistpack\r\n"),
        ("SORT s GET v_* GET # STORE to", ":8\r\n"),
    ]);
    check_words(&mut fixture, &[("LRANGE to 0 -1", "e 1 d 2 c 3  10")]);
    // A set has no order of its own: what is stored is in the order of its texts.
    fixture.check(&[("SORT t BY nosort DESC STORE to", ":5\r\n")]);
    check_words(&mut fixture, &[("LRANGE to 0 -1", "c b a 9 10")]);
    fixture.run("EXPIRE l 100");
    fixture.check(&[
        ("SORT l STORE l", ":6\r\n"),
        ("TTL l", ":-1\r\n"),
        ("SORT l STORE one STORE two", ":6\r\n"),
        ("EXISTS one two", ":1\r\n"),
        ("SORT l LIMIT 0 0 STORE to", ":0\r\n"),
        ("EXISTS to", ":0\r\n"),
        ("SET to text", "+OK\r\n"),
        ("SORT absent STORE to", ":0\r\n"),
        ("EXISTS to", ":0\r\n"),
    ]);
    check_words(&mut fixture, &[("LRANGE l 0 -1", "-5 1 1.5 2 3 10")]);
}

#[test]
fn errors() {
    const NOT_A_NUMBER: &str = "-ERR One or more scores can't be converted into double\r\n";
    const TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
    const INTEGER: &str = "-ERR value is not an integer or out of range\r\n";
    const SYNTAX: &str = "-ERR syntax error\r\n";
    let mut fixture = fixture();
    fixture.check(&[
        ("SORT t", NOT_A_NUMBER),
        ("SORT s BY v_*", NOT_A_NUMBER),
        ("SORT t LIMIT 0 0 STORE to", NOT_A_NUMBER),
        ("RPUSH tiny 1e-400", ":1\r\n"),
        ("SORT tiny", NOT_A_NUMBER),
        ("SORT text", TYPE),
        ("SORT o_1 BY nosort", TYPE),
        ("SORT text LIMIT x 1", INTEGER),
        ("SORT l LIMIT 1 1.5", INTEGER),
        ("SORT l LIMIT 1", SYNTAX),
        ("SORT l STORE", SYNTAX),
        ("SORT l BY", SYNTAX),
        ("SORT l GET", SYNTAX),
        ("SORT text bogus", SYNTAX),
        ("SORT_RO l STORE to", SYNTAX),
        ("EXISTS to", ":0\r\n"),
    ]);
}

#[test]
fn keys_and_shards() {
    let all = |line: &str| {
        let args = crate::args::OwnedArgs::from_words(line.split(' ').map(str::as_bytes));
        let spec = table::find(args.as_args().at(0)).unwrap();
        let keys = key_positions(spec, args.as_args()).unwrap();
        (keys.to_vec(), needs_all_shards(spec, args.as_args()))
    };
    assert_eq!(all("SORT a"), (vec![1], false));
    assert_eq!(all("SORT a BY nosort GET # GET x STORE b"), (vec![1, 9], false));
    assert_eq!(all("SORT a STORE b STORE c"), (vec![1, 5], false));
    assert_eq!(all("SORT a GET store STORE store"), (vec![1, 5], false));
    assert_eq!(all("SORT a LIMIT store store STORE"), (vec![1], false));
    assert_eq!(all("SORT a BY w_*"), (vec![1], true));
    assert_eq!(all("SORT_RO a GET o_*->f"), (vec![1], true));
    assert_eq!(all("SORT_RO a BY w_* bogus"), (vec![1], false));
}
