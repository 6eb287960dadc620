//! The records of `FORMAT.md`, written and read.

use crate::effect::decode::{DecodeError, Reader};
use crate::effect::log::{put_bytes, put_varint};
use crate::value::walk::Piece;

pub const BEGIN: u8 = 8;
pub const PIECE: u8 = 9;
pub const END: u8 = 10;
const EXPIRES: u8 = 0x80;

/// What every record of a key begins with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Head<'a> {
    pub db: u16,
    pub expires_at_ms: Option<i64>,
    pub key: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Record<'a> {
    Whole { head: Head<'a>, kind: u8, content: &'a [u8] },
    Begin { head: Head<'a>, id: u64, kind: u8, total: u64 },
    Piece { id: u64, ordinal: u64, elements: u64, content: &'a [u8] },
    End { id: u64 },
}

fn put_head(out: &mut Vec<u8>, kind: u8, head: Head<'_>) {
    out.push(kind | if head.expires_at_ms.is_some() { EXPIRES } else { 0 });
    put_varint(out, u64::from(head.db));
    if let Some(at_ms) = head.expires_at_ms {
        out.extend_from_slice(&at_ms.to_le_bytes());
    }
    put_bytes(out, head.key);
}

pub fn put_whole(out: &mut Vec<u8>, kind: u8, head: Head<'_>, content: &[u8]) {
    put_head(out, kind, head);
    put_bytes(out, content);
}

pub fn put_begin(out: &mut Vec<u8>, head: Head<'_>, id: u64, kind: u8, total: u64) {
    put_head(out, BEGIN, head);
    put_varint(out, id);
    out.push(kind);
    put_varint(out, total);
}

pub fn put_piece(out: &mut Vec<u8>, id: u64, piece: &Piece) {
    out.push(PIECE);
    put_varint(out, id);
    put_varint(out, piece.ordinal);
    put_varint(out, piece.elements);
    put_bytes(out, &piece.bytes);
}

pub fn put_end(out: &mut Vec<u8>, id: u64) {
    out.push(END);
    put_varint(out, id);
}

/// Reads the next record.
pub(crate) fn read<'a>(reader: &mut Reader<'a>) -> Result<Record<'a>, DecodeError> {
    let offset = reader.offset();
    let byte = reader.u8()?;
    let (kind, expires) = (byte & !EXPIRES, byte & EXPIRES != 0);
    match kind {
        1..=5 => {
            let head = read_head(reader, expires)?;
            Ok(Record::Whole { head, kind, content: reader.bytes()? })
        }
        BEGIN => {
            let head = read_head(reader, expires)?;
            let id = reader.varint()?;
            Ok(Record::Begin { head, id, kind: reader.u8()?, total: reader.varint()? })
        }
        PIECE if !expires => Ok(Record::Piece {
            id: reader.varint()?,
            ordinal: reader.varint()?,
            elements: reader.varint()?,
            content: reader.bytes()?,
        }),
        END if !expires => Ok(Record::End { id: reader.varint()? }),
        _ => Err(DecodeError::UnknownKind { kind: byte, offset }),
    }
}

fn read_head<'a>(reader: &mut Reader<'a>, expires: bool) -> Result<Head<'a>, DecodeError> {
    let offset = reader.offset();
    let db = u16::try_from(reader.varint()?).map_err(|_| DecodeError::Malformed { offset })?;
    let expires_at_ms = if expires { Some(reader.i64()?) } else { None };
    Ok(Head { db, expires_at_ms, key: reader.bytes()? })
}
