//! A sorted set made of members that come in any order: they are sorted once and the tree is built
//! from its leaves up.

use crate::hash::Hasher64;
use crate::table::{Probe, Table};
use crate::value::compact::Form;
use crate::value::limits::EncodingLimits;
use crate::value::thin::ThinBox;

use super::large::Large;
use super::member::Member;
use super::tree::Item;
use super::{Repr, ZSet};

pub struct Gathered {
    table: Table<Member>,
    items: Vec<Item>,
    member_bytes: usize,
}

impl Gathered {
    pub fn with_room(len: usize, hasher: &Hasher64) -> Gathered {
        let table = Table::with_room(hasher.clone(), len);
        Gathered { table, items: Vec::with_capacity(len), member_bytes: 0 }
    }

    /// Adds a member; false if it is there already. The score is not NaN.
    pub fn add(&mut self, member: &[u8], score: f64) -> bool {
        match self.table.probe(self.table.hash(member), member) {
            Probe::Occupied(_) => false,
            Probe::Vacant(vacant) => {
                let member = Member::new(score, member);
                self.member_bytes += member.memory_bytes();
                self.items.push(Item::new(member.clone()));
                vacant.insert(member);
                true
            }
        }
    }

    /// Asks for what adding this member will touch.
    pub fn prefetch(&self, member: &[u8]) {
        self.table.prefetch_chunk(self.table.hash(member));
    }

    /// The sorted set, in the form that the limits ask for.
    pub fn into_zset(self, limits: &EncodingLimits, hasher: &Hasher64) -> ZSet {
        let packs = self.items.len() <= limits.zset_max_listpack_entries
            && self.items.iter().all(|item| item.bytes().len() <= limits.zset_max_listpack_value);
        if packs {
            let mut zset = ZSet::new();
            for item in &self.items {
                zset.set(item.bytes(), item.score(), limits, hasher);
            }
            return zset;
        }
        let large = Large::of_table(self.table, self.items, self.member_bytes);
        ZSet { repr: Repr::new(Form::B(ThinBox::new(large))) }
    }
}
