//! Sets: of integers alone, packed while small, then in a table.

use std::fmt;
use std::ops::Deref;

use super::compact::{Compact, Form};
use super::intset::{IntSet, IntSetRef, parse_integer};
use super::limits::EncodingLimits;
use super::packed::Packed;
use super::pick;
use super::thin::{ThinBox, ThinBytes};
use super::walk::{Piece, TableWalk};
use crate::effect::log::put_bytes;
use crate::hash::Hasher64;
use crate::table::{Entry, Probe, Table};

type Repr = Compact<IntSet, Packed, ThinBox<Large>>;

/// A set value.
pub struct Set {
    repr: Repr,
}

/// The large form.
struct Large {
    table: Table<ThinBytes>,
    /// Sum of the members' blocks.
    member_bytes: usize,
    walk: Option<Box<TableWalk>>,
}

impl Entry for ThinBytes {
    #[inline]
    fn key(&self) -> &[u8] {
        self
    }
}

/// Longest text of a 64-bit integer.
const INTEGER_TEXT_MAX: usize = 20;

/// A member as bytes: borrowed, or the text of an integer.
#[derive(Clone, Copy)]
pub enum Member<'a> {
    Bytes(&'a [u8]),
    Text { text: [u8; INTEGER_TEXT_MAX], len: u8 },
}

impl Member<'_> {
    fn integer(number: i64) -> Self {
        let mut buffer = itoa::Buffer::new();
        let formatted = buffer.format(number).as_bytes();
        let mut text = [0; INTEGER_TEXT_MAX];
        text[..formatted.len()].copy_from_slice(formatted);
        Member::Text { text, len: formatted.len() as u8 }
    }
}

impl Deref for Member<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Member::Bytes(bytes) => bytes,
            Member::Text { text, len } => &text[..usize::from(*len)],
        }
    }
}

impl Large {
    fn new(hasher: &Hasher64) -> Self {
        Self { table: Table::new(hasher.clone()), member_bytes: 0, walk: None }
    }

    fn add(&mut self, member: &[u8]) -> bool {
        let hash = self.table.hash(member);
        self.before_change(hash, member);
        match self.table.probe(hash, member) {
            Probe::Occupied(_) => false,
            Probe::Vacant(vacant) => {
                let member = ThinBytes::from(member);
                self.member_bytes += member.memory_bytes();
                vacant.insert(member);
                true
            }
        }
    }

    fn remove(&mut self, member: &[u8]) -> Option<ThinBytes> {
        let hash = self.table.hash(member);
        self.before_change(hash, member);
        let removed = self.table.remove(hash, member)?;
        self.member_bytes -= removed.memory_bytes();
        Some(removed)
    }

    #[inline]
    fn before_change(&mut self, hash: u64, member: &[u8]) {
        if let Some(walk) = &mut self.walk {
            walk.copy_before(&mut self.table, hash, member, put_member);
        }
    }
}

fn put_member(member: &ThinBytes, out: &mut Vec<u8>) {
    put_bytes(out, member);
}

impl Set {
    /// An empty set; the keyspace keeps none that stays so.
    pub fn new() -> Self {
        Self { repr: Repr::new(Form::A(IntSet::new())) }
    }

    /// An empty set in the form Redis gives one that is about to hold `len` members, `first`
    /// among them.
    pub fn for_len(first: &[u8], len: usize, limits: &EncodingLimits, hasher: &Hasher64) -> Self {
        let form = if parse_integer(first).is_some() && len <= limits.set_max_intset_entries {
            Form::A(IntSet::new())
        } else if len <= limits.set_max_listpack_entries {
            Form::B(Packed::new())
        } else {
            Form::C(ThinBox::new(Large::new(hasher)))
        };
        Self { repr: Repr::new(form) }
    }

    /// An empty set in the form for so many members, as far as their number decides it.
    pub fn with_room(len: usize, limits: &EncodingLimits, hasher: &Hasher64) -> Self {
        if len <= limits.set_max_intset_entries.max(limits.set_max_listpack_entries) {
            return Self::new();
        }
        let table = Table::with_room(hasher.clone(), len);
        let large = Large { table, member_bytes: 0, walk: None };
        Self { repr: Repr::new(Form::C(ThinBox::new(large))) }
    }

