//! A counted B+tree of members ordered by score, then bytes: ranks, ranges and neighbours in
//! O(log n).
//!
//! A *separator* (`Child::low`) is no greater than any item of its child and greater than every
//! item before it; its member may have been removed since. The first child of a node has none.
//!
//! Invariant: `Child::count` is the number of items below; no node is empty but an empty root.
//! Removal joins a node that is less than a quarter full with a neighbour where both fit well
//! within one, and leaves it alone otherwise: any two neighbours hold more than a quarter.

use std::cmp::Ordering;

use super::super::alloc_size;
use super::member::Member;

/// Items of a leaf: 64 of 16 bytes make a block of 1 KiB.
const LEAF_MAX: usize = 64;
/// Children of an inner node: with one too many, before it splits, 64.
const INNER_MAX: usize = 63;

const LEAF_BYTES: usize = alloc_size(LEAF_MAX * size_of::<Item>());
const INNER_BYTES: usize = alloc_size((INNER_MAX + 1) * size_of::<Child>());

/// A member with its score beside it, so that a search does not have to follow the pointer.
pub(super) struct Item {
    score: f64,
    member: Member,
}

enum Node {
    Leaf(Vec<Item>),
    Inner(Vec<Child>),
}

struct Child {
    low: Option<Item>,
    count: usize,
    node: Node,
}

pub(super) struct Tree {
    root: Node,
    pub(super) len: usize,
    shape: Shape,
}

/// Numbers of nodes, for the account of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    leaves: usize,
    inners: usize,
}

/// Items of a range of ranks, from both ends.
pub(super) struct Range<'a> {
    tree: &'a Tree,
    start: usize,
    end: usize,
    /// What is left of the leaf at either end.
    front: &'a [Item],
    back: &'a [Item],
}

impl Item {
    pub(super) fn new(member: Member) -> Self {
        Self { score: member.score(), member }
    }

    fn copy(&self) -> Self {
        Self { score: self.score, member: self.member.clone() }
    }

    #[inline]
    pub(super) fn score(&self) -> f64 {
        self.score
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        self.member.bytes()
    }

    /// How it stands to a score and bytes.
    #[inline]
    pub(super) fn compare(&self, score: f64, bytes: &[u8]) -> Ordering {
        match self.score.partial_cmp(&score) {
            Some(Ordering::Equal) => self.bytes().cmp(bytes),
            Some(order) => order,
            None => unreachable!("a score is never NaN"),
        }
    }
}

impl Tree {
    pub(super) fn new() -> Self {
        Self { root: Node::new_leaf(), len: 0, shape: Shape { leaves: 1, inners: 0 } }
    }

    /// A tree of items in order; all its nodes but the last ones are full.
    pub(super) fn of_sorted(items: Vec<Item>) -> Self {
        let len = items.len();
        let mut shape = Shape { leaves: 0, inners: 0 };
        let mut level = grouped(items, LEAF_MAX, LEAF_MAX, |leaf| {
            shape.leaves += 1;
            Child { low: Some(leaf[0].copy()), count: leaf.len(), node: Node::Leaf(leaf) }
        });
        while level.len() > 1 {
            level = grouped(level, INNER_MAX, INNER_MAX + 1, |mut children| {
                shape.inners += 1;
                let low = children[0].low.take();
                let count = children.iter().map(|child| child.count).sum();
                Child { low, count, node: Node::Inner(children) }
            });
        }
        match level.pop() {
            Some(only) => Self { root: only.node, len, shape },
            None => Self::new(),
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.shape.leaves * LEAF_BYTES + self.shape.inners * INNER_BYTES
    }

    /// The number of items that come before the first for which `is_before` is false; it must be
    /// true for a first part of the order and false for the rest. An item's bytes cost a cache
    /// line: ask for them only where its score does not decide.
    pub(super) fn partition(&self, mut is_before: impl FnMut(&Item) -> bool) -> usize {
        let mut rank = 0;
        let mut node = &self.root;
        loop {
            match node {
                Node::Leaf(items) => return rank + items.partition_point(is_before),
                Node::Inner(children) => {
                    let index = child_for(children, &mut is_before);
                    rank += children[..index].iter().map(|child| child.count).sum::<usize>();
                    node = &children[index].node;
                }
            }
        }
    }

    /// The rank of an item, or the one it would get.
    pub(super) fn rank(&self, score: f64, bytes: &[u8]) -> usize {
        self.partition(|item| item.compare(score, bytes) == Ordering::Less)
    }

    pub(super) fn range(&self, ranks: std::ops::Range<usize>) -> Range<'_> {
        let end = ranks.end.min(self.len);
        Range { tree: self, start: ranks.start.min(end), end, front: &[], back: &[] }
    }

