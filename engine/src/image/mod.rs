//! A value as bytes: what `Put` carries, later the body of checkpoints. `effect/FORMAT.md` has the
//! layout.

use crate::effect::decode::{DecodeError, Reader};
use crate::effect::log::{put_bytes, put_varint};
use crate::hash::Hasher64;
use crate::keyspace::entry::{Value, ValueRef};
use crate::number::parse_i64;
use crate::value::limits::EncodingLimits;
use crate::value::list::End;
use crate::value::thin::ThinBytes;
use crate::value::{Hash, List, Set, ZSet};

const STRING: u8 = 1;
const LIST: u8 = 2;
const SET: u8 = 3;
const HASH: u8 = 4;
const SORTED_SET: u8 = 5;

/// Appends the image of a value.
pub fn write(value: ValueRef<'_>, out: &mut Vec<u8>) {
    match value {
        ValueRef::Integer(integer) => {
            out.push(STRING);
            out.extend_from_slice(itoa::Buffer::new().format(integer).as_bytes());
        }
        ValueRef::Embedded(bytes) => {
            out.push(STRING);
            out.extend_from_slice(bytes);
        }
        ValueRef::Raw(bytes) => {
            out.push(STRING);
            out.extend_from_slice(bytes);
        }
        ValueRef::List(list) => {
            out.push(LIST);
            put_varint(out, list.len() as u64);
            list.iter().for_each(|element| put_bytes(out, element));
        }
        ValueRef::Set(set) => {
            out.push(SET);
            put_varint(out, set.len() as u64);
            set.iter().for_each(|member| put_bytes(out, &member));
        }
        ValueRef::Hash(hash) => {
            out.push(HASH);
            put_varint(out, hash.len() as u64);
            for (field, value) in hash.iter() {
                put_bytes(out, field);
                put_bytes(out, value);
            }
        }
        ValueRef::ZSet(zset) => {
            out.push(SORTED_SET);
            put_varint(out, zset.len() as u64);
            for (member, score) in zset.iter() {
                out.extend_from_slice(&score.to_bits().to_le_bytes());
                put_bytes(out, member);
            }
        }
    }
}

/// Reads an image. Collections take the encoding that `limits` ask for; an empty one is malformed,
/// since no key holds one.
pub fn read(
    image: &[u8],
    limits: &EncodingLimits,
    hasher: &Hasher64,
) -> Result<Value, DecodeError> {
    let mut reader = Reader::new(image);
    let kind = reader.u8()?;
    if kind == STRING {
        let text = reader.rest();
        return Ok(match parse_i64(text) {
            Some(integer) => Value::Integer(integer),
            None => Value::Raw(ThinBytes::from(text)),
        });
    }
    let offset = reader.offset();
    let count = reader.varint()?;
    if count == 0 {
        return Err(DecodeError::Malformed { offset });
    }
    let value = match kind {
        LIST => {
            let mut list = List::new();
            for _ in 0..count {
                list.push(End::Tail, reader.bytes()?, limits);
            }
            Value::List(list)
        }
        SET => {
            let mut set = Set::new();
            for _ in 0..count {
                set.add(reader.bytes()?, limits, hasher);
            }
            Value::Set(set)
        }
        HASH => {
            let mut hash = Hash::new();
            for _ in 0..count {
                let field = reader.bytes()?;
                hash.set(field, reader.bytes()?, limits, hasher);
            }
            Value::Hash(hash)
        }
        SORTED_SET => {
            let mut zset = ZSet::new();
            for _ in 0..count {
                let score = reader.score()?;
                zset.set(reader.bytes()?, score, limits, hasher);
            }
            Value::ZSet(zset)
        }
        kind => return Err(DecodeError::UnknownKind { kind, offset: 0 }),
    };
    if reader.is_empty() {
        Ok(value)
    } else {
        Err(DecodeError::Malformed { offset: reader.offset() })
    }
}
