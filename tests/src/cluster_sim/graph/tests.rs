use std::collections::{BTreeMap, BTreeSet};

use engine::rng::Rng;

use super::{Deed, Fate, Object, Sight, check};

/// What every object has, in the order in which it got it.
type State = BTreeMap<Object, Vec<u64>>;

const OBJECTS: [Object; 3] = [Object::List(0), Object::List(1), Object::Sets(0)];

fn answered_ns(deed: &Deed) -> u64 {
    match deed.fate {
        Fate::Done { at_ns } => at_ns,
        _ => u64::MAX,
    }
}

fn has(state: &State, object: Object) -> &[u64] {
    state.get(&object).map_or(&[], Vec::as_slice)
}

/// Whether an answer is right for one that finds the first state and leaves the second.
fn fits(object: Object, sight: &Sight, before: &State, after: &State) -> bool {
    let same = |all: &[u64], state: &State| match object {
        Object::List(_) => has(state, object) == all,
        _ => {
            let set = |all: &[u64]| all.iter().copied().collect::<BTreeSet<_>>();
            all.len() == has(state, object).len() && set(all) == set(has(state, object))
        }
    };
    match sight {
        Sight::All(all) => same(all, before) || same(all, after),
        Sight::Length(length) => has(after, object).len() as u64 == *length,
        Sight::Has(what) => has(before, object).contains(what),
        Sight::Lacks(what) => !has(before, object).contains(what),
        Sight::Copied { .. } => false,
    }
}

/// Whether some order of the deeds is right, by trying all.
fn is_linearizable(left: &[&Deed], state: &State) -> bool {
    // What was never answered need not have been.
    let first_answer_ns = left.iter().map(|deed| answered_ns(deed)).min().unwrap_or(u64::MAX);
    if first_answer_ns == u64::MAX {
        return true;
    }
    (0..left.len()).any(|place| {
        let next = left[place];
        let mut after = state.clone();
        for (object, what) in &next.puts {
            after.entry(*object).or_default().push(*what);
        }
        let right = next.sights.iter().all(|(of, sight)| fits(*of, sight, state, &after));
        let mut rest = left.to_vec();
        rest.remove(place);
        next.asked_ns <= first_answer_ns && right && is_linearizable(&rest, &after)
    })
}

/// Deeds that were done one after the other, each with what it saw.
fn random_history(rng: &mut Rng) -> Vec<Deed> {
    let mut state = State::new();
    let count = 2 + rng.below(5);
    let mut deeds = Vec::new();
    for number in 1..=count {
        let before = state.clone();
        let mut deed = random_deed(rng, number, &mut state);
        let looks: Vec<u64> = OBJECTS.iter().map(|_| rng.below(4)).collect();
        for (object, look) in OBJECTS.into_iter().zip(looks) {
            let own = deed.puts.iter().any(|(to, _)| *to == object);
            let seen = if rng.below(2) == 0 { &before } else { &state };
            let some = 1 + rng.below(count);
            let sight = match look {
                0 => Sight::All(has(seen, object).to_vec()),
                1 if own && object == OBJECTS[0] => Sight::Length(has(&state, object).len() as u64),
                1 if object == OBJECTS[2] && some != number => {
                    let there = has(&before, object).contains(&some);
                    if there { Sight::Has(some) } else { Sight::Lacks(some) }
                }
                _ => continue,
            };
            deed.sights.push((object, sight));
        }
        if deed.fate == Fate::Unknown {
            deed.sights.clear();
        }
        deeds.push(deed);
    }
    let sights = OBJECTS.map(|object| (object, Sight::All(has(&state, object).to_vec())));
    deeds.push(Deed {
        name: "last".into(),
        asked_ns: 1_000,
        fate: Fate::Done { at_ns: 1_001 },
        puts: Vec::new(),
        sights: sights.into(),
    });
    deeds
}

fn random_deed(rng: &mut Rng, number: u64, state: &mut State) -> Deed {
    let moment_ns = 20 + number * 6;
    let asked_ns = moment_ns - rng.below(15);
    let fate = match rng.below(6) {
        0 => Fate::Unknown,
        _ => Fate::Done { at_ns: moment_ns + 1 + rng.below(15) },
    };
    let mut puts: Vec<_> = OBJECTS.iter().map(|object| (*object, number)).collect();
    puts.retain(|_| rng.below(3) == 0);
    // Of some that nobody has heard of nothing was done.
    if fate != Fate::Unknown || rng.below(3) > 0 {
        for (object, what) in &puts {
            state.entry(*object).or_default().push(*what);
        }
    }
    Deed { name: format!("deed {number}"), asked_ns, fate, puts, sights: Vec::new() }
}

