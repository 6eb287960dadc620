//! Whether a history of something that only grows is linearizable: a counter, or a list that
//! elements are pushed to. Every operation tells how long it is then.

use std::collections::{BTreeMap, BTreeSet};

/// A step, or a look.
#[derive(Clone, Debug)]
pub struct Step {
    pub grows: bool,
    /// What a list was to get.
    pub element: Option<u64>,
    pub asked_ns: u64,
    /// Never, if it is not known whether it was done.
    pub answered_ns: u64,
    /// With this step, or as it looked.
    pub length: u64,
    /// All elements, where they were asked for.
    pub elements: Option<Vec<u64>>,
    /// It looked at what a follower had.
    pub stale: bool,
}

pub fn check(steps: &[Step]) -> Result<(), String> {
    check_lengths(steps)?;
    check_elements(steps)
}

fn check_lengths(steps: &[Step]) -> Result<(), String> {
    let mut by_length = BTreeMap::new();
    for step in steps.iter().filter(|step| step.grows && step.answered_ns < u64::MAX) {
        if let Some(other) = by_length.insert(step.length, step) {
            return Err(format!("one length for two: {other:?} and {step:?}"));
        }
    }
    let mut begun: Vec<u64> = steps.iter().filter(|s| s.grows).map(|s| s.asked_ns).collect();
    begun.sort_unstable();
    let answered = || steps.iter().filter(|step| step.answered_ns < u64::MAX);
    // What was known when: the longest that anybody had seen.
    let mut known: Vec<&Step> = answered().filter(|step| !step.stale).collect();
    known.sort_by_key(|step| step.answered_ns);
    let mut longest = Vec::with_capacity(known.len());
    for step in &known {
        longest.push(step.length.max(longest.last().copied().unwrap_or(0)));
    }
    for step in answered() {
        let before = known.partition_point(|other| other.answered_ns < step.asked_ns);
        let least = before.checked_sub(1).map_or(0, |place| longest[place]);
        if !step.stale && step.length < least + u64::from(step.grows) {
            return Err(format!("{step:?} though it was {least} long before"));
        }
        if begun.partition_point(|asked_ns| *asked_ns < step.answered_ns) < step.length as usize {
            return Err(format!("{step:?} is longer than anybody had asked for"));
        }
        let last = by_length.get(&step.length).filter(|last| last.asked_ns > step.answered_ns);
        if let Some(last) = last {
            return Err(format!("{step:?} has what was asked for later: {last:?}"));
        }
    }
    Ok(())
}

fn check_elements(steps: &[Step]) -> Result<(), String> {
    let looks = || steps.iter().filter_map(|step| Some((step, step.elements.as_ref()?)));
    let Some((_, all)) = looks().max_by_key(|(_, elements)| elements.len()) else { return Ok(()) };
    for (step, elements) in looks() {
        if !all.starts_with(elements) {
            let same = all.iter().zip(elements).take_while(|(a, b)| a == b).count();
            return Err(format!("elements differ from {same} on: {step:?}, later {all:?}"));
        }
    }
    if all.iter().collect::<BTreeSet<_>>().len() < all.len() {
        return Err(format!("an element is there twice: {all:?}"));
    }
    let pushes = steps.iter().filter(|step| step.grows);
    let pushes: BTreeMap<u64, &Step> =
        pushes.filter_map(|step| Some((step.element?, step))).collect();
    for (place, element) in all.iter().enumerate() {
        let Some(push) = pushes.get(element) else {
            return Err(format!("{element} is there, which nobody pushed or which was refused"));
        };
        let early = looks()
            .find(|(look, elements)| elements.len() > place && look.answered_ns < push.asked_ns);
        if let Some((look, _)) = early {
            return Err(format!("{element} was seen before it was pushed: {look:?}"));
        }
    }
    for push in pushes.values().filter(|push| push.answered_ns < u64::MAX) {
        let place = push.length as usize - 1;
        if all.get(place).is_some_and(|element| Some(*element) != push.element) {
            return Err(format!("{push:?} is not at its place: {all:?}"));
        }
    }
    Ok(())
}
