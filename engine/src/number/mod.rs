//! Text to number and back, as Redis reads and prints them.
//!
//! - [`extended`]: the long doubles of INCRBYFLOAT.

pub mod extended;

/// Parses a signed 64-bit integer: no spaces, no plus sign, no leading zeros (Redis's `string2ll`).
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    match digits {
        [] => return None,
        [b'0'] => return (!negative).then_some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut value = 0u64;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + u64::from(digit - b'0');
    }
    if negative {
        if value <= i64::MIN.unsigned_abs() { Some((value as i64).wrapping_neg()) } else { None }
    } else {
        i64::try_from(value).ok()
    }
}

/// Parses an unsigned 64-bit integer in decimal, as SCAN's cursor is read (`strtoull`, whole text).
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 20 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// How well a double holds what a text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    Normal,
    /// So near 0 that digits are lost: `strtod` reports ERANGE and gives them.
    Subnormal,
    /// Infinity or 0 stands for it: `strtod` reports ERANGE.
    OutOfRange,
}

/// Parses a double as C's `strtod` does for the whole text: decimal and hexadecimal forms, `inf`,
/// `infinity`. Never NaN, no spaces, nothing that is too large or too small.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let (value, fit) = parse_magnitude(text)?;
    (fit != Fit::OutOfRange).then_some(value)
}

/// As [`parse_f64`] where Redis looks at nothing but where `strtod` stopped: spaces may lead, a
/// zero byte ends the text, no text at all is 0, and what is out of range is infinity or 0.
pub fn parse_f64_leniently(text: &[u8]) -> Option<(f64, Fit)> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Some((0.0, Fit::Normal));
    }
    let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let start = text.iter().position(|byte| !is_space(byte))?;
    parse_magnitude(&text[start..])
}

fn parse_magnitude(text: &[u8]) -> Option<(f64, Fit)> {
    let (negative, magnitude) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let value = match magnitude {
        [] | [b'+' | b'-', ..] => return None,
        [b'0', b'x' | b'X', hex @ ..] => parse_hex_f64(hex)?,
        _ if magnitude.eq_ignore_ascii_case(b"inf")
            || magnitude.eq_ignore_ascii_case(b"infinity") =>
        {
            f64::INFINITY
        }
        [b'0'..=b'9' | b'.', ..] => std::str::from_utf8(magnitude).ok()?.parse::<f64>().ok()?,
        _ => return None,
    };
    let is_number = matches!(magnitude[0], b'0'..=b'9' | b'.');
    let vanished = || {
        let (digits, mark): (_, [u8; 2]) = match magnitude {
            [b'0', b'x' | b'X', hex @ ..] => (hex, *b"pP"),
            _ => (magnitude, *b"eE"),
        };
        let mut mantissa = digits.iter().take_while(|b| !mark.contains(b));
        mantissa.any(|b| matches!(b, b'1'..=b'9' | b'a'..=b'f' | b'A'..=b'F'))
    };
    let fit = match value {
        _ if value.is_infinite() && is_number => Fit::OutOfRange,
        _ if value == 0.0 && vanished() => Fit::OutOfRange,
        _ if value.is_subnormal() => Fit::Subnormal,
        _ => Fit::Normal,
    };
    Some((if negative { -value } else { value }, fit))
}

fn parse_hex_f64(text: &[u8]) -> Option<f64> {
    let (digits, exponent) = match text.iter().position(|b| matches!(b, b'p' | b'P')) {
        Some(at) => (&text[..at], std::str::from_utf8(&text[at + 1..]).ok()?.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (mut value, mut scale, mut seen, mut point) = (0f64, 0i32, false, false);
    for &b in digits {
        if b == b'.' && !point {
            point = true;
            continue;
        }
        let digit = (b as char).to_digit(16)?;
        value = value * 16.0 + f64::from(digit);
        seen = true;
        scale -= if point { 4 } else { 0 };
    }
    seen.then(|| value * 2f64.powi(scale.saturating_add(exponent)))
}

/// Prints a double as Redis 7 does in replies: integers without a point, else the shortest text
/// that reads back the same, with an exponent where C's `%.17g` would use one.
pub fn format_double(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.into();
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.into();
    }
    // Whole doubles up to half of what 64 bits hold print as integers (Redis's double2ll).
    if value.abs() <= (i64::MAX / 2) as f64 && value == value.trunc() {
        return (value as i64).to_string();
    }
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(value);
    let (mantissa, exponent) = match text.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().unwrap_or(0)),
        None => (text, 0),
    };
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = if fraction == "0" { "" } else { fraction };
    let digits = format!("{whole}{fraction}");
    let leading = digits.len() - digits.trim_start_matches('0').len();
    // The value is 0.d1d2d3… times 10 to the power of `point`.
    let point = whole.len() as i32 + exponent - leading as i32;
    let digits = digits.trim_start_matches('0').trim_end_matches('0');
    format!("{sign}{}", lay_out(digits, point))
}

