//! Clients of any node listen to what is published at any other: the primary has their
//! subscriptions, and with it they are closed.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;

use tests::harness::cases::{check, confirmation, words};
use tests::harness::client::encode;
use tests::harness::{Client, Cluster, Value};

use super::{PATIENCE, assert_closed, await_that, client, field, start, text};

/// One that speaks RESP3.
fn modern(cluster: &Cluster, place: usize) -> Client {
    let mut client = client(cluster, place);
    assert!(matches!(client.run("HELLO 3").unwrap(), Value::Array(_)));
    client
}

/// At each node that is up, of each protocol one.
fn everywhere(cluster: &Cluster) -> Vec<Client> {
    let up = (0..3).filter(|place| cluster.servers[*place].is_some());
    up.flat_map(|place| [client(cluster, place), modern(cluster, place)]).collect()
}

#[test]
fn what_is_published_at_any_node_is_heard_at_all() {
    let (cluster, leader, follower) = start();
    let mut listeners = everywhere(&cluster);
    for listener in &mut listeners {
        check(listener, "SUBSCRIBE news", confirmation("subscribe", "news", 1));
        check(listener, "PSUBSCRIBE n?ws", confirmation("psubscribe", "n?ws", 2));
        check(listener, "SSUBSCRIBE news", confirmation("ssubscribe", "news", 1));
    }
    let counted = |count| Value::Array(vec![Value::bulk("news"), Value::Integer(count)]);
    for place in 0..3 {
        let mut publisher = client(&cluster, place);
        let number = place.to_string();
        check(&mut publisher, &format!("PUBLISH news {number}"), Value::Integer(12));
        check(&mut publisher, &format!("SPUBLISH news {number}"), Value::Integer(6));
        check(&mut publisher, "PUBLISH nothing x", Value::Integer(0));
        for (n, listener) in listeners.iter_mut().enumerate() {
            assert_eq!(listener.read().unwrap(), words(&["message", "news", &number]));
            assert_eq!(listener.read().unwrap(), words(&["pmessage", "n?ws", "news", &number]));
            assert_eq!(listener.read().unwrap(), words(&["smessage", "news", &number]));
            if n % 2 == 1 {
                // With RESP3 it does all else too, and each reply is that of its command.
                check(listener, "SET key value", Value::ok());
                check(listener, "ECHO here", Value::bulk("here"));
                check(listener, "GET key", Value::bulk("value"));
                check(listener, "PING", Value::Simple("PONG".into()));
            }
        }
        check(&mut publisher, "PUBSUB NUMSUB news", counted(6));
        check(&mut publisher, "PUBSUB SHARDNUMSUB news", counted(6));
        check(&mut publisher, "PUBSUB NUMPAT", Value::Integer(1));
        check(&mut publisher, "PUBSUB CHANNELS", words(&["news"]));
        check(&mut publisher, "PUBSUB SHARDCHANNELS n*", words(&["news"]));
        check(&mut publisher, "PUBSUB CHANNELS x*", words(&[]));
    }
    // Many at once, from a node that follows.
    let mut publisher = client(&cluster, follower);
    let many = (0..500).map(|n| encode(&["SPUBLISH", "news", &n.to_string()]));
    publisher.send_raw(&many.collect::<Vec<_>>().concat()).unwrap();
    (0..500).for_each(|_| assert_eq!(publisher.read().unwrap(), Value::Integer(6)));
    for listener in &mut listeners {
        for n in 0..500 {
            assert_eq!(listener.read().unwrap(), words(&["smessage", "news", &n.to_string()]));
        }
        check(listener, "SUNSUBSCRIBE", confirmation("sunsubscribe", "news", 0));
        check(listener, "PUNSUBSCRIBE", confirmation("punsubscribe", "n?ws", 1));
    }
    // Who goes away is soon known to be away.
    check(&mut publisher, "PUBSUB NUMSUB news", counted(6));
    drop(listeners);
    for place in [leader, follower] {
        let mut asked = client(&cluster, place);
        await_that("nobody listens", || {
            asked.run("PUBSUB NUMSUB news").unwrap() == counted(0)
                && asked.run("PUBLISH news x").unwrap() == Value::Integer(0)
        });
        check(&mut asked, "PUBSUB CHANNELS", words(&[]));
    }
}

