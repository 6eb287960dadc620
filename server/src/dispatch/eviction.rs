//! `maxmemory`: what every core uses is kept known, keys go when all together use too much, and
//! writes are refused when none can. See `adr/0007`.
//!
//! A core evicts from its own shards alone, and only those that are here: before a command that
//! may need memory, and between turns. What goes is in the log as a deletion.

use engine::args::OwnedArgs;
use engine::command::spec::CommandSpec;
use engine::command::spec::flag::{DENYOOM, WRITE};
use engine::effect::bytes_of_words;
use engine::error::CommandError;
use replication::log::Lack;

use crate::core::Core;
use crate::core::message::Message;
use crate::dispatch::local::find_command;
use crate::dispatch::route::ShardSet;
use crate::limits::{
    EVICTED_PER_COMMAND, EVICTED_PER_TURN_MAX, EVICTION_DEBT_BYTES_MIN, FREED_PER_COMMAND_MAX,
};
use crate::replica::serving::{READ_ONLY, Serving};

pub const OUT_OF_MEMORY: &str = "OOM command not allowed when used memory > 'maxmemory'.";

const DISK_FULL: &str = "MISCONF The log cannot grow because the disk is full. Writes are \
                         refused until there is space again; reads go on.";

const NO_DESCRIPTORS: &str = "MISCONF The log cannot grow because too many files are open. Writes \
                              are refused until there are less; reads go on.";

/// How an eviction stands in this turn.
#[derive(Debug, Default)]
pub struct EvictionState {
    /// Keys that may still go in this turn.
    left: usize,
    /// The command that runs now may not take more memory.
    refuses: bool,
    /// Too much has to go first: clients' commands wait.
    pub pressed: bool,
}

impl Core {
    /// What a command did to the shards that it needed.
    #[inline]
    pub(crate) fn note_memory(&mut self, needed: &ShardSet) {
        if self.account.limit_bytes() == 0 {
            return;
        }
        for &shard in needed {
            self.note_shard(shard);
        }
    }

    fn note_shard(&mut self, shard: u16) {
        let place = usize::from(shard);
        // Elsewhere a shard counts as it was when it left home.
        if self.is_home(place)
            && let Some(held) = self.shards.get(place)
        {
            self.account.note_shard(place, held.memory_bytes(), held.garbage_bytes());
        }
    }

    /// Notes everything that is here.
    pub(crate) fn note_all_memory(&mut self) {
        for shard in 0..self.shards.count() as u16 {
            self.note_shard(shard);
        }
        self.account.note_clients(self.connections.bytes());
    }

    /// Before a command that may need memory: evicts what is over, within bounds, and decides
    /// whether the command may run.
    #[inline]
    pub(crate) fn make_room(&mut self, spec: &CommandSpec) {
        if self.account.limit_bytes() != 0 && spec.has(DENYOOM) {
            self.make_room_now();
        }
    }

    #[inline]
    fn make_room_now(&mut self) {
        self.eviction.refuses = false;
        if self.account.excess_bytes() > 0 {
            self.eviction.left += EVICTED_PER_COMMAND;
            self.free_some();
            self.evict(self.account.excess_bytes());
            self.eviction.refuses = self.is_out_of_memory();
        }
    }

    /// Whether a command that may need memory is refused; `make_room` has decided it.
    pub(crate) fn refuses_memory(&self) -> bool {
        self.eviction.refuses
    }

