//! What connections say they take, beside what the allocator says it gave out. A binary of its own:
//! the allocator is the server's, and nothing else runs here.

#[path = "../../engine/tests/allocator/mod.rs"]
mod allocator;

use engine::args::OwnedArgs;
use server::connection::Transaction;
use server::connection::replies::Replies;
use server::connection::watched::{Watched, WatchedKey};

use allocator::allocated_bytes;

/// By how much what `fill` has made says something else than the allocator, and that at most.
fn check<T>(what: &str, fill: impl FnOnce() -> T, says: impl FnOnce(&T) -> usize, off_max: f64) {
    let before = allocated_bytes();
    let made = fill();
    let (allocated, said) = (allocated_bytes() - before, says(&made));
    let off = said as f64 / allocated as f64 - 1.0;
    println!("{what}: {said} bytes counted, {allocated} allocated, {:+.2} %", off * 100.0);
    assert!(off.abs() <= off_max, "{what}: {said} bytes counted, {allocated} allocated");
}

#[test]
fn what_clients_hold_is_counted() {
    for (count, value) in [(40_000, 3), (4_000, 100), (40, 100_000)] {
        let value = vec![b'v'; value];
        let fill = || {
            let mut transaction = Transaction::default();
            for n in 0..count {
                let key = format!("key:{n}");
                let words = [b"SET".as_slice(), key.as_bytes(), &value];
                let mut whole = OwnedArgs::from_words(words);
                whole = OwnedArgs::copy_of(whole.as_args());
                transaction.add(whole);
            }
            transaction
        };
        check("a transaction", fill, Transaction::memory_bytes, 0.02);
    }
    let fill = || {
        let mut replies = Replies::default();
        (0..50_000).for_each(|_| replies.begin().0.extend_from_slice(b"+OK\r\n"));
        replies
    };
    check("replies", fill, Replies::memory_bytes, 0.02);
    // Nodes of the map are filled as keys come: from a half to all.
    for scattered in [1, 7919] {
        let fill = || {
            let mut watched = Watched::default();
            for n in 0..20_000_u64 {
                let key = format!("key:{:05}", n * scattered % 20_000).into_bytes();
                watched.add(WatchedKey { db: 0, key: key.into(), version: n });
            }
            watched
        };
        check("watched keys", fill, Watched::memory_bytes, 0.15);
    }
}
