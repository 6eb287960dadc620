//! Questions that every core must answer: settings, statistics, clients. The asking client's core
//! collects the answers and replies once all are there.

use std::collections::HashMap;

use engine::keyspace::shard::ShardStats;
use engine::limits::DATABASE_COUNT;
use engine::reply::Protocol;

use super::client::KillFilter;
use super::stats::Snapshot;
use crate::connection::replies::Hold;
use crate::connection::{Connection, Waiting};
use crate::core::Core;
use crate::core::io::ConnId;
use crate::core::message::Message;
use crate::dispatch::local::write_reply;

#[derive(Clone, Debug)]
pub enum Question {
    Snapshot,
    ResetStats,
    Clients,
    KillClients(KillFilter),
    /// CLIENT UNBLOCK: id, and whether the client gets an error.
    Unblock {
        client_id: u64,
        error: bool,
    },
    Settings(Vec<(String, String)>),
    Shutdown,
}

#[derive(Clone, Debug)]
pub enum Answer {
    Done,
    Snapshot(Box<Snapshot>),
    /// Lines of CLIENT LIST, by client id.
    Clients(Vec<(u64, String)>),
    Count(u64),
}

/// What is done with the answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    Ok,
    Info {
        sections: Vec<String>,
    },
    ClientList,
    /// Answers the sum of counts.
    Count,
    /// CLIENT KILL addr:port: OK if one was killed.
    KillOne,
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
        let cores = self.config.cores as u16;
        let own = self.answer_question(&question, Some(connection));
        let pending = Pending {
            conn: connection.id,
            purpose,
            missing: cores as usize - 1,
            answers: vec![own],
        };
        if pending.missing == 0 {
            let bytes = self.answers_reply(connection.protocol, &pending.purpose, &pending.answers);
            return self.reply_with(connection, |reply| reply.raw(&bytes));
        }
        self.asked.0.insert(ticket, pending);
        let own = self.id;
        for core in (0..cores).filter(|core| *core != own) {
            let question = question.clone();
            self.send_message(core, Message::Ask { from: self.id, ticket, question });
        }
        connection.replies.expect_answer(ticket, false);
        connection.waiting = Waiting::Answer;
    }

    pub(crate) fn on_ask(&mut self, from: u16, ticket: u64, question: Question) {
        let answer = self.answer_question(&question, None);
        self.send_message(from, Message::Told { ticket, answer });
    }

    pub(crate) fn on_told(&mut self, ticket: u64, answer: Answer) {
        let Some(pending) = self.asked.0.get_mut(&ticket) else { return };
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
            Purpose::Count => reply.integer(count as i64),
            Purpose::KillOne if count > 0 => reply.ok(),
            Purpose::KillOne => reply.error("ERR No such client"),
            Purpose::ClientList => reply.verbatim(&client_lines(answers)),
            Purpose::Info { sections } => {
                let mut sum = Snapshot::default();
                for answer in answers {
                    if let Answer::Snapshot(snapshot) = answer {
                        sum.add(snapshot);
                    }
                }
                reply.verbatim(&self.info_text(&sum, sections));
            }
        })
    }

    /// This core's answer. `asking` is the client that asked, if it is one of ours: it is taken
    /// out of the table while its command runs.
    fn answer_question(&mut self, question: &Question, asking: Option<&mut Connection>) -> Answer {
        match question {
            Question::Snapshot => Answer::Snapshot(Box::new(self.snapshot())),
            Question::ResetStats => {
                self.reset_stats();
                Answer::Done
            }
            Question::Clients => {
                let asking = asking.map(|c| &*c);
                let lines = self.connections.iter().chain(asking);
                let lines = lines.map(|c| (c.client_id, self.client_line(c))).collect();
                Answer::Clients(lines)
            }
            Question::KillClients(filter) => Answer::Count(self.kill_clients(filter, asking)),
            Question::Unblock { client_id, error } => {
                let conn = self.connections.iter().find(|c| c.client_id == *client_id);
                let error = error.then_some("UNBLOCKED client unblocked via CLIENT UNBLOCK");
                let unblocked = conn.map(|c| c.id).is_some_and(|id| self.end_waiting(id, error));
                Answer::Count(u64::from(unblocked))
            }
            Question::Settings(changes) => {
                for (name, value) in changes {
                    // Checked by the asking core before it asked.
                    let _ = self.config.set(name, value);
                }
                self.settings = self.config.engine_settings();
                Answer::Done
            }
            Question::Shutdown => {
                self.draining = true;
                Answer::Done
            }
        }
    }

    fn snapshot(&self) -> Snapshot {
        let mut shards = ShardStats::default();
        let mut databases = [(0, 0); DATABASE_COUNT];
        for shard in self.shards.held() {
            let stats = shard.stats;
            shards.hits += stats.hits;
            shards.misses += stats.misses;
            shards.expired += stats.expired;
            shards.evicted += stats.evicted;
            shards.changes += stats.changes;
            for (db, counts) in databases.iter_mut().enumerate() {
                let database = shard.database(db as u16);
                counts.0 += database.len();
                counts.1 += database.volatile();
            }
        }
        Snapshot {
            stats: self.stats.clone(),
            shards,
            clients: self.connections.len(),
            blocked: self.blocked.len(),
            databases,
            log_records: self.log.as_ref().map_or(0, |log| log.appended().0),
            log_durable: self.log.as_ref().map_or(0, |log| log.durable().0),
        }
    }

    fn reset_stats(&mut self) {
        self.stats = Default::default();
        for shard in self.shards.held_mut() {
            shard.stats = ShardStats::default();
        }
    }
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
