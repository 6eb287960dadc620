//! The table against a standard map, its memory, its cursors, and hashes meant to hurt.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;

/// A key and a value behind a pointer.
impl Entry for Box<(Vec<u8>, u64)> {
    fn key(&self) -> &[u8] {
        &self.0
    }
}

/// A key alone.
type Short = Box<[u8; 8]>;

impl Entry for Short {
    fn key(&self) -> &[u8] {
        &self[..]
    }
}

fn hasher() -> Hasher64 {
    Hasher64::new([11, 22, 33, 44])
}

fn short(n: u64) -> Short {
    Box::new(n.to_le_bytes())
}

fn add(table: &mut Table<Short>, n: u64) {
    table.insert(table.hash(&n.to_le_bytes()), short(n));
}

fn take(table: &mut Table<Short>, n: u64) {
    let removed = table.remove(table.hash(&n.to_le_bytes()), &n.to_le_bytes());
    assert_eq!(removed, Some(short(n)));
}

fn number(entry: &Short) -> u64 {
    u64::from_le_bytes(**entry)
}

/// Everything that must hold between a table's parts.
fn check(table: &Table<impl Entry>) {
    assert_eq!(table.directory.len(), 1 << table.depth);
    let mut len = 0;
    let mut deepest = 0;
    for (number, segment) in table.segments.iter().enumerate() {
        assert!(segment.depth <= table.depth);
        deepest += usize::from(segment.depth == table.depth);
        len += segment.len();
        assert_eq!(segment.iter().count(), segment.len());
        let pointing = table.directory.iter().filter(|&&index| index as usize == number).count();
        assert_eq!(pointing, 1 << (table.depth - segment.depth));
        for entry in segment.iter() {
            let hash = table.hash(entry.key());
            assert_eq!(table.index(hash), number);
            assert!(segment.find(hash, entry.key()).is_some());
        }
    }
    assert_eq!(len, table.len());
    let chunk_bytes: usize = table.segments.iter().map(|segment| segment.memory_bytes()).sum();
    assert_eq!(chunk_bytes, table.chunk_bytes);
    let directory = alloc_size(table.directory.capacity() * size_of::<u32>());
    let in_all = chunk_bytes + table.segments.memory_bytes() + directory;
    assert_eq!(in_all, table.memory_bytes());
    assert_eq!(deepest, table.deepest);
}

#[derive(Clone, Debug)]
enum Act {
    Put(u16),
    Probe(u16, bool),
    Remove(u16),
    AddMany(u16, u16),
    RemoveMany(u16, u16),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => any::<u16>().prop_map(|key| Act::Put(key % 512)),
        4 => (any::<u16>(), any::<bool>()).prop_map(|(key, take)| Act::Probe(key % 512, take)),
        4 => any::<u16>().prop_map(|key| Act::Remove(key % 512)),
        1 => (any::<u16>(), 0..3000_u16).prop_map(|(from, count)| Act::AddMany(from, count)),
        1 => (any::<u16>(), 0..6000_u16).prop_map(|(from, count)| Act::RemoveMany(from, count)),
    ]
}

type Pair = Box<(Vec<u8>, u64)>;

