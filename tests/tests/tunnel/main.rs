//! Clients at nodes that follow: they use them as if they were the primary, whoever that is.
#![allow(clippy::unwrap_used)] // A test stops at the first thing that is not as it should be.

mod listeners;
mod primaries;

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use redis::{Commands, Connection, ConnectionInfo, ProtocolVersion, pipe};
use tests::harness::client::encode;
use tests::harness::{Client, Cluster, Value};

/// Nothing takes so long unless something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

fn connect(cluster: &Cluster, place: usize, protocol: ProtocolVersion) -> Connection {
    let address = cluster.servers[place].as_ref().unwrap().address();
    let mut info: ConnectionInfo = format!("redis://{address}/").parse().unwrap();
    info.redis.protocol = protocol;
    redis::Client::open(info).unwrap().get_connection().unwrap()
}

fn client(cluster: &Cluster, place: usize) -> Client {
    cluster.servers[place].as_ref().unwrap().client().unwrap()
}

/// A cluster, who leads, and one who follows and knows whom.
fn start() -> (Cluster, usize, usize) {
    let cluster = Cluster::start_steady(3).unwrap();
    let leader = cluster.leader().unwrap();
    let follower = (leader + 1) % 3;
    cluster.await_close(follower).unwrap();
    (cluster, leader, follower)
}

fn text(value: Value) -> String {
    match value {
        // With RESP3 it says of which kind it is.
        Value::Bulk(bytes) => String::from_utf8(bytes).unwrap().replacen("txt:", "", 1),
        Value::Simple(text) => text,
        other => panic!("{other:?}"),
    }
}

fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let wanted = format!("{name}=");
    line.split(' ').find_map(|part| part.strip_prefix(&wanted)).unwrap()
}

fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// It is, and soon: no answer in time would be another thing.
fn assert_closed(client: &mut Client) {
    let began = Instant::now();
    assert!(client.read().is_err() && began.elapsed() < PATIENCE / 2, "it is not closed");
}

#[test]
fn ordinary_use_of_a_node_that_follows() {
    let (cluster, leader, follower) = start();
    for protocol in [ProtocolVersion::RESP2, ProtocolVersion::RESP3] {
        let mut here = connect(&cluster, follower, protocol);
        let mut there = connect(&cluster, leader, protocol);
        let () = here.set("text", "value").unwrap();
        assert_eq!(there.get::<_, String>("text").unwrap(), "value");
        assert_eq!(here.incr::<_, _, i64>("count", 2).unwrap() % 2, 0);
        let () = here.hset_multiple("hash", &[("a", 1), ("b", 2)]).unwrap();
        let hash: HashMap<String, i64> = here.hgetall("hash").unwrap();
        assert_eq!(hash, HashMap::from([("a".into(), 1), ("b".into(), 2)]));
        assert_eq!(here.incr::<_, _, i64>("hash", 1).unwrap_err().code(), Some("WRONGTYPE"));
        let keys: BTreeSet<String> = here.scan::<String>().unwrap().collect();
        assert!(["text", "count", "hash"].iter().all(|key| keys.contains(*key)), "{keys:?}");

        let (old, new): (String, i64) =
            pipe().atomic().getset("text", "other").incr("count", 1).query(&mut here).unwrap();
        assert_eq!(old, "value");
        assert_eq!(there.get::<_, i64>("count").unwrap(), new);

        // Databases are the client's own.
        let () = redis::cmd("SELECT").arg(3).query(&mut here).unwrap();
        let () = here.set("three", 3).unwrap();
        assert_eq!(there.get::<_, Option<i64>>("three").unwrap(), None);
        let () = redis::cmd("SELECT").arg(3).query(&mut there).unwrap();
        assert_eq!(there.get::<_, i64>("three").unwrap(), 3);
        let () = redis::cmd("FLUSHALL").query(&mut here).unwrap();
    }
}

