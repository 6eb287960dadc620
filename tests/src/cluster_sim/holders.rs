//! What WAIT answers, against the disks: so many nodes beside the primary have, on stable storage,
//! everything that was released when it was asked.
//!
//! Their disks are read as a start after a power cut would read them. What whoever serves had
//! released when the client asked is no more than what it had released when it got that, so it must
//! be there; a later primary begins with everything that was committed before. Followers may be
//! ahead of that: they apply what a majority has, and the primary releases it once its own disk has
//! it too. What the same pipeline wrote before must be there as well, and is not looked at.

use server::replica::seen::Seen;
use server::replica::standing::Standing;

use super::client::Asked;
use super::operation::Operation;
use super::world::World;
use crate::sim::client::Reply;

/// How things stood when a client asked.
pub struct Since {
    /// By shard: the last entry that whoever served had released, or that some node had applied if
    /// nobody did.
    released: Vec<u64>,
    primary: Option<Primary>,
}

/// Who serves, and in which terms of the shards.
#[derive(PartialEq, Eq)]
struct Primary {
    machine: usize,
    terms: Vec<u64>,
}

impl World {
    pub fn since(&self, operation: Operation) -> Option<Since> {
        let Operation::Wait { .. } = operation else { return None };
        let released = |shard| {
            let seen = self.machines.iter().filter_map(|machine| {
                let core = machine.node()?.core(machine.home_of(shard));
                core.see_replica(shard)
            });
            let serves = |seen: &Seen| matches!(seen.standing, Standing::Serving { .. });
            // Who serves comes first.
            seen.map(|seen| (serves(&seen), seen.applied.0)).max().map_or(0, |(_, last)| last)
        };
        Some(Since { released: self.shards().map(released).collect(), primary: self.primary() })
    }

    /// Whoever serves, if it is one.
    fn primary(&self) -> Option<Primary> {
        let mut serving = self.machines.iter().filter_map(|machine| {
            let node = machine.node()?;
            let terms = self.shards().map(|shard| {
                let seen = node.core(machine.home_of(shard)).see_replica(shard)?;
                match seen.standing {
                    Standing::Serving { term } => Some(term.0),
                    _ => None,
                }
            });
            Some(Primary { machine: machine.number, terms: terms.collect::<Option<_>>()? })
        });
        serving.next().filter(|_| serving.next().is_none())
    }

    /// Whether so many disks have it as a client was told.
    pub fn check_holders(&mut self, asked: &Asked) -> Result<(), String> {
        let (Some(since), [Reply::Integer(told)]) = (&asked.since, &asked.replies[..]) else {
            return Ok(());
        };
        self.outcome.held += 1;
        self.outcome.holders += *told as usize;
        // Itself it does not count.
        let primary = since.primary.as_ref().filter(|then| self.primary().as_ref() == Some(then));
        let own = primary.map(|primary| primary.machine);
        let mut have = Vec::new();
        for machine in self.machines.iter().filter(|machine| Some(machine.number) != own) {
            let last = machine.durable_entries();
            let has_all = last.is_none_or(|last| {
                last.iter().zip(&since.released).all(|(last, released)| last >= released)
            });
            if has_all {
                have.push(machine.number + 1);
            }
        }
        if *told > have.len() as i64 {
            return Err(format!(
                "WAIT said {told}, but beside {:?} only the disks of {have:?} have {:?}{}",
                own.map(|machine| machine + 1),
                since.released,
                self.sight()
            ));
        }
        Ok(())
    }
}
