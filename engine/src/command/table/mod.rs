//! The one command table (design §6). Everything that is known of a command before it runs is
//! said here: COMMAND, ACL, routing and the rules of MULTI derive from it.

mod admin;
pub mod complexity;
mod debug;
mod generic;
mod hash;
mod list;
pub mod notes;
mod pubsub;
mod server;
mod set;
mod string;
pub mod syntax;
mod transaction;
mod zset;
mod zset_range;

use std::sync::OnceLock;

use super::spec::CommandSpec;

/// All commands, family by family.
pub fn all() -> impl Iterator<Item = &'static CommandSpec> {
    FAMILIES.iter().copied().flatten()
}

static FAMILIES: &[&[CommandSpec]] = &[
    generic::COMMANDS,
    string::COMMANDS,
    hash::COMMANDS,
    list::COMMANDS,
    set::COMMANDS,
    zset::COMMANDS,
    zset_range::COMMANDS,
    server::COMMANDS,
    transaction::COMMANDS,
    pubsub::COMMANDS,
    admin::COMMANDS,
    debug::COMMANDS,
];

/// Longest name of a command or subcommand.
const NAME_BYTES_MAX: usize = 32;

/// Places of the lookup table: a power of two, at least twice the number of commands.
const PLACES: usize = 1024;

/// Finds a command by its name in any case.
pub fn find(name: &[u8]) -> Option<&'static CommandSpec> {
    static LOOKUP: OnceLock<Box<[Option<&'static CommandSpec>; PLACES]>> = OnceLock::new();
    let lookup = LOOKUP.get_or_init(|| {
        let mut places = Box::new([None; PLACES]);
        for spec in all() {
            let mut place = place_of(spec.name.as_bytes());
            while places[place].is_some() {
                place = (place + 1) % PLACES;
            }
            places[place] = Some(spec);
        }
        places
    });
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let mut place = place_of(name);
    loop {
        let spec = lookup[place]?;
        if spec.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(spec);
        }
        place = (place + 1) % PLACES;
    }
}

/// Finds a subcommand of a container by its name in any case.
pub fn find_subcommand(spec: &CommandSpec, name: &[u8]) -> Option<&'static CommandSpec> {
    spec.subcommands.iter().find(|sub| sub.name.as_bytes().eq_ignore_ascii_case(name))
}

/// `name`, or `container|name` of a subcommand. Searches the table: for what is shown to people.
pub fn full_name(spec: &'static CommandSpec) -> String {
    let parent = all().find(|parent| parent.subcommands.iter().any(|sub| std::ptr::eq(sub, spec)));
    parent.map_or_else(|| spec.name.into(), |parent| format!("{}|{}", parent.name, spec.name))
}

fn place_of(name: &[u8]) -> usize {
    let mut hash = name.len() as u32;
    for &byte in name {
        hash = hash.wrapping_mul(0x0100_0193) ^ u32::from(byte | 0x20);
    }
    (hash ^ (hash >> 15)) as usize % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_in_any_case() {
        assert!(all().count() * 2 <= PLACES);
        for spec in all() {
            assert!(spec.name.len() <= NAME_BYTES_MAX);
            assert!(std::ptr::eq(find(spec.name.as_bytes()).unwrap(), spec), "{}", spec.name);
            assert!(find(spec.name.to_uppercase().as_bytes()).is_some());
        }
        assert!(find(b"nosuchcommand").is_none());
        assert!(find(b"").is_none());
    }
}
