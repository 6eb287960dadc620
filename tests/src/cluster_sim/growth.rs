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
    check_elements(steps)?;
    check_lengths(steps)
}

/// How long it is with each step that grows, where that is known: by its answer, or because what it
/// was to add was seen at its place.
fn lengths_of_growth(steps: &[Step]) -> Result<BTreeMap<u64, &Step>, String> {
    let seen = steps.iter().filter_map(|step| step.elements.as_ref()).max_by_key(|all| all.len());
    let places = seen.into_iter().flatten().zip(1..);
    let places: BTreeMap<u64, u64> = places.map(|(element, place)| (*element, place)).collect();
    let mut by_length = BTreeMap::new();
    for step in steps.iter().filter(|step| step.grows) {
        let length = match step.answered_ns {
            u64::MAX => step.element.and_then(|element| places.get(&element).copied()),
            _ => Some(step.length),
        };
        if let Some(other) = length.and_then(|length| by_length.insert(length, step)) {
            return Err(format!("one length for two: {other:?} and {step:?}"));
        }
    }
    Ok(by_length)
}

fn check_lengths(steps: &[Step]) -> Result<(), String> {
    let by_length = lengths_of_growth(steps)?;
    let answered = || steps.iter().filter(|step| step.answered_ns < u64::MAX);
    // What was known when: the longest that anybody had seen. What a follower has shown is there.
    let mut known: Vec<&Step> = answered().collect();
    known.sort_by_key(|step| step.answered_ns);
    let mut longest = Vec::with_capacity(known.len());
    for step in &known {
        longest.push(step.length.max(longest.last().copied().unwrap_or(0)));
    }
    let looks = answered().filter(|step| !step.grows && !step.stale);
    let placed = looks.map(|step| (step.length, step));
    for (length, step) in placed.chain(by_length.iter().map(|(length, step)| (*length, *step))) {
        let before = known.partition_point(|other| other.answered_ns < step.asked_ns);
        let least = before.checked_sub(1).map_or(0, |place| longest[place]);
        if length < least + u64::from(step.grows) {
            return Err(format!("{step:?} is {length} though it was {least} long before"));
        }
    }
    check_causes(steps, &by_length)
}

/// Whoever saw it so long saw steps that had been asked for: those of which it is known how long it
/// is with them, and of the others one for each length between.
fn check_causes(steps: &[Step], by_length: &BTreeMap<u64, &Step>) -> Result<(), String> {
    // The latest of those up to a length, with how many they are.
    let mut latest: BTreeMap<u64, (u64, &Step)> = BTreeMap::new();
    for (count, (length, step)) in (1..).zip(by_length) {
        let before = latest.last_key_value().map(|(_, (_, before))| *before);
        let last = before.filter(|before| before.asked_ns > step.asked_ns).unwrap_or(step);
        latest.insert(*length, (count, last));
    }
    let placed: BTreeSet<*const Step> =
        by_length.values().map(|step| std::ptr::from_ref(*step)).collect();
    let others =
        steps.iter().filter(|step| step.grows && !placed.contains(&std::ptr::from_ref(*step)));
    let mut begun: Vec<u64> = others.map(|step| step.asked_ns).collect();
    begun.sort_unstable();
    let longest = steps.iter().filter_map(|step| Some(step.elements.as_ref()?.len())).max();
    for step in steps.iter().filter(|step| step.answered_ns < u64::MAX) {
        let up_to = latest.range(..=step.length).next_back();
        let (count, last) = up_to.map_or((0, None), |(_, (count, last))| (*count, Some(last)));
        if let Some(last) = last.filter(|last| last.asked_ns > step.answered_ns) {
            return Err(format!("{step:?} has what was asked for later: {last:?}"));
        }
        let others = begun.partition_point(|asked_ns| *asked_ns <= step.answered_ns);
        // Of what was seen it is known who did it.
        let others = if longest.is_some_and(|all| all as u64 >= step.length) { 0 } else { others };
        if count + (others as u64) < step.length {
            return Err(format!("{step:?} is longer than anybody had asked for"));
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
        let Some(place) = (push.length as usize).checked_sub(1) else {
            return Err(format!("{push:?} has left nothing there"));
        };
        if all.get(place).is_some_and(|element| Some(*element) != push.element) {
            return Err(format!("{push:?} is not at its place: {all:?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
