//! The first bytes of a link, the same both ways. Little-endian.
//!
//! | offset | size | what |
//! | --- | --- | --- |
//! | 0 | 8 | `QUORLINK`; `QUORTUNL` where a client's commands follow, and replies |
//! | 8 | 2 | least version spoken |
//! | 10 | 2 | most |
//! | 12 | 2 | core that speaks |
//! | 14 | 2 | core that is spoken to |
//! | 16 | 16 | cluster id; zeros to one who has another: it comes of the secret that nodes share |
//! | 32 | 8 | node that speaks |
//! | 40 | 8 | node that is spoken to |
//! | 48 | 8 | number of this connection: never the same for two of a core of a node |
//! | 56 | 2 | cores of the node that speaks: 1 to [`CORES_MAX`] |
//! | 58 | 2 | which link between the two nodes it is |
//! | 60 | 16 | data directory of the node that speaks |
//! | 76 | 16 | data directory of the node that is spoken to; zeros: they have not met |
//! | 92 | 2 | shards of the node that speaks |
//! | 94 | 1 | how often a survivor of the cluster has gone on alone |
//! | 95 | 1 | 1: the node that is spoken to was removed |
//! | 96 | 4 | CRC32C of bytes 0..96 |
//! | 100 | 2 | election timeout in ms |
//! | 102 | 2 | version of the cluster when it began, less 1 |
//! | 104 | 4 | least and most version of the cluster that this program applies, less 1 each |
//! | 108 | 2 | version of the cluster, as far as this node has heard, less 1 |
//! | 110 | 14 | 0: what later programs may say |
//! | 124 | 4 | CRC32C of bytes 100..124 |
//!
//! Programs of version 2 say the first 100 bytes only, and understand so much of a later one's.

use std::ops::Range;

use super::{CORES_MAX, LinkError, VERSIONS};
use crate::fault::{Fault, is_planted};
use crate::version::{NotApplied, Version, Versions};

pub const HELLO_BYTES: usize = 128;
/// What every version begins with, so that each can say to another what is wrong.
pub const FIRST_BYTES: usize = 100;
/// Its checksum is behind each of these.
const CHECKED: [Range<usize>; 2] = [0..96, FIRST_BYTES..HELLO_BYTES - 4];
const LATER_BYTES: usize = 14;
/// The first version that says more.
const WHOLE_SINCE: u16 = 3;

/// What follows the hellos.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// Frames for groups.
    #[default]
    Link,
    /// Commands of one client of the node that connects, and their replies.
    Client,
}

impl Purpose {
    fn magic(self) -> &'static [u8; 8] {
        match self {
            Purpose::Link => b"QUORLINK",
            Purpose::Client => b"QUORTUNL",
        }
    }

    fn of(bytes: &[u8; FIRST_BYTES]) -> Option<Purpose> {
        let all = [Purpose::Link, Purpose::Client];
        all.into_iter().find(|purpose| bytes.starts_with(purpose.magic()))
    }
}

/// The core that is spoken to, where it is not known yet how many there are.
pub const CORE_UNKNOWN: u16 = u16::MAX;

/// The identity of a data directory, made with it: never the same for two. Zeros are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DirectoryId(pub [u8; 16]);

/// What one side says of itself, and whom it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    pub purpose: Purpose,
    pub versions: (u16, u16),
    pub cluster: [u8; 16],
    pub node: u64,
    pub core: u16,
    /// How many cores that node has.
    pub cores: u16,
    pub to_node: u64,
    pub to_core: u16,
    /// Which of the links between the two nodes this is.
    pub link: u16,
    /// Of the connection, by this side.
    pub number: u64,
    /// Over how many shards that node spreads the keys: all do the same.
    pub shards: u16,
    /// Where that node keeps what it has promised and acknowledged.
    pub directory: DirectoryId,
    /// The directory that the other node had when they first met, if they have.
    pub known_by: Option<DirectoryId>,
    /// How often a survivor has gone on alone: those that it left behind are of an older one.
    pub epoch: u8,
    /// The node that this is said to was removed from the cluster.
    pub says_removed: bool,
    /// For how long that node votes for nobody else once it has heard of a leader: leases rest on
    /// it.
    pub election_timeout_ms: u16,
    /// What the cluster began with: the same on all nodes.
    pub founded: Version,
    /// What that node's program applies, and what it has to: see [`crate::version`].
    pub applied: Versions,
    pub version: Version,
    /// What this program does not know of, but the checksums of both sides begin with it.
    pub later: [u8; LATER_BYTES],
}

