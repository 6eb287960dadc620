//! `maxmemory` on the real binary, with one core and with two: what is refused, what goes, and that
//! it comes to the limit.
#![allow(clippy::unwrap_used)] // A test stops at the first thing that is not as it should be.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tests::harness::cases::{check, error, with_cores};
use tests::harness::client::encode;
use tests::harness::{Client, Server, Value};

/// Several shards a core, each of which has something to evict; thousands of writes that wait for
/// no disk.
fn with_shards(more: &[&str], test: impl Fn(&Server)) {
    with_cores(&[&["--shards", "4", "--durability", "interval"], more].concat(), test);
}

const OUT_OF_MEMORY: &str = "OOM command not allowed when used memory > 'maxmemory'.";

/// The fields of INFO.
fn info(client: &mut Client) -> HashMap<String, String> {
    let Value::Bulk(text) = client.run("INFO").unwrap() else { panic!("no text") };
    let text = String::from_utf8(text).unwrap();
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.map(|(name, value)| (name.into(), value.into())).collect()
}

fn figure(client: &mut Client, name: &str) -> u64 {
    info(client)[name].parse().unwrap()
}

/// What `maxmemory` is compared with.
fn counted(client: &mut Client) -> u64 {
    let fields = info(client);
    let figure = |name: &str| fields[name].parse::<u64>().unwrap();
    figure("used_memory") - figure("mem_not_counted_for_evict")
}

fn keys(client: &mut Client) -> i64 {
    match client.run("DBSIZE").unwrap() {
        Value::Integer(keys) => keys,
        other => panic!("not an integer: {other:?}"),
    }
}

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::yield_now();
    }
}

/// Sets keys of a name until one is refused or so many are set.
fn fill(client: &mut Client, name: &str, count: usize, value: &str) -> usize {
    for number in 0..count {
        match client.run(&format!("SET {name}:{number} {value}")).unwrap() {
            Value::Error(text) if text == OUT_OF_MEMORY => return number,
            reply => assert_eq!(reply, Value::ok()),
        }
    }
    count
}

/// Sets all of these, many under way at a time.
fn set_all(client: &mut Client, commands: &[String]) {
    for batch in commands.chunks(100) {
        let bytes = batch.iter().flat_map(|line| encode(&line.split(' ').collect::<Vec<_>>()));
        client.send_raw(&bytes.collect::<Vec<u8>>()).unwrap();
        for command in batch {
            assert_eq!(client.read().unwrap(), Value::ok(), "{command}");
        }
    }
}

#[test]
fn without_a_policy_what_may_need_memory_is_refused_and_the_rest_is_not() {
    with_shards(&["--maxmemory", "1mb"], |server| {
        let mut client = server.client().unwrap();
        let filled = fill(&mut client, "key", 100_000, &"x".repeat(500));
        assert!((1000..2000).contains(&filled), "{filled} keys of some 600 bytes in 1 MiB");
        assert!(counted(&mut client).abs_diff(1 << 20) < 16 << 10);
        // Well over it, whatever clients' buffers take from now on and each core knows of others.
        check(&mut client, "CONFIG SET maxmemory 1000000", Value::ok());
        let full = || error(OUT_OF_MEMORY);
        // Of one shard, of several, whoever's they are.
        for command in ["SET k v", "LPUSH l a", "INCR n", "MSET a 1 b 2 c 3 d 4 e 5 f 6"] {
            for name in ["one", "two", "three", "four"] {
                let command = command.replace(" k", &format!(" {name}"));
                check(&mut client, &command, full());
            }
        }
        check(&mut client, "EXISTS k l n a b c d e f", Value::Integer(0));
        check(&mut client, "GET key:0", Value::Bulk("x".repeat(500).into_bytes()));
        check(&mut client, "EXPIRE key:1 1000", Value::Integer(1));
        assert_eq!(figure(&mut client, "evicted_keys"), 0);
        for number in 0..200 {
            check(&mut client, &format!("DEL key:{number}"), Value::Integer(1));
        }
        check(&mut client, "SET key:0 v", Value::ok());
        check(&mut client, "CONFIG SET maxmemory 0", Value::ok());
        assert_eq!(fill(&mut client, "more", 2000, &"x".repeat(500)), 2000);
    });
}

