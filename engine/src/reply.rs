//! Writes replies as RESP2 or RESP3 straight into the buffer that is sent.
//! Source: the RESP3 specification (antirez/RESP3) and Redis's own choice of type per command.

use std::io::Write;

use crate::number;

/// The protocol a connection speaks, as HELLO chose it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    #[default]
    Resp2,
    Resp3,
}

/// Where the head of an aggregate of yet unknown length belongs; see [`Reply::array_later`].
#[must_use]
pub struct Later(usize);

/// A bulk string's `$`, its length of up to 20 digits and two line ends.
const BULK_FRAME_BYTES_MAX: usize = 1 + 20 + 2 + 2;

/// The reply of one command.
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    protocol: Protocol,
}

impl<'a> Reply<'a> {
    pub fn new(out: &'a mut Vec<u8>, protocol: Protocol) -> Reply<'a> {
        Reply { out, protocol }
    }

    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub fn is_resp3(&self) -> bool {
        self.protocol == Protocol::Resp3
    }

    pub fn reborrow(&mut self) -> Reply<'_> {
        Reply { out: self.out, protocol: self.protocol }
    }

    /// Bytes written so far; with [`Reply::truncate`] a half written reply is taken back.
    pub fn position(&self) -> usize {
        self.out.len()
    }

    pub fn truncate(&mut self, position: usize) {
        self.out.truncate(position);
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    pub fn simple(&mut self, text: &str) {
        self.out.push(b'+');
        self.raw(text.as_bytes());
        self.raw(b"\r\n");
    }

    /// `text` begins with the error's code word. Line breaks become spaces, as in Redis.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        let spaced = |b: &u8| if matches!(b, b'\r' | b'\n') { b' ' } else { *b };
        self.out.push(b'-');
        self.out.extend(text.as_ref().iter().map(spaced));
        self.raw(b"\r\n");
    }

    pub fn integer(&mut self, value: i64) {
        self.head(b':', value);
    }

    /// A count or length.
    pub fn count(&mut self, value: usize) {
        self.head(b':', value as i64);
    }

    /// An integer 0 or 1 in both protocols, as most commands answer.
    pub fn flag(&mut self, value: bool) {
        self.raw(if value { b":1\r\n" } else { b":0\r\n" });
    }

    /// `#t`/`#f` in RESP3, `:1`/`:0` in RESP2.
    pub fn boolean(&mut self, value: bool) {
        match (self.protocol, value) {
            (Protocol::Resp3, true) => self.raw(b"#t\r\n"),
            (Protocol::Resp3, false) => self.raw(b"#f\r\n"),
            (Protocol::Resp2, value) => self.flag(value),
        }
    }

    pub fn bulk(&mut self, bytes: &[u8]) {
        // A large one would not leave room for its end, and be copied for that.
        self.out.reserve(bytes.len() + BULK_FRAME_BYTES_MAX);
        self.head(b'$', bytes.len() as i64);
        self.raw(bytes);
        self.raw(b"\r\n");
    }

    pub fn bulk_integer(&mut self, value: i64) {
        let mut digits = itoa::Buffer::new();
        self.bulk(digits.format(value).as_bytes());
    }

    /// A double: `,1.5` in RESP3, a bulk string in RESP2.
    pub fn double(&mut self, value: f64) {
        let text = number::format_double(value);
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => {
                self.out.push(b',');
                self.raw(text.as_bytes());
                self.raw(b"\r\n");
            }
        }
    }

    /// A text meant for people (`=txt:` in RESP3), a bulk string in RESP2.
    pub fn verbatim(&mut self, text: &str) {
        if self.protocol == Protocol::Resp2 {
            return self.bulk(text.as_bytes());
        }
        self.head(b'=', text.len() as i64 + 4);
        self.raw(b"txt:");
        self.raw(text.as_bytes());
        self.raw(b"\r\n");
    }

    /// No value where a bulk string would stand.
    pub fn null(&mut self) {
        self.raw(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// No value where an array would stand.
    pub fn null_array(&mut self) {
        self.raw(match self.protocol {
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    pub fn bulk_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    pub fn array(&mut self, len: usize) {
        self.head(b'*', len as i64);
    }

    /// `pairs` keys, each followed by its value.
    pub fn map(&mut self, pairs: usize) {
        match self.protocol {
            Protocol::Resp2 => self.head(b'*', pairs as i64 * 2),
            Protocol::Resp3 => self.head(b'%', pairs as i64),
        }
    }

    pub fn set(&mut self, len: usize) {
        self.head(if self.is_resp3() { b'~' } else { b'*' }, len as i64);
    }

    pub fn push(&mut self, len: usize) {
        self.head(if self.is_resp3() { b'>' } else { b'*' }, len as i64);
    }

    /// Begins an array whose length is known only once its elements are written.
    pub fn array_later(&mut self) -> Later {
        Later(self.out.len())
    }

    pub fn finish_array(&mut self, later: Later, len: usize) {
        self.finish(later, b'*', len);
    }

    pub fn finish_map(&mut self, later: Later, pairs: usize) {
        match self.protocol {
            Protocol::Resp2 => self.finish(later, b'*', pairs * 2),
            Protocol::Resp3 => self.finish(later, b'%', pairs),
        }
    }

    pub fn finish_set(&mut self, later: Later, len: usize) {
        let kind = if self.is_resp3() { b'~' } else { b'*' };
        self.finish(later, kind, len);
    }

    fn finish(&mut self, Later(at): Later, kind: u8, len: usize) {
        let mut head = [0u8; 24];
        let mut rest = &mut head[..];
        write!(rest, "{}{len}\r\n", kind as char).expect("a length has at most 20 digits");
        let unused = rest.len();
        let used = head.len() - unused;
        self.out.splice(at..at, head[..used].iter().copied());
    }

    fn head(&mut self, kind: u8, value: i64) {
        let mut digits = itoa::Buffer::new();
        self.out.push(kind);
        self.out.extend_from_slice(digits.format(value).as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }
}
