use super::decode::{Change, DecodeError, Decoder, Effect};
use super::log::EffectLog;
use super::*;

/// The bytes of FORMAT.md for a few kinds, written out by hand.
#[test]
fn test_vectors() {
    let mut log = EffectLog::default();
    log.begin(Kind::SetString, 0, b"k").bytes(b"v");
    log.begin(Kind::HashSet, 3, b"hash").bytes(b"f").bytes(b"12");
    log.begin_same_key(Kind::HashDelete).bytes(b"g");
    log.begin(Kind::Expire, 300, b"e").i64(-2);
    let expected: &[&[u8]] = &[
        b"\x01",
        b"\x02\x00\x01k\x01v",
        b"\x10\x03\x04hash\x01f\x0212",
        b"\x91\x01g",
        b"\x07\xac\x02\x01e\xfe\xff\xff\xff\xff\xff\xff\xff",
    ];
    assert_eq!(log.payload(), expected.concat());
    let effects: Vec<Effect<'_>> = Decoder::new(log.payload()).map(Result::unwrap).collect();
    assert_eq!(effects[2], Effect { db: 3, key: b"hash", change: Change::HashDelete(b"g") });
    assert_eq!(effects[3].change, Change::Expire { at_ms: -2 });
    assert_eq!(effects.len(), 4);
}

#[test]
fn what_cannot_be_read_is_refused() {
    let read = |bytes: &[u8]| Decoder::new(bytes).collect::<Result<Vec<_>, _>>().map(|e| e.len());
    assert_eq!(read(b""), Ok(0));
    assert_eq!(read(b"\x02"), Err(DecodeError::NewerVersion { version: 2 }));
    assert_eq!(read(b"\x01\x3f\x00\x01k"), Err(DecodeError::UnknownKind { kind: 63, offset: 1 }));
    assert_eq!(read(b"\x01\x82\x01v"), Err(DecodeError::Malformed { offset: 1 }));
    assert_eq!(read(b"\x01\x02\x00\x09k"), Err(DecodeError::Malformed { offset: 4 }));
}

#[test]
fn random_bytes_never_panic() {
    let mut rng = crate::rng::Rng::new(3);
    for _ in 0..50_000 {
        let mut bytes = vec![1];
        bytes.extend((0..rng.below(40)).map(|_| rng.below(50) as u8));
        Decoder::new(&bytes).for_each(drop);
    }
}
