//! Who listens to what on this node, as one of its cores knows it.
//!
//! Invariant: what nobody listens to is not in it.

use std::collections::{BTreeMap, HashMap};

use engine::command::glob;
use smallvec::SmallVec;

use super::{Kind, Name};
use crate::core::io::ConnId;

/// Who comes or goes.
#[derive(Clone, Copy, Debug)]
pub enum Who {
    /// A client of this core, and the number of the last message before it came.
    Own(ConnId, u64),
    /// One of another core.
    Core(u16),
}

/// The subscribers of one name.
#[derive(Debug, Default)]
pub struct Topic {
    pub own: BTreeMap<ConnId, u64>,
    /// How many clients each other core has, where it has some.
    elsewhere: SmallVec<[(u16, u64); 2]>,
}

impl Topic {
    pub fn count(&self) -> u64 {
        self.own.len() as u64 + self.elsewhere.iter().map(|(_, count)| count).sum::<u64>()
    }

    fn is_empty(&self) -> bool {
        self.own.is_empty() && self.elsewhere.is_empty()
    }

    fn add(&mut self, who: Who) {
        match who {
            Who::Own(conn, since) => {
                self.own.insert(conn, since);
            }
            Who::Core(core) => match self.elsewhere.iter_mut().find(|(of, _)| *of == core) {
                Some((_, count)) => *count += 1,
                None => self.elsewhere.push((core, 1)),
            },
        }
    }

    fn remove(&mut self, who: Who) {
        match who {
            Who::Own(conn, _) => {
                self.own.remove(&conn);
            }
            Who::Core(core) => {
                if let Some((_, count)) = self.elsewhere.iter_mut().find(|(of, _)| *of == core) {
                    *count -= 1;
                }
                self.elsewhere.retain(|(_, count)| *count > 0);
            }
        }
    }
}

/// So many channels have room though fewer are there.
const ROOM_KEPT: usize = 1024;

/// Patterns are in order, for they are gone through; channels are looked up.
#[derive(Default)]
pub struct Directory {
    channels: HashMap<Name, Topic>,
    shards: HashMap<Name, Topic>,
    patterns: BTreeMap<Name, Topic>,
}

/// Where a message goes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Subscriptions that it meets: a client counts once for each of its own.
    pub count: u64,
    /// Other cores with any.
    pub cores: SmallVec<[u16; 4]>,
    pub own: bool,
}

impl Reach {
    fn add(&mut self, topic: &Topic) {
        self.count += topic.count();
        self.own |= !topic.own.is_empty();
        for (core, _) in &topic.elsewhere {
            if !self.cores.contains(core) {
                self.cores.push(*core);
            }
        }
    }
}

impl Directory {
    pub fn topic(&self, kind: Kind, name: &[u8]) -> Option<&Topic> {
        match kind {
            Kind::Channel => self.channels.get(name),
            Kind::Pattern => self.patterns.get(name),
            Kind::Shard => self.shards.get(name),
        }
    }

    pub fn add(&mut self, kind: Kind, name: &Name, who: Who) {
        let name = Name::clone(name);
        let topic = match kind {
            Kind::Channel => self.channels.entry(name).or_default(),
            Kind::Pattern => self.patterns.entry(name).or_default(),
            Kind::Shard => self.shards.entry(name).or_default(),
        };
        topic.add(who);
    }

    pub fn remove(&mut self, kind: Kind, name: &[u8], who: Who) {
        let topic = match kind {
            Kind::Channel => self.channels.get_mut(name),
            Kind::Pattern => self.patterns.get_mut(name),
            Kind::Shard => self.shards.get_mut(name),
        };
        let Some(topic) = topic else { return };
        topic.remove(who);
        if topic.is_empty() {
            match kind {
                Kind::Channel => remove_from(&mut self.channels, name),
                Kind::Pattern => drop(self.patterns.remove(name)),
                Kind::Shard => remove_from(&mut self.shards, name),
            }
        }
    }

    /// Whom a message to this channel reaches. Patterns are over plain channels.
    pub fn reach(&self, kind: Kind, channel: &[u8]) -> Reach {
        let mut reach = Reach::default();
        if let Some(topic) = self.topic(kind, channel) {
            reach.add(topic);
        }
        if kind == Kind::Channel {
            self.patterns_of(channel).for_each(|(_, topic)| reach.add(topic));
        }
        reach
    }

