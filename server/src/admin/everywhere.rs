//! Questions that every core must answer: settings, statistics, clients. The asking client's core
//! collects the answers and replies once all are there.

use std::collections::HashMap;

use engine::keyspace::Shard;
use engine::keyspace::shard::ShardStats;
use engine::limits::DATABASE_COUNT;
use engine::reply::Protocol;
use replication::group::NodeId;
use replication::log::LogWriter;

use super::client_filter::ClientFilter;
use super::debug::DebugSetting;
use super::histogram::{Histogram, write_histograms};
use super::holders::Watching;
use super::latency::{Event, View};
use super::memory_command::{MemoryView, write_memory};
use super::memory_figures::Figures;
use super::slowlog::{SlowEntry, write_entries};
use super::stats::Snapshot;
use super::wait::Asker;
use crate::connection::replies::Hold;
use crate::connection::{Connection, Waiting};
use crate::core::Core;
use crate::core::io::{ConnId, Output};
use crate::core::message::Message;
use crate::dispatch::local::write_reply;
use crate::pubsub::subscribe::Change;
use crate::replica::handover::FailoverOrder;
use crate::replica::members::MembersOrder;

#[derive(Clone, Debug)]
pub enum Question {
    Snapshot,
    ResetStats,
    Clients(ClientFilter),
    KillClients(ClientFilter),
    /// CLIENT UNBLOCK: id, and whether the client gets an error.
    Unblock {
        client_id: u64,
        error: bool,
    },
    Settings(Vec<(String, String)>),
    /// Without handing over the lead first, or not.
    Shutdown {
        at_once: bool,
    },
    Failover(FailoverOrder),
    /// Who is in the cluster is to change; the first core answers.
    Members(MembersOrder),
    /// CLIENT PAUSE, until this monotonic time.
    Pause {
        until_ns: u64,
        all: bool,
    },
    Unpause,
    Slowlog {
        count: usize,
    },
    SlowlogLen,
    ResetSlowlog,
    Events,
    /// LATENCY RESET of these events, of all if there are none.
    ResetEvents(Vec<String>),
    Histograms,
    Debug(DebugSetting),
    GiveMemoryBack,
    /// What another core's clients listen to has changed.
    Subscriptions(Change),
    /// Which nodes have on stable storage what is released here now.
    Holders(Watching),
    /// Checkpoints of all shards; answered once they are there if `wait`.
    Checkpoint {
        wait: bool,
    },
}

#[derive(Clone, Debug)]
pub enum Answer {
    Done,
    Snapshot(Box<Snapshot>),
    /// Lines of CLIENT LIST, by client id.
    Clients(Vec<(u64, String)>),
    Count(u64),
    Slowlog(Vec<SlowEntry>),
    Events(Vec<(&'static str, Event)>),
    Histograms(Vec<(String, Histogram)>),
    Members(Result<(), String>),
    /// Nodes that have what was asked about, besides those named before; whether none were.
    Holders {
        nodes: Vec<NodeId>,
        first: bool,
    },
    /// Comes later.
    Later,
}

/// What is done with the answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    Ok,
    /// There is no reply.
    Nothing,
    /// This, which was made before.
    Said(Vec<u8>),
    Info {
        sections: Vec<String>,
    },
    ClientList,
    /// Answers the sum of counts.
    Count,
    /// The same, at most this.
    CountUpTo(u64),
    /// CLIENT KILL addr:port: OK if one was killed.
    KillOne,
    Slowlog {
        count: usize,
    },
    Latency(View),
    Histograms {
        names: Vec<String>,
    },
    Memory(MemoryView),
    Role,
    Nodes,
    Members,
    /// WAIT, or WAITAOF.
    Wait {
        aof: bool,
    },
    BgSave,
    Save,
    LastSave,
}

struct Pending {
    conn: ConnId,
    purpose: Purpose,
    missing: usize,
    answers: Vec<Answer>,
}

#[derive(Default)]
pub struct Asked(HashMap<u64, Pending>);

impl Core {
    /// Asks every core, this one included; the client's reply comes when all have answered.
    pub(crate) fn ask_everywhere(
        &mut self,
        connection: &mut Connection,
        question: Question,
        purpose: Purpose,
    ) {
        let ticket = self.next_ticket();
        let asker = Asker { core: self.id, ticket };
        let own = self.answer_question(&question, asker, Some(connection));
        let mut pending = Pending {
            conn: connection.id,
            purpose,
            missing: self.config.cores - 1,
            answers: Vec::new(),
        };
        match own {
            Answer::Later => pending.missing += 1,
            own => pending.answers.push(own),
        }
        if pending.missing == 0 {
            let bytes = self.answers_reply(connection.protocol, &pending.purpose, &pending.answers);
            return self.reply_with(connection, |reply| reply.raw(&bytes));
        }
        self.asked.0.insert(ticket, pending);
        self.ask_others(ticket, &question);
        connection.expect_answer(ticket, false);
        connection.waiting = Waiting::Answer;
    }

