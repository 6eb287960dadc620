//! What a seed is run with.

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
    /// Clients write and read keys that end by themselves.
    pub ending_keys: bool,
    /// Clients publish what they write, and others listen.
    pub tells: bool,
    /// Of a hundred operations of clients that are no readers, so many are of several keys.
    pub transactions_percent: u64,
    /// Nodes keep little for others and make checkpoints often: who was away is sent one, slowly.
    pub forgetful: bool,
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

    /// Whether a seed has keys that end by themselves: as above.
    pub fn ending_keys_of(seed: u64) -> bool {
        Rng::new(seed ^ 0x0E4D_1465_0000).below(2) == 0
    }

    /// Whether a seed has clients that publish, and such that listen: as above.
    pub fn tells_of(seed: u64) -> bool {
        Rng::new(seed ^ 0x0011_57E4_0E45).below(2) == 0
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
    /// A bit of a disk flips.
    Rot,
    /// The wall clock leaps.
    WallClock,
    /// The monotonic clock leaps, which no lease allows for.
    Clock,
    /// Operations on checkpoints' files fail for a while, here and there.
    CheckpointDisk,
}

impl Trouble {
    /// New ones come last: see [`Trouble::IN_ONE_ROW`].
    pub const ALL: [Trouble; 21] = [
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
        Trouble::Rot,
        Trouble::WallClock,
        Trouble::Clock,
        Trouble::CheckpointDisk,
    ];

    /// How often each of the first ones comes is drawn one after the other from what decides all
    /// else. Those behind them have a generator each, so that one more moves nothing where it does
    /// not come.
    pub const IN_ONE_ROW: usize = 17;
}
