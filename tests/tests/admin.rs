//! What operators rely on, on the real binary, with one core and with two.
#![allow(clippy::unwrap_used)] // A test stops at the first thing that is not as it should be.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tests::harness::cases::{check, error, with_cores};
use tests::harness::{Client, Server, Value};

fn array(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        other => panic!("not an array: {other:?}"),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Bulk(bytes) => String::from_utf8(bytes.clone()).unwrap(),
        Value::Simple(text) => text.clone(),
        other => panic!("not a text: {other:?}"),
    }
}

fn integer(value: &Value) -> i64 {
    match value {
        Value::Integer(value) => *value,
        other => panic!("not an integer: {other:?}"),
    }
}

/// Several clients, which the server spreads over its cores.
fn clients(server: &Server) -> Vec<Client> {
    (0..4).map(|_| server.client().unwrap()).collect()
}

/// Asks until the answer is as wanted.
fn until(client: &mut Client, command: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let value = client.run(command).unwrap();
        if wanted(&value) {
            return value;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{command}: {value:?}");
    }
}

#[test]
fn slow_commands_of_every_core_are_listed_newest_first() {
    with_cores(&["--enable-debug-command", "yes"], |server| {
        let mut clients = clients(server);
        for (n, client) in clients.iter_mut().enumerate() {
            check(client, &format!("CLIENT SETNAME c{n}"), Value::ok());
            check(client, "DEBUG SLEEP 0.02", Value::ok());
            check(client, &format!("SET k{n} v"), Value::ok());
        }
        let one = &mut clients[1];
        // Others are slow where the machine holds them up.
        assert!(integer(&one.run("SLOWLOG LEN").unwrap()) >= 4);
        let entries = array(one.run("SLOWLOG GET -1").unwrap());
        let mut names = Vec::new();
        for entry in entries {
            let entry = array(entry);
            assert_eq!(entry.len(), 6);
            assert!(integer(&entry[2]) >= 10_000, "{entry:?}");
            let words: Vec<String> = array(entry[3].clone()).iter().map(text).collect();
            if words == ["DEBUG", "SLEEP", "0.02"] {
                assert!(integer(&entry[2]) >= 20_000, "{entry:?}");
                text(&entry[4]).parse::<SocketAddr>().unwrap();
                names.push(text(&entry[5]));
            }
        }
        names.sort();
        assert_eq!(names, ["c0", "c1", "c2", "c3"]);
        assert_eq!(array(one.run("SLOWLOG GET 2").unwrap()).len(), 2);
        check(one, "CONFIG SET slowlog-log-slower-than -1", Value::ok());
        check(one, "SLOWLOG RESET", Value::ok());
        check(one, "SLOWLOG LEN", Value::Integer(0));
        // With a threshold of 0 every command counts, wherever its shard is, and those of a
        // transaction one by one.
        check(one, "CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 12", Value::ok());
        check(one, "SLOWLOG RESET", Value::ok());
        for command in ["SET a 1", "SET b 1", "SET c 1", "MULTI"] {
            check(one, command, Value::ok());
        }
        check(one, "INCR a", Value::Simple("QUEUED".into()));
        assert_eq!(array(one.run("EXEC").unwrap()), [Value::Integer(2)]);
        check(one, "CONFIG SET slowlog-log-slower-than -1", Value::ok());
        let entries = array(one.run("SLOWLOG GET -1").unwrap());
        let kept: Vec<String> = entries
            .into_iter()
            .map(|entry| array(array(entry)[3].clone()).iter().map(text).collect::<Vec<_>>())
            .map(|words| words.join(" "))
            .collect();
        for command in ["SET a 1", "SET b 1", "SET c 1", "MULTI", "INCR a"] {
            assert_eq!(kept.iter().filter(|kept| *kept == command).count(), 1, "{kept:?}");
        }
        assert!(!kept.iter().any(|kept| kept == "EXEC"), "{kept:?}");
    });
}

