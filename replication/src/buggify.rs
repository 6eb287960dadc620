//! Rare ways that production code may take at any time, taken often in the simulator: what comes of
//! full queues, late answers, lost messages and small slices is seen in every other run, not in one
//! of a million. FoundationDB's simulation has the idea and the name.
//!
//! Each [`Point`] is a place in the code where both ways are right. In a run about a third of them
//! are in use, each at a rate of its own; which ones, and when, depends on the run's seed and on
//! how often that one point was reached, so a new point changes nothing about the others.
//!
//! Compiled in with the feature `planted-faults`, which nothing but the crate `tests` asks for, and
//! in this crate's own tests; otherwise every question is answered with a constant.

/// A place where a rare way can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    // Of the log.
    /// A write waits until all before it have ended.
    LogWriteWaits,
    /// A segment ends before it is full.
    LogSegmentShort,
    /// A batch takes no more records.
    LogBatchShort,
    /// A record is cut into fragments.
    LogFragments,
    /// The next segment is asked for long before it is needed.
    LogSegmentEarly,
    // Of groups.
    /// Elections come as early as they may: several nodes stand at once.
    ElectionSoon,
    /// A node stands for election although it hears a leader.
    StandsUncalled,
    /// A lease is not asked for when it could be.
    LeaseAskedLate,
    /// A message is not sent.
    MessageLost,
    /// A message is sent twice.
    MessageTwice,
    /// The messages of a round go out in another order.
    MessagesTurned,
    /// A leader does not take an entry.
    ProposalRefused,
    /// Entries in memory are forgotten as soon as they may.
    EntriesForgotten,
    /// What is durable is told to a group later.
    DurableToldLate,
    /// A group is not asked what is to be done in a turn.
    GroupPolledLate,
    /// What is committed is not told but by what goes to the others anyway.
    CommittedToldLate,
    // Of replicas.
    /// Little is applied in a turn.
    AppliesLittle,
    /// Clients wait as if too much was not committed.
    UncommittedFull,
    /// A quiet shard's last transaction is not told to be decided.
    MarkerLate,
    /// The first core does not go on with what all cores wait for.
    CoordinatorLate,
    /// The other cores are not told of a lease.
    LeaseToldLate,
    /// A hand-over is given up while it drains.
    HandoverGivenUp,
    /// A hand-over is taken back as if nobody took the lead.
    HandoverTakenBack,
    /// A checkpoint that goes to a node is given up.
    SendingGivenUp,
    /// A checkpoint that comes from a node is given up.
    ReceivingGivenUp,
    /// A piece of a checkpoint is lost.
    PieceLost,
    /// A bit of a piece of a checkpoint is not what it was.
    PieceRotten,
    /// Who is in the cluster is said again at once.
    GossipSoon,
    // Of links.
    /// A link has no room for a message.
    LinkFull,
    /// A link breaks.
    LinkBreaks,
    // Of checkpoints.
    /// A checkpoint is due though little was logged.
    CheckpointSoon,
    /// A checkpoint is given up.
    CheckpointGivenUp,
    // Of a core.
    /// A turn runs few commands.
    TurnShort,
    /// Other cores have much to read.
    MeshFull,
    /// A client has much to read.
    ClientSlow,
    /// Little of what is published is delivered in a turn.
    DeliversLittle,
    /// A trip for shards goes for one operation.
    GatheringSmall,
    /// Little that is deleted is freed in a turn.
    FreesLittle,
    /// Few keys expire in a turn.
    ExpiresLittle,
    // Of tunnels.
    /// A client has sent as much as may wait for the primary.
    TunnelFull,
    /// Little goes to the primary at once.
    TunnelSendsLittle,
}

impl Point {
    pub const ALL: [Point; 41] = [
        Point::LogWriteWaits,
        Point::LogSegmentShort,
        Point::LogBatchShort,
        Point::LogFragments,
        Point::LogSegmentEarly,
        Point::ElectionSoon,
        Point::StandsUncalled,
        Point::LeaseAskedLate,
        Point::MessageLost,
        Point::MessageTwice,
        Point::MessagesTurned,
        Point::ProposalRefused,
        Point::EntriesForgotten,
        Point::DurableToldLate,
        Point::GroupPolledLate,
        Point::CommittedToldLate,
        Point::AppliesLittle,
        Point::UncommittedFull,
        Point::MarkerLate,
        Point::CoordinatorLate,
        Point::LeaseToldLate,
        Point::HandoverGivenUp,
        Point::HandoverTakenBack,
        Point::SendingGivenUp,
        Point::ReceivingGivenUp,
        Point::PieceLost,
        Point::PieceRotten,
        Point::GossipSoon,
        Point::LinkFull,
        Point::LinkBreaks,
        Point::CheckpointSoon,
        Point::CheckpointGivenUp,
        Point::TurnShort,
        Point::MeshFull,
        Point::ClientSlow,
        Point::DeliversLittle,
        Point::GatheringSmall,
        Point::FreesLittle,
        Point::ExpiresLittle,
        Point::TunnelFull,
        Point::TunnelSendsLittle,
    ];
}

