//! WAIT and WAITAOF: a client waits until other nodes have on stable storage what it wrote. Lives
//! on the client's core.
//!
//! It waits first until all its replies may leave (`dispatch/behind.rs`): what it wrote is released
//! then, on whichever cores. These note how far each of their shards is released, and say of each
//! node when it has all of that ([`super::holders`]). A node that has all on all cores counts.
//!
//! That may be more than the client wrote, never less. What is released is never lost, so that a
//! number which was true once stays true, whoever leads.

use engine::args::{Args, OwnedArgs};
use engine::command::spec::CommandSpec;
use engine::number::parse_i64;
use engine::reply::Reply;
use replication::group::NodeId;

use super::everywhere::{Answer, Purpose, Question};
use super::holders::Watching;
use crate::connection::{Connection, Waiting};
use crate::core::Core;
use crate::core::message::Message;

/// Who is told of what took some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asker {
    pub core: u16,
    pub ticket: u64,
}

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    /// WAITAOF, which waits for this node's log too.
    aof: bool,
    nodes: i64,
    /// 0: for ever.
    timeout_ms: u64,
}

/// A client's wait.
#[derive(Debug)]
pub struct NodeWait {
    /// For when another node comes to lead.
    pub command: OwnedArgs,
    pub ticket: u64,
    /// Monotonic nanoseconds; `None` waits for ever.
    pub deadline_ns: Option<u64>,
    wanted: Wanted,
    /// The cores that are asked.
    cores: usize,
    heard: Heard,
}

/// What cores have said of who has what they were asked about.
#[derive(Debug, Default)]
pub struct Heard {
    /// Cores that have said anything.
    cores: usize,
    /// On how many cores each node has all.
    nodes: Vec<(NodeId, usize)>,
}

impl Heard {
    /// What all cores have answered who have shards.
    pub fn of(answers: &[Answer]) -> Heard {
        let mut heard = Heard::default();
        for answer in answers {
            if let Answer::Holders { nodes, first } = answer {
                heard.note(nodes, *first);
            }
        }
        heard
    }

    fn note(&mut self, nodes: &[NodeId], first: bool) {
        self.cores += usize::from(first);
        for node in nodes {
            match self.nodes.iter_mut().find(|(known, _)| known == node) {
                Some((_, cores)) => *cores += 1,
                None => self.nodes.push((*node, 1)),
            }
        }
    }

    /// Whether this node has all on so many cores, and how many others have.
    fn count(&self, own: NodeId, cores: usize) -> (bool, i64) {
        let whole = self.nodes.iter().filter(|(_, on)| *on == cores);
        let (local, others): (Vec<NodeId>, Vec<NodeId>) =
            whole.map(|(node, _)| *node).partition(|node| *node == own);
        (!local.is_empty(), others.len() as i64)
    }
}

impl Core {
    /// WAIT replicas milliseconds, and WAITAOF local replicas milliseconds.
    pub(crate) fn wait(
        &mut self,
        connection: &mut Connection,
        spec: &'static CommandSpec,
        args: Args<'_>,
    ) {
        let wanted = match self.check_wait(args) {
            Ok(wanted) => wanted,
            Err(error) => return self.reply_with(connection, |reply| reply.error(error)),
        };
        if self.is_behind(connection) {
            // It counts as run once it runs.
            self.stats.commands -= 1;
            self.measures.calls.take_back(spec);
            return self.wait_behind(connection, args);
        }
        if connection.ended {
            // It goes away: it waits for nothing.
            return connection.closing = true;
        }
        let ticket = self.next_ticket();
        let cores = self.cores_with_shards();
        let deadline_ns = (wanted.timeout_ms > 0)
            .then(|| self.now.mono_ns.saturating_add(wanted.timeout_ms.saturating_mul(1_000_000)));
        if let Some(deadline_ns) = deadline_ns {
            self.deadlines.insert((deadline_ns, ticket));
        }
        self.blocked.insert(ticket, connection.id);
        connection.waiting = Waiting::Nodes(NodeWait {
            command: OwnedArgs::copy_of(args),
            ticket,
            deadline_ns,
            wanted,
            cores: cores.len(),
            heard: Heard::default(),
        });
        let asker = Asker { core: self.id, ticket };
        for core in cores {
            if core == self.id {
                self.watch_holders(asker, Watching::Always);
                continue;
            }
            let question = Question::Holders(Watching::Always);
            self.send_message(core, Message::Ask { from: self.id, ticket, question });
        }
    }

