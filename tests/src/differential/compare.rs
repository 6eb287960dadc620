//! When two replies to a command are the same. Bytes must be, but for what Redis leaves open: the
//! order of unordered collections, chance, and the moment at which a command ran.

use super::known;
use super::resp::Node;
use super::step::{Words, lower, name};

/// How the replies of a command are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Exact,
    /// In any order, so many nodes at a time.
    Unordered(usize),
    /// Integers above 0 may differ by this much.
    Time(i64),
    /// Shape only; what is chosen must be there.
    Chance,
}

/// TTLs are asked for at moments that differ by less.
const SECONDS_OFF_MAX: i64 = 5;

pub fn rule(words: &Words) -> Rule {
    match name(words).as_str() {
        "smembers" | "sunion" | "sinter" | "sdiff" | "hkeys" | "hvals" | "keys" => {
            Rule::Unordered(1)
        }
        "hgetall" => Rule::Unordered(2),
        "ttl" | "expiretime" => Rule::Time(SECONDS_OFF_MAX),
        "pttl" | "pexpiretime" => Rule::Time(SECONDS_OFF_MAX * 1000),
        "object" if words.get(1).is_some_and(|word| lower(word) == "idletime") => {
            Rule::Time(SECONDS_OFF_MAX)
        }
        "sort" | "sort_ro" => sort_rule(words),
        "srandmember" | "hrandfield" | "zrandmember" | "randomkey" | "spop" => Rule::Chance,
        _ => Rule::Exact,
    }
}

/// Where BY names nothing, a set's elements come as they lie; where it compares texts, equal ones
/// do.
fn sort_rule(words: &Words) -> Rule {
    let options: Vec<String> = words.iter().skip(2).map(|word| lower(word)).collect();
    let by = options.iter().position(|word| word == "by").and_then(|at| options.get(at + 1));
    let is_open = |by: &String| !by.contains('*') || options.iter().any(|word| word == "alpha");
    if by.is_some_and(is_open) { Rule::Unordered(1) } else { Rule::Exact }
}

/// Follows one connection's replies.
pub struct Comparer {
    version: (u32, u32),
    /// The commands of a transaction under way.
    queued: Option<Vec<Words>>,
    /// Our reply before this one: what a random command may choose from.
    previous: Option<Node>,
    /// How often each of the known differences was met.
    pub known: Vec<usize>,
}

impl Comparer {
    pub fn new(version: (u32, u32)) -> Comparer {
        Comparer { version, queued: None, previous: None, known: vec![0; known::KNOWN.len()] }
    }

    /// Whether both replies to a command are the same; they come in the order of the commands.
    pub fn same(&mut self, words: &Words, redis: &Node, ours: &Node) -> bool {
        let same = match (name(words).as_str(), self.queued.take()) {
            ("exec", Some(queued)) => self.same_transaction(&queued, redis, ours),
            ("multi", None) => {
                self.queued = Some(Vec::new());
                redis == ours
            }
            ("discard" | "exec", _) => redis == ours,
            (_, Some(mut queued)) => {
                if *redis == Node::Line(b"+QUEUED".to_vec()) {
                    queued.push(words.clone());
                }
                self.queued = Some(queued);
                redis == ours || self.is_known(words, redis, ours)
            }
            _ => self.same_reply(words, redis, ours),
        };
        self.previous = Some(ours.clone());
        same
    }

    fn same_transaction(&mut self, queued: &[Words], redis: &Node, ours: &Node) -> bool {
        let (Node::Many(_, theirs), Node::Many(_, mine)) = (redis, ours) else {
            return redis == ours;
        };
        self.previous = None;
        theirs.len() == mine.len()
            && theirs.len() == queued.len()
            && (queued.iter().zip(theirs.iter().zip(mine)))
                .all(|(words, (theirs, mine))| self.same_reply(words, theirs, mine))
    }

    fn same_reply(&mut self, words: &Words, redis: &Node, ours: &Node) -> bool {
        let same = redis == ours
            || match rule(words) {
                Rule::Exact => false,
                Rule::Unordered(step) => sorted(redis, step) == sorted(ours, step),
                Rule::Time(off_max) => close(redis, ours, off_max),
                Rule::Chance => same_shape(redis, ours) && self.is_choice(words, ours),
            };
        same || self.is_known(words, redis, ours)
    }

    fn is_known(&mut self, words: &Words, redis: &Node, ours: &Node) -> bool {
        let found = known::KNOWN.iter().position(|known| {
            let (from, until) = known.versions;
            (from..until).contains(&self.version) && (known.applies)(words, redis, ours)
        });
        if let Some(at) = found {
            self.known[at] += 1;
        }
        found.is_some()
    }

    /// Whether what a random command chose is there, and not twice where it must not be.
    fn is_choice(&self, words: &Words, ours: &Node) -> bool {
        let Some(Node::Many(_, there)) = &self.previous else {
            return true;
        };
        if name(words) == "spop" {
            return true;
        }
        let there: Vec<_> = there.iter().flat_map(Node::leaves).collect();
        let mut chosen = ours.leaves();
        if !chosen.iter().all(|leaf| there.contains(leaf)) {
            return false;
        }
        let count = chosen.len();
        let distinct = words.len() == 3 && !words[2].starts_with(b"-");
        chosen.sort();
        chosen.dedup();
        !distinct || chosen.len() == count
    }

    /// Whether the elements of two whole scans are the same.
    pub fn same_scan(&mut self, words: &Words, redis: &[Node], ours: &[Node]) -> bool {
        let step = if matches!(name(words).as_str(), "hscan" | "zscan") { 2 } else { 1 };
        let gather = |nodes: &[Node]| {
            let mut groups: Vec<Vec<Node>> = nodes.chunks(step).map(<[Node]>::to_vec).collect();
            groups.sort();
            groups.dedup();
            Node::Many(b'*', groups.concat())
        };
        let (redis, ours) = (gather(redis), gather(ours));
        redis == ours || self.is_known(words, &redis, &ours)
    }
}

/// The nodes in an order of their own, `step` at a time.
fn sorted(node: &Node, step: usize) -> Node {
    match node {
        Node::Many(mark, items) => {
            let mut groups: Vec<&[Node]> = items.chunks(step).collect();
            groups.sort();
            Node::Many(*mark, groups.concat())
        }
        other => other.clone(),
    }
}

fn close(a: &Node, b: &Node, off_max: i64) -> bool {
    let number = |node: &Node| -> Option<i64> {
        let text = std::str::from_utf8(node.text()?).ok()?;
        text.parse().ok()
    };
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a >= 0 && b >= 0 && (a - b).abs() <= off_max,
        _ => false,
    }
}

/// The same kinds and lengths, whatever the texts.
fn same_shape(a: &Node, b: &Node) -> bool {
    match (a, b) {
        (Node::Line(a), Node::Line(b)) => a == b || a[0] == b',' && b[0] == b',',
        (Node::Blob(a, _), Node::Blob(b, _)) => a == b,
        (Node::Many(a, x), Node::Many(b, y)) => {
            a == b && x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same_shape(x, y))
        }
        _ => false,
    }
}
