//! Which words of a command are secrets, and must not be kept or shown.

use engine::args::Args;
use engine::command::call::{Run, ServerCommand};
use engine::command::spec::CommandSpec;

/// Settings whose values are secrets.
const SECRET_SETTINGS: &[&str] = &["requirepass", "masterauth", "masteruser"];

/// Whether the word at `at` is a secret.
pub fn is_secret(spec: &CommandSpec, args: Args<'_>, at: usize) -> bool {
    match spec.run {
        Run::Server(ServerCommand::Auth) => at > 0,
        Run::Server(ServerCommand::Hello) => {
            (at.saturating_sub(2)..at).any(|before| before >= 2 && args.is(before, "auth"))
        }
        Run::Server(ServerCommand::Config) if spec.name == "set" => {
            at >= 3 && at % 2 == 1 && SECRET_SETTINGS.iter().any(|name| args.is(at - 1, name))
        }
        _ => false,
    }
}
