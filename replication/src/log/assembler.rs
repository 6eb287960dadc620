//! Payloads from their fragments.

use std::collections::{HashMap, HashSet};

use crate::ids::Incarnation;

use super::limits::PAYLOAD_BYTES_MAX;
use super::record::RecordHeader;
use super::recovery::Entry;
use crate::release::resolve::Content;

/// Takes the records of a log in order; each entry is handed on once its last fragment has come.
pub struct Assembler {
    payload_bytes_max: usize,
    /// Payloads whose last fragment has not come yet, by shard.
    partial: HashMap<u16, (Incarnation, Vec<u8>)>,
    /// The log's first segments are gone: a payload's first part may be too, as long as no entry
    /// of its shard has begun.
    begins_late: bool,
    begun: HashSet<u16>,
}

impl Default for Assembler {
    fn default() -> Assembler {
        Assembler {
            payload_bytes_max: PAYLOAD_BYTES_MAX,
            partial: HashMap::new(),
            begins_late: false,
            begun: HashSet::new(),
        }
    }
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
        if *began != incarnation || parts.len() + payload.len() > self.payload_bytes_max {
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

#[cfg(test)]
mod tests {
    use super::super::record::Fragment;
    use super::super::record::RecordKind;
    use super::*;
    use crate::ids::Index;
    use crate::ids::{Lsn, ShardId, Term};

    fn header(lsn: u64, last: bool) -> RecordHeader {
        RecordHeader {
            kind: RecordKind::Entry,
            fragment: Fragment { first: lsn == 1, last },
            lsn: Lsn(lsn),
            incarnation: Incarnation(1),
            durable: Lsn(0),
            term: Term(1),
            index: Index(1),
            shard: ShardId(0),
            participants: 0,
            decided: Index(0),
            payload_len: 10,
            previous_crc: 0,
        }
    }

    #[test]
    fn a_payload_is_put_together_up_to_its_bound() {
        for (most, fits) in [(30, true), (29, false)] {
            let mut assembler = Assembler { payload_bytes_max: most, ..Assembler::default() };
            let mut lens = Vec::new();
            let results: Vec<_> = (1..=3)
                .map(|lsn| {
                    assembler.take(&header(lsn, lsn == 3), &[7; 10], &mut |entry| {
                        if let Content::Entry { payload, .. } = entry.content {
                            lens.push(payload.len());
                        }
                        Ok(())
                    })
                })
                .collect();
            assert_eq!((results[2].is_ok(), lens.len()), (fits, usize::from(fits)), "{most}");
            assert_eq!(lens.first().copied().unwrap_or(30), 30);
        }
    }
}
