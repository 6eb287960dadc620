//! Three real processes, each in a network of its own, between which messages are dropped, one way
//! or both, late or few; they stand still, are killed, and their disks fill up. What clients saw is
//! checked as in the simulator of a cluster: every history must be linearizable. Needs root; where
//! there can be no namespaces it says so and is skipped. `QUORING_NETWORK_SECONDS` makes it longer,
//! `QUORING_NETWORK_SEED` repeats the faults (not their effects).
#![allow(clippy::unwrap_used)] // A test stops at the first thing that is not as it should be.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use engine::rng::Rng;
use tests::cluster_sim::history::{Ending, History, Record};
use tests::cluster_sim::operation::{Operation, refusal};
use tests::cluster_sim::transaction::Transactions;
use tests::harness::client::encode;
use tests::harness::network::{Network, enter, run};
use tests::harness::server::binary;
use tests::harness::{Client, Server, Value};
use tests::sim::client::{Reply, parse};

const NODES: usize = 3;
const CLIENTS: u64 = 6;
const ACCOUNTS: u64 = 6;
/// How long faults go on, in CI, with each number of cores.
const SECONDS: u64 = 12;
/// How many of so long a run's operations are of several keys; fewer of a longer one's: what they
/// leave is read again and again.
const TRANSACTIONS_PERCENT: u64 = 25;
/// Keys are given up after so long, so that a history stays short.
const EPOCH: Duration = Duration::from_secs(4);
/// What clients wait for an answer, at most; within this an election is over and a node is back.
const PATIENCE_MS_MAX: u64 = 1200;
const SERVICE_MAX: Duration = Duration::from_secs(60);
/// A node's disk, with its segments and checkpoints; its ballast takes the rest.
const DISK_MEBIBYTES: u64 = 192;

struct Shared {
    began: Instant,
    stop: AtomicBool,
    addresses: Mutex<[Option<SocketAddr>; NODES]>,
    history: Mutex<History>,
    transactions: Mutex<Transactions>,
    last_value: AtomicU64,
    last_connection: AtomicU64,
    written: AtomicU64,
    read: AtomicU64,
}

impl Shared {
    fn now_ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    fn epoch(&self) -> u64 {
        self.began.elapsed().as_secs() / EPOCH.as_secs()
    }
}

/// A connection, with the bytes that have come.
struct Wire {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Wire {
    fn connect(address: SocketAddr, patience: Duration) -> std::io::Result<Wire> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Wire { stream, received: Vec::new() })
    }

    /// So many replies, or none if they do not come.
    fn ask(&mut self, bytes: &[u8], replies: usize) -> Option<Vec<Reply>> {
        self.stream.write_all(bytes).ok()?;
        let mut all = Vec::new();
        while all.len() < replies {
            if let Some((reply, used)) = parse(&self.received).unwrap() {
                self.received.drain(..used);
                all.push(reply);
                continue;
            }
            let mut part = [0; 16 << 10];
            match self.stream.read(&mut part).ok()? {
                0 => return None,
                len => self.received.extend_from_slice(&part[..len]),
            }
        }
        Some(all)
    }

    /// All replies of an operation, which may take two steps.
    fn talk(&mut self, operation: Operation, bytes: &[u8]) -> Option<Vec<Reply>> {
        let all = operation.reply_count();
        if !matches!(operation, Operation::WatchIncrement { .. }) {
            return self.ask(bytes, all);
        }
        let mut replies = self.ask(bytes, 2)?;
        if !operation.is_over(&replies) {
            let second = operation.encode_second(&replies)?;
            replies.extend(self.ask(&second, all - 2)?);
        }
        Some(replies)
    }
}

