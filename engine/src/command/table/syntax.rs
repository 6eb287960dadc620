//! What words a command takes: `syntax.txt` beside this file, one command a line, read at first use
//! and shown by COMMAND DOCS, from which `redis-cli` makes its hints.
//!
//! ```text
//! command  = name sequence              a line that begins with a blank goes on with the one before;
//!                                       a subcommand is written container|name
//! sequence = element …
//! element  = item | item...             `...`: once or more
//! item     = NAME                       the word itself (NAME=name where they are called differently)
//!          | NAME element               an argument behind that word
//!          | name[:type]["display"][@n] an argument; @n: of the command's n-th key specification
//!          | ( sequence | … )[:name]    one of these, or several in this order
//!          | [ sequence | … ][:name]    the same, or nothing
//! ```
//! An argument is a string, `key` a key and `pattern` a pattern, where no type is given. What is in
//! brackets and is one argument alone is that argument itself; anything else there has a name.
//! `(NAME argument)...` repeats the word, `NAME argument...` does not.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

const TEXT: &str = include_str!("syntax.txt");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgumentKind {
    String,
    Integer,
    Double,
    Key,
    Pattern,
    UnixTime,
    /// The word itself.
    PureToken,
    OneOf,
    /// Several, in this order.
    Block,
}

impl ArgumentKind {
    const NAMES: &[(ArgumentKind, &'static str, &'static str)] = &[
        (ArgumentKind::String, "string", "string"),
        (ArgumentKind::Integer, "int", "integer"),
        (ArgumentKind::Double, "double", "double"),
        (ArgumentKind::Key, "key", "key"),
        (ArgumentKind::Pattern, "pattern", "pattern"),
        (ArgumentKind::UnixTime, "unix-time", "unix-time"),
        (ArgumentKind::PureToken, "", "pure-token"),
        (ArgumentKind::OneOf, "", "oneof"),
        (ArgumentKind::Block, "", "block"),
    ];

    /// As COMMAND DOCS calls it.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(kind, ..)| *kind == self).map_or("", |(.., name)| *name)
    }

    fn parse(text: &str) -> Option<ArgumentKind> {
        Self::NAMES
            .iter()
            .find(|(_, short, _)| !text.is_empty() && *short == text)
            .map(|(kind, ..)| *kind)
    }

    /// Of an argument without a type.
    fn of_name(name: &str) -> ArgumentKind {
        match name {
            "key" => ArgumentKind::Key,
            "pattern" => ArgumentKind::Pattern,
            _ => ArgumentKind::String,
        }
    }
}

/// One argument, or several that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    pub name: Cow<'static, str>,
    pub kind: ArgumentKind,
    /// What people are shown; `None` of several together, which are shown one by one.
    pub display: Option<Cow<'static, str>>,
    /// By which of the command's key specifications it is found.
    pub key_spec_index: Option<usize>,
    /// The word before it.
    pub token: Option<&'static str>,
    pub optional: bool,
    pub multiple: bool,
    /// The token is repeated with it.
    pub multiple_token: bool,
    pub arguments: Vec<Argument>,
}

impl Argument {
    fn new(name: impl Into<Cow<'static, str>>, kind: ArgumentKind) -> Argument {
        let name = name.into();
        Argument {
            display: Some(name.clone()),
            name,
            kind,
            key_spec_index: (kind == ArgumentKind::Key).then_some(0),
            token: None,
            optional: false,
            multiple: false,
            multiple_token: false,
            arguments: Vec::new(),
        }
    }

