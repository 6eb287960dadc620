//! What Redis notes of some commands' keys, word for word.

/// Command, place among its key specifications, note.
const NOTES: &[(&str, usize, &str)] = &[
    ("getex", 0, "RW and UPDATE because it changes the TTL"),
    ("set", 0, "RW and ACCESS due to the optional `GET` argument"),
    ("sort", 1, BY_OR_GET),
    (
        "sort",
        2,
        "For the optional STORE keyword. It is marked 'unknown' because the keyword can appear \
         anywhere in the argument array",
    ),
    ("sort_ro", 1, BY_OR_GET),
];

const BY_OR_GET: &str = "For the optional BY/GET keyword. It is marked 'unknown' because the key \
                         names derive from the content of the key we sort";

/// The note of a command's key specification, by its place.
pub fn note_of(command: &str, place: usize) -> Option<&'static str> {
    let found = NOTES.iter().find(|(name, key, _)| (*name, *key) == (command, place));
    found.map(|(_, _, note)| *note)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table;

    #[test]
    fn every_note_is_of_a_key_specification() {
        for (name, place, note) in NOTES {
            let spec = table::find(name.as_bytes()).unwrap();
            assert!(*place < spec.keys.len() && note_of(name, *place) == Some(note), "{name}");
        }
    }
}
