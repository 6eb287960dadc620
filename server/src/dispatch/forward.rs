//! Commands whose only shard is another core's. What a turn has for a core goes there in one
//! message, and the answers come back in one.

use engine::args::Args;
use engine::command::spec::CommandSpec;
use engine::reply::Reply;

use super::local::Caller;
use super::parked::Parked;
use super::route::ShardSet;
use crate::connection::Connection;
use crate::connection::replies::Hold;
use crate::core::Core;
use crate::core::message::{Answers, ForwardedCommands, ForwardedHead, Message};
use crate::limits::{COMMANDS_AHEAD_MAX, FORWARDED_BYTES_MAX};
use crate::replica::serving::READ_ONLY;

/// What this core collects in a turn for the others.
pub struct Forwards {
    commands: Vec<Option<Box<ForwardedCommands>>>,
    answers: Vec<Option<Box<Answers>>>,
    /// Something is collected.
    pending: bool,
    /// Batches that were received and are used again to be sent.
    spare_commands: Vec<Box<ForwardedCommands>>,
    spare_answers: Vec<Box<Answers>>,
    /// Where the reply to a forwarded command is written before it is known where it goes.
    reply: Vec<u8>,
}

impl Forwards {
    pub fn new(cores: usize) -> Forwards {
        Forwards {
            commands: (0..cores).map(|_| None).collect(),
            answers: (0..cores).map(|_| None).collect(),
            pending: false,
            spare_commands: Vec::new(),
            spare_answers: Vec::new(),
            reply: Vec::new(),
        }
    }

    fn add_command(&mut self, to: u16, from: u16, mut head: ForwardedHead, args: Args<'_>) -> bool {
        self.pending = true;
        let batch = self.commands[usize::from(to)]
            .get_or_insert_with(|| self.spare_commands.pop().unwrap_or_default());
        batch.from = from;
        head.words = (batch.words.push(args), args.len() as u32);
        batch.heads.push(head);
        batch.words.bytes() > FORWARDED_BYTES_MAX
    }

    fn add_answer(&mut self, to: u16, head: &ForwardedHead, answer: &[u8]) {
        self.pending = true;
        self.answers[usize::from(to)]
            .get_or_insert_with(|| self.spare_answers.pop().unwrap_or_default())
            .push(head.conn, head.ticket, answer);
    }

    fn keep_commands(&mut self, mut batch: Box<ForwardedCommands>) {
        let small = batch.words.bytes() <= FORWARDED_BYTES_MAX / 4;
        if small && self.spare_commands.len() < self.commands.len() {
            batch.heads.clear();
            batch.words.clear();
            self.spare_commands.push(batch);
        }
    }

    fn keep_answers(&mut self, mut batch: Box<Answers>) {
        let small = batch.bytes() <= FORWARDED_BYTES_MAX / 4;
        if small && self.spare_answers.len() < self.answers.len() {
            batch.clear();
            self.spare_answers.push(batch);
        }
    }
}

impl Core {
    /// Sends a command to its shard's core and keeps a place for the answer.
    pub(crate) fn forward(
        &mut self,
        connection: &mut Connection,
        (core, shard): (u16, u16),
        spec: &'static CommandSpec,
        args: Args<'_>,
    ) {
        let ticket = self.next_ticket();
        connection.expect_answer(ticket, true);
        let head = ForwardedHead {
            spec,
            conn: connection.id,
            ticket,
            key_place: args.get(1).map(|word| self.shards.locate(word)),
            shard,
            db: connection.db,
            protocol: connection.protocol,
            no_touch: connection.no_touch,
            reads_replica: connection.reads_replica,
            period: self.replicas.period,
            words: (0, 0),
        };
        self.stats.forwarded += 1;
        if self.forwards.add_command(core, self.id, head, args) {
            self.flush_mesh();
        }
    }

    /// Sends what was collected for other cores. Done before any other message, to whatever core,
    /// and before any reply: nothing may overtake a command that was forwarded before it.
    pub(crate) fn flush_mesh(&mut self) {
        if !std::mem::take(&mut self.forwards.pending) {
            return;
        }
        for to in 0..self.forwards.commands.len() {
            if let Some(commands) = self.forwards.commands[to].take() {
                self.send_message(to as u16, Message::Run(commands));
            }
            if let Some(answers) = self.forwards.answers[to].take() {
                self.send_message(to as u16, Message::Answers(answers));
            }
        }
    }

    /// Another core's clients want something of shards of ours.
    pub(crate) fn on_run(&mut self, forwarded: &ForwardedCommands) {
        for heads in forwarded.heads.chunks(COMMANDS_AHEAD_MAX) {
            self.shards.prefetch(heads[0].db, heads.iter().filter_map(|head| head.key_place));
            for head in heads {
                let args = forwarded.words.get(head.words.0, head.words.1);
                self.run_or_park(forwarded.from, head, args);
            }
        }
    }