    /// The same within a transaction, which does not wait: who has what was written before it.
    pub(crate) fn wait_in_transaction(&mut self, connection: &mut Connection, args: Args<'_>) {
        match self.check_wait(args) {
            Ok(Wanted { aof, .. }) => {
                let watching = if aof { Watching::OnceDurable } else { Watching::Once };
                let purpose = Purpose::Wait { aof };
                self.ask_everywhere(connection, Question::Holders(watching), purpose);
            }
            Err(error) => self.reply_with(connection, |reply| reply.error(error)),
        }
    }

    fn check_wait(&self, args: Args<'_>) -> Result<Wanted, &'static str> {
        let aof = args.len() == 4;
        if aof {
            let local = parse_i64(args.at(1));
            let local = local.ok_or("ERR value is not an integer or out of range")?;
            if !(0..=1).contains(&local) {
                return Err("ERR value is out of range, value must between 0 and 1");
            }
        }
        let nodes = match parse_i64(args.at(args.len() - 2)) {
            Some(nodes) if !aof || nodes >= 0 => nodes,
            _ if aof => return Err("ERR value is out of range, must be positive"),
            _ => return Err("ERR value is not an integer or out of range"),
        };
        let timeout_ms = match parse_i64(args.at(args.len() - 1)) {
            None => return Err("ERR timeout is not an integer or out of range"),
            Some(..0) => return Err("ERR timeout is negative"),
            Some(ms) if ms.checked_add(self.now.unix_ms).is_none() => {
                return Err("ERR timeout is out of range");
            }
            Some(ms) => ms as u64,
        };
        if aof && args.at(1) == b"1" && self.log.is_none() {
            return Err(
                "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
            );
        }
        Ok(Wanted { aof, nodes, timeout_ms })
    }

    /// Ascending.
    fn cores_with_shards(&self) -> Vec<u16> {
        let mut cores = self.homes.clone();
        cores.sort_unstable();
        cores.dedup();
        cores
    }

    /// A core says which nodes have, besides those that it has named, what a client waits for.
    pub(crate) fn on_holders(&mut self, ticket: u64, nodes: &[NodeId], first: bool) {
        let Some(&conn) = self.blocked.get(&ticket) else { return };
        let (own, has_log) = (NodeId(self.node.node), self.log.is_some());
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Waiting::Nodes(wait) = &mut connection.waiting else { return };
        wait.heard.note(nodes, first);
        let (local, others) = wait.heard.count(own, wait.cores);
        let durable = local || !wait.wanted.aof || !has_log;
        if wait.heard.cores == wait.cores && durable && others >= wait.wanted.nodes {
            self.end_waiting(conn, None);
        }
    }

    /// A client waits no more: it hears how many nodes have what it wrote.
    pub(crate) fn end_node_wait(
        &mut self,
        connection: &mut Connection,
        wait: &NodeWait,
        error: Option<&str>,
    ) {
        self.forget_node_wait(wait);
        let (local, others) = wait.heard.count(NodeId(self.node.node), wait.cores);
        self.reply_with(connection, |reply| match error {
            Some(error) => reply.error(error),
            None => write_counts(reply, wait.wanted.aof, local, others),
        });
    }

    pub(crate) fn forget_node_wait(&mut self, wait: &NodeWait) {
        self.blocked.remove(&wait.ticket);
        if let Some(deadline_ns) = wait.deadline_ns {
            self.deadlines.remove(&(deadline_ns, wait.ticket));
        }
        let asker = Asker { core: self.id, ticket: wait.ticket };
        for core in self.cores_with_shards() {
            match core == self.id {
                true => self.holders.forget(asker),
                false => self.send_message(core, Message::WaitEnded(asker)),
            }
        }
    }

    /// The reply to one that did not wait.
    pub(crate) fn write_holders(&self, reply: &mut Reply<'_>, aof: bool, answers: &[Answer]) {
        let heard = Heard::of(answers);
        let (local, others) = heard.count(NodeId(self.node.node), heard.cores);
        write_counts(reply, aof, local, others);
    }

    /// The answer to a question that it took some time to answer.
    pub(crate) fn tell_asker(&mut self, Asker { core, ticket }: Asker, answer: Answer) {
        if core == self.id {
            self.on_told(ticket, answer);
        } else {
            self.send_message(core, Message::Told { ticket, answer });
        }
    }
}

fn write_counts(reply: &mut Reply<'_>, aof: bool, local: bool, others: i64) {
    if aof {
        reply.array(2);
        reply.flag(local);
    }
    reply.integer(others);
}
