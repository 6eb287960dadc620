//! What a seed is made of: commands that stay together when a failing list is cut down.

/// A command's words, its name first.
pub type Words = Vec<Vec<u8>>;

/// How the commands of a step are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In the pipeline, with the steps before and behind.
    Plain,
    /// A SCAN that begins at 0: followed to its end, and all its elements compared.
    Scan,
    /// A SPOP: what the two servers popped differs, so ours is made like Redis's afterwards.
    Pop,
    /// The last command is sent only once the times given before it, of few ms, have passed.
    Wait,
}

#[derive(Clone, Debug)]
pub struct Step {
    pub kind: Kind,
    pub commands: Vec<Words>,
}

impl Step {
    pub fn plain(words: Words) -> Step {
        Step { kind: Kind::Plain, commands: vec![words] }
    }
}

/// Builds a command from anything that turns into bytes.
#[macro_export]
macro_rules! words {
    ($($word:expr),* $(,)?) => { vec![$(Vec::<u8>::from($word)),*] };
}

/// The command's name in lower case.
pub fn name(words: &[Vec<u8>]) -> String {
    words.first().map_or(String::new(), |name| lower(name))
}

pub fn lower(word: &[u8]) -> String {
    String::from_utf8_lossy(word).to_ascii_lowercase()
}

/// A command as one would give it to redis-cli.
pub fn show(words: &[Vec<u8>]) -> String {
    let word = |word: &Vec<u8>| {
        let plain = !word.is_empty()
            && word.iter().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'\\'));
        if plain {
            String::from_utf8_lossy(word).into_owned()
        } else {
            format!("\"{}\"", word.escape_ascii().to_string().replace("\\'", "'"))
        }
    };
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// A command as it is sent.
pub fn encode(words: &[Vec<u8>], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}
