//! What a machine without a number says at the port for nodes, and hears. Sans-IO. It asks again
//! and again until it is welcome; every answer ends its connection. Little-endian.
//!
//! | offset | size | question |
//! | --- | --- | --- |
//! | 0 | 8 | `QUORMEET` |
//! | 8 | 2 | version: 3 |
//! | 10 | 16 | the cluster |
//! | 26 | 16 | the asker's data directory |
//! | 42 | 2 | shards that it would have; 0: as the others |
//! | 44 | 19 | its address, as in a roster, and zeros |
//! | 64 | 2 | its election timeout in ms |
//! | 66 | 4 | least and most version of a cluster that its program applies, less 1 each |
//! | 96 | 4 | CRC32C of all before |
//!
//! An answer is `QUORMEET`, its length (u32), the length's bytes and their CRC32C. The first byte
//! says what it is: 1 a reason to wait, in words; 2 welcome: number u64, epoch u8, shards u16, two
//! lists of numbers (u8 and u64 each: founders, lost ones), the roster; 3 the same, and before all
//! that the version with which the cluster began (u16), if it was another than 1.

use std::net::SocketAddr;

use super::hello::{DirectoryId, FIRST_BYTES};
use crate::group::NodeId;
use crate::group::roster::{Roster, decode_address, encode_address, take};
use crate::version::{NotApplied, Version, Versions};

pub const MAGIC: &[u8; 8] = b"QUORMEET";
const VERSION: u16 = 3;
pub const QUESTION_BYTES: usize = FIRST_BYTES;
const CHECKED_BYTES: usize = QUESTION_BYTES - 4;
const ADDRESS_END: usize = 64;
/// Of an answer: more is none.
pub const ANSWER_BYTES_MAX: usize = 64 << 10;

/// A machine wants to be a node of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    pub cluster: [u8; 16],
    pub directory: DirectoryId,
    pub shards: u16,
    /// Where others reach it.
    pub address: SocketAddr,
    /// What it was started with; 0 if it is of an older program.
    pub election_timeout_ms: u16,
    pub applied: Versions,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Not yet, for this reason.
    Wait(String),
    Welcome(Welcome),
}

/// What a node starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    pub node: NodeId,
    pub epoch: u8,
    pub shards: u16,
    /// What the cluster began with.
    pub founded: Version,
    pub founders: Vec<NodeId>,
    pub lost: Vec<NodeId>,
    pub roster: Roster,
}

impl Question {
    pub fn encode(&self) -> [u8; QUESTION_BYTES] {
        let mut out = Vec::with_capacity(QUESTION_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.cluster);
        out.extend_from_slice(&self.directory.0);
        out.extend_from_slice(&self.shards.to_le_bytes());
        encode_address(&self.address, &mut out);
        out.resize(ADDRESS_END, 0);
        out.extend_from_slice(&self.election_timeout_ms.to_le_bytes());
        out.extend_from_slice(&self.applied.encode());
        out.resize(CHECKED_BYTES, 0);
        let checksum = crc32c::crc32c(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out.try_into().expect("a question has its length")
    }

    pub fn decode(bytes: &[u8; QUESTION_BYTES]) -> Option<Question> {
        let (checked, checksum) = bytes.split_at(CHECKED_BYTES);
        let sound = crc32c::crc32c(checked).to_le_bytes() == *checksum;
        let rest = &mut checked.strip_prefix(MAGIC).filter(|_| sound)?;
        let _version = u16::from_le_bytes(take(rest)?);
        let (cluster, directory) = (take(rest)?, DirectoryId(take(rest)?));
        let shards = u16::from_le_bytes(take(rest)?);
        let address = decode_address(rest)?;
        let rest = &mut &bytes[ADDRESS_END..];
        let election_timeout_ms = u16::from_le_bytes(take(rest)?);
        let applied = Versions::decode(take(rest)?);
        Some(Question { cluster, directory, shards, address, election_timeout_ms, applied })
    }
}

impl Question {
    /// Why who asks is not heard where this token is another one; `own` is who says so.
    pub fn differs_in_token(&self, cluster: [u8; 16], own: &str) -> Option<String> {
        (self.cluster != cluster).then(|| {
            format!(
                "{own} was started with another --cluster-token than this machine: start this one \
                 with that of the others, or correct its --join"
            )
        })
    }