#[test]
fn each_name_is_confirmed_and_then_the_client_is_an_ordinary_one() {
    let (cluster, leader, follower) = start();
    for place in [follower, leader] {
        let mut listener = client(&cluster, place);
        let mut lines = vec!["SUBSCRIBE a b a", "UNSUBSCRIBE c a", "UNSUBSCRIBE", "PUNSUBSCRIBE"];
        lines.extend(["SET k v", "GET k", "PSUBSCRIBE a*", "PUNSUBSCRIBE a*", "ECHO end"]);
        // All of it at once.
        let bytes = lines.iter().flat_map(|l| encode(&l.split(' ').collect::<Vec<_>>()));
        listener.send_raw(&bytes.collect::<Vec<u8>>()).unwrap();
        let nothing =
            Value::Array(vec![Value::bulk("punsubscribe"), Value::Null, Value::Integer(0)]);
        for expected in [
            confirmation("subscribe", "a", 1),
            confirmation("subscribe", "b", 2),
            confirmation("subscribe", "a", 2),
            confirmation("unsubscribe", "c", 2),
            confirmation("unsubscribe", "a", 1),
            confirmation("unsubscribe", "b", 0),
            nothing,
            Value::ok(),
            Value::bulk("v"),
            confirmation("psubscribe", "a*", 1),
            confirmation("punsubscribe", "a*", 0),
            Value::bulk("end"),
        ] {
            assert_eq!(listener.read().unwrap(), expected, "at node {}", place + 1);
        }
    }
}

/// What the node answers itself is refused as what the primary does; and RESET ends it.
#[test]
fn who_listens_with_resp2_does_nothing_else_at_any_node() {
    let (cluster, leader, follower) = start();
    for place in [follower, leader] {
        let mut listener = client(&cluster, place);
        check(&mut listener, "SUBSCRIBE a", confirmation("subscribe", "a", 1));
        for (command, name) in [
            ("GET key", "get"),
            ("PUBLISH a x", "publish"),
            ("INFO", "info"),
            ("ECHO x", "echo"),
            ("HELLO 3", "hello"),
            ("SELECT 1", "select"),
            ("MULTI", "multi"),
            ("EXEC", "exec"),
            ("READONLY", "readonly"),
            ("CONFIG GET port", "config|get"),
            ("CLIENT ID", "client|id"),
            ("CLIENT INFO", "client|info"),
            ("CLIENT REPLY OFF", "client|reply"),
            ("PUBSUB NUMPAT", "pubsub|numpat"),
            ("WAIT 0 0", "wait"),
        ] {
            let refused = format!(
                "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT \
                 / RESET are allowed in this context"
            );
            check(&mut listener, command, Value::Error(refused));
        }
        check(&mut listener, "PING", words(&["pong", ""]));
        check(&mut listener, "PING text", words(&["pong", "text"]));
        check(&mut listener, "RESET", Value::Simple("RESET".into()));
        await_that("it listens no more", || {
            listener.run("PUBLISH a x").unwrap() == Value::Integer(0)
        });
        check(&mut listener, "SUBSCRIBE a", confirmation("subscribe", "a", 1));
        let mut other = client(&cluster, leader);
        check(&mut other, "PUBLISH a y", Value::Integer(1));
        assert_eq!(listener.read().unwrap(), words(&["message", "a", "y"]));
        check(&mut listener, "UNSUBSCRIBE a", confirmation("unsubscribe", "a", 0));
        check(&mut listener, "CONFIG GET nothing", words(&[]));
        check(&mut listener, "PING", Value::Simple("PONG".into()));
        check(&mut listener, "SUBSCRIBE a", confirmation("subscribe", "a", 1));
        check(&mut listener, "QUIT", Value::ok());
        assert_closed(&mut listener);
        await_that("it is gone", || other.run("PUBLISH a x").unwrap() == Value::Integer(0));
    }
}

