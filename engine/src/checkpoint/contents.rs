//! What a checkpoint says that it holds, known when it begins: the file's header carries it, a
//! loader makes room by it and checks itself against it at the end.

use crate::effect::decode::{DecodeError, Reader};
use crate::effect::log::put_varint;
use crate::limits::DATABASE_COUNT;

pub const FORMAT_VERSION: u8 = 1;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Keys of each database.
    pub keys: [u64; DATABASE_COUNT],
}

impl Contents {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT_VERSION];
        put_varint(&mut out, DATABASE_COUNT as u64);
        self.keys.iter().for_each(|keys| put_varint(&mut out, *keys));
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Contents, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version > FORMAT_VERSION {
            return Err(DecodeError::NewerVersion { version });
        }
        let offset = reader.offset();
        let databases = reader.varint()?;
        let mut contents = Contents::default();
        for database in 0..databases {
            let keys = reader.varint()?;
            match contents.keys.get_mut(usize::try_from(database).unwrap_or(usize::MAX)) {
                Some(place) => *place = keys,
                None if keys == 0 => {}
                None => return Err(DecodeError::Malformed { offset }),
            }
        }
        if reader.is_empty() {
            Ok(contents)
        } else {
            Err(DecodeError::Malformed { offset: reader.offset() })
        }
    }
}
