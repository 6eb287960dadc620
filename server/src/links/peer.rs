//! Another node: where it is, how many cores it has, and this core's links with it.

use std::net::SocketAddr;

use replication::ids::ShardId;
use replication::link::backoff::Backoff;
use replication::link::hello::CORE_UNKNOWN;
use replication::version::Versions;

use super::Place;
use crate::core::home_of;
use crate::core::io::ConnId;

pub struct Peer {
    pub address: SocketAddr,
    /// As it said last.
    pub cores: Option<u16>,
    /// What its program applies, as it said when a link was made last.
    pub applied: Versions,
    /// Ascending by link.
    pub routes: Vec<Route>,
}

/// One of the links between the two nodes, that ends at this core.
pub struct Route {
    pub link: u16,
    state: State,
    /// It is up to this side to connect.
    dials: bool,
    backoff: Backoff,
    /// The log has said that it cannot be had.
    pub told: bool,
}

#[derive(Clone, Copy)]
enum State {
    /// To be connected at this time.
    Due {
        at_ns: u64,
    },
    Connecting {
        attempt: u64,
    },
    /// Connected: who is there is not known.
    Greeting {
        conn: ConnId,
    },
    Standing {
        conn: ConnId,
    },
}

/// The core of a node with so many at which a link ends.
pub fn core_of(link: u16, cores: Option<u16>) -> u16 {
    cores.map_or(CORE_UNKNOWN, |cores| link % cores)
}

impl Peer {
    pub fn new(address: SocketAddr) -> Peer {
        Peer { address, cores: None, applied: Versions::UNSAID, routes: Vec::new() }
    }

    /// It is elsewhere now: what is not connected is to be connected there, at once.
    pub fn move_to(&mut self, address: SocketAddr, now_ns: u64) {
        self.address = address;
        for route in self.routes.iter_mut().filter(|route| route.conn().is_none()) {
            route.state = State::Due { at_ns: now_ns };
            route.backoff = Backoff::default();
        }
    }

    /// From now on this side keeps up that link.
    pub fn dial(&mut self, link: u16, now_ns: u64) {
        let Err(place) = self.routes.binary_search_by_key(&link, |route| route.link) else {
            return;
        };
        let state = State::Due { at_ns: now_ns };
        self.routes.insert(place, Route::new(link, state, true));
    }

    /// This side connects once, although that is up to the other: to hear what that has to say.
    pub fn ask(&mut self, link: u16, now_ns: u64) {
        if let Err(place) = self.routes.binary_search_by_key(&link, |route| route.link) {
            let state = State::Due { at_ns: now_ns };
            self.routes.insert(place, Route::new(link, state, false));
        }
    }

    /// A connect failed. One that is not up to this side is not tried again.
    pub fn on_unreached(&mut self, link: u16, now_ns: u64, chance: u64) {
        let Some(place) = self.routes.iter().position(|route| route.link == link) else { return };
        match self.routes[place].dials {
            true => self.routes[place].on_failed(now_ns, chance),
            false => drop(self.routes.remove(place)),
        }
    }

    pub fn route_mut(&mut self, link: u16) -> Option<&mut Route> {
        self.routes.iter_mut().find(|route| route.link == link)
    }

    /// A connection is that link now. Returns the one that was.
    pub fn on_linked(&mut self, link: u16, conn: ConnId, now_ns: u64) -> Option<ConnId> {
        let state = State::Standing { conn };
        match self.routes.binary_search_by_key(&link, |route| route.link) {
            Ok(place) => {
                let route = &mut self.routes[place];
                route.backoff.on_made(now_ns);
                route.told = false;
                let before = std::mem::replace(&mut route.state, state);
                before.conn().filter(|before| *before != conn)
            }
            Err(place) => {
                self.routes.insert(place, Route::new(link, state, false));
                None
            }
        }
    }

    /// The connection of a link is no more. Returns whether the link stood, `None` if it had
    /// another connection by then.
    pub fn on_broken(&mut self, link: u16, conn: ConnId, now_ns: u64, chance: u64) -> Option<bool> {
        let place = self.routes.iter().position(|route| route.link == link)?;
        let route = &mut self.routes[place];
        if route.conn() != Some(conn) {
            return None;
        }
        let stood = route.stands();
        if route.dials {
            route.on_failed(now_ns, chance);
        } else {
            self.routes.remove(place);
        }
        Some(stood)
    }

    /// Links of this number and above are no more.
    pub fn cut_routes(&mut self, links: u16) -> Vec<Route> {
        let left = self.routes.partition_point(|route| route.link < links);
        self.routes.split_off(left)
    }

    pub fn is_linked(&self) -> bool {
        self.routes.iter().any(Route::stands)
    }

    /// The link for a shard's messages: if one stands that ends at the core where the shard is at
    /// home over there, that; otherwise one of the others, by the shard.
    pub fn choose(&self, shard: ShardId, place: &Place) -> Option<ConnId> {
        let shard = usize::from(shard.0);
        let mut standing = self.routes.iter().filter(|route| route.stands());
        let count = standing.clone().count();
        if count <= 1 {
            return standing.next()?.conn();
        }
        let home = self.cores.map(|cores| home_of(shard, place.shard_count, usize::from(cores)));
        let direct = standing.clone().find(|route| Some(core_of(route.link, self.cores)) == home);
        direct.or_else(|| standing.nth(shard % count))?.conn()
    }
}

impl Route {
    fn new(link: u16, state: State, dials: bool) -> Route {
        Route { link, state, dials, backoff: Backoff::default(), told: false }
    }

    pub fn conn(&self) -> Option<ConnId> {
        self.state.conn()
    }

    pub fn stands(&self) -> bool {
        matches!(self.state, State::Standing { .. })
    }

    pub fn is_connecting(&self, attempt: u64) -> bool {
        matches!(self.state, State::Connecting { attempt: own } if own == attempt)
    }

    /// When to connect, if that is to come.
    pub fn due_ns(&self) -> Option<u64> {
        match self.state {
            State::Due { at_ns } => Some(at_ns),
            _ => None,
        }
    }

    pub fn is_due(&self, now_ns: u64) -> bool {
        self.due_ns().is_some_and(|at_ns| at_ns <= now_ns)
    }

    pub fn on_dialled(&mut self, attempt: u64) {
        self.state = State::Connecting { attempt };
    }

    pub fn on_connected(&mut self, conn: ConnId) {
        self.state = State::Greeting { conn };
    }

    pub fn on_failed(&mut self, now_ns: u64, chance: u64) {
        self.state = State::Due { at_ns: self.backoff.on_failed(now_ns, chance) };
    }
}

impl State {
    fn conn(self) -> Option<ConnId> {
        match self {
            State::Greeting { conn } | State::Standing { conn } => Some(conn),
            State::Due { .. } | State::Connecting { .. } => None,
        }
    }
}