/// While messages come without a pause, a client changes what it speaks: those before the reply are
/// in the old form, those behind it in the new one.
#[test]
fn messages_have_the_form_that_was_asked_for_last() {
    const MESSAGES: usize = 2_000;
    let (cluster, leader, follower) = start();
    let mut publisher = client(&cluster, leader);
    let half = encode(&["PUBLISH", "a", "x"]).repeat(MESSAGES / 2);
    let transaction = [encode(&["MULTI"]), encode(&["HELLO", "2"]), encode(&["EXEC"])].concat();
    for (place, change) in [follower, leader]
        .into_iter()
        .flat_map(|place| [(place, encode(&["HELLO", "2"])), (place, transaction.clone())])
    {
        let address = cluster.servers[place].as_ref().unwrap().address();
        let mut listener = TcpStream::connect(address).unwrap();
        listener.set_read_timeout(Some(PATIENCE)).unwrap();
        listener.write_all(&encode(&["HELLO", "3"])).unwrap();
        listener.write_all(&encode(&["SUBSCRIBE", "a"])).unwrap();
        read_until(&mut listener, |text| text.ends_with("$1\r\na\r\n:1\r\n"));
        publisher.send_raw(&half).unwrap();
        listener.write_all(&change).unwrap();
        publisher.send_raw(&half).unwrap();
        let text = read_until(&mut listener, |text| {
            text.contains("modules\r\n") && text.matches("$7\r\nmessage\r\n").count() == MESSAGES
        });
        (0..MESSAGES).for_each(|_| assert!(matches!(publisher.read(), Ok(Value::Integer(1)))));
        let (before, after) = text.split_once("$5\r\nproto\r\n:2\r\n").unwrap();
        assert!(!before.contains("*3\r\n$7\r\nmessage"), "at node {}", place + 1);
        assert!(!after.contains(">3\r\n$7\r\nmessage"), "at node {}", place + 1);
        listener.write_all(&encode(&["RESET"])).unwrap();
        read_until(&mut listener, |text| text.ends_with("+RESET\r\n"));
        await_that("it listens no more", || {
            publisher.run("PUBLISH a x").unwrap() == Value::Integer(0)
        });
    }
}

fn read_until(stream: &mut TcpStream, holds: impl Fn(&str) -> bool) -> String {
    let (mut text, mut bytes) = (String::new(), vec![0; 64 * 1024]);
    while !holds(&text) {
        let count = stream.read(&mut bytes).unwrap();
        assert!(count > 0, "closed behind {text}");
        text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
    }
    text
}

#[test]
fn the_primary_knows_who_listens_elsewhere() {
    let (cluster, leader, follower) = start();
    let (mut here, mut there) = (modern(&cluster, follower), client(&cluster, leader));
    for (verb, name, count) in
        [("subscribe", "a", 1), ("subscribe", "b", 2), ("psubscribe", "c*", 3)]
    {
        let command = format!("{} {name}", verb.to_uppercase());
        check(&mut here, &command, confirmation(verb, name, count));
    }
    check(&mut here, "SSUBSCRIBE d", confirmation("ssubscribe", "d", 1));
    check(&mut here, "CLIENT SETNAME ear", Value::ok());
    let listed = text(there.run("CLIENT LIST TYPE pubsub").unwrap());
    assert_eq!(listed.lines().count(), 1, "{listed}");
    let own = text(here.run("CLIENT INFO").unwrap());
    for line in [listed.trim_end(), own.trim_end()] {
        for (name, value) in
            [("name", "ear"), ("flags", "P"), ("sub", "2"), ("psub", "1"), ("ssub", "1")]
        {
            assert_eq!(field(line, name), value, "{line}");
        }
    }
    for name in ["id", "addr", "laddr", "resp"] {
        assert_eq!(field(&listed, name), field(&own, name), "{name}");
    }
    let info = text(there.run("INFO").unwrap());
    for part in ["pubsub_clients:1", "pubsub_channels:2", "pubsub_patterns:1"] {
        assert!(info.contains(part), "{part}: {info}");
    }
    check(&mut there, "CLIENT KILL TYPE pubsub", Value::Integer(1));
    assert_closed(&mut here);
    await_that("it is gone", || there.run("PUBSUB NUMPAT").unwrap() == Value::Integer(0));
}

