//! What a seed is run with, and what happened.

use std::fmt;

use engine::rng::Rng;
use server::limits::ELECTION_TIMEOUT_MS;

/// Everything else comes from the seed.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub nodes: u64,
    pub shards: u16,
    /// Each start of a node has so many at most.
    pub cores: u16,
    pub clients: usize,
    pub operations: usize,
    /// The first so many of [`Trouble::ALL`] come: a kept seed stays with those that there were.
    pub kinds: usize,
    /// Nothing goes wrong but this, which then is frequent.
    pub only: Option<Trouble>,
    /// What all nodes begin with.
    pub election_timeout_ms: u64,
    /// An operator changes that now and then, as is right or not.
    pub retimed: bool,
    /// Rare ways in production code are taken often, until the faults cease.
    pub buggify: bool,
    /// Nodes run programs of several versions, which change, and the cluster's is raised.
    pub upgrades: bool,
    /// Clients ask now and then which nodes have what they wrote.
    pub waits: bool,
    /// Of a hundred operations of clients that are no readers, so many are of several keys.
    pub transactions_percent: u64,
}

impl Plan {
    /// A seed's own election timeout, and whether it changes: not from what decides the rest, so
    /// that a seed is worth the same with the default.
    pub fn timeouts_of(seed: u64) -> (u64, bool) {
        let mut rng = Rng::new(seed ^ 0x7133_0075);
        (TIMEOUTS_MS[rng.below(TIMEOUTS_MS.len() as u64) as usize], rng.below(3) == 0)
    }

    /// Whether a seed takes rare ways: as above.
    pub fn buggifies(seed: u64) -> bool {
        Rng::new(seed ^ 0x000B_1661_F1E5).below(2) == 0
    }

    /// Whether a seed has clients that ask for nodes: as above.
    pub fn waits_of(seed: u64) -> bool {
        Rng::new(seed ^ 0x00AC_CED0_0A17).below(3) == 0
    }

    /// How many of a seed's operations are of several keys: as above.
    pub fn transactions_of(seed: u64) -> u64 {
        [0, 25, 50, 75][Rng::new(seed ^ 0x0007_EA25_AC71_0A50).below(4) as usize]
    }

    /// Whether a seed has upgrades: as above.
    pub fn upgrades_of(seed: u64) -> bool {
        Rng::new(seed ^ 0x0510_0de5).below(4) == 0
    }
}

/// Election timeouts that runs have: the default twice.
pub const TIMEOUTS_MS: [u64; 4] = [ELECTION_TIMEOUT_MS, 100, ELECTION_TIMEOUT_MS, 1_000];

/// A kind of troubles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    Kill,
    PowerCut,
    PowerCutOfAll,
    Pause,
    /// A turn stops after it has read the clock.
    PauseInTurn,
    Partition,
    PartitionsEnd,
    Disk,
    Connections,
    Isolation,
    /// SIGTERM; it comes back.
    Stop,
    Failover,
    /// FAILOVER, and the leader hears nothing from when it has given up its lease.
    FailoverDeaf,
    /// A node starts with an empty directory under its old number, until its own is found again.
    Wipe,
    /// A machine with an empty disk joins.
    Join,
    /// A node is taken out, and is not told to stop.
    Remove,
    /// A node is to lead nothing, or is to be as the others again.
    Drain,
}

impl Trouble {
    /// New ones come last: see [`Trouble::IN_ONE_ROW`].
    pub const ALL: [Trouble; 17] = [
        Trouble::Kill,
        Trouble::PowerCut,
        Trouble::PowerCutOfAll,
        Trouble::Pause,
        Trouble::PauseInTurn,
        Trouble::Partition,
        Trouble::PartitionsEnd,
        Trouble::Disk,
        Trouble::Connections,
        Trouble::Isolation,
        Trouble::Stop,
        Trouble::Failover,
        Trouble::FailoverDeaf,
        Trouble::Wipe,
        Trouble::Join,
        Trouble::Remove,
        Trouble::Drain,
    ];

