//! What must hold once the faults are over.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use engine::rng::Rng;
use tests::cluster_sim::operation::Operation;
use tests::harness::Value;

use super::clients::{ask, in_epoch};
use super::nodes::Nodes;
use super::transfers::{Transfer, check_transfers};
use super::wire::Wire;
use super::{SERVICE_MAX, Shared};

/// Everything is read once more, and all nodes have the same.
pub fn check(nodes: &Nodes, shared: &Shared, transfers: &[Transfer], rng: &mut Rng) {
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
