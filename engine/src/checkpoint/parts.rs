//! A value put together again from its pieces.

use std::collections::BTreeMap;

use crate::effect::decode::{DecodeError, Reader};
use crate::hash::Hasher64;
use crate::image::{HASH, LIST, SET, SORTED_SET, STRING};
use crate::keyspace::entry::Value;
use crate::limits::PREFETCHED_KEYS_MAX;
use crate::value::limits::EncodingLimits;
use crate::value::list::End;
use crate::value::thin::ThinBytes;
use crate::value::zset::Gathered;
use crate::value::{Hash, List, Set};

/// A value of which pieces are missing.
pub struct Parts {
    /// Elements still to come.
    left: u64,
    value: Partial,
}

enum Partial {
    /// Its bytes, zeros where pieces are missing. Pieces that overlap leave others missing.
    Text {
        bytes: ThinBytes,
        pieces: BTreeMap<u64, u64>,
    },
    List {
        list: List,
        next: u64,
        waiting: BTreeMap<u64, (u64, Vec<u8>)>,
    },
    Set(Set),
    Hash(Hash),
    ZSet(Gathered),
}

/// Why pieces do not make a value.
#[derive(Debug)]
pub enum PartsError {
    Malformed(DecodeError),
    Wrong(&'static str),
}

impl From<DecodeError> for PartsError {
    fn from(error: DecodeError) -> PartsError {
        PartsError::Malformed(error)
    }
}

impl Parts {
    /// Of a value of so many elements, of a string bytes. Room is made ahead of time for `room`.
    pub fn begin(
        kind: u8,
        total: u64,
        room: usize,
        limits: &EncodingLimits,
        hasher: &Hasher64,
    ) -> Result<Parts, PartsError> {
        if total == 0 {
            return Err(PartsError::Wrong("a value in pieces is not empty"));
        }
        let value = match kind {
            STRING => Partial::Text { bytes: ThinBytes::new(), pieces: BTreeMap::new() },
            LIST => Partial::List { list: List::new(), next: 1, waiting: BTreeMap::new() },
            SET => Partial::Set(Set::with_room(room, limits, hasher)),
            HASH => Partial::Hash(Hash::with_room(room, limits, hasher)),
            SORTED_SET => Partial::ZSet(Gathered::with_room(room, hasher)),
            _ => return Err(PartsError::Wrong("there is no such type of value")),
        };
        Ok(Parts { left: total, value })
    }

    /// Takes in a piece.
    pub fn add(
        &mut self,
        ordinal: u64,
        elements: u64,
        content: &[u8],
        limits: &EncodingLimits,
        hasher: &Hasher64,
    ) -> Result<(), PartsError> {
        self.left = self.left.checked_sub(elements).ok_or(TOO_MANY)?;
        let mut reader = Reader::new(content);
        match &mut self.value {
            Partial::Text { bytes, pieces } => add_text(bytes, pieces, ordinal, elements, content),
            Partial::List { list, next, waiting } => {
                if ordinal != *next {
                    let before = waiting.insert(ordinal, (elements, content.to_vec()));
                    return if before.is_some() || ordinal < *next { Err(TWICE) } else { Ok(()) };
                }
                push_all(list, elements, &mut reader, limits)?;
                *next += 1;
                while let Some((elements, content)) = waiting.remove(next) {
                    push_all(list, elements, &mut Reader::new(&content), limits)?;
                    *next += 1;
                }
                Ok(())
            }
            Partial::Set(set) => add_all(set, elements, reader, limits, hasher),
            Partial::Hash(hash) => add_all(hash, elements, reader, limits, hasher),
            Partial::ZSet(gathered) => add_all(gathered, elements, reader, limits, hasher),
        }
    }

