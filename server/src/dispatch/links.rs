//! Links with other nodes in a core's turn: messages for groups go to the core of their shard.

#[cfg(test)]
mod tests;

use replication::group::NodeId;
use replication::ids::ShardId;

use crate::core::Core;
use crate::core::io::ConnId;
use crate::core::message::Message;
use crate::links::batch::GroupMessages;

impl Core {
    pub(crate) fn on_link_received(&mut self, conn: ConnId, bytes: &[u8]) {
        let incoming = self.links.on_received(conn, bytes);
        if let Some((conn, question)) = self.links.take_question() {
            let answer = self.answer_meeting(&question);
            self.links.answer(conn, answer.encode());
        }
        let Some(mut incoming) = incoming else { return self.admit_tunnelled() };
        while let Some((from, shard, message)) = incoming.next_frame() {
            self.route_group_message(from, shard, message);
        }
        self.links.on_read(incoming);
    }

    fn route_group_message(&mut self, from: NodeId, shard: ShardId, message: &[u8]) {
        match self.homes.get(usize::from(shard.0)) {
            Some(home) if *home != self.id => {
                // Groups send again; what waits for a core must not grow without bound.
                if self.mesh_pressed {
                    self.links.stats.dropped_pressed += 1;
                } else if let Some(batch) = self.batches.push(*home, from, shard, message) {
                    self.send_message(*home, Message::GroupMessages(batch));
                }
            }
            // Also of a shard that there is not: it is counted there.
            _ => self.on_group_message(from, shard.0, message),
        }
    }

    /// What links of another core brought for our shards.
    pub(crate) fn on_group_messages(&mut self, messages: &GroupMessages) {
        for (from, shard, message) in messages.iter() {
            self.on_group_message(from, shard.0, message);
        }
    }

    /// Ends the turn of the links: batches to other cores, sends to other nodes.
    pub(crate) fn flush_links(&mut self) {
        for (to, batch) in self.batches.take() {
            self.send_message(to, Message::GroupMessages(batch));
        }
        self.links.end_turn(&mut self.outputs);
    }
}
