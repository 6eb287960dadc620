//! What befalls the files of a log otherwise than by a crash.

use engine::rng::Rng;
use replication::log::limits::BLOCK_BYTES;

use super::disk::Disk;
use super::history::History;

/// Does one thing to the files. Returns whether the last write was spared and its segment is there.
pub fn damage(rng: &mut Rng, disk: &mut Disk, history: &History) -> bool {
    let numbers: Vec<u64> = disk.segments.keys().copied().collect();
    if numbers.is_empty() {
        return true;
    }
    let number = numbers[rng.below(numbers.len() as u64) as usize];
    let other = numbers[rng.below(numbers.len() as u64) as usize];
    let (last_segment, last) = history.last_write();
    let spared = |segment: u64, start: usize, end: usize| {
        segment != last_segment || end <= last.start || start >= last.end
    };
    let Some(len) = disk.segments.get(&number).map(Vec::len).filter(|len| *len > 0) else {
        return true;
    };
    let used = disk.segments[&number].iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
    let at = rng.below(used as u64) as usize;
    let block = at / BLOCK_BYTES * BLOCK_BYTES;
    match rng.below(10) {
        8 | 9 => {
            // Blocks as they were when an earlier start ended: writes that the disk lost.
            let count = 1 + rng.below(3) as usize;
            let end = (block + count * BLOCK_BYTES).min(len);
            let old = history.earlier(rng).and_then(|disk| disk.segments.get(&number));
            if let Some(old) = old.and_then(|old| old.get(block..end)) {
                segment(disk, number)[block..end].copy_from_slice(old);
            }
            spared(number, block, end)
        }
        0 | 1 => {
            segment(disk, number)[at] ^= 1 << rng.below(8);
            spared(number, at, at + 1)
        }
        2 => {
            let end = (at + 1 + rng.below(9000) as usize).min(len);
            let byte = [0, 0xff, rng.next_u64() as u8][rng.below(3) as usize];
            segment(disk, number)[at..end].fill(byte);
            spared(number, at, end)
        }
        3 => {
            segment(disk, number).truncate(at);
            spared(number, at, len)
        }
        4 => {
            let moved = rng.below(2) == 0 || numbers.len() == 1;
            if moved {
                disk.segments.remove(&number);
            } else {
                swap_segments(disk, number, other);
            }
            // Where the last segment is gone nothing tells that it was there.
            number != last_segment && other != last_segment
        }
        5 => {
            let from = block_in(rng, disk, other);
            let taken = disk.segments[&other].get(from..from + BLOCK_BYTES).map(<[u8]>::to_vec);
            put_block(disk, number, block, taken.as_deref());
            spared(number, block, block + BLOCK_BYTES)
        }
        6 => {
            let from = block_in(rng, disk, other);
            let theirs = disk.segments[&other].get(from..from + BLOCK_BYTES).map(<[u8]>::to_vec);
            let ours = disk.segments[&number].get(block..block + BLOCK_BYTES).map(<[u8]>::to_vec);
            put_block(disk, number, block, theirs.as_deref());
            put_block(disk, other, from, ours.as_deref());
            spared(number, block, block + BLOCK_BYTES) && spared(other, from, from + BLOCK_BYTES)
        }
        _ => {
            // Bytes go missing or come in, and the rest moves.
            let count = 1 + rng.below(5000) as usize;
            let bytes = segment(disk, number);
            if rng.below(2) == 0 {
                bytes.drain(at..(at + count).min(len));
                bytes.resize(len, 0);
            } else {
                bytes.splice(at..at, std::iter::repeat_n(0, count));
                bytes.truncate(len);
            }
            spared(number, at, len)
        }
    }
}

fn segment(disk: &mut Disk, number: u64) -> &mut Vec<u8> {
    disk.segments.get_mut(&number).expect("chosen among those there are")
}

fn block_in(rng: &mut Rng, disk: &Disk, number: u64) -> usize {
    let blocks = (disk.segments[&number].len() / BLOCK_BYTES).max(1) as u64;
    rng.below(blocks) as usize * BLOCK_BYTES
}

fn put_block(disk: &mut Disk, number: u64, at: usize, block: Option<&[u8]>) {
    let target = segment(disk, number).get_mut(at..at + BLOCK_BYTES);
    if let Some((target, block)) = target.zip(block) {
        target.copy_from_slice(block);
    }
}

fn swap_segments(disk: &mut Disk, one: u64, two: u64) {
    let first = disk.segments.remove(&one);
    let second = if one == two { None } else { disk.segments.remove(&two) };
    disk.segments.extend(first.map(|bytes| (two, bytes)));
    disk.segments.extend(second.map(|bytes| (one, bytes)));
}