    /// Why a command may not be queued. As in Redis none may while memory is out, since a queue can
    /// take any amount of it, and no write while the disk is full.
    pub(crate) fn refuse_queueing(&mut self, spec: &CommandSpec) -> Option<&'static str> {
        if self.is_without_memory() {
            return Some(OUT_OF_MEMORY);
        }
        self.refuse_logging().filter(|_| spec.has(WRITE))
    }

    fn is_without_memory(&mut self) -> bool {
        if self.account.limit_bytes() == 0 {
            return false;
        }
        self.make_room_now();
        std::mem::take(&mut self.eviction.refuses)
    }

    /// Why EXEC may not run: one of its commands may need memory, or writes, or all together may
    /// change too much for one entry of the log. Afterwards none of them is asked again: a
    /// transaction runs whole.
    pub(crate) fn refuse_transaction(&mut self, commands: &[OwnedArgs]) -> Option<CommandError> {
        let any = |flag| {
            let has = |spec: &'static CommandSpec| spec.has(flag);
            commands.iter().any(|command| find_command(command.as_args()).is_ok_and(has))
        };
        if self.account.limit_bytes() != 0 && any(DENYOOM) && self.is_without_memory() {
            return Some(CommandError::new(OUT_OF_MEMORY));
        }
        if let Some(why) = self.refuse_logging()
            && any(WRITE)
        {
            return Some(CommandError::new(why));
        }
        // They were queued while this node led.
        if matches!(self.replicas.serving, Serving::AsReplica(_)) && any(WRITE) {
            return Some(CommandError::new(READ_ONLY));
        }
        let bytes = commands.iter().map(|command| bytes_of_words(command.as_args())).sum();
        self.config.entry.check_words(bytes).err()
    }

    /// Why nothing more may be written to the log now.
    pub(crate) fn refuse_logging(&self) -> Option<&'static str> {
        Some(match self.log.as_ref()?.full_for()? {
            Lack::Space => DISK_FULL,
            Lack::Descriptors => NO_DESCRIPTORS,
        })
    }

    /// Over the limit, and there is nothing that could go. While the disk is full nothing goes,
    /// and writes are refused for that reason.
    fn is_out_of_memory(&self) -> bool {
        let can_evict = self.evictable_shards().next().is_some() || self.account.others_can_evict();
        self.account.excess_bytes() > 0 && !can_evict && self.may_evict()
    }

    /// While writes are paused, and while the log has no room for deletions, nothing goes.
    fn may_evict(&self) -> bool {
        !self.pause.is_on() && self.refuse_logging().is_none()
    }

    fn is_here(&self, shard: u16) -> bool {
        self.shards.holds(usize::from(shard))
    }

    /// Own shards with keys that the policy may take; one that is away may have some.
    fn evictable_shards(&self) -> impl Iterator<Item = u16> {
        let policy = self.settings.eviction.policy;
        (0..self.shards.count() as u16).filter(move |shard| {
            let held = self.shards.get(usize::from(*shard));
            policy.evicts()
                && self.is_home(usize::from(*shard))
                && held.is_none_or(|held| held.evictable(policy) > 0)
        })
    }

    /// Deletes keys until at least so many bytes are gone or are about to be freed, no more keys
    /// may go in this turn, or none is found. Returns how many went.
    fn evict(&mut self, bytes: u64) -> usize {
        if !self.settings.eviction.policy.evicts() || !self.may_evict() {
            return 0;
        }
        let target = self.account.own_bytes() - self.account.own_garbage_bytes();
        let target = target.saturating_sub(bytes);
        let mut evicted = 0;
        while self.eviction.left > 0
            && self.account.own_bytes() - self.account.own_garbage_bytes() > target
        {
            self.eviction.left -= 1;
            let (homes, own) = (&self.homes, self.id);
            let gone = self.evictor.evict_one(
                &mut self.shards,
                |shard| homes[usize::from(shard)] == own,
                &self.settings.eviction,
                self.now.unix_ms,
                &mut self.rng,
            );
            let Some(shard) = gone else { break };
            evicted += 1;
            self.note_shard(shard);
            self.touch(shard);
            self.close_large_entries(&ShardSet::from_slice(&[shard]));
            if self.is_large_entry(shard) {
                break;
            }
        }
        evicted
    }

    /// Garbage goes faster while memory is short.
    fn free_some(&mut self) {
        if self.account.own_garbage_bytes() == 0 {
            return;
        }
        let mut budget = FREED_PER_COMMAND_MAX;
        for shard in self.shards.held_mut() {
            budget -= shard.free_slice(budget).min(budget);
        }
    }

    /// The part of a turn's end that keeps memory within its limit. Returns whether more is to be
    /// done at once.
    pub(crate) fn evict_slice(&mut self) -> bool {
        if self.account.limit_bytes() == 0 {
            self.eviction = EvictionState::default();
            return false;
        }
        self.note_all_memory();
        self.eviction.left = self.eviction.left.max(EVICTED_PER_TURN_MAX);
        let wanted = self.account.own_excess_bytes();
        let evicted = if wanted > 0 { self.evict(wanted) } else { 0 };
        self.eviction.left = 0;
        let can_evict = self.evictable_shards().next().is_some();
        self.account.note_can_evict(can_evict);
        let debt_max = (self.account.limit_bytes() / 64).max(EVICTION_DEBT_BYTES_MIN);
        let left = self.account.own_excess_bytes();
        let was_pressed = self.eviction.pressed;
        self.eviction.pressed = evicted > 0 && left > debt_max;
        // One that is away says so when it comes home; so does the end of a pause, or of a full
        // disk. Clients that were held up go on in a turn of their own.
        let goes_on =
            left > 0 && self.may_evict() && self.evictable_shards().any(|s| self.is_here(s));
        goes_on || was_pressed
    }

    /// Tells the other cores what this one uses, if that has changed enough.
    pub(crate) fn report_memory(&mut self) {
        let Some(report) = self.account.next_report() else { return };
        let own = self.id;
        for core in (0..self.config.cores as u16).filter(|core| *core != own) {
            self.send_message(core, Message::Memory { from: own, report });
        }
    }
}