#[test]
fn a_pause_holds_back_what_it_should_and_no_key_expires() {
    with_cores(&[], |server| {
        let mut clients = clients(server);
        let mut steering = clients.pop().unwrap();
        let info = |value: &Value, wanted: &str| text(value).contains(wanted);
        for life_ms in (1..12).map(|round| 10 << round) {
            for n in 0..8 {
                check(&mut steering, &format!("SET k{n} v PX {life_ms}"), Value::ok());
            }
            check(&mut steering, "CLIENT PAUSE 60000 WRITE", Value::ok());
            if info(&steering.run("INFO stats").unwrap(), "expired_keys:0\r\n") {
                break;
            }
            // The machine has held it up for so long: the pause was late.
            check(&mut steering, "CLIENT UNPAUSE", Value::ok());
            check(&mut steering, "FLUSHALL", Value::ok());
            check(&mut steering, "CONFIG RESETSTAT", Value::ok());
        }
        // The longer time and the stricter kind win.
        check(&mut steering, "CLIENT PAUSE 1 WRITE", Value::ok());
        clients[0].send(&["SET", "k0", "new"]).unwrap();
        for command in [&["MULTI"][..], &["GET", "k1"], &["EXEC"]] {
            clients[1].send(command).unwrap();
        }
        assert_eq!(clients[1].read().unwrap(), Value::ok());
        assert_eq!(clients[1].read().unwrap(), Value::Simple("QUEUED".into()));
        assert_eq!(array(clients[1].read().unwrap()).len(), 1);
        clients[1].send(&["MULTI"]).unwrap();
        clients[1].send(&["DEL", "k1"]).unwrap();
        assert_eq!(clients[1].read().unwrap(), Value::ok());
        until(&mut steering, "INFO clients", |v| info(v, "blocked_clients:2\r\n"));
        for n in 1..8 {
            until(&mut steering, &format!("GET k{n}"), |value| *value == Value::Null);
            check(&mut steering, &format!("EXISTS k{n}"), Value::Integer(0));
        }
        assert!(info(&steering.run("INFO stats").unwrap(), "expired_keys:0\r\n"));
        check(&mut steering, "CLIENT UNPAUSE", Value::ok());
        assert_eq!(clients[0].read().unwrap(), Value::ok());
        assert_eq!(clients[1].read().unwrap(), Value::Simple("QUEUED".into()));
        assert_eq!(array(clients[1].run("EXEC").unwrap()), [Value::Integer(0)]);
        until(&mut steering, "INFO stats", |v| info(v, "expired_keys:8\r\n"));
        // Of all commands, for a time.
        let start = Instant::now();
        check(&mut steering, "CLIENT PAUSE 200", Value::ok());
        clients[2].send(&["GET", "k0"]).unwrap();
        check(&mut steering, "PING", Value::Simple("PONG".into()));
        assert_eq!(clients[2].read().unwrap(), Value::bulk("new"));
        assert!(start.elapsed() >= Duration::from_millis(150));
    });
}

#[test]
fn a_client_that_goes_away_during_a_pause_runs_nothing() {
    with_cores(&[], |server| {
        let mut steering = server.client().unwrap();
        check(&mut steering, "CLIENT PAUSE 60000 WRITE", Value::ok());
        let mut gone = server.client().unwrap();
        gone.send(&["SET", "gone", "1"]).unwrap();
        let blocked = |value: &Value| text(value).contains("blocked_clients:1\r\n");
        until(&mut steering, "INFO clients", blocked);
        drop(gone);
        until(&mut steering, "CLIENT LIST", |value| text(value).lines().count() == 1);
        check(&mut steering, "CLIENT UNPAUSE", Value::ok());
        check(&mut steering, "EXISTS gone", Value::Integer(0));
    });
}

#[test]
fn replies_are_left_out_where_a_client_wants_none() {
    with_cores(&[], |server| {
        let mut client = server.client().unwrap();
        let mut batch = Vec::new();
        let mut add = |words: &[&str]| batch.extend(tests::harness::client::encode(words));
        add(&["ECHO", "first"]);
        add(&["CLIENT", "REPLY", "OFF"]);
        for n in 0..16 {
            add(&["SET", &format!("k{n}"), "v"]);
            add(&["GET", &format!("k{n}")]);
        }
        add(&["MGET", "k0", "k1", "k2"]);
        add(&["CONFIG", "GET", "port"]);
        add(&["MULTI"]);
        add(&["SET", "t", "1"]);
        add(&["INFO"]);
        add(&["EXEC"]);
        add(&["CLIENT", "REPLY", "ON"]);
        for n in 0..16 {
            add(&["CLIENT", "REPLY", "SKIP"]);
            add(&["GET", &format!("k{n}")]);
        }
        add(&["CLIENT", "REPLY", "SKIP"]);
        add(&["MGET", "k0", "k1", "k2"]);
        add(&["CLIENT", "REPLY", "SKIP"]);
        add(&["CONFIG", "GET", "port"]);
        add(&["GET", "t"]);
        client.send_raw(&batch).unwrap();
        assert_eq!(client.read().unwrap(), Value::bulk("first"));
        assert_eq!(client.read().unwrap(), Value::ok());
        assert_eq!(client.read().unwrap(), Value::bulk("1"));
        check(&mut client, "PING", Value::Simple("PONG".into()));
    });
}

