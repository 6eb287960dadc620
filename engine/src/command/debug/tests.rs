//! DEBUG and MEMORY on data of every kind.

use crate::command::testing::Fixture;

/// Something in every encoding, over several shards and databases.
const FILL: &[&str] = &[
    "SET int 12",
    "SET short abc",
    "SET later abc PX 5000",
    "RPUSH list a b c",
    "SADD ints 3 1 2",
    "SADD words b a",
    "HSET hash f v g w",
    "ZADD zset 1.5 a 2 b",
    "DEBUG POPULATE 300 many 20",
];

fn filled() -> Fixture {
    let mut fixture = Fixture::new(4);
    FILL.iter().for_each(|line| assert!(!fixture.run(line).starts_with('-'), "{line}"));
    for n in 0..600 {
        fixture.run(&format!("RPUSH longlist item-of-a-list-{n}"));
        fixture.run(&format!("SADD longset member-{n}"));
        fixture.run(&format!("HSET longhash field-{n} {n}"));
        fixture.run(&format!("ZADD longzset {n}.25 member-{n}"));
    }
    fixture.db = 3;
    fixture.run("SET other 1");
    fixture.db = 0;
    fixture
}

#[test]
fn a_digest_tells_equal_data_from_different_data() {
    let mut fixture = Fixture::new(4);
    let empty = format!("+{}\r\n", "0".repeat(40));
    assert_eq!(fixture.run("DEBUG DIGEST"), empty);
    let mut one = filled();
    let digest = one.run("DEBUG DIGEST");
    assert_ne!(digest, empty);
    assert_eq!(filled().run("DEBUG DIGEST"), digest);
    for change in ["HSET hash f w", "ZADD zset 1 a", "PERSIST later", "LSET list 0 c", "DEL ints"] {
        one.run(change);
        let changed = one.run("DEBUG DIGEST");
        assert_ne!(changed, digest, "{change}");
        one = filled();
    }
    one.run("SADD x 1 2 a");
    one.run("SADD y a 2 1");
    let pair = one.run("DEBUG DIGEST-VALUE x y none");
    let lines: Vec<&str> = pair.split("\r\n").collect();
    assert_eq!(lines[1], lines[2]);
    assert_eq!(lines[3], format!("+{}", "0".repeat(40)));
}

#[test]
fn a_reload_changes_nothing_and_drops_what_is_due() {
    let mut fixture = filled();
    let digest = fixture.run("DEBUG DIGEST");
    assert_eq!(fixture.run("DEBUG RELOAD"), "+OK\r\n");
    assert_eq!(fixture.run("DEBUG DIGEST"), digest);
    assert_eq!(fixture.run("TTL later"), ":5\r\n");
    assert_eq!(fixture.run("OBJECT ENCODING short"), "$6\r\nembstr\r\n");
    assert_eq!(fixture.run("OBJECT ENCODING longlist"), "$9\r\nquicklist\r\n");
    let keys = fixture.run("DBSIZE");
    fixture.advance_ms(6000);
    assert_eq!(fixture.run("DEBUG RELOAD NOSAVE"), "+OK\r\n");
    assert_ne!(fixture.run("DBSIZE"), keys);
    assert!(fixture.run("DEBUG RELOAD AGAIN").starts_with("-ERR DEBUG RELOAD only supports"));
}

#[test]
fn keys_are_described() {
    let mut fixture = filled();
    let object = fixture.run("DEBUG OBJECT short");
    assert!(object.contains(" refcount:1 encoding:embstr serializedlength:3 lru:"), "{object}");
    let list = fixture.run("DEBUG OBJECT longlist");
    assert!(list.contains("encoding:quicklist") && list.contains(" ql_nodes:2 "), "{list}");
    assert_eq!(fixture.run("DEBUG OBJECT none"), "-ERR no such key\r\n");
    assert_eq!(fixture.run("DEBUG LISTPACK int"), "-ERR Not a listpack encoded object.\r\n");
    assert!(fixture.run("DEBUG LISTPACK hash").starts_with("+entries:4 bytes:"));
}

#[test]
fn memory_usage_grows_with_what_is_stored() {
    let mut fixture = filled();
    let mut usage = |line: &str| -> usize {
        let reply = fixture.run(line);
        reply.trim_start_matches(':').trim_end().parse().unwrap_or_else(|_| panic!("{reply}"))
    };
    let short = usage("MEMORY USAGE short");
    assert!((20..100).contains(&short), "{short}");
    for key in ["longlist", "longset", "longhash", "longzset"] {
        let bytes = usage(&format!("MEMORY USAGE {key} SAMPLES 0"));
        // 600 elements of some 10 to 20 bytes and what each costs besides.
        assert!((6_000..100_000).contains(&bytes), "{key} {bytes}");
    }
    let mut fixture = filled();
    assert_eq!(fixture.run("MEMORY USAGE none"), "$-1\r\n");
    assert_eq!(fixture.run("MEMORY USAGE short SAMPLES -1"), "-ERR syntax error\r\n");
    assert_eq!(fixture.run("MEMORY USAGE short SAMPLES"), "-ERR syntax error\r\n");
}
