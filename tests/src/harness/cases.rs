//! What many tests of the real binary do: the same with one core and with two, and one command
//! with one right reply.

use super::{Client, Server, Value};

/// Runs `test` on a server with one core and on one with two, in new directories.
pub fn with_cores(more: &[&str], test: impl Fn(&Server)) {
    for cores in ["1", "2"] {
        let directory = tempfile::tempdir().expect("a directory for the test");
        let arguments = [&["--cores", cores], more].concat();
        let server = Server::start(directory.path(), &arguments).expect("it starts");
        test(&server);
        server.stop().expect("it stops in good order");
    }
}

#[track_caller]
pub fn check(client: &mut Client, command: &str, expected: Value) {
    assert_eq!(client.run(command).expect("a reply"), expected, "{command}");
}

pub fn error(text: &str) -> Value {
    Value::Error(text.into())
}

/// An array of texts.
pub fn words(texts: &[&str]) -> Value {
    Value::Array(texts.iter().map(|text| Value::bulk(text)).collect())
}

/// What SUBSCRIBE and its kin say of each name.
pub fn confirmation(verb: &str, name: &str, count: i64) -> Value {
    Value::Array(vec![Value::bulk(verb), Value::bulk(name), Value::Integer(count)])
}
