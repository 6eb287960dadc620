//! A key's time: EXPIRE, TTL, PERSIST and their kin.

use crate::error::{CommandError, CommandResult, c_text, invalid_expire};
use crate::keyspace::Entry;

use super::call::Call;
use super::parse::{TimeForm, integer};

pub fn expire(call: &mut Call<'_, '_>) -> CommandResult {
    set_time(call, TimeForm::EX, "expire")
}

pub fn pexpire(call: &mut Call<'_, '_>) -> CommandResult {
    set_time(call, TimeForm::PX, "pexpire")
}

pub fn expireat(call: &mut Call<'_, '_>) -> CommandResult {
    set_time(call, TimeForm::EXAT, "expireat")
}

pub fn pexpireat(call: &mut Call<'_, '_>) -> CommandResult {
    set_time(call, TimeForm::PXAT, "pexpireat")
}

/// When EXPIRE's options let a new time replace the old one.
#[derive(Clone, Copy, Default)]
struct Conditions {
    none_yet: bool,
    some_already: bool,
    later: bool,
    earlier: bool,
}

impl Conditions {
    fn hold(self, old_at_ms: Option<i64>, at_ms: i64) -> bool {
        // A key without a time counts as one that never ends.
        let old = old_at_ms.unwrap_or(i64::MAX);
        !(self.none_yet && old_at_ms.is_some()
            || self.some_already && old_at_ms.is_none()
            || self.later && (old_at_ms.is_none() || at_ms <= old)
            || self.earlier && old_at_ms.is_some() && at_ms >= old)
    }
}

fn set_time(call: &mut Call<'_, '_>, form: TimeForm, command: &str) -> CommandResult {
    let key = call.args.at(1);
    let conditions = parse_conditions(call)?;
    let value = integer(call.args.at(2))?;
    let at_ms = form.at_ms(value, call.space.now_ms()).ok_or_else(|| invalid_expire(command))?;
    let Some(old_at_ms) = call.space.peek(key).map(Entry::expires_at_ms) else {
        call.reply.flag(false);
        return Ok(());
    };
    let set = conditions.hold(old_at_ms, at_ms) && call.space.expire(key, at_ms);
    call.reply.flag(set);
    Ok(())
}

fn parse_conditions(call: &Call<'_, '_>) -> Result<Conditions, CommandError> {
    let mut conditions = Conditions::default();
    for word in call.args.iter_from(3) {
        match word.to_ascii_lowercase().as_slice() {
            b"nx" => conditions.none_yet = true,
            b"xx" => conditions.some_already = true,
            b"gt" => conditions.later = true,
            b"lt" => conditions.earlier = true,
            _ => {
                let word = c_text(word);
                return Err(CommandError::from_text([b"ERR Unsupported option ", word].concat()));
            }
        }
    }
    if conditions.none_yet && (conditions.some_already || conditions.later || conditions.earlier) {
        return Err(CommandError::new(
            "ERR NX and XX, GT or LT options at the same time are not compatible",
        ));
    }
    if conditions.later && conditions.earlier {
        return Err(CommandError::new("ERR GT and LT options at the same time are not compatible"));
    }
    Ok(conditions)
}

pub fn ttl(call: &mut Call<'_, '_>) -> CommandResult {
    time(call, |at_ms, now_ms| rounded_seconds((at_ms - now_ms).max(0)))
}

pub fn pttl(call: &mut Call<'_, '_>) -> CommandResult {
    time(call, |at_ms, now_ms| (at_ms - now_ms).max(0))
}

pub fn expiretime(call: &mut Call<'_, '_>) -> CommandResult {
    time(call, |at_ms, _| rounded_seconds(at_ms))
}

pub fn pexpiretime(call: &mut Call<'_, '_>) -> CommandResult {
    time(call, |at_ms, _| at_ms)
}

/// To the nearest second; the last millisecond there is counts as well.
fn rounded_seconds(ms: i64) -> i64 {
    (ms.cast_unsigned().saturating_add(500) / 1000).cast_signed()
}

/// -2 for no such key, -1 for no time.
fn time(call: &mut Call<'_, '_>, shown: impl Fn(i64, i64) -> i64) -> CommandResult {
    let now_ms = call.space.now_ms();
    let answer = match call.space.peek(call.args.at(1)).map(Entry::expires_at_ms) {
        None => -2,
        Some(None) => -1,
        Some(Some(at_ms)) => shown(at_ms, now_ms),
    };
    call.reply.integer(answer);
    Ok(())
}

pub fn persist(call: &mut Call<'_, '_>) -> CommandResult {
    let persisted = call.space.persist(call.args.at(1));
    call.reply.flag(persisted);
    Ok(())
}
