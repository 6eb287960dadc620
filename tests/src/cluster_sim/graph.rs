//! Whether a history of operations on several keys is linearizable, for what only grows: lists that
//! get elements, and sets that what was done to them can be read off. The order in which an object
//! grew is that of its longest read, so every read says what came before it and what after
//! (Kingsbury and Alvaro, "Elle", 2020). There is an order of all operations if and only if a graph
//! of what must come before what has no cycle: each write before the next one to the same object,
//! before who saw it, and behind who had not; each operation behind what was answered before it was
//! asked for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

/// Something that grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    List(u64),
    Account { bank: u64, number: u64 },
    Sets(u64),
    Copy(u64),
}

impl Object {
    /// A read tells in which order it got what it has.
    fn is_ordered(self) -> bool {
        matches!(self, Object::List(_))
    }
}

/// What an answer says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    All(Vec<u64>),
    /// How long it was with what the operation itself put there.
    Length(u64),
    Has(u64),
    Lacks(u64),
    /// All that its one maker has seen of another, or nothing.
    Copied {
        number: u64,
        of: Object,
        all: Vec<u64>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Done { at_ns: u64 },
    Unknown,
    Refused,
}

/// An operation: all it does is done at one moment.
#[derive(Clone, Debug)]
pub struct Deed {
    /// For a report.
    pub name: String,
    pub asked_ns: u64,
    pub fate: Fate,
    /// What it puts where: one for an object, and the same from no other.
    pub puts: Vec<(Object, u64)>,
    /// Only of one that is done.
    pub sights: Vec<(Object, Sight)>,
}

impl Deed {
    fn put_to(&self, object: Object) -> Option<u64> {
        self.puts.iter().find(|(to, _)| *to == object).map(|(_, what)| *what)
    }

    fn reads(&self) -> impl Iterator<Item = (Object, &Vec<u64>)> {
        self.sights.iter().filter_map(|(object, sight)| match sight {
            Sight::All(all) => Some((*object, all)),
            _ => None,
        })
    }
}

pub fn check(mut deeds: Vec<Deed>) -> Result<(), String> {
    let makers = makers_of(&deeds);
    attribute_copies(&mut deeds, &makers);
    let deeds = &deeds[..];
    let done = find_done(deeds, &makers)?;
    let mut graph = Graph { edges: vec![Vec::new(); deeds.len()] };
    let objects: BTreeSet<Object> = makers.keys().map(|(object, _)| *object).collect();
    let read = deeds.iter().flat_map(|deed| deed.reads().map(|(object, _)| object));
    for object in objects.into_iter().chain(read).collect::<BTreeSet<_>>() {
        let steps = Steps::of(object, deeds)?;
        graph.add_object(object, &steps, deeds, &done, &makers);
    }
    graph.add_glimpses(deeds, &done, &makers);
    graph.add_time(deeds, &done);
    match graph.shortest_cycle(deeds.len()) {
        Some(cycle) => Err(tell(&cycle, deeds)),
        None => Ok(()),
    }
}

fn makers_of(deeds: &[Deed]) -> BTreeMap<(Object, u64), usize> {
    let numbered = deeds.iter().enumerate();
    numbered.flat_map(|(number, deed)| deed.puts.iter().map(move |put| (*put, number))).collect()
}

/// What copies show was seen by those who made them.
fn attribute_copies(deeds: &mut [Deed], makers: &BTreeMap<(Object, u64), usize>) {
    let mut attributed = BTreeSet::new();
    for reader in 0..deeds.len() {
        for place in 0..deeds[reader].sights.len() {
            let (object, sight) = &mut deeds[reader].sights[place];
            let Sight::Copied { number, of, all } = sight else { continue };
            let (object, number, of, all) = (*object, *number, *of, std::mem::take(all));
            let seen = if all.is_empty() { Vec::new() } else { vec![number] };
            *sight = Sight::All(seen);
            let maker = makers.get(&(object, number)).filter(|_| !all.is_empty());
            if let Some(maker) = maker
                && attributed.insert((object, all.clone()))
            {
                deeds[*maker].sights.push((of, Sight::All(all)));
            }
        }
    }
}

/// Which were done: those that were answered, and those that somebody saw something of.
fn find_done(deeds: &[Deed], makers: &BTreeMap<(Object, u64), usize>) -> Result<Vec<bool>, String> {
    let mut done: Vec<bool> =
        deeds.iter().map(|deed| matches!(deed.fate, Fate::Done { .. })).collect();
    for deed in deeds {
        for (object, sight) in &deed.sights {
            let seen = match sight {
                Sight::All(all) => &all[..],
                Sight::Has(what) => std::slice::from_ref(what),
                _ => continue,
            };
            for what in seen {
                let maker = makers.get(&(*object, *what)).copied();
                let maker = maker.ok_or_else(|| {
                    format!("{what} is in {object:?}, which nobody put there: {}", deed.name)
                })?;
                if deeds[maker].fate == Fate::Refused {
                    let (who, refused) = (&deed.name, &deeds[maker].name);
                    return Err(format!("{who} saw in {object:?} what was refused: {refused}"));
                }
                done[maker] = true;
            }
            if seen.iter().collect::<BTreeSet<_>>().len() < seen.len() {
                return Err(format!("something is twice in {object:?}: {seen:?}: {}", deed.name));
            }
        }
    }
    Ok(done)
}

