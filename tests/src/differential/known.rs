//! The differences that are meant, each with its reason. `server/COMPATIBILITY.md` says the same.

use super::resp::Node;
use super::step::{Words, lower, name};

/// A Redis version's first two numbers.
type Version = (u32, u32);

pub struct Known {
    /// From the first of these versions on, and before the second.
    pub versions: (Version, Version),
    pub why: &'static str,
    /// Whether the difference between Redis's reply and ours, in this order, is this one.
    pub applies: fn(&Words, &Node, &Node) -> bool,
}

const ALWAYS: Version = (0, 0);
const NEVER: Version = (u32::MAX, 0);

pub static KNOWN: &[Known] = &[
    Known {
        versions: (ALWAYS, NEVER),
        why: "embstr: a short string changed in place is raw; ours is not once it was moved or \
              copied. Redis 8 moreover counts the key in, ours is up to 44 bytes as in Redis 7",
        applies: |words, redis, ours| is_encoding(words) && is(redis, "raw") && is(ours, "embstr"),
    },
    Known {
        versions: (ALWAYS, NEVER),
        why: "OBJECT REFCOUNT: no value is shared, the answer is 1",
        applies: |words, redis, ours| {
            name(words) == "object"
                && is(ours, ":1")
                && matches!(redis, Node::Line(l) if l[0] == b':')
        },
    },
    Known {
        versions: (ALWAYS, NEVER),
        why: "OBJECT IDLETIME: Redis shares the integers below 10000, whose access is that of any \
              key with the same one; it may be long ago when a new key gets it",
        applies: |words, redis, ours| {
            let seconds = |node: &Node| match node {
                Node::Line(line) => {
                    std::str::from_utf8(line.strip_prefix(b":")?).ok()?.parse().ok()
                }
                _ => None::<u64>,
            };
            let idletime = words.get(1).is_some_and(|word| lower(word) == "idletime");
            name(words) == "object" && idletime && seconds(redis) > seconds(ours)
        },
    },
    Known {
        versions: (ALWAYS, (7, 2)),
        why: "7.0 does not look at the number of members in a command before it adds them",
        applies: |words, redis, ours| {
            is_encoding(words)
                && (is(redis, "listpack") || is(redis, "intset"))
                && (is(ours, "skiplist") || is(ours, "hashtable"))
        },
    },
    Known {
        versions: (ALWAYS, NEVER),
        why: "SORT by numbers fails where an earlier command met one out of range: it looks at an \
              errno that it has not reset",
        applies: |words, redis, ours| {
            let refusal = "-ERR One or more scores can't be converted into double";
            name(words).starts_with("sort") && is(redis, refusal) && !ours.is_error()
        },
    },
    Known {
        versions: (ALWAYS, NEVER),
        why: "SORT ALPHA: Redis compares up to the first NUL; what is equal until there may come \
              in any order",
        applies: |words, redis, ours| {
            let has = |option: &str| words.iter().skip(2).any(|word| lower(word) == option);
            name(words).starts_with("sort")
                && has("alpha")
                && same_until_nul(redis, ours, has("get"), has("limit"))
        },
    },
    Known {
        versions: (ALWAYS, (7, 2)),
        why: "7.0 has no listpack for sets and lists",
        applies: |words, redis, ours| {
            is_encoding(words)
                && (is(redis, "hashtable") || is(redis, "quicklist"))
                && is(ours, "listpack")
        },
    },
    Known {
        versions: (ALWAYS, NEVER),
        why: "SORT turns a sorted set into a skiplist for good, and copies of it are some too",
        applies: |words, redis, ours| {
            is_encoding(words) && is(redis, "skiplist") && is(ours, "listpack")
        },
    },
    Known {
        versions: (ALWAYS, (7, 2)),
        why: "of the few members that SPOP leaves 7.0 makes a set of integers where they are some",
        applies: |words, redis, ours| {
            is_encoding(words) && is(redis, "intset") && is(ours, "listpack")
        },
    },
    Known {
        versions: (ALWAYS, (7, 2)),
        why: "7.0 prints doubles with 17 digits, later ones the shortest text",
        applies: |words, redis, ours| name(words).contains('z') && same_doubles(redis, ours),
    },
    Known {
        versions: ((7, 2), NEVER),
        why: "doubles: Redis's fast printer is at times off by one in the last digit",
        applies: |words, redis, ours| name(words).contains('z') && same_doubles(redis, ours),
    },
    Known {
        versions: (ALWAYS, (7, 2)),
        why: "ZRANK and ZREVRANK have WITHSCORE since 7.2",
        applies: |words, redis, _| {
            name(words).ends_with("rank") && words.len() > 3 && redis.is_error()
        },
    },
    Known {
        versions: (ALWAYS, (7, 2)),
        why: "LPOS takes the lowest number there is as RANK before 7.2, and finds nothing",
        applies: |words, redis, _| {
            let lowest = |word: &Vec<u8>| word == b"-9223372036854775808";
            name(words) == "lpos" && !redis.is_error() && words.iter().any(lowest)
        },
    },
    Known {
        versions: ((8, 0), NEVER),
        why: "bounds of scores: Redis 8 reads neither hexadecimal nor leading spaces, 7 does",
        applies: |words, redis, _| {
            let odd = |word: &Vec<u8>| word.iter().any(|b| matches!(b, b'x' | b'X' | b' '));
            is(redis, "-ERR min or max is not a float") && words.iter().any(odd)
        },
    },
];