/// What both sides hold to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    pub version: u16,
    /// Checksums of what this side sends and of what it receives begin with these, so that no frame
    /// of another link passes.
    pub send_seed: u32,
    pub receive_seed: u32,
}

impl Hello {
    /// What a core of a node with so many says to begin with.
    pub fn new(
        cluster: [u8; 16],
        (node, core, cores): (u64, u16, u16),
        (to_node, to_core): (u64, u16),
        link: u16,
        number: u64,
        shards: u16,
        (directory, known_by): (DirectoryId, Option<DirectoryId>),
    ) -> Hello {
        let versions = (*VERSIONS.start(), *VERSIONS.end());
        Hello {
            purpose: Purpose::Link,
            versions,
            cluster,
            node,
            core,
            cores,
            to_node,
            to_core,
            link,
            number,
            shards,
            directory,
            known_by,
            epoch: 0,
            says_removed: false,
            election_timeout_ms: 0,
            founded: Version(1),
            applied: Versions::UNSAID,
            version: Version(1),
            later: Default::default(),
        }
    }

    /// What one with another token is told: who refuses it, and nothing that it could make use of.
    pub fn to_stranger(&self) -> Hello {
        let directory = DirectoryId([0xff; 16]);
        Hello { cluster: [0; 16], directory, known_by: None, ..*self }
    }

    pub fn encode(&self) -> [u8; HELLO_BYTES] {
        let mut out = [0; HELLO_BYTES];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, self.purpose.magic());
        put(8, &self.versions.0.to_le_bytes());
        put(10, &self.versions.1.to_le_bytes());
        put(12, &self.core.to_le_bytes());
        put(14, &self.to_core.to_le_bytes());
        put(16, &self.cluster);
        put(32, &self.node.to_le_bytes());
        put(40, &self.to_node.to_le_bytes());
        put(48, &self.number.to_le_bytes());
        put(56, &self.cores.to_le_bytes());
        put(58, &self.link.to_le_bytes());
        put(60, &self.directory.0);
        put(76, &self.known_by.unwrap_or_default().0);
        put(92, &self.shards.to_le_bytes());
        put(94, &[self.epoch, u8::from(self.says_removed)]);
        put(100, &self.election_timeout_ms.to_le_bytes());
        put(102, &self.founded.encode());
        put(104, &self.applied.encode());
        put(108, &self.version.encode());
        put(110, &self.later);
        for checked in CHECKED {
            let checksum = crc32c::crc32c(&out[checked.clone()]);
            out[checked.end..checked.end + 4].copy_from_slice(&checksum.to_le_bytes());
        }
        out
    }

    /// Reads what has come of a hello; `None` as long as more of it is to come.
    pub fn read(bytes: &[u8]) -> Result<Option<Hello>, LinkError> {
        let Some(first) = bytes.first_chunk() else { return Ok(None) };
        let hello = Hello::decode_first(first)?;
        let (least, most) = hello.versions;
        if most < WHOLE_SINCE {
            return Err(LinkError::NoCommonVersion { least, most });
        }
        bytes.first_chunk().map(Hello::decode).transpose()
    }

    pub fn decode(bytes: &[u8; HELLO_BYTES]) -> Result<Hello, LinkError> {
        if !is_sound(bytes, 1) {
            return Err(LinkError::NoHello);
        }
        let first = bytes.first_chunk().ok_or(LinkError::NoHello)?;
        let [low, high] = bytes_at(bytes, 100);
        let election_timeout_ms = u16::from_le_bytes([low, high]);
        Ok(Hello {
            election_timeout_ms,
            founded: Version::decode(bytes_at(bytes, 102)),
            applied: Versions::decode(bytes_at(bytes, 104)),
            version: Version::decode(bytes_at(bytes, 108)),
            later: bytes_at(bytes, 110),
            ..Hello::decode_first(first)?
        })
    }

    /// What all versions say.
    pub fn decode_first(bytes: &[u8; FIRST_BYTES]) -> Result<Hello, LinkError> {
        let sound = is_sound(bytes, 0);
        let purpose = Purpose::of(bytes).filter(|_| sound).ok_or(LinkError::NoHello)?;
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let cores = u16_at(56);
        let directory = DirectoryId(bytes_at(bytes, 60));
        if !(1..=CORES_MAX).contains(&cores) || directory == DirectoryId::default() {
            return Err(LinkError::NoHello);
        }
        Ok(Hello {
            purpose,
            versions: (u16_at(8), u16_at(10)),
            core: u16_at(12),
            cores,
            link: u16_at(58),
            to_core: u16_at(14),
            cluster: bytes_at(bytes, 16),
            node: u64::from_le_bytes(bytes_at(bytes, 32)),
            to_node: u64::from_le_bytes(bytes_at(bytes, 40)),
            number: u64::from_le_bytes(bytes_at(bytes, 48)),
            shards: u16_at(92),
            directory,
            known_by: Some(DirectoryId(bytes_at(bytes, 76)))
                .filter(|known| *known != DirectoryId::default()),
            epoch: bytes[94],
            says_removed: bytes[95] == 1,
            election_timeout_ms: 0,
            founded: Version(1),
            applied: Versions::UNSAID,
            version: Version(1),
            later: Default::default(),
        })
    }

    /// Whether this side, which says `self`, talks to who says `other`; the newest version that
    /// both speak.
    pub fn agree(&self, other: &Hello) -> Result<Agreed, LinkError> {
        if other.purpose != self.purpose {
            return Err(LinkError::NoHello);
        }
        if other.cluster != self.cluster {
            return Err(LinkError::OtherCluster { node: Some(other.node) });
        }
        if other.node == self.node {
            return Err(LinkError::SameNode { node: self.node });
        }
        if other.to_node != self.node {
            return Err(LinkError::NotForMe { wanted: other.to_node });
        }
        if other.node != self.to_node {
            return Err(LinkError::OtherNode { node: other.node });
        }
        if other.says_removed {
            return Err(LinkError::Removed { node: other.node });
        }
        if other.epoch != self.epoch {
            let (node, epoch, own) = (other.node, other.epoch, self.epoch);
            return Err(LinkError::OtherEpoch { node, epoch, own });
        }
        if other.known_by.is_some_and(|known| known != self.directory)
            && !is_planted(Fault::DirectoriesUnchecked)
        {
            return Err(LinkError::KnownByOther { node: other.node });
        }
        // As many as the larger node has cores: each has its place at both.
        if other.link != self.link || other.link >= self.cores.max(other.cores) {
            return Err(LinkError::OtherLink { link: other.link });
        }
        if other.shards != self.shards {
            let (node, shards, own) = (other.node, other.shards, self.shards);
            return Err(LinkError::OtherShards { node, shards, own });
        }
        let version = self.versions.1.min(other.versions.1);
        if version < self.versions.0.max(other.versions.0) {
            let (least, most) = other.versions;
            return Err(LinkError::NoCommonVersion { least, most });
        }
        if other.election_timeout_ms != self.election_timeout_ms {
            let (node, own_ms) = (other.node, self.election_timeout_ms);
            let timeout_ms = other.election_timeout_ms;
            return Err(LinkError::OtherTimeout { node, timeout_ms, own_ms });
        }
        self.check_versions(other)?;
        let (own, others) = (self.encode(), other.encode());
        Ok(Agreed { version, send_seed: seed(&own, &others), receive_seed: seed(&others, &own) })
    }
}