#[test]
fn questions_to_all_cores_inside_a_transaction() {
    with_cores(&[], |server| {
        let mut client = server.client().unwrap();
        let commands: [&[&str]; 8] = [
            &["ECHO", "a reply that waits in front"],
            &["MULTI"],
            &["SET", "a", "1"],
            &["CONFIG", "GET", "databases"],
            &["SET", "b", "2"],
            &["SLOWLOG", "LEN"],
            &["EXEC"],
            &["MGET", "a", "b"],
        ];
        let batch: Vec<u8> =
            commands.iter().flat_map(|words| tests::harness::client::encode(words)).collect();
        client.send_raw(&batch).unwrap();
        (0..6).for_each(|_| drop(client.read().unwrap()));
        let setting = Value::Array(vec![Value::bulk("databases"), Value::bulk("16")]);
        let expected = vec![Value::ok(), setting, Value::ok(), Value::Integer(0)];
        assert_eq!(client.read().unwrap(), Value::Array(expected));
        let expected = Value::Array(vec![Value::bulk("1"), Value::bulk("2")]);
        assert_eq!(client.read().unwrap(), expected);
    });
}

/// What LATENCY has of an event: its name, when it was last, how long it took then, and at most.
fn event(client: &mut Client, name: &str) -> Option<Vec<Value>> {
    let latest = array(client.run("LATENCY LATEST").unwrap());
    latest.into_iter().map(array).find(|event| event[0] == Value::bulk(name))
}

#[test]
fn events_and_histograms() {
    with_cores(&["--enable-debug-command", "local"], |server| {
        let mut clients = clients(server);
        check(&mut clients[0], "CONFIG SET latency-monitor-threshold 20", Value::ok());
        for client in &mut clients {
            check(client, "DEBUG SLEEP 0.03", Value::ok());
        }
        let one = &mut clients[2];
        // Another one may have taken long since, where the machine held it up.
        let slept = event(one, "command").expect("they took long");
        assert!(integer(&slept[2]) >= 20 && integer(&slept[3]) >= 30, "{slept:?}");
        assert!(!array(one.run("LATENCY HISTORY command").unwrap()).is_empty());
        assert!(text(&one.run("LATENCY GRAPH command").unwrap()).starts_with("command - high "));
        assert!(text(&one.run("LATENCY DOCTOR").unwrap()).contains("command: "));
        check(one, "CONFIG SET latency-monitor-threshold 0", Value::ok());
        check(one, "LATENCY RESET command other", Value::Integer(1));
        assert_eq!(event(one, "command"), None);
        check(one, "CONFIG SET latency-tracking yes", Value::ok());
        for n in 0..20 {
            check(one, &format!("SET k{n} v"), Value::ok());
        }
        let histogram = array(one.run("LATENCY HISTOGRAM set nosuch").unwrap());
        assert_eq!(histogram[0], Value::bulk("set"));
        let set = array(histogram[1].clone());
        assert_eq!(set[..2], [Value::bulk("calls"), Value::Integer(20)]);
        assert_eq!(array(set[3].clone()).last(), Some(&Value::Integer(20)));
        check(one, "CONFIG RESETSTAT", Value::ok());
        check(one, "LATENCY HISTOGRAM set", Value::Array(Vec::new()));
    });
}

