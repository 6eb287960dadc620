//! The first core of a node brings all of them to lead together: it hears how each stands, has them
//! settle what the primary before left open, lets all begin, and, once all have, serve. With one
//! core it says all that to itself, within a turn.

use replication::buggify::{Point, is_taken};
use replication::ids::Index;
use replication::release::takeover::{Log, find_cuts};

use super::period::{Lead, Period, Stand, Word};
use crate::core::Core;
use crate::core::message::Message;

pub const COORDINATOR: u16 = 0;

/// What the first core knows of all, itself included.
#[derive(Default)]
pub struct Coordinator {
    /// By core, as last heard; none where an answer to the last word is awaited.
    stands: Vec<Option<Stand>>,
    /// All were told to begin it, and not all have.
    opening: Option<Period>,
    told_until_ns: u64,
}

impl Coordinator {
    pub fn new(cores: usize) -> Coordinator {
        Coordinator { stands: (0..cores).map(|_| None).collect(), ..Coordinator::default() }
    }

    fn all(&self, holds: impl Fn(&Stand) -> bool) -> bool {
        self.stands.iter().all(|stand| stand.as_ref().is_some_and(&holds))
    }

    /// Until when all cores but the first hold their leases in this period.
    pub fn others_leased_until_ns(&self, period: Period) -> u64 {
        let of = |stand: &Option<Stand>| match stand {
            Some(stand) if stand.period == period => stand.leased_until_ns,
            _ => 0,
        };
        self.stands.iter().skip(1).map(of).min().unwrap_or(u64::MAX)
    }
}

impl Core {
    pub(crate) fn is_coordinator(&self) -> bool {
        self.id == COORDINATOR
    }

    pub(crate) fn other_cores(&self) -> impl Iterator<Item = u16> + use<> {
        let own = self.id;
        (0..self.config.cores as u16).filter(move |core| *core != own)
    }

    /// A core says how it stands.
    pub(crate) fn on_stand(&mut self, stand: Stand) {
        let place = usize::from(stand.from);
        self.replicas.coordinator.stands[place] = Some(stand);
    }

    /// The next step for all cores that is due. Returns whether there was one.
    pub(super) fn coordinate(&mut self) -> bool {
        let worked = match self.replicas.coordinator.opening {
            Some(period) => self.open_if_begun(period),
            None => self.settle_or_begin(),
        };
        self.tell_lease();
        self.tell_lead();
        worked
    }

    fn open_if_begun(&mut self, period: Period) -> bool {
        if self.replicas.period != period {
            // Some core could not, or has lost what it had.
            self.replicas.coordinator.opening = None;
            return true;
        }
        let begun = self.replicas.coordinator.all(|stand| stand.period == period);
        if begun {
            self.replicas.coordinator.opening = None;
            self.tell_others(&Word::Open { period });
            self.on_open(period);
        }
        begun
    }

    fn settle_or_begin(&mut self) -> bool {
        if is_taken(Point::CoordinatorLate) {
            return false;
        }
        let now_ns = self.lease_now_ns();
        let period = self.replicas.period;
        let coordinator = &self.replicas.coordinator;
        let ready = !period.is_primary()
            && coordinator.all(|stand| {
                !stand.period.is_primary()
                    && stand.ready.is_some()
                    && now_ns < stand.leased_until_ns
            });
        if !ready {
            return false;
        }
        let readies = coordinator.stands.iter().flatten().filter_map(|stand| stand.ready.as_ref());
        let logs = readies.clone().flat_map(|ready| &ready.logs);
        if logs.clone().any(|(_, log)| !log.open.is_empty()) {
            let mut by_shard = vec![Log::default(); self.shards.count()];
            logs.for_each(|(shard, log)| by_shard[usize::from(*shard)].clone_from(log));
            self.settle_all(&find_cuts(&by_shard));
            return true;
        }
        if readies.clone().any(|ready| !ready.is_caught_up) {
            return false;
        }
        self.begin_all();
        true
    }

    /// Who has something open says anew how it stands once that is settled.
    fn settle_all(&mut self, cuts: &[Option<Index>]) {
        for core in 0..self.config.cores as u16 {
            let stand = &mut self.replicas.coordinator.stands[usize::from(core)];
            let Some(ready) = stand.as_ref().and_then(|stand| stand.ready.as_ref()) else {
                continue;
            };
            if ready.logs.iter().all(|(_, log)| log.open.is_empty()) {
                continue;
            }
            let number = ready.number;
            *stand = None;
            self.tell_core(core, Word::Settle { number, cuts: cuts.to_vec() });
        }
    }

    fn begin_all(&mut self) {
        let periods = self.replicas.coordinator.stands.iter().flatten().map(|stand| stand.period);
        let period = periods.max().unwrap_or_default().next();
        self.replicas.coordinator.opening = Some(period);
        self.replicas.coordinator.told_until_ns = 0;
        for core in 0..self.config.cores as u16 {
            let stand = self.replicas.coordinator.stands[usize::from(core)].take();
            let Some(ready) = stand.and_then(|stand| stand.ready) else { continue };
            self.tell_core(core, Word::Begin { period, number: ready.number });
        }
    }

    /// All cores answer clients only as long as the leases of all are known to hold.
    fn tell_lease(&mut self) {
        let period = self.replicas.period;
        if !period.is_primary() || self.config.cores == 1 || is_taken(Point::LeaseToldLate) {
            return;
        }
        let others = self.replicas.coordinator.others_leased_until_ns(period);
        let until_ns = self.leased_until_ns().min(others);
        let coordinator = &mut self.replicas.coordinator;
        // Less is not worth a message.
        if until_ns > coordinator.told_until_ns.saturating_add(self.config.group_tick_ns()) {
            coordinator.told_until_ns = until_ns;
            self.tell_others(&Word::Leased { period, until_ns });
        }
    }

    fn tell_lead(&mut self) {
        let lead = Lead {
            is_apart: self.replicas.coordinator.all(|stand| !stand.period.is_primary()),
            is_handing_over: self.handover.is_under_way(),
            ..self.first_lead()
        };
        if lead != self.replicas.lead {
            self.replicas.lead = lead;
            self.tell_others(&Word::Lead(lead));
        }
    }

    pub(super) fn tell_others(&mut self, word: &Word) {
        for core in self.other_cores() {
            self.send_message(core, Message::Word(Box::new(word.clone())));
        }
    }

    fn tell_core(&mut self, core: u16, word: Word) {
        match core == self.id {
            true => self.on_word(word),
            false => self.send_message(core, Message::Word(Box::new(word))),
        }
    }
}
