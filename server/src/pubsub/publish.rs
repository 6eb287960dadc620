//! PUBLISH and SPUBLISH. A message is heard once everything that its client said before is
//! released: whoever hears it finds what it is about, and nothing that could still be lost is told.

use std::sync::Arc;

use engine::args::Args;
use engine::command::call::{Run, ServerCommand};
use engine::command::spec::CommandSpec;
use replication::fault::{Fault, is_planted};

use super::Kind;
use crate::connection::{Connection, Waiting};
use crate::core::Core;
use crate::core::message::Message;

/// A message and its channel.
#[derive(Debug)]
pub struct Publication {
    pub kind: Kind,
    channel_len: usize,
    /// The channel's name, then the message.
    bytes: Vec<u8>,
}

/// What a message takes on its way, beside its bytes.
const OVERHEAD_BYTES: usize = 256;

impl Publication {
    fn of(spec: &CommandSpec, args: Args<'_>) -> Publication {
        let kind = if spec.name == "spublish" { Kind::Shard } else { Kind::Channel };
        let (channel, payload) = (args.at(1), args.at(2));
        Publication { kind, channel_len: channel.len(), bytes: [channel, payload].concat() }
    }

    pub fn channel(&self) -> &[u8] {
        &self.bytes[..self.channel_len]
    }

    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.channel_len..]
    }

    /// As bounds count it.
    pub fn bytes(&self) -> usize {
        self.bytes.len() + OVERHEAD_BYTES
    }
}

/// Whether a command publishes.
pub fn is_publish(spec: &CommandSpec) -> bool {
    matches!(spec.run, Run::Server(ServerCommand::Publish))
}

impl Core {
    pub(crate) fn publish(
        &mut self,
        connection: &mut Connection,
        spec: &'static CommandSpec,
        args: Args<'_>,
    ) {
        if self.is_heard_too_early(connection) || self.pubsub.is_full() {
            // It counts as run once it runs.
            self.stats.commands -= 1;
            self.measures.calls.take_back(spec);
            return self.wait_behind(connection, args);
        }
        let count = self.send_publication(Publication::of(spec, args));
        self.reply_with(connection, |reply| reply.integer(count as i64));
    }

    /// Within EXEC: it is heard once the transaction is released.
    pub(crate) fn publish_in_transaction(
        &mut self,
        connection: &mut Connection,
        spec: &'static CommandSpec,
        args: Args<'_>,
    ) {
        let publication = Publication::of(spec, args);
        let reach = self.pubsub.directory.reach(publication.kind, publication.channel());
        self.pubsub.in_transaction.push(publication);
        self.reply_with(connection, |reply| reply.integer(reach.count as i64));
    }

    /// A transaction has run: what it published is heard, and its client goes on, once that may be
    /// and there is room.
    pub(crate) fn publish_behind(&mut self, connection: &mut Connection) {
        let publications = std::mem::take(&mut self.pubsub.in_transaction);
        if publications.is_empty() {
            return;
        }
        if self.is_heard_too_early(connection) || self.pubsub.is_full() {
            connection.waiting = Waiting::Publishing(publications);
            self.holders.behind.push(connection.id);
        } else {
            self.send_publications(publications);
        }
    }

    pub(crate) fn send_publications(&mut self, publications: Vec<Publication>) {
        for publication in publications {
            self.send_publication(publication);
        }
    }

    fn is_heard_too_early(&self, connection: &mut Connection) -> bool {
        self.is_behind(connection) && !is_planted(Fault::HeardUnreleased)
    }

    /// Sends a message to all cores that have somebody for it. Returns how many subscriptions it
    /// meets.
    fn send_publication(&mut self, publication: Publication) -> u64 {
        let reach = self.pubsub.directory.reach(publication.kind, publication.channel());
        if reach.count == 0 {
            return 0;
        }
        let publication = Arc::new(publication);
        for core in &reach.cores {
            self.pubsub.undelivered_bytes += publication.bytes();
            self.pubsub.outgoing[usize::from(*core)].push(Arc::clone(&publication));
        }
        if reach.own {
            self.pubsub.undelivered_bytes += publication.bytes();
            self.pubsub.begin_delivery(self.id, publication);
        }
        reach.count
    }

    /// Another core's clients have published something that clients here listen to.
    pub(crate) fn on_published(&mut self, from: u16, publications: Vec<Arc<Publication>>) {
        for publication in publications {
            self.pubsub.begin_delivery(from, publication);
        }
    }

    /// Another core has delivered so much of what was published here.
    pub(crate) fn on_delivered(&mut self, bytes: usize) {
        self.pubsub.undelivered_bytes -= bytes;
    }

    /// Sends what this turn has for other cores.
    pub(crate) fn flush_publications(&mut self) {
        let was_full = self.pubsub.is_full();
        for core in 0..self.config.cores as u16 {
            let place = usize::from(core);
            let delivered_bytes = std::mem::take(&mut self.pubsub.delivered_bytes[place]);
            if core == self.id {
                self.on_delivered(delivered_bytes);
            } else if delivered_bytes > 0 {
                self.send_message(core, Message::Delivered { bytes: delivered_bytes });
            }
            if !self.pubsub.outgoing[place].is_empty() {
                let publications = std::mem::take(&mut self.pubsub.outgoing[place]);
                self.send_message(core, Message::Published { from: self.id, publications });
            }
        }
        self.pubsub.has_room_again = was_full && !self.pubsub.is_full();
    }
}
