//! Clients that write and wait until what they wrote is on other nodes too: pipelines of SET, and
//! behind each a command that waits, where a server does not wait by itself. One thread serves all
//! connections, as redis-benchmark's does, so that little of the machine goes to the clients.
//! Prints one line of JSON: how many writes were acknowledged in how many seconds, and how long a
//! pipeline took, in microseconds.
//!
//! `benches/peers/replicas.py` runs it against clusters.

use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::epoll;

const VALUE_BYTES: usize = 64;
const KEY_DIGITS: usize = 12;
/// No reply takes so long.
const REPLY_MAX: Duration = Duration::from_secs(20);
const READ_BYTES: usize = 64 * 1024;
const EVENTS_PER_WAIT: usize = 256;

struct Options {
    port: u16,
    clients: usize,
    pipeline: usize,
    seconds: f64,
    keys: u64,
    /// Its reply is a number or several, each of which must come to the last words' own.
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
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut clients = (0..options.clients)
        .map(|number| Client::connect(options, number as u64))
        .collect::<Result<Vec<_>>>()?;
    for (number, client) in clients.iter().enumerate() {
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&poll, &client.stream, data, epoll::EventFlags::IN)?;
    }
    let began = Instant::now();
    clients.iter_mut().try_for_each(|client| client.ask(options))?;
    let mut events = [MaybeUninit::uninit(); EVENTS_PER_WAIT];
    let mut input = vec![0; READ_BYTES];
    let mut took = Vec::new();
    let mut open = clients.len();
    while open > 0 {
        let timeout = REPLY_MAX.try_into()?;
        let (ready, _) = epoll::wait(&poll, &mut events, Some(&timeout))?;
        ensure!(!ready.is_empty(), "no reply within {} s", REPLY_MAX.as_secs());
        for event in ready {
            let client = &mut clients[event.data.u64() as usize];
            if !client.read(options, &mut input)? {
                continue;
            }
            took.push(client.asked.elapsed().as_micros() as u64);
            if began.elapsed().as_secs_f64() < options.seconds {
                client.ask(options)?;
            } else {
                open -= 1;
            }
        }
    }
    report(options, took, began.elapsed());
    Ok(())
}

fn report(options: &Options, mut took: Vec<u64>, elapsed: Duration) {
    took.sort_unstable();
    let at = |share: f64| took.get((took.len() as f64 * share) as usize).copied().unwrap_or(0);
    println!(
        "{{\"writes\": {}, \"seconds\": {:.3}, \"p50_us\": {}, \"p99_us\": {}}}",
        took.len() * options.pipeline,
        elapsed.as_secs_f64(),
        at(0.5),
        at(0.99)
    );
}

struct Client {
    stream: TcpStream,
    /// A whole pipeline; before each time it is sent the keys are written into it.
    request: Vec<u8>,
    /// Where the digits of each key stand.
    keys: Vec<usize>,
    replies: Vec<u8>,
    asked: Instant,
    random: u64,
}

impl Client {
    fn connect(options: &Options, number: u64) -> Result<Client> {
        let stream = TcpStream::connect(("127.0.0.1", options.port)).context("no server")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let value = "v".repeat(VALUE_BYTES);
        let key = format!("key:{:0KEY_DIGITS$}", 0);
        let (mut request, mut keys) = (Vec::new(), Vec::new());
        for _ in 0..options.pipeline {
            encode(&["SET", &key], 3, &mut request);
            keys.push(request.len() - "\r\n".len() - KEY_DIGITS);
            encode_word(&value, &mut request);
        }
        if !options.after.is_empty() {
            let words: Vec<&str> = options.after.iter().map(String::as_str).collect();
            encode(&words, words.len(), &mut request);
        }
        let random = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Ok(Client { stream, request, keys, replies: Vec::new(), asked: Instant::now(), random })
    }

    fn ask(&mut self, options: &Options) -> Result<()> {
        for at in &self.keys {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            let mut number = self.random % options.keys;
            for digit in self.request[*at..at + KEY_DIGITS].iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
        self.asked = Instant::now();
        // Nothing of an earlier pipeline is on the way, so a socket's buffer takes all of it.
        let sent = self.stream.write(&self.request)?;
        ensure!(sent == self.request.len(), "the socket took {sent} bytes of a pipeline");
        Ok(())
    }

    /// Whether all replies of the pipeline are here and say what they should.
    fn read(&mut self, options: &Options, input: &mut [u8]) -> Result<bool> {
        match self.stream.read(input) {
            Ok(0) => bail!("the connection was closed"),
            Ok(len) => self.replies.extend_from_slice(&input[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let mut rest = &self.replies[..];
        for _ in 0..options.pipeline {
            let Some(reply) = take_line(&mut rest) else { return Ok(false) };
            ensure!(reply == b"+OK", "SET was answered {}", String::from_utf8_lossy(reply));
        }
        if !options.after.is_empty() && !counts_suffice(&mut rest, &options.after)? {
            return Ok(false);
        }
        ensure!(rest.is_empty(), "more replies than commands");
        self.replies.clear();
        Ok(true)
    }
}

/// WAIT gives a number, WAITAOF two: what was asked for in as many words behind the name. Says
/// whether the whole reply is there.
fn counts_suffice(rest: &mut &[u8], asked: &[String]) -> Result<bool> {
    let Some(first) = take_line(rest) else { return Ok(false) };
    let mut counts = Vec::new();
    match first.split_first() {
        Some((b':', count)) => counts.push(count),
        Some((b'*', len)) => {
            for _ in 0..String::from_utf8_lossy(len).parse::<usize>()? {
                let Some(line) = take_line(rest) else { return Ok(false) };
                counts.push(line.get(1..).unwrap_or_default());
            }
        }
        _ => bail!("{} was answered {}", asked[0], String::from_utf8_lossy(first)),
    }
    for (count, wanted) in counts.iter().zip(&asked[1..]) {
        let count: u64 = String::from_utf8_lossy(count).parse()?;
        ensure!(count >= wanted.parse::<u64>()?, "{} gave up: {count} of {wanted}", asked[0]);
    }
    Ok(true)
}

/// The line at the front, without its end, if all of it is there.
fn take_line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = memchr::memchr(b'\n', rest)?;
    let line = rest[..end].trim_ascii_end();
    *rest = &rest[end + 1..];
    Some(line)
}

/// The front of a command that has `count` words in all.
fn encode(words: &[&str], count: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{count}\r\n").as_bytes());
    words.iter().for_each(|word| encode_word(word, out));
}

fn encode_word(word: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
}
