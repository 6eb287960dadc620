//! Which known name a wrong one was probably meant to be.

/// More slips than this, and a name is taken for another word.
const SLIPS_MAX: usize = 8;

/// The known name with the fewest slips between it and `name`, if they are few beside its length.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|known| (slips(name.as_bytes(), known.as_bytes()), known))
        .min()
        .filter(|(slips, known)| *slips <= SLIPS_MAX && 2 * slips <= known.len())
        .map(|(_, known)| known)
}

/// Letters to insert, delete or exchange until one word is the other (Levenshtein).
fn slips(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let exchanged = diagonal + usize::from(letter != other);
            diagonal = row[j + 1];
            row[j + 1] = exchanged.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name_and_another_word_none() {
        let known = ["maxclients", "timeout", "tcp-keepalive"];
        let find = |name| nearest(name, known.into_iter());
        assert_eq!(find("maxclient"), Some("maxclients"));
        assert_eq!(find("time-out"), Some("timeout"));
        assert_eq!(find("tcpkeepalife"), Some("tcp-keepalive"));
        assert_eq!(nearest("prot", ["port", "poll-us"].into_iter()), Some("port"));
        assert_eq!(find("sort"), None);
        assert_eq!((slips(b"kitten", b"sitting"), slips(b"", b"abc")), (3, 3));
    }
}