#[test]
fn settings_are_written_back_into_their_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("quoring.toml");
    std::fs::write(&file, "# mine\ncores = 2\ntimeout = 7 # short\n").unwrap();
    let data = directory.path().join("data");
    let config = ["--config", file.to_str().unwrap()];
    let server = Server::start(&data, &config).unwrap();
    let mut client = server.client().unwrap();
    check(&mut client, "CONFIG SET timeout 9 slowlog-max-len 5", Value::ok());
    check(&mut client, "CONFIG REWRITE", Value::ok());
    let expected = "# mine\ncores = 2\ntimeout = 9 # short\nslowlog-max-len = 5\n";
    assert_eq!(std::fs::read_to_string(&file).unwrap(), expected);
    assert!(!file.with_extension("toml.new").exists());
    server.stop().unwrap();
    let server = Server::start(&data, &config).unwrap();
    let mut client = server.client().unwrap();
    let both = ["slowlog-max-len", "5", "timeout", "9"].map(Value::bulk).into();
    check(&mut client, "CONFIG GET slowlog-max-len timeout", Value::Array(both));
    server.stop().unwrap();
    let server = Server::start(&data, &["--slowlog-max-len", "3"]).unwrap();
    let mut client = server.client().unwrap();
    let refused = "ERR The server is running without a config file";
    check(&mut client, "CONFIG REWRITE", error(refused));
    let length = ["slowlog-max-len", "3"].map(Value::bulk).into();
    check(&mut client, "CONFIG GET slowlog-max-len", Value::Array(length));
    std::fs::write(&file, "slowlog-maxlen = 5\n").unwrap();
    let said = Server::refuses(&data.join("other"), &config).unwrap();
    assert!(said.contains("is 'slowlog-max-len' meant?"), "{said}");
}

#[test]
fn a_client_that_leaves_too_much_unread_is_closed() {
    with_cores(&[], |server| {
        let (mut steering, mut slow) = (server.client().unwrap(), server.client().unwrap());
        check(&mut slow, &format!("SET big {}", "x".repeat(3_000_000)), Value::ok());
        let limit = |limit: &str| {
            tests::harness::client::encode(&["CONFIG", "SET", "client-output-buffer-limit", limit])
        };
        steering.send_raw(&limit("normal 2mb 0 0")).unwrap();
        assert_eq!(steering.read().unwrap(), Value::ok());
        assert!(slow.run("GET big").is_err());
        // What the socket takes at once is no burden, however large.
        steering.send_raw(&limit("normal 0 64kb 60")).unwrap();
        assert_eq!(steering.read().unwrap(), Value::ok());
        let mut fast = server.client().unwrap();
        assert_eq!(text(&fast.run("GET big").unwrap()).len(), 3_000_000);
        steering.send_raw(&limit("normal 0 64kb 1")).unwrap();
        assert_eq!(steering.read().unwrap(), Value::ok());
        let mut slow = server.client().unwrap();
        for _ in 0..8 {
            slow.send(&["GET", "big"]).unwrap();
        }
        until(&mut steering, "CLIENT LIST", |value| text(value).lines().count() == 2);
        check(&mut fast, "PING", Value::Simple("PONG".into()));
    });
}

#[test]
fn waiting_for_the_log() {
    for durability in ["sync", "interval"] {
        with_cores(&["--durability", durability], |server| {
            for client in &mut clients(server) {
                check(client, "SET k v", Value::ok());
                check(client, "WAIT 0 0", Value::Integer(0));
                let local = Value::Array(vec![Value::Integer(1), Value::Integer(0)]);
                check(client, "WAITAOF 1 0 0", local.clone());
                check(client, "MULTI", Value::ok());
                check(client, "SET k w", Value::Simple("QUEUED".into()));
                check(client, "WAITAOF 1 0 0", Value::Simple("QUEUED".into()));
                check(client, "EXEC", Value::Array(vec![Value::ok(), local]));
            }
            wait_for_nodes_that_are_not(server);
        });
    }
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &["--durability", "none"]).unwrap();
    let refused = "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";
    check(&mut server.client().unwrap(), "WAITAOF 1 0 0", error(refused));
}

