//! What Valkey's own tests ask of a server and ours ask nowhere else, with one core and two.
#![allow(clippy::unwrap_used)] // A test stops at the first thing that is not as it should be.

use tests::harness::cases::{check, error, with_cores};
use tests::harness::{Client, Server, Value};

fn text(value: &Value) -> String {
    match value {
        Value::Bulk(bytes) => String::from_utf8(bytes.clone()).unwrap(),
        Value::Simple(text) => text.clone(),
        other => panic!("not a text: {other:?}"),
    }
}

fn array(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        other => panic!("not an array: {other:?}"),
    }
}

/// Asks until so many clients wait.
fn until_blocked(client: &mut Client, count: usize) {
    let wanted = format!("blocked_clients:{count}\r\n");
    while !text(&client.run("INFO clients").unwrap()).contains(&wanted) {}
}

/// Clients of every core, each of which waits for the key with its command.
fn waiting(server: &Server, asking: &mut Client, commands: &[&[&str]]) -> Vec<Client> {
    let mut clients = Vec::new();
    for command in commands {
        let mut client = server.client().unwrap();
        client.send(command).unwrap();
        clients.push(client);
        until_blocked(asking, clients.len());
    }
    clients
}

#[test]
fn who_waits_for_a_list_is_not_served_by_another_type() {
    with_cores(&[], |server| {
        let mut client = server.client().unwrap();
        for key in ["k1", "k2", "k3"] {
            let commands: [&[&str]; 4] = [
                &["BLPOP", key, "0"],
                &["BZPOPMIN", key, "0"],
                &["BLMOVE", key, "taken", "LEFT", "LEFT", "0"],
                &["BZMPOP", "0", "1", key, "MAX"],
            ];
            let mut waiting = waiting(server, &mut client, &commands);
            // Behind those that wait for a list, and before and after a value that serves nobody.
            check(&mut client, "MULTI", Value::ok());
            for command in [format!("RPUSH {key} x"), format!("DEL {key}"), format!("SET {key} s")]
            {
                check(&mut client, &command, Value::Simple("QUEUED".into()));
            }
            client.run("EXEC").unwrap();
            check(&mut client, &format!("DEL {key}"), Value::Integer(1));
            check(&mut client, &format!("ZADD {key} 1 a 2 b"), Value::Integer(2));
            let bulk = Value::bulk;
            let popped = Value::Array(vec![bulk(key), bulk("a"), bulk("1")]);
            assert_eq!(waiting[1].read().unwrap(), popped);
            let pair = Value::Array(vec![Value::Array(vec![bulk("b"), bulk("2")])]);
            assert_eq!(waiting[3].read().unwrap(), Value::Array(vec![bulk(key), pair]));
            until_blocked(&mut client, 2);
            check(&mut client, &format!("RPUSH {key} c d"), Value::Integer(2));
            let popped = Value::Array(vec![bulk(key), bulk("c")]);
            assert_eq!(waiting[0].read().unwrap(), popped);
            assert_eq!(waiting[2].read().unwrap(), bulk("d"));
        }
    });
}

