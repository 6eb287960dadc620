//! The clock of a core's groups. Most of its ticks do nothing but count
//! ([`replication::group::Group::counting_ticks`]): for those no group is looked at, and none has a
//! turn. With many groups that is most of what an idle cluster would do.
//!
//! Time in which the process did not run is none, however long it was: of the ticks that a sleep
//! was to last no more are counted than were meant to pass, and after it there is one.

use replication::group::Role;
use replication::ids::ShardId;

use super::Replica;
use super::serving::Serving;
use crate::core::Core;
use crate::limits::GROUP_HEARTBEAT_TICKS;

#[derive(Debug, Default)]
pub struct Clock {
    tick_ns: u64,
    /// Ticks so far, and when the last one was.
    ticks: u64,
    last_ns: u64,
    /// The tick that has a turn: so many behind the last one.
    planned: u64,
    /// By shard: up to which tick its group knows of them, and for which it has to be looked at.
    heard: Vec<u64>,
    due: Vec<u64>,
    /// With which what is looked at only now and then was looked at last.
    looked: u64,
}

impl Clock {
    /// Of no group, until [`Clock::set_due`] is said of it.
    pub fn new(shard_count: usize, tick_ns: u64) -> Clock {
        let (heard, due) = (vec![0; shard_count], vec![u64::MAX; shard_count]);
        Clock { tick_ns, planned: 1, heard, due, ..Clock::default() }
    }

    pub fn wake_ns(&self) -> u64 {
        self.last_ns + self.planned * self.tick_ns
    }

    /// Counts what has passed before a turn, but not the tick that has one.
    pub fn count(&mut self, now_ns: u64) {
        let passed = now_ns.saturating_sub(self.last_ns) / self.tick_ns.max(1);
        let counted = passed.min(self.planned.saturating_sub(1));
        self.ticks += counted;
        self.planned -= counted;
        self.last_ns += counted * self.tick_ns;
    }

    /// Ticks of which a shard's group has not heard; it does now.
    pub fn hear(&mut self, shard: usize) -> usize {
        let heard = self.heard[shard];
        self.heard[shard] = heard.max(self.ticks);
        self.ticks.saturating_sub(heard) as usize
    }

    /// A shard's group has to be looked at for the tick behind so many that count.
    pub fn set_due(&mut self, shard: usize, counting: u64) {
        self.due[shard] = self.ticks + 1 + counting;
    }

    /// Whether what is looked at only now and then is due.
    fn looks(&mut self) -> bool {
        let looks = self.ticks >= self.looked + GROUP_HEARTBEAT_TICKS as u64;
        if looks {
            self.looked = self.ticks;
        }
        looks
    }
}

impl Core {
    /// What this core's groups do as time passes. Of those for which this tick only counts nothing
    /// is seen. Where time stands still only who leads hears of it, in case that it is not to lead
    /// any more.
    pub(super) fn tick_groups(&mut self) {
        let (silent, removed) = (self.is_group_silent(), self.membership.removed);
        let steady = self.is_steady();
        for shard in 0..self.replicas.stirred.len() {
            let clock = &self.replicas.clock;
            if steady && !self.replicas.stirred[shard] && clock.due[shard] > clock.ticks + 1 {
                continue;
            }
            self.with_replica(shard as u16, |core, replica| {
                if !silent {
                    core.replicas.clock.heard[shard] += 1;
                }
                if !silent || removed && replica.group.role() == Role::Leader {
                    replica.group.tick(core.lease_now_ns());
                }
                core.tend_transfers(ShardId(shard as u16), replica);
            });
        }
        let clock = &mut self.replicas.clock;
        (clock.last_ns, clock.planned) = (self.now.mono_ns, 1);
        clock.ticks += u64::from(!silent);
        let looks = clock.looks();
        self.tend_catch_up();
        if !silent {
            if looks {
                self.gather_leads();
            }
            self.mark_decided();
        }
        self.drive_members(looks);
    }

    /// How many ticks may pass before a group has to be looked at.
    pub(super) fn counting_ticks(&self, replica: &Replica) -> u64 {
        let is_tended = replica.checkpoint_lacked_ns.is_some()
            || !replica.sending.is_empty()
            || !replica.pins.is_empty();
        match is_tended {
            true => 0,
            false => replica.group.counting_ticks(self.lease_now_ns()) as u64,
        }
    }

    /// Whether all is as it should be, and nothing is under way that looks at the time: steps are
    /// due otherwise that no change of a group's own brings.
    fn is_steady(&self) -> bool {
        let serves = match self.replicas.serving {
            Serving::Everything => true,
            Serving::AsReplica(leader) => leader.is_some(),
            Serving::Waits => false,
        };
        let quiet = self.handover.is_idle() && self.replicas.receiving.is_none();
        serves && quiet && !self.is_group_silent()
    }

    /// Decides, at the end of a turn, which tick has the next one.
    pub(crate) fn plan_tick(&mut self) {
        let steady = self.is_steady();
        let (clock, stirred) = (&mut self.replicas.clock, &self.replicas.stirred);
        let soonest = clock.due.iter().zip(stirred).map(|(due, stirred)| match stirred {
            true => 1,
            false => due.saturating_sub(clock.ticks).max(1),
        });
        let next_look = clock.looked + GROUP_HEARTBEAT_TICKS as u64;
        let most = next_look.saturating_sub(clock.ticks).max(1);
        let soonest = if steady { soonest.fold(most, u64::min) } else { 1 };
        let marks = soonest > 1 && self.release.may_lack_markers();
        clock.planned = if marks { 1 } else { soonest };
    }
}
