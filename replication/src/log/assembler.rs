//! Payloads from their fragments.

use std::collections::HashMap;

use crate::ids::Incarnation;

use super::limits::PAYLOAD_BYTES_MAX;
use super::record::{RecordHeader, RecordKind};
use super::recovery::Entry;

/// Takes the records of a log in order; each entry is handed on once its last fragment has come.
#[derive(Default)]
pub struct Assembler {
    /// Payloads whose last fragment has not come yet, by shard.
    partial: HashMap<u16, (Incarnation, Vec<u8>)>,
}

impl Assembler {
    /// The next record. An error is `visit`'s, or says that the fragments do not fit together.
    pub fn take(
        &mut self,
        header: &RecordHeader,
        payload: &[u8],
        visit: &mut dyn FnMut(Entry<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        if header.kind == RecordKind::Seal {
            return Ok(());
        }
        let (incarnation, shard) = (header.incarnation, header.shard);
        let entry =
            |payload| Entry { incarnation, shard, term: header.term, index: header.index, payload };
        if header.fragment.first {
            self.partial.remove(&shard.0);
            if header.fragment.last {
                return visit(entry(payload));
            }
            self.partial.insert(shard.0, (incarnation, payload.to_vec()));
            return Ok(());
        }
        let Some((began, parts)) = self.partial.get_mut(&shard.0) else {
            return Err("a payload's first part is missing".into());
        };
        if *began != incarnation || parts.len() + payload.len() > PAYLOAD_BYTES_MAX {
            return Err("the parts of a payload do not fit together".into());
        }
        parts.extend_from_slice(payload);
        if header.fragment.last
            && let Some((_, whole)) = self.partial.remove(&shard.0)
        {
            return visit(entry(&whole));
        }
        Ok(())
    }
}
