//! The keyed 64-bit hash of keys, fields and members.
//!
//! Keyed because clients choose the bytes: without the key nobody can aim at one bucket. The
//! hash never leaves the process and never reaches a file, so it may differ from run to run.

use std::hash::{BuildHasher, Hasher};

use ahash::RandomState;

/// A hash function with its key. Cloning copies 32 bytes.
#[derive(Clone)]
pub struct Hasher64 {
    state: RandomState,
}

impl Hasher64 {
    /// The same seeds give the same function.
    pub fn new(seeds: [u64; 4]) -> Self {
        let [a, b, c, d] = seeds;
        Self { state: RandomState::with_seeds(a, b, c, d) }
    }

    /// All 64 bits are usable: the table takes its directory index from the top ones and its tags
    /// from the lowest.
    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = self.state.build_hasher();
        hasher.write(bytes);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Hasher64;

    #[test]
    fn the_seeds_decide() {
        let one = Hasher64::new([1, 2, 3, 4]);
        assert_eq!(one.hash(b"key"), Hasher64::new([1, 2, 3, 4]).hash(b"key"));
        assert_eq!(one.hash(b"key"), one.clone().hash(b"key"));
        assert_ne!(one.hash(b"key"), Hasher64::new([1, 2, 3, 5]).hash(b"key"));
        assert_ne!(one.hash(b"key"), one.hash(b"kez"));
        assert_ne!(one.hash(b""), one.hash(b"\0"));
    }

    #[test]
    fn top_and_low_bits_spread() {
        let hasher = Hasher64::new([1, 2, 3, 4]);
        let mut top = [0_u32; 256];
        let mut low = [0_u32; 256];
        for n in 0..256_000_u32 {
            let hash = hasher.hash(format!("key:{n}").as_bytes());
            top[(hash >> 56) as usize] += 1;
            low[(hash & 255) as usize] += 1;
        }
        // 1000 expected in each; six standard deviations are 190.
        assert!(top.iter().chain(&low).all(|count| (810..1190).contains(count)));
    }
}