    /// Why who asks cannot be a node beside those that were started with this election timeout.
    pub fn differs_in_timeout(&self, own_ms: u16) -> Option<String> {
        let asked_ms = self.election_timeout_ms;
        (asked_ms != own_ms).then(|| {
            format!(
                "the others were started with --election-timeout-ms {own_ms}, this one with \
                 {asked_ms}: all nodes of a cluster need the same"
            )
        })
    }
}

impl Question {
    /// Why who asks cannot be a node of a cluster of this version.
    pub fn lacks_version(&self, version: Version) -> Option<String> {
        let checked = NotApplied::check(self.applied, version);
        checked.err().map(|error| {
            let NotApplied { version, applied } = error;
            let remedy = error.remedy("here");
            format!("the cluster has version {version}, this program applies {applied}. {remedy}")
        })
    }
}

impl Answer {
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        match self {
            Answer::Wait(why) => {
                body.push(1);
                body.extend_from_slice(why.as_bytes());
            }
            Answer::Welcome(welcome) => {
                if welcome.founded == Version(1) {
                    body.push(2);
                } else {
                    body.push(3);
                    body.extend_from_slice(&welcome.founded.0.to_le_bytes());
                }
                body.extend_from_slice(&welcome.node.0.to_le_bytes());
                body.push(welcome.epoch);
                body.extend_from_slice(&welcome.shards.to_le_bytes());
                for list in [&welcome.founders, &welcome.lost] {
                    body.push(list.len() as u8);
                    list.iter().for_each(|node| body.extend_from_slice(&node.0.to_le_bytes()));
                }
                welcome.roster.encode(&mut body);
            }
        }
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&(body.len() as u32).to_le_bytes());
        out.extend_from_slice(&body);
        out.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        out
    }

    /// Reads an answer that has come whole.
    pub fn decode(bytes: &[u8]) -> Option<Answer> {
        let rest = &mut bytes.strip_prefix(MAGIC)?;
        let len = u32::from_le_bytes(take(rest)?) as usize;
        let (body, mut checksum) = rest.split_at_checked(len)?;
        let sound = take::<4>(&mut checksum)? == crc32c::crc32c(body).to_le_bytes();
        let (kind, mut body) = body.split_first().filter(|_| sound)?;
        let rest = &mut body;
        match kind {
            1 => Some(Answer::Wait(String::from_utf8_lossy(rest).into_owned())),
            2 | 3 => {
                let founded = match kind {
                    2 => Version(1),
                    _ => Version(u16::from_le_bytes(take(rest)?)),
                };
                let node = NodeId(u64::from_le_bytes(take(rest)?));
                let [epoch] = take(rest)?;
                let shards = u16::from_le_bytes(take(rest)?);
                let (founders, lost) = (take_list(rest)?, take_list(rest)?);
                let roster = Roster::decode(rest)?;
                Some(Answer::Welcome(Welcome {
                    node,
                    epoch,
                    shards,
                    founded,
                    founders,
                    lost,
                    roster,
                }))
            }
            _ => None,
        }
    }
}

fn take_list(rest: &mut &[u8]) -> Option<Vec<NodeId>> {
    let [count] = take(rest)?;
    (0..count).map(|_| Some(NodeId(u64::from_le_bytes(take(rest)?)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_answers_are_read_back_whole_or_not_at_all() {
        let address = SocketAddr::from(([10, 0, 0, 1], 7));
        let directory = DirectoryId([3; 16]);
        let (shards, election_timeout_ms) = (4, 300);
        let applied = Versions { least: Version(1), most: Version(4) };
        let cluster = [1; 16];
        let question =
            Question { cluster, directory, shards, address, election_timeout_ms, applied };
        let mut bytes = question.encode();
        assert_eq!(Question::decode(&bytes), Some(question));
        bytes[30] ^= 1;
        assert_eq!(Question::decode(&bytes), None);
        let mut roster = Roster::default();
        roster.add(address, directory);
        let (founders, lost) = (vec![NodeId(1)], vec![NodeId(2), NodeId(3)]);
        let (node, founded) = (NodeId(4), Version(1));
        let welcome = Welcome { node, epoch: 1, shards: 4, founded, founders, lost, roster };
        let newer = Welcome { founded: Version(2), ..welcome.clone() };
        let welcomes = [welcome, newer].map(Answer::Welcome);
        assert_eq!(welcomes[0].encode().len() + 2, welcomes[1].encode().len());
        assert_eq!(question.lacks_version(Version(4)), None);
        assert!(question.lacks_version(Version(5)).is_some_and(|why| why.contains("applies 5")));
        for answer in welcomes.into_iter().chain([Answer::Wait("soon".into())]) {
            let bytes = answer.encode();
            assert_eq!(Answer::decode(&bytes), Some(answer));
            assert_eq!(Answer::decode(&bytes[..bytes.len() - 1]), None);
            let mut damaged = bytes.clone();
            damaged[14] ^= 1;
            assert_eq!(Answer::decode(&damaged), None);
        }
    }
}