/// One push serves as many as it has something for, whichever cores they are clients of.
#[test]
fn a_push_serves_all_it_can_first_come_first_served() {
    with_cores(&[], |server| {
        let mut client = server.client().unwrap();
        for tag in ["a", "b", "c", "d"] {
            let (one, two) = (&format!("one{{{tag}}}"), &format!("two{{{tag}}}"));
            let commands = [("LEFT", "1"), ("RIGHT", "10"), ("LEFT", "10"), ("RIGHT", "1")]
                .map(|(end, count)| ["BLMPOP", "0", "2", one, two, end, "COUNT", count]);
            let commands: Vec<&[&str]> = commands.iter().map(|words| &words[..]).collect();
            let mut waiting = waiting(server, &mut client, &commands);
            check(&mut client, "MULTI", Value::ok());
            for command in [format!("LPUSH {one} a b c d e"), format!("LPUSH {two} 1 2 3 4 5")] {
                check(&mut client, &command, Value::Simple("QUEUED".into()));
            }
            client.run("EXEC").unwrap();
            let served = |key: &str, items: &str| {
                let items = items.split(' ').map(Value::bulk).collect();
                Value::Array(vec![Value::bulk(key), Value::Array(items)])
            };
            assert_eq!(waiting[0].read().unwrap(), served(one, "e"));
            assert_eq!(waiting[1].read().unwrap(), served(one, "a b c d"));
            assert_eq!(waiting[2].read().unwrap(), served(two, "5 4 3 2 1"));
            check(&mut client, &format!("LPUSH {two} 1 2 3"), Value::Integer(3));
            assert_eq!(waiting[3].read().unwrap(), served(two, "1"));
            check(&mut client, &format!("LLEN {two}"), Value::Integer(2));
            check(&mut client, &format!("DEL {two}"), Value::Integer(1));
        }
    });
}

/// Neither a key that came with its time over nor one that was gone before WATCH is a change.
#[test]
fn a_swap_of_databases_brings_no_dead_keys_to_watchers() {
    with_cores(&["--enable-debug-command", "yes"], |server| {
        let mut client = server.client().unwrap();
        check(&mut client, "DEBUG SET-ACTIVE-EXPIRE 0", Value::ok());
        for there_before in [false, true] {
            check(&mut client, "FLUSHALL", Value::ok());
            check(&mut client, "SELECT 0", Value::ok());
            check(&mut client, "SET x foo PX 1", Value::ok());
            check(&mut client, "SELECT 1", Value::ok());
            if there_before {
                check(&mut client, "SET x bar PX 1", Value::ok());
            }
            check(&mut client, "DEBUG SLEEP 0.005", Value::ok());
            check(&mut client, "WATCH x", Value::ok());
            check(&mut client, "SWAPDB 0 1", Value::ok());
            check(&mut client, "MULTI", Value::ok());
            check(&mut client, "PING", Value::Simple("QUEUED".into()));
            let done = Value::Array(vec![Value::Simple("PONG".into())]);
            check(&mut client, "EXEC", done);
        }
        // A key that lives is one, whichever way it goes.
        for (before, after) in [("SET x v", "SELECT 1"), ("SELECT 1", "SET x v")] {
            check(&mut client, "FLUSHALL", Value::ok());
            check(&mut client, "SELECT 0", Value::ok());
            check(&mut client, before, Value::ok());
            check(&mut client, after, Value::ok());
            check(&mut client, "SELECT 1", Value::ok());
            check(&mut client, "WATCH x", Value::ok());
            check(&mut client, "SWAPDB 0 1", Value::ok());
            check(&mut client, "MULTI", Value::ok());
            check(&mut client, "PING", Value::Simple("QUEUED".into()));
            check(&mut client, "EXEC", Value::Null);
        }
    });
}

