//! What fills the places of a template: keys from small pools, so that wrong types happen, and
//! values on both sides of every bound.

use crate::differential::random::Random;
use crate::differential::step::Words;

/// Pushes a value of a kind; a few kinds are several words.
pub fn push(kind: &str, letter: char, random: &mut Random, out: &mut Words) {
    let word = match kind {
        "key" => key(letter, random),
        "keys" => return push_keys(letter, random, out),
        "any" => any_key(random),
        "anys" => return (0..random.between(1, 4)).for_each(|_| out.push(any_key(random))),
        "value" => value(random),
        "member" => member(random),
        "int" => integer(random),
        "index" => index(random),
        // Redis cuts LSET's index down to 32 bits.
        "place" => random.between(-9, 9).to_string().into_bytes(),
        "count" => text(random, &["1", "2", "3", "10", "0", "1000"], &["-1", "abc", "", "1.5"]),
        "either" => text(random, &["1", "2", "5", "-1", "-3", "0", "700", "-40"], EITHER_EDGES),
        "float" => float(random),
        "score" => score(random),
        "bound" => score_bound(random),
        // Read alike by every version of Redis.
        "plain-bound" => plain_bound(random),
        // Keys whose members all have the score 0: BYLEX asks for that.
        "lex-key" => format!("y{}", random.below(4)).into_bytes(),
        "lex" => lex_bound(random),
        "pattern" => pattern(random),
        // Patterns of SORT that name other keys and fields, and such that name none.
        "related" => text(random, &["s*", "h*->a", "h1->*", "s1*", "*", "*->1"], &["l*", "h*->"]),
        "constant" => text(random, &["nosort", "s1", "#"], &["", "h1->a"]),
        "database" => text(random, &["0", "1", "2"], &["-1", "16", "15", "abc", "", "99999999999"]),
        "seconds" => time(random, 1),
        "millis" => time(random, 1000),
        "at" => instant(random, 1),
        "at-millis" => instant(random, 1000),
        "wait" => text(
            random,
            &["0.001", "0.0001", "1e-320", "0.002"],
            &["-1", "abc", "", "nan", "-0.5", "-inf", " 1"],
        ),
        "offset" => text(random, &["0", "1", "3", "40", "60", "300"], OFFSET_EDGES),
        "odd" => edge(random),
        // None of these is a cursor.
        "cursor" => text(random, &["abc", "1.5", "99999999999999999999", "1x"], &["-", "+"]),
        other => panic!("no kind of value is named {other}"),
    };
    out.push(word);
}

const EITHER_EDGES: &[&str] = &["abc", "", "9223372036854775808", "-9223372036854775808", "1.0"];
const OFFSET_EDGES: &[&str] =
    &["-1", "536870912", "9223372036854775807", "9223372036854775808", "abc", "", "4000"];

/// Mostly one of the usual values, else an odd one.
fn text(random: &mut Random, usual: &[&str], odd: &[&str]) -> Vec<u8> {
    let from = if random.percent(92) { usual } else { odd };
    random.pick(from).as_bytes().to_vec()
}

/// A key mostly of the family's own.
pub fn key(letter: char, random: &mut Random) -> Vec<u8> {
    if letter == '*' || random.percent(7) {
        return any_key(random);
    }
    format!("{letter}{}", random.below(5)).into_bytes()
}

fn any_key(random: &mut Random) -> Vec<u8> {
    match random.below(60) {
        0 => Vec::new(),
        1 => b"\x00\xff\r\n".to_vec(),
        2 => vec![b'k'; 300],
        3 => b"{h}0".to_vec(),
        _ => format!("{}{}", random.pick(&['s', 'h', 'l', 't', 'z']), random.below(5)).into_bytes(),
    }
}

/// How many keys, and the keys.
fn push_keys(letter: char, random: &mut Random, out: &mut Words) {
    let count = random.between(1, 4);
    let said = match random.below(40) {
        0 => (count + random.between(-2, 2)).to_string(),
        1 => random.pick(&["0", "-1", "abc", "9223372036854775807", "", "1.5"]).to_string(),
        _ => count.to_string(),
    };
    out.push(said.into_bytes());
    (0..count).for_each(|_| out.push(key(letter, random)));
}