    /// Says something to a client, whatever it has asked of replies, once every other core has
    /// heard what there is to hear, if anything.
    pub(crate) fn say_once_told(
        &mut self,
        connection: &mut Connection,
        news: Option<Question>,
        said: Vec<u8>,
    ) {
        let Some(news) = news else {
            return connection.replies.begin().0.extend_from_slice(&said);
        };
        let ticket = self.next_ticket();
        let missing = self.config.cores - 1;
        let (conn, purpose) = (connection.id, Purpose::Said(said));
        self.asked.0.insert(ticket, Pending { conn, purpose, missing, answers: Vec::new() });
        self.ask_others(ticket, &news);
        connection.replies.expect_answer(ticket, false, false);
        connection.waiting = Waiting::Answer;
    }

    /// The same where nobody waits for it.
    pub(crate) fn tell_others_of(&mut self, news: &Question) {
        let ticket = self.next_ticket();
        self.ask_others(ticket, news);
    }

    fn ask_others(&mut self, ticket: u64, question: &Question) {
        let (own, cores) = (self.id, self.config.cores as u16);
        for core in (0..cores).filter(|core| *core != own) {
            let question = question.clone();
            self.send_message(core, Message::Ask { from: own, ticket, question });
        }
    }

    pub(crate) fn on_ask(&mut self, from: u16, ticket: u64, question: Question) {
        match self.answer_question(&question, Asker { core: from, ticket }, None) {
            Answer::Later => {}
            answer => self.send_message(from, Message::Told { ticket, answer }),
        }
    }

    pub(crate) fn on_told(&mut self, ticket: u64, answer: Answer) {
        let Some(pending) = self.asked.0.get_mut(&ticket) else {
            if let Answer::Holders { nodes, first } = answer {
                self.on_holders(ticket, &nodes, first);
            }
            return;
        };
        pending.answers.push(answer);
        pending.missing -= 1;
        if pending.missing > 0 {
            return;
        }
        let Some(pending) = self.asked.0.remove(&ticket) else { return };
        let Some(mut connection) = self.connections.take(pending.conn) else { return };
        let bytes = self.answers_reply(connection.protocol, &pending.purpose, &pending.answers);
        connection.replies.answer(ticket, Hold::Open, &bytes);
        if matches!(connection.waiting, Waiting::Answer) {
            connection.waiting = Waiting::Nothing;
        }
        self.settle(connection);
        self.mark_dirty(pending.conn);
    }