    /// Adds a member that is not there.
    pub(super) fn insert(&mut self, member: Member) {
        self.len += 1;
        let Some((low, right)) = self.root.insert(Item::new(member), &mut self.shape) else {
            return;
        };
        self.shape.inners += 1;
        let left = std::mem::replace(&mut self.root, Node::new_inner());
        let Node::Inner(children) = &mut self.root else { unreachable!("it was just made") };
        children.push(Child { low: None, count: left.count(), node: left });
        children.push(Child { low: Some(low), count: right.count(), node: right });
    }

    pub(super) fn remove_at(&mut self, rank: usize) -> Option<Item> {
        if rank >= self.len {
            return None;
        }
        self.len -= 1;
        let item = self.root.remove_at(rank, &mut self.shape);
        while let Node::Inner(children) = &mut self.root {
            if children.len() > 1 {
                break;
            }
            self.root = match children.pop() {
                Some(only) => only.node,
                None => {
                    self.shape.leaves += 1;
                    Node::new_leaf()
                }
            };
            self.shape.inners -= 1;
        }
        Some(item)
    }

    /// Removes an item that is there.
    pub(super) fn remove(&mut self, score: f64, bytes: &[u8]) -> Item {
        let item = self.remove_at(self.rank(score, bytes)).expect("the table's members are here");
        assert!(item.compare(score, bytes) == Ordering::Equal, "the table's members are here");
        item
    }

    /// Frees whole leaves from the end, some `max` items; true when nothing is left. From the
    /// first call on the tree is fit for nothing else.
    pub(super) fn drain_slice(&mut self, max: usize) -> bool {
        let mut freed = 0;
        while freed < max.max(1) && !self.root.is_empty() {
            freed += self.root.drop_last_leaf(&mut self.shape);
        }
        if self.root.is_empty() {
            *self = Self::new();
            return true;
        }
        self.len = self.len.saturating_sub(freed);
        false
    }

    /// The leaf of a rank that there is, and the index in it.
    fn leaf_at(&self, rank: usize) -> (&[Item], usize) {
        let mut left = rank;
        let mut node = &self.root;
        loop {
            match node {
                Node::Leaf(items) => return (items, left),
                Node::Inner(children) => node = &children[child_of_rank(children, &mut left)].node,
            }
        }
    }
}

/// Makes one of each `size` items, given in vectors of one capacity.
fn grouped<T>(
    items: Vec<T>,
    size: usize,
    capacity: usize,
    mut make: impl FnMut(Vec<T>) -> Child,
) -> Vec<Child> {
    let mut made = Vec::with_capacity(items.len().div_ceil(size));
    let mut items = items.into_iter();
    while items.len() > 0 {
        let mut group = Vec::with_capacity(capacity);
        group.extend(items.by_ref().take(size));
        made.push(make(group));
    }
    made
}

/// The child where what comes first after the part that is before would be.
fn child_for(children: &[Child], before: &mut impl FnMut(&Item) -> bool) -> usize {
    children[1..].partition_point(|child| child.low.as_ref().is_some_and(&mut *before))
}

/// The child of a rank; afterwards the rank is the one within it.
fn child_of_rank(children: &[Child], rank: &mut usize) -> usize {
    for (index, child) in children.iter().enumerate() {
        if *rank < child.count {
            return index;
        }
        *rank -= child.count;
    }
    unreachable!("the counts make up the rank's node")
}

