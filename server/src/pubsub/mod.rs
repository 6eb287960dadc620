//! Publishing and subscribing: what a client publishes reaches the clients of all cores, and of all
//! nodes, for those that follow pass their clients on to the primary (`server/adr/0023`).
//!
//! Every core knows what is subscribed to on the whole node: its own clients one by one, those of
//! other cores as counts. So a message goes only to cores that have somebody for it, and PUBLISH
//! knows at once how many it reaches. Who subscribes is answered once all cores know.
//!
//! # Layout
//! - [`subscriptions`]: what a client listens to. [`directory`]: who listens, as a core knows it.
//! - [`subscribe`]: SUBSCRIBE, UNSUBSCRIBE and their kin; clients that go.
//! - [`publish`]: PUBLISH, and what waits until it may be heard. [`command`]: PUBSUB.
//! - [`deliver`]: messages become bytes of clients, a bounded part in each turn.

pub mod command;
pub mod deliver;
pub mod directory;
pub mod publish;
pub mod subscribe;
pub mod subscriptions;

use std::collections::VecDeque;
use std::sync::Arc;

use deliver::Delivery;
use directory::Directory;
use publish::Publication;

use crate::limits::PUBLISHED_BYTES_MAX;

/// A channel or a pattern.
pub type Name = Arc<[u8]>;

/// What clients subscribe to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Channel,
    Pattern,
    /// A channel with a slot. It is another than the plain one of that name.
    Shard,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Channel, Kind::Pattern, Kind::Shard];
}

/// A core's part of it.
pub struct Pubsub {
    pub directory: Directory,
    /// What this core's subscribers are yet to be given, in the order in which it came.
    deliveries: VecDeque<Delivery>,
    /// Counts what came, so that nobody is given what came before he subscribed.
    last_number: u64,
    /// Bytes that were published here and are not delivered on every core.
    undelivered_bytes: usize,
    /// This turn has made room for publishers that wait; they go on in the next.
    has_room_again: bool,
    /// What the transaction that runs has published so far.
    in_transaction: Vec<Publication>,
    /// By core: what it is to deliver, and bytes of its that were delivered here, in this turn.
    outgoing: Vec<Vec<Arc<Publication>>>,
    delivered_bytes: Vec<usize>,
    /// Push messages of the subscription at hand, as each protocol has them; kept for their room.
    encoded: [Vec<u8>; 2],
}

impl Pubsub {
    pub fn new(cores: usize) -> Pubsub {
        Pubsub {
            directory: Directory::default(),
            deliveries: VecDeque::new(),
            last_number: 0,
            undelivered_bytes: 0,
            has_room_again: false,
            in_transaction: Vec::new(),
            outgoing: vec![Vec::new(); cores],
            delivered_bytes: vec![0; cores],
            encoded: Default::default(),
        }
    }

    /// Whether publishers have to wait: cores have much to deliver.
    pub fn is_full(&self) -> bool {
        self.undelivered_bytes > PUBLISHED_BYTES_MAX
    }

    /// Whether any client of the node listens to anything.
    pub fn has_subscribers(&self) -> bool {
        !self.directory.is_empty()
    }

    /// Whether something is left to do here: to deliver, or to publish.
    pub fn has_rest(&self) -> bool {
        !self.deliveries.is_empty() || self.has_room_again
    }
}
