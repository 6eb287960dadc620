//! Sorted sets against a standard map, with limits so small that they convert all the time.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn hasher() -> Hasher64 {
    Hasher64::new([1, 2, 3, 4])
}

fn limits(entries: usize) -> EncodingLimits {
    EncodingLimits {
        zset_max_listpack_entries: entries,
        zset_max_listpack_value: 10,
        ..EncodingLimits::default()
    }
}

type Model = BTreeMap<Vec<u8>, f64>;

fn ordered(model: &Model) -> Vec<(Vec<u8>, f64)> {
    let mut all: Vec<_> = model.iter().map(|(member, score)| (member.clone(), *score)).collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
    all
}

fn owned<'a>(items: impl Iterator<Item = (&'a [u8], f64)>) -> Vec<(Vec<u8>, f64)> {
    items.map(|(member, score)| (member.to_vec(), score)).collect()
}

fn check(set: &ZSet) {
    if let Form::B(large) = set.repr.get() {
        large.check();
    }
}

fn same(set: &ZSet, model: &Model) {
    let mut expected = ordered(model);
    assert_eq!(set.len(), expected.len());
    assert_eq!(owned(set.iter()), expected);
    let (from, to) = (expected.len() / 3, expected.len() / 3 * 2 + 1);
    let part = &expected[from..to.min(expected.len())];
    assert_eq!(owned(set.range(from..to)), part);
    assert!(owned(set.range(from..to).rev()).iter().eq(part.iter().rev()));
    for (rank, (member, score)) in expected.iter().enumerate() {
        assert_eq!(set.rank(member), Some(rank));
        assert_eq!(set.score(member), Some(*score));
    }
    expected.reverse();
    assert_eq!(owned(set.iter().rev()), expected);
    let mut scanned = Model::new();
    let mut cursor = 0;
    loop {
        cursor = set.scan(cursor, 3, |member, score| {
            assert!(scanned.insert(member.to_vec(), score).is_none());
        });
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(&scanned, model);
}

fn bound(kind: u8, score: f64) -> Bound<f64> {
    match kind % 5 {
        0 => Bound::Unbounded,
        1 | 2 => Bound::Included(score),
        3 => Bound::Excluded(score),
        _ => Bound::Included(f64::INFINITY),
    }
}

fn check_ranges(set: &ZSet, model: &Model, kinds: (u8, u8), one: f64, two: f64) {
    let (min, max) = (bound(kinds.0, one), bound(kinds.1, two));
    let within = |score: f64| {
        (match min {
            Bound::Included(min) => score >= min,
            Bound::Excluded(min) => score > min,
            Bound::Unbounded => true,
        }) && (match max {
            Bound::Included(max) => score <= max,
            Bound::Excluded(max) => score < max,
            Bound::Unbounded => true,
        })
    };
    let expected: Vec<_> = ordered(model).into_iter().filter(|(_, score)| within(*score)).collect();
    let ranks = set.ranks_by_score(min, max);
    assert_eq!(ranks.len(), expected.len());
    assert_eq!(owned(set.range(ranks)), expected);
}

fn score(seed: u32) -> f64 {
    match seed % 12 {
        0 => f64::INFINITY,
        1 => f64::NEG_INFINITY,
        n => f64::from(n) - 6.5,
    }
}

proptest! {
    #[test]
    fn agrees_with_a_standard_map(
        entries in prop_oneof![Just(0_usize), Just(6), Just(30)],
        acts in prop::collection::vec((0..10_u8, 0..40_u32, any::<u32>()), 0..90),
    ) {
        let limits = limits(entries);
        let mut set = ZSet::new();
        let mut model = Model::new();
        let mut large = false;
        for (kind, number, seed) in acts {
            let member = match number {
                0 => b"longer than ten".to_vec(),
                _ => format!("m{number}").into_bytes(),
            };
            let side = if seed % 2 == 0 { Side::Min } else { Side::Max };
            match kind {
                0..=5 => {
                    let old = set.set(&member, score(seed), &limits, &hasher());
                    prop_assert_eq!(old, model.insert(member.clone(), score(seed)));
                    large |= old.is_none() && (model.len() > entries || member.len() > 10);
                }
                6 => prop_assert_eq!(set.remove(&member), model.remove(&member)),
                7 => {
                    let all = ordered(&model);
                    let end = if side == Side::Min { all.first() } else { all.last() };
                    let popped = set.pop(side);
                    prop_assert_eq!(popped.as_ref(), end);
                    popped.map(|(member, _)| model.remove(&member));
                }
                8 => {
                    let ranks = number as usize / 2..(number + seed % 5) as usize / 2;
                    let mut gone = Vec::new();
                    set.remove_range(ranks.clone(), |m, score| gone.push((m.to_vec(), score)));
                    let all = ordered(&model);
                    let len = all.len();
                    let end = ranks.end.min(len);
                    prop_assert_eq!(&gone[..], &all[ranks.start.min(end)..end]);
                    gone.iter().for_each(|(member, _)| { model.remove(member); });
                }
                _ => {
                    let kinds = (seed as u8, (seed >> 8) as u8);
                    check_ranges(&set, &model, kinds, score(seed >> 16), score(number));
                    let random = u64::from(seed) << 32 | u64::from(seed);
                    match set.random(random) {
                        Some((member, score)) => prop_assert_eq!(model[member], score),
                        None => prop_assert!(model.is_empty()),
                    }
                }
            }
            prop_assert_eq!(set.score(&member), model.get(&member).copied());
            prop_assert_eq!(set.encoding(), if large { "skiplist" } else { "listpack" });
            check(&set);
        }
        same(&set, &model);
        let copy = set.clone();
        same(&copy, &model);
        check(&copy);
        prop_assert_eq!(&copy, &set);
        set.set(b"one more", 1.0, &limits, &hasher());
        prop_assert_ne!(&copy, &set);
    }

    #[test]
    fn ranges_by_lex(
        members in prop::collection::btree_set("[a-d]{0,3}", 0..40),
        one in "[a-e]{0,3}",
        two in "[a-e]{0,3}",
        kinds in (0..4_usize, 0..4_usize),
        entries in prop_oneof![Just(0_usize), Just(100)],
    ) {
        let mut set = ZSet::new();
        for member in &members {
            set.set(member.as_bytes(), 0.0, &limits(entries), &hasher());
        }
        let lex = |kind, bytes| match kind {
            0 => LexBound::Min,
            1 => LexBound::Max,
            2 => LexBound::Included(bytes),
            _ => LexBound::Excluded(bytes),
        };
        let above = |m: &str| [true, false, *m >= *one, *m > *one][kinds.0];
        let below = |m: &str| [false, true, *m <= *two, *m < *two][kinds.1];
        let expected: Vec<_> = members.iter().filter(|m| above(m) && below(m)).collect();
        let ranks = set.ranks_by_lex(lex(kinds.0, one.as_bytes()), lex(kinds.1, two.as_bytes()));
        let found: Vec<_> = set.range(ranks).map(|(member, _)| member.to_vec()).collect();
        prop_assert!(found.iter().eq(expected.iter().map(|member| member.as_bytes())));
    }
}

/// Thousands come, move and go, so that the tree grows to three levels and back.
#[test]
fn large_trees_stay_sound() {
    let limits = EncodingLimits::default();
    let mut set = ZSet::new();
    let mut model = Model::new();
    let mut state = 1_u64;
    for round in 0..60_000_u64 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        let member = format!("member:{}", (state >> 33) % 12_000).into_bytes();
        let adds = if round < 30_000 { 9 } else { 3 };
        if (state >> 20) % 10 < adds {
            let score = ((state >> 40) % 5000) as f64;
            assert_eq!(
                set.set(&member, score, &limits, &hasher()),
                model.insert(member.clone(), score)
            );
        } else {
            assert_eq!(set.remove(&member), model.remove(&member));
        }
        if round % 5000 == 0 {
            check(&set);
        }
    }
    check(&set);
    same(&set, &model);
    assert_eq!(set.remove_range(100..usize::MAX, |_, _| {}), model.len() - 100);
    check(&set);
    assert!(set.memory_bytes() < 100 * 160, "{}", set.memory_bytes());
    assert_eq!(set.remove_range(0..100, |_, _| {}), 100);
    check(&set);
    assert!(set.is_empty());
    assert!(set.memory_bytes() < 2048, "{}", set.memory_bytes());
    set.set(b"again", 1.0, &limits, &hasher());
    check(&set);
}

