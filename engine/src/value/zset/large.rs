//! The large form: a table from member to score, and a tree in the order of both.

use super::super::walk::{Piece, TableWalk};
use super::member::Member;
use super::tree::{Item, Tree};
use crate::effect::log::put_bytes;
use crate::hash::Hasher64;
use crate::table::{Probe, Table};

pub(super) struct Large {
    table: Table<Member>,
    tree: Tree,
    /// Sum of the members' blocks. Blocks that only a separator of the tree still holds (at most
    /// one a leaf, so under 2 % of all) are left out.
    member_bytes: usize,
    /// Goes over the table, in no order: the tree has nothing to note what was visited.
    walk: Option<Box<TableWalk>>,
}

fn put_member(member: &Member, out: &mut Vec<u8>) {
    out.extend_from_slice(&member.score().to_bits().to_le_bytes());
    put_bytes(out, member.bytes());
}

impl Large {
    pub(super) fn new(hasher: &Hasher64) -> Self {
        Self { table: Table::new(hasher.clone()), tree: Tree::new(), member_bytes: 0, walk: None }
    }

    /// Makes one of members that are in a table, and in no tree yet.
    pub(super) fn of_table(
        table: Table<Member>,
        mut items: Vec<Item>,
        member_bytes: usize,
    ) -> Self {
        items.sort_unstable_by(|a, b| a.compare(b.score(), b.bytes()));
        Self { table, tree: Tree::of_sorted(items), member_bytes, walk: None }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    pub(super) fn score(&self, member: &[u8]) -> Option<f64> {
        self.table.get(self.table.hash(member), member).map(Member::score)
    }

    pub(super) fn rank(&self, member: &[u8]) -> Option<usize> {
        self.score(member).map(|score| self.tree.rank(score, member))
    }

    pub(super) fn set(&mut self, member: &[u8], score: f64) -> Option<f64> {
        let hash = self.table.hash(member);
        self.before_change(hash, member);
        match self.table.probe(hash, member) {
            Probe::Occupied(mut entry) => {
                let old = entry.get().score();
                if old != score {
                    drop(self.tree.remove(old, member));
                    entry.get_mut().set_score(score);
                    self.tree.insert(entry.get().clone());
                }
                Some(old)
            }
            Probe::Vacant(vacant) => {
                let member = Member::new(score, member);
                self.member_bytes += member.memory_bytes();
                self.tree.insert(member.clone());
                vacant.insert(member);
                None
            }
        }
    }

    pub(super) fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let hash = self.table.hash(member);
        self.before_change(hash, member);
        let removed = self.table.remove(hash, member)?;
        self.tree.remove(removed.score(), member);
        self.member_bytes -= removed.memory_bytes();
        Some(removed.score())
    }

    /// Removes the member of a rank that there is.
    pub(super) fn remove_at(&mut self, rank: usize, removed: &mut impl FnMut(&[u8], f64)) {
        let item = self.tree.remove_at(rank).expect("the caller has cut the range");
        let hash = self.table.hash(item.bytes());
        self.before_change(hash, item.bytes());
        let member = self.table.remove(hash, item.bytes()).expect("the tree's members are here");
        self.member_bytes -= member.memory_bytes();
        removed(member.bytes(), member.score());
    }

    pub(super) fn scan(
        &self,
        cursor: u64,
        at_least: usize,
        mut visit: impl FnMut(&[u8], f64),
    ) -> u64 {
        self.table.scan(cursor, at_least, |member| visit(member.bytes(), member.score()))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let walk = self.walk.as_ref().map_or(0, |walk| walk.memory_bytes());
        self.table.memory_bytes() + self.tree.memory_bytes() + self.member_bytes + walk
    }

    pub(super) fn drain_slice(&mut self, max: usize) -> bool {
        // The tree first: its handles are dropped without freeing, then the table frees.
        let Self { table, tree, member_bytes, .. } = self;
        if tree.len > 0 {
            tree.drain_slice(max);
            return false;
        }
        table.drain_slice(max, |member| *member_bytes -= member.memory_bytes())
    }

    /// What [`Self::drain_slice`] has yet to free: each member is in the tree and in the table.
    pub(super) fn undrained(&self) -> usize {
        self.tree.len + self.table.len()
    }

    pub(super) fn begin_walk(&mut self) {
        self.walk = Some(TableWalk::begin(&mut self.table));
    }

    pub(super) fn next_piece(&mut self) -> Option<Piece> {
        self.walk.as_mut()?.next_piece(&mut self.table, put_member)
    }

    pub(super) fn end_walk(&mut self) {
        self.walk = None;
        self.table.end_walk();
    }

    #[inline]
    fn before_change(&mut self, hash: u64, member: &[u8]) {
        if let Some(walk) = &mut self.walk {
            walk.copy_before(&mut self.table, hash, member, put_member);
        }
    }

    /// In ascending order, which leaves the tree's leaves full.
    pub(super) fn copy(&self) -> Self {
        let mut copy = Self::new(self.table.hasher());
        for item in self.tree.range(0..usize::MAX) {
            copy.set(item.bytes(), item.score());
        }
        copy
    }

    #[cfg(test)]
    pub(super) fn check(&self) {
        self.tree.check();
        let bytes: usize = self.table.iter().map(Member::memory_bytes).sum();
        assert_eq!(bytes, self.member_bytes);
        assert_eq!(self.tree.range(0..usize::MAX).count(), self.table.len());
        for member in self.table.iter() {
            let rank = self.tree.rank(member.score(), member.bytes());
            let found = self.tree.range(rank..rank + 1).next().map(|item| item.bytes());
            assert_eq!(found, Some(member.bytes()));
        }
    }
}
