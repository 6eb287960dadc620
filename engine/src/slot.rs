//! Which of the 16384 slots a key belongs to, and which shard a slot belongs to.
//! Source: the Redis Cluster specification (CRC16-XMODEM of the key or of its hash tag).

pub const SLOT_COUNT: u32 = 16_384;

/// The slot of a key: of what stands between the first `{` and the next `}` if that is not empty,
/// else of the whole key.
#[inline]
pub fn slot_of(key: &[u8]) -> u16 {
    let hashed = if has_brace(key) { hash_tag(key) } else { key };
    crc16(hashed) & (SLOT_COUNT as u16 - 1)
}

/// Whether a `{` is in the key: eight bytes at a time, as keys are short.
fn has_brace(key: &[u8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let mut words = key.chunks_exact(8);
    let in_words = words.by_ref().fold(0, |found, word| {
        let differences = word_of(word) ^ (ONES * b'{' as u64);
        found | (differences.wrapping_sub(ONES) & !differences & (ONES << 7))
    });
    in_words != 0 || words.remainder().contains(&b'{')
}

fn word_of(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = memchr::memchr(b'{', key) else { return key };
    let rest = &key[open + 1..];
    match memchr::memchr(b'}', rest) {
        Some(close) if close > 0 => &rest[..close],
        _ => key,
    }
}

/// The shard of a slot when the slots are cut into `shard_count` contiguous ranges.
pub fn shard_of_slot(slot: u16, shard_count: usize) -> usize {
    debug_assert!((1..=SLOT_COUNT as usize).contains(&shard_count));
    slot as usize * shard_count / SLOT_COUNT as usize
}

/// `CRC16[n][b]` is the remainder of byte `b` followed by `n` zero bytes, so that eight bytes take
/// eight independent lookups ("slicing by 8", Kounavis and Berry 2005).
static CRC16: [[u16; 256]; 8] = crc16_tables();

const fn crc16_tables() -> [[u16; 256]; 8] {
    let mut tables = [[0u16; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut step = 0;
        while step < 64 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            step += 1;
            if step % 8 == 0 {
                tables[step / 8 - 1][byte] = crc;
            }
        }
        byte += 1;
    }
    tables
}

fn crc16(bytes: &[u8]) -> u16 {
    let mut words = bytes.chunks_exact(8);
    let crc = words.by_ref().fold(0u16, |crc, word| {
        let lead = [word[0] ^ (crc >> 8) as u8, word[1] ^ crc as u8];
        let rest = (2..8).fold(0, |sum, at| sum ^ CRC16[7 - at][usize::from(word[at])]);
        CRC16[7][usize::from(lead[0])] ^ CRC16[6][usize::from(lead[1])] ^ rest
    });
    words
        .remainder()
        .iter()
        .fold(crc, |crc, &b| (crc << 8) ^ CRC16[0][usize::from((crc >> 8) as u8 ^ b)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_check_value() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
    }

    #[test]
    fn eight_bytes_at_a_time_is_the_same_as_one() {
        let bytes: Vec<u8> = (0..100u32).map(|i| (i * 37 % 251) as u8).collect();
        for end in 0..bytes.len() {
            let plain = bytes[..end].iter().fold(0u16, |crc, &b| {
                (0..8).fold(crc ^ u16::from(b) << 8, |crc, _| {
                    if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 }
                })
            });
            assert_eq!(crc16(&bytes[..end]), plain, "{end} bytes");
            let mut braced = bytes[..end].to_vec();
            assert_eq!(has_brace(&braced), braced.contains(&b'{'));
            braced.push(b'{');
            assert!(has_brace(&braced));
        }
    }

    #[test]
    fn hash_tags_follow_the_specification() {
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"{user1000}.followers"));
        assert_eq!(slot_of(b"foo{}{bar}"), crc16(b"foo{}{bar}") & 16383);
        assert_eq!(hash_tag(b"foo{{bar}}zap"), b"{bar");
        assert_eq!(hash_tag(b"foo{bar}{zap}"), b"bar");
        assert_eq!(hash_tag(b"foo{bar"), b"foo{bar");
    }

    #[test]
    fn shards_are_contiguous_and_all_used() {
        for count in [1, 2, 3, 7, 16, 64] {
            let shards: Vec<usize> =
                (0..SLOT_COUNT as u16).map(|s| shard_of_slot(s, count)).collect();
            assert!(shards.is_sorted());
            assert_eq!((shards[0], shards[shards.len() - 1]), (0, count - 1));
        }
    }
}
