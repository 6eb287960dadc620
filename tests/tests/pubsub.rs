//! Publishing and subscribing on one node, with one core and with several, as clients see it.
#![allow(clippy::unwrap_used)] // A test stops at the first thing that is not as it should be.

use tests::harness::cases::{check, confirmation, with_cores, words};
use tests::harness::client::encode;
use tests::harness::{Client, Server, Value};

fn clients(server: &Server, count: usize, protocol: u32) -> Vec<Client> {
    let connect = |_| {
        let mut client = server.client().unwrap();
        if protocol == 3 {
            client.run("HELLO 3").unwrap();
        }
        client
    };
    (0..count).map(connect).collect()
}

#[test]
fn what_is_published_reaches_everybody_who_listens() {
    with_cores(&[], |server| {
        for protocol in [2, 3] {
            let mut listeners = clients(server, 8, protocol);
            let mut publishers = clients(server, 4, 2);
            for listener in &mut listeners {
                check(listener, "SUBSCRIBE news", confirmation("subscribe", "news", 1));
                check(listener, "PSUBSCRIBE n?ws", confirmation("psubscribe", "n?ws", 2));
                check(listener, "SSUBSCRIBE news", confirmation("ssubscribe", "news", 1));
            }
            for (number, publisher) in publishers.iter_mut().enumerate() {
                check(publisher, &format!("PUBLISH news {number}"), Value::Integer(16));
                check(publisher, &format!("SPUBLISH news s{number}"), Value::Integer(8));
                check(publisher, "PUBLISH nothing x", Value::Integer(0));
                for listener in &mut listeners {
                    let mut got: Vec<Value> = (0..3).map(|_| listener.read().unwrap()).collect();
                    // Of one publisher all comes in order.
                    let (number, shard) = (number.to_string(), format!("s{number}"));
                    assert_eq!(got.pop().unwrap(), words(&["smessage", "news", &shard]));
                    assert_eq!(got.pop().unwrap(), words(&["pmessage", "n?ws", "news", &number]));
                    assert_eq!(got.pop().unwrap(), words(&["message", "news", &number]));
                }
            }
            let publisher = &mut publishers[0];
            let counted = |count| Value::Array(vec![Value::bulk("news"), Value::Integer(count)]);
            check(publisher, "PUBSUB NUMSUB news", counted(8));
            check(publisher, "PUBSUB SHARDNUMSUB news", counted(8));
            check(publisher, "PUBSUB NUMPAT", Value::Integer(1));
            check(publisher, "PUBSUB CHANNELS", words(&["news"]));
            check(publisher, "PUBSUB SHARDCHANNELS x*", words(&[]));
            let mut left = listeners.split_off(4);
            for listener in &mut left {
                check(listener, "UNSUBSCRIBE", confirmation("unsubscribe", "news", 1));
                check(listener, "PUNSUBSCRIBE n?ws", confirmation("punsubscribe", "n?ws", 0));
                check(listener, "SUNSUBSCRIBE", confirmation("sunsubscribe", "news", 0));
                // It is an ordinary client again.
                check(listener, "SET key value", Value::ok());
            }
            check(publisher, "PUBLISH news x", Value::Integer(8));
            // Who goes away is soon known to be away.
            drop(listeners);
            while publisher.run("PUBSUB NUMSUB news").unwrap() != counted(0) {}
            check(publisher, "PUBSUB NUMPAT", Value::Integer(0));
            check(publisher, "PUBSUB CHANNELS", words(&[]));
        }
    });
}

#[test]
fn confirmations_come_before_messages_and_many_names_at_once() {
    with_cores(&[], |server| {
        let mut listener = server.client().unwrap();
        listener.send(&["SUBSCRIBE", "a", "b", "a"]).unwrap();
        for (name, count) in [("a", 1), ("b", 2), ("a", 2)] {
            assert_eq!(listener.read().unwrap(), confirmation("subscribe", name, count));
        }
        listener.send(&["UNSUBSCRIBE", "c", "a"]).unwrap();
        assert_eq!(listener.read().unwrap(), confirmation("unsubscribe", "c", 2));
        assert_eq!(listener.read().unwrap(), confirmation("unsubscribe", "a", 1));
        listener.send(&["UNSUBSCRIBE"]).unwrap();
        assert_eq!(listener.read().unwrap(), confirmation("unsubscribe", "b", 0));
        listener.send(&["PUNSUBSCRIBE"]).unwrap();
        let nothing =
            Value::Array(vec![Value::bulk("punsubscribe"), Value::Null, Value::Integer(0)]);
        assert_eq!(listener.read().unwrap(), nothing);
        // While others publish without a pause.
        let mut publisher = server.client().unwrap();
        publisher.send_raw(&encode(&["PUBLISH", "busy", "x"]).repeat(1000)).unwrap();
        for _ in 0..100 {
            check(&mut listener, "SUBSCRIBE busy", confirmation("subscribe", "busy", 1));
            listener.send(&["UNSUBSCRIBE", "busy"]).unwrap();
            let end = confirmation("unsubscribe", "busy", 0);
            while listener.read().unwrap() != end {}
        }
        (0..1000).for_each(|_| assert!(matches!(publisher.read().unwrap(), Value::Integer(0..=1))));
    });
}

