//! A link between a core of this node and one of another: one connection that carries the messages
//! of every group the two share. Sans-IO: bytes in, frames out, and the reverse.
//!
//! - [`hello`]: who speaks to whom, in which version; a stranger is refused.
//! - [`frame`]: a message of a group as it lies in the stream, and how it is read.
//! - [`meeting`]: what a machine says that is no node yet.
//! - [`outbox`]: what waits to be sent, within a bound.
//! - [`backoff`]: when a broken link is tried again.
//!
//! A link may drop a message, and loses what was under way when it breaks: groups send again. It
//! never delivers one twice, out of order or changed.

pub mod backoff;
pub mod frame;
pub mod hello;
pub mod meeting;
pub mod outbox;
#[cfg(test)]
mod tests;

use crate::version::{NotApplied, Version};

/// Versions of the protocol that this program speaks.
pub const VERSIONS: std::ops::RangeInclusive<u16> = 3..=3;

/// Longest payload of a frame: what claims to be longer is damage or no frame. Groups cut what they
/// send to a fraction of it where they can; an entry that is longer goes in parts.
pub const FRAME_BYTES_MAX: usize = 16 << 20;

/// Longest message: one entry as long as the log takes, and what is around it.
pub const MESSAGE_BYTES_MAX: usize = crate::log::limits::PAYLOAD_BYTES_MAX + FRAME_BYTES_MAX;

/// Bytes that wait on a link or are being sent; a message beyond them is dropped, unless nothing
/// else waits (it may be longer than this), and the group
/// hears that its peer is slow by getting no answer.
pub const LINK_BYTES_MAX: usize = 32 << 20;

/// Most cores of a node: what says otherwise is no node. Between two nodes there are as many links
/// as the larger has cores, link k between core k modulo its number of cores of each.
pub const CORES_MAX: u16 = 1024;

/// Why a link was given up. All of it is the other side's doing, or the network's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// It does not begin as a link does: no node of ours.
    NoHello,
    /// It has another token; of a machine that asks to become a node there is no number.
    OtherCluster { node: Option<u64> },
    /// It is meant for this node, which is another.
    NotForMe { wanted: u64 },
    /// Another node than the one that was meant.
    OtherNode { node: u64 },
    /// Another link than the one that was meant, or one that two such nodes do not have.
    OtherLink { link: u16 },
    /// This node does not know of it.
    UnknownNode { node: u64 },
    /// It connected here, but the node with the lower id is who connects.
    WrongWay { node: u64 },
    /// The versions that the other side speaks.
    NoCommonVersion { least: u16, most: u16 },
    /// Two nodes go by one id, or one talks to itself.
    SameNode { node: u64 },
    /// That node spreads the keys over another number of shards than this one does.
    OtherShards { node: u64, shards: u16, own: u16 },
    /// That node has another election timeout than this one.
    OtherTimeout { node: u64, timeout_ms: u16, own_ms: u16 },
    /// That node says that this one was removed from the cluster.
    Removed { node: u64 },
    /// That node was removed from the cluster.
    RemovedNode { node: u64 },
    /// That node's program does not apply the version of the cluster that this node has.
    CannotApply { node: u64, error: NotApplied },
    /// This node's program does not apply the version of the cluster that that node has.
    MustApply { node: u64, error: NotApplied },
    /// That node's directory was made for a cluster that begins with another version.
    OtherBeginning { node: u64, founded: Version, own: Version },
    /// One of the two was left behind when a survivor went on alone.
    OtherEpoch { node: u64, epoch: u8, own: u8 },
    /// That node was known by another data directory.
    OtherDirectory { node: u64 },
    /// That node knows this one by another data directory.
    KnownByOther { node: u64 },
    /// By which directory that node is known cannot be written down.
    NotNoted { node: u64 },
    /// A frame's length cannot be.
    TooLong { bytes: usize },
    /// A frame's checksum is wrong, or it is not the next one.
    Damaged,
}

impl LinkError {
    /// One of the two has not the directory, the settings or the program that it should have: an
    /// operator has to do something.
    pub fn needs_operator(&self) -> bool {
        matches!(
            self,
            LinkError::OtherDirectory { .. }
                | LinkError::OtherCluster { .. }
                | LinkError::NoCommonVersion { .. }
                | LinkError::OtherTimeout { .. }
                | LinkError::KnownByOther { .. }
                | LinkError::OtherShards { .. }
                | LinkError::RemovedNode { .. }
                | LinkError::OtherEpoch { .. }
                | LinkError::CannotApply { .. }
                | LinkError::MustApply { .. }
                | LinkError::OtherBeginning { .. }
        )
    }
}

