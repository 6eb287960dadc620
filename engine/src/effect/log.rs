//! The effects of one shard since its last entry was closed. Lives in the shard, so on its core.

use super::{FORMAT_VERSION, Kind, SAME_KEY};

/// An append-only buffer in the format of `FORMAT.md`.
#[derive(Debug, Default)]
pub struct EffectLog {
    bytes: Vec<u8>,
    /// While a shard is rebuilt from its log, mutators run with the log muted.
    muted: bool,
}

impl EffectLog {
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Size of the payload so far. It only grows until [`EffectLog::clear`]: two readings tell
    /// whether a command changed anything.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What the buffer takes.
    pub fn memory_bytes(&self) -> usize {
        crate::table::alloc_size(self.bytes.capacity())
    }

    pub fn payload(&self) -> &[u8] {
        &self.bytes
    }

    /// Begins the next entry. A buffer that one large entry blew up is given back; to shrink it
    /// would leave up to twice as much in use, as the allocator shrinks in place.
    pub fn clear(&mut self) {
        if self.bytes.capacity() > crate::limits::EFFECT_BUFFER_KEPT_BYTES_MAX {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
    }

    pub fn set_muted(&mut self, muted: bool) {
        self.muted = muted;
    }

    pub(crate) fn muted(&self) -> bool {
        self.muted
    }

    /// Begins an effect; its arguments follow through the returned writer.
    pub(crate) fn begin(&mut self, kind: Kind, db: u16, key: &[u8]) -> Arguments<'_> {
        if self.bytes.is_empty() {
            self.bytes.push(FORMAT_VERSION);
        }
        self.bytes.push(kind as u8);
        put_varint(&mut self.bytes, u64::from(db));
        put_bytes(&mut self.bytes, key);
        Arguments(&mut self.bytes)
    }

    /// Begins an effect on the database and key of the one before.
    pub(crate) fn begin_same_key(&mut self, kind: Kind) -> Arguments<'_> {
        debug_assert!(!self.bytes.is_empty());
        self.bytes.push(kind as u8 | SAME_KEY);
        Arguments(&mut self.bytes)
    }
}

/// Writes the arguments of one effect.
pub(crate) struct Arguments<'a>(&'a mut Vec<u8>);

impl Arguments<'_> {
    pub fn bytes(self, bytes: &[u8]) -> Self {
        put_bytes(self.0, bytes);
        self
    }

    pub fn varint(self, value: u64) -> Self {
        put_varint(self.0, value);
        self
    }

    pub fn f64(self, value: f64) -> Self {
        self.0.extend_from_slice(&value.to_bits().to_le_bytes());
        self
    }

    pub fn i64(self, value: i64) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::EFFECT_BUFFER_KEPT_BYTES_MAX;

    #[test]
    fn a_usual_turns_buffer_is_kept_and_a_large_one_given_back() {
        let mut log = EffectLog::default();
        for (len, kept) in [(1_000, true), (EFFECT_BUFFER_KEPT_BYTES_MAX, false)] {
            log.begin(Kind::SetString, 0, b"key").bytes(&vec![b'x'; len]);
            assert!(log.memory_bytes() >= len);
            log.clear();
            assert_eq!((log.memory_bytes() > 0, log.is_empty()), (kept, true), "{len} bytes");
        }
    }
}