/// As Redis 7.0.15 counts, but for times.
#[test]
fn calls_of_commands_are_counted() {
    with_cores(&["--enable-debug-command", "yes"], |server| {
        let mut client = server.client().unwrap();
        check(&mut client, "CONFIG RESETSTAT", Value::ok());
        for n in 0..200 {
            check(&mut client, &format!("SET k{n} v"), Value::ok());
        }
        check(&mut client, "DEBUG SLEEP 0.02", Value::ok());
        let wrong = error("ERR value is not an integer or out of range");
        check(&mut client, "INCR k1", wrong);
        let arity = error("ERR wrong number of arguments for 'incr' command");
        check(&mut client, "INCR", arity);
        client.run("CONFIG SET maxmemory x").unwrap();
        check(&mut client, "MULTI", Value::ok());
        check(&mut client, "SET k v", Value::Simple("QUEUED".into()));
        check(&mut client, "BLPOP none 0", Value::Simple("QUEUED".into()));
        client.run("EXEC").unwrap();
        check(&mut client, "BLPOP none1 none2 0.01", Value::Null);
        let mut blocked = waiting(server, &mut client, &[&["BLPOP", "list", "0"]]);
        let counted = |client: &mut Client, section: &str| {
            let info = text(&client.run(&format!("INFO {section}")).unwrap());
            let lines: Vec<String> = info.lines().map(str::to_owned).collect();
            move |command: &str, field: &str| {
                let start = format!("cmdstat_{command}:");
                let line = lines.iter().find_map(|line| line.strip_prefix(&start))?;
                let start = format!("{field}=");
                let value = line.split(',').find_map(|part| part.strip_prefix(&start))?;
                Some(value.parse::<f64>().unwrap())
            }
        };
        let of = counted(&mut client, "commandstats");
        assert_eq!(of("set", "calls"), Some(201.0));
        assert_eq!(of("blpop", "calls"), Some(2.0));
        assert!(of("debug|sleep", "usec").unwrap() >= 20_000.0);
        for (command, counts) in [
            ("incr", [1.0, 1.0, 1.0]),
            ("config|set", [1.0, 0.0, 1.0]),
            ("exec", [1.0, 0.0, 0.0]),
            ("blpop", [2.0, 0.0, 0.0]),
        ] {
            let fields = ["calls", "rejected_calls", "failed_calls"];
            assert_eq!(fields.map(|field| of(command, field).unwrap()), counts, "{command}");
        }
        assert_eq!(of("get", "calls"), None);
        check(&mut client, "RPUSH list v", Value::Integer(1));
        blocked[0].read().unwrap();
        assert_eq!(counted(&mut client, "all")("blpop", "calls"), Some(3.0));
        assert_eq!(counted(&mut client, "default")("blpop", "calls"), None);
        check(&mut client, "CONFIG RESETSTAT", Value::ok());
        assert_eq!(counted(&mut client, "commandstats")("set", "calls"), None);
    });
}

#[test]
fn a_blocking_command_is_slow_once_it_is_served() {
    with_cores(&["--slowlog-log-slower-than", "0"], |server| {
        let mut client = server.client().unwrap();
        let logged = |client: &mut Client| {
            let entries = array(client.run("SLOWLOG GET -1").unwrap());
            let words = entries.into_iter().map(|entry| array(array(entry)[3].clone()));
            words.filter(|words| words[0] == Value::bulk("BLPOP")).count()
        };
        let mut waiting = waiting(server, &mut client, &[&["BLPOP", "k", "0"]]);
        assert_eq!(logged(&mut client), 0);
        check(&mut client, "LPUSH k v", Value::Integer(1));
        waiting[0].read().unwrap();
        // What another core noticed comes to the client's own a moment later.
        while logged(&mut client) == 0 {}
        assert_eq!(logged(&mut client), 1);
    });
}

#[test]
fn clients_are_told_of_by_full_command_and_closed_by_age() {
    with_cores(&[], |server| {
        let mut client = server.client().unwrap();
        let line = text(&client.run("CLIENT LIST").unwrap());
        assert!(line.contains(" cmd=client|list "), "{line}");
        check(&mut client, "CLIENT KILL MAXAGE 1000 SKIPME no", Value::Integer(0));
        let out_of_range = error("ERR maxage is not an integer or out of range");
        check(&mut client, "CLIENT KILL MAXAGE x", out_of_range);
        check(&mut client, "CLIENT KILL MAXAGE -1", error("ERR maxage should be greater than 0"));
    });
}

/// As Redis 7.0.15 and Valkey 9.1 mark them.
#[test]
fn commands_whose_keys_move_are_marked() {
    with_cores(&[], |server| {
        let mut client = server.client().unwrap();
        let mut marked = |command: &str| {
            let info = array(client.run(&format!("COMMAND INFO {command}")).unwrap());
            array(array(info[0].clone())[2].clone()).iter().any(|flag| text(flag) == "movablekeys")
        };
        for command in ["sort", "sort_ro", "zunionstore", "zinter", "lmpop", "bzmpop", "sintercard"]
        {
            assert!(marked(command), "{command}");
        }
        for command in ["set", "get", "mset", "lmove", "lpop", "blpop", "ping", "memory", "rename"]
        {
            assert!(!marked(command), "{command}");
        }
    });
}