impl std::fmt::Display for LinkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LinkError::NoHello => f.write_str("the other side is no node of Quoring"),
            LinkError::NotForMe { wanted } => {
                write!(f, "the other side wants node {wanted}; its list of addresses is old")
            }
            LinkError::OtherNode { node } => {
                write!(f, "the other side is node {node}; our list of addresses is old")
            }
            LinkError::OtherLink { link } => write!(f, "there is no link {link} here"),
            LinkError::UnknownNode { node } => {
                write!(f, "the other side is node {node}, of which this node does not know")
            }
            LinkError::WrongWay { node } => {
                write!(f, "node {node} connected here, but has to wait for this node to connect")
            }
            LinkError::NoCommonVersion { least, most } => write!(
                f,
                "the other side speaks versions {least} to {most} of the protocol, this one {} \
                 to {}; upgrade one release at a time",
                VERSIONS.start(),
                VERSIONS.end()
            ),
            LinkError::SameNode { node } => {
                write!(f, "the other side says that it is node {node}, as this one is")
            }
            LinkError::TooLong { bytes } => write!(f, "a frame claims {bytes} bytes"),
            LinkError::Damaged => f.write_str("a frame is damaged"),
            _ => self.say_what_to_do(f),
        }
    }
}

impl LinkError {
    /// An operator has to act.
    fn say_what_to_do(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LinkError::OtherCluster { node } => {
                match node {
                    Some(node) => write!(f, "node {node}")?,
                    None => f.write_str("a machine that asks to become a node")?,
                }
                f.write_str(
                    " was started with another --cluster-token than this node, so it is of \
                     another cluster. If they should be of one, stop the one that is wrong, and \
                     start it with an empty directory and the token of the others; if not, \
                     correct the addresses in --nodes or --join",
                )
            }
            LinkError::OtherShards { node, shards, own } => write!(
                f,
                "the directory of node {node} has {shards} shards, this node's has {own}: all \
                 nodes of a cluster need the same number. Stop the one that is wrong, and start \
                 it with an empty directory and --shards of the others, if it never took part"
            ),
            LinkError::OtherTimeout { node, timeout_ms, own_ms } => write!(
                f,
                "node {node} was started with --election-timeout-ms {timeout_ms}, this node with \
                 {own_ms}: all nodes of a cluster need the same. Stop the one that is wrong, and \
                 start it with that of the others; to change it, stop all nodes, then start all \
                 with the new one"
            ),
            LinkError::Removed { node } => {
                write!(f, "node {node} says that this node was removed from the cluster")
            }
            LinkError::RemovedNode { node } => write!(
                f,
                "node {node} was removed from the cluster; it takes no part. To use the machine \
                 again, start it with an empty directory and --join"
            ),
            LinkError::OtherEpoch { node, epoch, own } if epoch < own => write!(
                f,
                "node {node} was left behind when a survivor of the cluster went on alone \
                 (force-quorum): what it has may not be what the cluster has. Stop it, and start \
                 it with an empty directory and --join"
            ),
            LinkError::OtherEpoch { node, .. } => write!(
                f,
                "this node was left behind: node {node} is of the cluster that a survivor of this \
                 one went on as, alone (force-quorum). Stop this node, and start it with an empty \
                 directory and --join"
            ),
            _ => self.fmt_of_directory(f),
        }
    }
}

impl LinkError {
    fn fmt_of_directory(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LinkError::OtherDirectory { node } => write!(
                f,
                "node {node} has come with another data directory than the one that it is known \
                 by here: it was wiped, or another node goes by its number. It may have forgotten \
                 what it had voted for and acknowledged, so it takes no part; the others go on. \
                 Stop it, and start it with the directory that it had"
            ),
            LinkError::KnownByOther { node } => write!(
                f,
                "node {node} knows this node by another data directory: this one is new, or not \
                 its own. Without what it had voted for and acknowledged this node takes no part \
                 in the cluster. Stop it, and start it with the directory that it had"
            ),
            LinkError::NotNoted { node } => write!(
                f,
                "by which data directory node {node} is known cannot be written to this node's \
                 node.toml; see that the directory can be written to"
            ),
            _ => self.fmt_of_versions(f),
        }
    }
}

impl LinkError {
    fn fmt_of_versions(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LinkError::CannotApply { node, error } => write!(
                f,
                "the cluster has version {}, and the program of node {node} applies {}: node \
                 {node} takes no part. {}",
                error.version,
                error.applied,
                error.remedy("there")
            ),
            LinkError::MustApply { node, error } => write!(
                f,
                "the cluster has version {}, as node {node} says, and this program applies {}: \
                 this node takes no part. {}",
                error.version,
                error.applied,
                error.remedy("here")
            ),
            LinkError::OtherBeginning { node, founded, own } => write!(
                f,
                "the directory of node {node} was made for a cluster that begins with version \
                 {founded}, this node's with {own}: they were first started with different \
                 programs. Stop the one that is wrong, and start it with an empty directory and \
                 the program of the others, if it never took part"
            ),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for LinkError {}
