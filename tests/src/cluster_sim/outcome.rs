//! What happened in a run, or in many together.

use std::fmt;

use super::plan::Trouble;

/// Counts, with what a report calls each.
macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident: $kind:ty = $shown:literal,)*) => {
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Outcome {
            $($(#[$doc])* pub $name: $kind,)*
            /// How often each of [`Trouble::ALL`] came.
            pub troubles: [usize; Trouble::ALL.len()],
            pub virtual_ns: u64,
            /// Of everything that the clients heard, and when: the same for the same seed.
            pub digest: u64,
        }

        impl Outcome {
            pub fn add(&mut self, other: &Outcome) {
                $(self.$name += other.$name;)*
                self.troubles.iter_mut().zip(other.troubles).for_each(|(sum, more)| *sum += more);
                self.virtual_ns += other.virtual_ns;
            }

            fn shown(&self) -> Vec<String> {
                vec![$(format!("{} {}", self.$name, $shown)),*]
            }
        }
    };
}

counts! {
    done: usize = "operations done",
    /// Done ones of several keys.
    transactions: usize = "of several keys",
    refused: usize = "refused",
    unknown: usize = "unknown",
    /// Operations of which clients know nothing because a node closed their connection.
    cut_off: usize = "cut off",
    /// Reads that followers answered.
    follower_reads: usize = "reads of followers",
    /// Answers that so many nodes have something, and how many they were together.
    held: usize = "waits for nodes",
    holders: usize = "nodes that they gave",
    /// Messages that listeners heard.
    heard: usize = "messages heard",
    kills: usize = "kills",
    power_cuts: usize = "power cuts",
    /// Ended in good order by SIGTERM.
    stops: usize = "stops",
    /// Planned hand-overs after which another node led.
    hand_overs: u64 = "hand-overs",
    pauses: usize = "pauses",
    partitions: usize = "partitions",
    wires_broken: usize = "broken connections",
    disk_failures: usize = "failed disks",
    disks_full: usize = "full disks",
    /// Bits that flipped, starts that went on from a checkpoint before a damaged one, and starts
    /// that were refused; and machines that were taken out for that.
    rotten_logs: usize = "bits of logs flipped",
    rotten_checkpoints: usize = "of checkpoints",
    fallbacks: usize = "starts from the checkpoint before",
    rot_refused: usize = "starts refused for damage",
    replaced: usize = "replaced",
    /// Operations on checkpoints' files that failed.
    spoilt: usize = "failed operations on checkpoints",
    wall_leaps: usize = "leaps of wall clocks",
    /// Leaps of monotonic clocks, and reads that were not looked at for them but for what a
    /// follower promises.
    leaps: usize = "of others",
    doubtful_reads: usize = "reads by leases that may not hold",
    /// Starts with an empty directory.
    wipes: usize = "wiped",
    /// Nodes that joined, were taken out, and drained or not any more.
    joined: usize = "joined",
    removed: usize = "removed",
    drained: usize = "drained",
    /// Changes of the election timeout, and starts that waited for the one before.
    retimes: usize = "other timeouts",
    waits: usize = "starts that waited",
    /// Nodes that got another program, versions that were raised, and starts that were refused
    /// because the program lacked one.
    upgrades: usize = "other programs",
    raises: usize = "versions raised",
    version_refusals: usize = "starts of old programs refused",
    terms: u64 = "terms",
    checkpoints: usize = "checkpoints",
    /// Keys that ended, at those that are up at the end, since their start.
    expired: u64 = "keys ended",
    rebuilds: usize = "rebuilds",
    /// Entries from one on were voided, as seen by a node.
    voids: u64 = "voids",
    /// Checkpoints that came from other nodes, to those that were up at the end, since their start.
    received: u64 = "checkpoints received",
    /// Bytes of entries that those which are up at the end have read from their logs for others.
    log_bytes: u64 = "bytes from logs",
    /// Rare ways that were taken.
    rare_ways: u64 = "rare ways",
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = self.virtual_ns as f64 / 3.6e12;
        writeln!(f, "{hours:.3} hours of virtual time")?;
        writeln!(f, "what happened: {}", self.shown().join(", "))?;
        let kinds = Trouble::ALL.into_iter().zip(self.troubles);
        let kinds: Vec<String> = kinds.map(|(kind, times)| format!("{times} {kind:?}")).collect();
        write!(f, "troubles: {}", kinds.join(", "))
    }
}
