//! LCS: the longest common subsequence of two strings, by the table of all prefixes' lengths.

use crate::error::{CommandError, CommandResult, SYNTAX};
use crate::keyspace::space::string_of;

use super::call::Call;
use super::parse::integer;

#[derive(Default)]
struct LcsOptions {
    ranges: bool,
    length: bool,
    with_match_lengths: bool,
    match_len_min: i64,
}

pub fn lcs(call: &mut Call<'_, '_>) -> CommandResult {
    let (a, b) = (operand(call, 1)?, operand(call, 2)?);
    let options = parse_lcs_options(call)?;
    if options.ranges && options.length {
        return Err(CommandError::new(
            "ERR If you want both the length and indexes, please just use IDX.",
        ));
    }
    let cells = (a.len() as u128 + 1) * (b.len() as u128 + 1);
    if cells * size_of::<u32>() as u128 > call.space.settings.string_bytes_max as u128 {
        return Err(CommandError::new(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }
    let lengths = Lengths::new(&a, &b);
    let total = lengths.at(a.len(), b.len());
    if options.length {
        call.reply.integer(i64::from(total));
        return Ok(());
    }
    let (text, ranges) = trace(&a, &b, &lengths);
    if options.ranges {
        write_ranges(call, &options, &ranges, total);
    } else {
        call.reply.bulk(&text);
    }
    Ok(())
}

fn operand(call: &mut Call<'_, '_>, at: usize) -> Result<Vec<u8>, CommandError> {
    let Some(entry) = call.space.read(call.args.at(at)) else { return Ok(Vec::new()) };
    match string_of(entry.value()) {
        Ok(text) => Ok(text.bytes().to_vec()),
        Err(_) => Err(CommandError::new("ERR The specified keys must contain string values")),
    }
}

fn parse_lcs_options(call: &Call<'_, '_>) -> Result<LcsOptions, CommandError> {
    let args = call.args;
    let mut options = LcsOptions::default();
    let mut at = 3;
    while at < args.len() {
        if args.is(at, "idx") {
            options.ranges = true;
        } else if args.is(at, "len") {
            options.length = true;
        } else if args.is(at, "withmatchlen") {
            options.with_match_lengths = true;
        } else if args.is(at, "minmatchlen") && at + 1 < args.len() {
            at += 1;
            options.match_len_min = integer(args.at(at))?.max(0);
        } else {
            return Err(SYNTAX);
        }
        at += 1;
    }
    Ok(options)
}

/// For each pair of prefixes the length of what they have in common.
struct Lengths {
    cells: Vec<u32>,
    width: usize,
}

impl Lengths {
    fn new(a: &[u8], b: &[u8]) -> Lengths {
        let width = b.len() + 1;
        let mut lengths = Lengths { cells: vec![0; (a.len() + 1) * width], width };
        for i in 1..=a.len() {
            for j in 1..width {
                lengths.cells[i * width + j] = if a[i - 1] == b[j - 1] {
                    lengths.at(i - 1, j - 1) + 1
                } else {
                    lengths.at(i - 1, j).max(lengths.at(i, j - 1))
                };
            }
        }
        lengths
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.cells[i * self.width + j]
    }
}

/// A stretch that both strings have: where it begins in each, and how long it is.
struct Match {
    a: usize,
    b: usize,
    len: usize,
}

/// Walks from the ends to the beginnings, as Redis does: the subsequence, and its stretches with
/// the last one first.
fn trace(a: &[u8], b: &[u8], lengths: &Lengths) -> (Vec<u8>, Vec<Match>) {
    let (mut i, mut j) = (a.len(), b.len());
    let (mut text, mut matches) = (Vec::new(), Vec::<Match>::new());
    let mut open = false;
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            i -= 1;
            j -= 1;
            text.push(a[i]);
            match matches.last_mut().filter(|_| open) {
                Some(last) => *last = Match { a: i, b: j, len: last.len + 1 },
                None => matches.push(Match { a: i, b: j, len: 1 }),
            }
            open = true;
        } else {
            if lengths.at(i - 1, j) > lengths.at(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
            open = false;
        }
    }
    text.reverse();
    (text, matches)
}

fn write_ranges(call: &mut Call<'_, '_>, options: &LcsOptions, matches: &[Match], total: u32) {
    let long_enough = |m: &&Match| m.len as i64 >= options.match_len_min;
    let reply = &mut call.reply;
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(matches.iter().filter(long_enough).count());
    for found in matches.iter().filter(long_enough) {
        reply.array(if options.with_match_lengths { 3 } else { 2 });
        for start in [found.a, found.b] {
            reply.array(2);
            reply.count(start);
            reply.count(start + found.len - 1);
        }
        if options.with_match_lengths {
            reply.count(found.len);
        }
    }
    reply.bulk(b"len");
    reply.integer(i64::from(total));
}