/// Something is not as it was: an answer, or when there was asked for it.
fn spoil(rng: &mut Rng, deeds: &mut [Deed]) {
    let (place, other) = (rng.below(deeds.len() as u64), rng.below(deeds.len() as u64));
    let (place, other) = (place as usize, other as usize);
    match rng.below(4) {
        0 => {
            let times = (deeds[place].asked_ns, deeds[place].fate);
            let known = |deed: &Deed| matches!(deed.fate, Fate::Done { .. });
            if known(&deeds[place]) && known(&deeds[other]) {
                (deeds[place].asked_ns, deeds[place].fate) =
                    (deeds[other].asked_ns, deeds[other].fate);
                (deeds[other].asked_ns, deeds[other].fate) = times;
            }
        }
        kind => {
            let count = deeds.len() as u64;
            let sights = deeds[place].sights.len().max(1) as u64;
            let drawn = rng.below(sights) as usize;
            match deeds[place].sights.get_mut(drawn).map(|(_, sight)| sight) {
                Some(Sight::All(all)) if !all.is_empty() && kind < 3 => {
                    let at = rng.below(all.len() as u64) as usize;
                    let gone = all.remove(at);
                    if kind == 2 {
                        all.insert(rng.below(all.len() as u64 + 1) as usize, gone);
                    }
                }
                Some(Sight::All(all)) => all.push(1 + rng.below(count)),
                Some(Sight::Length(length)) => *length = (*length + 1 - rng.below(2) * 2).max(1),
                Some(sight) => {
                    *sight = match *sight {
                        Sight::Has(what) => Sight::Lacks(what),
                        Sight::Lacks(what) => Sight::Has(what),
                        ref other => other.clone(),
                    }
                }
                None => {}
            }
        }
    }
}

#[test]
fn the_graph_says_what_a_search_of_all_orders_says() {
    let mut rng = Rng::new(1);
    let (mut right, mut cycles) = (0, 0);
    for case in 0..40_000 {
        let mut deeds = random_history(&mut rng);
        let spoilt = rng.below(3);
        (0..spoilt).for_each(|_| spoil(&mut rng, &mut deeds));
        let verdict = check(deeds.clone());
        let expected = is_linearizable(&deeds.iter().collect::<Vec<_>>(), &State::new());
        assert_eq!(verdict.is_ok(), expected, "case {case}: {verdict:?}: {deeds:#?}");
        assert!(expected || spoilt > 0, "case {case}: {deeds:#?}");
        right += usize::from(expected);
        cycles += usize::from(verdict.is_err_and(|what| what.starts_with("no order")));
    }
    assert!((15_000..30_000).contains(&right), "{right} are right");
    assert!(cycles > 3_000, "{cycles} have a cycle");
}

fn deed(name: &str, times: (u64, u64), puts: &[(Object, u64)], sights: &[(Object, Sight)]) -> Deed {
    let (name, fate) = (name.into(), Fate::Done { at_ns: times.1 });
    Deed { name, asked_ns: times.0, fate, puts: puts.into(), sights: sights.into() }
}

/// Two lists that two deeds come to in different orders; each list alone is right.
#[test]
fn a_cycle_is_told_in_words() {
    let [left, right, _] = OBJECTS;
    let all = |list, all: &[u64]| (list, Sight::All(all.into()));
    let deeds = [
        deed("one", (1, 9), &[(left, 1), (right, 1)], &[]),
        deed("two", (2, 9), &[(left, 2), (right, 2)], &[]),
        deed("last", (10, 11), &[], &[all(left, &[1, 2]), all(right, &[2, 1])]),
    ];
    let told = check(deeds.to_vec()).unwrap_err();
    assert_eq!(
        told,
        "no order is possible:\n    one\n  in List(0) comes behind it\n    two\n  in List(1) comes \
         behind it\n    one"
    );
    for (list, seen) in [(left, [1, 2]), (right, [2, 1])] {
        let alone = deeds.clone().map(|deed| Deed {
            puts: deed.puts.iter().copied().filter(|(to, _)| *to == list).collect(),
            sights: deed.sights.iter().map(|_| all(list, &seen)).take(1).collect(),
            ..deed
        });
        assert_eq!(check(alone.to_vec()), Ok(()));
    }
}

/// What was refused is not to be there, nor what nobody asked for.
#[test]
fn what_must_not_be_there_is_found() {
    let [list, ..] = OBJECTS;
    let read = deed("read", (3, 4), &[], &[(list, Sight::All(vec![1]))]);
    let put = deed("put", (1, 2), &[(list, 1)], &[]);
    assert_eq!(check(vec![put.clone(), read.clone()]), Ok(()));
    let refused = Deed { fate: Fate::Refused, ..put };
    assert_eq!(
        check(vec![refused, read.clone()]),
        Err("read saw in List(0) what was refused: put".into())
    );
    let told = check(vec![read]).unwrap_err();
    assert_eq!(told, "1 is in List(0), which nobody put there: read");
}

/// One that was never answered has copied what was not there in the end.
#[test]
fn what_a_copy_shows_was_there() {
    let [list, ..] = OBJECTS;
    let put = |name, what| Deed { fate: Fate::Unknown, ..deed(name, (1, 2), &[(list, what)], &[]) };
    let copy = Object::Copy(7);
    let made = Deed { fate: Fate::Unknown, ..deed("copy", (3, 4), &[(copy, 7)], &[]) };
    let seen = |all: &[u64]| (copy, Sight::Copied { number: 7, of: list, all: all.into() });
    let last = |list_all: &[u64], copied: &[u64]| {
        deed("last", (8, 9), &[], &[(list, Sight::All(list_all.into())), seen(copied)])
    };
    let verdict = |last| check(vec![put("one", 1), put("two", 2), made.clone(), last]);
    assert_eq!(verdict(last(&[1, 2], &[1])), Ok(()));
    assert_eq!(verdict(last(&[1], &[])), Ok(()));
    assert!(verdict(last(&[2], &[1])).unwrap_err().contains("neither can become the other"));
    assert!(verdict(last(&[1], &[1, 2])).unwrap_err().starts_with("no order is possible"));
}
