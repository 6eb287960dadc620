//! COMMAND: the command table as clients read it.

use engine::args::Args;
use engine::command::glob;
use engine::command::keys::key_positions;
use engine::command::spec::flag::{
    self, ADMIN, BLOCKING, FAST, PROTECTED, PUBSUB, READONLY, WRITE,
};
use engine::command::spec::{Begin, CommandSpec, Find, KeySpec, category};
use engine::command::table;
use engine::command::table::notes::note_of;
use engine::reply::Reply;

use super::docs::write_docs;
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
                        None => reply.null(),
                    }
                }
            }
            "list" => write_list(reply, args),
            "getkeys" => write_keys(reply, args.tail(2), false),
            "getkeysandflags" => write_keys(reply, args.tail(2), true),
            "docs" => write_docs(reply, args),
            _ => {
                reply.array(table::all().count());
                table::all().for_each(|spec| write_info(reply, spec, None));
            }
        });
    }
}

pub fn find_by_full_name(name: &[u8]) -> Option<(&'static CommandSpec, Option<&'static str>)> {
    match name.iter().position(|b| *b == b'|') {
        None => table::find(name).map(|spec| (spec, None)),
        Some(bar) => {
            let parent = table::find(&name[..bar])?;
            Some((table::find_subcommand(parent, &name[bar + 1..])?, Some(parent.name)))
        }
    }
}

/// First key, last key, step: the old form, of the ranges that have one. Several count as one from
/// the first to the last of them, as Redis joins them; a negative last key counts from the end.
fn old_key_range(spec: &CommandSpec) -> (i64, i64, i64) {
    let ranges = spec.keys.iter().filter_map(|key| match (key.begin, key.find) {
        (Begin::Index(begin), Find::Range { last, step, .. }) => {
            let begin = begin as i64;
            let last = i64::from(last);
            Some((begin, if last >= 0 { begin + last } else { last }, step as i64))
        }
        _ => None,
    });
    let join = |a: (i64, i64, i64), b: (i64, i64, i64)| {
        let last = if a.1 < 0 || b.1 < 0 { a.1.min(b.1) } else { a.1.max(b.1) };
        (a.0.min(b.0), last, a.2)
    };
    ranges.reduce(join).unwrap_or((0, 0, 0))
}

/// Whether first key, last key and step do not tell which arguments are keys, so that clients have
/// to ask.
fn has_movable_keys(spec: &CommandSpec) -> bool {
    !spec
        .keys
        .iter()
        .all(|key| matches!((key.begin, key.find), (Begin::Index(_), Find::Range { .. })))
}

fn write_info(reply: &mut Reply<'_>, spec: &CommandSpec, parent: Option<&str>) {
    reply.array(10);
    match parent {
        Some(parent) => reply.bulk(format!("{parent}|{}", spec.name).as_bytes()),
        None => reply.bulk(spec.name.as_bytes()),
    }
    reply.integer(i64::from(spec.arity));
    let flags: Vec<&str> = flag::NAMES
        .iter()
        .filter(|(bit, _)| spec.has(*bit & !PROTECTED))
        .map(|(_, name)| *name)
        .chain(has_movable_keys(spec).then_some("movablekeys"))
        .collect();
    reply.set(flags.len());
    flags.iter().for_each(|name| reply.simple(name));
    let (first, last, step) = old_key_range(spec);
    [first, last, step].into_iter().for_each(|n| reply.integer(n));
    let categories = categories(spec);
    reply.set(categories.len());
    categories.iter().for_each(|name| reply.simple(&format!("@{name}")));
    reply.set(spec.tips.len());
    spec.tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    reply.set(spec.keys.len());
    for (place, key) in spec.keys.iter().enumerate() {
        // No subcommand has notes.
        let note = parent.is_none().then(|| note_of(spec.name, place)).flatten();
        write_key_spec(reply, key, note);
    }
    let subcommands = shown_subcommands(spec);
    reply.set(subcommands.len());
    subcommands.iter().for_each(|sub| write_info(reply, sub, Some(spec.name)));
}

/// The subcommands that clients are told of: DEBUG's are for developers.
pub fn shown_subcommands(spec: &CommandSpec) -> &'static [CommandSpec] {
    if spec.has(PROTECTED) { &[] } else { spec.subcommands }
}

