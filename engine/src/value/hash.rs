//! Hashes: fields and their values, packed while small, then in a table.
//!
//! Invariant: the packed form keeps its pairs in the order in which their fields were first set.

use super::compact::{Compact, Form, Never};
use super::limits::EncodingLimits;
use super::packed::{Packed, PackedRef};
use super::pick;
use super::thin::{ThinBox, ThinBytes};
use super::walk::{Piece, TableWalk};
use crate::effect::log::put_bytes;
use crate::hash::Hasher64;
use crate::table::{Entry, Probe, Table};

type Repr = Compact<Packed, ThinBox<Large>, Never>;

/// A hash value.
pub struct Hash {
    repr: Repr,
}

/// The large form.
struct Large {
    table: Table<Pair>,
    /// Sum of the pairs' blocks.
    pair_bytes: usize,
    walk: Option<Box<TableWalk>>,
}

/// A field and its value in one allocation:
/// `[field length: 1 byte, or 255 and 4 bytes] field · value`.
pub struct Pair {
    bytes: ThinBytes,
}

/// The mark of a field longer than one byte tells.
const LONG: u8 = 255;

impl Pair {
    fn new(field: &[u8], value: &[u8]) -> Self {
        let mut length = [LONG; 5];
        let length_bytes = if field.len() < usize::from(LONG) {
            length[0] = field.len() as u8;
            1
        } else {
            let len = u32::try_from(field.len()).expect("a field stays below 4 GiB");
            length[1..].copy_from_slice(&len.to_le_bytes());
            5
        };
        Self { bytes: ThinBytes::from_parts(&[&length[..length_bytes], field, value]) }
    }

    pub fn field(&self) -> &[u8] {
        self.parts().0
    }

    pub fn value(&self) -> &[u8] {
        self.parts().1
    }

    fn parts(&self) -> (&[u8], &[u8]) {
        match self.bytes[..] {
            [LONG, a, b, c, d, ref rest @ ..] => {
                rest.split_at(u32::from_le_bytes([a, b, c, d]) as usize)
            }
            [len, ref rest @ ..] => rest.split_at(usize::from(len)),
            [] => (&[], &[]),
        }
    }

    fn set_value(&mut self, value: &[u8]) {
        let start = self.bytes.len() - self.value().len();
        self.bytes.splice(start..self.bytes.len(), &[value]);
        self.bytes.shrink_if_sparse();
    }
}

impl Large {
    fn new(hasher: &Hasher64) -> Self {
        Self { table: Table::new(hasher.clone()), pair_bytes: 0, walk: None }
    }

    fn set(&mut self, field: &[u8], value: &[u8]) -> bool {
        let hash = self.table.hash(field);
        self.before_change(hash, field);
        match self.table.probe(hash, field) {
            Probe::Occupied(mut pair) => {
                let pair = pair.get_mut();
                self.pair_bytes -= pair.bytes.memory_bytes();
                pair.set_value(value);
                self.pair_bytes += pair.bytes.memory_bytes();
                false
            }
            Probe::Vacant(vacant) => {
                let pair = Pair::new(field, value);
                self.pair_bytes += pair.bytes.memory_bytes();
                vacant.insert(pair);
                true
            }
        }
    }

    fn delete(&mut self, field: &[u8]) -> bool {
        let hash = self.table.hash(field);
        self.before_change(hash, field);
        let removed = self.table.remove(hash, field);
        self.pair_bytes -= removed.as_ref().map_or(0, |pair| pair.bytes.memory_bytes());
        removed.is_some()
    }

    #[inline]
    fn before_change(&mut self, hash: u64, field: &[u8]) {
        if let Some(walk) = &mut self.walk {
            walk.copy_before(&mut self.table, hash, field, put_pair);
        }
    }
}

fn put_pair(pair: &Pair, out: &mut Vec<u8>) {
    let (field, value) = pair.parts();
    put_bytes(out, field);
    put_bytes(out, value);
}

impl Entry for Pair {
    #[inline]
    fn key(&self) -> &[u8] {
        self.field()
    }
}