/// Keys of this epoch.
fn in_epoch(operation: Operation, epoch: u64) -> Operation {
    let at = |key: u64| key + 10 * epoch;
    match operation {
        Operation::Set { key, value } => Operation::Set { key: at(key), value },
        Operation::Get { key } => Operation::Get { key: at(key) },
        Operation::Increment { key } => Operation::Increment { key: at(key) },
        Operation::WatchIncrement { key } => Operation::WatchIncrement { key: at(key) },
        Operation::Count { key } => Operation::Count { key: at(key) },
        Operation::Push { key, value } => Operation::Push { key: at(key), value },
        Operation::Range { key } => Operation::Range { key: at(key) },
        Operation::SetPair { key, value, transaction } => {
            Operation::SetPair { key: at(key), value, transaction }
        }
        Operation::GetPair { key, transaction } => Operation::GetPair { key: at(key), transaction },
        Operation::SetFor { key, value, ms } => Operation::SetFor { key: at(key), value, ms },
        Operation::GetWhile { key } => Operation::GetWhile { key: at(key) },
        Operation::Wait { .. } | Operation::Transaction(_) => operation,
    }
}

/// What one client does on one connection; returns the node to go to next, if it was told.
fn talk(shared: &Shared, rng: &mut Rng, address: SocketAddr) -> Option<usize> {
    let patience = Duration::from_millis(150 + rng.below(PATIENCE_MS_MAX));
    let mut wire = Wire::connect(address, patience).ok()?;
    let connection = shared.last_connection.fetch_add(1, Ordering::Relaxed);
    let stale = rng.below(4) == 0;
    if stale {
        wire.ask(&encode(&["READONLY"]), 1)?;
    }
    let writes_percent = if stale { 0 } else { [4, 50, 50][rng.below(3) as usize] };
    for _ in 0..1 + rng.below(200) {
        if shared.stop.load(Ordering::Relaxed) {
            return None;
        }
        let value = shared.last_value.fetch_add(1, Ordering::Relaxed) + 1;
        let operation = match Operation::random(rng, value, writes_percent) {
            // Followers promise order within a shard, not over several.
            Operation::GetPair { key, .. } if stale => Operation::Get { key },
            operation if stale => operation,
            operation => {
                let drawn = shared.transactions.lock().unwrap().draw(value, writes_percent);
                drawn.map_or(operation, Operation::Transaction)
            }
        };
        let operation = in_epoch(operation, shared.epoch());
        if let Some(to) = ask(shared, rng, &mut wire, (operation, connection, stale))? {
            return Some(to);
        }
        std::thread::sleep(Duration::from_micros(rng.below(8_000)));
    }
    None
}

/// One operation; `None` if there was no answer, otherwise the node that the client was sent to.
fn ask(
    shared: &Shared,
    rng: &mut Rng,
    wire: &mut Wire,
    (operation, connection, stale): (Operation, u64, bool),
) -> Option<Option<usize>> {
    let (cut, ending) = (false, Ending::Unknown);
    let bytes = operation.encode(rng);
    let asked_ns = shared.now_ns();
    let record = Record { operation, asked_ns, node: None, connection, stale, cut, ending };
    let number = shared.history.lock().unwrap().ask(record);
    let replies = wire.talk(operation, &bytes)?;
    let at_ns = shared.now_ns();
    let refused = refusal(&replies).unwrap();
    let ending = match refused {
        Some(_) => Ending::Refused,
        None => Ending::Done { at_ns, seen: operation.read(&replies).unwrap() },
    };
    shared.history.lock().unwrap().end(number, ending);
    let Some(text) = refused else {
        let count = if operation.writes() { &shared.written } else { &shared.read };
        count.fetch_add(1, Ordering::Relaxed);
        return Some(None);
    };
    std::thread::sleep(Duration::from_millis(5));
    let (_, named) = text.split_once("follows node ").unwrap_or_default();
    let named = named.split(['.', ' ']).next().and_then(|node| node.parse::<usize>().ok());
    Some(if text.starts_with("MISCONF") { None } else { Some(named.map_or(0, |node| node - 1)) })
}

