//! Links: what arrives is what was sent, or nothing.

use proptest::collection::vec;
use proptest::prelude::*;

use super::backoff::Backoff;
use super::frame::{Frame, FrameReader, FrameWriter};
use super::hello::{DirectoryId, FIRST_BYTES, Hello};
use super::outbox::Outbox;
use super::*;
use crate::ids::ShardId;
use crate::version::Versions;

const CLUSTER: [u8; 16] = [7; 16];

fn hellos() -> (Hello, Hello) {
    // Link 7 of eight, between core 7 of eight and core 3 of four.
    let (one, two) = ((1, 7, 8), (2, 3, 4));
    let (left, right) = (DirectoryId([0x11; 16]), DirectoryId([0x22; 16]));
    let one = Hello::new(CLUSTER, one, (2, 3), 7, 10, 6, (left, None));
    let two = Hello::new(CLUSTER, two, (1, 7), 7, 20, 6, (right, Some(left)));
    let election_timeout_ms = 300;
    (Hello { election_timeout_ms, ..one }, Hello { election_timeout_ms, ..two })
}

fn range(least: u16, most: u16) -> Versions {
    Versions { least: Version(least), most: Version(most) }
}

fn not_applied(version: u16, (least, most): (u16, u16)) -> NotApplied {
    NotApplied { version: Version(version), applied: range(least, most) }
}

#[test]
fn two_nodes_agree_and_their_seeds_cross() {
    let (one, two) = hellos();
    assert_eq!(Hello::decode(&one.encode()), Ok(one));
    let (left, right) = (one.agree(&two).unwrap(), two.agree(&one).unwrap());
    assert_eq!(left.version, right.version);
    assert_eq!((left.send_seed, left.receive_seed), (right.receive_seed, right.send_seed));
    assert_ne!(left.send_seed, left.receive_seed);
    // What any byte says matters.
    let other = Hello { number: 21, ..two };
    assert_ne!(one.agree(&other).unwrap().receive_seed, left.receive_seed);
}

#[test]
fn strangers_are_refused() {
    let (one, two) = hellos();
    let cases = [
        (Hello { cluster: [8; 16], ..two }, LinkError::OtherCluster { node: Some(2) }),
        (Hello { node: 1, ..two }, LinkError::SameNode { node: 1 }),
        (Hello { to_node: 3, ..two }, LinkError::NotForMe { wanted: 3 }),
        (Hello { node: 3, ..two }, LinkError::OtherNode { node: 3 }),
        (Hello { link: 6, ..two }, LinkError::OtherLink { link: 6 }),
        (Hello { shards: 7, ..two }, LinkError::OtherShards { node: 2, shards: 7, own: 6 }),
        (
            Hello { known_by: Some(DirectoryId([9; 16])), ..two },
            LinkError::KnownByOther { node: 2 },
        ),
        (
            Hello { election_timeout_ms: 301, ..two },
            LinkError::OtherTimeout { node: 2, timeout_ms: 301, own_ms: 300 },
        ),
        (
            Hello { versions: (900, 901), ..two },
            LinkError::NoCommonVersion { least: 900, most: 901 },
        ),
        (
            Hello { version: Version(2), applied: range(1, 2), ..two },
            LinkError::MustApply { node: 2, error: not_applied(2, (1, 1)) },
        ),
        (
            Hello { applied: range(2, 3), version: Version(1), ..two },
            LinkError::CannotApply { node: 2, error: not_applied(1, (2, 3)) },
        ),
        (
            Hello { founded: Version(2), ..two },
            LinkError::OtherBeginning { node: 2, founded: Version(2), own: Version(1) },
        ),
    ];
    for (other, refusal) in cases {
        assert_eq!(one.agree(&other), Err(refusal));
    }
    let third = (Hello { link: 8, ..one }, Hello { link: 8, ..two });
    assert_eq!(third.0.agree(&third.1), Err(LinkError::OtherLink { link: 8 }), "there are eight");
    for cores in [0, CORES_MAX + 1] {
        let impossible = Hello { cores, ..two }.encode();
        assert_eq!(Hello::decode(&impossible), Err(LinkError::NoHello), "{cores} cores");
    }
    let nowhere = Hello { directory: DirectoryId::default(), ..two }.encode();
    assert_eq!(Hello::decode(&nowhere), Err(LinkError::NoHello));
    let mut bytes = two.encode();
    for at in 0..bytes.len() {
        bytes[at] ^= 0x10;
        assert_eq!(Hello::decode(&bytes), Err(LinkError::NoHello), "byte {at}");
        bytes[at] ^= 0x10;
    }
}

