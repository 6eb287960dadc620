//! Which of the 16384 slots a key belongs to, and which shard a slot belongs to.
//! Source: the Redis Cluster specification (CRC16-XMODEM of the key or of its hash tag).

pub const SLOT_COUNT: u32 = 16_384;

/// The slot of a key: of what stands between the first `{` and the next `}` if that is not empty,
/// else of the whole key.
pub fn slot_of(key: &[u8]) -> u16 {
    crc16(hash_tag(key)) & (SLOT_COUNT as u16 - 1)
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

const fn crc16_table() -> [u16; 256] {
    let mut table = [0u16; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = (i as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
}

static CRC16: [u16; 256] = crc16_table();

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &b| (crc << 8) ^ CRC16[usize::from((crc >> 8) as u8 ^ b)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_check_value() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
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