fn serve_client(shared: &Shared, seed: u64) {
    let mut rng = Rng::new(seed);
    let mut node = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        let address = shared.addresses.lock().unwrap()[node];
        let to = address.and_then(|address| talk(shared, &mut rng, address));
        node = to.unwrap_or_else(|| rng.below(NODES as u64) as usize);
        std::thread::sleep(Duration::from_millis(rng.below(10)));
    }
}

/// A transfer: its amount and accounts.
struct Transfer {
    id: u64,
    amount: i64,
    from: u64,
    to: u64,
    acknowledged: bool,
}

/// Moves amounts from account to account, and sees every time that their sum is nothing.
fn transfer(shared: &Shared, seed: u64, first: u64) -> Vec<Transfer> {
    let mut rng = Rng::new(seed);
    let (mut done, mut node, mut id) = (Vec::new(), 0, first);
    while !shared.stop.load(Ordering::Relaxed) {
        let address = shared.addresses.lock().unwrap()[node];
        node = rng.below(NODES as u64) as usize;
        let patience = Duration::from_millis(PATIENCE_MS_MAX);
        let Some(Ok(mut wire)) = address.map(|address| Wire::connect(address, patience)) else {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        while !shared.stop.load(Ordering::Relaxed) {
            let (from, to) = (rng.below(ACCOUNTS), rng.below(ACCOUNTS));
            let (amount, tag) = (1 + rng.below(100) as i64, format!("t:{id}"));
            let (less, more) = (format!("account:{from}"), format!("account:{to}"));
            let bytes = [
                encode(&["MULTI"]),
                encode(&["DECRBY", &less, &amount.to_string()]),
                encode(&["INCRBY", &more, &amount.to_string()]),
                encode(&["SET", &tag, "1"]),
                encode(&["EXEC"]),
            ];
            done.push(Transfer { id, amount, from, to, acknowledged: false });
            id += 1;
            let Some(replies) = wire.ask(&bytes.concat(), 5) else { break };
            if refusal(&replies).unwrap().is_some() {
                done.pop();
                break;
            }
            done.last_mut().unwrap().acknowledged = true;
            let names: Vec<String> = (0..ACCOUNTS).map(|n| format!("account:{n}")).collect();
            let words: Vec<&str> =
                std::iter::once("MGET").chain(names.iter().map(String::as_str)).collect();
            let Some(replies) = wire.ask(&encode(&words), 1) else { break };
            let Reply::Many(balances) = &replies[0] else { break };
            let sum: i64 = balances.iter().map(balance).sum();
            assert_eq!(sum, 0, "half a transfer: {balances:?}");
            std::thread::sleep(Duration::from_micros(rng.below(8_000)));
        }
    }
    done
}

fn balance(reply: &Reply) -> i64 {
    match reply {
        Reply::Bulk(bytes) => String::from_utf8_lossy(bytes).parse().unwrap(),
        _ => 0,
    }
}

struct Nodes {
    cores: usize,
    servers: [Option<Server>; NODES],
    folders: Vec<PathBuf>,
    list: String,
    network: Network,
    _root: tempfile::TempDir,
}

impl Nodes {
    fn start(cores: usize) -> Nodes {
        let network = Network::build(NODES).unwrap();
        let root = tempfile::tempdir().unwrap();
        let folders: Vec<PathBuf> =
            (1..=NODES).map(|node| root.path().join(node.to_string())).collect();
        for folder in &folders {
            std::fs::create_dir(folder).unwrap();
            let path = folder.display();
            run(&format!("mount -t tmpfs -o size={DISK_MEBIBYTES}m none {path}")).unwrap();
        }
        let list = (1..=NODES).map(|node| format!("{node}={}:16379", Network::address(node)));
        let list = list.collect::<Vec<_>>().join(",");
        let servers = Default::default();
        let mut nodes = Nodes { cores, servers, folders, list, network, _root: root };
        (0..NODES).for_each(|place| nodes.start_node(place));
        nodes
    }

    fn start_node(&mut self, place: usize) {
        let (node, address) = ((place + 1).to_string(), Network::address(place + 1));
        let arguments = format!(
            "--cores {} --shards 4 --node {node} --nodes {} --cluster-token secret-of-a-test \
             --bind {address} --protected-mode no --checkpoint-log-bytes 1048576 \
             --enable-debug-command yes",
            self.cores, self.list
        );
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let command = Network::command(place + 1, &binary().unwrap());
        let directory = self.folders[place].join("data");
        self.servers[place] = Some(Server::start_by(command, &directory, &arguments).unwrap());
    }

    fn publish(&self, shared: &Shared) {
        let addresses = self.servers.each_ref().map(|s| s.as_ref().map(Server::address));
        *shared.addresses.lock().unwrap() = addresses;
    }

    /// Who leads, as far as the nodes know.
    fn leader(&self) -> Option<usize> {
        (0..NODES).find(|place| {
            let client = self.servers[*place].as_ref().map(Server::client);
            let info = client.and_then(|client| client.ok()?.run("ROLE").ok());
            let Some(Value::Array(words)) = info else { return false };
            words.first() == Some(&Value::bulk("master"))
        })
    }

    fn signal(&self, place: usize, signal: i32) {
        if let Some(server) = &self.servers[place] {
            server.signal(signal);
        }
    }
}

/// A fault, for some time, in the nodes' networks or in one of them.
fn disturb(nodes: &mut Nodes, shared: &Shared, rng: &mut Rng) -> &'static str {
    let any = rng.below(NODES as u64) as usize;
    let leader = nodes.leader().unwrap_or(any);
    let place = if rng.below(3) == 0 { any } else { leader };
    let (node, other) = (place + 1, (place + 1 + rng.below(2) as usize) % NODES + 1);
    let time = Duration::from_millis(100 + rng.below(1_900));
    let network = &mut nodes.network;
    let what = match rng.below(9) {
        0 => network.isolate(node, true, true).map(|()| "cut off"),
        1 => network.isolate(node, true, false).map(|()| "not heard"),
        2 => network.isolate(node, false, true).map(|()| "deaf"),
        3 => {
            network.cut(node, other).and_then(|()| network.cut(other, node)).map(|()| "one cut off")
        }
        4 => (1..=NODES).try_for_each(|node| network.slow_down(node)).map(|()| "all slow"),
        5 => {
            for _ in 0..8 {
                network.isolate(node, true, true).unwrap();
                std::thread::sleep(Duration::from_millis(10 + rng.below(150)));
                network.heal().unwrap();
                std::thread::sleep(Duration::from_millis(rng.below(100)));
            }
            Ok("on and off")
        }
        6 => {
            nodes.signal(place, libc::SIGSTOP);
            std::thread::sleep(time);
            nodes.signal(place, libc::SIGCONT);
            return "stood still";
        }
        7 => {
            nodes.servers[place].take().unwrap().kill().unwrap();
            nodes.publish(shared);
            // Soon enough for a lease to hold that it has helped to.
            std::thread::sleep(if rng.below(2) == 0 { Duration::ZERO } else { time });
            nodes.start_node(place);
            nodes.publish(shared);
            return "killed";
        }
        _ => {
            let ballast = nodes.folders[place].join("ballast");
            let mut file = std::fs::File::create(&ballast).unwrap();
            while file.write_all(&[b'x'; 64 << 10]).is_ok() {}
            std::thread::sleep(time);
            std::fs::remove_file(&ballast).unwrap();
            return "disk full";
        }
    };
    std::thread::sleep(time);
    // A node that is killed or stands still while it is cut off.
    if rng.below(4) == 0 {
        nodes.signal(place, libc::SIGSTOP);
        std::thread::sleep(Duration::from_millis(rng.below(600)));
        nodes.network.heal().unwrap();
        nodes.signal(place, libc::SIGCONT);
    }
    nodes.network.heal().unwrap();
    what.unwrap()
}