impl Hello {
    /// Whether each side's program applies what the other has of the cluster, and both have begun
    /// with the same: entries of one must mean something to the other.
    pub fn check_versions(&self, other: &Hello) -> Result<(), LinkError> {
        let node = other.node;
        if is_planted(Fault::VersionsUnchecked) {
            return Ok(());
        }
        NotApplied::check(other.applied, self.version)
            .map_err(|error| LinkError::CannotApply { node, error })?;
        NotApplied::check(self.applied, other.version)
            .map_err(|error| LinkError::MustApply { node, error })?;
        match (other.founded, self.founded) {
            (founded, own) if founded == own => Ok(()),
            (founded, own) => Err(LinkError::OtherBeginning { node, founded, own }),
        }
    }
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    std::array::from_fn(|place| bytes[at + place])
}

fn is_sound(bytes: &[u8], part: usize) -> bool {
    let checked = CHECKED[part].clone();
    crc32c::crc32c(&bytes[checked.clone()]).to_le_bytes() == bytes_at(bytes, checked.end)
}

/// Both hellos, sender's first, without their own checksums: behind one the checksum of all before
/// is the same whatever that says.
fn seed(from: &[u8; HELLO_BYTES], to: &[u8; HELLO_BYTES]) -> u32 {
    let parts = [from, to].into_iter().flat_map(|hello| CHECKED.map(|part| &hello[part]));
    parts.fold(0, crc32c::crc32c_append)
}
