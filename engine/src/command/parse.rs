//! What many commands parse alike.

use crate::error::{CommandError, NOT_32_BITS, NOT_A_FLOAT, NOT_AN_INTEGER, invalid_expire};
use crate::limits::DATABASE_COUNT;
use crate::number;
use crate::number::extended::Extended;

pub fn integer(text: &[u8]) -> Result<i64, CommandError> {
    number::parse_i64(text).ok_or(NOT_AN_INTEGER)
}

/// The number of a database, which must be one of ours.
pub fn database(text: &[u8]) -> Result<u16, CommandError> {
    let index = i32::try_from(integer(text)?).map_err(|_| NOT_32_BITS)?;
    match usize::try_from(index) {
        Ok(index) if index < DATABASE_COUNT => Ok(index as u16),
        _ => Err(CommandError::new("ERR DB index is out of range")),
    }
}

pub fn float(text: &[u8]) -> Result<f64, CommandError> {
    number::parse_f64(text).ok_or(NOT_A_FLOAT)
}

/// A long double, as INCRBYFLOAT takes it.
pub fn extended(text: &[u8]) -> Result<Extended, CommandError> {
    Extended::parse(text).ok_or(NOT_A_FLOAT)
}

/// How a time is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeForm {
    pub seconds: bool,
    pub absolute: bool,
}

impl TimeForm {
    pub const EX: TimeForm = TimeForm { seconds: true, absolute: false };
    pub const PX: TimeForm = TimeForm { seconds: false, absolute: false };
    pub const EXAT: TimeForm = TimeForm { seconds: true, absolute: true };
    pub const PXAT: TimeForm = TimeForm { seconds: false, absolute: true };

    /// The form that an option names.
    pub fn from_option(word: &[u8]) -> Option<TimeForm> {
        [("ex", TimeForm::EX), ("px", TimeForm::PX), ("exat", TimeForm::EXAT), ("pxat", Self::PXAT)]
            .into_iter()
            .find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, form)| form)
    }

    /// Milliseconds since 1970; `None` where that leaves the range.
    pub fn at_ms(self, value: i64, now_ms: i64) -> Option<i64> {
        let ms = if self.seconds { value.checked_mul(1000)? } else { value };
        if self.absolute { Some(ms) } else { ms.checked_add(now_ms) }
    }
}

/// A time that must be positive, as SET and GETEX take it.
pub fn positive_time(
    text: &[u8],
    form: TimeForm,
    now_ms: i64,
    command: &str,
) -> Result<i64, CommandError> {
    let value = integer(text)?;
    if value <= 0 {
        return Err(invalid_expire(command));
    }
    form.at_ms(value, now_ms).ok_or_else(|| invalid_expire(command))
}
