//! A long string written in pieces while it is patched and appended to.
//!
//! The pieces cover the bytes that were there when the walk began. Appending changes none of them;
//! a patch copies out the pieces it touches first.

use crate::limits::CHECKPOINT_PIECE_BYTES as PIECE_BYTES;
use crate::value::walk::Piece;

#[derive(Debug)]
pub struct TextWalk {
    len: usize,
    /// A bit for each piece that was given or copied.
    done: Vec<u64>,
    /// No piece before this one is left.
    next: usize,
    copied: Vec<Piece>,
}

impl TextWalk {
    pub fn new(len: usize) -> TextWalk {
        let done = vec![0; len.div_ceil(PIECE_BYTES).div_ceil(64)];
        TextWalk { len, done, next: 0, copied: Vec::new() }
    }

    /// The bytes from `offset` to `end` are about to be overwritten.
    pub fn copy_before(&mut self, text: &[u8], offset: usize, end: usize) {
        let end = end.min(self.len);
        if offset >= end {
            return;
        }
        for piece in offset / PIECE_BYTES..=(end - 1) / PIECE_BYTES {
            let copied = self.give(text, piece);
            self.copied.extend(copied);
        }
    }

    /// The next piece, `None` when all were given.
    pub fn next_piece(&mut self, text: &[u8]) -> Option<Piece> {
        if let Some(piece) = self.copied.pop() {
            return Some(piece);
        }
        while self.next * PIECE_BYTES < self.len {
            self.next += 1;
            if let Some(piece) = self.give(text, self.next - 1) {
                return Some(piece);
            }
        }
        None
    }

    /// A piece that was not given yet.
    fn give(&mut self, text: &[u8], piece: usize) -> Option<Piece> {
        let (word, bit) = (&mut self.done[piece / 64], 1 << (piece % 64));
        if *word & bit != 0 {
            return None;
        }
        *word |= bit;
        let start = piece * PIECE_BYTES;
        let bytes = text[start..self.len.min(start + PIECE_BYTES)].to_vec();
        Some(Piece { elements: bytes.len() as u64, ordinal: start as u64, bytes })
    }
}
