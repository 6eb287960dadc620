//! What clients do, at whichever node they are, and what they note of it in the history.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use engine::rng::Rng;
use tests::cluster_sim::history::{Ending, Record};
use tests::cluster_sim::operation::{Operation, refusal};
use tests::harness::client::encode;

use super::wire::Wire;
use super::{NODES, PATIENCE_MS_MAX, Shared};

/// A client, until it is over: at a node as long as that answers, then at another one.
pub fn serve_client(shared: &Shared, seed: u64) {
    let mut rng = Rng::new(seed);
    let mut node = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        let address = shared.addresses.lock().unwrap()[node];
        let to = address.and_then(|address| talk(shared, &mut rng, address));
        node = to.unwrap_or_else(|| rng.below(NODES as u64) as usize);
        std::thread::sleep(Duration::from_millis(rng.below(10)));
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
pub fn ask(
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

/// Keys of this epoch.
pub fn in_epoch(operation: Operation, epoch: u64) -> Operation {
    let at = |key: u64| key + 10 * epoch;
    match operation {
        Operation::Set { key, value } => Operation::Set { key: at(key), value },
        Operation::Get { key } => Operation::Get { key: at(key) },
        Operation::Increment { key } => Operation::Increment { key: at(key) },
        Operation::WatchIncrement { key } => Operation::WatchIncrement { key: at(key) },
        Operation::Count { key } => Operation::Count { key: at(key) },
        Operation::Push { key, value } => Operation::Push { key: at(key), value },
        Operation::Tell { key, value, transaction } => {
            Operation::Tell { key: at(key), value, transaction }
        }
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
