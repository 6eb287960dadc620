//! Rows of the command table: MULTI and its kin.

use crate::command::call::{Run, ServerCommand};
use crate::command::spec::category::TRANSACTION;
use crate::command::spec::flag::{ALLOW_BUSY, FAST, LOADING, NOSCRIPT, SKIP_SLOWLOG, STALE};
use crate::command::spec::{Begin, CommandSpec, Find, KeySpec};

pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "discard",
        arity: 1,
        flags: NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY,
        categories: TRANSACTION,
        keys: &[],
        tips: &[],
        since: "2.0.0",
        group: "transactions",
        summary: "Gives a transaction up.",
        run: Run::Server(ServerCommand::Discard),
        subcommands: &[],
    },
    CommandSpec {
        name: "exec",
        arity: 1,
        flags: NOSCRIPT | LOADING | STALE | SKIP_SLOWLOG,
        categories: TRANSACTION,
        keys: &[],
        tips: &[],
        since: "1.2.0",
        group: "transactions",
        summary: "Runs a transaction.",
        run: Run::Server(ServerCommand::Exec),
        subcommands: &[],
    },
    CommandSpec {
        name: "multi",
        arity: 1,
        flags: NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY,
        categories: TRANSACTION,
        keys: &[],
        tips: &[],
        since: "1.2.0",
        group: "transactions",
        summary: "Begins a transaction.",
        run: Run::Server(ServerCommand::Multi),
        subcommands: &[],
    },
    CommandSpec {
        name: "unwatch",
        arity: 1,
        flags: NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY,
        categories: TRANSACTION,
        keys: &[],
        tips: &[],
        since: "2.2.0",
        group: "transactions",
        summary: "Forgets all watched keys.",
        run: Run::Server(ServerCommand::Unwatch),
        subcommands: &[],
    },
    CommandSpec {
        name: "watch",
        arity: -2,
        flags: NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY,
        categories: TRANSACTION,
        keys: &[KeySpec {
            flags: &["RO"],
            begin: Begin::Index(1),
            find: Find::Range { last: -1, step: 1, limit: 0 },
        }],
        tips: &[],
        since: "2.2.0",
        group: "transactions",
        summary: "Watches keys until EXEC.",
        run: Run::Server(ServerCommand::Watch),
        subcommands: &[],
    },
];