    fn run_or_park(&mut self, from: u16, head: &ForwardedHead, args: Args<'_>) {
        if self.shards.holds(usize::from(head.shard)) {
            if let (Some(key), Some(place)) = (args.get(1), head.key_place) {
                self.shards.know(key, place);
            }
            self.run_forwarded(from, head, args);
            self.shards.forget_known();
        } else {
            let command = Parked::forwarded(from, *head, args);
            self.parked[usize::from(head.shard)].push_back(command);
        }
    }

    /// Runs one command of another core's client: its shard is in hand.
    pub(crate) fn run_forwarded(&mut self, from: u16, head: &ForwardedHead, args: Args<'_>) {
        if self.must_refuse(head) {
            let mut text = Vec::new();
            Reply::new(&mut text, head.protocol).error(READ_ONLY);
            return self.forwards.add_answer(from, head, &text);
        }
        self.stats.commands += 1;
        let timing = self.start_timing(head.spec, args);
        self.make_room(head.spec);
        let needed = ShardSet::from_slice(&[head.shard]);
        self.begin_observing(&needed);
        let mut reply = std::mem::take(&mut self.forwards.reply);
        let &ForwardedHead { db, protocol, no_touch, .. } = head;
        let who = Caller { db, protocol, no_touch };
        let failed = self.run_engine(head.spec, args, who, Reply::new(&mut reply, protocol));
        self.stats.errors += u64::from(failed);
        self.note_memory(&needed);
        self.stop_timing_for(timing, (from, head.conn), head.spec, args);
        let place = (head.conn, head.ticket);
        let held = match self.fence_of(head.shard) {
            Some((index, open)) => {
                let fence = (head.shard, index);
                self.gate.wait_with_answer(from, place, &reply, fence, open)
            }
            None => false,
        };
        if !held {
            self.forwards.add_answer(from, head, &reply);
        }
        if reply.capacity() <= FORWARDED_BYTES_MAX {
            reply.clear();
            self.forwards.reply = reply;
        }
        self.close_large_entries(&needed);
        self.serve_ready(&needed);
    }

    /// The answers to commands that were forwarded.
    pub(crate) fn on_answers(&mut self, answers: &Answers) {
        let mut answers = answers.iter().peekable();
        while let Some((conn, ticket, answer)) = answers.next() {
            let Some(mut connection) = self.connections.take(conn) else { continue };
            connection.replies.answer(ticket, Hold::Open, answer);
            while let Some((_, ticket, answer)) = answers.next_if(|next| next.0 == conn) {
                connection.replies.answer(ticket, Hold::Open, answer);
            }
            self.settle(connection);
            self.mark_dirty(conn);
        }
    }

    /// What another core says.
    pub(crate) fn on_message(&mut self, _from: u16, message: Message) {
        match message {
            Message::Run(forwarded) => {
                self.on_run(&forwarded);
                self.forwards.keep_commands(forwarded);
            }
            Message::Answers(answers) => {
                self.on_answers(&answers);
                self.forwards.keep_answers(answers);
            }
            Message::Gather(gather) => self.on_gather(gather),
            Message::Home { shards, origin, gathering, transaction } => {
                self.on_home(shards, origin, gathering, transaction.as_ref());
            }
            Message::GroupMessages(messages) => self.on_group_messages(&messages),
            Message::Started => self.on_core_started(),
            Message::Stand(stand) => self.on_stand(*stand),
            Message::Word(word) => self.on_word(*word),
            Message::GroupsHave(have) => self.on_groups_have(*have),
            Message::Followed(followed) => self.on_followed(*followed),
            Message::Drained(drained) => self.note_drained(*drained),
            Message::Quiet { from, quiet } => self.on_quiet(from, quiet),
            Message::Reports(reports) => self.on_reports(&reports),
            Message::Released { gathering } => self.on_gathering_released(gathering),
            Message::Wake { ticket } => self.on_wake(ticket),
            Message::Forget { db, keys, waiter } => self.on_forget(db, &keys, waiter),
            Message::Unwatch(keys) => self.on_unwatch(keys),
            Message::Slow { conn, slow } => self.on_slow(conn, *slow),
            Message::Memory { from, report } => self.account.note_other(from, report),
            Message::Ask { from, ticket, question } => self.on_ask(from, ticket, question),
            Message::Told { ticket, answer } => self.on_told(ticket, answer),
            Message::WaitEnded(asker) => self.holders.forget(asker),
        }
    }
}