#[test]
fn who_listens_with_resp2_does_nothing_else() {
    with_cores(&[], |server| {
        let mut listener = server.client().unwrap();
        check(&mut listener, "SUBSCRIBE a", confirmation("subscribe", "a", 1));
        let refused = |name: &str| {
            Value::Error(format!(
                "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT \
                 / RESET are allowed in this context"
            ))
        };
        check(&mut listener, "GET key", refused("get"));
        check(&mut listener, "CONFIG GET port", refused("config|get"));
        check(&mut listener, "PING", words(&["pong", ""]));
        check(&mut listener, "PING text", words(&["pong", "text"]));
        check(&mut listener, "RESET", Value::Simple("RESET".into()));
        check(&mut listener, "PUBLISH a x", Value::Integer(0));
        assert!(matches!(listener.run("HELLO 3").unwrap(), Value::Array(_)));
        check(&mut listener, "SUBSCRIBE a", confirmation("subscribe", "a", 1));
        check(&mut listener, "GET key", Value::Null);
        check(&mut listener, "PING", Value::Simple("PONG".into()));
        // Its own message comes behind the reply.
        check(&mut listener, "PUBLISH a x", Value::Integer(1));
        assert_eq!(listener.read().unwrap(), words(&["message", "a", "x"]));
        // Replies that it does not want are no messages.
        listener.send(&["CLIENT", "REPLY", "OFF"]).unwrap();
        listener.send(&["PSUBSCRIBE", "*"]).unwrap();
        assert_eq!(listener.read().unwrap(), confirmation("psubscribe", "*", 2));
        listener.send(&["PUBLISH", "b", "y"]).unwrap();
        assert_eq!(listener.read().unwrap(), words(&["pmessage", "*", "b", "y"]));
        check(&mut listener, "CLIENT REPLY ON", Value::ok());
        check(&mut listener, "MULTI", Value::ok());
        let error = Value::Error("ERR Command not allowed inside a transaction".into());
        check(&mut listener, "SUBSCRIBE c", error);
        let aborted = "EXECABORT Transaction discarded because of previous errors.";
        check(&mut listener, "EXEC", Value::Error(aborted.into()));
    });
}

#[test]
fn messages_of_transactions_and_of_pipelines_come_in_order() {
    with_cores(&[], |server| {
        let mut listener = server.client().unwrap();
        check(&mut listener, "SUBSCRIBE a", confirmation("subscribe", "a", 1));
        let mut publisher = server.client().unwrap();
        let mut bytes = Vec::new();
        for number in 0..300 {
            let (value, key) = (number.to_string(), format!("key:{number}"));
            match number % 3 {
                0 => bytes.extend(encode(&["PUBLISH", "a", &value])),
                1 => {
                    bytes.extend(encode(&["SET", &key, &value]));
                    bytes.extend(encode(&["PUBLISH", "a", &value]));
                }
                _ => {
                    bytes.extend(encode(&["MULTI"]));
                    bytes.extend(encode(&["MSET", &key, &value, "other", &value]));
                    bytes.extend(encode(&["PUBLISH", "a", &value]));
                    bytes.extend(encode(&["EXEC"]));
                }
            }
        }
        publisher.send_raw(&bytes).unwrap();
        let mut reader = server.client().unwrap();
        for number in 0..300 {
            let value = number.to_string();
            assert_eq!(listener.read().unwrap(), words(&["message", "a", &value]));
            // Whoever hears of it finds it.
            if number % 3 > 0 {
                check(&mut reader, &format!("GET key:{number}"), Value::bulk(&value));
            }
        }
        for number in 0..300 {
            let replies = [1, 2, 4][number % 3];
            let all: Vec<Value> = (0..replies).map(|_| publisher.read().unwrap()).collect();
            let one = Value::Integer(1);
            let last = match replies {
                4 => Value::Array(vec![Value::ok(), one]),
                _ => one,
            };
            assert_eq!(all.last(), Some(&last), "{all:?}");
        }
    });
}

