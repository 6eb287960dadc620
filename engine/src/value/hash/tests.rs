//! Hashes against a standard map, with limits so small that they convert all the time.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::*;

fn hasher() -> Hasher64 {
    Hasher64::new([1, 2, 3, 4])
}

fn limits() -> EncodingLimits {
    EncodingLimits {
        hash_max_listpack_entries: 6,
        hash_max_listpack_value: 12,
        ..EncodingLimits::default()
    }
}

fn scanned(hash: &Hash) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all = Vec::new();
    let mut cursor = 0;
    loop {
        cursor = hash.scan(cursor, 3, |field, value| all.push((field.to_vec(), value.to_vec())));
        if cursor == 0 {
            all.sort();
            return all;
        }
    }
}

proptest! {
    #[test]
    fn agrees_with_a_standard_map(
        edits in prop::collection::vec((0..4, 0..14_u32, 0..16_usize), 0..80),
        random in any::<u64>(),
    ) {
        let mut hash = Hash::new();
        let mut model = BTreeMap::new();
        let mut large = false;
        for (kind, number, len) in edits {
            let field = format!("f{}", number * number * 3).into_bytes();
            if kind == 0 {
                prop_assert_eq!(hash.delete(&field), model.remove(&field).is_some());
            } else {
                let value = vec![b'v'; if len == 15 { 300 } else { len }];
                large |= value.len() > 12;
                let created = hash.set(&field, &value, &limits(), &hasher());
                prop_assert_eq!(created, model.insert(field.clone(), value.clone()).is_none());
                large |= model.len() > 6;
                prop_assert_eq!(hash.value_len(&field), value.len());
            }
            prop_assert_eq!(hash.contains(&field), model.contains_key(&field));
            prop_assert_eq!(hash.encoding(), if large { "hashtable" } else { "listpack" });
        }
        prop_assert_eq!(hash.len(), model.len());
        for (field, value) in &model {
            prop_assert_eq!(hash.get(field), Some(&value[..]));
        }
        let expected: Vec<_> = model.clone().into_iter().collect();
        let mut listed: Vec<_> = hash.iter().map(|(f, v)| (f.to_vec(), v.to_vec())).collect();
        listed.sort();
        prop_assert_eq!(&listed, &expected);
        prop_assert_eq!(&scanned(&hash), &expected);
        let chosen = hash.random(random).map(|(field, value)| (field.to_vec(), value.to_vec()));
        prop_assert_eq!(chosen.is_some(), !model.is_empty());
        prop_assert!(chosen.is_none_or(|(field, value)| model[&field] == value));
        let copy = hash.clone();
        prop_assert_eq!(&copy, &hash);
        hash.set(b"one more", b"", &limits(), &hasher());
        prop_assert_ne!(&copy, &hash);
    }
}

#[test]
fn packed_keeps_the_order_and_the_table_takes_long_fields() {
    let limits = EncodingLimits::default();
    let mut hash = Hash::new();
    for field in ["z", "a", "m", "a"] {
        hash.set(field.as_bytes(), b"1", &limits, &hasher());
    }
    let order: Vec<_> = hash.iter().map(|(field, _)| field.to_vec()).collect();
    assert_eq!(order, [b"z", b"a", b"m"]);
    let long = vec![7; 70_000];
    hash.set(&long, &long, &limits, &hasher());
    hash.set(&[9; 255], b"x", &limits, &hasher());
    assert_eq!(hash.encoding(), "hashtable");
    assert_eq!(hash.get(&long), Some(&long[..]));
    assert_eq!(hash.get(&[9; 255]), Some(&b"x"[..]));
    assert!(hash.delete(&long));
    assert!(hash.memory_bytes() < 2000);
}

#[test]
fn sizes() {
    assert_eq!(size_of::<Option<Hash>>(), 8);
    let limits = EncodingLimits::default();
    let mut small = Hash::new();
    for n in 0..5 {
        let field = format!("field{n}");
        small.set(field.as_bytes(), b"0123456789abcdef", &limits, &hasher());
    }
    // Five pairs of 8 and 18 bytes, 12 of headers: the class of 160 holds them.
    assert_eq!(small.memory_bytes(), 160);

    let mut large = Hash::new();
    for n in 0..100_000 {
        let field = format!("{n:016}");
        large.set(field.as_bytes(), field.as_bytes(), &limits, &hasher());
    }
    let each = large.memory_bytes() as f64 / 100_000.0;
    println!("hash pair of 16 and 16 bytes: {each:.1}");
    assert!(each < 48.0 + 13.0, "{each}");
    let seen: HashSet<_> = scanned(&large).into_iter().collect();
    assert_eq!(seen.len(), 100_000);
    let mut slices = 1;
    while !large.drain_slice(1000) {
        slices += 1;
    }
    assert!(slices > 50 && large.is_empty());
}