impl Hash {
    /// An empty hash; the keyspace keeps none that stays so.
    pub fn new() -> Self {
        Self { repr: Repr::new(Form::A(Packed::new())) }
    }

    /// An empty hash in the form for so many fields.
    pub fn with_room(len: usize, limits: &EncodingLimits, hasher: &Hasher64) -> Self {
        if len <= limits.hash_max_listpack_entries {
            return Self::new();
        }
        let table = Table::with_room(hasher.clone(), len);
        let large = Large { table, pair_bytes: 0, walk: None };
        Self { repr: Repr::new(Form::B(ThinBox::new(large))) }
    }

    pub fn len(&self) -> usize {
        match self.repr.get() {
            Form::A(packed) => packed.len() / 2,
            Form::B(large) => large.table.len(),
            Form::C(never) => match never {},
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// OBJECT ENCODING's word.
    pub fn encoding(&self) -> &'static str {
        match self.repr.get() {
            Form::A(_) => "listpack",
            Form::B(_) => "hashtable",
            Form::C(never) => match never {},
        }
    }

    pub fn get(&self, field: &[u8]) -> Option<&[u8]> {
        match self.repr.get() {
            Form::A(packed) => {
                packed.find(field, 2).and_then(|at| packed.next(at)).map(|at| packed.at(at))
            }
            Form::B(large) => large.table.get(large.table.hash(field), field).map(Pair::value),
            Form::C(never) => match never {},
        }
    }

    pub fn contains(&self, field: &[u8]) -> bool {
        self.get(field).is_some()
    }

    /// Length of a field's value; 0 where there is none.
    pub fn value_len(&self, field: &[u8]) -> usize {
        self.get(field).map_or(0, <[u8]>::len)
    }

    /// Goes over to the table when so many fields in one command would pass the threshold, as
    /// Redis does before it sets them.
    pub fn expect(&mut self, count: usize, limits: &EncodingLimits, hasher: &Hasher64) {
        if count > limits.hash_max_listpack_entries {
            self.convert(hasher);
        }
    }

    /// Sets a field; true if it was not there. `hasher` is for the table, once there is one.
    pub fn set(
        &mut self,
        field: &[u8],
        value: &[u8],
        limits: &EncodingLimits,
        hasher: &Hasher64,
    ) -> bool {
        if field.len().max(value.len()) > limits.hash_max_listpack_value {
            self.convert(hasher);
        }
        let created = match self.repr.get_mut() {
            Form::A(mut packed) => set_packed(&mut packed, field, value),
            Form::B(mut large) => large.set(field, value),
            Form::C(_) => unreachable!("a hash has two forms"),
        };
        if created && self.len() > limits.hash_max_listpack_entries {
            self.convert(hasher);
        }
        created
    }

    /// Deletes a field; true if it was there.
    pub fn delete(&mut self, field: &[u8]) -> bool {
        match self.repr.get_mut() {
            Form::A(mut packed) => match packed.view().find(field, 2) {
                Some(position) => packed.delete_at(position, 2) == 2,
                None => false,
            },
            Form::B(mut large) => large.delete(field),
            Form::C(_) => unreachable!("a hash has two forms"),
        }
    }

    /// Fields and values: in order of insertion while packed, in no order then.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let (packed, table) = match self.repr.get() {
            Form::A(packed) => (Some(packed.pairs()), None),
            Form::B(large) => (None, Some(large.table.iter().map(Pair::parts))),
            Form::C(never) => match never {},
        };
        packed.into_iter().flatten().chain(table.into_iter().flatten())
    }

    /// HSCAN: visits some pairs from a cursor on and returns the next, 0 at the end. The packed
    /// form is visited whole.
    pub fn scan(&self, cursor: u64, at_least: usize, mut visit: impl FnMut(&[u8], &[u8])) -> u64 {
        match self.repr.get() {
            Form::A(packed) => {
                packed.pairs().for_each(|(field, value)| visit(field, value));
                0
            }
            Form::B(large) => {
                large.table.scan(cursor, at_least, |pair| visit(pair.field(), pair.value()))
            }
            Form::C(never) => match never {},
        }
    }

    /// A field and its value, chosen by random bits.
    pub fn random(&self, random: u64) -> Option<(&[u8], &[u8])> {
        match self.repr.get() {
            Form::A(packed) => random_pair(packed, random),
            Form::B(large) => large.table.random(random).map(Pair::parts),
            Form::C(never) => match never {},
        }
    }

    /// What the hash's allocations take.
    pub fn memory_bytes(&self) -> usize {
        let inner = match self.repr.get() {
            Form::A(_) => 0,
            Form::B(large) => {
                let walk = large.walk.as_ref().map_or(0, |walk| walk.memory_bytes());
                large.table.memory_bytes() + large.pair_bytes + walk
            }
            Form::C(never) => match never {},
        };
        self.repr.block_bytes() + inner
    }

    /// Frees some `max` pairs of a large hash that nobody will use again; true when none is left.
    pub fn drain_slice(&mut self, max: usize) -> bool {
        match self.repr.get_mut() {
            Form::A(mut packed) => {
                *packed = Packed::new();
                true
            }
            Form::B(mut large) => {
                let Large { table, pair_bytes, .. } = &mut **large;
                table.drain_slice(max, |pair| *pair_bytes -= pair.bytes.memory_bytes())
            }
            Form::C(_) => unreachable!("a hash has two forms"),
        }
    }

    /// Asks for what setting this field will touch.
    pub fn prefetch(&self, field: &[u8]) {
        if let Form::B(large) = self.repr.get() {
            large.table.prefetch_chunk(large.table.hash(field));
        }
    }

    /// Begins a walk over the pairs as they are now; false, without one, in the packed form.
    pub fn begin_walk(&mut self) -> bool {
        if let Form::B(mut large) = self.repr.get_mut() {
            large.walk = Some(TableWalk::begin(&mut large.table));
            return true;
        }
        false
    }

    /// The next piece of the walk under way, `None` when all were given.
    pub fn next_piece(&mut self) -> Option<Piece> {
        let Form::B(mut large) = self.repr.get_mut() else { return None };
        let Large { table, walk, .. } = &mut **large;
        walk.as_mut()?.next_piece(table, put_pair)
    }

    pub fn end_walk(&mut self) {
        if let Form::B(mut large) = self.repr.get_mut() {
            large.walk = None;
            large.table.end_walk();
        }
    }

    fn convert(&mut self, hasher: &Hasher64) {
        let Form::A(packed) = self.repr.get() else { return };
        let mut large = Large::new(hasher);
        for (field, value) in packed.pairs() {
            large.set(field, value);
        }
        self.repr.replace(Form::B(ThinBox::new(large)));
    }
}

