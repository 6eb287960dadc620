//! A sorted set made of members that come in any order: they are sorted once and the tree is filled
//! from its first leaf to its last.

use crate::hash::Hasher64;
use crate::table::{Probe, Table};
use crate::value::compact::Form;
use crate::value::limits::EncodingLimits;
use crate::value::thin::ThinBox;

use super::large::Large;
use super::member::Member;
use super::{Repr, ZSet};

pub struct Gathered {
    table: Table<Member>,
    members: Vec<Member>,
}

impl Gathered {
    pub fn with_room(len: usize, hasher: &Hasher64) -> Gathered {
        let table = Table::with_room(hasher.clone(), len);
        Gathered { table, members: Vec::with_capacity(len) }
    }

    /// Adds a member; false if it is there already. The score is not NaN.
    pub fn add(&mut self, member: &[u8], score: f64) -> bool {
        match self.table.probe(self.table.hash(member), member) {
            Probe::Occupied(_) => false,
            Probe::Vacant(vacant) => {
                let member = Member::new(score, member);
                self.members.push(member.clone());
                vacant.insert(member);
                true
            }
        }
    }

    /// The sorted set, in the form that the limits ask for.
    pub fn into_zset(self, limits: &EncodingLimits, hasher: &Hasher64) -> ZSet {
        let packs = self.members.len() <= limits.zset_max_listpack_entries
            && self.members.iter().all(|m| m.bytes().len() <= limits.zset_max_listpack_value);
        if packs {
            let mut zset = ZSet::new();
            for member in &self.members {
                zset.set(member.bytes(), member.score(), limits, hasher);
            }
            return zset;
        }
        let large = Large::of_table(self.table, self.members);
        ZSet { repr: Repr::new(Form::B(ThinBox::new(large))) }
    }
}
