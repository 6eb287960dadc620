//! Effects: what a shard's keys became, as it stands in the log. `FORMAT.md` has the bytes.
//!
//! - [`log`]: collects the effects of a turn.
//! - [`decode`]: reads them back.
//! - [`apply`]: makes a shard what they say.

pub mod apply;
pub mod decode;
pub mod log;

pub use log::EffectLog;

use crate::args::Args;

pub const FORMAT_VERSION: u8 = 1;

/// Set in the head byte when database and key are those of the effect before.
const SAME_KEY: u8 = 0x80;

/// The numbers of `FORMAT.md`; once given, a number is never used for anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Delete = 1,
    SetString = 2,
    SetStringExpiring = 3,
    SetStringKeep = 4,
    Append = 5,
    Patch = 6,
    Expire = 7,
    Persist = 8,
    Put = 9,
    FlushDatabase = 10,
    SwapDatabases = 11,
    Rename = 12,
    HashSet = 16,
    HashDelete = 17,
    ListPushFront = 20,
    ListPushBack = 21,
    ListPopFront = 22,
    ListPopBack = 23,
    ListSet = 24,
    ListInsert = 25,
    ListRemove = 26,
    SetAdd = 32,
    SetRemove = 33,
    SortedSetAdd = 40,
    SortedSetRemove = 41,
}

/// What the effect of a small change takes beside the bytes that it names.
pub(crate) const EFFECT_BYTES: usize = 32;

/// Effects of any command whose size does not depend on its words: FLUSHALL.
const COMMAND_BYTES: usize = 128;

/// The most that a command's words leave in the entry of a shard: a key whose time is over is
/// deleted before it is set, and SMOVE's member is in two effects.
pub fn bytes_of_words(args: Args<'_>) -> usize {
    2 * args.span_bytes() + EFFECT_BYTES * args.len() + COMMAND_BYTES
}

#[cfg(test)]
mod tests;
