//! The long form of a list: packed nodes in a deque.
//!
//! Invariant: no node is empty, and `Node::len` is its array's.
//! Invariant: a node has more than one item only within the limit it was filled under.
//!
//! A walk numbers the nodes when it begins. Before a numbered node is changed, a copy is kept for
//! the walk; one that is dropped is kept itself. Numbers of nodes ascend, whatever is between.

use std::collections::VecDeque;
use std::ops::Range;

use super::super::alloc_size;
use super::super::limits::NodeLimit;
use super::super::packed::{Packed, PackedRef, packed_bytes};
use super::super::walk::{NodeWalk, Piece};
use super::End;
use crate::effect::log::put_bytes;

/// What a node's block has besides its entries.
const NODE_FRAME_BYTES: usize = 12;

struct Node {
    packed: Packed,
    /// Here too, so that to find an index does not touch every node.
    len: u32,
    /// Its number in the walk under way; 0 once that has it, or if it is new.
    unwalked: u32,
}

#[derive(Default)]
pub(super) struct Nodes {
    deque: VecDeque<Node>,
    len: usize,
    /// Sum of the nodes' blocks.
    packed_bytes: usize,
    walk: Option<Box<NodeWalk<Packed>>>,
}

impl Node {
    fn new(packed: Packed) -> Self {
        let len = packed.len() as u32;
        Self { packed, len, unwalked: 0 }
    }

    fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether it may take one more item: the node's whole block stays within the limit.
    fn has_room(&self, item_len: usize, limit: NodeLimit) -> bool {
        let bytes = self.packed.view().entry_bytes() + packed_bytes(item_len);
        bytes + NODE_FRAME_BYTES <= limit.bytes_max && self.len() < limit.len_max
    }
}

impl Nodes {
    pub(super) fn from_packed(packed: Packed) -> Self {
        let mut nodes = Self::default();
        if !packed.is_empty() {
            nodes.put_node(0, packed);
        }
        nodes
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The array of the only node, or an empty one.
    pub(super) fn single(&self) -> Option<PackedRef<'_>> {
        match self.deque.len() {
            0 => Some(PackedRef::new(&[])),
            1 => Some(self.deque[0].packed.view()),
            _ => None,
        }
    }

    pub(super) fn node_count(&self) -> usize {
        self.deque.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let walk = self.walk.as_ref().map_or(0, |walk| walk.kept_bytes);
        alloc_size(self.deque.capacity() * size_of::<Node>()) + self.packed_bytes + walk
    }

    pub(super) fn get(&self, index: usize) -> Option<&[u8]> {
        let (node, index) = self.locate(index)?;
        self.deque[node].packed.view().get(index)
    }

    pub(super) fn push(&mut self, end: End, item: &[u8], limit: NodeLimit) {
        let node = match end {
            End::Head => 0,
            End::Tail => self.deque.len().saturating_sub(1),
        };
        if self.deque.get(node).is_some_and(|node| node.has_room(item.len(), limit)) {
            self.edit(node, |packed| {
                packed.make_room(item.len(), limit.bytes_max);
                match end {
                    End::Head => packed.push_front(item),
                    End::Tail => packed.push_back(item),
                }
            });
        } else {
            let at = if end == End::Head { 0 } else { self.deque.len() };
            self.put_node(at, std::iter::once(item).collect());
        }
    }

    pub(super) fn insert(&mut self, index: usize, item: &[u8], limit: NodeLimit) {
        let Some((node, offset)) = self.locate(index) else {
            return self.push(End::Tail, item, limit);
        };
        if self.deque[node].has_room(item.len(), limit) {
            self.edit(node, |packed| packed.insert(offset, item));
        } else if offset == 0 {
            // Between two nodes: the end of the one before may have room.
            match node.checked_sub(1) {
                Some(before) if self.deque[before].has_room(item.len(), limit) => {
                    self.edit(before, |packed| packed.push_back(item));
                }
                _ => self.put_node(node, std::iter::once(item).collect()),
            }
        } else {
            let tail = self.edit(node, |packed| {
                let tail = packed.split_off(offset);
                packed.shrink_to_fit();
                tail
            });
            self.put_node(node + 1, tail);
            if self.deque[node].has_room(item.len(), limit) {
                self.edit(node, |packed| packed.push_back(item));
            } else if self.deque[node + 1].has_room(item.len(), limit) {
                self.edit(node + 1, |packed| packed.push_front(item));
            } else {
                self.put_node(node + 1, std::iter::once(item).collect());
            }
        }
    }

