//! Sets against a standard set, with limits so small that they convert all the time.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn hasher() -> Hasher64 {
    Hasher64::new([1, 2, 3, 4])
}

fn limits() -> EncodingLimits {
    EncodingLimits {
        set_max_intset_entries: 5,
        set_max_listpack_entries: 7,
        set_max_listpack_value: 8,
        ..EncodingLimits::default()
    }
}

fn scanned(set: &Set) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut cursor = 0;
    loop {
        cursor = set.scan(cursor, 3, |member| all.push(member.to_vec()));
        if cursor == 0 {
            all.sort();
            return all;
        }
    }
}

/// What Redis 7.2 says after adding a member that was not there.
fn encoding_after(old: &'static str, model: &BTreeSet<Vec<u8>>, added: &[u8]) -> &'static str {
    let before = model.len() - 1;
    let fits = before < 7 && added.len() <= 8;
    let is_number = parse_integer(added).is_some();
    let longest = model.iter().filter(|member| &member[..] != added).map(Vec::len).max();
    match old {
        "intset" if is_number => {
            if model.len() > 5 {
                "hashtable"
            } else {
                "intset"
            }
        }
        "intset" if fits && longest.unwrap_or(0) <= 8 => "listpack",
        "listpack" if fits => "listpack",
        _ => "hashtable",
    }
}

fn member() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (-6_i64..6).prop_map(|n| n.to_string().into_bytes()),
        1 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        2 => (0..5_u32).prop_map(|n| format!("m{n}").into_bytes()),
        1 => Just(b"much longer than eight".to_vec()),
    ]
}

proptest! {
    #[test]
    fn agrees_with_a_standard_set(
        edits in prop::collection::vec((0..5, member(), any::<u64>()), 0..60),
    ) {
        let mut set = Set::new();
        let mut model = BTreeSet::new();
        let mut encoding = "intset";
        for (kind, member, random) in edits {
            match kind {
                0 => prop_assert_eq!(set.remove(&member), model.remove(&member)),
                1 => match set.pop(random) {
                    Some(popped) => prop_assert!(model.remove(&popped[..])),
                    None => prop_assert!(model.is_empty()),
                },
                _ => {
                    let added = set.add(&member, &limits(), &hasher());
                    prop_assert_eq!(added, model.insert(member.clone()));
                    if added {
                        encoding = encoding_after(encoding, &model, &member);
                    }
                }
            }
            prop_assert_eq!(set.contains(&member), model.contains(&member));
            prop_assert_eq!(set.encoding(), encoding);
            prop_assert_eq!(set.len(), model.len());
            prop_assert_eq!(set.random(random).is_some(), !model.is_empty());
        }
        let expected: Vec<_> = model.iter().cloned().collect();
        let mut listed: Vec<_> = set.iter().map(|member| member.to_vec()).collect();
        listed.sort();
        prop_assert_eq!(&listed, &expected);
        prop_assert_eq!(&scanned(&set), &expected);
        let copy = set.clone();
        prop_assert_eq!(&copy, &set);
        prop_assert_eq!(copy.encoding(), set.encoding());
        set.add(b"another", &limits(), &hasher());
        prop_assert_ne!(&copy, &set);
    }
}

#[test]
fn a_hint_chooses_the_form() {
    let limits = EncodingLimits::default();
    let encoding = |first: &[u8], len| Set::for_len(first, len, &limits, &hasher()).encoding();
    assert_eq!(encoding(b"12", 512), "intset");
    assert_eq!(encoding(b"12", 513), "hashtable");
    assert_eq!(encoding(b"x", 128), "listpack");
    assert_eq!(encoding(b"x", 129), "hashtable");
    let mut set = Set::new();
    set.add(b"1", &limits, &hasher());
    set.expect_len(512, &limits, &hasher());
    assert_eq!(set.encoding(), "intset");
    set.expect_len(513, &limits, &hasher());
    assert_eq!(set.encoding(), "hashtable");
    assert!(set.contains(b"1"));
}

#[test]
fn sizes() {
    assert_eq!(size_of::<Option<Set>>(), 8);
    let limits = EncodingLimits::default();
    let mut integers = Set::new();
    (0..512).for_each(|n: i64| {
        integers.add(n.to_string().as_bytes(), &limits, &hasher());
    });
    assert_eq!(integers.encoding(), "intset");
    assert!(integers.memory_bytes() <= 1280);

    let mut large = Set::new();
    for n in 0..200_000 {
        large.add(format!("member:{n:09}").as_bytes(), &limits, &hasher());
    }
    let each = large.memory_bytes() as f64 / 200_000.0;
    println!("set member of 16 bytes: {each:.1}");
    assert!(each <= 46.0, "{each}");
    assert_eq!(scanned(&large).len(), 200_000);
    let mut slices = 1;
    while !large.drain_slice(1000) {
        slices += 1;
    }
    assert!(slices > 100 && large.is_empty());
}