/// How an object grew: what it got between one state that is known and the next.
struct Steps {
    blocks: Vec<Vec<u64>>,
    /// The state in which it had so much.
    states: BTreeMap<usize, usize>,
}

impl Steps {
    fn of(object: Object, deeds: &[Deed]) -> Result<Steps, String> {
        let mut seen: Vec<(Vec<u64>, &Deed)> = Vec::new();
        for deed in deeds {
            for (_, all) in deed.reads().filter(|(of, _)| *of == object) {
                // Whose own is there saw it without that, and then put it there.
                let before = without_own(object, deed, all)?;
                seen.extend((before.len() < all.len()).then_some((before, deed)));
                seen.push((all.clone(), deed));
            }
        }
        seen.sort_by_key(|(all, _)| all.len());
        let (mut blocks, mut states) = (Vec::new(), BTreeMap::from([(0, 0)]));
        let mut last: Option<(&[u64], &Deed)> = None;
        for (all, deed) in &seen {
            let (less, other) = last.unwrap_or((&[], deed));
            let more: Vec<u64> = all.iter().copied().filter(|what| !less.contains(what)).collect();
            let is_longer = less.len() + more.len() == all.len();
            if !is_longer || object.is_ordered() && !all.starts_with(less) {
                return Err(format!(
                    "{object:?} was {less:?} and {all:?}, of which neither can become the other: \
                     {} and {}",
                    other.name, deed.name
                ));
            }
            last = Some((all, deed));
            let parts = if object.is_ordered() { 1 } else { more.len().max(1) };
            for part in more.chunks(parts) {
                blocks.push(part.to_vec());
                let so_far = blocks.iter().map(Vec::len).sum();
                states.insert(so_far, blocks.len());
            }
        }
        let steps = Steps { blocks, states };
        if object.is_ordered() {
            steps.check_lengths(object, deeds)?;
        }
        Ok(steps)
    }

    /// Each is where it was told that it is.
    fn check_lengths(&self, object: Object, deeds: &[Deed]) -> Result<(), String> {
        let all = self.blocks.concat();
        for deed in deeds {
            for (of, sight) in &deed.sights {
                let (Sight::Length(length), Some(put)) = (sight, deed.put_to(object)) else {
                    continue;
                };
                let place = all.iter().position(|what| *what == put);
                let told = *length as usize;
                let right = place.map_or(told > all.len(), |place| place + 1 == told);
                if *of == object && !right {
                    let name = &deed.name;
                    return Err(format!("{object:?} was to be {told} long, but {all:?}: {name}"));
                }
            }
        }
        Ok(())
    }
}

/// What was there before the deed itself put something there.
fn without_own(object: Object, deed: &Deed, all: &[u64]) -> Result<Vec<u64>, String> {
    let own = deed.put_to(object);
    let before: Vec<u64> = all.iter().copied().filter(|what| Some(*what) != own).collect();
    if object.is_ordered() && !all.starts_with(&before) {
        return Err(format!("something came behind its own in {object:?}: {all:?}: {}", deed.name));
    }
    Ok(before)
}

/// Why one comes before another.
#[derive(Clone, Copy, Debug)]
enum Why {
    Seen(Object),
    Unseen(Object),
    Next(Object),
    Time,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Seen(object) => write!(f, "what that put in {object:?} was seen by"),
            Why::Unseen(object) => write!(f, "that had not seen what was put in {object:?} by"),
            Why::Next(object) => write!(f, "in {object:?} comes behind it"),
            Why::Time => write!(f, "it was answered before there was asked for"),
        }
    }
}

/// What must come before what. The first nodes are the deeds; further ones are states of objects
/// and moments, through which many come before many.
struct Graph {
    edges: Vec<Vec<(usize, Why)>>,
}

impl Graph {
    fn add(&mut self, from: usize, to: usize, why: Why) {
        self.edges[from].push((to, why));
    }

    fn add_node(&mut self) -> usize {
        self.edges.push(Vec::new());
        self.edges.len() - 1
    }

