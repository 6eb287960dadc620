//! A limit of open files that leaves room for few clients: those that there are work, and so does
//! the log.
#![allow(clippy::unwrap_used)] // A test stops at the first thing that is not as it should be.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use tests::harness::cases::check;
use tests::harness::server::binary;
use tests::harness::{Server, Value};

/// Open files, and what of them is not for clients: 32, and 15 for each core.
const LIMIT: usize = 120;
const RESERVED: [usize; 2] = [47, 62];

fn limited() -> Command {
    let mut command = Command::new("sh");
    let script = format!("ulimit -n {LIMIT}; exec \"$0\" \"$@\"");
    command.arg("-c").arg(script).arg(binary().unwrap());
    command
}

/// What a client is told when it sends a PING.
fn greet(stream: &mut TcpStream) -> String {
    // Whoever is refused may be gone already.
    let _ = stream.write_all(b"PING\r\n");
    let (mut said, mut byte) = (String::new(), [0]);
    while !said.ends_with("\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        said.push(char::from(byte[0]));
    }
    said
}

#[test]
fn few_descriptors_mean_few_clients_and_a_log_that_goes_on() {
    for (cores, reserved) in [(1, RESERVED[0]), (2, RESERVED[1])] {
        let directory = tempfile::tempdir().unwrap();
        let cores_text = cores.to_string();
        let server =
            Server::start_by(limited(), directory.path(), &["--cores", &cores_text]).unwrap();
        let mut client = server.client().unwrap();
        let possible = LIMIT - reserved;
        let shown = [Value::bulk("maxclients"), Value::bulk(&possible.to_string())];
        check(&mut client, "CONFIG GET maxclients", Value::Array(shown.to_vec()));
        let refused = format!(
            "ERR CONFIG SET failed (possibly related to argument 'maxclients') - The operating \
             system is not able to handle the specified number of clients, try with {possible}"
        );
        let more = format!("CONFIG SET maxclients {}", possible + 1);
        check(&mut client, &more, Value::Error(refused));
        check(&mut client, &format!("CONFIG SET maxclients {possible}"), Value::ok());
        // Before the log's first write.
        let mut crowd: Vec<TcpStream> = (0..108)
            .map(|_| {
                let stream = TcpStream::connect(server.address()).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
                stream
            })
            .collect();
        let served = crowd.iter_mut().map(greet).filter(|said| said == "+PONG\r\n").count();
        // They are dealt out to the cores, each of which has its part of them, rounded up.
        let least = possible - cores;
        assert!((least..=possible + cores).contains(&(served + 1)), "{served} of {possible}");
        // More than a segment, which is 1 MiB here.
        let value = "x".repeat(100_000);
        for n in 0..40 {
            check(&mut client, &format!("SET key:{n} {value}"), Value::ok());
        }
        drop(crowd);
        server.stop().unwrap();
        let server = Server::start(directory.path(), &["--cores", &cores_text]).unwrap();
        check(&mut server.client().unwrap(), "DBSIZE", Value::Integer(40));
        server.stop().unwrap();
    }
}
