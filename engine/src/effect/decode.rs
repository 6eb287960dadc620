//! Reads a payload back, checking every length: it may come from a disk or from another node.

use super::{FORMAT_VERSION, Kind, SAME_KEY};

/// Why a payload cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Written by a newer version than this one knows.
    NewerVersion {
        version: u8,
    },
    UnknownKind {
        kind: u8,
        offset: usize,
    },
    /// A length or number runs past the end, or a number is out of its range.
    Malformed {
        offset: usize,
    },
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DecodeError::NewerVersion { version } => write!(
                f,
                "effects have format version {version}; this program knows up to {FORMAT_VERSION}"
            ),
            DecodeError::UnknownKind { kind, offset } => {
                write!(f, "unknown kind of effect {kind} at byte {offset} of the entry")
            }
            DecodeError::Malformed { offset } => {
                write!(f, "malformed effect at byte {offset} of the entry")
            }
        }
    }
}

impl std::error::Error for DecodeError {}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effect<'a> {
    pub db: u16,
    pub key: &'a [u8],
    pub change: Change<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change<'a> {
    Delete,
    SetString(&'a [u8]),
    SetStringExpiring { at_ms: i64, value: &'a [u8] },
    SetStringKeep(&'a [u8]),
    Append(&'a [u8]),
    Patch { offset: u64, bytes: &'a [u8] },
    Expire { at_ms: i64 },
    Persist,
    Put { at_ms: i64, image: &'a [u8] },
    FlushDatabase,
    SwapDatabases { other: u64 },
    Rename { to: &'a [u8] },
    HashSet { field: &'a [u8], value: &'a [u8] },
    HashDelete(&'a [u8]),
    ListPushFront(&'a [u8]),
    ListPushBack(&'a [u8]),
    ListPopFront(u64),
    ListPopBack(u64),
    ListSet { index: u64, element: &'a [u8] },
    ListInsert { index: u64, element: &'a [u8] },
    ListRemove { index: u64, count: u64 },
    SetAdd(&'a [u8]),
    SetRemove(&'a [u8]),
    SortedSetAdd { score: f64, member: &'a [u8] },
    SortedSetRemove(&'a [u8]),
}

/// The effects of a payload, in order. After an error nothing more comes.
pub struct Decoder<'a> {
    reader: Reader<'a>,
    last: Option<(u16, &'a [u8])>,
    started: bool,
}

impl<'a> Decoder<'a> {
    pub fn new(payload: &'a [u8]) -> Decoder<'a> {
        Decoder { reader: Reader::new(payload), last: None, started: false }
    }

    fn next_effect(&mut self) -> Result<Option<Effect<'a>>, DecodeError> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        if !self.started {
            self.started = true;
            let version = self.reader.u8()?;
            if version > FORMAT_VERSION {
                return Err(DecodeError::NewerVersion { version });
            }
            if self.reader.is_empty() {
                return Ok(None);
            }
        }
        let offset = self.reader.offset();
        let head = self.reader.u8()?;
        if head & SAME_KEY == 0 {
            let db = u16::try_from(self.reader.varint()?)
                .map_err(|_| DecodeError::Malformed { offset })?;
            self.last = Some((db, self.reader.bytes()?));
        }
        let (db, key) = self.last.ok_or(DecodeError::Malformed { offset })?;
        let change = self.change(head & !SAME_KEY, offset)?;
        Ok(Some(Effect { db, key, change }))
    }

    fn change(&mut self, kind: u8, offset: usize) -> Result<Change<'a>, DecodeError> {
        const fn is(kind: u8, of: Kind) -> bool {
            kind == of as u8
        }
        let r = &mut self.reader;
        Ok(match kind {
            k if is(k, Kind::Delete) => Change::Delete,
            k if is(k, Kind::SetString) => Change::SetString(r.bytes()?),
            k if is(k, Kind::SetStringExpiring) => {
                Change::SetStringExpiring { at_ms: r.i64()?, value: r.bytes()? }
            }
            k if is(k, Kind::SetStringKeep) => Change::SetStringKeep(r.bytes()?),
            k if is(k, Kind::Append) => Change::Append(r.bytes()?),
            k if is(k, Kind::Patch) => Change::Patch { offset: r.varint()?, bytes: r.bytes()? },
            k if is(k, Kind::Expire) => Change::Expire { at_ms: r.i64()? },
            k if is(k, Kind::Persist) => Change::Persist,
            k if is(k, Kind::Put) => Change::Put { at_ms: r.i64()?, image: r.bytes()? },
            k if is(k, Kind::FlushDatabase) => Change::FlushDatabase,
            k if is(k, Kind::SwapDatabases) => Change::SwapDatabases { other: r.varint()? },
            k if is(k, Kind::Rename) => Change::Rename { to: r.bytes()? },
            k if is(k, Kind::HashSet) => Change::HashSet { field: r.bytes()?, value: r.bytes()? },
            k if is(k, Kind::HashDelete) => Change::HashDelete(r.bytes()?),
            k if is(k, Kind::ListPushFront) => Change::ListPushFront(r.bytes()?),
            k if is(k, Kind::ListPushBack) => Change::ListPushBack(r.bytes()?),
            k if is(k, Kind::ListPopFront) => Change::ListPopFront(r.varint()?),
            k if is(k, Kind::ListPopBack) => Change::ListPopBack(r.varint()?),
            k if is(k, Kind::ListSet) => {
                Change::ListSet { index: r.varint()?, element: r.bytes()? }
            }
            k if is(k, Kind::ListInsert) => {
                Change::ListInsert { index: r.varint()?, element: r.bytes()? }
            }
            k if is(k, Kind::ListRemove) => {
                Change::ListRemove { index: r.varint()?, count: r.varint()? }
            }
            k if is(k, Kind::SetAdd) => Change::SetAdd(r.bytes()?),
            k if is(k, Kind::SetRemove) => Change::SetRemove(r.bytes()?),
            k if is(k, Kind::SortedSetAdd) => {
                Change::SortedSetAdd { score: r.score()?, member: r.bytes()? }
            }
            k if is(k, Kind::SortedSetRemove) => Change::SortedSetRemove(r.bytes()?),
            kind => return Err(DecodeError::UnknownKind { kind, offset }),
        })
    }
}

impl<'a> Iterator for Decoder<'a> {
    type Item = Result<Effect<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_effect().transpose();
        if matches!(next, Some(Err(_))) {
            self.reader = Reader::new(&[]);
        }
        next
    }
}

/// Reads the primitive parts, never past the end.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, offset: 0 }
    }

    pub fn offset(&self) -> usize {
        self.offset
    }

    pub fn is_empty(&self) -> bool {
        self.offset == self.bytes.len()
    }

    pub fn rest(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.offset..];
        self.offset = self.bytes.len();
        rest
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let malformed = DecodeError::Malformed { offset: self.offset };
        let end = self.offset.checked_add(len).ok_or(malformed.clone())?;
        let taken = self.bytes.get(self.offset..end).ok_or(malformed)?;
        self.offset = end;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut fixed = [0; N];
        fixed.copy_from_slice(self.take(N)?);
        Ok(fixed)
    }

    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.fixed::<1>()?[0])
    }

    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_le_bytes(self.fixed()?))
    }

    /// A score is never NaN.
    pub fn score(&mut self) -> Result<f64, DecodeError> {
        let offset = self.offset;
        let score = f64::from_bits(u64::from_le_bytes(self.fixed()?));
        if score.is_nan() { Err(DecodeError::Malformed { offset }) } else { Ok(score) }
    }

    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let offset = self.offset;
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Malformed { offset })
    }

    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let offset = self.offset;
        let len = usize::try_from(self.varint()?).map_err(|_| DecodeError::Malformed { offset })?;
        self.take(len)
    }
}