    fn add_object(
        &mut self,
        object: Object,
        steps: &Steps,
        deeds: &[Deed],
        done: &[bool],
        makers: &BTreeMap<(Object, u64), usize>,
    ) {
        let states: Vec<usize> = (0..=steps.blocks.len()).map(|_| self.add_node()).collect();
        let seen: BTreeSet<u64> = steps.blocks.iter().flatten().copied().collect();
        // What was put there and no read has comes behind all of them.
        let rest = makers
            .iter()
            .filter(|((of, what), maker)| *of == object && done[**maker] && !seen.contains(what));
        let rest: Vec<usize> = rest.map(|(_, maker)| *maker).collect();
        let named = |block: &Vec<u64>| block.iter().map(|what| makers[&(object, *what)]).collect();
        let mut blocks: Vec<Vec<usize>> = steps.blocks.iter().map(named).collect();
        blocks.push(rest);
        for (place, block) in blocks.iter().enumerate() {
            for maker in block {
                self.add(states[place], *maker, Why::Next(object));
                if let Some(next) = states.get(place + 1) {
                    self.add(*maker, *next, Why::Next(object));
                }
            }
        }
        for (number, deed) in deeds.iter().enumerate() {
            for (_, all) in deed.reads().filter(|(of, _)| *of == object) {
                let own = deed.put_to(object).filter(|own| all.contains(own));
                let place = steps.states[&(all.len() - usize::from(own.is_some()))];
                self.add(states[place], number, Why::Seen(object));
                for maker in blocks[place].iter().filter(|maker| **maker != number) {
                    self.add(number, *maker, Why::Unseen(object));
                }
            }
        }
    }

    /// Answers that tell of one thing whether it was there.
    fn add_glimpses(
        &mut self,
        deeds: &[Deed],
        done: &[bool],
        makers: &BTreeMap<(Object, u64), usize>,
    ) {
        for (number, deed) in deeds.iter().enumerate() {
            for (object, sight) in &deed.sights {
                let maker = |what| makers.get(&(*object, what)).filter(|maker| done[**maker]);
                match sight {
                    Sight::Has(what) => {
                        let maker = maker(*what).expect("what was seen was done");
                        self.add(*maker, number, Why::Seen(*object));
                    }
                    Sight::Lacks(what) => {
                        if let Some(maker) = maker(*what) {
                            self.add(number, *maker, Why::Unseen(*object));
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// Each answer is a moment, behind the one before; who was asked later comes behind it.
    fn add_time(&mut self, deeds: &[Deed], done: &[bool]) {
        let answers = deeds.iter().enumerate().filter_map(|(number, deed)| match deed.fate {
            Fate::Done { at_ns } => Some((at_ns, number)),
            _ => None,
        });
        let mut answers: Vec<(u64, usize)> = answers.collect();
        answers.sort_unstable();
        let moments: Vec<usize> = answers.iter().map(|_| self.add_node()).collect();
        for (place, (_, number)) in answers.iter().enumerate() {
            self.add(*number, moments[place], Why::Time);
            if place > 0 {
                self.add(moments[place - 1], moments[place], Why::Time);
            }
        }
        for (number, deed) in deeds.iter().enumerate().filter(|(number, _)| done[*number]) {
            let before = answers.partition_point(|(at_ns, _)| *at_ns < deed.asked_ns);
            if before > 0 {
                self.add(moments[before - 1], number, Why::Time);
            }
        }
    }

    /// Nodes that are in cycles or between them.
    fn knotted(&self) -> Vec<bool> {
        let mut before = vec![0; self.edges.len()];
        self.edges.iter().flatten().for_each(|(to, _)| before[*to] += 1);
        let mut free: Vec<usize> = (0..before.len()).filter(|node| before[*node] == 0).collect();
        while let Some(node) = free.pop() {
            for (to, _) in &self.edges[node] {
                before[*to] -= 1;
                free.extend((before[*to] == 0).then_some(*to));
            }
        }
        before.into_iter().map(|left| left > 0).collect()
    }

    /// The deeds of a cycle, each with why it comes behind the one before. Every cycle has one:
    /// states lead to later states only by way of deeds, moments to later moments.
    fn shortest_cycle(&self, deeds: usize) -> Option<Vec<(usize, Why)>> {
        let knotted = self.knotted();
        let begins = (0..deeds).filter(|deed| knotted[*deed]);
        let cycles = begins.filter_map(|deed| self.way_back(deed, &knotted));
        let cycles = cycles.map(|mut cycle| {
            cycle.retain(|(node, _)| *node < deeds);
            cycle
        });
        cycles.min_by_key(Vec::len)
    }

    fn way_back(&self, begin: usize, knotted: &[bool]) -> Option<Vec<(usize, Why)>> {
        let mut from: BTreeMap<usize, (usize, Why)> = BTreeMap::new();
        let mut next = VecDeque::from([begin]);
        while let Some(node) = next.pop_front() {
            for (to, why) in self.edges[node].iter().filter(|(to, _)| knotted[*to]) {
                if !from.contains_key(to) {
                    from.insert(*to, (node, *why));
                    next.push_back(*to);
                }
            }
            if let Some(&(mut node, why)) = from.get(&begin) {
                let mut way = vec![(begin, why)];
                while node != begin {
                    let (before, why) = from[&node];
                    way.push((node, why));
                    node = before;
                }
                way.reverse();
                return Some(way);
            }
        }
        None
    }
}

fn tell(cycle: &[(usize, Why)], deeds: &[Deed]) -> String {
    let (first, _) = cycle[cycle.len() - 1];
    let mut told = format!("no order is possible:\n    {}", deeds[first].name);
    for (number, why) in cycle {
        told += &format!("\n  {why}\n    {}", deeds[*number].name);
    }
    told
}

#[cfg(test)]
mod tests;
