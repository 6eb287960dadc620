//! Deliberate breakages, to see that the tests find such things. Compiled in with the feature
//! `planted-faults`, which nothing but the crate `tests` asks for, and in this crate's own tests;
//! otherwise every question is answered with a constant.

/// A rule that can be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Replies leave before their entries are durable.
    ReplyBeforeSync,
    /// Reads show what is not released.
    ReadUnreleased,
    /// A write that ended counts although one before it has not.
    DurableOutOfOrder,
    /// A failed write counts as one that ended well.
    FailedWriteTaken,
    /// Damage before acknowledged records is taken for a torn tail.
    CorruptionCut,
    /// A record need not name the one before it.
    ChainUnchecked,
    /// Entries that an operation left in several shards do not name each other.
    LinkForgotten,
    /// What an operation only read does not take part.
    WitnessForgotten,
    /// A transaction is decided before all its parts are reported.
    DecidedEarly,
    /// A part is reported whatever stands undecided before it.
    PredecessorIgnored,
    /// Records call the entries before them decided without knowing.
    MarkedEarly,
    /// Records do not call the entries before them decided.
    MarkerForgotten,
    /// Recovery takes transactions that are not whole.
    HalvesTaken,
    /// Recovery does not look again at what rests on what it has cut.
    CutOnce,
    /// What a start has cut is not voided.
    VoidForgotten,
    /// A checkpoint gets its name before it is on stable storage.
    CheckpointUnsynced,
    /// A checkpoint gets its name before what it has is released.
    CheckpointUnreleased,
    /// A checkpoint does not wait until all cores' logs have what the start voided.
    StartUnawaited,
    /// Segments go that no checkpoint makes up for.
    SegmentsReleasedEarly,
    /// A damaged checkpoint refuses the start instead of falling back to the one before.
    NoFallback,
    /// Blocks of a checkpoint are taken as they are read.
    BlocksUnchecked,
    /// Records of a log are taken as they are read.
    RecordsUnchecked,
    /// A start goes on with the incarnation of the one before.
    IncarnationKept,
    /// A gathering takes a shard past what waits for it.
    LineJumped,
    /// A gathering's changes are not logged by the home that gets them back.
    HomeForgets,
    /// A replica confirms entries and votes before they are on stable storage.
    GroupAnswersBeforeSync,
    /// A node votes at once after a start, though a lease may rest on what it does not remember.
    VoteAtOnce,
    /// A node that starts with a shorter election timeout does not wait for the longer one before.
    ShorterAtOnce,
    /// What a node has promised a leader ends with the next term that it hears of.
    PromiseForgotten,
    /// A leader that hands over keeps its lease.
    LeaseKept,
    /// A lease has no end.
    LeaseForEver,
    /// Leases are measured by the wall clock.
    LeaseByWallClock,
    /// What a learner confirms counts for a voter.
    LearnerCounted,
    /// The lead is handed over although not everything that was executed is answered.
    HandoverUndrained,
    /// A follower deletes keys whose time is over by its own clock.
    FollowerExpires,
    /// A leader answers before a majority has what it tells.
    AnswersUncommitted,
    /// What is published is heard before what its client wrote is released.
    HeardUnreleased,
    /// Replies leave although the lease has ended since their commands ran.
    RepliesUnleased,
    /// A leader that loses its term keeps what it has executed.
    EffectsKept,
    /// A follower applies what is not committed.
    AppliesUncommitted,
    /// Records call the entries before them decided, committed or not.
    DecidedAhead,
    /// A new leader serves before it has applied everything before its term.
    ServesAtOnce,
    /// A node that comes with another data directory is taken for the one that it was.
    DirectoriesUnchecked,
    /// A follower answers reads that did not ask for its own.
    FollowerAnswers,
    /// A new primary takes every part that is decided for one that took effect.
    EndForgotten,
    /// A node is taken out however much those that are left lack, and a leader that can commit
    /// nothing for that goes on leading.
    RemovesAnyway,
    /// A new primary takes what its predecessors left open for whole.
    OpenTaken,
    /// A node sends commands of its clients again whatever became of them at a lost primary.
    TunnelRepeats,
    /// EXEC does not remember that what it rests on was watched at a primary that is lost.
    WatchForgotten,
    /// What the cores of a node know of each other's leases outlives a hand-over.
    LeasesToldKept,
    /// A new primary takes whatever stands at a part's index for that part.
    PartAssumed,
    /// What a log says of an entry's term is believed although a later record replaced the entry.
    ReplacedTermsKept,
    /// An entry that is read from the log for another node may be one that was replaced.
    ReplacedEntriesRead,
    /// A segment that is being read may become another meanwhile.
    ReadSegmentsReleased,
    /// A checkpoint of another node is used as it came.
    ReceivedUnchecked,
    /// A checkpoint that could not be written here is taken again at once.
    SpoiltAtOnce,
    /// A leader emits what its own program can, whatever the cluster's version is.
    EmitsUnraised,
    /// Nodes have links whatever their programs apply.
    VersionsUnchecked,
    /// WAIT counts nodes whatever they have confirmed.
    HoldersAssumed,
    /// A leader gives up the checkpoints that it sends while it does not serve.
    SendsOnlyServing,
    /// A node that has started again amid a checkpoint does not say that it lacks the beginning.
    RestartUnsaid,
    /// A checkpoint that comes no more is not given up for another one.
    FirstReceivedKept,
    /// Pieces of two checkpoints are put together, and not read before they count.
    PiecesMixed,
    /// A node that has come further than a checkpoint goes does not say so to who sends it.
    FurtherUnsaid,
    /// Memory is read again from a checkpoint that the group has not heard of.
    UnheardRead,
    /// A leader's first entry does not end what can be part of transactions in its shard.
    FirstEntryIgnored,
    /// Memory goes on at the index of what a group has appended by itself.
    OwnEntryUncounted,
    /// A follower that is full waits although only what comes next lets it go on.
    FullAwaitsMarker,
    /// A checkpoint does not say where its shard has ended.
    EndUnsaid,
    /// A quiet shard's last transaction is not told to be decided.
    MarkerUnsaid,
    /// A checkpoint is awaited although who sent it leads no more.
    AbandonedAwaited,
    /// What a node notes of a client's session is not in its place between the client's replies.
    ReplayOvertaken,
    /// Memory is read again while an operation has what there was in hand.
    OutIgnored,
    /// A core that stops leaves its groups though others have answers to give.
    LeavesAlone,
    /// Commands that waited for a primary are part of a transaction that their client began later.
    WaitingQueued,
    /// The crate joins messages of a group.
    MessagesJoined,
    /// Cores without a shard are told who is in the cluster only when that changes.
    AroundUntold,
    /// A node that stops lets keys expire, and waits until that is committed.
    ExpiresStopping,
}

