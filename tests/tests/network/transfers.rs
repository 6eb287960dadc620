//! Transfers between accounts: no reader sees half of one, none that was acknowledged is lost.

use std::sync::atomic::Ordering;
use std::time::Duration;

use engine::rng::Rng;
use tests::cluster_sim::operation::refusal;
use tests::harness::Value;
use tests::harness::client::encode;
use tests::sim::client::Reply;

use super::nodes::{Nodes, leading_client, read};
use super::wire::Wire;
use super::{NODES, PATIENCE_MS_MAX, Shared};

const ACCOUNTS: u64 = 6;

/// A transfer: its amount and accounts.
pub struct Transfer {
    id: u64,
    amount: i64,
    from: u64,
    to: u64,
    pub acknowledged: bool,
}

/// Moves amounts from account to account, and sees every time that their sum is nothing.
pub fn transfer(shared: &Shared, seed: u64, first: u64) -> Vec<Transfer> {
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

/// What was acknowledged is there, and each transfer whole. One that was not may be on its way to
/// the primary still, so all is read at once.
pub fn check_transfers(nodes: &Nodes, transfers: &[Transfer]) {
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