    fn answers_reply(&self, protocol: Protocol, purpose: &Purpose, answers: &[Answer]) -> Vec<u8> {
        let count: u64 =
            answers.iter().map(|a| if let Answer::Count(n) = a { *n } else { 0 }).sum();
        write_reply(protocol, |reply| match purpose {
            Purpose::Ok => reply.ok(),
            Purpose::Nothing => {}
            Purpose::Said(bytes) => reply.raw(bytes),
            Purpose::Count => reply.integer(count as i64),
            Purpose::CountUpTo(most) => reply.integer(count.min(*most) as i64),
            Purpose::KillOne if count > 0 => reply.ok(),
            Purpose::KillOne => reply.error("ERR No such client"),
            Purpose::ClientList => reply.verbatim(&client_lines(answers)),
            Purpose::Info { sections } => {
                reply.verbatim(&self.info_text(&sum_of(answers), sections));
            }
            Purpose::Slowlog { count } => write_entries(reply, answers, *count),
            Purpose::Latency(view) => self.write_events(reply, answers, view),
            Purpose::Histograms { names } => write_histograms(reply, answers, names),
            Purpose::Memory(view) => {
                let figures = Figures::of(&sum_of(answers), &self.config);
                write_memory(reply, &figures, *view);
            }
            Purpose::Nodes => {
                let text = self.describe_nodes(&sum_of(answers).groups);
                reply.bulk(text.as_bytes());
            }
            Purpose::Members => match refusal_of(answers) {
                Some(why) => reply.error(format!("ERR {why}")),
                None => reply.ok(),
            },
            Purpose::Role => self.role(reply, &sum_of(answers)),
            Purpose::BgSave => reply.simple("Background saving started"),
            Purpose::Save if count > 0 => reply.error("ERR a checkpoint failed; see the log"),
            Purpose::Save => reply.ok(),
            Purpose::LastSave => reply.integer(self.last_save_unix_s(&sum_of(answers))),
            Purpose::Wait { aof } => self.write_holders(reply, *aof, answers),
        })
    }

    /// This core's answer. `asking` is the client that asked, if it is one of ours: it is taken
    /// out of the table while its command runs.
    fn answer_question(
        &mut self,
        question: &Question,
        asker: Asker,
        asking: Option<&mut Connection>,
    ) -> Answer {
        match question {
            Question::Snapshot => Answer::Snapshot(Box::new(self.snapshot())),
            Question::Clients(filter) => {
                let asking = asking.map(|c| &*c);
                let clients =
                    self.connections.iter().chain(asking).filter(|c| filter.fits(c, self.now));
                Answer::Clients(clients.map(|c| (c.client_id, self.client_line(c))).collect())
            }
            Question::KillClients(filter) => Answer::Count(self.kill_clients(filter, asking)),
            Question::Unblock { client_id, error } => {
                let conn = self.connections.iter().find(|c| c.client_id == *client_id);
                let error = error.then_some("UNBLOCKED client unblocked via CLIENT UNBLOCK");
                let unblocked = conn.map(|c| c.id).is_some_and(|id| self.end_waiting(id, error));
                Answer::Count(u64::from(unblocked))
            }
            Question::Slowlog { count } => Answer::Slowlog(self.measures.slowlog.newest(*count)),
            Question::SlowlogLen => Answer::Count(self.measures.slowlog.len() as u64),
            Question::Events => Answer::Events(self.measures.events.all()),
            Question::ResetEvents(names) => Answer::Events(self.measures.events.reset(names)),
            Question::Histograms => Answer::Histograms(self.measures.histograms.all()),
            Question::Members(order) => self.answer_members(*order),
            Question::Checkpoint { wait } => self.answer_checkpoint(*wait, asker),
            // A core without a shard has nothing that a client waits for.
            Question::Holders(_) if !self.homes.contains(&self.id) => Answer::Done,
            Question::Holders(watching) => {
                self.watch_holders(asker, *watching);
                Answer::Later
            }
            order => {
                self.obey(order);
                Answer::Done
            }
        }
    }

    /// Does what every core is told to do.
    fn obey(&mut self, order: &Question) {
        match order {
            Question::Settings(changes) => {
                let before_s = self.config.tcp_keepalive_s;
                for (name, value) in changes {
                    // Checked by the asking core before it asked.
                    let _ = self.config.set(name, value);
                }
                let seconds = self.config.tcp_keepalive_s;
                if seconds != before_s {
                    self.outputs.push(Output::Keepalive { seconds });
                }
                self.settings = self.config.engine_settings();
                self.account.set_limit(self.config.maxmemory_bytes);
                self.measures.configure(&self.config);
            }
            Question::Shutdown { at_once } => self.begin_stop(*at_once),
            Question::Failover(order) => self.obey_failover(*order),
            Question::ResetStats => self.reset_stats(),
            Question::Pause { until_ns, all } => self.begin_pause(*until_ns, *all),
            Question::Unpause => self.end_pause(),
            Question::ResetSlowlog => self.measures.slowlog.reset(),
            Question::Debug(setting) => self.apply_debug_setting(*setting),
            Question::Subscriptions(change) => self.note_subscriptions(change),
            Question::GiveMemoryBack => crate::memory::give_back(),
            question => unreachable!("{question:?} is not an order"),
        }
    }

