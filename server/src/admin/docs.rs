//! COMMAND DOCS: what the command table says of commands to people.

use engine::args::Args;
use engine::command::spec::CommandSpec;
use engine::command::table;
use engine::command::table::complexity::complexity_of;
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
    let subcommands = super::command_command::shown_subcommands(spec);
    reply.map(3 + usize::from(complexity.is_some()) + usize::from(!subcommands.is_empty()));
    let fields = [("summary", spec.summary), ("since", spec.since), ("group", spec.group)];
    for (field, text) in fields.into_iter().chain(complexity.map(|text| ("complexity", text))) {
        reply.bulk(field.as_bytes());
        reply.bulk(text.as_bytes());
    }
    if !subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(subcommands.len());
        subcommands.iter().for_each(|sub| write_named(reply, sub, Some(spec.name)));
    }
}
