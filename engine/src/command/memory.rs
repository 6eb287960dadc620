//! MEMORY USAGE: what a key costs. The figures are exact, as every value counts its own memory.

use crate::error::{CommandResult, SYNTAX};
use crate::keyspace::Entry;

use super::call::Call;
use super::parse::integer;

/// What the table keeps for an entry, on average (see `table`).
const TABLE_BYTES_PER_ENTRY: usize = 11;

/// SAMPLES is checked and has no effect: nothing has to be guessed.
pub fn usage(call: &mut Call<'_, '_>) -> CommandResult {
    let args = call.args;
    let mut at = 3;
    while at < args.len() {
        if !args.is(at, "samples") || at + 1 == args.len() {
            return Err(SYNTAX);
        }
        if integer(args.at(at + 1))? < 0 {
            return Err(SYNTAX);
        }
        at += 2;
    }
    match call.space.peek(args.at(2)).map(entry_bytes) {
        Some(bytes) => call.reply.count(bytes),
        None => call.reply.null(),
    }
    Ok(())
}

fn entry_bytes(entry: &Entry) -> usize {
    TABLE_BYTES_PER_ENTRY + entry.memory_bytes()
}
