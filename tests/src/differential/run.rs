//! Sends steps to both servers and finds the first difference.

use anyhow::{Context, Result};

use super::compare::Comparer;
use super::known;
use super::resp::{Connection, Node};
use super::servers::Servers;
use super::shrink;
use super::state::{self, Look};
use super::step::{Kind, Step, Words, name};
use crate::words;

/// Commands sent before their replies are read.
const PIPELINE_MAX: usize = 64;
/// Replies of one whole scan.
const SCAN_ROUNDS_MAX: usize = 100_000;

/// What was asked and answered where the two differ.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The step's place in the list.
    pub step: usize,
    pub command: Words,
    pub redis: String,
    pub quoring: String,
    /// False if later runs of the same commands showed none: it depends on timing.
    pub happens_again: bool,
}

/// Both connections of a run.
pub struct Pair {
    pub redis: Connection,
    pub quoring: Connection,
    comparer: Comparer,
}

/// What was run without a difference.
#[derive(Default)]
pub struct Counts {
    pub commands: usize,
    pub errors: usize,
    pub known: Vec<usize>,
}

impl Counts {
    pub fn add(&mut self, other: &Counts) {
        self.commands += other.commands;
        self.errors += other.errors;
        self.known.resize(known::KNOWN.len(), 0);
        self.known.iter_mut().zip(&other.known).for_each(|(sum, more)| *sum += more);
    }
}

/// Runs the steps on empty servers; the first difference, if there is one.
pub fn run(
    servers: &mut Servers,
    steps: &[Step],
    resp3: bool,
    counts: &mut Counts,
) -> Result<Option<Difference>> {
    let mut pair = Pair::open(servers, resp3)?;
    pair.prepare(&words!["FLUSHALL"])?;
    let mut difference = pair.run_steps(steps, counts)?;
    if difference.is_none() {
        difference = state::compare(&mut pair, steps.len(), Look::Whole, counts)?;
    }
    if difference.is_none() && servers.restarts {
        counts.add(&Counts { known: pair.comparer.known.clone(), ..Counts::default() });
        servers.kill_and_restart().context("after kill -9")?;
        pair = Pair::open(servers, resp3)?;
        difference = state::compare(&mut pair, steps.len(), Look::AfterRestart, counts)?;
    }
    counts.add(&Counts { known: pair.comparer.known.clone(), ..Counts::default() });
    if difference.as_ref().is_some_and(|difference| difference.quoring.starts_with("no reply")) {
        servers.restart()?;
    }
    Ok(difference)
}

impl Pair {
    fn open(servers: &Servers, resp3: bool) -> Result<Pair> {
        let mut pair = Pair {
            redis: Connection::open(servers.redis.address())?,
            quoring: Connection::open(servers.quoring()?)?,
            comparer: Comparer::new(servers.redis.version()),
        };
        if resp3 {
            pair.prepare(&words!["HELLO", "3"])?;
        }
        Ok(pair)
    }

    /// What both must take.
    fn prepare(&mut self, words: &Words) -> Result<()> {
        self.redis.call(words)?;
        self.quoring.call(words).context("quoring does not take a client")?;
        Ok(())
    }

    fn run_steps(&mut self, steps: &[Step], counts: &mut Counts) -> Result<Option<Difference>> {
        let mut at = 0;
        while at < steps.len() {
            let difference = match steps[at].kind {
                Kind::Plain => {
                    let rest = &steps[at..];
                    let len = rest.iter().take_while(|step| step.kind == Kind::Plain).count();
                    let batch = &rest[..len.min(PIPELINE_MAX)];
                    let difference = self.run_plain(at, batch, counts)?;
                    at += batch.len() - 1;
                    difference
                }
                Kind::Scan => self.run_scan(at, &steps[at].commands[0], counts)?,
                Kind::Pop => self.run_pop(at, &steps[at], counts)?,
                Kind::Wait => {
                    let (last, first) = steps[at].commands.split_last().context("no commands")?;
                    let mut difference = self.run_commands(at, first, counts)?;
                    if difference.is_none() {
                        std::thread::sleep(std::time::Duration::from_millis(6));
                        difference = self.run_commands(at, std::slice::from_ref(last), counts)?;
                    }
                    difference
                }
            };
            if difference.is_some() {
                return Ok(difference);
            }
            at += 1;
        }
        Ok(None)
    }

    fn run_plain(
        &mut self,
        first: usize,
        steps: &[Step],
        counts: &mut Counts,
    ) -> Result<Option<Difference>> {
        let commands: Vec<Words> = steps.iter().flat_map(|step| step.commands.clone()).collect();
        let Some(mut difference) = self.run_commands(first, &commands, counts)? else {
            return Ok(None);
        };
        // From the place among the commands to the step that holds it.
        let mut place = difference.step - first;
        let inside = steps.iter().position(|step| match place.checked_sub(step.commands.len()) {
            Some(rest) => {
                place = rest;
                false
            }
            None => true,
        });
        difference.step = first + inside.unwrap_or(0);
        Ok(Some(difference))
    }

