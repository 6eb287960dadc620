use engine::rng::Rng;

use super::*;

/// Whether some order of the steps is right, by trying all.
fn is_linearizable(left: &[Step], all: &mut Vec<Option<u64>>) -> bool {
    // What was never answered need not have been.
    if left.iter().all(|step| step.grows && step.answered_ns == u64::MAX) {
        return true;
    }
    let first_answer_ns = left.iter().map(|step| step.answered_ns).min().unwrap_or(u64::MAX);
    (0..left.len()).any(|place| {
        let step = &left[place];
        // What a follower has may be of any time before.
        if step.asked_ns > first_answer_ns && !step.stale {
            return false;
        }
        if step.grows {
            all.push(step.element);
        }
        let known = step.answered_ns < u64::MAX;
        let same = |elements: &Vec<u64>| {
            elements.iter().map(|element| Some(*element)).eq(all.iter().copied())
        };
        let fits = !known || step.length == all.len() as u64;
        let fits = fits && step.elements.as_ref().is_none_or(same);
        let mut rest = left.to_vec();
        rest.remove(place);
        let right = fits && is_linearizable(&rest, all);
        if step.grows {
            all.pop();
        }
        right
    })
}

/// What a few clients may have done, and then perhaps something that is not so.
fn random_history(rng: &mut Rng, is_list: bool) -> Vec<Step> {
    let count = 2 + rng.below(5);
    let mut moments: Vec<(u64, u64)> = (1..=count).map(|n| (2 + rng.below(12), n)).collect();
    moments.sort_unstable();
    let mut all: Vec<u64> = Vec::new();
    let mut steps: Vec<Step> = Vec::new();
    for (at_ns, number) in moments {
        let grows = rng.below(2) == 0;
        let known = !grows || rng.below(3) > 0;
        // One that is never answered may be done or not.
        if grows && (known || rng.below(2) == 0) {
            all.push(number);
        }
        let stale = !grows && rng.below(3) == 0;
        let seen = if stale { rng.below(all.len() as u64 + 1) as usize } else { all.len() };
        let elements = (is_list && !grows).then(|| all[..seen].to_vec());
        let answered_ns = if known { at_ns + 1 + rng.below(5) } else { u64::MAX };
        let element = (is_list && grows).then_some(number);
        let asked_ns = at_ns.saturating_sub(rng.below(5));
        let length = if known { seen as u64 } else { 0 };
        steps.push(Step { grows, element, asked_ns, answered_ns, length, elements, stale });
    }
    for _ in 0..rng.below(3) {
        let step = &mut steps[rng.below(count) as usize];
        match rng.below(4) {
            0 => step.asked_ns = rng.below(step.answered_ns.min(16)),
            1 if step.answered_ns < u64::MAX => {
                step.answered_ns = step.asked_ns + 1 + rng.below(6);
            }
            2 if step.answered_ns < u64::MAX => match &mut step.elements {
                Some(elements) => {
                    if rng.below(2) == 0 {
                        elements.pop();
                    } else {
                        elements.push(1 + rng.below(count));
                    }
                    step.length = elements.len() as u64;
                }
                None => step.length = rng.below(count + 1),
            },
            3 => {
                if let Some(elements) = step.elements.as_mut().filter(|all| all.len() > 1) {
                    let place = rng.below(elements.len() as u64 - 1) as usize;
                    elements.swap(place, place + 1);
                }
            }
            _ => {}
        }
    }
    steps
}

#[test]
fn the_check_says_what_a_search_of_all_orders_says() {
    let mut rng = Rng::new(1);
    for is_list in [false, true] {
        let mut right = 0;
        for case in 0..40_000 {
            let steps = random_history(&mut rng, is_list);
            let expected = is_linearizable(&steps, &mut Vec::new());
            let found = check(&steps);
            assert_eq!(found.is_ok(), expected, "case {case}: {found:?}: {steps:#?}");
            right += usize::from(expected);
        }
        assert!((10_000..36_000).contains(&right), "{right} are right");
    }
}