fn apply(table: &mut Table<Pair>, model: &mut HashMap<Vec<u8>, u64>, act: &Act, value: u64) {
    let bytes = |key: u16| format!("key:{key}").into_bytes();
    match *act {
        Act::Put(key) => {
            let key = bytes(key);
            let old = table.replace(table.hash(&key), Box::new((key.clone(), value)));
            assert_eq!(old.map(|entry| entry.1), model.insert(key, value));
        }
        Act::Probe(key, take) => {
            let key = bytes(key);
            match table.probe(table.hash(&key), &key) {
                Probe::Occupied(entry) if take => {
                    assert_eq!(Some(entry.remove().1), model.remove(&key));
                }
                Probe::Occupied(mut entry) => {
                    assert_eq!(entry.get().1, model[&key]);
                    entry.get_mut().1 = value;
                    assert_eq!(entry.replace(Box::new((key.clone(), value))).1, value);
                    model.insert(key, value);
                }
                Probe::Vacant(entry) => {
                    entry.insert(Box::new((key.clone(), value)));
                    assert_eq!(model.insert(key, value), None);
                }
            }
        }
        Act::Remove(key) => {
            let key = bytes(key);
            let removed = table.remove(table.hash(&key), &key);
            assert_eq!(removed.map(|entry| entry.1), model.remove(&key));
        }
        Act::AddMany(from, count) => {
            for key in (from..from.saturating_add(count)).map(bytes) {
                let old = table.replace(table.hash(&key), Box::new((key.clone(), value)));
                assert_eq!(old.map(|entry| entry.1), model.insert(key, value));
            }
        }
        Act::RemoveMany(from, count) => {
            for key in (from..from.saturating_add(count)).map(bytes) {
                let removed = table.remove(table.hash(&key), &key);
                assert_eq!(removed.map(|entry| entry.1), model.remove(&key));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn agrees_with_a_standard_map(acts in prop::collection::vec(act(), 1..80)) {
        let mut table = Table::new(hasher());
        let mut model = HashMap::new();
        for (value, act) in acts.iter().enumerate() {
            apply(&mut table, &mut model, act, value as u64);
        }
        check(&table);
        prop_assert_eq!(table.len(), model.len());
        for (key, value) in &model {
            prop_assert_eq!(table.get(table.hash(key), key).map(|entry| entry.1), Some(*value));
        }
        prop_assert_eq!(table.get(table.hash(b"none"), b"none"), None);
    }

    /// Entries come and go by the thousand between the calls of one scan.
    #[test]
    fn a_scan_sees_what_stays_exactly_once(
        seed in any::<u64>(),
        stay in 1..4000_u64,
        churn in 0..20_000_u64,
        at_least in 1..200_usize,
    ) {
        let mut table = Table::new(hasher());
        let base = seed << 20;
        (0..stay).for_each(|n| add(&mut table, base + n));
        let mut extra = 0..0_u64;
        let mut seen = HashMap::new();
        let mut cursor = 0;
        let mut round = seed;
        loop {
            cursor = table.scan(cursor, at_least, |entry| {
                *seen.entry(number(entry)).or_insert(0) += 1;
            });
            if cursor == 0 {
                break;
            }
            prop_assert!(cursor < 1 << CURSOR_BITS);
            round = round.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if round >> 63 == 0 && extra.is_empty() {
                extra = stay..stay + churn;
                extra.clone().for_each(|n| add(&mut table, base + n));
            } else {
                extra.by_ref().for_each(|n| take(&mut table, base + n));
            }
        }
        check(&table);
        for n in 0..stay {
            prop_assert_eq!(seen.get(&(base + n)), Some(&1));
        }
    }
}

#[test]
fn memory_stays_under_twelve_bytes_an_entry() {
    let mut table = Table::new(hasher());
    let mut n = 0;
    let (mut sum, mut count, mut worst) = (0.0, 0.0, 0.0_f64);
    let mut target = 1000.0_f64;
    while target < 3_000_000.0 {
        while n < target as u64 {
            add(&mut table, n);
            n += 1;
        }
        let overhead = table.memory_bytes() as f64 / n as f64;
        sum += overhead;
        count += 1.0;
        worst = worst.max(overhead);
        target *= 1.07;
    }
    println!("mean {:.2}, worst {worst:.2} bytes an entry", sum / count);
    assert!(sum / count < 12.0, "mean {}", sum / count);
    assert!(worst < 14.0, "worst {worst}");

    // After mass deletion the memory comes back.
    let full = table.memory_bytes();
    (2000..n).for_each(|n| take(&mut table, n));
    check(&table);
    assert!(table.memory_bytes() < 2000 * 40, "{}", table.memory_bytes());
    (0..2000).for_each(|n| take(&mut table, n));
    check(&table);
    assert!(table.memory_bytes() < 16_384, "{} of {full}", table.memory_bytes());
    assert_eq!((table.depth, table.segments.len()), (0, 1));
}

#[test]
fn small_tables_are_small() {
    let mut table = Table::new(hasher());
    assert!(table.memory_bytes() <= 16 + 32 + 48);
    (0..200).for_each(|n| add(&mut table, n));
    assert!(table.memory_bytes() <= 200 * 13, "{}", table.memory_bytes());
}

#[test]
fn a_scan_without_changes_visits_each_once_in_hash_order() {
    let mut table = Table::new(hasher());
    (0..50_000).for_each(|n| add(&mut table, n));
    let mut cursor = 0;
    let mut seen = HashSet::new();
    let mut last = 0;
    loop {
        let mut batch = 0;
        let mut high = last;
        cursor = table.scan(cursor, 10, |entry| {
            let hash = table.hash(entry.key());
            assert!(hash >> 16 >= last);
            high = high.max(hash >> 16);
            assert!(seen.insert(number(entry)));
            batch += 1;
        });
        assert!(batch < 60, "{batch}");
        if cursor == 0 {
            break;
        }
        assert!(high < cursor);
        last = cursor;
    }
    assert_eq!(seen.len(), 50_000);
    // A cursor is a client's word: none may do harm.
    for cursor in [u64::MAX, 1 << 48, (1 << 48) - 1, 1 << 47, 12_345] {
        table.scan(cursor, 10, |_| {});
    }
    assert_eq!(Table::<Short>::new(hasher()).scan(0, 10, |_| panic!("nothing")), 0);
}

/// The worst that hashes can do: all equal. Set up below the table, which computes its own.
#[test]
fn equal_hashes_stay_correct_and_bounded() {
    for hash in [0, u64::MAX, 0x1234_5678_9abc_def0] {
        let mut segment = segment::Segment::with_room_for(5000);
        for n in 0..5000_u64 {
            assert!(segment.has_room());
            segment.place(hash, short(n));
        }
        assert!(segment.memory_bytes() < 5000 * 16);
        for n in (0..5000_u64).rev() {
            let place = segment.find(hash, &n.to_le_bytes()).expect("it is there");
            assert_eq!(segment.take(hash, place), short(n));
            assert_eq!(segment.find(hash, &n.to_le_bytes()), None);
        }
    }
}

fn numbers_that_share_their_top_bits(count: usize) -> Vec<u64> {
    let hasher = hasher();
    let shares = |n: &u64| hasher.hash(&n.to_le_bytes()) >> 54 == 0x155;
    (0..).filter(shares).take(count).collect()
}

#[test]
fn keys_chosen_to_share_their_top_bits_do_not_blow_up_the_directory() {
    let mut table = Table::new(hasher());
    let chosen = numbers_that_share_their_top_bits(4000);
    chosen.iter().for_each(|&n| add(&mut table, n));
    check(&table);
    assert!(table.directory.len() <= 4000 / ENTRIES_PER_INDEX_MIN);
    assert!(table.memory_bytes() < 4000 * 16, "{}", table.memory_bytes());
    let mut seen = 0;
    let mut cursor = 0;
    loop {
        cursor = table.scan(cursor, 10, |_| seen += 1);
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(seen, 4000);
    (0..100).for_each(|r| assert!(table.random(r).is_some()));
    chosen.iter().for_each(|&n| take(&mut table, n));
    check(&table);
    assert!(table.memory_bytes() < 8192);
}

#[test]
fn random_is_nearly_uniform() {
    let mut table = Table::new(hasher());
    (0..3000).for_each(|n| add(&mut table, n));
    let mut counts = vec![0_u32; 3000];
    for n in 0..300_000_u64 {
        let random = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17);
        counts[number(table.random(random).expect("it is not empty")) as usize] += 1;
    }
    // 100 expected; five standard deviations and a tenth for the segments' densities.
    assert!(counts.iter().all(|count| (45..165).contains(count)), "{counts:?}");
    (1..3000).for_each(|n| take(&mut table, n));
    assert_eq!(table.random(7).map(number), Some(0));
    take(&mut table, 0);
    assert_eq!(table.random(7), None);
}

#[test]
fn deadlines_follow_the_segments() {
    let mut table = Table::new(hasher());
    (0..20_000).for_each(|n| add(&mut table, n));
    let hash = table.hash(&5_u64.to_le_bytes());
    table.lower_deadline(hash, 500);
    table.lower_deadline(hash, 700);
    (20_000..200_000).for_each(|n| add(&mut table, n));
    let (none, _) = table.find_due(499, 0, usize::MAX);
    assert!(none.is_none());
    let mut cursor = 0;
    let mut due = Vec::new();
    loop {
        let (found, next) = table.find_due(500, cursor, 3);
        due.extend(found.map(|view| view.hash()));
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    assert!(due.len() > 1, "the splits inherited it");
    due.into_iter().for_each(|hash| table.set_deadline(hash, NO_DEADLINE));
    assert!(table.find_due(i64::MAX - 1, 0, usize::MAX).0.is_none());

    // All segments together hold everything, in order.
    let mut len = 0;
    let mut cursor = 0;
    loop {
        let view = table.segment_at(cursor);
        assert_eq!(view.hash(), cursor << 16);
        assert_eq!(view.iter().count(), view.len());
        len += view.len();
        cursor = view.next_cursor();
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(len, 200_000);
}

/// Random changes of these numbers between the slices of a walk, each announced as the keyspace
/// does it. Some walks end before they are done.
fn walk_while_changing(seed: u64, numbers: &[u64]) {
    let mut rng = crate::rng::Rng::new(seed);
    let mut table = Table::new(hasher());
    let span = numbers.len() as u64;
    numbers.iter().take(rng.below(span) as usize).for_each(|&n| add(&mut table, n));
    let mut expected: Vec<u64> = table.iter().map(number).collect();
    let mut visited = Vec::new();
    let slices_max = if rng.below(4) == 0 { rng.below(20) } else { u64::MAX };
    table.begin_walk();
    let mut cursor = Some(0);
    for _ in 0..slices_max {
        let Some(at) = cursor else { break };
        let from = rng.below(span) as usize;
        for &n in numbers[from..].iter().take(rng.below(1 + span / 8) as usize) {
            let key = n.to_le_bytes();
            let hash = table.hash(&key);
            table.visit_before(hash, &key, |entry| visited.push(number(entry)));
            match table.get(hash, &key) {
                Some(_) if rng.below(3) != 0 => take(&mut table, n),
                Some(_) => {}
                None if rng.below(2) == 0 => add(&mut table, n),
                None => {}
            }
        }
        let stop_after = rng.below(100);
        let mut count = 0;
        cursor = table.walk_slice(at, |entry| {
            visited.push(number(entry));
            count += 1;
            count < stop_after
        });
    }
    table.end_walk();
    check(&table);
    assert!(table.segments.iter().all(|segment| segment.marks.is_none()));
    visited.sort_unstable();
    if cursor.is_some() {
        assert!(visited.windows(2).all(|pair| pair[0] != pair[1]), "seed {seed}");
        expected.retain(|n| visited.binary_search(n).is_ok());
    }
    expected.sort_unstable();
    assert!(visited == expected, "seed {seed}");
}

#[test]
fn a_walk_visits_once_what_was_there_when_it_began() {
    let numbers: Vec<u64> = (0..20_000).collect();
    for seed in 0..300 {
        walk_while_changing(seed, &numbers[..[50, 1000, 20_000][seed as usize % 3]]);
    }
}

/// One segment of more chunks than there are marks.
#[test]
fn a_walk_visits_once_where_hashes_do_not_spread() {
    let numbers = numbers_that_share_their_top_bits(4000);
    (0..30).for_each(|seed| walk_while_changing(seed, &numbers));
}

#[test]
fn a_change_forces_out_no_entry_but_its_own() {
    let mut table = Table::new(hasher());
    (0..5000).for_each(|n| add(&mut table, n));
    table.begin_walk();
    let forced = |table: &mut Table<Short>, n: u64| {
        let (key, mut forced) = (n.to_le_bytes(), Vec::new());
        table.visit_before(table.hash(&key), &key, |entry| forced.push(number(entry)));
        forced
    };
    for n in 0..2000 {
        assert_eq!(forced(&mut table, n), [n]);
        assert_eq!(forced(&mut table, n), []);
        take(&mut table, n);
        // It may come to lie where nothing was, or where something went.
        let new = n + 10_000;
        if table.segment(table.hash(&new.to_le_bytes())).has_room() {
            assert_eq!(forced(&mut table, new), []);
            add(&mut table, new);
            assert_eq!(forced(&mut table, new), []);
        }
    }
}

#[test]
fn a_table_with_room_grows_little() {
    for len in [0, 1, 7, 700, 701, 20_000, 100_000] {
        let mut table = Table::with_room(hasher(), len);
        check(&table);
        let segments = table.segments.len();
        (0..len as u64).for_each(|n| add(&mut table, n));
        check(&table);
        assert!(table.segments.len() <= segments + segments / 50 + 1);
        let usual = {
            let mut usual = Table::new(hasher());
            (0..len as u64).for_each(|n| add(&mut usual, n));
            usual.memory_bytes()
        };
        assert!(table.memory_bytes() <= usual + usual / 4 + 16_384, "{len}");
        (0..len as u64).for_each(|n| take(&mut table, n));
        check(&table);
    }
}

#[test]
fn drains_in_slices() {
    let mut table = Table::new(hasher());
    (0..100_000).for_each(|n| add(&mut table, n));
    let mut slices = 0;
    let mut before = table.len();
    while !table.drain_slice(1000, drop) {
        assert!(before - table.len() <= 1000 + 900);
        before = table.len();
        slices += 1;
    }
    assert!(slices > 50);
    assert_eq!(table.len(), 0);
    add(&mut table, 1);
    check(&table);
    table.clear();
    assert!(table.is_empty());
}

/// Not a test of speed: prints it. `cargo test --release -p engine speed -- --nocapture`.
#[test]
fn speed() {
    let count: u64 = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };
    let mut table = Table::new(hasher());
    let entries: Vec<Short> = (0..count).map(short).collect();
    let mut worst = std::time::Duration::ZERO;
    let start = std::time::Instant::now();
    for entry in entries {
        let before = std::time::Instant::now();
        let hash = table.hash(entry.key());
        table.insert(hash, entry);
        worst = worst.max(before.elapsed());
    }
    let insert = start.elapsed().as_nanos() as u64 / count;
    let mut n = 1;
    let start = std::time::Instant::now();
    for _ in 0..count {
        n = (n * 1_000_003 + 7) % count;
        let key = n.to_le_bytes();
        assert!(table.get(table.hash(&key), &key).is_some());
    }
    let get = start.elapsed().as_nanos() as u64 / count;
    let start = std::time::Instant::now();
    for _ in 0..count {
        n = (n * 1_000_003 + 7) % count;
        let key = (n + count).to_le_bytes();
        assert!(table.get(table.hash(&key), &key).is_none());
    }
    let miss = start.elapsed().as_nanos() as u64 / count;
    println!("insert {insert} ns (worst {worst:?}), get {get} ns, miss {miss} ns");
}