/// Until writes are acknowledged.
fn await_service(shared: &Shared) -> Duration {
    let (began, before) = (Instant::now(), shared.written.load(Ordering::Relaxed));
    while shared.written.load(Ordering::Relaxed) < before + 5 {
        assert!(began.elapsed() < SERVICE_MAX, "no writes are acknowledged any more");
        std::thread::sleep(Duration::from_millis(5));
    }
    began.elapsed()
}

/// A client of whoever leads.
fn leading_client(nodes: &Nodes) -> Client {
    let began = Instant::now();
    loop {
        for server in nodes.servers.iter().flatten() {
            let client = server.client();
            if let Ok(mut client) = client
                && client.run("SET leader:probe x").is_ok_and(|reply| reply == Value::ok())
            {
                return client;
            }
        }
        assert!(began.elapsed() < SERVICE_MAX, "nobody leads");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A read by whoever leads: one that loses the lead, as a busy machine may have it, closes its
/// clients.
fn read(nodes: &Nodes, client: &mut Client, command: &str) -> Value {
    let began = Instant::now();
    loop {
        match client.run(command) {
            // No node led for long.
            Ok(Value::Error(error)) if error.starts_with("CLUSTERDOWN No primary ") => {}
            Ok(value) => return value,
            Err(error) => assert!(began.elapsed() < SERVICE_MAX, "{command}: {error}"),
        }
        *client = leading_client(nodes);
    }
}

/// What was acknowledged is there, and each transfer whole. One that was not may be on its way to
/// the primary still, so all is read at once.
fn check_transfers(nodes: &Nodes, transfers: &[Transfer]) {
    let mut client = leading_client(nodes);
    let accounts = (0..ACCOUNTS).map(|account| format!(" account:{account}"));
    let tags = transfers.iter().map(|transfer| format!(" t:{}", transfer.id));
    let command = format!("MGET{}", accounts.chain(tags).collect::<String>());
    let Value::Array(values) = read(nodes, &mut client, &command) else {
        panic!("MGET gives an array");
    };
    let (accounts, tags) = values.split_at(ACCOUNTS as usize);
    let mut balances = [0; ACCOUNTS as usize];
    for (Transfer { id, amount, from, to, acknowledged }, tag) in transfers.iter().zip(tags) {
        let there = *tag != Value::Null;
        assert!(there || !acknowledged, "transfer {id} was acknowledged");
        if there {
            balances[*from as usize] -= amount;
            balances[*to as usize] += amount;
        }
    }
    let found = accounts.iter().map(|account| match account {
        Value::Bulk(text) => String::from_utf8_lossy(text).parse().unwrap(),
        _ => 0,
    });
    assert_eq!(found.collect::<Vec<i64>>(), balances, "the accounts");
}

/// Everything is read once more, and all nodes have the same.
fn check(nodes: &Nodes, shared: &Shared, transfers: &[Transfer], rng: &mut Rng) {
    check_transfers(nodes, transfers);
    for epoch in 0..=shared.epoch() {
        for operation in Operation::audit() {
            audit(nodes, shared, rng, in_epoch(operation, epoch));
        }
    }
    for transaction in shared.transactions.lock().unwrap().audit() {
        audit(nodes, shared, rng, Operation::Transaction(transaction));
    }
    await_equal(nodes);
    shared.history.lock().unwrap().check().unwrap();
}

/// A read of whoever leads, until one is answered.
fn audit(nodes: &Nodes, shared: &Shared, rng: &mut Rng, operation: Operation) {
    let began = Instant::now();
    loop {
        let connection = shared.last_connection.fetch_add(1, Ordering::Relaxed);
        let address = nodes.leader().and_then(|place| nodes.servers[place].as_ref());
        let wire = address.map(|server| Wire::connect(server.address(), Duration::from_secs(10)));
        if let Some(Ok(mut wire)) = wire
            && ask(shared, rng, &mut wire, (operation, connection, false)) == Some(None)
        {
            return;
        }
        assert!(began.elapsed() < SERVICE_MAX, "{operation:?} is not answered");
    }
}

fn await_equal(nodes: &Nodes) {
    let began = Instant::now();
    // Nothing where the connection was closed: the node has just lost the lead.
    let ask = |command: &str| {
        let said = nodes.servers.iter().flatten().map(|server| {
            let mut client = server.client().unwrap();
            client.run("READONLY").and_then(|_| client.run(command)).unwrap_or(Value::Null)
        });
        said.collect::<Vec<Value>>()
    };
    loop {
        let digests = ask("DEBUG DIGEST");
        let all = digests.iter().all(|digest| matches!(digest, Value::Simple(_)));
        if all && digests.windows(2).all(|pair| pair[0] == pair[1]) {
            return;
        }
        if began.elapsed() > SERVICE_MAX {
            for said in ask("INFO replication").into_iter().chain(ask("INFO persistence")) {
                if let Value::Bulk(text) = said {
                    println!("{}", String::from_utf8_lossy(&text));
                }
            }
            panic!("the nodes differ: {digests:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// One after the other: each is to have the machine.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn histories_are_right_in_broken_networks() {
    let _alone = ALONE.lock();
    if enter("histories_are_right_in_broken_networks").unwrap() {
        break_networks(1);
    }
}

#[test]
fn histories_are_right_in_broken_networks_with_two_cores_a_node() {
    let _alone = ALONE.lock();
    if enter("histories_are_right_in_broken_networks_with_two_cores_a_node").unwrap() {
        break_networks(2);
    }
}

fn break_networks(cores: usize) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = number("QUORING_NETWORK_SEED").unwrap_or(now.as_millis() as u64);
    let seconds = number("QUORING_NETWORK_SECONDS").unwrap_or(SECONDS);
    println!("QUORING_NETWORK_SEED={seed} QUORING_NETWORK_SECONDS={seconds}, {cores} cores");
    let percent = (TRANSACTIONS_PERCENT * SECONDS / seconds.max(SECONDS)).max(1);
    let mut nodes = Nodes::start(cores);
    let shared = Shared {
        began: Instant::now(),
        stop: AtomicBool::new(false),
        addresses: Mutex::default(),
        history: Mutex::new(History::begin()),
        transactions: Mutex::new(Transactions::new(seed, percent)),
        last_value: AtomicU64::new(0),
        last_connection: AtomicU64::new(0),
        written: AtomicU64::new(0),
        read: AtomicU64::new(0),
    };
    nodes.publish(&shared);
    leading_client(&nodes);
    let mut rng = Rng::new(seed);
    let (mut faults, mut back) = (std::collections::BTreeMap::new(), Vec::new());
    let transfers = std::thread::scope(|scope| {
        let shared = &shared;
        let stopped = StopWhenDropped(&shared.stop);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| scope.spawn(move || serve_client(shared, seed ^ n << 32)))
            .collect();
        let movers: Vec<_> = (1..=2)
            .map(|n| scope.spawn(move || transfer(shared, seed ^ n << 40, n << 32)))
            .collect();
        await_service(shared);
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(seconds) {
            *faults.entry(disturb(&mut nodes, shared, &mut rng)).or_insert(0) += 1;
            back.push(await_service(shared));
            std::thread::sleep(Duration::from_millis(rng.below(800)));
        }
        drop(stopped);
        clients.into_iter().for_each(|client| client.join().unwrap());
        movers.into_iter().flat_map(|mover| mover.join().unwrap()).collect::<Vec<_>>()
    });
    check(&nodes, &shared, &transfers, &mut rng);
    back.sort_unstable();
    println!(
        "{faults:?}; {} writes, {} reads and {} transfers answered; service again {:?} after a \
         fault (median), {:?} at most",
        shared.written.load(Ordering::Relaxed),
        shared.read.load(Ordering::Relaxed),
        transfers.iter().filter(|transfer| transfer.acknowledged).count(),
        back[back.len() / 2],
        back[back.len() - 1],
    );
}
