//! The parser of what clients send. Whatever the bytes and however they are cut into pieces:
//! the commands and the error are the same, no more memory is taken than the bytes explain, and
//! what was encoded comes back.

use engine::rng::Rng;
use server::limits::{IDLE_BUFFER_BYTES_MAX, INLINE_BYTES_MAX, UNAUTHENTICATED_BULK_BYTES_MAX};
use server::resp::parser::{ParseLimits, Parsed, Parser, ProtocolError};

type Command = Vec<Vec<u8>>;

/// What a stream of bytes came to.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    commands: Vec<Command>,
    failure: Option<String>,
    /// Bytes that belong to a command which has not fully arrived.
    left: usize,
}

const BULK_BYTES_MAX: i64 = 1 << 20;

/// Longest stream that is also given byte by byte.
const BYTEWISE_MAX: usize = 4096;

pub fn case(seed: u64) {
    let mut rng = Rng::new(seed);
    let limits = ParseLimits { authenticated: rng.below(5) > 0, bulk_bytes_max: BULK_BYTES_MAX };
    let (mut bytes, mut expected) = stream(&mut rng);
    match rng.below(4) {
        0 => {}
        1 => {
            bytes = noise(&mut rng);
            expected = Vec::new();
        }
        _ => {
            for _ in 0..1 + rng.below(4) {
                mutate(&mut rng, &mut bytes);
            }
            expected = Vec::new();
        }
    }
    let whole = feed(&bytes, limits, |rest| rest);
    if !expected.is_empty() && limits.authenticated {
        assert_eq!(whole.failure, None);
        assert_eq!(whole.commands, expected, "what was encoded comes back");
        assert_eq!(whole.left, 0);
    }
    if bytes.len() <= BYTEWISE_MAX {
        assert_eq!(feed(&bytes, limits, |_| 1), whole, "byte by byte");
    }
    for largest in [16, 300, 5000, 70_000] {
        let pieces = feed(&bytes, limits, |_| 1 + rng.below(largest) as usize);
        assert_eq!(pieces, whole, "in pieces of up to {largest}");
    }
}

/// Gives the bytes to a parser as a connection does, in pieces of the sizes that `size` chooses.
fn feed(bytes: &[u8], limits: ParseLimits, mut size: impl FnMut(usize) -> usize) -> Outcome {
    let mut parser = Parser::default();
    let mut outcome = Outcome { commands: Vec::new(), failure: None, left: 0 };
    let (mut start, mut end) = (0, 0);
    while end < bytes.len() {
        end += size(bytes.len() - end).min(bytes.len() - end);
        loop {
            let buffer = &bytes[start..end];
            let parsed = parser.parse(buffer, limits);
            check_memory(&parser, buffer.len(), limits);
            match parsed {
                Ok(Parsed::Incomplete) => break,
                Ok(Parsed::Empty { consumed }) => {
                    assert!(consumed > 0 && consumed <= buffer.len());
                    parser.reset();
                    start += consumed;
                }
                Ok(Parsed::Command { consumed, inline }) => {
                    assert!(consumed > 0 && consumed <= buffer.len());
                    let source = if inline { &parser.inline_words } else { &buffer[..consumed] };
                    let word =
                        |start: u32, len: u32| source[start as usize..][..len as usize].to_vec();
                    let words = parser.ranges.iter().map(|range| word(range.start, range.len));
                    outcome.commands.push(words.collect());
                    assert!(!parser.ranges.is_empty());
                    parser.reset();
                    start += consumed;
                }
                Err(ProtocolError(text)) => {
                    outcome.failure = Some(text);
                    return outcome;
                }
            }
        }
    }
    outcome.left = end - start;
    outcome
}

/// A word takes at least two bytes; what is announced but has not come costs nothing, and is only
/// asked for within the limits. `given` bytes belong to this command.
fn check_memory(parser: &Parser, given: usize, limits: ParseLimits) {
    assert!(parser.ranges.len() <= given / 2 + 1);
    assert!(parser.ranges.capacity() <= given.max(IDLE_BUFFER_BYTES_MAX));
    assert!(parser.inline_words.len() <= given.max(INLINE_BYTES_MAX));
    let bulk_max = match limits.authenticated {
        true => limits.bulk_bytes_max,
        false => UNAUTHENTICATED_BULK_BYTES_MAX,
    };
    assert!(parser.bytes_wanted() <= given + bulk_max as usize + 2);
}

/// Some commands as clients send them, and what they are.
fn stream(rng: &mut Rng) -> (Vec<u8>, Vec<Command>) {
    let (mut bytes, mut commands) = (Vec::new(), Vec::new());
    for _ in 0..1 + rng.below(8) {
        match rng.below(10) {
            0 => bytes.extend_from_slice(b"*0\r\n"),
            1 => bytes.extend_from_slice(b"*-1\r\n"),
            2 => bytes.extend_from_slice(if rng.below(2) == 0 { b"\r\n" } else { b" \n" }),
            3..=5 => {
                let words: Command = (0..1 + rng.below(5)).map(|_| short_word(rng)).collect();
                write_inline(rng, &words, &mut bytes);
                commands.push(words);
            }
            _ => {
                let words: Command = (0..1 + rng.below(6)).map(|_| word(rng)).collect();
                bytes.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
                for word in &words {
                    bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
                    bytes.extend_from_slice(word);
                    bytes.extend_from_slice(b"\r\n");
                }
                commands.push(words);
            }
        }
    }
    (bytes, commands)
}