impl Node {
    fn new_leaf() -> Self {
        Node::Leaf(Vec::with_capacity(LEAF_MAX))
    }

    fn new_inner() -> Self {
        Node::Inner(Vec::with_capacity(INNER_MAX + 1))
    }

    /// Items of a leaf, children of an inner node.
    fn size(&self) -> usize {
        match self {
            Node::Leaf(items) => items.len(),
            Node::Inner(children) => children.len(),
        }
    }

    fn is_empty(&self) -> bool {
        self.size() == 0
    }

    fn count(&self) -> usize {
        match self {
            Node::Leaf(items) => items.len(),
            Node::Inner(children) => children.iter().map(|child| child.count).sum(),
        }
    }

    /// Adds an item; what splits off to the right comes back with its separator.
    fn insert(&mut self, item: Item, shape: &mut Shape) -> Option<(Item, Node)> {
        match self {
            Node::Leaf(items) => insert_into_leaf(items, item, shape),
            Node::Inner(children) => {
                let index = child_for(children, &mut |low| {
                    low.compare(item.score, item.bytes()) != Ordering::Greater
                });
                let child = &mut children[index];
                child.count += 1;
                let (low, node) = child.node.insert(item, shape)?;
                let count = node.count();
                child.count -= count;
                children.insert(index + 1, Child { low: Some(low), count, node });
                split_inner(children, index + 1, shape)
            }
        }
    }

    fn remove_at(&mut self, rank: usize, shape: &mut Shape) -> Item {
        match self {
            Node::Leaf(items) => items.remove(rank),
            Node::Inner(children) => {
                let mut rank = rank;
                let index = child_of_rank(children, &mut rank);
                children[index].count -= 1;
                let item = children[index].node.remove_at(rank, shape);
                tidy(children, index, shape);
                item
            }
        }
    }

    fn drop_last_leaf(&mut self, shape: &mut Shape) -> usize {
        match self {
            Node::Leaf(items) => {
                let freed = items.len();
                items.clear();
                freed
            }
            Node::Inner(children) => {
                let Some(last) = children.last_mut() else { return 0 };
                let freed = last.node.drop_last_leaf(shape);
                if last.node.is_empty() {
                    match last.node {
                        Node::Leaf(_) => shape.leaves -= 1,
                        Node::Inner(_) => shape.inners -= 1,
                    }
                    children.pop();
                }
                freed
            }
        }
    }
}

/// A full leaf that grows at an end keeps what it has and gives the new item a leaf of its own, so
/// that ascending and descending insertion leave full leaves behind; otherwise it splits in half.
fn insert_into_leaf(items: &mut Vec<Item>, item: Item, shape: &mut Shape) -> Option<(Item, Node)> {
    let bytes = item.member.bytes();
    let at = items.partition_point(|other| other.compare(item.score, bytes) == Ordering::Less);
    if items.len() < LEAF_MAX {
        items.insert(at, item);
        return None;
    }
    shape.leaves += 1;
    let mut right = Vec::with_capacity(LEAF_MAX);
    match at {
        0 => {
            right.append(items);
            items.push(item);
        }
        LEAF_MAX => right.push(item),
        _ => {
            right.extend(items.drain(LEAF_MAX / 2..));
            match at.checked_sub(LEAF_MAX / 2) {
                Some(at) if at > 0 => right.insert(at, item),
                _ => items.insert(at, item),
            }
        }
    }
    Some((right[0].copy(), Node::Leaf(right)))
}

/// Splits an inner node that has one child too many, `added` being the new one.
fn split_inner(children: &mut Vec<Child>, added: usize, shape: &mut Shape) -> Option<(Item, Node)> {
    if children.len() <= INNER_MAX {
        return None;
    }
    shape.inners += 1;
    let at = if added + 1 == children.len() { added } else { children.len() / 2 };
    let mut right = Vec::with_capacity(INNER_MAX + 1);
    right.extend(children.drain(at..));
    let low = right[0].low.take().expect("every child but the first has a separator");
    Some((low, Node::Inner(right)))
}

