//! What many clients send at once, and what is due at one instant, is done in bounded turns, soon,
//! and in order.
#![allow(clippy::unwrap_used)] // A test stops at the first thing that is not as it should be.

use std::time::{Duration, Instant};

use tests::harness::cases::check;
use tests::harness::{Client, Server, Value};

/// The server's limits of the same names.
const COMMANDS_PER_TURN_MAX: u64 = 4096;
const EXPIRED_PER_TURN_MAX: u32 = 1024;
const HOUSEKEEPING_PERIOD: Duration = Duration::from_millis(100);

const CLIENTS: usize = 60;
const COMMANDS: usize = 1_000;

fn info(client: &mut Client, name: &str) -> u64 {
    let Value::Bulk(text) = client.run("INFO").unwrap() else { panic!("INFO is a text") };
    let text = String::from_utf8(text).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    line.unwrap().parse().unwrap()
}

/// A pipeline of ECHO, each with a number of its own.
fn pipeline(client: usize) -> Vec<u8> {
    (0..COMMANDS).flat_map(|n| format!("ECHO {client}-{n}\r\n").into_bytes()).collect()
}

#[test]
fn a_crowd_of_pipelines_is_served_in_bounded_turns_and_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["--cores", "1", "--durability", "none", "--enable-debug-command", "yes"];
    let server = Server::start(directory.path(), &arguments).unwrap();
    let mut crowd: Vec<Client> = (0..CLIENTS).map(|_| server.client().unwrap()).collect();
    let mut sleeper = server.client().unwrap();
    let before = info(&mut sleeper, "turn_count");
    // While it sleeps everything arrives; then nothing but the bound keeps it from one turn.
    sleeper.send(&["DEBUG", "SLEEP", "1"]).unwrap();
    for (number, client) in crowd.iter_mut().enumerate() {
        client.send_raw(&pipeline(number)).unwrap();
    }
    assert_eq!(sleeper.read().unwrap(), Value::ok());
    for (number, client) in crowd.iter_mut().enumerate() {
        for n in 0..COMMANDS {
            assert_eq!(client.read().unwrap(), Value::bulk(&format!("{number}-{n}")));
        }
    }
    let turns = info(&mut sleeper, "turn_count") - before;
    let least = (CLIENTS * COMMANDS) as u64 / COMMANDS_PER_TURN_MAX;
    assert!(turns >= least, "{turns} turns, where {least} are needed");
}

/// Sets keys that expire at one instant, so many seconds from now.
fn load_expiring(client: &mut Client, count: u32, after_s: u64) {
    let Value::Array(time) = client.run("TIME").unwrap() else { panic!("TIME is an array") };
    let Value::Bulk(seconds) = &time[0] else { panic!("its first part is a text") };
    let at_s = String::from_utf8_lossy(seconds).parse::<u64>().unwrap() + after_s;
    let commands: String = (0..count).map(|n| format!("SET k:{n} v EXAT {at_s}\r\n")).collect();
    client.send_raw(commands.as_bytes()).unwrap();
    (0..count).for_each(|_| assert_eq!(client.read().unwrap(), Value::ok()));
}

#[test]
fn keys_that_expire_at_one_instant_go_at_once() {
    const KEYS: u32 = 100_000;
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["--cores", "1", "--durability", "none"];
    let server = Server::start(directory.path(), &arguments).unwrap();
    let mut client = server.client().unwrap();
    // A machine that is busy may load them too slowly: then the instant is a later one.
    for after_s in [8, 20, 50] {
        check(&mut client, "FLUSHALL", Value::ok());
        check(&mut client, "CONFIG RESETSTAT", Value::ok());
        load_expiring(&mut client, KEYS, after_s);
        if client.run("DBSIZE").unwrap() == Value::Integer(i64::from(KEYS)) {
            break;
        }
    }
    let mut began = None;
    loop {
        let Value::Integer(left) = client.run("DBSIZE").unwrap() else { panic!("DBSIZE counts") };
        if left < i64::from(KEYS) && began.is_none() {
            began = Some(Instant::now());
        }
        if left == 0 {
            break;
        }
        // A slice each period would take twice as long; a process that stands still does not.
        let most = HOUSEKEEPING_PERIOD * (KEYS / EXPIRED_PER_TURN_MAX) / 2;
        assert!(began.is_none_or(|began| began.elapsed() < most), "{left} are left after {most:?}");
    }
    assert_eq!(info(&mut client, "expired_keys"), u64::from(KEYS));
}

#[test]
fn info_tells_how_long_turns_take_until_it_is_reset() {
    for cores in ["1", "2"] {
        let directory = tempfile::tempdir().unwrap();
        let arguments = ["--cores", cores, "--enable-debug-command", "yes"];
        let server = Server::start(directory.path(), &arguments).unwrap();
        let mut client = server.client().unwrap();
        assert_eq!(client.run("DEBUG SLEEP 0.3").unwrap(), Value::ok());
        assert!(info(&mut client, "turn_usec_longest") >= 300_000);
        assert!(info(&mut client, "turns_over_5ms") >= 1);
        // It slept: that was no work of its own.
        let of_processor = info(&mut client, "turn_usec_longest_cpu");
        assert!(of_processor < 300_000, "{of_processor} us");
        // The machine may hold up a turn for so long behind it too.
        let start = Instant::now();
        let mut is_reset = || {
            check(&mut client, "CONFIG RESETSTAT", Value::ok());
            let longest = info(&mut client, "turn_usec_longest");
            assert!(start.elapsed() < Duration::from_secs(30), "{longest} us");
            longest < 300_000
        };
        while !is_reset() {}
    }
}
