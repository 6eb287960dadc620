//! Messages become bytes of the clients that listen, in the order in which they came to this core,
//! and no more of them in a turn than it can bear: the rest waits for the next.

use std::ops::Bound;
use std::sync::Arc;

use engine::reply::{Protocol, Reply};
use replication::buggify::{self, Point};
use smallvec::SmallVec;

use super::publish::Publication;
use super::{Kind, Name, Pubsub};
use crate::connection::Connection;
use crate::core::Core;
use crate::core::io::ConnId;
use crate::limits::{
    DELIVERED_BYTES_PER_TURN_MAX, DELIVERED_CLIENTS_PER_TURN_MAX, DELIVERY_BYTES_MIN,
    IDLE_BUFFER_BYTES_MAX,
};
use crate::tunnel::words::PUSH;

/// One message on its way to this core's subscribers.
#[derive(Debug)]
pub struct Delivery {
    publication: Arc<Publication>,
    /// The core whose client published it.
    from: u16,
    number: u64,
    /// What it meets here: its channel, and patterns.
    topics: SmallVec<[(Kind, Name); 1]>,
    /// How many of these have it, and of the next one the last client that has.
    done: usize,
    after: Option<ConnId>,
}

impl Pubsub {
    pub(super) fn begin_delivery(&mut self, from: u16, publication: Arc<Publication>) {
        self.last_number += 1;
        let (kind, channel) = (publication.kind, publication.channel());
        let topics = self.directory.own_topics(kind, channel).collect();
        let number = self.last_number;
        let delivery = Delivery { publication, from, number, topics, done: 0, after: None };
        self.deliveries.push_back(delivery);
    }
}

/// What a turn may still give.
struct Allowance {
    clients: usize,
    bytes: usize,
}

impl Allowance {
    fn of_a_turn() -> Allowance {
        let bytes = DELIVERED_BYTES_PER_TURN_MAX;
        let bytes = buggify::limit(Point::DeliversLittle, bytes, 1);
        Allowance { clients: DELIVERED_CLIENTS_PER_TURN_MAX, bytes }
    }

    fn is_spent(&self) -> bool {
        self.clients == 0 || self.bytes == 0
    }

    /// Spends a message to a client, to whom nothing else is sent in this turn if `alone`.
    fn spend(&mut self, bytes: usize, alone: bool) {
        self.clients -= usize::from(alone);
        self.bytes = self.bytes.saturating_sub(bytes.max(DELIVERY_BYTES_MIN));
    }
}

impl Core {
    /// Gives subscribers what there is for them, as much as a turn may.
    pub(crate) fn deliver_publications(&mut self) {
        let mut allowance = Allowance::of_a_turn();
        while !allowance.is_spent()
            && let Some(mut delivery) = self.pubsub.deliveries.pop_front()
        {
            self.deliver(&mut delivery, &mut allowance);
            if delivery.done < delivery.topics.len() {
                self.pubsub.deliveries.push_front(delivery);
                break;
            }
            let from = usize::from(delivery.from);
            self.pubsub.delivered_bytes[from] += delivery.publication.bytes();
        }
        self.pubsub.encoded.iter_mut().for_each(|encoded| {
            encoded.clear();
            encoded.shrink_to(IDLE_BUFFER_BYTES_MAX);
        });
    }

    /// Goes on with a message until all have it, or the turn may give no more.
    fn deliver(&mut self, delivery: &mut Delivery, allowance: &mut Allowance) {
        while let Some((kind, name)) = delivery.topics.get(delivery.done) {
            self.pubsub.encoded.iter_mut().for_each(Vec::clear);
            // Whoever was there may be gone.
            let topic = self.pubsub.directory.topic(*kind, name);
            let begin = delivery.after.map_or(Bound::Unbounded, Bound::Excluded);
            let own =
                topic.into_iter().flat_map(|topic| topic.own.range((begin, Bound::Unbounded)));
            for (conn, since) in own {
                if allowance.is_spent() {
                    return;
                }
                delivery.after = Some(*conn);
                let Some(connection) = self.connections.get_mut(*conn) else { continue };
                if *since >= delivery.number || connection.closing {
                    continue;
                }
                let place = usize::from(connection.protocol == Protocol::Resp3);
                let encoded = &mut self.pubsub.encoded[place];
                if encoded.is_empty() {
                    encode(encoded, connection.protocol, (*kind, name), &delivery.publication);
                }
                push(connection, encoded);
                let alone = !std::mem::replace(&mut connection.dirty, true);
                if alone {
                    self.dirty.push(*conn);
                }
                self.connections.note(*conn);
                allowance.spend(encoded.len(), alone);
            }
            delivery.done += 1;
            delivery.after = None;
        }
    }
}

/// The client is told, whatever it has asked of replies.
fn push(connection: &mut Connection, message: &[u8]) {
    let tunnelled = connection.tunnelled;
    let (out, _) = connection.replies.begin();
    if tunnelled {
        out.extend_from_slice(PUSH);
    }
    out.extend_from_slice(message);
}

fn encode(
    out: &mut Vec<u8>,
    protocol: Protocol,
    (kind, name): (Kind, &Name),
    publication: &Publication,
) {
    let mut reply = Reply::new(out, protocol);
    match kind {
        Kind::Pattern => {
            reply.push(4);
            reply.bulk(b"pmessage");
            reply.bulk(name);
        }
        kind => {
            reply.push(3);
            reply.bulk(if kind == Kind::Shard { b"smessage" } else { b"message" });
        }
    }
    reply.bulk(publication.channel());
    reply.bulk(publication.payload());
}
