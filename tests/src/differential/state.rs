//! All that both servers hold, compared: keys, types, encodings, contents, times.

use anyhow::Result;

use super::resp::Node;
use super::run::{Counts, Difference, Pair};
use super::step::Words;
use crate::words;

/// Databases that the commands use, and some that they must not have touched.
const DATABASES: &[&str] = &["0", "1", "2", "15", "3"];

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    Whole,
    /// All but the encodings: a value comes back in that of its content, whatever it had.
    AfterRestart,
}

/// The first difference; its step is `step`, behind all others.
pub fn compare(
    pair: &mut Pair,
    step: usize,
    look: Look,
    counts: &mut Counts,
) -> Result<Option<Difference>> {
    for database in DATABASES {
        let commands = [words!["SELECT", *database], words!["DBSIZE"], words!["KEYS", "*"]];
        if let Some(difference) = pair.run_commands(step, &commands, counts)? {
            return Ok(Some(Difference { step, ..difference }));
        }
        // Both have the same keys; Redis says what they hold.
        let keys = pair.redis.call(&commands[2])?.leaves();
        let mut questions = Vec::new();
        for key in keys {
            let kind = pair.redis.call(&words!["TYPE", key.clone()])?;
            questions.extend(questions_of(&kind, &key, look));
        }
        for some in questions.chunks(50) {
            if let Some(difference) = pair.run_commands(step, some, counts)? {
                return Ok(Some(Difference { step, ..difference }));
            }
        }
    }
    Ok(None)
}

fn questions_of(kind: &Node, key: &[u8], look: Look) -> Vec<Words> {
    let content = match kind.text() {
        Some(b"hash") => words!["HGETALL", key],
        Some(b"list") => words!["LRANGE", key, "0", "-1"],
        Some(b"set") => words!["SMEMBERS", key],
        Some(b"zset") => words!["ZRANGE", key, "0", "-1", "WITHSCORES"],
        _ => words!["GET", key],
    };
    let mut questions =
        vec![words!["TYPE", key], words!["PTTL", key], words!["PEXPIRETIME", key], content];
    if look == Look::Whole {
        questions.push(words!["OBJECT", "ENCODING", key]);
    }
    questions
}