#[cfg(any(test, feature = "planted-faults"))]
impl Point {
    /// How many times rarer this is than others: what undoes the work of many turns.
    const fn rarity(self) -> u64 {
        match self {
            Point::StandsUncalled
            | Point::MessageLost
            | Point::ProposalRefused
            | Point::GroupPolledLate
            | Point::HandoverGivenUp
            | Point::HandoverTakenBack
            | Point::LinkFull
            | Point::LinkBreaks
            | Point::CheckpointGivenUp => 10,
            _ => 1,
        }
    }
}

/// The limit that holds at this place now: `usual`, or `rare` where the rare way is taken.
#[inline(always)]
pub fn limit<T>(point: Point, usual: T, rare: T) -> T {
    if is_taken(point) { rare } else { usual }
}

/// Whether the rare way is taken at this place now: never.
#[cfg(not(any(test, feature = "planted-faults")))]
#[inline(always)]
pub const fn is_taken(_point: Point) -> bool {
    false
}

#[cfg(any(test, feature = "planted-faults"))]
pub use run::{begin, end, is_taken};

#[cfg(any(test, feature = "planted-faults"))]
mod run {
    use std::cell::RefCell;

    use super::Point;

    const COUNT: usize = Point::ALL.len();
    /// One of so many points is in use in a run.
    const IN_USE: u64 = 3;
    /// A point in use is taken one of so many times.
    const RATES: [u64; 4] = [3, 20, 100, 500];

    struct Run {
        seed: u64,
        reached: [u64; COUNT],
        taken: [u64; COUNT],
    }

    thread_local! {
        static RUN: RefCell<Option<Run>> = const { RefCell::new(None) };
    }

    /// From now on rare ways are taken on this thread.
    pub fn begin(seed: u64) {
        RUN.set(Some(Run { seed, reached: [0; COUNT], taken: [0; COUNT] }));
    }

    /// From now on no rare way is taken on this thread. Returns how often each was.
    pub fn end() -> Vec<(Point, u64)> {
        let run = RUN.take();
        let taken = run.map_or([0; COUNT], |run| run.taken);
        Point::ALL.into_iter().zip(taken).collect()
    }

    /// Whether the rare way is taken at this place now.
    pub fn is_taken(point: Point) -> bool {
        RUN.with_borrow_mut(|run| {
            let Some(run) = run else { return false };
            let place = point as usize;
            let own = mix(run.seed ^ mix(place as u64 + 1));
            if !own.is_multiple_of(IN_USE) {
                return false;
            }
            run.reached[place] += 1;
            let rate = RATES[(own / IN_USE) as usize % RATES.len()] * point.rarity();
            let taken = mix(own ^ run.reached[place]).is_multiple_of(rate);
            run.taken[place] += u64::from(taken);
            taken
        })
    }

    /// SplitMix64's output function.
    fn mix(number: u64) -> u64 {
        let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn taken_with(seed: u64, times: u64) -> Vec<(Point, u64)> {
            begin(seed);
            for point in Point::ALL {
                for _ in 0..times {
                    is_taken(point);
                }
            }
            end()
        }

        #[test]
        fn points_are_named_in_their_order() {
            for (place, point) in Point::ALL.into_iter().enumerate() {
                assert_eq!(point as usize, place, "{point:?}");
            }
        }

        #[test]
        fn every_point_is_taken_in_some_runs_and_not_in_others() {
            let runs: Vec<_> = (0..100).map(|seed| taken_with(seed, 2_000)).collect();
            for place in 0..COUNT {
                let used = runs.iter().filter(|run| run[place].1 > 0).count();
                assert!((15..60).contains(&used), "{:?}: in {used} of 100", Point::ALL[place]);
            }
            assert!(Point::ALL.iter().all(|point| !is_taken(*point)), "not outside of a run");
        }

        /// A point that is reached more often has no say in what the others do.
        #[test]
        fn points_do_not_depend_on_each_other() {
            let alone = taken_with(7, 50);
            begin(7);
            for point in Point::ALL.into_iter().rev() {
                for _ in 0..50 {
                    is_taken(point);
                }
            }
            assert_eq!(end(), alone);
        }
    }
}
