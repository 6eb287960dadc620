//! A digest of data: equal for equal data, whatever the encodings and the order in which they were
//! filled, and the same in every process. For DEBUG and for tests; nothing is stored by it.

use std::fmt;
use std::ops::BitXorAssign;

use crate::hash::Hasher64;

use super::entry::ValueRef;
use super::shard::Shard;

/// 160 bits, as Redis prints them. Those of a database are its keys' combined by XOR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest([u64; 3]);

impl BitXorAssign for Digest {
    fn bitxor_assign(&mut self, other: Digest) {
        self.0.iter_mut().zip(other.0).for_each(|(word, more)| *word ^= more);
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c] = self.0;
        write!(f, "{a:016x}{b:016x}{:08x}", c as u32)
    }
}

impl Digest {
    /// Of parts that must follow each other like this.
    fn of(parts: &[&[u8]]) -> Digest {
        let mut bytes = Vec::new();
        for part in parts {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part);
        }
        let hash = |key| Hasher64::new([key, 2, 3, 4]).hash(&bytes);
        Digest([hash(1), hash(2), hash(3)])
    }

    fn bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        for (place, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

/// Of one value without its key.
pub fn digest_of_value(value: ValueRef<'_>) -> Digest {
    let mut sum = Digest::default();
    match value {
        ValueRef::Integer(integer) => {
            sum = Digest::of(&[b"string", itoa::Buffer::new().format(integer).as_bytes()]);
        }
        ValueRef::Embedded(text) => sum = Digest::of(&[b"string", text]),
        ValueRef::Raw(text) => sum = Digest::of(&[b"string", text]),
        ValueRef::List(list) => {
            list.iter().for_each(|item| sum = Digest::of(&[b"list", &sum.bytes(), item]));
        }
        ValueRef::Set(set) => set.iter().for_each(|member| sum ^= Digest::of(&[b"set", &member])),
        ValueRef::Hash(hash) => {
            hash.iter().for_each(|(field, value)| sum ^= Digest::of(&[b"hash", field, value]));
        }
        ValueRef::ZSet(zset) => zset.iter().for_each(|(member, score)| {
            sum ^= Digest::of(&[b"zset", member, &score.to_bits().to_le_bytes()]);
        }),
    }
    sum
}

/// Of all keys of a database in a shard, with their times.
pub fn digest_of_database(shard: &Shard, db: u16) -> Digest {
    let mut sum = Digest::default();
    for entry in shard.database(db).table.iter() {
        let at_ms = entry.expires_at_ms().unwrap_or(-1).to_le_bytes();
        let value = digest_of_value(entry.value()).bytes();
        sum ^= Digest::of(&[&db.to_le_bytes(), entry.key(), &at_ms, &value]);
    }
    sum
}
