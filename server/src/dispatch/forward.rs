//! Commands whose only shard is another core's: one message there and one back.

use engine::args::{Args, OwnedArgs};
use engine::reply::Reply;

use super::local::{find_command, write_reply};
use super::parked::Parked;
use super::route::ShardSet;
use crate::commit::gate::Waiter;
use crate::connection::Connection;
use crate::connection::replies::Hold;
use crate::core::Core;
use crate::core::io::ConnId;
use crate::core::message::{ForwardedCommand, Message};

impl Core {
    /// Sends a command to its shard's core and keeps a place for the answer.
    pub(crate) fn forward(
        &mut self,
        connection: &mut Connection,
        core: u16,
        shard: u16,
        args: Args<'_>,
    ) {
        let ticket = self.next_ticket();
        connection.replies.expect_answer(ticket);
        let command = ForwardedCommand {
            from: self.id,
            conn: connection.id,
            ticket,
            shard,
            db: connection.db,
            protocol: connection.protocol,
            command: OwnedArgs::copy_of(args),
        };
        self.stats.forwarded += 1;
        self.send_message(core, Message::Run(Box::new(command)));
    }

    /// Another core's client wants something of a shard of ours.
    pub(crate) fn on_run(&mut self, forwarded: Box<ForwardedCommand>) {
        if !self.shards.holds(usize::from(forwarded.shard)) {
            let shard = usize::from(forwarded.shard);
            self.parked[shard].push_back(Parked::Forwarded(forwarded));
            return;
        }
        let args = forwarded.command.as_args();
        let needed = ShardSet::from_slice(&[forwarded.shard]);
        let bytes = match find_command(args) {
            Ok(spec) => {
                self.stats.commands += 1;
                self.begin_observing(&needed);
                let mut bytes = Vec::new();
                let reply = Reply::new(&mut bytes, forwarded.protocol);
                let failed = self.run_engine(spec, args, forwarded.db, reply);
                self.stats.errors += u64::from(failed);
                bytes
            }
            Err(error) => write_reply(forwarded.protocol, |reply| reply.error(&error.0)),
        };
        let ForwardedCommand { from, conn, ticket, shard, .. } = *forwarded;
        let answer = Waiter::Answer { core: from, conn, ticket, bytes };
        let unheld = match self.fence_of(shard) {
            Some((_, open)) => self.gate.wait(answer, open).err(),
            None => Some(answer),
        };
        if let Some(Waiter::Answer { core, conn, ticket, bytes }) = unheld {
            self.send_message(core, Message::Answer { conn, ticket, bytes });
        }
        self.serve_ready(&needed);
    }

    /// The answer to a command that was forwarded.
    pub(crate) fn on_answer(&mut self, conn: ConnId, ticket: u64, bytes: &[u8]) {
        let Some(mut connection) = self.connections.take(conn) else { return };
        connection.replies.answer(ticket, Hold::Open, bytes);
        self.settle(connection);
        self.mark_dirty(conn);
    }

    /// What another core says.
    pub(crate) fn on_message(&mut self, _from: u16, message: Message) {
        match message {
            Message::Run(forwarded) => self.on_run(forwarded),
            Message::Answer { conn, ticket, bytes } => self.on_answer(conn, ticket, &bytes),
            Message::Gather(gather) => self.on_gather(gather),
            Message::Home { shards, origin, gathering } => {
                self.on_home(shards, origin, gathering);
            }
            Message::Released { gathering } => self.on_gathering_released(gathering),
            Message::Wake { ticket } => self.on_wake(ticket),
            Message::Forget { db, keys, waiter } => self.on_forget(db, &keys, waiter),
            Message::Unwatch(keys) => self.on_unwatch(keys),
            Message::Ask { from, ticket, question } => self.on_ask(from, ticket, question),
            Message::Told { ticket, answer } => self.on_told(ticket, answer),
        }
    }
}
