//! Words of an inline command, with the quotes and escapes that redis-cli and telnet users know.

use engine::args::ArgRange;

/// Appends the words of `line` to `words` and their places to `ranges`. False if a quote is not
/// closed, or is closed in the middle of a word.
pub fn split_words(line: &[u8], words: &mut Vec<u8>, ranges: &mut Vec<ArgRange>) -> bool {
    let mut at = 0;
    loop {
        while line.get(at).is_some_and(|b| is_space(*b)) {
            at += 1;
        }
        if at >= line.len() {
            return true;
        }
        let start = words.len();
        let Some(next) = read_word(line, at, words) else { return false };
        ranges.push(ArgRange { start: start as u32, len: (words.len() - start) as u32 });
        at = next;
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c | 0)
}

/// Reads one word from `at` on; where it ends, or `None` for bad quotes.
fn read_word(line: &[u8], mut at: usize, words: &mut Vec<u8>) -> Option<usize> {
    loop {
        match line.get(at) {
            None => return Some(at),
            Some(b) if is_space(*b) => return Some(at),
            Some(b'"') => return closed(line, read_double_quoted(line, at + 1, words)?),
            Some(b'\'') => return closed(line, read_single_quoted(line, at + 1, words)?),
            Some(b) => words.push(*b),
        }
        at += 1;
    }
}

/// A closing quote must end the word.
fn closed(line: &[u8], at: usize) -> Option<usize> {
    line.get(at).is_none_or(|b| is_space(*b)).then_some(at)
}

fn read_double_quoted(line: &[u8], mut at: usize, words: &mut Vec<u8>) -> Option<usize> {
    loop {
        match line.get(at..)? {
            [b'"', ..] => return Some(at + 1),
            [b'\\', b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |b: u8| (b as char).to_digit(16).unwrap_or(0) as u8;
                words.push(digit(*high) << 4 | digit(*low));
                at += 4;
            }
            [b'\\', escaped, ..] => {
                words.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                at += 2;
            }
            [byte, ..] => {
                words.push(*byte);
                at += 1;
            }
            [] => return None,
        }
    }
}

fn read_single_quoted(line: &[u8], mut at: usize, words: &mut Vec<u8>) -> Option<usize> {
    loop {
        match line.get(at..)? {
            [b'\'', ..] => return Some(at + 1),
            [b'\\', b'\'', ..] => {
                words.push(b'\'');
                at += 2;
            }
            [byte, ..] => {
                words.push(*byte);
                at += 1;
            }
            [] => return None,
        }
    }
}