/// Bytes written by hand from the table; the checksums are CRC32C of what is before each, by
/// another program.
#[test]
fn a_hello_lies_as_its_table_says() {
    let mut bytes = Vec::new();
    bytes.extend(b"QUORLINK\x03\0\x03\0\x03\0\x07\0");
    bytes.extend([7; 16]);
    bytes.extend(b"\x02\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x14\0\0\0\0\0\0\0\x04\0\x07\0");
    bytes.extend([0x22; 16]);
    bytes.extend([0x11; 16]);
    bytes.extend(b"\x06\0\0\0");
    bytes.extend(0xd010c974_u32.to_le_bytes());
    bytes.extend(b"\x2c\x01");
    bytes.extend([0; 22]);
    bytes.extend(0xdd563c4e_u32.to_le_bytes());
    assert_eq!(hellos().1.encode().as_slice(), bytes);
    let (founded, version, applied) = (Version(2), Version(2), range(1, 0x0103));
    let newer = Hello { founded, version, applied, ..hellos().1 };
    bytes.truncate(102);
    bytes.extend(b"\x01\0\0\0\x02\x01\x01\0");
    bytes.extend([0; 14]);
    bytes.extend(0x3279070d_u32.to_le_bytes());
    assert_eq!(newer.encode().as_slice(), bytes);
    assert_eq!(Hello::decode(&newer.encode()), Ok(newer));
}

#[test]
fn the_newest_common_version_is_spoken() {
    let (one, two) = hellos();
    let (old, new) = (Hello { versions: (1, 3), ..one }, Hello { versions: (2, 5), ..two });
    assert_eq!(old.agree(&new).unwrap().version, 3);
}

/// Each side says what its program applies, and what there is to apply; what they have in common
/// counts, whichever is the newer one.
#[test]
fn programs_that_apply_the_clusters_version_agree() {
    let (one, two) = hellos();
    let newer = Hello { applied: range(1, 7), version: Version(1), ..two };
    assert!(one.agree(&newer).is_ok() && newer.agree(&one).is_ok());
    let raised = Hello { version: Version(2), ..newer };
    let error = not_applied(2, (1, 1));
    assert_eq!(raised.agree(&one), Err(LinkError::CannotApply { node: 1, error }));
    // One that has not heard of it yet.
    let behind = Hello { applied: range(1, 2), ..one };
    assert!(raised.agree(&behind).is_ok() && behind.agree(&raised).is_ok());
    let text = LinkError::CannotApply { node: 1, error }.to_string();
    assert!(text.contains("node 1 applies 1 to 1: node 1 takes no part."), "{text}");
    assert!(text.ends_with("Start one that applies 2 there"), "{text}");
}

/// A hello is read in pieces, an older one once its beginning is there, and what a later one says
/// beside is part of what both checksums begin with.
#[test]
fn hellos_of_other_versions_are_understood_as_far_as_needed() {
    let (one, two) = hellos();
    let bytes = two.encode();
    for end in 0..bytes.len() {
        assert_eq!(Hello::read(&bytes[..end]), Ok(None), "{end} bytes");
    }
    assert_eq!(Hello::read(&[&bytes[..], b"more"].concat()), Ok(Some(two)));
    let older = Hello { versions: (1, 2), ..two }.encode();
    let refusal = Err(LinkError::NoCommonVersion { least: 1, most: 2 });
    assert_eq!(Hello::read(&older[..FIRST_BYTES]), refusal);
    assert_eq!(Hello::read(&[0; FIRST_BYTES]), Err(LinkError::NoHello));
    let later = Hello { later: [9; 14], versions: (3, 4), ..two };
    assert_eq!(Hello::decode(&later.encode()), Ok(later));
    let (left, right) = (one.agree(&later).unwrap(), later.agree(&one).unwrap());
    assert_eq!((left.send_seed, left.receive_seed), (right.receive_seed, right.send_seed));
    assert_ne!(left.send_seed, one.agree(&two).unwrap().send_seed);
}

/// Everything that a reader gives for these bytes in these pieces.
fn read_all(reader: &mut FrameReader, bytes: &[u8], piece: usize) -> Result<Messages, LinkError> {
    let mut got = Messages::new();
    for piece in bytes.chunks(piece) {
        reader.receive(piece);
        while let Some(frame) = reader.read()? {
            got.push((frame.shard.0, frame.payload.to_vec()));
        }
    }
    Ok(got)
}

type Messages = Vec<(u16, Vec<u8>)>;

fn written(seed: u32, messages: &Messages) -> Vec<u8> {
    let (mut writer, mut bytes) = (FrameWriter::new(seed), Vec::new());
    for (shard, payload) in messages {
        writer.write(Frame { shard: ShardId(*shard), payload }, &mut bytes);
    }
    bytes
}