/// As Redis 7.0.15 gives them: clients that know no key specifications route by these.
#[test]
fn first_and_last_key_cover_all_of_a_command_s_keys() {
    with_cores(&[], |server| {
        let mut client = server.client().unwrap();
        for (command, range) in [
            ("get", [1, 1, 1]),
            ("mset", [1, -1, 2]),
            ("del", [1, -1, 1]),
            ("blpop", [1, -2, 1]),
            ("rename", [1, 2, 1]),
            ("copy", [1, 2, 1]),
            ("smove", [1, 2, 1]),
            ("lmove", [1, 2, 1]),
            ("brpoplpush", [1, 2, 1]),
            ("zrangestore", [1, 2, 1]),
            ("sinterstore", [1, -1, 1]),
            ("sdiffstore", [1, -1, 1]),
            ("zunionstore", [1, 1, 1]),
            ("sort", [1, 1, 1]),
            ("lmpop", [0, 0, 0]),
            ("ping", [0, 0, 0]),
        ] {
            let info = array(client.run(&format!("COMMAND INFO {command}")).unwrap());
            let info = array(info[0].clone());
            assert_eq!(info[3..6], range.map(Value::Integer), "{command}");
        }
    });
}

/// The form of Redis 7.2's documentation, of which `redis-cli` makes its hints.
#[test]
fn arguments_of_commands_are_documented() {
    with_cores(&[], |server| {
        let mut client = server.client().unwrap();
        let docs = array(client.run("COMMAND DOCS expire").unwrap());
        let fields = array(docs[1].clone());
        let at = fields.iter().position(|field| *field == Value::bulk("arguments")).unwrap();
        let bulk = Value::bulk;
        let plain = |name: &str, kind: &str| {
            let words = ["name", name, "type", kind, "display_text", name];
            words.into_iter().map(bulk).collect::<Vec<_>>()
        };
        let mut key = plain("key", "key");
        key.extend([bulk("key_spec_index"), Value::Integer(0)]);
        let ways = ["NX", "XX", "GT", "LT"].map(|token| {
            let mut way = plain(&token.to_lowercase(), "pure-token");
            way.extend([bulk("token"), bulk(token)]);
            Value::Array(way)
        });
        let condition = vec![
            bulk("name"),
            bulk("condition"),
            bulk("type"),
            bulk("oneof"),
            bulk("flags"),
            Value::Array(vec![Value::Simple("optional".into())]),
            bulk("arguments"),
            Value::Array(ways.to_vec()),
        ];
        let arguments = [key, plain("seconds", "integer"), condition].map(Value::Array);
        assert_eq!(fields[at + 1], Value::Array(arguments.to_vec()));
    });
}

/// As Redis 7.0 and later say of these commands.
#[test]
fn notes_of_keys_are_told() {
    fn texts(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
            Value::Bulk(_) | Value::Simple(_) => found.push(text(value)),
            _ => {}
        }
    }
    with_cores(&[], |server| {
        let info = server.client().unwrap().run("COMMAND INFO get getex set sort sort_ro").unwrap();
        let mut found = Vec::new();
        texts(&info, &mut found);
        let notes = found.windows(2).filter(|pair| pair[0] == "notes").map(|pair| pair[1].as_str());
        let notes: Vec<&str> = notes.collect();
        let by = "For the optional BY/GET keyword. It is marked 'unknown' because the key names \
                  derive from the content of the key we sort";
        let store = "For the optional STORE keyword. It is marked 'unknown' because the keyword \
                     can appear anywhere in the argument array";
        let getex = "RW and UPDATE because it changes the TTL";
        let set = "RW and ACCESS due to the optional `GET` argument";
        assert_eq!(notes, [getex, set, by, store, by]);
    });
}