pub fn value(random: &mut Random) -> Vec<u8> {
    match random.below(20) {
        0..=5 => integer(random),
        6..=7 => float(random),
        8 => Vec::new(),
        // About the bounds of embedded strings (44) and of packed elements (64).
        9..=10 => filled(random.between(40, 48) as usize, random),
        11..=12 => filled(random.between(62, 67) as usize, random),
        13 if random.percent(20) => filled(random.between(200, 5000) as usize, random),
        14 => (0..random.between(1, 30)).map(|_| random.below(256) as u8).collect(),
        _ => member(random),
    }
}

fn filled(len: usize, random: &mut Random) -> Vec<u8> {
    let (first, period) = (random.below(26) as u8, 1 + random.below(5));
    (0..len).map(|at| b'a' + (first + (at % period) as u8) % 26).collect()
}

pub fn member(random: &mut Random) -> Vec<u8> {
    match random.below(20) {
        0..=6 => vec![b'a' + random.below(8) as u8],
        7..=12 => random.between(-3, 30).to_string().into_bytes(),
        13..=14 => random.between(0, 1500).to_string().into_bytes(),
        15..=16 => format!("m{}", random.below(1500)).into_bytes(),
        17 => edge(random),
        18 if random.percent(10) => filled(random.between(60, 70) as usize, random),
        _ => random.pick(&["foo", "bar", "baz", "abc", "ab", "aB", "A"]).as_bytes().to_vec(),
    }
}

/// What often goes wrong.
pub fn edge(random: &mut Random) -> Vec<u8> {
    const EDGES: &[&[u8]] = &[
        b"",
        b" ",
        b"0",
        b"-0",
        b"-1",
        b"+1",
        b"01",
        b" 1",
        b"1 ",
        b"1.0",
        b"1e3",
        b"0x10",
        b"9223372036854775807",
        b"9223372036854775808",
        b"-9223372036854775808",
        b"-9223372036854775809",
        b"18446744073709551615",
        b"nan",
        b"inf",
        b"-inf",
        b"+inf",
        b"Infinity",
        b"1e308",
        b"1e309",
        b"1e-320",
        b"3.0000000000000000000000000001",
        b"abc",
        b"\x00",
        b"\xff\xfe",
        b"a\r\nb",
        b"\"q\"",
        b"-",
        b"+",
        b"(",
        b"[",
        b"*",
        b"?",
        b"32767",
        b"32768",
        b"-32769",
        b"2147483647",
        b"2147483648",
        b"4294967296",
        b"127",
        b"128",
        b"-129",
        b"8388607",
        b"8388608",
        b"GET",
        b"WITHSCORES",
        b"LIMIT",
        b"COUNT",
        b"NX",
        b"1\x00",
        b"1_0",
    ];
    random.pick(EDGES).to_vec()
}

fn integer(random: &mut Random) -> Vec<u8> {
    let number = match random.below(20) {
        0..=9 => random.between(-10, 20),
        10..=12 => random.between(-100_000, 100_000),
        13 => random.next_u64() as i64,
        14 => i64::MAX - random.between(0, 3),
        15 => i64::MIN + random.between(0, 3),
        16 => 1 << random.below(63),
        _ => return if random.percent(40) { edge(random) } else { b"1".to_vec() },
    };
    number.to_string().into_bytes()
}

fn index(random: &mut Random) -> Vec<u8> {
    match random.below(30) {
        0 => edge(random),
        1 => random.pick(&["-9223372036854775808", "9223372036854775807"]).as_bytes().to_vec(),
        2..=4 => random.between(-600, 600).to_string().into_bytes(),
        _ => random.between(-7, 7).to_string().into_bytes(),
    }
}

