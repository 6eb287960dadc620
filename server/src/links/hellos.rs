//! What this node says of itself where a link, or a client's connection, begins.

use replication::group::NodeId;
use replication::link::LinkError;
use replication::link::hello::{FIRST_BYTES, Hello, Purpose};
use replication::link::meeting::{Answer, Question};

use super::{Links, Place, peer};
use crate::core::io::ConnId;

impl Links {
    /// What this core says to a core of another node.
    pub(super) fn hello(&mut self, to: (u64, u16), link: u16) -> Hello {
        self.last_number += 1;
        let Place { cluster, node, core, cores, shard_count, .. } = self.place;
        let Place { epoch, election_timeout_ms, founded, applied, .. } = self.place;
        let directories = (self.acquaintances.own(), self.acquaintances.known(to.0));
        let (from, number, shards) = ((node.0, core, cores), self.last_number, shard_count as u16);
        let own = Hello::new(cluster, from, to, link, number, shards, directories);
        let version = self.required;
        Hello { epoch, election_timeout_ms, founded, applied, version, ..own }
    }

    /// What this node says to another one before it speaks for a client.
    pub fn client_hello(&mut self, node: NodeId) -> Hello {
        let cores = self.peers.get(&node).and_then(|peer| peer.cores);
        Hello { purpose: Purpose::Client, ..self.hello((node.0, peer::core_of(0, cores)), 0) }
    }

    /// What this node says to who has said this.
    pub(super) fn answer_to(&mut self, hello: &[u8; FIRST_BYTES]) -> Option<Hello> {
        let other = Hello::decode_first(hello).ok()?;
        Some(self.hello((other.node, other.core), other.link))
    }

    /// A machine asks that is no node yet.
    pub(super) fn on_question(&mut self, conn: ConnId, question: Question) {
        let own = format!("node {}", self.place.node.0);
        if !self.table.is_accepted(conn) {
            self.give_up(conn);
        } else if let Some(why) = question.differs_in_token(self.place.cluster, &own) {
            self.stats.on_refused(
                question.address,
                LinkError::OtherCluster { node: None },
                self.now_ns,
            );
            self.answer(conn, Answer::Wait(why).encode());
        } else if self.place.core == 0 {
            self.meeting = Some((conn, question));
        } else {
            // The first core answers.
            self.leave(conn, 0);
        }
    }
}