    /// Fewest and most words that it stands for; `None`: any number.
    pub fn word_counts(&self) -> (usize, Option<usize>) {
        let inner: Vec<_> = self.arguments.iter().map(Argument::word_counts).collect();
        let (mut least, mut most) = match self.kind {
            ArgumentKind::PureToken => (0, Some(0)),
            ArgumentKind::OneOf => (
                inner.iter().map(|(least, _)| *least).min().unwrap_or(0),
                inner.iter().map(|(_, most)| *most).try_fold(0, |a, b| Some(a.max(b?))),
            ),
            ArgumentKind::Block => sum_of(&inner),
            _ => (1, Some(1)),
        };
        let token = usize::from(self.token.is_some());
        least += token;
        most = most.map(|most| most + token).filter(|_| !self.multiple);
        if self.optional { (0, most) } else { (least, most) }
    }
}

fn sum_of(counts: &[(usize, Option<usize>)]) -> (usize, Option<usize>) {
    let least = counts.iter().map(|(least, _)| least).sum();
    (least, counts.iter().try_fold(0, |sum, (_, most)| Some(sum + (*most)?)))
}

/// Fewest and most words behind a command's name.
pub fn word_counts(arguments: &[Argument]) -> (usize, Option<usize>) {
    sum_of(&arguments.iter().map(Argument::word_counts).collect::<Vec<_>>())
}

/// The arguments of a command, named as `container|sub` where it is a subcommand.
pub fn arguments_of(name: &str) -> &'static [Argument] {
    static ALL: OnceLock<HashMap<&'static str, Vec<Argument>>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        parse_all(TEXT).expect("the file is part of the program, and a test reads it")
    });
    all.get(name).map_or(&[], Vec::as_slice)
}

/// Why a line is none, and which.
type SyntaxError = String;

fn parse_all(text: &'static str) -> Result<HashMap<&'static str, Vec<Argument>>, SyntaxError> {
    let mut lines: Vec<(&'static str, Vec<&'static str>)> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut symbols = symbols_of(line);
        match lines.last_mut() {
            Some((_, before)) if line.starts_with(' ') => before.append(&mut symbols),
            _ => {
                let name = symbols.remove(0);
                lines.push((name, symbols));
            }
        }
    }
    let mut all = HashMap::new();
    for (name, symbols) in lines {
        let mut parser = Parser { symbols: &symbols, at: 0 };
        let arguments = parser.sequence().and_then(|arguments| match parser.peek() {
            None => Ok(arguments),
            Some(symbol) => Err(format!("{symbol:?} is not expected")),
        });
        let arguments = arguments.map_err(|why| format!("{name}: {why}"))?;
        if all.insert(name, arguments).is_some() {
            return Err(format!("{name} is there twice"));
        }
    }
    Ok(all)
}

/// Brackets, bars and `...` for themselves, words with their types. A bar within a word, which is a
/// command's name, is part of it.
fn symbols_of(line: &'static str) -> Vec<&'static str> {
    let mut symbols = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let len = match first {
            '[' | ']' | '(' | ')' | '|' => 1,
            '.' => 3.min(rest.len()),
            _ => {
                let ends = |c: char| c == ' ' || "[]()".contains(c);
                let word = rest.find(ends).unwrap_or(rest.len());
                rest[..word].find("...").unwrap_or(word)
            }
        };
        symbols.push(&rest[..len]);
        rest = rest[len..].trim_start();
    }
    symbols
}