fn is_encoding(words: &Words) -> bool {
    name(words) == "object" && words.get(1).is_some_and(|word| lower(word) == "encoding")
}

fn is(node: &Node, text: &str) -> bool {
    match node {
        Node::Line(line) => line == text.as_bytes(),
        other => other.text() == Some(text.as_bytes()),
    }
}

/// The same but for the order of elements that are equal up to their first NUL. What GET brings in
/// their places need not be; behind a LIMIT it may be that of others.
fn same_until_nul(redis: &Node, ours: &Node, get: bool, limit: bool) -> bool {
    let until_nul = |node: &Node| -> Option<Vec<u8>> {
        Some(node.text()?.split(|byte| *byte == 0).next()?.to_vec())
    };
    let (Node::Many(_, x), Node::Many(_, y)) = (redis, ours) else {
        return false;
    };
    let in_place = || x.iter().zip(y).all(|(x, y)| until_nul(x) == until_nul(y));
    let in_any_order = || {
        let (mut x, mut y) = (x.clone(), y.clone());
        x.sort();
        y.sort();
        x == y
    };
    x.len() == y.len() && (get || in_place()) && (limit || in_any_order())
}

/// The same but for the way in which doubles are printed.
fn same_doubles(redis: &Node, ours: &Node) -> bool {
    let double =
        |text: Option<&[u8]>| -> Option<f64> { std::str::from_utf8(text?).ok()?.parse().ok() };
    match (redis, ours) {
        (Node::Many(a, x), Node::Many(b, y)) => {
            a == b && x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same_doubles(x, y))
        }
        _ if redis == ours => true,
        _ => double(redis.text()).is_some_and(|x| double(ours.text()) == Some(x)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Node {
        let blob = |text: &&str| Node::Blob(b'$', text.as_bytes().to_vec());
        Node::Many(b'*', texts.iter().map(blob).collect())
    }

    #[test]
    fn order_is_open_among_what_is_equal_until_a_nul_and_nowhere_else() {
        let (redis, ours) = (texts(&["1\0", "1", "2"]), texts(&["1", "1\0", "2"]));
        assert!(same_until_nul(&redis, &ours, false, false));
        assert!(!same_until_nul(&redis, &texts(&["1", "2", "1\0"]), false, false));
        assert!(!same_until_nul(&redis, &texts(&["1", "1\0"]), false, false));
        let other = texts(&["1", "1", "2"]);
        assert!(!same_until_nul(&redis, &other, false, false), "an element is missing");
        assert!(same_until_nul(&redis, &other, false, true), "it may be behind the limit");
        // What GET brought.
        assert!(same_until_nul(&texts(&["a", "b"]), &texts(&["b", "a"]), true, false));
        assert!(!same_until_nul(&texts(&["a", "b"]), &texts(&["b", "c"]), true, false));
        assert!(same_until_nul(&texts(&["a", "b"]), &texts(&["b", "c"]), true, true));
    }
}
