//! Where a primary's replies end, without a look at what they say. Bytes come in any pieces.

use memchr::memchr;

use super::words::PUSH_LETTER;

/// What a piece of the stream belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A reply that goes on.
    Part,
    /// A reply that ends here. `array`: it is one, no null and no error.
    Reply { array: bool },
    /// An out-of-band message, or a part of one: no command's reply.
    Push,
    /// A word of the primary itself, of which more is to come, or all of it: its letter.
    Inner(Option<u8>),
    /// No reply begins like this.
    Broken,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// At the first byte of a value.
    #[default]
    Kind,
    /// In the number behind it, which says how much more there is.
    Number {
        kind: u8,
        value: u64,
        none: bool,
    },
    /// In a line that says nothing of that.
    Line,
    /// In bytes, so many more with their line end.
    Bytes {
        left: u64,
    },
    /// Behind the zero.
    Letter,
    LetterEnd {
        letter: u8,
    },
}

#[derive(Debug, Default)]
pub struct Scanner {
    state: State,
    /// Values of this reply that are not over; 0 between replies.
    left: u64,
    /// How this reply began.
    push: bool,
    array: bool,
    /// The next value is an out-of-band message, whatever it looks like.
    announced: bool,
    /// The value being read is the reply itself, not a part of it.
    outermost: bool,
}

impl Scanner {
    /// Whether what was looked at ended with the end of a reply, a message or a word.
    pub fn is_between(&self) -> bool {
        self.state == State::Kind && self.left == 0
    }

    /// Looks at bytes, of which there are some. Returns how many belong together.
    pub fn scan(&mut self, bytes: &[u8]) -> (usize, What) {
        let mut at = 0;
        while at < bytes.len() {
            match self.state {
                State::Kind => {
                    if !self.begin_value(bytes[at]) {
                        return (bytes.len(), What::Broken);
                    }
                    at += 1;
                }
                State::Number { kind, value, none } => {
                    let byte = bytes[at];
                    at += 1;
                    match byte {
                        b'0'..=b'9' => {
                            let value =
                                value.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
                            self.state = State::Number { kind, value, none };
                        }
                        b'-' => self.state = State::Number { kind, value, none: true },
                        b'\n' => self.end_number(kind, value, none),
                        _ => {}
                    }
                }
                State::Line => match memchr(b'\n', &bytes[at..]) {
                    Some(end) => {
                        at += end + 1;
                        self.end_value();
                    }
                    None => at = bytes.len(),
                },
                State::Bytes { left } => {
                    let here = left.min((bytes.len() - at) as u64);
                    at += here as usize;
                    self.state = State::Bytes { left: left - here };
                    if left == here {
                        self.end_value();
                    }
                }
                State::Letter => {
                    self.state = State::LetterEnd { letter: bytes[at] };
                    at += 1;
                }
                State::LetterEnd { letter } => {
                    self.state = State::Kind;
                    self.announced = letter == PUSH_LETTER;
                    return (at + 1, What::Inner(Some(letter)));
                }
            }
            if self.is_between() {
                let what = match self.push {
                    true => What::Push,
                    false => What::Reply { array: self.array },
                };
                return (at, what);
            }
        }
        let what = match self.state {
            State::Letter | State::LetterEnd { .. } => What::Inner(None),
            _ if self.push => What::Push,
            _ => What::Part,
        };
        (at, what)
    }

    fn begin_value(&mut self, kind: u8) -> bool {
        self.outermost = self.left == 0;
        if self.outermost {
            if kind == 0 {
                self.state = State::Letter;
                return true;
            }
            self.left = 1;
            self.push = std::mem::take(&mut self.announced) || kind == b'>';
            self.array = kind == b'*';
        }
        self.state = match kind {
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => State::Line,
            b'$' | b'=' | b'!' | b'*' | b'~' | b'>' | b'%' | b'|' => {
                State::Number { kind, value: 0, none: false }
            }
            _ => return false,
        };
        true
    }

    fn end_number(&mut self, kind: u8, value: u64, none: bool) {
        if none {
            self.array &= !self.outermost;
            return self.end_value();
        }
        match kind {
            b'$' | b'=' | b'!' => self.state = State::Bytes { left: value.saturating_add(2) },
            // An attribute stands before the value that it is of.
            b'|' => self.go_on(value.saturating_mul(2).saturating_add(1)),
            b'%' => self.go_on(value.saturating_mul(2)),
            _ => self.go_on(value),
        }
    }

    /// An aggregate has begun: so many values follow.
    fn go_on(&mut self, values: u64) {
        self.left = self.left.saturating_add(values);
        self.end_value();
    }

    fn end_value(&mut self) {
        self.left -= 1;
        self.state = State::Kind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a stream, given in pieces of this length.
    fn scan(stream: &[u8], piece: usize) -> Vec<(Vec<u8>, What)> {
        let (mut scanner, mut all, mut open) = (Scanner::default(), Vec::new(), Vec::new());
        for bytes in stream.chunks(piece) {
            let mut rest = bytes;
            while !rest.is_empty() {
                let (used, what) = scanner.scan(rest);
                assert!(used > 0);
                open.extend_from_slice(&rest[..used]);
                rest = &rest[used..];
                let goes_on = match what {
                    What::Part | What::Inner(None) => true,
                    What::Push => scanner.left > 0,
                    _ => false,
                };
                if !goes_on {
                    all.push((std::mem::take(&mut open), what));
                }
            }
        }
        assert!(open.is_empty(), "{open:?}");
        all
    }

    #[test]
    fn replies_are_told_apart_in_any_pieces() {
        let plain = What::Reply { array: false };
        let array = What::Reply { array: true };
        let expected: Vec<(&[u8], What)> = vec![
            (b"+OK\r\n", plain),
            (b"-ERR no\r\n", plain),
            (b"$5\r\na\r\n\0b\r\n", plain),
            (b"$-1\r\n", plain),
            (b"$0\r\n\r\n", plain),
            (b"*-1\r\n", plain),
            (b"*0\r\n", array),
            (b"*3\r\n:1\r\n*2\r\n$1\r\n*\r\n_\r\n$-1\r\n", array),
            (b"%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n*-1\r\n", plain),
            (b">2\r\n+message\r\n$2\r\n+x\r\n", What::Push),
            (b"|1\r\n+key\r\n,1.5\r\n~1\r\n#t\r\n", plain),
            (b"=7\r\ntxt:a\r\n\r\n", plain),
            (b"(123\r\n", plain),
            (b"\0B\n", What::Inner(Some(b'B'))),
            (b"_\r\n", plain),
            (b"\0P\n", What::Inner(Some(b'P'))),
            (b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$0\r\n\r\n", What::Push),
            (b"*0\r\n", array),
            (b"\0P\n", What::Inner(Some(b'P'))),
            (b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$0\r\n\r\n", What::Push),
            (b"+OK\r\n", plain),
        ];
        let stream: Vec<u8> = expected.iter().flat_map(|(bytes, _)| bytes.to_vec()).collect();
        for piece in 1..=stream.len() {
            let found = scan(&stream, piece);
            let found: Vec<(&[u8], What)> = found.iter().map(|(b, w)| (&b[..], *w)).collect();
            assert_eq!(found, expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn what_is_no_reply_is_noticed() {
        assert_eq!(Scanner::default().scan(b"hello").1, What::Broken);
        assert_eq!(Scanner::default().scan(b"*1\r\n\0B\n").1, What::Broken);
    }
}