struct Parser<'a> {
    symbols: &'a [&'static str],
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&'static str> {
        self.symbols.get(self.at).copied()
    }

    fn next(&mut self) -> Option<&'static str> {
        self.at += 1;
        self.symbols.get(self.at - 1).copied()
    }

    fn at_end_of_sequence(&self) -> bool {
        matches!(self.peek(), None | Some("|" | "]" | ")"))
    }

    fn sequence(&mut self) -> Result<Vec<Argument>, SyntaxError> {
        let mut arguments = Vec::new();
        while !self.at_end_of_sequence() {
            arguments.push(self.element()?);
        }
        Ok(arguments)
    }

    fn element(&mut self) -> Result<Argument, SyntaxError> {
        let bracketed = matches!(self.peek(), Some("(" | "["));
        let mut argument = self.item()?;
        if self.peek() == Some("...") {
            self.at += 1;
            argument.multiple = true;
            argument.multiple_token = bracketed && argument.token.is_some();
        }
        Ok(argument)
    }

    fn item(&mut self) -> Result<Argument, SyntaxError> {
        let Some(symbol) = self.next() else { return Err("an argument is missing".into()) };
        match symbol {
            "(" => self.group(")"),
            "[" => Ok(Argument { optional: true, ..self.group("]")? }),
            "|" | "]" | ")" | "..." => Err(format!("{symbol:?} is not expected")),
            _ if symbol.contains('=') => {
                let (token, name) = symbol.split_once('=').unwrap_or((symbol, symbol));
                Ok(pure_token(token, name))
            }
            _ if symbol.starts_with(|c: char| c.is_ascii_uppercase()) => {
                if self.at_end_of_sequence() {
                    return Ok(pure_token(symbol, symbol.to_ascii_lowercase()));
                }
                let argument = self.element()?;
                match argument.token {
                    None => Ok(Argument { token: Some(symbol), ..argument }),
                    Some(second) => Err(format!("{symbol} stands before {second}")),
                }
            }
            _ => word(symbol),
        }
    }

    /// What is in brackets, the first of which was read.
    fn group(&mut self, end: &str) -> Result<Argument, SyntaxError> {
        let mut ways = vec![self.sequence()?];
        while self.peek() == Some("|") {
            self.at += 1;
            ways.push(self.sequence()?);
        }
        if self.next() != Some(end) {
            return Err(format!("{end} is missing"));
        }
        let name = self.peek().and_then(|symbol| symbol.strip_prefix(':'));
        self.at += usize::from(name.is_some());
        let kind = if ways.len() > 1 { ArgumentKind::OneOf } else { ArgumentKind::Block };
        let mut arguments = Vec::new();
        for mut way in ways {
            match (kind, way.len()) {
                (_, 0) => return Err("there is nothing in brackets".into()),
                (ArgumentKind::OneOf, 2..) => return Err("several in one of several".into()),
                _ => arguments.append(&mut way),
            }
        }
        match name {
            None if arguments.len() == 1 => Ok(arguments.remove(0)),
            None => Err("what is in brackets has no name".into()),
            Some(_) if arguments.len() == 1 => Err("one argument alone has a name already".into()),
            Some(name) => Ok(Argument { display: None, arguments, ..Argument::new(name, kind) }),
        }
    }
}

fn pure_token(token: &'static str, name: impl Into<Cow<'static, str>>) -> Argument {
    Argument { token: Some(token), ..Argument::new(name, ArgumentKind::PureToken) }
}

/// `name[:type]["display"][@n]`
fn word(symbol: &'static str) -> Result<Argument, SyntaxError> {
    let wrong = || format!("{symbol:?} is no argument");
    let (rest, key_spec_index) = match symbol.rsplit_once('@') {
        Some((rest, index)) => (rest, Some(index.parse().map_err(|_| wrong())?)),
        None => (symbol, None),
    };
    let (rest, display) = match rest.strip_suffix('"').map(|rest| rest.split_once('"')) {
        Some(quoted) => quoted.map(|(rest, display)| (rest, Some(display))).ok_or_else(wrong)?,
        None => (rest, None),
    };
    let (name, kind) = match rest.split_once(':') {
        Some((name, kind)) => (name, ArgumentKind::parse(kind).ok_or_else(wrong)?),
        None => (rest, ArgumentKind::of_name(rest)),
    };
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.is_empty() || !name.bytes().all(fits) {
        return Err(wrong());
    }
    let mut argument = Argument::new(name, kind);
    argument.display = display.map(Cow::Borrowed).or(argument.display);
    argument.key_spec_index = key_spec_index.or(argument.key_spec_index);
    Ok(argument)
}

#[cfg(test)]
mod tests;