#[test]
fn transactions_are_refused_when_queued_and_when_they_run() {
    with_shards(&["--maxmemory", "1mb"], |server| {
        let (mut client, mut other) = (server.client().unwrap(), server.client().unwrap());
        // Queued while there is room, run when there is none.
        check(&mut client, "MULTI", Value::ok());
        check(&mut client, "SET a 1", Value::Simple("QUEUED".into()));
        check(&mut client, "SET b 1", Value::Simple("QUEUED".into()));
        let mut reads = server.client().unwrap();
        check(&mut reads, "MULTI", Value::ok());
        check(&mut reads, "GET a", Value::Simple("QUEUED".into()));
        fill(&mut other, "key", 100_000, &"x".repeat(500));
        // Well over it, whatever buffers are given back behind the filling.
        check(&mut other, "CONFIG SET maxmemory 1000000", Value::ok());
        let aborted = format!("EXECABORT Transaction discarded because of: {OUT_OF_MEMORY}");
        check(&mut client, "EXEC", error(&aborted));
        check(&mut client, "EXISTS a b", Value::Integer(0));
        check(&mut reads, "EXEC", Value::Array(vec![Value::Null]));
        // While there is no room nothing is queued.
        check(&mut client, "MULTI", Value::ok());
        check(&mut client, "SET a 1", error(OUT_OF_MEMORY));
        check(&mut client, "GET a", error(OUT_OF_MEMORY));
        let aborted = "EXECABORT Transaction discarded because of previous errors.";
        check(&mut client, "EXEC", error(aborted));
        check(&mut client, "MULTI", Value::ok());
        check(&mut client, "DISCARD", Value::ok());
    });
}

#[test]
fn every_policy_keeps_to_the_limit_and_takes_what_it_may() {
    for policy in ["lru", "lfu", "random", "ttl"] {
        for whose in ["allkeys", "volatile"] {
            if (whose, policy) == ("allkeys", "ttl") {
                continue;
            }
            with_cores(
                &["--shards", "4", "--maxmemory", "2mb", "--durability", "none"],
                |server| {
                    let mut client = server.client().unwrap();
                    let name = format!("{whose}-{policy}");
                    check(&mut client, &format!("CONFIG SET maxmemory-policy {name}"), Value::ok());
                    let value = "x".repeat(100);
                    let stays = fill(&mut client, "stays", 1000, &value) as i64;
                    let life = if whose == "volatile" { " EX 1000" } else { "" };
                    let goes = |number| format!("SET goes:{number} {value}{life}");
                    set_all(&mut client, &(0..20_000).map(goes).collect::<Vec<_>>());
                    until("what is not there was evicted", || {
                        let evicted = figure(&mut client, "evicted_keys") as i64;
                        keys(&mut client) + evicted == stays + 20_000
                    });
                    let used = counted(&mut client);
                    assert!(used <= (2 << 20) + (64 << 10), "{name}: {used}");
                    assert!(used > (2 << 20) / 10 * 9, "{name}: {used}");
                    if whose == "volatile" {
                        let all: Vec<String> = (0..1000).map(|n| format!("stays:{n}")).collect();
                        let exist = format!("EXISTS {}", all.join(" "));
                        check(&mut client, &exist, Value::Integer(1000));
                    }
                },
            );
        }
    }
}