#[test]
fn replies_come_in_the_order_of_commands_whoever_gives_them() {
    let (cluster, leader, follower) = start();
    let mut here = client(&cluster, follower);
    let lines = [
        "SET a 1",
        "PING",
        "INCR a",
        "SELECT 5",
        "SET a 50",
        "NOSUCH",
        "GET",
        "SELECT 0",
        "GET a",
        "MULTI",
        "INCR a",
        "SELECT 5",
        "GET a",
        "EXEC",
        "GET a",
        "SELECT 0",
        "CLIENT REPLY OFF",
        "SET b 1",
        "PING",
        "CLIENT REPLY ON",
        "GET b",
        "CLIENT REPLY SKIP",
        "SET c 1",
        "GET c",
        "MULTI",
        "NOSUCH",
        "SET a 9",
        "EXEC",
        "WATCH a",
        "MULTI",
        "DISCARD",
        "EXEC",
        "ECHO end",
    ];
    let mut bytes: Vec<u8> =
        lines.iter().flat_map(|line| encode(&line.split(' ').collect::<Vec<_>>())).collect();
    bytes.extend_from_slice(b"GET a\r\n\r\nPING\r\n*1\r\n$x\r\n");
    let error = |text: &str| Value::Error(text.into());
    let nosuch = || error("ERR unknown command 'NOSUCH', with args beginning with:");
    let pong = || Value::Simple("PONG".into());
    let queued = || Value::Simple("QUEUED".into());
    let expected = vec![
        Value::ok(),
        pong(),
        Value::Integer(2),
        Value::ok(),
        Value::ok(),
        nosuch(),
        error("ERR wrong number of arguments for 'get' command"),
        Value::ok(),
        Value::bulk("2"),
        Value::ok(),
        queued(),
        queued(),
        queued(),
        Value::Array(vec![Value::Integer(3), Value::ok(), Value::bulk("50")]),
        Value::bulk("50"),
        Value::ok(),
        Value::ok(),
        Value::bulk("1"),
        Value::bulk("1"),
        Value::ok(),
        nosuch(),
        queued(),
        error("EXECABORT Transaction discarded because of previous errors."),
        Value::ok(),
        Value::ok(),
        Value::ok(),
        error("ERR EXEC without MULTI"),
        Value::bulk("end"),
        Value::bulk("3"),
        pong(),
        error("ERR Protocol error: invalid bulk length"),
    ];
    // The same of the primary, which has none of it to pass on.
    for place in [follower, leader] {
        let mut asked = client(&cluster, place);
        asked.send_raw(&bytes).unwrap();
        for (at, reply) in expected.iter().enumerate() {
            assert_eq!(asked.read().unwrap(), *reply, "reply {at} of node {}", place + 1);
        }
        assert_closed(&mut asked);
        here.run("FLUSHALL").unwrap();
    }
}

#[test]
fn the_primary_knows_its_clients_at_other_nodes() {
    let (cluster, leader, follower) = start();
    let (mut here, mut there) = (client(&cluster, follower), client(&cluster, leader));
    here.run("HELLO 3 SETNAME far").unwrap();
    here.run("CLIENT SETINFO lib-name sdk").unwrap();
    here.run("SELECT 2").unwrap();
    here.run("CLIENT NO-TOUCH on").unwrap();
    here.run("SET k v").unwrap();
    let id = here.run("CLIENT ID").unwrap();
    let own = text(here.run("CLIENT INFO").unwrap());
    let address = field(&own, "addr").to_owned();
    let seen = |list: &str| -> Option<String> {
        list.lines().find(|line| line.contains(&format!("addr={address} "))).map(str::to_owned)
    };
    for list in [here.run("CLIENT LIST").unwrap(), there.run("CLIENT LIST").unwrap()] {
        let list = text(list);
        let line = seen(&list).unwrap_or_else(|| panic!("{address} is not in: {list}"));
        for name in ["id", "laddr", "name", "db", "resp", "lib-name", "user"] {
            assert_eq!(field(&line, name), field(&own, name), "{name}");
        }
        assert_eq!(Value::Integer(field(&line, "id").parse().unwrap()), id);
    }
    // Settings of this node are this node's.
    let node = format!("quoring_node:{}", follower + 1);
    assert!(text(here.run("INFO replication").unwrap()).contains(&node));
    // Killed there, it is gone here.
    assert_eq!(there.run(&format!("CLIENT KILL {address}")).unwrap(), Value::ok());
    assert_closed(&mut here);
    // And it kills itself, and hears that first.
    let mut here = client(&cluster, follower);
    here.run("SET k v").unwrap();
    let Value::Integer(id) = here.run("CLIENT ID").unwrap() else { panic!("an id") };
    let killed = here.run(&format!("CLIENT KILL ID {id} SKIPME no")).unwrap();
    assert_eq!(killed, Value::Integer(1));
    assert_closed(&mut here);
    await_that("the primary forgets it", || {
        let list = text(there.run("CLIENT LIST").unwrap());
        list.lines().count() == 1
    });
}

