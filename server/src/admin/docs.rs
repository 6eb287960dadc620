//! COMMAND DOCS: what the command table says of commands to people.

use engine::args::Args;
use engine::command::spec::CommandSpec;
use engine::command::table;
use engine::command::table::complexity::complexity_of;
use engine::command::table::syntax::{Argument, arguments_of};
use engine::reply::Reply;

use super::command_command::find_by_full_name;

pub fn write_docs(reply: &mut Reply<'_>, args: Args<'_>) {
    if args.len() == 2 {
        reply.map(table::all().count());
        table::all().for_each(|spec| write_named(reply, spec, None));
        return;
    }
    let found: Vec<_> = args.iter_from(2).filter_map(find_by_full_name).collect();
    reply.map(found.len());
    found.into_iter().for_each(|(spec, parent)| write_named(reply, spec, parent));
}

fn write_named(reply: &mut Reply<'_>, spec: &CommandSpec, parent: Option<&str>) {
    let name = match parent {
        Some(parent) => format!("{parent}|{}", spec.name),
        None => spec.name.to_owned(),
    };
    reply.bulk(name.as_bytes());
    let complexity = complexity_of(&name);
    let arguments = arguments_of(&name);
    let subcommands = super::command_command::shown_subcommands(spec);
    let optional = [complexity.is_some(), !arguments.is_empty(), !subcommands.is_empty()];
    reply.map(3 + optional.into_iter().filter(|there| *there).count());
    let fields = [("summary", spec.summary), ("since", spec.since), ("group", spec.group)];
    for (field, text) in fields.into_iter().chain(complexity.map(|text| ("complexity", text))) {
        reply.bulk(field.as_bytes());
        reply.bulk(text.as_bytes());
    }
    if !arguments.is_empty() {
        reply.bulk(b"arguments");
        write_arguments(reply, arguments);
    }
    if !subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(subcommands.len());
        subcommands.iter().for_each(|sub| write_named(reply, sub, Some(spec.name)));
    }
}

/// In the form of Redis 7.2, which `redis-cli` makes its hints from.
fn write_arguments(reply: &mut Reply<'_>, arguments: &[Argument]) {
    reply.array(arguments.len());
    for argument in arguments {
        let flags: Vec<&str> = [
            (argument.optional, "optional"),
            (argument.multiple, "multiple"),
            (argument.multiple_token, "multiple_token"),
        ]
        .into_iter()
        .filter_map(|(is, name)| is.then_some(name))
        .collect();
        let texts = [
            ("name", Some(&*argument.name)),
            ("type", Some(argument.kind.name())),
            ("display_text", argument.display.as_deref()),
        ];
        let texts = texts.into_iter().filter_map(|(field, text)| Some((field, text?)));
        let others = [
            argument.key_spec_index.is_some(),
            argument.token.is_some(),
            !flags.is_empty(),
            !argument.arguments.is_empty(),
        ];
        reply.map(texts.clone().count() + others.into_iter().filter(|there| *there).count());
        for (field, text) in texts {
            reply.bulk(field.as_bytes());
            reply.bulk(text.as_bytes());
        }
        if let Some(index) = argument.key_spec_index {
            reply.bulk(b"key_spec_index");
            reply.integer(index as i64);
        }
        if let Some(token) = argument.token {
            reply.bulk(b"token");
            reply.bulk(token.as_bytes());
        }
        if !flags.is_empty() {
            reply.bulk(b"flags");
            reply.set(flags.len());
            flags.iter().for_each(|flag| reply.simple(flag));
        }
        if !argument.arguments.is_empty() {
            reply.bulk(b"arguments");
            write_arguments(reply, &argument.arguments);
        }
    }
}
