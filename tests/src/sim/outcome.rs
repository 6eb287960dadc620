//! What a run has done and met.

/// What happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub operations: usize,
    pub crashes: usize,
    /// Of them, because the disk failed, and after an orderly stop.
    pub disk_failures: usize,
    pub stops: usize,
    /// Starts that were refused because of a flipped bit.
    pub rot_refused: usize,
    /// Writes refused because the disk or memory was full.
    pub refusals: usize,
    /// Transactions over a watched key that ran, and that did not.
    pub watches_kept: usize,
    pub watches_broken: usize,
    /// Checkpoints that got their names, and those damaged at a start.
    pub checkpoints: usize,
    pub checkpoints_rotten: usize,
    /// Operations of checkpoints for which there was no space.
    pub checkpoints_failed: usize,
    /// Keys that were evicted and that expired since the last start, and elements that blocking
    /// commands have taken.
    pub evicted: u64,
    pub expired: u64,
    pub popped: u64,
    pub disk_operations: u64,
    pub virtual_ns: u64,
    /// Of everything that the clients heard, and when: the same for the same seed.
    pub digest: u64,
}

impl Outcome {
    pub fn add(&mut self, other: &Outcome) {
        self.operations += other.operations;
        self.crashes += other.crashes;
        self.disk_failures += other.disk_failures;
        self.rot_refused += other.rot_refused;
        self.stops += other.stops;
        self.refusals += other.refusals;
        self.watches_kept += other.watches_kept;
        self.watches_broken += other.watches_broken;
        self.checkpoints += other.checkpoints;
        self.checkpoints_rotten += other.checkpoints_rotten;
        self.checkpoints_failed += other.checkpoints_failed;
        self.evicted += other.evicted;
        self.expired += other.expired;
        self.popped += other.popped;
        self.disk_operations += other.disk_operations;
        self.virtual_ns += other.virtual_ns;
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} operations, {} on disks, {} crashes, {} of them by failed disks, {} after orderly \
             stops, {} flipped bits \
             refused, {} checkpoints, {} damaged, {} without space, \
             {} keys evicted and {} expired, {} elements \
             popped, {} writes refused for lack of space, {} watched \
             transactions, {} aborted, {:.1} s of virtual time",
            self.operations,
            self.disk_operations,
            self.crashes,
            self.disk_failures,
            self.stops,
            self.rot_refused,
            self.checkpoints,
            self.checkpoints_rotten,
            self.checkpoints_failed,
            self.evicted,
            self.expired,
            self.popped,
            self.refusals,
            self.watches_kept,
            self.watches_broken,
            self.virtual_ns as f64 / 1e9
        )
    }
}
