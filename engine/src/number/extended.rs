//! The x87 80-bit long double, in which Redis adds for INCRBYFLOAT and HINCRBYFLOAT: a 64-bit
//! mantissa, rounding to nearest even, decimal text in and out. All arithmetic is on integers, so
//! that the result is the same on every machine.

use std::cmp::Ordering;

/// Redis copies the text into a buffer of this size, its terminator included.
const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;

/// Power of two of the smallest mantissa bit of the smallest number.
const EXPONENT_MIN: i32 = -16445;

/// Finite numbers stay below two to this power.
const MAGNITUDE_MAX: i32 = 16384;

/// Decimal exponents beyond these are too large or too small whatever the digits are.
const DECIMAL_MAX: i64 = 4940;
const DECIMAL_MIN: i64 = -5000;

/// Digits that are printed after the point, before trailing zeros go.
const FRACTION_SCALE: u128 = 100_000_000_000_000_000;

/// A number of that format, never NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extended {
    /// `mantissa` × 2^`exponent`. Invariant: the mantissa's highest bit is set, except in zero and
    /// in the numbers whose exponent is the least.
    Finite {
        negative: bool,
        mantissa: u64,
        exponent: i32,
    },
    Infinite {
        negative: bool,
    },
}

use Extended::{Finite, Infinite};

impl Extended {
    pub const ZERO: Extended = Finite { negative: false, mantissa: 0, exponent: EXPONENT_MIN };

    /// Reads a text as C's `strtold` does for the whole of it: decimal and hexadecimal forms and
    /// infinity. `None` for NaN, for what overflows and for what comes to nothing without being 0.
    pub fn parse(text: &[u8]) -> Option<Extended> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let (negative, magnitude) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        let word = |word: &str| magnitude.eq_ignore_ascii_case(word.as_bytes());
        if word("inf") || word("infinity") {
            return Some(Infinite { negative });
        }
        let number = match magnitude {
            [b'0', b'x' | b'X', rest @ ..] => parse_hexadecimal(negative, rest)?,
            _ => parse_decimal(negative, magnitude)?,
        };
        matches!(number, Finite { .. }).then_some(number)
    }

    pub fn is_finite(self) -> bool {
        matches!(self, Finite { .. })
    }

    /// The sum, rounded. `None` where it is not finite.
    pub fn plus(self, other: Extended) -> Option<Extended> {
        let (Finite { .. }, Finite { .. }) = (self, other) else { return None };
        let (large, small) =
            if self.compare_magnitude(other).is_ge() { (self, other) } else { (other, self) };
        let (large_negative, large, large_exponent) = large.parts();
        let (small_negative, small, small_exponent) = small.parts();
        // The larger number gets guard bits below; what the smaller has below those is kept as one
        // bit that says "a little more".
        const GUARD_BITS: i32 = 62;
        let base = large_exponent - GUARD_BITS;
        let large = u128::from(large) << GUARD_BITS;
        let small = match small_exponent - base {
            shift @ 0.. => u128::from(small) << shift,
            shift => shift_right_sticky(u128::from(small), shift.unsigned_abs()),
        };
        let (negative, sum) = if large_negative == small_negative {
            (large_negative, large + small)
        } else {
            (large_negative && large != small, large - small)
        };
        let rounded = round(negative, sum, base);
        rounded.is_finite().then_some(rounded)
    }

    /// As C prints it with `%.17Lf`, less trailing zeros; nothing negative prints as `-0`.
    pub fn print(self) -> String {
        let (negative, mantissa, exponent) = match self {
            Finite { negative, mantissa, exponent } => (negative, mantissa, exponent),
            Infinite { negative } => return if negative { "-inf" } else { "inf" }.into(),
        };
        let digits = if exponent >= 0 {
            let mut whole = Natural::from(u128::from(mantissa));
            whole.shift_left(exponent.unsigned_abs());
            whole.to_decimal()
        } else {
            let scaled = u128::from(mantissa) * FRACTION_SCALE;
            let scaled = shift_right_rounding(scaled, exponent.unsigned_abs());
            let (whole, fraction) = (scaled / FRACTION_SCALE, scaled % FRACTION_SCALE);
            let text = format!("{whole}.{fraction:017}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        if negative && digits != "0" { format!("-{digits}") } else { digits }
    }

    fn parts(self) -> (bool, u64, i32) {
        match self {
            Finite { negative, mantissa, exponent } => (negative, mantissa, exponent),
            Infinite { .. } => unreachable!("only finite numbers are taken apart"),
        }
    }

    /// Compares two finite numbers without their signs.
    fn compare_magnitude(self, other: Extended) -> Ordering {
        let ((_, a, a_exponent), (_, b, b_exponent)) = (self.parts(), other.parts());
        (a_exponent, a).cmp(&(b_exponent, b))
    }
}

/// Rounds `value` × 2^`exponent` to 64 bits of mantissa, fewer for the smallest numbers. The lowest
/// bit may stand for all that was cut off below it.
fn round(negative: bool, value: u128, exponent: i32) -> Extended {
    if value == 0 {
        return Finite { negative, mantissa: 0, exponent: EXPONENT_MIN };
    }
    let bits = 128 - value.leading_zeros() as i32;
    let mut exponent_out = (exponent + bits - 64).max(EXPONENT_MIN);
    let mut mantissa = match exponent_out - exponent {
        cut @ 1.. => shift_right_rounding(value, cut.unsigned_abs()),
        cut => value << cut.unsigned_abs(),
    };
    if mantissa >> 64 != 0 {
        mantissa >>= 1;
        exponent_out += 1;
    }
    if exponent_out + 64 > MAGNITUDE_MAX {
        return Infinite { negative };
    }
    Finite { negative, mantissa: mantissa as u64, exponent: exponent_out }
}

/// `value` / 2^`by` to the nearest integer, to the even one of two.
fn shift_right_rounding(value: u128, by: u32) -> u128 {
    match by {
        0 => value,
        1..=127 => {
            let (whole, rest) = (value >> by, value & ((1 << by) - 1));
            let half = 1 << (by - 1);
            whole + u128::from(rest > half || (rest == half && whole & 1 == 1))
        }
        128 => u128::from(value > 1 << 127),
        _ => 0,
    }
}

/// `value` / 2^`by`, the lowest bit set if anything was cut off.
fn shift_right_sticky(value: u128, by: u32) -> u128 {
    if by >= 128 {
        return u128::from(value != 0);
    }
    (value >> by) | u128::from(value & ((1 << by) - 1) != 0)
}

/// An exponent's digits with their sign; far values are as good as each other.
fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    const FAR: i64 = 1_000_000;
    let value = digits.iter().fold(0, |value, d| (value * 10 + i64::from(d - b'0')).min(FAR));
    Some(if negative { -value } else { value })
}