#[test]
fn who_is_not_authenticated_reaches_nobody() {
    let (cluster, leader, follower) = start();
    let mut admin = client(&cluster, follower);
    assert_eq!(admin.run("CONFIG SET requirepass secret").unwrap(), Value::ok());
    let mut here = client(&cluster, follower);
    let refused = Value::Error("NOAUTH Authentication required.".into());
    assert_eq!(here.run("SET a 1").unwrap(), refused);
    assert_eq!(client(&cluster, leader).run("GET a").unwrap(), Value::Null);
    assert_eq!(here.run("AUTH secret").unwrap(), Value::ok());
    assert_eq!(here.run("SET a 1").unwrap(), Value::ok());
    assert_eq!(client(&cluster, leader).run("GET a").unwrap(), Value::bulk("1"));
    // What nodes say to each other is no command of a client's.
    let refused = here.run("\0session 1 2 name lib ver -").unwrap();
    assert!(matches!(refused, Value::Error(_)), "{refused:?}");
    let refused = client(&cluster, leader).run("\0session 1 2 name lib ver -").unwrap();
    assert!(matches!(refused, Value::Error(_)), "{refused:?}");
}

#[test]
fn waiting_for_keys_works_across_nodes() {
    let (cluster, leader, follower) = start();
    let third = (0..3).find(|place| ![leader, follower].contains(place)).unwrap();
    let blocked_count = |admin: &mut Client| -> String {
        let info = text(admin.run("INFO clients").unwrap());
        info.lines().find(|line| line.starts_with("blocked_clients")).unwrap().to_owned()
    };
    let mut admin = client(&cluster, leader);
    for (waits, pushes) in [(follower, leader), (leader, follower), (follower, third)] {
        let mut waiting = client(&cluster, waits);
        waiting.send(&["BLPOP", "queue", "0"]).unwrap();
        // Behind it, in the same pipeline.
        waiting.send(&["SET", "after", "1"]).unwrap();
        await_that("somebody waits", || blocked_count(&mut admin) == "blocked_clients:1");
        assert_eq!(client(&cluster, pushes).run("RPUSH queue x").unwrap(), Value::Integer(1));
        let popped = waiting.read().unwrap();
        assert_eq!(popped, Value::Array(vec![Value::bulk("queue"), Value::bulk("x")]));
        assert_eq!(waiting.read().unwrap(), Value::ok());
        assert_eq!(waiting.run("BLPOP queue 0.05").unwrap(), Value::Null);
    }
    // Whoever goes away waits no more: nothing is popped for nobody.
    let mut waiting = client(&cluster, follower);
    waiting.send(&["BLPOP", "queue", "0"]).unwrap();
    await_that("somebody waits", || blocked_count(&mut admin) == "blocked_clients:1");
    drop(waiting);
    await_that("nobody waits", || blocked_count(&mut admin) == "blocked_clients:0");
    assert_eq!(admin.run("RPUSH queue y").unwrap(), Value::Integer(1));
    assert_eq!(admin.run("LLEN queue").unwrap(), Value::Integer(1));
    // CLIENT UNBLOCK by the id that the client has everywhere.
    let mut waiting = client(&cluster, follower);
    let Value::Integer(id) = waiting.run("CLIENT ID").unwrap() else { panic!("an id") };
    waiting.send(&["BLPOP", "none", "0"]).unwrap();
    await_that("it is unblocked", || {
        admin.run(&format!("CLIENT UNBLOCK {id} ERROR")).unwrap() == Value::Integer(1)
    });
    let error = "UNBLOCKED client unblocked via CLIENT UNBLOCK";
    assert_eq!(waiting.read().unwrap(), Value::Error(error.into()));
}

