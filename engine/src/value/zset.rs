//! stub
use super::limits::EncodingLimits;
use crate::hash::Hasher64;
#[derive(Clone, Default)]
pub struct ZSet(Box<Vec<(Vec<u8>, f64)>>);
impl ZSet {
    pub fn new() -> ZSet {
        ZSet(Default::default())
    }
    pub fn len(&self) -> usize {
        self.0.len()
    }
    pub fn encoding(&self) -> &'static str {
        "listpack"
    }
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], f64)> {
        self.0.iter().map(|x| (&x.0[..], x.1))
    }
    pub fn insert(&mut self, e: &[u8], s: f64, _: &EncodingLimits, _: &Hasher64) {
        self.0.push((e.to_vec(), s))
    }
    pub fn remove(&mut self, _: &[u8]) -> bool {
        false
    }
    pub fn drain_slice(&mut self, _: usize) -> bool {
        true
    }
}
