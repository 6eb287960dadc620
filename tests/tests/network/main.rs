//! Three real processes, each in a network of its own, between which messages are dropped, one way
//! or both, late or few; they stand still, are killed, and their disks fill up. What clients saw is
//! checked as in the simulator of a cluster: every history must be linearizable. Needs root; where
//! there can be no namespaces it says so and is skipped. `QUORING_NETWORK_SECONDS` makes it longer,
//! `QUORING_NETWORK_SEED` repeats the faults (not their effects).
#![allow(clippy::unwrap_used)] // A test stops at the first thing that is not as it should be.

mod check;
mod clients;
mod faults;
mod nodes;
mod transfers;
mod wire;

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use engine::rng::Rng;
use tests::cluster_sim::history::History;
use tests::cluster_sim::transaction::Transactions;
use tests::harness::network::enter;

use check::check;
use clients::serve_client;
use faults::disturb;
use nodes::{Nodes, leading_client};
use transfers::transfer;

const NODES: usize = 3;
const CLIENTS: u64 = 6;
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

/// Until writes are acknowledged.
fn await_service(shared: &Shared) -> Duration {
    let (began, before) = (Instant::now(), shared.written.load(Ordering::Relaxed));
    while shared.written.load(Ordering::Relaxed) < before + 5 {
        assert!(began.elapsed() < SERVICE_MAX, "no writes are acknowledged any more");
        std::thread::sleep(Duration::from_millis(5));
    }
    began.elapsed()
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
