//! One node leads all shards and serves all clients: the primary, which is who leads the first
//! shard (design §11). Any replica may come to lead any group; the leads are brought together, and
//! nothing is served until one node has them all and has settled what the one before left open of
//! transactions over several shards. It ends for all shards at once too: who has lost one cannot
//! carry out what needs several.
//!
//! Each core does so with its own groups, as [`super::coordinator`] says; a core that has lost one
//! tells all others.

use replication::buggify::{Point, is_taken};
use replication::fault::{Fault, is_planted};
use replication::group::payload::{encode_marker, encode_void};
use replication::group::{NodeId, Role};
use replication::ids::{Index, ShardId};

use super::Replica;
use super::coordinator::COORDINATOR;
use super::period::{Period, Ready, Stand, Word};
use super::standing::Standing;
use crate::core::Core;
use crate::core::message::Message;
use crate::limits::GROUP_EARLY_REPORTS_MAX;

/// What a core has told the first one.
#[derive(Default)]
pub struct Told {
    period: Period,
    ready: Option<(u64, Vec<LogSeen>)>,
    leased_until_ns: u64,
    last_number: u64,
    /// It was told at all.
    once: bool,
}

/// Changes whenever a log, or how far it is decided or applied, does.
type LogSeen = (u16, u64, Index, Index, Index, usize);

impl Core {
    /// Takes the next step that this core's shards take together. Returns whether there was one,
    /// after which their groups have to be driven again.
    pub(super) fn change_primary(&mut self) -> bool {
        if self.replicas.period.is_primary() && self.replicas.overall().has_lost {
            self.end_period(true);
            self.say_stand();
            return true;
        }
        let sought = self.say_stand();
        self.is_coordinator() && self.coordinate() || sought
    }

    /// What the first core, or one whose period has ended, says.
    pub(crate) fn on_word(&mut self, word: Word) {
        match word {
            Word::Settle { number, cuts } => self.settle_open(number, &cuts),
            Word::Begin { period, number } => self.begin_period(period, number),
            Word::Open { period } => self.on_open(period),
            Word::Ended { period } => {
                self.replicas.ended = self.replicas.ended.max(period);
                if self.replicas.period == period {
                    self.end_period(false);
                }
            }
            Word::Leased { period, until_ns } if period == self.replicas.period => {
                self.replicas.others_leased_until_ns = until_ns;
            }
            Word::Leased { .. } => {}
            Word::Lead(lead) => self.replicas.lead = lead,
            Word::Around(around) => self.on_around(*around),
            Word::Plan(plan) => self.on_plan(*plan),
            Word::Removed => self.on_removed(),
            Word::HandOver(step) => self.on_handover_step(step),
            Word::AllQuiet => self.on_all_quiet(),
        }
    }

    pub(super) fn on_open(&mut self, period: Period) {
        if self.replicas.period == period {
            self.replicas.is_open = true;
            tracing::info!(core = self.id, node = self.node.node, "this node is the primary");
        }
    }

    /// Tells the first core how this one stands, if that is news. Returns whether it has asked for
    /// leases meanwhile, so that there is something to send.
    fn say_stand(&mut self) -> bool {
        let (seen, sought) = self.see_ready();
        let leased_until_ns = self.leased_until_ns();
        let told = &mut self.replicas.told;
        let same_logs = match (&told.ready, &seen) {
            (None, None) => true,
            (Some((_, told)), Some(seen)) => told == seen,
            _ => false,
        };
        let same = told.once && told.period == self.replicas.period && same_logs;
        let leads = seen.is_some() || self.replicas.period.is_primary();
        let news_ns = told.leased_until_ns.saturating_add(self.config.group_tick_ns());
        if same && !(leads && leased_until_ns > news_ns) {
            return sought;
        }
        if !same_logs {
            told.last_number += 1;
            told.ready = seen.map(|seen| (told.last_number, seen));
        }
        (told.period, told.leased_until_ns, told.once) =
            (self.replicas.period, leased_until_ns, true);
        let number = told.ready.as_ref().map(|(number, _)| *number);
        let ready = number.map(|number| Ready {
            number,
            is_caught_up: self.is_caught_up(),
            logs: self.own_logs(),
        });
        let stand = Stand { from: self.id, period: self.replicas.period, ready, leased_until_ns };
        match self.is_coordinator() {
            true => self.on_stand(stand),
            false => self.send_message(COORDINATOR, Message::Stand(Box::new(stand))),
        }
        sought
    }

