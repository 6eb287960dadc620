//! What the cores of a node say to each other so that they lead together: each tells the first one
//! how it stands, and that one says what is next ([`super::coordinator`]).

use replication::group::NodeId;
use replication::release::takeover::Log;

/// Numbers the times in which this node is the primary, odd, and those between, even, since its
/// start. All cores count alike, but not at the same moment: what one does with another's shard
/// counts only if both are in the same period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub u32);

impl Period {
    /// Whether the node is the primary in it.
    pub fn is_primary(self) -> bool {
        self.0 % 2 == 1
    }

    pub fn next(self) -> Period {
        Period(self.0 + 1)
    }
}

/// How a core stands.
#[derive(Clone, Debug)]
pub struct Stand {
    pub from: u16,
    pub period: Period,
    /// It leads all its groups, has everything, and could begin.
    pub ready: Option<Ready>,
    /// Until when it holds the leases of all its groups, in this period.
    pub leased_until_ns: u64,
}

#[derive(Clone, Debug)]
pub struct Ready {
    /// Names this state of its logs: what is said of another is void.
    pub number: u64,
    /// Everything is applied.
    pub is_caught_up: bool,
    /// Of its shards.
    pub logs: Vec<(u16, Log)>,
}

/// Which node leads, as the first core sees it: of the first shard, and so of all, soon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lead {
    pub leader: Option<NodeId>,
    /// It is this one, or is to be.
    pub is_own: bool,
    /// No core is the primary's any more, so that leads may go.
    pub is_apart: bool,
    /// A planned hand-over is under way.
    pub is_handing_over: bool,
}

/// What the first core says to all others; of a period's end every core tells.
#[derive(Clone, Debug)]
pub enum Word {
    /// Decide what is open in the receiver's logs: by shard, the first entry to be voided.
    Settle {
        number: u64,
        cuts: Vec<Option<replication::ids::Index>>,
    },
    /// Be the primary's core in this period, if the logs are as they were; clients wait.
    Begin {
        period: Period,
        number: u64,
    },
    /// Every core is.
    Open {
        period: Period,
    },
    Ended {
        period: Period,
    },
    /// All cores hold all leases until then.
    Leased {
        period: Period,
        until_ns: u64,
    },
    Lead(Lead),
    /// Who the nodes are.
    Around(Box<super::peers::Around>),
    /// What is to become of the groups' members.
    Plan(Box<super::members::Plan>),
    /// This node is not of the cluster any more; any core that hears so tells.
    Removed,
    HandOver(super::handover::Step),
    /// No core of this node, which stops, has an answer to give any more.
    AllQuiet,
}
