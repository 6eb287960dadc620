//! What is logged: the variable `QUORING_LOG`.

use super::flags::ConfigError;

/// The levels, from nothing to everything.
const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];
const DEFAULT: &str = "info";

/// The filter that a value means: a level, or levels of parts of the program. Whatever else is
/// taken for a part's name by the library, and silences all others.
pub fn log_filter(value: Option<&str>) -> Result<&str, ConfigError> {
    let value = value.map_or("", str::trim);
    if value.is_empty() {
        return Ok(DEFAULT);
    }
    let level_of = |part: &str| part.rsplit('=').next().unwrap_or(part).trim().to_lowercase();
    match value.split(',').find(|part| !LEVELS.contains(&level_of(part).as_str())) {
        None => Ok(value),
        Some(wrong) => Err(ConfigError(format!(
            "QUORING_LOG has '{}', which is no level: it is one of {}, or PART=LEVEL with commas \
             between",
            wrong.trim(),
            LEVELS.join(", ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_level_is_refused() {
        assert_eq!(log_filter(None), Ok("info"));
        assert_eq!(log_filter(Some(" ")), Ok("info"));
        for taken in ["debug", "TRACE", "off", "warn,server::links=debug", "server = info"] {
            assert_eq!(log_filter(Some(taken)), Ok(taken));
        }
        for wrong in ["verbose", "info,server", "server=loud", "info,", "1"] {
            let error = log_filter(Some(wrong)).unwrap_err().0;
            assert!(error.contains("error, warn, info, debug, trace"), "{error}");
        }
    }
}