#[test]
fn transactions_and_silent_clients_of_a_node_that_follows() {
    let (cluster, leader, follower) = start();
    let mut listeners = everywhere(&cluster);
    for listener in &mut listeners {
        check(listener, "SUBSCRIBE a", confirmation("subscribe", "a", 1));
    }
    let mut here = client(&cluster, follower);
    let commands = |lines: &[&str]| -> Vec<u8> {
        lines.iter().flat_map(|l| encode(&l.split(' ').collect::<Vec<_>>())).collect()
    };
    let queued = || Value::Simple("QUEUED".into());
    here.send_raw(&commands(&["MULTI", "SET k 1", "PUBLISH a one", "EXEC"])).unwrap();
    let done = Value::Array(vec![Value::ok(), Value::Integer(6)]);
    for expected in [Value::ok(), queued(), queued(), done] {
        assert_eq!(here.read().unwrap(), expected);
    }
    // Not these: given up, overtaken, refused.
    here.send_raw(&commands(&["MULTI", "PUBLISH a no", "DISCARD", "WATCH k"])).unwrap();
    for expected in [Value::ok(), queued(), Value::ok(), Value::ok()] {
        assert_eq!(here.read().unwrap(), expected);
    }
    check(&mut client(&cluster, leader), "SET k 2", Value::ok());
    here.send_raw(&commands(&["MULTI", "PUBLISH a no", "EXEC"])).unwrap();
    for expected in [Value::ok(), queued(), Value::Null] {
        assert_eq!(here.read().unwrap(), expected);
    }
    here.send_raw(&commands(&["MULTI", "PUBLISH a no", "SUBSCRIBE a", "EXEC"])).unwrap();
    let refused = Value::Error("ERR Command not allowed inside a transaction".into());
    let aborted = "EXECABORT Transaction discarded because of previous errors.";
    for expected in [Value::ok(), queued(), refused, Value::Error(aborted.into())] {
        assert_eq!(here.read().unwrap(), expected);
    }
    here.send_raw(&commands(&["CLIENT REPLY OFF", "PUBLISH a two", "CLIENT REPLY ON"])).unwrap();
    assert_eq!(here.read().unwrap(), Value::ok());
    here.send_raw(&commands(&["CLIENT REPLY SKIP", "PUBLISH a three", "PUBLISH a four"])).unwrap();
    assert_eq!(here.read().unwrap(), Value::Integer(6));
    for listener in &mut listeners {
        for text in ["one", "two", "three", "four"] {
            assert_eq!(listener.read().unwrap(), words(&["message", "a", text]));
        }
    }
    // Who wants no replies hears all the same, and is told to what he listens.
    let mut silent = modern(&cluster, follower);
    silent.send_raw(&commands(&["CLIENT REPLY OFF", "SUBSCRIBE b", "GET k"])).unwrap();
    assert_eq!(silent.read().unwrap(), confirmation("subscribe", "b", 1));
    check(&mut here, "PUBLISH b five", Value::Integer(1));
    assert_eq!(silent.read().unwrap(), words(&["message", "b", "five"]));
    silent.send_raw(&commands(&["PUBLISH b six", "ECHO x", "CLIENT REPLY ON", "GET k"])).unwrap();
    let mut rest: Vec<Value> = (0..3).map(|_| silent.read().unwrap()).collect();
    // What is answered by the node itself may come before the message.
    rest.retain(|value| *value != words(&["message", "b", "six"]));
    assert_eq!(rest, [Value::ok(), Value::bulk("2")]);
}