/// After a removal below `children[index]`: drops it if empty, joins it if small.
fn tidy(children: &mut Vec<Child>, index: usize, shape: &mut Shape) {
    let (size, max) = match &children[index].node {
        Node::Leaf(items) => (items.len(), LEAF_MAX),
        Node::Inner(below) => (below.len(), INNER_MAX),
    };
    if size == 0 {
        match children.remove(index).node {
            Node::Leaf(_) => shape.leaves -= 1,
            Node::Inner(_) => shape.inners -= 1,
        }
        if let Some(first) = children.first_mut() {
            first.low = None;
        }
        return;
    }
    if size >= max / 4 {
        return;
    }
    for left in [Some(index), index.checked_sub(1)].into_iter().flatten() {
        let Some(right) = children.get(left + 1) else { continue };
        if children[left].node.size() + right.node.size() <= max / 4 * 3 {
            let right = children.remove(left + 1);
            join(&mut children[left], right, shape);
            return;
        }
    }
}

fn join(left: &mut Child, right: Child, shape: &mut Shape) {
    left.count += right.count;
    match (&mut left.node, right.node) {
        (Node::Leaf(items), Node::Leaf(more)) => {
            items.extend(more);
            shape.leaves -= 1;
        }
        (Node::Inner(children), Node::Inner(mut more)) => {
            if let Some(first) = more.first_mut() {
                first.low = right.low;
            }
            children.extend(more);
            shape.inners -= 1;
        }
        _ => unreachable!("all leaves are at one depth"),
    }
}

impl<'a> Iterator for Range<'a> {
    type Item = &'a Item;

    #[inline]
    fn next(&mut self) -> Option<&'a Item> {
        if self.start >= self.end {
            return None;
        }
        if self.front.is_empty() {
            let (leaf, index) = self.tree.leaf_at(self.start);
            self.front = &leaf[index..];
        }
        let (item, rest) = self.front.split_first()?;
        self.front = rest;
        self.start += 1;
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.end - self.start, Some(self.end - self.start))
    }
}

impl DoubleEndedIterator for Range<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.start >= self.end {
            return None;
        }
        if self.back.is_empty() {
            let (leaf, index) = self.tree.leaf_at(self.end - 1);
            self.back = &leaf[..=index];
        }
        let (item, rest) = self.back.split_last()?;
        self.back = rest;
        self.end -= 1;
        Some(item)
    }
}

#[cfg(test)]
impl Tree {
    /// Everything that must hold between the parts.
    pub(super) fn check(&self) {
        let mut shape = Shape { leaves: 0, inners: 0 };
        let mut depths = Vec::new();
        let mut last: Option<(f64, Vec<u8>)> = None;
        check_node(&self.root, 0, &mut shape, &mut depths, &mut last);
        assert_eq!(shape, self.shape);
        assert_eq!(self.root.count(), self.len);
        assert!(depths.iter().all(|depth| *depth == depths[0]));
    }
}

#[cfg(test)]
fn check_node(
    node: &Node,
    depth: usize,
    shape: &mut Shape,
    depths: &mut Vec<usize>,
    last: &mut Option<(f64, Vec<u8>)>,
) {
    let after = |item: &Item, last: &Option<(f64, Vec<u8>)>| {
        last.as_ref().is_none_or(|(score, bytes)| item.compare(*score, bytes).is_gt())
    };
    match node {
        Node::Leaf(items) => {
            assert!(items.capacity() == LEAF_MAX);
            shape.leaves += 1;
            depths.push(depth);
            for item in items {
                assert!(after(item, last));
                assert!(item.score == item.member.score());
                *last = Some((item.score, item.bytes().to_vec()));
            }
        }
        Node::Inner(children) => {
            assert!(children.capacity() == INNER_MAX + 1 && !children.is_empty());
            shape.inners += 1;
            for (index, child) in children.iter().enumerate() {
                assert_eq!(child.low.is_none(), index == 0);
                assert!(child.low.as_ref().is_none_or(|low| after(low, last)));
                assert!(child.count == child.node.count() && child.count > 0);
                check_node(&child.node, depth + 1, shape, depths, last);
            }
        }
    }
}