/// In the order in which Redis lists them.
const CATEGORIES: &[&str] = &[
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// The categories of the table and those that follow from the flags, as Redis derives them.
pub fn categories(spec: &CommandSpec) -> Vec<&'static str> {
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
    let own = category::NAMES.iter().map(|(bit, name)| (spec.categories & bit != 0, *name));
    let names: Vec<&str> =
        own.chain(derived).filter(|(applies, _)| *applies).map(|(_, name)| name).collect();
    CATEGORIES.iter().copied().filter(|name| names.contains(name)).collect()
}

/// What is done to the entry in capitals (RO, RW, OW, RM), what to its value in small letters.
fn shown_flag(flag: &str) -> String {
    if flag.len() == 2 { flag.to_owned() } else { flag.to_lowercase() }
}

fn write_key_spec(reply: &mut Reply<'_>, key: &KeySpec, note: Option<&str>) {
    reply.map(3 + usize::from(note.is_some()));
    if let Some(note) = note {
        reply.bulk(b"notes");
        reply.bulk(note.as_bytes());
    }
    reply.bulk(b"flags");
    reply.set(key.flags.len());
    key.flags.iter().for_each(|name| reply.simple(&shown_flag(name)));
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

/// FILTERBY of COMMAND LIST.
enum ListFilter {
    Everything,
    Pattern(Vec<u8>),
    Category(String),
    /// There are no modules.
    Module,
}

impl ListFilter {
    fn parse(args: Args<'_>) -> Option<ListFilter> {
        match args.len() {
            2 => Some(ListFilter::Everything),
            5 if !args.is(2, "filterby") => None,
            5 if args.is(3, "pattern") => {
                Some(ListFilter::Pattern(args.at(4).to_ascii_lowercase()))
            }
            5 if args.is(3, "aclcat") => {
                Some(ListFilter::Category(String::from_utf8_lossy(args.at(4)).to_lowercase()))
            }
            5 if args.is(3, "module") => Some(ListFilter::Module),
            _ => None,
        }
    }

    fn fits(&self, spec: &CommandSpec, name: &str) -> bool {
        match self {
            ListFilter::Everything => true,
            ListFilter::Pattern(pattern) => glob::matches(pattern, name.as_bytes()),
            ListFilter::Category(category) => categories(spec).contains(&category.as_str()),
            ListFilter::Module => false,
        }
    }
}

fn write_list(reply: &mut Reply<'_>, args: Args<'_>) {
    let Some(filter) = ListFilter::parse(args) else {
        return reply.error("ERR syntax error");
    };
    let mut names: Vec<String> = Vec::new();
    for spec in table::all() {
        if filter.fits(spec, spec.name) {
            names.push(spec.name.to_owned());
        }
        for sub in shown_subcommands(spec) {
            let name = format!("{}|{}", spec.name, sub.name);
            if filter.fits(sub, &name) {
                names.push(name);
            }
        }
    }
    reply.set(names.len());
    names.iter().for_each(|name| reply.bulk(name.as_bytes()));
}

fn write_keys(reply: &mut Reply<'_>, args: Args<'_>, with_flags: bool) {
    let Ok(spec) = find_command(args) else {
        return reply.error("ERR Invalid command specified");
    };
    if spec.keys.is_empty() || spec.has(PUBSUB) {
        return reply.error("ERR The command has no key arguments");
    }
    if !spec.arity_fits(args.len()) {
        return reply.error("ERR Invalid number of arguments specified for command");
    }
    let Some(positions) = key_positions(spec, args).filter(|p| !p.is_empty()) else {
        return reply.error("ERR Invalid arguments specified for command");
    };
    reply.array(positions.len());
    if !with_flags {
        return positions.iter().for_each(|at| reply.bulk(args.at(*at as usize)));
    }
    for key_spec in spec.keys {
        let one = CommandSpec { keys: std::slice::from_ref(key_spec), ..*spec };
        for at in key_positions(&one, args).unwrap_or_default() {
            reply.array(2);
            reply.bulk(args.at(at as usize));
            let flags = flags_of_keys(spec, key_spec, args);
            reply.set(flags.len());
            flags.iter().for_each(|flag| reply.simple(&shown_flag(flag)));
        }
    }
}

/// What is done to keys. SET reads the old value only if it is asked to.
fn flags_of_keys(spec: &CommandSpec, key: &KeySpec, args: Args<'_>) -> &'static [&'static str] {
    match spec.name {
        "set" if args.tail(3).iter_from(0).any(|word| word.eq_ignore_ascii_case(b"get")) => {
            &["RW", "ACCESS", "UPDATE"]
        }
        "set" => &["OW", "UPDATE"],
        _ => key.flags,
    }
}
