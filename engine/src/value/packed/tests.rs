//! Packed arrays against vectors, and damaged ones.

use proptest::prelude::*;

use super::*;

fn data(seed: u16) -> Vec<u8> {
    let len = match seed % 16 {
        0 => 248 + seed as usize / 16 % 12,
        1 => 1000,
        _ => seed as usize / 16 % 40,
    };
    (0..len).map(|n| (n as u16).wrapping_mul(seed) as u8).collect()
}

fn same(packed: &Packed, model: &[Vec<u8>]) {
    let view = packed.view();
    assert_eq!(view.len(), model.len());
    assert!(view.iter().eq(model.iter().map(|item| &item[..])));
    assert!(view.iter().rev().eq(model.iter().rev().map(|item| &item[..])));
    let bytes: usize = model.iter().map(|item| packed_bytes(item.len())).sum();
    assert_eq!(view.entry_bytes(), bytes);
    for (index, item) in model.iter().enumerate() {
        assert_eq!(view.get(index), Some(&item[..]));
        assert!(view.iter_range(index..usize::MAX).eq(model[index..].iter().map(|item| &item[..])));
        assert!(
            view.iter_range(1..index)
                .rev()
                .eq(model[1.min(index)..index].iter().rev().map(|item| &item[..]))
        );
        let found = view.find(item, 1).map(|position| view.at(position));
        assert_eq!(found, Some(&item[..]));
    }
    assert_eq!(view.get(model.len()), None);
    assert_eq!(view.first().is_none(), model.is_empty());
    assert_eq!(view.last().map(|position| view.at(position)), model.last().map(|item| &item[..]));
}

proptest! {
    #[test]
    fn agrees_with_a_vector(
        edits in prop::collection::vec((0..8, any::<u16>(), any::<u16>()), 0..60)
    ) {
        let mut packed = Packed::new();
        let mut model: Vec<Vec<u8>> = Vec::new();
        for (kind, at, seed) in edits {
            let index = at as usize % (model.len() + 1);
            let item = data(seed);
            match kind {
                0 => {
                    packed.push_back(&item);
                    model.push(item);
                }
                1 => {
                    packed.push_front(&item);
                    model.insert(0, item);
                }
                2 | 3 => {
                    packed.insert(index, &item);
                    model.insert(index, item);
                }
                4 if index < model.len() => {
                    let position = packed.view().seek(index).expect("the index is within");
                    packed.replace_at(position, &item);
                    model[index] = item;
                }
                5 => {
                    let count = seed as usize % 5;
                    let expected = count.min(model.len() - index);
                    prop_assert_eq!(packed.delete(index, count), expected);
                    model.drain(index..index + expected);
                }
                6 => {
                    let tail = packed.split_off(index);
                    same(&tail, &model[index..]);
                    let mut joined = packed.clone();
                    joined.append(&tail);
                    same(&joined, &model);
                    packed = joined;
                }
                _ => {}
            }
            same(&packed, &model);
        }
    }

    /// No damage makes a read go beyond the bytes: at worst it panics.
    #[test]
    fn damage_is_never_read_beyond(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let walk = |bytes: Vec<u8>| {
            let view = PackedRef::new(&bytes);
            (view.iter().take(500).map(<[u8]>::len).sum::<usize>(), view.get(3).map(<[u8]>::len))
        };
        let back = |bytes: Vec<u8>| PackedRef::new(&bytes).iter().rev().take(500).count();
        let find = |bytes: Vec<u8>| PackedRef::new(&bytes).find(b"none", 2);
        let _ = std::panic::catch_unwind(|| walk(bytes.clone()));
        let _ = std::panic::catch_unwind(|| back(bytes.clone()));
        let _ = std::panic::catch_unwind(|| find(bytes.clone()));
    }
}

#[test]
fn find_with_a_stride_skips_values() {
    let packed: Packed = [&b"a"[..], b"b", b"b", b"c"].into_iter().collect();
    let view = packed.view();
    assert_eq!(view.find(b"b", 2), view.seek(2));
    assert_eq!(view.find(b"c", 2), None);
    assert!(view.pairs().eq([(&b"a"[..], &b"b"[..]), (b"b", b"c")]));
    assert!(view.pairs().rev().eq([(&b"b"[..], &b"c"[..]), (b"a", b"b")]));
}