impl Fault {
    /// Of one node.
    pub const ALL: [Fault; 21] = [
        Fault::ReplyBeforeSync,
        Fault::ReadUnreleased,
        Fault::DurableOutOfOrder,
        Fault::FailedWriteTaken,
        Fault::CorruptionCut,
        Fault::ChainUnchecked,
        Fault::LinkForgotten,
        Fault::WitnessForgotten,
        Fault::DecidedEarly,
        Fault::PredecessorIgnored,
        Fault::MarkedEarly,
        Fault::HalvesTaken,
        Fault::CutOnce,
        Fault::VoidForgotten,
        Fault::CheckpointUnsynced,
        Fault::CheckpointUnreleased,
        Fault::SegmentsReleasedEarly,
        Fault::NoFallback,
        Fault::LineJumped,
        Fault::HomeForgets,
        Fault::IncarnationKept,
    ];

    /// Of one node, where a scenario of its own has to show them: a disk must do what no seed makes
    /// it do.
    pub const OF_STARTS: [Fault; 2] = [Fault::MarkerForgotten, Fault::StartUnawaited];

    /// Of replication groups.
    pub const OF_GROUPS: [Fault; 7] = [
        Fault::GroupAnswersBeforeSync,
        Fault::LearnerCounted,
        Fault::VoteAtOnce,
        Fault::PromiseForgotten,
        Fault::LeaseKept,
        Fault::LeaseForEver,
        Fault::MessagesJoined,
    ];

    /// Of nodes with replicas.
    pub const OF_CLUSTERS: [Fault; 33] = [
        Fault::GroupAnswersBeforeSync,
        Fault::LeaseForEver,
        Fault::AnswersUncommitted,
        Fault::RepliesUnleased,
        Fault::EffectsKept,
        Fault::AppliesUncommitted,
        Fault::DecidedAhead,
        Fault::ServesAtOnce,
        Fault::FollowerAnswers,
        Fault::EndForgotten,
        Fault::OpenTaken,
        Fault::DirectoriesUnchecked,
        Fault::TunnelRepeats,
        Fault::WatchForgotten,
        Fault::LeasesToldKept,
        Fault::RemovesAnyway,
        Fault::ReceivedUnchecked,
        Fault::EmitsUnraised,
        Fault::VersionsUnchecked,
        Fault::CheckpointUnsynced,
        Fault::HandoverUndrained,
        Fault::FollowerExpires,
        Fault::SendsOnlyServing,
        Fault::PiecesMixed,
        Fault::FirstEntryIgnored,
        Fault::OwnEntryUncounted,
        Fault::FullAwaitsMarker,
        Fault::MarkerUnsaid,
        Fault::ReplayOvertaken,
        Fault::OutIgnored,
        Fault::LeavesAlone,
        Fault::WaitingQueued,
        Fault::AroundUntold,
    ];
}

#[cfg(any(test, feature = "planted-faults"))]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Breaks one rule on this thread, or none.
#[cfg(any(test, feature = "planted-faults"))]
pub fn plant(fault: Option<Fault>) {
    PLANTED.set(fault);
}

/// Whether this rule is broken on this thread.
#[cfg(any(test, feature = "planted-faults"))]
pub fn is_planted(fault: Fault) -> bool {
    PLANTED.get() == Some(fault)
}

/// Whether this rule is broken: never.
#[cfg(not(any(test, feature = "planted-faults")))]
#[inline(always)]
pub const fn is_planted(_fault: Fault) -> bool {
    false
}