/// Lays shortest digits out as Redis's `fpconv_dtoa` does (grisu2 with its own rules of exponent).
fn lay_out(digits: &str, point: i32) -> String {
    let count = digits.len() as i32;
    let k = point - count;
    let exponent = point - 1;
    if k >= 0 && exponent < count + 7 {
        return format!("{digits}{}", "0".repeat(k as usize));
    }
    if k < 0 && (k > -7 || exponent.abs() < 4) {
        return if point <= 0 {
            format!("0.{}{digits}", "0".repeat(-point as usize))
        } else {
            format!("{}.{}", &digits[..point as usize], &digits[point as usize..])
        };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    let (first, rest) = digits.split_at(1);
    let dot = if rest.is_empty() { "" } else { "." };
    format!("{first}{dot}{rest}e{sign}{}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers() {
        for (text, value) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-0", None),
            ("01", None),
            ("+1", None),
            (" 1", None),
            ("", None),
            ("-", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(parse_i64(text.as_bytes()), value, "{text}");
        }
    }

    #[test]
    fn doubles() {
        for (text, value) in [
            ("1.5", Some(1.5)),
            ("+1.5e3", Some(1500.0)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("-inf", Some(f64::NEG_INFINITY)),
            ("+Infinity", Some(f64::INFINITY)),
            ("0x10", Some(16.0)),
            ("nan", None),
            ("1e400", None),
            (".1e400", None),
            ("1e-400", None),
            ("0e-400", Some(0.0)),
            ("4e-320", Some(4e-320)),
            ("0x1p-1080", None),
            ("0xap-1090", None),
            ("0x1p1080", None),
            (" 1", None),
            ("1\0", None),
            ("", None),
            ("--1", None),
            ("1x", None),
        ] {
            assert_eq!(parse_f64(text.as_bytes()), value, "{text}");
        }
    }

    /// As SORT and ZRANGEBYSCORE of Redis 7.0 take them.
    #[test]
    fn doubles_as_strtod_alone_takes_them() {
        for (text, value) in [
            ("", Some((0.0, Fit::Normal))),
            (" 5", Some((5.0, Fit::Normal))),
            ("\t\x0b7", Some((7.0, Fit::Normal))),
            ("12\0abc", Some((12.0, Fit::Normal))),
            ("0x1p4", Some((16.0, Fit::Normal))),
            ("-1e400", Some((f64::NEG_INFINITY, Fit::OutOfRange))),
            ("-inf", Some((f64::NEG_INFINITY, Fit::Normal))),
            ("1e-400", Some((0.0, Fit::OutOfRange))),
            ("4e-320", Some((4e-320, Fit::Subnormal))),
            ("0e5", Some((0.0, Fit::Normal))),
            ("5 ", None),
            (" ", None),
            ("nan", None),
            ("12abc", None),
        ] {
            assert_eq!(parse_f64_leniently(text.as_bytes()), value, "{text:?}");
        }
    }

    /// Values printed by Redis 8.2 for ZADD z V m, ZSCORE z m.
    #[test]
    fn doubles_print_as_redis_prints_them() {
        for (value, text) in [
            (3.0, "3"),
            (0.1, "0.1"),
            (-1.5, "-1.5"),
            (1e17, "100000000000000000"),
            (123456789012345678.0, "123456789012345680"),
            (12345678901234567890.0, "12345678901234567000"),
            (1e20, "1e+20"),
            (1e-7, "1e-7"),
            (0.00001234, "1.234e-5"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (1e-5, "0.00001"),
            (1.25e-9, "1.25e-9"),
            (123456789.125, "123456789.125"),
        ] {
            assert_eq!(format_double(value), text);
        }
    }
}
