//! The virtual directory of checkpoints: what is in each file, and what of it a power cut may take.

use replication::checkpoint::file::{PAGE_BYTES, STAMP_AT};
use server::replica::transfer::Piece;
use std::collections::BTreeMap;

use engine::rng::Rng;
use replication::checkpoint::{CheckpointSource, FileOperation};
use server::startup::checkpoints::CheckpointDirectory;

/// Bytes of a piece: some blocks, so that even small files go in several.
const PIECE_BYTES: usize = 8192;

#[derive(Clone, Debug, Default)]
struct File {
    bytes: Vec<u8>,
    /// All of it is on stable storage.
    synced: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Files {
    there: BTreeMap<String, File>,
    /// The file that each core writes.
    open: BTreeMap<u16, String>,
    /// Files that got their final names.
    named: usize,
    /// Renames that the directory may yet forget: old and new name.
    renamed: Vec<(String, String)>,
}

impl Files {
    pub fn open_name(&self, core: u16) -> Option<&str> {
        self.open.get(&core).map(String::as_str)
    }

    /// An operation of a core ended well.
    pub fn finish(&mut self, core: u16, operation: &FileOperation) {
        match operation {
            FileOperation::Create { name } => {
                self.there.insert(name.clone(), File::default());
                self.open.insert(core, name.clone());
            }
            FileOperation::Write { offset, buffer } => {
                let Some(file) = self.open.get(&core).and_then(|name| self.there.get_mut(name))
                else {
                    return;
                };
                let (start, bytes) = (*offset as usize, buffer.bytes());
                file.bytes.resize(file.bytes.len().max(start + bytes.len()), 0);
                file.bytes[start..start + bytes.len()].copy_from_slice(bytes);
                file.synced = false;
            }
            FileOperation::Sync => {
                if let Some(file) = self.open.get(&core).and_then(|name| self.there.get_mut(name)) {
                    file.synced = true;
                }
            }
            FileOperation::Rename { from, to } => {
                self.open.remove(&core);
                if let Some(file) = self.there.remove(from) {
                    self.there.insert(to.clone(), file);
                    self.named += 1;
                    self.renamed.push((from.clone(), to.clone()));
                }
            }
            FileOperation::SyncDirectory => self.renamed.clear(),
            FileOperation::Remove { name } => {
                self.there.remove(name);
            }
        }
    }

    /// The power goes: what is not synced may be there in part or not at all, and renames may be
    /// forgotten.
    pub fn cut_power(&mut self, rng: &mut Rng) {
        for (from, to) in std::mem::take(&mut self.renamed) {
            if rng.below(2) == 0
                && let Some(file) = self.there.remove(&to)
            {
                self.there.insert(from, file);
            }
        }
        for file in self.there.values_mut().filter(|file| !file.synced) {
            let kept = rng.below(file.bytes.len() as u64 + 1) as usize;
            match rng.below(2) {
                0 => file.bytes.truncate(kept),
                _ => file.bytes[kept..].fill(0),
            }
            file.synced = true;
        }
        self.open.clear();
    }

    /// Flips some bit of a finished checkpoint; says which.
    pub fn rot(&mut self, rng: &mut Rng) -> Option<String> {
        let names: Vec<String> =
            self.there.keys().filter(|name| name.ends_with(".ckpt")).cloned().collect();
        let name = names.get(rng.below(names.len().max(1) as u64) as usize)?.clone();
        let bytes = &mut self.there.get_mut(&name)?.bytes;
        let at = rng.below(bytes.len() as u64 * 8) as usize;
        bytes[at / 8] ^= 1 << (at % 8);
        Some(name)
    }

    /// Flips some bit that is set in a checkpoint's blocks: of what it has of the shard.
    pub fn rot_blocks(&mut self, name: &str, rng: &mut Rng) {
        let bytes = self.bytes_mut(name);
        let blocks = PAGE_BYTES..bytes.len() - PAGE_BYTES;
        let set: Vec<usize> = blocks.filter(|at| bytes[*at] != 0).collect();
        let at = set[rng.below(set.len() as u64) as usize];
        let bits: Vec<u32> = (0..8).filter(|bit| bytes[at] >> bit & 1 == 1).collect();
        bytes[at] ^= 1 << bits[rng.below(bits.len() as u64) as usize];
    }

    pub fn named(&self) -> usize {
        self.named
    }

    pub fn list(&self) -> Vec<(String, u64)> {
        let sized = |(name, file): (&String, &File)| (name.clone(), file.bytes.len() as u64);
        self.there.iter().map(sized).collect()
    }

    /// Some bytes of a checkpoint's file.
    pub fn piece(&self, name: &str, offset: u64) -> Result<Piece, String> {
        let bytes = &self.there.get(name).ok_or("no such file")?.bytes;
        let rest = bytes.get(offset as usize..).ok_or("past the end")?;
        let stamp = bytes.get(STAMP_AT as usize..).and_then(|rest| rest.first_chunk());
        let stamp = u64::from_le_bytes(*stamp.ok_or("past the end")?);
        let piece = rest[..rest.len().min(PIECE_BYTES)].to_vec();
        Ok(Piece { size: bytes.len() as u64, stamp, bytes: piece })
    }

    /// The bytes of a file that is there.
    pub fn bytes_mut(&mut self, name: &str) -> &mut Vec<u8> {
        &mut self.there.get_mut(name).expect("it is listed").bytes
    }

    pub fn remove(&mut self, name: &str) {
        self.there.remove(name);
    }
}

/// A file as it is read.
pub struct Reading(Vec<u8>);

impl CheckpointDirectory for Files {
    type Source = Reading;

    fn open(&self, name: &str) -> Result<Reading, String> {
        self.there.get(name).map(|file| Reading(file.bytes.clone())).ok_or("no such file".into())
    }
}

impl CheckpointSource for Reading {
    fn size_bytes(&mut self) -> Result<u64, String> {
        Ok(self.0.len() as u64)
    }

    fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), String> {
        let start = offset as usize;
        let bytes = self.0.get(start..start + into.len()).ok_or("past the end")?;
        into.copy_from_slice(bytes);
        Ok(())
    }
}
