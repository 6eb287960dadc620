//! Files that are not as they were written.

use super::*;

/// A sealed log, damaged: refused, whatever the error.
fn refused(damage: impl FnOnce(&mut BTreeMap<u64, Vec<u8>>)) -> String {
    let (mut disk, _) = sealed_log();
    damage(&mut disk.segments);
    let found = read_all(&mut disk).map(|(entries, _)| entries.len());
    found.expect_err("the damage is noticed").to_string()
}

#[test]
fn a_segment_cut_short_or_without_its_header_is_refused() {
    // The last one is prepared, but blank behind its header.
    let last = *sealed_log().0.segments.keys().next_back().unwrap() - 1;
    for len in [0, 100, 4096, 20_000, SEGMENT_BYTES_MIN as usize - 1] {
        let cut = |segments: &mut BTreeMap<u64, Vec<u8>>| {
            segments.get_mut(&1).unwrap().truncate(len);
        };
        assert!(refused(cut).contains("0000000000000001.log is corrupt at offset"), "{len}");
        if len >= 4096 {
            refused(|segments| segments.get_mut(&last).unwrap().truncate(len));
        }
    }
    refused(|segments| segments.get_mut(&last).unwrap().extend([0; 4096]));
    let text = refused(|segments| {
        segments.remove(&(last + 1));
        segments.get_mut(&last).unwrap()[..4096].fill(0);
    });
    assert!(text.contains("its header is damaged"), "{text}");
    let other = LogIdentity { core: 1, ..IDENTITY };
    let foreign = recover(&mut sealed_log().0, other, &mut |_| Ok(()));
    assert!(matches!(foreign, Err(RecoveryError::Foreign { .. })));
}

/// The next record's block lands in the next segment, where the chain would find it.
#[test]
fn a_record_that_strayed_to_the_next_segment_is_noticed() {
    refused(|segments| {
        let strayed = segments[&1][8192..12_288].to_vec();
        let next = segments.get_mut(&2).unwrap();
        next[4096..8192].copy_from_slice(&strayed);
        segments.get_mut(&1).unwrap()[8192..12_288].fill(0);
    });
}

/// A last record that is not whole may be a torn write or damage: it is cut, and told of.
#[test]
fn a_last_record_that_is_not_whole_is_told_of() {
    let (mut run, _) = Run::start(Disk::default());
    run.append(0, b"first".to_vec());
    run.settle();
    let (_, whole) = read_all(&mut run.disk).unwrap();
    assert_eq!(whole.torn_at, None);
    run.append(0, b"last".to_vec());
    run.settle();
    let flipped = whole.offset as usize + HEADER_BYTES;
    run.disk.segments.get_mut(&whole.segment).unwrap()[flipped] ^= 1;
    let (found, tail) = read_all(&mut run.disk).unwrap();
    assert_eq!((found.len(), tail.last_lsn), (1, whole.last_lsn));
    assert_eq!(tail.torn_at, Some(whole.offset));
}

/// Where a torn write bares a payload at a block boundary, records in it are nobody's.
#[test]
fn records_that_a_client_wrote_are_none() {
    let (mut run, _) = Run::start(Disk::default());
    run.append(0, b"acknowledged".to_vec());
    run.submit();
    run.complete(0);
    let header = RecordHeader {
        kind: RecordKind::Entry,
        fragment: crate::log::record::Fragment::WHOLE,
        lsn: Lsn(2),
        incarnation: Incarnation(u64::MAX),
        durable: Lsn(u64::MAX),
        term: Term(1),
        index: Index(2),
        shard: ShardId(0),
        participants: 0,
        decided: Index(1),
        payload_len: 0,
        previous_crc: 0,
    };
    let mut block = BlockBuffer::with_capacity(BLOCK_BYTES);
    header.write([&[], &[]], 0, &mut block);
    run.append(0, block.bytes().repeat(1000));
    run.submit();
    let (disk, acknowledged, _) = run.crash([Damage::TornBefore(8), Damage::Lost]);
    let (_, found) = Run::start(disk);
    assert_eq!(found, acknowledged);
}
