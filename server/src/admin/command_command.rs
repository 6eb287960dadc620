//! COMMAND: the command table as clients read it.

use engine::args::Args;
use engine::command::glob;
use engine::command::keys::key_positions;
use engine::command::spec::flag::{self, ADMIN, BLOCKING, FAST, PUBSUB, READONLY, WRITE};
use engine::command::spec::{Begin, CommandSpec, Find, KeySpec, category};
use engine::command::table;
use engine::reply::Reply;

use crate::connection::Connection;
use crate::core::Core;
use crate::dispatch::local::find_command;

impl Core {
    pub(crate) fn command_command(
        &mut self,
        connection: &mut Connection,
        spec: &CommandSpec,
        args: Args<'_>,
    ) {
        self.reply_with(connection, |reply| match spec.name {
            "count" => reply.count(table::all().count()),
            "info" if args.len() > 2 => {
                reply.array(args.len() - 2);
                for name in args.iter_from(2) {
                    match find_by_full_name(name) {
                        Some((spec, parent)) => write_info(reply, spec, parent),
                        None => reply.null_array(),
                    }
                }
            }
            "list" => write_list(reply, args),
            "getkeys" => write_keys(reply, args.tail(2)),
            _ => {
                reply.array(table::all().count());
                table::all().for_each(|spec| write_info(reply, spec, None));
            }
        });
    }
}

fn find_by_full_name(name: &[u8]) -> Option<(&'static CommandSpec, Option<&'static str>)> {
    match name.iter().position(|b| *b == b'|') {
        None => table::find(name).map(|spec| (spec, None)),
        Some(bar) => {
            let parent = table::find(&name[..bar])?;
            Some((table::find_subcommand(parent, &name[bar + 1..])?, Some(parent.name)))
        }
    }
}

/// First key, last key, step: the old form, of the first range that has one.
fn old_key_range(spec: &CommandSpec) -> (i64, i64, i64) {
    let first = spec.keys.iter().find_map(|key| match (key.begin, key.find) {
        (Begin::Index(begin), Find::Range { last, step, .. }) => {
            let begin = begin as i64;
            let last = i64::from(last);
            Some((begin, if last >= 0 { begin + last } else { last }, step as i64))
        }
        _ => None,
    });
    first.unwrap_or((0, 0, 0))
}

fn write_info(reply: &mut Reply<'_>, spec: &CommandSpec, parent: Option<&str>) {
    reply.array(10);
    match parent {
        Some(parent) => reply.bulk(format!("{parent}|{}", spec.name).as_bytes()),
        None => reply.bulk(spec.name.as_bytes()),
    }
    reply.integer(i64::from(spec.arity));
    let flags: Vec<&str> =
        flag::NAMES.iter().filter(|(bit, _)| spec.has(*bit)).map(|(_, name)| *name).collect();
    reply.set(flags.len());
    flags.iter().for_each(|name| reply.simple(name));
    let (first, last, step) = old_key_range(spec);
    [first, last, step].into_iter().for_each(|n| reply.integer(n));
    let categories = categories(spec);
    reply.set(categories.len());
    categories.iter().for_each(|name| reply.simple(&format!("@{name}")));
    reply.array(spec.tips.len());
    spec.tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    reply.array(spec.keys.len());
    spec.keys.iter().for_each(|key| write_key_spec(reply, key));
    reply.array(spec.subcommands.len());
    spec.subcommands.iter().for_each(|sub| write_info(reply, sub, Some(spec.name)));
}

/// The categories of the table and those that follow from the flags, as Redis derives them.
pub fn categories(spec: &CommandSpec) -> Vec<&'static str> {
    let mut names: Vec<&str> = category::NAMES
        .iter()
        .filter(|(bit, _)| spec.categories & bit != 0)
        .map(|(_, name)| *name)
        .collect();
    let derived = [
        (spec.has(WRITE), "write"),
        (spec.has(READONLY), "read"),
        (spec.has(ADMIN), "admin"),
        (spec.has(ADMIN), "dangerous"),
        (spec.has(PUBSUB), "pubsub"),
        (spec.has(FAST), "fast"),
        (!spec.has(FAST), "slow"),
        (spec.has(BLOCKING), "blocking"),
    ];
    for (applies, name) in derived {
        if applies && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn write_key_spec(reply: &mut Reply<'_>, key: &KeySpec) {
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(key.flags.len());
    key.flags.iter().for_each(|name| reply.simple(name));
    reply.bulk(b"begin_search");
    match key.begin {
        Begin::Index(index) => {
            write_typed(reply, "index", &[("index", index as i64)], None);
        }
        Begin::Keyword(word, from) => {
            write_typed(reply, "keyword", &[("startfrom", i64::from(from))], Some(word));
        }
        Begin::Unknown => write_typed(reply, "unknown", &[], None),
    }
    reply.bulk(b"find_keys");
    match key.find {
        Find::Range { last, step, limit } => {
            let numbers =
                [("lastkey", i64::from(last)), ("keystep", step as i64), ("limit", limit as i64)];
            write_typed(reply, "range", &numbers, None);
        }
        Find::KeyCount { count_index, first, step } => {
            let numbers = [
                ("keynumidx", count_index as i64),
                ("firstkey", first as i64),
                ("keystep", step as i64),
            ];
            write_typed(reply, "keynum", &numbers, None);
        }
        Find::SortTarget | Find::Unknown => write_typed(reply, "unknown", &[], None),
    }
}

fn write_typed(reply: &mut Reply<'_>, kind: &str, numbers: &[(&str, i64)], word: Option<&str>) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(numbers.len() + usize::from(word.is_some()));
    if let Some(word) = word {
        reply.bulk(b"keyword");
        reply.bulk(word.as_bytes());
    }
    for (name, number) in numbers {
        reply.bulk(name.as_bytes());
        reply.integer(*number);
    }
}

fn write_list(reply: &mut Reply<'_>, args: Args<'_>) {
    let filter: Box<dyn Fn(&CommandSpec) -> bool> = match args.len() {
        2 => Box::new(|_| true),
        5 if args.is(2, "filterby") && args.is(3, "pattern") => {
            let pattern = args.at(4).to_ascii_lowercase();
            Box::new(move |spec| glob::matches(&pattern, spec.name.as_bytes()))
        }
        5 if args.is(2, "filterby") && args.is(3, "aclcat") => {
            let wanted = String::from_utf8_lossy(args.at(4)).to_lowercase();
            Box::new(move |spec| categories(spec).contains(&wanted.as_str()))
        }
        5 if args.is(2, "filterby") && args.is(3, "module") => Box::new(|_| false),
        _ => return reply.error("ERR syntax error"),
    };
    let names: Vec<&str> = table::all().filter(|spec| filter(spec)).map(|spec| spec.name).collect();
    reply.set(names.len());
    names.iter().for_each(|name| reply.bulk(name.as_bytes()));
}

fn write_keys(reply: &mut Reply<'_>, args: Args<'_>) {
    let Ok(spec) = find_command(args) else {
        return reply.error("ERR Invalid command specified");
    };
    if spec.keys.is_empty() {
        return reply.error("ERR The command has no key arguments");
    }
    if !spec.arity_fits(args.len()) {
        return reply.error("ERR Invalid number of arguments specified for command");
    }
    let Some(positions) = key_positions(spec, args).filter(|p| !p.is_empty()) else {
        return reply.error("ERR Invalid arguments specified for command");
    };
    reply.array(positions.len());
    positions.iter().for_each(|at| reply.bulk(args.at(*at as usize)));
}