/// Splits `digits[.digits][mark exponent]` into the digits without the point, how many of them
/// stand behind it, and the exponent.
fn split_number(text: &[u8], mark: u8, is_digit: fn(&u8) -> bool) -> Option<(Vec<u8>, i64, i64)> {
    let (digits, exponent) = match text.iter().position(|b| b.eq_ignore_ascii_case(&mark)) {
        Some(at) => (&text[..at], parse_exponent(&text[at + 1..])?),
        None => (text, 0),
    };
    let (whole, fraction) = match digits.iter().position(|b| *b == b'.') {
        Some(at) => (&digits[..at], &digits[at + 1..]),
        None => (digits, &digits[..0]),
    };
    let all = [whole, fraction].concat();
    (!all.is_empty() && all.iter().all(is_digit)).then_some((all, fraction.len() as i64, exponent))
}

/// The nearest number; `None` for a bad text and for what is too small to be told from 0.
fn parse_decimal(negative: bool, text: &[u8]) -> Option<Extended> {
    let (digits, behind, exponent) = split_number(text, b'e', u8::is_ascii_digit)?;
    let mut exponent = exponent - behind;
    let Some(first) = digits.iter().position(|d| *d != b'0') else {
        return Some(Finite { negative, mantissa: 0, exponent: EXPONENT_MIN });
    };
    let last = digits.iter().rposition(|d| *d != b'0').unwrap_or(first);
    exponent += (digits.len() - 1 - last) as i64;
    let digits = &digits[first..=last];
    let magnitude = digits.len() as i64 + exponent;
    if magnitude > DECIMAL_MAX {
        return Some(Infinite { negative });
    }
    if magnitude < DECIMAL_MIN {
        return None;
    }
    let mut numerator = Natural::from_decimal(digits);
    let mut denominator = Natural::from(1);
    let scaled = if exponent >= 0 { &mut numerator } else { &mut denominator };
    scaled.multiply_by_power_of_ten(exponent.unsigned_abs());
    let number = divide(negative, numerator, denominator);
    (number.compare_nothing() != Ordering::Equal).then_some(number)
}

impl Extended {
    fn compare_nothing(self) -> Ordering {
        match self {
            Finite { mantissa, .. } => mantissa.cmp(&0),
            Infinite { .. } => Ordering::Greater,
        }
    }
}