    /// The patterns that match a channel.
    fn patterns_of(&self, channel: &[u8]) -> impl Iterator<Item = (&Name, &Topic)> {
        self.patterns.iter().filter(move |(pattern, _)| glob::matches(pattern, channel))
    }

    /// What a message to this channel meets of this core's clients.
    pub fn own_topics(&self, kind: Kind, channel: &[u8]) -> impl Iterator<Item = (Kind, Name)> {
        let named = match kind {
            Kind::Shard => self.shards.get_key_value(channel),
            _ => self.channels.get_key_value(channel),
        };
        let patterns = (kind == Kind::Channel).then(|| self.patterns_of(channel));
        let patterns = patterns.into_iter().flatten().map(|found| (Kind::Pattern, found));
        let all = named.map(|found| (kind, found)).into_iter().chain(patterns);
        all.filter(|(_, (_, topic))| !topic.own.is_empty())
            .map(|(kind, (name, _))| (kind, Name::clone(name)))
    }

    pub fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.patterns.is_empty() && self.shards.is_empty()
    }

    pub fn pattern_count(&self) -> usize {
        self.patterns.len()
    }

    pub fn channel_count(&self, kind: Kind) -> usize {
        self.of_kind(kind).len()
    }

    /// The channels with subscribers that match a pattern, in order; those that clients have by
    /// pattern alone do not count.
    pub fn channels_like(&self, kind: Kind, pattern: Option<&[u8]>) -> Vec<&Name> {
        let fits = |name: &&Name| pattern.is_none_or(|pattern| glob::matches(pattern, name));
        let mut names: Vec<&Name> = self.of_kind(kind).keys().filter(fits).collect();
        names.sort();
        names
    }

    fn of_kind(&self, kind: Kind) -> &HashMap<Name, Topic> {
        if kind == Kind::Shard { &self.shards } else { &self.channels }
    }
}

/// Room is given back where little of it is used.
fn remove_from(topics: &mut HashMap<Name, Topic>, name: &[u8]) {
    topics.remove(name);
    if topics.capacity() > ROOM_KEPT && topics.len() < topics.capacity() / 4 {
        topics.shrink_to((2 * topics.len()).max(ROOM_KEPT));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn conn(index: u32) -> ConnId {
        ConnId { index, generation: 0 }
    }

    #[test]
    fn who_listens_is_known_until_nobody_does() {
        let mut directory = Directory::default();
        let (news, all): (Name, Name) = (b"news"[..].into(), b"n*"[..].into());
        directory.add(Kind::Channel, &news, Who::Own(conn(1), 0));
        directory.add(Kind::Channel, &news, Who::Core(2));
        directory.add(Kind::Channel, &news, Who::Core(2));
        directory.add(Kind::Pattern, &all, Who::Core(1));
        let reach = directory.reach(Kind::Channel, b"news");
        assert_eq!(reach, Reach { count: 4, cores: SmallVec::from_slice(&[2, 1]), own: true });
        assert_eq!(directory.reach(Kind::Shard, b"news"), Reach::default());
        assert_eq!(directory.channels_like(Kind::Channel, Some(b"*s")), [&news]);
        assert_eq!(directory.reach(Kind::Channel, b"nobody").count, 1);
        directory.remove(Kind::Channel, b"news", Who::Own(conn(1), 0));
        directory.remove(Kind::Channel, b"news", Who::Core(2));
        let reach = directory.reach(Kind::Channel, b"news");
        assert_eq!(reach, Reach { count: 2, cores: SmallVec::from_slice(&[2, 1]), own: false });
        directory.remove(Kind::Channel, b"news", Who::Core(2));
        directory.remove(Kind::Pattern, b"n*", Who::Core(1));
        assert_eq!(directory.channel_count(Kind::Channel) + directory.pattern_count(), 0);
    }

    #[test]
    fn what_many_channels_took_is_given_back() {
        for kind in [Kind::Channel, Kind::Shard] {
            let mut directory = Directory::default();
            let names: Vec<Name> = (0u32..100_000).map(|n| n.to_be_bytes()[..].into()).collect();
            let who = Who::Own(conn(1), 0);
            names.iter().for_each(|name| directory.add(kind, name, who));
            assert_eq!(directory.channel_count(kind), names.len());
            names.iter().skip(1).for_each(|name| directory.remove(kind, name, who));
            assert_eq!(directory.channels_like(kind, None), [&names[0]]);
            let room = directory.of_kind(kind).capacity();
            assert!(room < 4 * ROOM_KEPT, "room for {room}");
        }
    }
}
