//! WAIT and WAITAOF. Replies leave in order, so that theirs come behind what the connection wrote
//! and are released after it: by then a majority of the group's nodes has that on stable storage,
//! and that many they count. They do not wait for more. A WAITAOF asks every core, each of which
//! answers when its log is durable as far as it is written now.

use engine::args::Args;
use engine::number::parse_i64;
use replication::ids::Lsn;

use super::everywhere::{Answer, Purpose, Question};
use crate::connection::Connection;
use crate::core::Core;
use crate::core::message::Message;
use crate::replica::serving::Serving;

/// Who is told once a log is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    pub core: u16,
    pub ticket: u64,
}

#[derive(Default)]
pub struct DurableWaits {
    /// Asked in this turn, whose entries are not in the log yet.
    fresh: Vec<Asker>,
    waiting: Vec<(Lsn, Asker)>,
}

impl Core {
    /// WAIT replicas milliseconds.
    pub(crate) fn wait(&mut self, connection: &mut Connection, args: Args<'_>) {
        let error = match parse_i64(args.at(1)) {
            None => Some("ERR value is not an integer or out of range"),
            Some(_) => timeout_error(args.at(2)),
        };
        let count = self.replicas.certain_acknowledgements();
        let error = error.or(self.refuse_waiting());
        self.reply_with(connection, |reply| match error {
            Some(error) => reply.error(error),
            None => reply.integer(count as i64),
        });
    }

    /// WAITAOF local replicas milliseconds.
    pub(crate) fn waitaof(&mut self, connection: &mut Connection, args: Args<'_>) {
        if let Err(error) = self.check_waitaof(args) {
            return self.reply_with(connection, |reply| reply.error(error));
        }
        self.ask_everywhere(connection, Question::Durable, Purpose::WaitAof);
    }

    fn refuse_waiting(&self) -> Option<&'static str> {
        matches!(self.replicas.serving, Serving::AsReplica(_)).then_some(
            "ERR WAIT cannot be used with replica instances. Please also note that since Redis \
             4.0 if a replica is configured to be writable (which is not the default) writes to \
             replicas are just local and are not propagated.",
        )
    }

    fn check_waitaof(&self, args: Args<'_>) -> Result<(), &'static str> {
        let local = parse_i64(args.at(1)).ok_or("ERR value is not an integer or out of range")?;
        if !(0..=1).contains(&local) {
            return Err("ERR value is out of range, value must between 0 and 1");
        }
        if parse_i64(args.at(2)).is_none_or(|replicas| replicas < 0) {
            return Err("ERR value is out of range, must be positive");
        }
        if let Some(error) = timeout_error(args.at(3)) {
            return Err(error);
        }
        if local == 1 && self.log.is_none() {
            return Err(
                "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
            );
        }
        Ok(())
    }

    /// Notes who wants to know when this core's log is durable. `None` if it has none.
    pub(crate) fn wait_until_durable(&mut self, asker: Asker) -> Option<()> {
        self.log.as_ref()?;
        self.durable_waits.fresh.push(asker);
        Some(())
    }

    /// The turn's entries are in the log: whoever asked in it waits for the last of them.
    pub(crate) fn note_durable_waits(&mut self) {
        let Some(log) = &self.log else { return };
        if self.durable_waits.fresh.is_empty() {
            return;
        }
        let appended = log.appended();
        let fresh = std::mem::take(&mut self.durable_waits.fresh);
        self.durable_waits.waiting.extend(fresh.into_iter().map(|asker| (appended, asker)));
        self.tell_durable();
    }

    /// Answers those whose wait for the log is over.
    pub(crate) fn tell_durable(&mut self) {
        let Some(log) = &self.log else { return };
        if self.durable_waits.waiting.is_empty() {
            return;
        }
        let durable = log.durable();
        let waiting = std::mem::take(&mut self.durable_waits.waiting);
        let (over, rest): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|(lsn, _)| *lsn <= durable);
        self.durable_waits.waiting = rest;
        for (_, asker) in over {
            self.tell_asker(asker, Answer::Done);
        }
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

fn timeout_error(text: &[u8]) -> Option<&'static str> {
    match parse_i64(text) {
        None => Some("ERR timeout is not an integer or out of range"),
        Some(..0) => Some("ERR timeout is negative"),
        Some(_) => None,
    }
}
