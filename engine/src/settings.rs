//! What an operator can set about the keyspace; each core holds a copy.

use crate::value::limits::EncodingLimits;

#[derive(Clone, Debug)]
pub struct Settings {
    pub encoding: EncodingLimits,
    /// Longest string a command may build (`proto-max-bulk-len`).
    pub string_bytes_max: usize,
    /// DEBUG SET-ACTIVE-EXPIRE.
    pub active_expire: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            encoding: EncodingLimits::default(),
            string_bytes_max: crate::limits::STRING_BYTES_MAX,
            active_expire: true,
        }
    }
}
