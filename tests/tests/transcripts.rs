//! What newer servers than Redis 7.0 reply, replayed: `transcripts/` is recorded by `record`.
#![allow(clippy::unwrap_used)] // A test stops at the first thing that is not as it should be.

use tests::harness::Server;
use tests::transcript::{Line, parse, replay};

#[test]
fn replies_are_those_of_redis_8_2_and_valkey_9_1() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/transcripts");
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(files.len() >= 2);
    for cores in ["1", "2"] {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::start(directory.path(), &["--cores", cores]).unwrap();
        for file in &files {
            let expected = parse(&std::fs::read_to_string(file).unwrap()).unwrap();
            let got = replay(&expected, server.address()).unwrap();
            for (expected, got) in expected.iter().zip(&got) {
                assert_eq!(got, expected, "{}", file.display());
            }
            assert!(expected.iter().any(|line| matches!(line, Line::Compared { .. })));
        }
        server.stop().unwrap();
    }
}
