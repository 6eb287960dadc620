//! Payloads from their fragments.

use std::collections::{HashMap, HashSet};

use crate::ids::Incarnation;

use super::limits::PAYLOAD_BYTES_MAX;
use super::record::RecordHeader;
use super::recovery::Entry;
use crate::release::resolve::Content;

/// Takes the records of a log in order; each entry is handed on once its last fragment has come.
#[derive(Default)]
pub struct Assembler {
    /// Payloads whose last fragment has not come yet, by shard.
    partial: HashMap<u16, (Incarnation, Vec<u8>)>,
    /// The log's first segments are gone: a payload's first part may be too, as long as no entry
    /// of its shard has begun.
    begins_late: bool,
    begun: HashSet<u16>,
}

impl Assembler {
    /// For a log whose first segments are gone.
    pub fn late() -> Assembler {
        Assembler { begins_late: true, ..Assembler::default() }
    }

    pub fn is_late(&self) -> bool {
        self.begins_late
    }

    /// The next record. An error is `visit`'s, or says that the fragments do not fit together.
    pub fn take(
        &mut self,
        header: &RecordHeader,
        payload: &[u8],
        visit: &mut dyn FnMut(Entry<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        if !header.kind.has_index() {
            return Ok(());
        }
        let (incarnation, shard) = (header.incarnation, header.shard);
        if header.fragment.first {
            if self.begins_late {
                self.begun.insert(shard.0);
            }
            self.partial.remove(&shard.0);
            if header.fragment.last {
                return visit(entry_of(header, payload)?);
            }
            self.partial.insert(shard.0, (incarnation, payload.to_vec()));
            return Ok(());
        }
        let Some((began, parts)) = self.partial.get_mut(&shard.0) else {
            if self.begins_late && !self.begun.contains(&shard.0) {
                return Ok(());
            }
            return Err("a payload's first part is missing".into());
        };
        if *began != incarnation || parts.len() + payload.len() > PAYLOAD_BYTES_MAX {
            return Err("the parts of a payload do not fit together".into());
        }
        parts.extend_from_slice(payload);
        if header.fragment.last
            && let Some((_, whole)) = self.partial.remove(&shard.0)
        {
            return visit(entry_of(header, &whole)?);
        }
        Ok(())
    }
}

/// What a record, or the last one of several, and its whole payload say.
fn entry_of<'a>(header: &RecordHeader, payload: &'a [u8]) -> Result<Entry<'a>, String> {
    let RecordHeader { kind, incarnation, shard, term, index, decided, participants, .. } = *header;
    let content = Content::decode(kind, participants, (shard, index), payload)?;
    Ok(Entry { incarnation, shard, term, index, decided, content })
}