impl Default for Hash {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for Hash {
    fn clone(&self) -> Self {
        let repr = match self.repr.get() {
            Form::A(packed) => Form::A(packed.to_packed()),
            Form::B(large) => {
                let mut copy = Large::new(large.table.hasher());
                for (field, value) in large.table.iter().map(Pair::parts) {
                    copy.set(field, value);
                }
                Form::B(ThinBox::new(copy))
            }
            Form::C(never) => match never {},
        };
        Self { repr: Repr::new(repr) }
    }
}

/// Equal contents, whatever the encodings and orders.
impl PartialEq for Hash {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.iter().all(|(field, value)| other.get(field) == Some(value))
    }
}

impl Eq for Hash {}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

fn set_packed(packed: &mut Packed, field: &[u8], value: &[u8]) -> bool {
    let Some(position) = packed.view().find(field, 2) else {
        packed.push_back(field);
        packed.push_back(value);
        return true;
    };
    let value_position = packed.view().next(position).expect("a value follows each field");
    packed.replace_at(value_position, value);
    false
}

fn random_pair(packed: PackedRef<'_>, random: u64) -> Option<(&[u8], &[u8])> {
    let field = packed.seek(2 * pick(random, packed.len() / 2))?;
    Some((packed.at(field), packed.at(packed.next(field)?)))
}

#[cfg(test)]
mod tests;