    /// How often each of the first ones comes is drawn one after the other from what decides all
    /// else. Those behind them have a generator each, so that one more moves nothing where it does
    /// not come.
    pub const IN_ONE_ROW: usize = 17;
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub done: usize,
    pub refused: usize,
    pub unknown: usize,
    /// Done ones of several keys.
    pub transactions: usize,
    /// Reads that followers answered.
    pub follower_reads: usize,
    /// Answers that so many nodes have something, and how many they were together.
    pub held: usize,
    pub holders: usize,
    pub kills: usize,
    /// Changes of the election timeout, and starts that waited for the one before.
    pub retimes: usize,
    pub waits: usize,
    /// Nodes that got another program, versions that were raised, and starts that were refused
    /// because the program lacked one.
    pub upgrades: usize,
    pub raises: usize,
    pub version_refusals: usize,
    /// Starts with an empty directory.
    pub wipes: usize,
    /// Nodes that joined, were taken out, and drained or not any more.
    pub joined: usize,
    pub removed: usize,
    pub drained: usize,
    /// Ended in good order by SIGTERM.
    pub stops: usize,
    /// Planned hand-overs after which another node led.
    pub hand_overs: u64,
    /// Operations of which clients know nothing because a node closed their connection.
    pub cut_off: usize,
    pub power_cuts: usize,
    pub disk_failures: usize,
    pub pauses: usize,
    pub partitions: usize,
    pub wires_broken: usize,
    pub disks_full: usize,
    pub terms: u64,
    pub checkpoints: usize,
    pub rebuilds: usize,
    /// Entries from one on were voided, as seen by a node.
    pub voids: u64,
    /// Checkpoints that came from other nodes, to those that were up at the end, since their start.
    pub received: u64,
    /// Bytes of entries that those which are up at the end have read from their logs for others.
    pub log_bytes: u64,
    /// Rare ways that were taken.
    pub rare_ways: u64,
    pub virtual_ns: u64,
    /// Of everything that the clients heard, and when: the same for the same seed.
    pub digest: u64,
}

impl Outcome {
    pub fn add(&mut self, other: &Outcome) {
        self.done += other.done;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.transactions += other.transactions;
        self.follower_reads += other.follower_reads;
        self.held += other.held;
        self.holders += other.holders;
        self.kills += other.kills;
        self.retimes += other.retimes;
        self.waits += other.waits;
        self.upgrades += other.upgrades;
        self.raises += other.raises;
        self.version_refusals += other.version_refusals;
        self.wipes += other.wipes;
        self.joined += other.joined;
        self.removed += other.removed;
        self.drained += other.drained;
        self.stops += other.stops;
        self.hand_overs += other.hand_overs;
        self.cut_off += other.cut_off;
        self.power_cuts += other.power_cuts;
        self.disk_failures += other.disk_failures;
        self.pauses += other.pauses;
        self.partitions += other.partitions;
        self.wires_broken += other.wires_broken;
        self.disks_full += other.disks_full;
        self.terms += other.terms;
        self.checkpoints += other.checkpoints;
        self.rebuilds += other.rebuilds;
        self.voids += other.voids;
        self.received += other.received;
        self.log_bytes += other.log_bytes;
        self.rare_ways += other.rare_ways;
        self.virtual_ns += other.virtual_ns;
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} operations done, {} of several keys, {} refused, {} unknown, {} reads of \
             followers, {} waits for nodes that gave {}, {} kills, {} other timeouts, {} starts \
             that waited, {} other programs, {} versions raised, {} \
             starts refused, {} stops, {} hand-overs, {} operations cut \
             off, {} joined, {} removed, {} drained, {} wiped, {} power cuts, {} failed \
             disks, {} full, {} pauses, {} partitions, {} broken connections, {} terms, {} \
             checkpoints, {} rebuilds, {} voids, {} received, {} bytes from logs, {} rare ways, \
             {:.1} s of virtual time",
            self.done,
            self.transactions,
            self.refused,
            self.unknown,
            self.follower_reads,
            self.held,
            self.holders,
            self.kills,
            self.retimes,
            self.waits,
            self.upgrades,
            self.raises,
            self.version_refusals,
            self.stops,
            self.hand_overs,
            self.cut_off,
            self.joined,
            self.removed,
            self.drained,
            self.wipes,
            self.power_cuts,
            self.disk_failures,
            self.disks_full,
            self.pauses,
            self.partitions,
            self.wires_broken,
            self.terms,
            self.checkpoints,
            self.rebuilds,
            self.voids,
            self.received,
            self.log_bytes,
            self.rare_ways,
            self.virtual_ns as f64 / 1e9
        )
    }
}