#[test]
fn volatile_policies_refuse_when_no_key_has_a_time() {
    let arguments = ["--maxmemory", "1mb", "--maxmemory-policy", "volatile-lru"];
    with_shards(&arguments, |server| {
        let mut client = server.client().unwrap();
        assert!(fill(&mut client, "key", 100_000, &"x".repeat(500)) < 2000);
        check(&mut client, "EXPIRE key:7 1000", Value::Integer(1));
        // A key or two may fit without it: buffers of the filling are given back behind it.
        let mut more = 0;
        until("the one key with a time makes room", || {
            client.run(&format!("SET more:{more} {}", "x".repeat(500))).unwrap();
            more += 1;
            client.run("EXISTS key:7").unwrap() == Value::Integer(0)
        });
        assert_eq!(figure(&mut client, "evicted_keys"), 1);
    });
}

#[test]
fn a_lower_limit_shrinks_the_data_without_a_command_and_it_stays_gone() {
    for cores in ["1", "2"] {
        let directory = tempfile::tempdir().unwrap();
        let arguments = ["--cores", cores, "--shards", "4", "--durability", "interval"];
        let server = Server::start(directory.path(), &arguments).unwrap();
        let mut client = server.client().unwrap();
        let value = "x".repeat(100);
        let set = |number| format!("SET key:{number} {value}");
        set_all(&mut client, &(0..20_000).map(set).collect::<Vec<_>>());
        let before = keys(&mut client);
        let set = "CONFIG SET maxmemory-policy allkeys-random maxmemory 1mb";
        check(&mut client, set, Value::ok());
        until("the data shrinks", || counted(&mut client) <= 1 << 20);
        // From now on nothing more goes.
        check(&mut client, "CONFIG SET maxmemory 0", Value::ok());
        until("what is not there was evicted", || {
            before == keys(&mut client) + figure(&mut client, "evicted_keys") as i64
        });
        let after = keys(&mut client);
        assert!((4000..8000).contains(&after), "{after}");
        // Which keys went is in the log.
        server.stop().unwrap();
        let server = Server::start(directory.path(), &arguments).unwrap();
        assert_eq!(keys(&mut server.client().unwrap()), after);
        server.stop().unwrap();
    }
}

#[test]
fn large_values_count_until_they_are_freed_and_take_nothing_else_along() {
    let arguments = ["--maxmemory", "40mb", "--maxmemory-policy", "allkeys-lru"];
    with_shards(&arguments, |server| {
        let mut client = server.client().unwrap();
        let members: Vec<String> = (0..200_000).map(|n| format!("member:{n}")).collect();
        for chunk in members.chunks(10_000) {
            let reply = client.run(&format!("SADD large {}", chunk.join(" "))).unwrap();
            assert_eq!(reply, Value::Integer(10_000));
        }
        let filled = fill(&mut client, "key", 1000, &"x".repeat(100));
        assert_eq!((filled, figure(&mut client, "evicted_keys")), (1000, 0));
        for number in 0..1000 {
            client.run(&format!("GET key:{number}")).unwrap();
        }
        let used = counted(&mut client);
        // Some 8 MiB for the large value; the rest stays within the new limit.
        check(&mut client, &format!("CONFIG SET maxmemory {}", used - (1 << 20)), Value::ok());
        until("memory is freed", || {
            let fields = info(&mut client);
            let freed = counted(&mut client) <= used - (1 << 20);
            freed && fields["lazyfree_pending_objects"] == "0" && fields["evicted_keys"] != "0"
        });
        // Keys are chosen by sample, so some small ones may go before the large one does.
        assert!(keys(&mut client) > 0);
    });
}

#[test]
fn one_core_with_nothing_to_give_lets_another_evict() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["--cores", "2", "--shards", "2", "--durability", "none"];
    let server = Server::start(directory.path(), &arguments).unwrap();
    let mut client = server.client().unwrap();
    // {a} and {b} are slots of different halves.
    let value = "x".repeat(100);
    let with_time = |number| format!("SET {{a}}:{number} {value} EX 1000");
    set_all(&mut client, &(0..4000).map(with_time).collect::<Vec<_>>());
    let used = counted(&mut client);
    let set = format!("CONFIG SET maxmemory-policy volatile-ttl maxmemory {used}");
    check(&mut client, &set, Value::ok());
    for number in 0..2000 {
        let command = format!("SET {{b}}:{number} {}", "x".repeat(100));
        check(&mut client, &command, Value::ok());
    }
    // The cores tell each other of what together is a thousandth of the limit, or 1 KiB each.
    let untold = (used / 1000).max(2 * 1024);
    until("the other core's keys go", || counted(&mut client) <= used + untold);
    assert!(figure(&mut client, "evicted_keys") > 1500);
    server.stop().unwrap();
}