fn float(random: &mut Random) -> Vec<u8> {
    const ODD: &[&str] = &[
        "nan",
        "-nan",
        "inf",
        "-inf",
        "+inf",
        "infinity",
        "-Infinity",
        "-0",
        "0",
        "0.0",
        "-0.0",
        "1e308",
        "1.7976931348623157e308",
        "1e309",
        "-1e308",
        "1e-320",
        "5e-324",
        "1e-400",
        "1e17",
        "1e18",
        "1e21",
        "1e22",
        "123456789012345678",
        "0x1p3",
        "0x10",
        "0x1.8p-2",
        "-0xA",
        " 1.5",
        "1.5 ",
        "+2.5",
        ".5",
        "5.",
        "1e",
        "1e5",
        "3.0e3",
        "1.",
        "..",
        "1,5",
        "0.1",
        "0.2",
        "0.30000000000000004",
        "1e-5",
        "1e-7",
        "100000000000000000000",
        "4503599627370497.5",
        "9007199254740993",
        "1e4931",
        "1e4933",
        "1e-4950",
        "0x",
        "0x.8",
        "0b1",
        "1e+2",
        "1E2",
        "1d2",
        "1f",
        "0.00001",
        "1e-17",
        "1e1000000000000",
        "00012",
        "3.14159265358979323846264338327950288",
        "9223372036854775807",
        "-9223372036854775808",
    ];
    match random.below(20) {
        0..=5 => random.pick(ODD).as_bytes().to_vec(),
        6..=9 => format!("{}.{}", random.between(-50, 50), random.below(1000)).into_bytes(),
        10 => format!("{}e{}", random.between(-99, 99), random.between(-30, 30)).into_bytes(),
        11 => f64::from_bits(random.next_u64()).to_string().into_bytes(),
        12 => format!("{:e}", f64::from_bits(random.next_u64())).into_bytes(),
        13 => {
            format!("{}.{:06}", random.between(-9999, 9999), random.below(1_000_000)).into_bytes()
        }
        14 => ((random.below(1 << 40) as f64) / 1024.0).to_string().into_bytes(),
        _ => random.between(-10, 10).to_string().into_bytes(),
    }
}

/// Few enough that equal scores are frequent.
fn score(random: &mut Random) -> Vec<u8> {
    if random.percent(70) { random.between(-5, 12).to_string().into_bytes() } else { float(random) }
}

fn score_bound(random: &mut Random) -> Vec<u8> {
    match random.below(20) {
        0..=2 => b"-inf".to_vec(),
        3..=5 => b"+inf".to_vec(),
        6..=9 => [b"(".to_vec(), score(random)].concat(),
        10 => edge(random),
        _ => score(random),
    }
}

fn plain_bound(random: &mut Random) -> Vec<u8> {
    let number = random.between(-6, 13);
    let text = match random.below(10) {
        0..=1 => "-inf".into(),
        2..=3 => "+inf".into(),
        4..=6 => format!("({number}"),
        _ => number.to_string(),
    };
    text.into_bytes()
}

fn lex_bound(random: &mut Random) -> Vec<u8> {
    let mark = match random.below(20) {
        0..=3 => return b"-".to_vec(),
        4..=7 => return b"+".to_vec(),
        8 => return edge(random),
        9..=13 => b'(',
        _ => b'[',
    };
    let mut bound = vec![mark];
    bound.extend(member(random));
    bound
}

fn pattern(random: &mut Random) -> Vec<u8> {
    const PATTERNS: &[&str] = &[
        "*", "*", "?1", "s*", "[hl]?", "[^s]*", "[a-t]1", "[t-a]1", "*1", "**", "*[0-2]", "s1",
        "\\s1", "[", "[]", "[^]", "[a", "[a-", "s\\", "?", "", "m1*", "m[1-3]?", "*a*", "\\*",
        "[\\h]*", "*0*0*", "[s-]1", "f*o", "??", "???", "{h}*", "*\\", "[^", "[1-3]", "-*", "+*",
        "(*",
    ];
    random.pick(PATTERNS).as_bytes().to_vec()
}

/// A time from now: so far away, and so seldom twice the same, that a moment between the two
/// servers decides nothing. Or in the past, or not a time.
fn time(random: &mut Random, unit: i64) -> Vec<u8> {
    if random.percent(82) {
        let seconds = random.between(1000, 100_000_000);
        return (seconds * unit).to_string().into_bytes();
    }
    const ODD: &[&str] = &[
        "0",
        "-1",
        "-1000",
        "abc",
        "",
        "1.5",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "9223372036854775",
        "9223370399119966",
        "9223372036854776",
        "-9223372036854775",
        "9223370000000000000",
        "4000000000000000",
        " 100000",
    ];
    random.pick(ODD).as_bytes().to_vec()
}

/// A moment: beyond 2100, so that it is another than any time from now, or long gone.
fn instant(random: &mut Random, unit: i64) -> Vec<u8> {
    match random.below(20) {
        0 => b"1".to_vec(),
        1 => edge_time(random),
        2 => (1_000_000_000 * unit).to_string().into_bytes(),
        _ => ((4_102_444_800 + random.between(0, 3)) * unit).to_string().into_bytes(),
    }
}

fn edge_time(random: &mut Random) -> Vec<u8> {
    const ODD: &[&str] = &[
        "0",
        "-1",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "9223372036854775",
        "9223372036854776",
        "abc",
        "",
    ];
    random.pick(ODD).as_bytes().to_vec()
}
