//! Keys that one client alone writes, and what they may hold. Of writes whose answers a crash took
//! only the first ones of each shard may be there: a later one is never without the earlier.

use std::collections::{BTreeMap, BTreeSet};

use engine::slot::{shard_of_slot, slot_of};

use super::workload::OWN_KEYS;

/// What all keys of a client hold; only those of one shard count.
type State = [Option<u64>; OWN_KEYS as usize];

pub struct OwnKeys {
    shards: usize,
    /// By client and shard: the states that are possible. One, or more after a crash.
    possible: BTreeMap<(usize, usize), BTreeSet<State>>,
}

impl Default for OwnKeys {
    fn default() -> OwnKeys {
        OwnKeys::of_shards(1)
    }
}

impl OwnKeys {
    pub fn of_shards(shards: usize) -> OwnKeys {
        OwnKeys { shards, possible: BTreeMap::new() }
    }

    fn shard_of(&self, client: usize, key: u64) -> usize {
        shard_of_slot(slot_of(format!("own:{client}:{key}").as_bytes()), self.shards)
    }

    fn states(&mut self, client: usize, shard: usize) -> &mut BTreeSet<State> {
        let unset = || [[None; OWN_KEYS as usize]].into();
        self.possible.entry((client, shard)).or_insert_with(unset)
    }

    /// A write was acknowledged.
    pub fn set(&mut self, client: usize, key: u64, value: u64) {
        let shard = self.shard_of(client, key);
        let states = self.states(client, shard);
        *states = with(states, key, value);
    }

    /// A value was read: it is a possible one, and all that does not fit it is impossible now.
    pub fn read(&mut self, client: usize, key: u64, value: Option<u64>) -> Result<(), String> {
        let shard = self.shard_of(client, key);
        let states = self.states(client, shard);
        let before = states.clone();
        states.retain(|state| state[key as usize] == value);
        if states.is_empty() {
            return Err(format!("key {key} of shard {shard}: possible were {before:?}"));
        }
        Ok(())
    }

    /// A crash took the answers of these writes, sent in this order. `may_refuse`: any of them may
    /// have been refused.
    pub fn lose(&mut self, client: usize, writes: &[(u64, u64)], may_refuse: bool) {
        for shard in 0..self.shards {
            let of_shard = |(key, _): &&(u64, u64)| self.shard_of(client, *key) == shard;
            let writes: Vec<(u64, u64)> = writes.iter().filter(of_shard).copied().collect();
            let states = self.states(client, shard);
            // With all writes so far.
            let mut latest = states.clone();
            for (key, value) in writes {
                let next = with(&latest, key, value);
                if may_refuse {
                    latest.extend(next);
                } else {
                    latest = next;
                }
                states.extend(&latest);
            }
        }
    }
}

fn with(states: &BTreeSet<State>, key: u64, value: u64) -> BTreeSet<State> {
    let set = |state: &State| {
        let mut state = *state;
        state[key as usize] = Some(value);
        state
    };
    states.iter().map(set).collect()
}