    pub(super) fn set(&mut self, index: usize, item: &[u8], limit: NodeLimit) {
        let (node, offset) = self.locate(index).expect("the caller has checked the index");
        let view = self.deque[node].packed.view();
        let position = view.seek(offset).expect("the index is within the node");
        let old_bytes = packed_bytes(view.at(position).len());
        let bytes = view.entry_bytes() - old_bytes + packed_bytes(item.len());
        if bytes + NODE_FRAME_BYTES <= limit.bytes_max || view.len() == 1 {
            self.edit(node, |packed| packed.replace_at(position, item));
        } else {
            self.delete(index..index + 1, limit);
            self.insert(index, item, limit);
        }
    }

    pub(super) fn delete(&mut self, range: Range<usize>, limit: NodeLimit) {
        let Some((first, offset)) = self.locate(range.start) else { return };
        let mut left = range.len();
        let mut node = first;
        let mut from = offset;
        // Whole nodes are dropped at once, by one move of the deque.
        let mut whole = 0..0;
        while left > 0 && node < self.deque.len() {
            let count = left.min(self.deque[node].len() - from);
            if count == self.deque[node].len() {
                whole = if whole.is_empty() { node..node + 1 } else { whole.start..node + 1 };
            } else {
                self.edit(node, |packed| packed.delete(from, count));
            }
            left -= count;
            node += 1;
            from = 0;
        }
        if let Some(walk) = &mut self.walk {
            walk.from = walk.from.saturating_sub(whole.len());
        }
        for node in self.deque.drain(whole) {
            self.len -= node.len();
            self.packed_bytes -= node.packed.memory_bytes();
            keep(&mut self.walk, node);
        }
        self.join(first, limit);
        self.join(first.saturating_sub(1), limit);
    }

    pub(super) fn range(&self, range: Range<usize>) -> impl DoubleEndedIterator<Item = &[u8]> {
        let (first, offset) = self.locate(range.start).unwrap_or((self.deque.len(), 0));
        let (last, end) = match range.end.checked_sub(1).and_then(|last| self.locate(last)) {
            Some((node, index)) if !range.is_empty() => (node, index + 1),
            _ => (0, 0),
        };
        let nodes = if first <= last && end > 0 { first..last + 1 } else { 0..0 };
        nodes.flat_map(move |node| {
            let from = if node == first { offset } else { 0 };
            let to = if node == last { end } else { self.deque[node].len() };
            self.deque[node].packed.view().iter_range(from..to)
        })
    }

    pub(super) fn drain_slice(&mut self, max: usize) -> bool {
        let mut freed = 0;
        while freed < max.max(1) {
            let Some(node) = self.deque.pop_back() else { break };
            freed += node.len();
            self.len -= node.len();
            self.packed_bytes -= node.packed.memory_bytes();
        }
        self.deque.is_empty()
    }

    /// Begins a walk: 16 bytes are touched for each node.
    pub(super) fn begin_walk(&mut self) {
        self.walk = Some(NodeWalk::new());
        for (node, number) in self.deque.iter_mut().zip(1..) {
            node.unwalked = number;
        }
    }

    pub(super) fn is_walking(&self) -> bool {
        self.walk.is_some()
    }

    /// The next piece, a node; `None` when all were given.
    pub(super) fn next_piece(&mut self) -> Option<Piece> {
        let walk = self.walk.as_mut()?;
        if let Some((number, packed)) = walk.kept.pop_front() {
            walk.kept_bytes -= packed.memory_bytes();
            return Some(piece_of(number, packed.view()));
        }
        let left = self.deque.range_mut(walk.from.min(self.deque.len())..);
        for (index, node) in left.enumerate() {
            if node.unwalked != 0 {
                walk.from += index + 1;
                let number = std::mem::take(&mut node.unwalked);
                return Some(piece_of(number, node.packed.view()));
            }
        }
        walk.from = self.deque.len();
        None
    }