    fn snapshot(&mut self) -> Snapshot {
        self.note_all_memory();
        let (mut effect_bytes, mut unfreed) = (0, 0);
        let mut shards = ShardStats::default();
        let mut databases = [(0, 0); DATABASE_COUNT];
        let mut table_bytes = [0; DATABASE_COUNT];
        for shard in self.shards.held() {
            let stats = shard.stats;
            shards.hits += stats.hits;
            shards.misses += stats.misses;
            shards.expired += stats.expired;
            shards.evicted += stats.evicted;
            shards.changes += stats.changes;
            shards.changes_saved += stats.changes_saved;
            effect_bytes += shard.effects.memory_bytes() as u64;
            unfreed += shard.unfreed();
            for (db, counts) in databases.iter_mut().enumerate() {
                let database = shard.database(db as u16);
                counts.0 += database.len();
                counts.1 += database.volatile();
                table_bytes[db] += database.table_bytes() as u64;
            }
        }
        Snapshot {
            stats: self.stats.clone(),
            shards,
            clients: self.connections.len(),
            pubsub_clients: self.connections.iter().filter(|c| c.is_subscribed()).count(),
            blocked: self.blocked.len() + self.pause.waiting_count(),
            databases,
            log_records: self.log.as_ref().map_or(0, |log| log.appended().0),
            log_durable: self.log.as_ref().map_or(0, |log| log.durable().0),
            log_written_bytes: self.log.as_ref().map_or(0, LogWriter::written_bytes),
            log_payload_bytes: self.log.as_ref().map_or(0, LogWriter::payload_bytes),
            used_bytes: self.account.own_bytes(),
            used_peak_bytes: self.account.peak_bytes(),
            empty_bytes: self.homes.iter().filter(|home| **home == self.id).count() as u64
                * Shard::new(0, self.shards.hasher()).memory_bytes() as u64,
            client_bytes: self.connections.bytes() as u64,
            log_bytes: effect_bytes + self.log.as_ref().map_or(0, |log| log.queued_bytes() as u64),
            table_bytes,
            checkpoints: self.checkpoint_stats(),
            turns: self.turn_meter.times.clone(),
            calls: self.measures.calls.all(),
            unfreed,
            groups: self.see_groups(),
        }
    }

    fn reset_stats(&mut self) {
        self.stats = Default::default();
        self.measures.histograms.reset();
        self.measures.calls = Default::default();
        self.turn_meter.times = Default::default();
        for shard in self.shards.held_mut() {
            shard.stats = ShardStats::default();
        }
    }
}

fn refusal_of(answers: &[Answer]) -> Option<&str> {
    answers.iter().find_map(|answer| match answer {
        Answer::Members(Err(why)) => Some(why.as_str()),
        _ => None,
    })
}

/// The snapshots of all cores together.
fn sum_of(answers: &[Answer]) -> Snapshot {
    let mut sum = Snapshot::default();
    for answer in answers {
        if let Answer::Snapshot(snapshot) = answer {
            sum.add(snapshot);
        }
    }
    sum
}

/// CLIENT LIST: the lines of all cores, by id.
fn client_lines(answers: &[Answer]) -> String {
    let mut lines: Vec<&(u64, String)> = answers
        .iter()
        .flat_map(|answer| if let Answer::Clients(lines) = answer { &lines[..] } else { &[] })
        .collect();
    lines.sort_by_key(|(id, _)| *id);
    lines.iter().map(|(_, line)| format!("{line}\n")).collect()
}
