//! Commands whose only shard is another core's. What a turn has for a core goes there in one
//! message, and the answers come back in one, unless they are large. How much a client has
//! under way is bounded where it is connected (`Replies::is_owed_plenty`), a turn's work where
//! it is done.

use std::collections::VecDeque;

use engine::args::Args;
use engine::command::spec::CommandSpec;
use engine::reply::Reply;
use replication::buggify::{self, Point};
use smallvec::SmallVec;

use super::local::Caller;
use super::parked::Parked;
use super::route::ShardSet;
use crate::connection::Connection;
use crate::connection::replies::Hold;
use crate::core::Core;
use crate::core::budget::Budget;
use crate::core::message::{Answers, ForwardedCommands, ForwardedHead, Message};
use crate::limits::{
    ANSWERED_BYTES_PER_TURN_MAX, COMMANDS_AHEAD_MAX, COMMANDS_PER_TURN_MAX, FORWARDED_BYTES_MAX,
    TURN_COMMANDS_NS,
};
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
    /// What this turn may still run for others, and make of answers.
    budget: Budget,
    answer_bytes_left: usize,
    /// The commands that the last turn had no room for, and the first of them.
    rest: Option<(Box<ForwardedCommands>, usize)>,
    /// What came behind them and may not overtake them.
    behind: VecDeque<Message>,
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
            budget: Budget::default(),
            answer_bytes_left: 0,
            rest: None,
            behind: VecDeque::new(),
        }
    }

    /// Nothing of others' commands waits for a turn with room.
    pub fn has_run_all(&self) -> bool {
        self.rest.is_none()
    }

    /// Whether this turn may run more for others.
    pub fn has_room(&self) -> bool {
        !self.budget.is_spent() && self.answer_bytes_left > 0
    }

    /// Something took as long as so many commands.
    pub fn spend(&mut self, commands: usize) {
        self.budget.spend(commands);
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

    fn add_answer(&mut self, to: u16, head: &ForwardedHead, answer: &[u8]) -> bool {
        self.pending = true;
        let batch = self.answers[usize::from(to)]
            .get_or_insert_with(|| self.spare_answers.pop().unwrap_or_default());
        batch.push(head.conn, head.ticket, answer);
        batch.bytes() > FORWARDED_BYTES_MAX
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
        connection.expect_forwarded(ticket, args.span_bytes());
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

    /// A turn begins: what the last one had no room for comes first.
    pub(crate) fn run_rest(&mut self) {
        let most = buggify::limit(Point::TurnShort, COMMANDS_PER_TURN_MAX, 1);
        self.forwards.budget.commands_left = most;
        self.forwards.answer_bytes_left = ANSWERED_BYTES_PER_TURN_MAX;
        self.run_parked_left();
        if let Some((forwarded, first)) = self.forwards.rest.take() {
            self.on_run(forwarded, first);
        }
        while self.forwards.has_run_all()
            && let Some(message) = self.forwards.behind.pop_front()
        {
            self.act_on(message);
        }
    }

    /// Another core's clients want something of shards of ours: all from the `first` command on, as
    /// far as the turn has room for it.
    fn on_run(&mut self, forwarded: Box<ForwardedCommands>, first: usize) {
        let mut at = first;
        while at < forwarded.heads.len() {
            if !self.forwards.has_room() {
                self.forwards.rest = Some((forwarded, at));
                return;
            }
            let end = forwarded.heads.len().min(at + COMMANDS_AHEAD_MAX);
            let heads = &forwarded.heads[at..end];
            self.shards.prefetch(heads[0].db, heads.iter().filter_map(|head| head.key_place));
            let before = at;
            for head in heads {
                let args = forwarded.words.get(head.words.0, head.words.1);
                self.run_or_park(forwarded.from, head, args);
                at += 1;
                if !self.forwards.has_room() {
                    break;
                }
            }
            self.spend_forwarded(at - before);
        }
        self.forwards.keep_commands(forwarded);
    }

    pub(crate) fn spend_forwarded(&mut self, commands: usize) {
        self.forwards.budget.spend(commands);
        if self.forwards.budget.wants_clock(commands) {
            let turn_ns = self.host.monotonic_ns().saturating_sub(self.now.mono_ns);
            if turn_ns > TURN_COMMANDS_NS {
                self.forwards.budget.commands_left = 0;
            }
        }
    }

    /// Collects an answer for the core that asked.
    fn answer(&mut self, to: u16, head: &ForwardedHead, answer: &[u8]) {
        if self.forwards.add_answer(to, head, answer) {
            self.flush_mesh();
        }
    }

    fn run_or_park(&mut self, from: u16, head: &ForwardedHead, args: Args<'_>) {
        if self.shards.holds(usize::from(head.shard)) && !self.has_parked(head.shard) {
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
            return self.answer(from, head, &text);
        }
        self.stats.commands += 1;
        let timing = self.start_timing(head.spec, args);
        self.make_room(head.spec);
        let needed = match head.spec.keys {
            // A scan goes on to other shards.
            [] => self.shards_needed(head.spec, args),
            _ => ShardSet::from_slice(&[head.shard]),
        };
        self.begin_observing(&needed);
        let mut reply = std::mem::take(&mut self.forwards.reply);
        let &ForwardedHead { db, protocol, no_touch, .. } = head;
        let who = Caller { db, protocol, no_touch };
        let failed = self.run_engine(head.spec, args, who, Reply::new(&mut reply, protocol));
        self.stats.errors += u64::from(failed);
        self.note_memory(&needed);
        self.stop_timing_for(timing, (from, head.conn), head.spec, args);
        let place = (head.conn, head.ticket);
        let (mut fences, mut rests_on_open) = (SmallVec::<[(u16, u64); 4]>::new(), false);
        for &shard in &needed {
            match self.fence_of(shard) {
                Some((_, true)) => rests_on_open = true,
                Some((index, false)) => fences.push((shard, index)),
                None => {}
            }
        }
        let held = (rests_on_open || !fences.is_empty())
            && self.gate.wait_with_answer(from, place, &reply, &fences, rests_on_open);
        if !held {
            self.answer(from, head, &reply);
        }
        let left = &mut self.forwards.answer_bytes_left;
        *left = left.saturating_sub(reply.len());
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
            let Some(mut connection) = self.connections.take(conn) else {
                self.connections.on_late_answer(conn);
                continue;
            };
            connection.replies.answer(ticket, Hold::Open, answer);
            while let Some((_, ticket, answer)) = answers.next_if(|next| next.0 == conn) {
                connection.replies.answer(ticket, Hold::Open, answer);
            }
            self.settle(connection);
            self.mark_dirty(conn);
        }
    }

    /// What another core says. What wants something of shards does not overtake commands.
    pub(crate) fn on_message(&mut self, message: Message) {
        if !self.forwards.has_run_all() && message.stays_behind_commands() {
            return self.forwards.behind.push_back(message);
        }
        self.act_on(message);
    }

    fn act_on(&mut self, message: Message) {
        match message {
            Message::Run(forwarded) => self.on_run(forwarded, 0),
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
            Message::Published { from, publications } => self.on_published(from, publications),
            Message::Delivered { bytes } => self.on_delivered(bytes),
            Message::WaitEnded(asker) => self.holders.forget(asker),
        }
    }
}