    pub(super) fn end_walk(&mut self) {
        self.walk = None;
        self.deque.iter_mut().for_each(|node| node.unwalked = 0);
    }

    /// Everything that must hold between the parts.
    #[cfg(test)]
    pub(super) fn check(&self) {
        assert!(self.deque.iter().all(|node| node.len() == node.packed.len() && node.len() > 0));
        assert_eq!(self.deque.iter().map(Node::len).sum::<usize>(), self.len);
        let bytes: usize = self.deque.iter().map(|node| node.packed.memory_bytes()).sum();
        assert_eq!(bytes, self.packed_bytes);
    }

    /// The node of an index, and the index within it, found from the nearer end.
    fn locate(&self, index: usize) -> Option<(usize, usize)> {
        if index >= self.len {
            return None;
        }
        if index < self.len / 2 {
            let mut start = 0;
            for (number, node) in self.deque.iter().enumerate() {
                if index < start + node.len() {
                    return Some((number, index - start));
                }
                start += node.len();
            }
        } else {
            let mut start = self.len;
            for (number, node) in self.deque.iter().enumerate().rev() {
                start -= node.len();
                if index >= start {
                    return Some((number, index - start));
                }
            }
        }
        unreachable!("the nodes' lengths make up the list's")
    }

    fn put_node(&mut self, at: usize, packed: Packed) {
        let node = Node::new(packed);
        self.len += node.len();
        self.packed_bytes += node.packed.memory_bytes();
        self.deque.insert(at, node);
    }

    /// The one way to change a node: keeps the sums.
    fn edit<T>(&mut self, node: usize, change: impl FnOnce(&mut Packed) -> T) -> T {
        let node = &mut self.deque[node];
        if node.unwalked != 0
            && let Some(walk) = &mut self.walk
        {
            let copy = node.packed.clone();
            walk.kept_bytes += copy.memory_bytes();
            walk.kept.push_back((node.unwalked, copy));
            node.unwalked = 0;
        }
        self.packed_bytes -= node.packed.memory_bytes();
        self.len -= node.len();
        let result = change(&mut node.packed);
        node.len = node.packed.len() as u32;
        self.packed_bytes += node.packed.memory_bytes();
        self.len += node.len();
        result
    }

    /// Makes one of a node and the next, where both together are well within the limit.
    fn join(&mut self, node: usize, limit: NodeLimit) {
        let Some([one, two]) =
            self.deque.get(node).zip(self.deque.get(node + 1)).map(<[_; 2]>::from)
        else {
            return;
        };
        let bytes = one.packed.view().entry_bytes() + two.packed.view().entry_bytes();
        let fits = bytes + NODE_FRAME_BYTES <= limit.bytes_max / 4 * 3
            && one.len() + two.len() <= limit.len_max / 4 * 3;
        if fits && let Some(two) = self.deque.remove(node + 1) {
            self.len -= two.len();
            self.packed_bytes -= two.packed.memory_bytes();
            if let Some(walk) = &mut self.walk {
                walk.from = walk.from.saturating_sub(1);
            }
            self.edit(node, |packed| packed.append(&two.packed));
            keep(&mut self.walk, two);
        }
    }
}

/// What becomes of a node that leaves the list.
fn keep(walk: &mut Option<Box<NodeWalk<Packed>>>, node: Node) {
    if node.unwalked != 0
        && let Some(walk) = walk
    {
        walk.kept_bytes += node.packed.memory_bytes();
        walk.kept.push_back((node.unwalked, node.packed));
    }
}

fn piece_of(number: u32, packed: PackedRef<'_>) -> Piece {
    let mut bytes = Vec::with_capacity(packed.entry_bytes());
    packed.iter().for_each(|item| put_bytes(&mut bytes, item));
    Piece { elements: packed.len() as u64, ordinal: u64::from(number), bytes }
}

impl Clone for Nodes {
    fn clone(&self) -> Self {
        let mut copy = Self::default();
        for (at, node) in self.deque.iter().enumerate() {
            copy.put_node(at, node.packed.clone());
        }
        copy
    }
}
