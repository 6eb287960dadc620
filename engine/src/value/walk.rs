//! How a large collection is written in pieces while it goes on changing: what a change is about
//! to touch is copied out first, so that all pieces together are the collection as it was when
//! the walk began. Lives in the collection, and so goes wherever that goes.

use std::collections::VecDeque;

use crate::limits::CHECKPOINT_PIECE_BYTES as PIECE_BYTES;
use crate::table::{Entry, Table};

/// Some elements of a collection, in the form that `image` gives them.
#[derive(Debug, Default)]
pub struct Piece {
    pub elements: u64,
    /// Where a list's elements stand: pieces are numbered from 1 in the list's order. 0 for
    /// collections without order.
    pub ordinal: u64,
    pub bytes: Vec<u8>,
}

/// A walk over a table of elements.
#[derive(Debug, Default)]
pub(super) struct TableWalk {
    /// `None` past the end.
    cursor: Option<u64>,
    copied: Vec<Piece>,
}

/// Appends an element's bytes.
type Write<E> = fn(&E, &mut Vec<u8>);

impl TableWalk {
    pub(super) fn begin<E: Entry>(table: &mut Table<E>) -> Box<TableWalk> {
        table.begin_walk();
        Box::new(TableWalk { cursor: Some(0), copied: Vec::new() })
    }

    /// Copies out what a change of this element is about to touch.
    #[cold]
    pub(super) fn copy_before<E: Entry>(
        &mut self,
        table: &mut Table<E>,
        hash: u64,
        key: &[u8],
        write: Write<E>,
    ) {
        let copied = &mut self.copied;
        table.visit_before(hash, key, |entry| {
            if copied.last().is_none_or(|piece| piece.bytes.len() >= PIECE_BYTES) {
                copied.push(Piece::default());
            }
            let piece = copied.last_mut().expect("it was just made");
            piece.elements += 1;
            write(entry, &mut piece.bytes);
        });
    }

    /// The next piece, `None` when all were given.
    pub(super) fn next_piece<E: Entry>(
        &mut self,
        table: &mut Table<E>,
        write: Write<E>,
    ) -> Option<Piece> {
        if let Some(piece) = self.copied.pop() {
            return Some(piece);
        }
        let mut piece = Piece::default();
        while let Some(cursor) = self.cursor {
            if piece.bytes.len() >= PIECE_BYTES {
                break;
            }
            self.cursor = table.walk_slice(cursor, |entry| {
                piece.elements += 1;
                write(entry, &mut piece.bytes);
                piece.bytes.len() < PIECE_BYTES
            });
        }
        (piece.elements > 0).then_some(piece)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.copied.iter().map(|piece| piece.bytes.capacity()).sum()
    }
}

/// A walk over numbered nodes: those that were changed or dropped before it came to them.
#[derive(Debug)]
pub(super) struct NodeWalk<N> {
    pub(super) kept: VecDeque<(u32, N)>,
    /// Sum of their blocks.
    pub(super) kept_bytes: usize,
    /// No node before this index is left to be walked.
    pub(super) from: usize,
}

impl<N> NodeWalk<N> {
    pub(super) fn new() -> Box<NodeWalk<N>> {
        Box::new(NodeWalk { kept: VecDeque::new(), kept_bytes: 0, from: 0 })
    }
}
