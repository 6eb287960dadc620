//! A value as bytes: what `Put` carries and checkpoints hold. `effect/FORMAT.md` has the layout.

use crate::effect::decode::{DecodeError, Reader};
use crate::effect::log::{put_bytes, put_varint};
use crate::hash::Hasher64;
use crate::keyspace::entry::{Value, ValueRef};
use crate::number::parse_i64;
use crate::value::limits::EncodingLimits;
use crate::value::list::End;
use crate::value::thin::ThinBytes;
use crate::value::{Hash, List, Set, ZSet};

pub(crate) const STRING: u8 = 1;
pub(crate) const LIST: u8 = 2;
pub(crate) const SET: u8 = 3;
pub(crate) const HASH: u8 = 4;
pub(crate) const SORTED_SET: u8 = 5;

/// Of a number that says how long something is, and of an integer's text.
const LENGTH_BYTES_MAX: usize = 10;
const INTEGER_DIGITS_MAX: usize = 20;

/// Appends the image of a value.
pub fn write(value: ValueRef<'_>, out: &mut Vec<u8>) {
    out.push(kind_of(value));
    write_content(value, out);
}

/// How long the image of a value is; of a small collection no less than that.
pub(crate) fn bytes_max(value: ValueRef<'_>, small_bytes: usize) -> usize {
    let text_bytes = |text: &[u8]| text.len() + LENGTH_BYTES_MAX;
    let (memory_bytes, exact): (usize, &dyn Fn() -> usize) = match &value {
        ValueRef::Integer(_) => return LENGTH_BYTES_MAX + INTEGER_DIGITS_MAX,
        ValueRef::Embedded(text) => return text_bytes(text),
        ValueRef::Raw(text) => return text_bytes(text),
        ValueRef::List(list) => (list.memory_bytes(), &|| list.iter().map(text_bytes).sum()),
        ValueRef::Set(set) => (set.memory_bytes(), &|| set.iter().map(|m| text_bytes(&m)).sum()),
        ValueRef::Hash(hash) => (hash.memory_bytes(), &|| {
            hash.iter().map(|(field, value)| text_bytes(field) + text_bytes(value)).sum()
        }),
        ValueRef::ZSet(zset) => (zset.memory_bytes(), &|| {
            zset.iter().map(|(member, _)| size_of::<f64>() + text_bytes(member)).sum()
        }),
    };
    // A packed element takes two bytes or more, and its image that and less than thirty.
    let bound = memory_bytes.saturating_mul(16);
    LENGTH_BYTES_MAX + if bound <= small_bytes { bound } else { exact() }
}

/// The type that an image of this value begins with.
pub(crate) fn kind_of(value: ValueRef<'_>) -> u8 {
    match value {
        ValueRef::Integer(_) | ValueRef::Embedded(_) | ValueRef::Raw(_) => STRING,
        ValueRef::List(_) => LIST,
        ValueRef::Set(_) => SET,
        ValueRef::Hash(_) => HASH,
        ValueRef::ZSet(_) => SORTED_SET,
    }
}

/// Appends what follows the type.
pub(crate) fn write_content(value: ValueRef<'_>, out: &mut Vec<u8>) {
    match value {
        ValueRef::Integer(integer) => {
            out.extend_from_slice(itoa::Buffer::new().format(integer).as_bytes());
        }
        ValueRef::Embedded(bytes) => out.extend_from_slice(bytes),
        ValueRef::Raw(bytes) => out.extend_from_slice(bytes),
        ValueRef::List(list) => {
            put_varint(out, list.len() as u64);
            list.iter().for_each(|element| put_bytes(out, element));
        }
        ValueRef::Set(set) => {
            put_varint(out, set.len() as u64);
            set.iter().for_each(|member| put_bytes(out, &member));
        }
        ValueRef::Hash(hash) => {
            put_varint(out, hash.len() as u64);
            for (field, value) in hash.iter() {
                put_bytes(out, field);
                put_bytes(out, value);
            }
        }
        ValueRef::ZSet(zset) => {
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
    read_content(kind, reader, limits, hasher)
}

/// Reads what follows the type, up to the reader's end.
pub(crate) fn read_content(
    kind: u8,
    mut reader: Reader<'_>,
    limits: &EncodingLimits,
    hasher: &Hasher64,
) -> Result<Value, DecodeError> {
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