/// And what the node itself says meanwhile does not get into them.
#[test]
fn large_messages_arrive_whole() {
    let (cluster, leader, follower) = start();
    let mut publisher = client(&cluster, leader);
    for len in [1 << 20, 12 << 20] {
        let message = "0123456789abcdef".repeat(len / 16);
        let mut listeners = [client(&cluster, follower), modern(&cluster, follower)];
        for listener in &mut listeners {
            check(listener, "SUBSCRIBE a", confirmation("subscribe", "a", 1));
        }
        for _ in 0..3 {
            publisher.send(&["PUBLISH", "a", &message]).unwrap();
            for (listener, command) in listeners.iter_mut().zip(["PING x", "ECHO x"]) {
                (0..20).for_each(|_| listener.send(&[&command[..4], "x"]).unwrap());
            }
            for (listener, answer) in
                listeners.iter_mut().zip([words(&["pong", "x"]), Value::bulk("x")])
            {
                let mut heard = 0;
                for _ in 0..21 {
                    match listener.read().unwrap() {
                        value if value == answer => {}
                        // Not compared by a macro, which would show them.
                        value => {
                            heard += 1;
                            assert!(value == words(&["message", "a", &message]), "it is broken");
                        }
                    }
                }
                assert_eq!(heard, 1);
            }
            assert_eq!(publisher.read().unwrap(), Value::Integer(2));
        }
        drop(listeners);
        await_that("nobody listens", || publisher.run("PUBLISH a x").unwrap() == Value::Integer(0));
    }
}

#[test]
fn who_waits_for_a_key_hears_meanwhile() {
    let (cluster, leader, follower) = start();
    let mut there = client(&cluster, leader);
    for place in [follower, leader] {
        let mut listener = modern(&cluster, place);
        check(&mut listener, "SUBSCRIBE a", confirmation("subscribe", "a", 1));
        listener.send(&["BLPOP", "queue", "0"]).unwrap();
        await_that("it waits", || text(there.run("CLIENT LIST").unwrap()).contains(" flags=Pb "));
        check(&mut there, "PUBLISH a x", Value::Integer(1));
        assert_eq!(listener.read().unwrap(), words(&["message", "a", "x"]));
        check(&mut there, "RPUSH queue y", Value::Integer(1));
        assert_eq!(listener.read().unwrap(), words(&["queue", "y"]));
        check(&mut listener, "ECHO z", Value::bulk("z"));
    }
}

/// Everybody is closed, at whichever node: he may have missed something. Then he listens again.
#[test]
fn who_listens_is_closed_when_the_primary_changes() {
    let (mut cluster, first, _) = start();
    let mut listeners = everywhere(&cluster);
    for planned in [true, false] {
        for listener in &mut listeners {
            check(listener, "SUBSCRIBE a", confirmation("subscribe", "a", 1));
        }
        // Who listens no more is left alone.
        let follower = (cluster.leader().unwrap() + 1) % 3;
        let mut ordinary = client(&cluster, follower);
        check(&mut ordinary, "SUBSCRIBE b", confirmation("subscribe", "b", 1));
        check(&mut ordinary, "UNSUBSCRIBE b", confirmation("unsubscribe", "b", 0));
        check(&mut ordinary, "PUBLISH a x", Value::Integer(listeners.len() as i64));
        for listener in &mut listeners {
            assert_eq!(listener.read().unwrap(), words(&["message", "a", "x"]));
        }
        let leader = cluster.leader().unwrap();
        if planned {
            assert_ne!(cluster.hand_over(leader, "FAILOVER").unwrap(), first);
        } else {
            cluster.kill(leader).unwrap();
            assert_ne!(cluster.leader().unwrap(), leader);
        }
        listeners.iter_mut().for_each(assert_closed);
        await_that("it is served", || ordinary.run("PUBLISH a y").unwrap() == Value::Integer(0));
        listeners = everywhere(&cluster);
    }
    let mut names = BTreeSet::new();
    for (n, listener) in listeners.iter_mut().enumerate() {
        check(listener, "SUBSCRIBE a", confirmation("subscribe", "a", 1));
        let name = format!("own:{n}");
        check(listener, &format!("SUBSCRIBE {name}"), confirmation("subscribe", &name, 2));
        names.insert(name);
    }
    for place in (0..3).filter(|place| cluster.servers[*place].is_some()) {
        let mut publisher = client(&cluster, place);
        check(&mut publisher, "PUBLISH a again", Value::Integer(4));
        for listener in &mut listeners {
            assert_eq!(listener.read().unwrap(), words(&["message", "a", "again"]));
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        check(&mut publisher, "PUBSUB CHANNELS own:*", words(&names));
    }
}