    /// The state of this core's logs, if it leads every group, is known to lead it still, and
    /// everything in them is committed, the first entries of its own terms included. One that has
    /// been replaced in a group and has not heard of it may lack parts of transactions, and must
    /// not void the others. Says too whether that was asked just now.
    fn see_ready(&mut self) -> (Option<Vec<LogSeen>>, bool) {
        if self.replicas.period.is_primary() || !self.leads_all() {
            return (None, false);
        }
        if is_planted(Fault::ServesAtOnce) {
            return (Some(Vec::new()), false);
        }
        if !self.holds_all_leases() {
            return (None, self.seek_leases());
        }
        let seen = |(shard, replica): (u16, &Replica)| {
            let point = self.release.point(ShardId(shard));
            let (term, last) = (replica.group.term().0, replica.group.last());
            (shard, term, last, point, replica.applied, replica.pending.len())
        };
        (Some(self.replicas.iter().map(seen).collect()), false)
    }

    fn own_logs(&self) -> Vec<(u16, replication::release::takeover::Log)> {
        if is_planted(Fault::ServesAtOnce) {
            return Vec::new();
        }
        let replicas = self.replicas.iter();
        replicas
            .map(|(shard, replica)| (shard, self.release.log(ShardId(shard), replica.group.last())))
            .collect()
    }

    fn is_caught_up(&self) -> bool {
        is_planted(Fault::ServesAtOnce)
            || self.replicas.iter().all(|(_, replica)| {
                replica.pending.is_empty() && replica.applied == replica.group.last()
            })
    }

    fn leads_all(&self) -> bool {
        self.replicas.iter().all(|(shard, replica)| {
            let all = replica.group.handed_out() == replica.group.last();
            matches!(replica.standing, Standing::Elected { .. })
                && (all || is_planted(Fault::ServesAtOnce))
                && replica.group.accepts()
                && self.shards.holds(usize::from(shard))
        })
    }

    pub(super) fn holds_all_leases(&self) -> bool {
        self.lease_now_ns() < self.replicas.overall().leased_until_ns
    }

    /// When the first of this core's leases ends.
    pub(super) fn leased_until_ns(&self) -> u64 {
        match is_planted(Fault::ServesAtOnce) {
            true => u64::MAX,
            false => self.replicas.overall().leased_until_ns,
        }
    }

    fn seek_leases(&mut self) -> bool {
        let mut asked = false;
        self.for_each_replica(|core, _, replica| {
            let held = replica.group.holds_lease(core.lease_now_ns());
            asked |= !held && replica.group.seek_lease(core.lease_now_ns());
        });
        asked
    }

    /// Whether the logs are as the first core was told under this number.
    fn is_as_told(&mut self, number: u64) -> bool {
        let (seen, _) = self.see_ready();
        let told = self.replicas.told.ready.as_ref();
        told.is_some_and(|(told, logs)| *told == number && seen.as_ref() == Some(logs))
    }

    /// Decides the transactions that stand open: whole ones take effect, and the logs are voided
    /// from the first on that is not.
    fn settle_open(&mut self, number: u64, cuts: &[Option<Index>]) {
        if !self.is_as_told(number) {
            // The first core waits for news.
            self.replicas.told.once = false;
            return;
        }
        self.for_each_replica(|core, shard, replica| {
            let cut = cuts[usize::from(shard.0)];
            let before = cut.map(|cut| cut.0 - 1);
            core.release.decide_through(shard, Index(before.unwrap_or(u64::MAX)));
            let Some(cut) = cut else { return };
            tracing::warn!(
                core = core.id,
                shard = shard.0,
                from = cut.0,
                through = replica.group.last().0,
                "entries that were never acknowledged are voided: other parts of their \
                 transactions are missing"
            );
            // If it cannot be appended, the lead is lost, and that is news.
            let _ = replica.group.propose(encode_void(cut));
        });
        self.release_decided();
        self.replicas.told.once = false;
    }

    /// Each shard begins with a marker: entries behind it are looked for by later takeovers, others
    /// are not. So nothing is executed where it cannot be appended.
    fn begin_period(&mut self, period: Period, number: u64) {
        let can = period > self.replicas.ended
            && (self.is_as_told(number) || is_planted(Fault::ServesAtOnce))
            && self.is_caught_up();
        if !can {
            self.replicas.period = period.next();
            self.tell_others(&Word::Ended { period });
            self.say_stand();
            return;
        }
        self.replicas.period = period;
        self.replicas.is_open = false;
        self.replicas.handed_over = false;
        self.replicas.others_leased_until_ns = 0;
        self.release.begin_deciding();
        self.for_each_replica(|core, shard, replica| {
            core.begin_serving(shard, replica);
            if core.shards.count() > 1 {
                replica.refused = !core.propose_marker(shard, replica);
            }
            core.release.note_served(shard);
        });
        self.say_stand();
    }