#[test]
fn messages_to_more_clients_than_a_turn_has_room_for() {
    with_cores(&[], |server| {
        const LISTENERS: usize = 3_000;
        let mut listeners = clients(server, LISTENERS, 2);
        let subscribe = encode(&["SUBSCRIBE", "all"]);
        listeners.iter_mut().for_each(|client| client.send_raw(&subscribe).unwrap());
        for listener in &mut listeners {
            assert_eq!(listener.read().unwrap(), confirmation("subscribe", "all", 1));
        }
        let mut publishers = clients(server, 4, 2);
        for (number, publisher) in publishers.iter_mut().enumerate() {
            let messages = (0..5).map(|n| encode(&["PUBLISH", "all", &format!("{number}:{n}")]));
            publisher.send_raw(&messages.collect::<Vec<_>>().concat()).unwrap();
        }
        for publisher in &mut publishers {
            (0..5).for_each(|_| {
                assert_eq!(publisher.read().unwrap(), Value::Integer(LISTENERS as i64));
            });
        }
        for listener in &mut listeners {
            let mut next = [0; 4];
            for _ in 0..20 {
                let Value::Array(parts) = listener.read().unwrap() else { panic!("a message") };
                let Value::Bulk(text) = &parts[2] else { panic!("a text") };
                let text = String::from_utf8_lossy(text).into_owned();
                let (publisher, number) = text.split_once(':').unwrap();
                let next = &mut next[publisher.parse::<usize>().unwrap()];
                assert_eq!(number.parse::<usize>().unwrap(), *next, "of one publisher in order");
                *next += 1;
            }
        }
    });
}

#[test]
fn who_does_not_read_is_closed_and_harms_nobody() {
    with_cores(&[], |server| {
        let mut admin = server.client().unwrap();
        admin.send(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 8mb 0 0"]).unwrap();
        assert_eq!(admin.read().unwrap(), Value::ok());
        let (mut deaf, mut keen) = (server.client().unwrap(), server.client().unwrap());
        for listener in [&mut deaf, &mut keen] {
            check(listener, "SUBSCRIBE a", confirmation("subscribe", "a", 1));
        }
        let mut publisher = server.client().unwrap();
        let text = "x".repeat(1 << 20);
        for _ in 0..40 {
            publisher.send(&["PUBLISH", "a", &text]).unwrap();
            assert!(matches!(publisher.read().unwrap(), Value::Integer(1..=2)));
            assert_eq!(keen.read().unwrap(), words(&["message", "a", &text]));
        }
        check(&mut publisher, "PUBLISH a x", Value::Integer(1));
        let mut heard = 0;
        while deaf.read().is_ok() {
            heard += 1;
        }
        assert!((1..40).contains(&heard), "{heard}");
        // More than may be under way, from one who waits for no reply.
        admin.send(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 0 0"]).unwrap();
        assert_eq!(admin.read().unwrap(), Value::ok());
        publisher.send_raw(&encode(&["PUBLISH", "a", &text]).repeat(20)).unwrap();
        (0..21).for_each(|_| assert!(keen.read().is_ok()));
        (0..20).for_each(|_| assert_eq!(publisher.read().unwrap(), Value::Integer(1)));
    });
}

#[test]
fn operators_see_who_listens() {
    with_cores(&[], |server| {
        let (mut admin, mut listener) = (server.client().unwrap(), server.client().unwrap());
        check(&mut listener, "CLIENT SETNAME ear", Value::ok());
        for (verb, name, count) in
            [("subscribe", "a", 1), ("subscribe", "b", 2), ("psubscribe", "c*", 3)]
        {
            let command = format!("{} {name}", verb.to_uppercase());
            check(&mut listener, &command, confirmation(verb, name, count));
        }
        check(&mut listener, "SSUBSCRIBE d", confirmation("ssubscribe", "d", 1));
        let text = |value: Value| match value {
            Value::Bulk(bytes) => String::from_utf8(bytes).unwrap(),
            other => panic!("{other:?}"),
        };
        let line = text(admin.run("CLIENT LIST TYPE pubsub").unwrap());
        for part in ["name=ear", "flags=P ", "sub=2 ", "psub=1 ", "ssub=1 "] {
            assert!(line.contains(part) && line.lines().count() == 1, "{part}: {line}");
        }
        let info = text(admin.run("INFO").unwrap());
        for part in [
            "pubsub_clients:1\r\n",
            "pubsub_channels:2\r\n",
            "pubsub_patterns:1\r\n",
            "pubsubshard_channels:1\r\n",
        ] {
            assert!(info.contains(part), "{part}: {info}");
        }
        check(&mut admin, "CLIENT KILL TYPE pubsub", Value::Integer(1));
        assert!(listener.read().is_err());
        while admin.run("PUBSUB NUMPAT").unwrap() != Value::Integer(0) {}
        assert!(text(admin.run("INFO stats").unwrap()).contains("pubsub_channels:0\r\n"));
    });
}