#[test]
fn ascending_and_descending_insertion_keep_the_leaves_full() {
    for descending in [false, true] {
        let mut set = ZSet::new();
        for n in 0..20_000 {
            let score = f64::from(if descending { 20_000 - n } else { n });
            let member = format!("member:{n:010}");
            set.set(member.as_bytes(), score, &EncodingLimits::default(), &hasher());
        }
        check(&set);
        let each = set.memory_bytes() as f64 / 20_000.0;
        assert!(each < 32.0 + 13.0 + 18.5, "{each}");
    }
}

#[test]
fn sizes() {
    assert_eq!(size_of::<Option<ZSet>>(), 8);
    let count = 200_000;
    let mut set = ZSet::new();
    for n in 0..count {
        let score = f64::from((n as u32).wrapping_mul(2_654_435_769));
        let member = format!("member:{n:010}");
        set.set(member.as_bytes(), score, &EncodingLimits::default(), &hasher());
    }
    let each = set.memory_bytes() as f64 / f64::from(count);
    println!("sorted set member of 17 bytes: {each:.1}");
    assert!(each <= 70.0, "{each}");
    let mut slices = 1;
    while !set.drain_slice(1000) {
        slices += 1;
    }
    assert!(slices > 200 && set.is_empty());
}

#[test]
fn gathered_members_make_a_sound_set() {
    let limits = EncodingLimits::default();
    for count in [0, 1, 64, 65, 128, 129, 64 * 63, 64 * 63 + 1, 64 * 63 * 2 + 7, 60_000] {
        let mut gathered = Gathered::with_room(count, &hasher());
        let mut usual = ZSet::new();
        for n in 0..count as u64 {
            let score = (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50) as f64;
            let member = format!("m{n}");
            assert!(gathered.add(member.as_bytes(), score));
            assert!(!gathered.add(member.as_bytes(), 1.0));
            usual.set(member.as_bytes(), score, &limits, &hasher());
        }
        let mut set = gathered.into_zset(&limits, &hasher());
        check(&set);
        assert_eq!(set, usual);
        assert_eq!(set.encoding(), usual.encoding());
        let (bytes, usual_bytes) = (set.memory_bytes(), usual.memory_bytes());
        assert!(bytes <= usual_bytes + usual_bytes / 8 + 16_384, "{count}: {bytes}, {usual_bytes}");
        for n in 0..count {
            set.remove(format!("m{n}").as_bytes());
            if n % 4999 == 0 {
                check(&set);
            }
        }
        assert!(set.is_empty());
    }
}