    /// Runs commands as one pipeline. A difference's step counts commands, from `first` on.
    pub fn run_commands(
        &mut self,
        first: usize,
        commands: &[Words],
        counts: &mut Counts,
    ) -> Result<Option<Difference>> {
        self.redis.send(commands)?;
        let sent = self.quoring.send(commands);
        for (place, words) in commands.iter().enumerate() {
            let redis = self.redis.read().with_context(|| format!("redis: {}", show(words)))?;
            let ours = match self.quoring.read() {
                Ok(ours) => ours,
                Err(error) => {
                    let error = sent.err().unwrap_or(error);
                    return Ok(Some(lost(first + place, words, &redis, &error)));
                }
            };
            if !self.comparer.same(words, &redis, &ours) {
                return Ok(Some(Difference {
                    step: first + place,
                    command: words.clone(),
                    redis: redis.show(),
                    quoring: ours.show(),
                    happens_again: true,
                }));
            }
            counts.commands += 1;
            counts.errors += usize::from(redis.is_error());
        }
        Ok(None)
    }

    fn run_scan(
        &mut self,
        step: usize,
        words: &Words,
        counts: &mut Counts,
    ) -> Result<Option<Difference>> {
        let redis = whole_scan(&mut self.redis, words)?;
        let ours = match whole_scan(&mut self.quoring, words) {
            Ok(ours) => ours,
            Err(error) => return Ok(Some(lost(step, words, &redis.clone().into_node(), &error))),
        };
        counts.commands += 1;
        let same = match (&redis, &ours) {
            (Scan::Elements(redis), Scan::Elements(ours)) => {
                self.comparer.same_scan(words, redis, ours)
            }
            (Scan::Other(redis), Scan::Other(ours)) => self.comparer.same(words, redis, ours),
            _ => false,
        };
        let (redis, ours) = (redis.into_node(), ours.into_node());
        Ok((!same).then(|| Difference {
            step,
            command: words.clone(),
            redis: redis.show(),
            quoring: ours.show(),
            happens_again: true,
        }))
    }

    /// A SPOP; what only Redis popped is then removed from ours, and the other way round.
    fn run_pop(
        &mut self,
        at: usize,
        step: &Step,
        counts: &mut Counts,
    ) -> Result<Option<Difference>> {
        let words = &step.commands[0];
        let redis = self.redis.call(words)?;
        let ours = match self.quoring.call(words) {
            Ok(ours) => ours,
            Err(error) => return Ok(Some(lost(at, words, &redis, &error))),
        };
        if !self.comparer.same(words, &redis, &ours) {
            let (redis, quoring) = (redis.show(), ours.show());
            let command = words.clone();
            return Ok(Some(Difference { step: at, command, redis, quoring, happens_again: true }));
        }
        counts.commands += 1;
        let Some(key) = words.get(1) else { return Ok(None) };
        let (theirs, mine) = (redis.leaves(), ours.leaves());
        for (command, from, without) in [("SADD", &mine, &theirs), ("SREM", &theirs, &mine)] {
            let mut fix = words![command, key.clone()];
            fix.extend(from.iter().filter(|member| !without.contains(member)).cloned());
            if fix.len() > 2 && !redis.is_error() {
                self.quoring.call(&fix)?;
            }
        }
        Ok(None)
    }
}

fn lost(step: usize, words: &Words, redis: &Node, error: &anyhow::Error) -> Difference {
    let quoring = format!("no reply: {error:#}");
    let (command, redis) = (words.clone(), redis.show());
    Difference { step, command, redis, quoring, happens_again: true }
}

fn show(words: &Words) -> String {
    super::step::show(words)
}

/// All elements of a scan, or what was answered instead.
#[derive(Clone)]
enum Scan {
    Elements(Vec<Node>),
    Other(Node),
}

impl Scan {
    fn into_node(self) -> Node {
        match self {
            Scan::Elements(items) => Node::Many(b'*', items),
            Scan::Other(node) => node,
        }
    }
}

fn whole_scan(connection: &mut Connection, words: &Words) -> Result<Scan> {
    let place = if name(words) == "scan" { 1 } else { 2 };
    let mut words = words.clone();
    let mut elements = Vec::new();
    for _ in 0..SCAN_ROUNDS_MAX {
        let reply = connection.call(&words)?;
        let [cursor, Node::Many(_, items)] = reply.items() else {
            return Ok(Scan::Other(reply));
        };
        elements.extend_from_slice(items);
        let cursor = cursor.text().context("a cursor is a text")?.to_vec();
        if cursor == b"0" {
            return Ok(Scan::Elements(elements));
        }
        words[place] = cursor;
    }
    anyhow::bail!("{} never ends", show(&words))
}

/// Runs the steps, and where they differ finds fewer that do.
pub fn run_and_shrink(
    servers: &mut Servers,
    steps: &[Step],
    resp3: bool,
    counts: &mut Counts,
) -> Result<Option<(Vec<Step>, Difference)>> {
    match run(servers, steps, resp3, counts)? {
        Some(difference) => Ok(Some(shrink::shrink(servers, steps, resp3, difference)?)),
        None => Ok(None),
    }
}
