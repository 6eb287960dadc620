//! The arguments of one command: ranges into the bytes they were received in, never copied.

use crate::table::alloc_size;

/// Where one argument lies in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArgRange {
    pub start: u32,
    pub len: u32,
}

/// A command's words, the name first. `Copy`: an argument borrows the buffer, not the `Args`.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    buffer: &'a [u8],
    ranges: &'a [ArgRange],
}

impl<'a> Args<'a> {
    pub fn new(buffer: &'a [u8], ranges: &'a [ArgRange]) -> Args<'a> {
        Args { buffer, ranges }
    }

    /// Number of words, the name included.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The word at `index`. The command's arity has been checked, so a missing one is our own
    /// fault.
    pub fn at(&self, index: usize) -> &'a [u8] {
        let ArgRange { start, len } = self.ranges[index];
        &self.buffer[start as usize..start as usize + len as usize]
    }

    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        (index < self.ranges.len()).then(|| self.at(index))
    }

    /// Whether the word at `index` is `word` (ASCII, any case).
    pub fn is(&self, index: usize, word: &str) -> bool {
        self.at(index).eq_ignore_ascii_case(word.as_bytes())
    }

    /// From the first byte of the first word to the last byte of the last one.
    pub fn span_bytes(&self) -> usize {
        match (self.ranges.first(), self.ranges.last()) {
            (Some(first), Some(last)) => {
                (last.start + last.len).saturating_sub(first.start) as usize
            }
            _ => 0,
        }
    }

    /// All words from `index` on.
    pub fn iter_from(self, index: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone {
        let buffer = self.buffer;
        self.ranges[index.min(self.ranges.len())..]
            .iter()
            .map(move |r| &buffer[r.start as usize..(r.start + r.len) as usize])
    }

    /// Where the words lie in their buffer, from the first byte of the first to the last of the
    /// last. Words follow each other in the order in which they were received.
    fn span(&self) -> (u32, u32) {
        match (self.ranges.first(), self.ranges.last()) {
            (Some(first), Some(last)) => (first.start, last.start + last.len),
            _ => (0, 0),
        }
    }

    /// The words from `index` on as a command of their own.
    pub fn tail(self, index: usize) -> Args<'a> {
        Args { buffer: self.buffer, ranges: &self.ranges[index.min(self.ranges.len())..] }
    }
}

/// A command's words with a buffer of their own: queued, parked or sent to another core.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnedArgs {
    buffer: Vec<u8>,
    ranges: Vec<ArgRange>,
}

impl OwnedArgs {
    pub fn from_words<'a>(words: impl IntoIterator<Item = &'a [u8]>) -> OwnedArgs {
        let mut owned = OwnedArgs::default();
        for word in words {
            owned.push(word);
        }
        owned
    }

    pub fn copy_of(args: Args<'_>) -> OwnedArgs {
        let total = args.ranges.iter().map(|r| r.len as usize).sum();
        let mut owned =
            OwnedArgs { buffer: Vec::with_capacity(total), ranges: Vec::with_capacity(args.len()) };
        for word in args.iter_from(0) {
            owned.push(word);
        }
        owned
    }

    pub fn push(&mut self, word: &[u8]) {
        let start = self.buffer.len() as u32;
        self.buffer.extend_from_slice(word);
        self.ranges.push(ArgRange { start, len: word.len() as u32 });
    }

    pub fn as_args(&self) -> Args<'_> {
        Args { buffer: &self.buffer, ranges: &self.ranges }
    }

    /// What it has allocated.
    pub fn memory_bytes(&self) -> usize {
        alloc_size(self.buffer.capacity())
            + alloc_size(self.ranges.capacity() * size_of::<ArgRange>())
    }

    pub fn bytes(&self) -> usize {
        self.buffer.len() + self.ranges.len() * size_of::<ArgRange>()
    }
}

/// Many commands' words in one buffer: what one core sends another in a turn.
#[derive(Debug, Default)]
pub struct ArgsBatch {
    buffer: Vec<u8>,
    ranges: Vec<ArgRange>,
}

impl ArgsBatch {
    /// Adds a command; [`ArgsBatch::get`] gives it back for the number returned and the number
    /// that the next `push` returns. The stretch of the buffer that holds the words is copied
    /// whole, with what separates them.
    pub fn push(&mut self, args: Args<'_>) -> u32 {
        let (first, end) = args.span();
        let base = self.buffer.len() as u32;
        self.buffer.extend_from_slice(&args.buffer[first as usize..end as usize]);
        let number = self.ranges.len() as u32;
        self.ranges.extend(
            args.ranges.iter().map(|r| ArgRange { start: r.start - first + base, len: r.len }),
        );
        number
    }

    /// The command whose `push` returned `number`, of so many words.
    pub fn get(&self, number: u32, words: u32) -> Args<'_> {
        Args::new(&self.buffer, &self.ranges[number as usize..(number + words) as usize])
    }

    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    pub fn clear(&mut self) {
        self.buffer.clear();
        self.ranges.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_gives_back_each_command() {
        let received = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
        let ranges = [ArgRange { start: 8, len: 3 }, ArgRange { start: 17, len: 1 }];
        let mut batch = ArgsBatch::default();
        let first = batch.push(Args::new(received, &ranges));
        let second = batch.push(Args::new(received, &ranges[1..]));
        assert_eq!(batch.get(first, 2).iter_from(0).collect::<Vec<_>>(), [&b"GET"[..], b"k"]);
        assert_eq!(batch.get(second, 1).at(0), b"k");
    }
}
