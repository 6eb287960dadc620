//! Lists: one packed array while small, then a deque of packed nodes.
//!
//! No operation on a long list costs more than a walk over its nodes' lengths (16 bytes each, side
//! by side) and work within two nodes; those that must read items (`remove`, `positions`) read
//! them once.
//!
//! # Layout
//! this file: the value and its encodings · `nodes` the deque · `search` by value

mod nodes;
mod search;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;

use super::compact::{Compact, Form, Never};
use super::limits::{EncodingLimits, NodeLimit};
use super::packed::{Packed, packed_bytes};
use super::thin::ThinBox;
use super::walk::Piece;
use nodes::Nodes;

type Repr = Compact<Packed, ThinBox<Nodes>, Never>;

/// What a listpack has besides its entries: Redis compares sizes with it.
const LISTPACK_FRAME_BYTES: usize = 7;

/// A list value.
pub struct List {
    repr: Repr,
}

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Index 0, Redis's left.
    Head,
    /// Index -1, Redis's right.
    Tail,
}

impl NodeLimit {
    /// Whether so many entries of so many bytes fit in one listpack.
    fn admits(self, entry_bytes: usize, len: usize) -> bool {
        entry_bytes + LISTPACK_FRAME_BYTES <= self.bytes_max && len <= self.len_max
    }
}

impl List {
    /// An empty list; the keyspace keeps none that stays so.
    pub fn new() -> Self {
        Self { repr: Repr::new(Form::A(Packed::new())) }
    }

    pub fn len(&self) -> usize {
        match self.repr.get() {
            Form::A(packed) => packed.len(),
            Form::B(nodes) => nodes.len(),
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
            Form::B(_) => "quicklist",
            Form::C(never) => match never {},
        }
    }