proptest! {
    #[test]
    fn what_was_written_is_read_in_any_pieces(
        messages in vec((any::<u16>(), vec(any::<u8>(), 0..300)), 0..8),
        seed in any::<u32>(),
        piece in 1..200_usize,
    ) {
        let bytes = written(seed, &messages);
        prop_assert_eq!(read_all(&mut FrameReader::new(seed), &bytes, piece), Ok(messages));
    }

    #[test]
    fn a_flipped_bit_is_noticed_and_nothing_behind_it_is_read(
        messages in vec((any::<u16>(), vec(any::<u8>(), 0..60)), 1..5),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let mut bytes = written(5, &messages);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let mut reader = FrameReader::new(5);
        let mut got = Messages::new();
        reader.receive(&bytes);
        // A length that grew waits for bytes that never come; everything else is an error.
        while let Ok(Some(frame)) = reader.read() {
            got.push((frame.shard.0, frame.payload.to_vec()));
        }
        prop_assert!(got.len() < messages.len());
        prop_assert_eq!(&got[..], &messages[..got.len()]);
        let again = reader.read().is_ok_and(|frame| frame.is_some());
        prop_assert!(!again);
    }
}

#[test]
fn frames_of_another_link_and_repeated_ones_do_not_pass() {
    let messages: Messages = vec![(1, b"a".to_vec())];
    let bytes = written(5, &messages);
    assert_eq!(read_all(&mut FrameReader::new(6), &bytes, 9), Err(LinkError::Damaged));
    let twice = [bytes.clone(), bytes].concat();
    assert_eq!(read_all(&mut FrameReader::new(5), &twice, 9), Err(LinkError::Damaged));
}

#[test]
fn a_length_beyond_the_bound_is_refused_before_it_is_waited_for() {
    let mut reader = FrameReader::new(5);
    reader.receive(&[0xff; 16]);
    assert_eq!(reader.read(), Err(LinkError::TooLong { bytes: u32::MAX as usize }));
}

/// An entry may be longer than a frame, and than what otherwise waits on a link.
#[test]
fn a_long_message_goes_in_parts() {
    let long: Vec<u8> = (0..LINK_BYTES_MAX + FRAME_BYTES_MAX / 2).map(|n| (n >> 7) as u8).collect();
    let mut outbox = Outbox::new(5);
    assert!(outbox.push(Frame { shard: ShardId(3), payload: &long }));
    assert!(!outbox.push(Frame { shard: ShardId(3), payload: b"no room" }));
    let bytes = outbox.take().unwrap();
    outbox.on_sent(Vec::new());
    assert!(outbox.push(Frame { shard: ShardId(4), payload: b"next" }));
    let bytes = [bytes, outbox.take().unwrap()].concat();
    let got = read_all(&mut FrameReader::new(5), &bytes, 1 << 20).unwrap();
    assert!(got == [(3, long), (4, b"next".to_vec())]);
}

#[test]
fn a_full_outbox_drops_and_empties_as_sends_end() {
    let mut outbox = Outbox::new(5);
    let payload = vec![0; FRAME_BYTES_MAX];
    let frame = Frame { shard: ShardId(0), payload: &payload };
    assert!(outbox.push(frame));
    let first = outbox.take().unwrap();
    assert!(!outbox.push(frame), "two are more than the bound, the heads included");
    assert!(outbox.push(Frame { shard: ShardId(1), payload: b"x" }));
    assert_eq!(outbox.take(), None, "one send at a time");
    assert_eq!(outbox.dropped, 1);
    let mut bytes = first.clone();
    outbox.on_sent(first);
    bytes.extend(outbox.take().unwrap());
    let got = read_all(&mut FrameReader::new(5), &bytes, 1 << 16).unwrap();
    assert_eq!(got.iter().map(|(shard, _)| *shard).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_broken_link_is_tried_at_once_then_ever_more_slowly() {
    let mut backoff = Backoff::default();
    assert_eq!(backoff.on_failed(5, 999), 5);
    let waits: Vec<u64> = (0..9).map(|_| backoff.on_failed(0, 0)).collect();
    assert!(waits.windows(2).all(|two| two[1] == two[0] * 2 || two[1] == 1_000_000_000));
    assert_eq!(waits.last(), Some(&1_000_000_000));
    backoff.on_made(0);
    assert!(backoff.on_failed(1_000_000, 0) > 1_000_000, "one that breaks at once is no better");
    backoff.on_made(0);
    assert_eq!(backoff.on_failed(20_000_000_000, 0), 20_000_000_000);
}
