//! A node whose disk and network do at once what they are asked, and one client that waits for
//! each answer: brings a disk into a state, or a core to a bound.

use std::collections::VecDeque;

use engine::rng::Rng;
use server::config::Config;
use server::core::io::ConnId;

use super::client::{Reply, parse};
use super::disk::Disk;
use super::node::{Effect, Node, Waiting};
use crate::harness::client::encode;

/// Events after which a command that has not been answered never will be.
const EVENTS_MAX: usize = 100_000;

const CLIENT: ConnId = ConnId { index: 0, generation: 1 };

pub struct Quiet {
    node: Node,
    now_ns: u64,
    received: Vec<u8>,
    /// When the cores want their next turns.
    wakes: Vec<Option<u64>>,
    /// Cores that have something to do.
    due: VecDeque<u16>,
}

impl Quiet {
    /// A start; the client is on core 0.
    pub fn start(config: &Config, disk: Disk) -> Result<Quiet, String> {
        let node = Node::start(config, disk, &mut Rng::new(7)).map_err(|no| no.message)?;
        let cores = node.cores();
        let (received, wakes) = (Vec::new(), vec![None; usize::from(cores)]);
        let mut quiet = Quiet { node, now_ns: 1, received, wakes, due: (0..cores).collect() };
        quiet.node.add(0, Waiting::Accepted(CLIENT));
        quiet.until(|quiet| quiet.due.is_empty())?;
        Ok(quiet)
    }

    /// Sends these commands at once, words separated by spaces; their replies, once all are there.
    pub fn run(&mut self, commands: &[&str]) -> Result<Vec<Reply>, String> {
        let words = |command: &&str| encode(&command.split(' ').collect::<Vec<_>>());
        let bytes = commands.iter().flat_map(words).collect();
        self.node.add(0, Waiting::Received(CLIENT, bytes));
        self.due.push_back(0);
        let mut replies = Vec::new();
        while replies.len() < commands.len() {
            self.until(|quiet| matches!(parse(&quiet.received), Ok(Some(_)) | Err(_)))?;
            let Some((reply, len)) = parse(&self.received)? else { continue };
            self.received.drain(..len);
            replies.push(reply);
        }
        Ok(replies)
    }

    /// Until nothing is under way: then the disk is as a kill would find it.
    pub fn settle(&mut self) -> Result<(), String> {
        self.until(|quiet| quiet.due.is_empty())
    }

    pub fn disk(&self) -> &Disk {
        &self.node.disk
    }

    /// The process is killed.
    pub fn kill(mut self) -> Result<Disk, String> {
        self.settle()?;
        Ok(self.node.disk)
    }

    /// An orderly stop.
    pub fn stop(mut self) -> Result<Disk, String> {
        for core in 0..self.node.cores() {
            self.node.add(core, Waiting::Shutdown);
            self.due.push_back(core);
        }
        self.until(|quiet| quiet.node.has_stopped())?;
        self.kill()
    }

    fn until(&mut self, done: impl Fn(&Quiet) -> bool) -> Result<(), String> {
        for _ in 0..EVENTS_MAX {
            if done(self) {
                return Ok(());
            }
            let core = match self.due.pop_front() {
                Some(core) => core,
                None => self.sleep().ok_or("nothing happens any more")?,
            };
            self.turn(core);
        }
        Err("it does not come to an end".into())
    }

    /// Until a core wants a turn.
    fn sleep(&mut self) -> Option<u16> {
        let wakes = self.wakes.iter().enumerate();
        let soonest = wakes.filter_map(|(core, at_ns)| Some(((*at_ns)?, core))).min();
        let (at_ns, core) = soonest?;
        self.now_ns = self.now_ns.max(at_ns);
        Some(core as u16)
    }

    fn turn(&mut self, core: u16) {
        self.now_ns += 1_000;
        self.wakes[usize::from(core)] = None;
        for effect in self.node.turn(core, self.now_ns) {
            match effect {
                Effect::Send { conn, bytes } => {
                    self.received.extend_from_slice(&bytes);
                    self.node.add(core, Waiting::Sent(conn, bytes));
                    self.due.push_back(core);
                }
                Effect::Mesh(to) => self.due.push_back(to),
                Effect::Disk(operation) => {
                    self.node.finish_disk(core, operation);
                    self.due.push_back(core);
                }
                Effect::Wake(at_ns) => self.wakes[usize::from(core)] = Some(at_ns),
                Effect::Close(_) | Effect::Pause(_) | Effect::Resume(_) => {}
                Effect::Connect { .. } | Effect::HandOver { .. } => {
                    unreachable!("a node without peers connects to none")
                }
                Effect::Fail(message) => panic!("nothing fails here, but {message}"),
            }
        }
    }
}
