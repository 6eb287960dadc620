//! stub
use super::limits::EncodingLimits;
#[derive(Clone, Default)]
pub struct List(Box<Vec<Vec<u8>>>);
impl List {
    pub fn new() -> List {
        List(Default::default())
    }
    pub fn len(&self) -> usize {
        self.0.len()
    }
    pub fn encoding(&self) -> &'static str {
        "listpack"
    }
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|x| &x[..])
    }
    pub fn push_front(&mut self, e: &[u8], _: &EncodingLimits) {
        self.0.insert(0, e.to_vec())
    }
    pub fn push_back(&mut self, e: &[u8], _: &EncodingLimits) {
        self.0.push(e.to_vec())
    }
    pub fn set(&mut self, i: usize, e: &[u8], _: &EncodingLimits) {
        self.0[i] = e.to_vec()
    }
    pub fn insert(&mut self, i: usize, e: &[u8], _: &EncodingLimits) {
        self.0.insert(i, e.to_vec())
    }
    pub fn remove_range(&mut self, i: usize, c: usize, _: &EncodingLimits) {
        self.0.drain(i..i + c);
    }
}