    /// Goes over to nodes when so many more items of so many bytes in all would pass the limit, as
    /// Redis does before the items of one command are added.
    pub fn expect<'a>(&mut self, items: impl Iterator<Item = &'a [u8]>, limits: &EncodingLimits) {
        let Form::A(packed) = self.repr.get() else { return };
        let limit = limits.list_listpack();
        let (bytes, len) =
            items.fold((0, 0), |(bytes, len), item| (bytes + packed_bytes(item.len()), len + 1));
        if !limit.admits(packed.entry_bytes() + bytes, packed.len() + len) {
            self.convert_to_nodes();
        }
    }

    pub fn push(&mut self, end: End, item: &[u8], limits: &EncodingLimits) {
        self.expect(std::iter::once(item), limits);
        match (self.repr.get_mut(), end) {
            (Form::A(mut packed), End::Head) => packed.push_front(item),
            (Form::A(mut packed), End::Tail) => packed.push_back(item),
            (Form::B(mut nodes), _) => nodes.push(end, item, limits.list_node()),
            (Form::C(_), _) => unreachable!("a list has two forms"),
        }
    }

    pub fn pop(&mut self, end: End, limits: &EncodingLimits) -> Option<Vec<u8>> {
        let last = self.len().checked_sub(1)?;
        let index = if end == End::Head { 0 } else { last };
        let item = self.at(index)?.to_vec();
        self.delete(index..index + 1, limits);
        Some(item)
    }

    /// The index that a client's means, negative ones counted from the end.
    pub fn index_of(&self, index: i64) -> Option<usize> {
        let len = self.len();
        let index = match usize::try_from(index) {
            Ok(index) => index,
            Err(_) => len.checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?,
        };
        (index < len).then_some(index)
    }

    /// The item of a client's index.
    pub fn get(&self, index: i64) -> Option<&[u8]> {
        self.at(self.index_of(index)?)
    }

    /// Changes the item of a client's index; false where there is none.
    pub fn set(&mut self, index: i64, item: &[u8], limits: &EncodingLimits) -> bool {
        let Some(index) = self.index_of(index) else { return false };
        self.expect(std::iter::once(item), limits);
        match self.repr.get_mut() {
            Form::A(mut packed) => {
                let position = packed.view().seek(index).expect("the index is within");
                packed.replace_at(position, item);
            }
            Form::B(mut nodes) => nodes.set(index, item, limits.list_node()),
            Form::C(_) => unreachable!("a list has two forms"),
        }
        self.convert_back(limits);
        true
    }

    /// Puts an item before the one of an index (not negative), or at the end.
    pub fn insert(&mut self, index: usize, item: &[u8], limits: &EncodingLimits) {
        self.expect(std::iter::once(item), limits);
        match self.repr.get_mut() {
            Form::A(mut packed) => packed.insert(index, item),
            Form::B(mut nodes) => nodes.insert(index, item, limits.list_node()),
            Form::C(_) => unreachable!("a list has two forms"),
        }
    }

    /// Deletes a range of indices (cut to those there are); says how many there were.
    pub fn delete(&mut self, range: Range<usize>, limits: &EncodingLimits) -> usize {
        let range = range.start..range.end.min(self.len());
        if range.is_empty() {
            return 0;
        }
        match self.repr.get_mut() {
            Form::A(mut packed) => {
                packed.delete(range.start, range.len());
            }
            Form::B(mut nodes) => nodes.delete(range.clone(), limits.list_node()),
            Form::C(_) => unreachable!("a list has two forms"),
        }
        self.convert_back(limits);
        range.len()
    }

    /// Keeps a range of indices only.
    pub fn trim(&mut self, range: Range<usize>, limits: &EncodingLimits) {
        let len = self.len();
        if range.is_empty() || range.start >= len {
            *self = Self::new();
            return;
        }
        self.delete(range.end.min(len)..len, limits);
        self.delete(0..range.start, limits);
    }

    /// Items of a range of indices, ascending; `rev` for the other way.
    pub fn range(&self, range: Range<usize>) -> impl DoubleEndedIterator<Item = &[u8]> {
        let range = range.start..range.end.min(self.len());
        let (packed, nodes) = match self.repr.get() {
            Form::A(packed) => (Some(packed.iter_range(range)), None),
            Form::B(nodes) => (None, Some(nodes.range(range))),
            Form::C(never) => match never {},
        };
        packed.into_iter().flatten().chain(nodes.into_iter().flatten())
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.range(0..self.len())
    }

    /// Packed arrays that hold the items.
    pub fn node_count(&self) -> usize {
        match self.repr.get() {
            Form::A(_) => 1,
            Form::B(nodes) => nodes.node_count(),
            Form::C(never) => match never {},
        }
    }

    /// What the list's allocations take.
    pub fn memory_bytes(&self) -> usize {
        let inner = match self.repr.get() {
            Form::A(_) => 0,
            Form::B(nodes) => nodes.memory_bytes(),
            Form::C(never) => match never {},
        };
        self.repr.block_bytes() + inner
    }

    /// Frees some `max` items of a long list that nobody will use again (beyond that at most the
    /// rest of a node); true when none is left.
    pub fn drain_slice(&mut self, max: usize) -> bool {
        if let Form::B(mut nodes) = self.repr.get_mut() {
            return nodes.drain_slice(max);
        }
        *self = Self::new();
        true
    }

    /// Begins a walk over the items as they are now; false, without one, in the packed form.
    pub fn begin_walk(&mut self) -> bool {
        if let Form::B(mut nodes) = self.repr.get_mut() {
            nodes.begin_walk();
            return true;
        }
        false
    }

    /// The next piece of the walk under way, in any order; `None` when all were given.
    pub fn next_piece(&mut self) -> Option<Piece> {
        match self.repr.get_mut() {
            Form::B(mut nodes) => nodes.next_piece(),
            _ => None,
        }
    }

    /// Ends a walk. A list that has shrunk meanwhile takes its packed form now.
    pub fn end_walk(&mut self, limits: &EncodingLimits) {
        if let Form::B(mut nodes) = self.repr.get_mut() {
            nodes.end_walk();
        }
        self.convert_back(limits);
    }

    fn at(&self, index: usize) -> Option<&[u8]> {
        match self.repr.get() {
            Form::A(packed) => packed.get(index),
            Form::B(nodes) => nodes.get(index),
            Form::C(never) => match never {},
        }
    }

    fn convert_to_nodes(&mut self) {
        let old = self.repr.replace(Form::A(Packed::new()));
        let Form::A(packed) = old else { unreachable!("only a packed list is converted") };
        self.repr.replace(Form::B(ThinBox::new(Nodes::from_packed(packed))));
    }

    /// Back to one packed array, when a single node is left and within half of the limit, so that
    /// it does not go to and fro.
    fn convert_back(&mut self, limits: &EncodingLimits) {
        let Form::B(nodes) = self.repr.get() else { return };
        if nodes.is_walking() {
            // What is left of the walk hangs on the nodes.
            return;
        }
        let limit = limits.list_listpack();
        let limit = NodeLimit { bytes_max: limit.bytes_max / 2, len_max: limit.len_max / 2 };
        if let Some(packed) = nodes.single().filter(|packed| {
            let by_len = limits.list_max_listpack_size >= 0;
            let bytes = if by_len { 0 } else { packed.entry_bytes() };
            limit.admits(bytes, packed.len())
        }) {
            let packed = packed.to_packed();
            self.repr.replace(Form::A(packed));
        }
    }
}

impl Default for List {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for List {
    fn clone(&self) -> Self {
        let form = match self.repr.get() {
            Form::A(packed) => Form::A(packed.to_packed()),
            Form::B(nodes) => Form::B(ThinBox::new(nodes.clone())),
            Form::C(never) => match never {},
        };
        Self { repr: Repr::new(form) }
    }
}

/// Equal items in equal order, whatever the encodings.
impl PartialEq for List {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for List {}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
