//! CONFIG REWRITE: the configuration file with the values that hold now. What stood there keeps its
//! place, its order and its comments; what is new comes at the end.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;

use super::{Config, names};

/// Written under another name by default.
const ALIASES: &[&str] = &["appendfsync"];

/// The new text of the file, or why its present one cannot be understood.
pub fn rewrite(text: &str, config: &Config) -> Result<String, String> {
    let places: BTreeMap<String, Spanned<toml::Value>> =
        toml::from_str(text).map_err(|e| e.to_string())?;
    let default = Config::default();
    let defaults: BTreeMap<&str, String> = names::all(&default).collect();
    let settable: Vec<&str> = names::settable().collect();
    let mut replaced: Vec<(Range<usize>, String)> = Vec::new();
    let mut added = String::new();
    for (name, value) in names::all(config).filter(|(name, _)| settable.contains(name)) {
        match places.get(name) {
            Some(place) if text_of(place.get_ref()).as_deref() == Some(value.as_str()) => {}
            Some(place) => replaced.push((place.span(), literal(&value))),
            None if defaults.get(name) == Some(&value) || is_alias(name) => {}
            None => added += &format!("{name} = {}\n", literal(&value)),
        }
    }
    replaced.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
    let mut text = text.to_owned();
    for (range, value) in replaced {
        text.replace_range(range, &value);
    }
    if !added.is_empty() && !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text += &added;
    let checked: Result<toml::Table, _> = toml::from_str(&text);
    checked.map(|_| text).map_err(|e| format!("the new text would be malformed: {e}"))
}

/// Old names and second names of a setting are kept where they stand, but not added.
fn is_alias(name: &str) -> bool {
    ALIASES.contains(&name) || name.contains("ziplist")
}

fn text_of(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(value) => Some(if *value { "yes" } else { "no" }.into()),
        _ => None,
    }
}

/// A number as such, anything else as a text.
fn literal(value: &str) -> String {
    match value.parse::<i64>() {
        Ok(number) if number.to_string() == value => value.to_owned(),
        _ => toml::Value::String(value.to_owned()).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_comments_and_gets_what_changed() {
        let mut config = Config::default();
        config.set("timeout", "30").unwrap();
        config.set("requirepass", "a \"b\" # c").unwrap();
        config.set("hash-max-listpack-entries", "64").unwrap();
        config.set("appendfsync", "everysec").unwrap();
        let before = "# mine\nport = 7000 # fixed\ntimeout = 5 # short\n\nlatency-tracking = false";
        let after = rewrite(before, &config).unwrap();
        assert_eq!(
            after,
            "# mine\nport = 7000 # fixed\ntimeout = 30 # short\n\nlatency-tracking = false\n\
             durability = \"interval\"\nhash-max-listpack-entries = 64\n\
             requirepass = 'a \"b\" # c'\n"
        );
        assert_eq!(rewrite(&after, &config).unwrap(), after);
        assert_eq!(rewrite("", &Config::default()).unwrap(), "");
        assert!(rewrite("port = ", &config).is_err());
    }
}