    /// Clients do not know what became of their writes, and what they would read may never have
    /// been: all go. They come back to who leads now. After a hand-over neither is so.
    fn end_period(&mut self, tell: bool) {
        let period = self.replicas.period;
        self.replicas.period = period.next();
        self.replicas.is_open = false;
        if tell {
            self.tell_others(&Word::Ended { period });
        }
        let ahead = self.replicas.iter().any(|(shard, _)| self.is_ahead(ShardId(shard)));
        if self.handover.has_drained() && !ahead {
            self.dismiss_subscribers();
            match self.handover.stops() {
                true => self.end_waits_of_leader(),
                false => self.move_waits_of_leader(),
            }
        } else {
            let all: Vec<_> = self.connections.iter().map(|connection| connection.id).collect();
            let clients = all.len();
            all.into_iter().for_each(|conn| self.close_connection(conn));
            tracing::warn!(
                core = self.id,
                clients,
                "not the primary any more; its clients are closed"
            );
        }
        self.gate.forget_all();
        self.connections.forget_departed();
        self.transactions.forget_open();
        self.touched.clear();
        self.release.limit_early(GROUP_EARLY_REPORTS_MAX);
        self.for_each_replica(Core::stop_serving);
        self.for_each_replica(|core, shard, replica| {
            let undecided = replica.group.committed_behind(replica.applied);
            core.take_committed(shard, replica, undecided);
        });
        self.forget_gatherings();
        self.leave_handover();
        self.refresh_serving();
    }

    /// Whether it was appended.
    fn propose_marker(&mut self, shard: ShardId, replica: &mut Replica) -> bool {
        let decided = self.release.point(shard);
        let appended = replica.group.propose(encode_marker(decided)).is_ok();
        if appended {
            self.release.note_marked(shard, decided);
        }
        self.follow_index(shard, replica);
        appended
    }

    /// Once a tick: followers of a shard that is quiet hear that its last transaction is decided.
    pub(super) fn mark_decided(&mut self) {
        let late = is_taken(Point::MarkerLate) || is_planted(Fault::MarkerUnsaid);
        if self.handover.has_drained() || late {
            return;
        }
        for shard in 0..self.shards.count() as u16 {
            let quiet = |held: &engine::keyspace::Shard| held.effects.is_empty();
            if self.release.lacks_marker(ShardId(shard))
                && self.shards.get(usize::from(shard)).is_some_and(quiet)
            {
                self.with_replica(shard, |core, replica| {
                    if replica.executes() {
                        core.propose_marker(ShardId(shard), replica);
                    }
                });
            }
        }
    }

    /// Now and then: who leads a group hands it to who leads the first one, and who leads that
    /// stands for election where nobody leads.
    pub(super) fn gather_leads(&mut self) {
        let lead = self.replicas.lead;
        let own = NodeId(self.node.node);
        // Who is out of the first group already hears of no primary: any other node will do.
        let out = self.is_out();
        let any = || self.candidates().next().filter(|_| out);
        let Some(primary) = lead.leader.filter(|_| !out).or_else(any) else { return };
        let elsewhere = primary != own;
        let is_meant = |replica: &Replica| match elsewhere {
            true => lead.is_apart && replica.group.role() == Role::Leader,
            false => replica.group.lacks_leader(),
        };
        for shard in 0..self.shards.count() as u16 {
            if !self.replicas.get(shard).is_some_and(is_meant) {
                continue;
            }
            self.with_replica(shard, |core, replica| {
                let group = &mut replica.group;
                if elsewhere {
                    // Not before it has everything: meanwhile nothing new comes. Nor while a core
                    // of this node could still answer by this lease.
                    let last = group.last();
                    if group.progress().any(|has| has == (primary, last)) {
                        group.hand_over(primary);
                    }
                } else if core.may_lead(own)
                    && let Err(error) = group.campaign()
                {
                    tracing::warn!(core = core.id, shard, "standing for election: {error}");
                }
            });
        }
    }
}

impl Replica {
    /// It serves, and has lost what it needs for that.
    pub(super) fn has_lost(&self) -> bool {
        let Standing::Serving { term } = self.standing else { return true };
        self.group.role() != Role::Leader || self.group.term() != term || self.refused
    }
}