/// The rounded quotient of two numbers that are not 0.
fn divide(negative: bool, mut numerator: Natural, mut denominator: Natural) -> Extended {
    // Shifted so that the quotient has one bit before the point, or none.
    let shift = numerator.bits() as i32 - denominator.bits() as i32;
    if shift >= 0 {
        denominator.shift_left(shift.unsigned_abs());
    } else {
        numerator.shift_left(shift.unsigned_abs());
    }
    const QUOTIENT_BITS: i32 = 68;
    let mut quotient = 0u128;
    for _ in 0..QUOTIENT_BITS {
        quotient <<= 1;
        if numerator.compare(&denominator).is_ge() {
            numerator.subtract(&denominator);
            quotient |= 1;
        }
        numerator.shift_left(1);
    }
    let sticky = u128::from(!numerator.is_zero());
    round(negative, (quotient << 1) | sticky, shift - QUOTIENT_BITS)
}

fn parse_hexadecimal(negative: bool, text: &[u8]) -> Option<Extended> {
    let (digits, behind, exponent) = split_number(text, b'p', u8::is_ascii_hexdigit)?;
    let mut exponent = exponent - 4 * behind;
    let (mut value, mut sticky) = (0u128, false);
    for digit in digits {
        let digit = (digit as char).to_digit(16)?;
        if value >> 120 == 0 {
            value = value << 4 | u128::from(digit);
        } else {
            sticky |= digit != 0;
            exponent += 4;
        }
    }
    if value == 0 {
        return Some(Finite { negative, mantissa: 0, exponent: EXPONENT_MIN });
    }
    // Beyond this the number is too large or nothing, whatever its bits are.
    let exponent = exponent.clamp(-40_000, 40_000) as i32;
    let number = round(negative, value | u128::from(sticky), exponent);
    (number.compare_nothing() != Ordering::Equal).then_some(number)
}

/// A natural number of any size: limbs, the lowest first, none of the highest zero.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Natural(Vec<u32>);

impl From<u128> for Natural {
    fn from(value: u128) -> Natural {
        let mut natural = Natural((0..4).map(|at| (value >> (32 * at)) as u32).collect());
        natural.trim();
        natural
    }
}

impl Natural {
    fn from_decimal(digits: &[u8]) -> Natural {
        let mut natural = Natural(Vec::with_capacity(digits.len() / 9 + 1));
        for chunk in digits.chunks(9) {
            let value = chunk.iter().fold(0, |value, d| value * 10 + u32::from(d - b'0'));
            natural.multiply_add(10u32.pow(chunk.len() as u32), value);
        }
        natural
    }

    fn to_decimal(mut self: Natural) -> String {
        let mut chunks = Vec::new();
        while !self.is_zero() {
            chunks.push(self.divide_small(1_000_000_000));
        }
        let mut text = chunks.pop().unwrap_or(0).to_string();
        chunks.iter().rev().for_each(|chunk| text.push_str(&format!("{chunk:09}")));
        text
    }

    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn bits(&self) -> usize {
        self.0.last().map_or(0, |top| self.0.len() * 32 - top.leading_zeros() as usize)
    }

    fn multiply_add(&mut self, by: u32, more: u32) {
        let mut carry = u64::from(more);
        for limb in &mut self.0 {
            let product = u64::from(*limb) * u64::from(by) + carry;
            *limb = product as u32;
            carry = product >> 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    fn multiply_by_power_of_ten(&mut self, power: u64) {
        for _ in 0..power / 9 {
            self.multiply_add(1_000_000_000, 0);
        }
        self.multiply_add(10u32.pow((power % 9) as u32), 0);
    }

    /// Divides in place and returns the remainder.
    fn divide_small(&mut self, by: u32) -> u32 {
        let mut rest = 0u64;
        for limb in self.0.iter_mut().rev() {
            let value = rest << 32 | u64::from(*limb);
            *limb = (value / u64::from(by)) as u32;
            rest = value % u64::from(by);
        }
        self.trim();
        rest as u32
    }

    fn shift_left(&mut self, by: u32) {
        if self.is_zero() {
            return;
        }
        let (limbs, bits) = ((by / 32) as usize, by % 32);
        let mut carry = 0u64;
        for limb in &mut self.0 {
            let value = u64::from(*limb) << bits | carry;
            *limb = value as u32;
            carry = value >> 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
        self.0.splice(0..0, std::iter::repeat_n(0, limbs));
    }

    fn compare(&self, other: &Natural) -> Ordering {
        let lengths = self.0.len().cmp(&other.0.len());
        lengths.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    /// Subtracts what is not larger.
    fn subtract(&mut self, other: &Natural) {
        let mut borrow = 0i64;
        for at in 0..self.0.len() {
            let take = i64::from(other.0.get(at).copied().unwrap_or(0));
            let value = i64::from(self.0[at]) - take - borrow;
            borrow = i64::from(value < 0);
            self.0[at] = value as u32;
        }
        debug_assert_eq!(borrow, 0);
        self.trim();
    }
}

#[cfg(test)]
mod tests;