fn resident_kb(cluster: &Cluster, place: usize) -> u64 {
    let id = cluster.servers[place].as_ref().unwrap().id();
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Values of a megabyte, many under way; and a client that asks for all and reads nothing for a
/// while takes no node's memory.
#[test]
fn large_values_pass_and_fill_no_memory() {
    const BYTES: usize = 1 << 20;
    const READS: usize = 200;
    let (cluster, leader, follower) = start();
    let value = |n: usize| -> String {
        let unit = format!("{n:08}");
        unit.repeat(BYTES / unit.len())
    };
    let address = cluster.servers[follower].as_ref().unwrap().address();
    std::thread::scope(|scope| {
        let mut here = client(&cluster, follower);
        for n in 0..20 {
            here.send(&["SET", &format!("big:{n}"), &value(n)]).unwrap();
        }
        (0..20).for_each(|_| assert_eq!(here.read().unwrap(), Value::ok()));
        // A transaction that does not go to the primary at once.
        assert_eq!(here.run("MULTI").unwrap(), Value::ok());
        for n in 0..4 {
            here.send(&["SET", &format!("big:{n}"), &value(n)]).unwrap();
            assert_eq!(here.read().unwrap(), Value::Simple("QUEUED".into()));
        }
        let set = Value::Array(vec![Value::ok(); 4]);
        assert_eq!(here.run("EXEC").unwrap(), set);
        let before = [leader, follower].map(|place| resident_kb(&cluster, place));
        let stream = std::net::TcpStream::connect(address).unwrap();
        let mut sending = stream.try_clone().unwrap();
        scope.spawn(move || {
            let all: Vec<u8> =
                (0..READS).flat_map(|n| encode(&["GET", &format!("big:{}", n % 20)])).collect();
            std::io::Write::write_all(&mut sending, &all).unwrap();
        });
        // Others are served meanwhile, and there is time for memory to fill.
        let until = Instant::now() + Duration::from_secs(1);
        let mut most = [0; 2];
        while Instant::now() < until {
            assert_eq!(here.run("SET other 1").unwrap(), Value::ok());
            for (place, most) in [leader, follower].into_iter().zip(&mut most) {
                *most = resident_kb(&cluster, place).max(*most);
            }
        }
        for (place, (before, most)) in before.into_iter().zip(most).enumerate() {
            let grown_kb = most.saturating_sub(before);
            println!("{}: grew by {grown_kb} kB", ["leader", "follower"][place]);
            assert!(grown_kb < 48 << 10, "it holds what nobody reads: {grown_kb} kB");
        }
        let mut reader = std::io::BufReader::new(stream);
        let mut bytes = vec![0; format!("${BYTES}\r\n").len() + BYTES + 2];
        for n in 0..READS {
            std::io::Read::read_exact(&mut reader, &mut bytes).unwrap();
            let expected = format!("${BYTES}\r\n{}\r\n", value(n % 20));
            assert!(bytes == expected.as_bytes(), "reply {n}");
        }
    });
    assert_eq!(client(&cluster, leader).run("STRLEN big:7").unwrap(), Value::Integer(1 << 20));
}

#[test]
fn readonly_reads_here_and_writes_there() {
    let (cluster, leader, follower) = start();
    let mut here = client(&cluster, follower);
    assert_eq!(here.run("SET a 1").unwrap(), Value::ok());
    cluster.await_equal().unwrap();
    assert_eq!(here.run("READONLY").unwrap(), Value::ok());
    assert_eq!(here.run("GET a").unwrap(), Value::bulk("1"));
    assert_eq!(here.run("SET a 2").unwrap(), Value::ok(), "a write goes to the primary");
    await_that("the write comes back", || here.run("GET a").unwrap() == Value::bulk("2"));
    // A transaction that writes runs there as a whole.
    here.send_raw(
        &["MULTI", "INCR a", "GET a", "EXEC"]
            .map(|l| encode(&l.split(' ').collect::<Vec<_>>()))
            .concat(),
    )
    .unwrap();
    (0..3).for_each(|_| drop(here.read().unwrap()));
    let both = Value::Array(vec![Value::Integer(3), Value::bulk("3")]);
    assert_eq!(here.read().unwrap(), both);
    // The node that leads stands still: this one reads what it has.
    cluster.servers[leader].as_ref().unwrap().signal(libc::SIGSTOP);
    let read = here.run("GET a");
    cluster.servers[leader].as_ref().unwrap().signal(libc::SIGCONT);
    assert!(matches!(read.unwrap(), Value::Bulk(_)));
    assert_eq!(here.run("READWRITE").unwrap(), Value::ok());
    assert_eq!(here.run("GET a").unwrap(), Value::bulk("3"));
}
