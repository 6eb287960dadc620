//! The syntax of commands: how lines are read, and that the file agrees with the command table.

use super::*;
use crate::command::spec::CommandSpec;
use crate::command::spec::flag::{PROTECTED, PUBSUB};
use crate::command::table;

fn parse(line: &'static str) -> Result<Vec<Argument>, SyntaxError> {
    Ok(parse_all(line)?.remove("x").unwrap_or_default())
}

fn string(name: &'static str) -> Argument {
    Argument::new(name, ArgumentKind::String)
}

#[test]
fn arguments_are_read_as_they_are_written() {
    let number = |name| Argument::new(name, ArgumentKind::Integer);
    let key =
        |index| Argument { key_spec_index: Some(index), ..Argument::new("key", ArgumentKind::Key) };
    let group =
        |name, kind, arguments| Argument { display: None, arguments, ..Argument::new(name, kind) };
    let oneof = group(
        "when",
        ArgumentKind::OneOf,
        vec![
            pure_token("NX", "nx"),
            Argument { token: Some("EX"), ..number("seconds") },
            pure_token("normal", "usual"),
        ],
    );
    let block = group("pair", ArgumentKind::Block, vec![string("a"), string("b")]);
    let shown = Argument { display: Some("ip:port".into()), ..string("addr") };
    let cases = [
        ("x a b:int", vec![string("a"), number("b")]),
        ("x key key@2...", vec![key(0), Argument { multiple: true, ..key(2) }]),
        ("x [GET]", vec![Argument { optional: true, ..pure_token("GET", "get") }]),
        ("x CH=change", vec![pure_token("CH", "change")]),
        ("x addr\"ip:port\"", vec![shown]),
        (
            "x [ID n:int...]",
            vec![Argument { token: Some("ID"), optional: true, multiple: true, ..number("n") }],
        ),
        (
            "x [(ID n:int)...]",
            vec![Argument {
                token: Some("ID"),
                optional: true,
                multiple: true,
                multiple_token: true,
                ..number("n")
            }],
        ),
        ("x (NX | EX seconds:int | normal=usual):when", vec![oneof.clone()]),
        (
            "x [NX | EX seconds:int\n  | normal=usual]:when",
            vec![Argument { optional: true, ..oneof }],
        ),
        ("x LIMIT (a b):pair", vec![Argument { token: Some("LIMIT"), ..block.clone() }]),
        ("x (a b):pair...", vec![Argument { multiple: true, ..block }]),
    ];
    for (line, arguments) in cases {
        assert_eq!(parse(line), Ok(arguments), "{line}");
    }
}

#[test]
fn what_is_no_syntax_is_refused() {
    for line in [
        "x (a b)",
        "x (a):one",
        "x (a",
        "x a)",
        "x []",
        "x ...",
        "x a:nosuchtype",
        "x a:",
        "x a@b",
        "x a_b",
        "x (NX XX | b):c",
        "x ID TYPE a",
        "x a\nx b",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn every_command_s_syntax_agrees_with_its_arity_and_keys() {
    let mut names: Vec<&str> = parse_all(TEXT).unwrap().into_keys().collect();
    let mut wrong: Vec<String> = Vec::new();
    let mut check = |spec: &'static CommandSpec, words_of_name: usize| {
        let name = table::full_name(spec);
        names.retain(|known| *known != name);
        let arguments = arguments_of(&name);
        let (least, most) = word_counts(arguments);
        let least = (least + words_of_name) as i32;
        let fixed = most.map(|most| (most + words_of_name) as i32) == Some(least);
        // QUIT takes what it is given, and Redis's documentation is silent on it.
        if name != "quit" && spec.arity != if fixed { least } else { -least } {
            wrong.push(format!("{name}: {} {least}", spec.arity));
        }
        let mut specs = Vec::new();
        note_key_specs(arguments, &mut specs);
        // Channels are spread over the slots as keys are, and are none.
        let keys = if spec.has(PUBSUB) { &[] } else { spec.keys };
        let known = specs.iter().all(|index| *index < keys.len());
        if !known || specs.is_empty() != keys.is_empty() {
            wrong.push(format!("{name}: key specifications {specs:?}"));
        }
    };
    for spec in table::all().filter(|spec| !spec.has(PROTECTED)) {
        if spec.subcommands.is_empty() {
            check(spec, 1);
        }
        spec.subcommands.iter().for_each(|sub| check(sub, 2));
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(names.is_empty(), "no such commands: {names:?}");
}

fn note_key_specs(arguments: &[Argument], specs: &mut Vec<usize>) {
    for argument in arguments {
        specs.extend(argument.key_spec_index);
        note_key_specs(&argument.arguments, specs);
    }
}