const ALPHABET: &[u8] = b"*$\r\n0123456789-+\"'\\ xabPING\0\x7f\xff";

fn word(rng: &mut Rng) -> Vec<u8> {
    let len = match rng.below(40) {
        0 => 60_000 + rng.below(20_000),
        1 | 2 => rng.below(20_000),
        3..=10 => rng.below(300),
        _ => rng.below(12),
    };
    any_bytes(rng, len as usize)
}

fn short_word(rng: &mut Rng) -> Vec<u8> {
    let len = if rng.below(20) == 0 { rng.below(5000) } else { rng.below(12) };
    any_bytes(rng, len as usize)
}

fn any_bytes(rng: &mut Rng, len: usize) -> Vec<u8> {
    let special = rng.below(2) == 0;
    let byte = |_| match special {
        true => ALPHABET[rng.below(ALPHABET.len() as u64) as usize],
        false => rng.below(256) as u8,
    };
    (0..len).map(byte).collect()
}

fn write_inline(rng: &mut Rng, words: &Command, out: &mut Vec<u8>) {
    for (place, word) in words.iter().enumerate() {
        if place > 0 {
            (0..1 + rng.below(2)).for_each(|_| out.push(b" \t"[rng.below(2) as usize]));
        }
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte > 0x7f;
        let single = |byte: &u8| !matches!(byte, b'\r' | b'\n' | b'\\');
        if !word.is_empty() && word.iter().all(plain) && rng.below(3) > 0 {
            out.extend_from_slice(word);
        } else if word.iter().all(single) && rng.below(2) == 0 {
            out.push(b'\'');
            for byte in word {
                out.extend_from_slice(if *byte == b'\'' {
                    b"\\'"
                } else {
                    std::slice::from_ref(byte)
                });
            }
            out.push(b'\'');
        } else {
            write_double_quoted(rng, word, out);
        }
    }
    out.extend_from_slice(if rng.below(2) == 0 { b"\r\n" } else { b"\n" });
}

fn write_double_quoted(rng: &mut Rng, word: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in word {
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            byte if rng.below(4) == 0 => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
            byte => out.push(*byte),
        }
    }
    out.push(b'"');
}

/// Bytes of the kind that the parser looks at, or lines about as long as the longest it takes.
fn noise(rng: &mut Rng) -> Vec<u8> {
    if rng.below(20) > 0 {
        let len = rng.below(400) as usize;
        return any_bytes(rng, len);
    }
    let head: &[u8] = [&b"*"[..], b"*1\r\n$", b"*2\r\n$1\r\na\r\n", b""][rng.below(4) as usize];
    let len = INLINE_BYTES_MAX - 4 + rng.below(12) as usize;
    let digit = [b'1', b'a', b' ', b'"'][rng.below(4) as usize];
    let tail: &[u8] = [&b"\r\n"[..], b"\n", b"", b"\r"][rng.below(4) as usize];
    [head, &vec![digit; len], tail, b"*1\r\n$4\r\nPING\r\n"].concat()
}

fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let at = rng.below(bytes.len() as u64) as usize;
    let end = (at + 1 + rng.below(20) as usize).min(bytes.len());
    match rng.below(8) {
        0 => bytes[at] ^= 1 << rng.below(8),
        1 => bytes[at] = ALPHABET[rng.below(ALPHABET.len() as u64) as usize],
        2 => bytes.truncate(at),
        3 => {
            bytes.drain(at..end);
        }
        4 => {
            let part = bytes[at..end].to_vec();
            bytes.splice(at..at, part);
        }
        5 => {
            let len = 1 + rng.below(6) as usize;
            let part = any_bytes(rng, len);
            bytes.splice(at..at, part);
        }
        6 => {
            let numbers = [
                "0",
                "-1",
                "-0",
                "01",
                "+1",
                "11",
                "16385",
                "1048577",
                "2147483648",
                "99999999999999999999",
                "",
            ];
            let number = numbers[rng.below(numbers.len() as u64) as usize];
            if let Some(head) = bytes[at..].iter().position(|b| matches!(b, b'*' | b'$')) {
                let start = at + head + 1;
                let line = bytes[start..].iter().position(|b| *b == b'\r').unwrap_or(0);
                bytes.splice(start..start + line, number.bytes());
            }
        }
        _ => {
            let other = rng.below(bytes.len() as u64) as usize;
            bytes.swap(at, other);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_thousand_cases() {
        (0..1000).for_each(super::case);
    }
}