    /// The value, if all pieces are there.
    pub fn finish(self, limits: &EncodingLimits, hasher: &Hasher64) -> Result<Value, PartsError> {
        const MISSING: PartsError = PartsError::Wrong("a value ends before all its pieces came");
        if self.left != 0 {
            return Err(MISSING);
        }
        Ok(match self.value {
            Partial::Text { bytes, .. } => Value::Raw(bytes),
            Partial::List { waiting, .. } if !waiting.is_empty() => return Err(MISSING),
            Partial::List { list, .. } => Value::List(list),
            Partial::Set(set) => Value::Set(set),
            Partial::Hash(hash) => Value::Hash(hash),
            Partial::ZSet(gathered) => Value::ZSet(gathered.into_zset(limits, hasher)),
        })
    }
}

const TOO_MANY: PartsError = PartsError::Wrong("a value has more elements than it said");
const TWICE: PartsError = PartsError::Wrong("an element or a piece stands twice");
const TRAILING: PartsError = PartsError::Wrong("a piece has more bytes than elements");

/// What takes elements in any order.
trait Elements {
    /// Reads an element and asks for what adding it will touch.
    fn prefetch(&self, reader: &mut Reader<'_>) -> Result<(), DecodeError>;

    /// Reads an element and adds it; false if it is there already.
    fn add(
        &mut self,
        reader: &mut Reader<'_>,
        limits: &EncodingLimits,
        hasher: &Hasher64,
    ) -> Result<bool, DecodeError>;
}

impl Elements for Set {
    fn prefetch(&self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        Set::prefetch(self, reader.bytes()?);
        Ok(())
    }

    fn add(
        &mut self,
        reader: &mut Reader<'_>,
        limits: &EncodingLimits,
        hasher: &Hasher64,
    ) -> Result<bool, DecodeError> {
        Ok(Set::add(self, reader.bytes()?, limits, hasher))
    }
}

impl Elements for Hash {
    fn prefetch(&self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        Hash::prefetch(self, reader.bytes()?);
        reader.bytes().map(drop)
    }

    fn add(
        &mut self,
        reader: &mut Reader<'_>,
        limits: &EncodingLimits,
        hasher: &Hasher64,
    ) -> Result<bool, DecodeError> {
        let field = reader.bytes()?;
        Ok(self.set(field, reader.bytes()?, limits, hasher))
    }
}

impl Elements for Gathered {
    fn prefetch(&self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        reader.score()?;
        Gathered::prefetch(self, reader.bytes()?);
        Ok(())
    }

    fn add(
        &mut self,
        reader: &mut Reader<'_>,
        _: &EncodingLimits,
        _: &Hasher64,
    ) -> Result<bool, DecodeError> {
        let score = reader.score()?;
        Ok(Gathered::add(self, reader.bytes()?, score))
    }
}

/// Adds elements some at a time, so that the waits for memory overlap.
fn add_all(
    to: &mut impl Elements,
    elements: u64,
    mut reader: Reader<'_>,
    limits: &EncodingLimits,
    hasher: &Hasher64,
) -> Result<(), PartsError> {
    const TOGETHER: u64 = PREFETCHED_KEYS_MAX as u64;
    let mut left = elements;
    while left > 0 {
        let count = left.min(TOGETHER);
        let mut ahead = reader.clone();
        for _ in 0..count {
            to.prefetch(&mut ahead)?;
        }
        for _ in 0..count {
            if !to.add(&mut reader, limits, hasher)? {
                return Err(TWICE);
            }
        }
        left -= count;
    }
    if reader.is_empty() { Ok(()) } else { Err(TRAILING) }
}

fn push_all(
    list: &mut List,
    elements: u64,
    reader: &mut Reader<'_>,
    limits: &EncodingLimits,
) -> Result<(), PartsError> {
    for _ in 0..elements {
        list.push(End::Tail, reader.bytes()?, limits);
    }
    if reader.is_empty() { Ok(()) } else { Err(TRAILING) }
}

/// Pieces that neither overlap nor exceed the total leave no gap once nothing is left.
fn add_text(
    bytes: &mut ThinBytes,
    pieces: &mut BTreeMap<u64, u64>,
    offset: u64,
    len: u64,
    content: &[u8],
) -> Result<(), PartsError> {
    if len != content.len() as u64 || len == 0 {
        return Err(TRAILING);
    }
    let end = offset.checked_add(len).filter(|end| *end < u64::from(u32::MAX)).ok_or(TOO_MANY)?;
    let before = pieces.range(..end).next_back();
    if before.is_some_and(|(_, before_end)| *before_end > offset) {
        return Err(TWICE);
    }
    pieces.insert(offset, end);
    let (start, end) = (offset as usize, end as usize);
    if bytes.len() < end {
        bytes.resize(end);
    }
    bytes[start..end].copy_from_slice(content);
    Ok(())
}
