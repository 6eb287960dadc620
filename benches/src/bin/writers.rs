//! Clients that write and wait until what they wrote is on other nodes too: pipelines of SET, and
//! behind each a command that waits, where a server does not wait by itself. Blocking sockets, a
//! thread each. Prints one line of JSON: how many writes were acknowledged in how many seconds, and
//! how long a pipeline took, in microseconds.
//!
//! `benches/peers/replicas.py` runs it against clusters.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

const VALUE_BYTES: usize = 64;
/// No reply takes so long.
const REPLY_MAX: Duration = Duration::from_secs(20);

struct Options {
    port: u16,
    clients: usize,
    pipeline: usize,
    seconds: f64,
    keys: u64,
    /// Its reply is an array of numbers, each of which must come to the last words' own.
    after: Vec<String>,
}

fn main() -> ExitCode {
    match options().and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("writers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let usage = "usage: writers PORT CLIENTS PIPELINE SECONDS KEYS [WORDS OF A COMMAND…]";
    ensure!(words.len() >= 5, usage);
    Ok(Options {
        port: words[0].parse().context(usage)?,
        clients: words[1].parse().context(usage)?,
        pipeline: words[2].parse().context(usage)?,
        seconds: words[3].parse().context(usage)?,
        keys: words[4].parse().context(usage)?,
        after: words[5..].to_vec(),
    })
}

fn run(options: &Options) -> Result<()> {
    let began = Instant::now();
    let took: Vec<Vec<u64>> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..options.clients).map(|c| scope.spawn(move || write(options, c as u64))).collect();
        let all = threads.into_iter().map(|thread| match thread.join() {
            Ok(result) => result,
            Err(_) => bail!("a client has panicked"),
        });
        all.collect::<Result<_>>()
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let mut took: Vec<u64> = took.into_iter().flatten().collect();
    took.sort_unstable();
    let at = |share: f64| took.get((took.len() as f64 * share) as usize).copied().unwrap_or(0);
    let writes = took.len() * options.pipeline;
    println!(
        "{{\"writes\": {writes}, \"seconds\": {seconds:.3}, \"p50_us\": {}, \"p99_us\": {}}}",
        at(0.5),
        at(0.99)
    );
    Ok(())
}

/// How long each pipeline of one client took.
fn write(options: &Options, client: u64) -> Result<Vec<u64>> {
    let stream = TcpStream::connect(("127.0.0.1", options.port)).context("no server")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(REPLY_MAX))?;
    let mut reader = BufReader::new(stream);
    let mut state = (client + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (mut bytes, mut line, mut took) = (Vec::new(), Vec::new(), Vec::new());
    let value = "v".repeat(VALUE_BYTES);
    let began = Instant::now();
    while began.elapsed().as_secs_f64() < options.seconds {
        bytes.clear();
        for _ in 0..options.pipeline {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let key = format!("key:{:012}", state % options.keys);
            encode(&["SET", &key, &value], &mut bytes);
        }
        if !options.after.is_empty() {
            let words: Vec<&str> = options.after.iter().map(String::as_str).collect();
            encode(&words, &mut bytes);
        }
        let asked = Instant::now();
        reader.get_mut().write_all(&bytes)?;
        for _ in 0..options.pipeline {
            let reply = read_line(&mut reader, &mut line)?;
            ensure!(reply == b"+OK", "SET was answered {}", String::from_utf8_lossy(reply));
        }
        if !options.after.is_empty() {
            read_counts(&mut reader, &mut line, &options.after)?;
        }
        took.push(asked.elapsed().as_micros() as u64);
    }
    Ok(took)
}

/// WAIT gives a number, WAITAOF two: what was asked for in as many words behind the name.
fn read_counts(
    reader: &mut BufReader<TcpStream>,
    line: &mut Vec<u8>,
    asked: &[String],
) -> Result<()> {
    let first = read_line(reader, line)?.to_vec();
    let mut counts = Vec::new();
    match first.split_first() {
        Some((b':', count)) => counts.push(count.to_vec()),
        Some((b'*', len)) => {
            for _ in 0..String::from_utf8_lossy(len).parse::<usize>()? {
                counts.push(read_line(reader, line)?.get(1..).unwrap_or_default().to_vec());
            }
        }
        _ => bail!("{} was answered {}", asked[0], String::from_utf8_lossy(&first)),
    }
    for (count, wanted) in counts.iter().zip(&asked[1..]) {
        let count: u64 = String::from_utf8_lossy(count).parse()?;
        ensure!(count >= wanted.parse::<u64>()?, "{} gave up: {count} of {wanted}", asked[0]);
    }
    Ok(())
}

fn read_line<'a>(reader: &mut BufReader<TcpStream>, line: &'a mut Vec<u8>) -> Result<&'a [u8]> {
    line.clear();
    ensure!(reader.read_until(b'\n', line)? > 0, "the connection was closed");
    Ok(line.trim_ascii_end())
}

fn encode(words: &[&str], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
}