#[test]
fn figures_agree_with_each_other() {
    // The counter of OBJECT FREQ must not fall because a minute begins meanwhile.
    let policy = ["--maxmemory-policy", "allkeys-lfu", "--lfu-decay-time", "0"];
    with_cores(&[&["--shards", "4", "--maxmemory", "1gb"], policy.as_slice()].concat(), |server| {
        let mut client = server.client().unwrap();
        let value = "x".repeat(100);
        let set = |number| format!("SET key:{number} {value}");
        set_all(&mut client, &(0..5000).map(set).collect::<Vec<_>>());
        let fields = info(&mut client);
        let figure = |name: &str| fields[name].parse::<u64>().unwrap();
        assert_eq!(fields["maxmemory"], (1 << 30).to_string());
        assert_eq!(fields["maxmemory_human"], "1.00G");
        assert_eq!(fields["maxmemory_policy"], "allkeys-lfu");
        let used = figure("used_memory");
        assert_eq!(used, figure("used_memory_dataset") + figure("used_memory_overhead"));
        assert!(figure("used_memory_peak") >= used && figure("used_memory_rss") > used);
        assert!(figure("used_memory_overhead") > figure("mem_clients_normal"));
        assert!((600_000..1_500_000).contains(&figure("used_memory_dataset")));
        let Value::Array(stats) = client.run("MEMORY STATS").unwrap() else { panic!("no array") };
        let value = |name: &str| {
            let at = stats.iter().position(|word| *word == Value::Bulk(name.into())).unwrap();
            match &stats[at + 1] {
                Value::Integer(value) => *value as u64,
                other => panic!("{name}: {other:?}"),
            }
        };
        assert!(value("total.allocated").abs_diff(used) < 100_000);
        assert_eq!(value("keys.count"), 5000);
        assert!(value("dataset.bytes").abs_diff(figure("used_memory_dataset")) < 100_000);
        check(&mut client, "OBJECT FREQ key:1", Value::Integer(5));
        check(&mut client, "CONFIG SET maxmemory-policy volatile-ttl", Value::ok());
        check(&mut client, "OBJECT IDLETIME nokey", Value::Null);
    });
}

/// What a large deletion leaves free goes back to the system when that is asked for.
#[test]
fn purge_gives_back_what_was_deleted() {
    with_shards(&[], |server| {
        const KEYS: usize = 100_000;
        const VALUE_BYTES: usize = 1_000;
        let mut client = server.client().unwrap();
        let value = "x".repeat(VALUE_BYTES);
        let set = |number| format!("SET key:{number} {value}");
        for first in (0..KEYS).step_by(10_000) {
            set_all(&mut client, &(first..first + 10_000).map(set).collect::<Vec<_>>());
        }
        let full = figure(&mut client, "used_memory_rss");
        let names: Vec<String> = (0..KEYS).map(|number| format!("key:{number}")).collect();
        for chunk in names.chunks(10_000) {
            let reply = client.run(&format!("DEL {}", chunk.join(" "))).unwrap();
            assert_eq!(reply, Value::Integer(10_000));
        }
        until("memory is freed", || info(&mut client)["lazyfree_pending_objects"] == "0");
        let least = full - (KEYS * VALUE_BYTES) as u64 * 3 / 4;
        // By itself the allocator does so in its own time.
        (0..5).for_each(|_| check(&mut client, "MEMORY PURGE", Value::ok()));
        let now = figure(&mut client, "used_memory_rss");
        assert!(now <= least, "{now} of {full} bytes");
        check(&mut client, "DBSIZE", Value::Integer(0));
    });
}