/// As in Redis, a server without replicas waits for them all the same.
fn wait_for_nodes_that_are_not(server: &Server) {
    let (mut client, mut admin) = (server.client().unwrap(), server.client().unwrap());
    let none = Value::Array(vec![Value::Integer(1), Value::Integer(0)]);
    for (command, expected) in [("WAIT 1 50", Value::Integer(0)), ("WAITAOF 1 1 50", none.clone())]
    {
        let began = Instant::now();
        check(&mut client, command, expected);
        assert!(began.elapsed() >= Duration::from_millis(50), "{command}");
    }
    check(&mut client, "MULTI", Value::ok());
    check(&mut client, "WAIT 1 0", Value::Simple("QUEUED".into()));
    check(&mut client, "WAITAOF 0 1 0", Value::Simple("QUEUED".into()));
    check(&mut client, "EXEC", Value::Array(vec![Value::Integer(0), none.clone()]));
    let id = integer(&client.run("CLIENT ID").unwrap());
    // Writes without replies count too, and what comes behind waits.
    for words in [&["CLIENT", "REPLY", "SKIP"][..], &["SET", "k", "1"], &["WAITAOF", "1", "1", "0"]]
    {
        client.send(words).unwrap();
    }
    client.send(&["INCR", "k"]).unwrap();
    until(&mut admin, "INFO clients", |v| text(v).contains("blocked_clients:1\r\n"));
    check(&mut admin, "GET k", Value::bulk("1"));
    check(&mut admin, "WAITAOF 1 0 0", none.clone());
    check(&mut admin, &format!("CLIENT UNBLOCK {id}"), Value::Integer(1));
    assert_eq!(client.read().unwrap(), none);
    assert_eq!(client.read().unwrap(), Value::Integer(2));
    for (command, said) in [
        ("WAIT one 0", "ERR value is not an integer or out of range"),
        ("WAIT 1 soon", "ERR timeout is not an integer or out of range"),
        ("WAIT 1 -1", "ERR timeout is negative"),
        ("WAIT 1 9223372036854775807", "ERR timeout is out of range"),
        ("WAITAOF one 0 0", "ERR value is not an integer or out of range"),
        ("WAITAOF 2 0 0", "ERR value is out of range, value must between 0 and 1"),
        ("WAITAOF 0 -1 0", "ERR value is out of range, must be positive"),
        ("WAITAOF 0 one 0", "ERR value is out of range, must be positive"),
    ] {
        check(&mut client, command, error(said));
    }
    // A negative number is less than there are.
    check(&mut client, "WAIT -1 0", Value::Integer(0));
}

#[test]
fn data_is_looked_at_and_rebuilt() {
    with_cores(&["--enable-debug-command", "yes"], |server| {
        let mut client = server.client().unwrap();
        check(&mut client, "DEBUG POPULATE 1000 key 10", Value::ok());
        for n in 0..300 {
            client.run(&format!("RPUSH list item-{n}")).unwrap();
            client.run(&format!("ZADD zset {n} member-{n}")).unwrap();
        }
        let digest = client.run("DEBUG DIGEST").unwrap();
        check(&mut client, "DEBUG RELOAD", Value::ok());
        check(&mut client, "DBSIZE", Value::Integer(1002));
        assert_eq!(client.run("DEBUG DIGEST").unwrap(), digest);
        let usage = integer(&client.run("MEMORY USAGE list").unwrap());
        assert!((2_000..20_000).contains(&usage), "{usage}");
        let object = text(&client.run("DEBUG OBJECT key:1").unwrap());
        assert!(object.contains(" encoding:embstr serializedlength:10 "), "{object}");
        check(&mut client, "DEBUG SET-ACTIVE-EXPIRE 0", Value::ok());
        check(&mut client, "CONFIG SET timeout 0", Value::ok());
        check(&mut client, "SET gone 1 PX 1", Value::ok());
        check(&mut client, "SET mark 1 PX 300", Value::ok());
        until(&mut client, "EXISTS mark", |value| *value == Value::Integer(0));
        check(&mut client, "DBSIZE", Value::Integer(1003));
        check(&mut client, "DEBUG SET-ACTIVE-EXPIRE 1", Value::ok());
        until(&mut client, "DBSIZE", |value| *value == Value::Integer(1002));
        let stats = array(client.run("MEMORY STATS").unwrap());
        let count = stats.iter().position(|v| *v == Value::bulk("keys.count")).unwrap();
        assert_eq!(stats[count + 1], Value::Integer(1002));
        assert!(!text(&client.run("MEMORY DOCTOR").unwrap()).is_empty());
        assert!(text(&client.run("MEMORY MALLOC-STATS").unwrap()).contains("heap"));
        check(&mut client, "MEMORY PURGE", Value::ok());
    });
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]).unwrap();
    let Value::Error(said) = server.client().unwrap().run("DEBUG DIGEST").unwrap() else {
        panic!("DEBUG is for nobody by default");
    };
    assert!(said.starts_with("ERR DEBUG command not allowed."), "{said}");
}

