//! What a command answers when it cannot do what was asked, with Redis's own words.

use std::borrow::Cow;

/// An error reply without its leading `-`, the code word included. Bytes, since some errors repeat
/// what a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError(pub Cow<'static, [u8]>);

pub type CommandResult = Result<(), CommandError>;

impl CommandError {
    pub const fn new(text: &'static str) -> CommandError {
        CommandError(Cow::Borrowed(text.as_bytes()))
    }

    pub fn from_text(text: impl Into<Vec<u8>>) -> CommandError {
        CommandError(Cow::Owned(text.into()))
    }
}

pub const WRONG_TYPE: CommandError =
    CommandError::new("WRONGTYPE Operation against a key holding the wrong kind of value");
pub const SYNTAX: CommandError = CommandError::new("ERR syntax error");
pub const NOT_AN_INTEGER: CommandError =
    CommandError::new("ERR value is not an integer or out of range");
pub const NOT_32_BITS: CommandError =
    CommandError::new("ERR value is out of range, value must between -2147483648 and 2147483647");
pub const NOT_A_FLOAT: CommandError = CommandError::new("ERR value is not a valid float");
pub const NOT_POSITIVE: CommandError =
    CommandError::new("ERR value is out of range, must be positive");
pub const OUT_OF_RANGE: CommandError = CommandError::new("ERR value is out of range");
pub const NO_SUCH_KEY: CommandError = CommandError::new("ERR no such key");
pub const INDEX_OUT_OF_RANGE: CommandError = CommandError::new("ERR index out of range");
pub const OVERFLOW: CommandError = CommandError::new("ERR increment or decrement would overflow");
pub const NAN_OR_INFINITY: CommandError =
    CommandError::new("ERR increment would produce NaN or Infinity");
pub const INVALID_CURSOR: CommandError = CommandError::new("ERR invalid cursor");
pub const STRING_TOO_LONG: CommandError =
    CommandError::new("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
pub const MIN_OR_MAX_NOT_A_FLOAT: CommandError = CommandError::new("ERR min or max is not a float");
pub const TIMEOUT_NOT_A_FLOAT: CommandError =
    CommandError::new("ERR timeout is not a float or out of range");
pub const TIMEOUT_NEGATIVE: CommandError = CommandError::new("ERR timeout is negative");

/// `name` as the client gave it, in lower case; a subcommand as `parent|sub`.
pub fn wrong_arity(name: &str) -> CommandError {
    CommandError::from_text(format!("ERR wrong number of arguments for '{name}' command"))
}

pub fn invalid_expire(command: &str) -> CommandError {
    CommandError::from_text(format!("ERR invalid expire time in '{command}' command"))
}

/// A word as Redis's errors repeat it: up to its first zero byte.
pub fn c_text(word: &[u8]) -> &[u8] {
    word.split(|b| *b == 0).next().unwrap_or_default()
}