    pub fn len(&self) -> usize {
        match self.repr.get() {
            Form::A(integers) => integers.len(),
            Form::B(packed) => packed.len(),
            Form::C(large) => large.table.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// OBJECT ENCODING's word.
    pub fn encoding(&self) -> &'static str {
        match self.repr.get() {
            Form::A(_) => "intset",
            Form::B(_) => "listpack",
            Form::C(_) => "hashtable",
        }
    }

    pub fn contains(&self, member: &[u8]) -> bool {
        match self.repr.get() {
            Form::A(integers) => parse_integer(member).is_some_and(|n| integers.contains(n)),
            Form::B(packed) => packed.find(member, 1).is_some(),
            Form::C(large) => large.table.get(large.table.hash(member), member).is_some(),
        }
    }

    /// Goes over to the table when so many members in one command would pass the thresholds, as
    /// Redis does before it adds them.
    pub fn expect_len(&mut self, len: usize, limits: &EncodingLimits, hasher: &Hasher64) {
        let max = match self.repr.get() {
            Form::A(_) => limits.set_max_intset_entries,
            Form::B(_) => limits.set_max_listpack_entries,
            Form::C(_) => return,
        };
        if len > max {
            self.convert_to_table(hasher);
        }
    }

    /// Goes back from the table to the packed form where the members left are few and short.
    pub fn repack(&mut self, limits: &EncodingLimits, hasher: &Hasher64) {
        let Form::C(large) = self.repr.get() else { return };
        if large.walk.is_some() {
            // What is left of the walk hangs on this form.
            return;
        }
        let mut smaller = Self { repr: Repr::new(Form::B(Packed::new())) };
        large.table.iter().for_each(|member| {
            smaller.add(member, limits, hasher);
        });
        *self = smaller;
    }

    /// Adds a member; true if it was not there. `hasher` is for the table, once there is one.
    pub fn add(&mut self, member: &[u8], limits: &EncodingLimits, hasher: &Hasher64) -> bool {
        match self.add_in_form(member, limits) {
            Adding::Present => return false,
            Adding::Added => {}
            Adding::AddedTooMany => self.convert_to_table(hasher),
            Adding::NeedsPacked => {
                self.convert_to_packed();
                self.add_in_form(member, limits);
            }
            Adding::NeedsTable => {
                self.convert_to_table(hasher);
                self.add_in_form(member, limits);
            }
        }
        true
    }

    /// Adds a member if the form can take it.
    fn add_in_form(&mut self, member: &[u8], limits: &EncodingLimits) -> Adding {
        let added = |is_new| if is_new { Adding::Added } else { Adding::Present };
        let packs = |len| {
            len < limits.set_max_listpack_entries && member.len() <= limits.set_max_listpack_value
        };
        match self.repr.get_mut() {
            Form::A(mut integers) => match parse_integer(member) {
                Some(number) if !integers.add(number) => Adding::Present,
                Some(_) if integers.len() > limits.set_max_intset_entries => Adding::AddedTooMany,
                Some(_) => Adding::Added,
                None if packs(integers.len())
                    && longest(integers.view()) <= limits.set_max_listpack_value =>
                {
                    Adding::NeedsPacked
                }
                None => Adding::NeedsTable,
            },
            Form::B(packed) if packed.view().find(member, 1).is_some() => Adding::Present,
            Form::B(mut packed) if packs(packed.len()) => {
                packed.push_back(member);
                Adding::Added
            }
            Form::B(_) => Adding::NeedsTable,
            Form::C(mut large) => added(large.add(member)),
        }
    }

    /// Removes a member; true if it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self.repr.get_mut() {
            Form::A(mut integers) => parse_integer(member).is_some_and(|n| integers.remove(n)),
            Form::B(mut packed) => match packed.view().find(member, 1) {
                Some(position) => packed.delete_at(position, 1) == 1,
                None => false,
            },
            Form::C(mut large) => large.remove(member).is_some(),
        }
    }

    /// Integers ascending, packed members in order of insertion, those of a table in none.
    pub fn iter(&self) -> impl Iterator<Item = Member<'_>> {
        let (integers, packed, table) = match self.repr.get() {
            Form::A(integers) => (Some(integers.iter().map(Member::integer)), None, None),
            Form::B(packed) => (None, Some(packed.iter().map(Member::Bytes)), None),
            Form::C(large) => {
                (None, None, Some(large.table.iter().map(|member| Member::Bytes(member))))
            }
        };
        let small = integers.into_iter().flatten().chain(packed.into_iter().flatten());
        small.chain(table.into_iter().flatten())
    }

    /// SSCAN: visits some members from a cursor on and returns the next, 0 at the end. The small
    /// forms are visited whole.
    pub fn scan(&self, cursor: u64, at_least: usize, mut visit: impl FnMut(&[u8])) -> u64 {
        match self.repr.get() {
            Form::C(large) => large.table.scan(cursor, at_least, |member| visit(member)),
            _ => {
                self.iter().for_each(|member| visit(&member));
                0
            }
        }
    }

    /// A member, chosen by random bits.
    pub fn random(&self, random: u64) -> Option<Member<'_>> {
        match self.repr.get() {
            Form::A(integers) => integers.get(pick(random, integers.len())).map(Member::integer),
            Form::B(packed) => packed.get(pick(random, packed.len())).map(Member::Bytes),
            Form::C(large) => large.table.random(random).map(|member| Member::Bytes(member)),
        }
    }

    /// Removes and returns a member, chosen by random bits.
    pub fn pop(&mut self, random: u64) -> Option<ThinBytes> {
        let member = ThinBytes::from(&*self.random(random)?);
        self.remove(&member);
        Some(member)
    }

    /// What the set's allocations take.
    pub fn memory_bytes(&self) -> usize {
        let inner = match self.repr.get() {
            Form::A(_) | Form::B(_) => 0,
            Form::C(large) => {
                let walk = large.walk.as_ref().map_or(0, |walk| walk.memory_bytes());
                large.table.memory_bytes() + large.member_bytes + walk
            }
        };
        self.repr.block_bytes() + inner
    }

    /// Frees some `max` members of a large set that nobody will use again; true when none is left.
    pub fn drain_slice(&mut self, max: usize) -> bool {
        if let Form::C(mut large) = self.repr.get_mut() {
            let Large { table, member_bytes, .. } = &mut **large;
            return table.drain_slice(max, |member| *member_bytes -= member.memory_bytes());
        }
        *self = Self::new();
        true
    }

    /// Asks for what adding this member will touch.
    pub fn prefetch(&self, member: &[u8]) {
        if let Form::C(large) = self.repr.get() {
            large.table.prefetch_chunk(large.table.hash(member));
        }
    }

    /// Begins a walk over the members as they are now; false, without one, in the small forms.
    pub fn begin_walk(&mut self) -> bool {
        if let Form::C(mut large) = self.repr.get_mut() {
            large.walk = Some(TableWalk::begin(&mut large.table));
            return true;
        }
        false
    }

    /// The next piece of the walk under way, `None` when all were given.
    pub fn next_piece(&mut self) -> Option<Piece> {
        let Form::C(mut large) = self.repr.get_mut() else { return None };
        let Large { table, walk, .. } = &mut **large;
        walk.as_mut()?.next_piece(table, put_member)
    }

    pub fn end_walk(&mut self) {
        if let Form::C(mut large) = self.repr.get_mut() {
            large.walk = None;
            large.table.end_walk();
        }
    }

    fn convert_to_packed(&mut self) {
        let mut packed = Packed::new();
        self.iter().for_each(|member| packed.push_back(&member));
        self.repr.replace(Form::B(packed));
    }

    fn convert_to_table(&mut self, hasher: &Hasher64) {
        let mut large = Large::new(hasher);
        for member in self.iter() {
            large.add(&member);
        }
        self.repr.replace(Form::C(ThinBox::new(large)));
    }
}

/// What became of a member to add.
enum Adding {
    Present,
    Added,
    /// Added, and the form is now too small for all.
    AddedTooMany,
    NeedsPacked,
    NeedsTable,
}

/// Length of the longest text among integers.
fn longest(integers: IntSetRef<'_>) -> usize {
    let ends = [integers.get(0), integers.len().checked_sub(1).and_then(|n| integers.get(n))];
    ends.into_iter().flatten().map(|number| Member::integer(number).len()).max().unwrap_or(0)
}

impl Default for Set {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for Set {
    fn clone(&self) -> Self {
        let form = match self.repr.get() {
            Form::A(integers) => Form::A(integers.to_int_set()),
            Form::B(packed) => Form::B(packed.to_packed()),
            Form::C(large) => {
                let mut copy = Large::new(large.table.hasher());
                large.table.iter().for_each(|member| {
                    copy.add(member);
                });
                Form::C(ThinBox::new(copy))
            }
        };
        Self { repr: Repr::new(form) }
    }
}

/// Equal contents, whatever the encodings and orders.
impl PartialEq for Set {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|member| other.contains(&member))
    }
}

impl Eq for Set {}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|member| member.to_vec())).finish()
    }
}

#[cfg(test)]
mod tests;