#[test]
fn reading_without_a_trace() {
    with_cores(&[], |server| {
        let mut client = server.client().unwrap();
        (0..8).for_each(|n| check(&mut client, &format!("SET k{n} v"), Value::ok()));
        for n in 0..8 {
            until(&mut client, &format!("OBJECT IDLETIME k{n}"), |value| integer(value) >= 1);
        }
        check(&mut client, "CLIENT NO-TOUCH ON", Value::ok());
        (0..8).for_each(|n| check(&mut client, &format!("GET k{n}"), Value::bulk("v")));
        for n in 0..8 {
            assert!(integer(&client.run(&format!("OBJECT IDLETIME k{n}")).unwrap()) >= 1);
        }
        let start = Instant::now();
        // Another second may begin between the two.
        let mut is_touched = || {
            check(&mut client, "TOUCH k0 k1 k2 k3 k4 k5 k6 k7", Value::Integer(8));
            let idle = client.run("OBJECT IDLETIME k0").unwrap();
            assert!(start.elapsed() < Duration::from_secs(30), "{idle:?}");
            idle == Value::Integer(0)
        };
        while !is_touched() {}
    });
}

#[test]
fn clients_are_listed_and_closed_by_what_they_are() {
    with_cores(&[], |server| {
        let mut clients = clients(server);
        let ids: Vec<i64> =
            clients.iter_mut().map(|c| integer(&c.run("CLIENT ID").unwrap())).collect();
        let list = text(&clients[0].run(&format!("CLIENT LIST ID {} {}", ids[1], ids[3])).unwrap());
        assert_eq!(list.lines().count(), 2, "{list}");
        assert_eq!(text(&clients[0].run("CLIENT LIST TYPE normal").unwrap()).lines().count(), 4);
        check(&mut clients[0], "CLIENT LIST TYPE pubsub", Value::bulk(""));
        check(&mut clients[0], "CLIENT KILL TYPE replica", Value::Integer(0));
        check(&mut clients[0], "CLIENT KILL TYPE normal USER default", Value::Integer(3));
        assert!(clients[1].run("PING").is_err());
        check(&mut clients[0], "PING", Value::Simple("PONG".into()));
    });
}

#[test]
fn what_is_written_of_commands() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]).unwrap();
    let mut client = server.client().unwrap();
    let docs = array(client.run("COMMAND DOCS").unwrap());
    let count = integer(&client.run("COMMAND COUNT").unwrap());
    assert_eq!(docs.len() as i64, 2 * count);
    for doc in docs.chunks_exact(2) {
        let fields: Vec<String> = array(doc[1].clone()).iter().step_by(2).map(text).collect();
        assert_eq!(fields[..3], ["summary", "since", "group"], "{:?}", doc[0]);
    }
    let docs = array(client.run("COMMAND DOCS config|set nosuch").unwrap());
    assert_eq!((docs.len(), &docs[0]), (2, &Value::bulk("config|set")));
    for container in ["CLIENT", "COMMAND", "CONFIG", "LATENCY", "MEMORY", "OBJECT", "SLOWLOG"] {
        let lines = array(client.run(&format!("{container} HELP")).unwrap());
        let first = format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
        assert!(lines.len() > 6 && text(&lines[0]) == first, "{lines:?}");
    }
    let art = text(&client.run("LOLWUT").unwrap());
    assert!(art.ends_with("Redis ver. 7.2.4\n"), "{art}");
    assert_eq!(text(&client.run("LOLWUT VERSION 5 20 3").unwrap()).lines().count(), 5);
    let role = array(client.run("ROLE").unwrap());
    assert_eq!((&role[0], &role[2]), (&Value::bulk("master"), &Value::Array(Vec::new())));
    let refused = error("ERR This instance has cluster support disabled");
    check(&mut client, "READONLY", refused);
    check(&mut client, "SHUTDOWN SAVE NOSAVE", error("ERR syntax error"));
    check(&mut client, "SHUTDOWN ABORT", error("ERR No shutdown in progress."));
    client.send(&["SHUTDOWN", "NOSAVE"]).unwrap();
    assert!(client.read().is_err(), "SHUTDOWN answers by closing");
}

/// A fault on a huge page clears 2 MB at once, and may wait until the kernel has made room for it.
#[test]
fn huge_pages_are_off_unless_wanted() {
    for (argument, enabled) in [("yes", "0"), ("no", "1")] {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::start(directory.path(), &["--disable-thp", argument]).unwrap();
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
        let told = status.lines().find_map(|line| line.strip_prefix("THP_enabled:")).unwrap();
        assert_eq!(told.trim(), enabled, "disable-thp {argument}");
        server.stop().unwrap();
    }
}
