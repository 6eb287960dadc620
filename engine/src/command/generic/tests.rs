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
