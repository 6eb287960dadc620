//! Lists against a vector, with limits so small that they convert all the time.

use proptest::prelude::*;

use super::*;

fn limits(size: i64) -> EncodingLimits {
    EncodingLimits { list_max_listpack_size: size, ..EncodingLimits::default() }
}

fn same(list: &List, model: &[Vec<u8>]) {
    assert_eq!(list.len(), model.len());
    assert!(list.iter().eq(model.iter().map(|item| &item[..])));
    assert!(list.iter().rev().eq(model.iter().rev().map(|item| &item[..])));
    if let Form::B(nodes) = list.repr.get() {
        nodes.check();
    }
}

fn item(seed: u32, large: usize) -> Vec<u8> {
    match seed % 8 {
        0 => vec![b'L'; large],
        n => format!("item{}", n % 4).into_bytes(),
    }
}

fn edit(list: &mut List, model: &mut Vec<Vec<u8>>, limits: &EncodingLimits, act: (u8, u32, u32)) {
    let (kind, at, seed) = act;
    let index = at as usize % (model.len() + 1);
    let item = item(seed, if seed % 3 == 0 { 6000 } else { 700 });
    let count = seed as usize % 7;
    match kind {
        0..=3 => {
            list.push(End::Tail, &item, limits);
            model.push(item);
        }
        4..=6 => {
            list.push(End::Head, &item, limits);
            model.insert(0, item);
        }
        7 | 8 => {
            list.insert(index, &item, limits);
            model.insert(index, item);
        }
        9 => assert_eq!(list.pop(End::Tail, limits), model.pop()),
        10 => {
            let expected = (!model.is_empty()).then(|| model.remove(0));
            assert_eq!(list.pop(End::Head, limits), expected);
        }
        11 => {
            let signed = index as i64 - if seed % 2 == 0 { model.len() as i64 } else { 0 };
            let target = if signed < 0 { signed + model.len() as i64 } else { signed } as usize;
            assert_eq!(list.set(signed, &item, limits), target < model.len());
            if target < model.len() {
                model[target] = item;
                assert_eq!(list.get(signed), Some(&model[target][..]));
            }
        }
        12 => {
            let end = (index + count).min(model.len());
            assert_eq!(list.delete(index..index + count, limits), end - index);
            model.drain(index..end);
        }
        13 => remove(list, model, limits, &item, count),
        14 if seed % 4 == 0 => {
            let end = (index + model.len() / 2).min(model.len());
            list.trim(index..end, limits);
            *model = model[index..end].to_vec();
        }
        _ => {
            let end = (index + count).min(model.len());
            let wanted = model[index..end].iter().map(|item| &item[..]);
            assert!(list.range(index..index + count).eq(wanted.clone()));
            assert!(list.range(index..index + count).rev().eq(wanted.rev()));
        }
    }
}

fn remove(
    list: &mut List,
    model: &mut Vec<Vec<u8>>,
    limits: &EncodingLimits,
    item: &[u8],
    count: usize,
) {
    let head: Vec<usize> = (0..model.len()).filter(|&n| model[n] == item).collect();
    let tail: Vec<usize> = head.iter().rev().copied().collect();
    assert_eq!(list.find(item), head.first().copied());
    assert_eq!(list.positions(item, End::Head, 0, usize::MAX, 0), head);
    let expected: Vec<_> = tail.iter().skip(1).take(count).copied().collect();
    assert_eq!(list.positions(item, End::Tail, 1, count, 0), expected);
    let near: Vec<_> = head.iter().filter(|&&n| n < 5).copied().collect();
    assert_eq!(list.positions(item, End::Head, 0, usize::MAX, 5), near);
    let (from, order) = if count.is_multiple_of(2) { (End::Head, head) } else { (End::Tail, tail) };
    let mut doomed: Vec<_> = order.into_iter().take(count).collect();
    assert_eq!(list.remove(item, from, count, limits), doomed.len());
    doomed.sort_unstable();
    doomed.into_iter().rev().for_each(|n| {
        model.remove(n);
    });
}

proptest! {
    #[test]
    fn agrees_with_a_vector(
        size in prop_oneof![Just(-1_i64), Just(-2), Just(1), Just(3), Just(8)],
        acts in prop::collection::vec((0..16_u8, any::<u32>(), any::<u32>()), 0..120),
    ) {
        let limits = limits(size);
        let mut list = List::new();
        let mut model = Vec::new();
        for act in acts {
            edit(&mut list, &mut model, &limits, act);
            same(&list, &model);
        }
        let copy = list.clone();
        same(&copy, &model);
        prop_assert_eq!(&copy, &list);
        list.push(End::Tail, b"one more", &limits);
        prop_assert_ne!(&copy, &list);
    }
}

/// The sequence of Redis 7.2's own tests: over the limit a quicklist, at half of it a listpack.
#[test]
fn encodings_go_over_and_back() {
    let by_len = limits(4);
    let mut list = List::new();
    (0..4).for_each(|_| list.push(End::Tail, b"x", &by_len));
    assert_eq!(list.encoding(), "listpack");
    list.push(End::Tail, b"x", &by_len);
    assert_eq!(list.encoding(), "quicklist");
    list.pop(End::Tail, &by_len);
    list.pop(End::Head, &by_len);
    assert_eq!(list.encoding(), "quicklist");
    list.pop(End::Head, &by_len);
    assert_eq!((list.encoding(), list.len()), ("listpack", 2));

    // LSET counts the new item as one more, and only then the old one as gone.
    let by_len = limits(3);
    let mut list = List::new();
    (0..3).for_each(|_| list.push(End::Tail, b"x", &by_len));
    assert!(list.set(0, b"y", &by_len));
    assert_eq!(list.encoding(), "quicklist");

    // What has a node of its own is no reason for nodes.
    let apart = EncodingLimits { list_packed_threshold_bytes: 1, ..limits(-2) };
    let mut list = List::new();
    (0..3).for_each(|_| list.push(End::Tail, b"item", &apart));
    assert_eq!(list.encoding(), "listpack");

    let by_bytes = limits(-1);
    let mut list = List::new();
    list.push(End::Tail, &[b'a'; 3000], &by_bytes);
    list.push(End::Tail, &[b'b'; 500], &by_bytes);
    assert_eq!(list.encoding(), "listpack");
    list.push(End::Tail, &[b'c'; 1000], &by_bytes);
    assert_eq!(list.encoding(), "quicklist");
    list.pop(End::Head, &by_bytes);
    assert_eq!(list.encoding(), "listpack");
    list.expect([&[0; 5000][..]].into_iter(), &by_bytes);
    assert_eq!(list.encoding(), "quicklist");
}

#[test]
fn sizes() {
    assert_eq!(size_of::<Option<List>>(), 8);
    let limits = EncodingLimits::default();
    for end in [End::Head, End::Tail] {
        let mut list = List::new();
        for n in 0..200_000 {
            list.push(end, format!("item:{n:011}").as_bytes(), &limits);
        }
        let each = list.memory_bytes() as f64 / 200_000.0;
        println!("list item of 16 bytes: {each:.2}");
        assert!(each <= 19.0, "{each}");
        let mut slices = 1;
        while !list.drain_slice(1000) {
            slices += 1;
        }
        assert!(slices > 100 && list.is_empty());
    }
}
