//! The `redis` crate in ordinary use, with one core and with two. Other languages' clients are in
//! `tests/clients`.
#![allow(clippy::unwrap_used)] // A test stops at the first thing that is not as it should be.

use std::collections::{HashMap, HashSet};

use redis::{Commands, Connection, ConnectionInfo, ProtocolVersion, RedisError, pipe};
use tests::harness::Server;

fn connect(server: &Server, protocol: ProtocolVersion) -> Connection {
    let mut info: ConnectionInfo = format!("redis://{}/", server.address()).parse().unwrap();
    info.redis.protocol = protocol;
    redis::Client::open(info).unwrap().get_connection().unwrap()
}

fn with_servers(check: impl Fn(&Server, ProtocolVersion)) {
    for cores in ["1", "2"] {
        for protocol in [ProtocolVersion::RESP2, ProtocolVersion::RESP3] {
            let directory = tempfile::tempdir().unwrap();
            let server = Server::start(directory.path(), &["--cores", cores]).unwrap();
            check(&server, protocol);
            server.stop().unwrap();
        }
    }
}

#[test]
fn values_of_every_type() {
    with_servers(|server, protocol| {
        let mut client = connect(server, protocol);
        let () = client.set_ex("text", "value", 100).unwrap();
        assert_eq!(client.get::<_, String>("text").unwrap(), "value");
        assert!((90..=100).contains(&client.ttl::<_, i64>("text").unwrap()));
        assert_eq!(client.get::<_, Option<String>>("none").unwrap(), None);
        assert_eq!(client.incr::<_, _, i64>("count", 5).unwrap(), 5);
        assert_eq!(client.incr::<_, _, f64>("double", 0.1).unwrap(), 0.1);
        let bytes: Vec<u8> = (0..100_000).map(|n| n as u8).collect();
        let () = client.set(b"\0\r\n", &bytes).unwrap();
        assert_eq!(client.get::<_, Vec<u8>>(b"\0\r\n").unwrap(), bytes);

        let () = client.hset_multiple("hash", &[("a", 1), ("b", 2)]).unwrap();
        let hash: HashMap<String, i64> = client.hgetall("hash").unwrap();
        assert_eq!(hash, HashMap::from([("a".into(), 1), ("b".into(), 2)]));
        assert_eq!(client.rpush::<_, _, i64>("list", &["x", "y"]).unwrap(), 2);
        assert_eq!(client.lrange::<_, Vec<String>>("list", 0, -1).unwrap(), ["x", "y"]);
        assert_eq!(client.sadd::<_, _, i64>("set", &["a", "b"]).unwrap(), 2);
        let set: HashSet<String> = client.smembers("set").unwrap();
        assert_eq!(set, HashSet::from(["a".into(), "b".into()]));
        let () = client.zadd_multiple("zset", &[(1.0, "a"), (2.5, "b")]).unwrap();
        let zset: Vec<(String, f64)> = client.zrange_withscores("zset", 0, -1).unwrap();
        assert_eq!(zset, [("a".into(), 1.0), ("b".into(), 2.5)]);

        let error: RedisError = client.incr::<_, _, i64>("hash", 1).unwrap_err();
        assert_eq!(error.code(), Some("WRONGTYPE"));
    });
}

#[test]
fn pipelines_transactions_and_scans() {
    with_servers(|server, protocol| {
        let mut client = connect(server, protocol);
        let mut many = pipe();
        for n in 0..500 {
            many.set(format!("key:{n}"), n).ignore().get(format!("key:{n}"));
        }
        let got: Vec<i64> = many.query(&mut client).unwrap();
        assert!(got.into_iter().eq(0..500));
        let both: (i64, i64) =
            pipe().atomic().incr("key:1", 1).incr("key:2", 1).query(&mut client).unwrap();
        assert_eq!(both, (2, 3));
        let keys: HashSet<String> = client.scan_match("key:*").unwrap().collect();
        assert_eq!(keys.len(), 500);
        let many: Vec<Option<i64>> = client.mget(&["key:1", "none", "key:499"]).unwrap();
        assert_eq!(many, [Some(2), None, Some(499)]);
    });
}

#[test]
fn watched_increments_from_many_threads_are_all_there() {
    with_servers(|server, protocol| {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut client = connect(server, protocol);
                    for _ in 0..50 {
                        redis::transaction(&mut client, &["a", "b"], |client, pipe| {
                            let a: Option<i64> = client.get("a")?;
                            let b: Option<i64> = client.get("b")?;
                            let (a, b) = (a.unwrap_or(0) + 1, b.unwrap_or(0) - 1);
                            pipe.set("a", a).ignore().set("b", b).query::<Option<()>>(client)
                        })
                        .unwrap();
                    }
                });
            }
        });
        let mut client = connect(server, protocol);
        let both: (i64, i64) = client.mget(&["a", "b"]).unwrap();
        assert_eq!(both, (200, -200));
    });
}

#[test]
fn a_blocked_client_gets_what_is_pushed() {
    with_servers(|server, protocol| {
        std::thread::scope(|scope| {
            let popped = scope.spawn(|| {
                let mut client = connect(server, protocol);
                client.blpop::<_, (String, String)>(&["none", "queue"], 30.0).unwrap()
            });
            let mut client = connect(server, protocol);
            let waits = |client: &mut Connection| {
                let list: String = redis::cmd("CLIENT").arg("LIST").query(client).unwrap();
                list.contains("cmd=blpop")
            };
            while !waits(&mut client) {
                std::thread::yield_now();
            }
            assert_eq!(client.rpush::<_, _, i64>("queue", "job").unwrap(), 1);
            assert_eq!(popped.join().unwrap(), ("queue".into(), "job".into()));
        });
    });
}
